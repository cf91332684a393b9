//! What must hold at every moment.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use konsort_raft::{Entry, Node};

/// A final entry as the first node saw it.
#[derive(Clone, Debug)]
struct Final {
    term: u64,
    data: Bytes,
    /// Term of the node that saw it first; the entry was committed in this term or before.
    seen_in: u64,
}

/// The history of the whole cluster, and what contradicts it.
#[derive(Debug, Default)]
pub struct Checks {
    finals: BTreeMap<u64, Final>,
    ids: BTreeSet<u64>,
    leaders: BTreeMap<u64, u64>,
    /// The first contradiction.
    pub violation: Option<String>,
}

impl Checks {
    fn fail(&mut self, text: String) {
        self.violation.get_or_insert(text);
    }

    /// Entries final so far.
    pub fn committed(&self) -> usize {
        self.finals.len()
    }

    /// Whether this payload is final.
    pub fn has(&self, id: u64) -> bool {
        self.ids.contains(&id)
    }

    /// Elections won so far.
    pub fn elections(&self) -> usize {
        self.leaders.len()
    }

    /// State machine safety: one entry per index, everywhere, and no payload twice.
    pub fn on_commit(&mut self, node: u64, term: u64, entry: &Entry) {
        if let Some(known) = self.finals.get(&entry.index) {
            if known.term != entry.term || known.data != entry.data {
                let text = format!(
                    "node {node} commits another entry at index {}: term {} instead of {}",
                    entry.index, entry.term, known.term
                );
                self.fail(text);
            }
            return;
        }
        if let Some(id) = payload_id(entry)
            && !self.ids.insert(id)
        {
            self.fail(format!("payload {id} is committed twice, again at index {}", entry.index));
        }
        self.finals.insert(entry.index, Final { term: entry.term, data: entry.data.clone(), seen_in: term });
    }

    /// Election safety, and that a leader has everything committed in earlier terms.
    pub fn on_leader(&mut self, node: &Node) {
        let term = node.term();
        let holder = *self.leaders.entry(term).or_insert(node.id());
        if holder != node.id() {
            self.fail(format!("nodes {holder} and {} both lead term {term}", node.id()));
        }
        let (compacted, _) = node.log().compaction_point();
        let missing = self
            .finals
            .range(compacted + 1..)
            .find(|(index, known)| known.seen_in < term && node.log().term(**index) != Some(known.term))
            .map(|(index, _)| *index);
        if let Some(index) = missing {
            self.fail(format!("node {} leads term {term} without the committed entry {index}", node.id()));
        }
    }

    /// Log matching: where two logs have the same index and term they are the same up to there.
    pub fn on_logs(&mut self, a: &Node, b: &Node) {
        let low = a.log().first_index().max(b.log().first_index());
        let high = a.log().last_index().min(b.log().last_index());
        let mut agreed = false;
        for index in (low..=high).rev() {
            let (Some(x), Some(y)) = (a.log().get(index), b.log().get(index)) else { continue };
            let same = x.term == y.term;
            if same && x.data != y.data || agreed && !same {
                let text =
                    format!("logs of nodes {} and {} differ at index {index} below an agreement", a.id(), b.id());
                self.fail(text);
                return;
            }
            agreed |= same;
        }
    }
}

/// The client's number in a payload.
pub fn payload_id(entry: &Entry) -> Option<u64> {
    if entry.entry_type != 0 {
        return None;
    }
    entry.data.get(..8).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes)
}
