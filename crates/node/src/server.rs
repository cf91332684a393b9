//! Listening: TCP, TLS, HTTP/1.1 and HTTP/2, and the request extension that tells handlers who calls.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http::{Request, Response};
use hyper::body::{Body, Bytes, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsStream};
use tokio_util::task::TaskTracker;

use crate::connection::SharedTls;
use crate::metrics::Counter;
use crate::{ConnectionInfo, Metrics, ServerTls, Shutdown, TlsError, ports};

/// Why a listener cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be understood or resolved.
    #[error("{name}: cannot listen on {address:?}: {source}; write it as host:port")]
    Address {
        /// What the listener is for.
        name: String,
        /// The configured address.
        address: String,
        /// The system's reason.
        source: io::Error,
    },
    /// Somebody else has the port.
    #[error("{name}: port {port} is taken by {owner}; stop it or configure another port")]
    PortTaken {
        /// What the listener is for.
        name: String,
        /// The port.
        port: u16,
        /// The process that has it.
        owner: String,
    },
    /// The system refuses for another reason.
    #[error("{name}: cannot listen on {address}: {source}")]
    Bind {
        /// What the listener is for.
        name: String,
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// The TLS material cannot be used.
    #[error("{name}: {source}")]
    Tls {
        /// What the listener is for.
        name: String,
        /// The reason.
        source: TlsError,
    },
}

/// Limits and timings of a listener; the defaults suit gRPC between nodes.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// TLS, or plain text.
    pub tls: Option<ServerTls>,
    /// How long a new connection may take for its TLS handshake.
    pub handshake_timeout: Duration,
    /// After this much silence an HTTP/2 connection is pinged.
    pub keepalive_interval: Duration,
    /// How long the answer to the ping may take.
    pub keepalive_timeout: Duration,
    /// How many requests one HTTP/2 connection may have open.
    pub max_streams: u32,
    /// How long open requests may go on after a stop was wished.
    pub drain: Duration,
    /// Where to count connections (`grpc_comm_conn_opened`, `grpc_comm_conn_closed`).
    pub metrics: Option<Metrics>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            tls: None,
            handshake_timeout: Duration::from_secs(10),
            keepalive_interval: Duration::from_hours(2),
            keepalive_timeout: Duration::from_secs(20),
            max_streams: 20_000,
            drain: Duration::from_secs(2),
            metrics: None,
        }
    }
}

/// What answers the requests of a listener: a router of `axum`, or something that knows but one kind of request and
/// can do without one.
pub trait Respond: Send + Sync + 'static {
    /// The body of an answer.
    type Body: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static;

    /// Answers one request. A body that is not wanted is to be read all the same, see [`crate::read_body`].
    fn respond(
        self: Arc<Self>,
        request: Request<Incoming>,
        from: ConnectionInfo,
    ) -> impl Future<Output = Response<Self::Body>> + Send;
}

impl Respond for Router {
    type Body = axum::body::Body;

    async fn respond(
        self: Arc<Self>,
        mut request: Request<Incoming>,
        from: ConnectionInfo,
    ) -> axum::response::Response {
        request.extensions_mut().insert(from);
        crate::unread::answer(Self::clone(&self), request).await
    }
}

/// A bound listener.
pub struct Server {
    name: String,
    listener: TcpListener,
    local: SocketAddr,
    tls: Option<(TlsAcceptor, bool)>,
    options: ServerOptions,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("name", &self.name).field("local", &self.local).finish_non_exhaustive()
    }
}

impl Server {
    /// Binds `host:port` (`:7051` means every interface); `name` is what errors and logs call the listener.
    pub async fn bind(name: &str, address: &str, options: ServerOptions) -> Result<Self, ServeError> {
        let tls = match &options.tls {
            None => None,
            Some(tls) => {
                let config = tls.config().map_err(|source| ServeError::Tls { name: name.to_owned(), source })?;
                let checked = matches!(tls.client_auth, crate::ClientAuth::VerifyIfGiven | crate::ClientAuth::Require);
                Some((TlsAcceptor::from(Arc::new(config)), checked))
            }
        };
        let listener = listen(name, address).await?;
        let local = listener.local_addr().map_err(|source| ServeError::Address {
            name: name.to_owned(),
            address: address.to_owned(),
            source,
        })?;
        Ok(Self { name: name.to_owned(), listener, local, tls, options })
    }

    /// The address it listens on, with the port the system chose when 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Serves gRPC services; see [`Server::serve`].
    pub async fn serve_grpc(self, routes: tonic::service::Routes, shutdown: Shutdown) {
        self.serve(routes.into_axum_router(), shutdown).await;
    }

    /// Serves until a stop is wished, then lets open requests finish for the drain time.
    pub async fn serve<R: Respond>(self, answers: impl Into<Arc<R>>, shutdown: Shutdown) {
        let connections = TaskTracker::new();
        let opened = self.options.metrics.as_ref().map(|metrics| {
            (
                metrics
                    .counter(
                        "grpc_comm_conn_opened",
                        "gRPC connections opened. Open minus closed is the active number of connections.",
                        &[],
                    )
                    .with(&[]),
                metrics
                    .counter(
                        "grpc_comm_conn_closed",
                        "gRPC connections closed. Open minus closed is the active number of connections.",
                        &[],
                    )
                    .with(&[]),
            )
        });
        let shared = Arc::new(Shared {
            name: self.name,
            tls: self.tls,
            http: http_builder(&self.options),
            options: self.options,
            answers: answers.into(),
            counters: opened,
            shutdown: shutdown.clone(),
        });
        loop {
            let accepted = tokio::select! {
                () = shutdown.triggered() => break,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, remote)) => {
                    connections.spawn(Arc::clone(&shared).connection(stream, remote, self.local));
                }
                Err(error) => {
                    // Out of descriptors or a caller that vanished: neither may end the listener.
                    tracing::warn!("{}: cannot accept a connection: {error}", shared.name);
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        drop(self.listener);
        connections.close();
        if tokio::time::timeout(shared.options.drain, connections.wait()).await.is_err() {
            tracing::debug!("{}: {} connections were still open at the stop", shared.name, connections.len());
        }
    }
}

struct Shared<R> {
    name: String,
    tls: Option<(TlsAcceptor, bool)>,
    http: auto::Builder<TokioExecutor>,
    options: ServerOptions,
    answers: Arc<R>,
    counters: Option<(Counter, Counter)>,
    shutdown: Shutdown,
}

impl<R: Respond> Shared<R> {
    async fn connection(self: Arc<Self>, stream: TcpStream, remote: SocketAddr, local: SocketAddr) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!("{}: no TCP_NODELAY for {remote}: {error}", self.name);
        }
        if let Some((opened, _)) = &self.counters {
            opened.inc();
        }
        Arc::clone(&self).accepted(stream, remote, local).await;
        if let Some((_, closed)) = &self.counters {
            closed.inc();
        }
    }

    async fn accepted(self: Arc<Self>, stream: TcpStream, remote: SocketAddr, local: SocketAddr) {
        match &self.tls {
            None => self.http(stream, ConnectionInfo::plain(remote, local)).await,
            Some((acceptor, verified)) => {
                let handshake = tokio::time::timeout(self.options.handshake_timeout, acceptor.accept(stream));
                match handshake.await {
                    Ok(Ok(stream)) => {
                        let stream = SharedTls::new(TlsStream::Server(stream));
                        let info = ConnectionInfo::secured(remote, local, &stream, *verified);
                        self.http(stream, info).await;
                    }
                    Ok(Err(error)) => {
                        if error.kind() == io::ErrorKind::UnexpectedEof {
                            // A probe of the port, or a caller that changed its mind.
                            tracing::debug!(
                                "{}: connection ended before its TLS handshake remoteaddress={remote}",
                                self.name
                            );
                            return;
                        }
                        let error = crate::tls::explain(&error);
                        tracing::warn!("{}: TLS handshake failed with error {error} remoteaddress={remote}", self.name);
                    }
                    Err(_) => tracing::warn!("{}: TLS handshake timed out remoteaddress={remote}", self.name),
                }
            }
        }
    }

    async fn http<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(&self, stream: S, info: ConnectionInfo) {
        let remote = info.remote_addr();
        let answers = Arc::clone(&self.answers);
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let answer = Arc::clone(&answers).respond(request, info.clone());
            async move { Ok::<_, Infallible>(answer.await) }
        });
        let connection = self.http.serve_connection_with_upgrades(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let result = tokio::select! {
            result = connection.as_mut() => result,
            () = self.shutdown.triggered() => {
                connection.as_mut().graceful_shutdown();
                match tokio::time::timeout(self.options.drain, connection).await {
                    Ok(result) => result,
                    Err(_) => return,
                }
            }
        };
        if let Err(error) = result {
            tracing::debug!("{}: connection of {remote} ended: {error}", self.name);
        }
    }
}

fn http_builder(options: &ServerOptions) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(30));
    builder
        .http2()
        .timer(TokioTimer::new())
        // Windows large enough that a block or a batch of proposals never waits for an update on a LAN.
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(32 << 20)
        .max_frame_size(1 << 20)
        .max_send_buf_size(4 << 20)
        .max_header_list_size(1 << 20)
        .max_concurrent_streams(options.max_streams)
        .keep_alive_interval(Some(options.keepalive_interval))
        .keep_alive_timeout(options.keepalive_timeout);
    builder
}

fn listen(name: &str, address: &str) -> impl Future<Output = Result<TcpListener, ServeError>> {
    let (name, address) = (name.to_owned(), address.trim().to_owned());
    async move {
        let wrong = |source| ServeError::Address { name: name.clone(), address: address.clone(), source };
        let full = if address.starts_with(':') { format!("0.0.0.0{address}") } else { address.clone() };
        let candidates: Vec<SocketAddr> = tokio::net::lookup_host(&full).await.map_err(wrong)?.collect();
        let mut last = None;
        for candidate in candidates {
            match TcpListener::bind(candidate).await {
                Ok(listener) => return Ok(listener),
                Err(source) if source.kind() == io::ErrorKind::AddrInUse => {
                    let owner = ports::describe_owner(candidate.port()).unwrap_or("another process".to_owned());
                    return Err(ServeError::PortTaken { name: name.clone(), port: candidate.port(), owner });
                }
                Err(source) => last = Some(ServeError::Bind { name: name.clone(), address: candidate, source }),
            }
        }
        Err(last.unwrap_or_else(|| wrong(io::Error::other("the host has no address"))))
    }
}
