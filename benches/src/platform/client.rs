//! One connection to the server that is kept open, so that only answers are measured.

use std::net::SocketAddr;

use anyhow::{Context as _, bail};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// A logged-in client.
#[derive(Debug)]
pub(super) struct Client {
    stream: BufReader<TcpStream>,
    host: String,
    cookie: String,
    csrf: String,
}

impl Client {
    pub(super) async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufReader::new(stream),
            host: address.to_string(),
            cookie: String::new(),
            csrf: String::new(),
        })
    }

    /// Another connection of the same session.
    pub(super) async fn again(&self) -> anyhow::Result<Self> {
        let mut other = Self::connect(self.host.parse()?).await?;
        other.cookie.clone_from(&self.cookie);
        other.csrf.clone_from(&self.csrf);
        Ok(other)
    }

    pub(super) async fn log_in(&mut self, setup: &Value) -> anyhow::Result<()> {
        let (session, cookie) = self.exchange("POST", "/v1/setup", Some(setup)).await?;
        self.cookie = cookie.context("no cookie was set")?;
        session["csrf_token"].as_str().context("no token was given")?.clone_into(&mut self.csrf);
        Ok(())
    }

    pub(super) async fn get(&mut self, path: &str) -> anyhow::Result<Value> {
        Ok(self.exchange("GET", path, None).await?.0)
    }

    pub(super) async fn post(&mut self, path: &str, body: &Value) -> anyhow::Result<Value> {
        Ok(self.exchange("POST", path, Some(body)).await?.0)
    }

    async fn exchange(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<(Value, Option<String>)> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\ncookie: {}\r\nx-csrf-token: {}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n",
            self.host,
            self.cookie,
            self.csrf,
            body.len()
        );
        self.stream.write_all(head.as_bytes()).await?;
        self.stream.write_all(body.as_bytes()).await?;
        let mut line = String::new();
        self.stream.read_line(&mut line).await?;
        let status: u16 = line.split(' ').nth(1).and_then(|text| text.parse().ok()).context("no answer")?;
        let (mut length, mut cookie) = (None, None);
        loop {
            line.clear();
            self.stream.read_line(&mut line).await?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse::<usize>().ok(),
                "set-cookie" => cookie = value.trim().split(';').next().map(str::to_owned),
                _ => {}
            }
        }
        let mut content = vec![0; length.context("an answer without length")?];
        self.stream.read_exact(&mut content).await?;
        if !(200..300).contains(&status) {
            bail!("{method} {path}: {status} {}", String::from_utf8_lossy(&content));
        }
        Ok((serde_json::from_slice(&content)?, cookie))
    }
}
