//! Cells written above some state.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use alloy_primitives::{B256, Bytes, map::HashMap};

use crate::access::{AccessError, StateAccess, StateKey};

/// Written cells, and which rows of which tables are among them.
#[derive(Debug, Default)]
pub(crate) struct Layer {
    cells: HashMap<StateKey, Option<Bytes>>,
    tables: HashMap<Arc<str>, BTreeSet<Bytes>>,
}

impl Layer {
    /// Lays writes over what is there.
    pub(crate) fn apply(&mut self, writes: &[(StateKey, Option<Bytes>)]) {
        for (key, value) in writes {
            if let StateKey::Row { table, key } = key {
                self.tables.entry(Arc::clone(table)).or_default().insert(key.clone());
            }
            self.cells.insert(key.clone(), value.clone());
        }
    }

    /// What was written to a cell, if anything.
    pub(crate) fn get(&self, key: &StateKey) -> Option<&Option<Bytes>> {
        self.cells.get(key)
    }

    /// Every written cell, in no particular order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&StateKey, &Option<Bytes>)> {
        self.cells.iter()
    }

    /// Number of written cells.
    pub(crate) fn len(&self) -> usize {
        self.cells.len()
    }

    /// Lays the written rows of a table from a key on over `changes`.
    pub(crate) fn rows(&self, table: &str, from: &[u8], changes: &mut BTreeMap<Bytes, Option<Bytes>>) {
        let Some((name, keys)) = self.tables.get_key_value(table) else { return };
        for key in keys.range(Bytes::copy_from_slice(from)..) {
            let cell = StateKey::Row { table: Arc::clone(name), key: key.clone() };
            changes.insert(key.clone(), self.cells.get(&cell).cloned().flatten());
        }
    }
}

/// The first `limit` rows of what is `below` with `changes` laid over it; both begin at the same key.
pub(crate) fn merge_rows(
    changes: BTreeMap<Bytes, Option<Bytes>>,
    limit: usize,
    below: impl FnOnce(usize) -> Result<Vec<(Bytes, Bytes)>, AccessError>,
) -> Result<Vec<(Bytes, Bytes)>, AccessError> {
    if changes.is_empty() {
        return below(limit);
    }
    // Each deletion hides one row at most, so this many suffice.
    let deleted = changes.values().filter(|value| value.is_none()).count();
    let mut rows: BTreeMap<Bytes, Bytes> = below(limit.saturating_add(deleted))?.into_iter().collect();
    for (key, value) in changes {
        match value {
            Some(value) => rows.insert(key, value),
            None => rows.remove(&key),
        };
    }
    Ok(rows.into_iter().take(limit).collect())
}

/// A state with a layer that grows above it.
pub(crate) struct Overlay<'a> {
    pub(crate) base: &'a dyn StateAccess,
    pub(crate) layer: Layer,
}

impl StateAccess for Overlay<'_> {
    fn get(&self, key: &StateKey) -> Result<Option<Bytes>, AccessError> {
        match self.layer.get(key) {
            Some(value) => Ok(value.clone()),
            None => self.base.get(key),
        }
    }

    fn rows(&self, table: &str, from: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>, AccessError> {
        let mut changes = BTreeMap::new();
        self.layer.rows(table, from, &mut changes);
        merge_rows(changes, limit, |limit| self.base.rows(table, from, limit))
    }

    fn block_hash(&self, number: u64) -> Result<Option<B256>, AccessError> {
        self.base.block_hash(number)
    }
}
