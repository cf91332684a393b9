//! Execution and ledger of one group: blocks go in, receipts, roots and a state that is kept for every block come out.
//!
//! ```
//! use bcos_chain::{Chain, ChainConfig, Proposal};
//! use konsort_crypto::{SuiteKey, SuiteKind};
//!
//! # let folder = std::env::temp_dir().join(format!("bcos-chain-doc-{}", std::process::id()));
//! let node = SuiteKey::generate(SuiteKind::International);
//! let node_id = node.public_key().iter().map(|byte| format!("{byte:02x}")).collect();
//! let chain = Chain::create_or_open(&folder, &ChainConfig::new(SuiteKind::International, vec![(node_id, 1)]))?;
//!
//! let tip = chain.tip();
//! let block = chain.execute(&Proposal {
//!     number: tip.number() + 1,
//!     parent: tip.hash(),
//!     timestamp_ms: 1_800_000_000_000,
//!     sealer: 0,
//!     transactions: vec![],
//! })?;
//! // Signing `block.hash()` and gathering a quorum of signatures is what agreement does here.
//! chain.commit(&block, vec![])?;
//! assert_eq!(chain.height(), 1);
//! # drop(chain);
//! # std::fs::remove_dir_all(&folder).ok();
//! # Ok::<(), bcos_chain::ChainError>(())
//! ```
//!
//! * [`Chain`]: founding and opening, [`Chain::execute`] over committed or executed blocks, [`Chain::commit`] with one durable write per
//!   block, and everything that is read: blocks, transactions, receipts, proofs, settings, nodes.
//! * [`StateView`]: the state after any block; [`access`]: what it consists of.
//! * [`scheduler`]: the optimistic parallel executor, whose results are those of serial execution.
//! * [`rotation`]: the draw by which rotating agreement chooses who seals.
//! * [`executor`]: transactions, calls, estimates and traces on a state; the Ethereum machine and the precompiled contracts.
//!
//! On disk the block files are the truth: a record holds header, transactions, receipts and the cells the block wrote, and is synced
//! before a commit returns. State and indexes follow from the records and are brought up to them at every start.
//!
//! What this crate does not do: it orders nothing, verifies no signature, decides nothing about who may send or seal, and speaks to nobody.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod access;
mod config;
mod error;
mod genesis;
mod keys;
mod ledger;
pub mod rotation;
pub mod scheduler;
mod state;

pub use config::{Allocation, ChainConfig, FEATURES};
pub use error::ChainError;
pub use ledger::{Chain, CommittedBlock, ExecutedBlock, Located, NONCE_BLOCKS, Order, Proposal, Totals};
pub use state::StateView;
mod evm;
pub mod executor;
mod precompiled;
#[cfg(test)]
mod test_world;
