//! One execution of a chaincode: what the endorser hands in, what comes back, and the way back up for what the runtime cannot know.

use std::sync::Arc;

use bytes::Bytes;
use fabric_ledger::{Ledger, Simulator};
use fabric_proto::protos::{ChaincodeEvent, ChaincodeInput, Response, SignedProposal};
use futures::future::BoxFuture;

use crate::error::ChaincodeError;

/// What a transaction needs to run on a chaincode.
#[derive(Clone)]
pub struct Call {
    /// The package id (`label:hash`) under which the chaincode registers.
    pub package_id: String,
    /// The channel of the transaction.
    pub channel: String,
    /// The chaincode's name on the channel, which is the namespace of its keys.
    pub namespace: String,
    /// The transaction id.
    pub txid: String,
    /// Function and arguments, with the decorations of the endorser.
    pub input: ChaincodeInput,
    /// The call is the chaincode's initialization (the message is INIT and private data is refused).
    pub is_init: bool,
    /// The client's signed proposal, from which the chaincode reads its caller and the transient data.
    pub signed_proposal: Option<SignedProposal>,
    /// The read-write set being made. Calls between chaincodes on one channel share it.
    pub simulator: Arc<Simulator>,
    /// The channel's ledger for history queries; `None` when the history database is switched off.
    pub ledger: Option<Ledger>,
    /// What the channel's application capabilities allow.
    pub capabilities: Capabilities,
}

impl std::fmt::Debug for Call {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Call")
            .field("package_id", &self.package_id)
            .field("channel", &self.channel)
            .field("namespace", &self.namespace)
            .field("txid", &self.txid)
            .field("is_init", &self.is_init)
            .finish_non_exhaustive()
    }
}

/// Operations that depend on the application capabilities of the channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Key-level endorsement policies (application capability V1_3 and later).
    pub key_level_endorsement: bool,
    /// Purging private data (application capability V2_5 and later).
    pub purge_private_data: bool,
}

impl Default for Capabilities {
    /// Everything that a channel with application capability V2_5 allows.
    fn default() -> Self {
        Self { key_level_endorsement: true, purge_private_data: true }
    }
}

/// What a chaincode answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Status, message and payload.
    pub response: Response,
    /// The event it set; chaincode name and transaction id are filled in by the runtime.
    pub event: Option<ChaincodeEvent>,
}

/// The chaincode that another chaincode calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Name of the called chaincode.
    pub chaincode: String,
    /// Channel of the called chaincode; the caller's channel when the caller named none.
    pub channel: String,
    /// The channel is the caller's: the called chaincode works on the caller's simulator. On another channel the endorser opens a
    /// simulator of its own and drops what is written there.
    pub same_channel: bool,
}

impl Target {
    /// Reads `name[:version][/channel]`; the version is ignored.
    pub fn parse(name: &str, caller_channel: &str) -> Self {
        let (name, channel) = name.split_once('/').unwrap_or((name, ""));
        let chaincode = name.split_once(':').map_or(name, |(chaincode, _version)| chaincode);
        let channel = if channel.is_empty() { caller_channel } else { channel };
        Self { chaincode: chaincode.to_owned(), channel: channel.to_owned(), same_channel: channel == caller_channel }
    }
}

/// What the transaction's creator may do with a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CollectionPermission {
    /// May read private values.
    pub read: bool,
    /// May write private values.
    pub write: bool,
}

/// Why a call from chaincode to chaincode did not run.
#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    /// Refused before execution: access control, unknown channel.
    #[error("{0}")]
    Refused(String),
    /// The target cannot be invoked: no definition, initialization missing.
    #[error("invalid invocation: {0}")]
    Invalid(String),
    /// The target ran, or could not be started.
    #[error(transparent)]
    Execution(#[from] ChaincodeError),
}

/// The endorser's side of questions that a chaincode raises and the runtime cannot answer.
pub trait Dispatcher: Send + Sync {
    /// Runs `target` for `caller`: checks access control on the target channel, finds the definition (recording the read in the
    /// simulator), checks initialization and calls [`crate::Runtime::execute`].
    fn invoke<'a>(
        &'a self,
        caller: &'a Call,
        target: Target,
        input: ChaincodeInput,
    ) -> BoxFuture<'a, Result<Outcome, DispatchError>>;

    /// What the creator of the transaction may do with `collection` of the caller's namespace. Asked once per collection and call.
    ///
    /// The error text is sent to the chaincode as it stands.
    fn collection_permission(&self, caller: &Call, collection: &str) -> Result<CollectionPermission, String>;
}

/// The key under which a chaincode's namespace records the version that initialized it.
pub const INITIALIZED_KEY: &str = "\u{0}\u{10FFFF}initialized";

/// Upstream's rule for chaincode with `init_required`: the first call of a version must be its initialization, and only that one.
///
/// Reads the marker of `chaincode` through the simulator (a recorded read) when `enforce_init` is set, and writes it when the
/// call is the initialization. `Ok(true)` says that the call is to be sent as INIT; the error is upstream's text, to be wrapped
/// in `invalid invocation`.
pub fn check_initialization(
    simulator: &Simulator,
    chaincode: &str,
    version: &str,
    enforce_init: bool,
    is_init: bool,
) -> Result<bool, String> {
    let mut needs_initialization = false;
    if enforce_init {
        let marker = simulator
            .get_state(chaincode, INITIALIZED_KEY)
            .map_err(|error| format!("could not get 'initialized' key: {error}"))?;
        needs_initialization = marker.as_deref().unwrap_or_default() != version.as_bytes();
    }
    if is_init {
        if !enforce_init {
            return Err(format!("chaincode '{chaincode}' does not require initialization but called as init"));
        }
        if !needs_initialization {
            return Err(format!("chaincode '{chaincode}' is already initialized but called as init"));
        }
        simulator
            .set_state(chaincode, INITIALIZED_KEY, Bytes::copy_from_slice(version.as_bytes()))
            .map_err(|error| format!("could not set 'initialized' key: {error}"))?;
        return Ok(true);
    }
    if needs_initialization {
        return Err(format!(
            "chaincode '{chaincode}' has not been initialized for this version, must call as init first"
        ));
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::Target;

    #[test]
    fn target_names_may_carry_version_and_channel() {
        let target = Target::parse("basic:1.0/other", "mychannel");
        assert_eq!(
            (target.chaincode.as_str(), target.channel.as_str(), target.same_channel),
            ("basic", "other", false)
        );
        let target = Target::parse("basic", "mychannel");
        assert_eq!(
            (target.chaincode.as_str(), target.channel.as_str(), target.same_channel),
            ("basic", "mychannel", true)
        );
        assert!(Target::parse("basic/mychannel", "mychannel").same_channel);
    }
}
