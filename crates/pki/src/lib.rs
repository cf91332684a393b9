//! X.509 certificates, requests and revocation lists: parse, issue, verify chains; key files.
//!
//! ```
//! use konsort_crypto::{KeyKind, PrivateKey};
//! use konsort_pki::{CertificateTemplate, Name, verify_chain};
//!
//! let ca_key = PrivateKey::generate(KeyKind::EcdsaP256)?;
//! let ca = CertificateTemplate::ca(Name::common_name("ca.example.com"), 1_700_000_000, 2_000_000_000)
//!     .self_sign(&ca_key)?;
//! let key = PrivateKey::generate(KeyKind::EcdsaP256)?;
//! let node = CertificateTemplate::leaf(Name::common_name("peer0.example.com"), 1_700_000_000, 2_000_000_000)
//!     .with_sans(["peer0.example.com", "127.0.0.1"])
//!     .issue(key.public_key(), &ca, &ca_key)?;
//! let chain = verify_chain(&node, &[ca.clone()], &[], 1_800_000_000)?;
//! assert_eq!(chain.len(), 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The rules are those of Go's `crypto/x509`, because the networks we join were built with it and whether a certificate
//! is accepted decides whether a transaction is valid: certificates without alternative names, with odd key usages or
//! mixed curves are fine, and the verification time is the caller's to choose.
//!
//! What this crate does not do: sockets, TLS sessions, membership rules (see `fabric-channel`), reading the clock.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod algorithm;
mod certificate;
mod chain;
mod constraints;
mod crl;
mod csr;
mod extensions;
mod host;
mod issue;
pub mod key_file;
mod name;
pub mod time;

pub use certificate::{Certificate, Extension};
pub use chain::{CertificatePool, ChainError, Usage, VerifyOptions, verify, verify_chain};
pub use crl::{Crl, CrlTemplate};
pub use csr::CertificateRequest;
pub use extensions::{ExtendedKeyUsage, KeyUsage, SubjectAltNames};
pub use host::is_valid_hostname;
pub use issue::CertificateTemplate;
pub use name::{Attribute, Name};

use konsort_crypto::der::DerError;
use konsort_crypto::{PublicKeyError, SignatureError};

/// OID of the certificate extension that holds Fabric's attributes (a JSON text).
pub const FABRIC_ATTRIBUTES_OID: &str = "1.2.3.4.5.6.7.8.1";

/// Why bytes are not a certificate, request or revocation list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PkiError {
    /// The text holds no PEM block.
    #[error("no PEM block found; expected {0}")]
    NoPem(&'static str),
    /// The structure is broken at the named part.
    #[error("x509: malformed {part}: {source}")]
    Malformed {
        /// The part of the structure.
        part: &'static str,
        /// What is wrong there.
        source: DerError,
    },
    /// A rule of the profile is broken.
    #[error("x509: {0}")]
    Invalid(&'static str),
    /// The public key cannot be used.
    #[error("x509: {0}")]
    PublicKey(#[from] PublicKeyError),
    /// A signature does not hold.
    #[error("x509: {0}")]
    Signature(#[from] SignatureError),
    /// More input than any real object of this kind has.
    #[error("{what} of {length} bytes is longer than the {limit} allowed")]
    TooLong {
        /// The kind of object.
        what: &'static str,
        /// Its length in bytes.
        length: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The signer cannot sign this.
    #[error("cannot sign: {0}")]
    Sign(&'static str),
}

pub(crate) fn malformed(part: &'static str) -> impl Fn(DerError) -> PkiError {
    move |source| PkiError::Malformed { part, source }
}

/// The hash that stands for a TLS certificate in messages: SHA-256 over its DER.
pub fn tls_hash(der: &[u8]) -> [u8; 32] {
    konsort_crypto::hash::sha256(der)
}
