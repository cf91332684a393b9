//! The two engines as the platform sees them: the door [`Engine`] and the adapters behind it.
//!
//! An adapter turns a request into a network's specification, a specification into certificates, configuration files and
//! [`Launch`](konsort_drivers::Launch)es, and acts on a living network through its public protocols only, as any stranger would.
//!
//! What this crate does not do: it keeps no records (the platform does), places no processes (drivers do) and orders, validates or
//! executes nothing.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod act;
pub mod bcos;
pub mod call;
pub mod fabric;
pub mod identity;
pub mod ledger;
pub mod spec;

use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use konsort_drivers::{Driver, Launch};

pub use act::{Act, Artifact, StepPlan};
pub use call::{CallRequest, CallResult, Simulation};
pub use identity::{IdentityRecord, Trust};
pub use ledger::{BlockRecord, ConfigChange, NodeHealth, TransactionDetail};
pub use spec::{NetworkRequest, NetworkSpec};

/// What an engine can refuse or fail at.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The request does not make sense; `field` is its path in the request (`organisations[1].name`).
    #[error("{field}: {why}")]
    Invalid {
        /// Which field.
        field: String,
        /// What is wrong with it and what would be right.
        why: String,
    },
    /// The thing asked for is not there.
    #[error("{what} is not there")]
    NotFound {
        /// What was asked for.
        what: String,
    },
    /// The network said no: a revert, a failed endorsement, an invalid transaction.
    #[error("{code}: {why}")]
    Refused {
        /// The engine's own code (`MVCC_READ_CONFLICT`, `RevertInstruction`, …).
        code: String,
        /// What it means and what to do.
        why: String,
    },
    /// A node does not answer; trying again may help.
    #[error("{node} does not answer: {why}")]
    Unreachable {
        /// Node and address.
        node: String,
        /// Why.
        why: String,
    },
    /// A file operation failed.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// The driver failed.
    #[error(transparent)]
    Driver(#[from] konsort_drivers::DriverError),
    /// This engine has no such thing.
    #[error("{0}")]
    Unsupported(String),
}

/// A network as an engine needs it: the specification, its folder and the driver that places its nodes.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// What the network should be.
    pub spec: &'a NetworkSpec,
    /// Folder of everything the platform holds of it (certificates, configuration, ledgers of process nodes). Mode 0700.
    pub folder: &'a Path,
    /// Who places its nodes.
    pub driver: &'a Arc<dyn Driver>,
}

/// How a step tells what it is doing; each line goes to the operation's log.
pub type Progress<'a> = &'a (dyn Fn(String) + Send + Sync);

/// What a finished step changed.
#[derive(Debug, Clone, Default)]
pub struct StepOutcome {
    /// The specification after the step, when it changed.
    pub spec: Option<NetworkSpec>,
    /// What the step produced for the operation's result (`address`, `package_id`, `first_transaction`, …).
    pub result: serde_json::Map<String, serde_json::Value>,
}

/// One kind of network.
///
/// Planning is pure. Running a step again after a crash at any instant has the same result as running it once: each step looks
/// first at what has been done.
#[async_trait]
pub trait Engine: Send + Sync + Debug {
    /// Which engine this is.
    fn kind(&self) -> spec::EngineKind;

    /// Turns a request into a specification: names, ports, defaults; refuses nonsense by field. `taken` are ports that other
    /// networks of the platform use.
    fn plan(&self, id: &str, request: &NetworkRequest, taken: &[u16]) -> Result<NetworkSpec, EngineError>;

    /// The steps of an act on a network, in order.
    fn steps(&self, spec: &NetworkSpec, act: &Act) -> Result<Vec<StepPlan>, EngineError>;

    /// Runs one step of [`Engine::steps`].
    async fn run(
        &self,
        place: Place<'_>,
        act: &Act,
        step: &StepPlan,
        progress: Progress<'_>,
    ) -> Result<StepOutcome, EngineError>;

    /// How each node of the specification is started.
    fn launches(&self, place: Place<'_>) -> Result<Vec<Launch>, EngineError>;

    /// What each node says of itself (height, role, peers, certificate days), by its public endpoints. Nodes that do not answer
    /// are in the list with their reason.
    async fn health(&self, place: Place<'_>) -> Vec<NodeHealth>;

    /// Blocks of a channel (Fabric) or group (BCOS) from a height on: those that are there, then each as it is committed. Ends
    /// with an error when no node answers; the caller starts again from the next height.
    async fn blocks(
        &self,
        place: Place<'_>,
        channel: &str,
        from: u64,
    ) -> Result<BoxStream<'static, Result<BlockRecord, EngineError>>, EngineError>;

    /// Everything there is to say about one transaction: raw and decoded, endorsements or receipt, read-write set or logs.
    async fn transaction(&self, place: Place<'_>, channel: &str, id: &str) -> Result<TransactionDetail, EngineError>;

    /// The configuration changes of a channel, newest first.
    async fn config_history(&self, place: Place<'_>, channel: &str) -> Result<Vec<ConfigChange>, EngineError>;

    /// Runs a call without sending it: return value, events, state difference or read-write set, per-peer answers.
    async fn simulate(&self, place: Place<'_>, call: &CallRequest) -> Result<Simulation, EngineError>;

    /// Runs a call that only reads, on one node if that suffices: cheaper than [`Engine::simulate`], without read-write set and
    /// comparison. Transient data reaches the caller's organisation only, unless `endorsers` names others.
    async fn evaluate(&self, place: Place<'_>, call: &CallRequest) -> Result<Simulation, EngineError> {
        self.simulate(place, call).await
    }

    /// Sends a call and waits until it is committed (or refused).
    async fn submit(&self, place: Place<'_>, call: &CallRequest) -> Result<CallResult, EngineError>;

    /// Steps of an executed transaction (BCOS: opcode trace, call tree, storage; Fabric: read-write set, endorsement comparison,
    /// conflict in words).
    async fn trace(&self, place: Place<'_>, channel: &str, id: &str) -> Result<serde_json::Value, EngineError>;

    /// The interface document of a deployed contract as far as the network itself can tell it (Fabric metadata, stored ABI).
    async fn interface(
        &self,
        place: Place<'_>,
        channel: &str,
        contract: &str,
    ) -> Result<serde_json::Value, EngineError>;

    /// A connection profile (Fabric: connection-profile JSON; BCOS: config.toml text) for one organisation's applications.
    fn connection_profile(&self, place: Place<'_>, organisation: &str) -> Result<call::Download, EngineError>;

    /// Identities that the platform holds keys of.
    fn identities(&self, place: Place<'_>) -> Result<Vec<IdentityRecord>, EngineError> {
        let _ = place;
        Ok(Vec::new())
    }

    /// The files of an identity (certificate and key in PEM), for its owner.
    fn identity_files(
        &self,
        place: Place<'_>,
        organisation: &str,
        name: &str,
    ) -> Result<Vec<call::Download>, EngineError> {
        let _ = place;
        Err(EngineError::NotFound { what: format!("the identity {name} of {organisation}") })
    }

    /// Keeps in the network's folder what is needed to use a network whose nodes somebody else runs. The specification's nodes are
    /// external.
    fn import(&self, place: Place<'_>, trust: &[Trust]) -> Result<(), EngineError> {
        let _ = (place, trust);
        Err(EngineError::Unsupported("this engine's networks cannot be imported yet".to_owned()))
    }
}
