//! SM2 with SM3 (GB/T 32918, GB/T 32905).

use sm2::dsa::signature::Verifier as _;
use sm2::dsa::{Signature, VerifyingKey};

use super::international::header_form;
use super::{CryptoSuite, SignerOf, SuiteKind, last_20};
use crate::hash;
use crate::signature::SignatureError;

/// The signer's user id that enters Z; the standard's default, which upstream never changes.
pub(super) const USER_ID: &str = "1234567812345678";

#[derive(Debug)]
pub(super) struct Sm;

impl CryptoSuite for Sm {
    fn kind(&self) -> SuiteKind {
        SuiteKind::Sm
    }

    fn hash_parts(&self, parts: &[&[u8]]) -> [u8; 32] {
        hash::sm3_parts(parts)
    }

    fn sender(&self, hash: &[u8; 32], signature: &[u8]) -> Result<SignerOf, SignatureError> {
        let (rs, key) = signature.split_at_checked(64).ok_or(SignatureError::Malformed("not 128 bytes"))?;
        let public_key: [u8; 64] = key.try_into().map_err(|_| SignatureError::Malformed("not 128 bytes"))?;
        self.verify(&public_key, hash, rs)?;
        Ok(SignerOf { address: last_20(&hash::sm3(&public_key)), public_key })
    }

    fn verify(&self, public_key: &[u8], hash: &[u8; 32], signature: &[u8]) -> Result<(), SignatureError> {
        let (x_y, rs) = header_form(public_key, signature, 128)?;
        let mut sec1 = [4; 65];
        sec1[1..].copy_from_slice(x_y);
        let key = VerifyingKey::from_sec1_bytes(USER_ID, &sec1).map_err(|_| SignatureError::WrongKey)?;
        let signature = Signature::from_slice(rs)
            .map_err(|_| SignatureError::Malformed("r or s is zero or exceeds the group order"))?;
        key.verify(hash, &signature).map_err(|_| SignatureError::Mismatch)
    }
}
