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
const CACHE_BYTES: u64 = 64 << 20;

impl FjallStore {
    /// Opens or creates the store in `path` with the given spaces; [`Space`] counts them from 0.
    pub fn open(path: impl AsRef<Path>, spaces: &[&str]) -> Result<Self, StoreError> {
        let path = path.as_ref().to_path_buf();
        std::fs::create_dir_all(&path).map_err(|source| StoreError::io("create", &path, source))?;
        let database = Database::builder(&path)
            .cache_size(CACHE_BYTES)
            .worker_threads(1)
            // Who uses this store replays its own log after a crash, so a batch is not even handed to the system by itself.
            .manual_journal_persist(true)
            .open()
            .map_err(|error| match error {
                fjall::Error::Locked => StoreError::InUse { path: path.clone() },
                other => engine(&path, other),
            })?;
        let spaces = spaces
            .iter()
            .map(|name| database.keyspace(name, KeyspaceCreateOptions::default).map_err(|error| engine(&path, error)))
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
        let mut write = fjall::OwnedWriteBatch::with_capacity(shared.database.clone(), batch.operations.len());
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
