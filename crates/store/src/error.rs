//! Errors of the store.

use std::path::PathBuf;

/// Why bytes could not be kept or found.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The operating system refused.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// A stored record is not what was written, and it is not the torn end of the file.
    #[error("{path} is damaged at byte {offset}: {what}; restore the file from a copy", path = path.display())]
    Damaged {
        /// The damaged file.
        path: PathBuf,
        /// Where the damage begins.
        offset: u64,
        /// What was found.
        what: String,
    },
    /// A file of the sequence is missing.
    #[error("{path} is missing: the log continues after it; restore the file from a copy", path = path.display())]
    Missing {
        /// The missing file.
        path: PathBuf,
    },
    /// A record larger than the log accepts.
    #[error("a record of {size} bytes exceeds the limit of {limit} bytes of the log in {path}", path = path.display())]
    TooLarge {
        /// Folder of the log.
        path: PathBuf,
        /// Size of the refused record.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// An earlier write or sync failed; what is on disk is unknown until the log or store is opened again.
    #[error("{path} stopped after a failed write or sync; find the cause in the log (disk full?) and restart", path = path.display())]
    Poisoned {
        /// Folder of the log or store.
        path: PathBuf,
    },
    /// The key-value engine cannot make sense of its files: they are damaged.
    #[error("key-value store in {path}: {what}", path = path.display())]
    Engine {
        /// Folder of the store.
        path: PathBuf,
        /// What the engine says.
        what: String,
    },
    /// Another process (or another handle of this one) has the folder open.
    #[error("{path} is in use by another process; stop it first", path = path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
}

impl StoreError {
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io { action, path: path.into(), source }
    }
}
