//! What can go wrong, in the words that clients of the original see (scripts look for them).

use std::path::PathBuf;

/// A package that is not one, or cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// Not a gzip stream, or it ends early.
    #[error("error reading as gzip stream: {0}")]
    Gzip(String),
    /// The archive is damaged.
    #[error("error inspecting next tar header: {0}")]
    Tar(String),
    /// An entry that is not a plain file.
    #[error("tar entry {name} is not a regular file, type {kind}")]
    NotAFile {
        /// Name of the entry.
        name: String,
        /// Type flag of the entry.
        kind: u8,
    },
    /// `metadata.json` is not the JSON it should be.
    #[error("could not unmarshal metadata.json as json: {0}")]
    Metadata(String),
    /// `code.tar.gz` is missing.
    #[error("did not find a code package inside the package")]
    NoCode,
    /// `metadata.json` is missing.
    #[error("did not find any package metadata (missing metadata.json)")]
    NoMetadata,
    /// The label breaks the rule.
    #[error(
        "invalid label '{0}'. Label must be non-empty, can only consist of alphanumerics, symbols from '.+-_', and can only begin with alphanumerics"
    )]
    Label(String),
    /// More bytes or entries than a package may have.
    #[error("chaincode package is too large: {what} exceeds {limit}; make the package smaller")]
    TooLarge {
        /// What is too large.
        what: String,
        /// The limit, in the unit of `what`.
        limit: u64,
    },
    /// An entry that would land outside the folder it is unpacked in.
    #[error(
        "code package entry '{0}' leaves its folder; build the package again without absolute paths, '..' and links"
    )]
    UnsafePath(String),
    /// No package under that id.
    #[error("chaincode install package '{0}' not found")]
    NotFound(String),
    /// The stored bytes are not those that were installed.
    #[error("chaincode install package '{id}' in {path} is damaged: its hash has changed; install it again")]
    Damaged {
        /// The package id.
        id: String,
        /// The file.
        path: PathBuf,
    },
    /// A code archive without what its type needs.
    #[error("{0}")]
    Content(String),
    /// Reading or writing the store.
    #[error("{what} {path}: {source}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl PackageError {
    /// For `map_err` on file operations.
    pub(crate) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
}

/// Why an installation failed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The bytes are not a package.
    #[error("could not parse as a chaincode install package: {0}")]
    Parse(PackageError),
    /// The package cannot be stored.
    #[error("could not save cc install package: {0}")]
    Save(PackageError),
    /// It is there already, built.
    #[error("chaincode already successfully installed (package ID '{0}')")]
    AlreadyInstalled(String),
    /// It does not build; nothing is kept.
    #[error("could not build chaincode: {0}")]
    Build(LaunchError),
}

/// Why a chaincode could not be built or started.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LaunchError {
    /// No launcher knows what to do with the package.
    #[error(
        "no launcher for chaincode type '{kind}' of package {package_id}: use ccaas, node, golang or rust, or configure an external builder"
    )]
    NoLauncher {
        /// The package id.
        package_id: String,
        /// The type in its metadata.
        kind: String,
    },
    /// The package cannot be read.
    #[error("could not read chaincode package {package_id}: {cause}")]
    Package {
        /// The package id.
        package_id: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The build step failed.
    #[error("error building chaincode {package_id}: {cause}{}", log_hint(log.as_ref()))]
    Build {
        /// The package id.
        package_id: String,
        /// What failed.
        cause: String,
        /// Where the output of the build is.
        log: Option<PathBuf>,
    },
    /// The process did not start.
    #[error("error starting chaincode {package_id}: {cause}{}", log_hint(log.as_ref()))]
    Start {
        /// The package id.
        package_id: String,
        /// What failed.
        cause: String,
        /// Where its output is.
        log: Option<PathBuf>,
    },
    /// A chaincode server cannot be reached or ended its stream.
    #[error("connection to {package_id} failed: {cause}")]
    Connect {
        /// The package id.
        package_id: String,
        /// What failed.
        cause: String,
    },
    /// The process ended before it registered.
    #[error("chaincode registration failed: container exited with {code}{}", log_hint(log.as_ref()))]
    Exited {
        /// The exit code, or the signal.
        code: String,
        /// Where its output is.
        log: Option<PathBuf>,
    },
    /// The chaincode was refused when it registered.
    #[error("chaincode registration failed: {0}")]
    Registration(String),
    /// It did not register in time.
    #[error("timeout expired while starting chaincode {package_id} for transaction{}", log_hint(log.as_ref()))]
    Timeout {
        /// The package id.
        package_id: String,
        /// Where its output is.
        log: Option<PathBuf>,
    },
    /// The peer is stopping.
    #[error("chaincode {0} is not started: the peer is stopping")]
    Stopping(String),
}

fn log_hint(log: Option<&PathBuf>) -> String {
    log.map(|path| format!(" (its output is in {})", path.display())).unwrap_or_default()
}

/// Why an execution gave no response of the chaincode.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ChaincodeError {
    /// The chaincode is not running and could not be started.
    #[error("failed to execute transaction {txid}: could not launch chaincode {package_id}: {cause}")]
    Launch {
        /// The transaction.
        txid: String,
        /// The package id.
        package_id: String,
        /// Why.
        cause: Box<LaunchError>,
    },
    /// The same transaction is running on this chaincode, in most cases because a chaincode calls itself.
    #[error("failed to execute transaction {txid}: error sending: txid: {txid}({channel}) exists")]
    Duplicate {
        /// The transaction.
        txid: String,
        /// Its channel.
        channel: String,
    },
    /// No answer in time.
    #[error(
        "failed to execute transaction {txid}: error sending: timeout expired while executing transaction (chaincode {package_id}{})",
        log_hint(log.as_ref())
    )]
    Timeout {
        /// The transaction.
        txid: String,
        /// The package id.
        package_id: String,
        /// Where the chaincode's output is.
        log: Option<PathBuf>,
    },
    /// The chaincode went away while it was working.
    #[error(
        "failed to execute transaction {txid}: error sending: chaincode stream terminated (chaincode {package_id}{})",
        log_hint(log.as_ref())
    )]
    StreamTerminated {
        /// The transaction.
        txid: String,
        /// The package id.
        package_id: String,
        /// Where the chaincode's output is.
        log: Option<PathBuf>,
    },
    /// The chaincode answered with an error message instead of a response.
    #[error("transaction returned with failure: {message}")]
    Failure {
        /// What it said.
        message: String,
    },
    /// The chaincode answered with bytes that are no response.
    #[error("failed to unmarshal response for transaction {txid}: {cause}")]
    BadResponse {
        /// The transaction.
        txid: String,
        /// What is wrong with them.
        cause: String,
    },
}

impl ChaincodeError {
    /// The text without the transaction's prefix, as a calling chaincode sees it.
    pub fn cause_text(&self) -> String {
        let text = self.to_string();
        text.strip_prefix("failed to execute transaction ")
            .and_then(|rest| rest.split_once(": "))
            .map_or_else(|| text.clone(), |(_txid, cause)| cause.to_owned())
    }
}
