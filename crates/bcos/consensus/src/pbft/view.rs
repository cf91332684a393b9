//! Leaving a view and entering the next.
//!
//! Leaving takes two steps, so that a member that alone lost its connections (or whose pool alone is full) does
//! not take itself out of the game: *suspect* says that a member would like to leave and binds nobody; a quorum of
//! suspicions is the reason that a *view change* carries, and whoever sees one such reason follows. A member joins
//! in suspecting as soon as more than the faulty ones do.

use std::collections::BTreeMap;

use alloy_primitives::B256;
use bytes::Bytes;

use super::Pbft;
use crate::api::{Effect, HeaderSignature};
use crate::codec::DecodeError;
use crate::message::{
    Body, Certificate, MAX_WINDOW, Message, Phase, Proof, TimeoutCertificate, ViewChange, Vote, statement, suspicion,
};
use crate::settings::NodeId;

impl Pbft {
    /// Says that this node wants to leave its view.
    pub(super) fn suspect(&mut self) {
        let Some(me) = self.me.filter(|_| !self.suspecting) else { return };
        self.suspecting = true;
        tracing::info!(view = self.view, number = self.tip().number, "no progress, asking for another leader");
        let message = self.signed(me, Body::Suspect { view: self.view });
        self.broadcast(&message);
        self.peers[me].suspect = Some((self.view, message.signature));
        self.count_suspicions();
    }

    pub(super) fn suspicion(&mut self, sender: &NodeId, message: &Message, view: u64) {
        let known = self.peers[message.from].suspect.as_ref();
        if view < self.view || known.is_some_and(|(v, _)| *v >= view) || !self.is_signed(sender, message) {
            return;
        }
        self.peers[message.from].suspect = Some((view, message.signature.clone()));
        self.seen_in(message.from, view);
        self.count_suspicions();
    }

    fn count_suspicions(&mut self) {
        let mut views: BTreeMap<u64, u64> = BTreeMap::new();
        for (index, peer) in self.peers.iter().enumerate() {
            if let Some((view, _)) = peer.suspect.as_ref().filter(|(view, _)| *view >= self.view) {
                *views.entry(*view).or_default() += self.settings.weight(index);
            }
        }
        let quorum = self.settings.quorum();
        if let Some((view, _)) = views.iter().rev().find(|(_, weight)| **weight >= quorum) {
            let view = *view;
            let vote = |(index, peer): (usize, &super::Peer)| {
                let (_, signature) = peer.suspect.as_ref().filter(|(v, _)| *v == view)?;
                Some((index as u64, signature.clone()))
            };
            let votes: Vec<HeaderSignature> = self.peers.iter().enumerate().filter_map(vote).collect();
            self.leave(TimeoutCertificate { view, votes });
        } else if views.values().sum::<u64>() > self.settings.max_faulty() {
            self.suspect();
        }
    }

    /// Leaves all views up to the one that a quorum gave up.
    fn leave(&mut self, reason: TimeoutCertificate) {
        let Some(me) = self.me else { return };
        self.view = reason.view + 1;
        self.reason = Some(reason);
        self.entered = false;
        self.new_view = None;
        self.required.clear();
        self.base = self.tip().number;
        self.held = None;
        self.wanted = None;
        self.suspecting = false;
        self.cycle = self.cycle.saturating_add(1);
        self.deadline = None;
        self.retry_at = None;
        self.retry_after = self.config.retry_ms;
        self.again = true;
        tracing::info!(view = self.view, number = self.tip().number, "view change");
        self.persist_view();
        self.out.push(Effect::View { view: self.view, entered: false });
        self.announce_change(me);
        self.lead_new_view();
    }

    /// Tells everybody what this node prepared before the view it goes to.
    pub(super) fn announce_change(&mut self, me: usize) {
        let Some(reason) = self.reason.clone() else { return };
        let tip = self.tip();
        let (number, content) = (tip.number, tip.content);
        let tip = Proof { number, header_hash: tip.header_hash, signatures: tip.signatures.clone() };
        let prepared: Vec<Certificate> = self
            .slots
            .values()
            .filter_map(|slot| slot.certificate.as_ref().map(|(certificate, _)| certificate))
            // One that does not follow the last final block was never ordered.
            .filter(|c| c.head.number != number + 1 || c.head.parent == content)
            .cloned()
            .collect();
        let change = ViewChange { view: self.view, reason, tip, prepared };
        let message = self.signed(me, Body::ViewChange(change.clone()));
        self.broadcast(&message);
        self.peers[me].change = Some((change, message.encode()));
    }

    pub(super) fn view_change(&mut self, sender: &NodeId, message: &Message, change: &ViewChange, bytes: Bytes) {
        let known = self.peers[message.from].change.as_ref();
        let stale = change.view < self.view || (change.view == self.view && self.entered);
        if stale || known.is_some_and(|(c, _)| c.view >= change.view) {
            return;
        }
        if !self.is_signed(sender, message) {
            return;
        }
        if !self.is_sound(change) {
            // The proof of a block this node does not have may be of another committee.
            if change.tip.number <= self.tip().number {
                self.blame_member(message.from, "a view change that its proofs do not bear out");
            }
            return;
        }
        self.peers[message.from].change = Some((change.clone(), bytes));
        self.seen_in(message.from, change.view);
        if change.view > self.view {
            self.leave(change.reason.clone());
        } else {
            self.lead_new_view();
        }
    }

    /// Whether votes are from members, valid, and weigh enough.
    fn is_quorum(&self, votes: &[HeaderSignature], hash_for: impl Fn(usize) -> B256) -> bool {
        let mut weight = 0;
        for (index, _) in votes {
            weight += self.settings.weight(*index as usize);
        }
        weight >= self.settings.quorum()
            && votes.iter().all(|(index, signature)| {
                let index = *index as usize;
                let member = self.settings.members.get(index);
                member.is_some_and(|m| self.keys.verify(&m.node_id, &hash_for(index), signature))
            })
    }

    fn is_sound(&self, change: &ViewChange) -> bool {
        let ViewChange { view, reason, tip, prepared } = change;
        let known_reason = self.reason.as_ref().is_some_and(|known| known == reason);
        let reason_holds = || self.is_quorum(&reason.votes, |i| suspicion(&*self.keys, &self.scope, i, reason.view));
        if reason.view.checked_add(1) != Some(*view) || !(known_reason || reason_holds()) {
            return false;
        }
        // A block this node has is final without proof.
        if tip.number > self.tip().number && !self.is_quorum(&tip.signatures, |_| tip.header_hash) {
            return false;
        }
        let mut last = tip.number;
        prepared.iter().all(|certificate| {
            let number = certificate.head.number;
            let in_order = number > last && number <= tip.number + MAX_WINDOW as u64 && certificate.view < *view;
            last = number;
            in_order && self.is_certificate(certificate)
        })
    }

    fn is_certificate(&self, certificate: &Certificate) -> bool {
        let known = self.slots.get(&certificate.head.number).and_then(|slot| slot.certificate.as_ref());
        if known.is_some_and(|(known, _)| known == certificate) {
            return true;
        }
        let digest = certificate.head.digest(&*self.keys);
        let vote = Vote { view: certificate.view, number: certificate.head.number, digest };
        self.is_quorum(&certificate.votes, |i| statement(&*self.keys, &self.scope, i, Phase::Prepare, &vote))
    }

    /// Opens the new view when a quorum came and it is this node's turn.
    pub(super) fn lead_new_view(&mut self) {
        let Some(me) = self.me.filter(|_| !self.entered) else { return };
        let mut weight = 0;
        let mut base = 0;
        let mut changes = Vec::new();
        for (index, peer) in self.peers.iter().enumerate() {
            if let Some((change, bytes)) = peer.change.as_ref().filter(|(change, _)| change.view == self.view) {
                weight += self.settings.weight(index);
                base = base.max(change.tip.number);
                changes.push(bytes.clone());
            }
        }
        if weight < self.settings.quorum() || self.settings.leader(base + 1, self.view) != me {
            return;
        }
        let Some(content) = self.content_of(base) else {
            if base > self.tip().number {
                self.catch_up(base);
            }
            return;
        };
        let message = self.signed(me, Body::NewView { view: self.view, base: content, changes: changes.clone() });
        self.broadcast(&message);
        let changes: Vec<ViewChange> =
            self.peers.iter().filter_map(|peer| peer.change.as_ref().map(|(change, _)| change)).cloned().collect();
        let changes: Vec<ViewChange> = changes.into_iter().filter(|change| change.view == self.view).collect();
        let chosen = self.choose(base, &content, &changes);
        self.enter(self.view, base, chosen, message.encode());
    }

    /// What has to be proposed again: from the first number above the highest final block, the prepared proposal of
    /// the highest view, as long as each follows the one before.
    fn choose(&self, base: u64, content: &B256, changes: &[ViewChange]) -> BTreeMap<u64, B256> {
        let mut best: BTreeMap<u64, &Certificate> = BTreeMap::new();
        for certificate in changes.iter().flat_map(|change| &change.prepared) {
            let slot = best.entry(certificate.head.number).or_insert(certificate);
            if slot.view < certificate.view {
                *slot = certificate;
            }
        }
        let mut chosen = BTreeMap::new();
        let mut parent = *content;
        for number in base + 1.. {
            let Some(certificate) = best.get(&number).filter(|c| c.head.parent == parent) else { break };
            chosen.insert(number, certificate.head.digest(&*self.keys));
            parent = certificate.head.content(&*self.keys);
            if self.is_barrier(&certificate.head) {
                break;
            }
        }
        chosen
    }

    pub(super) fn new_view(
        &mut self,
        sender: &NodeId,
        message: &Message,
        view: u64,
        base: &B256,
        changes: &[Bytes],
        bytes: Bytes,
    ) {
        if view < self.view || (view == self.view && self.entered) || !self.is_signed(sender, message) {
            return;
        }
        let Some(changes) = self.sound_changes(view, changes) else {
            tracing::debug!(view, from = message.from, "a new view that its view changes do not bear out");
            return;
        };
        let number = changes.iter().map(|change| change.tip.number).max().unwrap_or_default();
        if self.settings.leader(number + 1, view) != message.from {
            self.blame_member(message.from, "a new view by somebody whose turn it was not");
            return;
        }
        if number > self.tip().number {
            // What the highest final block holds decides which proposals follow it.
            self.held = Some(bytes);
            self.catch_up(number);
            return;
        }
        match self.content_of(number) {
            // Too long ago: this node has no part in the view before it knows more.
            None => return,
            Some(content) if content != *base => {
                self.blame_member(message.from, "a new view on another block than the final one");
                return;
            }
            Some(_) => {}
        }
        let chosen = self.choose(number, base, &changes);
        self.enter(view, number, chosen, bytes);
    }

    /// The view changes of a new view message, when they are all valid and a quorum's.
    fn sound_changes(&self, view: u64, changes: &[Bytes]) -> Option<Vec<ViewChange>> {
        let mut members = Vec::new();
        let mut weight = 0;
        let mut out = Vec::new();
        for bytes in changes {
            let message = Message::decode(bytes.clone(), 0).ok()?;
            let Body::ViewChange(change) = message.body.clone() else { return None };
            let member = self.settings.members.get(message.from)?;
            if message.settings != self.scope || change.view != view || members.contains(&message.from) {
                return None;
            }
            members.push(message.from);
            weight += member.weight;
            let known = self.peers[message.from].change.as_ref().is_some_and(|(_, known)| known == bytes);
            let holds = known
                || self.keys.verify(&member.node_id, &message.signed_hash(&*self.keys), &message.signature)
                    && self.is_sound(&change);
            if !holds {
                return None;
            }
            out.push(change);
        }
        (weight >= self.settings.quorum()).then_some(out)
    }

    fn enter(&mut self, view: u64, base: u64, chosen: BTreeMap<u64, B256>, bytes: Bytes) {
        self.view = view;
        self.entered = true;
        self.reason = None;
        self.new_view = Some(bytes);
        self.base = base;
        self.held = None;
        self.wanted = None;
        self.suspecting = false;
        self.deadline = None;
        self.retry_at = None;
        self.retry_after = self.config.retry_ms;
        self.again = true;
        tracing::info!(view, number = self.tip().number, again = chosen.len(), "new view");
        self.persist_view();
        self.out.push(Effect::View { view, entered: true });
        for number in self.slots.keys().copied().collect::<Vec<_>>() {
            let slot = &self.slots[&number];
            let kept = chosen.get(&number).copied().or(slot.decided);
            self.abandon(number, kept);
        }
        let tip = self.tip().number;
        for (number, digest) in chosen.iter().filter(|(number, _)| **number > tip) {
            if !self.slots.entry(*number).or_default().contents.contains_key(digest) {
                self.request_proposal(*number, *digest);
            }
        }
        self.required = chosen;
        self.required.retain(|number, _| *number > tip);
    }

    /// Reads the obligations of the view this node was in before it stopped.
    pub(super) fn restore_new_view(&mut self, bytes: &Bytes) -> Result<(), DecodeError> {
        let message = Message::decode(bytes.clone(), 0)?;
        let Body::NewView { base, changes, .. } = message.body else {
            return Err(DecodeError::Unknown("message kind"));
        };
        let mut read = Vec::new();
        for change in changes {
            let Body::ViewChange(change) = Message::decode(change, 0)?.body else {
                return Err(DecodeError::Unknown("message kind"));
            };
            read.push(change);
        }
        self.base = read.iter().map(|change| change.tip.number).max().unwrap_or_default();
        let tip = self.tip().number;
        self.required = self.choose(self.base, &base, &read);
        self.required.retain(|number, _| *number > tip);
        Ok(())
    }
}
