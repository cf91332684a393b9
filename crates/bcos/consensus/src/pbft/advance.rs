//! The pipeline: every number as far as it can go, lowest first.

use alloy_primitives::B256;

use super::Pbft;
use super::slot::{Check, Execution, signed, weight};
use crate::api::Effect;
use crate::message::{Body, Certificate, Message, Phase, Vote, encode_prepared, encode_voted, statement};
use crate::proposal::Head;
use crate::record::RecordKey;

impl Pbft {
    pub(super) fn advance(&mut self) {
        let Some(me) = self.me else { return };
        let tip = self.tip();
        let (mut number, last) = (tip.number + 1, tip.number + self.config.window);
        let mut parent = tip.content;
        let mut open = self.entered;
        let (mut voting, mut committing, mut executing, mut finishing) = (true, true, true, true);
        while number <= last && self.slots.contains_key(&number) {
            if open && !self.accept(me, number, &parent) {
                open = false;
                self.want(me, number);
            }
            let decided = self.slots.get(&number).is_some_and(|slot| slot.decided.is_some());
            if open {
                voting = voting && self.vote(me, number) || decided;
                committing = committing && self.commit_vote(me, number) || decided;
            }
            executing = executing && self.execute(number);
            finishing = finishing && self.finish(number);
            let Some(slot) = self.slots.get(&number) else { return };
            let Some((_, head)) = slot.current(self.view).and_then(|digest| slot.contents.get(&digest)) else {
                return;
            };
            if self.is_barrier(head) {
                return;
            }
            parent = head.content(&*self.keys);
            number += 1;
        }
        if open && number <= last {
            self.want(me, number);
        }
    }

    /// Whether what follows may be decided by others than this.
    pub(super) fn is_barrier(&self, head: &Head) -> bool {
        head.system || self.settings.ends_epoch(head.number)
    }

    /// The last number the new view message decides about.
    pub(super) fn required_end(&self) -> u64 {
        self.required.last_key_value().map_or(self.base, |(number, _)| *number)
    }

    /// Which proposal to follow in this view, and whether a quorum is known to have found it valid.
    fn choice(&self, number: u64) -> Option<(B256, bool)> {
        let slot = self.slots.get(&number)?;
        let certified = self.required.get(&number).copied().or(slot.certified_in(self.view)).or(slot.decided);
        if let Some(digest) = certified {
            return Some((digest, true));
        }
        if number <= self.required_end() {
            return None;
        }
        let leader = self.settings.leader(number, self.view);
        slot.candidates.get(&leader).filter(|(view, ..)| *view == self.view).map(|(_, digest, _)| (*digest, false))
    }

    fn accept(&mut self, me: usize, number: u64, parent: &B256) -> bool {
        let view = self.view;
        let Some((digest, certified)) = self.choice(number) else { return false };
        let leader = self.settings.leader(number, view);
        let from = self.settings.members.get(leader).map(|m| m.node_id.clone());
        let Some(slot) = self.slots.get_mut(&number) else { return false };
        if slot.accepted == Some((view, digest)) {
            return true;
        }
        // An earlier vote of this view binds, also across a restart.
        if slot.voted.is_some_and(|(v, d)| v == view && d != digest) && slot.decided.is_none() {
            return false;
        }
        let Some((proposal, _)) = slot.contents.get(&digest) else { return false };
        if proposal.parent != *parent {
            return false;
        }
        slot.accepted = Some((view, digest));
        // What a quorum found valid is fetched even when it looked wrong here.
        let known = slot.checks.get(&digest);
        if known.is_none() || (certified && known == Some(&Check::Invalid)) {
            let proposal = proposal.clone();
            slot.checks.insert(digest, Check::Asked);
            let sealer = usize::try_from(proposal.sealer).ok();
            let author = sealer.and_then(|sealer| self.settings.members.get(sealer)).map(|m| m.node_id.clone());
            let mine = slot.candidates.get(&me).is_some_and(|cell| (cell.0, cell.1) == (view, digest));
            let from = if certified { author.or(from) } else { from };
            let certified = certified || mine;
            let from = from.unwrap_or_else(|| self.keys.me().clone());
            self.out.push(Effect::Verify { proposal, digest, certified, from });
        }
        true
    }

    /// Votes to prepare what this node follows; whether it has.
    fn vote(&mut self, me: usize, number: u64) -> bool {
        let view = self.view;
        let Some(slot) = self.slots.get_mut(&number) else { return false };
        let Some((_, digest)) = slot.accepted.filter(|(v, _)| *v == view) else { return false };
        let bound = slot.voted.is_some_and(|(v, _)| v == view);
        if bound && slot.voted != Some((view, digest)) {
            return false;
        }
        if slot.prepares.get(&me).is_some_and(|cell| (cell.0, cell.1) == (view, digest)) {
            return true;
        }
        if !bound {
            if slot.checks.get(&digest) != Some(&Check::Valid) {
                return false;
            }
            slot.voted = Some((view, digest));
            let value = Some(encode_voted(view, &digest));
            self.out.push(Effect::Persist { key: RecordKey::Voted(number), value });
        }
        let vote = Vote { view, number, digest };
        let signature = self.keys.sign(&statement(&*self.keys, &self.scope, me, Phase::Prepare, &vote));
        slot.prepares.insert(me, (view, digest, signature.clone()));
        let mine = slot.candidates.get_mut(&me).filter(|cell| (cell.0, cell.1) == (view, digest));
        let body = match mine {
            Some(cell) => {
                cell.2 = signature.clone();
                let Some((proposal, _)) = slot.contents.get(&digest) else { return false };
                Body::PrePrepare { view, proposal: proposal.clone() }
            }
            None => Body::Prepare(vote),
        };
        self.broadcast(&Message { settings: self.scope, from: me, body, signature });
        true
    }

    /// Votes to commit what a quorum prepared; whether it has.
    fn commit_vote(&mut self, me: usize, number: u64) -> bool {
        let view = self.view;
        let quorum = self.settings.quorum();
        let Some(slot) = self.slots.get_mut(&number) else { return false };
        if slot.commit_voted == Some(view) {
            return true;
        }
        let Some((_, digest)) = slot.accepted.filter(|(v, _)| *v == view) else { return false };
        let Some((proposal, head)) = slot.contents.get(&digest) else { return false };
        if slot.certified_in(view) != Some(digest) {
            if weight(&self.settings, &slot.prepares, view, &digest) < quorum {
                return false;
            }
            let votes = slot
                .prepares
                .iter()
                .filter(|(_, cell)| (cell.0, cell.1) == (view, digest))
                .map(|(index, cell)| (*index as u64, cell.2.clone()))
                .collect();
            let certificate = Certificate { view, head: *head, votes };
            let value = Some(encode_prepared(&certificate, proposal));
            self.out.push(Effect::Persist { key: RecordKey::Prepared(number), value });
            slot.certificate = Some((certificate, digest));
        }
        slot.commit_voted = Some(view);
        let vote = Vote { view, number, digest };
        let signature = self.keys.sign(&statement(&*self.keys, &self.scope, me, Phase::Commit, &vote));
        slot.commits.insert(me, (view, digest, signature.clone()));
        self.broadcast(&Message { settings: self.scope, from: me, body: Body::Commit(vote), signature });
        self.decide(number, view, digest);
        true
    }

    /// Looks whether a quorum committed.
    pub(super) fn decide(&mut self, number: u64, view: u64, digest: B256) {
        let quorum = self.settings.quorum();
        let Some(slot) = self.slots.get_mut(&number) else { return };
        if slot.decided.is_some() || weight(&self.settings, &slot.commits, view, &digest) < quorum {
            return;
        }
        slot.decided = Some(digest);
        self.progressed = true;
        self.cycle = 0;
        if slot.contents.contains_key(&digest) {
            self.abandon(number, Some(digest));
        } else {
            self.request_proposal(number, digest);
        }
    }

    /// Has an ordered proposal executed; whether it is.
    fn execute(&mut self, number: u64) -> bool {
        let Some(slot) = self.slots.get_mut(&number) else { return false };
        let Some(digest) = slot.ordered() else { return false };
        if slot.execution == Execution::NotStarted
            && let Some((proposal, _)) = slot.contents.get(&digest)
        {
            slot.execution = Execution::Started;
            self.out.push(Effect::Execute { proposal: proposal.clone(), digest });
        }
        matches!(slot.execution, Execution::Done(_))
    }

    /// Hands out a block that a quorum signed; whether it has.
    fn finish(&mut self, number: u64) -> bool {
        let quorum = self.settings.quorum();
        let Some(slot) = self.slots.get_mut(&number) else { return false };
        let Execution::Done(ours) = slot.execution else { return false };
        if slot.commit.is_some() {
            return true;
        }
        if signed(&self.settings, &slot.checkpoints, &ours) < quorum {
            let others = slot.checkpoints.values().map(|(hash, _)| *hash).filter(|hash| *hash != ours);
            let theirs = others.into_iter().find(|hash| signed(&self.settings, &slot.checkpoints, hash) >= quorum);
            if let Some(theirs) = theirs.filter(|_| !slot.diverged) {
                slot.diverged = true;
                self.out.push(Effect::Diverged { number, ours, theirs });
            }
            return false;
        }
        let signatures: Vec<_> = slot
            .checkpoints
            .iter()
            .filter(|(_, (hash, _))| *hash == ours)
            .map(|(index, (_, signature))| (*index as u64, signature.clone()))
            .collect();
        slot.commit = Some((ours, signatures.clone()));
        self.out.push(Effect::Commit { number, header_hash: ours, signatures });
        true
    }

    /// Asks the sealer for a block when it is this node's turn.
    fn want(&mut self, me: usize, number: u64) {
        if self.settings.leader(number, self.view) != me || number <= self.required_end() {
            return;
        }
        let used = self.slots.get(&number).is_some_and(|slot| {
            slot.decided.is_some()
                || slot.voted.is_some_and(|(view, _)| view == self.view)
                || slot.candidates.get(&me).is_some_and(|cell| cell.0 == self.view)
        });
        if used || self.wanted == Some((number, self.view)) {
            return;
        }
        self.wanted = Some((number, self.view));
        self.out.push(Effect::WantProposal { number, view: self.view });
    }
}
