//! A client of the platform's API, for the command line.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use http::{Method, header};
use konsort_node::{ClientTls, DialOptions, Roots, http_request};
use serde_json::Value;

use crate::language::Language;

/// Longest answer that is read, in bytes.
const MAX_ANSWER: usize = 64 << 20;
/// Between two looks at an operation.
const LOOK: Duration = Duration::from_millis(50);

/// Where the server is, and who asks.
#[derive(Clone)]
pub(crate) struct Api {
    /// `http://host:port`, for people.
    pub(crate) url: String,
    options: DialOptions,
    key: String,
    language: Language,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").field("url", &self.url).finish_non_exhaustive()
    }
}

/// What a server on this machine says of itself in its data folder.
#[derive(Debug, Clone, serde::Deserialize)]
pub(crate) struct ServerRecord {
    /// Its process.
    pub(crate) pid: i32,
    /// Where it answers.
    pub(crate) url: String,
    key: String,
    /// Where its first administrator is made, until there is one.
    pub(crate) setup_link: Option<String>,
}

impl ServerRecord {
    /// Of a data folder, when a server has been started in it.
    pub(crate) fn read(data: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(data.join("server.json")).ok()?).ok()
    }
}

impl Api {
    /// A server at a URL; `roots` are the certificates it is trusted by when the URL begins with https.
    pub(crate) fn new(url: &str, key: &str, roots: Option<&Path>, language: Language) -> anyhow::Result<Self> {
        let url = url.trim_end_matches('/');
        let options = match url.split_once("://") {
            Some(("http", _)) => DialOptions::default(),
            Some(("https", _)) => {
                let file =
                    roots.context("an https:// server needs --ca FILE with the certificates it is trusted by")?;
                let roots = Roots::from_files([file.to_path_buf()])?;
                DialOptions::tls(ClientTls { roots, identity: None, server_name_override: None })
            }
            _ => bail!("{url} is no address of a server; write http://host:port or https://host:port"),
        };
        Ok(Self { url: url.to_owned(), options, key: key.to_owned(), language })
    }

    /// The server that works in a data folder of this machine.
    pub(crate) fn of(record: &ServerRecord, language: Language) -> anyhow::Result<Self> {
        Self::new(&record.url, &record.key, None, language)
    }

    /// A request; a refusal becomes an error with the server's words. An answer that is not JSON is a text.
    pub(crate) async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let language = self.language.pick("en", "zh");
        let request = http::Request::builder()
            .method(&method)
            .uri(path)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.key))
            .header(header::ACCEPT_LANGUAGE, language)
            .header(header::CONTENT_TYPE, "application/json");
        let bytes = body.map(serde_json::to_vec).transpose()?.unwrap_or_default();
        let host = self.url.split_once("://").map_or(self.url.as_str(), |(_, host)| host);
        let answer = http_request(host, &self.options, request.body(bytes.into())?, MAX_ANSWER)
            .await
            .with_context(|| format!("the server at {} does not answer", self.url))?;
        let (parts, bytes) = answer.into_parts();
        let body = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        if parts.status.is_success() {
            return Ok(body);
        }
        let text = |name: &str| body[name].as_str().filter(|text| !text.is_empty());
        let said = [text("detail").or_else(|| text("title")), text("hint")];
        let said = said.into_iter().flatten().collect::<Vec<_>>().join("; ");
        if said.is_empty() {
            bail!("{method} {path}: the server answered {}", parts.status);
        }
        bail!("{said}");
    }

    /// Reads.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.send(Method::GET, path, None).await
    }

    /// Writes.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.send(Method::POST, path, Some(body)).await
    }

    /// Every item of a list, page after page, at most `limit`.
    pub(crate) async fn list(&self, path: &str, limit: usize) -> anyhow::Result<Vec<Value>> {
        let mut items = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let separator = if path.contains('?') { '&' } else { '?' };
            let page = limit.saturating_sub(items.len()).clamp(1, 200);
            let mut next = format!("{path}{separator}page_size={page}");
            if let Some(token) = &token {
                next.push_str("&page_token=");
                next.push_str(&escape(token));
            }
            let mut answer = self.get(&next).await?;
            match answer["items"].take() {
                Value::Array(some) => items.extend(some),
                _ => bail!("{path}: the server's answer is no list"),
            }
            token = answer["next_page_token"].as_str().filter(|token| !token.is_empty()).map(str::to_owned);
            if token.is_none() || items.len() >= limit {
                return Ok(items);
            }
        }
    }

    /// Waits for an operation's end and tells each step as it begins; its failure is an error.
    pub(crate) async fn wait(&self, operation: &Value, told: &(dyn Fn(&str) + Sync)) -> anyhow::Result<Value> {
        let id = operation["id"].as_str().context("the server's answer is no operation")?;
        let mut begun = 0;
        loop {
            let now = self.get(&format!("/v1/operations/{id}")).await?;
            let steps = now["steps"].as_array().map(Vec::as_slice).unwrap_or_default();
            let title = self.language.pick("title", "title_zh");
            while let Some(step) = steps.get(begun).filter(|step| step["state"] != "pending") {
                told(step[title].as_str().unwrap_or_default());
                begun += 1;
            }
            match now["state"].as_str().unwrap_or_default() {
                "done" => return Ok(now),
                "failed" | "cancelled" => {
                    let failed = steps.iter().find(|step| step["state"] == "failed").cloned().unwrap_or_default();
                    let cause = failed["error"]["cause"].as_str().unwrap_or("it did not end well");
                    let remedy =
                        failed["error"][self.language.pick("remedy", "remedy_zh")].as_str().unwrap_or_default();
                    bail!("{}: {cause}; {remedy} (konsort operation show {id})", failed[title].as_str().unwrap_or(id));
                }
                _ => tokio::time::sleep(LOOK).await,
            }
        }
    }
}

/// A text as part of a path or query.
pub(crate) fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_in_paths_are_escaped() {
        assert_eq!(escape("a b/会?"), "a%20b%2F%E4%BC%9A%3F");
        assert!(Api::new("ftp://x", "k", None, Language::English).is_err());
        assert!(Api::new("https://x:1", "k", None, Language::English).is_err());
    }
}
