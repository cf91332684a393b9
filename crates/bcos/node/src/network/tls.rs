//! TLS between nodes: both sides show a certificate of the chain's CA.
//!
//! The certificates are those of upstream's chain builder: RSA, basic constraints and nothing else, no names. So the chain
//! to the CA is checked and no host name; which node it is says the handshake after it.

use std::path::Path;
use std::sync::Arc;

use konsort_crypto::der::Reader;
use konsort_pki::{Certificate, CertificatePool, Usage, VerifyOptions};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, OtherError, ServerConfig, SignatureScheme,
};

use super::NetworkError;
use crate::config::CertConfig;

/// The two halves of a node's TLS.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    pub client: Arc<ClientConfig>,
    pub server: Arc<ServerConfig>,
    /// The modulus of the own certificate's key.
    pub p2p_id: String,
}

fn wrong(path: &Path, reason: impl ToString) -> NetworkError {
    NetworkError::Certificate { path: path.to_path_buf(), reason: reason.to_string() }
}

fn read(path: &Path) -> Result<Vec<u8>, NetworkError> {
    std::fs::read(path).map_err(|error| wrong(path, error))
}

/// The CA certificates a node trusts: `ca.crt`, and every file of the folder for further ones.
pub(crate) fn roots(cert: &CertConfig) -> Result<CertificatePool, NetworkError> {
    let mut pool = CertificatePool::default();
    let mut files = vec![cert.ca.clone()];
    if let Ok(entries) = std::fs::read_dir(&cert.more_ca) {
        files.extend(entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()));
    }
    for path in files {
        let found = Certificate::all_from_pem(&read(&path)?).map_err(|error| wrong(&path, error))?;
        if found.is_empty() {
            return Err(wrong(&path, "it holds no PEM block CERTIFICATE"));
        }
        for certificate in found {
            pool.add(certificate);
        }
    }
    Ok(pool)
}

impl Tls {
    pub(crate) fn load(cert: &CertConfig) -> Result<Self, NetworkError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = Arc::new(Verifier { roots: roots(cert)?, provider: Arc::clone(&provider) });
        let chain = CertificateDer::pem_slice_iter(&read(&cert.certificate)?)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| wrong(&cert.certificate, error))?;
        let leaf = chain.first().ok_or_else(|| wrong(&cert.certificate, "it holds no PEM block CERTIFICATE"))?;
        let p2p_id = key_id(leaf).ok_or_else(|| wrong(&cert.certificate, "its public key cannot be read"))?;
        let key = PrivateKeyDer::from_pem_slice(&read(&cert.key)?).map_err(|error| wrong(&cert.key, error))?;
        let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
        let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions)
            .map_err(|error| wrong(&cert.certificate, error))?
            .with_client_cert_verifier(Arc::clone(&verifier) as Arc<dyn ClientCertVerifier>)
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(|error| wrong(&cert.key, error))?;
        // The proof of the node id is bound to the session; without the extended master secret two sessions could share it.
        server.require_ems = true;
        server.send_tls13_tickets = 0;
        server.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)
            .map_err(|error| wrong(&cert.certificate, error))?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_auth_cert(chain, key)
            .map_err(|error| wrong(&cert.key, error))?;
        client.require_ems = true;
        client.enable_sni = false;
        client.resumption = rustls::client::Resumption::disabled();
        Ok(Self { client: Arc::new(client), server: Arc::new(server), p2p_id })
    }
}

/// What upstream calls the p2p node id: the modulus of an RSA key in hex (for another kind of key, its bits).
pub(crate) fn key_id(certificate: &[u8]) -> Option<String> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let bits = certificate.public_key().key_bits();
    let modulus = Reader::new(bits).sequence().and_then(|mut key| key.integer().map(<[u8]>::to_vec));
    let bits = modulus.map_or_else(|_| bits.to_vec(), |modulus| konsort_crypto::der::strip_zeros(&modulus).to_vec());
    Some(hex::encode(bits))
}

#[derive(Debug)]
struct Verifier {
    roots: CertificatePool,
    provider: Arc<CryptoProvider>,
}

/// Why the other side's certificate is not accepted.
#[derive(Debug, thiserror::Error)]
#[error("the other node's certificate ({subject}) is not accepted by this chain's CA: {reason}")]
struct Refused {
    subject: String,
    reason: String,
}

fn refused(subject: String, reason: impl ToString) -> rustls::Error {
    let refused = Refused { subject, reason: reason.to_string() };
    rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refused))))
}

impl Verifier {
    fn check(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let leaf = Certificate::from_der(leaf).map_err(|error| refused("unreadable".to_owned(), error))?;
        let subject = format!("CN={}", leaf.common_name());
        let mut between = CertificatePool::default();
        for der in intermediates {
            between.add(Certificate::from_der(der).map_err(|error| refused(subject.clone(), error))?);
        }
        let options =
            VerifyOptions { roots: &self.roots, intermediates: &between, at: now.as_secs() as i64, usage: Usage::Any };
        konsort_pki::verify(&leaf, &options).map(|_| ()).map_err(|error| refused(subject, error))
    }

    fn tls12(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn tls13(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let parsed = Certificate::from_der(certificate)
            .map_err(|_| rustls::Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let key = SubjectPublicKeyInfoDer::from(parsed.public_key().spki_der());
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature_with_raw_key(message, &key, signature, algorithms)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.check(leaf, intermediates, now).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.tls12(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.tls13(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.check(leaf, intermediates, now).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.tls12(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.tls13(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
