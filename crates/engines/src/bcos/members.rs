//! Who seals and who observes, and the settings of a chain: changed by transactions to the chain's own contracts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy_sol_types::SolCall as _;
use bcos_types::U256;
use serde_json::{Map, Value, json};

use super::rpc::{Client, first};
use super::run::{groups_of, result, roles};
use super::send::Content;
use super::{Bcos, accounts, contracts, files};
use crate::spec::NodeSpec;
use crate::{EngineError, Place, StepOutcome};

/// How long the chain may take to show a change that a transaction made.
const SHOWN: Duration = Duration::from_secs(20);
/// How long a new sealer is waited for.
const TURN: Duration = Duration::from_secs(5);

/// What a node is in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Outside,
    Observer,
    /// Sealing, or waiting for its turn where sealers rotate.
    Sealer {
        weight: u64,
    },
}

/// Reads from the answers of [`roles`] what a node is.
fn standing(roles: &Value, node_id: &str) -> Standing {
    let all = |name: &str| roles[name].as_array().cloned().unwrap_or_default();
    let sealing = all("sealers").into_iter().chain(all("waiting")).find(|member| member["nodeID"] == node_id);
    match sealing {
        Some(member) => Standing::Sealer { weight: member["weight"].as_u64().unwrap_or(1) },
        None if all("observers").iter().any(|member| *member == node_id) => Standing::Observer,
        None => Standing::Outside,
    }
}

fn id_of(place: Place<'_>, node: &NodeSpec) -> Result<String, EngineError> {
    match &node.node_id {
        Some(id) => Ok(id.clone()),
        None => files::node_id(place.folder, &node.id),
    }
}

impl Bcos {
    async fn standing(&self, place: Place<'_>, group: &str, node: &NodeSpec) -> Result<Standing, EngineError> {
        let id = id_of(place, node)?;
        let clients = self.clients.of_group(place, group, None)?;
        // A node that joins knows less than the others.
        let others: Vec<Arc<Client>> = clients.iter().filter(|client| client.node != node.id).cloned().collect();
        let asked = if others.is_empty() { &clients } else { &others };
        let roles = first(asked, |client| async move { roles(&client, group).await }).await?;
        Ok(standing(&roles, &id))
    }

    /// Changes a node's standing by a transaction, unless it is what is wanted; waits until the chain shows it.
    async fn change(
        &self,
        place: Place<'_>,
        group: &str,
        node: &NodeSpec,
        wanted: impl Fn(Standing) -> bool,
        input: Vec<u8>,
    ) -> Result<Option<String>, EngineError> {
        if wanted(self.standing(place, group, node).await?) {
            return Ok(None);
        }
        let key = accounts::signer(place, Some(&node.organisation), None)?;
        let content = Content { to: contracts::CONSENSUS.into(), input, abi: String::new() };
        // Not through the node itself, which may not be a member yet.
        let mut without = place.spec.clone();
        for channel in &mut without.channels {
            if channel.nodes.len() > 1 {
                channel.nodes.retain(|id| *id != node.id);
            }
        }
        let others = Place { spec: &without, ..place };
        let receipt = match self.send(others, group, None, &key, &content).await?.succeeded(true) {
            Ok(receipt) => receipt,
            // An earlier attempt's transaction may have come first.
            Err(_) if wanted(self.standing(place, group, node).await?) => return Ok(None),
            Err(error) => return Err(error),
        };
        let until = Instant::now() + SHOWN;
        while !wanted(self.standing(place, group, node).await?) {
            if Instant::now() > until {
                return Err(EngineError::Refused {
                    code: "NotShown".into(),
                    why: format!(
                        "{group} does not show the change of {} that {} made",
                        node.id, receipt.transaction_hash
                    ),
                });
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(Some(receipt.transaction_hash))
    }

    /// Admits a node to each of its groups.
    pub(super) async fn observe(&self, place: Place<'_>, node: &NodeSpec) -> Result<Map<String, Value>, EngineError> {
        let mut sent = Vec::new();
        for group in groups_of(place.spec, node) {
            let input = contracts::addObserverCall { nodeID: id_of(place, node)? }.abi_encode();
            sent.extend(self.change(place, group, node, |now| now != Standing::Outside, input).await?);
        }
        Ok(transactions(&sent))
    }

    /// Lets a node seal in each of its groups, with a weight when one is wished.
    pub(super) async fn seal(
        &self,
        place: Place<'_>,
        node: &NodeSpec,
        weight: Option<u64>,
    ) -> Result<Map<String, Value>, EngineError> {
        let mut sent = Vec::new();
        let node_id = id_of(place, node)?;
        for group in groups_of(place.spec, node) {
            let now = self.standing(place, group, node).await?;
            if now == Standing::Outside {
                let input = contracts::addObserverCall { nodeID: node_id.clone() }.abi_encode();
                sent.extend(self.change(place, group, node, |now| now != Standing::Outside, input).await?);
            }
            let wanted = move |now| match now {
                Standing::Sealer { weight: now } => weight.is_none_or(|weight| weight == now),
                _ => false,
            };
            let number = U256::from(weight.unwrap_or(1));
            let input = match now {
                Standing::Sealer { .. } => {
                    contracts::setWeightCall { nodeID: node_id.clone(), weight: number }.abi_encode()
                }
                _ => contracts::addSealerCall { nodeID: node_id.clone(), weight: number }.abi_encode(),
            };
            sent.extend(self.change(place, group, node, wanted, input).await?);
            self.takes_part(place, group, node).await;
        }
        Ok(transactions(&sent))
    }

    /// Waits a moment until the node itself has the block that made it a sealer. With rotating sealers its turn comes later.
    async fn takes_part(&self, place: Place<'_>, group: &str, node: &NodeSpec) {
        let Ok(client) = self.clients.of(place, node) else { return };
        let until = Instant::now() + TURN;
        while Instant::now() < until {
            if super::run::consensus(&client, group).await.is_ok_and(|status| status["isConsensusNode"] == true) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Takes a node out of each of its groups.
    pub(super) async fn leave(&self, place: Place<'_>, node: &NodeSpec) -> Result<Map<String, Value>, EngineError> {
        let mut sent = Vec::new();
        for group in groups_of(place.spec, node) {
            if place.spec.channel(group).is_some_and(|channel| channel.nodes.len() == 1) {
                return Err(EngineError::Refused {
                    code: "LastNode".into(),
                    why: format!("{} is the last node of {group}; delete the network instead", node.id),
                });
            }
            let input = contracts::removeCall { nodeID: id_of(place, node)? }.abi_encode();
            sent.extend(self.change(place, group, node, |now| now == Standing::Outside, input).await?);
        }
        Ok(transactions(&sent))
    }

    pub(super) async fn set_role(
        &self,
        place: Place<'_>,
        node: &NodeSpec,
        role: &str,
        weight: Option<u64>,
    ) -> Result<StepOutcome, EngineError> {
        let result = if role == "sealer" {
            self.seal(place, node, weight).await?
        } else {
            let mut sent = Vec::new();
            for group in groups_of(place.spec, node) {
                let input = contracts::addObserverCall { nodeID: id_of(place, node)? }.abi_encode();
                sent.extend(self.change(place, group, node, |now| now == Standing::Observer, input).await?);
            }
            transactions(&sent)
        };
        let mut spec = place.spec.clone();
        for known in spec.nodes.iter_mut().filter(|known| known.id == node.id) {
            role.clone_into(&mut known.role);
        }
        Ok(StepOutcome { spec: Some(spec), result })
    }

    /// The present value of a setting; `None` when the chain has none.
    pub(super) async fn setting(
        &self,
        place: Place<'_>,
        group: &str,
        key: &str,
    ) -> Result<Option<String>, EngineError> {
        let clients = self.clients.of_group(place, group, None)?;
        let answer = first(&clients, |client| async move {
            client.call::<Value>(group, "getSystemConfigByKey", &[json!(key)]).await
        });
        match answer.await {
            Ok(answer) => Ok(answer["value"].as_str().map(str::to_owned)),
            Err(EngineError::Refused { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn set_value(
        &self,
        place: Place<'_>,
        group: &str,
        key: &str,
        value: &str,
    ) -> Result<Map<String, Value>, EngineError> {
        if self.setting(place, group, key).await?.as_deref() == Some(value) {
            return Ok(Map::new());
        }
        let signer = accounts::signer(place, None, None)?;
        let input = contracts::setValueByKeyCall { key: key.to_owned(), value: value.to_owned() }.abi_encode();
        let content = Content { to: contracts::SYSTEM_CONFIG.into(), input, abi: String::new() };
        let receipt = self.send(place, group, None, &signer, &content).await?.succeeded(true)?;
        Ok(result("transaction", receipt.transaction_hash))
    }
}

fn transactions(sent: &[String]) -> Map<String, Value> {
    if sent.is_empty() { Map::new() } else { result("transactions", json!(sent)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_what_the_lists_say() {
        let roles = json!({
            "sealers": [{ "nodeID": "aa", "weight": 3 }],
            "waiting": [{ "nodeID": "bb", "weight": 1 }],
            "observers": ["cc"],
        });
        assert_eq!(standing(&roles, "aa"), Standing::Sealer { weight: 3 });
        assert_eq!(standing(&roles, "bb"), Standing::Sealer { weight: 1 });
        assert_eq!(standing(&roles, "cc"), Standing::Observer);
        assert_eq!(standing(&roles, "dd"), Standing::Outside);
    }
}
