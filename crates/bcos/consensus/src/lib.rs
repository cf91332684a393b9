//! Agreement on the order of blocks as a state machine without clock, network or disk.
//!
//! A [`Consensus`] takes an [`Input`] and adds [`Effect`]s to a list; whoever owns it carries them out in order.
//! Two protocols stand behind it: [`Pbft`], which tolerates members that lie, and [`Raft`], which tolerates members
//! that stop.
//!
//! ```
//! use bcos_consensus::{Consensus, Effect, Input, Keys, Member, NodeKeys, Pbft, PbftConfig, Settings, Verdict};
//! use konsort_crypto::{SuiteKey, SuiteKind};
//!
//! let keys = NodeKeys::new(SuiteKey::generate(SuiteKind::International));
//! let settings = Settings::new(vec![Member { node_id: keys.me().clone(), weight: 1 }]);
//! let genesis = Default::default();
//! let mut node = Pbft::new(PbftConfig::new(genesis), Box::new(keys), settings, Vec::new(), [])?;
//!
//! // A committee of one: it asks its own sealer for the first block.
//! let mut effects = Vec::new();
//! node.step(0, Input::Tick, &mut effects);
//! assert!(effects.contains(&Effect::WantProposal { number: 1, view: 0 }));
//! # Ok::<(), bcos_consensus::RecordError>(())
//! ```
//!
//! What the owner does, in short:
//!
//! 1. It gives [`Input::Tick`] first, then everything that happens, and ticks when [`Effect::Timer`] says so.
//! 2. It carries out effects in order. [`Effect::Persist`] records are written, as one atomic batch, and are durable
//!    before the next message or block leaves. All records come back to `new` after a restart.
//! 3. It gives the [`Settings`] of the next block with every block: a block that changes them (a system
//!    transaction, the end of an epoch) is always alone at the end of the pipeline.
//! 4. It keeps executed blocks until they are committed, and fetches blocks for [`Effect::CatchUp`].
//!
//! The pieces: [`message`] is what members say to each other, [`Keys`] is the door to signatures. Who is in the
//! committee of an epoch (rotating PBFT) is the ledger's business: it comes with the [`Settings`].
//!
//! What this crate does not do: it does not execute, store or fetch anything, opens no sockets, and does not speak
//! the wire format of upstream's nodes.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod api;
mod codec;
mod keys;
pub mod message;
mod pbft;
mod proposal;
mod raft;
mod record;
mod settings;

pub use api::{Consensus, Effect, HeaderSignature, Input, Sealed, Status, Tip, Verdict};
pub use codec::DecodeError;
pub use keys::{Keys, NodeKeys};
pub use pbft::{Pbft, PbftConfig, RecordError};
pub use proposal::{Head, Proposal, content_hash};
pub use raft::{Raft, RaftConfig};
pub use record::RecordKey;
pub use settings::{Member, NodeId, Settings};
