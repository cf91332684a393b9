//! [`Store`] on the embedded log-structured engine fjall.
//!
//! All spaces share one tree of the engine (a key begins with the number of its space): one table is written out at a time, so the
//! engine's journal behind it can go, and a batch is whole or absent on disk whatever spaces it touches. Every batch is numbered in the
//! journal, which tells a journal with a hole from a whole one.

mod close;
mod health;
mod journal;
mod long;

use std::{
    ops::Bound,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable as _};
use parking_lot::Mutex;

use crate::{Batch, Entries, Operation, Snapshot, Space, Store, StoreError, segment::FolderLock};
use health::Health;

/// A store in one folder; clones share it.
#[derive(Clone)]
pub struct FjallStore {
    shared: Arc<Shared>,
}

/// Rows of the engine: no value stands for a removal.
type Rows = Vec<(fjall::UserKey, Option<fjall::UserValue>)>;

/// The fields go in this order: the engine closes before its journals are cut, the lock comes last.
struct Shared {
    tree: Keyspace,
    database: Database,
    /// Cuts the journals when the engine is closed, if nothing in them is needed.
    close: close::CutJournals,
    health: Health,
    spaces: usize,
    /// Number of the last batch; held while a batch is written, so that their order in the journal is that of their numbers.
    last_batch: Mutex<u64>,
    _lock: FolderLock,
}

/// Enough for the hot part of a channel's state; shared by all spaces of a store.
const CACHE_BYTES: u64 = 32 << 20;
/// What is held in memory before it is written out: also what an opening after a kill sorts again, at about 1 µs a row.
const MEMTABLE_BYTES: u64 = 16 << 20;
/// How long the engine of a store that was closed a moment ago may still hold its lock.
const CLOSING: Duration = Duration::from_secs(10);
/// The engine's name for the one tree.
const TREE: &str = "rows";
/// First byte of the store's own keys; spaces count from 0.
const OWN: u8 = u8::MAX;
/// Under it: the number of the last batch.
const LAST_BATCH: &[u8] = &[OWN, 0];
/// Under it: the names of the spaces, in order.
const NAMES: &[u8] = &[OWN, 1];

impl FjallStore {
    /// Opens or creates the store in `path` with the given spaces; [`Space`] counts them from 0. Later openings may add names at the end.
    ///
    /// [`StoreError::Engine`] means that the store is damaged.
    pub fn open(path: impl AsRef<Path>, spaces: &[&str]) -> Result<Self, StoreError> {
        Self::open_as(path.as_ref(), spaces, false)
    }

    /// [`FjallStore::open`] for rows that can be derived again from elsewhere: batches behind a bad place of the journal are dropped,
    /// persisted or not, and what is left is the state after some batch. Damage that leaves no such state is the error
    /// [`StoreError::Engine`]: then the folder has to go.
    pub fn open_derived(path: impl AsRef<Path>, spaces: &[&str]) -> Result<Self, StoreError> {
        Self::open_as(path.as_ref(), spaces, true)
    }

    fn open_as(path: &Path, spaces: &[&str], derived: bool) -> Result<Self, StoreError> {
        match Self::open_once(path, spaces, derived) {
            // The engine's own thread came upon something in a table before we did: the next opening reads all of them first.
            Err(StoreError::Poisoned { .. }) => Self::open_once(path, spaces, derived),
            other => other,
        }
    }

    fn open_once(path: &Path, spaces: &[&str], derived: bool) -> Result<Self, StoreError> {
        std::fs::create_dir_all(path).map_err(|source| StoreError::io("create", path, source))?;
        let lock = FolderLock::take(path, "owner")?;
        let health = Health::of(path);
        let opening = health.begin_opening()?;
        let mut journals = Vec::new();
        if health::holds_a_database(path)? {
            health::check_manifests(path)?;
            journals = journal::move_aside(path)?;
        }
        let (database, tree) = unpanicked(path, || open_engine(path))?;
        let shared = Shared {
            tree,
            database,
            close: close::CutJournals::new(path),
            health,
            spaces: spaces.len(),
            last_batch: Mutex::default(),
            _lock: lock,
        };
        let suspect = shared.health.is_suspect();
        if suspect {
            unpanicked(path, || shared.read_everything())?;
        }
        unpanicked(path, || shared.replay(&journals, derived))?;
        shared.check_names(spaces)?;
        if suspect {
            shared.health.is_fine_after_all();
        }
        drop(opening);
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The folder of the store.
    pub fn path(&self) -> &Path {
        self.shared.health.path()
    }
}

fn open_engine(path: &Path) -> Result<(Database, Keyspace), StoreError> {
    let failed = |error| health::translate(path, error);
    let builder = || {
        Database::builder(path)
            .cache_size(CACHE_BYTES)
            .worker_threads(1)
            // Who uses this store replays its own log after a power cut, so a batch is only handed to the system (see `write`).
            .manual_journal_persist(true)
            .journal_compression(CompressionType::None)
    };
    let begun = Instant::now();
    let database = loop {
        match builder().open() {
            // The folder is ours: what still holds the engine's lock is the last of a closed store that is about to end.
            Err(fjall::Error::Locked) if begun.elapsed() < CLOSING => std::thread::sleep(Duration::from_millis(10)),
            other => break other.map_err(failed)?,
        }
    };
    let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
    let tree = database.keyspace(TREE, options).map_err(failed)?;
    Ok((database, tree))
}

/// The engine asserts some of what it reads; damage must stay an error.
fn unpanicked<T>(path: &Path, run: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|_| Err(engine(path, "it stopped on what it read from its files")))
}

fn engine(path: &Path, what: impl Into<String>) -> StoreError {
    StoreError::Engine { path: path.to_path_buf(), what: what.into() }
}

fn number(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

impl Shared {
    fn path(&self) -> &Path {
        self.health.path()
    }

    /// Translates an error of the engine; one that may mean damage makes the next opening look at everything.
    fn failed(&self, error: fjall::Error) -> StoreError {
        let error = health::translate(self.path(), error);
        if matches!(error, StoreError::Engine { .. } | StoreError::Poisoned { .. }) {
            self.health.suspect();
        }
        error
    }

    fn check_space(&self, space: Space) -> Result<u8, StoreError> {
        if usize::from(space.0) < self.spaces {
            return Ok(space.0);
        }
        Err(engine(self.path(), format!("space {} was not opened", space.0)))
    }

    /// Writes what the journals hold more than the tables. A batch that cannot be read ends it; without `derived` only at the end of all.
    fn replay(&self, journals: &[PathBuf], derived: bool) -> Result<(), StoreError> {
        let stored = self.tree.get(LAST_BATCH).map_err(|error| self.failed(error))?;
        let bad = || engine(self.path(), "the number of its last batch is damaged");
        let mut last = stored.map_or(Ok(0), |bytes| number(&bytes).ok_or_else(bad))?;
        *self.last_batch.lock() = last;
        let mut refused = None;
        for path in journals {
            let failed = |source| StoreError::io("read", path, source);
            let mut journal = journal::Journal::open(path).map_err(failed)?;
            loop {
                match journal.next(last).map_err(failed)? {
                    journal::Next::Known => {}
                    journal::Next::Batch(this, rows) if this == last + 1 => {
                        self.commit(rows.len(), |batch| {
                            for (key, value) in rows {
                                match value {
                                    Some(value) => batch.insert(&self.tree, key, value),
                                    None => batch.remove(&self.tree, key),
                                }
                            }
                            Ok(())
                        })?;
                        last = this;
                    }
                    journal::Next::Batch(this, _) => {
                        refused.get_or_insert(format!("batch {this} stands where batch {} is due", last + 1));
                        break;
                    }
                    journal::Next::Changed => {
                        refused.get_or_insert(format!("batch {} is not what was written", last + 1));
                        break;
                    }
                    journal::Next::End => break,
                }
            }
        }
        if let Some(what) = refused.filter(|_| !derived) {
            return Err(engine(self.path(), format!("in its journal {what}")));
        }
        if !derived && !journals.is_empty() {
            self.database.persist(PersistMode::SyncData).map_err(|error| self.failed(error))?;
        }
        journal::remove(journals)
    }

    fn check_names(&self, spaces: &[&str]) -> Result<(), StoreError> {
        if spaces.len() >= usize::from(OWN) {
            return Err(engine(self.path(), format!("{} spaces are too many", spaces.len())));
        }
        let wanted = spaces.join("\n");
        let found = self.tree.get(NAMES).map_err(|error| self.failed(error))?;
        let kept = found.map(|names| String::from_utf8_lossy(&names).into_owned()).unwrap_or_default();
        if kept == wanted {
            return Ok(());
        }
        if !kept.is_empty() && !wanted.starts_with(&format!("{kept}\n")) {
            let what = format!("it was made with the spaces {kept:?}, not with {wanted:?}");
            return Err(engine(self.path(), what));
        }
        self.commit(1, |batch| {
            batch.insert(&self.tree, NAMES, wanted.as_bytes());
            Ok(())
        })
    }

    /// Writes the rows that `fill` adds as one numbered batch.
    fn commit(
        &self,
        rows: usize,
        fill: impl FnOnce(&mut fjall::OwnedWriteBatch) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        // With the system a batch outlives a killed process, which then has nothing to replay.
        let mut batch = fjall::OwnedWriteBatch::with_capacity(self.database.clone(), rows + 1)
            .durability(Some(PersistMode::Buffer));
        let mut last_batch = self.last_batch.lock();
        let this = *last_batch + 1;
        batch.insert(&self.tree, LAST_BATCH, this.to_be_bytes());
        fill(&mut batch)?;
        batch.commit().map_err(|error| self.failed(error))?;
        *last_batch = this;
        Ok(())
    }

    /// The value of a key, read with `read`.
    fn get(
        &self,
        space: Space,
        key: &[u8],
        read: impl FnOnce(&[u8]) -> fjall::Result<Option<fjall::UserValue>>,
    ) -> Result<Option<Bytes>, StoreError> {
        let space = self.check_space(space)?;
        if let Some((row, rest)) = long::shared_row(space, key) {
            let found = read(&row).map_err(|error| self.failed(error))?;
            return found.map_or(Ok(None), |value| self.find_long(&value, rest));
        }
        let mut row = Vec::with_capacity(key.len() + 1);
        row.push(space);
        row.extend_from_slice(key);
        let found = read(&row).map_err(|error| self.failed(error))?;
        Ok(found.map(|value| Bytes::copy_from_slice(&value)))
    }

    /// Reads every row: the first one that cannot be read is the error.
    fn read_everything(&self) -> Result<(), StoreError> {
        for row in self.database.snapshot().iter(&self.tree) {
            row.into_inner().map_err(|error| self.failed(error))?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for FjallStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FjallStore").field("path", &self.path()).finish_non_exhaustive()
    }
}

/// The engine's key of a row.
fn row_key(scratch: &mut Vec<u8>, space: u8, key: &[u8]) -> fjall::UserKey {
    scratch.clear();
    scratch.push(space);
    scratch.extend_from_slice(key);
    fjall::UserKey::from(scratch.as_slice())
}

impl Store for FjallStore {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let shared = &self.shared;
        shared.get(space, key, |row| shared.tree.get(row))
    }

    fn snapshot(&self) -> Arc<dyn Snapshot> {
        Arc::new(FjallSnapshot { snapshot: self.shared.database.snapshot(), shared: Arc::clone(&self.shared) })
    }

    fn write(&self, batch: Batch) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        let shared = &self.shared;
        shared.commit(batch.len(), |rows| {
            let (mut scratch, mut long) = (Vec::new(), long::Changes::default());
            for operation in batch.operations {
                let (space, key, value) = match operation {
                    Operation::Put(space, key, value) => (space, key, Some(value)),
                    Operation::Delete(space, key) => (space, key, None),
                };
                match long.take(&mut scratch, shared.check_space(space)?, &key, value) {
                    Some((row, Some(value))) => rows.insert(&shared.tree, row, value),
                    Some((row, None)) => rows.remove(&shared.tree, row),
                    None => {}
                }
            }
            long.apply(shared, rows)
        })
    }

    fn persist(&self) -> Result<(), StoreError> {
        self.shared.database.persist(PersistMode::SyncData).map_err(|error| self.shared.failed(error))
    }

    fn clear(&self, space: Space) -> Result<(), StoreError> {
        // In steps, so that a large space does not become one large batch.
        const STEP: usize = 10_000;
        let snapshot = self.snapshot();
        let mut entries = snapshot.range(space, &[], None);
        loop {
            let mut batch = Batch::default();
            for entry in entries.by_ref().take(STEP) {
                batch.delete(space, entry?.0);
            }
            if batch.is_empty() {
                return self.persist();
            }
            self.write(batch)?;
        }
    }
}

struct FjallSnapshot {
    snapshot: fjall::Snapshot,
    shared: Arc<Shared>,
}

impl FjallSnapshot {
    fn iterate(&self, space: Space, start: &[u8], end: Option<&[u8]>) -> Result<fjall::Iter, StoreError> {
        let space = self.shared.check_space(space)?;
        let mut scratch = Vec::new();
        let start = match long::shared_row(space, start) {
            Some((row, _)) => row.into(),
            None => row_key(&mut scratch, space, start),
        };
        let end = match end.map(|end| (long::shared_row(space, end), end)) {
            None => Bound::Excluded(fjall::UserKey::from([space + 1])),
            Some((Some((row, _)), _)) => Bound::Included(row.into()),
            Some((None, end)) => Bound::Excluded(row_key(&mut scratch, space, end)),
        };
        Ok(self.snapshot.range(&self.shared.tree, (Bound::Included(start), end)))
    }

    /// The rows of a range, from either end.
    fn rows(&self, space: Space, start: &[u8], end: Option<&[u8]>, reverse: bool) -> Entries<'static> {
        // The engine panics on a range that ends before it starts.
        if end.is_some_and(|end| end <= start) {
            return Box::new(std::iter::empty());
        }
        let mut rows = match self.iterate(space, start, end) {
            Ok(rows) => rows,
            Err(error) => return Box::new(std::iter::once(Err(error))),
        };
        let bounds = (start.to_vec(), end.map(<[u8]>::to_vec));
        let shared = Arc::clone(&self.shared);
        // Long keys of one row that are still to be given.
        let mut pending: Vec<crate::Entry> = Vec::new();
        Box::new(std::iter::from_fn(move || {
            loop {
                if let Some(entry) = pending.pop() {
                    return Some(Ok(entry));
                }
                let row = if reverse { rows.next_back() } else { rows.next() }?;
                let (key, value) = match row.into_inner() {
                    Ok(row) => row,
                    Err(error) => return Some(Err(shared.failed(error))),
                };
                if !long::is_shared(&key) {
                    let key = Bytes::copy_from_slice(key.get(1..).unwrap_or_default());
                    return Some(Ok((key, Bytes::copy_from_slice(&value))));
                }
                let Some(entries) = long::entries(&key, &value) else { return Some(Err(shared.damaged_long_keys())) };
                let inside = |key: &[u8]| key >= &bounds.0[..] && bounds.1.as_ref().is_none_or(|end| key < &end[..]);
                pending = entries.into_iter().filter(|(key, _)| inside(key)).collect();
                if !reverse {
                    pending.reverse();
                }
            }
        }))
    }
}

impl Snapshot for FjallSnapshot {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.shared.get(space, key, |row| self.snapshot.get(&self.shared.tree, row))
    }

    fn range(&self, space: Space, start: &[u8], end: Option<&[u8]>) -> Entries<'static> {
        self.rows(space, start, end, false)
    }

    fn range_reverse(&self, space: Space, start: &[u8], end: Option<&[u8]>) -> Entries<'static> {
        self.rows(space, start, end, true)
    }
}

#[cfg(test)]
mod tests;
