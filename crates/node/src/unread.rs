//! What a client is still sending when its request is already answered.
//!
//! A connection (HTTP/2: a stream) that ends with unread bytes is reset, and the reset can overtake the answer: the
//! client then sees a broken connection where a refusal was written. So the rest of a refused body is read and
//! thrown away before the answer goes out, within bounds of size and time. Calls of gRPC are left alone: their
//! streams may stay open for long, and their clients read an answer that came early.

use std::convert::Infallible;
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

/// Answers a request and leaves nothing unread behind it.
pub(crate) async fn answer(router: Router, request: Request<Incoming>) -> Result<Response, Infallible> {
    let kind = request.headers().get(header::CONTENT_TYPE);
    let is_grpc = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    if is_grpc {
        let mut response = router.oneshot(request.map(Body::new)).await?;
        crate::refusal::rename(response.headers_mut());
        return Ok(response);
    }
    if request.body().is_end_stream() {
        return router.oneshot(request.map(Body::new)).await;
    }
    // Such a client sends its body only after it is asked to, which reading would do.
    let waits = request.headers().contains_key(header::EXPECT);
    let (left, unread) = oneshot::channel();
    let request = request.map(|body| Body::new(Watched { body: Some(body), read: !waits, left: Some(left) }));
    let response = router.oneshot(request).await;
    let mut unread = unread;
    if let Ok(body) = unread.try_recv() {
        let _ = tokio::time::timeout(LONGEST, drain(body)).await;
    }
    response
}

async fn drain(mut body: Incoming) {
    let mut size = 0;
    while let Some(Ok(frame)) = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
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
