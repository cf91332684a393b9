//! Algorithm identifiers of signatures.

use konsort_crypto::der::{DerError, Reader, Writer, tag};
use konsort_crypto::{HashAlgorithm, KeyKind, SignatureScheme};

const ECDSA: [(&str, HashAlgorithm); 3] = [
    ("1.2.840.10045.4.3.2", HashAlgorithm::Sha256),
    ("1.2.840.10045.4.3.3", HashAlgorithm::Sha384),
    ("1.2.840.10045.4.3.4", HashAlgorithm::Sha512),
];
const ECDSA_SHA1: &str = "1.2.840.10045.4.1";
const RSA: [(&str, HashAlgorithm); 3] = [
    ("1.2.840.113549.1.1.11", HashAlgorithm::Sha256),
    ("1.2.840.113549.1.1.12", HashAlgorithm::Sha384),
    ("1.2.840.113549.1.1.13", HashAlgorithm::Sha512),
];
const RSA_PSS: &str = "1.2.840.113549.1.1.10";
const HASHES: [(&str, HashAlgorithm, u64); 3] = [
    ("2.16.840.1.101.3.4.2.1", HashAlgorithm::Sha256, 32),
    ("2.16.840.1.101.3.4.2.2", HashAlgorithm::Sha384, 48),
    ("2.16.840.1.101.3.4.2.3", HashAlgorithm::Sha512, 64),
];
const ED25519: &str = "1.3.101.112";

/// What an algorithm identifier says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SignatureAlgorithm {
    /// The scheme, when it is one that may be verified (SHA-1 and unknown ones may not).
    pub(crate) scheme: Option<SignatureScheme>,
    /// True for ECDSA with any hash, SHA-1 included: the certificates whose S is normalised.
    pub(crate) is_ecdsa: bool,
}

/// Reads the contents of an `AlgorithmIdentifier`.
pub(crate) fn read(contents: &[u8]) -> Result<SignatureAlgorithm, DerError> {
    let mut reader = Reader::new(contents);
    let oid = reader.oid()?;
    let find = |table: &[(&str, HashAlgorithm)]| table.iter().find(|(known, _)| *known == oid).map(|(_, hash)| *hash);
    let scheme = if let Some(hash) = find(&ECDSA) {
        Some(SignatureScheme::Ecdsa(hash))
    } else if let Some(hash) = find(&RSA) {
        Some(SignatureScheme::RsaPkcs1(hash))
    } else if oid == ED25519 {
        // RFC 8410: parameters must be absent.
        reader.is_empty().then_some(SignatureScheme::Ed25519)
    } else if oid == RSA_PSS {
        read_pss(&mut reader).ok().flatten().map(SignatureScheme::RsaPss)
    } else {
        None
    };
    let is_ecdsa = oid == ECDSA_SHA1 || matches!(scheme, Some(SignatureScheme::Ecdsa(_)));
    Ok(SignatureAlgorithm { scheme, is_ecdsa })
}

/// One hash for everything and a salt of its length; anything else is not supported, as in Go.
fn read_pss(reader: &mut Reader<'_>) -> Result<Option<HashAlgorithm>, DerError> {
    let mut parameters = reader.sequence()?;
    let mut hash = Reader::new(parameters.contents(tag::constructed(0))?).sequence()?;
    let hash_oid = hash.oid()?;
    let mut mask = Reader::new(parameters.contents(tag::constructed(1))?).sequence()?;
    let mask_oid = mask.oid()?;
    let mask_hash = mask.sequence()?.oid()?;
    let salt = Reader::new(parameters.contents(tag::constructed(2))?).small_unsigned()?;
    Ok(HASHES
        .iter()
        .find(|(oid, _, length)| *oid == hash_oid && *length == salt)
        .filter(|_| mask_oid == "1.2.840.113549.1.1.8" && mask_hash == hash_oid)
        .map(|(_, hash, _)| *hash))
}

/// The identifier with which a key of this kind signs certificates, and the hash it uses.
pub(crate) fn for_signer(kind: KeyKind) -> (Vec<u8>, HashAlgorithm) {
    let (oid, hash) = match kind {
        KeyKind::EcdsaP256 => ECDSA[0],
        KeyKind::EcdsaP384 => ECDSA[1],
        KeyKind::EcdsaP521 => ECDSA[2],
        KeyKind::Ed25519 => (ED25519, HashAlgorithm::Sha512),
        KeyKind::Rsa => RSA[0],
    };
    let mut writer = Writer::new();
    writer.sequence(|sequence| {
        sequence.oid(oid);
        if kind == KeyKind::Rsa {
            // RFC 4055: parameters are present and empty.
            sequence.element(tag::NULL, &[]);
        }
    });
    (writer.into_bytes(), hash)
}
