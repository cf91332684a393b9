//! Hashes, signatures and key encodings of Konsort: the one crate that talks to the C cryptography library.
//!
//! ```
//! use konsort_crypto::{KeyKind, PrivateKey, hash};
//!
//! let key = PrivateKey::generate(KeyKind::EcdsaP256)?;
//! let signature = key.sign(b"transfer 5 to bob");
//! key.public_key().verify(b"transfer 5 to bob", &signature)?;
//! assert!(key.public_key().verify(b"transfer 6 to bob", &signature).is_err());
//! assert_eq!(hash::sha256(b"").len(), 32);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! * [`hash`]: SHA-2, SHA-3, Keccak and SM3, one-shot, over parts, and streaming.
//! * [`PublicKey`]: parsed once, verified often; ECDSA is checked as Fabric's Go code does (low S only).
//! * [`PrivateKey`]: generation, PEM (PKCS#8 and SEC 1), low-S signing. Never printed.
//! * [`CryptoSuite`], [`SuiteKey`]: what a chain of the second engine hashes and signs with, secp256k1 with Keccak or
//!   SM2 with SM3; signers are recovered from their signatures.
//! * [`vrf`]: the verifiable random function that engine's rotating agreement draws with.
//! * [`der`], [`pem`]: the small encodings that keys and certificates share, with Go's strictness.
//!
//! What this crate does not do: certificates (see `konsort-pki`), TLS, symmetric encryption, key storage.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod der;
pub mod hash;
pub mod pem;
mod private_key;
mod public_key;
mod signature;
mod suite;
pub mod vrf;

pub use hash::HashAlgorithm;
pub use private_key::{KeyError, PrivateKey};
pub use public_key::{KeyKind, PublicKey, PublicKeyError, SignatureScheme};
pub use signature::{EcdsaSignature, SignatureError};
pub use suite::{CryptoSuite, SignerOf, SuiteKey, SuiteKeyError, SuiteKind, suite};

/// Fills an array from the operating system's seeded generator.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut out = [0_u8; N];
    // The generator of aws-lc aborts the process itself when the system has no entropy, so an error here has no
    // meaning a caller could act on.
    aws_lc_rs::rand::fill(&mut out).unwrap_or_else(|_| panic!("the system's random number generator failed"));
    out
}
