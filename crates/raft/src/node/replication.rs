//! Entries: appended by the leader, streamed to the followers, committed by a majority.

use bytes::Bytes;

use super::{Node, Refusal, Role};
use crate::effects::Effects;
use crate::message::{Entry, EntryType, Message, MessageType};
use crate::progress::SendState;

/// A follower gets a second chance for a snapshot after this many ticks without an answer.
const SNAPSHOT_PATIENCE_TICKS: u32 = 40;

impl Node {
    pub(crate) fn propose(&mut self, proposals: Vec<Bytes>, effects: &mut Effects) -> Result<(), Refusal> {
        if self.role != Role::Leader {
            return Err(Refusal::NotLeader { leader: self.leader_id(), proposals });
        }
        if self.transferee != 0 {
            return Err(Refusal::Transferring { to: self.transferee });
        }
        if self.leaving {
            return Err(Refusal::Leaving);
        }
        let entries = proposals.into_iter().map(|data| (EntryType::Normal as i32, data)).collect();
        self.append_entries(entries, effects);
        self.broadcast_append(effects);
        Ok(())
    }

    pub(crate) fn append_entries(&mut self, proposals: Vec<(i32, Bytes)>, effects: &mut Effects) {
        let mut entries = Vec::with_capacity(proposals.len());
        for (entry_type, data) in proposals {
            let entry = Entry { entry_type, term: self.term, index: self.log.last_index() + 1, data };
            self.log.push(entry.clone());
            entries.push(entry);
        }
        effects.append(&entries);
        let last = self.log.last_index();
        // The leader's own copy counts at once: effects are carried out write first, apply after.
        if let Some(own) = self.members.get_mut(&self.config.id) {
            own.acknowledged(last);
        }
        self.advance_commit();
    }

    /// Moves the commit index to what a majority holds; true when it moved.
    pub(crate) fn advance_commit(&mut self) -> bool {
        let mut matched: Vec<u64> = self.members.values().map(|p| p.matched).collect();
        if matched.is_empty() {
            return false;
        }
        matched.sort_unstable_by(|a, b| b.cmp(a));
        let index = matched[self.majority() - 1];
        // Entries of earlier terms are only committed together with one of this term.
        if index > self.log.committed && self.log.term(index) == Some(self.term) {
            self.log.committed = index;
            // Alone, this node commits what its own disk does not have yet.
            self.hold_early |= self.majority() == 1;
            return true;
        }
        false
    }

    pub(crate) fn broadcast_append(&mut self, effects: &mut Effects) {
        let peers: Vec<u64> = self.peers().collect();
        for peer in peers {
            let mut sent = false;
            while self.send_append(peer, false, effects) {
                sent = true;
            }
            // An empty message carries the commit index when there is nothing to send.
            if !sent {
                self.send_append(peer, true, effects);
            }
        }
    }

    fn peers(&self) -> impl Iterator<Item = u64> {
        let own = self.config.id;
        self.members.keys().copied().filter(move |id| *id != own)
    }

    /// Sends the next entries to `to`; true when there may be more to send.
    pub(crate) fn send_append(&mut self, to: u64, even_if_empty: bool, effects: &mut Effects) -> bool {
        let max_bytes = self.config.max_message_bytes;
        let Some(progress) = self.members.get_mut(&to) else { return false };
        if progress.is_paused() {
            return false;
        }
        let previous = progress.next - 1;
        let Some(log_term) = self.log.term(previous) else {
            self.send_snapshot(to, effects);
            return false;
        };
        let entries = self.log.batch(progress.next, max_bytes);
        if entries.is_empty() && !even_if_empty {
            return false;
        }
        let last = previous + entries.len() as u64;
        let count = entries.len();
        progress.sent(last, count);
        let message = Message { index: previous, log_term, entries, commit: self.log.committed, ..Message::default() };
        self.send(to, MessageType::App, message, effects);
        count > 0
    }

    fn send_snapshot(&mut self, to: u64, effects: &mut Effects) {
        let snapshot = self.log.snapshot.clone();
        let Some(progress) = self.members.get_mut(&to) else { return };
        // A snapshot is too heavy to be sent into the void.
        if !progress.recent_active || snapshot.index() == 0 {
            return;
        }
        progress.become_snapshot(snapshot.index());
        let message = Message { snapshot: Some(snapshot), ..Message::default() };
        self.send(to, MessageType::Snap, message, effects);
    }

    pub(crate) fn age_snapshots(&mut self) {
        for progress in self.members.values_mut() {
            if matches!(progress.state, SendState::Snapshot(_)) {
                progress.snapshot_ticks += 1;
                if progress.snapshot_ticks >= SNAPSHOT_PATIENCE_TICKS {
                    progress.snapshot_failed();
                }
            }
        }
    }

    pub(crate) fn snapshot_sent(&mut self, to: u64, delivered: bool) {
        let Some(progress) = self.members.get_mut(&to) else { return };
        if !matches!(progress.state, SendState::Snapshot(_)) {
            return;
        }
        if delivered {
            progress.become_probe();
        } else {
            progress.snapshot_failed();
        }
        // Wait for an answer, or for the next heartbeat's, before the next attempt.
        progress.probe_sent = true;
    }

    pub(crate) fn broadcast_heartbeat(&mut self, effects: &mut Effects) {
        for (peer, progress) in self.members.iter().filter(|(id, _)| **id != self.config.id) {
            // Never promise a commit index to a follower that may not have the entries.
            let commit = progress.matched.min(self.log.committed);
            self.send(*peer, MessageType::Heartbeat, Message { commit, ..Message::default() }, effects);
        }
    }

    pub(crate) fn heartbeat(&mut self, message: &Message, effects: &mut Effects) {
        if message.commit > self.log.last_index() {
            tracing::error!(
                node = self.config.id,
                commit = message.commit,
                last = self.log.last_index(),
                "the leader counts on entries this node no longer has: was its log damaged or removed?"
            );
        } else {
            self.log.committed = self.log.committed.max(message.commit);
        }
        let answer = Message { context: message.context.clone(), ..Message::default() };
        self.send(message.from, MessageType::HeartbeatResp, answer, effects);
    }

    pub(crate) fn append_request(&mut self, message: Message, effects: &mut Effects) -> Result<(), Refusal> {
        let from = message.from;
        let bad = |reason| Err(Refusal::BadMessage { from, reason });
        let mut previous_term = message.log_term;
        for (i, entry) in message.entries.iter().enumerate() {
            if entry.index != message.index + 1 + i as u64 {
                return bad("its entries are not consecutive");
            }
            if entry.term < previous_term || entry.term > message.term {
                return bad("its entries' terms are out of order");
            }
            if entry.entry_type == EntryType::ConfChangeV2 as i32 {
                return bad("it holds a joint configuration change, which this node does not support");
            }
            previous_term = entry.term;
        }
        if message.index < self.log.committed {
            let answer = Message { index: self.log.committed, ..Message::default() };
            self.send(from, MessageType::AppResp, answer, effects);
            return Ok(());
        }
        if self.log.term(message.index) != Some(message.log_term) {
            let at = message.index.min(self.log.last_index());
            let (hint, hint_term) = self.log.agreement_hint(at, message.log_term);
            let answer = Message {
                index: message.index,
                reject: true,
                reject_hint: hint,
                log_term: hint_term,
                ..Message::default()
            };
            self.send(from, MessageType::AppResp, answer, effects);
            return Ok(());
        }
        let last_new = message.index + message.entries.len() as u64;
        let mut entries = message.entries;
        let known = entries.iter().take_while(|e| self.log.term(e.index) == Some(e.term)).count();
        entries.drain(..known);
        if let Some(first) = entries.first() {
            if first.index <= self.log.committed {
                return bad("its entries contradict committed ones");
            }
            self.log.truncate_from(first.index);
            for entry in &entries {
                self.log.push(entry.clone());
            }
            effects.append(&entries);
        }
        self.log.committed = self.log.committed.max(message.commit.min(last_new));
        self.send(from, MessageType::AppResp, Message { index: last_new, ..Message::default() }, effects);
        Ok(())
    }

    pub(crate) fn append_response(&mut self, message: &Message, effects: &mut Effects) {
        let last_index = self.log.last_index();
        // Nobody has entries the leader has not sent.
        if message.index > last_index && !message.reject {
            return;
        }
        let Some(progress) = self.members.get_mut(&message.from) else { return };
        progress.recent_active = true;
        if message.reject {
            // Skip a whole term at a time: the follower's hint, seen through this log.
            let hint = if message.log_term > 0 {
                self.log.agreement_hint(message.reject_hint, message.log_term).0
            } else {
                message.reject_hint
            };
            if progress.step_back(message.index, hint) {
                if progress.state == SendState::Replicate {
                    progress.become_probe();
                }
                self.send_append(message.from, true, effects);
            }
            return;
        }
        let was_paused = progress.is_paused();
        // A repeated answer still tells where a probe stands: an idle follower must not stay in probing.
        if progress.acknowledged(message.index)
            || (progress.state == SendState::Probe && progress.matched == message.index)
        {
            match progress.state {
                SendState::Probe => progress.become_replicate(),
                SendState::Snapshot(_) if progress.matched + 1 >= self.log.first_index() => progress.become_replicate(),
                SendState::Snapshot(_) | SendState::Replicate => {}
            }
            let matched = progress.matched;
            if self.advance_commit() {
                self.broadcast_append(effects);
            } else if was_paused {
                self.send_append(message.from, true, effects);
            }
            while self.send_append(message.from, false, effects) {}
            if self.transferee == message.from && matched == last_index {
                self.send(message.from, MessageType::TimeoutNow, Message::default(), effects);
            }
        }
    }

    pub(crate) fn heartbeat_response(&mut self, message: &Message, effects: &mut Effects) {
        let last_index = self.log.last_index();
        let Some(progress) = self.members.get_mut(&message.from) else { return };
        progress.recent_active = true;
        progress.probe_sent = false;
        progress.free_first();
        if progress.matched < last_index || progress.state == SendState::Probe {
            self.send_append(message.from, true, effects);
        }
    }

    pub(crate) fn snapshot_request(&mut self, message: Message, effects: &mut Effects) -> Result<(), Refusal> {
        let from = message.from;
        let Some(snapshot) = message.snapshot else {
            return Err(Refusal::BadMessage { from, reason: "it promises a snapshot and has none" });
        };
        if snapshot.index() == 0 || snapshot.term() == 0 || snapshot.term() > message.term {
            return Err(Refusal::BadMessage { from, reason: "its snapshot has no valid position" });
        }
        let answer_at = |index| Message { index, ..Message::default() };
        if snapshot.index() <= self.log.committed {
            self.send(from, MessageType::AppResp, answer_at(self.log.committed), effects);
            return Ok(());
        }
        // A snapshot from before this node was added does not list it; the entries that follow do.
        if self.log.term(snapshot.index()) == Some(snapshot.term()) {
            self.log.committed = snapshot.index();
            self.send(from, MessageType::AppResp, answer_at(snapshot.index()), effects);
            return Ok(());
        }
        self.members.clear();
        self.log.restore(snapshot.clone());
        for voter in snapshot.voters() {
            self.insert_member(*voter);
        }
        effects.install(snapshot);
        self.send(from, MessageType::AppResp, answer_at(self.log.last_index()), effects);
        Ok(())
    }
}
