//! Connections to nodes: dialled once, shared by every client made from them.

use std::time::Duration;

use bytes::Bytes;
use konsort_node::{ClientTls, DialError, DialOptions, Roots, TlsIdentity, dial_checked, dial_stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::transport::Channel;

use crate::ClientError;

/// Largest message either way, as upstream's nodes have it.
pub const MAX_MESSAGE_BYTES: usize = 100 * 1024 * 1024;

/// What an HTTP/2 client says first: the magic text and an empty settings frame.
const CLIENT_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// The type of the frame that a server must answer with (RFC 9113, 6.5).
const SETTINGS_FRAME: u8 = 4;

/// A node's address and how to trust it.
#[derive(Debug, Clone)]
pub struct Endpoint {
    address: String,
    tls: Option<Tls>,
    connect_timeout: Duration,
}

#[derive(Clone)]
struct Tls {
    roots: Vec<Vec<u8>>,
    identity: Option<(Vec<u8>, Vec<u8>)>,
    server_name: Option<String>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Tls")
            .field("roots", &self.roots.len())
            .field("client_certificate", &self.identity.is_some())
            .field("server_name", &self.server_name)
            .finish()
    }
}

impl Endpoint {
    /// Without TLS (`host:port`).
    pub fn plain(address: impl Into<String>) -> Self {
        Self { address: address.into(), tls: None, connect_timeout: Duration::from_secs(3) }
    }

    /// With TLS; `roots` is PEM with one or more certificates.
    pub fn tls(address: impl Into<String>, roots: impl Into<Vec<u8>>) -> Self {
        let tls = Tls { roots: vec![roots.into()], identity: None, server_name: None };
        Self { tls: Some(tls), ..Self::plain(address) }
    }

    /// Shows this certificate (PEM) to nodes that ask for one.
    #[must_use]
    pub fn client_certificate(mut self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        if let Some(tls) = &mut self.tls {
            tls.identity = Some((certificate.into(), key.into()));
        }
        self
    }

    /// Expects this name in the node's certificate instead of the address's host.
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        if let Some(tls) = &mut self.tls {
            tls.server_name = Some(name.into());
        }
        self
    }

    /// Gives up connecting after this long (default 3 s).
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// SHA-256 of the client certificate's DER: what deliver requests carry when the node demands mutual TLS.
    pub fn tls_cert_hash(&self) -> Bytes {
        self.tls
            .as_ref()
            .and_then(|tls| tls.identity.as_ref())
            .and_then(|(certificate, _)| konsort_pki::Certificate::from_pem(certificate).ok())
            .map(|certificate| Bytes::copy_from_slice(&konsort_pki::tls_hash(certificate.der())))
            .unwrap_or_default()
    }

    /// The connection settings; fails when a certificate or key cannot be used.
    pub(crate) fn options(&self) -> Result<DialOptions, ClientError> {
        let unusable = |error: &dyn std::fmt::Display| ClientError::Connect {
            address: self.address.clone(),
            reason: error.to_string(),
        };
        let tls = match &self.tls {
            None => None,
            Some(tls) => {
                let identity = match &tls.identity {
                    None => None,
                    Some((certificate, key)) => {
                        Some(TlsIdentity::from_pem(certificate, key).map_err(|error| unusable(&error))?)
                    }
                };
                Some(ClientTls {
                    roots: Roots::from_pem(&tls.roots).map_err(|error| unusable(&error))?,
                    identity,
                    server_name_override: tls.server_name.clone(),
                })
            }
        };
        Ok(DialOptions { tls, connect_timeout: self.connect_timeout, ..DialOptions::default() })
    }

    /// Opens the connection; fails if it is not established within the timeout.
    pub async fn connect(&self) -> Result<Channel, ClientError> {
        let options = self.options()?;
        match dial_checked(&self.address, &options).await {
            Ok(dialed) => Ok(dialed.channel),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// Fails when nothing at a plain endpoint speaks HTTP/2: a node that wants TLS takes the connection and hangs up, which would
    /// otherwise show only in the first call.
    pub(crate) async fn check_plain(&self) -> Result<(), ClientError> {
        if self.tls.is_some() {
            return Ok(());
        }
        let options = self.options()?;
        let mut stream = dial_stream(&self.address, &options).await.map_err(|error| self.failed(&error))?;
        let greeting = async {
            stream.write_all(CLIENT_PREFACE).await?;
            let mut frame = [0; 9];
            stream.read_exact(&mut frame).await.map(|_| frame[3])
        };
        let reason = match tokio::time::timeout(self.connect_timeout, greeting).await {
            Ok(Ok(SETTINGS_FRAME)) => return Ok(()),
            Ok(Ok(_)) => "error reading server preface: not HTTP/2".to_owned(),
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                "error reading server preface: EOF (the node may want TLS)".to_owned()
            }
            Ok(Err(error)) => format!("error reading server preface: {error}"),
            Err(_) => format!("error reading server preface: no answer within {} s", self.connect_timeout.as_secs()),
        };
        Err(ClientError::Connect { address: self.address.clone(), reason })
    }

    pub(crate) fn failed(&self, error: &DialError) -> ClientError {
        let reason = match error {
            DialError::Connect { reason, .. } => reason.clone(),
            DialError::Timeout { seconds, .. } => format!("no answer within {seconds} s (context deadline exceeded)"),
            other => other.to_string(),
        };
        ClientError::Connect { address: self.address.clone(), reason }
    }
}
