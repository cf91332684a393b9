//! The first calls of a contract that was just deployed: initialising it, waiting until it answers everywhere.

use std::time::{Duration, Instant};

use fabric_client::{Call, ClientError};
use futures::future::try_join_all;
use serde_json::{Map, Value, json};

use super::connect::{Net, peers_of, refusal};
use super::deploy::{PAUSE, json_map};
use crate::act::Deployment;
use crate::{EngineError, Progress};

/// How long a contract may take to answer its first call: a package is built then.
pub(super) const FIRST_CALL: Duration = Duration::from_mins(10);
/// The function of upstream's contract API that describes a contract.
pub(super) const METADATA: &str = "org.hyperledger.fabric:GetMetadata";

impl Net<'_> {
    pub(super) async fn initialise(
        &self,
        deployment: &Deployment,
        progress: Progress<'_>,
    ) -> Result<Map<String, Value>, EngineError> {
        let channel = &deployment.channel;
        let caller = self.caller(channel, None)?;
        let signer = self.signer(caller, deployment.signer.as_deref().unwrap_or("Admin"))?;
        let args = deployment.arguments.iter().map(text_of);
        let call = Call::new(channel.as_str(), deployment.name.as_str()).args(["Init"]).args(args).init();
        let until = Instant::now() + FIRST_CALL;
        let mut told = false;
        loop {
            match self.send(&call, caller, signer.clone()).await {
                Ok(sent) if sent.ok => return Ok(json_map(json!({"first_transaction": sent.transaction}))),
                // Another transaction, of an earlier run of this step, came first; the next attempt tells.
                Ok(sent) if !sent.code.ends_with("READ_CONFLICT") => {
                    return Err(EngineError::Refused { code: sent.code, why: sent.explanation });
                }
                // A contract refuses to be initialised twice: that is what a repeated step meets.
                Err(EngineError::Refused { why, .. }) if why.contains("is already initialized") => {
                    return Ok(Map::new());
                }
                // The first call builds and starts the contract.
                Err(error) if Instant::now() > until || !is_starting(&error) => return Err(error),
                Ok(_) | Err(_) => {}
            }
            if !told {
                progress(format!("{} is being started", deployment.name));
                told = true;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits until every peer runs the contract and knows of the others that they do.
    pub(super) async fn answering(&self, channel: &str, name: &str, progress: Progress<'_>) -> Result<(), EngineError> {
        let call = Call::new(channel, name).args([METADATA]);
        let (call, until) = (&call, Instant::now() + FIRST_CALL);
        let waits = peers_of(self.spec(), channel)?.into_iter().map(|node| async move {
            let Ok(client) = self.peer(node).await else {
                progress(format!("{} does not answer and is left out", node.id));
                return Ok(());
            };
            loop {
                match tokio::time::timeout(Duration::from_mins(5), client.call(call)).await {
                    Ok(Ok(_)) => return Ok(()),
                    // Most answers come from a running contract, if only to say that it does not describe itself.
                    Ok(Err(ClientError::Endorsement { message, .. })) if is_of_contract(&message) => return Ok(()),
                    Ok(Err(error)) if Instant::now() > until || !is_transient(&error) => {
                        return Err(refusal(&node.id, error));
                    }
                    Ok(Err(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
                    Err(_) => return Err(super::connect::silent(&node.id)),
                }
            }
        });
        try_join_all(waits).await?;
        self.endorsable(channel, name).await;
        Ok(())
    }

    /// Peers tell each other what they run; until that has gone round, gateways find too few of them. Waits a moment for it.
    async fn endorsable(&self, channel: &str, name: &str) {
        let call = Call::new(channel, name).args([METADATA]);
        let until = Instant::now() + Duration::from_secs(20);
        let Ok(organisation) = self.caller(channel, None) else { return };
        let Ok(signer) = self.admin(organisation) else { return };
        let Ok(peers) = self.peers_of(channel, None) else { return };
        let Ok(gateway) = self.gateway(peers[0], signer).await else { return };
        while Instant::now() < until {
            match gateway.endorse(&call).await {
                Err(error) if not_yet(&error) => tokio::time::sleep(Duration::from_millis(50)).await,
                _ => return,
            }
        }
    }
}

/// An argument as chaincode takes it: texts as they are, everything else as JSON.
fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Whether a complaint is the contract's own, not its peer's about the contract.
fn is_of_contract(message: &str) -> bool {
    let of_peer = ["is not installed", "is not defined", "could not launch chaincode", "failed to execute transaction"];
    !of_peer.iter().any(|words| message.contains(words))
}

/// Whether waiting helps: the peer has not committed the definition yet, or does not answer for a moment.
fn is_transient(error: &ClientError) -> bool {
    match error {
        ClientError::Endorsement { message, .. } => {
            message.contains("is not installed") || message.contains("is not defined")
        }
        other => not_yet(other),
    }
}

/// Whether a call failed because the contract is not up yet.
fn is_starting(error: &EngineError) -> bool {
    match error {
        EngineError::Unreachable { .. } => true,
        EngineError::Refused { code, why } => {
            matches!(code.as_str(), "FailedPrecondition" | "Unavailable" | "DeadlineExceeded")
                || why.contains("is not installed")
                || why.contains("is not defined")
        }
        _ => false,
    }
}

/// Whether a gateway found no peers for the endorsement policy, or none that answer.
pub(super) fn not_yet(error: &ClientError) -> bool {
    error.code().is_some_and(|code| matches!(konsort_node::code_name(code), "FailedPrecondition" | "Unavailable"))
}
