//! The channel participation REST interface of one orderer (what `osnadmin` calls).

use bytes::Bytes;
use http::{Method, Request, header};

use crate::transport::MAX_MESSAGE_BYTES;
use crate::{ClientError, Endpoint};

const CHANNELS: &str = "/participation/v1/channels";

/// A client of an orderer's admin listener. It connects per call: calls are rare, and the listener closes idle connections.
#[derive(Debug, Clone)]
pub struct ParticipationClient {
    endpoint: Endpoint,
}

/// An HTTP answer as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParticipationAnswer {
    /// HTTP status.
    pub status: u16,
    /// JSON text, or a serialized block for [`ParticipationClient::fetch`].
    pub body: Bytes,
}

impl ParticipationAnswer {
    /// The answer, or its error text when the status is not a success.
    pub fn success(self) -> Result<Bytes, ClientError> {
        if (200..300).contains(&self.status) {
            return Ok(self.body);
        }
        let text = serde_json::from_slice::<serde_json::Value>(&self.body)
            .ok()
            .and_then(|value| value.get("error").and_then(|error| error.as_str().map(str::to_owned)))
            .unwrap_or_else(|| String::from_utf8_lossy(&self.body).into_owned());
        Err(ClientError::Input(format!("orderer admin answered {}: {text}", self.status)))
    }
}

impl ParticipationClient {
    /// A client of the admin listener at `endpoint`.
    pub fn new(endpoint: Endpoint) -> Self {
        Self { endpoint }
    }

    /// Joins a channel with a genesis or configuration block.
    pub async fn join(&self, block: &[u8]) -> Result<ParticipationAnswer, ClientError> {
        self.upload(Method::POST, "config-block", "config.block", block).await
    }

    /// Submits a signed configuration update.
    pub async fn update(&self, envelope: &[u8]) -> Result<ParticipationAnswer, ClientError> {
        self.upload(Method::PUT, "config-update-envelope", "config-update.envelope", envelope).await
    }

    /// All channels.
    pub async fn list(&self) -> Result<ParticipationAnswer, ClientError> {
        self.call(Method::GET, CHANNELS, None, Bytes::new()).await
    }

    /// One channel.
    pub async fn info(&self, channel: &str) -> Result<ParticipationAnswer, ClientError> {
        self.call(Method::GET, &format!("{CHANNELS}/{channel}"), None, Bytes::new()).await
    }

    /// Leaves a channel and removes its data.
    pub async fn remove(&self, channel: &str) -> Result<ParticipationAnswer, ClientError> {
        self.call(Method::DELETE, &format!("{CHANNELS}/{channel}"), None, Bytes::new()).await
    }

    /// A block: `newest`, `oldest`, `config` or a number.
    pub async fn fetch(&self, channel: &str, block: &str) -> Result<ParticipationAnswer, ClientError> {
        self.call(Method::GET, &format!("{CHANNELS}/{channel}/blocks/{block}"), None, Bytes::new()).await
    }

    async fn upload(
        &self,
        method: Method,
        field: &str,
        file: &str,
        content: &[u8],
    ) -> Result<ParticipationAnswer, ClientError> {
        let boundary = hex::encode(konsort_crypto::random_bytes::<30>());
        let mut body = Vec::with_capacity(content.len() + 512);
        body.extend_from_slice(
            format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"{file}\"\r\n\
                 Content-Type: application/octet-stream\r\n\r\n"
            )
            .as_bytes(),
        );
        body.extend_from_slice(content);
        body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        let kind = format!("multipart/form-data; boundary={boundary}");
        self.call(method, CHANNELS, Some(kind), body.into()).await
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        content_type: Option<String>,
        body: Bytes,
    ) -> Result<ParticipationAnswer, ClientError> {
        let address = self.endpoint.address().to_owned();
        let failed = |reason: String| ClientError::Connect { address: address.clone(), reason };
        let mut request = Request::builder().method(method).uri(path);
        if let Some(kind) = content_type {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        let request = request.body(body).map_err(|error| failed(error.to_string()))?;
        let answer = konsort_node::http_request(&address, &self.endpoint.options()?, request, MAX_MESSAGE_BYTES)
            .await
            .map_err(|error| self.endpoint.failed(&error))?;
        let (status, body) = (answer.status().as_u16(), answer.into_body());
        Ok(ParticipationAnswer { status, body })
    }
}
