//! Calling other nodes: a gRPC channel over TLS or plain text.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, TlsStream};
use tonic::transport::{Channel, Endpoint, Uri};

use crate::connection::SharedTls;
use crate::{ClientTls, ConnectionInfo, TlsError};

/// Why another node cannot be called.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The address has not the form host:port.
    #[error("the address {0:?} cannot be dialled; write it as host:port")]
    Address(String),
    /// The TLS material cannot be used.
    #[error("cannot dial {address}: {source}")]
    Tls {
        /// The address.
        address: String,
        /// The reason.
        source: TlsError,
    },
    /// No connection.
    #[error("cannot connect to {address}: {reason}")]
    Connect {
        /// The address.
        address: String,
        /// The system's or the handshake's reason.
        reason: String,
    },
    /// It took too long.
    #[error("cannot connect to {address}: no answer within {seconds} s")]
    Timeout {
        /// The address.
        address: String,
        /// How long was waited.
        seconds: u64,
    },
}

/// How to call.
#[derive(Clone, Debug)]
pub struct DialOptions {
    /// TLS, or plain text.
    pub tls: Option<ClientTls>,
    /// How long connecting may take, TLS handshake included.
    pub connect_timeout: Duration,
    /// After this much silence the connection is pinged.
    pub keepalive_interval: Duration,
    /// How long the answer to the ping may take.
    pub keepalive_timeout: Duration,
}

impl Default for DialOptions {
    fn default() -> Self {
        Self {
            tls: None,
            connect_timeout: Duration::from_secs(3),
            keepalive_interval: Duration::from_mins(1),
            keepalive_timeout: Duration::from_secs(20),
        }
    }
}

impl DialOptions {
    /// With TLS.
    pub fn tls(tls: ClientTls) -> Self {
        Self { tls: Some(tls), ..Self::default() }
    }
}

/// A channel together with what is known about its connection.
#[derive(Clone, Debug)]
pub struct Dialed {
    /// The gRPC channel.
    pub channel: Channel,
    connection: Arc<Mutex<Option<ConnectionInfo>>>,
}

impl Dialed {
    /// The connection in use (the latest one, after a reconnect); `None` before the first call.
    pub fn connection(&self) -> Option<ConnectionInfo> {
        self.connection.lock().clone()
    }
}

/// A channel to `host:port` that connects at its first call and again after a break.
pub fn dial(address: &str, options: &DialOptions) -> Result<Channel, DialError> {
    dial_observed(address, options).map(|dialed| dialed.channel)
}

/// As [`dial`], with access to the server's certificates and the TLS exporter.
pub fn dial_observed(address: &str, options: &DialOptions) -> Result<Dialed, DialError> {
    let (endpoint, connector) = prepare(address, options, b"h2")?;
    let connection = Arc::clone(&connector.connection);
    let channel = endpoint.connect_with_connector_lazy(tower::service_fn(move |_: Uri| connector.clone().connect()));
    Ok(Dialed { channel, connection })
}

/// As [`dial`], connected when it returns, so that a wrong address or certificate shows at once.
pub async fn dial_checked(address: &str, options: &DialOptions) -> Result<Dialed, DialError> {
    let (endpoint, connector) = prepare(address, options, b"h2")?;
    let connection = Arc::clone(&connector.connection);
    let first = connector.clone().connect().await?;
    let first = Arc::new(Mutex::new(Some(first)));
    let channel = endpoint
        .connect_with_connector(tower::service_fn(move |_: Uri| {
            let (ready, connector) = (first.lock().take(), connector.clone());
            async move {
                match ready {
                    Some(stream) => Ok(stream),
                    None => connector.connect().await,
                }
            }
        }))
        .await
        .map_err(|error| DialError::Connect { address: address.to_owned(), reason: chain_text(&error) })?;
    Ok(Dialed { channel, connection })
}

/// One plain connection (TCP, and TLS when wanted) for protocols other than gRPC, such as an HTTP/1.1 client.
pub async fn dial_stream(
    address: &str,
    options: &DialOptions,
) -> Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static, DialError> {
    let (_, connector) = prepare(address, options, b"http/1.1")?;
    connector.connect().await.map(TokioIo::into_inner)
}

/// One HTTP/1.1 request on a connection of its own; the answer's body is read to its end, at most `limit` bytes of it.
pub async fn http_request(
    address: &str,
    options: &DialOptions,
    request: http::Request<Bytes>,
    limit: usize,
) -> Result<http::Response<Bytes>, DialError> {
    let stream = dial_stream(address, options).await?;
    let failed = |reason: String| DialError::Connect { address: address.to_owned(), reason };
    let (mut sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failed(chain_text(&error)))?;
    let driving = tokio::spawn(driver);
    let (mut parts, body) = request.into_parts();
    parts
        .headers
        .entry(http::header::HOST)
        .or_insert(http::HeaderValue::from_str(address).map_err(|_| DialError::Address(address.to_owned()))?);
    let request = http::Request::from_parts(parts, axum::body::Body::from(body));
    let answer = sender.send_request(request).await.map_err(|error| failed(chain_text(&error)))?;
    let (parts, body) = answer.into_parts();
    let body = axum::body::to_bytes(axum::body::Body::new(body), limit)
        .await
        .map_err(|error| failed(format!("reading http response body: {}", chain_text(&error))))?;
    driving.abort();
    Ok(http::Response::from_parts(parts, body))
}

pub(crate) fn chain_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

fn prepare(address: &str, options: &DialOptions, protocol: &[u8]) -> Result<(Endpoint, Connector), DialError> {
    let address = address.trim();
    let address = address.split_once("://").map_or(address, |(_, rest)| rest);
    let wrong = || DialError::Address(address.to_owned());
    let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
    let port: u16 = port.parse().map_err(|_| wrong())?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    if host.is_empty() {
        return Err(wrong());
    }
    let tls = match &options.tls {
        None => None,
        Some(tls) => {
            let (config, name) =
                tls.config(&host, protocol).map_err(|source| DialError::Tls { address: address.to_owned(), source })?;
            Some((TlsConnector::from(Arc::new(config)), name))
        }
    };
    let scheme = if tls.is_some() { "https" } else { "http" };
    let authority = match options.tls.as_ref().and_then(|tls| tls.server_name_override.as_deref()) {
        Some(name) if !name.is_empty() => format!("{name}:{port}"),
        _ => address.to_owned(),
    };
    let origin: Uri = format!("{scheme}://{authority}").parse().map_err(|_| wrong())?;
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|_| wrong())?
        .origin(origin)
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(32 << 20)
        .max_frame_size(1 << 20)
        .http2_max_header_list_size(1 << 20)
        .http2_keep_alive_interval(options.keepalive_interval)
        .keep_alive_timeout(options.keepalive_timeout)
        .keep_alive_while_idle(true)
        .buffer_size(4096_usize);
    let connector = Connector {
        address: address.into(),
        host: host.into(),
        port,
        tls,
        timeout: options.connect_timeout,
        connection: Arc::default(),
    };
    Ok((endpoint, connector))
}

/// Either kind of stream under one type.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

#[derive(Clone)]
struct Connector {
    address: Arc<str>,
    host: Arc<str>,
    port: u16,
    tls: Option<(TlsConnector, rustls::pki_types::ServerName<'static>)>,
    timeout: Duration,
    connection: Arc<Mutex<Option<ConnectionInfo>>>,
}

impl Connector {
    async fn connect(self) -> Result<TokioIo<Box<dyn Stream>>, DialError> {
        match tokio::time::timeout(self.timeout, self.open()).await {
            Ok(Ok((stream, info))) => {
                *self.connection.lock() = Some(info);
                Ok(TokioIo::new(stream))
            }
            Ok(Err(error)) => {
                let reason = crate::tls::explain(&error);
                Err(DialError::Connect { address: self.address.to_string(), reason })
            }
            Err(_) => Err(DialError::Timeout { address: self.address.to_string(), seconds: self.timeout.as_secs() }),
        }
    }

    async fn open(&self) -> std::io::Result<(Box<dyn Stream>, ConnectionInfo)> {
        let stream = TcpStream::connect((&*self.host, self.port)).await?;
        stream.set_nodelay(true)?;
        let (remote, local) = (stream.peer_addr()?, stream.local_addr()?);
        let Some((connector, name)) = &self.tls else {
            return Ok((Box::new(stream), ConnectionInfo::plain(remote, local)));
        };
        let stream = connector.connect(name.clone(), stream).await?;
        let stream = SharedTls::new(TlsStream::Client(stream));
        let info = ConnectionInfo::secured(remote, local, &stream, true);
        Ok((Box::new(stream), info))
    }
}
