//! A node of a chain that FISCO BCOS 3.x and Ethereum clients use: transaction pool, sealing and agreement, the network
//! between nodes, synchronisation, and the ports for clients.
//!
//! ```no_run
//! use bcos_node::NodeConfig;
//! use konsort_node::Shutdown;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let config = NodeConfig::load("config.ini".as_ref(), &["config.genesis".into()])?;
//! let shutdown = Shutdown::new();
//! shutdown.on_signals()?;
//! bcos_node::run(config, shutdown).await?;
//! # Ok(())
//! # }
//! ```
//!
//! [`start`] gives a [`Node`]: its [`Group`]s, each with a chain, a door for transactions and what happens in it. One
//! process runs as many groups as it is given genesis files. [`doctor`] says in words what is wrong with a node's files.
//!
//! What this crate does not do: it joins no nodes of the C++ implementation (the network between nodes is our own), it
//! executes nothing (`bcos-chain`) and knows no rule of agreement (`bcos-consensus`).
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod api;
pub mod chain_builder;
pub mod config;
mod doctor;
mod eth;
mod host;
mod network;
mod pool;
mod rpc;
mod run;
mod sdk;
mod sync;

pub use api::{Committed, ConsensusMember, ConsensusStatus, Group, Node, PeerInfo, SubmitError, SyncPeer, SyncStatus};
pub use config::{ConfigError, NodeConfig};
pub use doctor::{Finding, Severity, doctor};
pub use network::NetworkError;
#[doc(hidden)]
pub use rpc::fuzz_request;
pub use rpc::serve::ServiceError;
pub use run::{RunningNode, StartError, run, start};
