//! One node: its disk, its pool, its executor and the effects it has still to carry out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use alloy_primitives::B256;
use bcos_consensus::{
    Consensus, Effect, HeaderSignature, Input, Keys, Proposal, RecordKey, Settings, Tip, content_hash,
};
use bytes::Bytes;

use super::hostile::{Kind, Memory};
use super::keys::{SimKeys, hash};

/// A final block.
#[derive(Clone, Debug)]
pub struct Block {
    /// What was agreed on.
    pub proposal: Arc<Proposal>,
    /// What it was executed to.
    pub header_hash: B256,
    /// Who says so.
    pub signatures: Vec<HeaderSignature>,
    /// What holds for the next block.
    pub next: Arc<Settings>,
}

impl Block {
    /// The committee that a system transaction in it chooses.
    pub fn choice(&self) -> Option<u8> {
        self.proposal.transactions.iter().find(|t| is_system(t)).map(|t| t[1])
    }
}

/// System transactions carry a mark.
pub(super) fn is_system(transaction: &B256) -> bool {
    transaction[0] == 0xEE
}

/// A node; its disk survives the rest.
#[derive(Debug)]
pub struct Machine {
    /// Its index.
    pub index: usize,
    /// Its key.
    pub keys: SimKeys,
    /// How it is hostile, if it is.
    pub hostile: Option<Kind>,
    /// What it remembers to spoil things with.
    pub memory: Memory,
    /// The consensus; none while it is down.
    pub core: Option<Box<dyn Consensus>>,
    /// Raised by each start, so that events of an earlier life are ignored.
    pub life: u64,
    /// Durable records.
    pub records: BTreeMap<RecordKey, Bytes>,
    /// Records that are not durable yet, oldest first.
    pub unsynced: Vec<(RecordKey, Option<Bytes>)>,
    /// Effects not carried out yet.
    pub todo: VecDeque<Effect>,
    /// A sync is under way.
    pub flushing: bool,
    /// Durable blocks from 1.
    pub ledger: Vec<Block>,
    /// Transactions in them.
    pub included: BTreeSet<B256>,
    /// Commits the consensus was not told about yet.
    pub untold: usize,
    /// What holds for block 1.
    pub first: Arc<Settings>,
    /// Known transactions that are not in the ledger.
    pub pool: BTreeSet<B256>,
    /// How many proposals hold a transaction.
    pub marks: BTreeMap<B256, usize>,
    /// Proposals shown to this node, by content.
    pub proposals: BTreeMap<B256, Arc<Proposal>>,
    /// Executed blocks above the ledger.
    pub executed: BTreeMap<u64, (Arc<Proposal>, B256)>,
    /// What the consensus wants sealed.
    pub want: Option<(u64, u64)>,
    /// What the consensus was told about waiting transactions.
    pub work: bool,
    /// Per mille of speed and milliseconds of its clock.
    pub clock: (u64, u64),
}

impl Machine {
    /// A node with an empty disk.
    pub fn new(index: usize, hostile: Option<Kind>, first: Arc<Settings>, clock: (u64, u64)) -> Self {
        Self {
            index,
            keys: SimKeys::new(index),
            hostile,
            memory: Memory::default(),
            core: None,
            life: 0,
            records: BTreeMap::new(),
            unsynced: Vec::new(),
            todo: VecDeque::new(),
            flushing: false,
            ledger: Vec::new(),
            included: BTreeSet::new(),
            untold: 0,
            first,
            pool: BTreeSet::new(),
            marks: BTreeMap::new(),
            proposals: BTreeMap::new(),
            executed: BTreeMap::new(),
            want: None,
            work: false,
            clock,
        }
    }

    /// The node's own time.
    pub fn local(&self, now: u64) -> u64 {
        now * self.clock.0 / 1000 + self.clock.1
    }

    /// World time of a local time, rounded up.
    pub fn world(&self, local: u64) -> u64 {
        (local.saturating_sub(self.clock.1) * 1000).div_ceil(self.clock.0)
    }

    /// The last block's number.
    pub fn height(&self) -> u64 {
        self.ledger.len() as u64
    }

    /// What holds for block `number`, at most one above the last.
    pub fn settings(&self, number: u64) -> Arc<Settings> {
        match number.checked_sub(2).and_then(|i| self.ledger.get(i as usize)) {
            Some(block) => block.next.clone(),
            None => self.first.clone(),
        }
    }

    /// The tip that block `number` makes.
    pub fn tip(&self, number: u64) -> Tip {
        let Some(block) = number.checked_sub(1).and_then(|i| self.ledger.get(i as usize)) else {
            let content = content_hash(&self.keys, 0, 0, 0, &[]);
            return Tip { number: 0, header_hash: hash(&[b"genesis"]), content, signatures: Vec::new() };
        };
        Tip {
            number,
            header_hash: block.header_hash,
            content: self.content(&block.proposal),
            signatures: block.signatures.clone(),
        }
    }

    /// The hash a child names.
    pub fn content(&self, proposal: &Proposal) -> B256 {
        let Proposal { number, timestamp_ms, sealer, transactions, .. } = proposal;
        content_hash(&self.keys, *number, *timestamp_ms, *sealer, transactions)
    }

    /// Everything volatile is gone.
    pub fn stop(&mut self) {
        self.core = None;
        self.unsynced.clear();
        self.todo.clear();
        self.flushing = false;
        self.untold = 0;
        self.marks.clear();
        self.proposals.clear();
        self.executed.clear();
        self.want = None;
        self.work = false;
    }

    /// Marks the transactions of a proposal as taken.
    pub fn mark(&mut self, proposal: &Arc<Proposal>) {
        let content = self.content(proposal);
        if self.proposals.insert(content, proposal.clone()).is_none() {
            for transaction in proposal.transactions.iter() {
                *self.marks.entry(*transaction).or_default() += 1;
            }
        }
    }

    /// Takes the marks back.
    pub fn unmark(&mut self, proposal: &Arc<Proposal>) {
        let content = self.content(proposal);
        if self.proposals.remove(&content).is_some() {
            for transaction in proposal.transactions.iter() {
                if let Some(count) = self.marks.get_mut(transaction) {
                    *count -= 1;
                    if *count == 0 {
                        self.marks.remove(transaction);
                    }
                }
            }
        }
    }

    /// Transactions that may be sealed.
    pub fn free(&self) -> impl Iterator<Item = B256> + '_ {
        self.pool.iter().filter(|t| !self.marks.contains_key(*t)).copied()
    }

    /// Whether a proposal follows the rules that every node checks the same way: no transaction twice in it, in the
    /// proposals before it or in the chain, and system transactions alone and said to be.
    pub fn follows_rules(&self, proposal: &Proposal) -> bool {
        let mut seen: BTreeSet<B256> = BTreeSet::new();
        let system = proposal.transactions.iter().any(is_system);
        if system != proposal.system || (system && proposal.transactions.len() > 1) {
            return false;
        }
        if !proposal.transactions.iter().all(|t| !self.included.contains(t) && seen.insert(*t)) {
            return false;
        }
        let mut parent = proposal.parent;
        while let Some(before) = self.proposals.get(&parent).filter(|p| p.number > self.height()) {
            if before.transactions.iter().any(|t| seen.contains(t)) {
                return false;
            }
            parent = before.parent;
        }
        true
    }

    /// The header's hash of a proposal executed on top of what this node has; none when the parent is missing.
    pub fn execute(&self, proposal: &Proposal) -> Option<B256> {
        let before = proposal.number.checked_sub(1)?;
        let parent = match self.executed.get(&before) {
            _ if before <= self.height() => self.tip(before).header_hash,
            Some((_, header_hash)) => *header_hash,
            None => return None,
        };
        Some(hash(&[b"header", parent.as_slice(), self.content(proposal).as_slice()]))
    }

    /// Appends a block and forgets what it makes obsolete.
    pub fn append(&mut self, block: Block) {
        for transaction in block.proposal.transactions.iter() {
            self.pool.remove(transaction);
            self.included.insert(*transaction);
        }
        self.memory.commit(&block.proposal.transactions);
        self.ledger.push(block);
        let height = self.height();
        self.executed.retain(|number, _| *number > height);
        let old: Vec<_> = self.proposals.values().filter(|p| p.number <= height).cloned().collect();
        for proposal in old {
            self.unmark(&proposal);
        }
    }

    /// Gives the consensus an input; its effects join the list.
    pub fn step(&mut self, now: u64, input: Input) {
        let now = self.local(now);
        if let Some(core) = self.core.as_mut() {
            let mut effects = Vec::new();
            core.step(now, input, &mut effects);
            self.todo.extend(effects);
        }
    }

    /// Tells the consensus when transactions begin or cease to wait.
    pub fn tell_work(&mut self, now: u64) {
        let pending = self.free().next().is_some();
        if pending != self.work && self.core.is_some() {
            self.work = pending;
            self.step(now, Input::Work { pending });
        }
    }

    /// What is unsynced becomes durable.
    pub fn sync_records(&mut self, count: usize) {
        for (key, value) in self.unsynced.drain(..count) {
            match value {
                Some(value) => self.records.insert(key, value),
                None => self.records.remove(&key),
            };
        }
    }

    /// The node that this machine's key belongs to.
    pub fn node(&self) -> &bcos_consensus::NodeId {
        self.keys.me()
    }
}
