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

use super::connect::{Net, refusal};
use super::first_call::not_yet;
use super::layout::{failed, invalid, organisation, organisation_of};
use super::update::within;
use super::{explain, record};
use crate::EngineError;
use crate::call::{CallInput, CallRequest, CallResult, Simulation};
use crate::spec::{NodeSpec, OrganisationSpec};

/// How long a gateway may take to learn of peers that have just installed a contract.
const GOSSIP: Duration = Duration::from_secs(15);
/// The same for calls that only read.
const READ_GOSSIP: Duration = Duration::from_secs(3);
/// The identity that calls when none is named.
const DEFAULT_SIGNER: &str = "Admin";
/// More organisations than this are not tried in combinations for what is missing.
const MAX_COMBINED: usize = 12;

impl<'a> Net<'a> {
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
                .map_err(|error| invalid(format!("input.transient.{key}"), format!("it is not base64: {error}")))?;
            call = call.transient(key.as_str(), bytes);
        }
        for (index, name) in request.endorsers.iter().enumerate() {
            let known = organisation(self.spec(), name)
                .map_err(|error| invalid(format!("endorsers[{index}]"), error.to_string()))?;
            call = call.endorsed_by([known.msp()]);
        }
        Ok(call)
    }

    fn caller_of(&self, request: &CallRequest) -> Result<(&'a OrganisationSpec, Arc<SigningIdentity>), EngineError> {
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

    /// The peers whose gateways a call may go through: the caller's before the others. Transient data goes to the caller's alone,
    /// as long as it has any.
    fn gateways(&self, call: &Call, caller: &OrganisationSpec) -> Result<Vec<&'a NodeSpec>, EngineError> {
        let mut peers = self.peers_of(&call.channel, Some(&caller.name))?;
        let own = |node: &&NodeSpec| node.organisation == caller.name;
        if !call.transient.is_empty() && peers.iter().any(own) {
            peers.retain(own);
        }
        Ok(peers)
    }

    /// Does something with the first of these gateways that answers. Peers learn of each other's contracts by gossip and elect a
    /// leader of their orderers: just after a deployment or a start a gateway may find nobody for a moment, until `until`.
    async fn through<T, F: Future<Output = Result<T, ClientError>>>(
        &self,
        peers: &[&'a NodeSpec],
        signer: &Arc<SigningIdentity>,
        until: Instant,
        act: impl Fn(GatewayClient) -> F,
    ) -> Result<T, EngineError> {
        let act = &act;
        self.first_of(peers.to_vec(), |node| async move {
            let gateway = self.gateway(node, signer.clone()).await?;
            loop {
                match act(gateway.clone()).await {
                    Err(error) if !error.is_transport() && not_yet(&error) && Instant::now() < until => {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                    other => return other.map_err(|error| refusal(&node.id, error)),
                }
            }
        })
        .await
    }

    pub(super) async fn send(
        &self,
        call: &Call,
        caller: &OrganisationSpec,
        signer: Arc<SigningIdentity>,
    ) -> Result<CallResult, EngineError> {
        let (peers, until) = (self.gateways(call, caller)?, Instant::now() + GOSSIP);
        let prepared =
            &self.through(&peers, &signer, until, |gateway| async move { gateway.endorse(call).await }).await?;
        // A transaction can be handed in and asked for anywhere: however often it comes, it counts once.
        self.through(&peers, &signer, until, |gateway| async move { gateway.submit(prepared).await }).await?;
        let (channel, id) = (&prepared.channel, &prepared.transaction_id);
        let status = self
            .through(&peers, &signer, until, |gateway| async move { gateway.commit_status(channel, id).await })
            .await?;
        let opened = blocks::transaction(0, status.code, &bytes_of(&prepared.envelope));
        let events = match &opened.content {
            blocks::Content::Call(call) => record::event(call.event.as_ref()),
            _ => Vec::new(),
        };
        let code = status.code.as_str_name();
        Ok(CallResult {
            transaction: prepared.transaction_id.clone(),
            height: status.block_number,
            ok: status.code == TxValidationCode::Valid,
            code: code.to_owned(),
            explanation: explain::verdict(code).0.to_owned(),
            output: record::shown(&prepared.payload),
            events,
            gas_used: None,
        })
    }

    /// Runs a call that only reads on one peer of the caller's organisation, or else on the next that answers.
    pub(super) async fn evaluate(&self, request: &CallRequest) -> Result<Simulation, EngineError> {
        let mut call = self.call_of(request)?;
        let (caller, signer) = self.caller_of(request)?;
        let peers = self.gateways(&call, caller)?;
        if !call.transient.is_empty() && call.endorsing_organizations.is_empty() {
            // Its gateway must not pass secrets on to a peer that is further ahead.
            call.endorsing_organizations.push(caller.msp());
        }
        let (call, until) = (&call, Instant::now() + READ_GOSSIP);
        let read = self.through(&peers, &signer, until, |gateway| async move { gateway.evaluate(call).await }).await;
        let (output, problem) = match read {
            Ok(payload) => (payload, None),
            Err(EngineError::Refused { why, .. }) => (Bytes::new(), Some(why)),
            Err(error) => return Err(error),
        };
        Ok(Simulation {
            ok: problem.is_none(),
            problem,
            output: record::shown(&output),
            events: Vec::new(),
            effects: json!({}),
            answers: Vec::new(),
            missing: Vec::new(),
            gas_used: None,
        })
    }

    /// The peers that a simulation asks, by organisation: of those that are named, or of all on the channel. Transient data is
    /// for the caller's organisation unless others are named.
    fn endorsers_of(
        &self,
        call: &Call,
        caller: &OrganisationSpec,
    ) -> Result<Vec<(String, Vec<&'a NodeSpec>)>, EngineError> {
        let mut found: Vec<(String, Vec<&NodeSpec>)> = Vec::new();
        for node in self.peers_of(&call.channel, Some(&caller.name))? {
            let msp = organisation_of(self.spec(), node)?.msp();
            let wanted = if call.endorsing_organizations.is_empty() {
                call.transient.is_empty() || msp == caller.msp()
            } else {
                call.endorsing_organizations.contains(&msp)
            };
            match found.iter_mut().find(|(known, _)| *known == msp) {
                Some((_, peers)) => peers.push(node),
                None if wanted => found.push((msp, vec![node])),
                None => {}
            }
        }
        if found.is_empty() {
            return Err(invalid("endorsers", "name organisations that have peers on the channel"));
        }
        Ok(found)
    }

    /// Asks a peer of every organisation what a call would do, and compares their answers.
    pub(super) async fn simulate(&self, request: &CallRequest) -> Result<Simulation, EngineError> {
        let call = self.call_of(request)?;
        let (caller, signer) = self.caller_of(request)?;
        let organisations = self.endorsers_of(&call, caller)?;
        // One proposal for all: endorsements of different proposals cannot be put into one transaction.
        let signed = call.sign(&*signer);
        let (signed, sender) = (&signed, &signer);
        let asked = join_all(organisations.iter().map(|(_, peers)| {
            self.first_of(peers.clone(), |node| async move {
                let client = self.peer_as(node, sender.clone()).await?;
                let answer = within(client.propose(signed)).await.map_err(|error| refusal(&node.id, error))?;
                Ok((node, answer))
            })
        }))
        .await;
        let answered = |answer: &(&NodeSpec, ProposalResponse)| succeeded(&answer.1).then(|| answer.1.payload.clone());
        let first = asked.iter().flatten().find_map(answered);
        let mut answers = Vec::new();
        let mut endorsers: Vec<Bytes> = Vec::new();
        let mut problem = None;
        for ((msp, peers), answer) in organisations.iter().zip(&asked) {
            let (node, ok, same, message) = match answer {
                Ok((node, answer)) => {
                    let (ok, same) = (succeeded(answer), Some(&answer.payload) == first.as_ref());
                    if ok && same {
                        endorsers.extend(answer.endorsement.as_ref().map(|endorsement| endorsement.endorser.clone()));
                    }
                    (*node, ok, same, answer.response.clone().unwrap_or_default().message)
                }
                Err(error) => (peers[0], false, false, error.to_string()),
            };
            if !ok {
                problem.get_or_insert_with(|| format!("{}: {message}", node.id));
            } else if !same {
                problem.get_or_insert_with(|| {
                    format!(
                        "{} came to another result; a contract must not use time, chance or the outside world",
                        node.id
                    )
                });
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
        let (ok, missing, unmet) = match &first {
            None => (false, Vec::new(), None),
            Some(_) => match self.unmet(&call, &endorsers).await {
                Ok((true, _)) => (true, Vec::new(), None),
                Ok((false, missing)) => {
                    let unmet = unmet_words(&missing, &call, caller);
                    (false, missing, Some(unmet))
                }
                Err(error) => {
                    let unmet = format!("whether these endorsements suffice cannot be told: {error}");
                    (false, Vec::new(), Some(unmet))
                }
            },
        };
        // What a peer of one organisation cannot do matters only when the policy needs it.
        let problem = match (unmet, problem) {
            _ if ok => None,
            (Some(unmet), Some(why)) => Some(format!("{unmet} ({why})")),
            (unmet, why) => unmet.or(why),
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

    /// Whether endorsements satisfy a contract's policy, and if not, the fewest organisations whose endorsement would still be
    /// needed, as far as that is known.
    async fn unmet(&self, call: &Call, endorsers: &[Bytes]) -> Result<(bool, Vec<String>), EngineError> {
        let bundle = self.bundle(&call.channel).await?;
        let policy = self.policy_of(&bundle, &call.channel, &call.chaincode).await?;
        let identity = |bytes: &Bytes| bundle.msp_manager().deserialize(bytes).ok();
        let given: Vec<_> = endorsers.iter().filter_map(identity).collect();
        if policy.evaluate_identities(&given).is_ok() {
            return Ok((true, Vec::new()));
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
            let signer = self.connections.signers.get(&folder.join("signcerts"), || {
                SigningIdentity::from_folder(&folder, &msp).map(Arc::new).map_err(failed("identity"))
            });
            if let Ok(signer) = signer
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
                return Ok((false, chosen().map(|(msp, _)| msp.clone()).collect()));
            }
        }
        Ok((false, others.into_iter().map(|(msp, _)| msp).collect()))
    }

    /// Runs a function that only reads, on the first peer that answers.
    pub(super) async fn read(&self, channel: &str, contract: &str, function: &str) -> Result<Bytes, EngineError> {
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

/// That a policy is not satisfied, and what to do.
fn unmet_words(missing: &[String], call: &Call, caller: &OrganisationSpec) -> String {
    let alone = !call.transient.is_empty() && call.endorsing_organizations.is_empty();
    let asked = if alone {
        format!(
            "only {} was asked, since the call carries transient data; name the organisations that may see it: ",
            caller.name
        )
    } else {
        String::new()
    };
    if missing.is_empty() {
        return format!("{asked}the policy is not satisfied by these endorsements");
    }
    format!("{asked}the policy still wants endorsements of {}", missing.join(", "))
}
