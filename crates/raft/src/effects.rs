//! What must happen after a step.

use crate::message::{Entry, HardState, Message, Snapshot};
use crate::node::Role;

/// Who leads, as far as this node knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leadership {
    /// What this node is.
    pub role: Role,
    /// The leader's id, when known.
    pub leader: Option<u64>,
    /// The current term.
    pub term: u64,
}

/// The outcome of one or several steps, to be carried out in this order:
///
/// 1. send [`early`](Self::early);
/// 2. write [`snapshot`](Self::snapshot), [`entries`](Self::entries) and
///    [`hard_state`](Self::hard_state), and make them durable when [`must_sync`](Self::must_sync);
/// 3. send [`messages`](Self::messages);
/// 4. install the snapshot in the application, then apply [`committed`](Self::committed).
///
/// Several steps may write into the same value before it is carried out (that is how one sync serves
/// many proposals); what later steps overrule is taken out again.
#[derive(Debug, Default)]
pub struct Effects {
    /// Messages that may leave before anything is durable: a leader's entries travel while its own disk works.
    pub early: Vec<Message>,
    /// A snapshot received from the leader that replaces the whole log.
    pub snapshot: Option<Snapshot>,
    /// Entries to append; the first one's index says where a conflicting tail is cut.
    pub entries: Vec<Entry>,
    /// Term, vote and commit, when one of them changed.
    pub hard_state: Option<HardState>,
    /// Whether the write of step 2 must be durable before step 3 (a moved commit index alone need not be).
    pub must_sync: bool,
    /// Messages that may leave only after step 2.
    pub messages: Vec<Message>,
    /// Entries that are final, in order, each exactly once between two restarts.
    pub committed: Vec<Entry>,
    /// Role, leader or term changed.
    pub leadership: Option<Leadership>,
}

impl Effects {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.early.is_empty()
            && self.snapshot.is_none()
            && self.entries.is_empty()
            && self.hard_state.is_none()
            && self.messages.is_empty()
            && self.committed.is_empty()
            && self.leadership.is_none()
    }

    /// Adds entries to write, taking out those they replace.
    pub(crate) fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        while self.entries.last().is_some_and(|e| e.index >= first.index) {
            self.entries.pop();
        }
        self.entries.extend_from_slice(entries);
        self.must_sync = true;
    }

    /// Records an installed snapshot, taking out what it covers.
    pub(crate) fn install(&mut self, snapshot: Snapshot) {
        self.entries.clear();
        self.committed.clear();
        self.snapshot = Some(snapshot);
        self.must_sync = true;
    }
}
