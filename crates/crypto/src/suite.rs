//! The two suites a chain can be founded with: secp256k1 with Keccak-256, and SM2 with SM3.
//!
//! A chain keeps one suite for life. Everything that hashes or checks signatures takes a [`CryptoSuite`], so that no
//! rule of the chain knows which one it is.

mod international;
mod key;
mod sm;

pub use key::{SuiteKey, SuiteKeyError};

use crate::signature::SignatureError;

/// Which suite a chain uses; fixed by its genesis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SuiteKind {
    /// secp256k1, Keccak-256.
    International,
    /// SM2 with user id `1234567812345678`, SM3.
    Sm,
}

/// Who made a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignerOf {
    /// The last 20 bytes of the hash of the public key.
    pub address: [u8; 20],
    /// The point's two coordinates, without the leading 04.
    pub public_key: [u8; 64],
}

/// Hashing and signatures of a chain.
pub trait CryptoSuite: Send + Sync + std::fmt::Debug {
    /// Which suite this is.
    fn kind(&self) -> SuiteKind;

    /// The hash of `data`.
    fn hash(&self, data: &[u8]) -> [u8; 32] {
        self.hash_parts(&[data])
    }

    /// The hash of the parts joined, without joining them.
    fn hash_parts(&self, parts: &[&[u8]]) -> [u8; 32];

    /// The signer of a transaction or signed call: recovered from `r‖s‖v` (65 bytes, v 0 or 1; 27 and 28 are taken as
    /// 0 and 1) with secp256k1, read from `r‖s‖public key` (128 bytes) and checked with SM2.
    fn sender(&self, hash: &[u8; 32], signature: &[u8]) -> Result<SignerOf, SignatureError>;

    /// Checks a signature under a known key of 64 bytes, as block headers and consensus messages carry it: the first
    /// 64 bytes are `r‖s`, whatever the suite's transactions append is accepted and not used.
    fn verify(&self, public_key: &[u8], hash: &[u8; 32], signature: &[u8]) -> Result<(), SignatureError>;

    /// The account address of a public key: the last 20 bytes of its hash.
    fn address(&self, public_key: &[u8; 64]) -> [u8; 20] {
        last_20(&self.hash(public_key))
    }
}

/// The suite of a kind.
pub fn suite(kind: SuiteKind) -> &'static dyn CryptoSuite {
    match kind {
        SuiteKind::International => &international::International,
        SuiteKind::Sm => &sm::Sm,
    }
}

fn last_20(hash: &[u8; 32]) -> [u8; 20] {
    let mut out = [0; 20];
    out.copy_from_slice(&hash[12..]);
    out
}
