//! A node: transaction pool, sealing, network and services for clients.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod api;
pub mod config;
mod pool;

pub use api::{
    Committed, ConsensusMember, ConsensusStatus, Group, Node, PeerInfo, SubmitError, SyncPeer, SyncStatus,
};
pub use config::{ConfigError, NodeConfig};
