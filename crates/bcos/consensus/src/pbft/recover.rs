//! Finding out what was missed.

use std::sync::Arc;

use alloy_primitives::B256;
use bytes::Bytes;

use super::Pbft;
use super::slot::Execution;
use crate::api::Effect;
use crate::message::{Body, Message, Proof, Vote, decode_proposal, encode_proposal};
use crate::proposal::Proposal;

/// Milliseconds between two answers to one member.
const ANSWER_EVERY_MS: u64 = 100;
/// Proofs in one answer.
const MAX_PROOFS: usize = 64;

impl Pbft {
    /// Nothing moved for a while: say again what matters, ask what was missed.
    pub(super) fn help(&mut self) {
        let Some(me) = self.me else { return };
        if !self.entered {
            self.announce_change(me);
        }
        if let Some((_, signature)) = self.peers[me].suspect.clone().filter(|(v, _)| *v == self.view && self.suspecting)
        {
            let body = Body::Suspect { view: self.view };
            self.broadcast(&Message { settings: self.scope, from: me, body, signature });
        }
        let missing: Vec<(u64, B256)> = self
            .slots
            .iter()
            .flat_map(|(number, slot)| {
                let needed = slot.decided.into_iter().chain(self.required.get(number).copied());
                needed.filter(|digest| !slot.contents.contains_key(digest)).map(|digest| (*number, digest))
            })
            .collect();
        for (number, digest) in missing {
            self.request_proposal(number, digest);
        }
        if let Some(number) = self.known_final() {
            self.catch_up(number);
        }
        self.ask();
    }

    pub(super) fn ask(&mut self) {
        let Some(me) = self.me else { return };
        self.asked_at = Some(self.now);
        let number = self.tip().number;
        let window = number + 1..=number + self.config.window;
        let ordered = window.take_while(|n| self.slots.get(n).is_some_and(|slot| slot.ordered().is_some())).last();
        let ordered = ordered.unwrap_or(number);
        let message = self.signed(me, Body::RecoverRequest { view: self.view, number, ordered });
        self.broadcast(&message);
    }

    pub(super) fn catch_up(&mut self, number: u64) {
        let from = self
            .settings
            .members
            .iter()
            .map(|m| m.node_id.clone())
            .filter(|node| node != self.keys.me() && !self.unreachable.contains(node))
            .collect();
        self.out.push(Effect::CatchUp { number, from });
    }

    /// Notes that a member is in a view; when more than the faulty ones are ahead, asks how they got there.
    pub(super) fn seen_in(&mut self, from: usize, view: u64) {
        let peer = &mut self.peers[from];
        if view <= peer.seen {
            return;
        }
        peer.seen = view;
        let ahead: u64 =
            (0..self.peers.len()).filter(|i| self.peers[*i].seen > self.view).map(|i| self.settings.weight(i)).sum();
        let asked = self.asked_at.is_some_and(|at| self.now < at + ANSWER_EVERY_MS);
        if ahead > self.settings.max_faulty() && !asked {
            self.ask();
        }
    }

    pub(super) fn answer(&mut self, to: usize, view: u64, number: u64, ordered: u64) {
        let (Some(me), Some(node)) = (self.me, self.settings.members.get(to).map(|m| m.node_id.clone())) else {
            return;
        };
        self.seen_in(to, view);
        let peer = &mut self.peers[to];
        if peer.answered.is_some_and(|at| self.now < at + ANSWER_EVERY_MS) {
            return;
        }
        peer.answered = Some(self.now);
        let proofs: Vec<Proof> = self
            .recent
            .iter()
            .filter(|tip| tip.number > number)
            .take(MAX_PROOFS)
            .map(|t| Proof { number: t.number, header_hash: t.header_hash, signatures: t.signatures.clone() })
            .collect();
        let new_view = self.new_view.clone().filter(|_| view <= self.view);
        let body = Body::RecoverResponse { view: self.view, entered: self.entered, new_view, proofs };
        let response = self.signed(me, body);
        self.send(&node, &response);
        if !self.entered
            && let Some((_, bytes)) = self.peers[me].change.clone()
        {
            self.out.push(Effect::Send { to: node.clone(), bytes });
        }
        let mut messages = Vec::new();
        for (n, slot) in &self.slots {
            let say = |from: usize, body, signature: &Bytes| Message {
                settings: self.scope,
                from,
                body,
                signature: signature.clone(),
            };
            if let (Execution::Done(header_hash), true) = (slot.execution, *n > number)
                && let Some((_, signature)) = slot.checkpoints.get(&me)
            {
                messages.push(say(me, Body::Checkpoint { number: *n, header_hash }, signature));
            }
            if *n <= ordered {
                continue;
            }
            for (index, (v, digest, signature)) in &slot.candidates {
                if let (true, false, Some((proposal, _))) =
                    (*v == self.view, signature.is_empty(), slot.contents.get(digest))
                {
                    messages.push(say(*index, Body::PrePrepare { view: *v, proposal: proposal.clone() }, signature));
                }
            }
            if let Some((v, digest, signature)) = slot.prepares.get(&me) {
                messages.push(say(me, Body::Prepare(Vote { view: *v, number: *n, digest: *digest }), signature));
            }
            // An order that is final here is passed on with everybody's votes.
            for (index, (v, digest, signature)) in &slot.commits {
                if *index == me || slot.decided == Some(*digest) {
                    let vote = Vote { view: *v, number: *n, digest: *digest };
                    messages.push(say(*index, Body::Commit(vote), signature));
                }
            }
        }
        for message in messages {
            self.send(&node, &message);
        }
    }

    pub(super) fn recovered(
        &mut self,
        from: usize,
        view: u64,
        entered: bool,
        new_view: Option<Bytes>,
        proofs: &[Proof],
    ) {
        self.seen_in(from, view);
        match new_view {
            Some(bytes) if view > self.view || (view == self.view && !self.entered) => {
                self.read_message(None, bytes);
            }
            None if entered => {
                self.peers[from].carried = Some(view);
                self.carry_on();
            }
            _ => {}
        }
        for proof in proofs {
            for (index, signature) in &proof.signatures {
                if (*index as usize) < self.settings.members.len() {
                    self.checkpoint(None, *index as usize, proof.number, proof.header_hash, signature);
                }
            }
        }
        if let Some(number) = self.known_final() {
            self.catch_up(number);
        }
    }

    /// Members may have brought different views along from earlier settings, and no message can show how they got
    /// there. The others follow to the highest view that an honest one is in (not to a view this node is on its
    /// way to: there it gave a report, and waits for the answer). Without a new view message everybody stays bound
    /// by what he prepared himself, so that a quorum for something else cannot come about.
    fn carry_on(&mut self) {
        let mut carried: Vec<(u64, u64)> = self
            .peers
            .iter()
            .enumerate()
            .filter_map(|(i, peer)| peer.carried.map(|view| (view, self.settings.weight(i))))
            .collect();
        carried.sort_unstable_by(|a, b| b.cmp(a));
        let mut weight = 0;
        let believed = carried.into_iter().find(|(_, w)| {
            weight += w;
            weight > self.settings.max_faulty()
        });
        let Some((view, _)) = believed.filter(|(view, _)| *view > self.view) else { return };
        self.view = view;
        self.entered = true;
        self.reason = None;
        self.new_view = None;
        self.bind_to_prepared();
        self.wanted = None;
        self.suspecting = false;
        self.deadline = None;
        self.again = true;
        self.persist_view();
        self.out.push(Effect::View { view, entered: true });
        for number in self.slots.keys().copied().collect::<Vec<_>>() {
            let kept = self.slots[&number].decided.or(self.required.get(&number).copied());
            self.abandon(number, kept);
        }
    }

    /// In a view without new view message: only what this node prepared may take its number.
    pub(super) fn bind_to_prepared(&mut self) {
        self.base = self.tip().number;
        self.required.clear();
        let mut parent = self.tip().content;
        for (number, slot) in &self.slots {
            let prepared = slot.certificate.as_ref().map(|(_, digest)| *digest);
            let Some(digest) = slot.decided.or(prepared) else { break };
            let Some((_, head)) = slot.contents.get(&digest) else { break };
            if *number != self.required_end() + 1 || head.parent != parent {
                break;
            }
            self.required.insert(*number, digest);
            parent = head.content(&*self.keys);
        }
    }

    pub(super) fn request_proposal(&mut self, number: u64, digest: B256) {
        let Some(me) = self.me else { return };
        let message = self.signed(me, Body::ProposalRequest { number, digest });
        self.broadcast(&message);
    }

    pub(super) fn send_proposal(&mut self, to: usize, number: u64, digest: &B256) {
        let (Some(me), Some(node)) = (self.me, self.settings.members.get(to).map(|m| m.node_id.clone())) else {
            return;
        };
        let Some((proposal, _)) = self.slots.get(&number).and_then(|slot| slot.contents.get(digest)) else { return };
        let message = self.signed(me, Body::ProposalResponse { proposal: proposal.clone() });
        self.send(&node, &message);
    }

    pub(super) fn learn_proposal(&mut self, proposal: &Arc<Proposal>) {
        let number = proposal.number;
        let required = self.required.get(&number).copied();
        let Some(slot) = self.slots.get(&number) else { return };
        let wanted = |digest: B256| {
            (slot.decided == Some(digest) || required == Some(digest)) && !slot.contents.contains_key(&digest)
        };
        let head = proposal.head(&*self.keys);
        let digest = head.digest(&*self.keys);
        if !wanted(digest) {
            return;
        }
        let limit = self.contents_limit();
        let Some(slot) = self.slots.get_mut(&number) else { return };
        slot.learn(digest, proposal.clone(), head, limit);
        if slot.decided == Some(digest) {
            self.abandon(number, Some(digest));
        }
    }
}

impl Proposal {
    /// The proposal as bytes, for whoever has to keep one.
    pub fn encode(&self) -> Bytes {
        encode_proposal(self)
    }

    /// Reads [`encode`](Self::encode), with at most `max_transactions`.
    pub fn decode(bytes: Bytes, max_transactions: usize) -> Result<Self, crate::codec::DecodeError> {
        decode_proposal(bytes, max_transactions)
    }
}
