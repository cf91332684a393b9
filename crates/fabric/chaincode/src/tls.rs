//! The certificate authority of the chaincode listener. It lives as long as the peer's process: nothing of it is stored.

use konsort_crypto::{KeyKind, PrivateKey};
use konsort_node::{Clock as _, SystemClock};
use konsort_pki::{Certificate, CertificateTemplate, Name};

use crate::launcher::ChaincodeTls;

/// Clocks of containers may be behind.
const BACKDATE: i64 = 3600;
const LIFETIME: i64 = 10 * 365 * 24 * 3600;

/// TLS material for the chaincode listener.
#[derive(Clone)]
pub struct ListenerCredentials {
    /// PEM of the listener's certificate.
    pub certificate_pem: String,
    /// PEM of its key.
    pub key_pem: String,
    /// PEM of the CA whose client certificates the listener must require.
    pub client_ca_pem: String,
}

impl std::fmt::Debug for ListenerCredentials {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("ListenerCredentials")
            .field("certificate_pem", &self.certificate_pem)
            .finish_non_exhaustive()
    }
}

pub(crate) struct ChaincodeCa {
    certificate: Certificate,
    key: PrivateKey,
    listener: ListenerCredentials,
}

impl ChaincodeCa {
    /// A new CA and the certificate of the listener that is reached under `address`.
    pub(crate) fn new(address: &str) -> Result<Self, String> {
        let failed =
            |error: &dyn std::fmt::Display| format!("cannot make the certificates of the chaincode listener: {error}");
        let now = SystemClock.unix_seconds();
        let (from, until) = (now - BACKDATE, now + LIFETIME);
        let key = PrivateKey::generate(KeyKind::EcdsaP256).map_err(|error| failed(&error))?;
        let certificate = CertificateTemplate::ca(Name::common_name("chaincode"), from, until)
            .self_sign(&key)
            .map_err(|error| failed(&error))?;
        let host = address.rsplit_once(':').map_or(address, |(host, _port)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let mut names = vec![host.to_owned()];
        for local in ["localhost", "127.0.0.1", "::1"] {
            if local != host {
                names.push(local.to_owned());
            }
        }
        let listener_key = PrivateKey::generate(KeyKind::EcdsaP256).map_err(|error| failed(&error))?;
        let listener = CertificateTemplate::leaf(Name::common_name(host), from, until)
            .with_sans(names.iter().map(String::as_str).filter(|name| !name.is_empty()))
            .issue(listener_key.public_key(), &certificate, &key)
            .map_err(|error| failed(&error))?;
        let listener = ListenerCredentials {
            certificate_pem: listener.pem(),
            key_pem: listener_key.to_pkcs8_pem().to_string(),
            client_ca_pem: certificate.pem(),
        };
        Ok(Self { certificate, key, listener })
    }

    pub(crate) fn listener(&self) -> &ListenerCredentials {
        &self.listener
    }

    /// A client certificate for one package, and the SHA-256 of its DER form.
    pub(crate) fn issue_client(&self, package_id: &str) -> Result<(ChaincodeTls, [u8; 32]), String> {
        let failed =
            |error: &dyn std::fmt::Display| format!("failed to generate TLS certificates for {package_id}: {error}");
        let now = SystemClock.unix_seconds();
        // Old shims key their TLS library to P-256 in SEC1 or PKCS#8; both read PKCS#8.
        let key = PrivateKey::generate(KeyKind::EcdsaP256).map_err(|error| failed(&error))?;
        let certificate = CertificateTemplate::leaf(Name::common_name("chaincode"), now - BACKDATE, now + LIFETIME)
            .issue(key.public_key(), &self.certificate, &self.key)
            .map_err(|error| failed(&error))?;
        let hash = konsort_crypto::hash::sha256(certificate.der());
        let tls = ChaincodeTls {
            certificate: certificate.pem(),
            key: key.to_pkcs8_pem().to_string(),
            root: self.certificate.pem(),
        };
        Ok((tls, hash))
    }
}
