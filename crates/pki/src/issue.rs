//! Issuing certificates.

use konsort_crypto::der::{Writer, tag};
use konsort_crypto::{PrivateKey, PublicKey, random_bytes};

use crate::algorithm;
use crate::certificate::{
    AUTHORITY_KEY_ID, BASIC_CONSTRAINTS, Certificate, EXTENDED_KEY_USAGE, Extension, KEY_USAGE, SUBJECT_ALT_NAME,
    SUBJECT_KEY_ID,
};
use crate::extensions::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltNames};
use crate::name::Name;
use crate::{PkiError, time};

/// A certificate to be issued. Fields are public: set what the constructors do not.
#[derive(Debug, Clone)]
pub struct CertificateTemplate {
    /// Subject
    pub subject: Name,
    /// Serial number, big-endian magnitude; random by default.
    pub serial: Vec<u8>,
    /// Start of validity, seconds since 1970.
    pub not_before: i64,
    /// End of validity.
    pub not_after: i64,
    /// `Some(true)` for an authority, `Some(false)` for an explicit non-authority, `None` to leave the extension out.
    pub is_ca: Option<bool>,
    /// How many intermediates an authority may have below it.
    pub max_path_len: Option<u64>,
    /// Key usage; left out when no bit is set.
    pub key_usage: KeyUsage,
    /// Extended key usages; left out when empty.
    pub extended_key_usage: Vec<ExtendedKeyUsage>,
    /// Subject alternative names; left out when empty.
    pub alt_names: SubjectAltNames,
    /// Subject key identifier; `None` leaves it out.
    pub subject_key_id: Option<Vec<u8>>,
    /// Further extensions, appended in order.
    pub extensions: Vec<Extension>,
}

impl CertificateTemplate {
    /// A certificate for a person or node: basic constraints false, digital signature.
    pub fn leaf(subject: Name, not_before: i64, not_after: i64) -> Self {
        // Positive and of 16 octets, as CAs of this kind number their certificates.
        let mut serial = random_bytes::<16>();
        serial[0] &= 0x7f;
        Self {
            subject,
            serial: serial.to_vec(),
            not_before,
            not_after,
            is_ca: Some(false),
            max_path_len: None,
            key_usage: KeyUsage::DIGITAL_SIGNATURE,
            extended_key_usage: Vec::new(),
            alt_names: SubjectAltNames::default(),
            subject_key_id: None,
            extensions: Vec::new(),
        }
    }

    /// An authority: may sign certificates and revocation lists, and carries a subject key identifier once signed.
    pub fn ca(subject: Name, not_before: i64, not_after: i64) -> Self {
        Self {
            is_ca: Some(true),
            key_usage: KeyUsage::DIGITAL_SIGNATURE
                | KeyUsage::KEY_ENCIPHERMENT
                | KeyUsage::CERT_SIGN
                | KeyUsage::CRL_SIGN,
            extended_key_usage: vec![ExtendedKeyUsage::ClientAuth, ExtendedKeyUsage::ServerAuth],
            ..Self::leaf(subject, not_before, not_after)
        }
    }

    /// A certificate for both ends of TLS.
    pub fn tls(subject: Name, not_before: i64, not_after: i64) -> Self {
        Self {
            key_usage: KeyUsage::DIGITAL_SIGNATURE | KeyUsage::KEY_ENCIPHERMENT,
            extended_key_usage: vec![ExtendedKeyUsage::ServerAuth, ExtendedKeyUsage::ClientAuth],
            ..Self::leaf(subject, not_before, not_after)
        }
    }

    /// Sets the alternative names: IP addresses are recognised, other words are DNS names.
    #[must_use]
    pub fn with_sans<S: AsRef<str>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        self.alt_names = SubjectAltNames::from_words(words);
        self
    }

    /// Issues for `subject_key`, signed by `authority` with `authority_key`.
    pub fn issue(
        &self,
        subject_key: &PublicKey,
        authority: &Certificate,
        authority_key: &PrivateKey,
    ) -> Result<Certificate, PkiError> {
        if authority.public_key() != authority_key.public_key() {
            return Err(PkiError::Sign("the authority's key does not belong to its certificate"));
        }
        self.sign(subject_key, authority.raw_subject(), authority.subject_key_id(), authority_key)
    }

    /// Issues a certificate that is its own authority.
    pub fn self_sign(&self, key: &PrivateKey) -> Result<Certificate, PkiError> {
        self.sign(key.public_key(), &self.subject.to_der(), None, key)
    }

    fn sign(
        &self,
        subject_key: &PublicKey,
        issuer: &[u8],
        authority_id: Option<&[u8]>,
        key: &PrivateKey,
    ) -> Result<Certificate, PkiError> {
        let (algorithm, hash) = algorithm::for_signer(key.kind());
        let mut tbs = Writer::new();
        tbs.sequence(|tbs| {
            tbs.nested(tag::constructed(0), |version| {
                version.unsigned(&[2]);
            });
            tbs.unsigned(&self.serial).raw(&algorithm).raw(issuer);
            tbs.sequence(|validity| {
                time::write(validity, self.not_before);
                time::write(validity, self.not_after);
            });
            tbs.raw(&self.subject.to_der()).raw(subject_key.spki_der());
            let extensions = self.all_extensions(subject_key, authority_id);
            if !extensions.is_empty() {
                tbs.nested(tag::constructed(3), |explicit| {
                    explicit.sequence(|list| {
                        for extension in &extensions {
                            extension.write(list);
                        }
                    });
                });
            }
        });
        let tbs = tbs.into_bytes();
        let signature = key.sign_hashed(hash, &tbs);
        let mut certificate = Writer::new();
        certificate.sequence(|certificate| {
            certificate.raw(&tbs).raw(&algorithm).bit_string(&signature);
        });
        Certificate::from_der(&certificate.into_bytes())
    }

    fn all_extensions(&self, subject_key: &PublicKey, authority_id: Option<&[u8]>) -> Vec<Extension> {
        let mut out = Vec::new();
        let mut push = |oid: &str, critical, value| out.push(Extension { oid: oid.to_owned(), critical, value });
        if self.key_usage.0 != 0 {
            push(KEY_USAGE, true, self.key_usage.to_der());
        }
        if !self.extended_key_usage.is_empty() {
            let mut value = Writer::new();
            value.sequence(|sequence| {
                for usage in &self.extended_key_usage {
                    sequence.oid(usage.oid());
                }
            });
            push(EXTENDED_KEY_USAGE, false, value.into_bytes());
        }
        if let Some(is_ca) = self.is_ca {
            let constraints = BasicConstraints { is_ca, max_path_len: self.max_path_len };
            push(BASIC_CONSTRAINTS, true, constraints.to_der());
        }
        let derived = (self.is_ca == Some(true)).then(|| subject_key.ski().to_vec());
        if let Some(id) = self.subject_key_id.clone().or(derived) {
            let mut value = Writer::new();
            value.element(tag::OCTET_STRING, &id);
            push(SUBJECT_KEY_ID, false, value.into_bytes());
        }
        if let Some(id) = authority_id {
            let mut value = Writer::new();
            value.sequence(|sequence| {
                sequence.element(tag::context(0), id);
            });
            push(AUTHORITY_KEY_ID, false, value.into_bytes());
        }
        if !self.alt_names.is_empty() {
            push(SUBJECT_ALT_NAME, false, self.alt_names.to_der());
        }
        out.extend(self.extensions.iter().cloned());
        out
    }
}
