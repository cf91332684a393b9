use super::*;
use crate::faults::MemoryStore;
use std::{fs, path::PathBuf};

const A: Space = Space(0);
const B: Space = Space(1);

fn keys(entries: Entries<'_>) -> Vec<String> {
    entries.map(|entry| String::from_utf8(entry.unwrap().0.to_vec()).unwrap()).collect()
}

/// What every store must do; the double is held to it as well.
fn behaves(store: &dyn Store) {
    let mut batch = Batch::with_capacity(4);
    for key in ["a", "ab", "b", "c"] {
        batch.put(A, key, key);
    }
    batch.put(B, "a", "other space");
    assert_eq!((batch.len(), batch.is_empty()), (5, false));
    store.write(batch).unwrap();
    let before = store.snapshot();
    let mut batch = Batch::default();
    batch.delete(A, "ab");
    batch.delete(A, "never there");
    batch.put(A, "d", "new");
    store.write(batch).unwrap();

    assert_eq!(keys(before.range(A, b"a", Some(b"c"))), ["a", "ab", "b"]);
    assert_eq!(keys(before.range_reverse(A, b"a", Some(b"c"))), ["b", "ab", "a"]);
    assert_eq!(keys(before.prefix(A, b"a")), ["a", "ab"]);
    let after = store.snapshot();
    assert_eq!(keys(after.range(A, b"", None)), ["a", "b", "c", "d"]);
    assert_eq!(keys(after.range_reverse(A, b"b", None)), ["d", "c", "b"]);
    for empty in [after.range(A, b"c", Some(b"a")), after.range_reverse(A, b"c", Some(b"c"))] {
        assert!(keys(empty).is_empty());
    }
    assert_eq!(before.get(A, b"ab").unwrap().as_deref(), Some(&b"ab"[..]));
    assert_eq!((after.get(A, b"ab").unwrap(), store.get(A, b"ab").unwrap()), (None, None));
    assert_eq!(store.get(B, b"a").unwrap().as_deref(), Some(&b"other space"[..]));
    store.persist().unwrap();
    store.clear(A).unwrap();
    assert!(keys(store.snapshot().range(A, b"", None)).is_empty());
    assert_eq!(store.get(B, b"a").unwrap().as_deref(), Some(&b"other space"[..]));
}

#[test]
fn both_stores_behave() {
    behaves(&MemoryStore::default());
    let folder = tempfile::tempdir().unwrap();
    let store = FjallStore::open(folder.path(), &["a", "b"]).unwrap();
    behaves(&store);
    assert!(store.get(Space(9), b"a").is_err());
}

#[test]
fn what_was_persisted_is_there_again_and_the_folder_is_locked_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let store = FjallStore::open(folder.path(), &["a"]).unwrap();
    let mut batch = Batch::default();
    batch.put(A, "key", "value");
    store.write(batch).unwrap();
    store.persist().unwrap();
    assert!(matches!(FjallStore::open(folder.path(), &["a"]), Err(StoreError::InUse { .. })));
    drop(store);
    let store = FjallStore::open(folder.path(), &["a"]).unwrap();
    assert_eq!(store.get(A, b"key").unwrap().as_deref(), Some(&b"value"[..]));
}

#[test]
fn the_end_of_a_prefix() {
    assert_eq!(crate::prefix_end(b"a"), Some(b"b".to_vec()));
    assert_eq!(crate::prefix_end(&[1, 255]), Some(vec![2]));
    assert_eq!(crate::prefix_end(&[255, 255]), None);
}

/// A store with `batches` batches of one row each in two spaces.
fn filled(path: &Path, batches: u64) -> FjallStore {
    let store = FjallStore::open_derived(path, &["a", "b"]).unwrap();
    add(&store, 0, batches);
    store
}

fn add(store: &FjallStore, from: u64, to: u64) {
    for number in from..to {
        let mut batch = Batch::default();
        batch.put(A, number.to_be_bytes(), format!("value of {number}"));
        batch.put(B, "last", number.to_be_bytes());
        store.write(batch).unwrap();
    }
}

/// The number of batches a store holds; it must be exactly those up to some number.
fn whole_batches(store: &FjallStore) -> u64 {
    let snapshot = store.snapshot();
    let rows: Vec<_> = snapshot.range(A, b"", None).map(Result::unwrap).collect();
    for (number, (key, value)) in rows.iter().enumerate() {
        assert_eq!(key[..], (number as u64).to_be_bytes());
        assert_eq!(value, format!("value of {number}").as_bytes());
    }
    let last = store.get(B, b"last").unwrap().map(|bytes| number(&bytes).unwrap());
    assert_eq!(last, (rows.len() as u64).checked_sub(1));
    rows.len() as u64
}

/// Copies a closed or killed store.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            // Journals are large and mostly zeros.
            let mut bytes = fs::read(entry.path()).unwrap();
            let zeros = bytes.iter().rev().take_while(|byte| **byte == 0).count();
            if target.extension().is_some_and(|kind| kind == "jnl") {
                bytes.truncate(bytes.len() - zeros);
            }
            fs::write(target, bytes).unwrap();
        }
    }
}

#[test]
fn a_clean_end_leaves_no_journal_and_everything_in_tables() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..4 {
        let store = FjallStore::open(folder.path(), &["a", "b"]).unwrap();
        assert_eq!(whole_batches(&store), round * 10);
        add(&store, round * 10, round * 10 + 10);
        drop(store);
        assert_eq!(journal::active(folder.path()).unwrap(), [] as [PathBuf; 0]);
    }
}

#[test]
fn spaces_may_be_added_at_the_end_and_are_not_mixed_up() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(folder.path(), 3));
    assert_eq!(whole_batches(&FjallStore::open(folder.path(), &["a", "b", "c"]).unwrap()), 3);
    for other in [&["b", "a", "c"][..], &["a", "b"], &["a", "b", "d"]] {
        assert!(matches!(FjallStore::open(folder.path(), other), Err(StoreError::Engine { .. })), "{other:?}");
    }
}

#[test]
fn the_own_reader_understands_the_engines_journal() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path(), 20);
    // Large enough to be compressed by the engine's defaults, which nobody here would read.
    let mut batch = Batch::default();
    batch.put(A, 20_u64.to_be_bytes(), vec![b'x'; 50_000]);
    store.write(batch).unwrap();
    let killed = tempfile::tempdir().unwrap();
    copy(folder.path(), killed.path());
    let mut reader = journal::Journal::open(&killed.path().join("0.jnl")).unwrap();
    // The names of the spaces are the first batch.
    for number in 1..=22 {
        match reader.next(5).unwrap() {
            journal::Next::Known => assert!(number <= 5),
            journal::Next::Batch(this, rows) => {
                assert_eq!((this, rows.len()), (number, if number == 22 { 1 } else { 2 }));
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(reader.next(0).unwrap(), journal::Next::End));
    let again = FjallStore::open(killed.path(), &["a", "b"]).unwrap();
    assert_eq!(again.get(A, &20_u64.to_be_bytes()).unwrap().unwrap().len(), 50_000);
    assert_eq!(*again.shared.last_batch.lock(), 22);
    // A process killed again, before and after what it read was removed.
    for round in 0..3 {
        let twice = tempfile::tempdir().unwrap();
        copy(folder.path(), twice.path());
        if round > 0 {
            copy(killed.path(), twice.path());
            fs::rename(twice.path().join("0.jnl"), twice.path().join("1.jnl")).unwrap();
            copy(folder.path(), twice.path());
        }
        if round == 2 {
            fs::rename(twice.path().join("0.jnl"), twice.path().join("00000000000000000000.old")).unwrap();
        }
        let store = FjallStore::open(twice.path(), &["a", "b"]).unwrap();
        assert_eq!(*store.shared.last_batch.lock(), 22, "round {round}");
        assert!(!twice.path().join("00000000000000000000.old").exists());
    }
}

#[test]
fn a_journal_cut_or_changed_anywhere_leaves_the_batches_before() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path(), 12);
    let killed = tempfile::tempdir().unwrap();
    copy(folder.path(), killed.path());
    drop(store);
    let size = fs::metadata(killed.path().join("0.jnl")).unwrap().len();
    let mut reached = std::collections::BTreeSet::new();
    for at in (0..size).step_by(17) {
        for cut in [true, false] {
            let torn = tempfile::tempdir().unwrap();
            copy(killed.path(), torn.path());
            let journal = torn.path().join("0.jnl");
            if cut {
                fs::OpenOptions::new().write(true).open(&journal).unwrap().set_len(at).unwrap();
            } else {
                let mut bytes = fs::read(&journal).unwrap();
                bytes[at as usize] ^= 1 << (at % 8);
                fs::write(&journal, bytes).unwrap();
            }
            let store = FjallStore::open_derived(torn.path(), &["a", "b"]).unwrap();
            let left = whole_batches(&store);
            reached.insert(left);
            add(&store, left, left + 2);
            drop(store);
            assert_eq!(whole_batches(&FjallStore::open(torn.path(), &["a", "b"]).unwrap()), left + 2);
        }
    }
    assert_eq!(reached.len(), 13, "{reached:?}");
}

/// Where each batch of a journal begins.
fn starts(journal: &[u8]) -> Vec<usize> {
    (0..journal.len() - 12)
        .filter(|at| *at == 0 || (*at > 3 && journal[at - 4..*at] == [b'F', b'J', b'L', 3]))
        .collect()
}

/// Journals as they are after a rotation: `first` batches in one, the others in the next.
fn two_journals(path: &Path, first: usize) {
    let bytes = fs::read(path.join("0.jnl")).unwrap();
    let at = starts(&bytes)[first];
    fs::write(path.join("0.jnl"), &bytes[..at]).unwrap();
    fs::write(path.join("1.jnl"), &bytes[at..]).unwrap();
}

#[test]
fn a_hole_between_journals_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path(), 12);
    let killed = tempfile::tempdir().unwrap();
    copy(folder.path(), killed.path());
    drop(store);
    two_journals(killed.path(), 7);
    let again = |change: &dyn Fn(&Path)| {
        let folder = tempfile::tempdir().unwrap();
        copy(killed.path(), folder.path());
        change(folder.path());
        let strict = tempfile::tempdir().unwrap();
        copy(folder.path(), strict.path());
        let derived = FjallStore::open_derived(folder.path(), &["a", "b"]).map(|store| whole_batches(&store));
        (derived, FjallStore::open(strict.path(), &["a", "b"]).map(|store| whole_batches(&store)))
    };
    assert!(matches!(again(&|_| ()), (Ok(12), Ok(12))));
    // The end of the first journal is gone, at the boundary of a batch: the engine alone would see nothing.
    let shorter = |path: &Path| {
        let journal = fs::read(path.join("0.jnl")).unwrap();
        fs::write(path.join("0.jnl"), &journal[..*starts(&journal).last().unwrap()]).unwrap();
    };
    let refused = |strict: Result<u64, StoreError>| match strict {
        Err(StoreError::Engine { what, .. }) => {
            assert!(what.contains("where batch") || what.contains("written"), "{what}");
        }
        other => panic!("{other:?}"),
    };
    let (derived, strict) = again(&shorter);
    // The names of the spaces are a batch too.
    assert!(matches!(derived, Ok(5)), "{derived:?}");
    refused(strict);
    // The first journal is gone.
    let (derived, strict) = again(&|path| fs::remove_file(path.join("0.jnl")).unwrap());
    assert!(matches!(derived, Ok(0)), "{derived:?}");
    refused(strict);
    // A bit of a value is another.
    let (derived, strict) = again(&|path| {
        let mut journal = fs::read(path.join("0.jnl")).unwrap();
        let at = journal.windows(10).position(|bytes| bytes == b"value of 2").unwrap();
        journal[at] ^= 1;
        fs::write(path.join("0.jnl"), journal).unwrap();
    });
    assert!(matches!(derived, Ok(2)), "{derived:?}");
    refused(strict);
    // The last one is: a prefix is left.
    assert!(matches!(again(&|path| fs::remove_file(path.join("1.jnl")).unwrap()), (Ok(6), Ok(6))));
}

#[test]
fn without_any_journal_new_rows_still_win_over_old_ones() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(folder.path(), 50));
    assert!(journal::active(folder.path()).unwrap().is_empty());
    let store = FjallStore::open(folder.path(), &["a", "b"]).unwrap();
    let mut batch = Batch::default();
    batch.put(B, "last", "newest");
    store.write(batch).unwrap();
    assert_eq!(store.get(B, b"last").unwrap().unwrap(), "newest");
}

#[test]
fn damage_found_while_running_makes_the_next_opening_read_everything() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(folder.path(), 3000));
    let tables = fs::read_dir(folder.path().join("keyspaces/1/tables")).unwrap();
    let table = tables.map(|entry| entry.unwrap().path()).max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let good = fs::read(&table).unwrap();
    let mut bytes = good.clone();
    bytes[5000] ^= 4;
    fs::write(&table, &bytes).unwrap();
    let store = FjallStore::open_derived(folder.path(), &["a", "b"]).unwrap();
    let failed = store.snapshot().range(A, b"", None).find_map(Result::err);
    assert!(matches!(failed, Some(StoreError::Engine { .. })), "{failed:?}");
    drop(store);
    for _ in 0..2 {
        let again = FjallStore::open_derived(folder.path(), &["a", "b"]);
        assert!(matches!(again, Err(StoreError::Engine { .. })), "{again:?}");
    }
    fs::write(&table, &good).unwrap();
    assert_eq!(whole_batches(&FjallStore::open_derived(folder.path(), &["a", "b"]).unwrap()), 3000);
    assert!(!folder.path().join("suspect").exists());
}

#[test]
fn a_changed_list_of_tables_and_missing_files_are_damage() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(folder.path(), 100));
    let tree = folder.path().join("keyspaces/1");
    let current = fs::read(tree.join("current")).unwrap();
    let manifest = tree.join(format!("v{}", u64::from_le_bytes(current[..8].try_into().unwrap())));
    let tables = fs::read_dir(tree.join("tables")).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<PathBuf> =
        [tree.join("current"), manifest.clone(), folder.path().join("version")].into_iter().chain(tables).collect();
    for file in &files {
        let damaged = tempfile::tempdir().unwrap();
        copy(folder.path(), damaged.path());
        fs::remove_file(damaged.path().join(file.strip_prefix(folder.path()).unwrap())).unwrap();
        let result = FjallStore::open_derived(damaged.path(), &["a", "b"]);
        assert!(matches!(result, Err(StoreError::Engine { .. })), "{file:?}: {result:?}");
    }
    for at in 0..fs::metadata(&manifest).unwrap().len() as usize {
        let damaged = tempfile::tempdir().unwrap();
        copy(folder.path(), damaged.path());
        let file = damaged.path().join(manifest.strip_prefix(folder.path()).unwrap());
        let mut bytes = fs::read(&file).unwrap();
        bytes[at] ^= 16;
        fs::write(&file, bytes).unwrap();
        let result = FjallStore::open_derived(damaged.path(), &["a", "b"]);
        assert!(matches!(result, Err(StoreError::Engine { .. })), "byte {at}: {result:?}");
    }
}

#[test]
fn an_interrupted_creation_is_begun_again_and_openings_that_never_end_are_damage() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("keyspaces")).unwrap();
    fs::write(folder.path().join("0.jnl"), [0; 1000]).unwrap();
    drop(filled(folder.path(), 5));
    fs::write(folder.path().join("opening"), [2]).unwrap();
    assert_eq!(whole_batches(&FjallStore::open_derived(folder.path(), &["a", "b"]).unwrap()), 5);
    assert!(!folder.path().join("opening").exists());
    fs::write(folder.path().join("opening"), [3]).unwrap();
    let result = FjallStore::open_derived(folder.path(), &["a", "b"]);
    assert!(matches!(result, Err(StoreError::Engine { .. })), "{result:?}");
}
