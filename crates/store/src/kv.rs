//! The door [`Store`]: ordered keys in named spaces, atomic batches, consistent snapshots.

use std::sync::Arc;

use bytes::Bytes;

use crate::StoreError;

/// One of the ordered key spaces a store was opened with, by position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Space(pub u8);

/// A key and its value.
pub type Entry = (Bytes, Bytes);

/// Entries in key order; ends at the first error.
pub type Entries<'a> = Box<dyn Iterator<Item = Result<Entry, StoreError>> + Send + 'a>;

/// One change of a [`Batch`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Sets a key.
    Put(Space, Vec<u8>, Vec<u8>),
    /// Removes a key.
    Delete(Space, Vec<u8>),
}

/// Changes that become visible together. A key stands in it at most once: the order of two changes to one key is not defined.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    pub(crate) operations: Vec<Operation>,
}

impl Batch {
    /// An empty batch with room for `operations` changes.
    pub fn with_capacity(operations: usize) -> Self {
        Self { operations: Vec::with_capacity(operations) }
    }

    /// Sets a key.
    pub fn put(&mut self, space: Space, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.operations.push(Operation::Put(space, key.into(), value.into()));
    }

    /// Removes a key; a key that is not there is no error.
    pub fn delete(&mut self, space: Space, key: impl Into<Vec<u8>>) {
        self.operations.push(Operation::Delete(space, key.into()));
    }

    /// Number of changes.
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// True without any change.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// The changes in order.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }
}

/// A consistent view of a store; cheap to take, not to be held for long.
pub trait Snapshot: Send + Sync {
    /// The value of a key.
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// Entries with `start <= key < end` (`None`: to the end of the space), ascending.
    fn range(&self, space: Space, start: &[u8], end: Option<&[u8]>) -> Entries<'static>;

    /// The same entries, descending.
    fn range_reverse(&self, space: Space, start: &[u8], end: Option<&[u8]>) -> Entries<'static>;

    /// Entries whose key begins with `prefix`, ascending.
    fn prefix(&self, space: Space, prefix: &[u8]) -> Entries<'static> {
        self.range(space, prefix, prefix_end(prefix).as_deref())
    }
}

/// An ordered key-value store.
pub trait Store: Send + Sync + std::fmt::Debug {
    /// The newest value of a key.
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// A view that later writes do not change.
    fn snapshot(&self) -> Arc<dyn Snapshot>;

    /// Applies all changes or none; visible when it returns, durable after [`Store::persist`]. After a crash a prefix of the batches is found.
    fn write(&self, batch: Batch) -> Result<(), StoreError>;

    /// Makes everything written so far durable.
    fn persist(&self) -> Result<(), StoreError>;

    /// Removes every key of a space.
    fn clear(&self, space: Space) -> Result<(), StoreError>;
}

/// The first key after all keys with this prefix; `None` when there is none.
pub fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}
