//! The least of an HTTP and of a WebSocket client, written here so that nothing is shared with the server.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// An answer's status line, header text and body.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {:?}", String::from_utf8_lossy(&self.body)))
    }
}

/// One request on a connection of its own.
pub(super) async fn http(address: &str, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // A server that refuses early may stop reading.
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("an answer has a head");
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_lowercase(), body: answer[end + 4..].to_vec() }
}

/// A JSON-RPC request: the result, or the error.
pub(super) async fn rpc(address: &str, method: &str, params: Value) -> Result<Value, Value> {
    static ID: AtomicU64 = AtomicU64::new(1);
    let id = ID.fetch_add(1, Ordering::Relaxed);
    let body = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string();
    let answer = http(address, "POST", "/", "content-type: application/json\r\n", body.as_bytes()).await;
    assert_eq!(answer.status, 200);
    let mut answer = answer.json();
    assert_eq!((&answer["id"], &answer["jsonrpc"]), (&json!(id), &json!("2.0")));
    match answer.get_mut("error") {
        Some(error) => Err(error.take()),
        None => Ok(answer["result"].take()),
    }
}

/// An open WebSocket.
pub(super) struct Socket<S = TcpStream>(WebSocketStream<S>);

impl Socket {
    pub(super) async fn open(address: &str) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap(), address).await
    }
}

impl<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin> Socket<S> {
    pub(super) async fn over(stream: S, address: &str) -> Self {
        let (socket, response) = tokio_tungstenite::client_async(format!("ws://{address}/"), stream).await.unwrap();
        assert_eq!(response.status(), 101);
        Self(socket)
    }

    pub(super) async fn send(&mut self, message: Message) {
        self.0.send(message).await.unwrap();
    }

    /// The next text or binary message; `None` when the connection ended.
    pub(super) async fn next(&mut self) -> Option<Message> {
        loop {
            let next = tokio::time::timeout(Duration::from_secs(20), self.0.next()).await.expect("a message in time");
            match next {
                Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => return Some(message),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    /// A text message as JSON.
    pub(super) async fn json(&mut self) -> Value {
        match self.next().await.expect("an open connection") {
            Message::Text(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("a text message was expected: {other:?}"),
        }
    }

    /// Sends a request and waits for its answer; what is pushed meanwhile is put into `pushed`.
    pub(super) async fn call(&mut self, method: &str, params: Value, pushed: &mut Vec<Value>) -> Value {
        let request = json!({ "jsonrpc": "2.0", "id": 77, "method": method, "params": params });
        self.send(Message::text(request.to_string())).await;
        loop {
            let answer = self.json().await;
            if answer.get("id").is_some() {
                return answer;
            }
            pushed.push(answer);
        }
    }
}
