//! The crash-fault choice: a Raft log of proposals, and checkpoint signatures of a majority over what they become.
//!
//! The leader appends proposals to the log; what the log has committed is executed in order, each member signs the
//! executed header, and the signatures of a majority make the block final, so that clients and syncing nodes check
//! it as they check any other. Weights do not count: members are equal. It tolerates members that stop, not
//! members that lie; messages of the log itself are not signed, the transport has checked who sends them.

mod blocks;
mod log;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use alloy_primitives::B256;
use bytes::Bytes;
use konsort_raft::{Node, Role};

use crate::api::{Consensus, Effect, HeaderSignature, Input, Sealed, Status, Tip};
use crate::keys::Keys;
use crate::message::{MAX_WINDOW, Message};
use crate::pbft::RecordError;
use crate::proposal::{Head, Proposal};
use crate::record::RecordKey;
use crate::settings::{NodeId, Settings};

/// Final blocks remembered to help others.
const RECENT: usize = 128;
/// Ticks that are made up for after a pause.
const MAX_TICKS: u64 = 20;

/// How a node behaves.
#[derive(Clone, Debug)]
pub struct RaftConfig {
    /// Separates groups that share keys: the genesis block's hash.
    pub domain: B256,
    /// Proposals that may be in flight above the last final block; at most 256.
    pub window: u64,
    /// Milliseconds between heartbeats; ten of them without any make a member campaign.
    pub tick_ms: u64,
    /// Milliseconds after which a node that is stuck asks the others.
    pub retry_ms: u64,
    /// Transactions a proposal may have; longer ones are refused unread.
    pub max_transactions: usize,
    /// Log entries after which the log is shortened.
    pub compact_after: u64,
}

impl RaftConfig {
    /// The usual settings: 50 proposals in flight, 100 ms, questions after 500 ms, 100,000 transactions, 1000 entries.
    pub fn new(domain: B256) -> Self {
        Self { domain, window: 50, tick_ms: 100, retry_ms: 500, max_transactions: 100_000, compact_after: 1000 }
    }
}

/// A proposal that the log has committed.
#[derive(Debug)]
struct Ordered {
    proposal: Arc<Proposal>,
    head: Head,
    started: bool,
    executed: Option<B256>,
    commit: Option<(B256, Vec<HeaderSignature>)>,
    diverged: bool,
}

/// The state machine of one node.
#[derive(Debug)]
pub struct Raft {
    config: RaftConfig,
    keys: Box<dyn Keys>,
    settings: Settings,
    scope: B256,
    me: Option<usize>,
    /// The last final blocks, oldest first, never empty.
    recent: VecDeque<Tip>,
    node: Option<Node>,
    /// Who is behind the numbers that Raft uses.
    names: BTreeMap<u64, NodeId>,
    /// Entry records on disk: from, to.
    stored: (u64, u64),
    /// Committed entries wait until this block is fetched.
    awaits: u64,
    waiting: VecDeque<konsort_raft::Entry>,
    /// Proposals in order of numbers, from the one after the tip.
    ordered: BTreeMap<u64, Ordered>,
    /// Log index, and the last number ordered up to there.
    marks: VecDeque<(u64, u64)>,
    applied_term: u64,
    /// Own proposals that the log has not committed yet, and their term.
    flight: VecDeque<Arc<Proposal>>,
    flight_term: u64,
    checkpoints: BTreeMap<u64, BTreeMap<usize, (B256, Bytes)>>,
    /// The highest block seen signed beyond the window.
    ahead: u64,
    wanted: Option<(u64, u64)>,
    now: u64,
    next_tick: Option<u64>,
    retry_at: Option<u64>,
    answered: BTreeMap<usize, u64>,
    progressed: bool,
    timer: Option<u64>,
    out: Vec<Effect>,
}

impl Raft {
    /// A node whose chain ends with the last of `recent` (oldest first), with the records it persisted before.
    /// `settings` are those of the next block. A member of the genesis block begins the log; whoever joins later
    /// waits for the leader.
    pub fn new(
        mut config: RaftConfig,
        keys: Box<dyn Keys>,
        settings: Settings,
        recent: Vec<Tip>,
        records: impl IntoIterator<Item = (RecordKey, Bytes)>,
    ) -> Result<Self, RecordError> {
        config.window = config.window.clamp(1, MAX_WINDOW as u64);
        config.tick_ms = config.tick_ms.max(1);
        let recent = Tip::known(recent);
        let mut raft = Self {
            scope: settings.digest(&config.domain, &*keys),
            me: settings.index_of(keys.me()),
            config,
            keys,
            settings,
            recent,
            node: None,
            names: BTreeMap::new(),
            stored: (1, 0),
            awaits: 0,
            waiting: VecDeque::new(),
            ordered: BTreeMap::new(),
            marks: VecDeque::new(),
            applied_term: 0,
            flight: VecDeque::new(),
            flight_term: 0,
            checkpoints: BTreeMap::new(),
            ahead: 0,
            wanted: None,
            now: 0,
            next_tick: None,
            retry_at: None,
            answered: BTreeMap::new(),
            progressed: false,
            timer: None,
            out: Vec::new(),
        };
        raft.learn_names();
        raft.open(records)?;
        Ok(raft)
    }

    fn tip(&self) -> &Tip {
        self.recent.back().unwrap_or_else(|| unreachable!("the last final block is always known"))
    }

    /// Members that make a block final.
    fn majority(&self) -> usize {
        self.settings.majority() as usize
    }

    /// Number and content of the last proposal that the log has committed.
    fn end(&self) -> (u64, B256) {
        match self.ordered.last_key_value() {
            Some((number, ordered)) => (*number, ordered.head.content(&*self.keys)),
            None => (self.tip().number, self.tip().content),
        }
    }

    fn is_barrier(&self, number: u64, system: bool) -> bool {
        system || self.settings.ends_epoch(number)
    }

    fn sealed(&mut self, sealed: Sealed) {
        let Sealed { number, view, timestamp_ms, system, transactions } = sealed;
        let parent = self.flight.back().map(|last| last.head(&*self.keys).content(&*self.keys));
        let proposal = Arc::new(Proposal {
            number,
            timestamp_ms,
            sealer: self.me.unwrap_or_default() as u64,
            system,
            parent: parent.unwrap_or(self.end().1),
            transactions: transactions.into(),
        });
        let fits = proposal.transactions.len() <= self.config.max_transactions;
        let wanted = std::mem::take(&mut self.wanted) == Some((number, view));
        if !wanted || !fits {
            self.out.push(Effect::Abandon { proposal });
            return;
        }
        // In flight before the log has it: a log with one member commits at once, and what it commits is looked for there.
        let term = std::mem::replace(&mut self.flight_term, view);
        self.flight.push_back(proposal.clone());
        if !self.propose(&proposal) {
            self.flight_term = term;
            self.flight.retain(|other| !Arc::ptr_eq(other, &proposal));
            self.out.push(Effect::Abandon { proposal });
            return;
        }
        let digest = proposal.head(&*self.keys).digest(&*self.keys);
        let from = self.keys.me().clone();
        self.out.push(Effect::Verify { proposal, digest, certified: true, from });
    }

    /// Asks the sealer for a block when this node leads and knows everything before.
    fn want(&mut self) {
        let Some(node) = self.node.as_ref().filter(|node| node.role() == Role::Leader && self.me.is_some()) else {
            self.wanted = None;
            return;
        };
        let term = node.term();
        if self.applied_term != term || !self.waiting.is_empty() || self.awaits > self.tip().number {
            return;
        }
        let number = self.flight.back().map_or(self.end().0, |last| last.number) + 1;
        let barrier = self.ordered.values().map(|o| &o.proposal).chain(&self.flight);
        if number > self.tip().number + self.config.window
            || barrier.into_iter().any(|p| self.is_barrier(p.number, p.system))
            || self.wanted == Some((number, term))
        {
            return;
        }
        self.wanted = Some((number, term));
        self.out.push(Effect::WantProposal { number, view: term });
    }

    /// One more block is final.
    fn settle(&mut self, tip: Tip, next: Settings) {
        let (number, content) = (tip.number, tip.content);
        self.recent.push_back(tip);
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
        while let Some((low, ordered)) = self.ordered.first_key_value().filter(|(low, _)| **low <= number) {
            let low = *low;
            let other = low == number && ordered.head.content(&*self.keys) != content;
            if let Some(ordered) = self.ordered.remove(&low).filter(|_| other) {
                self.out.push(Effect::Abandon { proposal: ordered.proposal });
            }
        }
        self.checkpoints.retain(|n, _| *n > number);
        self.progressed = true;
        if next != self.settings {
            self.scope = next.digest(&self.config.domain, &*self.keys);
            self.me = next.index_of(self.keys.me());
            self.settings = next;
            self.checkpoints.clear();
            self.answered.clear();
            self.learn_names();
            self.join();
            self.change_members();
        }
        self.compact();
        self.apply_waiting();
    }

    fn clock(&mut self) {
        if self.node.is_none() {
            return;
        }
        if std::mem::take(&mut self.progressed) {
            self.retry_at = None;
        }
        let stuck = self.me.is_some()
            && (!self.ordered.is_empty() || self.awaits > self.tip().number || self.ahead > self.tip().number);
        if stuck {
            if *self.retry_at.get_or_insert(self.now + self.config.retry_ms) <= self.now {
                self.retry_at = Some(self.now + self.config.retry_ms);
                self.help();
            }
        } else {
            self.retry_at = None;
        }
        let next = [self.next_tick, self.retry_at].into_iter().flatten().min();
        if next != self.timer {
            self.timer = next;
            if let Some(at_ms) = next {
                self.out.push(Effect::Timer { at_ms });
            }
        }
    }
}

impl Consensus for Raft {
    fn step(&mut self, now_ms: u64, input: Input, out: &mut Vec<Effect>) {
        self.now = self.now.max(now_ms);
        self.ticks();
        match input {
            Input::Message { from, bytes } => self.message(&from, bytes),
            Input::Sealed(sealed) => self.sealed(sealed),
            Input::Executed { number, header_hash } => self.executed(number, header_hash),
            Input::Committed { number, next } => self.committed(number, next),
            Input::Synced { tip, next } => {
                if tip.number > self.tip().number {
                    self.settle(tip, next);
                }
            }
            Input::Reachable { node, reachable } => self.reachable(&node, reachable),
            Input::Verified { .. } | Input::Work { .. } | Input::Tick => {}
        }
        self.advance();
        self.want();
        self.clock();
        out.append(&mut self.out);
    }

    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn status(&self) -> Status {
        let tip = self.tip();
        let leader = self.node.as_ref().and_then(Node::leader_id);
        let leader = leader.and_then(|id| self.names.get(&id)).and_then(|node| self.settings.index_of(node));
        let executed = self.ordered.iter().take_while(|(_, o)| o.executed.is_some()).last();
        Status {
            node: self.keys.me().clone(),
            index: self.me.map(|me| me as u64),
            number: tip.number,
            header_hash: tip.header_hash,
            view: self.node.as_ref().map_or(0, Node::term),
            entered: leader.is_some(),
            leader: leader.unwrap_or_default() as u64,
            quorum: self.majority() as u64,
            max_faulty: self.settings.members.len() as u64 - self.majority() as u64,
            timeout_ms: 10 * self.config.tick_ms,
            change_cycle: 0,
            ordered: self.end().0,
            executed: executed.map_or(tip.number, |(number, _)| *number),
        }
    }
}

impl Raft {
    fn broadcast(&mut self, message: &Message) {
        if self.settings.members.len() > 1 {
            self.out.push(Effect::Broadcast { bytes: message.encode() });
        }
    }
}
