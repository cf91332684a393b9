//! Why a block is refused or validation stops.

use std::sync::Arc;

use fabric_channel::protoutil::ProtoutilError;
use fabric_ledger::LedgerError;

use crate::lifecycle_state::LifecycleStateError;

/// A block that cannot be given verdicts. Nothing of it is committed.
#[derive(Debug, thiserror::Error)]
pub enum ValidationError {
    /// The bytes are no block.
    #[error("cannot decode block: {0}; ask another orderer for it")]
    BlockBytes(#[source] prost::DecodeError),
    /// A block without header.
    #[error("block has no header; ask another orderer for it")]
    NoHeader,
    /// Another number than the one that is due.
    #[error("expected block number is [{expected}] but actual block number inside block is [{found}]")]
    Number {
        /// The number that is due.
        expected: u64,
        /// The block's own.
        found: u64,
    },
    /// The link to the previous block is wrong.
    #[error(
        "Header.PreviousHash of block [{number}] is different from Hash(block.Header) of previous block, on channel [{channel}], \
         received: {received}, expected: {expected}"
    )]
    PreviousHash {
        /// The block.
        number: u64,
        /// The channel.
        channel: String,
        /// Hash in the block, hex.
        received: String,
        /// Hash of the last block, hex.
        expected: String,
    },
    /// The header does not match the data.
    #[error(
        "Header.DataHash is different from Hash(block.Data) for block with id [{number}] on channel [{channel}]; \
         Header: {header}, Data: {data}"
    )]
    DataHash {
        /// The block.
        number: u64,
        /// The channel.
        channel: String,
        /// Hash in the header, hex.
        header: String,
        /// Hash of the data, hex.
        data: String,
    },
    /// Too few metadata entries.
    #[error("block with id [{number}] on channel [{channel}] does not have metadata or contains too few entries")]
    Metadata {
        /// The block.
        number: u64,
        /// The channel.
        channel: String,
    },
    /// A transaction that is not in canonical form.
    #[error(
        "failed to verify transactions are well formed for block with id [{number}] on channel [{channel}]: {source}"
    )]
    IllFormed {
        /// The block.
        number: u64,
        /// The channel.
        channel: String,
        /// What is wrong with which transaction.
        source: ProtoutilError,
    },
    /// The signature entry of the metadata cannot be read.
    #[error("signatures of block [{number}] on channel [{channel}] cannot be read: {source}")]
    Signatures {
        /// The block.
        number: u64,
        /// The channel.
        channel: String,
        /// What is wrong.
        source: ProtoutilError,
    },
    /// The orderers' signatures do not satisfy the channel.
    #[error("block [{number}] on channel [{channel}] does not satisfy /Channel/Orderer/BlockValidation: {reason}")]
    BlockPolicy {
        /// The block.
        number: u64,
        /// The channel.
        channel: String,
        /// Which principals were missing.
        reason: String,
    },
    /// A configuration transaction among others.
    #[error(
        "block [{number}] on channel [{channel}] mixes a configuration transaction (index {index}) with others; its orderer is faulty"
    )]
    MixedConfig {
        /// The block.
        number: u64,
        /// The channel.
        channel: String,
        /// Where it stands.
        index: usize,
    },
    /// A configuration transaction that the channel's rules refuse.
    #[error(
        "error validating config which passed initial validity checks in block [{number}] on channel [{channel}]: {reason}; \
         the channel stops here until this node knows the configuration"
    )]
    Config {
        /// The block.
        number: u64,
        /// The channel.
        channel: String,
        /// What the rules say.
        reason: String,
    },
    /// A channel of the 1.x rules.
    #[error(
        "block [{number}] on channel [{channel}] cannot be judged: its application capability is older than V2_0; \
         raise it on the network's present nodes before this one joins"
    )]
    OldCapability {
        /// The block.
        number: u64,
        /// The channel.
        channel: String,
    },
    /// A transaction whose signatures were never looked at.
    #[error("transaction {index} in block {number} has skipped validation")]
    Skipped {
        /// The block.
        number: u64,
        /// The transaction.
        index: usize,
    },
    /// A validation plugin that this node does not have.
    #[error(
        "transaction {index} of block [{number}]: plugin with name {plugin} (chaincode {chaincode}) wasn't found; \
         only vscc is built in"
    )]
    Plugin {
        /// The block.
        number: u64,
        /// The transaction.
        index: usize,
        /// The plugin of the definition.
        plugin: String,
        /// The chaincode.
        chaincode: String,
    },
    /// A chaincode definition could not be read.
    #[error(
        "transaction {index} of block [{number}]: could not retrieve state for chaincode {chaincode}, error {source}"
    )]
    Definition {
        /// The block.
        number: u64,
        /// The transaction.
        index: usize,
        /// The chaincode.
        chaincode: String,
        /// What failed.
        source: Arc<LifecycleStateError>,
    },
    /// The ledger could not be read.
    #[error("transaction {index} of block [{number}]: the ledger could not be read: {source}")]
    Ledger {
        /// The block.
        number: u64,
        /// The transaction.
        index: usize,
        /// What failed.
        source: LedgerError,
    },
    /// The block could not be prepared or committed.
    #[error("block [{number}]: {source}")]
    Commit {
        /// The block.
        number: u64,
        /// What failed.
        source: LedgerError,
    },
}
