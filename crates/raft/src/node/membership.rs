//! Membership, leadership transfer and compaction.

use bytes::Bytes;

use super::{Input, Node, Refusal, Role};
use crate::effects::Effects;
use crate::message::{
    ConfChange, ConfChangeType, ConfState, Entry, EntryType, Message, MessageType, Snapshot, SnapshotMetadata,
};
use crate::progress::Progress;

impl Node {
    pub(crate) fn insert_member(&mut self, id: u64) {
        if id == 0 || self.members.contains_key(&id) {
            return;
        }
        let mut progress = Progress::new(self.log.last_index() + 1, self.config.max_inflight);
        // Without this the next quorum check would count a member nobody had time to hear from.
        progress.recent_active = true;
        if id == self.config.id {
            progress.matched = self.log.last_index();
        }
        self.members.insert(id, progress);
    }

    pub(crate) fn apply_conf_change(&mut self, change: &ConfChange) {
        match ConfChangeType::try_from(change.change_type) {
            Ok(ConfChangeType::AddNode) => self.insert_member(change.node_id),
            Ok(ConfChangeType::RemoveNode) => {
                self.members.remove(&change.node_id);
                self.votes.remove(&change.node_id);
                if self.transferee == change.node_id {
                    self.transferee = 0;
                }
                // Whoever is out does not lead: what it appends would commit without its own vote.
                if change.node_id == self.config.id && self.role != Role::Follower {
                    self.become_follower(self.term, 0);
                }
            }
            _ => {}
        }
    }

    /// Whether the entries not yet applied hold this node's removal.
    pub(crate) fn own_removal_in_log(&self) -> bool {
        let pending = self.log.range(self.log.applied + 1, self.log.last_index());
        pending.filter_map(Entry::conf_change).any(|change| self.is_own_removal(&change))
    }

    fn is_own_removal(&self, change: &ConfChange) -> bool {
        change.node_id == self.config.id && change.change_type == ConfChangeType::RemoveNode as i32
    }

    /// A leader that is out asks the best of the others to take over, so that nobody waits for a timeout.
    pub(crate) fn hand_over_if_removed(&mut self, change: &ConfChange, effects: &mut Effects) {
        if self.role == Role::Leader
            && self.is_own_removal(change)
            && let Some(successor) = self.best_successor()
        {
            self.send(successor, MessageType::TimeoutNow, Message::default(), effects);
        }
    }

    pub(crate) fn propose_conf_change(&mut self, change: &ConfChange, effects: &mut Effects) -> Result<(), Refusal> {
        let bad = |reason| Err(Refusal::BadConfChange { node: change.node_id, reason });
        if self.role != Role::Leader {
            return Err(Refusal::NotLeader { leader: self.leader_id(), proposals: Vec::new() });
        }
        if self.transferee != 0 {
            return Err(Refusal::Transferring { to: self.transferee });
        }
        if self.leaving {
            return Err(Refusal::Leaving);
        }
        if self.pending_conf_index > self.log.applied {
            return Err(Refusal::ConfChangePending { index: self.pending_conf_index });
        }
        if change.node_id == 0 {
            return bad("node ids start at 1");
        }
        match ConfChangeType::try_from(change.change_type) {
            Ok(ConfChangeType::RemoveNode) if self.members.len() == 1 && self.members.contains_key(&change.node_id) => {
                return bad("the last member cannot be removed");
            }
            Ok(ConfChangeType::AddNode | ConfChangeType::UpdateNode | ConfChangeType::RemoveNode) => {}
            Ok(ConfChangeType::AddLearnerNode) => return bad("members without a vote are not supported"),
            Err(_) => return bad("unknown kind of change"),
        }
        let data = prost::Message::encode_to_vec(change).into();
        self.append_entries(vec![(EntryType::ConfChange as i32, data)], effects);
        self.pending_conf_index = self.log.last_index();
        // Nothing may follow a leader's own removal in its log: with a longer log than everybody
        // else's it could deny them the vote they may still need from it.
        self.leaving = self.is_own_removal(change);
        self.broadcast_append(effects);
        Ok(())
    }

    /// Starts handing leadership to `to`; a follower passes the wish on.
    pub(crate) fn transfer_leadership(&mut self, to: u64, effects: &mut Effects) {
        if self.role != Role::Leader {
            if self.leader != 0 && to == self.config.id {
                self.send(self.leader, MessageType::TransferLeader, Message::default(), effects);
            }
            return;
        }
        if to == self.config.id || self.transferee == to || !self.members.contains_key(&to) {
            return;
        }
        self.election_elapsed = 0;
        self.transferee = to;
        if self.members.get(&to).is_some_and(|p| p.matched == self.log.last_index()) {
            self.send(to, MessageType::TimeoutNow, Message::default(), effects);
        } else {
            self.send_append(to, true, effects);
        }
    }

    /// The member best placed to lead next: reachable and furthest in the log.
    pub fn best_successor(&self) -> Option<u64> {
        let own = self.config.id;
        let candidates = self.members.iter().filter(|(id, p)| **id != own && p.recent_active);
        candidates.max_by_key(|(id, p)| (p.matched, std::cmp::Reverse(**id))).map(|(id, _)| *id)
    }

    pub(crate) fn compact(&mut self, index: u64, data: Bytes, keep: u64) -> Result<(), Refusal> {
        let applied = self.log.applied;
        let snapshot_index = self.log.snapshot.index();
        let bad = Refusal::BadCompaction { index, applied, snapshot: snapshot_index };
        if index > applied || index <= snapshot_index {
            return Err(bad);
        }
        let Some(term) = self.log.term(index) else { return Err(bad) };
        let conf_state = self.conf_state_at(index);
        let metadata = SnapshotMetadata { conf_state: Some(conf_state), index, term };
        self.log.snapshot = Snapshot { data, metadata: Some(metadata) };
        self.log.compact(index.saturating_sub(keep));
        Ok(())
    }

    /// The voters after `index`: those of the latest snapshot, and every change since.
    fn conf_state_at(&self, index: u64) -> ConfState {
        let base = self.log.snapshot.index();
        let mut voters: std::collections::BTreeSet<u64> = self.log.snapshot.voters().iter().copied().collect();
        for change in self.log.range(base + 1, index).filter_map(Entry::conf_change) {
            match ConfChangeType::try_from(change.change_type) {
                Ok(ConfChangeType::AddNode) => voters.insert(change.node_id),
                Ok(ConfChangeType::RemoveNode) => voters.remove(&change.node_id),
                _ => continue,
            };
        }
        ConfState { voters: voters.into_iter().collect(), learners: Vec::new() }
    }

    /// The input that adds (`true`) or removes (`false`) one member.
    pub fn change_member(id: u64, add: bool) -> Input {
        let change_type = if add { ConfChangeType::AddNode } else { ConfChangeType::RemoveNode };
        Input::ProposeConfChange(ConfChange { node_id: id, change_type: change_type as i32, ..ConfChange::default() })
    }
}
