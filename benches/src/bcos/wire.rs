//! Keep-alive HTTP connections that answer one prepared request after another, as cheap for this machine as can be.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use konsort_node::{DialOptions, dial_stream};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::load::Outcome;

/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_mins(2);
/// Longest answer that is read, in bytes.
const MAX_ANSWER: usize = 4 << 20;

/// Where requests go.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// `host:port`.
    pub(crate) address: String,
    /// TLS or not.
    pub(crate) options: DialOptions,
}

impl Target {
    /// Without TLS.
    pub(crate) fn plain(address: impl Into<String>) -> Self {
        Self { address: address.into(), options: DialOptions::default() }
    }

    /// A call on a connection of its own.
    pub(crate) async fn call(&self, method: &str, params: Value) -> anyhow::Result<Value> {
        let answer = Connection::open(self).await?.call(&request(method, &params)).await?;
        let mut answer: Value =
            serde_json::from_slice(&answer).with_context(|| format!("{method} of {}", self.address))?;
        match answer.get("error").filter(|error| !error.is_null()) {
            Some(error) => bail!("{method} of {}: {error}", self.address),
            None => Ok(answer["result"].take()),
        }
    }
}

/// The bytes of a JSON-RPC request over HTTP.
pub(crate) fn request(method: &str, params: &Value) -> Vec<u8> {
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
    let length = body.len();
    format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// One connection.
pub(crate) struct Connection {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl Connection {
    /// Connects, TLS handshake included.
    pub(crate) async fn open(target: &Target) -> anyhow::Result<Self> {
        let stream = dial_stream(&target.address, &target.options).await?;
        Ok(Self { stream: Box::new(stream), buffer: Vec::with_capacity(8192) })
    }

    /// Sends prepared bytes and reads the body of the answer.
    pub(crate) async fn call(&mut self, request: &[u8]) -> anyhow::Result<Vec<u8>> {
        tokio::time::timeout(PATIENCE, self.exchange(request)).await.context("no answer within two minutes")?
    }

    async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<Vec<u8>> {
        self.stream.write_all(request).await?;
        self.stream.flush().await?;
        self.buffer.clear();
        let (head, length) = loop {
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break (end + 4, content_length(&self.buffer[..end])?);
            }
            self.more().await?;
        };
        while self.buffer.len() < head + length {
            self.more().await?;
        }
        Ok(self.buffer[head..head + length].to_vec())
    }

    async fn more(&mut self) -> anyhow::Result<()> {
        ensure!(self.buffer.len() < MAX_ANSWER, "the answer is longer than {MAX_ANSWER} bytes");
        let read = self.stream.read_buf(&mut self.buffer).await?;
        ensure!(read > 0, "the node closed the connection");
        Ok(())
    }
}

fn content_length(head: &[u8]) -> anyhow::Result<usize> {
    let head = std::str::from_utf8(head)?;
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default();
    ensure!(status.split(' ').nth(1) == Some("200"), "the node answered {status:?}");
    lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .with_context(|| format!("no Content-Length in {head:?}"))
}

#[derive(Deserialize)]
struct Answer {
    error: Option<Value>,
    result: Option<Value>,
}

#[derive(Deserialize)]
struct ReceiptAnswer {
    error: Option<Value>,
    result: Option<ReceiptStatus>,
}

#[derive(Deserialize)]
struct ReceiptStatus {
    status: i64,
    #[serde(default)]
    output: String,
}

/// What makes an answer a good one.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Expect {
    /// Any result.
    Result,
    /// A receipt with status 0.
    Receipt,
    /// A receipt with status 0 whose output is the number 0: what precompiled contracts answer when they did it.
    Zero,
}

impl Expect {
    fn check(self, body: &[u8]) -> anyhow::Result<()> {
        if matches!(self, Self::Result) {
            let answer: Answer = serde_json::from_slice(body)?;
            ensure!(answer.error.is_none() && answer.result.is_some(), "{}", String::from_utf8_lossy(body));
            return Ok(());
        }
        let answer: ReceiptAnswer = serde_json::from_slice(body)?;
        let good = answer.error.is_none()
            && answer.result.is_some_and(|receipt| {
                let zero = receipt.output.trim_start_matches("0x").bytes().all(|digit| digit == b'0');
                receipt.status == 0 && (zero || !matches!(self, Self::Zero))
            });
        ensure!(good, "{}", String::from_utf8_lossy(body));
        Ok(())
    }
}

/// Opens connections, spread over the targets.
pub(crate) async fn connect(targets: &[Target], count: usize) -> anyhow::Result<Vec<Connection>> {
    let mut all = Vec::with_capacity(count);
    for target in targets.iter().cycle().take(count) {
        all.push(Connection::open(target).await?);
    }
    Ok(all)
}

/// Closed loop: every connection sends its requests one after the other.
pub(crate) async fn drive(
    connections: &mut Vec<Connection>,
    work: Vec<Vec<Vec<u8>>>,
    expect: Expect,
) -> anyhow::Result<Outcome> {
    ensure!(work.len() <= connections.len(), "more lanes than connections");
    let started = Instant::now();
    let lanes: Vec<_> = work
        .into_iter()
        .map(|requests| {
            let connection = connections.pop();
            tokio::spawn(async move {
                let mut connection = connection.context("no connection")?;
                let (mut latencies, mut errors) = (Vec::with_capacity(requests.len()), Vec::new());
                for request in requests {
                    let begun = Instant::now();
                    let body = connection.call(&request).await?;
                    match expect.check(&body) {
                        Ok(()) => latencies.push(begun.elapsed().as_secs_f64() * 1000.0),
                        Err(error) => errors.push(format!("{error:#}")),
                    }
                }
                anyhow::Ok((connection, latencies, errors))
            })
        })
        .collect();
    let (mut latencies, mut errors) = (Vec::new(), Vec::new());
    for lane in lanes {
        let (connection, mut good, mut bad) = lane.await??;
        connections.push(connection);
        latencies.append(&mut good);
        errors.append(&mut bad);
    }
    Ok(Outcome::of(latencies, errors, started.elapsed()))
}
