//! `config.ini` and `config.genesis`: upstream's sections, keys and defaults, read strictly.
//!
//! Paths inside `config.ini` are relative to the folder that holds it: upstream's start scripts change into it first, so
//! both readings agree there, and ours also works from anywhere else.

mod genesis;
mod ini;
mod node;

pub use genesis::{ConsensusKind, GenesisConfig, GenesisNode};
pub use ini::Ini;
pub(crate) use node::nodes;
pub use node::{
    CertConfig, ConsensusConfig, LogConfig, NodeConfig, P2pConfig, PoolConfig, RpcConfig, StorageConfig, SyncConfig,
    Web3RpcConfig,
};

use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file could not be read.
    #[error("cannot read {what} {path}: {source}; check the path and its permissions")]
    Read {
        /// What the file is for.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A line is neither a section, a key, a comment nor empty.
    #[error("{path} line {line}: {reason}")]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong and how it should look.
        reason: String,
    },
    /// A value cannot be used.
    #[error("{path}, section [{section}], key {key}: {reason}")]
    Value {
        /// The file.
        path: PathBuf,
        /// The section's name.
        section: String,
        /// The key.
        key: String,
        /// What is wrong and what to write instead.
        reason: String,
    },
    /// Several groups in one process do not fit together.
    #[error("{path}: {reason}")]
    Groups {
        /// The file at fault.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// One group as this node runs it.
#[derive(Clone, Debug)]
pub struct GroupConfig {
    /// What `config.genesis` says.
    pub genesis: GenesisConfig,
    /// Where the group's ledger rests (`storage.data_path`/group id).
    pub data: PathBuf,
    /// The file it came from.
    pub file: PathBuf,
    /// The file's text, as `getGroupInfo` shows it.
    pub text: Arc<str>,
}

pub(crate) fn read(what: &'static str, path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source| ConfigError::Read { what, path: path.to_path_buf(), source })
}
