//! HTTP POST and WebSocket on one port: any path, CORS, and bounds on everything a caller can make us hold.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming as Body;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use konsort_node::{BodyError, ConnectionInfo, Respond, Shutdown};
use tokio::sync::{Semaphore, mpsc};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_util::sync::CancellationToken;

/// What one caller may make us hold.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// Largest request body and WebSocket message, in bytes.
    pub(crate) message: usize,
    /// How long a body may take to arrive.
    pub(crate) body_time: Duration,
    /// Open WebSocket connections.
    pub(crate) sessions: usize,
    /// Requests of one WebSocket connection that are being worked on; more are read when some are answered.
    pub(crate) in_flight: usize,
    /// Messages waiting for a slow reader before its connection is closed.
    pub(crate) queued: usize,
    /// Bytes waiting for a slow reader before its connection is closed.
    pub(crate) queued_bytes: usize,
    /// A silent peer is pinged this often, and given up after four times as long.
    pub(crate) heartbeat: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message: 10 << 20,
            body_time: Duration::from_secs(30),
            sessions: 4_096,
            in_flight: 4_096,
            queued: 16_384,
            queued_bytes: 64 << 20,
            heartbeat: Duration::from_secs(20),
        }
    }
}

/// Which web pages may call, and how.
#[derive(Clone, Debug)]
pub(crate) struct Cors {
    /// `*`, or origins separated by commas.
    pub(crate) origins: String,
    /// Methods, separated by commas.
    pub(crate) methods: String,
    /// Headers, separated by commas.
    pub(crate) headers: String,
    /// How long browsers may remember this, in seconds.
    pub(crate) max_age: u64,
    /// Whether cookies and the like may be sent along.
    pub(crate) credentials: bool,
}

impl Default for Cors {
    fn default() -> Self {
        Self {
            origins: "*".to_owned(),
            methods: "GET, POST, OPTIONS".to_owned(),
            headers: "Content-Type, Authorization, X-Requested-With".to_owned(),
            max_age: 86_400,
            credentials: false,
        }
    }
}

type Request = http::Request<Body>;
type Response = http::Response<Full<Bytes>>;

/// The same as headers: they go out with every answer to a page. What is no page names no origin, and is spared them.
#[derive(Debug)]
struct CorsHeaders {
    origins: Vec<String>,
    fixed: Vec<(HeaderName, HeaderValue)>,
    credentials: bool,
}

impl From<Cors> for CorsHeaders {
    fn from(cors: Cors) -> Self {
        let fixed = [
            (header::ACCESS_CONTROL_ALLOW_METHODS, cors.methods),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, cors.headers),
            (header::ACCESS_CONTROL_MAX_AGE, cors.max_age.to_string()),
            (header::VARY, "Origin".to_owned()),
        ];
        let fixed = fixed.into_iter().filter_map(|(name, value)| Some((name, HeaderValue::try_from(value).ok()?)));
        let origins = cors.origins.split(',').map(|origin| origin.trim().to_owned());
        Self { origins: origins.collect(), fixed: fixed.collect(), credentials: cors.credentials }
    }
}

impl CorsHeaders {
    /// Tells the browser of a page from `origin` what it may do.
    fn allow(&self, headers: &mut HeaderMap, origin: Option<HeaderValue>) {
        let named = origin.filter(|origin| self.origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()));
        let is_named = named.is_some();
        let allowed = match named {
            Some(origin) => origin,
            None if self.origins.iter().any(|origin| origin == "*") => HeaderValue::from_static("*"),
            None => return,
        };
        // With those that the server itself adds.
        headers.reserve(self.fixed.len() + 4);
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        headers.extend(self.fixed.iter().cloned());
        // Browsers ignore credentials for everybody, and rightly so.
        if self.credentials && is_named {
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }
}

/// Work that a message starts.
pub(crate) type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a port serves.
pub(crate) trait Surface: Send + Sync + 'static {
    /// Answers the body of a POST.
    fn post(self: Arc<Self>, body: Bytes) -> impl Future<Output = Vec<u8>> + Send;

    /// A WebSocket connection was opened.
    fn opened(&self, session: &Arc<Session>);

    /// A message came; what takes longer is returned as work and runs beside later messages.
    fn message(self: &Arc<Self>, session: &Arc<Session>, message: Incoming) -> Option<Work>;

    /// The connection ended; nothing sent to it arrives any more.
    fn closed(&self, session: &Arc<Session>);
}

/// A WebSocket message.
#[derive(Clone, Debug)]
pub(crate) enum Incoming {
    /// A text message.
    Text(Bytes),
    /// A binary message.
    Binary(Bytes),
}

/// One WebSocket connection, as far as senders need it.
#[derive(Debug)]
pub(crate) struct Session {
    id: u64,
    remote: SocketAddr,
    outbox: mpsc::Sender<Message>,
    waiting: Arc<AtomicUsize>,
    most_waiting: usize,
    slow: AtomicBool,
    ended: CancellationToken,
}

impl Session {
    /// A number no other connection of this process has.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Whether nothing can be sent any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.ended.is_cancelled()
    }

    /// Resolves when the connection is over.
    pub(crate) fn ended(&self) -> tokio_util::sync::WaitForCancellationFuture<'_> {
        self.ended.cancelled()
    }

    /// Ends the connection.
    pub(crate) fn close(&self) {
        self.ended.cancel();
    }

    /// Queues a text message; false when the connection is over. A reader that does not keep up loses its connection.
    pub(crate) fn send_text(&self, text: String) -> bool {
        self.send(Message::text(text))
    }

    /// Queues bytes that are text already; what is not UTF-8 goes out as a binary message.
    pub(crate) fn send_json(&self, bytes: Vec<u8>) -> bool {
        match String::from_utf8(bytes) {
            Ok(text) => self.send_text(text),
            Err(wrong) => self.send_binary(wrong.into_bytes()),
        }
    }

    /// Queues a binary message.
    pub(crate) fn send_binary(&self, bytes: impl Into<Bytes>) -> bool {
        self.send(Message::binary(bytes))
    }

    fn send(&self, message: Message) -> bool {
        if self.is_closed() {
            return false;
        }
        let size = message.len();
        let waiting = self.waiting.fetch_add(size, Ordering::AcqRel) + size;
        // One message over the limit may pass when nothing else waits: an answer can be as large as a block.
        let fits = waiting <= self.most_waiting || waiting == size;
        if fits && self.outbox.try_send(message).is_ok() {
            return true;
        }
        if !self.slow.swap(true, Ordering::AcqRel) {
            tracing::warn!(
                "websocket {}: {waiting} bytes wait for a reader that does not keep up; closing",
                self.remote
            );
        }
        self.ended.cancel();
        false
    }
}

/// What serves a port, by HTTP and WebSocket.
pub(crate) struct Port<S> {
    surface: Arc<S>,
    sessions: Arc<Semaphore>,
    next: AtomicU64,
    limits: Limits,
    cors: Option<CorsHeaders>,
    shutdown: Shutdown,
}

impl<S: Surface> Respond for Port<S> {
    type Body = Full<Bytes>;

    async fn respond(self: Arc<Self>, mut request: Request, from: ConnectionInfo) -> Response {
        let origin = request.headers_mut().remove(header::ORIGIN);
        let asks = origin.is_some() || request.method() == Method::OPTIONS;
        let mut response = if wants_websocket(request.headers()) {
            Arc::clone(&self).upgrade(request, from.remote_addr())
        } else if request.method() == Method::POST {
            self.post(request).await
        } else {
            let method = request.method().clone();
            konsort_node::discard_body(request).await;
            if method == Method::OPTIONS {
                plain(StatusCode::NO_CONTENT, "")
            } else {
                plain(StatusCode::METHOD_NOT_ALLOWED, "send a JSON-RPC request by POST, or open a WebSocket\n")
            }
        };
        if let (true, Some(cors)) = (asks, &self.cors) {
            cors.allow(response.headers_mut(), origin);
        }
        response
    }
}

impl<S: Surface> Port<S> {
    pub(crate) fn new(surface: Arc<S>, limits: Limits, cors: Option<Cors>, shutdown: &Shutdown) -> Self {
        Self {
            surface,
            sessions: Arc::new(Semaphore::new(limits.sessions)),
            next: AtomicU64::new(1),
            limits,
            cors: cors.map(CorsHeaders::from),
            shutdown: shutdown.clone(),
        }
    }

    async fn post(&self, request: Request) -> Response {
        let read = konsort_node::read_body(request.into_body(), self.limits.message, self.limits.body_time);
        let body = match read.await {
            Ok(body) => body,
            Err(error) => {
                let status = match error {
                    BodyError::TooLong(_) => StatusCode::PAYLOAD_TOO_LARGE,
                    BodyError::Broken => StatusCode::BAD_REQUEST,
                    BodyError::TooSlow => StatusCode::REQUEST_TIMEOUT,
                };
                return plain(status, format!("{error}\n"));
            }
        };
        let answer = Arc::clone(&self.surface).post(body).await;
        let mut response = Response::new(answer.into());
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }

    fn upgrade(self: Arc<Self>, mut request: Request, remote: SocketAddr) -> Response {
        let Some(key) = request.headers().get(header::SEC_WEBSOCKET_KEY) else {
            return plain(StatusCode::BAD_REQUEST, "the header Sec-WebSocket-Key is missing\n");
        };
        let accepted = derive_accept_key(key.as_bytes());
        let Ok(accepted) = HeaderValue::from_str(&accepted) else {
            return plain(StatusCode::BAD_REQUEST, "the header Sec-WebSocket-Key cannot be answered\n");
        };
        if request.headers().get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
            return plain(StatusCode::UPGRADE_REQUIRED, "WebSocket version 13 is spoken here\n");
        }
        let Ok(place) = Arc::clone(&self.sessions).try_acquire_owned() else {
            return plain(StatusCode::SERVICE_UNAVAILABLE, "too many WebSocket connections are open\n");
        };
        let upgrading = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            match upgrading.await {
                Ok(upgraded) => self.talk(upgraded, remote).await,
                Err(error) => tracing::debug!("websocket {remote}: no upgrade: {error}"),
            }
            drop(place);
        });
        let mut response = plain(StatusCode::SWITCHING_PROTOCOLS, "");
        let headers = response.headers_mut();
        headers.remove(header::CONTENT_TYPE);
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accepted);
        response
    }

    async fn talk(self: Arc<Self>, upgraded: Upgraded, remote: SocketAddr) {
        let config = WebSocketConfig::default()
            .max_message_size(Some(self.limits.message))
            .max_frame_size(Some(self.limits.message))
            // Answers go out at once, and a peer that takes nothing is noticed here before it costs memory.
            .write_buffer_size(0);
        let stream = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
        let (sink, stream) = stream.split();
        let (outbox, waiting_messages) = mpsc::channel(self.limits.queued);
        let session = Arc::new(Session {
            id: self.next.fetch_add(1, Ordering::Relaxed),
            remote,
            outbox,
            waiting: Arc::new(AtomicUsize::new(0)),
            most_waiting: self.limits.queued_bytes,
            slow: AtomicBool::new(false),
            ended: CancellationToken::new(),
        });
        let writer = tokio::spawn(write(
            sink,
            waiting_messages,
            Arc::clone(&session.waiting),
            session.ended.clone(),
            self.limits.heartbeat,
        ));
        self.surface.opened(&session);
        tokio::select! {
            () = self.read(stream, &session) => {}
            () = session.ended() => {}
            () = self.shutdown.triggered() => {}
        }
        session.close();
        self.surface.closed(&session);
        let _ = writer.await;
    }

    async fn read(&self, mut stream: SplitStream<WebSocketStream<TokioIo<Upgraded>>>, session: &Arc<Session>) {
        let in_flight = Arc::new(Semaphore::new(self.limits.in_flight));
        let patience = self.limits.heartbeat * 4;
        loop {
            let message = match tokio::time::timeout(patience, stream.next()).await {
                Ok(Some(Ok(message))) => message,
                Ok(Some(Err(error))) => {
                    tracing::debug!("websocket {}: {error}", session.remote);
                    return;
                }
                Ok(None) => return,
                Err(_) => {
                    tracing::info!("websocket {}: silent for {patience:?}; closing", session.remote);
                    return;
                }
            };
            let incoming = match message {
                Message::Text(text) => Incoming::Text(text.into()),
                Message::Binary(bytes) => Incoming::Binary(bytes),
                Message::Close(_) => return,
                // Pings are answered by the protocol layer.
                _ => continue,
            };
            let Some(work) = self.surface.message(session, incoming) else { continue };
            let Ok(place) = Arc::clone(&in_flight).acquire_owned().await else { return };
            tokio::spawn(async move {
                work.await;
                drop(place);
            });
        }
    }
}

/// Sends what is queued until the connection ends; a write that takes too long ends it.
async fn write(
    mut sink: SplitSink<WebSocketStream<TokioIo<Upgraded>>, Message>,
    mut queue: mpsc::Receiver<Message>,
    waiting: Arc<AtomicUsize>,
    ended: CancellationToken,
    heartbeat: Duration,
) {
    let mut beat = tokio::time::interval(heartbeat);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let _ = beat.tick().await;
    loop {
        let message = tokio::select! {
            () = ended.cancelled() => break,
            message = queue.recv() => match message {
                Some(message) => message,
                None => break,
            },
            _ = beat.tick() => Message::Ping(Bytes::new()),
        };
        let counted = if matches!(message, Message::Ping(_)) { 0 } else { message.len() };
        let sent = tokio::select! {
            sent = tokio::time::timeout(heartbeat, sink.send(message)) => sent,
            () = ended.cancelled() => break,
        };
        waiting.fetch_sub(counted, Ordering::AcqRel);
        if !matches!(sent, Ok(Ok(()))) {
            break;
        }
    }
    ended.cancel();
    let _ = tokio::time::timeout(Duration::from_secs(1), sink.close()).await;
}

fn wants_websocket(headers: &HeaderMap) -> bool {
    headers.get(header::UPGRADE).is_some_and(|upgrade| upgrade.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

fn plain(status: StatusCode, text: impl Into<Full<Bytes>>) -> Response {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

#[cfg(test)]
mod tests;
