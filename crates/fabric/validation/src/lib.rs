//! Validation of blocks: who signed what, whether the policies hold, and which of the transactions count.
//!
//! A block passes through stages that are functions over a block decoded once:
//!
//! 1. [`decode_block`] takes every envelope apart and notes what its form alone decides.
//! 2. [`verify_block`] checks number, link, data hash, canonical form and the orderers' signatures.
//! 3. [`verify_signatures`] checks creators and endorsers on all cores; identities come from the channel's cache.
//! 4. [`apply_config`] judges a configuration transaction and gives the next configuration.
//! 5. [`check_policies`] looks for known ids, reads chaincode definitions, and asks the policies of chaincodes, collections and keys.
//! 6. The ledger adds concurrency control, makes the block visible to the next one, and later durable.
//!
//! [`Pipeline`] runs the stages on several blocks at once. Verdicts are the 28 codes of the original in the original's order; they
//! depend on the chain alone, never on threads or timing. What has no verdict is a [`ValidationError`], and then nothing of the
//! block is committed.
//!
//! Of the 28 codes the rules for application capabilities V2_0 and later give 18. `NOT_VALIDATED` is the state before a verdict. The
//! other nine cannot be had from the original under these rules and are not given here either: `NIL_ENVELOPE`, `UNKNOWN_TX_TYPE`,
//! `TARGET_CHAIN_NOT_FOUND`, `MARSHAL_TX_ERROR`, `NIL_TXACTION` and `BAD_CHANNEL_HEADER` stand behind checks that come earlier,
//! `EXPIRED_CHAINCODE` and `CHAINCODE_VERSION_CONFLICT` belong to the legacy lifecycle, `INVALID_WRITESET` to CouchDB's key rules.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use fabric_channel::config::Bundle;
//! use fabric_ledger::{Ledger, Options};
//! use fabric_validation::{ChannelCollections, Pipeline, PipelineOptions};
//! # fn run(genesis: fabric_proto::common::Block, blocks: Vec<bytes::Bytes>) -> Result<(), Box<dyn std::error::Error>> {
//! let bundle = Arc::new(Bundle::from_config_block(&genesis)?);
//! let collections = ChannelCollections::new(&bundle);
//! let options = Options { collections: Arc::new(collections.clone()), ..Options::default() };
//! let ledger = Ledger::create("ledger", bundle.channel_id(), &genesis, options)?;
//! let options = PipelineOptions { collections, ..PipelineOptions::default() };
//! let pipeline = Pipeline::start(ledger, bundle, options, |result| match result {
//!     Ok(committed) => drop(committed.staged.commit_hash.clone()),
//!     Err(stopped) => drop(stopped.to_string()),
//! })?;
//! for block in blocks {
//!     pipeline.submit(block)?;
//! }
//! pipeline.finish();
//! # Ok(())
//! # }
//! ```
//!
//! [`lifecycle_state`] is the layout of chaincode definitions and approvals, for everyone who reads or writes them.
//!
//! What this crate does not do: fetch blocks, write files, endorse, keep private data, or judge channels whose application
//! capabilities are older than V2_0.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod block;
mod collections;
mod config;
pub mod decode;
mod error;
mod known;
pub mod lifecycle_state;
pub mod pipeline;
mod policies;
mod signatures;

pub use block::verify_block;
pub use collections::ChannelCollections;
pub use config::apply_config;
pub use decode::{DecodedBlock, DecodedTx, EndorserTx, TxBody, decode_block};
pub use error::ValidationError;
pub use known::KnownSignatures;
pub use pipeline::{CommitTimes, Committed, Pipeline, PipelineOptions};
pub use policies::{TxIds, check_policies};
pub use signatures::verify_signatures;
