//! Cells of the newest committed state, kept in memory.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    ops::RangeInclusive,
    sync::atomic::{AtomicU64, Ordering},
};

use alloy_primitives::Bytes;
use parking_lot::RwLock;

use super::Layer;
use crate::access::StateKey;

const SHARDS: usize = 64;
/// What a shard holds at most, bytes of keys and values; a full shard begins anew.
const SHARD_BYTES: usize = 1 << 20;
/// What a cell costs besides its value, about.
const CELL_BYTES: usize = 120;

#[derive(Debug, Default)]
struct Shard {
    cells: HashMap<StateKey, Option<Bytes>>,
    bytes: usize,
}

impl Shard {
    fn insert(&mut self, key: &StateKey, value: Option<Bytes>) {
        let size = CELL_BYTES + value.as_ref().map_or(0, |value| value.len());
        if size > SHARD_BYTES / 4 {
            self.cells.remove(key);
            return;
        }
        if self.bytes + size > SHARD_BYTES {
            self.cells.clear();
            self.bytes = 0;
        }
        self.bytes += size;
        if let Some(before) = self.cells.insert(key.clone(), value) {
            self.bytes = self.bytes.saturating_sub(CELL_BYTES + before.as_ref().map_or(0, |value| value.len()));
        }
    }
}

/// Some cells of the state after one block, the newest committed.
#[derive(Debug)]
pub(crate) struct TipCache {
    hasher: RandomState,
    /// The block. Raised before the shards follow; who looks into a shard compares it under the shard's lock, so that no value of one
    /// block is taken for another's.
    number: AtomicU64,
    shards: Vec<RwLock<Shard>>,
}

impl TipCache {
    pub(crate) fn new(number: u64) -> Self {
        let shards = (0..SHARDS).map(|_| RwLock::default()).collect();
        Self { hasher: RandomState::new(), number: AtomicU64::new(number), shards }
    }

    fn shard(&self, key: &StateKey) -> &RwLock<Shard> {
        &self.shards[self.hasher.hash_one(key) as usize % SHARDS]
    }

    /// A kept cell, if the cache stands at one of these blocks.
    #[expect(clippy::option_option, reason = "the inner one is the cell's value: none when it is deleted")]
    pub(crate) fn get(&self, key: &StateKey, valid: &RangeInclusive<u64>) -> Option<Option<Bytes>> {
        let shard = self.shard(key).read();
        if !valid.contains(&self.number.load(Ordering::SeqCst)) {
            return None;
        }
        shard.cells.get(key).cloned()
    }

    /// Keeps a cell that was read from the store, if the cache still stands at one of these blocks.
    pub(crate) fn keep(&self, key: &StateKey, value: Option<Bytes>, valid: &RangeInclusive<u64>) {
        let mut shard = self.shard(key).write();
        if valid.contains(&self.number.load(Ordering::SeqCst)) {
            shard.insert(key, value);
        }
    }

    /// Moves on to the next block. Called by one thread at a time, before the block's number is told to readers.
    pub(crate) fn advance(&self, number: u64, written: &Layer) {
        self.number.store(number, Ordering::SeqCst);
        for (key, value) in written.iter() {
            self.shard(key).write().insert(key, value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_of_an_older_block_neither_sees_nor_leaves_a_cell() {
        let cache = TipCache::new(4);
        let key = StateKey::row("t", "k");
        cache.keep(&key, Some("old".into()), &(4..=4));
        assert_eq!(cache.get(&key, &(4..=4)), Some(Some("old".into())));
        let mut layer = Layer::default();
        layer.apply(&[(key.clone(), Some("new".into()))]);
        cache.advance(5, &layer);
        assert_eq!(cache.get(&key, &(4..=4)), None);
        cache.keep(&key, Some("old".into()), &(4..=4));
        assert_eq!(cache.get(&key, &(5..=6)), Some(Some("new".into())));
    }

    #[test]
    fn a_shard_is_bounded_and_large_cells_stay_out() {
        let mut shard = Shard::default();
        for i in 0..100_000u32 {
            shard.insert(&StateKey::row("t", i.to_be_bytes().to_vec()), Some(vec![0; 300].into()));
            assert!(shard.bytes <= SHARD_BYTES && shard.cells.len() <= SHARD_BYTES / 300);
        }
        shard.insert(&StateKey::row("t", "large"), Some(vec![0; SHARD_BYTES / 2].into()));
        assert!(!shard.cells.contains_key(&StateKey::row("t", "large")));
    }
}
