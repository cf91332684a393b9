//! A network's record.

use std::collections::BTreeSet;

use konsort_engines::NetworkSpec;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a network is meant to do. What it does is seen from its nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NetworkState {
    /// It is being made.
    Pending,
    /// Its nodes run.
    Running,
    /// It should run, but some nodes do not.
    Degraded,
    /// Its nodes were stopped.
    Stopped,
    /// Making it failed; its operation can be retried or given up.
    Failed,
    /// It is being removed.
    Deleting,
}

/// A network's record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NetworkDoc {
    /// What it should be.
    pub spec: NetworkSpec,
    /// What it is meant to do.
    pub state: NetworkState,
    /// Id of who made it.
    pub created_by: String,
    /// Nodes that somebody stopped on purpose.
    #[serde(default)]
    pub stopped_nodes: BTreeSet<String>,
    /// Whether somebody else runs it.
    #[serde(default)]
    pub imported: bool,
}
