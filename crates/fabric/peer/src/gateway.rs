//! The gateway: one service by which a client endorses, submits and follows its transactions.
//!
//! Codes, texts and details of errors are upstream's, because clients branch on them. The peer's own endorser is called directly;
//! other peers and orderers are called over shared connections.

mod broadcast;
mod endorse;
mod errors;
mod evaluate;
mod events;
mod peers;
mod plan;
mod submit;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use fabric_channel::policy::SignedData;
use fabric_proto::gateway::{
    ChaincodeEventsResponse, CommitStatusRequest, CommitStatusResponse, EndorseRequest, EndorseResponse,
    EvaluateRequest, EvaluateResponse, SignedChaincodeEventsRequest, SignedCommitStatusRequest, SubmitRequest,
    SubmitResponse, gateway_server,
};
use konsort_node::Shutdown;
use prost::Message as _;
use tokio::sync::Semaphore;
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use crate::acl::AccessControl;
use crate::channel::{Channel, Channels};
use crate::config::GatewaySettings;
use crate::connections::Connections;
use crate::endorser::Endorser;
use crate::gossip::Gossip;
use broadcast::Broadcasts;
use peers::{Node, Registry};

/// What a gateway is made of.
pub struct GatewayParts {
    /// The peer's own endorser.
    pub endorser: Endorser,
    /// The channels.
    pub channels: Channels,
    /// Connections to other nodes.
    pub connections: Connections,
    /// What is known of other peers.
    pub gossip: Gossip,
    /// The peer's organisation.
    pub mspid: String,
    /// How this peer is named in error details: its external endpoint.
    pub address: String,
    /// Timeouts.
    pub settings: GatewaySettings,
    /// The most requests at once; 0 is no limit.
    pub limit: usize,
    /// Ends open streams.
    pub shutdown: Shutdown,
}

impl std::fmt::Debug for GatewayParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GatewayParts").field("mspid", &self.mspid).finish_non_exhaustive()
    }
}

/// The service `gateway.Gateway`. Clones share everything.
#[derive(Clone)]
pub struct Gateway(Arc<Inner>);

struct Inner {
    access: AccessControl,
    channels: Channels,
    registry: Registry,
    broadcasts: Broadcasts,
    settings: GatewaySettings,
    limit: usize,
    permits: Arc<Semaphore>,
    shutdown: Shutdown,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}

impl Gateway {
    /// Puts a gateway together.
    pub fn new(parts: GatewayParts) -> Self {
        let access = parts.endorser.access().clone();
        let registry = Registry::new(
            parts.endorser,
            parts.channels.clone(),
            parts.connections.clone(),
            parts.gossip,
            Node::own(parts.address, parts.mspid),
        );
        let permits = if parts.limit == 0 { Semaphore::MAX_PERMITS } else { parts.limit };
        Self(Arc::new(Inner {
            access,
            channels: parts.channels,
            registry,
            broadcasts: Broadcasts::new(parts.connections),
            settings: parts.settings,
            limit: parts.limit,
            permits: Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS))),
            shutdown: parts.shutdown,
        }))
    }

    /// The gRPC service.
    pub fn service(&self, max_message_size: usize) -> gateway_server::GatewayServer<Self> {
        gateway_server::GatewayServer::new(self.clone())
            .max_decoding_message_size(max_message_size)
            .max_encoding_message_size(max_message_size)
    }

    fn permit(&self) -> Result<tokio::sync::OwnedSemaphorePermit, Status> {
        Arc::clone(&self.0.permits).try_acquire_owned().map_err(|_| {
            let text =
                format!("too many requests for /gateway.Gateway, exceeding concurrency limit ({})", self.0.limit);
            tracing::error!("{text}");
            Status::unknown(text)
        })
    }
}

impl Inner {
    /// The channel and the caller's right to what `resource` guards there.
    fn authorized(&self, resource: &str, channel: &str, data: &SignedData) -> Result<Channel, Status> {
        let Some(found) = self.channels.get(channel) else {
            let text = format!("failed to get policy manager for channel [{channel}]");
            return Err(Status::permission_denied(text));
        };
        self.access
            .check(resource, Some(&found.bundle()), data)
            .map_err(|error| Status::permission_denied(error.to_string()))?;
        Ok(found)
    }

    async fn commit_status(&self, signed: SignedCommitStatusRequest) -> Result<CommitStatusResponse, Status> {
        if signed.request.is_empty() {
            return Err(Status::invalid_argument("a commit status request is required"));
        }
        let request = CommitStatusRequest::decode(signed.request.clone())
            .map_err(|error| Status::invalid_argument(format!("invalid status request: {error}")))?;
        if request.identity.is_empty() {
            return Err(Status::invalid_argument("no identity provided"));
        }
        if request.channel_id.is_empty() {
            return Err(Status::invalid_argument("no channel ID provided"));
        }
        if request.transaction_id.is_empty() {
            return Err(Status::invalid_argument("transaction ID should not be empty"));
        }
        let data = SignedData { data: signed.request, identity: request.identity, signature: signed.signature };
        let channel = self.authorized("gateway/CommitStatus", &request.channel_id, &data)?;
        let status = tokio::select! {
            status = channel.wait_for(&request.transaction_id) => status,
            () = self.shutdown.triggered() => return Err(Status::unavailable("the peer is stopping")),
        };
        let status = status.map_err(|error| Status::aborted(error.to_string()))?;
        Ok(CommitStatusResponse { result: status.code.into(), block_number: status.block })
    }
}

/// How long the caller will wait, from the request's `grpc-timeout`.
fn deadline<T>(request: &Request<T>) -> Duration {
    const FOR_EVER: Duration = Duration::from_hours(365 * 24);
    let parsed = request.metadata().get("grpc-timeout").and_then(|value| value.to_str().ok()).and_then(|text| {
        let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let number: u64 = number.parse().ok().filter(|_| number.len() <= 8)?;
        Some(match unit {
            "H" => Duration::from_hours(number),
            "M" => Duration::from_mins(number),
            "S" => Duration::from_secs(number),
            "m" => Duration::from_millis(number),
            "u" => Duration::from_micros(number),
            "n" => Duration::from_nanos(number),
            _ => return None,
        })
    });
    parsed.unwrap_or(FOR_EVER).min(FOR_EVER)
}

#[tonic::async_trait]
impl gateway_server::Gateway for Gateway {
    type ChaincodeEventsStream = Pin<Box<dyn Stream<Item = Result<ChaincodeEventsResponse, Status>> + Send>>;

    async fn endorse(&self, request: Request<EndorseRequest>) -> Result<Response<EndorseResponse>, Status> {
        let _permit = self.permit()?;
        let limit = deadline(&request);
        endorse::endorse(&self.0, request.into_inner(), limit).await.map(Response::new)
    }

    async fn submit(&self, request: Request<SubmitRequest>) -> Result<Response<SubmitResponse>, Status> {
        let _permit = self.permit()?;
        let limit = deadline(&request);
        submit::submit(&self.0, request.into_inner(), limit).await.map(Response::new)
    }

    async fn commit_status(
        &self,
        request: Request<SignedCommitStatusRequest>,
    ) -> Result<Response<CommitStatusResponse>, Status> {
        let _permit = self.permit()?;
        let limit = deadline(&request);
        match tokio::time::timeout(limit, self.0.commit_status(request.into_inner())).await {
            Ok(result) => result.map(Response::new),
            Err(_) => Err(Status::deadline_exceeded("context deadline exceeded")),
        }
    }

    async fn evaluate(&self, request: Request<EvaluateRequest>) -> Result<Response<EvaluateResponse>, Status> {
        let _permit = self.permit()?;
        let limit = deadline(&request);
        evaluate::evaluate(&self.0, request.into_inner(), limit).await.map(Response::new)
    }

    async fn chaincode_events(
        &self,
        request: Request<SignedChaincodeEventsRequest>,
    ) -> Result<Response<Self::ChaincodeEventsStream>, Status> {
        let permit = self.permit()?;
        events::open(&self.0, request.into_inner(), permit).map(Response::new)
    }
}
