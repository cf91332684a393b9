//! What each node says of itself.

use std::collections::BTreeMap;
use std::time::Duration;

use konsort_pki::Certificate;
use serde_json::{Value, json};

use super::blocks::version;
use super::rpc::{Client, RpcResult, now_ms};
use super::run::groups_of;
use super::views::inner;
use super::{Bcos, files};
use crate::ledger::NodeHealth;
use crate::spec::NodeSpec;
use crate::{EngineError, Place};

/// A node that takes longer is as good as silent.
const PATIENCE: Duration = Duration::from_secs(4);
const DAY_MS: i64 = 86_400_000;

impl Bcos {
    pub(super) async fn all_health(&self, place: Place<'_>) -> Vec<NodeHealth> {
        let nodes = place.spec.nodes.iter().map(async |node| {
            match tokio::time::timeout(PATIENCE, self.node_health(place, node)).await {
                Ok(Ok(health)) => health,
                Ok(Err(error)) => silent(place, node, error.to_string()),
                Err(_) => silent(place, node, format!("no answer within {} s", PATIENCE.as_secs())),
            }
        });
        futures::future::join_all(nodes).await
    }

    async fn node_health(&self, place: Place<'_>, node: &NodeSpec) -> Result<NodeHealth, EngineError> {
        let client = self.clients.of(place, node)?;
        let mut groups = groups_of(place.spec, node);
        let member = !groups.is_empty();
        if !member {
            groups.extend(place.spec.channels.first().map(|group| group.name.as_str()));
        }
        let mut heights = BTreeMap::new();
        let (mut pending, mut role, mut problem) = (0, node.role.clone(), None);
        let (mut release, mut peers) = (None, None);
        for (at, group) in groups.iter().enumerate() {
            let mut calls =
                vec![("getConsensusStatus", vec![]), ("getPendingTxSize", vec![]), ("getBlockNumber", vec![])];
            if at == 0 {
                calls.extend([("getGroupNodeInfo", vec![json!("")]), ("getPeers", vec![])]);
            }
            let mut answers = ask(&client, group, &calls).await?.into_iter();
            let mut take = || answers.next().unwrap_or(Ok(Value::Null));
            let status = inner(take()?.as_str().unwrap_or_default());
            pending += take()?.as_u64().unwrap_or_default();
            if let Some(height) = take()?.as_u64() {
                heights.insert((*group).to_owned(), height);
            }
            if at == 0 {
                release = take().ok().as_ref().and_then(version);
                peers = take().ok().and_then(|answer| u32::try_from(answer["peers"].as_array()?.len()).ok());
                (role, problem) = standing(&status);
            }
        }
        if !member {
            heights.clear();
            problem = Some("it belongs to no group of this network".into());
        }
        Ok(NodeHealth {
            node: node.id.clone(),
            reachable: true,
            problem,
            version: release,
            role,
            heights,
            peers,
            certificate_days: certificate_days(place, node),
            pending: Some(pending),
        })
    }
}

/// In one request where the node takes batches, in several where it does not.
async fn ask(client: &Client, group: &str, calls: &[(&str, Vec<Value>)]) -> RpcResult<Vec<RpcResult<Value>>> {
    if let Ok(answers) = client.batch(group, calls).await {
        return Ok(answers);
    }
    let mut answers = Vec::new();
    for (method, params) in calls {
        answers.push(client.call::<Value>(group, method, params).await);
    }
    Ok(answers)
}

/// Role and trouble by a consensus status.
fn standing(status: &Value) -> (String, Option<String>) {
    if status["isConsensusNode"] != true {
        return ("observer".into(), None);
    }
    let role = if status["index"] == status["leaderIndex"] { "leader" } else { "sealer" };
    let connected = &status["connectedNodeList"];
    let connected = connected.as_u64().or_else(|| connected.as_array().map(|list| list.len() as u64 + 1));
    let quorum = status["minRequiredQuorum"].as_u64();
    let problem = match (connected, quorum) {
        (Some(connected), Some(quorum)) if connected < quorum => {
            Some(format!("it is connected to {connected} sealers, itself among them, but a block needs {quorum}"))
        }
        _ if status["timeout"] == true => {
            Some("no block was agreed upon in time; the sealers choose another leader".into())
        }
        _ => None,
    };
    (role.into(), problem)
}

fn silent(place: Place<'_>, node: &NodeSpec, why: String) -> NodeHealth {
    NodeHealth {
        node: node.id.clone(),
        reachable: false,
        problem: Some(why),
        version: None,
        role: node.role.clone(),
        heights: BTreeMap::new(),
        peers: None,
        certificate_days: certificate_days(place, node),
        pending: None,
    }
}

/// Days until the node's certificate or its authority's expires.
fn certificate_days(place: Place<'_>, node: &NodeSpec) -> Option<i64> {
    let conf = files::node(place.folder, &node.id).join("conf");
    let until = ["ssl.crt", "ca.crt"].iter().filter_map(|name| {
        let pem = std::fs::read(conf.join(name)).ok()?;
        Certificate::from_pem(&pem).ok().map(|certificate| certificate.not_after())
    });
    until.min().map(|until| (until.saturating_mul(1000) - now_ms()).div_euclid(DAY_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealer_without_enough_others_says_so() {
        let status = json!({ "isConsensusNode": true, "index": 1, "leaderIndex": 1, "connectedNodeList": 2, "minRequiredQuorum": 3 });
        let (role, problem) = standing(&status);
        assert_eq!(role, "leader");
        assert!(problem.unwrap().contains("a block needs 3"));
        let status = json!({ "isConsensusNode": true, "index": 0, "leaderIndex": 1, "connectedNodeList": ["a", "b"], "minRequiredQuorum": 3 });
        assert_eq!(standing(&status), ("sealer".into(), None));
        assert_eq!(standing(&json!({ "isConsensusNode": false })).0, "observer");
    }
}
