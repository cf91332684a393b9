//! Fetching blocks from other orderers, each checked before it is kept.

use std::sync::Arc;
use std::time::Duration;

use fabric_channel::config::Bundle;
use fabric_channel::protoutil::{self, Signer};
use fabric_proto::common::Block;
use fabric_proto::orderer::atomic_broadcast_client::AtomicBroadcastClient;
use fabric_proto::orderer::seek_info::SeekErrorResponse;
use fabric_proto::orderer::{DeliverResponse, SeekInfo, SeekPosition, deliver_response};
use tokio_stream::StreamExt as _;
use tonic::Streaming;

use crate::channel::Channel;
use crate::cluster::Cluster;
use crate::error::ChannelError;
use crate::raft::RaftNode;

const PAUSE: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(30);

/// Fetches consecutive blocks of one channel.
#[derive(Debug)]
pub(crate) struct Puller {
    channel: Arc<Channel>,
    node: RaftNode,
    stream: Option<(u64, Streaming<DeliverResponse>)>,
    turn: usize,
}

/// Where blocks can be had: the other orderers' addresses of the present configuration.
fn endpoints(bundle: &Bundle, own_certificate: &[u8]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut own = Vec::new();
    let own_key = crate::raft::key_of_der(own_certificate);
    for consenter in crate::raft::metadata_of(bundle).map(|s| s.consenters).unwrap_or_default() {
        let address = format!("{}:{}", consenter.host, consenter.port);
        // A node that asks itself would wait for itself.
        if crate::raft::key_of_pem(&consenter.server_tls_cert) == own_key {
            own.push(address);
        } else {
            all.push(address);
        }
    }
    if let Some(orderer) = bundle.orderer() {
        all.extend(orderer.endpoints().map(|(_, address)| address.to_owned()));
    }
    all.extend(bundle.orderer_addresses().iter().cloned());
    let mut seen = std::collections::BTreeSet::new();
    all.retain(|address| !own.contains(address) && seen.insert(address.clone()));
    all
}

/// Whether a block follows the one before it and carries the signatures the configuration asks for.
pub(crate) fn verify(block: &Block, number: u64, previous_hash: &[u8], bundle: &Bundle) -> Result<(), ChannelError> {
    let wrong = |text: String| Err(ChannelError::unusable(format!("block [{number}] from another orderer: {text}")));
    let (Some(header), Some(data), Some(metadata)) = (&block.header, &block.data, &block.metadata) else {
        return wrong("it lacks header, data or metadata".to_owned());
    };
    if header.number != number {
        return wrong(format!("it has number {}", header.number));
    }
    if header.previous_hash != previous_hash {
        return wrong("it does not follow the previous block".to_owned());
    }
    if header.data_hash != protoutil::data_hash(&data.data)[..] {
        return wrong("its data do not match its header".to_owned());
    }
    let signatures = bundle.block_signature_set(header, metadata)?;
    let policy = bundle.policies().policy("/Channel/Orderer/BlockValidation");
    policy
        .evaluate(&signatures)
        .or_else(|error| wrong(format!("its signatures do not satisfy the policy BlockValidation: {error}")))
}

impl Puller {
    pub(crate) fn new(channel: Arc<Channel>, node: RaftNode) -> Self {
        Self { channel, node, stream: None, turn: 0 }
    }

    /// The block with this number, however long it takes; it must be the next one of the ledger.
    pub(crate) async fn next(&mut self, number: u64) -> Block {
        loop {
            match self.attempt(number).await {
                Ok(block) => return block,
                Err(error) => {
                    tracing::warn!(channel = self.channel.id(), "cannot fetch block [{number}]: {error}");
                    self.stream = None;
                    self.turn += 1;
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn attempt(&mut self, number: u64) -> Result<Block, ChannelError> {
        if self.stream.as_ref().is_none_or(|(next, _)| *next != number) {
            self.stream = Some((number, self.open(number).await.map_err(ChannelError::Unusable)?));
        }
        let Some((next, stream)) = &mut self.stream else { return Err(ChannelError::unusable("no connection")) };
        let message = tokio::time::timeout(PATIENCE, stream.message()).await;
        let message = message.map_err(|_| ChannelError::unusable("no block came within 30 s"))?;
        let message = message.map_err(|status| ChannelError::unusable(status.message()))?;
        let block = match message.and_then(|m| m.r#type) {
            Some(deliver_response::Type::Block(block)) => block,
            Some(deliver_response::Type::Status(status)) => {
                return Err(ChannelError::unusable(format!("the other orderer answered with status {status}")));
            }
            None => return Err(ChannelError::unusable("the other orderer closed the stream")),
        };
        verify(&block, number, &self.channel.blocks().last_hash(), &self.channel.bundle())?;
        *next = number + 1;
        Ok(block)
    }

    async fn open(&self, number: u64) -> Result<Streaming<DeliverResponse>, String> {
        let endpoints = endpoints(&self.channel.bundle(), &self.node.certificate);
        let Some(address) = endpoints.get(self.turn % endpoints.len().max(1)) else {
            return Err("the channel's configuration names no other orderers".to_owned());
        };
        let last = protoutil::seek_specified(u64::MAX);
        open(
            address,
            self.channel.id(),
            self.channel.signer(),
            &self.node.cluster,
            protoutil::seek_specified(number),
            last,
        )
        .await
    }
}

async fn open(
    address: &str,
    channel: &str,
    signer: &dyn Signer,
    cluster: &Cluster,
    from: SeekPosition,
    to: SeekPosition,
) -> Result<Streaming<DeliverResponse>, String> {
    let dialed = konsort_node::dial_checked(address, &cluster.dial_options()).await.map_err(|e| e.to_string())?;
    let limit = konsort_node::MAX_MESSAGE_SIZE;
    let mut client =
        AtomicBroadcastClient::new(dialed.channel).max_decoding_message_size(limit).max_encoding_message_size(limit);
    let info = SeekInfo { error_response: SeekErrorResponse::BestEffort as i32, ..protoutil::seek(from, to) };
    let request = protoutil::seek_envelope(channel, Some(signer), &info, cluster.certificate_hash());
    // The stream must stay open: its end would end the answers too.
    let requests = tokio_stream::once(request).chain(tokio_stream::pending());
    let stream = client.deliver(requests).await.map_err(|status| status.message().to_owned())?;
    Ok(stream.into_inner())
}

/// The first block of a channel that is known by a later configuration block only; tried until it comes.
pub(crate) async fn genesis(
    channel: &str,
    join_block: &Block,
    signer: &dyn Signer,
    node: &RaftNode,
) -> Result<Block, ChannelError> {
    let endpoints = endpoints(&Bundle::from_config_block(join_block)?, &node.certificate);
    if endpoints.is_empty() {
        return Err(ChannelError::unusable("the join block names no orderers"));
    }
    for address in endpoints.iter().cycle() {
        match fetch_first(address, channel, signer, &node.cluster).await {
            Ok(block) => return Ok(block),
            Err(error) => tracing::warn!(channel, "cannot fetch the first block from {address}: {error}"),
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(ChannelError::unusable("the join block names no orderers"))
}

async fn fetch_first(address: &str, channel: &str, signer: &dyn Signer, cluster: &Cluster) -> Result<Block, String> {
    let block = fetch(address, channel, signer, cluster, protoutil::seek_oldest()).await?;
    if block.header.as_ref().is_some_and(|h| h.number == 0) {
        Ok(block)
    } else {
        Err("it is not a first block".to_owned())
    }
}

/// One block whose data match its header; nothing else about it is checked.
async fn fetch(
    address: &str,
    channel: &str,
    signer: &dyn Signer,
    cluster: &Cluster,
    at: SeekPosition,
) -> Result<Block, String> {
    let mut stream = open(address, channel, signer, cluster, at, at).await?;
    let message =
        tokio::time::timeout(PATIENCE, stream.message()).await.map_err(|_| "no block came within 30 s".to_owned())?;
    match message.map_err(|status| status.message().to_owned())?.and_then(|m| m.r#type) {
        Some(deliver_response::Type::Block(block)) => {
            let hash = block.data.as_ref().map(|d| protoutil::data_hash(&d.data));
            let claimed = block.header.as_ref().map(|h| h.data_hash.clone()).unwrap_or_default();
            if hash.is_some_and(|h| h[..] == claimed) {
                Ok(block)
            } else {
                Err("its data do not match its header".to_owned())
            }
        }
        other => Err(format!("the answer was {other:?}")),
    }
}

/// Whether another orderer's newest configuration of the channel does not list this node as a consenter.
///
/// The configuration must carry the signatures that this node's own configuration asks of blocks.
pub(crate) async fn removed_from(channel: &Channel, node: &RaftNode) -> bool {
    let bundle = channel.bundle();
    for address in endpoints(&bundle, &node.certificate) {
        match newest_config(&address, channel, &node.cluster).await {
            Err(error) => tracing::debug!(channel = channel.id(), "no configuration from {address}: {error}"),
            Ok(block) => match crate::raft::is_member(&block, &node.certificate) {
                Ok(false) => return true,
                Ok(true) => {
                    tracing::info!(channel = channel.id(), "{address} still counts this node among the consenters");
                }
                Err(error) => {
                    tracing::warn!(channel = channel.id(), "the configuration of {address} cannot be read: {error}");
                }
            },
        }
    }
    false
}

async fn newest_config(address: &str, channel: &Channel, cluster: &Cluster) -> Result<Block, String> {
    let newest = fetch(address, channel.id(), channel.signer(), cluster, protoutil::seek_newest()).await?;
    let number = protoutil::last_config_index(&newest).map_err(|e| e.to_string())?;
    if number < channel.blocks().height() {
        return Err("it has no newer configuration".to_owned());
    }
    let block = fetch(address, channel.id(), channel.signer(), cluster, protoutil::seek_specified(number)).await?;
    let (Some(header), Some(metadata)) = (&block.header, &block.metadata) else {
        return Err("the block lacks a header".to_owned());
    };
    let bundle = channel.bundle();
    let signatures = bundle.block_signature_set(header, metadata).map_err(|e| e.to_string())?;
    let policy = bundle.policies().policy("/Channel/Orderer/BlockValidation");
    policy
        .evaluate(&signatures)
        .map_err(|e| format!("its signatures do not satisfy the policy BlockValidation: {e}"))?;
    Ok(block)
}
