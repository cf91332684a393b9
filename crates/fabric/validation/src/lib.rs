//! Validation of blocks: who signed what, whether the policies hold, and which of the transactions count.
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
mod wire;

pub use block::verify_block;
pub use collections::ChannelCollections;
pub use config::apply_config;
pub use decode::{DecodedBlock, DecodedTx, EndorserTx, TxBody, decode_block};
pub use error::ValidationError;
pub use known::KnownSignatures;
pub use pipeline::{Committed, Pipeline, PipelineOptions};
pub use policies::{TxIds, check_policies};
pub use signatures::verify_signatures;
