//! Certificate requests (PKCS #10).

use konsort_crypto::der::{Reader, Writer, tag};
use konsort_crypto::{PrivateKey, PublicKey, pem};

use crate::algorithm::{self, SignatureAlgorithm};
use crate::certificate::{Extension, SUBJECT_ALT_NAME};
use crate::chain::ChainError;
use crate::extensions::SubjectAltNames;
use crate::{Name, PkiError, malformed};

const MAX_LENGTH: usize = 1 << 20;
const EXTENSION_REQUEST: &str = "1.2.840.113549.1.9.14";

/// A certificate request.
#[derive(Debug, Clone)]
pub struct CertificateRequest {
    der: Vec<u8>,
    info: Vec<u8>,
    algorithm: SignatureAlgorithm,
    signature: Vec<u8>,
    subject: Name,
    public_key: PublicKey,
    extensions: Vec<Extension>,
    alt_names: SubjectAltNames,
}

impl CertificateRequest {
    /// Parses DER.
    pub fn from_der(der: &[u8]) -> Result<Self, PkiError> {
        if der.len() > MAX_LENGTH {
            return Err(PkiError::TooLong { what: "certificate request", length: der.len(), limit: MAX_LENGTH });
        }
        let mut input = Reader::new(der);
        let mut request = input.sequence().map_err(malformed("certificate request"))?;
        input.finish().map_err(|_| PkiError::Invalid("trailing data"))?;
        let info_element = request.element(tag::SEQUENCE).map_err(malformed("certificate request info"))?;
        let algorithm_element = request.element(tag::SEQUENCE).map_err(malformed("algorithm identifier"))?;
        let signature = request.bit_string().map_err(malformed("signature"))?.to_vec();
        let mut info = Reader::new(info_element.contents);
        if info.small_unsigned().map_err(malformed("version"))? != 0 {
            return Err(PkiError::Invalid("invalid version"));
        }
        let subject = Name::read(&mut info).map_err(malformed("subject"))?;
        let spki = info.element(tag::SEQUENCE).map_err(malformed("public key"))?;
        let public_key = PublicKey::from_spki_der(spki.encoding)?;
        let mut extensions = Vec::new();
        if let Some(attributes) = info.optional(tag::constructed(0)).map_err(malformed("attributes"))? {
            let mut attributes = Reader::new(attributes.contents);
            while !attributes.is_empty() {
                let mut attribute = attributes.sequence().map_err(malformed("attribute"))?;
                let oid = attribute.oid().map_err(malformed("attribute"))?;
                let values = attribute.contents(tag::SET).map_err(malformed("attribute"))?;
                if oid == EXTENSION_REQUEST {
                    let mut list = Reader::new(values).sequence().map_err(malformed("requested extensions"))?;
                    while !list.is_empty() {
                        extensions.push(Extension::read(&mut list).map_err(malformed("extension"))?);
                    }
                }
            }
        }
        let alt_names = match extensions.iter().find(|extension| extension.oid == SUBJECT_ALT_NAME) {
            Some(extension) => {
                SubjectAltNames::read(&extension.value).map_err(malformed("subject alternative name"))?
            }
            None => SubjectAltNames::default(),
        };
        Ok(Self {
            der: der.to_vec(),
            info: info_element.encoding.to_vec(),
            algorithm: algorithm::read(algorithm_element.contents).map_err(malformed("algorithm identifier"))?,
            signature,
            subject,
            public_key,
            extensions,
            alt_names,
        })
    }

    /// Parses the first PEM block.
    pub fn from_pem(text: &[u8]) -> Result<Self, PkiError> {
        let (block, _) = pem::decode(text).ok_or(PkiError::NoPem("a block CERTIFICATE REQUEST"))?;
        Self::from_der(&block.contents)
    }

    /// Makes a request signed by the key it is for.
    pub fn create(subject: &Name, alt_names: &SubjectAltNames, key: &PrivateKey) -> Result<Self, PkiError> {
        let (algorithm, hash) = algorithm::for_signer(key.kind());
        let mut info = Writer::new();
        info.sequence(|info| {
            info.unsigned(&[]).raw(&subject.to_der()).raw(key.public_key().spki_der());
            info.nested(tag::constructed(0), |attributes| {
                if alt_names.is_empty() {
                    return;
                }
                attributes.sequence(|attribute| {
                    attribute.oid(EXTENSION_REQUEST);
                    attribute.nested(tag::SET, |values| {
                        values.sequence(|list| {
                            let value = alt_names.to_der();
                            Extension { oid: SUBJECT_ALT_NAME.to_owned(), critical: false, value }.write(list);
                        });
                    });
                });
            });
        });
        let info = info.into_bytes();
        let signature = key.sign_hashed(hash, &info);
        let mut request = Writer::new();
        request.sequence(|request| {
            request.raw(&info).raw(&algorithm).bit_string(&signature);
        });
        Self::from_der(&request.into_bytes())
    }

    /// Checks that the holder of the key asked.
    pub fn check_signature(&self) -> Result<(), ChainError> {
        let scheme = self.algorithm.scheme.ok_or(ChainError::UnsupportedAlgorithm)?;
        self.public_key
            .verify_any_s(scheme, &self.info, &self.signature)
            .map_err(|_| ChainError::BadSignature(self.public_key.kind().algorithm_name()))
    }

    /// The DER as received.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The request as PEM.
    pub fn pem(&self) -> String {
        pem::encode("CERTIFICATE REQUEST", &self.der)
    }

    /// The subject asked for.
    pub fn subject(&self) -> &Name {
        &self.subject
    }

    /// The key asked for.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// The alternative names asked for.
    pub fn alt_names(&self) -> &SubjectAltNames {
        &self.alt_names
    }

    /// Every extension asked for.
    pub fn extensions(&self) -> &[Extension] {
        &self.extensions
    }
}
