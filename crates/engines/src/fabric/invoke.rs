//! Calls: sending them through the gateway, and trying them on the peers of every organisation.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use bytes::Bytes;
use fabric_channel::config::Bundle;
use fabric_channel::msp::SigningIdentity;
use fabric_channel::policy::Policy;
use fabric_client::blocks::{self, Answer, Member};
use fabric_client::{Call, ClientError, GatewayClient};
use fabric_proto::protos::{ProposalResponse, TxValidationCode};
use futures::future::join_all;
use serde_json::json;

use super::connect::{ANSWER, Net, refusal};
use super::deploy::not_yet;
use super::layout::{organisation, organisation_of};
use super::{explain, record};
use crate::EngineError;
use crate::call::{CallInput, CallRequest, CallResult, Simulation};
use crate::spec::{NodeSpec, OrganisationSpec};

/// How long a gateway may take to learn of peers that have just installed a contract.
const GOSSIP: Duration = Duration::from_secs(15);
/// The identity that calls when none is named.
const DEFAULT_SIGNER: &str = "Admin";
/// More organisations than this are not tried in combinations for what is missing.
const MAX_COMBINED: usize = 12;

fn invalid(field: &str, why: impl Into<String>) -> EngineError {
    EngineError::Invalid { field: field.to_owned(), why: why.into() }
}

impl Net<'_> {
    fn call_of(&self, request: &CallRequest) -> Result<Call, EngineError> {
        let CallInput::Texts { arguments, transient } = &request.input else {
            return Err(invalid("input", "a Fabric contract is called with texts"));
        };
        if request.contract.is_empty() || request.method.is_empty() {
            return Err(invalid("method", "name the contract and its function"));
        }
        let mut call = Call::new(request.channel.as_str(), request.contract.as_str())
            .args([request.method.as_str()])
            .args(arguments.iter().map(String::as_str));
        for (key, value) in transient {
            let bytes = base64::engine::general_purpose::STANDARD
                .decode(value)
                .map_err(|error| invalid(&format!("input.transient.{key}"), format!("it is not base64: {error}")))?;
            call = call.transient(key.as_str(), bytes);
        }
        for (index, name) in request.endorsers.iter().enumerate() {
            let known = organisation(self.spec(), name)
                .map_err(|error| invalid(&format!("endorsers[{index}]"), error.to_string()))?;
            call = call.endorsed_by([known.msp()]);
        }
        Ok(call)
    }

    fn caller_of(&self, request: &CallRequest) -> Result<(&OrganisationSpec, Arc<SigningIdentity>), EngineError> {
        let caller = self.caller(&request.channel, request.organisation.as_deref())?;
        let signer = self.signer(caller, request.signer.as_deref().unwrap_or(DEFAULT_SIGNER))?;
        Ok((caller, signer))
    }

    /// Sends a call and waits for its verdict.
    pub(super) async fn submit(&self, request: &CallRequest) -> Result<CallResult, EngineError> {
        let call = self.call_of(request)?;
        let (caller, signer) = self.caller_of(request)?;
        self.send(&call, caller, signer).await
    }

    /// A gateway of the caller's organisation, or else of another one on the channel.
    async fn gateway_for(
        &self,
        channel: &str,
        caller: &OrganisationSpec,
        signer: &Arc<SigningIdentity>,
    ) -> Result<GatewayClient, EngineError> {
        let mut last = None;
        for node in self.peers_of(channel, Some(&caller.name))? {
            match self.gateway(node, signer.clone()).await {
                Ok(gateway) => return Ok(gateway),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| EngineError::NotFound { what: format!("a peer of {channel}") }))
    }

    pub(super) async fn send(
        &self,
        call: &Call,
        caller: &OrganisationSpec,
        signer: Arc<SigningIdentity>,
    ) -> Result<CallResult, EngineError> {
        let gateway = self.gateway_for(&call.channel, caller, &signer).await?;
        let failed = |error| refusal("the gateway", error);
        let until = Instant::now() + GOSSIP;
        let prepared = loop {
            match gateway.endorse(call).await {
                // Peers learn of each other's contracts by gossip; just after a deployment they may not know yet.
                Err(error) if not_yet(&error) && Instant::now() < until => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                other => break other.map_err(failed)?,
            }
        };
        loop {
            match gateway.submit(&prepared).await {
                Ok(()) => break,
                Err(error) if no_leader(&error) && Instant::now() < until => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(error) => return Err(failed(error)),
            }
        }
        let status = gateway.commit_status(&prepared.channel, &prepared.transaction_id).await.map_err(failed)?;
        let opened = blocks::transaction(0, status.code, &bytes_of(&prepared.envelope));
        let events = match &opened.content {
            blocks::Content::Call(call) => record::event(call.event.as_ref()),
            _ => Vec::new(),
        };
        let code = status.code.as_str_name();
        Ok(CallResult {
            transaction: prepared.transaction_id,
            height: status.block_number,
            ok: status.code == TxValidationCode::Valid,
            code: code.to_owned(),
            explanation: explain::verdict(code).0.to_owned(),
            output: record::shown(&prepared.payload),
            events,
            gas_used: None,
        })
    }

    /// Asks a peer of every organisation what a call would do, and compares their answers.
    pub(super) async fn simulate(&self, request: &CallRequest) -> Result<Simulation, EngineError> {
        let call = self.call_of(request)?;
        let (caller, signer) = self.caller_of(request)?;
        let wanted = |node: &&NodeSpec| {
            organisation_of(self.spec(), node).is_ok_and(|known| {
                call.endorsing_organizations.is_empty() || call.endorsing_organizations.contains(&known.msp())
            })
        };
        let peers: Vec<&NodeSpec> =
            self.peers_of(&call.channel, Some(&caller.name))?.into_iter().filter(wanted).collect();
        // One proposal for all: endorsements of different proposals cannot be put into one transaction.
        let signed = call.sign(&*signer);
        let (signed, sender) = (&signed, &signer);
        let asked = join_all(peers.iter().map(|node| async move {
            let client = self.peer_as(node, sender.clone()).await?;
            match tokio::time::timeout(ANSWER, client.propose(signed)).await {
                Ok(answer) => answer.map_err(|error| refusal(&node.id, error)),
                Err(_) => Err(super::connect::silent(&node.id)),
            }
        }))
        .await;
        let first = asked.iter().flatten().find(|answer| succeeded(answer)).map(|answer| answer.payload.clone());
        let mut answers = Vec::new();
        let mut endorsers: Vec<Bytes> = Vec::new();
        let mut problem = None;
        for (node, answer) in peers.iter().zip(&asked) {
            let msp = organisation_of(self.spec(), node)?.msp();
            let same = answer.as_ref().is_ok_and(|answer| Some(&answer.payload) == first.as_ref());
            let (ok, message) = match answer {
                Ok(answer) => {
                    let response = answer.response.clone().unwrap_or_default();
                    (succeeded(answer), response.message)
                }
                Err(error) => (false, error.to_string()),
            };
            if ok
                && same
                && let Some(endorsement) = answer.as_ref().ok().and_then(|answer| answer.endorsement.as_ref())
            {
                endorsers.push(endorsement.endorser.clone());
            }
            if !ok && problem.is_none() {
                problem = Some(format!("{}: {message}", node.id));
            } else if ok && !same && problem.is_none() {
                problem = Some(format!(
                    "{} came to another result; a contract must not use time, chance or the outside world",
                    node.id
                ));
            }
            answers.push(json!({"peer": node.id, "mspid": msp, "ok": ok, "same_result": same, "message": message}));
        }
        let opened = match &first {
            Some(payload) => blocks::answer(payload).map_err(|error| EngineError::Refused {
                code: "BAD_ANSWER".into(),
                why: format!("the peers' answer does not decode: {error}"),
            })?,
            None => Answer::default(),
        };
        let missing = match &first {
            Some(_) => self.missing(&call, &endorsers).await.unwrap_or_default(),
            None => Vec::new(),
        };
        let ok = first.is_some() && missing.is_empty();
        // What a peer of one organisation cannot do matters only when the policy needs it.
        let problem = match (ok, problem, missing.is_empty()) {
            (true, _, _) => None,
            (false, Some(problem), true) => Some(problem),
            (false, problem, _) => Some(format!(
                "the policy still wants endorsements of {}{}",
                missing.join(", "),
                problem.map(|why| format!(" ({why})")).unwrap_or_default()
            )),
        };
        Ok(Simulation {
            ok,
            problem,
            output: record::shown(&opened.response.payload),
            events: record::event(opened.event.as_ref()),
            effects: record::effects(&opened.effects),
            answers,
            missing,
            gas_used: None,
        })
    }

    /// The channel as its configuration describes it now.
    pub(super) async fn bundle(&self, channel: &str) -> Result<Bundle, EngineError> {
        let config = self.ask(channel, None, |client| async move { client.channel_config(channel).await }).await?;
        Bundle::from_config(channel, config).map_err(|error| EngineError::Refused {
            code: "BAD_ANSWER".into(),
            why: format!("the configuration of {channel} cannot be read: {error}"),
        })
    }

    /// The endorsement policy of a contract.
    pub(super) async fn policy_of(
        &self,
        bundle: &Bundle,
        channel: &str,
        contract: &str,
    ) -> Result<Policy, EngineError> {
        let committed =
            self.ask(channel, None, |client| async move { client.committed(channel, contract).await }).await?;
        if committed.validation_parameter.is_empty() {
            return Ok(bundle.policies().policy("/Channel/Application/Endorsement"));
        }
        bundle.policies().application_policy(&committed.validation_parameter).map_err(|error| EngineError::Refused {
            code: "ENDORSEMENT_POLICY_FAILURE".into(),
            why: format!("the policy of {contract} cannot be read: {error}"),
        })
    }

    /// The fewest organisations whose endorsement would still be needed.
    async fn missing(&self, call: &Call, endorsers: &[Bytes]) -> Result<Vec<String>, EngineError> {
        let bundle = self.bundle(&call.channel).await?;
        let policy = self.policy_of(&bundle, &call.channel, &call.chaincode).await?;
        let identity = |bytes: &Bytes| bundle.msp_manager().deserialize(bytes).ok();
        let given: Vec<_> = endorsers.iter().filter_map(identity).collect();
        if policy.evaluate_identities(&given).is_ok() {
            return Ok(Vec::new());
        }
        let mut others = Vec::new();
        for node in self.spec().nodes.iter().filter(|node| node.is_peer()) {
            let organisation = organisation_of(self.spec(), node)?;
            let msp = organisation.msp();
            let endorsed = endorsers.iter().any(|bytes| Member::of(bytes).mspid == msp);
            if endorsed || others.iter().any(|(known, _)| *known == msp) {
                continue;
            }
            let folder = self.layout().node_crypto(organisation, node).join("msp");
            if let Ok(signer) = SigningIdentity::from_folder(&folder, &msp)
                && let Some(peer) = identity(signer.serialized())
            {
                others.push((msp, peer));
            }
        }
        others.truncate(MAX_COMBINED);
        let mut choices: Vec<u32> = (1..1_u32 << others.len()).collect();
        choices.sort_by_key(|choice| choice.count_ones());
        for choice in choices {
            let chosen =
                || others.iter().enumerate().filter(move |(index, _)| choice >> index & 1 == 1).map(|(_, other)| other);
            let mut all = given.clone();
            all.extend(chosen().map(|(_, peer)| peer.clone()));
            if policy.evaluate_identities(&all).is_ok() {
                return Ok(chosen().map(|(msp, _)| msp.clone()).collect());
            }
        }
        Ok(others.into_iter().map(|(msp, _)| msp).collect())
    }

    /// Runs a function that only reads, on a peer of the caller's organisation.
    pub(super) async fn evaluate(&self, channel: &str, contract: &str, function: &str) -> Result<Bytes, EngineError> {
        let call = &Call::new(channel, contract).args([function]);
        self.ask(channel, None, |client| async move { client.call(call).await }).await
    }
}

fn succeeded(answer: &ProposalResponse) -> bool {
    answer.response.as_ref().is_some_and(|response| (200..400).contains(&response.status))
        && answer.endorsement.is_some()
}

fn bytes_of(envelope: &fabric_proto::common::Envelope) -> Bytes {
    prost::Message::encode_to_vec(envelope).into()
}

/// Whether no orderer took a transaction, which passes when they have elected a leader.
fn no_leader(error: &ClientError) -> bool {
    error.code().is_some_and(|code| konsort_node::code_name(code) == "Unavailable")
}
