//! Why a message could not be taken apart or put together.

/// A message that is not shaped as it must be. Texts follow upstream, because tools and scripts look for them.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ProtoutilError {
    /// Bytes that are not the message they should be.
    #[error("error unmarshalling {what}: {source}")]
    Decode {
        /// The message that was expected.
        what: &'static str,
        /// What the decoder found.
        #[source]
        source: prost::DecodeError,
    },
    /// A block without transactions.
    #[error("failed to retrieve channel id - block is empty")]
    EmptyBlock,
    /// An envelope position that the block does not have.
    #[error("envelope index out of bounds")]
    EnvelopeIndex,
    /// A payload without header.
    #[error("header not set")]
    NoHeader,
    /// A header without channel header.
    #[error("channel header not set")]
    NoChannelHeader,
    /// An envelope of another type than wanted.
    #[error("invalid type {found}, expected {expected}")]
    WrongType {
        /// The type's name (or number, when it has no name).
        found: String,
        /// The name of the type that was wanted.
        expected: &'static str,
    },
    /// A block without the asked metadata slot.
    #[error("no metadata at index [{0}]")]
    NoMetadata(&'static str),
    /// A block that is not a configuration block where one is needed.
    #[error("block {0} is not a config block")]
    NotConfigBlock(u64),
    /// A configuration envelope without a part that it must have.
    #[error("{0} is missing from the config envelope")]
    IncompleteConfig(&'static str),
    /// Block data that no honest node would produce. The text says which transaction and why.
    #[error("{0}")]
    IllFormed(String),
    /// A transaction id that was not derived from nonce and creator.
    #[error("invalid txid. got [{found}], expected [{expected}]")]
    TxId {
        /// The id in the header.
        found: String,
        /// The id that nonce and creator give.
        expected: String,
    },
    /// A proposal without a part that it must have.
    #[error("{0}")]
    IncompleteProposal(&'static str),
    /// A proposal response that refuses.
    #[error("proposal response was not successful, error code {status}, msg {message}")]
    Unsuccessful {
        /// The response's status.
        status: i32,
        /// The response's message.
        message: String,
    },
    /// Endorsers that disagree about the result.
    #[error("ProposalResponsePayloads do not match (base64): '{other}' vs '{first}'")]
    Mismatch {
        /// The differing payload, in base64.
        other: String,
        /// The first payload, in base64.
        first: String,
    },
}
