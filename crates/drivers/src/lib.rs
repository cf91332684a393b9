//! Where nodes run: the door [`Driver`] and what is behind it.
//!
//! A driver places nodes that somebody else has configured: it is told a command line, a folder and ports, and it keeps the node
//! running there. It knows nothing of ledgers or consensus.
//!
//! What this crate does not do: it writes no configuration files and speaks no node's protocol.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod docker;
pub mod external;
pub mod process;

mod disk;
mod log;
mod record;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};

/// The kinds of places a node can run in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DriverKind {
    /// A process of this machine.
    Process,
    /// A container of a Docker Engine (or podman's socket) on this machine.
    Docker,
    /// Somewhere else, run by somebody else: watched and used, never started or stopped.
    External,
}

/// One node of one network; both are ids that the platform gave, safe as file and container names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NodeRef {
    /// The network.
    pub network: String,
    /// The node.
    pub node: String,
}

/// Everything needed to run a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// Whose node this is.
    pub node: NodeRef,
    /// Host name by which other nodes of the same network call it; resolved by the driver where names exist.
    pub hostname: String,
    /// Arguments to our own program.
    pub args: Vec<String>,
    /// Environment added to an otherwise empty one.
    pub env: BTreeMap<String, String>,
    /// Working directory; everything that the node reads or writes is in this folder or in `reads`.
    pub folder: PathBuf,
    /// Further folders that the node may read.
    pub reads: Vec<PathBuf>,
    /// Ports the node listens on; the same numbers inside and outside.
    pub ports: Vec<u16>,
    /// Memory the node may use, in bytes; `None`: no limit. Only containers are held to it.
    pub memory: Option<u64>,
}

/// What a driver sees of a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Observed {
    /// The node's id.
    pub node: String,
    /// What it is doing.
    pub state: RunState,
    /// Process id, when there is a process on this machine.
    pub pid: Option<u32>,
    /// Container id, when there is one.
    pub container: Option<String>,
    /// Start of the present run, milliseconds since 1970.
    pub started_at: Option<i64>,
    /// Restarts since it was placed that nobody asked for.
    pub restarts: u32,
    /// Why the last run ended, in words.
    pub last_exit: Option<String>,
    /// CPU time used by the present run, milliseconds.
    pub cpu_ms: Option<u64>,
    /// Resident memory, bytes.
    pub memory: Option<u64>,
    /// Size of its folder on disk, bytes.
    pub disk: Option<u64>,
}

/// The run states of a placed node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Running.
    Running,
    /// Ended by itself; the driver will start it again after a pause.
    BackingOff,
    /// Stopped on request, or never started.
    Stopped,
    /// Not known to the driver.
    Absent,
}

/// What can go wrong with placing a node.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// A port that the node needs is in use.
    #[error("{node} cannot listen on port {port}: {why}; stop that program or choose other ports")]
    PortTaken {
        /// The node.
        node: String,
        /// The port.
        port: u16,
        /// Who has it.
        why: String,
    },
    /// The engine behind the driver does not answer.
    #[error("{driver} does not answer: {why}; {remedy}")]
    Unavailable {
        /// What was called.
        driver: String,
        /// Why it failed.
        why: String,
        /// What to do.
        remedy: String,
    },
    /// An operation on a file, process or container failed.
    #[error("cannot {what}: {why}")]
    Failed {
        /// What was tried.
        what: String,
        /// Why it failed.
        why: String,
    },
}

/// How a stop went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// The node ended by itself when asked to.
    Gracefully,
    /// It had to be ended by force.
    Forced,
    /// It was not running.
    AlreadyStopped,
}

/// Keeps nodes running in one kind of place.
///
/// Every method may be called again after a crash of the caller at any instant, with the same result: starting what runs and
/// stopping what does not are successes. A node that was started and ends by itself is started again with growing pauses; after
/// a restart of the calling program [`Driver::adopt`] finds the nodes that went on running.
#[async_trait]
pub trait Driver: Send + Sync + Debug {
    /// Which kind this is.
    fn kind(&self) -> DriverKind;

    /// Says early, before anything is made, why this driver cannot be used now.
    async fn check(&self) -> Result<(), DriverError>;

    /// Starts a node and keeps it running. A node that runs with the same launch is left alone.
    async fn start(&self, launch: &Launch) -> Result<(), DriverError>;

    /// Stops a node, by force when `grace` has passed; it stays stopped until it is started.
    async fn stop(&self, node: &NodeRef, grace: Duration) -> Result<Stopped, DriverError>;

    /// Forgets a stopped node: containers and records go, the folder's files stay.
    async fn remove(&self, node: &NodeRef) -> Result<(), DriverError>;

    /// Takes over nodes that an earlier run of the calling program started; `launches` are those that should run.
    async fn adopt(&self, launches: &[Launch]) -> Result<(), DriverError>;

    /// The nodes of a network as they are now.
    async fn observe(&self, network: &str) -> Result<Vec<Observed>, DriverError>;

    /// The last `tail` lines of a node's log, then, when `follow` is set, further lines as they are written.
    async fn logs(&self, node: &NodeRef, tail: usize, follow: bool) -> Result<BoxStream<'static, String>, DriverError>;

    /// Where a node listens as seen from the platform, given the port it was configured with.
    fn reachable(&self, node: &NodeRef, port: u16) -> String;

    /// Where a node listens as seen from another node of its network.
    fn between_nodes(&self, launch_hostname: &str, port: u16) -> String;

    /// The address that a node's configuration must name for listening, so that [`Driver::reachable`] and
    /// [`Driver::between_nodes`] lead to it.
    fn listen_address(&self) -> &'static str {
        "127.0.0.1"
    }

    /// Path of our own program as a node sees it, for configurations that name it.
    fn program(&self) -> &Path;
}

/// Carries something through to its end even when the caller stops waiting for it.
pub(crate) async fn through<T: Send + 'static>(
    what: impl Future<Output = Result<T, DriverError>> + Send + 'static,
) -> Result<T, DriverError> {
    match tokio::spawn(what).await {
        Ok(result) => result,
        Err(error) => Err(DriverError::Failed { what: "finish it".to_owned(), why: error.to_string() }),
    }
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn launch(node: NodeRef, folder: &Path) -> Launch {
        Launch {
            hostname: node.node.clone(),
            node,
            args: Vec::new(),
            env: BTreeMap::new(),
            folder: folder.to_owned(),
            reads: Vec::new(),
            ports: Vec::new(),
            memory: None,
        }
    }
}
