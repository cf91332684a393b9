//! What was changed in a chain's settings and members, by whom.
//!
//! The changes are transactions to two of the chain's own contracts. They are found by reading every block once; how far that
//! went, and what was found, is kept in the network's folder.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy_sol_types::SolCall as _;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::blocks::is_first;
use super::contracts::{self, WithTerm};
use super::rpc::{Client, RpcResult, first};
use super::send::Receipt;
use super::views::{Block, Transaction, inner, plain_address};
use super::{Bcos, accounts, files, words};
use crate::ledger::{ConfigChange, FieldChange};
use crate::{EngineError, Place};

/// Blocks on their way at a time.
const AT_A_TIME: usize = 16;
/// How long one answer reads on in blocks; the next one goes on from there.
const PATIENCE: Duration = Duration::from_secs(20);
/// After so many blocks the progress is kept.
const KEEP: u64 = 5_000;

/// A change as it is kept: signers and nodes get their names when it is shown.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    height: u64,
    transaction: String,
    time: i64,
    from: String,
    changes: Vec<FieldChange>,
}

/// What is known of a group's changes.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Known {
    /// The first block: another one is another chain.
    genesis: String,
    /// The next block to read.
    next: u64,
    changes: Vec<Kept>,
    /// The values after all of them, by path.
    values: BTreeMap<String, Value>,
}

impl Known {
    /// Takes note of a new value; nothing when it is the old one.
    fn set(&mut self, path: &str, after: Option<Value>, before: Option<Value>) -> Vec<FieldChange> {
        let before = self.values.get(path).cloned().or(before);
        if before == after {
            return Vec::new();
        }
        match &after {
            Some(value) => self.values.insert(path.to_owned(), value.clone()),
            None => self.values.remove(path),
        };
        vec![FieldChange { path: path.to_owned(), before, after }]
    }
}

/// What a transaction asked for.
#[derive(Debug, PartialEq)]
enum Asked {
    Setting { key: String, value: String },
    Sealer { node: String, weight: Value, term_weight: Option<Value> },
    Observer { node: String },
    Removed { node: String },
    Weight { node: String, weight: Value },
    TermWeight { node: String, weight: Value },
}

fn asked(transaction: &Transaction) -> Option<Asked> {
    let to = plain_address(&transaction.to);
    let input = words::bytes(&transaction.input)?;
    let number = |number: bcos_types::U256| {
        u64::try_from(number).map_or_else(|_| json!(number.to_string()), |number| json!(number))
    };
    if to == contracts::SYSTEM_CONFIG {
        let call = contracts::setValueByKeyCall::abi_decode(&input).ok()?;
        return Some(Asked::Setting { key: call.key.to_ascii_lowercase(), value: call.value });
    }
    if to != contracts::CONSENSUS {
        return None;
    }
    let node = |text: String| text.to_ascii_lowercase();
    if let Ok(call) = contracts::addSealerCall::abi_decode(&input) {
        return Some(Asked::Sealer { node: node(call.nodeID), weight: number(call.weight), term_weight: None });
    }
    if let Ok(call) = WithTerm::addSealerCall::abi_decode(&input) {
        let term_weight = Some(number(call.termWeight));
        return Some(Asked::Sealer { node: node(call.nodeID), weight: number(call.weight), term_weight });
    }
    if let Ok(call) = contracts::addObserverCall::abi_decode(&input) {
        return Some(Asked::Observer { node: node(call.nodeID) });
    }
    if let Ok(call) = contracts::removeCall::abi_decode(&input) {
        return Some(Asked::Removed { node: node(call.nodeID) });
    }
    if let Ok(call) = contracts::setWeightCall::abi_decode(&input) {
        return Some(Asked::Weight { node: node(call.nodeID), weight: number(call.weight) });
    }
    let call = contracts::setTermWeightCall::abi_decode(&input).ok()?;
    Some(Asked::TermWeight { node: node(call.nodeID), weight: number(call.weight) })
}

/// The part of the path before a node's id.
const MEMBERS: &str = "members.";

fn apply(known: &mut Known, asked: Asked, before: Option<Value>) -> Vec<FieldChange> {
    let with = |known: &Known, node: &str, field: &str, value: Value| {
        let mut member =
            known.values.get(&format!("{MEMBERS}{node}")).cloned().unwrap_or_else(|| json!({ "role": "sealer" }));
        member[field] = value;
        member
    };
    match asked {
        Asked::Setting { key, value } => known.set(&key, Some(json!(value)), before),
        Asked::Sealer { node, weight, term_weight } => {
            let mut member = json!({ "role": "sealer", "weight": weight });
            if let Some(term_weight) = term_weight {
                member["term_weight"] = term_weight;
            }
            known.set(&format!("{MEMBERS}{node}"), Some(member), None)
        }
        Asked::Observer { node } => known.set(&format!("{MEMBERS}{node}"), Some(json!({ "role": "observer" })), None),
        Asked::Removed { node } => known.set(&format!("{MEMBERS}{node}"), None, None),
        Asked::Weight { node, weight } => {
            let member = with(known, &node, "weight", weight);
            known.set(&format!("{MEMBERS}{node}"), Some(member), None)
        }
        Asked::TermWeight { node, weight } => {
            let member = with(known, &node, "term_weight", weight);
            known.set(&format!("{MEMBERS}{node}"), Some(member), None)
        }
    }
}

/// The file of a group's history.
pub(super) fn path(place: Place<'_>, group: &str) -> PathBuf {
    place.folder.join("history").join(format!("{group}.json"))
}

/// What is known of every group's changes, by the file that keeps it. Each group waits for itself only.
#[derive(Debug, Default)]
pub(super) struct Histories(Mutex<HashMap<PathBuf, Arc<Slot>>>);

/// One group's changes; `None` while they were neither read nor asked for.
type Slot = tokio::sync::Mutex<Option<Entry>>;

#[derive(Debug, Default)]
struct Entry {
    known: Known,
    /// How far the file goes, and how many changes are in it.
    kept: (u64, usize),
}

impl Entry {
    fn load(file: &Path) -> Option<Self> {
        let known: Known = serde_json::from_str(&std::fs::read_to_string(file).ok()?).ok()?;
        Some(Self { kept: (known.next, known.changes.len()), known })
    }

    /// Writes the file when there is a reason to.
    fn keep(&mut self, file: &Path) -> Result<(), EngineError> {
        let (next, changes) = self.kept;
        if self.known.next < next + KEEP && self.known.changes.len() == changes {
            return Ok(());
        }
        if let Some(folder) = file.parent() {
            files::private_folder(folder)?;
        }
        files::write(file, &serde_json::to_vec(&self.known).unwrap_or_default())?;
        self.kept = (self.known.next, self.known.changes.len());
        Ok(())
    }
}

impl Histories {
    /// Takes note of a block that was read anyway. It does not matter when one is missed: who asks for the history reads on.
    pub(super) async fn note(&self, file: &Path, client: &Client, group: &str, web3: bool, block: &Block) {
        let known = self.0.lock().get(file).cloned();
        let slot = known.unwrap_or_else(|| {
            // Looked for once: without a file there is nothing to go on from until somebody asks for the history.
            let loaded = Arc::new(Slot::new(Entry::load(file)));
            Arc::clone(self.0.lock().entry(file.to_path_buf()).or_insert(loaded))
        });
        let Ok(mut held) = slot.try_lock() else { return };
        if block.number == 0 && held.as_ref().is_none_or(|entry| entry.known.genesis != block.hash) {
            // The beginning, or another chain in the same place.
            let known = beginning(client, group, block).await.ok();
            *held = known.map(|known| Entry { known, kept: (0, 0) });
        }
        let Some(entry) = held.as_mut() else { return };
        if entry.known.next != block.number || take(client, group, web3, &mut entry.known, block).await.is_err() {
            return;
        }
        if let Err(error) = entry.keep(file) {
            tracing::warn!("the history of {group} is not kept: {error}");
        }
    }

    /// Forgets the groups of a network that is gone.
    pub(super) fn forget(&self, network: &Path) {
        self.0.lock().retain(|file, _| !file.starts_with(network));
    }
}

impl Bcos {
    pub(super) async fn history(&self, place: Place<'_>, group: &str) -> Result<Vec<ConfigChange>, EngineError> {
        let clients = self.clients.of_group(place, group, None)?;
        let file = path(place, group);
        let slot = Arc::clone(self.histories.0.lock().entry(file.clone()).or_default());
        let mut held = slot.lock().await;
        let entry = held.take().or_else(|| Entry::load(&file)).unwrap_or_default();
        let web3 = is_first(place, group);
        let kept = &entry.known;
        let known = first(&clients, |client| async move {
            let genesis: Block = client.call(group, "getBlockByNumber", &[json!(0), json!(true)]).await?;
            let mut known =
                if kept.genesis == genesis.hash { kept.clone() } else { beginning(&client, group, &genesis).await? };
            read_on(&client, group, web3, &mut known).await?;
            Ok(known)
        })
        .await?;
        let changed = known.genesis != entry.known.genesis;
        let mut entry = Entry { kept: if changed { (0, 0) } else { entry.kept }, known };
        entry.keep(&file)?;
        let known = entry.known.clone();
        *held = Some(entry);
        drop(held);
        let names: BTreeMap<String, String> = accounts::accounts(place.folder)
            .into_iter()
            .map(|account| (account.address, format!("{}/{}", account.organisation, account.name)))
            .collect();
        let shown = known.changes.into_iter().rev().map(|change| ConfigChange {
            height: change.height,
            transaction: change.transaction,
            time: change.time,
            signers: [change.from]
                .into_iter()
                .filter(|from| !from.is_empty())
                .map(|from| names.get(&from).map_or(from.clone(), |name| format!("{name} ({from})")))
                .collect(),
            changes: change.changes.into_iter().map(|change| with_name(place, change)).collect(),
        });
        Ok(shown.collect())
    }
}

/// A member's path with the node's name in the network, where it has one.
fn with_name(place: Place<'_>, change: FieldChange) -> FieldChange {
    let node = change.path.strip_prefix(MEMBERS);
    let node = node.and_then(|id| place.spec.nodes.iter().find(|node| node.node_id.as_deref() == Some(id)));
    match node {
        Some(node) => FieldChange { path: format!("{MEMBERS}{}", node.id), ..change },
        None => change,
    }
}

/// What the first block says.
async fn beginning(client: &Client, group: &str, genesis: &Block) -> RpcResult<Known> {
    let info: Value = client.call(group, "getGroupInfo", &[]).await?;
    let config = inner(info["genesisConfig"].as_str().unwrap_or_default());
    let mut known = Known { genesis: genesis.hash.clone(), next: 1, ..Known::default() };
    let mut changes = Vec::new();
    for (field, key) in [
        ("blockTxCountLimit", "tx_count_limit"),
        ("txGasLimit", "tx_gas_limit"),
        ("consensusLeaderPeriod", "consensus_leader_period"),
        ("consensusType", "consensus_type"),
    ] {
        let value = match &config[field] {
            Value::Null => continue,
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        changes.extend(known.set(key, Some(json!(value)), None));
    }
    for sealer in config["sealerList"].as_array().into_iter().flatten() {
        let Some(id) = sealer["nodeID"].as_str() else { continue };
        let member = json!({ "role": "sealer", "weight": sealer["weight"] });
        changes.extend(known.set(&format!("{MEMBERS}{id}"), Some(member), None));
    }
    let time = genesis.timestamp;
    known.changes.push(Kept { height: 0, transaction: String::new(), time, from: String::new(), changes });
    Ok(known)
}

/// Reads blocks until the newest, or until patience ends.
async fn read_on(client: &Arc<Client>, group: &str, web3: bool, known: &mut Known) -> RpcResult<()> {
    let until = Instant::now() + PATIENCE;
    let height = client.height(group).await?;
    let mut blocks = stream::iter(known.next..=height).map(|number| block(client, group, number)).buffered(AT_A_TIME);
    while let Some(block) = blocks.try_next().await? {
        take(client, group, web3, known, &block).await?;
        if Instant::now() > until {
            tracing::info!("the history of {group} is read up to block {} of {height}", block.number);
            break;
        }
    }
    Ok(())
}

/// Takes note of the changes in one block: of all of them or, when the node does not answer, of none.
async fn take(client: &Client, group: &str, web3: bool, known: &mut Known, block: &Block) -> RpcResult<()> {
    let mut done = Vec::new();
    for transaction in &block.transactions {
        let Some(asked) = asked(transaction) else { continue };
        let receipt: Receipt =
            client.call(group, "getTransactionReceipt", &[json!(transaction.hash), json!(false)]).await?;
        if receipt.status != 0 || words::precompiled(&receipt.output_bytes()).is_some() {
            continue;
        }
        let before = match &asked {
            Asked::Setting { key, .. } if web3 && !known.values.contains_key(key) => {
                value_before(client, key, block.number).await
            }
            _ => None,
        };
        done.push((transaction, asked, before));
    }
    for (transaction, asked, before) in done {
        let changes = apply(known, asked, before);
        known.changes.push(Kept {
            height: block.number,
            transaction: transaction.hash.clone(),
            time: block.timestamp,
            from: plain_address(&transaction.from),
            changes,
        });
    }
    known.next = block.number + 1;
    Ok(())
}

async fn block(client: &Client, group: &str, number: u64) -> RpcResult<Block> {
    client.call(group, "getBlockByNumber", &[json!(number), json!(false), json!(false)]).await
}

/// A setting as it was before a block; `None` when the node cannot look back.
async fn value_before(client: &Client, key: &str, height: u64) -> Option<Value> {
    let input = contracts::getValueByKeyCall { key: key.to_owned() }.abi_encode();
    let call = json!({ "to": contracts::SYSTEM_CONFIG, "input": format!("0x{}", hex::encode(input)) });
    let output: String = client.eth("eth_call", json!([call, format!("{:#x}", height.checked_sub(1)?)])).await.ok()?;
    let answer = contracts::getValueByKeyCall::abi_decode_returns(&words::bytes(&output)?).ok()?;
    (!answer.value.is_empty()).then(|| json!(answer.value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transaction(to: &str, input: Vec<u8>) -> Transaction {
        Transaction {
            hash: "0x1".into(),
            from: "0x2".into(),
            to: to.into(),
            input: format!("0x{}", hex::encode(input)),
        }
    }

    #[test]
    fn requests_are_read_and_applied_in_order() {
        let node = "ab".repeat(64);
        let mut known = Known::default();
        let mut run = |to: &str, input: Vec<u8>| {
            asked(&transaction(to, input)).map(|asked| apply(&mut known, asked, None)).unwrap_or_default()
        };
        let set = |value: &str| {
            contracts::setValueByKeyCall { key: "TX_Count_Limit".into(), value: value.into() }.abi_encode()
        };
        let changes = run(contracts::SYSTEM_CONFIG, set("500"));
        assert_eq!((changes[0].path.as_str(), &changes[0].after), ("tx_count_limit", &Some(json!("500"))));
        assert_eq!(run(contracts::SYSTEM_CONFIG, set("600"))[0].before, Some(json!("500")));
        assert!(run(contracts::SYSTEM_CONFIG, set("600")).is_empty());
        let observer = contracts::addObserverCall { nodeID: node.to_uppercase() }.abi_encode();
        assert_eq!(run(contracts::CONSENSUS, observer)[0].after, Some(json!({ "role": "observer" })));
        let weight = bcos_types::U256::from(3);
        let sealer = contracts::addSealerCall { nodeID: node.clone(), weight }.abi_encode();
        let changes = run(contracts::CONSENSUS, sealer);
        assert_eq!(changes[0].before, Some(json!({ "role": "observer" })));
        assert_eq!(changes[0].after, Some(json!({ "role": "sealer", "weight": 3 })));
        let weight = contracts::setWeightCall { nodeID: node.clone(), weight: bcos_types::U256::from(5) }.abi_encode();
        assert_eq!(run(contracts::CONSENSUS, weight)[0].after, Some(json!({ "role": "sealer", "weight": 5 })));
        let removed = contracts::removeCall { nodeID: node }.abi_encode();
        assert_eq!(run(contracts::CONSENSUS, removed)[0].after, None);
        // Not a change: another contract, a question, rubbish.
        assert!(run(contracts::BFS, set("1")).is_empty());
        assert!(
            run(contracts::SYSTEM_CONFIG, contracts::getValueByKeyCall { key: "x".into() }.abi_encode()).is_empty()
        );
        assert!(run(contracts::CONSENSUS, vec![1, 2]).is_empty());
    }
}
