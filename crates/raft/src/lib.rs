//! A replicated log: the Raft algorithm as a state machine without clock, network or disk, and a
//! write-ahead log and small host that run it on real ones.
//!
//! [`Node`] takes an [`Input`] and writes what has to happen into [`Effects`]; whoever owns the node
//! makes it happen, in the order [`Effects`] prescribes. Time arrives as ticks, randomness as a seed.
//!
//! ```
//! use konsort_raft::{Config, Effects, Input, Node, Role};
//!
//! let mut effects = Effects::default();
//! let mut node = Node::bootstrap(Config::new(1), &[1], &mut effects);
//! node.step(Input::Campaign, &mut effects).unwrap();
//! assert_eq!(node.role(), Role::Leader);
//! node.step(Input::Propose(vec![b"first".as_slice().into()]), &mut effects).unwrap();
//! // A single voter commits as soon as it has written: the entry stands in both lists.
//! assert!(effects.entries.iter().any(|e| &e.data[..] == b"first"));
//! assert!(effects.committed.iter().any(|e| &e.data[..] == b"first"));
//! ```
//!
//! The pieces, from the inside out:
//!
//! - [`message`]: messages and entries with the field numbers of etcd's `raftpb`, so that the bytes can
//!   be exchanged with nodes built on that library;
//! - [`Node`]: elections with pre-vote and check-quorum, replication in batches with a window of
//!   messages in flight, snapshots, single-step membership changes, transfer of leadership;
//! - [`Wal`]: the log on disk; a torn tail is cut, a damaged middle is refused by name;
//! - [`Replica`]: node and log together, in the order that makes both safe.
//!
//! What this crate does not do: it opens no sockets, starts no threads and knows nothing of what the
//! entries mean. It has no learners, joint configurations or linearisable reads: the users of this
//! crate change one member at a time and read from their own committed state.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod effects;
pub mod log;
pub mod message;
pub mod node;
pub mod progress;
pub mod replica;
pub mod wal;

pub use effects::{Effects, Leadership};
pub use message::{
    ConfChange, ConfChangeType, ConfState, Entry, EntryType, HardState, Message, MessageType, Snapshot,
    SnapshotMetadata,
};
pub use node::{Config, Input, Node, Refusal, Role};
pub use replica::{Outcome, Replica, ReplicaError, Transport};
pub use wal::{Disk, FolderDisk, Recovered, Wal, WalError};
