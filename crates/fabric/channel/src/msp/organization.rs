//! One organisation's membership rules.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use fabric_proto::common::MspPrincipal;
use fabric_proto::msp::{FabricMspConfig, MspConfig, SerializedIdentity};
use konsort_crypto::HashAlgorithm;
use konsort_pki::{Certificate, CertificatePool, Crl, PkiError, Usage, VerifyOptions};
use prost::Message;

use super::{Context as _, Identity, IdentityId, MspError, MspVersion, folder_config};

/// An identity is a name and a certificate; anything near this size is an attack.
const MAX_IDENTITY_LENGTH: usize = 1 << 20;

/// An organisational unit that stands for a role; with the certifiers it must come from, when restricted.
#[derive(Debug, Clone)]
pub(super) struct NodeUnit {
    pub(super) unit: String,
    pub(super) certifiers: Vec<u8>,
}

/// Roles by organisational unit.
#[derive(Debug, Clone, Default)]
pub(super) struct NodeUnits {
    pub(super) client: Option<NodeUnit>,
    pub(super) peer: Option<NodeUnit>,
    pub(super) admin: Option<NodeUnit>,
    pub(super) orderer: Option<NodeUnit>,
}

pub(super) struct Inner {
    pub(super) name: Arc<str>,
    pub(super) version: MspVersion,
    pub(super) config: FabricMspConfig,
    pub(super) roots: CertificatePool,
    pub(super) intermediates: CertificatePool,
    /// Certificates that have authorities below them: they may not issue identities.
    pub(super) superior_authorities: HashSet<Vec<u8>>,
    pub(super) admins: Vec<Certificate>,
    pub(super) crls: Vec<Crl>,
    pub(super) units: BTreeMap<String, Vec<Vec<u8>>>,
    pub(super) enforce_roles: bool,
    pub(super) roles: NodeUnits,
    pub(super) identity_hash: HashAlgorithm,
    pub(super) signature_hash: Option<HashAlgorithm>,
}

/// The membership rules of one organisation. Cloning shares them.
#[derive(Clone)]
pub struct Msp(pub(super) Arc<Inner>);

impl Msp {
    /// Sets up an organisation and checks its definition.
    pub fn from_config(config: &FabricMspConfig, version: MspVersion) -> Result<Self, MspError> {
        super::setup::organization(config, version).map(|inner| Self(Arc::new(inner)))
    }

    /// Like [`from_config`](Self::from_config), from the form that stands in a channel's configuration.
    pub fn from_msp_config(config: &MspConfig, version: MspVersion) -> Result<Self, MspError> {
        let config = FabricMspConfig::decode(config.config.clone())
            .map_err(|error| MspError::Setup(format!("failed unmarshalling fabric msp config: {error}")))?;
        Self::from_config(&config, version)
    }

    /// Sets up an organisation from a folder (`cacerts`, `admincerts`, `config.yaml` and so on).
    pub fn from_folder(folder: &Path, mspid: &str, version: MspVersion) -> Result<Self, MspError> {
        Self::from_config(&folder_config(folder, mspid)?, version)
    }

    /// The organisation's identifier.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The behaviour it was set up with.
    pub fn version(&self) -> MspVersion {
        self.0.version
    }

    /// The definition as it stands in a channel's configuration.
    pub fn to_config(&self) -> MspConfig {
        MspConfig { r#type: 0, config: self.0.config.encode_to_vec().into() }
    }

    /// The definition.
    pub fn config(&self) -> &FabricMspConfig {
        &self.0.config
    }

    /// Root certificates of the organisation's TLS authorities, PEM.
    pub fn tls_root_certs(&self) -> &[Bytes] {
        &self.0.config.tls_root_certs
    }

    /// Intermediate certificates of the organisation's TLS authorities, PEM.
    pub fn tls_intermediate_certs(&self) -> &[Bytes] {
        &self.0.config.tls_intermediate_certs
    }

    /// Root certificates.
    pub fn root_certs(&self) -> &[Certificate] {
        self.0.roots.certificates()
    }

    /// Intermediate certificates.
    pub fn intermediate_certs(&self) -> &[Certificate] {
        self.0.intermediates.certificates()
    }

    /// Reads a serialized identity of this organisation. The certificate must lead to a root (its signature is checked
    /// here); whether it is a valid member is [`validate`](Self::validate)'s answer.
    pub fn deserialize(&self, bytes: &Bytes) -> Result<Arc<Identity>, MspError> {
        let decoded = decode_identity(bytes)?;
        if decoded.mspid != self.name() {
            return Err(MspError::WrongMsp { expected: self.name().to_owned(), received: decoded.mspid });
        }
        self.identity(&decoded.id_bytes, bytes)
    }

    pub(super) fn identity(&self, pem: &[u8], serialized: &Bytes) -> Result<Arc<Identity>, MspError> {
        let certificate = Certificate::from_pem(pem).map_err(|error| match error {
            PkiError::NoPem(_) => MspError::NoPem,
            other => MspError::Certificate(other),
        })?;
        let certificate = self.0.sanitize(&certificate)?;
        let id = hex::encode(self.0.identity_hash.digest(certificate.der()));
        let id = IdentityId { mspid: self.0.name.clone(), id };
        // A copy of its own: the received bytes may be a slice of a block that memory should not be held for.
        let serialized = Bytes::copy_from_slice(serialized);
        Ok(Arc::new(Identity::new(self.clone(), id, certificate, serialized)))
    }

    /// Whether the identity is a valid member: path, revocation, organisational units. The clock plays no part.
    pub fn validate(&self, identity: &Identity) -> Result<(), MspError> {
        if Arc::ptr_eq(&self.0, &identity.msp.0) {
            return identity.validity.get_or_init(|| self.0.validate(identity)).clone();
        }
        self.deserialize(&identity.serialized)?.validate()
    }

    /// Whether the identity satisfies a principal of this organisation.
    pub fn satisfies(&self, identity: &Identity, principal: &MspPrincipal) -> Result<(), MspError> {
        if Arc::ptr_eq(&self.0, &identity.msp.0) {
            return identity.remember(principal.principal_classification, &principal.principal, || {
                self.0.satisfies(identity, principal)
            });
        }
        let own = self.deserialize(&identity.serialized)?;
        self.satisfies(&own, principal)
    }

    pub(super) fn signature_hash(&self) -> Result<HashAlgorithm, MspError> {
        self.0.signature_hash.ok_or_else(|| {
            let family = self.0.config.crypto_config.as_ref().map_or("", |crypto| &crypto.signature_hash_family);
            MspError::Setup(format!("failed getting hash function options: hash family not recognized [{family}]"))
        })
    }
}

pub(super) fn decode_identity(bytes: &Bytes) -> Result<SerializedIdentity, MspError> {
    if bytes.len() > MAX_IDENTITY_LENGTH {
        return Err(MspError::NotAnIdentity(format!("{} bytes are too many", bytes.len())));
    }
    SerializedIdentity::decode(bytes.clone()).map_err(|error| MspError::NotAnIdentity(error.to_string()))
}

impl Inner {
    /// The one path of a certificate to a root, judged at the second after the certificate's own start.
    pub(super) fn unique_chain(&self, certificate: &Certificate) -> Result<Vec<Certificate>, MspError> {
        unique_chain(certificate, &self.roots, &self.intermediates)
    }

    /// The certificate with its ECDSA signature in the lower half, when another certificate signed it with ECDSA.
    pub(super) fn sanitize(&self, certificate: &Certificate) -> Result<Certificate, MspError> {
        sanitize(certificate, &self.roots, &self.intermediates)
    }

    /// The path of an identity or, for `below_authority`, of an authority itself; the issuer of what is judged must have
    /// no authorities below it.
    pub(super) fn validation_chain(
        &self,
        certificate: &Certificate,
        below_authority: bool,
    ) -> Result<Vec<Certificate>, MspError> {
        let chain = self.unique_chain(certificate).context("failed getting validation chain")?;
        if chain.len() < 2 {
            return Err(MspError::ShortChain(chain.len()));
        }
        let parent = &chain[usize::from(!below_authority)];
        if self.superior_authorities.contains(parent.der()) {
            return Err(MspError::Setup(format!(
                "invalid validation chain. Parent certificate should be a leaf of the certification tree [{certificate:?}]"
            )));
        }
        Ok(chain)
    }

    /// Names the authorities of a path: the hash over their certificates.
    pub(super) fn certifiers(&self, authorities: &[Certificate]) -> Vec<u8> {
        let parts: Vec<&[u8]> = authorities.iter().map(Certificate::der).collect();
        self.identity_hash.digest_parts(&parts)
    }
}

pub(super) fn unique_chain(
    certificate: &Certificate,
    roots: &CertificatePool,
    intermediates: &CertificatePool,
) -> Result<Vec<Certificate>, MspError> {
    let at = certificate.not_before().saturating_add(1);
    let options = VerifyOptions { roots, intermediates, at, usage: Usage::ServerAuth };
    let mut chains = konsort_pki::verify(certificate, &options)?;
    if chains.len() != 1 {
        return Err(MspError::SeveralChains(chains.len()));
    }
    let chain = chains.remove(0);
    check_names_without_sans(&chain)?;
    Ok(chain)
}

/// A rule that Go had until 1.14 and networks depend on: below a name constraint, a certificate without alternative
/// names must not have a common name that looks like a host.
fn check_names_without_sans(chain: &[Certificate]) -> Result<(), MspError> {
    const SUBJECT_ALT_NAME: &str = "2.5.29.17";
    const NAME_CONSTRAINTS: &str = "2.5.29.30";
    let Some((leaf, authorities)) = chain.split_first() else { return Ok(()) };
    if leaf.extension(SUBJECT_ALT_NAME).is_none()
        && konsort_pki::is_valid_hostname(leaf.common_name())
        && authorities.iter().any(|authority| authority.extension(NAME_CONSTRAINTS).is_some())
    {
        return Err(MspError::Setup(
            "the supplied identity is not valid: x509: issuer has name constraints but leaf doesn't have a SAN \
             extension"
                .to_owned(),
        ));
    }
    Ok(())
}

pub(super) fn sanitize(
    certificate: &Certificate,
    roots: &CertificatePool,
    intermediates: &CertificatePool,
) -> Result<Certificate, MspError> {
    if !certificate.is_ecdsa_signed() {
        return Ok(certificate.clone());
    }
    if certificate.is_ca() && certificate.check_signed_by(certificate).is_ok() {
        let own = low_s(certificate, certificate)?;
        unique_chain(&own, &CertificatePool::new([own.clone()]), intermediates)?;
        return Ok(own);
    }
    let chain = unique_chain(certificate, roots, intermediates)?;
    let Some(parent) = chain.get(1) else {
        return Err(MspError::Setup(format!(
            "failed to traverse certificate verification chain for leaf or intermediate certificate, with subject {}",
            certificate.subject()
        )));
    };
    low_s(certificate, parent)
}

fn low_s(certificate: &Certificate, parent: &Certificate) -> Result<Certificate, MspError> {
    let signature =
        parent.public_key().to_low_s(certificate.signature()).map_err(|error| MspError::Certificate(error.into()))?;
    if signature == certificate.signature() {
        return Ok(certificate.clone());
    }
    certificate.with_signature(&signature).map_err(MspError::Certificate)
}

impl fmt::Debug for Msp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Msp({} {:?})", self.0.name, self.0.version)
    }
}
