//! The state a committed transaction met, for tracing it.

use std::collections::BTreeMap;

use alloy_primitives::{B256, Bytes};
use bcos_types::VerifiedTx;

use super::{Chain, execute::block_env};
use crate::{
    ChainError, StateView,
    access::{AccessError, BlockEnv, StateAccess, StateKey},
    state::{Layer, merge_rows},
};

/// A committed transaction and what it was executed on: its block's settings, and as [`StateAccess`] the state after the transactions
/// before it.
#[derive(Debug)]
pub struct Before {
    parent: StateView,
    earlier: Layer,
    /// Settings of the block.
    pub env: BlockEnv,
    /// The transaction.
    pub transaction: VerifiedTx,
    /// Its place in the block.
    pub index: u32,
}

impl StateAccess for Before {
    fn get(&self, key: &StateKey) -> Result<Option<Bytes>, AccessError> {
        match self.earlier.get(key) {
            Some(value) => Ok(value.clone()),
            None => self.parent.get(key),
        }
    }

    fn rows(&self, table: &str, from: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>, AccessError> {
        let mut changes = BTreeMap::new();
        self.earlier.rows(table, from, &mut changes);
        merge_rows(changes, limit, |limit| self.parent.rows(table, from, limit))
    }

    fn block_hash(&self, number: u64) -> Result<Option<B256>, AccessError> {
        self.parent.block_hash(number)
    }
}

impl Chain {
    /// What a committed transaction was executed on; the transactions before it in the block are executed again.
    pub fn before(&self, hash: &B256) -> Result<Option<Before>, ChainError> {
        let Some((number, index)) = self.place(hash)? else { return Ok(None) };
        let (Some(block), Some(parent)) = (self.block(number)?, number.checked_sub(1)) else { return Ok(None) };
        let transaction = block.transaction(index as usize)?;
        let transaction = transaction.ok_or_else(|| ChainError::damaged("the index of transactions"))?;
        let parent = self.state_at(Some(parent))?;
        let env = block_env(&parent, number, block.header().timestamp)?;
        let mut before = Before { parent, earlier: Layer::default(), env, transaction, index };
        for earlier in 0..index {
            if let Some(transaction) = block.transaction(earlier as usize)? {
                let outcome = self.executor().execute_verified(&before, &before.env, &transaction, earlier)?;
                before.earlier.apply(&outcome.writes);
            }
        }
        Ok(Some(before))
    }
}
