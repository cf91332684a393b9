//! A store in memory that can forget the batches it was never asked to persist.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::{Batch, Entries, Operation, Snapshot, Space, Store, StoreError};

type Rows = BTreeMap<(Space, Vec<u8>), Bytes>;

/// A [`Store`] in memory; clones share it.
#[derive(Debug, Default, Clone)]
pub struct MemoryStore {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    now: Arc<Rows>,
    persisted: Arc<Rows>,
    /// Batches since the last persist.
    pending: Vec<Batch>,
    /// Writes and persists that still succeed; `None`: all of them.
    budget: Option<u32>,
}

impl Inner {
    fn spend(&mut self) -> Result<(), StoreError> {
        match &mut self.budget {
            None => Ok(()),
            Some(0) => Err(StoreError::io("use", "memory", std::io::ErrorKind::StorageFull.into())),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }
}

fn apply(rows: &mut Rows, batch: &Batch, wanted: impl Fn(Space) -> bool) {
    for operation in &batch.operations {
        match operation {
            Operation::Put(space, key, value) if wanted(*space) => {
                rows.insert((*space, key.clone()), Bytes::copy_from_slice(value));
            }
            Operation::Delete(space, key) if wanted(*space) => {
                rows.remove(&(*space, key.clone()));
            }
            _ => {}
        }
    }
}

impl MemoryStore {
    /// From now on `operations` more writes and persists succeed, then the disk is full: a refused batch leaves nothing behind.
    pub fn fail_after(&self, operations: u32) {
        self.inner.lock().budget = Some(operations);
    }

    /// There is space on the disk again.
    pub fn free_space(&self) {
        self.inner.lock().budget = None;
    }

    /// Batches that a crash may lose.
    pub fn unpersisted(&self) -> usize {
        self.inner.lock().pending.len()
    }

    /// The store after a crash that kept, of the batches never persisted, only the first `keep(space)` in each space.
    /// (An engine may have written one space further than another when it died.)
    #[must_use]
    pub fn crash(&self, keep: impl Fn(Space) -> usize) -> Self {
        let inner = self.inner.lock();
        let mut rows = (*inner.persisted).clone();
        for (at, batch) in inner.pending.iter().enumerate() {
            apply(&mut rows, batch, |space| at < keep(space));
        }
        let rows = Arc::new(rows);
        let inner = Inner { now: Arc::clone(&rows), persisted: rows, ..Inner::default() };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    /// Every row, for comparison.
    pub fn rows(&self) -> BTreeMap<(Space, Vec<u8>), Bytes> {
        (*self.inner.lock().now).clone()
    }
}

impl Store for MemoryStore {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.inner.lock().now.get(&(space, key.to_vec())).cloned())
    }

    fn snapshot(&self) -> Arc<dyn Snapshot> {
        Arc::new(MemorySnapshot(Arc::clone(&self.inner.lock().now)))
    }

    fn write(&self, batch: Batch) -> Result<(), StoreError> {
        let mut keys = BTreeSet::new();
        for operation in &batch.operations {
            let (Operation::Put(space, key, _) | Operation::Delete(space, key)) = operation;
            if !keys.insert((space, key)) {
                return Err(StoreError::Engine {
                    path: "memory".into(),
                    what: format!("key {key:02x?} twice in a batch"),
                });
            }
        }
        let mut inner = self.inner.lock();
        inner.spend()?;
        apply(Arc::make_mut(&mut inner.now), &batch, |_| true);
        inner.pending.push(batch);
        Ok(())
    }

    fn persist(&self) -> Result<(), StoreError> {
        let mut inner = self.inner.lock();
        inner.spend()?;
        inner.persisted = Arc::clone(&inner.now);
        inner.pending.clear();
        Ok(())
    }

    fn clear(&self, space: Space) -> Result<(), StoreError> {
        let mut inner = self.inner.lock();
        Arc::make_mut(&mut inner.now).retain(|(of, _), _| *of != space);
        inner.persisted = Arc::clone(&inner.now);
        inner.pending.clear();
        Ok(())
    }
}

struct MemorySnapshot(Arc<Rows>);

impl MemorySnapshot {
    fn collect(&self, space: Space, start: &[u8], end: Option<&[u8]>) -> Vec<Result<(Bytes, Bytes), StoreError>> {
        self.0
            .range((space, start.to_vec())..)
            .take_while(|((of, key), _)| *of == space && end.is_none_or(|end| key.as_slice() < end))
            .map(|((_, key), value)| Ok((Bytes::copy_from_slice(key), value.clone())))
            .collect()
    }
}

impl Snapshot for MemorySnapshot {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.0.get(&(space, key.to_vec())).cloned())
    }

    fn range(&self, space: Space, start: &[u8], end: Option<&[u8]>) -> Entries<'static> {
        Box::new(self.collect(space, start, end).into_iter())
    }

    fn range_reverse(&self, space: Space, start: &[u8], end: Option<&[u8]>) -> Entries<'static> {
        Box::new(self.collect(space, start, end).into_iter().rev())
    }
}
