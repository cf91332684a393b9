//! The fabric engine: organisations with certificate authorities, peers and Raft orderers, channels, chaincode.

use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use konsort_drivers::Launch;

use crate::act::{Act, StepPlan};
use crate::call::{CallRequest, CallResult, Download, Simulation};
use crate::ledger::{BlockRecord, ConfigChange, NodeHealth, TransactionDetail};
use crate::spec::{EngineKind, NetworkRequest, NetworkSpec};
use crate::{Engine, EngineError, Place, Progress, StepOutcome};

/// The adapter for networks of peers and orderers. Clones share open connections.
#[derive(Debug, Clone, Default)]
pub struct Fabric {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {}

impl Fabric {
    /// An adapter without connections yet.
    pub fn new() -> Self {
        Self::default()
    }
}

fn later<T>(what: &str) -> Result<T, EngineError> {
    Err(EngineError::Unsupported(format!("{what} is being written")))
}

#[async_trait]
impl Engine for Fabric {
    fn kind(&self) -> EngineKind {
        EngineKind::Fabric
    }

    fn plan(&self, _: &str, _: &NetworkRequest, _: &[u16]) -> Result<NetworkSpec, EngineError> {
        let _ = &self.shared;
        later("plan")
    }

    fn steps(&self, _: &NetworkSpec, _: &Act) -> Result<Vec<StepPlan>, EngineError> {
        later("steps")
    }

    async fn run(&self, _: Place<'_>, _: &Act, _: &StepPlan, _: Progress<'_>) -> Result<StepOutcome, EngineError> {
        later("run")
    }

    fn launches(&self, _: Place<'_>) -> Result<Vec<Launch>, EngineError> {
        later("launches")
    }

    async fn health(&self, _: Place<'_>) -> Vec<NodeHealth> {
        Vec::new()
    }

    async fn blocks(
        &self,
        _: Place<'_>,
        _: &str,
        _: u64,
    ) -> Result<BoxStream<'static, Result<BlockRecord, EngineError>>, EngineError> {
        later("blocks")
    }

    async fn transaction(&self, _: Place<'_>, _: &str, _: &str) -> Result<TransactionDetail, EngineError> {
        later("transaction")
    }

    async fn config_history(&self, _: Place<'_>, _: &str) -> Result<Vec<ConfigChange>, EngineError> {
        later("config_history")
    }

    async fn simulate(&self, _: Place<'_>, _: &CallRequest) -> Result<Simulation, EngineError> {
        later("simulate")
    }

    async fn submit(&self, _: Place<'_>, _: &CallRequest) -> Result<CallResult, EngineError> {
        later("submit")
    }

    async fn trace(&self, _: Place<'_>, _: &str, _: &str) -> Result<serde_json::Value, EngineError> {
        later("trace")
    }

    async fn interface(&self, _: Place<'_>, _: &str, _: &str) -> Result<serde_json::Value, EngineError> {
        later("interface")
    }

    fn connection_profile(&self, _: Place<'_>, _: &str) -> Result<Download, EngineError> {
        later("connection_profile")
    }
}
