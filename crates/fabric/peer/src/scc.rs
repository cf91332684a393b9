//! System chaincodes: `_lifecycle`, `cscc` and `qscc`, as functions of the peer instead of programs beside it.

mod cscc;
mod lifecycle;
mod private_values;
mod qscc;

use std::sync::Arc;

use bytes::Bytes;
use fabric_channel::msp::Identity;
use fabric_ledger::Simulator;
use fabric_proto::protos::Response;

pub use private_values::{PrivateValues, PrivateValuesError};

pub(crate) use private_values::PrivateReader;

use crate::endorser::{ChannelAccess, Shared};

/// Names that no chaincode of a user may have and that are left out of endorsement planning.
const SYSTEM: [&str; 4] = ["_lifecycle", "cscc", "lscc", "qscc"];

/// Whether a chaincode is part of the peer.
pub fn is_system(name: &str) -> bool {
    SYSTEM.contains(&name)
}

/// A call of a system chaincode.
pub(crate) struct SystemCall {
    pub(crate) shared: Arc<Shared>,
    /// The system chaincode.
    pub(crate) name: String,
    /// The chaincode that the proposal names; differs when another chaincode makes the call.
    pub(crate) original: String,
    pub(crate) args: Vec<Bytes>,
    /// The proposal's channel, not one named in the arguments.
    pub(crate) channel: Option<ChannelAccess>,
    pub(crate) creator: Arc<Identity>,
    pub(crate) simulator: Option<Arc<Simulator>>,
}

impl SystemCall {
    fn argument(&self, index: usize) -> &[u8] {
        self.args.get(index).map(Bytes::as_ref).unwrap_or_default()
    }

    fn text(&self, index: usize) -> String {
        String::from_utf8_lossy(self.argument(index)).into_owned()
    }

    /// Access for a resource; `channel` is the one that the call is about.
    fn check(&self, resource: &str, channel: Option<&ChannelAccess>) -> Result<(), String> {
        let bundle = channel.map(|channel| &*channel.bundle);
        let identity = match bundle {
            // The signature was verified against the proposal's own channel; elsewhere the creator must be a member too.
            Some(bundle) if !self.is_proposal_channel(channel) => {
                bundle.msp_manager().deserialize(self.creator.serialized()).map_err(|error| error.to_string())?
            }
            _ => Arc::clone(&self.creator),
        };
        self.shared.access.check_verified(resource, bundle, &identity).map_err(|error| error.to_string())
    }

    fn is_proposal_channel(&self, channel: Option<&ChannelAccess>) -> bool {
        let own = self.channel.as_ref().map(|channel| &channel.id);
        own.is_some() && own == channel.map(|channel| &channel.id)
    }
}

/// Runs a system chaincode. Reading blocks, joining and building block, so they stay off the threads that serve connections.
pub(crate) async fn invoke(call: SystemCall) -> Response {
    if call.name == "_lifecycle" && call.argument(0) == b"InstallChaincode" {
        return lifecycle::install(&call).await;
    }
    let name = call.name.clone();
    let running = tokio::task::spawn_blocking(move || match call.name.as_str() {
        "_lifecycle" => lifecycle::invoke(&call),
        "cscc" => cscc::invoke(&call),
        "qscc" => qscc::invoke(&call),
        other => error(format!("system chaincode {other} is not available: use _lifecycle")),
    });
    running.await.unwrap_or_else(|_| error(format!("system chaincode {name} ended unexpectedly; see the peer's log")))
}

fn success(payload: impl Into<Bytes>) -> Response {
    Response { status: 200, message: String::new(), payload: payload.into() }
}

fn error(message: impl Into<String>) -> Response {
    Response { status: 500, message: message.into(), payload: Bytes::new() }
}
