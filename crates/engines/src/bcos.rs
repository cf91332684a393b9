//! Chains of the second engine: FISCO BCOS 3.x- and Ethereum-compatible nodes.
//!
//! Files are made by the chain builder of our own program; everything else goes over the nodes' public JSON-RPC, so that a node
//! hosted by somebody else serves as well as one of our own.

mod accounts;
mod blocks;
mod contracts;
mod deploy;
mod evm;
mod files;
mod health;
mod history;
mod ini;
mod members;
mod plan;
mod profile;
mod rpc;
mod run;
mod send;
mod steps;
mod views;
mod words;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use alloy_json_abi::JsonAbi;
use async_trait::async_trait;
use futures::stream::BoxStream;
use konsort_drivers::{Launch, NodeRef};
use parking_lot::Mutex;

pub use accounts::{ADMINISTRATOR, Account, account_pem, accounts};
pub use steps::SETTINGS;

use crate::call::Download;
use crate::identity::{IdentityRecord, Trust};
use crate::spec::{EngineKind, NetworkSpec};
use crate::{
    Act, BlockRecord, CallRequest, CallResult, ConfigChange, Engine, EngineError, NetworkRequest, NodeHealth, Place,
    Progress, Simulation, StepOutcome, StepPlan, TransactionDetail,
};

/// The engine.
#[derive(Debug)]
pub struct Bcos {
    /// Our own program, whose chain builder makes the files.
    program: PathBuf,
    clients: rpc::Clients,
    /// What is known of the groups' changes.
    histories: Arc<history::Histories>,
    /// Interfaces that chains keep with contracts, by network folder, group and address: none when there was none at that time.
    interfaces: Mutex<HashMap<(PathBuf, String, String), Asked>>,
}

/// What a chain said when it was asked for a contract's ABI, and when.
type Asked = (Option<Arc<JsonAbi>>, Instant);

impl Bcos {
    /// With the program whose role `build_chain` makes certificates, keys and configuration.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            clients: rpc::Clients::default(),
            histories: Arc::default(),
            interfaces: Mutex::default(),
        }
    }
}

/// A node as drivers know it.
fn reference(spec: &NetworkSpec, node: &str) -> NodeRef {
    NodeRef { network: spec.id.clone(), node: node.to_owned() }
}

#[async_trait]
impl Engine for Bcos {
    fn kind(&self) -> EngineKind {
        EngineKind::Bcos
    }

    fn plan(&self, id: &str, request: &NetworkRequest, taken: &[u16]) -> Result<NetworkSpec, EngineError> {
        Self::planned(id, request, taken)
    }

    fn steps(&self, spec: &NetworkSpec, act: &Act) -> Result<Vec<StepPlan>, EngineError> {
        Self::planned_steps(spec, act)
    }

    async fn run(
        &self,
        place: Place<'_>,
        act: &Act,
        step: &StepPlan,
        progress: Progress<'_>,
    ) -> Result<StepOutcome, EngineError> {
        self.run_step(place, act, step, progress).await
    }

    fn launches(&self, place: Place<'_>) -> Result<Vec<Launch>, EngineError> {
        Ok(place
            .spec
            .nodes
            .iter()
            .filter(|node| node.external.is_none())
            .map(|node| run::launch(place, node))
            .collect())
    }

    async fn health(&self, place: Place<'_>) -> Vec<NodeHealth> {
        self.all_health(place).await
    }

    async fn blocks(
        &self,
        place: Place<'_>,
        channel: &str,
        from: u64,
    ) -> Result<BoxStream<'static, Result<BlockRecord, EngineError>>, EngineError> {
        self.block_stream(place, channel, from)
    }

    async fn transaction(&self, place: Place<'_>, channel: &str, id: &str) -> Result<TransactionDetail, EngineError> {
        self.detail(place, channel, id).await
    }

    async fn config_history(&self, place: Place<'_>, channel: &str) -> Result<Vec<ConfigChange>, EngineError> {
        self.history(place, channel).await
    }

    async fn simulate(&self, place: Place<'_>, call: &CallRequest) -> Result<Simulation, EngineError> {
        self.simulated(place, call).await
    }

    async fn submit(&self, place: Place<'_>, call: &CallRequest) -> Result<CallResult, EngineError> {
        self.submitted(place, call).await
    }

    async fn trace(&self, place: Place<'_>, channel: &str, id: &str) -> Result<serde_json::Value, EngineError> {
        self.traced(place, channel, id).await
    }

    async fn interface(
        &self,
        place: Place<'_>,
        channel: &str,
        contract: &str,
    ) -> Result<serde_json::Value, EngineError> {
        self.stored_interface(place, channel, contract).await
    }

    fn connection_profile(&self, place: Place<'_>, organisation: &str) -> Result<Download, EngineError> {
        Self::profile(place, organisation)
    }

    fn identities(&self, place: Place<'_>) -> Result<Vec<IdentityRecord>, EngineError> {
        Ok(Self::all_identities(place))
    }

    fn identity_files(&self, place: Place<'_>, organisation: &str, name: &str) -> Result<Vec<Download>, EngineError> {
        Self::identity(place, organisation, name)
    }

    fn import(&self, place: Place<'_>, trust: &[Trust]) -> Result<(), EngineError> {
        Self::imported(place, trust)
    }
}
