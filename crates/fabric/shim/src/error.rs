//! What can go wrong in a chaincode.

use std::path::PathBuf;

/// Why a request to the peer failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ShimError {
    /// The peer refused; the text is its own.
    #[error("{0}")]
    Peer(String),
    /// The stream has ended.
    #[error("the stream to the peer has ended")]
    Closed,
    /// The peer's answer makes no sense.
    #[error("the peer's answer to {request} cannot be read: {cause}")]
    Answer {
        /// What was asked.
        request: &'static str,
        /// What is wrong.
        cause: String,
    },
    /// An argument that the ledger does not take.
    #[error("{0}")]
    Argument(String),
}

/// Why a transaction fails. Its text goes to the client with status 500 (or the status given).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ContractError {
    /// What the client reads.
    pub message: String,
    /// 400 and above: the transaction is not endorsed.
    pub status: i32,
}

impl ContractError {
    /// A failure with status 500.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), status: 500 }
    }
}

impl From<ShimError> for ContractError {
    fn from(error: ShimError) -> Self {
        Self::new(error.to_string())
    }
}

impl From<serde_json::Error> for ContractError {
    fn from(error: serde_json::Error) -> Self {
        Self::new(error.to_string())
    }
}

impl From<String> for ContractError {
    fn from(message: String) -> Self {
        Self::new(message)
    }
}

impl From<&str> for ContractError {
    fn from(message: &str) -> Self {
        Self::new(message)
    }
}

/// Why a chaincode process cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A setting is missing or wrong.
    #[error("chaincode setting {name}: {cause}")]
    Setting {
        /// The environment variable or argument.
        name: &'static str,
        /// What is wrong with it.
        cause: String,
    },
    /// A file of TLS material cannot be read.
    #[error("cannot read {path} (named by {name}): {source}")]
    File {
        /// The environment variable.
        name: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The TLS material cannot be used.
    #[error("TLS of the chaincode: {0}")]
    Tls(#[from] konsort_node::TlsError),
    /// The peer cannot be reached.
    #[error("cannot reach the peer: {0}")]
    Dial(#[from] konsort_node::DialError),
    /// The listener cannot be opened.
    #[error("cannot listen for the peer: {0}")]
    Listen(#[from] konsort_node::ServeError),
    /// The peer refused the stream or ended it with an error.
    #[error("the peer ended the stream of chaincode {chaincode}: {status}")]
    Stream {
        /// The package id.
        chaincode: String,
        /// The peer's words.
        status: String,
    },
    /// No such sample.
    #[error("there is no built-in chaincode {0:?}; known: {known}", known = crate::samples::NAMES.join(", "))]
    UnknownSample(String),
}
