//! Endorse: collect endorsements until the policies are satisfied, and put the transaction together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fabric_channel::protoutil;
use fabric_proto::common::{Envelope, Payload};
use fabric_proto::gateway::{EndorseRequest, EndorseResponse};
use fabric_proto::protos::{
    ChaincodeActionPayload, ChaincodeCall, ChaincodeEndorsedAction, ChaincodeInterest, Endorsement, SignedProposal,
    Transaction, TransactionAction,
};
use futures::future::join_all;
use prost::Message as _;
use tonic::{Code, Status};

use super::Inner;
use super::errors::{Failure, detail, judge, with_details};
use super::evaluate::Target;
use super::peers::{Candidate, Node};
use super::plan::Plan;

pub(super) async fn endorse(
    gateway: &Inner,
    request: EndorseRequest,
    limit: Duration,
) -> Result<EndorseResponse, Status> {
    let signed = request.proposed_transaction.unwrap_or_default();
    if signed.proposal_bytes.is_empty() {
        return Err(Status::invalid_argument("the proposed transaction must contain a signed proposal"));
    }
    let target = Target::of(&signed).map_err(|error| Status::invalid_argument(error.to_string()))?;
    let ends = tokio::time::Instant::now() + limit;
    let plan = if request.endorsing_organizations.is_empty() {
        let first = tokio::time::timeout_at(ends, plan_from_first(gateway, &target, &signed)).await;
        first.map_err(|_| {
            Status::deadline_exceeded("endorsement timeout expired while collecting first endorsement")
        })??
    } else {
        for_organizations(gateway, &target, &request.endorsing_organizations).map_err(Status::unavailable)?
    };
    let collected = tokio::time::timeout_at(ends, collect(gateway, &plan, &signed)).await;
    collected.map_err(|_| Status::deadline_exceeded("endorsement timeout expired while collecting endorsements"))?;
    let Some((payload, endorsements)) = plan.completed() else {
        const TEXT: &str = "failed to collect enough transaction endorsements, see attached details for more info";
        return Err(with_details(Code::Aborted, TEXT, &plan.errors()));
    };
    let envelope = assemble(&target, payload, endorsements)
        .map_err(|error| Status::aborted(format!("failed to assemble transaction: {error}")))?;
    Ok(EndorseResponse { prepared_transaction: Some(envelope) })
}

/// One layout: a peer of each named organisation.
fn for_organizations(gateway: &Inner, target: &Target, organizations: &[String]) -> Result<Plan, String> {
    let mut found = gateway.registry.by_organization(&target.channel, &target.chaincode);
    let mut groups: BTreeMap<String, Vec<Candidate>> = BTreeMap::new();
    let mut missing = Vec::new();
    for mspid in organizations {
        match found.remove(mspid) {
            Some(candidates) => drop(groups.insert(mspid.clone(), candidates)),
            None if groups.contains_key(mspid) => {}
            None => missing.push(mspid.as_str()),
        }
    }
    if !missing.is_empty() {
        return Err(format!("failed to find any endorsing peers for org(s): {}", missing.join(", ")));
    }
    let layout = groups.keys().map(|mspid| (mspid.clone(), 1)).collect();
    Ok(Plan::new(vec![layout], groups))
}

/// Endorses on one peer, of the own organisation if possible, and plans the rest by what that touched.
async fn plan_from_first(gateway: &Inner, target: &Target, signed: &SignedProposal) -> Result<Plan, Status> {
    let call = ChaincodeCall { name: target.chaincode.clone(), ..ChaincodeCall::default() };
    let default = ChaincodeInterest { chaincodes: vec![call] };
    let own = [gateway.registry.local_mspid().to_owned()];
    let first_plan = match for_organizations(gateway, target, &own) {
        Ok(plan) => plan,
        Err(_) if target.has_transient => {
            return Err(Status::failed_precondition(
                "no endorsers found in the gateway's organization; retry specifying endorsing organization(s) to protect \
                 transient data",
            ));
        }
        Err(_) => gateway.registry.plan(&target.channel, &default, None).map_err(Status::failed_precondition)?,
    };
    let mut details = Vec::new();
    let mut next = first_plan.endorsers().into_iter().next();
    let (first, response) = loop {
        let Some(node) = next else {
            const TEXT: &str = "failed to endorse transaction, see attached details for more info";
            return Err(with_details(Code::Aborted, TEXT, &details));
        };
        match process(gateway, &node, signed).await {
            Ok(response) => break (node, response),
            Err(failure) => {
                details.push(detail(&node, &failure.message));
                next = first_plan.next_in_group(&node).ok();
            }
        }
    };
    let mut interest = match &response.interest {
        Some(interest) if !interest.chaincodes.is_empty() => interest.clone(),
        _ => default,
    };
    let mut original = None;
    let mut protected: Vec<String> = Vec::new();
    if target.has_transient {
        // Transient data may go only to members of the collections it is for, even where nothing private is read.
        original = Some(interest.clone());
        for call in interest.chaincodes.iter_mut().filter(|call| call.no_private_reads) {
            call.no_private_reads = false;
            protected.extend(call.collection_names.iter().cloned());
        }
    }
    let plan = gateway.registry.plan(&target.channel, &interest, Some(&first)).map_err(|error| {
        let careful = !protected.is_empty()
            && original.is_some_and(|original| gateway.registry.plan(&target.channel, &original, Some(&first)).is_ok());
        Status::failed_precondition(if careful {
            format!(
                "requires endorsement from organisation(s) that are not in the distribution policy of the private data \
                 collection(s): [{}]; retry specifying trusted endorsing organizations to protect transient data",
                protected.join(" ")
            )
        } else {
            error
        })
    })?;
    plan.endorsed(&first, &response);
    Ok(plan)
}

/// Asks until a layout is complete or none is left.
async fn collect(gateway: &Inner, plan: &Plan, signed: &SignedProposal) {
    while plan.completed().is_none() {
        let nodes = plan.endorsers();
        if nodes.is_empty() {
            return;
        }
        let failed: BTreeSet<String> = join_all(nodes.into_iter().map(|node| ask_group(gateway, plan, node, signed)))
            .await
            .into_iter()
            .flatten()
            .collect();
        plan.abandon(&failed);
    }
}

/// Asks one peer after another of a group until one endorses; the group's name when none does.
async fn ask_group(gateway: &Inner, plan: &Plan, first: Arc<Node>, signed: &SignedProposal) -> Option<String> {
    let mut node = first;
    loop {
        match process(gateway, &node, signed).await {
            Ok(response) if plan.endorsed(&node, &response) => return None,
            Ok(_) => {}
            Err(failure) => plan.failed(detail(&node, failure.message)),
        }
        match plan.next_in_group(&node) {
            Ok(next) => node = next,
            Err(group) => return Some(group),
        }
    }
}

async fn process(
    gateway: &Inner,
    node: &Node,
    signed: &SignedProposal,
) -> Result<fabric_proto::protos::ProposalResponse, Failure> {
    let call = gateway.registry.process(node, signed.clone());
    let result = match tokio::time::timeout(gateway.settings.endorsement_timeout, call).await {
        Ok(result) => result,
        Err(_) => Err(Status::deadline_exceeded("context deadline exceeded")),
    };
    judge(node.is_local(), result).inspect_err(|failure| {
        tracing::warn!(
            mspid = node.mspid,
            endpoint = node.label,
            "Endorse call to endorser failed: {}",
            failure.message
        );
        if failure.remove {
            gateway.registry.remove(node);
        }
    })
}

/// The transaction, for the client to sign. Transient data stays out of it.
fn assemble(
    target: &Target,
    response_payload: Bytes,
    endorsements: Vec<Endorsement>,
) -> Result<Envelope, protoutil::ProtoutilError> {
    let action = ChaincodeEndorsedAction { proposal_response_payload: response_payload, endorsements };
    let payload = ChaincodeActionPayload {
        chaincode_proposal_payload: protoutil::proposal_payload_for_tx(&target.payload)?,
        action: Some(action),
    };
    let action =
        TransactionAction { header: target.header.signature_header.clone(), payload: payload.encode_to_vec().into() };
    let data = Transaction { actions: vec![action] }.encode_to_vec().into();
    let payload = Payload { header: Some(target.header.clone()), data };
    Ok(Envelope { payload: payload.encode_to_vec().into(), signature: Bytes::new() })
}
