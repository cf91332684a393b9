//! A network as the API shows it.

use konsort_drivers::DriverKind;
use konsort_engines::NetworkSpec;
use konsort_engines::spec::{EngineKind, OrganisationSpec};
use serde::Serialize;
use utoipa::ToSchema;

use super::model::{NetworkDoc, NetworkState};
use crate::control::Control;
use crate::db::Record;
use crate::faults::{FaultBudget, fault_budget};
use crate::live::{NodeStatus, status_of};
use crate::time;

/// A network.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct NetworkView {
    /// Its id, `net_…`.
    pub id: String,
    /// Display name.
    pub name: String,
    /// The engine.
    pub engine: EngineKind,
    /// Where its nodes run.
    pub driver: DriverKind,
    /// How the nodes agree.
    pub consensus: String,
    /// BCOS: the chain id.
    pub chain_id: Option<String>,
    /// How it is.
    pub state: NetworkState,
    /// Whether somebody else runs it.
    pub imported: bool,
    /// Whether an operation is running on it.
    pub busy: bool,
    /// Organisations.
    pub organisations: Vec<OrganisationSpec>,
    /// Channels or groups.
    pub channels: Vec<ChannelView>,
    /// Nodes by what they are doing.
    pub nodes: NodeCounts,
    /// Height of its first channel, as far as the index has come.
    pub height: u64,
    /// Transactions in its index.
    pub transactions: u64,
    /// What it survives.
    pub fault_budget: FaultBudget,
    /// Everything that was planned.
    pub spec: NetworkSpec,
    /// Id of who made it.
    pub created_by: String,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub updated_at: String,
    /// Counts changes; its entity tag.
    pub version: i64,
}

/// Nodes by what they are doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct NodeCounts {
    /// All of them.
    pub total: u32,
    /// Those that run and answer.
    pub running: u32,
    /// Those that were stopped on purpose.
    pub stopped: u32,
    /// Those that should run and do not, or do not answer.
    pub failed: u32,
    /// Those that are about to.
    pub pending: u32,
}

/// A channel or group.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ChannelView {
    /// Its name on the network.
    pub name: String,
    /// Names of the organisations in it.
    pub organisations: Vec<String>,
    /// Ids of the nodes that joined it.
    pub nodes: Vec<String>,
    /// Number of its newest indexed block; absent before the first.
    pub height: Option<u64>,
    /// Indexed transactions.
    pub transactions: u64,
    /// Why its index does not go on.
    pub problem: Option<String>,
}

/// The channels of a network.
pub(crate) fn channels(control: &Control, id: &str, doc: &NetworkDoc) -> Vec<ChannelView> {
    doc.spec
        .channels
        .iter()
        .map(|channel| {
            let ledger = control.index.ledger(id, &channel.name);
            ChannelView {
                name: channel.name.clone(),
                organisations: channel.organisations.clone(),
                nodes: channel.nodes.clone(),
                height: ledger.as_ref().and_then(|ledger| ledger.next.checked_sub(1)),
                transactions: ledger.as_ref().map_or(0, |ledger| ledger.transactions),
                problem: ledger.and_then(|ledger| ledger.problem),
            }
        })
        .collect()
}

/// A network's state and its nodes, as they are now.
pub(crate) fn condition(control: &Control, id: &str, doc: &NetworkDoc) -> (NetworkState, NodeCounts) {
    let snapshot = control.live.of(id).snapshot();
    let now = time::now();
    let mut counts = NodeCounts { total: doc.spec.nodes.len() as u32, ..NodeCounts::default() };
    for node in &doc.spec.nodes {
        match status_of(doc, &node.id, snapshot.nodes.get(&node.id), now) {
            NodeStatus::Running => counts.running += 1,
            NodeStatus::Stopped => counts.stopped += 1,
            NodeStatus::Pending => counts.pending += 1,
            NodeStatus::Degraded | NodeStatus::Failed => counts.failed += 1,
        }
    }
    let degraded = counts.failed > 0 || (doc.state == NetworkState::Running && counts.stopped > 0);
    let state = if doc.state == NetworkState::Running && degraded { NetworkState::Degraded } else { doc.state };
    (state, counts)
}

impl NetworkView {
    /// Of a record.
    pub(crate) fn of(control: &Control, record: &Record<NetworkDoc>) -> Self {
        let doc = &record.doc;
        let (state, nodes) = condition(control, &record.id, doc);
        let channels = channels(control, &record.id, doc);
        Self {
            id: record.id.clone(),
            name: record.name.clone(),
            engine: doc.spec.engine,
            driver: doc.spec.driver,
            consensus: doc.spec.consensus.clone(),
            chain_id: doc.spec.chain_id.clone(),
            state,
            imported: doc.imported,
            busy: control.runner.busy(&record.id),
            organisations: doc.spec.organisations.clone(),
            height: channels.first().and_then(|channel| channel.height).unwrap_or(0),
            transactions: channels.iter().map(|channel| channel.transactions).sum(),
            channels,
            nodes,
            fault_budget: fault_budget(&doc.spec),
            spec: doc.spec.clone(),
            created_by: doc.created_by.clone(),
            created_at: time::rfc3339(record.created_at),
            updated_at: time::rfc3339(record.updated_at),
            version: record.version,
        }
    }
}
