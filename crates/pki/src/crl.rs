//! Revocation lists.

use std::sync::Arc;

use konsort_crypto::der::{Reader, Writer, strip_zeros, tag};
use konsort_crypto::{EcdsaSignature, PrivateKey, pem};

use crate::algorithm::{self, SignatureAlgorithm};
use crate::certificate::{AUTHORITY_KEY_ID, Certificate, Extension};
use crate::chain::ChainError;
use crate::extensions::authority_key_id;
use crate::{PkiError, malformed, time};

/// Lists of busy authorities grow; this is far above any in a consortium.
const MAX_LENGTH: usize = 16 << 20;

#[derive(Debug)]
struct Inner {
    der: Vec<u8>,
    tbs: Vec<u8>,
    algorithm: SignatureAlgorithm,
    signature: Vec<u8>,
    raw_issuer: Vec<u8>,
    this_update: i64,
    next_update: Option<i64>,
    /// Sorted serial magnitudes.
    revoked: Vec<Vec<u8>>,
    /// `None` without the extension, empty when it names no key.
    authority_key_id: Option<Vec<u8>>,
}

/// A certificate revocation list. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Crl(Arc<Inner>);

impl Crl {
    /// Parses DER, or PEM with the label `X509 CRL`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PkiError> {
        if bytes.len() > MAX_LENGTH {
            return Err(PkiError::TooLong { what: "revocation list", length: bytes.len(), limit: MAX_LENGTH });
        }
        if bytes.starts_with(b"-----BEGIN X509 CRL")
            && let Some((block, _)) = pem::decode(bytes)
            && block.label == "X509 CRL"
        {
            return Self::from_der(&block.contents);
        }
        Self::from_der(bytes)
    }

    /// Parses DER.
    pub fn from_der(der: &[u8]) -> Result<Self, PkiError> {
        let mut input = Reader::new(der);
        let mut list = input.sequence().map_err(malformed("crl"))?;
        input.finish().map_err(|_| PkiError::Invalid("trailing data after CRL"))?;
        let tbs_element = list.element(tag::SEQUENCE).map_err(malformed("tbs crl"))?;
        let outer_algorithm = list.element(tag::SEQUENCE).map_err(malformed("algorithm identifier"))?;
        let signature = list.bit_string().map_err(malformed("signature"))?;

        let mut tbs = Reader::new(tbs_element.contents);
        tbs.optional(tag::INTEGER).map_err(malformed("version"))?;
        tbs.element(tag::SEQUENCE).map_err(malformed("algorithm identifier"))?;
        let raw_issuer = tbs.element(tag::SEQUENCE).map_err(malformed("issuer"))?.encoding.to_vec();
        let this_update = tbs.any().and_then(|element| time::parse(&element)).map_err(malformed("this update time"))?;
        let next_update = match tbs.peek() {
            Some(tag::UTC_TIME | tag::GENERALIZED_TIME) => {
                Some(tbs.any().and_then(|element| time::parse(&element)).map_err(malformed("next update time"))?)
            }
            _ => None,
        };
        let mut revoked = Vec::new();
        if let Some(entries) = tbs.optional(tag::SEQUENCE).map_err(malformed("revoked certificates"))? {
            let mut entries = Reader::new(entries.contents);
            while !entries.is_empty() {
                let mut entry = entries.sequence().map_err(malformed("revoked certificate"))?;
                let serial = entry.integer().map_err(malformed("serial number"))?;
                entry.any().and_then(|element| time::parse(&element)).map_err(malformed("revocation time"))?;
                // A negative number equals no certificate's serial.
                if serial[0] & 0x80 == 0 {
                    revoked.push(strip_zeros(serial).to_vec());
                }
            }
        }
        revoked.sort();
        let mut key_id = None;
        if let Some(explicit) = tbs.optional(tag::constructed(0)).map_err(malformed("extensions"))? {
            let mut extensions = Reader::new(explicit.contents).sequence().map_err(malformed("extensions"))?;
            while !extensions.is_empty() {
                let extension = Extension::read(&mut extensions).map_err(malformed("extension"))?;
                if extension.oid == AUTHORITY_KEY_ID && key_id.is_none() {
                    let id = authority_key_id(&extension.value).map_err(malformed("authority key identifier"))?;
                    key_id = Some(id.unwrap_or_default().to_vec());
                }
            }
        }
        Ok(Self(Arc::new(Inner {
            algorithm: algorithm::read(outer_algorithm.contents).map_err(malformed("algorithm identifier"))?,
            tbs: tbs_element.encoding.to_vec(),
            signature: signature.to_vec(),
            raw_issuer,
            this_update,
            next_update,
            revoked,
            authority_key_id: key_id,
            der: der.to_vec(),
        })))
    }

    /// The DER as received.
    pub fn der(&self) -> &[u8] {
        &self.0.der
    }

    /// The list as PEM.
    pub fn pem(&self) -> String {
        pem::encode("X509 CRL", self.der())
    }

    /// The issuer's DER name.
    pub fn raw_issuer(&self) -> &[u8] {
        &self.0.raw_issuer
    }

    /// When it was made, seconds since 1970.
    pub fn this_update(&self) -> i64 {
        self.0.this_update
    }

    /// When the next one is due.
    pub fn next_update(&self) -> Option<i64> {
        self.0.next_update
    }

    /// The key identifier of the issuing authority: `None` without the extension, empty when it names no key.
    pub fn authority_key_id(&self) -> Option<&[u8]> {
        self.0.authority_key_id.as_deref()
    }

    /// Serial numbers listed, sorted.
    pub fn revoked(&self) -> &[Vec<u8>] {
        &self.0.revoked
    }

    /// True when this serial number (magnitude without leading zeros) is listed.
    pub fn is_revoked(&self, serial: &[u8]) -> bool {
        self.0.revoked.binary_search_by(|entry| entry.as_slice().cmp(serial)).is_ok()
    }

    /// True when the list is signed with ECDSA.
    pub fn is_ecdsa_signed(&self) -> bool {
        self.0.algorithm.is_ecdsa
    }

    /// The two numbers of an ECDSA signature can be read; membership providers refuse a list where they cannot.
    pub fn check_ecdsa_encoding(&self) -> Result<(), PkiError> {
        EcdsaSignature::decode(&self.0.signature)?;
        Ok(())
    }

    /// Checks that `authority` signed the list. An ECDSA signature is first brought to its exact encoding, as membership
    /// providers do; key usages are not looked at.
    pub fn check_signed_by(&self, authority: &Certificate) -> Result<(), ChainError> {
        let scheme = self.0.algorithm.scheme.ok_or(ChainError::UnsupportedAlgorithm)?;
        let kind = authority.public_key().kind();
        let bad = ChainError::BadSignature(kind.algorithm_name());
        let exact;
        let signature = if self.0.algorithm.is_ecdsa {
            let parsed = EcdsaSignature::decode(&self.0.signature).map_err(|_| bad.clone())?;
            exact = EcdsaSignature::encode(parsed.r, parsed.s);
            &exact
        } else {
            &self.0.signature
        };
        authority.public_key().verify_any_s(scheme, &self.0.tbs, signature).map_err(|_| bad)
    }
}

impl PartialEq for Crl {
    fn eq(&self, other: &Self) -> bool {
        self.der() == other.der()
    }
}

impl Eq for Crl {}

/// A list to be signed.
#[derive(Debug, Clone, Default)]
pub struct CrlTemplate {
    /// Serial numbers (big-endian magnitudes) and revocation times.
    pub revoked: Vec<(Vec<u8>, i64)>,
    /// When it is made, seconds since 1970.
    pub this_update: i64,
    /// When the next one is due.
    pub next_update: Option<i64>,
    /// Number of the list.
    pub number: u64,
}

impl CrlTemplate {
    /// Signs the list as `authority`.
    pub fn issue(&self, authority: &Certificate, key: &PrivateKey) -> Result<Crl, PkiError> {
        let (algorithm, hash) = algorithm::for_signer(key.kind());
        let mut tbs = Writer::new();
        tbs.sequence(|tbs| {
            tbs.unsigned(&[1]).raw(&algorithm).raw(authority.raw_subject());
            time::write(tbs, self.this_update);
            if let Some(next) = self.next_update {
                time::write(tbs, next);
            }
            if !self.revoked.is_empty() {
                tbs.sequence(|entries| {
                    for (serial, at) in &self.revoked {
                        entries.sequence(|entry| {
                            entry.unsigned(serial);
                            time::write(entry, *at);
                        });
                    }
                });
            }
            tbs.nested(tag::constructed(0), |explicit| {
                explicit.sequence(|extensions| {
                    if let Some(id) = authority.subject_key_id() {
                        let mut value = Writer::new();
                        value.sequence(|sequence| {
                            sequence.element(tag::context(0), id);
                        });
                        let value = value.into_bytes();
                        Extension { oid: AUTHORITY_KEY_ID.to_owned(), critical: false, value }.write(extensions);
                    }
                    let mut value = Writer::new();
                    value.unsigned(&self.number.to_be_bytes());
                    let value = value.into_bytes();
                    Extension { oid: "2.5.29.20".to_owned(), critical: false, value }.write(extensions);
                });
            });
        });
        let tbs = tbs.into_bytes();
        let signature = key.sign_hashed(hash, &tbs);
        let mut list = Writer::new();
        list.sequence(|list| {
            list.raw(&tbs).raw(&algorithm).bit_string(&signature);
        });
        Crl::from_der(&list.into_bytes())
    }
}
