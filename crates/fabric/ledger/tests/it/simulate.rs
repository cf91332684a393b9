//! The simulator against a naive model of the rules, and the refusals clients search for by text.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use fabric_ledger::{Height, Ledger, LedgerError, Options, Simulator, StateReader, StateSnapshot, rwset::TxRwset};
use fabric_proto::kvrwset::{KvRead, KvWrite, QueryReads, RangeQueryInfo, range_query_info::ReadsInfo};
use proptest::prelude::*;

use crate::{
    chain::{COLLECTION, genesis, metadata, next, writes},
    private::Lives,
};

/// A ledger with keys k00..k99 (k99 is composite), in two namespaces.
fn filled() -> (tempfile::TempDir, Ledger) {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { collections: Arc::new(Lives(0)), history: true };
    let ledger = Ledger::create(folder.path(), "ch", &genesis(), options).unwrap();
    let keys: Vec<String> = (0..99).map(|number| format!("k{number:02}")).chain(["\0type\0part\0".into()]).collect();
    let rows: Vec<(&str, &str)> = keys.iter().map(|key| (key.as_str(), "value")).collect();
    let info = ledger.info();
    ledger.commit(next(1, info.current_hash, vec![writes("a", &rows), writes("b", &rows[..3])])).unwrap();
    (folder, ledger)
}

#[derive(Debug, Clone)]
enum Call {
    Get(u8),
    Put(u8, u8),
    Delete(u8),
    Metadata(u8, bool),
    Range(u8, Option<u8>, u8),
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        (0..130_u8).prop_map(Call::Get),
        (0..130_u8, any::<u8>()).prop_map(|(key, value)| Call::Put(key, value)),
        (0..130_u8).prop_map(Call::Delete),
        (0..130_u8, any::<bool>()).prop_map(|(key, set)| Call::Metadata(key, set)),
        (0..130_u8, prop::option::of(0..130_u8), 0..60_u8)
            .prop_map(|(start, end, taken)| Call::Range(start, end, taken)),
    ]
}

fn key(number: u8) -> String {
    format!("k{number:02}")
}

/// What the read-write set must hold, by the rules as written down.
fn model(calls: &[Call], state: &StateSnapshot) -> Option<TxRwset> {
    let mut reads: BTreeMap<String, KvRead> = BTreeMap::new();
    let mut writes: BTreeMap<String, KvWrite> = BTreeMap::new();
    let mut metas = BTreeMap::new();
    let mut ranges: Vec<RangeQueryInfo> = Vec::new();
    for call in calls {
        match call {
            Call::Get(number) => {
                let version = state.version("a", &key(*number)).unwrap().map(Height::to_proto);
                reads.insert(key(*number), KvRead { key: key(*number), version });
            }
            Call::Put(number, value) => {
                let value = Bytes::from(vec![*value]);
                writes.insert(key(*number), KvWrite { key: key(*number), is_delete: false, value });
            }
            Call::Delete(number) => {
                writes.insert(key(*number), KvWrite { key: key(*number), is_delete: true, value: Bytes::new() });
            }
            Call::Metadata(number, set) => {
                metas.insert(key(*number), metadata(if *set { "policy" } else { "" }));
            }
            Call::Range(start, end, taken) => {
                let end = end.map(key).unwrap_or_default();
                let all: Vec<KvRead> = state
                    .range("a", &key(*start), &end)
                    .unwrap()
                    .map(|row| row.unwrap())
                    .map(|row| KvRead { key: row.key, version: Some(row.value.version.to_proto()) })
                    .collect();
                let exhausted = usize::from(*taken) > all.len();
                let seen = all[..all.len().min(usize::from(*taken))].to_vec();
                if seen.len() > 50 {
                    // Summaries are compared with the golden chain.
                    return None;
                }
                let last = seen.last().map(|read| read.key.clone()).unwrap_or_default();
                let query = RangeQueryInfo {
                    start_key: key(*start),
                    end_key: if exhausted { end } else { last },
                    itr_exhausted: exhausted,
                    reads_info: (!seen.is_empty()).then_some(ReadsInfo::RawReads(QueryReads { kv_reads: seen })),
                };
                let same = |other: &RangeQueryInfo| {
                    (&other.start_key, &other.end_key, other.itr_exhausted)
                        == (&query.start_key, &query.end_key, query.itr_exhausted)
                };
                if !ranges.iter().any(same) {
                    ranges.push(query);
                }
            }
        }
    }
    let mut rwset = crate::chain::writes("a", &[]);
    let public = &mut rwset.namespaces[0].public;
    public.reads = reads.into_values().collect();
    public.writes = writes.into_values().collect();
    public.range_queries_info = ranges;
    public.metadata_writes =
        metas.into_iter().map(|(key, entries)| fabric_proto::kvrwset::KvMetadataWrite { key, entries }).collect();
    Some(if calls.is_empty() { TxRwset::default() } else { rwset })
}

fn run(simulator: &Simulator, calls: &[Call]) {
    for call in calls {
        match call {
            Call::Get(number) => drop(simulator.get_state("a", &key(*number)).unwrap()),
            Call::Put(number, value) => simulator.set_state("a", &key(*number), Bytes::from(vec![*value])).unwrap(),
            Call::Delete(number) => simulator.delete_state("a", &key(*number)).unwrap(),
            Call::Metadata(number, set) => {
                let entries = metadata(if *set { "policy" } else { "" });
                let map = entries.into_iter().map(|entry| (entry.name, entry.value)).collect();
                simulator.set_state_metadata("a", &key(*number), map).unwrap();
            }
            Call::Range(start, end, taken) => {
                let end = end.map(key).unwrap_or_default();
                let mut rows = simulator.range("a", &key(*start), &end).unwrap();
                for _ in 0..*taken {
                    if rows.next_row().unwrap().is_none() {
                        break;
                    }
                }
            }
        }
    }
}

#[test]
fn read_write_sets_follow_the_rules() {
    let (_folder, ledger) = filled();
    let snapshot = ledger.snapshot();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig { cases: 300, ..ProptestConfig::default() });
    runner
        .run(&prop::collection::vec(call(), 0..25), |calls| {
            let Some(want) = model(&calls, &snapshot) else { return Ok(()) };
            let simulator = ledger.simulator("tx");
            run(&simulator, &calls);
            let got = TxRwset::decode(&simulator.finish().unwrap().public).unwrap();
            prop_assert_eq!(got, want);
            Ok(())
        })
        .unwrap();
}

#[test]
fn own_writes_are_not_read_and_the_read_is_recorded() {
    let (_folder, ledger) = filled();
    let simulator = ledger.simulator("tx");
    simulator.set_state("a", "k01", "mine".into()).unwrap();
    assert_eq!(simulator.get_state("a", "k01").unwrap().unwrap(), "value");
    assert_eq!(
        simulator.get_state_multiple("a", &["k02".into(), "none".into()]).unwrap(),
        [Some("value".into()), None]
    );
    let results = simulator.finish().unwrap();
    let rwset = TxRwset::decode(&results.public).unwrap();
    let reads: Vec<&str> = rwset.namespaces[0].public.reads.iter().map(|read| read.key.as_str()).collect();
    assert_eq!(reads, ["k01", "k02", "none"]);
    assert!(results.write_metadata["a"][""]["k01"].is_empty());
    assert!(simulator.finish().is_err());
}

#[test]
fn a_whole_namespace_has_composite_keys_and_nothing_of_its_neighbour() {
    let (_folder, ledger) = filled();
    let mut rows = ledger.query().range("a", "", "").unwrap();
    let mut keys = Vec::new();
    while let Some(row) = rows.next_row().unwrap() {
        keys.push(row.key);
    }
    assert_eq!((keys.len(), keys[0].as_str(), keys[99].as_str()), (100, "\0type\0part\0", "k98"));
    let mut simple = ledger.query().range("a", "\u{1}", "k02").unwrap();
    assert_eq!(simple.next_row().unwrap().unwrap().key, "k00");
    assert_eq!(ledger.query().range("a", "k50", "k10").unwrap().next_row().unwrap(), None);
}

fn refusal<T: std::fmt::Debug>(result: Result<T, LedgerError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn refusals_have_the_texts_clients_search_for() {
    let (_folder, ledger) = filled();
    let simulator = ledger.simulator("tx1");
    simulator.range_page("a", "", "", 2).unwrap();
    assert_eq!(
        refusal(simulator.set_state("a", "k", "v".into())),
        "txid [tx1]: unsuppored transaction. Transaction has already performed a paginated query. Writes are not allowed"
    );
    let simulator = ledger.simulator("tx2");
    simulator.set_private_data("a", COLLECTION, "k", "v".into()).unwrap();
    assert_eq!(
        refusal(simulator.range_page("a", "", "", 2)),
        "txid [tx2]: unsuppored transaction. Paginated queries are supported only in a read-only transaction"
    );
    assert_eq!(
        refusal(simulator.private_range("a", COLLECTION, "", "")),
        "txid [tx2]: unsuppored transaction. Queries on pvt data is supported only in a read-only transaction"
    );
    assert_eq!(
        refusal(simulator.get_private_data("a", "nocoll", "k")),
        "collection [nocoll] not defined in the collection config for chaincode [a]"
    );
    let none = Simulator::new("tx3", Arc::new(ledger.snapshot()), Arc::new(fabric_ledger::NoCollections));
    assert_eq!(
        refusal(none.get_private_data_hash("a", "c", "k")),
        "collection config not defined for chaincode [a], pass the collection configuration upon chaincode definition/instantiation"
    );
    none.done();
    assert_eq!(refusal(none.get_state("a", "k")), "this instance should not be used after calling Done()");
}

#[test]
fn private_sets_are_hashed_and_ordered_by_clear_key() {
    let (_folder, ledger) = filled();
    let simulator = ledger.simulator("tx");
    simulator.set_private_data("a", COLLECTION, "z", "1".into()).unwrap();
    simulator.set_private_data("a", COLLECTION, "a", "2".into()).unwrap();
    simulator.purge_private_data("a", COLLECTION, "m").unwrap();
    simulator
        .set_private_data_metadata("a", COLLECTION, "a", [("VALIDATION_PARAMETER".to_owned(), Bytes::from("p"))].into())
        .unwrap();
    assert_eq!(simulator.get_private_data("a", COLLECTION, "q").unwrap(), None);
    let results = simulator.finish().unwrap();
    let rwset = TxRwset::decode(&results.public).unwrap();
    let collection = &rwset.namespaces[0].collections[0];
    let hash = |text: &str| Bytes::copy_from_slice(&konsort_crypto::hash::sha256(text.as_bytes()));
    let written: Vec<_> = collection
        .hashed
        .hashed_writes
        .iter()
        .map(|w| (w.key_hash.clone(), w.value_hash.clone(), w.is_delete, w.is_purge))
        .collect();
    assert_eq!(
        written,
        [
            (hash("a"), hash("2"), false, false),
            (hash("m"), Bytes::new(), true, true),
            (hash("z"), hash("1"), false, false)
        ]
    );
    assert_eq!(collection.hashed.hashed_reads[0].key_hash, hash("q"));
    assert_eq!(collection.hashed.metadata_writes[0].entries[0].value, "p");
    let clear = &results.private.unwrap().ns_pvt_rwset[0].collection_pvt_rwset[0].rwset;
    assert_eq!(collection.private_hash, &konsort_crypto::hash::sha256(clear)[..]);
    assert_eq!(results.private_reads, [("a".to_owned(), COLLECTION.to_owned())]);
}

#[test]
fn keys_longer_than_the_database_takes_are_committed_ranged_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::create(folder.path(), "ch", &genesis(), Options::default()).unwrap();
    let keys: Vec<String> = [70_000, 65_535, 300_000].map(|length| "k".repeat(length)).to_vec();
    let rwsets = keys.iter().map(|key| writes("basic", &[(key, "value"), ("short", "value")])).collect();
    ledger.commit(next(1, ledger.info().current_hash, rwsets)).unwrap();
    let check = |ledger: &Ledger| {
        let state = ledger.snapshot();
        for key in &keys {
            assert_eq!(state.get("basic", key).unwrap().unwrap().value, "value");
            assert_eq!(ledger.history("basic", key).unwrap().count(), 1);
        }
        let found: Vec<usize> = state.range("basic", "k", "").unwrap().map(|row| row.unwrap().key.len()).collect();
        assert_eq!(found, [65_535, 70_000, 300_000, 5]);
    };
    check(&ledger);
    drop(ledger);
    check(&Ledger::open(folder.path(), "ch", Options::default()).unwrap());
    check(&Ledger::rebuild(folder.path(), "ch", Options::default()).unwrap());
}
