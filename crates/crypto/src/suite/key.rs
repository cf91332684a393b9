//! Secret keys of nodes and accounts.

use std::sync::Arc;

use secp256k1::ecdsa::RecoverableSignature;
use secp256k1::{Message, PublicKey, SecretKey};
use sm2::dsa::SigningKey;
use sm2::dsa::signature::Signer as _;
use zeroize::Zeroizing;

use super::international::coordinates;
use super::sm::USER_ID;
use super::{SuiteKind, suite};
use crate::der::{Reader, Writer, tag};
use crate::{pem, vrf};

const EC_PUBLIC_KEY: &str = "1.2.840.10045.2.1";
const SECP256K1: &str = "1.3.132.0.10";
const SM2: &str = "1.2.156.10197.1.301";

/// Why a suite's key cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SuiteKeyError {
    /// The text holds no PEM block with a key.
    #[error("no PEM block PRIVATE KEY or EC PRIVATE KEY in the key file")]
    NoPem,
    /// The block is encrypted.
    #[error("the private key is encrypted; store it as an unencrypted PKCS#8 file with mode 0600")]
    Encrypted,
    /// The block is not the encoding of an elliptic curve key.
    #[error("the key file is neither PKCS#8 nor SEC 1; make one with a tool such as openssl ecparam -genkey")]
    Malformed,
    /// A key of a curve that no suite uses.
    #[error("the key is on the curve {0}, a chain takes secp256k1 (1.3.132.0.10) or SM2 (1.2.156.10197.1.301)")]
    Curve(String),
    /// The number is zero, too large or not 32 bytes.
    #[error("the private key is not a number of 32 bytes between 1 and the group order")]
    Range,
}

enum Material {
    Secp256k1(SecretKey),
    Sm2(Box<SigningKey>),
}

struct Inner {
    material: Material,
    public: [u8; 64],
    bytes: Zeroizing<[u8; 32]>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Material::Secp256k1(key) = &mut self.material {
            key.non_secure_erase();
        }
    }
}

/// A secret key of a suite. Cloning shares it; printing shows the public half only.
///
/// ```
/// use konsort_crypto::{SuiteKey, SuiteKind, suite};
///
/// let key = SuiteKey::generate(SuiteKind::International);
/// let hash = suite(key.kind()).hash(b"transfer 5 to bob");
/// let signer = suite(key.kind()).sender(&hash, &key.sign(&hash))?;
/// assert_eq!(signer.address, key.address());
/// # Ok::<(), konsort_crypto::SignatureError>(())
/// ```
#[derive(Clone)]
pub struct SuiteKey(Arc<Inner>);

impl SuiteKey {
    /// Makes a new key.
    pub fn generate(kind: SuiteKind) -> Self {
        loop {
            // A random number outside the group's order is met once in 2^32 tries on SM2, hardly ever on secp256k1.
            let bytes = Zeroizing::new(crate::random_bytes::<32>());
            if let Ok(key) = Self::from_bytes(kind, &bytes) {
                return key;
            }
        }
    }

    /// Takes the secret number, big-endian.
    pub fn from_bytes(kind: SuiteKind, bytes: &[u8; 32]) -> Result<Self, SuiteKeyError> {
        let (material, public) = match kind {
            SuiteKind::International => {
                let key = SecretKey::from_secret_bytes(*bytes).map_err(|_| SuiteKeyError::Range)?;
                let public = coordinates(&PublicKey::from_secret_key(&key));
                (Material::Secp256k1(key), public)
            }
            SuiteKind::Sm => {
                let key = SigningKey::from_slice(USER_ID, bytes).map_err(|_| SuiteKeyError::Range)?;
                let sec1 = key.verifying_key().to_sec1_bytes();
                let public = sec1.get(1..).and_then(|x_y| x_y.try_into().ok()).ok_or(SuiteKeyError::Range)?;
                (Material::Sm2(Box::new(key)), public)
            }
        };
        Ok(Self(Arc::new(Inner { material, public, bytes: Zeroizing::new(*bytes) })))
    }

    /// Reads PKCS#8 (`PRIVATE KEY`) or SEC 1 (`EC PRIVATE KEY`) PEM; the curve in it decides the suite.
    pub fn from_pem(text: &str) -> Result<Self, SuiteKeyError> {
        let block = pem::decode_all(text.as_bytes())
            .into_iter()
            .find(|block| block.label != "EC PARAMETERS")
            .ok_or(SuiteKeyError::NoPem)?;
        if block.label.contains("ENCRYPTED") || text.contains("Proc-Type: 4,ENCRYPTED") {
            return Err(SuiteKeyError::Encrypted);
        }
        let (curve, scalar) = match block.label.as_str() {
            "PRIVATE KEY" => pkcs8(&block.contents).ok_or(SuiteKeyError::Malformed)?,
            "EC PRIVATE KEY" => sec1(&block.contents, None).ok_or(SuiteKeyError::Malformed)?,
            _ => return Err(SuiteKeyError::NoPem),
        };
        let kind = match curve.as_str() {
            SECP256K1 => SuiteKind::International,
            SM2 => SuiteKind::Sm,
            _ => return Err(SuiteKeyError::Curve(curve)),
        };
        Self::from_bytes(kind, &scalar)
    }

    /// The key as a PKCS#8 PEM block with the public key in it, as upstream's tools write `node.pem`; wiped when
    /// dropped.
    pub fn to_pem(&self) -> Zeroizing<String> {
        let mut point = [4; 65];
        point[1..].copy_from_slice(&self.0.public);
        let mut inner = Writer::new();
        inner.sequence(|key| {
            key.unsigned(&[1]).element(tag::OCTET_STRING, &self.0.bytes[..]);
            key.nested(tag::constructed(1), |public| {
                public.bit_string(&point);
            });
        });
        let inner = Zeroizing::new(inner.into_bytes());
        let mut outer = Writer::new();
        outer.sequence(|key| {
            key.unsigned(&[]);
            key.sequence(|algorithm| {
                algorithm.oid(EC_PUBLIC_KEY).oid(match self.kind() {
                    SuiteKind::International => SECP256K1,
                    SuiteKind::Sm => SM2,
                });
            });
            key.element(tag::OCTET_STRING, &inner);
        });
        let der = Zeroizing::new(outer.into_bytes());
        Zeroizing::new(pem::encode("PRIVATE KEY", &der))
    }

    /// The suite this key belongs to.
    pub fn kind(&self) -> SuiteKind {
        match self.0.material {
            Material::Secp256k1(_) => SuiteKind::International,
            Material::Sm2(_) => SuiteKind::Sm,
        }
    }

    /// The point's two coordinates without the leading 04; in hex this is a consensus node's id.
    pub fn public_key(&self) -> &[u8; 64] {
        &self.0.public
    }

    /// The account address.
    pub fn address(&self) -> [u8; 20] {
        suite(self.kind()).address(&self.0.public)
    }

    /// Signs a hash as transactions carry it: `r‖s‖v` (65 bytes, v 0 or 1, low s) or `r‖s‖public key` (128 bytes).
    pub fn sign(&self, hash: &[u8; 32]) -> Vec<u8> {
        match &self.0.material {
            Material::Secp256k1(key) => {
                let signature = RecoverableSignature::sign_ecdsa_recoverable(Message::from_digest(*hash), key);
                let (recovery, rs) = signature.serialize_compact();
                let mut out = Vec::with_capacity(65);
                out.extend_from_slice(&rs);
                out.push(recovery.to_u8());
                out
            }
            Material::Sm2(key) => {
                let mut out = Vec::with_capacity(128);
                out.extend_from_slice(&key.sign(hash).to_bytes());
                out.extend_from_slice(&self.0.public);
                out
            }
        }
    }

    /// The public key of [`vrf`](crate::vrf) that belongs to this key's number, and the proof for a message.
    pub fn vrf_prove(&self, message: &[u8]) -> ([u8; vrf::PUBLIC_KEY_BYTES], [u8; vrf::PROOF_BYTES]) {
        (vrf::public_key(&self.0.bytes[..]), vrf::prove(&self.0.bytes[..], message))
    }

    /// Signs a hash as block headers carry it: `r‖s‖v` (65 bytes) with secp256k1, `r‖s` (64 bytes) with SM2.
    pub fn sign_header(&self, hash: &[u8; 32]) -> Vec<u8> {
        let mut out = self.sign(hash);
        if self.kind() == SuiteKind::Sm {
            out.truncate(64);
        }
        out
    }
}

impl std::fmt::Debug for SuiteKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SuiteKey({:?}, {:02x?})", self.kind(), &self.0.public[..4])
    }
}

type CurveAndScalar = (String, Zeroizing<[u8; 32]>);

fn pkcs8(der: &[u8]) -> Option<CurveAndScalar> {
    let mut key = Reader::new(der).sequence().ok()?;
    key.integer().ok()?;
    let mut algorithm = key.sequence().ok()?;
    if algorithm.oid().ok()? != EC_PUBLIC_KEY {
        return None;
    }
    let curve = algorithm.oid().ok()?;
    sec1(key.contents(tag::OCTET_STRING).ok()?, Some(curve))
}

fn sec1(der: &[u8], outer: Option<String>) -> Option<CurveAndScalar> {
    let mut key = Reader::new(der).sequence().ok()?;
    key.integer().ok()?;
    let octets = key.contents(tag::OCTET_STRING).ok()?;
    let curve = match outer {
        Some(curve) => curve,
        None => Reader::new(key.contents(tag::constructed(0)).ok()?).oid().ok()?,
    };
    // Some writers leave leading zeros out.
    let mut scalar = Zeroizing::new([0; 32]);
    let start = 32_usize.checked_sub(octets.len())?;
    scalar[start..].copy_from_slice(octets);
    Some((curve, scalar))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SignatureError;

    #[test]
    fn both_suites_sign_recover_and_verify() {
        for kind in [SuiteKind::International, SuiteKind::Sm] {
            let key = SuiteKey::generate(kind);
            let chain = suite(kind);
            let hash = chain.hash_parts(&[b"block ", b"7"]);
            assert_eq!(hash, chain.hash(b"block 7"));
            let signer = chain.sender(&hash, &key.sign(&hash)).unwrap();
            assert_eq!((&signer.public_key, signer.address), (key.public_key(), key.address()));
            let header = key.sign_header(&hash);
            chain.verify(key.public_key(), &hash, &header).unwrap();
            chain.verify(key.public_key(), &hash, &key.sign(&hash)).unwrap();
            let other = chain.hash(b"block 8");
            assert_eq!(chain.verify(key.public_key(), &other, &header), Err(SignatureError::Mismatch));
            assert!(chain.sender(&other, &key.sign(&hash)).map_or(true, |found| found.address != key.address()));
        }
    }

    #[test]
    fn damaged_signatures_and_keys_are_errors() {
        for kind in [SuiteKind::International, SuiteKind::Sm] {
            let chain = suite(kind);
            let hash = chain.hash(b"");
            for length in [0, 1, 63, 64, 65, 66, 127, 128, 129] {
                assert!(chain.sender(&hash, &vec![0xff; length]).is_err());
                assert!(chain.sender(&hash, &vec![0; length]).is_err());
                assert!(chain.verify(&[1; 64], &hash, &vec![1; length]).is_err());
                assert!(chain.verify(&vec![1; length], &hash, &[1; 64]).is_err());
            }
            assert_eq!(SuiteKey::from_bytes(kind, &[0; 32]).unwrap_err(), SuiteKeyError::Range);
            assert_eq!(SuiteKey::from_bytes(kind, &[0xff; 32]).unwrap_err(), SuiteKeyError::Range);
        }
    }

    #[test]
    fn pem_round_trip_and_foreign_keys() {
        for kind in [SuiteKind::International, SuiteKind::Sm] {
            let key = SuiteKey::generate(kind);
            let read = SuiteKey::from_pem(&key.to_pem()).unwrap();
            assert_eq!((read.kind(), read.public_key()), (kind, key.public_key()));
            assert_eq!(*read.to_pem(), *key.to_pem());
        }
        assert_eq!(SuiteKey::from_pem("").unwrap_err(), SuiteKeyError::NoPem);
        let p256 = crate::PrivateKey::generate(crate::KeyKind::EcdsaP256).unwrap();
        let error = SuiteKey::from_pem(&p256.to_pkcs8_pem()).unwrap_err();
        assert_eq!(error, SuiteKeyError::Curve("1.2.840.10045.3.1.7".to_owned()));
        let rubbish = pem::encode("PRIVATE KEY", &[0x30, 0x03, 0x02, 0x01]);
        assert_eq!(SuiteKey::from_pem(&rubbish).unwrap_err(), SuiteKeyError::Malformed);
    }
}
