//! What must hold at every moment.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::B256;
use bcos_consensus::message::{Body, Message};
use bcos_consensus::{HeaderSignature, Keys, Settings};
use bytes::Bytes;

use super::keys::SimKeys;
use super::machine::Block;

/// The history of the whole cluster, and what contradicts it.
#[derive(Debug, Default)]
pub struct Checks {
    finals: BTreeMap<u64, B256>,
    transactions: BTreeMap<B256, u64>,
    /// (node, settings, commit, view, number) of every vote of an honest node.
    votes: BTreeMap<(usize, B256, bool, u64, u64), B256>,
    /// Highest view each honest node reported to leave for, and settings.
    left: BTreeMap<(usize, B256), u64>,
    /// View changes seen.
    pub views: BTreeSet<u64>,
    /// The first contradiction.
    pub violation: Option<String>,
}

impl Checks {
    pub(super) fn fail(&mut self, text: String) {
        self.violation.get_or_insert(text);
    }

    /// Blocks final so far.
    pub fn height(&self) -> u64 {
        self.finals.last_key_value().map_or(0, |(number, _)| *number)
    }

    /// Whether this transaction is in the chain.
    pub fn has(&self, transaction: &B256) -> bool {
        self.transactions.contains_key(transaction)
    }

    /// A node appended a block: the same everywhere, signed by a quorum, no transaction twice.
    pub fn on_block(&mut self, node: usize, settings: &Settings, raft: bool, quorum: u64, block: &Block) {
        let number = block.proposal.number;
        let known = *self.finals.entry(number).or_insert(block.header_hash);
        if known != block.header_hash {
            self.fail(format!("node {node} has another block {number}: {} instead of {known}", block.header_hash));
        }
        if !is_signed(settings, raft, quorum, &block.header_hash, &block.signatures) {
            self.fail(format!("node {node} has block {number} without a quorum of signatures"));
        }
        for transaction in block.proposal.transactions.iter() {
            let first = *self.transactions.entry(*transaction).or_insert(number);
            if first != number {
                self.fail(format!("transaction {transaction} is in block {first} and in block {number}"));
            }
        }
    }

    /// An honest node sent a message: it never votes twice for different things, whatever happened in between.
    pub fn on_message(&mut self, keys: &SimKeys, node: usize, bytes: &Bytes) {
        let Ok(message) = Message::decode(bytes.clone(), usize::MAX) else { return };
        let (commit, view, number, digest) = match &message.body {
            Body::PrePrepare { view, proposal } => (false, *view, proposal.number, proposal.head(keys).digest(keys)),
            Body::Prepare(vote) => (false, vote.view, vote.number, vote.digest),
            Body::Commit(vote) => (true, vote.view, vote.number, vote.digest),
            Body::ViewChange(change) => {
                self.views.insert(change.view);
                // Members pass on what others said; only their own reports bind them.
                if keys.sign(&message.signed_hash(keys)) == message.signature {
                    let left = self.left.entry((node, message.settings)).or_default();
                    *left = (*left).max(change.view);
                }
                return;
            }
            _ => return,
        };
        if keys.sign(&message.signed_hash(keys)) != message.signature {
            return;
        }
        let key = (node, message.settings, commit, view, number);
        match self.votes.get(&key) {
            None => {
                if self.left.get(&(node, message.settings)).is_some_and(|left| *left > view) {
                    self.fail(format!("node {node} votes in view {view}, which it has left"));
                }
                self.votes.insert(key, digest);
            }
            Some(known) if *known != digest => {
                self.fail(format!("node {node} votes for two proposals {number} in view {view} (commit: {commit})"));
            }
            Some(_) => {}
        }
    }
}

/// Whether a quorum of members signed the header.
pub(super) fn is_signed(
    settings: &Settings,
    raft: bool,
    quorum: u64,
    hash: &B256,
    signatures: &[HeaderSignature],
) -> bool {
    let keys = SimKeys::new(0);
    let mut weight = 0;
    let mut last = None;
    for (index, signature) in signatures {
        let Some(member) = settings.members.get(*index as usize) else { return false };
        if last.is_some_and(|last| last >= index) || !keys.verify(&member.node_id, hash, signature) {
            return false;
        }
        last = Some(index);
        weight += if raft { 1 } else { member.weight };
    }
    weight >= quorum
}
