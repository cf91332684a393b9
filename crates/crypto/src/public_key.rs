//! Public keys: parsed once, shared, verified often.

use std::sync::Arc;

use aws_lc_rs::digest::{self, Digest};
use aws_lc_rs::signature::{self as lc, ParsedPublicKey, UnparsedPublicKey};

use crate::der::{self, DerError, Reader};
use crate::hash::{self, HashAlgorithm};
use crate::signature::{EcdsaSignature, SignatureError, greater, subtract};

/// The algorithm a key belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// ECDSA on NIST P-256, Fabric's default.
    EcdsaP256,
    /// ECDSA on NIST P-384.
    EcdsaP384,
    /// ECDSA on NIST P-521.
    EcdsaP521,
    /// Ed25519.
    Ed25519,
    /// RSA; for TLS certificates.
    Rsa,
}

impl KeyKind {
    /// True for the three curves of ECDSA.
    pub fn is_ecdsa(self) -> bool {
        matches!(self, Self::EcdsaP256 | Self::EcdsaP384 | Self::EcdsaP521)
    }

    /// The name Go prints for the algorithm.
    pub fn algorithm_name(self) -> &'static str {
        match self {
            Self::EcdsaP256 | Self::EcdsaP384 | Self::EcdsaP521 => "ECDSA",
            Self::Ed25519 => "Ed25519",
            Self::Rsa => "RSA",
        }
    }
}

/// How a signature on a certificate, request or revocation list was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignatureScheme {
    /// ECDSA over a hash.
    Ecdsa(HashAlgorithm),
    /// Ed25519 over the message itself.
    Ed25519,
    /// RSASSA-PKCS1-v1_5.
    RsaPkcs1(HashAlgorithm),
    /// RSASSA-PSS with the hash for mask generation and the salt as long as the hash.
    RsaPss(HashAlgorithm),
}

/// Why bytes are not a public key that is supported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeyError {
    /// The structure is broken.
    #[error("malformed public key: {0}")]
    Encoding(#[from] DerError),
    /// Another algorithm or curve.
    #[error("unsupported public key algorithm {0}")]
    Unsupported(String),
    /// Right algorithm, but no valid point or number.
    #[error("invalid {0} public key")]
    Invalid(&'static str),
}

/// What is fixed per elliptic curve.
pub(crate) struct Curve {
    pub(crate) kind: KeyKind,
    pub(crate) oid: &'static str,
    pub(crate) verification: &'static lc::EcdsaVerificationAlgorithm,
    pub(crate) signing: &'static lc::EcdsaSigningAlgorithm,
    /// The digest whose length fills the curve; shorter ones are padded in front, longer ones cut, which leaves the
    /// integer that ECDSA derives from them unchanged.
    digest: &'static digest::Algorithm,
    coordinate: usize,
    order: &'static [u8],
    half_order: &'static [u8],
}

const P256: Curve = Curve {
    kind: KeyKind::EcdsaP256,
    oid: "1.2.840.10045.3.1.7",
    verification: &lc::ECDSA_P256_SHA256_ASN1,
    signing: &lc::ECDSA_P256_SHA256_ASN1_SIGNING,
    digest: &digest::SHA256,
    coordinate: 32,
    order: &decode_hex::<32>(b"ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"),
    half_order: &decode_hex::<32>(b"7fffffff800000007fffffffffffffffde737d56d38bcf4279dce5617e3192a8"),
};

const P384: Curve = Curve {
    kind: KeyKind::EcdsaP384,
    oid: "1.3.132.0.34",
    verification: &lc::ECDSA_P384_SHA384_ASN1,
    signing: &lc::ECDSA_P384_SHA384_ASN1_SIGNING,
    digest: &digest::SHA384,
    coordinate: 48,
    order: &decode_hex::<48>(
        b"ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973",
    ),
    half_order: &decode_hex::<48>(
        b"7fffffffffffffffffffffffffffffffffffffffffffffffe3b1a6c0fa1b96efac0d06d9245853bd76760cb5666294b9",
    ),
};

const P521: Curve = Curve {
    kind: KeyKind::EcdsaP521,
    oid: "1.3.132.0.35",
    verification: &lc::ECDSA_P521_SHA512_ASN1,
    signing: &lc::ECDSA_P521_SHA512_ASN1_SIGNING,
    digest: &digest::SHA512,
    coordinate: 66,
    order: &decode_hex::<66>(
        b"01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409",
    ),
    half_order: &decode_hex::<66>(
        b"00fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffd28c343c1df97cb35bfe600a47b84d2e81ddae4dc44ce23d75db7db8f489c3204",
    ),
};

const fn decode_hex<const N: usize>(text: &[u8]) -> [u8; N] {
    assert!(text.len() == 2 * N, "length of a constant");
    let mut out = [0; N];
    let mut index = 0;
    while index < N {
        out[index] = nibble(text[2 * index]) << 4 | nibble(text[2 * index + 1]);
        index += 1;
    }
    out
}

const fn nibble(digit: u8) -> u8 {
    if digit <= b'9' { digit - b'0' } else { digit - b'a' + 10 }
}

impl Curve {
    pub(crate) fn of(kind: KeyKind) -> Option<&'static Self> {
        match kind {
            KeyKind::EcdsaP256 => Some(&P256),
            KeyKind::EcdsaP384 => Some(&P384),
            KeyKind::EcdsaP521 => Some(&P521),
            KeyKind::Ed25519 | KeyKind::Rsa => None,
        }
    }

    fn by_oid(oid: &str) -> Option<&'static Self> {
        [&P256, &P384, &P521].into_iter().find(|curve| curve.oid == oid)
    }

    /// The digest in the length that the library wants for this curve.
    pub(crate) fn fit(&self, digest: &Digest) -> Option<Digest> {
        let octets = digest.as_ref();
        let wanted = self.digest.output_len;
        if octets.len() == wanted {
            return Digest::import_less_safe(octets, self.digest).ok();
        }
        let mut fitted = [0_u8; 64];
        let keep = octets.len().min(wanted);
        fitted[wanted - keep..wanted].copy_from_slice(&octets[..keep]);
        Digest::import_less_safe(&fitted[..wanted], self.digest).ok()
    }

    fn is_high(&self, s: &[u8]) -> bool {
        greater(s, der::strip_zeros(self.half_order))
    }

    /// The signature with S in the lower half; `None` when it is malformed.
    pub(crate) fn low_s(&self, signature: &[u8]) -> Result<Vec<u8>, SignatureError> {
        let parsed = EcdsaSignature::decode(signature)?;
        if !self.is_high(parsed.s) {
            return Ok(if parsed.canonical { signature.to_vec() } else { EcdsaSignature::encode(parsed.r, parsed.s) });
        }
        if !greater(der::strip_zeros(self.order), parsed.s) {
            return Err(SignatureError::Malformed("S is not smaller than the order of the group"));
        }
        Ok(EcdsaSignature::encode(parsed.r, &subtract(self.order, parsed.s)))
    }
}

enum Material {
    Ecdsa { curve: &'static Curve, key: ParsedPublicKey, point: Vec<u8> },
    Ed25519 { key: ParsedPublicKey, octets: [u8; 32] },
    Rsa { pkcs1: Vec<u8> },
}

struct Inner {
    spki: Vec<u8>,
    material: Material,
}

/// A public key. Cloning shares the parsed form.
#[derive(Clone)]
pub struct PublicKey(Arc<Inner>);

impl PublicKey {
    /// Parses a DER `SubjectPublicKeyInfo`, as it stands in a certificate.
    pub fn from_spki_der(spki: &[u8]) -> Result<Self, PublicKeyError> {
        let mut outer = Reader::new(spki);
        let mut info = outer.sequence()?;
        outer.finish()?;
        let mut algorithm = info.sequence()?;
        let oid = algorithm.oid()?;
        let octets = info.bit_string()?;
        info.finish()?;
        let material = match oid.as_str() {
            "1.2.840.10045.2.1" => {
                let curve_oid = algorithm.oid()?;
                let curve = Curve::by_oid(&curve_oid).ok_or(PublicKeyError::Unsupported(curve_oid))?;
                Self::ecdsa(curve, octets)?
            }
            "1.3.101.112" => {
                let fixed: [u8; 32] = octets.try_into().map_err(|_| PublicKeyError::Invalid("Ed25519"))?;
                let key = ParsedPublicKey::new(&lc::ED25519, fixed).map_err(|_| PublicKeyError::Invalid("Ed25519"))?;
                Material::Ed25519 { key, octets: fixed }
            }
            "1.2.840.113549.1.1.1" => {
                // Parsed here so that a broken key is named when it is read, not when it is first used.
                ParsedPublicKey::new(&lc::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, octets)
                    .map_err(|_| PublicKeyError::Invalid("RSA"))?;
                Material::Rsa { pkcs1: octets.to_vec() }
            }
            _ => return Err(PublicKeyError::Unsupported(oid)),
        };
        Ok(Self(Arc::new(Inner { spki: spki.to_vec(), material })))
    }

    /// An ECDSA key from its uncompressed point.
    pub(crate) fn from_point(kind: KeyKind, point: &[u8]) -> Result<Self, PublicKeyError> {
        let curve = Curve::of(kind).ok_or(PublicKeyError::Invalid("ECDSA"))?;
        let material = Self::ecdsa(curve, point)?;
        let mut writer = der::Writer::new();
        writer.sequence(|info| {
            info.sequence(|algorithm| {
                algorithm.oid("1.2.840.10045.2.1").oid(curve.oid);
            });
            info.bit_string(point);
        });
        Ok(Self(Arc::new(Inner { spki: writer.into_bytes(), material })))
    }

    /// An Ed25519 key from its 32 octets.
    pub(crate) fn from_ed25519(octets: &[u8]) -> Result<Self, PublicKeyError> {
        let mut writer = der::Writer::new();
        writer.sequence(|info| {
            info.sequence(|algorithm| {
                algorithm.oid("1.3.101.112");
            });
            info.bit_string(octets);
        });
        Self::from_spki_der(&writer.into_bytes())
    }

    /// An RSA key from its PKCS#1 form (RFC 8017 `RSAPublicKey`).
    pub(crate) fn from_rsa(pkcs1: &[u8]) -> Result<Self, PublicKeyError> {
        let mut writer = der::Writer::new();
        writer.sequence(|info| {
            info.sequence(|algorithm| {
                algorithm.oid("1.2.840.113549.1.1.1").element(der::tag::NULL, &[]);
            });
            info.bit_string(pkcs1);
        });
        Self::from_spki_der(&writer.into_bytes())
    }

    fn ecdsa(curve: &'static Curve, point: &[u8]) -> Result<Material, PublicKeyError> {
        // Go reads the uncompressed form only.
        if point.len() != 1 + 2 * curve.coordinate || point[0] != 0x04 {
            return Err(PublicKeyError::Invalid("elliptic curve"));
        }
        let key =
            ParsedPublicKey::new(curve.verification, point).map_err(|_| PublicKeyError::Invalid("elliptic curve"))?;
        Ok(Material::Ecdsa { curve, key, point: point.to_vec() })
    }

    /// The DER `SubjectPublicKeyInfo`.
    pub fn spki_der(&self) -> &[u8] {
        &self.0.spki
    }

    /// The kind of key.
    pub fn kind(&self) -> KeyKind {
        match &self.0.material {
            Material::Ecdsa { curve, .. } => curve.kind,
            Material::Ed25519 { .. } => KeyKind::Ed25519,
            Material::Rsa { .. } => KeyKind::Rsa,
        }
    }

    /// Checks a signature of a member of a network: ECDSA over SHA-256 with low S, or Ed25519 over the message.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        self.verify_hashed(HashAlgorithm::Sha256, message, signature)
    }

    /// Like [`verify`](Self::verify) with another hash, for a membership provider of the SHA-3 family.
    pub fn verify_hashed(&self, hash: HashAlgorithm, message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        let Material::Ecdsa { curve, key, .. } = &self.0.material else {
            return match &self.0.material {
                Material::Ed25519 { key, .. } => {
                    key.verify_sig(message, signature).map_err(|_| SignatureError::Mismatch)
                }
                _ => Err(SignatureError::WrongKey),
            };
        };
        let parsed = EcdsaSignature::decode(signature)?;
        if curve.is_high(parsed.s) {
            return Err(SignatureError::HighS {
                s: der::decimal(parsed.s),
                half_order: der::decimal(curve.half_order),
            });
        }
        let digest = curve.fit(&hash.raw(message)).ok_or(SignatureError::WrongKey)?;
        if parsed.canonical {
            key.verify_digest_sig(&digest, signature)
        } else {
            key.verify_digest_sig(&digest, &EcdsaSignature::encode(parsed.r, parsed.s))
        }
        .map_err(|_| SignatureError::Mismatch)
    }

    /// Checks a signature on a certificate, request or revocation list: S may be high, the DER must be exact.
    pub fn verify_any_s(
        &self,
        scheme: SignatureScheme,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), SignatureError> {
        let result = match (&self.0.material, scheme) {
            (Material::Ecdsa { curve, key, .. }, SignatureScheme::Ecdsa(hash)) => {
                let digest = curve.fit(&hash.raw(message)).ok_or(SignatureError::WrongKey)?;
                key.verify_digest_sig(&digest, signature)
            }
            (Material::Ed25519 { key, .. }, SignatureScheme::Ed25519) => key.verify_sig(message, signature),
            (Material::Rsa { pkcs1 }, SignatureScheme::RsaPkcs1(hash)) => {
                let parameters = match hash {
                    HashAlgorithm::Sha256 => &lc::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
                    HashAlgorithm::Sha384 => &lc::RSA_PKCS1_2048_8192_SHA384,
                    HashAlgorithm::Sha512 => &lc::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
                    HashAlgorithm::Sha3_256 | HashAlgorithm::Sha3_384 => return Err(SignatureError::WrongKey),
                };
                UnparsedPublicKey::new(parameters, pkcs1).verify(message, signature)
            }
            (Material::Rsa { pkcs1 }, SignatureScheme::RsaPss(hash)) => {
                let parameters = match hash {
                    HashAlgorithm::Sha256 => &lc::RSA_PSS_2048_8192_SHA256,
                    HashAlgorithm::Sha384 => &lc::RSA_PSS_2048_8192_SHA384,
                    HashAlgorithm::Sha512 => &lc::RSA_PSS_2048_8192_SHA512,
                    HashAlgorithm::Sha3_256 | HashAlgorithm::Sha3_384 => return Err(SignatureError::WrongKey),
                };
                UnparsedPublicKey::new(parameters, pkcs1).verify(message, signature)
            }
            _ => return Err(SignatureError::WrongKey),
        };
        result.map_err(|_| SignatureError::Mismatch)
    }

    /// The signature, made by this key, with S in the lower half; other kinds of key give it back unchanged.
    pub fn to_low_s(&self, signature: &[u8]) -> Result<Vec<u8>, SignatureError> {
        match &self.0.material {
            Material::Ecdsa { curve, .. } => curve.low_s(signature),
            _ => Ok(signature.to_vec()),
        }
    }

    /// The subject key identifier as Fabric computes it: SHA-256 of the uncompressed point, of the Ed25519 octets, or
    /// of the PKCS#1 encoding. Key stores name their files by it.
    pub fn ski(&self) -> [u8; 32] {
        hash::sha256(match &self.0.material {
            Material::Ecdsa { point, .. } => point,
            Material::Ed25519 { octets, .. } => octets,
            Material::Rsa { pkcs1 } => pkcs1,
        })
    }

    /// The contents of the BIT STRING of the `SubjectPublicKeyInfo`.
    pub fn key_bits(&self) -> &[u8] {
        match &self.0.material {
            Material::Ecdsa { point, .. } => point,
            Material::Ed25519 { octets, .. } => octets,
            Material::Rsa { pkcs1 } => pkcs1,
        }
    }

    /// The key as a PEM block `PUBLIC KEY`.
    pub fn to_pem(&self) -> String {
        crate::pem::encode("PUBLIC KEY", self.spki_der())
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || (self.kind() == other.kind() && self.key_bits() == other.key_bits())
    }
}

impl Eq for PublicKey {}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PublicKey({:?}, ", self.kind())?;
        for octet in &self.ski()[..8] {
            write!(f, "{octet:02x}")?;
        }
        f.write_str(")")
    }
}
