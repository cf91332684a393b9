//! One channel's ledger.

use std::{
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use fabric_proto::{common::Block, protos::TxValidationCode};
use tokio::sync::watch;

use crate::{
    BlockStore, Collections, LedgerError, NoCollections, Simulator, StateSnapshot, StateView, UpdateBatch, rwset::TxRwset,
};

/// How a ledger is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// Who knows the collections of chaincodes (block-to-live, allowed names).
    pub collections: Arc<dyn Collections>,
    /// Keep the history of keys (`ledger.history.enableHistoryDatabase`).
    pub history: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { collections: Arc::new(NoCollections), history: true }
    }
}

/// One transaction of a block on its way to the ledger.
#[derive(Debug, Clone)]
pub struct TxToCommit {
    /// Transaction id of the channel header; empty when the envelope gives none (it is not indexed then).
    pub txid: String,
    /// Verdict so far; concurrency control looks only at `Valid` ones.
    pub code: TxValidationCode,
    /// The read-write set; `None` when there is none (or the transaction is invalid anyway). For a configuration transaction [`TxRwset::config`].
    pub rwset: Option<TxRwset>,
}

/// A block with the verdicts of everything before concurrency control.
#[derive(Debug, Clone)]
pub struct BlockToCommit {
    /// The block as received; its metadata slots 2 (codes) and 4 (commit hash) are filled in by the ledger.
    pub block: Block,
    /// One entry per envelope, in order.
    pub transactions: Vec<TxToCommit>,
}

/// A block whose verdicts are final; visible to validation, durable after [`Ledger::flush`].
#[derive(Debug)]
pub struct StagedBlock {
    /// Block number.
    pub number: u64,
    /// Header hash of the block.
    pub hash: Bytes,
    /// The serialized block as it will be stored (with codes and commit hash).
    pub bytes: Bytes,
    /// The same block decoded.
    pub block: Block,
    /// Final validation codes, one byte per transaction.
    pub flags: Vec<u8>,
    /// Transaction ids, one per transaction (empty where there is none).
    pub txids: Vec<String>,
    /// Commit hash; empty for block 0.
    pub commit_hash: Bytes,
    /// Net effect on the state.
    pub updates: UpdateBatch,
}

/// Where the chain stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainInfo {
    /// Number of blocks.
    pub height: u64,
    /// Header hash of the last block.
    pub current_hash: Bytes,
    /// Header hash of the one before; empty at height 1.
    pub previous_hash: Bytes,
}

/// One change of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The transaction that wrote.
    pub txid: String,
    /// The value written; empty for a delete.
    pub value: Bytes,
    /// Client timestamp of the transaction: seconds and nanoseconds of the channel header.
    pub timestamp: Option<(i64, i32)>,
    /// True for a delete.
    pub is_delete: bool,
}

/// The ledger of one channel; clones share it.
#[derive(Debug, Clone)]
pub struct Ledger {}

impl Ledger {
    /// Creates the ledger of a channel in the empty or absent `folder` from its genesis block and opens it.
    pub fn create(_folder: impl AsRef<Path>, channel: &str, _genesis: &Block, _options: Options) -> Result<Self, LedgerError> {
        Err(LedgerError::Folder(channel.into()))
    }

    /// Opens an existing ledger: cuts a torn tail, then brings state, history and indexes up to the last stored block.
    pub fn open(_folder: impl AsRef<Path>, channel: &str, _options: Options) -> Result<Self, LedgerError> {
        Err(LedgerError::Folder(channel.into()))
    }

    /// The channel's name.
    pub fn channel_id(&self) -> &str {
        ""
    }

    /// Number of durable blocks.
    pub fn height(&self) -> u64 {
        0
    }

    /// Number of blocks including staged ones: the number of the block that [`Ledger::stage`] expects.
    pub fn staged_height(&self) -> u64 {
        0
    }

    /// Follows [`Ledger::height`]; changes after each durable write.
    pub fn height_watch(&self) -> watch::Receiver<u64> {
        watch::channel(0).1
    }

    /// Height and hashes of the durable chain.
    pub fn info(&self) -> ChainInfo {
        ChainInfo { height: 0, current_hash: Bytes::new(), previous_hash: Bytes::new() }
    }

    /// The commit hash of the last durable block.
    pub fn commit_hash(&self) -> Bytes {
        Bytes::new()
    }

    /// The stored blocks.
    pub fn blocks(&self) -> &BlockStore {
        unreachable!()
    }

    /// True when a stored or staged block holds this transaction id.
    pub fn txid_exists(&self, _txid: &str) -> Result<bool, LedgerError> {
        Ok(false)
    }

    /// The durable state.
    pub fn snapshot(&self) -> StateSnapshot {
        StateSnapshot {}
    }

    /// The state including staged blocks: what the validation of the next block reads.
    pub fn view(&self) -> StateView {
        StateView {}
    }

    /// Begins the simulation of a transaction over [`Ledger::snapshot`].
    pub fn simulator(&self, txid: &str) -> Simulator {
        let _ = txid;
        unreachable!()
    }

    /// A reader over [`Ledger::snapshot`] that records nothing.
    pub fn query(&self) -> Simulator {
        unreachable!()
    }

    /// Changes of a key by valid transactions, newest first.
    pub fn history(&self, _namespace: &str, _key: &str) -> Result<Box<dyn Iterator<Item = Result<HistoryEntry, LedgerError>> + Send>, LedgerError> {
        Ok(Box::new(std::iter::empty()))
    }

    /// Runs concurrency control over the next block and makes it visible to [`Ledger::view`]; nothing is written yet.
    pub fn stage(&self, block: BlockToCommit) -> Result<Arc<StagedBlock>, LedgerError> {
        let _ = block;
        Err(LedgerError::Folder(String::new()))
    }

    /// Makes all staged blocks durable with one sync and gives them back in order.
    pub fn flush(&self) -> Result<Vec<Arc<StagedBlock>>, LedgerError> {
        Ok(Vec::new())
    }

    /// [`Ledger::stage`] and [`Ledger::flush`] of one block.
    pub fn commit(&self, block: BlockToCommit) -> Result<Arc<StagedBlock>, LedgerError> {
        let staged = self.stage(block)?;
        self.flush()?;
        Ok(staged)
    }
}
