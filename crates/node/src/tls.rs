//! TLS material and the rules for trusting the other side.
//!
//! Chains and names are checked as Go's standard library checks them, because upstream's certificates are made for it:
//! any root in the pool is an anchor, even when it is the leaf itself; names must stand in the subject alternative names.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, ProtocolVersion, SignatureScheme};

use konsort_pki::{Certificate, CertificatePool};

use crate::certificates::{self, Purpose};

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file could not be read.
    #[error("cannot read the {what} file {path}: {source}")]
    Read {
        /// What the file is for.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The content is not what it should be.
    #[error("the {what} {origin} cannot be used: {reason}")]
    Content {
        /// What it is for.
        what: &'static str,
        /// The file, or where it came from.
        origin: String,
        /// What is wrong with it.
        reason: String,
    },
    /// TLS is on, but a part is missing.
    #[error("TLS is enabled, but no {what} is configured")]
    Incomplete {
        /// The missing part.
        what: &'static str,
    },
}

pub(crate) fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: std::sync::OnceLock<Arc<CryptoProvider>> = std::sync::OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read { what, path: path.to_path_buf(), source })
}

fn content(what: &'static str, origin: &str, reason: impl ToString) -> TlsError {
    TlsError::Content { what, origin: origin.to_owned(), reason: reason.to_string() }
}

/// A certificate chain with its key. Clones share it, so [`TlsIdentity::replace`] reaches every listener that uses it.
#[derive(Clone, Debug)]
pub struct TlsIdentity {
    current: Arc<RwLock<Arc<CertifiedKey>>>,
    files: Option<(PathBuf, PathBuf)>,
}

impl TlsIdentity {
    /// From PEM text: certificates leaf first; a PKCS#8, SEC1 or PKCS#1 key.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let key = certified(certificates, "given in memory", key, "given in memory")?;
        Ok(Self { current: Arc::new(RwLock::new(Arc::new(key))), files: None })
    }

    /// From two PEM files, which [`TlsIdentity::reload`] reads again.
    pub fn from_files(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let loaded = Self::load(certificate, key)?;
        Ok(Self {
            current: Arc::new(RwLock::new(Arc::new(loaded))),
            files: Some((certificate.to_path_buf(), key.to_path_buf())),
        })
    }

    fn load(certificate: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
        certified(
            &read("TLS certificate", certificate)?,
            &certificate.display().to_string(),
            &read("TLS private key", key)?,
            &key.display().to_string(),
        )
    }

    /// Takes another chain and key for every new connection.
    pub fn replace(&self, certificates: &[u8], key: &[u8]) -> Result<(), TlsError> {
        *self.current.write() = Arc::new(certified(certificates, "given in memory", key, "given in memory")?);
        Ok(())
    }

    /// Reads the files again; true when the certificate changed. On an error the old identity stays.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let Some((certificate, key)) = &self.files else { return Ok(false) };
        let loaded = Self::load(certificate, key)?;
        let mut current = self.current.write();
        let changed = current.cert != loaded.cert;
        *current = Arc::new(loaded);
        Ok(changed)
    }

    /// The leaf certificate as DER.
    pub fn certificate(&self) -> Bytes {
        self.current.read().cert.first().map(|der| Bytes::copy_from_slice(der)).unwrap_or_default()
    }

    fn get(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.current.read())
    }
}

fn certified(certificates: &[u8], origin: &str, key: &[u8], key_origin: &str) -> Result<CertifiedKey, TlsError> {
    const CERTIFICATE: &str = "TLS certificate";
    const KEY: &str = "TLS private key";
    let chain = CertificateDer::pem_slice_iter(certificates)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| content(CERTIFICATE, origin, error))?;
    if chain.is_empty() {
        return Err(content(CERTIFICATE, origin, "it holds no PEM block CERTIFICATE"));
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| content(KEY, key_origin, error))?;
    let key = provider().key_provider.load_private_key(key).map_err(|error| content(KEY, key_origin, error))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(certified),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err(content(KEY, key_origin, format!("it does not belong to the certificate {origin}")))
        }
        // The strict parser may refuse certificates that Go accepts; the handshake will tell.
        Err(_) => Ok(certified),
    }
}

impl ResolvesServerCert for TlsIdentity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.get())
    }
}

impl ResolvesClientCert for TlsIdentity {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.get())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// A pool of trusted certificates. Clones share it, so a change of a channel's configuration reaches open listeners.
#[derive(Clone, Debug, Default)]
pub struct Roots(Arc<RwLock<Arc<CertificatePool>>>, Nameless);

/// Whether the certificates of these authorities carry no names that could be checked.
#[derive(Clone, Copy, Debug, Default)]
struct Nameless(bool);

impl Roots {
    /// Trusts nobody yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// For authorities whose certificates name no host: everyone they certify is taken for any server of theirs.
    #[must_use]
    pub fn nameless(mut self) -> Self {
        self.1 = Nameless(true);
        self
    }

    /// From PEM texts, each with one or more certificates.
    pub fn from_pem<P: AsRef<[u8]>>(texts: impl IntoIterator<Item = P>) -> Result<Self, TlsError> {
        let roots = Self::new();
        roots.replace(texts)?;
        Ok(roots)
    }

    /// From PEM files.
    pub fn from_files<P: AsRef<Path>>(files: impl IntoIterator<Item = P>) -> Result<Self, TlsError> {
        let mut all = Vec::new();
        for file in files {
            let file = file.as_ref();
            parse_roots(&read("TLS root certificate", file)?, &file.display().to_string(), &mut all)?;
        }
        Ok(Self(Arc::new(RwLock::new(Arc::new(CertificatePool::new(all)))), Nameless::default()))
    }

    /// Trusts exactly these from now on.
    pub fn replace<P: AsRef<[u8]>>(&self, texts: impl IntoIterator<Item = P>) -> Result<(), TlsError> {
        let mut all = Vec::new();
        for text in texts {
            parse_roots(text.as_ref(), "given in memory", &mut all)?;
        }
        *self.0.write() = Arc::new(CertificatePool::new(all));
        Ok(())
    }

    /// The certificates trusted at this moment.
    pub fn pool(&self) -> Arc<CertificatePool> {
        Arc::clone(&self.0.read())
    }
}

fn parse_roots(text: &[u8], origin: &str, into: &mut Vec<Certificate>) -> Result<(), TlsError> {
    const WHAT: &str = "TLS root certificate";
    let before = into.len();
    for der in CertificateDer::pem_slice_iter(text) {
        let der = der.map_err(|error| content(WHAT, origin, error))?;
        into.push(Certificate::from_der(&der).map_err(|error| content(WHAT, origin, error))?);
    }
    if into.len() == before { Err(content(WHAT, origin, "it holds no PEM block CERTIFICATE")) } else { Ok(()) }
}

/// What a listener wants from its callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// No certificate is asked for.
    None,
    /// A certificate is asked for and shown to handlers, but not checked (gRPC services without client authentication).
    Request,
    /// A certificate may be given; then it must chain to the roots.
    VerifyIfGiven,
    /// A certificate that chains to the roots must be given.
    Require,
}

/// How a listener speaks TLS.
#[derive(Clone, Debug)]
pub struct ServerTls {
    /// Who we are.
    pub identity: TlsIdentity,
    /// What callers must show.
    pub client_auth: ClientAuth,
    /// Whom callers' certificates must come from.
    pub client_roots: Roots,
}

impl ServerTls {
    /// What `rustls` needs, for listeners of protocols other than HTTP (which clear the offered protocols).
    pub fn config(&self) -> Result<rustls::ServerConfig, TlsError> {
        let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| content("TLS version", "list", error))?;
        let builder = match self.client_auth {
            ClientAuth::None => builder.with_no_client_auth(),
            mode => builder.with_client_cert_verifier(Arc::new(Callers { mode, roots: self.client_roots.clone() })),
        };
        let mut config = builder.with_cert_resolver(Arc::new(self.identity.clone()));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // A resumed session would skip the check of the client's certificate against roots that changed meanwhile.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        Ok(config)
    }
}

/// How a caller speaks TLS.
#[derive(Clone, Debug, Default)]
pub struct ClientTls {
    /// Whom the server's certificate must come from.
    pub roots: Roots,
    /// Who we are, when the server wants to know.
    pub identity: Option<TlsIdentity>,
    /// The name to expect in the server's certificate instead of the host that is dialled.
    pub server_name_override: Option<String>,
}

impl ClientTls {
    /// What `rustls` needs to call `host`, offering one protocol.
    pub fn config(&self, host: &str, protocol: &[u8]) -> Result<(rustls::ClientConfig, ServerName<'static>), TlsError> {
        let expected = self.server_name_override.clone().filter(|name| !name.is_empty()).unwrap_or(host.to_owned());
        // The name only goes into the handshake; what it must match is the verifier's own text, because Go accepts
        // host names (underscores) that the strict type refuses.
        let indication = ServerName::try_from(expected.clone())
            .unwrap_or(ServerName::IpAddress(std::net::Ipv4Addr::LOCALHOST.into()));
        let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| content("TLS version", "list", error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Servers { expected, roots: self.roots.clone() }));
        let mut config = match &self.identity {
            Some(identity) => builder.with_client_cert_resolver(Arc::new(identity.clone())),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![protocol.to_vec()];
        config.resumption = rustls::client::Resumption::disabled();
        Ok((config, indication))
    }
}

fn bad_certificate(reason: certificates::Refused) -> rustls::Error {
    rustls::Error::InvalidCertificate(CertificateError::Other(rustls::OtherError(Arc::new(reason))))
}

/// What went wrong on a connection; our own verdict on a certificate in its own words.
pub(crate) fn explain(error: &std::io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(CertificateError::Other(rustls::OtherError(reason)))) => {
            reason.to_string()
        }
        Some(other) => other.to_string(),
        None => error.to_string(),
    }
}

/// Checks callers' certificates.
#[derive(Debug)]
struct Callers {
    mode: ClientAuth,
    roots: Roots,
}

impl ClientCertVerifier for Callers {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        self.mode == ClientAuth::Require
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        if self.mode != ClientAuth::Request {
            certificates::verify(leaf, intermediates, &self.roots.pool(), now.as_secs() as i64, &Purpose::Client)
                .map_err(bad_certificate)?;
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        certificates::handshake_signature(ProtocolVersion::TLSv1_2, message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        certificates::handshake_signature(ProtocolVersion::TLSv1_3, message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

/// Checks servers' certificates.
#[derive(Debug)]
struct Servers {
    expected: String,
    roots: Roots,
}

impl ServerCertVerifier for Servers {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let purpose = Purpose::Server((!self.roots.1.0).then_some(self.expected.as_str()));
        certificates::verify(leaf, intermediates, &self.roots.pool(), now.as_secs() as i64, &purpose)
            .map_err(bad_certificate)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        certificates::handshake_signature(ProtocolVersion::TLSv1_2, message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        certificates::handshake_signature(ProtocolVersion::TLSv1_3, message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
