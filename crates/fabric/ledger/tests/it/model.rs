//! Concurrency control against a naive model, and any grouping of blocks against one by one.

use std::collections::BTreeMap;

use bytes::Bytes;
use fabric_ledger::{
    Height, Ledger, Options, StateReader, TxToCommit,
    rwset::{TxRwset, is_delete},
};
use fabric_proto::{
    kvrwset::{KvMetadataEntry, RangeQueryInfo, range_query_info::ReadsInfo},
    protos::TxValidationCode,
};
use konsort_crypto::hash::sha256;
use proptest::prelude::*;

use crate::chain::{dump, genesis, random_block};

/// (namespace, collection or empty, key) -> value, metadata, version.
type Model = BTreeMap<(String, String, Vec<u8>), (Bytes, Vec<KvMetadataEntry>, Height)>;

fn model_version(state: &Model, ns: &str, coll: &str, key: &[u8]) -> Option<Height> {
    state.get(&(ns.into(), coll.into(), key.to_vec())).map(|row| row.2)
}

/// A key changed by this block conflicts even when it has the read version again (deleted before, deleted after).
fn model_reads(
    rwset: &TxRwset,
    before: &Model,
    touched: &[(String, String, Vec<u8>)],
    now: &Model,
) -> TxValidationCode {
    for ns in &rwset.namespaces {
        let changed = |coll: &str, key: &[u8]| touched.contains(&(ns.namespace.clone(), coll.into(), key.to_vec()));
        for read in &ns.public.reads {
            let key = read.key.as_bytes();
            if changed("", key)
                || model_version(before, &ns.namespace, "", key) != read.version.as_ref().map(Height::from)
            {
                return TxValidationCode::MvccReadConflict;
            }
        }
        for query in &ns.public.range_queries_info {
            if !model_range(&ns.namespace, query, now) {
                return TxValidationCode::PhantomReadConflict;
            }
        }
        for coll in &ns.collections {
            for read in &coll.hashed.hashed_reads {
                let version = model_version(before, &ns.namespace, &coll.name, &read.key_hash);
                if changed(&coll.name, &read.key_hash) || version != read.version.as_ref().map(Height::from) {
                    return TxValidationCode::MvccReadConflict;
                }
            }
        }
    }
    TxValidationCode::Valid
}

fn model_range(namespace: &str, query: &RangeQueryInfo, now: &Model) -> bool {
    let rows: Vec<(String, Height)> = now
        .iter()
        .filter(|((ns, coll, _), _)| ns == namespace && coll.is_empty())
        .map(|((_, _, key), row)| (String::from_utf8(key.clone()).unwrap(), row.2))
        .filter(|(key, _)| *key >= query.start_key)
        .filter(|(key, _)| {
            query.end_key.is_empty() || *key < query.end_key || (!query.itr_exhausted && *key == query.end_key)
        })
        .collect();
    let recorded: Vec<(String, Height)> = match &query.reads_info {
        Some(ReadsInfo::RawReads(reads)) => {
            reads.kv_reads.iter().map(|read| (read.key.clone(), Height::from(read.version.as_ref().unwrap()))).collect()
        }
        _ => Vec::new(),
    };
    rows == recorded
}

fn model_apply(rwset: &TxRwset, version: Height, state: &mut Model) -> Vec<(String, String, Vec<u8>)> {
    let mut values: BTreeMap<(String, String, Vec<u8>), Option<Bytes>> = BTreeMap::new();
    let mut metadata: BTreeMap<(String, String, Vec<u8>), Vec<KvMetadataEntry>> = BTreeMap::new();
    for ns in &rwset.namespaces {
        let place = |coll: &str, key: &[u8]| (ns.namespace.clone(), coll.to_owned(), key.to_vec());
        for write in &ns.public.writes {
            values.insert(place("", write.key.as_bytes()), (!is_delete(write)).then(|| write.value.clone()));
        }
        for write in &ns.public.metadata_writes {
            metadata.insert(place("", write.key.as_bytes()), write.entries.clone());
        }
        for coll in &ns.collections {
            for write in &coll.hashed.hashed_writes {
                let value = (!write.is_delete && write.value_hash != sha256(b"")[..]).then(|| write.value_hash.clone());
                values.insert(place(&coll.name, &write.key_hash), value);
            }
            for write in &coll.hashed.metadata_writes {
                metadata.insert(place(&coll.name, &write.key_hash), write.entries.clone());
            }
        }
    }
    let mut touched = Vec::new();
    for place in values.keys().chain(metadata.keys()).cloned().collect::<std::collections::BTreeSet<_>>() {
        let old = state.get(&place).cloned();
        let value = match values.get(&place) {
            Some(value) => value.clone(),
            None => match &old {
                Some(old) => Some(old.0.clone()),
                None => continue,
            },
        };
        let entries = metadata.get(&place).cloned().or(old.map(|old| old.1)).unwrap_or_default();
        touched.push(place.clone());
        match value {
            Some(value) => state.insert(place, (value, entries, version)),
            None => state.remove(&place),
        };
    }
    touched
}

fn model_block(number: u64, transactions: &[TxToCommit], state: &mut Model) -> Vec<u8> {
    let before = state.clone();
    let mut touched = Vec::new();
    let mut flags = Vec::new();
    for (index, transaction) in transactions.iter().enumerate() {
        let rwset = transaction.rwset.as_ref().unwrap();
        let code = model_reads(rwset, &before, &touched, state);
        if code == TxValidationCode::Valid {
            touched.extend(model_apply(rwset, Height::new(number, index as u64), state));
        }
        flags.push(code as i32 as u8);
    }
    flags
}

fn as_model(ledger: &Ledger) -> Model {
    dump(&ledger.snapshot())
        .into_iter()
        .filter(|row| !row.namespace.is_empty())
        .map(|row| {
            let metadata = fabric_ledger::decode_metadata(&row.value.metadata).unwrap();
            let entries = metadata.into_iter().map(|(name, value)| KvMetadataEntry { name, value }).collect();
            let place = (row.namespace, row.collection.unwrap_or_default(), row.key.to_vec());
            (place, (row.value.value, entries, row.value.version))
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn verdicts_and_state_equal_the_naive_model_in_any_grouping(seed in any::<u64>(), groups in prop::collection::vec(1_usize..5, 1..9)) {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::create(folder.path(), "ch", &genesis(), Options::default()).unwrap();
        let mut model = Model::new();
        let mut previous = ledger.info().current_hash;
        let mut conflicts = 0;
        for group in groups {
            for _ in 0..group {
                let input = random_block(seed, &ledger, previous);
                let transactions = input.transactions.clone();
                let staged = ledger.stage(input).unwrap();
                previous = staged.hash.clone();
                let flags = model_block(staged.number, &transactions, &mut model);
                conflicts += flags.iter().filter(|flag| **flag != 0).count();
                prop_assert_eq!(&staged.flags, &flags);
                // The view over staged blocks shows what the model holds.
                let view = ledger.view();
                for ns in ["a", "b"] {
                    let rows: Vec<_> = view.range(ns, "", "").unwrap().map(|row| row.unwrap()).map(|row| (row.key, row.value.version)).collect();
                    let want: Vec<_> = model.iter().filter(|((of, coll, _), _)| of == ns && coll.is_empty())
                        .map(|((_, _, key), row)| (String::from_utf8(key.clone()).unwrap(), row.2)).collect();
                    prop_assert_eq!(rows, want);
                }
            }
            ledger.flush().unwrap();
            prop_assert_eq!(&as_model(&ledger), &model);
        }
        let _ = conflicts;
        let (state, commit_hash) = (dump(&ledger.snapshot()), ledger.commit_hash());
        drop(ledger);
        let rebuilt = Ledger::rebuild(folder.path(), "ch", Options::default()).unwrap();
        prop_assert_eq!(dump(&rebuilt.snapshot()), state);
        prop_assert_eq!(rebuilt.commit_hash(), commit_hash);
    }
}

/// The random chains above must meet both kinds of conflict, or they prove little.
#[test]
fn random_chains_meet_every_verdict() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::create(folder.path(), "ch", &genesis(), Options::default()).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..60 {
        let staged = ledger.commit(random_block(5, &ledger, ledger.info().current_hash)).unwrap();
        seen.extend(staged.flags.iter().copied());
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [0, 11, 12]);
}
