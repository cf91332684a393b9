//! What every gRPC listener counts, under upstream's names.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use parking_lot::RwLock;

use crate::Metrics;
use crate::metrics::{Counter, CounterFamily, HistogramFamily};

/// The name that texts of the protocol give a gRPC status code, as `FailedPrecondition`.
pub fn code_name(code: tonic::Code) -> &'static str {
    use tonic::Code;
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}

/// Counts the requests of a listener's services (`grpc_server_unary_*` and `grpc_server_stream_*`). `streaming` names the methods
/// that are streams, as `/package.Service/Method`.
pub fn count_requests(router: Router, metrics: &Metrics, streaming: &[&str]) -> Router {
    let messages = |direction: &str| {
        metrics.counter(
            &format!("grpc_server_stream_messages_{direction}"),
            &format!("The number of stream messages {direction}."),
            &["service", "method"],
        )
    };
    let figures = Arc::new(Figures {
        messages_received: messages("received"),
        messages_sent: messages("sent"),
        unary: Families::new(metrics, "unary", "unary"),
        stream: Families::new(metrics, "stream", "stream"),
        streaming: streaming.iter().map(|method| (*method).to_owned()).collect(),
        methods: RwLock::default(),
    });
    router.layer(axum::middleware::from_fn_with_state(figures, observe))
}

struct Families {
    received: CounterFamily,
    completed: CounterFamily,
    duration: HistogramFamily,
}

impl Families {
    fn new(metrics: &Metrics, prefix: &str, kind: &str) -> Self {
        Self {
            received: metrics.counter(
                &format!("grpc_server_{prefix}_requests_received"),
                &format!("The number of {kind} requests received."),
                &["service", "method"],
            ),
            completed: metrics.counter(
                &format!("grpc_server_{prefix}_requests_completed"),
                &format!("The number of {kind} requests completed."),
                &["service", "method", "code"],
            ),
            duration: metrics.histogram(
                &format!("grpc_server_{prefix}_request_duration"),
                &format!("The time to complete a {kind} request."),
                &["service", "method", "code"],
            ),
        }
    }
}

struct Figures {
    unary: Families,
    stream: Families,
    messages_received: CounterFamily,
    messages_sent: CounterFamily,
    streaming: Vec<String>,
    methods: RwLock<HashMap<String, Arc<Method>>>,
}

/// One method's labels.
struct Method {
    service: String,
    name: String,
    streaming: bool,
}

impl Figures {
    /// The labels of a path; callers choose paths, so those of no service are not remembered.
    fn method(&self, path: &str) -> Option<Arc<Method>> {
        if let Some(method) = self.methods.read().get(path) {
            return Some(Arc::clone(method));
        }
        let (service, name) = path.strip_prefix('/')?.split_once('/')?;
        let streaming = self.streaming.iter().any(|known| known == path);
        Some(Arc::new(Method { service: service.replace('.', "_"), name: name.to_owned(), streaming }))
    }

    fn families(&self, method: &Method) -> &Families {
        if method.streaming { &self.stream } else { &self.unary }
    }

    fn done(&self, method: &Method, started: Instant, code: &str) {
        let families = self.families(method);
        let labels = [method.service.as_str(), method.name.as_str(), code];
        families.completed.with(&labels).inc();
        families.duration.with(&labels).observe_since(started);
    }
}

/// Most methods remembered; a listener has far fewer.
const METHODS: usize = 256;

async fn observe(State(figures): State<Arc<Figures>>, request: Request, next: Next) -> Response {
    let Some(method) = figures.method(request.uri().path()) else { return next.run(request).await };
    let started = Instant::now();
    let path = request.uri().path().to_owned();
    let request = if method.streaming {
        let messages = Messages::new(figures.messages_received.with(&[&method.service, &method.name]));
        request.map(|body| Body::new(Received { body, messages }))
    } else {
        request
    };
    let response = next.run(request).await;
    let at_once = status(response.headers());
    // A path that nobody serves must not make a label of its own.
    if at_once.as_deref() == Some("Unimplemented") && !figures.methods.read().contains_key(&path) {
        return response;
    }
    {
        let mut methods = figures.methods.write();
        if methods.len() < METHODS {
            methods.entry(path).or_insert_with(|| Arc::clone(&method));
        }
    }
    figures.families(&method).received.with(&[&method.service, &method.name]).inc();
    if let Some(code) = at_once {
        figures.done(&method, started, &code);
        return response;
    }
    let (parts, body) = response.into_parts();
    let sent = || Messages::new(figures.messages_sent.with(&[&method.service, &method.name]));
    let messages = method.streaming.then(sent);
    Response::from_parts(parts, Body::new(Watched { body, messages, pending: Some((figures, method, started)) }))
}

/// Counts the messages in a stream of gRPC frames: a flag, the length in four bytes, the message. A chunk may hold several messages or
/// a part of one.
struct Messages {
    counter: Counter,
    /// Bytes of the frame's head that came already.
    head: usize,
    length: u32,
    /// Bytes of the message still to come.
    left: usize,
}

impl Messages {
    fn new(counter: Counter) -> Self {
        Self { counter, head: 0, length: 0, left: 0 }
    }

    fn pass(&mut self, mut data: &[u8]) {
        while let Some((byte, rest)) = data.split_first() {
            if self.left > 0 {
                let skipped = self.left.min(data.len());
                self.left -= skipped;
                data = &data[skipped..];
                continue;
            }
            if self.head > 0 {
                self.length = self.length << 8 | u32::from(*byte);
            }
            self.head += 1;
            data = rest;
            if self.head == 5 {
                self.counter.inc();
                self.left = self.length as usize;
                (self.head, self.length) = (0, 0);
            }
        }
    }
}

/// A stream's request body, whose messages are counted.
struct Received {
    body: Body,
    messages: Messages,
}

impl HttpBody for Received {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(data) = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()) {
            self.messages.pass(data);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A response body that tells how it ended.
struct Watched {
    body: Body,
    messages: Option<Messages>,
    pending: Option<(Arc<Figures>, Arc<Method>, Instant)>,
}

impl Watched {
    fn done(&mut self, code: &str) {
        if let Some((figures, method, started)) = self.pending.take() {
            figures.done(&method, started, code);
        }
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let (Some(messages), Some(data)) = (&mut self.messages, frame.data_ref()) {
                    messages.pass(data);
                }
                if let Some(code) = frame.trailers_ref().and_then(status) {
                    self.done(&code);
                }
            }
            Some(Err(_)) => self.done("Internal"),
            None => self.done("Unknown"),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.done("Canceled");
    }
}

/// The name of the status in headers or trailers, as Go writes it.
fn status(headers: &HeaderMap) -> Option<String> {
    const NAMES: [&str; 17] = [
        "OK",
        "Canceled",
        "Unknown",
        "InvalidArgument",
        "DeadlineExceeded",
        "NotFound",
        "AlreadyExists",
        "PermissionDenied",
        "ResourceExhausted",
        "FailedPrecondition",
        "Aborted",
        "OutOfRange",
        "Unimplemented",
        "Internal",
        "Unavailable",
        "DataLoss",
        "Unauthenticated",
    ];
    let number: usize = headers.get("grpc-status")?.to_str().ok()?.parse().ok()?;
    Some(NAMES.get(number).map_or_else(|| number.to_string(), |name| (*name).to_owned()))
}

#[cfg(test)]
mod tests {
    use axum::routing::post;
    use tower::ServiceExt as _;

    use super::*;

    async fn call(router: &Router, path: &str) {
        let request = http::Request::post(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let _ = axum::body::to_bytes(response.into_body(), 1024).await.unwrap();
    }

    #[test]
    fn messages_are_counted_however_they_are_cut() {
        let counter = Metrics::new().counter("x", "X.", &[]).with(&[]);
        let stream = [&b"\0\0\0\0\x03abc"[..], b"\0\0\0\0\0", b"\0\0\0\x01\0", &[7; 256], b"\0\0"].concat();
        for size in [1, 2, 7, stream.len()] {
            let before = counter.get();
            let mut messages = Messages::new(counter.clone());
            stream.chunks(size).for_each(|chunk| messages.pass(chunk));
            assert!((counter.get() - before - 3.0).abs() < f64::EPSILON, "{size}");
        }
    }

    #[tokio::test]
    async fn requests_are_counted_by_method_and_status() {
        let metrics = Metrics::new();
        let refused = || async { ([("grpc-status", "7")], "") };
        let router = Router::new()
            .route("/gateway.Gateway/Submit", post(refused))
            .route("/protos.Deliver/Deliver", post(|| async { "body without trailers" }))
            .fallback(|| async { ([("grpc-status", "12")], "") });
        let router = count_requests(router, &metrics, &["/protos.Deliver/Deliver"]);
        call(&router, "/gateway.Gateway/Submit").await;
        call(&router, "/protos.Deliver/Deliver").await;
        call(&router, "/made.Up/Path").await;
        let text = metrics.render();
        let line = "grpc_server_unary_requests_completed{code=\"PermissionDenied\",method=\"Submit\",service=\"gateway_Gateway\"} 1";
        assert!(text.contains(line), "{text}");
        assert!(
            text.contains("grpc_server_stream_requests_received{method=\"Deliver\",service=\"protos_Deliver\"} 1"),
            "{text}"
        );
        assert!(!text.contains("made_Up"), "{text}");
    }
}
