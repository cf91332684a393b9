//! Members that break the rules. Each runs the honest core with its own key and spoils what comes out of it.

use std::sync::Arc;

use alloy_primitives::B256;
use bcos_consensus::Proposal;
use bcos_consensus::message::{Body, Message, TimeoutCertificate, ViewChange, Vote};
use bytes::Bytes;

use super::keys::{SimKeys, hash};
use crate::rng::Rng;

/// How a hostile node is hostile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Says nothing.
    Silent,
    /// Says one thing to some and another to others: proposals and votes.
    Equivocating,
    /// Signs headers that nobody executed, and signs for others.
    Forging,
    /// Is in views where nobody is, and tells of view changes that never were.
    WrongView,
    /// Sends bytes that mean nothing, or nearly something.
    Garbage,
    /// Sends again what it heard before, to anybody.
    Replaying,
    /// Tells some what it does not tell others.
    Withholding,
    /// Proposes what is not there, or twice.
    Inventing,
    /// Loses all its records in every crash (and crashes often).
    Forgetful,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Silent,
        Self::Equivocating,
        Self::Forging,
        Self::WrongView,
        Self::Garbage,
        Self::Replaying,
        Self::Withholding,
        Self::Inventing,
        Self::Forgetful,
    ];
}

/// What a hostile node remembers.
#[derive(Debug, Default)]
pub struct Memory {
    heard: Vec<Bytes>,
    committed: Vec<B256>,
}

impl Memory {
    /// Something arrived or was said.
    pub fn hear(&mut self, rng: &mut Rng, bytes: &Bytes) {
        if self.heard.len() < 200 {
            self.heard.push(bytes.clone());
        } else {
            let slot = rng.below(200) as usize;
            self.heard[slot] = bytes.clone();
        }
    }

    /// Transactions that are in the chain already.
    pub fn commit(&mut self, transactions: &[B256]) {
        self.committed.extend_from_slice(transactions);
    }
}

/// What the node really sends to one receiver instead of `bytes`.
pub(super) fn spoil(
    kind: Kind,
    keys: &SimKeys,
    rng: &mut Rng,
    memory: &mut Memory,
    receiver: usize,
    bytes: &Bytes,
) -> Vec<Bytes> {
    let original = Message::decode(bytes.clone(), usize::MAX).ok();
    match kind {
        Kind::Silent => Vec::new(),
        Kind::Forgetful => vec![bytes.clone()],
        Kind::Withholding => {
            if receiver.is_multiple_of(2) || rng.chance(20) {
                vec![bytes.clone()]
            } else {
                Vec::new()
            }
        }
        Kind::Garbage => {
            let mut spoilt = bytes.to_vec();
            match rng.below(4) {
                0 => return vec![bytes.clone()],
                1 => {
                    let at = rng.below(spoilt.len() as u64) as usize;
                    spoilt[at] ^= 1 << rng.below(8);
                }
                2 => spoilt.truncate(rng.below(spoilt.len() as u64) as usize),
                _ => spoilt.iter_mut().for_each(|b| *b = rng.number() as u8),
            }
            vec![spoilt.into()]
        }
        Kind::Replaying => {
            let mut out = vec![bytes.clone()];
            if rng.chance(30) {
                out.extend((0..2).map(|_| memory.heard[rng.below(memory.heard.len() as u64) as usize].clone()));
            }
            out
        }
        Kind::Equivocating => {
            let Some(mut message) = original else { return Vec::new() };
            let other = receiver % 2 == 1;
            let lie = hash(&[&(receiver % 2).to_be_bytes(), b"other"]);
            message.body = match message.body {
                Body::PrePrepare { view, proposal } if other => {
                    let proposal = Proposal { timestamp_ms: proposal.timestamp_ms + 1, ..(*proposal).clone() };
                    Body::PrePrepare { view, proposal: Arc::new(proposal) }
                }
                Body::Prepare(vote) if other && rng.chance(50) => Body::Prepare(Vote { digest: lie, ..vote }),
                Body::Commit(vote) if other && rng.chance(50) => Body::Commit(Vote { digest: lie, ..vote }),
                body => body,
            };
            vec![Message::sign(keys, message.settings, message.from, message.body).encode(), bytes.clone()]
        }
        Kind::Inventing => {
            let Some(mut message) = original else { return Vec::new() };
            if let Body::PrePrepare { view, proposal } = &message.body {
                let mut transactions = proposal.transactions.to_vec();
                match rng.below(4) {
                    0 => transactions.push(hash(&[b"invented", &rng.number().to_be_bytes()])),
                    1 => transactions.extend(rng.pick(&memory.committed)),
                    2 => transactions.extend(proposal.transactions.first()),
                    _ => {}
                }
                let parent = if rng.chance(10) { B256::ZERO } else { proposal.parent };
                let proposal = Proposal {
                    transactions: transactions.into(),
                    parent,
                    system: rng.chance(20),
                    ..(**proposal).clone()
                };
                message = Message::sign(
                    keys,
                    message.settings,
                    message.from,
                    Body::PrePrepare { view: *view, proposal: Arc::new(proposal) },
                );
            }
            vec![message.encode()]
        }
        Kind::Forging => {
            let Some(message) = original else { return Vec::new() };
            let mut out = Vec::new();
            match &message.body {
                Body::Checkpoint { number, .. } => {
                    let lie = hash(&[b"header", &rng.below(3).to_be_bytes()]);
                    let number = if rng.chance(20) { number + rng.below(100) } else { *number };
                    for author in 0..4 {
                        // Signed by this node whoever it claims to be.
                        let body = Body::Checkpoint { number, header_hash: lie };
                        out.push(Message::sign(keys, message.settings, author, body).encode());
                    }
                }
                _ if rng.chance(30) => {
                    let from = rng.below(5) as usize;
                    out.push(Message::sign(keys, message.settings, from, message.body.clone()).encode());
                    out.push(bytes.clone());
                }
                _ => out.push(bytes.clone()),
            }
            out
        }
        Kind::WrongView => {
            let Some(message) = original else { return Vec::new() };
            let jump = [1, 1, 2, 7, 1 << 40][rng.below(5) as usize];
            let mut bodies = vec![match message.body.clone() {
                Body::Prepare(vote) => Body::Prepare(Vote { view: vote.view + rng.below(2) * jump, ..vote }),
                Body::Commit(vote) => Body::Commit(Vote { view: vote.view + rng.below(2) * jump, ..vote }),
                Body::Suspect { view } => Body::Suspect { view: view + jump },
                body => body,
            }];
            if rng.chance(20) {
                let view = match &message.body {
                    Body::Prepare(vote) | Body::Commit(vote) => vote.view,
                    _ => rng.below(5),
                };
                bodies.push(Body::Suspect { view });
                let mut change =
                    ViewChange { view: view + 1, reason: TimeoutCertificate { view, votes: Vec::new() }, ..empty() };
                if rng.chance(50) {
                    change.tip.number = rng.below(20);
                }
                bodies.push(Body::ViewChange(change));
                bodies.push(Body::NewView { view: view + 1, base: B256::ZERO, changes: Vec::new() });
                bodies.push(Body::RecoverResponse {
                    view: view + jump,
                    entered: true,
                    new_view: None,
                    proofs: Vec::new(),
                });
            }
            bodies.into_iter().map(|body| Message::sign(keys, message.settings, message.from, body).encode()).collect()
        }
    }
}

fn empty() -> ViewChange {
    let tip = bcos_consensus::message::Proof { number: 0, header_hash: B256::ZERO, signatures: Vec::new() };
    ViewChange { view: 0, reason: TimeoutCertificate { view: 0, votes: Vec::new() }, tip, prepared: Vec::new() }
}
