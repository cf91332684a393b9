//! What a handler may know about the connection its request came by.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

/// Extension of every request a [`crate::Server`] hands to its router, for HTTP and gRPC alike.
///
/// Cloning is cheap. It does not keep the connection open.
#[derive(Clone, Debug)]
pub struct ConnectionInfo(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    remote: SocketAddr,
    local: SocketAddr,
    tls: bool,
    verified: bool,
    certificates: Vec<Bytes>,
    stream: Weak<Mutex<TlsStream<TcpStream>>>,
}

impl ConnectionInfo {
    pub(crate) fn plain(remote: SocketAddr, local: SocketAddr) -> Self {
        Self(Arc::new(Inner {
            remote,
            local,
            tls: false,
            verified: false,
            certificates: Vec::new(),
            stream: Weak::new(),
        }))
    }

    pub(crate) fn secured(remote: SocketAddr, local: SocketAddr, stream: &SharedTls, verified: bool) -> Self {
        let certificates: Vec<Bytes> = {
            let guard = stream.0.lock();
            let (_, session) = guard.get_ref();
            session.peer_certificates().unwrap_or_default().iter().map(|der| Bytes::copy_from_slice(der)).collect()
        };
        let verified = verified && !certificates.is_empty();
        Self(Arc::new(Inner { remote, local, tls: true, verified, certificates, stream: Arc::downgrade(&stream.0) }))
    }

    /// An invented connection, for tests of handlers.
    pub fn invented(remote: SocketAddr, certificates: Vec<Bytes>) -> Self {
        Self(Arc::new(Inner {
            remote,
            local: remote,
            tls: !certificates.is_empty(),
            verified: !certificates.is_empty(),
            certificates,
            stream: Weak::new(),
        }))
    }

    /// The caller's address.
    pub fn remote_addr(&self) -> SocketAddr {
        self.0.remote
    }

    /// The address it was accepted on.
    pub fn local_addr(&self) -> SocketAddr {
        self.0.local
    }

    /// Whether the connection is protected by TLS.
    pub fn is_tls(&self) -> bool {
        self.0.tls
    }

    /// Whether the certificates were checked against the listener's roots (they may be present and unchecked).
    pub fn is_verified(&self) -> bool {
        self.0.verified
    }

    /// The certificates the other side presented, leaf first, as DER; empty without.
    pub fn peer_certificates(&self) -> &[Bytes] {
        &self.0.certificates
    }

    /// The other side's own certificate as DER.
    pub fn peer_certificate(&self) -> Option<&Bytes> {
        self.0.certificates.first()
    }

    /// Keying material exported from the TLS session (RFC 5705, RFC 8446 7.5); `None` without TLS or when the
    /// connection has ended.
    pub fn export_keying_material(&self, label: &[u8], context: Option<&[u8]>, length: usize) -> Option<Vec<u8>> {
        let stream = self.0.stream.upgrade()?;
        let guard = stream.lock();
        let output = vec![0; length];
        match &*guard {
            TlsStream::Server(stream) => stream.get_ref().1.export_keying_material(output, label, context).ok(),
            TlsStream::Client(stream) => stream.get_ref().1.export_keying_material(output, label, context).ok(),
        }
    }
}

/// A TLS stream that its [`ConnectionInfo`] can still ask for exporter values after the HTTP server took it over.
#[derive(Debug)]
pub(crate) struct SharedTls(Arc<Mutex<TlsStream<TcpStream>>>);

impl SharedTls {
    pub(crate) fn new(stream: TlsStream<TcpStream>) -> Self {
        Self(Arc::new(Mutex::new(stream)))
    }
}

impl AsyncRead for SharedTls {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.lock()).poll_read(cx, buffer)
    }
}

impl AsyncWrite for SharedTls {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0.lock()).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.lock()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.lock()).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0.lock()).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.lock().is_write_vectored()
    }
}
