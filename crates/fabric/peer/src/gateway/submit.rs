//! Submit: hand a signed transaction to the ordering service.

use std::time::Duration;

use fabric_proto::common::{Envelope, Status as Code};
use fabric_proto::gateway::{ErrorDetail, SubmitRequest, SubmitResponse};
use fabric_proto::orderer::BroadcastResponse;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tonic::Status;

use super::Inner;
use super::errors::with_details;
use super::peers::shuffle;
use crate::connections::{Endpoint, orderers};

/// What an orderer says of a transaction that it has already.
const EXISTS: &str = "failed to submit request: request already exists";

pub(super) async fn submit(gateway: &Inner, request: SubmitRequest, limit: Duration) -> Result<SubmitResponse, Status> {
    let Some(envelope) = request.prepared_transaction else {
        return Err(Status::invalid_argument("a prepared transaction is required"));
    };
    if envelope.signature.is_empty() {
        return Err(Status::invalid_argument("prepared transaction must be signed"));
    }
    let Some(channel) = gateway.channels.get(&request.channel_id) else {
        return Err(Status::failed_precondition(format!(
            "failed to get config for channel [{0}]: could not get last config for channel {0}",
            request.channel_id
        )));
    };
    let bundle = channel.bundle();
    let mut endpoints = orderers(&bundle);
    if endpoints.is_empty() {
        return Err(Status::unavailable("no orderer nodes available"));
    }
    shuffle(&mut endpoints);
    let bft = bundle.orderer().is_some_and(|orderer| orderer.consensus_type == "BFT");
    let submitted = async {
        if bft { to_quorum(gateway, &endpoints, envelope).await } else { to_one(gateway, &endpoints, envelope).await }
    };
    match tokio::time::timeout(limit, submitted).await {
        Ok(result) => result.map(|()| SubmitResponse {}),
        Err(_) => Err(Status::deadline_exceeded("submit timeout expired while broadcasting to ordering service")),
    }
}

async fn send(gateway: &Inner, endpoint: &Endpoint, envelope: Envelope) -> Result<BroadcastResponse, String> {
    match tokio::time::timeout(gateway.settings.broadcast_timeout, gateway.broadcasts.send(endpoint, envelope)).await {
        Ok(answer) => answer,
        Err(_) => Err("rpc error: code = DeadlineExceeded desc = context deadline exceeded".to_owned()),
    }
}

fn detail(gateway: &Inner, endpoint: &Endpoint, message: String) -> ErrorDetail {
    ErrorDetail { address: gateway.broadcasts.label(endpoint), msp_id: endpoint.mspid.clone(), message }
}

fn refusal(answer: &BroadcastResponse) -> String {
    let status = Code::try_from(answer.status).map_or("UNKNOWN", |status| status.as_str_name());
    format!("received unsuccessful response from orderer: status={status}, info={}", answer.info)
}

/// After this long without an answer the next orderer is asked too. Ordering a transaction twice does no harm: the second is marked
/// invalid.
const HEDGE: Duration = Duration::from_secs(1);

/// Crash-tolerant ordering: one orderer's word is enough; the others are asked when one cannot answer, or does not in time.
async fn to_one(gateway: &Inner, endpoints: &[Endpoint], envelope: Envelope) -> Result<(), Status> {
    let ordered = gateway.broadcasts.silent_last(endpoints);
    let mut waiting = ordered.into_iter();
    let mut asked = FuturesUnordered::new();
    let mut details = Vec::new();
    let ask = |endpoint: Endpoint| {
        let envelope = envelope.clone();
        async move {
            let answer = send(gateway, &endpoint, envelope).await;
            (endpoint, answer)
        }
    };
    let mut silent: Vec<Endpoint> = Vec::new();
    loop {
        if asked.is_empty() {
            let Some(endpoint) = waiting.next() else {
                const TEXT: &str = "no orderers could successfully process transaction";
                return Err(with_details(tonic::Code::Unavailable, TEXT, &details));
            };
            silent.push(endpoint.clone());
            asked.push(ask(endpoint));
        }
        let (endpoint, answer) = tokio::select! {
            Some(answered) = asked.next() => answered,
            () = tokio::time::sleep(HEDGE), if waiting.len() > 0 => {
                for endpoint in silent.drain(..) {
                    gateway.broadcasts.note_silence(&endpoint);
                }
                if let Some(endpoint) = waiting.next() {
                    tracing::warn!(endpoint = endpoint.address, "no answer from the orderer yet, asking this one too");
                    silent.push(endpoint.clone());
                    asked.push(ask(endpoint));
                }
                continue;
            }
        };
        match answer {
            Ok(answer) if answer.status == Code::Success as i32 => return Ok(()),
            Ok(answer) => {
                tracing::warn!(endpoint = endpoint.address, "{}", refusal(&answer));
                if (400..500).contains(&answer.status) {
                    // The transaction itself is at fault; other orderers would say the same.
                    return Err(Status::aborted(refusal(&answer)));
                }
            }
            Err(error) => {
                tracing::warn!(endpoint = endpoint.address, "error sending transaction to orderer: {error}");
                details.push(detail(gateway, &endpoint, error));
            }
        }
        gateway.broadcasts.note_silence(&endpoint);
    }
}

/// Byzantine-tolerant ordering: every orderer gets it, a quorum must accept.
async fn to_quorum(gateway: &Inner, endpoints: &[Endpoint], envelope: Envelope) -> Result<(), Status> {
    let total = endpoints.len();
    let quorum = quorum(total);
    let mut answers: FuturesUnordered<_> = endpoints
        .iter()
        .map(|endpoint| {
            let envelope = envelope.clone();
            async move { (endpoint, send(gateway, endpoint, envelope).await) }
        })
        .collect();
    let mut successes = 0;
    let mut details = Vec::new();
    while let Some((endpoint, answer)) = answers.next().await {
        let failed = match answer {
            Ok(answer) if answer.status == Code::Success as i32 => None,
            Ok(answer) if answer.status == Code::ServiceUnavailable as i32 && answer.info == EXISTS => None,
            Ok(answer) => Some(refusal(&answer)),
            Err(error) => Some(error),
        };
        match failed {
            None => {
                successes += 1;
                if successes >= quorum {
                    return Ok(());
                }
            }
            Some(error) => {
                details.push(detail(gateway, endpoint, error));
                if details.len() > total - quorum {
                    break;
                }
            }
        }
    }
    const TEXT: &str =
        "insufficient number of orderers could successfully process transaction to satisfy quorum requirement";
    Err(with_details(tonic::Code::Unavailable, TEXT, &details))
}

/// How many of `nodes` must accept so that any two such sets share an honest one.
fn quorum(nodes: usize) -> usize {
    let faulty = nodes.saturating_sub(1) / 3;
    (nodes + faulty + 1).div_ceil(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quorums() {
        assert_eq!([1, 4, 5, 6, 7, 10].map(quorum), [1, 3, 4, 4, 5, 7]);
    }
}
