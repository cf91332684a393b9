//! Errors of the chain.

use alloy_primitives::B256;
use konsort_store::StoreError;

use crate::access::AccessError;

/// Why a chain could not be opened, extended or read.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The state could not be read during execution.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// Something stored is not what was written.
    #[error(
        "{what} in the ledger cannot be read; restore the node's data folder from a copy or let the node synchronize anew"
    )]
    Damaged {
        /// What cannot be read.
        what: String,
    },
    /// The folder holds a chain with another genesis.
    #[error(
        "the ledger in {folder} was founded with another genesis (hash {stored}; config.genesis gives {configured}); restore \
         config.genesis, or move the folder away to found a new chain. First difference: {difference}"
    )]
    OtherGenesis {
        /// Folder of the ledger.
        folder: String,
        /// Hash of the stored genesis block.
        stored: B256,
        /// Hash the configuration gives.
        configured: B256,
        /// The first line that differs.
        difference: String,
    },
    /// The genesis configuration cannot found a chain.
    #[error("config.genesis: {0}")]
    Genesis(String),
    /// State or indexes hold blocks that the block files do not.
    #[error(
        "the state holds {derived} blocks but the block files only {blocks}: block files were lost or replaced; restore them, or \
         delete the folder 'derived' of the ledger to derive the state from the blocks again"
    )]
    AheadOfBlocks {
        /// Blocks in the state.
        derived: u64,
        /// Blocks in the files.
        blocks: u64,
    },
    /// A proposal does not follow a block that is committed last or executed.
    #[error(
        "block {number} cannot be executed: its parent {parent} is neither the last committed block {tip} nor an executed one; execute the parent first"
    )]
    UnknownParent {
        /// Number of the proposal.
        number: u64,
        /// Its parent's hash.
        parent: B256,
        /// The last committed block.
        tip: u64,
    },
    /// A proposal's number is not that of its parent plus one.
    #[error("block {number} cannot follow block {parent}; number it {}", parent + 1)]
    WrongNumber {
        /// Number of the proposal.
        number: u64,
        /// Number of its parent.
        parent: u64,
    },
    /// A proposal whose sealer is not in the list of sealers.
    #[error("block {number} names sealer {sealer}, but the group has {sealers}; refuse the proposal")]
    UnknownSealer {
        /// Number of the proposal.
        number: u64,
        /// The index given.
        sealer: u64,
        /// Number of sealers.
        sealers: usize,
    },
    /// A proposal that holds a transaction twice.
    #[error("block {number} holds transaction {hash} twice; refuse the proposal")]
    Twice {
        /// Number of the proposal.
        number: u64,
        /// Hash of the transaction.
        hash: B256,
    },
    /// A block that does not follow the last committed one.
    #[error(
        "block {number} ({hash}) cannot be committed: the next block is {next} on parent {tip}; execute it again on that parent"
    )]
    NotNext {
        /// Number of the block.
        number: u64,
        /// Its hash.
        hash: B256,
        /// Number of the next block.
        next: u64,
        /// Hash of the last committed block.
        tip: B256,
    },
    /// A commit that follows one which could not be completed.
    #[error(
        "block {number} ({hash}) is written but not yet part of the state; commit it again before any other block, or restart the node"
    )]
    Unfinished {
        /// Number of the written block.
        number: u64,
        /// Its hash.
        hash: B256,
    },
    /// A block the chain does not have.
    #[error("block {number} does not exist: the chain's height is {height}")]
    NoSuchBlock {
        /// The number asked for.
        number: u64,
        /// The last block.
        height: u64,
    },
}

impl ChainError {
    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged { what: what.into() }
    }
}
