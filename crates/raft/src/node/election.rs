//! Terms, votes and campaigns.

use bytes::Bytes;

use super::{CAMPAIGN_TRANSFER, Node, Role};
use crate::effects::Effects;
use crate::message::{Message, MessageType};
use crate::progress::Progress;

impl Node {
    pub(crate) fn majority(&self) -> usize {
        self.members.len() / 2 + 1
    }

    /// Whether this node may campaign: only members lead.
    pub(crate) fn promotable(&self) -> bool {
        self.members.contains_key(&self.config.id)
    }

    fn reset(&mut self, term: u64) {
        if self.term != term {
            self.term = term;
            self.vote = 0;
            self.hold_early = true;
        }
        self.leader = 0;
        self.election_elapsed = 0;
        self.heartbeat_elapsed = 0;
        self.transferee = 0;
        self.leaving = false;
        self.pending_conf_index = 0;
        self.votes.clear();
        self.reset_timeout();
    }

    pub(crate) fn become_follower(&mut self, term: u64, leader: u64) {
        self.reset(term);
        self.leader = leader;
        self.role = Role::Follower;
    }

    fn become_leader(&mut self, effects: &mut Effects) {
        let term = self.term;
        self.reset(term);
        self.role = Role::Leader;
        self.leader = self.config.id;
        let next = self.log.last_index() + 1;
        let window = self.config.max_inflight;
        for (id, progress) in &mut self.members {
            *progress = Progress::new(next, window);
            if *id == self.config.id {
                progress.become_replicate();
                progress.matched = next - 1;
                progress.next = next;
                progress.recent_active = true;
            }
        }
        // Membership changes that stand uncommitted in the log are not known to this leader: wait for all of it.
        self.pending_conf_index = self.log.last_index();
        self.leaving = self.own_removal_in_log();
        // Only an entry of one's own term can be committed by counting; this one brings the others along.
        self.append_entries(vec![(0, Bytes::new())], effects);
        self.broadcast_append(effects);
    }

    /// Starts the first round of a campaign.
    pub(crate) fn campaign_or_ask(&mut self, effects: &mut Effects) {
        if self.config.pre_vote && self.members.len() > 1 {
            self.role = Role::PreCandidate;
            self.leader = 0;
            self.votes.clear();
            self.reset_timeout();
            self.election_elapsed = 0;
            self.votes.insert(self.config.id, true);
            self.ask_votes(MessageType::PreVote, self.term + 1, Bytes::new(), effects);
        } else {
            self.campaign(false, effects);
        }
    }

    pub(crate) fn campaign(&mut self, transfer: bool, effects: &mut Effects) {
        self.reset(self.term + 1);
        self.role = Role::Candidate;
        self.vote = self.config.id;
        self.votes.insert(self.config.id, true);
        if self.majority() == 1 {
            self.become_leader(effects);
            return;
        }
        let context = if transfer { Bytes::from_static(CAMPAIGN_TRANSFER) } else { Bytes::new() };
        self.ask_votes(MessageType::Vote, self.term, context, effects);
    }

    fn ask_votes(&self, kind: MessageType, term: u64, context: Bytes, effects: &mut Effects) {
        for peer in self.members.keys().filter(|p| **p != self.config.id) {
            let request = Message {
                term,
                index: self.log.last_index(),
                log_term: self.log.last_term(),
                context: context.clone(),
                ..Message::default()
            };
            self.send(*peer, kind, request, effects);
        }
    }

    /// Moves to a newer term; false when the message must not disturb.
    pub(crate) fn newer_term(&mut self, message: &Message, kind: MessageType) -> bool {
        match kind {
            MessageType::Vote | MessageType::PreVote => {
                let forced = message.context[..] == *CAMPAIGN_TRANSFER;
                let in_lease =
                    self.config.check_quorum && self.leader != 0 && self.election_elapsed < self.config.election_ticks;
                if !forced && in_lease {
                    return false;
                }
                if kind == MessageType::Vote {
                    self.become_follower(message.term, 0);
                }
            }
            // A granted pre-vote carries the term that would start, it has not started.
            MessageType::PreVoteResp if !message.reject => {}
            MessageType::App | MessageType::Heartbeat | MessageType::Snap => {
                self.become_follower(message.term, message.from);
            }
            _ => self.become_follower(message.term, 0),
        }
        true
    }

    /// Answers a message of an older term where silence would leave the sender stuck.
    pub(crate) fn older_term(&mut self, message: &Message, kind: MessageType, effects: &mut Effects) {
        match kind {
            // A leader that was cut off learns the new term this way; a vote request of this node
            // would not reach it while its followers keep to it.
            MessageType::App | MessageType::Heartbeat if self.config.check_quorum || self.config.pre_vote => {
                self.send(message.from, MessageType::AppResp, Message::default(), effects);
            }
            MessageType::PreVote => {
                let answer = Message { reject: true, ..Message::default() };
                self.send(message.from, MessageType::PreVoteResp, answer, effects);
            }
            _ => {}
        }
    }

    pub(crate) fn vote_request(&mut self, message: &Message, kind: MessageType, effects: &mut Effects) {
        let free = self.vote == message.from
            || (self.vote == 0 && self.leader == 0)
            || (kind == MessageType::PreVote && message.term > self.term);
        let granted = free && self.log.is_up_to_date(message.index, message.log_term);
        let answer_kind = if kind == MessageType::Vote { MessageType::VoteResp } else { MessageType::PreVoteResp };
        let answer = if granted {
            if kind == MessageType::Vote {
                self.election_elapsed = 0;
                self.vote = message.from;
                self.hold_early = true;
            }
            Message { term: message.term, ..Message::default() }
        } else {
            Message { term: self.term, reject: true, ..Message::default() }
        };
        self.send(message.from, answer_kind, answer, effects);
    }

    pub(crate) fn vote_response(&mut self, message: &Message, kind: MessageType, effects: &mut Effects) {
        let expected = match self.role {
            Role::PreCandidate => MessageType::PreVoteResp,
            Role::Candidate => MessageType::VoteResp,
            Role::Follower | Role::Leader => return,
        };
        if kind != expected || !self.members.contains_key(&message.from) {
            return;
        }
        // A pre-vote for an earlier question says nothing about this one.
        if kind == MessageType::PreVoteResp && !message.reject && message.term != self.term + 1 {
            return;
        }
        self.votes.entry(message.from).or_insert(!message.reject);
        let counted =
            |wanted: bool| self.votes.iter().filter(|(id, v)| **v == wanted && self.members.contains_key(id)).count();
        if counted(true) >= self.majority() {
            if self.role == Role::PreCandidate {
                self.campaign(false, effects);
            } else {
                self.become_leader(effects);
            }
        } else if counted(false) >= self.majority() {
            self.become_follower(self.term, 0);
        }
    }

    /// Whether a majority was heard from since the last call.
    pub(crate) fn quorum_active(&mut self) -> bool {
        let own = self.config.id;
        let mut active = 0;
        for (id, progress) in &mut self.members {
            if *id == own || progress.recent_active {
                active += 1;
            }
            progress.recent_active = *id == own;
        }
        active >= self.majority()
    }
}
