//! Every value that the settled transactions of a block have written, by cell and transaction.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use alloy_primitives::{B256, Bytes, map::HashMap};
use parking_lot::RwLock;

use crate::{
    access::{AccessError, StateAccess, StateKey, StateRead},
    state::{Shards, merge_rows},
};

/// Values of one cell, ascending by the number of transactions settled with them.
type Cell = Vec<(u32, Option<Bytes>)>;

#[derive(Debug, Default)]
struct Table {
    /// Transactions settled at the last write to the table.
    last: u32,
    keys: BTreeSet<Bytes>,
}

/// The versions of all cells that the block has written so far. One thread writes, others read meanwhile.
#[derive(Debug, Default)]
pub(super) struct Versions {
    shards: Shards<HashMap<StateKey, Cell>>,
    tables: RwLock<HashMap<Arc<str>, Table>>,
}

impl Versions {
    /// The writes of the transaction with which `settled` are settled.
    pub(super) fn settle(&self, settled: u32, writes: &[(StateKey, Option<Bytes>)]) {
        for (key, value) in writes {
            if let StateKey::Row { table, key } = key {
                let mut tables = self.tables.write();
                let table = tables.entry(Arc::clone(table)).or_default();
                table.last = settled;
                table.keys.insert(key.clone());
            }
            self.shards.of(key).write().entry(key.clone()).or_default().push((settled, value.clone()));
        }
    }

    /// True when nothing of this was written by a transaction after the first `settled`.
    pub(super) fn unchanged_since(&self, settled: u32, reads: &[StateRead]) -> bool {
        reads.iter().all(|read| match read {
            StateRead::Key(key) => {
                let shard = self.shards.of(key).read();
                shard.get(key).and_then(|cell| cell.last()).is_none_or(|(at, _)| *at <= settled)
            }
            StateRead::Table(table) => self.tables.read().get(table).is_none_or(|table| table.last <= settled),
        })
    }

    /// What the first `settled` transactions left in a cell; `None` when they did not write it.
    #[expect(clippy::option_option, reason = "the inner one is the cell's value: none when it is deleted")]
    fn get(&self, settled: u32, key: &StateKey) -> Option<Option<Bytes>> {
        let shard = self.shards.of(key).read();
        let cell = shard.get(key)?;
        cell.iter().rev().find(|(at, _)| *at <= settled).map(|(_, value)| value.clone())
    }

    fn rows(&self, settled: u32, table: &str, from: &[u8]) -> BTreeMap<Bytes, Option<Bytes>> {
        let (name, keys) = {
            let tables = self.tables.read();
            let Some((name, table)) = tables.get_key_value(table) else { return BTreeMap::new() };
            let keys: Vec<_> = table.keys.range(Bytes::copy_from_slice(from)..).cloned().collect();
            (Arc::clone(name), keys)
        };
        let value = |key: Bytes| {
            let value = self.get(settled, &StateKey::Row { table: Arc::clone(&name), key: key.clone() })?;
            Some((key, value))
        };
        keys.into_iter().filter_map(value).collect()
    }
}

/// The state after the first `settled` transactions of the block, whatever is settled meanwhile.
pub(super) struct VersionView<'a> {
    pub(super) base: &'a (dyn StateAccess + Sync),
    pub(super) versions: &'a Versions,
    pub(super) settled: u32,
}

impl StateAccess for VersionView<'_> {
    fn get(&self, key: &StateKey) -> Result<Option<Bytes>, AccessError> {
        match self.versions.get(self.settled, key) {
            Some(value) => Ok(value),
            None => self.base.get(key),
        }
    }

    fn rows(&self, table: &str, from: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>, AccessError> {
        let changes = self.versions.rows(self.settled, table, from);
        merge_rows(changes, limit, |limit| self.base.rows(table, from, limit))
    }

    fn block_hash(&self, number: u64) -> Result<Option<B256>, AccessError> {
        self.base.block_hash(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_is_stale_from_the_next_write_on() {
        let versions = Versions::default();
        let (row, other) = (StateKey::row("t", "k"), StateKey::row("u", "k"));
        versions.settle(3, &[(row.clone(), Some("three".into()))]);
        versions.settle(5, &[(row.clone(), None)]);
        let fresh = |settled, read: StateRead| versions.unchanged_since(settled, &[read]);
        for (settled, expected) in [(0, false), (3, false), (4, false), (5, true), (6, true)] {
            assert_eq!(fresh(settled, StateRead::Key(row.clone())), expected, "cell, {settled}");
            assert_eq!(fresh(settled, StateRead::Table("t".into())), expected, "table, {settled}");
            assert!(fresh(settled, StateRead::Key(other.clone())) && fresh(settled, StateRead::Table("u".into())));
        }
        let value = |settled| versions.get(settled, &row);
        assert_eq!(
            [value(2), value(3), value(4), value(5)],
            [None, Some(Some("three".into())), Some(Some("three".into())), Some(None)]
        );
        assert_eq!(versions.rows(2, "t", b"").len(), 0);
        assert_eq!(versions.rows(9, "t", b"").into_iter().collect::<Vec<_>>(), [("k".into(), None)]);
    }
}
