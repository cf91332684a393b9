//! The ordering service of a Fabric network: broadcast, deliver, block cutting, the Raft consenter, channel participation.
//!
//! A node is its configuration plus a wish to stop:
//!
//! ```no_run
//! use fabric_orderer::{OrdererConfig, run};
//! use konsort_node::{Config, Environment, Shutdown, logging};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let environment = Environment::process();
//! let config = OrdererConfig::load(&Config::find("orderer.yaml", "ORDERER", &environment)?)?;
//! let log = logging::init(&environment)?;
//! let shutdown = Shutdown::new();
//! shutdown.on_signals()?;
//! run(config, log, shutdown).await?;
//! # Ok(())
//! # }
//! ```
//!
//! A message's way: [`Registrar`] finds the channel, the filters judge it on whichever core is free, the channel's
//! consenter takes it. The Raft consenter is one thread per channel that owns the cutter, the replicated log and the
//! writing of blocks; one sync of the log serves everything that waited for it. The log is what makes a block durable:
//! the ledger is synced when the log forgets, and rewritten from it after a crash. Deliver reads the ledger and sends
//! what is stored, byte for byte.
//!
//! What this crate does not do: it does not look into transactions (that is the peers' work), runs no consenter but
//! Raft, and reads neither arguments nor the environment.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod broadcast;
mod channel;
mod cluster;
mod config;
mod consenter;
pub mod cutter;
mod deliver;
mod error;
mod filters;
mod follower;
mod metrics;
mod participation;
mod pull;
mod raft;
mod registrar;
mod server;
mod service;
mod writer;

pub use channel::Channel;
pub use config::{ClusterSettings, OrdererConfig, TlsSettings};
pub use consenter::{Activity, BoxFuture, Consenter, Relation, Submission, Unavailable};
pub use deliver::DeliverItem;
pub use error::{ChannelError, OrdererError};
pub use filters::{ConsenterCheck, Rejection};
pub use metrics::OrdererMetrics;
pub use registrar::{ChannelInfo, ParticipationError, Registrar};
pub use server::{Orderer, run};
