//! Evaluate: run a proposal on one peer and give back what it answers.

use std::collections::BTreeMap;
use std::time::Duration;

use fabric_proto::common::{ChannelHeader, Header};
use fabric_proto::gateway::{EvaluateRequest, EvaluateResponse};
use fabric_proto::protos::{
    ChaincodeAction, ChaincodeInvocationSpec, ChaincodeProposalPayload, Proposal, ProposalResponse,
    ProposalResponsePayload, Response, SignedProposal,
};
use prost::{DecodeError, Message as _};
use tonic::Status;

use super::Inner;
use super::errors::{detail, judge, with_details};
use super::peers::{Candidate, sort};
use super::plan::Plan;

/// What the gateway reads of a proposal.
pub(super) struct Target {
    pub(super) channel: String,
    pub(super) chaincode: String,
    pub(super) has_transient: bool,
    pub(super) header: Header,
    pub(super) payload: bytes::Bytes,
}

impl Target {
    /// Takes a proposal apart without judging it.
    pub(super) fn of(signed: &SignedProposal) -> Result<Self, DecodeError> {
        let proposal = Proposal::decode(signed.proposal_bytes.clone())?;
        let header = Header::decode(proposal.header)?;
        let channel_header = ChannelHeader::decode(header.channel_header.clone())?;
        let payload = ChaincodeProposalPayload::decode(proposal.payload.clone())?;
        let spec = ChaincodeInvocationSpec::decode(payload.input)?;
        let id = spec.chaincode_spec.and_then(|spec| spec.chaincode_id).unwrap_or_default();
        Ok(Self {
            channel: channel_header.channel_id,
            chaincode: id.name,
            has_transient: !payload.transient_map.is_empty(),
            header,
            payload: proposal.payload,
        })
    }

    fn complete(signed: Option<&SignedProposal>) -> Result<Self, String> {
        let Some(signed) = signed.filter(|signed| !signed.proposal_bytes.is_empty()) else {
            return Err("a signed proposal is required".to_owned());
        };
        let target = Self::of(signed).map_err(|error| error.to_string())?;
        if target.channel.is_empty() {
            return Err("no channel id provided".to_owned());
        }
        if target.chaincode.is_empty() {
            return Err(format!("no chaincode name is provided, channel id [{}]", target.channel));
        }
        Ok(target)
    }
}

pub(super) async fn evaluate(
    gateway: &Inner,
    request: EvaluateRequest,
    limit: Duration,
) -> Result<EvaluateResponse, Status> {
    let target = Target::complete(request.proposed_transaction.as_ref())
        .map_err(|error| Status::invalid_argument(format!("failed to unpack transaction proposal: {error}")))?;
    let signed = request.proposed_transaction.unwrap_or_default();
    if gateway.channels.get(&target.channel).is_none() {
        return Err(Status::unavailable(format!(
            "failed to get config for channel [{0}]: could not get last config for channel {0}",
            target.channel
        )));
    }
    let mut organizations = request.target_organizations;
    let protected = target.has_transient && organizations.is_empty();
    if protected {
        organizations.push(gateway.registry.local_mspid().to_owned());
    }
    let plan = evaluator(gateway, &target, &organizations).map_err(|error| {
        Status::failed_precondition(if protected {
            format!(
                "no endorsers found in the gateway's organization; retry specifying target organization(s) to protect \
                 transient data: {error}"
            )
        } else {
            error
        })
    })?;
    match tokio::time::timeout(limit, run(gateway, &plan, signed)).await {
        Ok(result) => result.map(|result| EvaluateResponse { result: Some(result) }),
        Err(_) => Err(Status::deadline_exceeded("evaluate timeout expired")),
    }
}

/// Peers of the own organisation first, then the others by height; only of the named organisations when some are named.
fn evaluator(gateway: &Inner, target: &Target, organizations: &[String]) -> Result<Plan, String> {
    let mut found: BTreeMap<String, Vec<Candidate>> =
        gateway.registry.by_organization(&target.channel, &target.chaincode);
    if !organizations.is_empty() {
        found.retain(|mspid, _| organizations.contains(mspid));
    }
    let mut all = found.remove(gateway.registry.local_mspid()).unwrap_or_default();
    let mut others: Vec<Candidate> = found.into_values().flatten().collect();
    sort(&mut others);
    all.append(&mut others);
    if all.is_empty() {
        return Err(format!(
            "no peers available to evaluate chaincode {} in channel {}",
            target.chaincode, target.channel
        ));
    }
    Ok(Plan::any_of(all))
}

async fn run(gateway: &Inner, plan: &Plan, signed: SignedProposal) -> Result<Response, Status> {
    let Some(mut node) = plan.endorsers().into_iter().next() else {
        return Err(Status::aborted("failed to evaluate transaction, see attached details for more info"));
    };
    let mut details = Vec::new();
    loop {
        let call = gateway.registry.evaluate(&node, signed.clone());
        let result = match tokio::time::timeout(gateway.settings.endorsement_timeout, call).await {
            Ok(result) => result,
            Err(_) => Err(Status::deadline_exceeded("context deadline exceeded")),
        };
        let failure = match judge(node.is_local(), result) {
            // This peer's own endorser leaves out what is not asked for.
            Ok(response) if node.is_local() => return Ok(response.response.unwrap_or_default()),
            Ok(response) => return Ok(result_of(response)),
            Err(failure) => failure,
        };
        details.push(detail(&node, &failure.message));
        if failure.remove {
            gateway.registry.remove(&node);
        }
        if !failure.retry {
            let text = format!("evaluate call to endorser returned error: {}", failure.message);
            return Err(with_details(failure.code, text, &details));
        }
        let Ok(next) = plan.next_in_group(&node) else {
            const TEXT: &str = "failed to evaluate transaction, see attached details for more info";
            return Err(with_details(failure.code, TEXT, &details));
        };
        node = next;
    }
}

/// The answer with the payload that was endorsed, which a response need not repeat.
fn result_of(response: ProposalResponse) -> Response {
    let mut answer = response.response.unwrap_or_default();
    let endorsed = ProposalResponsePayload::decode(response.payload)
        .and_then(|payload| ChaincodeAction::decode(payload.extension))
        .map(|action| action.response.unwrap_or_default().payload);
    match endorsed {
        Ok(payload) => answer.payload = payload,
        Err(error) => tracing::warn!("successful proposal response contained no transaction result: {error}"),
    }
    answer
}
