//! Deliver: blocks as they are stored, to whoever may read them.

use std::time::Duration;

use bytes::Bytes;
use fabric_channel::protoutil::{self, SignedData};
use fabric_proto::common::{Block, ChannelHeader, Envelope, Status};
use fabric_proto::orderer::seek_info::{SeekBehavior, SeekContentType, SeekErrorResponse};
use fabric_proto::orderer::{SeekInfo, SeekPosition, seek_position};
use konsort_node::ConnectionInfo;
use prost::Message as _;
use tokio::sync::{mpsc, watch};
use tonic::Streaming;

use crate::channel::{Channel, decode_block};
use crate::filters;
use crate::metrics::OrdererMetrics;
use crate::registrar::Registrar;

/// One answer of the deliver service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliverItem {
    /// How a request ended.
    Status(Status),
    /// A serialized block, sent as it is.
    Block(Bytes),
}

/// What the deliver service needs to know besides the channels.
#[derive(Clone, Debug)]
pub(crate) struct DeliverRules {
    /// How far a request's time may be off.
    pub time_window: Duration,
    /// Requests must name the hash of the caller's TLS certificate.
    pub bind_to_tls: bool,
    /// Expired identities may read on.
    pub ignore_expiration: bool,
}

/// Serves one stream: request after request until one does not end well.
pub(crate) async fn serve(
    registrar: Registrar,
    rules: DeliverRules,
    metrics: OrdererMetrics,
    connection: Option<ConnectionInfo>,
    mut requests: Streaming<Envelope>,
    answers: mpsc::Sender<Result<DeliverItem, tonic::Status>>,
) {
    metrics.streams_opened.with(&[]).inc();
    loop {
        let request = match requests.message().await {
            Ok(Some(request)) => request,
            Ok(None) => break,
            Err(status) => {
                // A caller that is gone does not read it.
                let _gone = answers.send(Err(konsort_node::unreadable(status))).await;
                break;
            }
        };
        let session = Session {
            registrar: &registrar,
            rules: &rules,
            metrics: &metrics,
            connection: connection.as_ref(),
            answers: &answers,
        };
        let Some(status) = session.request(&request).await else { break };
        if answers.send(Ok(DeliverItem::Status(status))).await.is_err() || status != Status::Success {
            break;
        }
    }
    metrics.streams_closed.with(&[]).inc();
}

struct Session<'a> {
    registrar: &'a Registrar,
    rules: &'a DeliverRules,
    metrics: &'a OrdererMetrics,
    connection: Option<&'a ConnectionInfo>,
    answers: &'a mpsc::Sender<Result<DeliverItem, tonic::Status>>,
}

/// Whether a caller may still read; checked again whenever the configuration changes.
struct Access<'a> {
    channel: &'a Channel,
    signed: SignedData,
    ends: i64,
    sequence: Option<u64>,
}

impl Access<'_> {
    fn evaluate(&mut self) -> Result<(), String> {
        let now = filters::unix_seconds();
        if now > self.ends {
            return Err(format!("deliver client identity expired {} s before", now - self.ends));
        }
        let bundle = self.channel.bundle();
        if self.sequence.is_some_and(|sequence| bundle.sequence() <= sequence) {
            return Ok(());
        }
        self.sequence = Some(bundle.sequence());
        filters::signature(std::slice::from_ref(&self.signed), &bundle, "Readers").map_err(|e| e.to_string())
    }
}

impl Session<'_> {
    /// The status one request ends with; none when the caller has gone.
    async fn request(&self, envelope: &Envelope) -> Option<Status> {
        let (header, seek) = match self.parse(envelope) {
            Ok(parsed) => parsed,
            Err(reason) => {
                tracing::warn!("error parsing a deliver request: {reason}");
                return Some(Status::BadRequest);
            }
        };
        let Some((channel, consenter)) = self.registrar.serving(&header.channel_id) else {
            tracing::debug!(channel = header.channel_id, "Rejecting deliver because the channel was not found");
            return Some(Status::NotFound);
        };
        let labels = [channel.id(), "false", "block"];
        self.metrics.requests_received.with(&labels).inc();
        let errored = consenter.errored();
        let status = self.blocks(envelope, &seek, &channel, errored).await;
        let success = if status == Some(Status::Success) { "true" } else { "false" };
        self.metrics.requests_completed.with(&[channel.id(), "false", "block", success]).inc();
        status
    }

    fn parse(&self, envelope: &Envelope) -> Result<(ChannelHeader, Bytes), String> {
        let payload = protoutil::payload(envelope).map_err(|e| e.to_string())?;
        let header = payload.header.ok_or("envelope has no header")?;
        let channel: ChannelHeader =
            protoutil::decode("ChannelHeader", &header.channel_header).map_err(|e| e.to_string())?;
        protoutil::signature_header(envelope).map_err(|e| e.to_string())?;
        let sent = channel.timestamp.ok_or("channel header in envelope must contain timestamp")?;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let apart = (now.as_nanos() as i128 - (i128::from(sent.seconds) * 1_000_000_000 + i128::from(sent.nanos)))
            .unsigned_abs();
        if apart > self.rules.time_window.as_nanos() {
            return Err(format!(
                "envelope timestamp is more than {:?} apart from current server time",
                self.rules.time_window
            ));
        }
        if self.rules.bind_to_tls {
            if channel.tls_cert_hash.is_empty() {
                return Err("client didn't include its TLS cert hash".to_owned());
            }
            let certificate = self
                .connection
                .and_then(ConnectionInfo::peer_certificate)
                .ok_or("client didn't send a TLS certificate")?;
            if channel.tls_cert_hash[..] != konsort_pki::tls_hash(certificate) {
                return Err("claimed TLS cert hash doesn't match the one of the TLS connection".to_owned());
            }
        }
        Ok((channel, payload.data))
    }

    async fn blocks(
        &self,
        envelope: &Envelope,
        seek: &Bytes,
        channel: &Channel,
        mut errored: watch::Receiver<bool>,
    ) -> Option<Status> {
        let Ok(seek) = SeekInfo::decode(seek.clone()) else {
            tracing::warn!(channel = channel.id(), "Received a signed deliver request with malformed seekInfo payload");
            return Some(Status::BadRequest);
        };
        let strict = seek.error_response() != SeekErrorResponse::BestEffort;
        if strict && *errored.borrow() {
            tracing::warn!(channel = channel.id(), "Rejecting deliver request because of consenter error");
            return Some(Status::ServiceUnavailable);
        }
        let Ok(signed) = protoutil::envelope_signed_data(envelope) else { return Some(Status::BadRequest) };
        let known = channel.bundle().msp_manager().deserialize(&signed.identity);
        let ends = known.map_or(i64::MAX, |identity| identity.expires_at());
        let ends = if self.rules.ignore_expiration { i64::MAX } else { ends };
        let mut access = Access { channel, signed, ends, sequence: None };
        if let Err(reason) = access.evaluate() {
            tracing::warn!(channel = channel.id(), "Client is not authorized: {reason}");
            return Some(Status::Forbidden);
        }
        let (Some(start), Some(stop)) = (&seek.start, &seek.stop) else {
            tracing::warn!(channel = channel.id(), "Received seekInfo message with missing start or stop");
            return Some(Status::BadRequest);
        };
        let height = channel.blocks().height();
        let first = first_block(start, height);
        let number = first.unwrap_or(0);
        let last = match &stop.r#type {
            Some(seek_position::Type::Oldest(_)) => number,
            // Asked for the newest alone, a block that arrives meanwhile must not make it two.
            Some(seek_position::Type::Newest(_)) if start == stop => number,
            Some(seek_position::Type::Newest(_)) => height - 1,
            Some(seek_position::Type::Specified(specified)) if specified.number < number => {
                tracing::warn!(
                    channel = channel.id(),
                    "Received invalid seekInfo message: start number {number} greater than stop number {}",
                    specified.number
                );
                return Some(Status::BadRequest);
            }
            Some(seek_position::Type::Specified(specified)) => specified.number,
            // Upstream's reading of a stop it does not know.
            Some(seek_position::Type::NextCommit(_)) | None => 0,
        };
        let Some(mut next) = first else { return Some(Status::NotFound) };
        let headers_only = seek.content_type() == SeekContentType::HeaderWithSig;
        let fail = seek.behavior() == SeekBehavior::FailIfNotReady;
        let mut height = channel.height_watch();
        loop {
            while next >= *height.borrow_and_update() {
                if fail {
                    tracing::warn!(
                        channel = channel.id(),
                        "Block {next} not found, block number greater than chain length bounds"
                    );
                    return Some(Status::NotFound);
                }
                tokio::select! {
                    changed = height.changed() => if changed.is_err() { return Some(Status::ServiceUnavailable) },
                    () = self.answers.closed() => return None,
                    () = is_true(&mut errored), if strict => {
                        tracing::warn!(channel = channel.id(), "Aborting deliver for request because the backing consensus implementation indicates an error");
                        return Some(Status::ServiceUnavailable);
                    }
                }
            }
            let stored = match channel.blocks().block(next) {
                Ok(Some(stored)) => stored,
                Ok(None) => return Some(Status::NotFound),
                Err(error) => {
                    tracing::error!(channel = channel.id(), "cannot read block [{next}]: {error}");
                    return Some(Status::ServiceUnavailable);
                }
            };
            if let Err(reason) = access.evaluate() {
                tracing::warn!(channel = channel.id(), "Client authorization revoked for deliver request: {reason}");
                return Some(Status::Forbidden);
            }
            let bytes = if headers_only { without_data(stored) } else { stored };
            self.answers.send(Ok(DeliverItem::Block(bytes))).await.ok()?;
            self.metrics.blocks_sent.with(&[channel.id(), "false", "block"]).inc();
            if next == last {
                return Some(Status::Success);
            }
            next += 1;
        }
    }
}

/// Where delivery begins; none when there is no such place.
fn first_block(start: &SeekPosition, height: u64) -> Option<u64> {
    match start.r#type.as_ref()? {
        seek_position::Type::Oldest(_) => Some(0),
        seek_position::Type::Newest(_) => Some(height - 1),
        seek_position::Type::Specified(specified) => (specified.number <= height).then_some(specified.number),
        seek_position::Type::NextCommit(_) => Some(height),
    }
}

async fn is_true(errored: &mut watch::Receiver<bool>) {
    if errored.wait_for(|errored| *errored).await.is_err() {
        // The consenter has ended; what it left tells the rest.
    }
}

/// The block without its transactions, which attest delivery; configuration blocks stay whole.
fn without_data(stored: Bytes) -> Bytes {
    match decode_block(stored.clone()) {
        Ok(block) if !protoutil::is_config_block(&block) => Block { data: None, ..block }.encode_to_vec().into(),
        _ => stored,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_upstreams() {
        assert_eq!(first_block(&protoutil::seek_oldest(), 5), Some(0));
        assert_eq!(first_block(&protoutil::seek_newest(), 5), Some(4));
        assert_eq!(first_block(&protoutil::seek_specified(5), 5), Some(5));
        assert_eq!(first_block(&protoutil::seek_specified(6), 5), None);
        assert_eq!(first_block(&SeekPosition::default(), 5), None);
    }
}
