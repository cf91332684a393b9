//! Private keys: generation, PEM, low-S signing.

use std::sync::Arc;

use aws_lc_rs::encoding::{AsBigEndian, AsDer, EcPrivateKeyBin, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RsaKeyPair,
};
use zeroize::Zeroizing;

use crate::hash::HashAlgorithm;
use crate::pem;
use crate::public_key::{Curve, KeyKind, PublicKey};

/// Why a private key cannot be made or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The text holds no PEM block.
    #[error("no PEM block in the private key; expected a block PRIVATE KEY or EC PRIVATE KEY")]
    NoPem,
    /// The block is encrypted.
    #[error("the private key is encrypted; store it as an unencrypted PKCS#8 file with mode 0600")]
    Encrypted,
    /// No supported key in the block.
    #[error("the block {0:?} holds no usable P-256, P-384, P-521, Ed25519 or RSA key")]
    Unsupported(String),
    /// This kind of key cannot be generated here.
    #[error("cannot generate keys of kind {0:?}")]
    CannotGenerate(KeyKind),
}

enum Material {
    Ecdsa { curve: &'static Curve, pair: EcdsaKeyPair },
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

struct Inner {
    material: Material,
    public: PublicKey,
}

/// A private key. Cloning shares it; printing it shows the public half only.
#[derive(Clone)]
pub struct PrivateKey(Arc<Inner>);

impl PrivateKey {
    /// Makes a new key.
    pub fn generate(kind: KeyKind) -> Result<Self, KeyError> {
        match Curve::of(kind) {
            Some(curve) => {
                let pair = EcdsaKeyPair::generate(curve.signing).map_err(|_| KeyError::CannotGenerate(kind))?;
                Self::from_ecdsa(curve, pair).ok_or(KeyError::CannotGenerate(kind))
            }
            None if kind == KeyKind::Ed25519 => {
                let pair = Ed25519KeyPair::generate().map_err(|_| KeyError::CannotGenerate(kind))?;
                Self::from_ed25519(pair).ok_or(KeyError::CannotGenerate(kind))
            }
            // 2048 bits: what the networks that ask for RSA issue for TLS.
            None if kind == KeyKind::Rsa => {
                let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| KeyError::CannotGenerate(kind))?;
                Self::from_rsa(pair).ok_or(KeyError::CannotGenerate(kind))
            }
            None => Err(KeyError::CannotGenerate(kind)),
        }
    }

    /// Reads the first PEM block: PKCS#8 (`PRIVATE KEY`) or SEC 1 (`EC PRIVATE KEY`). A parameter block before the
    /// key, as OpenSSL writes it, is skipped.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let block = pem::decode_all(text.as_bytes())
            .into_iter()
            .find(|block| block.label != "EC PARAMETERS")
            .ok_or(KeyError::NoPem)?;
        if block.label.contains("ENCRYPTED") || text.contains("Proc-Type: 4,ENCRYPTED") {
            return Err(KeyError::Encrypted);
        }
        Self::from_der(&block.contents).ok_or(KeyError::Unsupported(block.label))
    }

    /// Reads PKCS#8 or SEC 1 DER.
    pub fn from_der(der: &[u8]) -> Option<Self> {
        for kind in [KeyKind::EcdsaP256, KeyKind::EcdsaP384, KeyKind::EcdsaP521] {
            let curve = Curve::of(kind)?;
            if let Ok(pair) = EcdsaKeyPair::from_private_key_der(curve.signing, der) {
                return Self::from_ecdsa(curve, pair);
            }
        }
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
            return Self::from_ed25519(pair);
        }
        Self::from_rsa(RsaKeyPair::from_pkcs8(der).or_else(|_| RsaKeyPair::from_der(der)).ok()?)
    }

    fn from_ecdsa(curve: &'static Curve, pair: EcdsaKeyPair) -> Option<Self> {
        let public = PublicKey::from_point(curve.kind, pair.public_key().as_ref()).ok()?;
        Some(Self(Arc::new(Inner { material: Material::Ecdsa { curve, pair }, public })))
    }

    fn from_ed25519(pair: Ed25519KeyPair) -> Option<Self> {
        let public = PublicKey::from_ed25519(pair.public_key().as_ref()).ok()?;
        Some(Self(Arc::new(Inner { material: Material::Ed25519(pair), public })))
    }

    fn from_rsa(pair: RsaKeyPair) -> Option<Self> {
        let public = PublicKey::from_rsa(pair.public_key().as_ref()).ok()?;
        Some(Self(Arc::new(Inner { material: Material::Rsa(pair), public })))
    }

    /// The kind of key.
    pub fn kind(&self) -> KeyKind {
        self.0.public.kind()
    }

    /// The public half.
    pub fn public_key(&self) -> &PublicKey {
        &self.0.public
    }

    /// The key as a PKCS#8 PEM block `PRIVATE KEY`, wiped when dropped.
    pub fn to_pkcs8_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(pem::encode("PRIVATE KEY", &self.to_pkcs8_der()))
    }

    /// The key as PKCS#8 DER, wiped when dropped.
    pub fn to_pkcs8_der(&self) -> Zeroizing<Vec<u8>> {
        let document = match &self.0.material {
            Material::Ecdsa { pair, .. } => pair.to_pkcs8v1(),
            Material::Ed25519(pair) => pair.to_pkcs8v1(),
            Material::Rsa(pair) => {
                let document: Pkcs8V1Der<'_> = library(pair.as_der());
                return Zeroizing::new(document.as_ref().to_vec());
            }
        };
        Zeroizing::new(library(document).as_ref().to_vec())
    }

    /// The private scalar of an ECDSA key, big-endian and of the curve's width, wiped when dropped; `None` for
    /// other kinds. Meant for formats that carry the bare number.
    pub fn scalar(&self) -> Option<Zeroizing<Vec<u8>>> {
        let Material::Ecdsa { pair, .. } = &self.0.material else { return None };
        let scalar: EcPrivateKeyBin<'_> = pair.private_key().as_be_bytes().ok()?;
        Some(Zeroizing::new(scalar.as_ref().to_vec()))
    }

    /// Signs as a member of a network: ECDSA over SHA-256 with low S in DER, Ed25519 over the message, or
    /// RSASSA-PKCS1-v1_5.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.sign_hashed(HashAlgorithm::Sha256, message)
    }

    /// Like [`sign`](Self::sign) with another hash; Ed25519 ignores it.
    pub fn sign_hashed(&self, hash: HashAlgorithm, message: &[u8]) -> Vec<u8> {
        match &self.0.material {
            Material::Ecdsa { curve, pair } => {
                let digest = library(curve.fit(&hash.raw(message)).ok_or(()));
                library(curve.low_s(library(pair.sign_digest(&digest)).as_ref()))
            }
            Material::Ed25519(pair) => library(pair.try_sign(message)).as_ref().to_vec(),
            Material::Rsa(pair) => {
                let padding = match hash {
                    HashAlgorithm::Sha384 => &RSA_PKCS1_SHA384,
                    HashAlgorithm::Sha512 => &RSA_PKCS1_SHA512,
                    // The SHA-3 hashes have no scheme with RSA here; no caller asks for one.
                    _ => &RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                library(pair.sign(padding, &SystemRandom::new(), message, &mut signature));
                signature
            }
        }
    }
}

/// The library fails here only when it cannot allocate, where Rust itself would stop the process; no input from
/// outside leads here.
fn library<T, E>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|_| panic!("the cryptographic library failed with a key it had accepted"))
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PrivateKey(of {:?})", self.0.public)
    }
}
