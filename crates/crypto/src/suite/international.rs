//! secp256k1 with Keccak-256.

use secp256k1::ecdsa::{RecoverableSignature, RecoveryId, Signature};
use secp256k1::{Message, PublicKey};

use super::{CryptoSuite, SignerOf, SuiteKind, last_20};
use crate::hash;
use crate::signature::SignatureError;

#[derive(Debug)]
pub(super) struct International;

impl CryptoSuite for International {
    fn kind(&self) -> SuiteKind {
        SuiteKind::International
    }

    fn hash(&self, data: &[u8]) -> [u8; 32] {
        hash::keccak256(data)
    }

    fn hash_parts(&self, parts: &[&[u8]]) -> [u8; 32] {
        hash::keccak256_parts(parts)
    }

    fn sender(&self, hash: &[u8; 32], signature: &[u8]) -> Result<SignerOf, SignatureError> {
        let (rs, &[v]) = signature.split_at_checked(64).ok_or(SignatureError::Malformed("not 65 bytes"))? else {
            return Err(SignatureError::Malformed("not 65 bytes"));
        };
        let recovery = match v {
            0 | 27 => RecoveryId::Zero,
            1 | 28 => RecoveryId::One,
            _ => return Err(SignatureError::Malformed("v is none of 0, 1, 27, 28")),
        };
        let signature = RecoverableSignature::from_compact(rs, recovery)
            .map_err(|_| SignatureError::Malformed("r or s exceeds the group order"))?;
        let key = signature.recover_ecdsa(Message::from_digest(*hash)).map_err(|_| SignatureError::Mismatch)?;
        let public_key = coordinates(&key);
        Ok(SignerOf { address: last_20(&hash::keccak256(&public_key)), public_key })
    }

    fn verify(&self, public_key: &[u8], hash: &[u8; 32], signature: &[u8]) -> Result<(), SignatureError> {
        let (x_y, rs) = header_form(public_key, signature, 65)?;
        let mut sec1 = [4; 65];
        sec1[1..].copy_from_slice(x_y);
        let key = PublicKey::from_byte_array_uncompressed(sec1).map_err(|_| SignatureError::WrongKey)?;
        let mut signature =
            Signature::from_compact(rs).map_err(|_| SignatureError::Malformed("r or s exceeds the group order"))?;
        // The library refuses the upper half of s; headers never enter a hash with their signatures, so either half
        // means the same here.
        signature.normalize_s();
        signature.verify(Message::from_digest(*hash), &key).map_err(|_| SignatureError::Mismatch)
    }
}

/// The two coordinates of a point.
pub(super) fn coordinates(key: &PublicKey) -> [u8; 64] {
    let mut out = [0; 64];
    out.copy_from_slice(&key.serialize_uncompressed()[1..]);
    out
}

/// Takes a key of 64 bytes and the first 64 bytes of a signature of 64 or `long` bytes.
pub(super) fn header_form<'a>(
    public_key: &'a [u8],
    signature: &'a [u8],
    long: usize,
) -> Result<(&'a [u8; 64], &'a [u8; 64]), SignatureError> {
    let key = public_key.try_into().map_err(|_| SignatureError::WrongKey)?;
    let rs = signature.first_chunk().ok_or(SignatureError::Malformed("shorter than 64 bytes"))?;
    if signature.len() != 64 && signature.len() != long {
        return Err(SignatureError::Malformed("neither a header's nor a transaction's length"));
    }
    Ok((key, rs))
}
