//! What a client is still sending when its request is already answered.
//!
//! A connection (HTTP/2: a stream) that ends with unread bytes is reset, and the reset can overtake the answer: the
//! client then sees a broken connection where a refusal was written. So the rest of a refused body is read and
//! thrown away before the answer goes out, within bounds of size and time. Calls of gRPC are left alone: their
//! streams may stay open for long, and their clients read an answer that came early.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::{Request, header};
use hyper::body::{Body as HttpBody, Bytes, Frame, Incoming, SizeHint};
use tokio::sync::oneshot;
use tower::ServiceExt as _;

/// How much of a refused body is read at most, in bytes.
const MOST: u64 = 32 << 20;
/// How long that may take.
const LONGEST: Duration = Duration::from_secs(2);

/// Why a body is not there as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It is larger than it may be; what was still to come is read already.
    #[error("the body is larger than {0} bytes")]
    TooLong(usize),
    /// The connection broke.
    #[error("the body did not arrive whole")]
    Broken,
    /// It took too long.
    #[error("the body did not arrive in time")]
    TooSlow,
}

/// Reads a body of at most `most` bytes, in at most the time `longest`.
pub async fn read_body(mut body: Incoming, most: usize, longest: Duration) -> Result<Bytes, BodyError> {
    let read = async {
        let mut first = Bytes::new();
        let mut all = Vec::new();
        while let Some(frame) = next(&mut body).await {
            let Ok(frame) = frame else { return Err(BodyError::Broken) };
            let Ok(data) = frame.into_data() else { continue };
            if first.len().max(all.len()) + data.len() > most {
                return Err(BodyError::TooLong(most));
            }
            // A small body comes in one piece, which need not be copied.
            if first.is_empty() && all.is_empty() {
                first = data;
            } else {
                if all.is_empty() {
                    all.extend_from_slice(&std::mem::take(&mut first));
                }
                all.extend_from_slice(&data);
            }
        }
        Ok(if all.is_empty() { first } else { all.into() })
    };
    let read = tokio::time::timeout(longest, read).await.unwrap_or(Err(BodyError::TooSlow));
    if let Err(BodyError::TooLong(_)) = read {
        discard(body).await;
    }
    read
}

/// Reads what a refused request still sends, within bounds; see [`read_body`].
pub async fn discard_body(request: Request<Incoming>) {
    let (head, body) = request.into_parts();
    // Such a client sends its body only after it is asked to, which reading would do.
    if !head.headers.contains_key(header::EXPECT) && !body.is_end_stream() {
        discard(body).await;
    }
}

async fn next(body: &mut Incoming) -> Option<Result<Frame<Bytes>, hyper::Error>> {
    std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await
}

async fn discard(body: Incoming) {
    let _ = tokio::time::timeout(LONGEST, drain(body)).await;
}

/// Answers a request and leaves nothing unread behind it.
pub(crate) async fn answer(router: Router, request: Request<Incoming>) -> Response {
    let kind = request.headers().get(header::CONTENT_TYPE);
    let is_grpc = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    if is_grpc {
        let mut response = routed(router, request.map(Body::new)).await;
        crate::refusal::rename(response.headers_mut());
        return response;
    }
    if request.body().is_end_stream() {
        return routed(router, request.map(Body::new)).await;
    }
    // Such a client sends its body only after it is asked to, which reading would do.
    let waits = request.headers().contains_key(header::EXPECT);
    let (left, unread) = oneshot::channel();
    let request = request.map(|body| Body::new(Watched { body: Some(body), read: !waits, left: Some(left) }));
    let response = routed(router, request).await;
    let mut unread = unread;
    if let Ok(body) = unread.try_recv() {
        discard(body).await;
    }
    response
}

async fn routed(router: Router, request: Request<Body>) -> Response {
    match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

async fn drain(mut body: Incoming) {
    let mut size = 0;
    while let Some(Ok(frame)) = next(&mut body).await {
        size += frame.data_ref().map_or(0, |data| data.len() as u64);
        if size > MOST {
            return;
        }
    }
}

/// A body that comes back when its reader drops it before the end.
struct Watched {
    body: Option<Incoming>,
    read: bool,
    left: Option<oneshot::Sender<Incoming>>,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.read = true;
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let (true, Some(body), Some(left)) = (self.read, self.body.take(), self.left.take())
            && !body.is_end_stream()
        {
            let _ = left.send(body);
        }
    }
}
