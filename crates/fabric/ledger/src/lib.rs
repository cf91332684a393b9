//! The ledger of one channel: blocks, world state, history, simulation, multi-version concurrency control, commit hash.
//!
//! - [`BlockStore`] keeps blocks in append-only files; orderers use it alone.
//! - [`Ledger`] adds world state and history, both derived from the blocks and rebuilt from them when they lag.
//! - [`Simulator`] runs one transaction over a [`StateSnapshot`] and gives its read-write set in upstream's exact bytes.
//! - [`mvcc`] decides read conflicts and phantoms as upstream does and collects the [`UpdateBatch`] of a block.
//! - [`commit_hash`] is the chain of hashes by which peers compare their state.
//!
//! ```no_run
//! use fabric_ledger::{BlockToCommit, Ledger, Options};
//!
//! # fn run(judged: BlockToCommit) -> Result<(), fabric_ledger::LedgerError> {
//! let ledger = Ledger::open("ledgers/mychannel", "mychannel", Options::default())?;
//! let committed = ledger.commit(judged)?;
//! println!("block {} has commit hash {:x}", committed.number, committed.commit_hash);
//!
//! let simulator = ledger.simulator("txid");
//! let asset = simulator.get_state("basic", "asset1")?;
//! simulator.set_state("basic", "asset2", asset.unwrap_or_default())?;
//! let results = simulator.finish()?.public;
//!
//! for change in ledger.history("basic", "asset1")? {
//!     println!("{}", change?.txid);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A block on its way: verdicts up to policies come from outside ([`BlockToCommit`]); [`Ledger::stage`] adds the verdicts of
//! concurrency control and makes the block visible to the validation of the next one ([`Ledger::view`]); [`Ledger::flush`] makes all
//! staged blocks durable with one sync of the block file. [`Ledger::commit`] does both.
//!
//! The crate checks no signature and no policy, reads no clock, and keeps no private values (their hashes are state).

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod blocks;
mod collections;
pub mod commit_hash;
mod decode;
mod error;
mod height;
mod keys;
mod ledger;
mod merkle;
pub mod mvcc;
pub mod rwset;
mod simulator;
mod state;
pub mod tolerant;
mod updates;

pub use blocks::{BlockStore, TransactionLocation};
pub use collections::{CollectionSet, Collections, NoCollections};
pub use decode::transaction_id;
pub use error::LedgerError;
pub use height::Height;
pub use ledger::{
    BlockToCommit, ChainInfo, FlushTimes, HistoryEntries, HistoryEntry, Ledger, Options, StagedBlock, TxToCommit,
};
pub use simulator::{Metadata, RangeIterator, RangeRow, Simulator, TxSimulationResults, WriteMetadata};
pub use state::{
    DumpedRow, StateGet, StateReader, StateRow, StateRows, StateSnapshot, StateView, VersionedValue, decode_metadata,
    encode_metadata,
};
pub use updates::{UpdateBatch, UpdateValue};
