//! Execution and ledger of one group.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod access;
mod config;
mod error;
mod genesis;
mod keys;
mod ledger;
pub mod scheduler;
mod state;

pub use config::{Allocation, ChainConfig, FEATURES};
pub use error::ChainError;
pub use ledger::{Chain, CommittedBlock, ExecutedBlock, Located, NONCE_BLOCKS, Order, Proposal, Totals};
pub use state::StateView;
pub mod executor;
mod evm;
mod precompiled;
#[cfg(test)]
mod test_world;
