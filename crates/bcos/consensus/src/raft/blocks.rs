//! From committed entries to final blocks.

use std::sync::Arc;

use alloy_primitives::B256;
use bytes::Bytes;

use super::log::LOG;
use super::{Ordered, Raft};
use crate::api::{Effect, Tip};
use crate::message::{Body, Message, Proof};
use crate::proposal::Proposal;
use crate::settings::{NodeId, Settings};

/// Milliseconds between two answers to one member.
const ANSWER_EVERY_MS: u64 = 50;
/// Proofs in one answer.
const MAX_PROOFS: usize = 64;

impl Raft {
    pub(super) fn message(&mut self, from: &NodeId, mut bytes: Bytes) {
        if bytes.first() == Some(&LOG) {
            let bytes = bytes.split_off(1);
            self.log_message(from, bytes);
            return;
        }
        let Ok(message) = Message::decode(bytes, self.config.max_transactions) else {
            self.out.push(Effect::Misbehaviour { node: from.clone(), what: "a malformed message" });
            return;
        };
        if message.settings != self.scope || self.me.is_none() || self.me == Some(message.from) {
            return;
        }
        let Some(member) = self.settings.members.get(message.from).map(|m| m.node_id.clone()) else { return };
        let signed = |raft: &Self| raft.keys.verify(&member, &message.signed_hash(&*raft.keys), &message.signature);
        match &message.body {
            Body::Checkpoint { number, header_hash } => {
                self.checkpoint(message.from, *number, *header_hash, &message.signature);
            }
            Body::RecoverRequest { number, .. } if signed(self) => self.answer(message.from, *number),
            Body::RecoverResponse { proofs, .. } if signed(self) => {
                for proof in proofs {
                    for (index, signature) in &proof.signatures {
                        self.checkpoint(*index as usize, proof.number, proof.header_hash, signature);
                    }
                }
                self.look_for_blocks();
            }
            _ => {}
        }
    }

    /// Takes committed entries, unless blocks have to be fetched before.
    pub(super) fn apply_waiting(&mut self) {
        while self.awaits <= self.tip().number {
            let Some(entry) = self.waiting.pop_front() else { return };
            self.applied_term = entry.term;
            self.progressed = true;
            if entry.term > self.flight_term {
                // What an earlier leader had not brought through by now is lost.
                for proposal in std::mem::take(&mut self.flight) {
                    self.out.push(Effect::Abandon { proposal });
                }
            }
            if entry.entry_type == 0 && !entry.data.is_empty() {
                match Proposal::decode(entry.data.clone(), usize::MAX) {
                    Ok(proposal) => self.order(Arc::new(proposal)),
                    Err(error) => tracing::error!(index = entry.index, %error, "log entry is not a proposal"),
                }
            }
            let number = self.end().0;
            self.marks.push_back((entry.index, number));
            if self.marks.len() > 4096 {
                self.marks.pop_front();
            }
        }
    }

    /// The first proposal for the next number that continues the chain is the block; others were too late.
    fn order(&mut self, proposal: Arc<Proposal>) {
        let head = proposal.head(&*self.keys);
        let own = self.flight.iter().position(|p| **p == *proposal);
        if let Some(own) = own {
            self.flight.remove(own);
        }
        let (number, content) = self.end();
        if proposal.number != number + 1 || head.parent != content {
            if own.is_some() {
                self.out.push(Effect::Abandon { proposal });
            }
            return;
        }
        if own.is_none() {
            // The host has to know what is taken before it seals for this node.
            let sealer = usize::try_from(proposal.sealer).ok().and_then(|sealer| self.settings.members.get(sealer));
            let from = sealer.map_or_else(|| self.keys.me().clone(), |m| m.node_id.clone());
            let digest = head.digest(&*self.keys);
            self.out.push(Effect::Verify { proposal: proposal.clone(), digest, certified: true, from });
        }
        let ordered = Ordered { proposal, head, started: false, executed: None, commit: None, diverged: false };
        self.ordered.insert(number + 1, ordered);
    }

    /// Every number as far as it can go, lowest first.
    pub(super) fn advance(&mut self) {
        let majority = self.majority();
        let (mut executing, mut finishing) = (true, true);
        for (number, ordered) in &mut self.ordered {
            if executing && !ordered.started {
                ordered.started = true;
                let digest = ordered.head.digest(&*self.keys);
                self.out.push(Effect::Execute { proposal: ordered.proposal.clone(), digest });
            }
            let Some(ours) = ordered.executed else { return };
            let cells = self.checkpoints.get(number);
            if finishing && ordered.commit.is_none() {
                let signatures: Vec<_> = cells
                    .into_iter()
                    .flatten()
                    .filter(|(_, (hash, _))| *hash == ours)
                    .map(|(index, (_, signature))| (*index as u64, signature.clone()))
                    .collect();
                if signatures.len() >= majority {
                    ordered.commit = Some((ours, signatures.clone()));
                    self.out.push(Effect::Commit { number: *number, header_hash: ours, signatures });
                } else if let Some(theirs) = cells.into_iter().flatten().map(|(_, (hash, _))| *hash).find(|hash| {
                    *hash != ours && cells.is_some_and(|c| c.values().filter(|c| c.0 == *hash).count() >= majority)
                }) && !std::mem::replace(&mut ordered.diverged, true)
                {
                    self.out.push(Effect::Diverged { number: *number, ours, theirs });
                }
            }
            finishing = finishing && ordered.commit.is_some();
            executing = !(ordered.proposal.system || self.settings.ends_epoch(*number));
            if !executing {
                return;
            }
        }
    }

    pub(super) fn executed(&mut self, number: u64, header_hash: B256) {
        let Some(ordered) = self.ordered.get_mut(&number).filter(|o| o.started && o.executed.is_none()) else {
            return;
        };
        ordered.executed = Some(header_hash);
        self.progressed = true;
        if let Some(me) = self.me {
            let signature = self.keys.sign(&header_hash);
            self.checkpoints.entry(number).or_default().insert(me, (header_hash, signature.clone()));
            let body = Body::Checkpoint { number, header_hash };
            self.broadcast(&Message { settings: self.scope, from: me, body, signature });
        }
    }

    pub(super) fn committed(&mut self, number: u64, next: Settings) {
        let Some(ordered) = self.ordered.get(&number).filter(|_| number == self.tip().number + 1) else { return };
        let Some((header_hash, signatures)) = ordered.commit.clone() else { return };
        let content = ordered.head.content(&*self.keys);
        self.settle(Tip { number, header_hash, content, signatures }, next);
    }

    fn checkpoint(&mut self, from: usize, number: u64, header_hash: B256, signature: &Bytes) {
        let tip = self.tip().number;
        let known = self.checkpoints.get(&number).and_then(|cells| cells.get(&from));
        let Some(member) = self.settings.members.get(from) else { return };
        if number <= tip
            || self.me == Some(from)
            || known.is_some_and(|(hash, _)| *hash == header_hash)
            || !self.keys.verify(&member.node_id, &header_hash, signature)
        {
            return;
        }
        if number > tip + 2 * self.config.window {
            self.ahead = self.ahead.max(number);
            return;
        }
        self.checkpoints.entry(number).or_default().insert(from, (header_hash, signature.clone()));
    }

    /// Asks for blocks that are final elsewhere and not on their way here.
    fn look_for_blocks(&mut self) {
        let majority = self.majority();
        let signed = self
            .checkpoints
            .iter()
            .rev()
            .find(|(number, cells)| !self.ordered.contains_key(number) && cells.len() >= majority);
        let number = signed.map_or(0, |(number, _)| *number).max(self.ahead).max(self.awaits);
        if number > self.tip().number {
            let from = self.settings.members.iter().map(|m| m.node_id.clone());
            let from = from.filter(|node| node != self.keys.me()).collect();
            self.out.push(Effect::CatchUp { number, from });
        }
    }

    /// Nothing moved for a while: sign again, ask what was missed.
    pub(super) fn help(&mut self) {
        let Some(me) = self.me else { return };
        self.look_for_blocks();
        let (number, ordered) = (self.tip().number, self.end().0);
        let body = Body::RecoverRequest { view: 0, number, ordered };
        let message = Message::sign(&*self.keys, self.scope, me, body);
        self.broadcast(&message);
        for (number, header_hash, signature) in self.own_checkpoints(me, number) {
            let body = Body::Checkpoint { number, header_hash };
            self.broadcast(&Message { settings: self.scope, from: me, body, signature });
        }
    }

    fn own_checkpoints(&self, me: usize, above: u64) -> Vec<(u64, B256, Bytes)> {
        let own = |(number, cells): (&u64, &std::collections::BTreeMap<usize, (B256, Bytes)>)| {
            cells.get(&me).map(|(hash, signature)| (*number, *hash, signature.clone()))
        };
        self.checkpoints.range(above + 1..).filter_map(own).collect()
    }

    fn answer(&mut self, to: usize, number: u64) {
        let (Some(me), Some(node)) = (self.me, self.settings.members.get(to).map(|m| m.node_id.clone())) else {
            return;
        };
        if self.answered.get(&to).is_some_and(|at| self.now < at + ANSWER_EVERY_MS) {
            return;
        }
        self.answered.insert(to, self.now);
        let proofs: Vec<Proof> = self
            .recent
            .iter()
            .filter(|tip| tip.number > number)
            .take(MAX_PROOFS)
            .map(|t| Proof { number: t.number, header_hash: t.header_hash, signatures: t.signatures.clone() })
            .collect();
        let mut messages = Vec::new();
        if !proofs.is_empty() {
            let body = Body::RecoverResponse { view: 0, entered: true, new_view: None, proofs };
            messages.push(Message::sign(&*self.keys, self.scope, me, body));
        }
        for (number, header_hash, signature) in self.own_checkpoints(me, number) {
            let body = Body::Checkpoint { number, header_hash };
            messages.push(Message { settings: self.scope, from: me, body, signature });
        }
        for message in messages {
            self.out.push(Effect::Send { to: node.clone(), bytes: message.encode() });
        }
    }
}
