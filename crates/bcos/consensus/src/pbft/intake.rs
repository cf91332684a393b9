//! Messages: who says it, is it signed, is it new.

use std::sync::Arc;

use alloy_primitives::B256;
use bytes::Bytes;

use super::slot::{Cell, signed};
use super::{MAX_AHEAD, MAX_AHEAD_BYTES, Pbft};
use crate::message::{Body, Message, Phase, Vote, statement};
use crate::proposal::Proposal;
use crate::settings::NodeId;

impl Pbft {
    /// Reads a message that `from` brought (none: this node had it before); it may be another member's.
    pub(super) fn read_message(&mut self, from: Option<&NodeId>, bytes: Bytes) {
        let Some(me) = self.me else { return };
        let message = match Message::decode(bytes.clone(), self.config.max_transactions) {
            Ok(message) => message,
            Err(error) => {
                tracing::debug!(?from, %error, "consensus message refused");
                if let Some(from) = from {
                    self.blame(from, "a malformed message");
                }
                return;
            }
        };
        if message.settings != self.scope {
            if let Some(from) = from {
                self.keep_ahead(from, bytes);
            }
            return;
        }
        if message.from == me {
            return;
        }
        let Some(member) = self.settings.members.get(message.from) else { return };
        let author = member.node_id.clone();
        let sender = from.unwrap_or(&author).clone();
        match &message.body {
            Body::PrePrepare { view, proposal } => self.pre_prepare(&sender, &message, *view, proposal),
            Body::Prepare(vote) => self.cast(&sender, &message, Phase::Prepare, vote),
            Body::Commit(vote) => self.cast(&sender, &message, Phase::Commit, vote),
            Body::Checkpoint { number, header_hash } => {
                self.checkpoint(Some(&sender), message.from, *number, *header_hash, &message.signature);
            }
            Body::Suspect { view } => self.suspicion(&sender, &message, *view),
            Body::ViewChange(change) => self.view_change(&sender, &message, change, bytes),
            Body::NewView { view, base, changes } => self.new_view(&sender, &message, *view, base, changes, bytes),
            Body::RecoverRequest { view, number, ordered } => {
                if self.is_signed(&sender, &message) {
                    self.answer(message.from, *view, *number, *ordered);
                }
            }
            Body::RecoverResponse { view, entered, new_view, proofs } => {
                if self.is_signed(&sender, &message) {
                    self.recovered(message.from, *view, *entered, new_view.clone(), proofs);
                }
            }
            Body::ProposalRequest { number, digest } => {
                if self.slots.get(number).is_some_and(|slot| slot.contents.contains_key(digest))
                    && self.is_signed(&sender, &message)
                {
                    self.send_proposal(message.from, *number, digest);
                }
            }
            // The digest says whether it is the right one, whoever sent it.
            Body::ProposalResponse { proposal } => self.learn_proposal(proposal),
        }
    }

    fn keep_ahead(&mut self, from: &NodeId, bytes: Bytes) {
        self.ahead_bytes += bytes.len();
        self.ahead.push_back((from.clone(), bytes));
        while self.ahead.len() > MAX_AHEAD || self.ahead_bytes > MAX_AHEAD_BYTES {
            let Some((_, dropped)) = self.ahead.pop_front() else { break };
            self.ahead_bytes -= dropped.len();
        }
    }

    fn is_from(&mut self, sender: &NodeId, author: usize, hash: &B256, signature: &[u8]) -> bool {
        let Some(member) = self.settings.members.get(author) else { return false };
        if self.keys.verify(&member.node_id, hash, signature) {
            return true;
        }
        self.blame(sender, "a message whose signature is not its author's");
        false
    }

    pub(super) fn is_signed(&mut self, sender: &NodeId, message: &Message) -> bool {
        let hash = message.signed_hash(&*self.keys);
        self.is_from(sender, message.from, &hash, &message.signature)
    }

    fn pre_prepare(&mut self, sender: &NodeId, message: &Message, view: u64, proposal: &Arc<Proposal>) {
        let (number, from) = (proposal.number, message.from);
        if !self.in_window(number) || view < self.view {
            return;
        }
        if self.settings.leader(number, view) != from {
            return;
        }
        let known = self.slots.get(&number).and_then(|slot| slot.candidates.get(&from)).map(|c| (c.0, c.1));
        if known.is_some_and(|(v, _)| v > view) {
            return;
        }
        let head = proposal.head(&*self.keys);
        let digest = head.digest(&*self.keys);
        if known == Some((view, digest)) {
            return;
        }
        let vote = Vote { view, number, digest };
        let hash = statement(&*self.keys, &self.scope, from, Phase::Prepare, &vote);
        if !self.is_from(sender, from, &hash, &message.signature) {
            return;
        }
        if known.is_some_and(|(v, _)| v == view) {
            self.blame_member(from, "two proposals for one number in one view");
            return;
        }
        let limit = self.contents_limit();
        let slot = self.slots.entry(number).or_default();
        slot.candidates.insert(from, (view, digest, message.signature.clone()));
        slot.learn(digest, proposal.clone(), head, limit);
        // The proposal is the leader's vote, too.
        if slot.prepares.get(&from).is_none_or(|cell| cell.0 < view) {
            slot.prepares.insert(from, (view, digest, message.signature.clone()));
        }
        self.seen_in(from, view);
    }

    fn cast(&mut self, sender: &NodeId, message: &Message, phase: Phase, vote: &Vote) {
        let from = message.from;
        // Prepare votes of a view that was left cannot become a certificate any more; commit votes still decide.
        if !self.in_window(vote.number) || (phase == Phase::Prepare && vote.view < self.view) {
            return;
        }
        let known = self.slots.get(&vote.number).and_then(|slot| {
            let cells = if phase == Phase::Prepare { &slot.prepares } else { &slot.commits };
            cells.get(&from).map(|cell: &Cell| (cell.0, cell.1))
        });
        if known.is_some_and(|(view, digest)| view > vote.view || (view, digest) == (vote.view, vote.digest)) {
            return;
        }
        let hash = statement(&*self.keys, &self.scope, from, phase, vote);
        if !self.is_from(sender, from, &hash, &message.signature) {
            return;
        }
        if known.is_some_and(|(view, _)| view == vote.view) {
            self.blame_member(from, "two different votes for one number in one view");
            return;
        }
        let slot = self.slots.entry(vote.number).or_default();
        let cells = if phase == Phase::Prepare { &mut slot.prepares } else { &mut slot.commits };
        cells.insert(from, (vote.view, vote.digest, message.signature.clone()));
        self.seen_in(from, vote.view);
        if phase == Phase::Commit {
            self.decide(vote.number, vote.view, vote.digest);
        }
    }

    /// A signature over a block; `sender` answers for it, none when it is a proof under settings of its own time.
    pub(super) fn checkpoint(
        &mut self,
        sender: Option<&NodeId>,
        from: usize,
        number: u64,
        header_hash: B256,
        signature: &Bytes,
    ) {
        let tip = self.tip().number;
        let beyond = number > tip + self.config.window;
        if number <= tip || self.me == Some(from) {
            return;
        }
        let known = self.slots.get(&number).and_then(|slot| slot.checkpoints.get(&from));
        if known.is_some_and(|(hash, _)| *hash == header_hash)
            || (beyond && self.peers.get(from).is_some_and(|peer| peer.ahead >= number))
        {
            return;
        }
        let Some(member) = self.settings.members.get(from) else { return };
        if !self.keys.verify(&member.node_id, &header_hash, signature) {
            if let Some(sender) = sender {
                self.blame(sender, "a block signature that is not its author's");
            }
            return;
        }
        if beyond {
            // The number itself is not signed, but it takes more than the faulty ones to be believed.
            if let Some(peer) = self.peers.get_mut(from) {
                peer.ahead = number;
            }
            return;
        }
        self.slots.entry(number).or_default().checkpoints.insert(from, (header_hash, signature.clone()));
    }

    /// The highest block that more than the faulty members have signed and this node cannot reach by itself.
    pub(super) fn known_final(&self) -> Option<u64> {
        let quorum = self.settings.quorum();
        let signed_here = self.slots.iter().rev().find(|(_, slot)| {
            slot.ordered().is_none()
                && slot.checkpoints.values().any(|(hash, _)| signed(&self.settings, &slot.checkpoints, hash) >= quorum)
        });
        let mut ahead: Vec<(u64, u64)> =
            self.peers.iter().enumerate().map(|(i, peer)| (peer.ahead, self.settings.weight(i))).collect();
        ahead.sort_unstable_by(|a, b| b.cmp(a));
        let mut weight = 0;
        let believed = ahead.into_iter().find(|(_, w)| {
            weight += w;
            weight > self.settings.max_faulty()
        });
        let believed = believed.map(|(number, _)| number).filter(|number| *number > self.tip().number);
        believed.max(signed_here.map(|(number, _)| *number))
    }
}
