//! Fetching blocks from the ordering service and feeding them to the validation pipeline.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fabric_channel::protoutil;
use fabric_proto::common::{Envelope, Status};
use fabric_proto::orderer::atomic_broadcast_client::AtomicBroadcastClient;
use fabric_proto::orderer::deliver_response;
use fabric_validation::{Pipeline, PipelineOptions, ValidationError};
use konsort_node::{OsRandom, Random as _, Shutdown};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;

use crate::channel::Channel;
use crate::connections::{Connections, Endpoint, orderers};
use crate::local::Local;

/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Keeps one channel supplied.
#[derive(Debug)]
pub struct BlockSource {
    channel: Channel,
    local: Local,
    connections: Connections,
    first_pause: Duration,
}

/// How one connection to an orderer ended.
enum Ended {
    /// The orderer, or the way to it, gave up; blocks may have come before.
    Orderer { reason: String, progress: bool },
    /// The pipeline takes no more; its error comes by another way.
    Pipeline,
}

/// Whether the next attempt makes sense.
enum Next {
    Retry,
    Stop,
}

impl BlockSource {
    /// A source that starts pulling when it runs.
    pub fn new(channel: Channel, local: Local, connections: Connections, first_pause: Duration) -> Self {
        Self { channel, local, connections, first_pause }
    }

    /// Pulls, validates and commits until a stop is wished or the channel cannot go on.
    pub async fn run(self, shutdown: Shutdown) {
        let mut failures = 0u32;
        let mut turn = OsRandom.u64() as usize;
        while !shutdown.is_triggered() {
            if self.channel.halted().is_some() {
                return;
            }
            match self.pipeline(&mut turn, &mut failures, &shutdown).await {
                Next::Retry => self.pause(&mut failures, &shutdown).await,
                Next::Stop => return,
            }
        }
    }

    async fn pause(&self, failures: &mut u32, shutdown: &Shutdown) {
        let factor = 1.2f64.powi(i32::try_from(*failures).unwrap_or(i32::MAX).min(60));
        let pause = self.first_pause.mul_f64(factor).min(LONGEST_PAUSE);
        *failures = failures.saturating_add(1);
        tokio::select! {
            () = shutdown.triggered() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }

    /// Runs one pipeline over as many connections as it lasts.
    async fn pipeline(&self, turn: &mut usize, failures: &mut u32, shutdown: &Shutdown) -> Next {
        let (errors, mut failed) = mpsc::unbounded_channel();
        let channel = self.channel.clone();
        let options = PipelineOptions {
            known: Arc::clone(self.channel.known_signatures()),
            collections: self.channel.collections().clone(),
            ..PipelineOptions::default()
        };
        let sink = move |result: Result<fabric_validation::Committed, ValidationError>| match result {
            Ok(committed) => channel.committed(&committed),
            // The receiver is gone only when the source stopped.
            Err(error) => drop(errors.send(error)),
        };
        let ledger = self.channel.ledger().clone();
        let mut next = ledger.height();
        let pipeline = match Pipeline::start(ledger, self.channel.bundle(), options, sink) {
            Ok(pipeline) => Arc::new(pipeline),
            Err(error) => {
                self.channel.halt(&format!("cannot start the validation threads: {error}"));
                return Next::Stop;
            }
        };
        let mut fresh = 0usize;
        loop {
            let endpoints = orderers(&self.channel.bundle());
            if endpoints.is_empty() {
                tracing::warn!(channel = self.channel.id(), "the channel's configuration names no orderer address");
            } else {
                let endpoint = &endpoints[*turn % endpoints.len()];
                let ended = tokio::select! {
                    () = shutdown.triggered() => break,
                    ended = self.pull(endpoint, &pipeline, &mut next) => ended,
                };
                match ended {
                    Ended::Orderer { reason, progress } => {
                        if progress {
                            *failures = 0;
                            fresh = 0;
                        }
                        let label = self.connections.orderer_label(&endpoint.address);
                        tracing::warn!(channel = self.channel.id(), "disconnected from orderer {label}: {reason}");
                    }
                    Ended::Pipeline => {}
                }
                *turn = turn.wrapping_add(1);
            }
            if let Ok(error) = failed.try_recv() {
                return self.judge(&error);
            }
            // The other orderers are tried at once; a pause comes when all have failed.
            fresh += 1;
            if fresh.is_multiple_of(endpoints.len().max(1)) {
                self.pause(failures, shutdown).await;
            }
            if shutdown.is_triggered() {
                break;
            }
        }
        // What was received is still committed; blocking here would hold up other tasks.
        let finished = tokio::task::spawn_blocking(move || drop(pipeline)).await;
        if finished.is_err() {
            tracing::error!(channel = self.channel.id(), "the validation pipeline ended by a panic");
        }
        Next::Stop
    }

    /// A block that is wrong may come right from another orderer; anything else is ours and needs a person.
    fn judge(&self, error: &ValidationError) -> Next {
        match error {
            ValidationError::BlockBytes(_)
            | ValidationError::NoHeader
            | ValidationError::Number { .. }
            | ValidationError::PreviousHash { .. }
            | ValidationError::DataHash { .. }
            | ValidationError::Metadata { .. }
            | ValidationError::IllFormed { .. }
            | ValidationError::Signatures { .. }
            | ValidationError::BlockPolicy { .. } => {
                tracing::error!(channel = self.channel.id(), "block refused: {error}; asking another orderer");
                Next::Retry
            }
            other => {
                self.channel.halt(&other.to_string());
                Next::Stop
            }
        }
    }

    async fn pull(&self, endpoint: &Endpoint, pipeline: &Arc<Pipeline>, next: &mut u64) -> Ended {
        let mut progress = false;
        macro_rules! orderer {
            ($reason:expr) => {
                return Ended::Orderer { reason: $reason, progress }
            };
        }
        let transport = match self.connections.orderer(endpoint) {
            Ok(transport) => transport,
            Err(error) => orderer!(error.to_string()),
        };
        let mut client = AtomicBroadcastClient::new(transport)
            .max_decoding_message_size(konsort_node::MAX_MESSAGE_SIZE)
            .max_encoding_message_size(konsort_node::MAX_MESSAGE_SIZE);
        // The request side stays open: an orderer takes its end for the end of the session.
        let requests = tokio_stream::once(self.request(*next)).chain(tokio_stream::pending());
        let mut responses = match client.deliver(requests).await {
            Ok(response) => response.into_inner(),
            Err(status) => orderer!(status_text(&status)),
        };
        let label = self.connections.orderer_label(&endpoint.address);
        tracing::info!(channel = self.channel.id(), "pulling next blocks from orderer {label} at block {next}");
        loop {
            let response = match responses.message().await {
                Ok(Some(response)) => response,
                Ok(None) => orderer!("it ended the stream".to_owned()),
                Err(status) => orderer!(status_text(&status)),
            };
            match response.r#type {
                Some(deliver_response::Type::Block(block)) => {
                    let bytes = Bytes::from(block.encode_to_vec());
                    let target = Arc::clone(pipeline);
                    match tokio::task::spawn_blocking(move || target.submit(bytes)).await {
                        Ok(Ok(())) => {}
                        Ok(Err(_)) | Err(_) => return Ended::Pipeline,
                    }
                    *next += 1;
                    progress = true;
                }
                Some(deliver_response::Type::Status(code)) => {
                    let name = Status::try_from(code).map_or("unknown", |status| status.as_str_name());
                    orderer!(format!("it answered with status {name}"));
                }
                None => orderer!("it sent an empty answer".to_owned()),
            }
        }
    }

    fn request(&self, from: u64) -> Envelope {
        let info = protoutil::seek(protoutil::seek_specified(from), protoutil::seek_specified(u64::MAX));
        let hash = self
            .connections
            .identity()
            .map(|identity| Bytes::copy_from_slice(&konsort_pki::tls_hash(&identity.certificate())));
        protoutil::seek_envelope(self.channel.id(), Some(self.local.signer()), &info, hash)
    }
}

pub(crate) fn status_text(status: &tonic::Status) -> String {
    let mut text = status.message().to_owned();
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        source = error.source();
    }
    text
}
