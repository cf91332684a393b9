//! Blocks and transactions as the platform records and shows them.

use std::collections::BTreeSet;

use bytes::Bytes;
use fabric_client::blocks::{Content, Namespace, OpenBlock, OpenCall, OpenTransaction};
use fabric_proto::kvrwset::{KvrwSet, Version, range_query_info::ReadsInfo};
use fabric_proto::protos::{ChaincodeEvent, TxValidationCode};
use serde_json::{Value, json};

use crate::ledger::{BlockRecord, EventRecord, TransactionRecord};

/// Search words per transaction, as the record promises.
const MAX_TERMS: usize = 32;
/// Longer keys and names are not indexed.
const MAX_TERM_BYTES: usize = 256;
/// Namespace of chaincode definitions.
const LIFECYCLE: &str = "_lifecycle";

/// Bytes for people: text when they are text, else hex.
pub(super) fn shown(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Value::String(text.to_owned()),
        _ => Value::String(format!("0x{}", hex::encode(bytes))),
    }
}

/// A key for people. Composite keys begin with a zero character and divide their parts by zero characters; shown as parts.
pub(super) fn shown_key(key: &str) -> String {
    if !key.contains(['\0', char::MAX]) {
        return key.to_owned();
    }
    let parts: Vec<&str> = key.split(['\0', char::MAX]).filter(|part| !part.is_empty()).collect();
    parts.join(" / ")
}

/// A block's record.
pub(super) fn block(channel: &str, open: &OpenBlock) -> BlockRecord {
    let transactions: Vec<TransactionRecord> = open.transactions.iter().map(transaction).collect();
    BlockRecord {
        channel: channel.to_owned(),
        height: open.number,
        hash: hex::encode(open.hash),
        parent_hash: hex::encode(&open.previous_hash),
        time: transactions.iter().map(|transaction| transaction.time).max().unwrap_or_default(),
        producer: open.signers.first().map(ToString::to_string).unwrap_or_default(),
        size: open.size as u64,
        config: open.is_config,
        transactions,
    }
}

/// A transaction's row.
pub(super) fn transaction(open: &OpenTransaction) -> TransactionRecord {
    let mut record = TransactionRecord {
        id: open.id.clone(),
        index: u32::try_from(open.index).unwrap_or(u32::MAX),
        kind: "call".into(),
        ok: open.code == TxValidationCode::Valid,
        code: open.code.as_str_name().to_owned(),
        from: if open.creator.mspid.is_empty() { String::new() } else { open.creator.to_string() },
        to: String::new(),
        method: String::new(),
        time: open.time,
        terms: Vec::new(),
        events: Vec::new(),
    };
    match &open.content {
        Content::Call(call) => {
            record.to.clone_from(&call.chaincode);
            record.method = method(call);
            if call.chaincode == LIFECYCLE {
                record.kind = "deploy".into();
            }
            record.events = event(call.event.as_ref());
            record.terms = terms(call);
        }
        Content::Config(_) => record.kind = "config".into(),
        Content::Other(name) => record.kind = name.to_ascii_lowercase(),
        Content::Unreadable(_) => record.kind = "unreadable".into(),
    }
    record
}

/// The function's name: the first argument, when it is text that looks like a name.
fn method(call: &OpenCall) -> String {
    let first = call.args.first().map(|arg| String::from_utf8_lossy(arg).into_owned()).unwrap_or_default();
    first.chars().filter(|letter| !letter.is_control()).take(128).collect()
}

/// What a call says in words that a search should find.
fn terms(call: &OpenCall) -> Vec<String> {
    let mut terms = BTreeSet::new();
    if let Some(event) = &call.event {
        terms.insert(event.event_name.clone());
    }
    let own = call.effects.iter().filter(|namespace| namespace.name != LIFECYCLE || call.chaincode == LIFECYCLE);
    for namespace in own {
        terms.extend(namespace.public.writes.iter().map(|write| shown_key(&write.key)));
    }
    terms.into_iter().filter(|term| !term.is_empty() && term.len() <= MAX_TERM_BYTES).take(MAX_TERMS).collect()
}

/// A chaincode event as a record; none or one.
pub(super) fn event(event: Option<&ChaincodeEvent>) -> Vec<EventRecord> {
    event
        .map(|event| EventRecord {
            contract: event.chaincode_id.clone(),
            name: event.event_name.clone(),
            payload: shown(&event.payload),
        })
        .into_iter()
        .collect()
}

/// Function and arguments as texts.
pub(super) fn arguments(args: &[Bytes]) -> Value {
    Value::Array(args.iter().map(|arg| shown(arg)).collect())
}

fn version(version: Option<&Version>) -> Value {
    version.map_or(Value::Null, |version| json!({"block": version.block_num, "transaction": version.tx_num}))
}

/// A read-write set by namespace.
pub(super) fn effects(namespaces: &[Namespace]) -> Value {
    let mut shown = serde_json::Map::new();
    for namespace in namespaces {
        let mut entry = public(&namespace.public);
        let collections: Vec<Value> = namespace
            .collections
            .iter()
            .map(|(name, set)| {
                json!({
                    "name": name,
                    "reads": set.hashed_reads.iter().map(|read| json!({
                        "key_hash": hex::encode(&read.key_hash), "version": version(read.version.as_ref()),
                    })).collect::<Vec<_>>(),
                    "writes": set.hashed_writes.iter().map(|write| json!({
                        "key_hash": hex::encode(&write.key_hash), "delete": write.is_delete || write.is_purge,
                        "value_hash": hex::encode(&write.value_hash),
                    })).collect::<Vec<_>>(),
                })
            })
            .collect();
        if !collections.is_empty() {
            entry.insert("collections".into(), Value::Array(collections));
        }
        shown.insert(namespace.name.clone(), Value::Object(entry));
    }
    Value::Object(shown)
}

fn public(set: &KvrwSet) -> serde_json::Map<String, Value> {
    let mut entry = serde_json::Map::new();
    let reads =
        set.reads.iter().map(|read| json!({"key": shown_key(&read.key), "version": version(read.version.as_ref())}));
    entry.insert("reads".into(), reads.collect());
    let ranges = set.range_queries_info.iter().map(|range| {
        let found = match &range.reads_info {
            Some(ReadsInfo::RawReads(reads)) => {
                reads.kv_reads.iter().map(|read| Value::String(shown_key(&read.key))).collect()
            }
            Some(ReadsInfo::ReadsMerkleHashes(_)) => Value::String("many, recorded as a hash".into()),
            None => Value::Array(Vec::new()),
        };
        json!({"from": shown_key(&range.start_key), "to": shown_key(&range.end_key), "found": found})
    });
    entry.insert("ranges".into(), ranges.collect());
    let writes = set.writes.iter().map(|write| {
        let delete = write.is_delete || write.value.is_empty();
        json!({"key": shown_key(&write.key), "delete": delete, "value": if delete { Value::Null } else { shown(&write.value) }})
    });
    entry.insert("writes".into(), writes.collect());
    if !set.metadata_writes.is_empty() {
        let metadata = set.metadata_writes.iter().map(|write| {
            json!({"key": shown_key(&write.key), "names": write.entries.iter().map(|entry| entry.name.clone()).collect::<Vec<_>>()})
        });
        entry.insert("metadata".into(), metadata.collect());
    }
    entry
}

#[cfg(test)]
mod tests {
    use fabric_proto::kvrwset::{KvRead, KvWrite};

    use super::*;

    #[test]
    fn bytes_and_keys_are_shown_as_people_can_read_them() {
        assert_eq!(shown(b"red"), "red");
        assert_eq!(shown(&[0xff, 1]), "0xff01");
        assert_eq!(shown_key("\0color~id\0red\0asset1\0"), "color~id / red / asset1");
        assert_eq!(shown_key("asset1"), "asset1");
    }

    #[test]
    fn effects_tell_reads_writes_and_deletes() {
        let read = KvRead { key: "a".into(), version: Some(Version { block_num: 3, tx_num: 1 }) };
        let write = KvWrite { key: "b".into(), is_delete: false, value: Bytes::from_static(b"1") };
        let delete = KvWrite { key: "c".into(), is_delete: true, value: Bytes::new() };
        let public = KvrwSet { reads: vec![read], writes: vec![write, delete], ..KvrwSet::default() };
        let namespace = Namespace { name: "basic".into(), public, collections: Vec::new() };
        let shown = effects(&[namespace]);
        assert_eq!(shown["basic"]["reads"][0]["version"]["block"], 3);
        assert_eq!(shown["basic"]["writes"][0]["value"], "1");
        assert_eq!(shown["basic"]["writes"][1], json!({"key": "c", "delete": true, "value": null}));
    }

    #[test]
    fn the_lifecycles_own_keys_are_not_terms_of_other_calls() {
        let writes = |name: &str, key: &str| Namespace {
            name: name.into(),
            public: KvrwSet {
                writes: vec![KvWrite { key: key.into(), is_delete: false, value: Bytes::from_static(b"1") }],
                ..KvrwSet::default()
            },
            collections: Vec::new(),
        };
        let call = OpenCall {
            chaincode: "basic".into(),
            effects: vec![writes(LIFECYCLE, "namespaces/fields/basic"), writes("basic", "asset1")],
            ..OpenCall::default()
        };
        assert_eq!(terms(&call), ["asset1"]);
    }
}
