//! What a leader knows about each follower, and how much it may send to it.

use std::collections::VecDeque;

/// How entries are sent to a follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendState {
    /// Its log is not known: one message, then wait.
    Probe,
    /// Its log agrees: stream, up to the window.
    Replicate,
    /// A snapshot up to this index is on its way.
    Snapshot(u64),
}

/// The leader's view of one member.
#[derive(Clone, Debug)]
pub struct Progress {
    /// Highest index known to be in the member's log.
    pub matched: u64,
    /// Next index to send.
    pub next: u64,
    /// How to send.
    pub state: SendState,
    /// A probe is out and not answered.
    pub probe_sent: bool,
    /// Heard from since the last quorum check.
    pub recent_active: bool,
    /// Ticks since a snapshot was sent.
    pub snapshot_ticks: u32,
    /// Last indices of the messages in flight.
    inflight: VecDeque<u64>,
    window: usize,
}

impl Progress {
    pub(crate) fn new(next: u64, window: usize) -> Self {
        Self {
            matched: 0,
            next,
            state: SendState::Probe,
            probe_sent: false,
            recent_active: false,
            snapshot_ticks: 0,
            inflight: VecDeque::new(),
            window,
        }
    }

    fn reset(&mut self, state: SendState) {
        self.probe_sent = false;
        self.snapshot_ticks = 0;
        self.state = state;
        self.inflight.clear();
    }

    pub(crate) fn become_probe(&mut self) {
        // After a snapshot the follower stands at least where the snapshot ends.
        let sent_snapshot = if let SendState::Snapshot(index) = self.state { index } else { 0 };
        self.reset(SendState::Probe);
        self.next = (self.matched + 1).max(sent_snapshot + 1);
    }

    pub(crate) fn snapshot_failed(&mut self) {
        self.reset(SendState::Probe);
        self.next = self.matched + 1;
    }

    pub(crate) fn become_replicate(&mut self) {
        self.reset(SendState::Replicate);
        self.next = self.matched + 1;
    }

    pub(crate) fn become_snapshot(&mut self, index: u64) {
        self.reset(SendState::Snapshot(index));
    }

    /// Whether nothing may be sent now.
    pub fn is_paused(&self) -> bool {
        match self.state {
            SendState::Probe => self.probe_sent,
            SendState::Replicate => self.inflight.len() >= self.window,
            SendState::Snapshot(_) => true,
        }
    }

    /// Notes entries sent up to `last`.
    pub(crate) fn sent(&mut self, last: u64, entries: usize) {
        match self.state {
            SendState::Replicate if entries > 0 => {
                self.next = last + 1;
                self.inflight.push_back(last);
            }
            SendState::Probe => self.probe_sent = true,
            SendState::Replicate | SendState::Snapshot(_) => {}
        }
    }

    /// Notes that the follower has everything up to `index`; false when that was known.
    pub(crate) fn acknowledged(&mut self, index: u64) -> bool {
        let news = self.matched < index;
        if news {
            self.matched = index;
            self.probe_sent = false;
        }
        self.next = self.next.max(index + 1);
        while self.inflight.front().is_some_and(|&i| i <= index) {
            self.inflight.pop_front();
        }
        news
    }

    /// Lets one message pass a full window: an answer may have been lost.
    pub(crate) fn free_first(&mut self) {
        if self.inflight.len() >= self.window {
            self.inflight.pop_front();
        }
    }

    /// Steps back after a rejection of `rejected`; false for a stale one.
    pub(crate) fn step_back(&mut self, rejected: u64, hint: u64) -> bool {
        match self.state {
            SendState::Replicate => {
                if rejected <= self.matched {
                    return false;
                }
                self.next = self.matched + 1;
                true
            }
            SendState::Probe | SendState::Snapshot(_) => {
                if self.next.saturating_sub(1) != rejected {
                    return false;
                }
                self.next = rejected.min(hint.saturating_add(1)).max(self.matched + 1).max(1);
                self.probe_sent = false;
                true
            }
        }
    }
}
