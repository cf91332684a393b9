//! What keeps an orderer from starting or running.

use std::path::PathBuf;

/// Why an orderer does not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum OrdererError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] konsort_node::ConfigError),
    /// A setting that must be there is not, or contradicts another one.
    #[error("{key} in orderer.yaml: {problem}")]
    Setting {
        /// The key.
        key: &'static str,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The local identity cannot be loaded.
    #[error(
        "cannot load the orderer's identity {mspid} from {folder}: {source}; check General.LocalMSPDir and General.LocalMSPID"
    )]
    Identity {
        /// The MSP id.
        mspid: String,
        /// Its folder.
        folder: PathBuf,
        /// The reason.
        source: fabric_channel::msp::MspError,
    },
    /// TLS material cannot be loaded.
    #[error(transparent)]
    Tls(#[from] konsort_node::TlsError),
    /// A listener cannot listen.
    #[error(transparent)]
    Serve(#[from] konsort_node::ServeError),
    /// A channel cannot be opened.
    #[error("channel {channel}: {source}")]
    Channel {
        /// The channel.
        channel: String,
        /// The reason.
        source: ChannelError,
    },
    /// A folder cannot be used.
    #[error("folder {path}: {source}; check FileLedger.Location and its permissions")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
}

/// Why a channel cannot be opened or continued.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// Its blocks.
    #[error(transparent)]
    Ledger(#[from] fabric_ledger::LedgerError),
    /// Its configuration.
    #[error(transparent)]
    Config(#[from] fabric_channel::config::ConfigError),
    /// It needs a capability this node does not have.
    #[error(transparent)]
    Capability(#[from] fabric_channel::config::CapabilityError),
    /// A block that is not what it should be.
    #[error(transparent)]
    Block(#[from] fabric_channel::protoutil::ProtoutilError),
    /// Its Raft log.
    #[error(transparent)]
    Log(#[from] konsort_raft::WalError),
    /// The operating system said no.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// Something about the channel that this orderer cannot serve.
    #[error("{0}")]
    Unusable(String),
}

impl ChannelError {
    pub(crate) fn unusable(text: impl Into<String>) -> Self {
        Self::Unusable(text.into())
    }
}
