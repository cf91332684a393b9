//! The peer: joins channels, fetches and commits their blocks, endorses proposals, and serves clients.
//!
//! ```no_run
//! use fabric_peer::PeerConfig;
//! use konsort_node::{Environment, Shutdown, logging};
//!
//! # async fn start() -> Result<(), Box<dyn std::error::Error>> {
//! let environment = Environment::process();
//! let log = logging::init(&environment)?;
//! fabric_peer::run(PeerConfig::find(&environment)?, log, Shutdown::new()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! The way of a transaction: [`gateway`] asks [`endorser`]s, the client signs, the ordering service orders, [`blocks`] fetches the
//! block, the pipeline of `fabric-validation` judges and commits it, the [`channel`] tells everybody who waits, [`deliver`] passes
//! it on.
//!
//! What this crate does not do: rules of channels, policies and validation are in `fabric-channel` and `fabric-validation`,
//! storage is in `fabric-ledger`, chaincode runs in `fabric-chaincode`.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod acl;
pub mod blocks;
pub mod channel;
mod config;
pub mod connections;
pub mod deliver;
pub mod discovery;
pub mod endorser;
pub mod endorsers;
pub mod gateway;
pub mod gossip;
pub mod layout;
mod local;
pub mod scc;
mod server;

pub use config::{AddressOverride, DeliverySettings, GatewaySettings, PeerConfig, TlsSettings};
pub use local::Local;
pub use server::{PeerError, run};
