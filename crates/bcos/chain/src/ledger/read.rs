//! Reading the chain: blocks, transactions, receipts, proofs, settings, state.

use std::sync::Arc;

use alloy_primitives::B256;
use bcos_types::{BlockHeader, Receipt, VerifiedTx, merkle};

use super::{Chain, CommittedBlock, Totals, open};
use crate::{
    ChainError, StateView,
    access::{ConsensusNode, SystemValue},
    keys,
};

/// A transaction of the chain and its receipt.
#[derive(Debug, Clone)]
pub struct Located {
    /// The block.
    pub block: CommittedBlock,
    /// The place in the block.
    pub index: u32,
    /// The transaction.
    pub transaction: VerifiedTx,
    /// Its receipt.
    pub receipt: Arc<Receipt>,
}

impl Chain {
    /// A committed block; `None` beyond the last.
    pub fn block(&self, number: u64) -> Result<Option<CommittedBlock>, ChainError> {
        let shared = &*self.shared;
        {
            let tip = shared.tip.read();
            if number > tip.number() {
                return Ok(None);
            }
            if number == tip.number() {
                return Ok(Some(tip.block.clone()));
            }
        }
        if let Some(block) = shared.recent.lock().get(number) {
            return Ok(Some(block));
        }
        let (block, _, _) = open::stored(&shared.log, number)?;
        shared.recent.lock().push(block.clone());
        Ok(Some(block))
    }

    /// The header of a committed block; `None` beyond the last.
    pub fn header(&self, number: u64) -> Result<Option<BlockHeader>, ChainError> {
        Ok(self.block(number)?.map(|block| block.header().clone()))
    }

    /// The hash of a committed block; `None` beyond the last.
    pub fn hash_by_number(&self, number: u64) -> Result<Option<B256>, ChainError> {
        let tip = self.tip();
        if number >= tip.number() {
            return Ok((number == tip.number()).then(|| tip.hash()));
        }
        let found = self.shared.store.get(keys::INDEX, &keys::block_number(number))?;
        let hash = found.map(|hash| B256::try_from(&hash[..]).map_err(|_| ChainError::damaged("the hash of a block")));
        hash.transpose()
    }

    /// The number of a committed block.
    pub fn number_by_hash(&self, hash: &B256) -> Result<Option<u64>, ChainError> {
        let Some(found) = self.shared.store.get(keys::INDEX, &keys::block_hash(hash))? else { return Ok(None) };
        let number = keys::decode_number(&found).ok_or_else(|| ChainError::damaged("the index of blocks by hash"))?;
        // A block is found in the store a moment before it is told to readers.
        Ok(Some(number).filter(|number| *number <= self.height()))
    }

    /// The place of a committed transaction: block number and index.
    pub fn place(&self, hash: &B256) -> Result<Option<(u64, u32)>, ChainError> {
        let Some(found) = self.shared.store.get(keys::INDEX, &keys::transaction(hash))? else { return Ok(None) };
        let place = keys::decode_place(&found).ok_or_else(|| ChainError::damaged("the index of transactions"))?;
        Ok(Some(place).filter(|(number, _)| *number <= self.height()))
    }

    /// A committed transaction with its receipt and block.
    pub fn locate(&self, hash: &B256) -> Result<Option<Located>, ChainError> {
        let Some((number, index)) = self.place(hash)? else { return Ok(None) };
        let Some(block) = self.block(number)? else { return Ok(None) };
        let damaged = || ChainError::damaged("the index of transactions");
        let transaction = block.transaction(index as usize)?.ok_or_else(damaged)?;
        let receipt = block.receipt(index as usize)?.ok_or_else(damaged)?;
        if transaction.hash != *hash {
            return Err(damaged());
        }
        Ok(Some(Located { block, index, transaction, receipt }))
    }

    /// A committed transaction with its block number and index.
    pub fn transaction(&self, hash: &B256) -> Result<Option<(VerifiedTx, u64, u32)>, ChainError> {
        Ok(self.locate(hash)?.map(|found| (found.transaction, found.block.number(), found.index)))
    }

    /// The receipt of a committed transaction.
    pub fn receipt(&self, hash: &B256) -> Result<Option<Arc<Receipt>>, ChainError> {
        Ok(self.locate(hash)?.map(|found| found.receipt))
    }

    /// The proof that leads from a committed transaction to its block's root of transactions.
    pub fn transaction_proof(&self, hash: &B256) -> Result<Option<Vec<B256>>, ChainError> {
        self.proof(hash, CommittedBlock::transaction_hashes)
    }

    /// The proof that leads from the receipt of a committed transaction to its block's root of receipts.
    pub fn receipt_proof(&self, transaction: &B256) -> Result<Option<Vec<B256>>, ChainError> {
        self.proof(transaction, CommittedBlock::receipt_hashes)
    }

    fn proof(
        &self,
        hash: &B256,
        leaves: impl Fn(&CommittedBlock) -> Vec<B256>,
    ) -> Result<Option<Vec<B256>>, ChainError> {
        let Some((number, index)) = self.place(hash)? else { return Ok(None) };
        let block = self.block(number)?;
        Ok(block.and_then(|block| merkle::proof(self.shared.suite, &leaves(&block), index as usize)))
    }

    /// How many transactions the chain holds.
    pub fn total_counts(&self) -> Totals {
        self.shared.tip.read().block.totals()
    }

    /// True when a native transaction of the last [`NONCE_BLOCKS`](super::NONCE_BLOCKS) blocks has this nonce.
    pub fn has_nonce(&self, nonce: &str) -> bool {
        self.shared.nonces.read().contains(nonce)
    }

    /// The state after a committed block (`None`: the last).
    pub fn state_at(&self, number: Option<u64>) -> Result<StateView, ChainError> {
        let tip = self.shared.tip.read();
        let height = tip.number();
        let snapshot = Arc::clone(&tip.snapshot);
        match number {
            Some(number) if number > height => Err(ChainError::NoSuchBlock { number, height }),
            Some(number) if number < height => Ok(StateView::past(snapshot, height, number)),
            _ => Ok(StateView::over(Vec::new(), snapshot, tip.place(), Arc::clone(&self.shared.cache))),
        }
    }

    /// A system setting as last written, and the first block it is in force for.
    pub fn system_config(&self, key: &str) -> Result<Option<SystemValue>, ChainError> {
        Ok(self.state_at(None)?.system_config(key)?)
    }

    /// The nodes of the group as last written, ordered by node id.
    pub fn nodes(&self) -> Result<Vec<ConsensusNode>, ChainError> {
        Ok(self.state_at(None)?.nodes()?)
    }

    /// The hash of all cells after a committed block (`None`: the last). Reads the whole state: for comparing chains, not for everyday use.
    pub fn state_hash(&self, number: Option<u64>) -> Result<B256, ChainError> {
        let mut text = Vec::new();
        for (key, value) in self.state_at(number)?.cells()? {
            let cell = keys::cell(&key);
            for part in [&cell[..], &value] {
                text.extend_from_slice(&(part.len() as u64).to_be_bytes());
                text.extend_from_slice(part);
            }
        }
        Ok(self.shared.suite.hash(&text).into())
    }
}
