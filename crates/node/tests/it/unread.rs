//! A request that is refused before its body has arrived.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, Response, StatusCode};
use axum::routing::post;
use futures::SinkExt as _;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use konsort_node::{ConnectionInfo, Respond, Server, ServerOptions, Shutdown, discard_body, read_body};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_still_sending_reads_its_refusal() {
    let server = Server::bind("test", "127.0.0.1:0", ServerOptions::default()).await.unwrap();
    let address = server.local_addr();
    let router = Router::new().route("/", post(async || (StatusCode::BAD_REQUEST, "no")));
    let shutdown = Shutdown::new();
    tokio::spawn(server.serve(router, shutdown.clone()));
    for round in 0..20 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let body = vec![7; 3 << 20];
        let head = format!("POST / HTTP/1.1\r\nHost: node\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
        stream.write_all(&body).await.unwrap_or_else(|error| panic!("round {round}: {error}"));
        let mut answer = [0; 256];
        let length = stream.read(&mut answer).await.unwrap_or_else(|error| panic!("round {round}: {error}"));
        let answer = String::from_utf8_lossy(&answer[..length]);
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.ends_with("\r\n\r\nno"), "round {round}: {answer}");
    }
    shutdown.trigger("the test is over");
}

/// A client of HTTP/2 that sends its body a moment after the head, as curl does.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_body_on_http2_does_not_lose_the_refusal() {
    let server = Server::bind("test", "127.0.0.1:0", ServerOptions::default()).await.unwrap();
    let address = server.local_addr();
    let router = Router::new().route("/", post(async || (StatusCode::BAD_REQUEST, "no")));
    let shutdown = Shutdown::new();
    tokio::spawn(server.serve(router, shutdown.clone()));
    for round in 0..50 {
        let stream = TcpStream::connect(address).await.unwrap();
        let (mut sender, driver) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(driver);
        let (mut late, body) = futures::channel::mpsc::channel(1);
        let request = http::Request::post(format!("http://{address}/")).body(Body::from_stream(body)).unwrap();
        let sending = tokio::spawn(async move {
            for _ in 0..3 {
                tokio::time::sleep(Duration::from_millis(2)).await;
                let chunk: Result<_, std::io::Error> = Ok(vec![7_u8; 20_000]);
                late.send(chunk).await.map_err(|error| error.to_string())?;
            }
            Ok::<_, String>(())
        });
        let answer = sender.send_request(request).await.unwrap_or_else(|error| panic!("round {round}: {error}"));
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
        let body = axum::body::to_bytes(Body::new(answer.into_body()), 100).await;
        assert_eq!(body.unwrap_or_else(|error| panic!("round {round}: {error}")), "no");
        sending.await.unwrap().unwrap_or_else(|error| panic!("round {round}: the body was cut off: {error}"));
    }
    shutdown.trigger("the test is over");
}

/// A port without a router: every body is read through [`read_body`].
#[derive(Debug)]
struct Reader;

impl Respond for Reader {
    type Body = Body;

    async fn respond(self: Arc<Self>, request: Request<Incoming>, _: ConnectionInfo) -> Response<Body> {
        if request.method() != Method::POST {
            discard_body(request).await;
            return Response::new("unwanted".into());
        }
        let read = read_body(request.into_body(), 1 << 20, Duration::from_secs(2)).await;
        let text = read.map_or_else(|error| error.to_string(), |body| format!("{} bytes", body.len()));
        Response::new(text.into())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_read_whole_or_refused_whole() {
    let server = Server::bind("test", "127.0.0.1:0", ServerOptions::default()).await.unwrap();
    let address = server.local_addr();
    let shutdown = Shutdown::new();
    tokio::spawn(server.serve(Reader, shutdown.clone()));
    // One connection for all: what is left of a refused body would be taken for the next request.
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut ask = async |method: &str, size: usize, head: &str| {
        let head = format!("{method} / HTTP/1.1\r\nHost: node\r\nContent-Length: {size}\r\n{head}\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&vec![7; size]).await.unwrap();
        let mut answer = vec![0; 512];
        let length = stream.read(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
        answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or(answer)
    };
    for size in [0, 1, 1 << 19, 1 << 20] {
        assert_eq!(ask("POST", size, "").await, format!("{size} bytes"));
    }
    for size in [(1 << 20) + 1, 3 << 20] {
        assert_eq!(ask("POST", size, "").await, "the body is larger than 1048576 bytes");
    }
    assert_eq!(ask("PUT", 3 << 20, "").await, "unwanted");
    assert_eq!(ask("POST", 5, "").await, "5 bytes");
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(b"POST / HTTP/1.1\r\nHost: node\r\nContent-Length: 9\r\n\r\nhalf").await.unwrap();
    let mut answer = vec![0; 512];
    let length = slow.read(&mut answer).await.unwrap();
    assert!(String::from_utf8_lossy(&answer[..length]).ends_with("the body did not arrive in time"));
    shutdown.trigger("the test is over");
}
