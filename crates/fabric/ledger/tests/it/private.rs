//! Block-to-live, purges, metadata on deleted keys, and other corners of the state.

use std::sync::Arc;

use bytes::Bytes;
use fabric_ledger::{
    CollectionSet, Collections, Height, Ledger, LedgerError, Options, StateGet, StateReader, TxToCommit, mvcc,
    rwset::{CollectionRwset, NsRwset, TxRwset},
};
use fabric_proto::{
    kvrwset::{
        HashedRwSet, KvMetadataWrite, KvRead, KvWriteHash, KvrwSet, QueryReads, QueryReadsMerkleSummary,
        RangeQueryInfo, range_query_info::ReadsInfo,
    },
    protos::TxValidationCode,
};

use crate::chain::{COLLECTION, dump, genesis, metadata, next, write, writes};

/// Every chaincode has one collection.
#[derive(Debug)]
pub(crate) struct Lives(pub(crate) u64);

impl Collections for Lives {
    fn collections(&self, _: &dyn StateGet, _: &str) -> Result<Option<Arc<CollectionSet>>, LedgerError> {
        Ok(Some(Arc::new([(COLLECTION.to_owned(), self.0)].into())))
    }
}

fn private(key: &'static str, value: &'static str, is_purge: bool) -> TxRwset {
    let write = KvWriteHash {
        key_hash: Bytes::from(key),
        is_delete: value.is_empty(),
        value_hash: Bytes::from(value),
        is_purge,
    };
    let hashed = HashedRwSet { hashed_writes: vec![write], ..HashedRwSet::default() };
    TxRwset {
        namespaces: vec![NsRwset {
            namespace: "cc".into(),
            public: KvrwSet::default(),
            collections: vec![CollectionRwset { name: COLLECTION.into(), hashed, private_hash: Bytes::from("h") }],
        }],
    }
}

fn ledger(folder: &tempfile::TempDir, lives: u64) -> Ledger {
    let options = Options { collections: Arc::new(Lives(lives)), history: true };
    Ledger::create(folder.path(), "ch", &genesis(), options).unwrap()
}

fn commit(ledger: &Ledger, rwsets: Vec<TxRwset>) {
    let info = ledger.info();
    ledger.commit(next(info.height, info.current_hash, rwsets)).unwrap();
}

fn hash_of(ledger: &Ledger, key: &str) -> Option<Bytes> {
    let (durable, view) = (ledger.snapshot(), ledger.view());
    let row = view.get_hash("cc", COLLECTION, key.as_bytes()).unwrap();
    assert!(
        ledger.staged_height() > ledger.height() || row == durable.get_hash("cc", COLLECTION, key.as_bytes()).unwrap()
    );
    row.map(|row| row.value)
}

#[test]
fn a_row_leaves_one_block_after_its_life_unless_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = ledger(&folder, 3);
    commit(&ledger, vec![private("once", "v", false), private("twice", "v", false), private("gone", "v", false)]);
    commit(&ledger, vec![private("twice", "w", false), private("gone", "", true)]);
    commit(&ledger, vec![]);
    commit(&ledger, vec![]);
    // Written in block 1: still there after block 1 + 3.
    assert_eq!((hash_of(&ledger, "once"), hash_of(&ledger, "twice")), (Some("v".into()), Some("w".into())));
    assert_eq!(hash_of(&ledger, "gone"), None);
    commit(&ledger, vec![]);
    assert_eq!((hash_of(&ledger, "once"), hash_of(&ledger, "twice")), (None, Some("w".into())));
    commit(&ledger, vec![]);
    assert_eq!(hash_of(&ledger, "twice"), None);
    assert!(dump(&ledger.snapshot()).iter().all(|row| row.collection.is_none()));
}

#[test]
fn a_row_leaves_in_time_while_nothing_is_on_disk_yet() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = ledger(&folder, 1);
    let mut previous = ledger.info().current_hash;
    let mut stage = |rwsets| {
        let staged = ledger.stage(next(ledger.staged_height(), previous.clone(), rwsets)).unwrap();
        previous = staged.hash.clone();
        staged
    };
    stage(vec![private("k", "v", false), private("again", "v", false)]);
    stage(vec![]);
    assert_eq!(hash_of(&ledger, "k"), Some("v".into()));
    let third = stage(vec![private("again", "w", false)]);
    assert_eq!(third.updates.expired.len(), 1);
    assert_eq!((hash_of(&ledger, "k"), hash_of(&ledger, "again")), (None, Some("w".into())));
    assert_eq!(ledger.flush().unwrap().len(), 3);
    assert_eq!((hash_of(&ledger, "k"), hash_of(&ledger, "again")), (None, Some("w".into())));
    // The removal is no part of the commit hash: the same block without expiry has the same one.
    let forever = tempfile::tempdir().unwrap();
    let other = Ledger::create(forever.path(), "ch", &genesis(), Options::default()).unwrap();
    commit(&other, vec![private("k", "v", false), private("again", "v", false)]);
    commit(&other, vec![]);
    commit(&other, vec![private("again", "w", false)]);
    assert_eq!(other.commit_hash(), ledger.commit_hash());
}

fn meta(key: &str, value: &str) -> TxRwset {
    let mut rwset = writes("cc", &[]);
    rwset.namespaces[0].public.metadata_writes.push(KvMetadataWrite { key: key.into(), entries: metadata(value) });
    rwset
}

#[test]
fn metadata_stays_over_value_writes_and_ends_with_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = ledger(&folder, 0);
    commit(&ledger, vec![writes("cc", &[("k", "1")]), meta("k", "policy"), meta("absent", "policy")]);
    let row = ledger.snapshot().get("cc", "k").unwrap().unwrap();
    assert_eq!((&row.value[..], row.version, row.metadata.is_empty()), (&b"1"[..], Height::new(1, 1), false));
    assert!(ledger.snapshot().get("cc", "absent").unwrap().is_none());
    commit(&ledger, vec![writes("cc", &[("k", "2")])]);
    assert_eq!(ledger.snapshot().get("cc", "k").unwrap().unwrap().metadata, row.metadata);
    commit(&ledger, vec![meta("k", "")]);
    let row = ledger.snapshot().get("cc", "k").unwrap().unwrap();
    assert_eq!((&row.value[..], row.metadata.is_empty(), row.version), (&b"2"[..], true, Height::new(3, 0)));
    // A delete and then a metadata write of the same key in one block: the key is gone, as if the block had been two.
    commit(&ledger, vec![writes("cc", &[("k", "")]), meta("k", "policy")]);
    assert!(ledger.snapshot().get("cc", "k").unwrap().is_none());
    let history: Vec<_> = ledger.history("cc", "k").unwrap().map(|entry| entry.unwrap()).collect();
    assert_eq!(
        history.iter().map(|e| (&e.value[..], e.is_delete)).collect::<Vec<_>>(),
        [(&b""[..], true), (b"2", false), (b"1", false)]
    );
}

fn verdict(ledger: &Ledger, rwset: TxRwset) -> TxValidationCode {
    let mut transactions = [TxToCommit { txid: String::new(), code: TxValidationCode::Valid, rwset: Some(rwset) }];
    mvcc::validate(ledger.height(), &mut transactions, &ledger.snapshot()).unwrap();
    transactions[0].code
}

fn ranged(query: RangeQueryInfo) -> TxRwset {
    let mut rwset = writes("cc", &[]);
    rwset.namespaces[0].public.range_queries_info.push(query);
    rwset
}

/// Claims no honest endorser makes: each gets a verdict where the original stops or reads beyond an array.
#[test]
fn hostile_range_claims_get_a_verdict() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = ledger(&folder, 0);
    let keys: Vec<String> = (0..200).map(|number| format!("k{number:03}")).collect();
    commit(&ledger, vec![writes("cc", &keys.iter().map(|key| (key.as_str(), "v")).collect::<Vec<_>>())]);
    let query =
        |reads_info| RangeQueryInfo { start_key: "k".into(), end_key: "l".into(), itr_exhausted: true, reads_info };
    for max_degree in [0, 1, 2, 3, u32::MAX] {
        for max_level in [0, 1, 2, 7, u32::MAX] {
            for hashes in [0, 1, 90] {
                let max_level_hashes = vec![Bytes::from("no hash"); hashes];
                let summary = QueryReadsMerkleSummary { max_degree, max_level, max_level_hashes };
                let claim = ranged(query(Some(ReadsInfo::ReadsMerkleHashes(summary))));
                assert_eq!(verdict(&ledger, claim), TxValidationCode::PhantomReadConflict);
            }
        }
    }
    let nameless = KvRead { key: "k000".into(), version: None };
    let claim = ranged(query(Some(ReadsInfo::RawReads(QueryReads { kv_reads: vec![nameless] }))));
    assert_eq!(verdict(&ledger, claim), TxValidationCode::PhantomReadConflict);
    let backwards =
        RangeQueryInfo { start_key: "z".into(), end_key: "a".into(), itr_exhausted: true, reads_info: None };
    assert_eq!(verdict(&ledger, ranged(backwards)), TxValidationCode::Valid);
    assert_eq!(verdict(&ledger, ranged(query(None))), TxValidationCode::PhantomReadConflict);
}

/// A key twice in one write set: upstream adds the operations up, two writes read as a metadata write.
#[test]
fn a_key_written_twice_in_one_set_means_what_it_means_upstream() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = ledger(&folder, 0);
    commit(&ledger, vec![writes("cc", &[("k", "old")])]);
    let mut twice = writes("cc", &[]);
    twice.namespaces[0].public.writes = vec![write("k", "x"), write("k", "y"), write("new", "x"), write("new", "y")];
    commit(&ledger, vec![twice]);
    let row = ledger.snapshot().get("cc", "k").unwrap().unwrap();
    assert_eq!((&row.value[..], row.version), (&b"old"[..], Height::new(2, 0)));
    assert!(ledger.snapshot().get("cc", "new").unwrap().is_none());
}

#[test]
fn a_block_that_does_not_follow_is_refused_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = ledger(&folder, 0);
    let hash = ledger.info().current_hash;
    assert!(matches!(ledger.stage(next(2, hash.clone(), vec![])), Err(LedgerError::WrongNumber { expected: 1, .. })));
    assert!(matches!(ledger.stage(next(1, Bytes::from("x"), vec![])), Err(LedgerError::WrongPrevious { .. })));
    let mut short = next(1, hash.clone(), vec![writes("cc", &[("k", "v")])]);
    short.transactions.clear();
    assert!(matches!(ledger.stage(short), Err(LedgerError::MalformedBlock { number: 1, .. })));
    assert_eq!((ledger.staged_height(), ledger.flush().unwrap().len()), (1, 0));
    commit(&ledger, vec![writes("cc", &[("k", "v")])]);
    assert_eq!(ledger.height(), 2);
    assert!(matches!(
        Ledger::create(folder.path().join("blocks/.."), "ch", &genesis(), Options::default()),
        Err(LedgerError::Store(_))
    ));
    drop(ledger);
    assert!(matches!(Ledger::create(folder.path(), "ch", &genesis(), Options::default()), Err(LedgerError::Folder(_))));
    assert!(Ledger::exists(folder.path()));
    let empty = tempfile::tempdir().unwrap();
    assert!(!Ledger::exists(empty.path()));
    assert!(matches!(Ledger::open(empty.path(), "ch", Options::default()), Err(LedgerError::Folder(_))));
}

#[test]
fn history_switched_on_later_is_derived_from_the_blocks() {
    let folder = tempfile::tempdir().unwrap();
    let without = Options { history: false, ..Options::default() };
    let ledger = Ledger::create(folder.path(), "ch", &genesis(), without).unwrap();
    commit(&ledger, vec![writes("cc", &[("k", "1")]), writes("cc", &[("k", "2")])]);
    assert!(ledger.history("cc", "k").is_err());
    drop(ledger);
    let ledger = Ledger::open(folder.path(), "ch", Options::default()).unwrap();
    let values: Vec<Bytes> = ledger.history("cc", "k").unwrap().map(|entry| entry.unwrap().value).collect();
    assert_eq!(values, ["2", "1"]);
    assert_eq!(ledger.history("cc", "other").unwrap().count(), 0);
}
