//! The endorser: checks a proposal, runs its chaincode on a simulation of the state, and signs what it did.
//!
//! Two kinds of failure are kept apart as the original does. A proposal that is malformed or not allowed ends in a gRPC error; what goes
//! wrong afterwards (unknown chaincode, chaincode errors, system chaincodes that refuse) is a normal response with status 400 or more.

mod collections;
mod definitions;
mod interest;
mod invocation;
mod metrics;
mod proposal;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use fabric_chaincode::Runtime;
use fabric_channel::config::Bundle;
use fabric_channel::msp::{Identity, Msp, SigningIdentity};
use fabric_channel::protoutil;
use fabric_ledger::{Ledger, Simulator};
use fabric_proto::common::Block;
use fabric_proto::protos::{
    ChaincodeEvent, ChaincodeId, ChaincodeInterest, Endorsement, ProposalResponse, Response, SignedProposal,
    endorser_server,
};
use fabric_validation::KnownSignatures;
use konsort_node::Metrics;
use prost::Message;
use tokio::sync::Semaphore;
use tonic::Status;

pub use definitions::ActiveChaincode;

use crate::acl::AccessControl;
use crate::scc::{self, PrivateValues};
use definitions::Definitions;
use invocation::Invocation;
use metrics::EndorserMetrics;
use proposal::UnpackedProposal;
pub use proposal::check_proposal;

/// From this status on a response is not endorsed.
const ERROR_THRESHOLD: i32 = 400;
/// A chaincode's or the peer's failure.
const ERROR: i32 = 500;
/// The version that system chaincodes report.
pub(crate) const SYSTEM_VERSION: &str = "syscc";

/// A channel as an invocation sees it: consistent for its duration, cheap to clone.
#[derive(Clone)]
pub struct ChannelAccess {
    /// The channel's name.
    pub id: Arc<str>,
    /// Its ledger.
    pub ledger: Ledger,
    /// Its configuration.
    pub bundle: Arc<Bundle>,
    /// Signatures that the commit path need not verify again.
    pub known: Arc<KnownSignatures>,
}

impl std::fmt::Debug for ChannelAccess {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ChannelAccess").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The channels of this peer.
pub trait ChannelDirectory: Send + Sync {
    /// A channel that has been joined.
    fn get(&self, channel: &str) -> Option<ChannelAccess>;
    /// The names of all of them.
    fn list(&self) -> Vec<String>;
    /// Joins a channel with its first block; may block.
    fn join(&self, genesis: Block) -> Result<(), String>;
}

/// How an endorser behaves.
#[derive(Debug, Clone, Copy)]
pub struct EndorserSettings {
    /// How far a proposal's time may be from the peer's (`peer.authentication.timewindow`).
    pub time_window: Duration,
    /// The most proposals at once (`peer.limits.concurrency.endorserService`).
    pub concurrency: usize,
}

impl Default for EndorserSettings {
    fn default() -> Self {
        Self { time_window: Duration::from_mins(15), concurrency: 2500 }
    }
}

/// What an endorser is made of.
pub struct EndorserParts<'a> {
    /// The peer's organisation.
    pub local_msp: Msp,
    /// The peer's key.
    pub signer: SigningIdentity,
    /// The channels.
    pub channels: Arc<dyn ChannelDirectory>,
    /// The chaincode runtime.
    pub runtime: Runtime,
    /// This organisation's approvals.
    pub private_values: Arc<PrivateValues>,
    /// Where the endorser's figures go.
    pub metrics: &'a Metrics,
}

impl std::fmt::Debug for EndorserParts<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("EndorserParts").finish_non_exhaustive()
    }
}

/// Everything that invocations share.
pub(crate) struct Shared {
    pub(crate) access: AccessControl,
    pub(crate) signer: SigningIdentity,
    pub(crate) channels: Arc<dyn ChannelDirectory>,
    pub(crate) runtime: Runtime,
    pub(crate) private_values: Arc<PrivateValues>,
    pub(crate) definitions: Definitions,
    metrics: EndorserMetrics,
    settings: EndorserSettings,
    permits: Semaphore,
}

/// The endorser of one peer. Clones share everything.
#[derive(Clone)]
pub struct Endorser(Arc<Shared>);

impl std::fmt::Debug for Endorser {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Endorser").field("mspid", &self.0.access.mspid()).finish_non_exhaustive()
    }
}

/// What a proposal is run for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// A signed endorsement.
    Endorse,
    /// The answer alone.
    Evaluate,
}

/// What a simulation gave.
pub(crate) struct Simulated {
    pub(crate) response: Response,
    pub(crate) event: Option<ChaincodeEvent>,
    pub(crate) results: Bytes,
    pub(crate) interest: Option<ChaincodeInterest>,
}

impl Endorser {
    /// Puts an endorser together.
    pub fn new(parts: EndorserParts<'_>, settings: EndorserSettings) -> Self {
        let concurrency = if settings.concurrency == 0 { Semaphore::MAX_PERMITS } else { settings.concurrency };
        Self(Arc::new(Shared {
            access: AccessControl::new(parts.local_msp),
            signer: parts.signer,
            channels: parts.channels,
            runtime: parts.runtime,
            private_values: parts.private_values,
            definitions: Definitions::default(),
            metrics: EndorserMetrics::new(parts.metrics),
            settings,
            permits: Semaphore::new(concurrency.min(Semaphore::MAX_PERMITS)),
        }))
    }

    /// Access control with this peer's organisation.
    pub fn access(&self) -> &AccessControl {
        &self.0.access
    }

    /// The gRPC service.
    pub fn service(&self) -> endorser_server::EndorserServer<Self> {
        endorser_server::EndorserServer::new(self.clone())
            .max_decoding_message_size(konsort_node::MAX_MESSAGE_SIZE)
            .max_encoding_message_size(konsort_node::MAX_MESSAGE_SIZE)
    }

    /// The chaincode that this peer runs for `name` on a channel, as committed now.
    pub fn active_chaincode(&self, channel: &ChannelAccess, name: &str) -> Result<Arc<ActiveChaincode>, String> {
        let reader = channel.ledger.query();
        self.0.definitions.active(&self.0, channel, name, &reader)
    }

    /// Checks, simulates and endorses a proposal.
    pub async fn process_proposal(&self, signed: SignedProposal) -> Result<ProposalResponse, Status> {
        self.process(signed, Purpose::Endorse).await
    }

    /// Checks and runs a proposal for its answer alone: no read-write set is made and nothing is signed.
    pub async fn evaluate(&self, signed: SignedProposal) -> Result<ProposalResponse, Status> {
        self.process(signed, Purpose::Evaluate).await
    }

    async fn process(&self, signed: SignedProposal, purpose: Purpose) -> Result<ProposalResponse, Status> {
        let shared = &self.0;
        let _permit = shared.permits.try_acquire().map_err(|_| {
            Status::unknown(format!(
                "too many requests for /protos.Endorser, exceeding concurrency limit ({})",
                shared.settings.concurrency
            ))
        })?;
        let started = Instant::now();
        shared.metrics.received.inc();
        let unpacked = UnpackedProposal::unpack(signed).map_err(|text| {
            shared.metrics.validation_failures.inc();
            Status::unknown(text)
        })?;
        let channel = match unpacked.channel_id() {
            "" => None,
            id => {
                let found = shared.channels.get(id);
                if found.is_none() {
                    unpacked.check_expiry(shared.access.local(), now()).map_err(Status::unknown)?;
                    return Ok(failure(format!("channel '{id}' not found")));
                }
                found
            }
        };
        let identity = shared.admit(&unpacked, channel.as_ref())?;

        let labels = [unpacked.channel_id().to_owned(), unpacked.chaincode.clone()];
        let result = Arc::clone(shared).run(unpacked, channel, identity, purpose).await;
        let response = result.unwrap_or_else(failure);
        let success = response.response.as_ref().is_some_and(|answer| answer.status < ERROR_THRESHOLD);
        if success {
            shared.metrics.successful.inc();
        }
        let success = if success { "true" } else { "false" };
        shared.metrics.duration.with(&[&labels[0], &labels[1], success]).observe_since(started);
        Ok(response)
    }
}

#[tonic::async_trait]
impl endorser_server::Endorser for Endorser {
    async fn process_proposal(
        &self,
        request: tonic::Request<SignedProposal>,
    ) -> Result<tonic::Response<ProposalResponse>, Status> {
        Endorser::process_proposal(self, request.into_inner()).await.map(tonic::Response::new)
    }
}

impl Shared {
    /// The checks that end in a gRPC error: form, identity, signature, replay, access.
    fn admit(&self, unpacked: &UnpackedProposal, channel: Option<&ChannelAccess>) -> Result<Arc<Identity>, Status> {
        let members = channel.map_or(self.access.local(), |channel| channel.bundle.msp_manager());
        let rejected = |text: String| {
            self.metrics.validation_failures.inc();
            Status::unknown(text)
        };
        unpacked.check_expiry(members, now()).map_err(rejected)?;
        unpacked.check_time(now(), self.settings.time_window).map_err(rejected)?;
        let identity =
            unpacked.validate(members).map_err(|text| rejected(format!("error validating proposal: {text}")))?;
        let Some(channel) = channel else { return Ok(identity) };

        let labels = [&*channel.id, unpacked.chaincode.as_str()];
        let known = channel.ledger.txid_exists(unpacked.txid());
        if known.map_err(|error| Status::unknown(format!("GetTransactionByID failed: {error}")))? {
            self.metrics.duplicates.with(&labels).inc();
            return Err(Status::unknown(format!(
                "duplicate transaction found [{}]. Creator [{}]",
                unpacked.txid(),
                hex::encode(identity.serialized())
            )));
        }
        // System chaincodes check access themselves, each function its own resource.
        if !scc::is_system(&unpacked.chaincode) {
            self.access.check_verified("peer/Propose", Some(&channel.bundle), &identity).map_err(|error| {
                self.metrics.acl_failures.with(&labels).inc();
                Status::unknown(error.to_string())
            })?;
        }
        Ok(identity)
    }

    /// Runs and signs. The error becomes a response with status 500.
    async fn run(
        self: Arc<Self>,
        unpacked: UnpackedProposal,
        channel: Option<ChannelAccess>,
        identity: Arc<Identity>,
        purpose: Purpose,
    ) -> Result<ProposalResponse, String> {
        let needs_state = channel.is_some() && !matches!(unpacked.chaincode.as_str(), "qscc" | "cscc");
        let simulator =
            channel.as_ref().filter(|_| needs_state).map(|channel| Arc::new(channel.ledger.simulator(unpacked.txid())));
        // Whatever still holds the simulator after this (a chaincode that does not stop) finds it closed.
        let _closing = Closing(simulator.clone());
        let proposal_hash = unpacked.proposal_hash;
        let name = unpacked.chaincode.clone();
        let active = self.resolve(&name, channel.as_ref(), simulator.as_deref())?;
        let version = active.as_ref().map_or(SYSTEM_VERSION, |active| &active.version).to_owned();
        let labels = [channel.as_ref().map_or("", |channel| &*channel.id).to_owned(), name.clone()];

        let known = channel.as_ref().map(|channel| Arc::clone(&channel.known));
        let invocation = Invocation::new(Arc::clone(&self), unpacked, channel, identity, simulator, active);
        let simulated = Arc::new(invocation).simulate(purpose).await.map_err(|text| {
            self.metrics.simulation_failures.with(&[&labels[0], &labels[1]]).inc();
            format!("error in simulation: {text}")
        })?;

        let Simulated { response, event, results, interest } = simulated;
        if (labels[0].is_empty() || purpose == Purpose::Evaluate) && response.status < ERROR {
            // Without a channel there is nothing to endorse. A chaincode's error keeps its payload, by which callers tell it from
            // the peer's own.
            return Ok(ProposalResponse { response: Some(response), ..ProposalResponse::default() });
        }
        if (ERROR_THRESHOLD..ERROR).contains(&response.status) {
            self.metrics.endorsement_failures.with(&[&labels[0], &labels[1], "true"]).inc();
            return Ok(ProposalResponse { response: Some(response), ..ProposalResponse::default() });
        }
        let events = event.map(|event| Bytes::from(event.encode_to_vec())).unwrap_or_default();
        let chaincode_id = ChaincodeId { name, version, ..ChaincodeId::default() };
        let payload =
            protoutil::proposal_response_payload(&proposal_hash, response.clone(), results, events, chaincode_id);
        if response.status >= ERROR {
            return Ok(ProposalResponse { response: Some(response), payload, interest, ..ProposalResponse::default() });
        }
        let endorser = self.signer.serialized().clone();
        let signature = Bytes::from(self.signer.sign(&protoutil::endorsement_signed_bytes(&payload, &endorser)));
        if let Some(known) = known {
            known.remember(&payload, &endorser, &signature);
        }
        Ok(ProposalResponse {
            version: 1,
            response: Some(response),
            payload,
            endorsement: Some(Endorsement { endorser, signature }),
            interest,
            ..ProposalResponse::default()
        })
    }

    /// The definition behind a name; `None` for a system chaincode.
    fn resolve(
        &self,
        name: &str,
        channel: Option<&ChannelAccess>,
        simulator: Option<&Simulator>,
    ) -> Result<Option<Arc<ActiveChaincode>>, String> {
        if scc::is_system(name) {
            return Ok(None);
        }
        let channel_id = channel.map_or("", |channel| &*channel.id);
        let found = match (channel, simulator) {
            (Some(channel), Some(simulator)) => self.definitions.active(self, channel, name, simulator),
            _ => Err(format!("could not get channel config for channel '{channel_id}'")),
        };
        found.map(Some).map_err(|reason| {
            format!(
                "make sure the chaincode {name} has been successfully defined on channel {channel_id} and try again: {reason}"
            )
        })
    }
}

/// Closes a simulator when the proposal is done, however it ends.
struct Closing(Option<Arc<Simulator>>);

impl Drop for Closing {
    fn drop(&mut self) {
        if let Some(simulator) = &self.0 {
            simulator.done();
        }
    }
}

fn failure(message: String) -> ProposalResponse {
    let response = Response { status: ERROR, message, payload: Bytes::new() };
    ProposalResponse { response: Some(response), ..ProposalResponse::default() }
}

/// Seconds and nanoseconds since 1970.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests;
