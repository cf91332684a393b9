//! TLS of a node, for other nodes and for SDKs: both sides show a certificate of the chain's CA.
//!
//! The certificates are those of upstream's chain builder: RSA, basic constraints and nothing else, no names. So the chain
//! to the CA is checked and no host name; which node it is says the handshake after it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use konsort_crypto::der::{Reader, strip_zeros};
use konsort_node::{ClientAuth, ClientTls, Roots, ServerTls, TlsError, TlsIdentity};
use konsort_pki::Certificate;
use rustls::{ClientConfig, ServerConfig};

use crate::config::CertConfig;

/// The two halves of a node's TLS with other nodes.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    pub client: Arc<ClientConfig>,
    pub server: Arc<ServerConfig>,
    /// The modulus of the own certificate's key.
    pub p2p_id: String,
}

/// The CA certificates a node trusts: `ca.crt`, and every file of the folder for further ones, which may be missing.
pub(crate) fn roots(cert: &CertConfig) -> Result<Roots, TlsError> {
    let listed = |folder: &PathBuf| -> io::Result<Vec<PathBuf>> {
        let entries = match std::fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut files = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        files.retain(|path| path.is_file());
        files.sort_unstable();
        Ok(files)
    };
    let mut files = vec![cert.ca.clone()];
    files.extend(listed(&cert.more_ca).map_err(|source| TlsError::Read {
        what: "further CA certificates",
        path: cert.more_ca.clone(),
        source,
    })?);
    Ok(Roots::from_files(files)?.nameless())
}

/// Mutual TLS as SDKs and nodes expect it: every certificate our CAs vouch for is let in, whatever extensions it lacks.
pub(crate) fn server_tls(cert: &CertConfig) -> Result<ServerTls, TlsError> {
    Ok(ServerTls {
        identity: TlsIdentity::from_files(&cert.certificate, &cert.key)?,
        client_auth: ClientAuth::Require,
        client_roots: roots(cert)?,
    })
}

impl Tls {
    pub(crate) fn load(cert: &CertConfig) -> Result<Self, TlsError> {
        let tls = server_tls(cert)?;
        let p2p_id = key_id(&tls.identity.certificate()).ok_or_else(|| TlsError::Content {
            what: "TLS certificate",
            origin: cert.certificate.display().to_string(),
            reason: "its public key cannot be read".into(),
        })?;
        let mut server = tls.config()?;
        let own = ClientTls { roots: tls.client_roots, identity: Some(tls.identity), server_name_override: None };
        let (mut client, _) = own.config("", b"")?;
        server.alpn_protocols.clear();
        client.alpn_protocols.clear();
        // The proof of the node id is bound to the session; without the extended master secret two sessions could share it.
        server.require_ems = true;
        client.require_ems = true;
        client.enable_sni = false;
        Ok(Self { client: Arc::new(client), server: Arc::new(server), p2p_id })
    }
}

/// What upstream calls the p2p node id: the modulus of an RSA key in hex (for another kind of key, its bits).
pub(crate) fn key_id(certificate: &[u8]) -> Option<String> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let bits = certificate.public_key().key_bits();
    let modulus = Reader::new(bits).sequence().and_then(|mut key| key.integer().map(<[u8]>::to_vec));
    let bits = modulus.map_or_else(|_| bits.to_vec(), |modulus| strip_zeros(&modulus).to_vec());
    Some(hex::encode(bits))
}
