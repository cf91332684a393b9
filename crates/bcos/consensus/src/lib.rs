//! Agreement on the order of blocks as a state machine without clock, network or disk.
//!
//! A [`Consensus`] takes an [`Input`] and adds [`Effect`]s to a list; whoever owns it carries them out in order.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod api;
mod codec;
mod keys;
pub mod message;
mod pbft;
mod proposal;
mod raft;
mod record;
pub mod rotation;
mod settings;

pub use api::{Consensus, Effect, HeaderSignature, Input, Sealed, Status, Tip, Verdict};
pub use codec::DecodeError;
pub use keys::{Keys, NodeKeys};
pub use pbft::{Pbft, PbftConfig, RecordError};
pub use proposal::{Head, Proposal, content_hash};
pub use raft::{Raft, RaftConfig};
pub use record::RecordKey;
pub use settings::{Member, NodeId, Settings};
