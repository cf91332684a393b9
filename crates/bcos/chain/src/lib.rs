//! Execution and ledger of one group.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod access;
mod error;
mod keys;
pub mod scheduler;
mod state;

pub use error::ChainError;
pub use state::StateView;
pub mod executor;
mod evm;
mod precompiled;
