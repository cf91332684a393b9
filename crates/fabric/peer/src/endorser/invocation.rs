//! One proposal while it runs: the chaincode it names, and those that chaincode calls.

use std::sync::Arc;

use bytes::Bytes;
use fabric_chaincode::{
    Call, Capabilities, CollectionPermission, DispatchError, Dispatcher, Outcome, Target, check_initialization,
};
use fabric_channel::msp::Identity;
use fabric_ledger::Simulator;
use fabric_proto::protos::{ChaincodeInput, SignedProposal};
use futures::future::BoxFuture;

use super::proposal::UnpackedProposal;
use super::{ActiveChaincode, ChannelAccess, ERROR_THRESHOLD, Purpose, Shared, Simulated, collections, interest};
use crate::scc::{self, SystemCall};

/// A proposal being simulated.
pub(super) struct Invocation {
    shared: Arc<Shared>,
    chaincode: String,
    txid: String,
    input: ChaincodeInput,
    signed: SignedProposal,
    channel: Option<ChannelAccess>,
    creator: Arc<Identity>,
    simulator: Option<Arc<Simulator>>,
    /// The definition of `chaincode`, already found.
    active: Option<Arc<ActiveChaincode>>,
}

impl Invocation {
    pub(super) fn new(
        shared: Arc<Shared>,
        unpacked: UnpackedProposal,
        channel: Option<ChannelAccess>,
        creator: Arc<Identity>,
        simulator: Option<Arc<Simulator>>,
        active: Option<Arc<ActiveChaincode>>,
    ) -> Self {
        Self {
            shared,
            txid: unpacked.txid().to_owned(),
            chaincode: unpacked.chaincode,
            input: unpacked.input,
            signed: unpacked.signed,
            channel,
            creator,
            simulator,
            active,
        }
    }

    /// Runs the chaincode and collects what it did.
    pub(super) async fn simulate(self: Arc<Self>, purpose: Purpose) -> Result<Simulated, String> {
        let mut outcome = if scc::is_system(&self.chaincode) {
            let call = self.system_call(&self.chaincode, self.input.args.clone(), self.simulator.clone());
            Outcome { response: scc::invoke(call).await, event: None }
        } else {
            self.run_chaincode().await?
        };
        if outcome.response.status >= ERROR_THRESHOLD {
            outcome.event = None;
        }
        let Outcome { response, event } = outcome;
        let Some(simulator) = self.simulator.as_ref().filter(|_| purpose == Purpose::Endorse) else {
            return Ok(Simulated { response, event, results: Bytes::new(), interest: None });
        };
        let results = simulator.finish().map_err(|error| error.to_string())?;
        if let (Some(private), Some(channel)) = (&results.private, &self.channel) {
            // Only what will be endorsed can come back in a block.
            if response.status < ERROR_THRESHOLD {
                self.shared.private_values.keep(&channel.id, private).map_err(|error| error.to_string())?;
            }
        }
        let interest = interest::of_results(&results)?;
        Ok(Simulated { response, event, results: results.public, interest: Some(interest) })
    }

    async fn run_chaincode(self: &Arc<Self>) -> Result<Outcome, String> {
        let (Some(channel), Some(simulator)) = (&self.channel, &self.simulator) else {
            return Err(format!("chaincode {} cannot be called without a channel", self.chaincode));
        };
        let failed = |reason: String| format!("failed to execute transaction {}: {reason}", self.txid);
        let call = self
            .prepare(channel, simulator, &self.chaincode, self.active.clone(), self.input.clone())
            .map_err(|reason| failed(format!("invalid invocation: {reason}")))?;
        let dispatcher: Arc<dyn Dispatcher> = Arc::clone(self) as Arc<dyn Dispatcher>;
        self.shared.runtime.execute(call, dispatcher).await.map_err(|error| error.to_string())
    }

    /// Finds the package behind a name and applies the rules of initialization.
    fn prepare(
        &self,
        channel: &ChannelAccess,
        simulator: &Arc<Simulator>,
        name: &str,
        found: Option<Arc<ActiveChaincode>>,
        input: ChaincodeInput,
    ) -> Result<Call, String> {
        let active = match found {
            Some(active) => active,
            None => self.shared.definitions.active(&self.shared, channel, name, simulator).map_err(|reason| {
                format!("[channel {}] failed to get chaincode container info for {name}: {reason}", channel.id)
            })?,
        };
        let is_init = check_initialization(simulator, name, &active.version, active.init_required, input.is_init)?;
        let capabilities =
            channel.bundle.application().map_or_else(Capabilities::default, |application| Capabilities {
                key_level_endorsement: application.capabilities.key_level_endorsement(),
                purge_private_data: application.capabilities.purge_private_data(),
            });
        Ok(Call {
            package_id: active.package_id.clone(),
            channel: channel.id.to_string(),
            namespace: name.to_owned(),
            txid: self.txid.clone(),
            input,
            is_init,
            signed_proposal: Some(self.signed.clone()),
            simulator: Arc::clone(simulator),
            ledger: Some(channel.ledger.clone()),
            capabilities,
        })
    }

    fn system_call(&self, name: &str, args: Vec<Bytes>, simulator: Option<Arc<Simulator>>) -> SystemCall {
        SystemCall {
            shared: Arc::clone(&self.shared),
            name: name.to_owned(),
            original: self.chaincode.clone(),
            args,
            channel: self.channel.clone(),
            creator: Arc::clone(&self.creator),
            simulator,
        }
    }

    async fn call(&self, caller: &Call, target: Target, input: ChaincodeInput) -> Result<Outcome, DispatchError> {
        let same = target.same_channel;
        if scc::is_system(&target.chaincode) {
            let simulator = same.then(|| Arc::clone(&caller.simulator));
            let mut call = self.system_call(&target.chaincode, input.args, simulator);
            if !same {
                call.channel = self.shared.channels.get(&target.channel);
            }
            return Ok(Outcome { response: scc::invoke(call).await, event: None });
        }
        let channel = match &self.channel {
            Some(channel) if same => Some(channel.clone()),
            _ => self.shared.channels.get(&target.channel),
        };
        let unknown = |context: &str| DispatchError::Refused(format!("{context}{}", target.channel));
        let channel = channel.ok_or_else(|| unknown("failed to find ledger for channel: "))?;
        let allowed = if same {
            self.shared.access.check_verified("peer/ChaincodeToChaincode", Some(&channel.bundle), &self.creator)
        } else {
            // Another channel has other members: the creator must be known there.
            match channel.bundle.msp_manager().deserialize(self.creator.serialized()) {
                Ok(there) => {
                    self.shared.access.check_verified("peer/ChaincodeToChaincode", Some(&channel.bundle), &there)
                }
                Err(error) => Err(crate::acl::AclError(error.to_string())),
            }
        };
        allowed.map_err(|error| DispatchError::Refused(error.to_string()))?;
        let simulator =
            if same { Arc::clone(&caller.simulator) } else { Arc::new(channel.ledger.simulator(&self.txid)) };
        let call =
            self.prepare(&channel, &simulator, &target.chaincode, None, input).map_err(DispatchError::Invalid)?;
        let nested = Arc::new(Self {
            shared: Arc::clone(&self.shared),
            chaincode: self.chaincode.clone(),
            txid: self.txid.clone(),
            input: ChaincodeInput::default(),
            signed: self.signed.clone(),
            channel: Some(channel),
            creator: Arc::clone(&self.creator),
            simulator: Some(Arc::clone(&simulator)),
            active: None,
        });
        let outcome = self.shared.runtime.execute(call, nested as Arc<dyn Dispatcher>).await;
        if !same {
            // What was written on another channel is dropped.
            simulator.done();
        }
        Ok(outcome?)
    }
}

impl Dispatcher for Invocation {
    fn invoke<'a>(
        &'a self,
        caller: &'a Call,
        target: Target,
        input: ChaincodeInput,
    ) -> BoxFuture<'a, Result<Outcome, DispatchError>> {
        Box::pin(self.call(caller, target, input))
    }

    fn collection_permission(&self, caller: &Call, collection: &str) -> Result<CollectionPermission, String> {
        let Some(channel) = &self.channel else {
            return Err(format!("collection {collection} belongs to no channel"));
        };
        collections::permission(
            &channel.id,
            &channel.bundle,
            &caller.simulator,
            &self.creator,
            &caller.namespace,
            collection,
        )
    }
}
