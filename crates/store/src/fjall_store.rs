//! [`Store`] on the embedded log-structured engine fjall.

use std::{
    ops::Bound,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable as _};

use crate::{Batch, Entries, Operation, Snapshot, Space, Store, StoreError};

/// A store in one folder; clones share it.
#[derive(Clone)]
pub struct FjallStore {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    database: Database,
    spaces: Vec<Keyspace>,
}

/// Enough for the hot part of a channel's state; shared by all spaces of a store.
const CACHE_BYTES: u64 = 32 << 20;
/// What a space holds in memory before it is written out: also what every opening sorts again, at about 1 µs a row.
const MEMTABLE_BYTES: u64 = 8 << 20;

impl FjallStore {
    /// Opens or creates the store in `path` with the given spaces; [`Space`] counts them from 0.
    pub fn open(path: impl AsRef<Path>, spaces: &[&str]) -> Result<Self, StoreError> {
        let path = path.as_ref().to_path_buf();
        std::fs::create_dir_all(&path).map_err(|source| StoreError::io("create", &path, source))?;
        let database = Database::builder(&path)
            .cache_size(CACHE_BYTES)
            .worker_threads(1)
            // Who uses this store replays its own log after a power cut, so a batch is only handed to the system (see `write`).
            .manual_journal_persist(true)
            .open()
            .map_err(|error| match error {
                fjall::Error::Locked => StoreError::InUse { path: path.clone() },
                other => engine(&path, other),
            })?;
        let spaces = spaces
            .iter()
            .map(|name| {
                database
                    .keyspace(name, || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES))
                    .map_err(|error| engine(&path, error))
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self { shared: Arc::new(Shared { path, database, spaces }) })
    }

    /// The folder of the store.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }
}

impl Shared {
    fn space(&self, space: Space) -> Result<&Keyspace, StoreError> {
        self.spaces.get(usize::from(space.0)).ok_or_else(|| StoreError::Engine {
            path: self.path.clone(),
            what: format!("space {} was not opened", space.0),
        })
    }
}

fn engine(path: &Path, error: impl std::fmt::Display) -> StoreError {
    StoreError::Engine { path: path.to_path_buf(), what: error.to_string() }
}

impl std::fmt::Debug for FjallStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FjallStore").field("path", &self.shared.path).finish_non_exhaustive()
    }
}

impl Store for FjallStore {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let found = self.shared.space(space)?.get(key).map_err(|error| engine(&self.shared.path, error))?;
        Ok(found.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn snapshot(&self) -> Arc<dyn Snapshot> {
        Arc::new(FjallSnapshot { shared: Arc::clone(&self.shared), snapshot: self.shared.database.snapshot() })
    }

    fn write(&self, batch: Batch) -> Result<(), StoreError> {
        let shared = &self.shared;
        // With the system a batch outlives a killed process, which then has nothing to replay.
        let mut write = fjall::OwnedWriteBatch::with_capacity(shared.database.clone(), batch.operations.len())
            .durability(Some(PersistMode::Buffer));
        for operation in batch.operations {
            match operation {
                Operation::Put(space, key, value) => write.insert(shared.space(space)?, key, value),
                Operation::Delete(space, key) => write.remove(shared.space(space)?, key),
            }
        }
        write.commit().map_err(|error| engine(&shared.path, error))
    }

    fn persist(&self) -> Result<(), StoreError> {
        self.shared.database.persist(PersistMode::SyncData).map_err(|error| engine(&self.shared.path, error))
    }

    fn clear(&self, space: Space) -> Result<(), StoreError> {
        self.shared.space(space)?.clear().map_err(|error| engine(&self.shared.path, error))
    }
}

struct FjallSnapshot {
    shared: Arc<Shared>,
    snapshot: fjall::Snapshot,
}

impl FjallSnapshot {
    fn iterate(&self, space: Space, start: &[u8], end: Option<&[u8]>) -> Result<fjall::Iter, StoreError> {
        let end = end.map_or(Bound::Unbounded, Bound::Excluded);
        let space = self.shared.space(space)?;
        Ok(self.snapshot.range::<&[u8], _>(space, (Bound::Included(start), end)))
    }

    /// The engine panics on a range that ends before it starts.
    fn is_empty_range(start: &[u8], end: Option<&[u8]>) -> bool {
        end.is_some_and(|end| end <= start)
    }

    fn entry(&self) -> impl Fn(fjall::Guard) -> Result<(Bytes, Bytes), StoreError> + Send + use<> {
        let shared = Arc::clone(&self.shared);
        move |guard| {
            let (key, value) = guard.into_inner().map_err(|error| engine(&shared.path, error))?;
            Ok((Bytes::copy_from_slice(&key), Bytes::copy_from_slice(&value)))
        }
    }
}

impl Snapshot for FjallSnapshot {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let space = self.shared.space(space)?;
        let found = self.snapshot.get(space, key).map_err(|error| engine(&self.shared.path, error))?;
        Ok(found.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn range(&self, space: Space, start: &[u8], end: Option<&[u8]>) -> Entries<'static> {
        if Self::is_empty_range(start, end) {
            return Box::new(std::iter::empty());
        }
        match self.iterate(space, start, end) {
            Ok(iter) => Box::new(iter.map(self.entry())),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    }

    fn range_reverse(&self, space: Space, start: &[u8], end: Option<&[u8]>) -> Entries<'static> {
        if Self::is_empty_range(start, end) {
            return Box::new(std::iter::empty());
        }
        match self.iterate(space, start, end) {
            Ok(iter) => Box::new(iter.rev().map(self.entry())),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::MemoryStore;

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
}
