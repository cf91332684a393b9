//! Certificates.

use std::fmt;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use konsort_crypto::der::{DerError, Reader, Writer, decimal, strip_zeros, tag};
use konsort_crypto::{PublicKey, SignatureError, pem};

use crate::algorithm::{self, SignatureAlgorithm};
use crate::chain::ChainError;
use crate::constraints::NameConstraints;
use crate::extensions::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltNames, authority_key_id};
use crate::name::Name;
use crate::{FABRIC_ATTRIBUTES_OID, PkiError, malformed, time};

/// No certificate in use comes near this; the bound keeps hostile input cheap.
const MAX_LENGTH: usize = 1 << 20;

pub(crate) const KEY_USAGE: &str = "2.5.29.15";
pub(crate) const SUBJECT_ALT_NAME: &str = "2.5.29.17";
pub(crate) const BASIC_CONSTRAINTS: &str = "2.5.29.19";
pub(crate) const NAME_CONSTRAINTS: &str = "2.5.29.30";
pub(crate) const SUBJECT_KEY_ID: &str = "2.5.29.14";
pub(crate) const AUTHORITY_KEY_ID: &str = "2.5.29.35";
pub(crate) const EXTENDED_KEY_USAGE: &str = "2.5.29.37";
/// Distribution points, policies, policy mappings and constraints, inhibit any policy, authority information access:
/// known to Go, without effect on the chains verified here.
const UNDERSTOOD: [&str; 6] = ["2.5.29.31", "2.5.29.32", "2.5.29.33", "2.5.29.36", "2.5.29.54", "1.3.6.1.5.5.7.1.1"];

/// One extension as it stands in the certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension {
    /// Type as dotted object identifier.
    pub oid: String,
    /// Whether a verifier must understand it.
    pub critical: bool,
    /// The DER inside the OCTET STRING.
    pub value: Vec<u8>,
}

impl Extension {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DerError> {
        let mut sequence = reader.sequence()?;
        let oid = sequence.oid()?;
        let critical = if sequence.peek() == Some(tag::BOOLEAN) { sequence.boolean()? } else { false };
        Ok(Self { oid, critical, value: sequence.contents(tag::OCTET_STRING)?.to_vec() })
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.sequence(|sequence| {
            sequence.oid(&self.oid);
            if self.critical {
                sequence.element(tag::BOOLEAN, &[0xff]);
            }
            sequence.element(tag::OCTET_STRING, &self.value);
        });
    }
}

struct Inner {
    der: Vec<u8>,
    tbs: Range<usize>,
    /// Outer `AlgorithmIdentifier`, whole encoding.
    algorithm_encoding: Range<usize>,
    algorithm: SignatureAlgorithm,
    signature: Vec<u8>,
    version: u8,
    serial: Vec<u8>,
    issuer: Name,
    subject: Name,
    raw_issuer: Range<usize>,
    raw_subject: Range<usize>,
    not_before: i64,
    not_after: i64,
    public_key: PublicKey,
    extensions: Vec<Extension>,
    basic_constraints: Option<BasicConstraints>,
    key_usage: Option<KeyUsage>,
    extended_key_usage: Vec<ExtendedKeyUsage>,
    alt_names: SubjectAltNames,
    subject_key_id: Option<Vec<u8>>,
    authority_key_id: Option<Vec<u8>>,
    name_constraints: Option<NameConstraints>,
    unhandled_critical: bool,
    units: Vec<String>,
}

/// An X.509 certificate. Cloning shares the parsed form.
#[derive(Clone)]
pub struct Certificate(Arc<Inner>);

impl Certificate {
    /// Parses DER; bytes after the certificate are refused.
    pub fn from_der(der: &[u8]) -> Result<Self, PkiError> {
        if der.len() > MAX_LENGTH {
            return Err(PkiError::TooLong { what: "certificate", length: der.len(), limit: MAX_LENGTH });
        }
        parse(der).map(|inner| Self(Arc::new(inner)))
    }

    /// Parses the first PEM block, whatever its label is.
    pub fn from_pem(text: &[u8]) -> Result<Self, PkiError> {
        let (block, _) = pem::decode(text).ok_or(PkiError::NoPem("a block CERTIFICATE"))?;
        Self::from_der(&block.contents)
    }

    /// Parses every PEM block labelled `CERTIFICATE`.
    pub fn all_from_pem(text: &[u8]) -> Result<Vec<Self>, PkiError> {
        let blocks = pem::decode_all(text);
        blocks
            .iter()
            .filter(|block| block.label == "CERTIFICATE")
            .map(|block| Self::from_der(&block.contents))
            .collect()
    }

    /// The certificate as PEM.
    pub fn pem(&self) -> String {
        pem::encode("CERTIFICATE", self.der())
    }

    /// The DER as it was received.
    pub fn der(&self) -> &[u8] {
        &self.0.der
    }

    /// The signed part.
    pub fn tbs(&self) -> &[u8] {
        &self.0.der[self.0.tbs.clone()]
    }

    /// The signature's octets.
    pub fn signature(&self) -> &[u8] {
        &self.0.signature
    }

    /// True when the certificate was signed with ECDSA.
    pub fn is_ecdsa_signed(&self) -> bool {
        self.0.algorithm.is_ecdsa
    }

    /// The subject.
    pub fn subject(&self) -> &Name {
        &self.0.subject
    }

    /// The issuer.
    pub fn issuer(&self) -> &Name {
        &self.0.issuer
    }

    /// The subject's DER; names are compared by these bytes.
    pub fn raw_subject(&self) -> &[u8] {
        &self.0.der[self.0.raw_subject.clone()]
    }

    /// The issuer's DER.
    pub fn raw_issuer(&self) -> &[u8] {
        &self.0.der[self.0.raw_issuer.clone()]
    }

    /// The subject's common name, empty when it has none.
    pub fn common_name(&self) -> &str {
        self.0.subject.cn()
    }

    /// The subject's organisational units in order.
    pub fn organizational_units(&self) -> &[String] {
        &self.0.units
    }

    /// The serial number as a big-endian magnitude without leading zeros.
    pub fn serial(&self) -> &[u8] {
        &self.0.serial
    }

    /// The serial number in decimal.
    pub fn serial_decimal(&self) -> String {
        decimal(self.serial())
    }

    /// Start of validity, seconds since 1970.
    pub fn not_before(&self) -> i64 {
        self.0.not_before
    }

    /// End of validity, seconds since 1970; that second is still valid.
    pub fn not_after(&self) -> i64 {
        self.0.not_after
    }

    /// The subject's key.
    pub fn public_key(&self) -> &PublicKey {
        &self.0.public_key
    }

    /// True when basic constraints say so.
    pub fn is_ca(&self) -> bool {
        self.0.basic_constraints.is_some_and(|constraints| constraints.is_ca)
    }

    pub(crate) fn has_basic_constraints(&self) -> bool {
        self.0.basic_constraints.is_some()
    }

    /// How many intermediates may stand below this authority.
    pub fn max_path_len(&self) -> Option<u64> {
        self.0.basic_constraints.and_then(|constraints| constraints.max_path_len)
    }

    /// Key usage, when the certificate restricts it.
    pub fn key_usage(&self) -> Option<KeyUsage> {
        self.0.key_usage
    }

    /// Extended key usages; empty means unrestricted.
    pub fn extended_key_usage(&self) -> &[ExtendedKeyUsage] {
        &self.0.extended_key_usage
    }

    /// Subject alternative names.
    pub fn alt_names(&self) -> &SubjectAltNames {
        &self.0.alt_names
    }

    /// DNS names of the subject.
    pub fn dns_names(&self) -> &[String] {
        &self.0.alt_names.dns
    }

    /// IP addresses of the subject.
    pub fn ip_addresses(&self) -> &[IpAddr] {
        &self.0.alt_names.ips
    }

    /// Subject key identifier.
    pub fn subject_key_id(&self) -> Option<&[u8]> {
        self.0.subject_key_id.as_deref()
    }

    /// Authority key identifier.
    pub fn authority_key_id(&self) -> Option<&[u8]> {
        self.0.authority_key_id.as_deref()
    }

    pub(crate) fn name_constraints(&self) -> Option<&NameConstraints> {
        self.0.name_constraints.as_ref()
    }

    pub(crate) fn has_unhandled_critical(&self) -> bool {
        self.0.unhandled_critical
    }

    /// All extensions in order.
    pub fn extensions(&self) -> &[Extension] {
        &self.0.extensions
    }

    /// The value of one extension.
    pub fn extension(&self, oid: &str) -> Option<&[u8]> {
        self.0.extensions.iter().find(|extension| extension.oid == oid).map(|extension| extension.value.as_slice())
    }

    /// Fabric's attributes as they stand in the certificate (JSON text).
    pub fn fabric_attributes(&self) -> Option<&[u8]> {
        self.extension(FABRIC_ATTRIBUTES_OID)
    }

    /// Checks that `parent` may sign certificates and signed this one. Names and times are not looked at.
    pub fn check_signed_by(&self, parent: &Certificate) -> Result<(), ChainError> {
        let wrong_constraints = match parent.0.basic_constraints {
            Some(constraints) => !constraints.is_ca,
            None => parent.0.version == 3,
        };
        let wrong_usage = parent.0.key_usage.is_some_and(|usage| usage.0 != 0 && !usage.contains(KeyUsage::CERT_SIGN));
        if wrong_constraints || wrong_usage {
            return Err(ChainError::ParentCannotSign);
        }
        let scheme = self.0.algorithm.scheme.ok_or(ChainError::UnsupportedAlgorithm)?;
        parent.0.public_key.verify_any_s(scheme, self.tbs(), self.signature()).map_err(|error| match error {
            SignatureError::WrongKey => ChainError::WrongKeyKind,
            _ => ChainError::BadSignature(parent.0.public_key.kind().algorithm_name()),
        })
    }

    /// The same certificate with another signature value: how a high-S signature becomes low without the issuer.
    pub fn with_signature(&self, signature: &[u8]) -> Result<Self, PkiError> {
        let mut writer = Writer::new();
        writer.sequence(|certificate| {
            certificate.raw(self.tbs()).raw(&self.0.der[self.0.algorithm_encoding.clone()]).bit_string(signature);
        });
        Self::from_der(&writer.into_bytes())
    }
}

fn within(outer: &[u8], part: &[u8]) -> Range<usize> {
    let start = part.as_ptr() as usize - outer.as_ptr() as usize;
    start..start + part.len()
}

fn parse(der: &[u8]) -> Result<Inner, PkiError> {
    let mut input = Reader::new(der);
    let mut certificate = input.sequence().map_err(malformed("certificate"))?;
    input.finish().map_err(|_| PkiError::Invalid("trailing data"))?;

    let tbs_element = certificate.element(tag::SEQUENCE).map_err(malformed("tbs certificate"))?;
    let outer_algorithm = certificate.element(tag::SEQUENCE).map_err(malformed("algorithm identifier"))?;
    let signature = certificate.bit_string().map_err(malformed("signature"))?.to_vec();

    let mut tbs = Reader::new(tbs_element.contents);
    let version = match tbs.optional(tag::constructed(0)).map_err(malformed("version"))? {
        Some(explicit) => Reader::new(explicit.contents).small_unsigned().map_err(malformed("version"))? + 1,
        None => 1,
    };
    if !(1..=3).contains(&version) {
        return Err(PkiError::Invalid("invalid version"));
    }
    let serial = tbs.integer().map_err(malformed("serial number"))?;
    if serial[0] & 0x80 != 0 {
        return Err(PkiError::Invalid("negative serial number"));
    }
    let inner_algorithm = tbs.element(tag::SEQUENCE).map_err(malformed("signature algorithm identifier"))?;
    if inner_algorithm.encoding != outer_algorithm.encoding {
        return Err(PkiError::Invalid("inner and outer signature algorithm identifiers don't match"));
    }
    let algorithm = algorithm::read(outer_algorithm.contents).map_err(malformed("algorithm identifier"))?;

    let (issuer, raw_issuer) = read_name(&mut tbs, "issuer")?;
    let mut validity = tbs.sequence().map_err(malformed("validity"))?;
    let mut read_time = || validity.any().and_then(|element| time::parse(&element)).map_err(malformed("validity"));
    let (not_before, not_after) = (read_time()?, read_time()?);
    let (subject, raw_subject) = read_name(&mut tbs, "subject")?;
    let spki = tbs.element(tag::SEQUENCE).map_err(malformed("public key"))?;
    let public_key = PublicKey::from_spki_der(spki.encoding)?;

    let units = subject.units().into_iter().map(str::to_owned).collect();
    let mut inner = Inner {
        tbs: within(der, tbs_element.encoding),
        algorithm_encoding: within(der, outer_algorithm.encoding),
        algorithm,
        signature,
        version: version as u8,
        serial: strip_zeros(serial).to_vec(),
        raw_issuer: within(der, raw_issuer),
        raw_subject: within(der, raw_subject),
        issuer,
        subject,
        not_before,
        not_after,
        public_key,
        extensions: Vec::new(),
        basic_constraints: None,
        key_usage: None,
        extended_key_usage: Vec::new(),
        alt_names: SubjectAltNames::default(),
        subject_key_id: None,
        authority_key_id: None,
        name_constraints: None,
        unhandled_critical: false,
        units,
        der: der.to_vec(),
    };
    if version > 1 {
        tbs.optional(tag::context(1)).map_err(malformed("issuer unique identifier"))?;
        tbs.optional(tag::context(2)).map_err(malformed("subject unique identifier"))?;
    }
    if version == 3
        && let Some(explicit) = tbs.optional(tag::constructed(3)).map_err(malformed("extensions"))?
    {
        let mut list = Reader::new(explicit.contents).sequence().map_err(malformed("extensions"))?;
        while !list.is_empty() {
            let extension = Extension::read(&mut list).map_err(malformed("extension"))?;
            if inner.extensions.iter().any(|earlier| earlier.oid == extension.oid) {
                return Err(PkiError::Invalid("certificate contains duplicate extensions"));
            }
            inner.extensions.push(extension);
        }
        process_extensions(&mut inner)?;
    }
    Ok(inner)
}

fn read_name<'a>(reader: &mut Reader<'a>, part: &'static str) -> Result<(Name, &'a [u8]), PkiError> {
    let element = reader.element(tag::SEQUENCE).map_err(malformed(part))?;
    let name = Name::read(&mut Reader::new(element.encoding)).map_err(malformed(part))?;
    Ok((name, element.encoding))
}

fn process_extensions(inner: &mut Inner) -> Result<(), PkiError> {
    for extension in &inner.extensions {
        let value = extension.value.as_slice();
        let mut unhandled = false;
        match extension.oid.as_str() {
            KEY_USAGE => inner.key_usage = Some(KeyUsage::read(value).map_err(malformed("key usage"))?),
            BASIC_CONSTRAINTS => {
                inner.basic_constraints = Some(BasicConstraints::read(value).map_err(malformed("basic constraints"))?);
            }
            SUBJECT_ALT_NAME => {
                inner.alt_names = SubjectAltNames::read(value).map_err(malformed("subject alternative name"))?;
                unhandled = inner.alt_names.is_empty();
            }
            NAME_CONSTRAINTS => {
                let constraints = NameConstraints::read(value).map_err(malformed("name constraints"))?;
                unhandled = constraints.has_unknown_kinds;
                inner.name_constraints = Some(constraints);
            }
            EXTENDED_KEY_USAGE => {
                inner.extended_key_usage =
                    ExtendedKeyUsage::read_all(value).map_err(malformed("extended key usage"))?;
            }
            SUBJECT_KEY_ID => {
                if extension.critical {
                    return Err(PkiError::Invalid("subject key identifier incorrectly marked critical"));
                }
                let id = Reader::new(value).contents(tag::OCTET_STRING).map_err(malformed("subject key identifier"))?;
                inner.subject_key_id = Some(id.to_vec());
            }
            AUTHORITY_KEY_ID => {
                if extension.critical {
                    return Err(PkiError::Invalid("authority key identifier incorrectly marked critical"));
                }
                let id = authority_key_id(value).map_err(malformed("authority key identifier"))?;
                inner.authority_key_id = id.map(<[u8]>::to_vec);
            }
            oid => unhandled = !UNDERSTOOD.contains(&oid),
        }
        inner.unhandled_critical |= unhandled && extension.critical;
    }
    Ok(())
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.der() == other.der()
    }
}

impl Eq for Certificate {}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate(subject={} issuer={} serial={})", self.subject(), self.issuer(), self.serial_decimal())
    }
}
