//! The log itself: its records, its messages, its members.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use konsort_raft::{Config, Effects, Entry, HardState, Node, Recovered, Role, Snapshot};
use prost::Message as _;

use super::{MAX_TICKS, Raft};
use crate::api::Effect;
use crate::codec::{DecodeError, Reader, Writer};
use crate::keys::Keys;
use crate::pbft::RecordError;
use crate::proposal::Proposal;
use crate::record::RecordKey;
use crate::settings::NodeId;

/// First byte of messages of the log; those that are signed begin with 1.
pub(super) const LOG: u8 = 2;

/// The number by which Raft knows a node.
pub(super) fn id_of(keys: &dyn Keys, node: &NodeId) -> u64 {
    let mut id = [0; 8];
    id.copy_from_slice(&keys.hash(&[b"konsort raft id", &node.0])[..8]);
    (u64::from_be_bytes(id) >> 2).max(1)
}

impl Raft {
    fn log_config(&self) -> Config {
        Config { max_message_bytes: 1 << 20, ..Config::new(id_of(&*self.keys, self.keys.me())) }
    }

    pub(super) fn learn_names(&mut self) {
        for member in &self.settings.members {
            self.names.insert(id_of(&*self.keys, &member.node_id), member.node_id.clone());
        }
    }

    /// Opens the log from its records, or begins it.
    pub(super) fn open(&mut self, records: impl IntoIterator<Item = (RecordKey, Bytes)>) -> Result<(), RecordError> {
        let mut recovered = Recovered::default();
        let mut entries: BTreeMap<u64, Entry> = BTreeMap::new();
        let mut known = false;
        for (key, bytes) in records {
            let damaged = |source| RecordError::Damaged { key, source };
            let unreadable = |_| damaged(DecodeError::Unknown("contents"));
            match key {
                RecordKey::Term => {
                    recovered.hard_state = HardState::decode(bytes).map_err(unreadable)?;
                    known = true;
                }
                RecordKey::Snapshot => {
                    let mut reader = Reader(bytes);
                    recovered.compacted =
                        (reader.position("index").map_err(damaged)?, reader.position("term").map_err(damaged)?);
                    recovered.snapshot = Snapshot::decode(reader.0).map_err(unreadable)?;
                    known = true;
                }
                RecordKey::Entry(index) => {
                    entries.insert(index, Entry::decode(bytes).map_err(unreadable)?);
                }
                RecordKey::View | RecordKey::Voted(_) | RecordKey::Prepared(_) => {}
            }
        }
        let first = recovered.compacted.0 + 1;
        self.stored = (first, first - 1);
        for (index, entry) in entries {
            if index == self.stored.1 + 1 {
                self.stored.1 = index;
                recovered.entries.push(entry);
            } else {
                self.out.push(Effect::Persist { key: RecordKey::Entry(index), value: None });
            }
        }
        if known {
            self.awaits = number_of(&recovered.snapshot);
            self.node = Some(Node::restart(self.log_config(), recovered, 0));
        } else if self.me.is_some() && self.tip().number == 0 {
            let peers: Vec<u64> = self.settings.members.iter().map(|m| id_of(&*self.keys, &m.node_id)).collect();
            let mut effects = Effects::default();
            self.node = Some(Node::bootstrap(self.log_config(), &peers, &mut effects));
            self.carry_out(effects);
        } else {
            self.join();
        }
        Ok(())
    }

    /// A node that becomes a member waits for the leader to contact it.
    pub(super) fn join(&mut self) {
        if self.node.is_none() && self.me.is_some() {
            self.node = Some(Node::restart(self.log_config(), Recovered::default(), 0));
        }
    }

    fn input(&mut self, input: konsort_raft::Input) -> bool {
        let Some(node) = self.node.as_mut() else { return false };
        let mut effects = Effects::default();
        let taken = node.step(input, &mut effects);
        if let Err(refusal) = &taken {
            tracing::debug!(%refusal, "log input not taken");
        }
        self.carry_out(effects);
        taken.is_ok()
    }

    pub(super) fn ticks(&mut self) {
        if self.node.is_none() {
            return;
        }
        let tick = self.config.tick_ms;
        let mut next = self.next_tick.unwrap_or(self.now + tick);
        next = next.max(self.now.saturating_sub(MAX_TICKS * tick));
        while next <= self.now {
            next += tick;
            self.input(konsort_raft::Input::Tick);
            self.change_members();
        }
        self.next_tick = Some(next);
    }

    pub(super) fn log_message(&mut self, from: &NodeId, bytes: Bytes) {
        let Ok(message) = konsort_raft::Message::decode(bytes) else {
            self.out.push(Effect::Misbehaviour { node: from.clone(), what: "a malformed message" });
            return;
        };
        if message.from != id_of(&*self.keys, from) {
            self.out.push(Effect::Misbehaviour { node: from.clone(), what: "a log message in another's name" });
            return;
        }
        self.names.insert(message.from, from.clone());
        self.input(konsort_raft::Input::Message(message));
    }

    pub(super) fn reachable(&mut self, node: &NodeId, reachable: bool) {
        if !reachable {
            let id = id_of(&*self.keys, node);
            self.input(konsort_raft::Input::Unreachable(id));
        }
    }

    pub(super) fn propose(&mut self, proposal: &Proposal) -> bool {
        self.input(konsort_raft::Input::Propose(vec![proposal.encode()]))
    }

    /// Brings the log's members in line with the ledger's, one at a time; a leader that is out goes last.
    pub(super) fn change_members(&mut self) {
        let Some(node) = self.node.as_ref().filter(|node| node.role() == Role::Leader) else { return };
        if self.applied_term != node.term() {
            return;
        }
        let own = node.id();
        let voters = node.conf_state().voters;
        let wanted: Vec<u64> = self.settings.members.iter().map(|m| id_of(&*self.keys, &m.node_id)).collect();
        let missing = wanted.iter().find(|id| !voters.contains(id)).map(|id| (*id, true));
        let extra = voters.iter().filter(|id| !wanted.contains(id)).min_by_key(|id| **id == own);
        if let Some((id, add)) = missing.or(extra.map(|id| (*id, false))) {
            self.input(Node::change_member(id, add));
        }
    }

    /// Shortens the log once what it holds is final here.
    pub(super) fn compact(&mut self) {
        let tip = self.tip().number;
        let Some((index, number)) = self.marks.iter().rev().find(|(_, number)| *number <= tip).copied() else {
            return;
        };
        if index < self.stored.0 + self.config.compact_after {
            return;
        }
        let data = Writer::default().u64(number).finish();
        let keep = self.config.compact_after / 2;
        if !self.input(konsort_raft::Input::Compact { index, data, keep }) {
            return;
        }
        self.marks.retain(|(i, _)| *i > index);
        self.persist_snapshot();
    }

    fn persist_snapshot(&mut self) {
        let Some(node) = self.node.as_ref() else { return };
        let (index, term) = node.log().compaction_point();
        let mut value = BytesMut::new();
        value.put_u64(index);
        value.put_u64(term);
        value.extend_from_slice(&node.snapshot().encode_to_vec());
        self.out.push(Effect::Persist { key: RecordKey::Snapshot, value: Some(value.freeze()) });
        for old in self.stored.0..=index.min(self.stored.1) {
            self.out.push(Effect::Persist { key: RecordKey::Entry(old), value: None });
        }
        self.stored.0 = index + 1;
        self.stored.1 = self.stored.1.max(index);
    }

    /// Does what the log wants, in the order that it prescribes.
    fn carry_out(&mut self, effects: Effects) {
        let Effects { early, snapshot, entries, hard_state, must_sync, messages, committed, leadership } = effects;
        for message in early {
            self.send_log(&message);
        }
        if let Some(snapshot) = &snapshot {
            for old in self.stored.0..=self.stored.1 {
                self.out.push(Effect::Persist { key: RecordKey::Entry(old), value: None });
            }
            let index = snapshot.index();
            self.stored = (index + 1, index);
            self.persist_snapshot();
            self.awaits = number_of(snapshot);
            self.waiting.clear();
            self.marks.clear();
        }
        if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
            for old in (last.index + 1).max(first.index)..=self.stored.1 {
                self.out.push(Effect::Persist { key: RecordKey::Entry(old), value: None });
            }
            self.stored.1 = last.index;
        }
        for entry in &entries {
            let value = Some(Bytes::from(entry.encode_to_vec()));
            self.out.push(Effect::Persist { key: RecordKey::Entry(entry.index), value });
        }
        // A moved commit index alone is found out again after a restart, unless it changed the members: a node that
        // forgot such a change would count votes by a committee of the past.
        let members_changed = committed.iter().any(|entry| entry.conf_change().is_some());
        if let Some(state) = hard_state.filter(|_| must_sync || members_changed) {
            let value = Some(Bytes::from(state.encode_to_vec()));
            self.out.push(Effect::Persist { key: RecordKey::Term, value });
        }
        for message in messages {
            self.send_log(&message);
        }
        self.waiting.extend(committed);
        self.apply_waiting();
        if let Some(leadership) = leadership {
            self.out.push(Effect::View { view: leadership.term, entered: leadership.leader.is_some() });
        }
    }

    fn send_log(&mut self, message: &konsort_raft::Message) {
        let Some(to) = self.names.get(&message.to).cloned() else { return };
        let mut bytes = BytesMut::with_capacity(message.encoded_len() + 1);
        bytes.put_u8(LOG);
        bytes.extend_from_slice(&message.encode_to_vec());
        self.out.push(Effect::Send { to, bytes: bytes.freeze() });
    }
}

/// The block that a snapshot stands for.
fn number_of(snapshot: &Snapshot) -> u64 {
    Reader(snapshot.data.clone()).position("number").unwrap_or(0)
}
