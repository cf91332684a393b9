//! Key material for test and development networks: authorities, nodes and users of organisations, as upstream's
//! `cryptogen` makes them: same configuration file, same folders, same file names.
//!
//! ```
//! use fabric_client::cryptogen::{Config, generate};
//!
//! let folder = tempfile::tempdir()?;
//! let config = Config::parse("PeerOrgs: [{Name: Org1, Domain: org1.example.com, EnableNodeOUs: true, Template: {Count: 1}}]")?;
//! generate(&config, folder.path())?;
//! let node = folder.path().join("peerOrganizations/org1.example.com/peers/peer0.org1.example.com");
//! assert!(node.join("msp/keystore/priv_sk").exists() && node.join("tls/server.crt").exists());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Keys are written with mode 0600. In production, use a certificate authority instead.

mod cli;
mod config;
mod layout;
mod template;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

pub use cli::run;
pub use config::{Config, NodeSpec, NodeTemplate, OrgSpec, UsersSpec};

/// Why key material cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum CryptogenError {
    /// The configuration is not YAML of the expected shape.
    #[error("Error reading config: Error Unmarshalling YAML: {0}")]
    Yaml(String),
    /// A name template is broken.
    #[error("Error processing {kind} configuration: {reason}")]
    Template {
        /// `peer` or `orderer`.
        kind: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A file or folder cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A key cannot be made, read or written.
    #[error(transparent)]
    KeyFile(#[from] konsort_pki::key_file::KeyFileError),
    /// A key cannot be made.
    #[error("failed to generate private key: {0}")]
    Key(#[from] konsort_crypto::KeyError),
    /// Another key algorithm than the two known.
    #[error("Unsupported key algorithm: {0} (use \"ecdsa\" or \"ed25519\")")]
    KeyAlgorithm(String),
    /// A certificate cannot be made or read.
    #[error("{context}: {source}")]
    Certificate {
        /// What it was for.
        context: String,
        /// The reason.
        source: konsort_pki::PkiError,
    },
    /// The authority of an existing organisation is not complete.
    #[error(
        "no certificate authority in {0}: it needs one *.pem certificate and its *_sk key to extend the organisation"
    )]
    NoAuthority(PathBuf),
    /// A name would leave the folder it belongs to.
    #[error("{0:?} cannot be used as a file name; check Domain, Hostname and CommonName")]
    UnsafeName(String),
    /// Something failed for one organisation.
    #[error("Error generating {what} for org {organization}:\n{source}")]
    Organization {
        /// Which part.
        what: &'static str,
        /// The organisation's domain.
        organization: String,
        /// The reason.
        source: Box<CryptogenError>,
    },
}

impl CryptogenError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |source| Self::Io { path, source }
    }
}

/// Makes everything the configuration asks for below `output`.
pub fn generate(config: &Config, output: &Path) -> Result<(), CryptogenError> {
    layout::generate(config, output, &mut |_| ())
}

/// Makes an identity of any name for an existing organisation, `folder`, with the organisation's authority, unless it is there:
/// `users/NAME@DOMAIN` with its `msp` and `tls` folders. `role` is the organisational unit: `client`, `admin`, `peer` or
/// `orderer`.
pub fn issue_user(folder: &Path, domain: &str, name: &str, role: &str) -> Result<PathBuf, CryptogenError> {
    layout::issue_user(folder, domain, name, role)
}

/// Adds what the configuration has and `input` has not: organisations, nodes, users.
pub fn extend(config: &Config, input: &Path) -> Result<(), CryptogenError> {
    layout::extend(config, input, &mut |_| ())
}
