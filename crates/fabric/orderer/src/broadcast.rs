//! Broadcast: messages in, a status each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fabric_channel::protoutil;
use fabric_proto::common::{Envelope, HeaderType, Status};
use fabric_proto::orderer::BroadcastResponse;
use futures::StreamExt as _;
use tokio::sync::mpsc;
use tonic::Streaming;

use crate::channel::Channel;
use crate::consenter::{Consenter, Submission};
use crate::filters::Rejection;
use crate::metrics::OrdererMetrics;
use crate::registrar::Registrar;

/// Messages of one stream whose signatures are checked at the same time.
const CHECKED_AT_ONCE: usize = 32;

/// A message that passed the filters, or the answer to one that did not.
struct Checked {
    channel: String,
    kind: &'static str,
    took: Duration,
    outcome: Result<(Arc<dyn Consenter>, Submission), BroadcastResponse>,
}

fn refusal(status: Status, info: impl ToString) -> BroadcastResponse {
    BroadcastResponse { status: status as i32, info: info.to_string() }
}

/// Answers one stream; messages are checked side by side and ordered as they came.
pub(crate) async fn serve(
    registrar: Registrar,
    metrics: OrdererMetrics,
    requests: Streaming<Envelope>,
    answers: mpsc::Sender<Result<BroadcastResponse, tonic::Status>>,
) {
    let mut failure = None;
    let checks = requests
        .map(|request| {
            let registrar = registrar.clone();
            async move {
                let envelope = request?;
                tokio::spawn(async move { check(&registrar, envelope) })
                    .await
                    .map_err(|e| tonic::Status::internal(format!("checking a message failed: {e}")))
            }
        })
        .buffered(CHECKED_AT_ONCE);
    tokio::pin!(checks);
    while let Some(checked) = checks.next().await {
        let checked = match checked {
            Ok(checked) => checked,
            Err(status) => {
                failure = Some(status);
                break;
            }
        };
        let response = enqueue(&metrics, checked).await;
        let accepted = response.status == Status::Success as i32;
        if answers.send(Ok(response)).await.is_err() || !accepted {
            // As upstream: the stream ends with the first message that is not taken.
            break;
        }
    }
    if let Some(status) = failure {
        tracing::debug!("broadcast stream ended: {}", status.message());
        // A caller that is gone does not read it.
        let _gone = answers.send(Err(konsort_node::unreadable(status))).await;
    }
}

/// Classification and filters.
fn check(registrar: &Registrar, envelope: Envelope) -> Checked {
    let began = Instant::now();
    let mut checked = Checked {
        channel: "unknown".to_owned(),
        kind: "unknown",
        took: Duration::ZERO,
        outcome: Err(BroadcastResponse::default()),
    };
    checked.outcome = classify(registrar, envelope, &mut checked);
    checked.took = began.elapsed();
    checked
}

fn classify(
    registrar: &Registrar,
    envelope: Envelope,
    checked: &mut Checked,
) -> Result<(Arc<dyn Consenter>, Submission), BroadcastResponse> {
    let header = protoutil::channel_header(&envelope)
        .map_err(|error| refusal(Status::BadRequest, format!("could not determine channel ID: {error}")))?;
    let kind = HeaderType::try_from(header.r#type).ok();
    checked.kind = kind.map_or("unknown", |k| k.as_str_name());
    checked.channel.clone_from(&header.channel_id);
    let Some((channel, consenter)) = registrar.serving(&header.channel_id) else {
        return Err(refusal(Status::BadRequest, "channel does not exist"));
    };
    let rejected = |rejection: Rejection| {
        tracing::warn!(channel = channel.id(), "Rejecting broadcast message because of error: {rejection}");
        refusal(rejection.status(), rejection)
    };
    match kind {
        Some(HeaderType::ConfigUpdate) => {
            let (transaction, config_sequence) = config_update(&channel, &consenter, &envelope).map_err(rejected)?;
            Ok((consenter, Submission { envelope: transaction, config_sequence, is_config: true }))
        }
        Some(HeaderType::Config) => {
            Err(refusal(Status::BadRequest, "message is of type that cannot be processed directly"))
        }
        Some(HeaderType::OrdererTransaction) => {
            Err(refusal(Status::BadRequest, "message is of type that is no longer supported"))
        }
        _ => {
            let config_sequence = channel.process_normal(&envelope).map_err(rejected)?;
            Ok((consenter, Submission { envelope, config_sequence, is_config: false }))
        }
    }
}

/// Makes the configuration transaction of an update.
pub(crate) fn config_update(
    channel: &Channel,
    consenter: &Arc<dyn Consenter>,
    update: &Envelope,
) -> Result<(Envelope, u64), Rejection> {
    channel.process_config_update(update, &|now, next| consenter.check_metadata(now, next))
}

async fn enqueue(metrics: &OrdererMetrics, checked: Checked) -> BroadcastResponse {
    let began = Instant::now();
    let enqueued = checked.outcome.is_ok();
    let response = match checked.outcome {
        Err(response) => response,
        Ok((consenter, submission)) => match consenter.order(submission).await {
            Ok(()) => BroadcastResponse { status: Status::Success as i32, info: String::new() },
            Err(unavailable) => {
                tracing::warn!(
                    channel = checked.channel,
                    "Rejecting broadcast message with SERVICE_UNAVAILABLE: {unavailable}"
                );
                refusal(Status::ServiceUnavailable, unavailable)
            }
        },
    };
    let status = Status::try_from(response.status).map_or("UNKNOWN", |s| s.as_str_name());
    let labels = [checked.channel.as_str(), checked.kind, status];
    metrics.validate_duration.with(&labels).observe_duration(checked.took);
    if enqueued {
        metrics.enqueue_duration.with(&labels).observe_since(began);
    }
    metrics.processed_count.with(&labels).inc();
    response
}
