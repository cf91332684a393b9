//! The log in memory: entries after the compaction point, with the positions that matter.

use std::collections::VecDeque;

use crate::message::{Entry, Snapshot};

/// Entries from some index on.
#[derive(Debug, Default)]
pub struct Log {
    /// Index and term just before the first entry held.
    compacted: (u64, u64),
    entries: VecDeque<Entry>,
    /// Highest index known committed.
    pub(crate) committed: u64,
    /// Highest index handed to the application.
    pub(crate) applied: u64,
    /// The latest snapshot; what a follower behind `compacted` gets.
    pub(crate) snapshot: Snapshot,
}

impl Log {
    pub(crate) fn new(snapshot: Snapshot, compacted: (u64, u64), entries: Vec<Entry>) -> Self {
        let committed = snapshot.index().max(compacted.0);
        Self { compacted, entries: entries.into(), committed, applied: committed, snapshot }
    }

    /// Index of the first entry held.
    pub fn first_index(&self) -> u64 {
        self.compacted.0 + 1
    }

    /// Index of the last entry, or of the compaction point.
    pub fn last_index(&self) -> u64 {
        self.compacted.0 + self.entries.len() as u64
    }

    /// Term of the last entry.
    pub fn last_term(&self) -> u64 {
        self.entries.back().map_or(self.compacted.1, |e| e.term)
    }

    /// Index and term just before the first entry held.
    pub fn compaction_point(&self) -> (u64, u64) {
        self.compacted
    }

    /// Term at `index`; none outside of what is held.
    pub fn term(&self, index: u64) -> Option<u64> {
        if index == self.compacted.0 {
            return Some(self.compacted.1);
        }
        self.get(index).map(|e| e.term)
    }

    /// The entry at `index`.
    pub fn get(&self, index: u64) -> Option<&Entry> {
        let offset = index.checked_sub(self.first_index())?;
        self.entries.get(usize::try_from(offset).ok()?)
    }

    /// Entries from `from` to `to` (both included) as far as they are held.
    pub fn range(&self, from: u64, to: u64) -> impl Iterator<Item = &Entry> {
        let start = from.max(self.first_index()) - self.first_index();
        let end = (to + 1).saturating_sub(self.first_index()).min(self.entries.len() as u64);
        self.entries.range(start.min(end) as usize..end as usize)
    }

    /// Entries from `from`, at least one, until `max_bytes` are reached.
    pub(crate) fn batch(&self, from: u64, max_bytes: usize) -> Vec<Entry> {
        let mut bytes = 0;
        let mut batch = Vec::new();
        for entry in self.range(from, self.last_index()) {
            bytes += entry.weight();
            if !batch.is_empty() && bytes > max_bytes {
                break;
            }
            batch.push(entry.clone());
        }
        batch
    }

    pub(crate) fn push(&mut self, entry: Entry) {
        debug_assert_eq!(entry.index, self.last_index() + 1);
        self.entries.push_back(entry);
    }

    pub(crate) fn truncate_from(&mut self, index: u64) {
        let keep = index.saturating_sub(self.first_index());
        self.entries.truncate(keep as usize);
    }

    /// Whether a log ending at (`index`, `term`) may lead this one.
    pub(crate) fn is_up_to_date(&self, index: u64, term: u64) -> bool {
        term > self.last_term() || (term == self.last_term() && index >= self.last_index())
    }

    /// The highest index at most `index` whose term is at most `term`; where two logs might agree.
    pub(crate) fn agreement_hint(&self, index: u64, term: u64) -> (u64, u64) {
        let mut at = index.min(self.last_index());
        loop {
            match self.term(at) {
                Some(t) if t > term && at > self.compacted.0 => at -= 1,
                Some(t) => return (at, t),
                None => return (at, 0),
            }
        }
    }

    /// Forgets entries up to `index`.
    pub(crate) fn compact(&mut self, index: u64) {
        let Some(term) = self.term(index) else { return };
        if index <= self.compacted.0 {
            return;
        }
        let drop = (index - self.compacted.0) as usize;
        self.entries.drain(..drop);
        self.compacted = (index, term);
    }

    pub(crate) fn restore(&mut self, snapshot: Snapshot) {
        self.entries.clear();
        self.compacted = (snapshot.index(), snapshot.term());
        self.committed = snapshot.index();
        self.applied = snapshot.index();
        self.snapshot = snapshot;
    }
}
