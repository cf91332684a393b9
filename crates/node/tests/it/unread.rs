//! A request that is refused before its body has arrived.

use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use konsort_node::{Server, ServerOptions, Shutdown};
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
