//! Crashes over doubles that tear files and forget batches: whatever is left opens as a prefix of the chain with the right state.

use std::sync::Arc;

use fabric_ledger::{DumpedRow, Ledger, LedgerError, Options};
use konsort_store::{
    LogOptions, SegmentLog, Space, Store,
    faults::{MemoryFiles, MemoryStore},
};

use crate::{
    chain::{dump, genesis, random_block},
    private::Lives,
};

fn options() -> Options {
    Options { collections: Arc::new(Lives(2)), history: true }
}

fn log(files: &MemoryFiles) -> SegmentLog {
    // Small files, so that crashes also meet their boundaries.
    let options = LogOptions { segment_bytes: 6000, ..LogOptions::default() };
    SegmentLog::open_in(Arc::new(files.clone()), options).unwrap()
}

fn open(files: &MemoryFiles, store: &MemoryStore) -> Result<Ledger, LedgerError> {
    Ledger::open_over(log(files), Arc::new(store.clone()), "ch", options())
}

fn create(files: &MemoryFiles, store: &MemoryStore) -> Ledger {
    let shared: Arc<dyn Store> = Arc::new(store.clone());
    Ledger::create_over(log(files), &shared, "ch", &genesis(), options()).unwrap()
}

/// State, and every history of the test's keys, after each block; commit hashes with them.
#[derive(Default)]
struct Reference {
    states: Vec<Vec<DumpedRow>>,
    commit_hashes: Vec<bytes::Bytes>,
    stores: Vec<std::collections::BTreeMap<(Space, Vec<u8>), bytes::Bytes>>,
}

impl Reference {
    fn of(seed: u64, blocks: u64) -> (Self, MemoryFiles, MemoryStore) {
        let (files, store) = (MemoryFiles::default(), MemoryStore::default());
        let ledger = create(&files, &store);
        let mut reference = Self::default();
        reference.add(&ledger, &store);
        for _ in 1..blocks {
            let staged = ledger.stage(random_block(seed, &ledger, ledger.info().current_hash)).unwrap();
            ledger.flush().unwrap();
            assert_eq!(staged.commit_hash, ledger.commit_hash());
            reference.add(&ledger, &store);
        }
        (reference, files, store)
    }

    fn add(&mut self, ledger: &Ledger, store: &MemoryStore) {
        self.states.push(dump(&ledger.snapshot()));
        self.commit_hashes.push(ledger.commit_hash());
        self.stores.push(store.rows());
    }

    fn check(&self, ledger: &Ledger, store: &MemoryStore, at_least: u64) {
        let height = ledger.height();
        assert!(height >= at_least, "{height} of {at_least} blocks are left");
        let last = height as usize - 1;
        assert_eq!(ledger.commit_hash(), self.commit_hashes[last]);
        assert_eq!(dump(&ledger.snapshot()), self.states[last]);
        assert!(store.rows() == self.stores[last], "indexes, history or schedule differ at height {height}");
    }
}

#[test]
fn a_torn_group_at_every_byte_opens_as_a_prefix_and_goes_on() {
    let (reference, _, _) = Reference::of(7, 12);
    let (files, store) = (MemoryFiles::default(), MemoryStore::default());
    let ledger = create(&files, &store);
    for _ in 1..6 {
        ledger.commit(random_block(7, &ledger, ledger.info().current_hash)).unwrap();
    }
    // A group of three blocks whose sync fails.
    let mut previous = ledger.info().current_hash;
    for _ in 0..3 {
        previous = ledger.stage(random_block(7, &ledger, previous)).unwrap().hash.clone();
    }
    files.fail_after(3);
    assert!(ledger.flush().is_err());
    assert_eq!(ledger.height(), 6);
    let unsynced = files.unsynced();
    assert!(unsynced > 1000, "{unsynced}");
    let mut heights = std::collections::BTreeSet::new();
    for kept in 0..=unsynced {
        let (files, store) = (files.crash_keeping(kept), store.crash(|_| 0));
        let again = open(&files, &store).unwrap();
        reference.check(&again, &store, 6);
        heights.insert(again.height());
        if kept % 97 == 0 {
            while again.height() < 12 {
                again.commit(random_block(7, &again, again.info().current_hash)).unwrap();
            }
            reference.check(&again, &store, 12);
        }
    }
    assert!(heights.len() >= 3, "{heights:?}");
}

#[test]
fn sectors_written_in_any_order_open_as_a_prefix() {
    let (reference, _, _) = Reference::of(8, 12);
    for seed in 0..60 {
        let (files, store) = (MemoryFiles::default(), MemoryStore::default());
        let ledger = create(&files, &store);
        let mut previous = ledger.info().current_hash;
        for _ in 0..4 {
            previous = ledger.stage(random_block(8, &ledger, previous)).unwrap().hash.clone();
        }
        ledger.flush().unwrap();
        for _ in 0..4 {
            previous = ledger.stage(random_block(8, &ledger, previous)).unwrap().hash.clone();
        }
        files.fail_after(4);
        assert!(ledger.flush().is_err());
        let (files, store) = (files.crash_scrambled(seed), store.crash(|_| 3));
        reference.check(&open(&files, &store).unwrap(), &store, 5);
    }
}

#[test]
fn databases_that_lag_each_by_another_number_of_blocks_catch_up() {
    for seed in 0..6 {
        let (reference, files, store) = Reference::of(seed, 16);
        let batches = store.unpersisted();
        for lost in 0..batches {
            let kept = |space: Space| match space {
                Space(0) => batches - lost,
                Space(1) => batches.saturating_sub(lost / 2),
                _ => batches.saturating_sub(lost * 2),
            };
            let store = store.crash(kept);
            reference.check(&open(&files, &store).unwrap(), &store, 16);
        }
    }
}

#[test]
fn a_full_disk_loses_nothing_acknowledged() {
    let (reference, _, _) = Reference::of(9, 12);
    for operations in 0..16 {
        let (files, store) = (MemoryFiles::default(), MemoryStore::default());
        let ledger = create(&files, &store);
        files.fail_after(operations);
        let mut acknowledged = 1;
        while let Ok(staged) = ledger.commit(random_block(9, &ledger, ledger.info().current_hash)) {
            acknowledged = staged.number + 1;
            if acknowledged == 12 {
                break;
            }
        }
        let (files, store) = (files.crash_keeping(40), store.crash(|_| 2));
        reference.check(&open(&files, &store).unwrap(), &store, acknowledged);
    }
}

/// Flushing is tried again when there is space; the block files and the databases may have stopped at any place before.
#[test]
fn a_flush_refused_by_a_full_disk_is_repeated_with_the_same_result() {
    let (reference, _, _) = Reference::of(10, 12);
    let (mut repeated, mut restarted) = (0, 0);
    for files_left in 0..9 {
        for batches_left in 0..6 {
            let (files, store) = (MemoryFiles::default(), MemoryStore::default());
            let ledger = create(&files, &store);
            for _ in 1..4 {
                ledger.commit(random_block(10, &ledger, ledger.info().current_hash)).unwrap();
            }
            let mut previous = ledger.info().current_hash;
            for _ in 0..4 {
                previous = ledger.stage(random_block(10, &ledger, previous)).unwrap().hash.clone();
            }
            files.fail_after(files_left);
            store.fail_after(batches_left);
            let watch = ledger.height_watch();
            let mut flushed = ledger.flush().map(|blocks| blocks.len());
            if flushed.is_err() {
                // Nothing is promised, nothing is forgotten, and what validation sees stays.
                assert_eq!((ledger.height(), ledger.staged_height()), (4, 8));
                assert!(!watch.has_changed().unwrap());
                assert!(ledger.flush().is_err(), "the disk is still full");
                assert_eq!(ledger.staged_height(), 8);
                files.free_space();
                store.free_space();
                flushed = ledger.flush().map(|blocks| blocks.len());
                repeated += usize::from(flushed.is_ok());
            }
            match flushed {
                Ok(blocks) => {
                    assert_eq!((blocks, ledger.height()), (4, 8));
                    reference.check(&ledger, &store, 8);
                }
                // A refused sync: what is on disk is known only after opening again.
                Err(LedgerError::Store(konsort_store::StoreError::Poisoned { .. })) => restarted += 1,
                Err(other) => panic!("{files_left} {batches_left}: {other}"),
            }
            drop(ledger);
            files.free_space();
            store.free_space();
            let (files, store) = (files.crash_keeping(usize::MAX), store.crash(|_| batches_left as usize));
            let again = open(&files, &store).unwrap();
            reference.check(&again, &store, 4);
            while again.height() < 12 {
                again.commit(random_block(10, &again, again.info().current_hash)).unwrap();
            }
            reference.check(&again, &store, 12);
        }
    }
    assert!(repeated > 20 && restarted > 3, "{repeated} flushes were repeated, {restarted} needed a restart");
}

#[test]
fn databases_ahead_of_the_block_files_are_refused() {
    let (_, _, store) = Reference::of(3, 5);
    let (files, other) = (MemoryFiles::default(), MemoryStore::default());
    drop(create(&files, &other));
    store.persist().unwrap();
    match open(&files, &store) {
        Err(LedgerError::AheadOfBlocks { derived: 5, blocks: 1, .. }) => {}
        other => panic!("{other:?}"),
    }
}
