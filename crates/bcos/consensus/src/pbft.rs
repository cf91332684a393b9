//! Practical Byzantine fault tolerance with pipelined proposals.
//!
//! A block goes through *pre-prepare, prepare, commit* (that orders transaction hashes), is executed, and becomes
//! final when a quorum has signed the executed header (*checkpoint*). Up to 50 blocks are on their way at once.
//!
//! Why two different blocks can never be final at one height:
//!
//! - A member votes once per view and number, and the vote is on disk before it is sent.
//! - It votes in order: for number n only when it follows a proposal n - 1 in the same view, and only when n names
//!   that proposal as its parent. The same for commit votes. So when n is ordered, everything below is prepared at
//!   a quorum, and a new view may cut the chain of prepared proposals at its first gap.
//! - It leaves a view only together with a quorum (the view change carries the quorum's signed suspicions), says
//!   then what it prepared, and never votes in a lower view again. The new view's leader has to go on with what
//!   these reports show; everybody recomputes that.
//! - Above a block that may change the committee nothing is voted for before that block is final, so every number
//!   has one committee.

mod advance;
mod clock;
mod intake;
mod recover;
mod slot;
mod view;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use alloy_primitives::B256;
use bytes::Bytes;

use crate::api::{Consensus, Effect, Input, Sealed, Status, Tip, Verdict};
use crate::codec::DecodeError;
use crate::keys::Keys;
use crate::message::{Body, Certificate, MAX_WINDOW, Message, TimeoutCertificate, ViewChange, ViewRecord};
use crate::message::{decode_prepared, decode_voted};
use crate::proposal::Proposal;
use crate::record::RecordKey;
use crate::settings::{NodeId, Settings};
use slot::{Check, Execution, Slot};

/// Final blocks remembered to help others.
const RECENT: usize = 128;
/// Messages kept for settings this node does not have yet, and their bytes.
const MAX_AHEAD: usize = 1024;
const MAX_AHEAD_BYTES: usize = 16 << 20;

/// How a node behaves.
#[derive(Clone, Debug)]
pub struct PbftConfig {
    /// Separates groups that share keys: the genesis block's hash.
    pub domain: B256,
    /// Proposals that may be in flight above the last final block; at most 256.
    pub window: u64,
    /// Milliseconds without progress before a leader is replaced; the first of a series, later ones are longer.
    pub timeout_ms: u64,
    /// Milliseconds after which a node that is stuck asks the others.
    pub retry_ms: u64,
    /// Transactions a proposal may have; longer ones are refused unread.
    pub max_transactions: usize,
}

impl PbftConfig {
    /// The usual settings: 50 proposals in flight, 3000 ms, questions after 500 ms, 100,000 transactions.
    pub fn new(domain: B256) -> Self {
        Self { domain, window: 50, timeout_ms: 3000, retry_ms: 500, max_transactions: 100_000 }
    }
}

/// Why a node cannot start from its records.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// A record is not what this node wrote.
    #[error(
        "consensus record {key:?} is damaged: {source}; restore the node's data from a copy, or remove the node from the committee and join it again with a new key"
    )]
    Damaged {
        /// Which.
        key: RecordKey,
        /// What is wrong with it.
        source: DecodeError,
    },
}

/// What is known about another member.
#[derive(Debug, Default)]
struct Peer {
    /// The highest view it wants to leave, with its signature.
    suspect: Option<(u64, Bytes)>,
    /// Its latest view change, as read and as sent.
    change: Option<(ViewChange, Bytes)>,
    /// The highest view it was seen in.
    seen: u64,
    /// A view it brought along from earlier settings.
    carried: Option<u64>,
    /// The highest block it signed beyond this node's window.
    ahead: u64,
    /// When it was last answered.
    answered: Option<u64>,
}

/// The state machine of one node.
#[derive(Debug)]
pub struct Pbft {
    config: PbftConfig,
    keys: Box<dyn Keys>,
    settings: Settings,
    /// Hash of the settings, named by every message.
    scope: B256,
    me: Option<usize>,
    /// The last final blocks, oldest first, never empty.
    recent: VecDeque<Tip>,
    view: u64,
    entered: bool,
    reason: Option<TimeoutCertificate>,
    new_view: Option<Bytes>,
    /// What the new view message says has to be proposed again, above which block.
    base: u64,
    required: BTreeMap<u64, B256>,
    /// A new view message that builds on blocks this node does not have yet.
    held: Option<Bytes>,
    slots: BTreeMap<u64, Slot>,
    peers: Vec<Peer>,
    unreachable: BTreeSet<NodeId>,
    wanted: Option<(u64, u64)>,
    work: bool,
    ahead: VecDeque<(NodeId, Bytes)>,
    ahead_bytes: usize,
    now: u64,
    started: bool,
    deadline: Option<u64>,
    retry_at: Option<u64>,
    retry_after: u64,
    asked_at: Option<u64>,
    cycle: u32,
    suspecting: bool,
    progressed: bool,
    again: bool,
    timer: Option<u64>,
    out: Vec<Effect>,
}

impl Pbft {
    /// A node whose chain ends with the last of `recent` (oldest first; 64 blocks are useful, one is needed), with
    /// the records it persisted before (none on the first start). `settings` are those of the next block.
    ///
    /// Give [`Input::Tick`] next: it makes the node ask the others what it missed.
    pub fn new(
        mut config: PbftConfig,
        keys: Box<dyn Keys>,
        settings: Settings,
        recent: Vec<Tip>,
        records: impl IntoIterator<Item = (RecordKey, Bytes)>,
    ) -> Result<Self, RecordError> {
        config.window = config.window.clamp(1, MAX_WINDOW as u64);
        let mut recent = Tip::known(recent);
        while recent.len() > RECENT {
            recent.pop_front();
        }
        let scope = settings.digest(&config.domain, &*keys);
        let me = settings.index_of(keys.me());
        let base = recent.back().map_or(0, |t| t.number);
        let mut node = Self {
            retry_after: config.retry_ms,
            peers: settings.members.iter().map(|_| Peer::default()).collect(),
            config,
            keys,
            settings,
            scope,
            me,
            recent,
            view: 0,
            entered: true,
            reason: None,
            new_view: None,
            base,
            required: BTreeMap::new(),
            held: None,
            slots: BTreeMap::new(),
            unreachable: BTreeSet::new(),
            wanted: None,
            work: false,
            ahead: VecDeque::new(),
            ahead_bytes: 0,
            now: 0,
            started: false,
            deadline: None,
            retry_at: None,
            asked_at: None,
            cycle: 0,
            suspecting: false,
            progressed: false,
            again: false,
            timer: None,
            out: Vec::new(),
        };
        node.restore(records)?;
        Ok(node)
    }

    fn restore(&mut self, records: impl IntoIterator<Item = (RecordKey, Bytes)>) -> Result<(), RecordError> {
        let tip = self.tip().number;
        let mut prepared: Vec<(u64, Certificate, Proposal)> = Vec::new();
        for (key, bytes) in records {
            let damaged = |source| RecordError::Damaged { key, source };
            match key {
                RecordKey::View => {
                    let record = ViewRecord::decode(bytes).map_err(damaged)?;
                    self.view = record.view;
                    if record.settings == self.scope {
                        self.entered = record.entered;
                        self.reason = record.reason;
                        if let Some(new_view) = &record.new_view {
                            self.restore_new_view(new_view).map_err(damaged)?;
                        }
                        self.new_view = record.new_view;
                    }
                }
                RecordKey::Voted(number) if number > tip => {
                    let voted = decode_voted(bytes).map_err(damaged)?;
                    self.slots.entry(number).or_default().voted = Some(voted);
                }
                RecordKey::Prepared(number) if number > tip => {
                    let (certificate, proposal) = decode_prepared(bytes).map_err(damaged)?;
                    prepared.push((number, certificate, proposal));
                }
                RecordKey::Voted(_) | RecordKey::Prepared(_) => {
                    self.out.push(Effect::Persist { key, value: None });
                }
                RecordKey::Term | RecordKey::Entry(_) | RecordKey::Snapshot => {}
            }
        }
        for (number, certificate, proposal) in prepared {
            let digest = certificate.head.digest(&*self.keys);
            let slot = self.slots.entry(number).or_default();
            for (index, signature) in &certificate.votes {
                slot.prepares.insert(*index as usize, (certificate.view, digest, signature.clone()));
            }
            slot.contents.insert(digest, (Arc::new(proposal), certificate.head));
            slot.certificate = Some((certificate, digest));
        }
        if self.entered && self.new_view.is_none() {
            self.bind_to_prepared();
        }
        Ok(())
    }

    fn tip(&self) -> &Tip {
        // Never empty: `new` puts one in and nothing takes the last one out.
        self.recent.back().unwrap_or_else(|| unreachable!("the last final block is always known"))
    }

    fn content_of(&self, number: u64) -> Option<B256> {
        self.recent.iter().rev().find(|tip| tip.number == number).map(|tip| tip.content)
    }

    fn in_window(&self, number: u64) -> bool {
        let tip = self.tip().number;
        number > tip && number <= tip + self.config.window
    }

    fn broadcast(&mut self, message: &Message) {
        if self.settings.members.len() > 1 {
            self.out.push(Effect::Broadcast { bytes: message.encode() });
        }
    }

    fn send(&mut self, to: &NodeId, message: &Message) {
        if to != self.keys.me() {
            self.out.push(Effect::Send { to: to.clone(), bytes: message.encode() });
        }
    }

    fn signed(&self, me: usize, body: Body) -> Message {
        Message::sign(&*self.keys, self.scope, me, body)
    }

    fn persist_view(&mut self) {
        let record = ViewRecord {
            settings: self.scope,
            view: self.view,
            entered: self.entered,
            reason: if self.entered { None } else { self.reason.clone() },
            new_view: self.new_view.clone(),
        };
        self.out.push(Effect::Persist { key: RecordKey::View, value: Some(record.encode()) });
    }

    fn blame(&mut self, node: &NodeId, what: &'static str) {
        self.out.push(Effect::Misbehaviour { node: node.clone(), what });
    }

    fn blame_member(&mut self, index: usize, what: &'static str) {
        if let Some(node) = self.settings.members.get(index).map(|m| m.node_id.clone()) {
            self.blame(&node, what);
        }
    }

    /// The host's transactions of proposals that were not chosen are free again.
    fn abandon(&mut self, number: u64, chosen: Option<B256>) {
        let Some(slot) = self.slots.get_mut(&number) else { return };
        let lost: Vec<B256> = slot.checks.keys().copied().filter(|digest| Some(*digest) != chosen).collect();
        for digest in lost {
            slot.checks.remove(&digest);
            if let Some((proposal, _)) = slot.contents.get(&digest) {
                self.out.push(Effect::Abandon { proposal: proposal.clone() });
            }
        }
    }

    /// Forgets a number below which everything is final.
    fn drop_slot(&mut self, number: u64, content: Option<B256>) {
        let Some(slot) = self.slots.get(&number) else { return };
        let chosen =
            slot.contents.iter().find(|(_, (_, head))| Some(head.content(&*self.keys)) == content).map(|(d, _)| *d);
        self.abandon(number, chosen);
        let Some(slot) = self.slots.remove(&number) else { return };
        if slot.voted.is_some() {
            self.out.push(Effect::Persist { key: RecordKey::Voted(number), value: None });
        }
        if slot.certificate.is_some() {
            self.out.push(Effect::Persist { key: RecordKey::Prepared(number), value: None });
        }
    }

    fn sealed(&mut self, sealed: Sealed) {
        let Sealed { number, view, timestamp_ms, system, transactions } = sealed;
        let parent = match number.checked_sub(1) {
            Some(before) if before == self.tip().number => Some(self.tip().content),
            Some(before) => self.slots.get(&before).and_then(|slot| {
                let (_, head) = slot.contents.get(&slot.current(self.view)?)?;
                Some(head.content(&*self.keys))
            }),
            None => None,
        };
        let proposal = Arc::new(Proposal {
            number,
            timestamp_ms,
            sealer: self.me.unwrap_or_default() as u64,
            system,
            parent: parent.unwrap_or_default(),
            transactions: transactions.into(),
        });
        let fits = proposal.transactions.len() <= self.config.max_transactions;
        let Some(me) = self.me.filter(|_| self.wanted == Some((number, view)) && parent.is_some() && fits) else {
            self.out.push(Effect::Abandon { proposal });
            return;
        };
        self.wanted = None;
        let head = proposal.head(&*self.keys);
        let digest = head.digest(&*self.keys);
        let limit = self.contents_limit();
        let slot = self.slots.entry(number).or_default();
        slot.candidates.insert(me, (view, digest, Bytes::new()));
        slot.learn(digest, proposal, head, limit);
    }

    fn contents_limit(&self) -> usize {
        2 * self.settings.members.len() + 8
    }

    fn verified(&mut self, number: u64, digest: &B256, verdict: Verdict) {
        let Some(slot) = self.slots.get_mut(&number) else { return };
        let decided = slot.decided.is_some();
        let Some(check) = slot.checks.get_mut(digest) else { return };
        if *check != Check::Asked {
            return;
        }
        match verdict {
            Verdict::Valid => *check = Check::Valid,
            Verdict::Invalid => {
                *check = Check::Invalid;
                if !decided {
                    self.suspect();
                }
            }
        }
    }

    fn executed(&mut self, number: u64, header_hash: B256) {
        let Some(me) = self.me else { return };
        let Some(slot) = self.slots.get_mut(&number).filter(|slot| slot.execution == Execution::Started) else {
            return;
        };
        slot.execution = Execution::Done(header_hash);
        let signature = self.keys.sign(&header_hash);
        slot.checkpoints.insert(me, (header_hash, signature.clone()));
        let message =
            Message { settings: self.scope, from: me, body: Body::Checkpoint { number, header_hash }, signature };
        self.broadcast(&message);
        self.progressed = true;
    }

    fn committed(&mut self, number: u64, next: Settings) {
        if number != self.tip().number + 1 {
            return;
        }
        let Some(slot) = self.slots.get(&number) else { return };
        let Some((header_hash, signatures)) = slot.commit.clone() else { return };
        let Some((_, head)) = slot.ordered().and_then(|digest| slot.contents.get(&digest)) else { return };
        // What stands above was voted for in the belief that the same committee decides about it: rules that change with a block
        // that is no barrier could let a second quorum decide otherwise. A host that says so is wrong; go on by the old ones.
        let known = self.is_barrier(head) || next == self.settings;
        debug_assert!(known, "block {number} changes the settings, and nothing in it said so");
        let next = if known { next } else { self.settings.clone() };
        let content = head.content(&*self.keys);
        self.settle(Tip { number, header_hash, content, signatures }, next);
    }

    fn synced(&mut self, tip: Tip, next: Settings) {
        if tip.number > self.tip().number {
            self.settle(tip, next);
        }
    }

    /// One more block is final.
    fn settle(&mut self, tip: Tip, next: Settings) {
        let (number, content) = (tip.number, tip.content);
        self.recent.push_back(tip);
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
        while let Some((low, _)) = self.slots.first_key_value().filter(|(low, _)| **low <= number) {
            let low = *low;
            self.drop_slot(low, (low == number).then_some(content));
        }
        self.required.retain(|n, _| *n > number);
        self.progressed = true;
        self.cycle = 0;
        if next != self.settings {
            self.change_settings(next);
        }
        if let Some(bytes) = self.held.take() {
            self.read_message(None, bytes);
        }
    }

    /// Another committee decides from the next block on. Nothing above was voted for.
    fn change_settings(&mut self, next: Settings) {
        for number in self.slots.keys().copied().collect::<Vec<_>>() {
            self.drop_slot(number, None);
        }
        self.scope = next.digest(&self.config.domain, &*self.keys);
        self.me = next.index_of(self.keys.me());
        self.peers = next.members.iter().map(|_| Peer::default()).collect();
        self.settings = next;
        self.required.clear();
        self.base = self.tip().number;
        self.entered = true;
        self.reason = None;
        self.new_view = None;
        self.held = None;
        self.wanted = None;
        self.suspecting = false;
        self.persist_view();
        self.out.push(Effect::View { view: self.view, entered: true });
        self.ahead_bytes = 0;
        for (from, bytes) in std::mem::take(&mut self.ahead) {
            self.read_message(Some(&from), bytes);
        }
        // The others may be in another view; nothing of theirs before now was for this committee.
        self.ask();
    }

    fn start(&mut self) {
        self.started = true;
        if let Some(me) = self.me {
            if !self.entered {
                self.announce_change(me);
            }
            self.ask();
        }
    }
}

impl Consensus for Pbft {
    fn step(&mut self, now_ms: u64, input: Input, out: &mut Vec<Effect>) {
        self.now = self.now.max(now_ms);
        if !self.started {
            self.start();
        }
        match input {
            Input::Message { from, bytes } => self.read_message(Some(&from), bytes),
            Input::Sealed(sealed) => self.sealed(sealed),
            Input::Verified { number, digest, verdict } => self.verified(number, &digest, verdict),
            Input::Executed { number, header_hash } => self.executed(number, header_hash),
            Input::Committed { number, next } => self.committed(number, next),
            Input::Synced { tip, next } => self.synced(tip, next),
            Input::Work { pending } => self.work = pending,
            Input::Reachable { node, reachable: true } => {
                self.unreachable.remove(&node);
            }
            Input::Reachable { node, reachable: false } => {
                if self.settings.index_of(&node).is_some() {
                    self.unreachable.insert(node);
                }
            }
            Input::Tick => {}
        }
        // A view change of a lone member goes through all stages at once.
        for _ in 0..4 {
            self.again = false;
            self.advance();
            self.clock();
            if !self.again {
                break;
            }
        }
        out.append(&mut self.out);
    }

    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn status(&self) -> Status {
        let tip = self.tip();
        let reach = |done: &dyn Fn(&Slot) -> bool| {
            let window = tip.number + 1..=tip.number + self.config.window;
            window.take_while(|n| self.slots.get(n).is_some_and(done)).last().unwrap_or(tip.number)
        };
        let ordered = reach(&|slot| slot.ordered().is_some());
        Status {
            node: self.keys.me().clone(),
            index: self.me.map(|me| me as u64),
            number: tip.number,
            header_hash: tip.header_hash,
            view: self.view,
            entered: self.entered,
            leader: self.settings.leader(ordered + 1, self.view) as u64,
            quorum: self.settings.quorum(),
            max_faulty: self.settings.max_faulty(),
            timeout_ms: self.timeout(),
            change_cycle: u64::from(self.cycle),
            ordered,
            executed: reach(&|slot| matches!(slot.execution, Execution::Done(_))),
        }
    }
}
