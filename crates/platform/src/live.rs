//! What networks are doing now, and did lately: every node is looked at every other second, answers are kept in memory.

mod history;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use konsort_drivers::{Observed, RunState};
use konsort_engines::NodeHealth;
use konsort_engines::ledger::BlockRecord;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use crate::control::{Control, Network};
use crate::db::DbError;
use crate::events::Topic;
use crate::networks::model::{NetworkDoc, NetworkState};
use crate::time;

pub(crate) use history::{BUCKET, History, MINUTE, Sample, prune, read_coarse, write_coarse};

/// How often nodes of a running network are looked at.
const EVERY: Duration = Duration::from_secs(2);
/// How often those of one that does not run are.
const EVERY_IDLE: Duration = Duration::from_secs(10);
/// The longest to wait for an answer.
const LONGEST: Duration = Duration::from_secs(8);
/// The shortest time over which the use of a core is worked out.
const CPU_OVER: Duration = Duration::from_secs(1);
/// A node that has been started this lately may still be silent.
const STARTING: i64 = 20_000;

/// What a node is doing, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NodeStatus {
    /// It is about to answer, or was not looked at yet.
    Pending,
    /// It runs and answers.
    Running,
    /// It runs but does not answer, or says that something is wrong.
    Degraded,
    /// It was stopped on purpose.
    Stopped,
    /// It should run and does not.
    Failed,
}

/// What is known of a node.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct NodeLive {
    pub(crate) observed: Option<Observed>,
    pub(crate) health: Option<NodeHealth>,
    /// Share of a core it used lately, in thousandths.
    pub(crate) cpu: Option<u64>,
}

/// What is known of a network.
#[derive(Debug, Clone, Default)]
pub(crate) struct Snapshot {
    pub(crate) at: i64,
    /// When the look at its nodes began: what has changed since is not in it.
    began: Option<Instant>,
    pub(crate) nodes: BTreeMap<String, NodeLive>,
}

/// What is known of every network.
#[derive(Debug, Default)]
pub(crate) struct Live {
    networks: RwLock<HashMap<String, Arc<NetworkLive>>>,
}

/// What is known of one network, and its last hour.
#[derive(Debug, Default)]
pub(crate) struct NetworkLive {
    snapshot: RwLock<Snapshot>,
    pub(crate) history: parking_lot::Mutex<History>,
}

impl NetworkLive {
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.snapshot.read().clone()
    }
}

impl Live {
    /// What is known of a network.
    pub(crate) fn of(&self, network: &str) -> Arc<NetworkLive> {
        if let Some(known) = self.networks.read().get(network) {
            return Arc::clone(known);
        }
        Arc::clone(self.networks.write().entry(network.to_owned()).or_default())
    }

    /// Forgets a network.
    pub(crate) fn forget(&self, network: &str) {
        self.networks.write().remove(network);
    }

    /// Counts committed blocks.
    pub(crate) fn count(&self, network: &str, blocks: &[BlockRecord]) {
        let network = self.of(network);
        let mut history = network.history.lock();
        for block in blocks {
            history.count(block.time, block.transactions.len() as u64);
        }
    }
}

/// The word for a node.
pub(crate) fn status_of(doc: &NetworkDoc, node: &str, live: Option<&NodeLive>, now: i64) -> NodeStatus {
    let external = doc.spec.node(node).is_some_and(|spec| spec.external.is_some());
    let meant_to_run = !doc.stopped_nodes.contains(node)
        && matches!(doc.state, NetworkState::Running | NetworkState::Degraded | NetworkState::Pending);
    let Some(live) = live else {
        return if meant_to_run { NodeStatus::Pending } else { NodeStatus::Stopped };
    };
    let answers = live.health.as_ref().is_some_and(|health| health.reachable);
    let well = live.health.as_ref().is_some_and(|health| health.reachable && health.problem.is_none());
    if external {
        return if well { NodeStatus::Running } else { NodeStatus::Degraded };
    }
    match live.observed.as_ref().map(|observed| (observed.state, observed.started_at)) {
        Some((RunState::Running, started)) => {
            if well {
                NodeStatus::Running
            } else if !answers && started.is_none_or(|started| now - started < STARTING) {
                NodeStatus::Pending
            } else {
                NodeStatus::Degraded
            }
        }
        Some((RunState::BackingOff, _)) => NodeStatus::Failed,
        Some((RunState::Stopped | RunState::Absent, _)) | None => {
            if !meant_to_run {
                NodeStatus::Stopped
            } else if doc.state == NetworkState::Pending {
                NodeStatus::Pending
            } else {
                NodeStatus::Failed
            }
        }
    }
}

/// Looks at a network's nodes until told to stop.
pub(crate) async fn watch(control: Arc<Control>, network: String, stop: CancellationToken) {
    let live = control.live.of(&network);
    let mut told: BTreeMap<String, NodeStatus> = BTreeMap::new();
    let mut minute = time::now() / 60_000;
    loop {
        let mut idle = true;
        if let Ok(handle) = control.network(&network).await {
            idle = !matches!(handle.record.doc.state, NetworkState::Running | NetworkState::Pending);
            let snapshot = look(&live, &handle).await;
            if let Err(error) = tell_changes(&control, &handle.record.doc, &network, &snapshot, &mut told).await {
                tracing::debug!(%network, %error, "a node's state could not be told");
            }
            let now = time::now() / 60_000;
            if now != minute {
                let rows = live.history.lock().coarse(minute * 60_000);
                if let Err(error) = write_coarse(control.db(), &network, minute * 60_000, &rows).await {
                    tracing::debug!(%network, %error, "a minute's figures are lost");
                }
                minute = now;
            }
        }
        let pause = if idle { EVERY_IDLE } else { EVERY };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Looks at a network's nodes now, so that nobody who asks after an operation is told what was true before it.
pub(crate) async fn refresh(control: &Control, network: &str) {
    if let Ok(handle) = control.network(network).await {
        // Slow nodes are for the next regular look.
        let _in_time = tokio::time::timeout(EVERY, look(&control.live.of(network), &handle)).await;
    }
}

/// One look at the nodes of a network.
async fn look(live: &NetworkLive, network: &Network) -> Snapshot {
    let began = Instant::now();
    let doc = &network.record.doc;
    let observed = tokio::time::timeout(LONGEST, network.driver.observe(&network.record.id)).await;
    let observed = observed.ok().and_then(Result::ok).unwrap_or_default();
    // Nodes are asked once one of them runs: before, there is nobody, and perhaps not even the files that say who may be asked.
    let anybody = doc.imported
        || doc.state == NetworkState::Running
        || observed.iter().any(|node| node.state == RunState::Running);
    let health = async { if anybody { network.engine.health(network.place()).await } else { Vec::new() } };
    let health = tokio::time::timeout(LONGEST, health).await.unwrap_or_default();
    note(live, doc, began, observed, health)
}

/// Keeps what was seen, unless a look that began later has ended already; returns what is known then.
fn note(
    live: &NetworkLive,
    doc: &NetworkDoc,
    began: Instant,
    observed: Vec<Observed>,
    health: Vec<NodeHealth>,
) -> Snapshot {
    let mut known = live.snapshot.write();
    if known.began.is_some_and(|other| other > began) {
        return known.clone();
    }
    let now = time::now();
    let elapsed = known.began.map_or(Duration::ZERO, |before| began - before);
    let mut nodes: BTreeMap<String, NodeLive> =
        doc.spec.nodes.iter().map(|node| (node.id.clone(), NodeLive::default())).collect();
    for observed in observed {
        if let Some(node) = nodes.get_mut(&observed.node) {
            node.observed = Some(observed);
        }
    }
    for health in health {
        if let Some(node) = nodes.get_mut(&health.node) {
            node.health = Some(health);
        }
    }
    for (id, node) in &mut nodes {
        let used = |node: &NodeLive| node.observed.as_ref().and_then(|observed| observed.cpu_ms);
        let Some(before) = known.nodes.get(id) else { continue };
        let (Some(after), Some(earlier)) = (used(node), used(before)) else { continue };
        // The system counts in hundredths of a second: two looks in a row would show nothing, or far too much.
        if elapsed < CPU_OVER {
            node.cpu = before.cpu;
        } else if let Some(spent) = after.checked_sub(earlier) {
            node.cpu = Some(spent * 1000 / elapsed.as_millis() as u64);
        }
    }
    let mut history = live.history.lock();
    for (id, node) in &nodes {
        let height = node.health.as_ref().and_then(|health| health.heights.values().max().copied());
        let memory = node.observed.as_ref().and_then(|observed| observed.memory);
        if height.is_some() || memory.is_some() {
            let sample = Sample {
                at: now,
                height: height.unwrap_or(0),
                cpu: node.cpu.unwrap_or(0),
                memory: memory.unwrap_or(0),
            };
            history.sample(id, sample);
        }
    }
    *known = Snapshot { at: now, began: Some(began), nodes };
    known.clone()
}

/// Tells of nodes whose word has changed.
async fn tell_changes(
    control: &Control,
    doc: &NetworkDoc,
    network: &str,
    snapshot: &Snapshot,
    told: &mut BTreeMap<String, NodeStatus>,
) -> Result<(), DbError> {
    let mut changes = Vec::new();
    for (id, node) in &snapshot.nodes {
        let status = status_of(doc, id, Some(node), snapshot.at);
        if told.insert(id.clone(), status).is_none_or(|before| before != status) {
            let problem = node.health.as_ref().and_then(|health| health.problem.clone());
            changes.push(json!({ "node": id, "status": status, "problem": problem }));
        }
    }
    told.retain(|id, _| snapshot.nodes.contains_key(id));
    if changes.is_empty() {
        return Ok(());
    }
    let mut telling = control.outbox.begin().await?;
    for change in changes {
        telling.tell(Topic::Node, Some(network), None, change).await?;
    }
    telling.commit().await
}
