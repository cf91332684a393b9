//! Blocks in append-only files, with their indexes.

use std::path::Path;

use bytes::Bytes;
use fabric_proto::common::Block;

use crate::LedgerError;

/// A transaction found by its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionLocation {
    /// The envelope as it stands in the block.
    pub envelope: Bytes,
    /// Its validation code.
    pub code: u8,
    /// Number of its block.
    pub block: u64,
    /// Index in the block.
    pub index: u32,
}

/// The blocks of one channel; clones share the files.
#[derive(Debug, Clone)]
pub struct BlockStore {}

impl BlockStore {
    /// Opens or creates the block store in `folder` (orderers; a peer's [`crate::Ledger`] has its own inside).
    pub fn open(_folder: impl AsRef<Path>) -> Result<Self, LedgerError> {
        Ok(Self {})
    }

    /// Writes the next block; durable after [`BlockStore::sync`]. The number and the link to the previous block are checked.
    pub fn append(&self, _block: &Block) -> Result<(), LedgerError> {
        Ok(())
    }

    /// Makes everything appended durable with one sync.
    pub fn sync(&self) -> Result<(), LedgerError> {
        Ok(())
    }

    /// Number of the next block; 0 when empty.
    pub fn height(&self) -> u64 {
        0
    }

    /// Header hash of the last block; empty when there is none.
    pub fn last_hash(&self) -> Bytes {
        Bytes::new()
    }

    /// The serialized `common.Block` with this number, as stored; `None` beyond the end.
    pub fn block(&self, _number: u64) -> Result<Option<Bytes>, LedgerError> {
        Ok(None)
    }

    /// The serialized block with this header hash.
    pub fn block_by_hash(&self, _hash: &[u8]) -> Result<Option<Bytes>, LedgerError> {
        Ok(None)
    }

    /// The serialized block that holds the first transaction with this id.
    pub fn block_by_txid(&self, _txid: &str) -> Result<Option<Bytes>, LedgerError> {
        Ok(None)
    }

    /// The first transaction with this id.
    pub fn transaction(&self, _txid: &str) -> Result<Option<TransactionLocation>, LedgerError> {
        Ok(None)
    }

    /// Validation code and block of the first transaction with this id, without reading the block.
    pub fn transaction_code(&self, _txid: &str) -> Result<Option<(u8, u64)>, LedgerError> {
        Ok(None)
    }
}
