//! A node: transaction pool, sealing, network and services for clients.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod api;
pub mod chain_builder;
pub mod config;
mod eth;
mod host;
mod network;
mod pool;
mod rpc;
mod run;
mod sdk;
mod sync;

pub use api::{
    Committed, ConsensusMember, ConsensusStatus, Group, Node, PeerInfo, SubmitError, SyncPeer, SyncStatus,
};
pub use config::{ConfigError, NodeConfig};
pub use network::NetworkError;
pub use run::{RunningNode, StartError, run, start};
pub use rpc::serve::ServiceError;
