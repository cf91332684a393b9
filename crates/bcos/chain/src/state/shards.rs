//! Something kept for cells, in parts that several threads reach at once.

use std::hash::BuildHasher as _;

use alloy_primitives::map::DefaultHashBuilder;
use parking_lot::RwLock;

use crate::access::StateKey;

const SHARDS: usize = 64;

/// The parts.
pub(crate) struct Shards<T> {
    hasher: DefaultHashBuilder,
    parts: Vec<RwLock<T>>,
}

impl<T: Default> Default for Shards<T> {
    fn default() -> Self {
        Self { hasher: DefaultHashBuilder::default(), parts: (0..SHARDS).map(|_| RwLock::default()).collect() }
    }
}

impl<T> std::fmt::Debug for Shards<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shards").finish_non_exhaustive()
    }
}

impl<T> Shards<T> {
    /// The part a cell belongs to.
    pub(crate) fn of(&self, key: &StateKey) -> &RwLock<T> {
        &self.parts[self.hasher.hash_one(key) as usize % SHARDS]
    }
}
