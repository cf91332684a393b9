//! The world state: what blocks have written, newest first, over the store; at the tip, on an executed block, or in the past.

mod cache;
mod layer;
mod shards;

use std::{collections::BTreeMap, sync::Arc};

use alloy_primitives::{Address, B256, Bytes, U256};
use konsort_store::{Snapshot, StoreError, prefix_end};

use cache::Stamp;
pub(crate) use cache::TipCache;
pub(crate) use layer::{Layer, Overlay, merge_rows};
pub(crate) use shards::Shards;

use crate::{
    ChainError,
    access::{
        AccessError, AccountRecord, CONSENSUS_NODES_KEY, CONSENSUS_TABLE, ConsensusNode, ConsensusNodes,
        SYSTEM_CONFIG_TABLE, StateAccess, StateKey, SystemValue,
    },
    keys,
};

/// What an executed block leaves above its parent.
#[derive(Debug)]
pub(crate) struct BlockLayer {
    pub(crate) number: u64,
    pub(crate) hash: B256,
    pub(crate) cells: Layer,
}

/// The state after one block; cheap to clone, not to be held for long. Later blocks do not change it.
#[derive(Clone)]
pub struct StateView {
    /// Executed blocks above the snapshot, newest first.
    layers: Vec<Arc<BlockLayer>>,
    snapshot: Arc<dyn Snapshot>,
    /// Number of the last block in the snapshot.
    base: u64,
    /// The block whose state this is.
    number: u64,
    /// With the blocks at which it is right for this view: what no layer wrote has one value in the snapshot and after every layer.
    cache: Option<(Arc<TipCache>, Vec<Stamp>)>,
}

impl std::fmt::Debug for StateView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StateView").field("number", &self.number).field("base", &self.base).finish_non_exhaustive()
    }
}

fn store(error: StoreError) -> AccessError {
    AccessError::Store(error.to_string())
}

fn damaged(what: &str) -> AccessError {
    AccessError::Store(format!("a stored {what} cannot be read"))
}

impl StateView {
    /// The state of executed blocks (newest first, the last one following block `base`) over a snapshot that ends with block `base`.
    pub(crate) fn over(
        layers: Vec<Arc<BlockLayer>>,
        snapshot: Arc<dyn Snapshot>,
        (base, base_hash): (u64, B256),
        cache: Arc<TipCache>,
    ) -> Self {
        let number = layers.first().map_or(base, |layer| layer.number);
        let blocks = layers.iter().map(|layer| layer.hash).chain([base_hash]);
        let valid = blocks.map(|block| cache.stamp(block)).collect();
        Self { layers, snapshot, base, number, cache: Some((cache, valid)) }
    }

    /// The state after block `number`, which is not after `base`, the last block in the snapshot.
    pub(crate) fn past(snapshot: Arc<dyn Snapshot>, base: u64, number: u64) -> Self {
        Self { layers: Vec::new(), snapshot, base, number, cache: None }
    }

    /// The block whose state this is.
    pub fn number(&self) -> u64 {
        self.number
    }

    fn is_past(&self) -> bool {
        self.number < self.base
    }

    fn stored(&self, cell: &[u8]) -> Result<Option<Bytes>, AccessError> {
        if !self.is_past() {
            return Ok(self.snapshot.get(keys::STATE, cell).map_err(store)?.map(Bytes::from));
        }
        let end = prefix_end(cell);
        let mut found = self.snapshot.range(keys::HISTORY, &keys::version(cell, self.number), end.as_deref());
        let Some(row) = found.next() else { return Ok(None) };
        let (_, value) = row.map_err(store)?;
        keys::decode_version(&value).ok_or_else(|| damaged("value of the past"))
    }

    fn stored_rows(&self, table: &str, from: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>, AccessError> {
        let prefix = keys::rows(table);
        let start = keys::rows_from(table, from);
        let end = prefix_end(&prefix);
        let key = |cell: &[u8]| keys::row_key(&prefix, cell).ok_or_else(|| damaged("row key"));
        if !self.is_past() {
            let rows = self.snapshot.range(keys::STATE, &start, end.as_deref()).take(limit);
            return rows
                .map(|row| {
                    let (cell, value) = row.map_err(store)?;
                    Ok((key(&cell)?, Bytes::from(value)))
                })
                .collect();
        }
        let mut rows = Vec::new();
        // All versions of a cell follow each other, the newest first: the first that is old enough counts.
        let mut done: Vec<u8> = Vec::new();
        for row in self.snapshot.range(keys::HISTORY, &start, end.as_deref()) {
            let (version, value) = row.map_err(store)?;
            let (cell, block) = keys::split_version(&version).ok_or_else(|| damaged("version"))?;
            if block > self.number || cell == done {
                continue;
            }
            done = cell.to_vec();
            if let Some(value) = keys::decode_version(&value).ok_or_else(|| damaged("value of the past"))? {
                rows.push((key(cell)?, value));
                if rows.len() == limit {
                    break;
                }
            }
        }
        Ok(rows)
    }

    /// Nonce, balance and code hash of an account; all zero when it does not exist.
    pub fn account(&self, address: Address) -> Result<AccountRecord, AccessError> {
        match self.get(&StateKey::Account(address))? {
            Some(bytes) => AccountRecord::decode(&bytes).ok_or_else(|| damaged("account")),
            None => Ok(AccountRecord::default()),
        }
    }

    /// Code of a contract; empty when there is none.
    pub fn code(&self, address: Address) -> Result<Bytes, AccessError> {
        let hash = self.account(address)?.code_hash;
        if hash.is_zero() { Ok(Bytes::new()) } else { Ok(self.get(&StateKey::Code(hash))?.unwrap_or_default()) }
    }

    /// ABI of a contract as given at deployment, that of its kind for a table's contract; empty when there is none.
    pub fn abi(&self, address: Address) -> Result<String, AccessError> {
        let hash = self.account(address)?.code_hash;
        let abi = if hash.is_zero() { None } else { self.get(&StateKey::Abi(hash))? };
        if abi.is_none()
            && let Some(code) = self.get(&StateKey::Code(hash))?
            && let Some(interface) = crate::precompiled::interface_of(&code)
        {
            return Ok(interface.to_owned());
        }
        String::from_utf8(abi.unwrap_or_default().to_vec()).map_err(|_| damaged("ABI"))
    }

    /// A storage slot of a contract; zero when it was never written.
    pub fn storage(&self, address: Address, slot: B256) -> Result<U256, AccessError> {
        let value = self.get(&StateKey::Slot(address, slot))?;
        value.map_or(Ok(U256::ZERO), |value| U256::try_from_be_slice(&value).ok_or_else(|| damaged("storage slot")))
    }

    /// A system setting and the first block it is in force for, as last written.
    pub fn system_config(&self, key: &str) -> Result<Option<SystemValue>, AccessError> {
        let value = self.get(&StateKey::row(SYSTEM_CONFIG_TABLE, key.as_bytes().to_vec()))?;
        value.map(|bytes| SystemValue::decode(&bytes).ok_or_else(|| damaged("system setting"))).transpose()
    }

    /// The nodes of the group, as last written, ordered by node id.
    pub fn nodes(&self) -> Result<Vec<ConsensusNode>, AccessError> {
        let Some(bytes) = self.get(&StateKey::row(CONSENSUS_TABLE, CONSENSUS_NODES_KEY.to_vec()))? else {
            return Ok(Vec::new());
        };
        let mut nodes = ConsensusNodes::decode(&bytes).ok_or_else(|| damaged("list of nodes"))?.0;
        nodes.sort_by(|a, b| a.node_id.cmp(&b.node_id));
        Ok(nodes)
    }

    /// Every cell of the state at the tip or in the past, in key order: for comparing chains, not for everyday use.
    pub fn cells(&self) -> Result<BTreeMap<StateKey, Bytes>, ChainError> {
        let mut cells = BTreeMap::new();
        let unreadable = || ChainError::damaged("a cell of the state");
        if self.is_past() {
            let mut done: Vec<u8> = Vec::new();
            for row in self.snapshot.range(keys::HISTORY, &[], Some(keys::SAVEPOINT)) {
                let (version, value) = row?;
                let (cell, block) = keys::split_version(&version).ok_or_else(unreadable)?;
                if block > self.number || cell == done {
                    continue;
                }
                done = cell.to_vec();
                if let Some(value) = keys::decode_version(&value).ok_or_else(unreadable)? {
                    cells.insert(keys::decode_cell(cell).ok_or_else(unreadable)?, value);
                }
            }
        } else {
            for row in self.snapshot.range(keys::STATE, &[], Some(keys::SAVEPOINT)) {
                let (cell, value) = row?;
                cells.insert(keys::decode_cell(&cell).ok_or_else(unreadable)?, value.into());
            }
        }
        for layer in self.layers.iter().rev() {
            for (key, value) in layer.cells.iter() {
                match value {
                    Some(value) => cells.insert(key.clone(), value.clone()),
                    None => cells.remove(key),
                };
            }
        }
        Ok(cells)
    }
}

impl StateAccess for StateView {
    fn get(&self, key: &StateKey) -> Result<Option<Bytes>, AccessError> {
        for layer in &self.layers {
            if let Some(value) = layer.cells.get(key) {
                return Ok(value.clone());
            }
        }
        let Some((cache, valid)) = &self.cache else { return self.stored(&keys::cell(key)) };
        if let Some(value) = cache.get(key, valid) {
            return Ok(value);
        }
        let value = self.stored(&keys::cell(key))?;
        cache.keep(key, value.clone(), valid);
        Ok(value)
    }

    fn rows(&self, table: &str, from: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>, AccessError> {
        let mut changes = BTreeMap::new();
        for layer in self.layers.iter().rev() {
            layer.cells.rows(table, from, &mut changes);
        }
        merge_rows(changes, limit, |limit| self.stored_rows(table, from, limit))
    }

    fn block_hash(&self, number: u64) -> Result<Option<B256>, AccessError> {
        if number > self.number {
            return Ok(None);
        }
        if let Some(layer) = self.layers.iter().find(|layer| layer.number == number) {
            return Ok(Some(layer.hash));
        }
        let hash = self.snapshot.get(keys::INDEX, &keys::block_number(number)).map_err(store)?;
        hash.map(|hash| B256::try_from(&hash[..]).map_err(|_| damaged("block hash"))).transpose()
    }
}
