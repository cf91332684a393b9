//! Membership: which certificates belong to an organisation, and which principals they satisfy.
//!
//! [`Msp`] is one organisation's rules, from a folder or from a channel's configuration. [`MspManager`] holds those of a
//! channel and remembers every identity it has seen, because each transaction asks for the same few again.
//! [`SigningIdentity`] is an identity with its private key.
//!
//! The rules are upstream's, copied and not improved: a certificate is judged at the second after its own start, so that
//! expiry does not invalidate old blocks (whoever cares asks [`Identity::expires_at`]); an identity is named by the hash
//! of its certificate with the signature's S in the lower half; more than one path to a root is refused.

mod folder;
mod identity;
mod manager;
mod organization;
mod principal;
mod setup;
mod signing;
#[cfg(test)]
mod tests;
mod validate;

pub use folder::folder_config;
pub use identity::{Identity, IdentityId};
pub use manager::MspManager;
pub use organization::Msp;
pub use signing::SigningIdentity;

use konsort_pki::{ChainError, PkiError};

/// Behaviour of a membership provider, set by the channel's capabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(non_camel_case_types)]
pub enum MspVersion {
    /// Before any capability.
    V1_0,
    /// Channel V1_1: roles by organisational unit for clients and peers.
    V1_1,
    /// Channel V1_3: combined and anonymity principals.
    V1_3,
    /// Channel V1_4_3 and V2_0: roles for admins and orderers too.
    V1_4_3,
    /// Channel V3_0: Ed25519 keys.
    V3_0,
}

/// Why an organisation cannot be set up, an identity is refused or a principal is not satisfied. The texts are those
/// clients and scripts know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MspError {
    /// Another error, with where it happened in front.
    #[error("{context}: {source}")]
    In {
        /// Where it happened.
        context: String,
        /// What happened.
        source: Box<MspError>,
    },
    /// The bytes are no serialized identity.
    #[error("could not deserialize a SerializedIdentity: {0}")]
    NotAnIdentity(String),
    /// No organisation of this name in the channel.
    #[error("MSP {0} is not defined on channel")]
    UnknownMsp(String),
    /// The identity belongs to another organisation.
    #[error("expected MSP ID {expected}, received {received}")]
    WrongMsp {
        /// This organisation.
        expected: String,
        /// The identity's.
        received: String,
    },
    /// The identity's certificate is not PEM.
    #[error("could not decode the PEM structure")]
    NoPem,
    /// The certificate cannot be read.
    #[error("parseCertificate failed: {0}")]
    Certificate(PkiError),
    /// No acceptable path to a root of the organisation.
    #[error("the supplied identity is not valid: {0}")]
    Chain(#[from] ChainError),
    /// More than one path.
    #[error("this MSP only supports a single validation chain, got {0}")]
    SeveralChains(usize),
    /// An authority's certificate was offered as an identity.
    #[error(
        "An X509 certificate with Basic Constraint: Certificate Authority equals true cannot be used as an identity"
    )]
    AuthorityAsIdentity,
    /// The path is too short.
    #[error("expected a chain of length at least 2, got {0}")]
    ShortChain(usize),
    /// The certificate stands on a revocation list.
    #[error("The certificate has been revoked")]
    Revoked,
    /// The key's algorithm needs a higher channel capability, or is never allowed.
    #[error("{0} is not supported")]
    KeyAlgorithm(&'static str),
    /// Organisational units do not fit.
    #[error("{0}")]
    Units(String),
    /// The signature is not one that could be checked.
    #[error("could not determine the validity of the signature: {0}")]
    Signature(konsort_crypto::SignatureError),
    /// The signature was not made by this identity over these bytes.
    #[error("The signature is invalid")]
    BadSignature,
    /// The principal cannot be read, or the identity does not satisfy it.
    #[error("{0}")]
    Principal(String),
    /// The organisation's definition is not usable.
    #[error("{0}")]
    Setup(String),
    /// A file or folder of the organisation is not usable.
    #[error("{0}")]
    Folder(String),
}

impl MspError {
    pub(crate) fn context(self, context: impl Into<String>) -> Self {
        Self::In { context: context.into(), source: Box::new(self) }
    }
}

/// Puts a context in front of an error.
pub(crate) trait Context<T> {
    fn context(self, context: &str) -> Result<T, MspError>;
}

impl<T, E: Into<MspError>> Context<T> for Result<T, E> {
    fn context(self, context: &str) -> Result<T, MspError> {
        self.map_err(|error| error.into().context(context))
    }
}
