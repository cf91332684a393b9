//! The fabric engine: organisations with certificate authorities, peers and Raft orderers, channels, chaincode.
//!
//! Nodes are configured by files in the network's folder and spoken to by their public protocols only: gateway, endorser and
//! deliver services of peers, broadcast, deliver and channel participation of orderers, and both kinds' operations service. They
//! address each other as the driver says ([`konsort_drivers::Driver::between_nodes`]); their certificates carry their host name
//! beside `localhost` and `127.0.0.1`, so that one specification runs in every kind of place.

mod cache;
mod channel;
mod conflict;
mod connect;
mod definition;
mod deploy;
mod detail;
mod explain;
mod files;
mod first_call;
mod health;
mod history;
mod identity;
mod invoke;
mod launch;
mod layout;
mod plan;
mod profile;
mod record;
mod run;
mod settings;
mod steps;
mod update;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use konsort_drivers::Launch;
use konsort_node::Environment;

pub use explain::verdict;

use self::cache::Connections;
use self::connect::Net;
use crate::act::{Act, StepPlan};
use crate::call::{CallRequest, CallResult, Download, Simulation};
use crate::identity::{IdentityRecord, Trust};
use crate::ledger::{BlockRecord, ConfigChange, NodeHealth, TransactionDetail};
use crate::spec::{EngineKind, NetworkRequest, NetworkSpec};
use crate::{Engine, EngineError, Place, Progress, StepOutcome};

/// What a peer on this machine may see of the environment besides what build tools may: it builds chaincode with them.
const PEER_ENVIRONMENT: [&str; 4] = ["PATH", "HOME", "RUSTUP_HOME", "FABRIC_LOGGING_SPEC"];

/// The adapter for networks of peers and orderers. Clones share open connections.
#[derive(Debug, Clone, Default)]
pub struct Fabric {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    connections: Connections,
    environment: BTreeMap<String, String>,
}

impl Fabric {
    /// An adapter whose peers build chaincode with the tools that `environment` leads to (its search path, proxies and the like;
    /// nothing else of it is passed on).
    pub fn new(environment: &Environment) -> Self {
        let building = Environment::COMMON.iter().chain(&Environment::BUILDING);
        let environment = building
            .chain(&PEER_ENVIRONMENT)
            .filter_map(|name| Some(((*name).to_owned(), environment.get(name)?.to_owned())))
            .collect();
        Self { shared: Arc::new(Shared { connections: Connections::default(), environment }) }
    }

    fn net<'a>(&'a self, place: Place<'a>) -> Net<'a> {
        Net { place, connections: &self.shared.connections }
    }
}

#[async_trait]
impl Engine for Fabric {
    fn kind(&self) -> EngineKind {
        EngineKind::Fabric
    }

    fn plan(&self, id: &str, request: &NetworkRequest, taken: &[u16]) -> Result<NetworkSpec, EngineError> {
        plan::plan(id, request, taken)
    }

    fn steps(&self, spec: &NetworkSpec, act: &Act) -> Result<Vec<StepPlan>, EngineError> {
        steps::steps(spec, act)
    }

    async fn run(
        &self,
        place: Place<'_>,
        act: &Act,
        step: &StepPlan,
        progress: Progress<'_>,
    ) -> Result<StepOutcome, EngineError> {
        run::run(self.net(place), &self.shared, act, step, progress).await
    }

    fn launches(&self, place: Place<'_>) -> Result<Vec<Launch>, EngineError> {
        let own = place.spec.nodes.iter().filter(|node| node.external.is_none());
        own.map(|node| launch::launch(place, node, &self.shared.environment)).collect()
    }

    async fn health(&self, place: Place<'_>) -> Vec<NodeHealth> {
        self.net(place).health().await
    }

    async fn blocks(
        &self,
        place: Place<'_>,
        channel: &str,
        from: u64,
    ) -> Result<BoxStream<'static, Result<BlockRecord, EngineError>>, EngineError> {
        self.net(place).blocks(channel, from).await
    }

    async fn transaction(&self, place: Place<'_>, channel: &str, id: &str) -> Result<TransactionDetail, EngineError> {
        self.net(place).transaction(channel, id).await
    }

    async fn config_history(&self, place: Place<'_>, channel: &str) -> Result<Vec<ConfigChange>, EngineError> {
        self.net(place).config_history(channel).await
    }

    async fn simulate(&self, place: Place<'_>, call: &CallRequest) -> Result<Simulation, EngineError> {
        self.net(place).simulate(call).await
    }

    async fn evaluate(&self, place: Place<'_>, call: &CallRequest) -> Result<Simulation, EngineError> {
        self.net(place).evaluate(call).await
    }

    async fn submit(&self, place: Place<'_>, call: &CallRequest) -> Result<CallResult, EngineError> {
        self.net(place).submit(call).await
    }

    async fn trace(&self, place: Place<'_>, channel: &str, id: &str) -> Result<serde_json::Value, EngineError> {
        self.net(place).trace(channel, id).await
    }

    async fn interface(
        &self,
        place: Place<'_>,
        channel: &str,
        contract: &str,
    ) -> Result<serde_json::Value, EngineError> {
        self.net(place).interface(channel, contract).await
    }

    fn connection_profile(&self, place: Place<'_>, organisation: &str) -> Result<Download, EngineError> {
        self.net(place).connection_profile(organisation)
    }

    fn identities(&self, place: Place<'_>) -> Result<Vec<IdentityRecord>, EngineError> {
        self.net(place).identities()
    }

    fn identity_files(&self, place: Place<'_>, organisation: &str, name: &str) -> Result<Vec<Download>, EngineError> {
        self.net(place).identity_files(layout::organisation(place.spec, organisation)?, name)
    }

    fn import(&self, place: Place<'_>, trust: &[Trust]) -> Result<(), EngineError> {
        self.net(place).import(trust)
    }
}
