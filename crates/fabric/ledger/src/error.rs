//! What can go wrong at the ledger's door.

use konsort_store::StoreError;

/// Why the ledger refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The files below failed or are damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A block that does not follow the last one.
    #[error("block {number} does not follow on channel {channel}: the ledger expects block {expected}")]
    WrongNumber {
        /// The channel of the ledger.
        channel: String,
        /// The number of the refused block.
        number: u64,
        /// The number that is due.
        expected: u64,
    },
    /// A block whose link to the previous one is wrong.
    #[error(
        "block {number} on channel {channel} names {got} as previous hash but the last block hashes to {want}: the block is of another chain"
    )]
    WrongPrevious {
        /// The channel of the ledger.
        channel: String,
        /// The number of the refused block.
        number: u64,
        /// Previous hash in the block, hex.
        got: String,
        /// Hash of the last block, hex.
        want: String,
    },
    /// A block without the parts every block has.
    #[error("block {number} is malformed: {what}")]
    MalformedBlock {
        /// Number of the block.
        number: u64,
        /// What is missing.
        what: String,
    },
    /// Bytes that are not the message they should be.
    #[error("cannot decode {what}: {source}")]
    Decode {
        /// What was decoded.
        what: String,
        /// What the decoder found.
        #[source]
        source: prost::DecodeError,
    },
    /// Stored bytes that this version cannot read.
    #[error("stored {what} is damaged: restore the folder from a copy, or delete it and join the channel again")]
    Corrupt {
        /// What was read.
        what: String,
    },
    /// The derived databases know more blocks than the block files hold.
    #[error(
        "the {what} of channel {channel} is at block height {derived} but the block files end at {blocks}: block files were lost or replaced; restore them"
    )]
    AheadOfBlocks {
        /// The channel of the ledger.
        channel: String,
        /// Which derived database.
        what: &'static str,
        /// Height of the derived database.
        derived: u64,
        /// Height of the block files.
        blocks: u64,
    },
    /// A folder that already holds a ledger (on create), or none (on open).
    #[error("{0}")]
    Folder(String),
    /// A search by hash or transaction id in a block store that was opened without indexes.
    #[error("this block store has no index by hash or transaction id; ask a peer's ledger")]
    NoIndex,
    /// A call that simulation does not allow; the text is upstream's.
    #[error("{0}")]
    Simulation(String),
    /// The chaincode definition behind a collection could not be read.
    #[error("{0}")]
    Collections(String),
}

impl LedgerError {
    pub(crate) fn decode(what: impl Into<String>, source: prost::DecodeError) -> Self {
        Self::Decode { what: what.into(), source }
    }

    pub(crate) fn malformed(number: u64, what: impl Into<String>) -> Self {
        Self::MalformedBlock { number, what: what.into() }
    }

    pub(crate) fn simulation(text: impl Into<String>) -> Self {
        Self::Simulation(text.into())
    }
}
