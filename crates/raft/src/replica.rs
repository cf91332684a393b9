//! A node and its log, driven in the order that keeps both safe.

use std::fmt::Debug;

use bytes::Bytes;

use crate::effects::{Effects, Leadership};
use crate::message::{Entry, Message, Snapshot};
use crate::node::{Config, Input, Node, Refusal};
use crate::wal::{Disk, Wal, WalError};

/// Takes messages to other nodes; must not block, may lose them.
pub trait Transport: Debug {
    /// Sends one message to the node named in it.
    fn send(&mut self, message: Message);
}

/// Why a replica stops.
#[derive(Debug, thiserror::Error)]
pub enum ReplicaError {
    /// The log cannot be written; nothing further may be promised.
    #[error(transparent)]
    Wal(#[from] WalError),
    /// An input the caller must not give.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// What became final and who leads.
#[derive(Debug, Default)]
pub struct Outcome {
    /// A snapshot to install before applying anything else.
    pub snapshot: Option<Snapshot>,
    /// Entries to apply, in order.
    pub committed: Vec<Entry>,
    /// Role, leader or term changed.
    pub leadership: Option<Leadership>,
    /// Entries written by this flush and whether it waited for the disk.
    pub persisted: Option<usize>,
}

/// A node on a disk.
///
/// Steps collect; [`Replica::flush`] carries out. Give it everything that waits before flushing: one
/// flush costs at most one sync.
#[derive(Debug)]
pub struct Replica<D: Disk> {
    node: Node,
    wal: Wal<D>,
    pending: Effects,
}

impl<D: Disk> Replica<D> {
    /// Opens the log in `disk`; `applied` is the last index the application has. A new log begins with
    /// `peers` as members, or, when that is empty, waits to be contacted by a leader.
    pub fn open(config: Config, disk: D, applied: u64, peers: &[u64]) -> Result<Self, WalError> {
        let (wal, recovered) = Wal::open(disk)?;
        let mut pending = Effects::default();
        let fresh = recovered
            .as_ref()
            .is_none_or(|r| r.hard_state.term == 0 && r.entries.is_empty() && r.snapshot.index() == 0);
        let node = if fresh && !peers.is_empty() {
            Node::bootstrap(config, peers, &mut pending)
        } else {
            Node::restart(config, recovered.unwrap_or_default(), applied)
        };
        Ok(Self { node, wal, pending })
    }

    /// The state machine, to look at.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Takes one input; nothing happens before the next flush.
    pub fn step(&mut self, input: Input) -> Result<(), Refusal> {
        self.node.step(input, &mut self.pending)
    }

    /// Whether a flush has something to do.
    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Writes, syncs, sends, and returns what is final.
    pub fn flush(&mut self, transport: &mut impl Transport) -> Result<Outcome, WalError> {
        let mut effects = std::mem::take(&mut self.pending);
        for message in effects.early.drain(..) {
            transport.send(message);
        }
        self.wal.save(&effects)?;
        for message in effects.messages.drain(..) {
            transport.send(message);
        }
        let persisted = effects.must_sync.then_some(effects.entries.len());
        Ok(Outcome {
            snapshot: effects.snapshot,
            committed: effects.committed,
            leadership: effects.leadership,
            persisted,
        })
    }

    /// Replaces the log up to `index` by `data`, keeping `keep` entries for members that lag a little.
    ///
    /// The application must have made its own state up to `index` durable. Call it with nothing pending.
    pub fn compact(&mut self, index: u64, data: Bytes, keep: u64) -> Result<(), ReplicaError> {
        self.step(Input::Compact { index, data, keep })?;
        self.wal.checkpoint(&self.node)?;
        Ok(())
    }

    /// Bytes in the log file; a measure of when to compact.
    pub fn log_bytes(&self) -> u64 {
        self.wal.size()
    }
}
