//! Broadcast and Deliver of one orderer.

use std::sync::Arc;

use bytes::Bytes;
use fabric_proto::common::{Block, Envelope, Status};
use fabric_proto::orderer::{atomic_broadcast_client::AtomicBroadcastClient, deliver_response};
use futures::stream;
use tonic::transport::Channel;

use crate::envelope::{self, Seek};
use crate::transport::MAX_MESSAGE_BYTES;
use crate::{ClientError, Endpoint, Signer};

/// A client of one orderer; clones share the connection.
#[derive(Clone)]
pub struct OrdererClient {
    service: AtomicBroadcastClient<Channel>,
    signer: Arc<dyn Signer>,
    address: String,
    tls_cert_hash: Bytes,
}

impl std::fmt::Debug for OrdererClient {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("OrdererClient").field("address", &self.address).finish_non_exhaustive()
    }
}

impl OrdererClient {
    /// Connects.
    pub async fn connect(endpoint: &Endpoint, signer: Arc<dyn Signer>) -> Result<Self, ClientError> {
        let channel = endpoint.connect().await?;
        Ok(Self::new(channel, endpoint, signer))
    }

    /// A client over an open connection.
    pub fn new(channel: Channel, endpoint: &Endpoint, signer: Arc<dyn Signer>) -> Self {
        let service = AtomicBroadcastClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Self { service, signer, address: endpoint.address().to_owned(), tls_cert_hash: endpoint.tls_cert_hash() }
    }

    /// The orderer's `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Sends one envelope and waits for the orderer's answer.
    pub async fn broadcast(&self, envelope: Envelope) -> Result<(), ClientError> {
        let mut answers = self
            .service
            .clone()
            .broadcast(stream::iter([envelope]))
            .await
            .map_err(|status| ClientError::refused("Broadcast", status))?
            .into_inner();
        let answer =
            answers.message().await.map_err(|status| ClientError::refused("Broadcast", status))?.ok_or_else(|| {
                ClientError::BadAnswer {
                    what: "the broadcast answer",
                    address: self.address.clone(),
                    reason: "the stream ended without one".into(),
                }
            })?;
        if answer.status == Status::Success as i32 {
            return Ok(());
        }
        Err(ClientError::Broadcast {
            address: self.address.clone(),
            status: status_name(answer.status),
            info: answer.info,
        })
    }

    /// Fetches one block; `None` when it does not exist (yet).
    pub async fn block(&self, channel: &str, at: Seek, best_effort: bool) -> Result<Option<Block>, ClientError> {
        let request = envelope::seek(&*self.signer, channel, at, at, best_effort, self.tls_cert_hash.clone());
        let mut answers = self
            .service
            .clone()
            .deliver(stream::iter([request]))
            .await
            .map_err(|status| ClientError::refused("Deliver", status))?
            .into_inner();
        let answer = answers.message().await.map_err(|status| ClientError::refused("Deliver", status))?;
        match answer.and_then(|answer| answer.r#type) {
            Some(deliver_response::Type::Block(block)) => Ok(Some(block)),
            Some(deliver_response::Type::Status(status)) => Err(ClientError::BadAnswer {
                what: "the block",
                address: self.address.clone(),
                reason: format!("can't read the block: {}", status_name(status)),
            }),
            None => Ok(None),
        }
    }

    /// The newest configuration of a channel.
    pub async fn config(&self, channel: &str) -> Result<fabric_proto::common::Config, ClientError> {
        let block = self.config_block(channel).await?;
        let (_, config) =
            fabric_channel::protoutil::config_of_block(&block).map_err(|error| ClientError::BadAnswer {
                what: "the configuration block",
                address: self.address.clone(),
                reason: error.to_string(),
            })?;
        Ok(config)
    }

    /// The newest configuration block of a channel.
    pub async fn config_block(&self, channel: &str) -> Result<Block, ClientError> {
        let missing = |what| ClientError::BadAnswer {
            what,
            address: self.address.clone(),
            reason: "the stream ended without it".into(),
        };
        let newest = self.block(channel, Seek::Newest, false).await?.ok_or_else(|| missing("the newest block"))?;
        let index = fabric_channel::protoutil::last_config_index(&newest).map_err(|error| ClientError::BadAnswer {
            what: "the newest block",
            address: self.address.clone(),
            reason: error.to_string(),
        })?;
        self.block(channel, Seek::Number(index), false).await?.ok_or_else(|| missing("the configuration block"))
    }
}

pub(crate) fn status_name(status: i32) -> String {
    Status::try_from(status).map_or_else(|_| status.to_string(), |status| status.as_str_name().to_owned())
}
