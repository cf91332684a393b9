//! Cells of the newest committed state, kept in memory.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::atomic::{AtomicU64, Ordering},
};

use alloy_primitives::{B256, Bytes, map::HashMap};

use super::{Layer, Shards};
use crate::access::StateKey;

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

/// A block, as this process's cache knows it: a keyed hash of its hash, so nobody can make two blocks share one.
pub(crate) type Stamp = u64;

/// Some cells of the state after one block, the newest committed.
#[derive(Debug)]
pub(crate) struct TipCache {
    hasher: RandomState,
    /// The block. Changed before the shards follow; who looks into a shard compares it under the shard's lock, so that no value of one
    /// block is taken for another's.
    block: AtomicU64,
    shards: Shards<Shard>,
}

impl TipCache {
    pub(crate) fn new(block: B256) -> Self {
        let hasher = RandomState::new();
        Self { block: AtomicU64::new(hasher.hash_one(block)), hasher, shards: Shards::default() }
    }

    pub(crate) fn stamp(&self, block: B256) -> Stamp {
        self.hasher.hash_one(block)
    }

    /// A kept cell, if the cache stands at one of these blocks.
    #[expect(clippy::option_option, reason = "the inner one is the cell's value: none when it is deleted")]
    pub(crate) fn get(&self, key: &StateKey, valid: &[Stamp]) -> Option<Option<Bytes>> {
        let shard = self.shards.of(key).read();
        if !valid.contains(&self.block.load(Ordering::SeqCst)) {
            return None;
        }
        shard.cells.get(key).cloned()
    }

    /// Keeps a cell that was read from the store, if the cache still stands at one of these blocks.
    pub(crate) fn keep(&self, key: &StateKey, value: Option<Bytes>, valid: &[Stamp]) {
        let mut shard = self.shards.of(key).write();
        if valid.contains(&self.block.load(Ordering::SeqCst)) {
            shard.insert(key, value);
        }
    }

    /// Moves on to the next block. Called by one thread at a time, before the block is told to readers.
    pub(crate) fn advance(&self, block: B256, written: &Layer) {
        self.block.store(self.stamp(block), Ordering::SeqCst);
        for (key, value) in written.iter() {
            self.shards.of(key).write().insert(key, value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_of_another_block_neither_sees_nor_leaves_a_cell() {
        let [old, new, fork] = [4, 5, 6].map(B256::with_last_byte);
        let cache = TipCache::new(old);
        let at = |block| [cache.stamp(block)];
        let key = StateKey::row("t", "k");
        cache.keep(&key, Some("old".into()), &at(old));
        assert_eq!(cache.get(&key, &at(old)), Some(Some("old".into())));
        let mut layer = Layer::default();
        layer.apply(&[(key.clone(), Some("new".into()))]);
        cache.advance(new, &layer);
        assert_eq!(cache.get(&key, &at(old)), None);
        cache.keep(&key, Some("old".into()), &at(old));
        // A block that lost against the new one has read the cell below, and comes to keep it only now.
        cache.keep(&key, Some("old".into()), &[cache.stamp(old), cache.stamp(fork)]);
        assert_eq!(cache.get(&key, &[cache.stamp(old), cache.stamp(new)]), Some(Some("new".into())));
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
