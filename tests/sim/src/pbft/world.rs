//! The cluster, its clients and everything that can go wrong with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use alloy_primitives::B256;
use bcos_consensus::{
    Consensus, Effect, Input, Pbft, PbftConfig, Proposal, Raft, RaftConfig, Sealed, Settings, Verdict,
};
use bytes::Bytes;

use super::checks::{Checks, is_signed};
use super::hostile::{Kind, spoil};
use super::keys::{SimKeys, hash, index_of, node_id};
use super::machine::{Block, Machine, is_system};
use super::shape::{Agreement, Scheme, Shape};
use crate::rng::Rng;

const TIMEOUT_MS: u64 = 300;
const RETRY_MS: u64 = 60;
/// Simulated time in which a healed world must have done all work.
const PATIENCE_MS: u64 = 90_000;

/// How a run ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The first invariant that broke.
    pub violation: Option<String>,
    /// Final blocks.
    pub blocks: u64,
    /// Transactions in them.
    pub transactions: usize,
    /// Views somebody went to.
    pub views: usize,
    /// Power failures.
    pub crashes: usize,
    /// Simulated milliseconds from the healing until all was done.
    pub healing_ms: u64,
    /// Events handled.
    pub events: u64,
}

#[derive(Debug)]
enum Event {
    Deliver { to: usize, from: usize, bytes: Bytes },
    Tick { id: usize, life: u64 },
    Flush { id: usize, life: u64 },
    Seal { id: usize, life: u64 },
    Verified { id: usize, life: u64, proposal: Arc<Proposal>, digest: B256, certified: bool },
    Executed { id: usize, life: u64, proposal: Arc<Proposal> },
    Committed { id: usize, life: u64 },
    Sync { id: usize, life: u64 },
    Blocks { id: usize, life: u64, from: usize },
    Restart(usize),
    Client,
    Trouble,
}

/// One cluster from one seed.
#[derive(Debug)]
pub struct World {
    rng: Rng,
    shape: Shape,
    now: u64,
    sequence: u64,
    queue: BTreeMap<(u64, u64), Event>,
    machines: Vec<Machine>,
    /// Which side of the partition each node is on.
    side: Vec<u64>,
    checks: Checks,
    issued: BTreeSet<B256>,
    crashes: usize,
    healed: bool,
    events: u64,
}

impl World {
    /// Runs one seed to its end.
    pub fn run(seed: u64, shape: &Shape) -> Report {
        let mut rng = Rng::new(seed);
        let first = shape.scheme.next_shared(shape.nodes, &[]);
        let machines: Vec<Machine> = (0..shape.nodes)
            .map(|index| {
                let kind = if index < shape.hostile { rng.pick(&shape.kinds) } else { None };
                let clock =
                    if shape.skew { (rng.between(900, 1100), rng.below(20_000_000)) } else { (1000, 1_000_000) };
                Machine::new(index, kind, first.clone(), clock)
            })
            .collect();
        let mut world = Self {
            rng,
            shape: shape.clone(),
            now: 0,
            sequence: 0,
            queue: BTreeMap::new(),
            side: vec![0; machines.len()],
            machines,
            checks: Checks::default(),
            issued: BTreeSet::new(),
            crashes: 0,
            healed: false,
            events: 0,
        };
        for id in 0..world.machines.len() {
            world.start(id);
        }
        world.at(10, Event::Client);
        world.at(100, Event::Trouble);
        while world.now < shape.duration_ms && world.next() {}
        let healing_ms = world.heal();
        Report {
            violation: world.checks.violation.take(),
            blocks: world.checks.height(),
            transactions: world.issued.iter().filter(|t| world.checks.has(t)).count(),
            views: world.checks.views.len(),
            crashes: world.crashes,
            healing_ms,
            events: world.events,
        }
    }

    fn at(&mut self, delay: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now + delay, self.sequence), event);
    }

    fn honest(&self, id: usize) -> bool {
        self.machines[id].hostile.is_none()
    }

    fn quorum(&self, settings: &Settings) -> u64 {
        match self.shape.agreement {
            Agreement::Pbft => settings.quorum(),
            Agreement::Raft => settings.majority(),
        }
    }

    fn start(&mut self, id: usize) {
        let machine = &mut self.machines[id];
        machine.life += 1;
        let life = machine.life;
        if machine.hostile == Some(Kind::Forgetful) {
            machine.records.clear();
        }
        let height = machine.height();
        let recent = (height.saturating_sub(20)..=height).map(|n| machine.tip(n)).collect();
        let settings = (*machine.settings(height + 1)).clone();
        let records = machine.records.clone();
        let core: Box<dyn Consensus> = match self.shape.agreement {
            Agreement::Raft => {
                let config = RaftConfig {
                    tick_ms: 20,
                    retry_ms: RETRY_MS,
                    compact_after: 12,
                    ..RaftConfig::new(B256::repeat_byte(7))
                };
                match Raft::new(config, Box::new(SimKeys::new(id)), settings, recent, records) {
                    Ok(core) => Box::new(core),
                    Err(error) => {
                        self.checks.fail(format!("node {id} does not start: {error}"));
                        return;
                    }
                }
            }
            Agreement::Pbft => {
                let config =
                    PbftConfig { timeout_ms: TIMEOUT_MS, retry_ms: RETRY_MS, ..PbftConfig::new(B256::repeat_byte(7)) };
                match Pbft::new(config, Box::new(SimKeys::new(id)), settings, recent, records) {
                    Ok(core) => Box::new(core),
                    Err(error) => {
                        self.checks.fail(format!("node {id} does not start: {error}"));
                        return;
                    }
                }
            }
        };
        machine.core = Some(core);
        machine.step(self.now, Input::Tick);
        let delay = self.rng.between(50, 250);
        self.at(delay, Event::Sync { id, life });
        self.settle(id);
    }

    fn crash(&mut self, id: usize) {
        let machine = &mut self.machines[id];
        if machine.core.is_none() {
            return;
        }
        self.crashes += 1;
        // What was not synced survives up to some point.
        let mut kept = self.rng.below(machine.unsynced.len() as u64 + 1) as usize;
        if self.shape.agreement == Agreement::Raft {
            // The records of a log belong together: a batch is written whole or not at all.
            kept = if self.rng.chance(50) { machine.unsynced.len() } else { 0 };
        }
        if self.shape.amnesia {
            machine.records.clear();
            kept = 0;
        }
        machine.sync_records(kept);
        machine.stop();
        let delay = self.rng.between(20, 900);
        self.at(delay, Event::Restart(id));
        if self.rng.chance(40) {
            self.tell_reachable(id, false);
        }
    }

    fn tell_reachable(&mut self, node: usize, reachable: bool) {
        for id in (0..self.machines.len()).filter(|id| *id != node) {
            self.machines[id].step(self.now, Input::Reachable { node: node_id(node), reachable });
            self.settle(id);
        }
    }

    /// One event; false when nothing can happen any more or something broke.
    fn next(&mut self) -> bool {
        if self.checks.violation.is_some() {
            return false;
        }
        let Some(((time, _), event)) = self.queue.pop_first() else { return false };
        self.now = time;
        self.events += 1;
        if std::env::var_os("KONSORT_SIM_TRACE").is_some() {
            eprintln!("{time} {}", trace(&event));
        }
        self.handle(event);
        true
    }

    fn lives(&self, id: usize, life: u64) -> bool {
        self.machines[id].life == life && self.machines[id].core.is_some()
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Deliver { to, from, bytes } if self.machines[to].core.is_some() => {
                if !self.honest(to) {
                    self.machines[to].memory.hear(&mut self.rng, &bytes);
                }
                self.machines[to].step(self.now, Input::Message { from: node_id(from), bytes });
                self.settle(to);
            }
            Event::Tick { id, life } if self.lives(id, life) => {
                self.machines[id].step(self.now, Input::Tick);
                self.settle(id);
            }
            Event::Flush { id, life } if self.lives(id, life) => {
                let machine = &mut self.machines[id];
                machine.flushing = false;
                machine.sync_records(machine.unsynced.len());
                self.settle(id);
            }
            Event::Seal { id, life } if self.lives(id, life) => self.seal(id),
            Event::Verified { id, life, proposal, digest, certified } if self.lives(id, life) => {
                let machine = &mut self.machines[id];
                let invented = proposal.transactions.iter().any(|t| !self.issued.contains(t));
                if invented && certified {
                    self.checks
                        .fail(format!("a quorum certified block {} with invented transactions", proposal.number));
                    return;
                }
                for transaction in proposal.transactions.iter() {
                    if self.issued.contains(transaction) && !machine.included.contains(transaction) {
                        machine.pool.insert(*transaction);
                    }
                }
                let verdict = if certified
                    || proposal.number <= machine.height()
                    || (!invented && machine.follows_rules(&proposal))
                {
                    Verdict::Valid
                } else {
                    Verdict::Invalid
                };
                machine.step(self.now, Input::Verified { number: proposal.number, digest, verdict });
                self.settle(id);
            }
            Event::Executed { id, life, proposal } if self.lives(id, life) => {
                let machine = &mut self.machines[id];
                let number = proposal.number;
                if number <= machine.height() {
                    return;
                }
                let Some(header_hash) = machine.execute(&proposal) else {
                    self.checks.fail(format!("node {id} executes block {number} without its parent"));
                    return;
                };
                machine.executed.insert(number, (proposal, header_hash));
                machine.step(self.now, Input::Executed { number, header_hash });
                self.settle(id);
            }
            Event::Committed { id, life } if self.lives(id, life) => {
                let machine = &mut self.machines[id];
                let number = machine.height() + 1 - machine.untold as u64;
                machine.untold -= 1;
                let next = (*machine.settings(number + 1)).clone();
                machine.step(self.now, Input::Committed { number, next });
                self.settle(id);
            }
            Event::Sync { id, life } if self.lives(id, life) => {
                let delay = self.rng.between(150, 250);
                self.at(delay, Event::Sync { id, life });
                self.look_around(id);
            }
            Event::Blocks { id, life, from } if self.lives(id, life) => self.fetch(id, from),
            Event::Restart(id) if self.machines[id].core.is_none() => {
                self.start(id);
                self.tell_reachable(id, true);
            }
            Event::Client if !self.healed => {
                self.issue();
                let delay = self.rng.between(10, 60);
                self.at(delay, Event::Client);
            }
            Event::Trouble if !self.healed => {
                self.trouble();
                self.at(100, Event::Trouble);
            }
            _ => {}
        }
    }

    fn issue(&mut self) {
        let mut transaction = hash(&[b"transaction", &self.issued.len().to_be_bytes()]);
        transaction[0] = 0;
        let choices = match &self.shape.scheme {
            Scheme::Fixed(_) => 0,
            Scheme::Chosen(committees) => committees.len() as u64,
            Scheme::Rotating(..) => 1,
        };
        if choices > 0 && self.rng.chance(6) {
            transaction[0] = 0xEE;
            transaction[1] = self.rng.below(choices) as u8;
        }
        self.issued.insert(transaction);
        let honest: Vec<usize> = (0..self.machines.len()).filter(|id| self.honest(*id)).collect();
        let sure = self.rng.pick(&honest).unwrap_or(0);
        for id in 0..self.machines.len() {
            if id == sure || self.rng.chance(80) {
                self.machines[id].pool.insert(transaction);
                self.settle(id);
            }
        }
    }

    fn seal(&mut self, id: usize) {
        let machine = &mut self.machines[id];
        let Some((number, view)) = machine.want else { return };
        let limit = 1 + self.rng.below(5) as usize;
        let free: Vec<B256> = machine.free().collect();
        let system: Vec<B256> = free.iter().copied().filter(is_system).take(1).collect();
        let normal: Vec<B256> = free.iter().copied().filter(|t| !is_system(t)).take(limit).collect();
        let (system, transactions) = if system.is_empty() { (false, normal) } else { (true, system) };
        if transactions.is_empty() {
            // The sealer waits for transactions.
            let life = machine.life;
            self.at(20, Event::Seal { id, life });
            return;
        }
        machine.want = None;
        let timestamp_ms = machine.local(self.now);
        let proposal = Sealed { number, view, timestamp_ms, system, transactions };
        machine.step(self.now, Input::Sealed(proposal));
        self.settle(id);
    }

    /// Carries out what the consensus wants, as far as the disk lets it.
    fn settle(&mut self, id: usize) {
        loop {
            self.carry_out(id);
            self.machines[id].tell_work(self.now);
            if self.machines[id].todo.is_empty() || self.machines[id].flushing {
                return;
            }
        }
    }

    fn carry_out(&mut self, id: usize) {
        while let Some(effect) = self.machines[id].todo.pop_front() {
            let machine = &mut self.machines[id];
            let life = machine.life;
            let leaves = matches!(effect, Effect::Send { .. } | Effect::Broadcast { .. } | Effect::Commit { .. });
            if leaves && !machine.unsynced.is_empty() {
                if machine.flushing || self.rng.chance(70) {
                    machine.todo.push_front(effect);
                    if !machine.flushing {
                        machine.flushing = true;
                        let delay = self.rng.between(1, 5);
                        self.at(delay, Event::Flush { id, life });
                    }
                    return;
                }
                machine.sync_records(machine.unsynced.len());
            }
            match effect {
                Effect::Persist { key, value } => machine.unsynced.push((key, value)),
                Effect::Send { to, bytes } => self.send(id, index_of(&to), &bytes),
                Effect::Broadcast { bytes } => {
                    let Some(core) = machine.core.as_ref() else { return };
                    let members: Vec<usize> = core.settings().members.iter().map(|m| index_of(&m.node_id)).collect();
                    for to in members.into_iter().filter(|to| *to != id) {
                        self.send(id, to, &bytes);
                    }
                }
                Effect::WantProposal { number, view } => {
                    machine.want = Some((number, view));
                    let delay = self.rng.between(1, 15);
                    self.at(delay, Event::Seal { id, life });
                }
                Effect::Verify { proposal, digest, certified, .. } => {
                    machine.mark(&proposal);
                    let missing = !proposal.transactions.iter().all(|t| machine.pool.contains(t));
                    let delay = if missing { self.rng.between(5, 60) } else { self.rng.between(0, 8) };
                    self.at(delay, Event::Verified { id, life, proposal, digest, certified });
                }
                Effect::Execute { proposal, .. } => {
                    machine.mark(&proposal);
                    let slow = self.rng.chance(self.shape.slow);
                    let delay = if slow { self.rng.between(100, 1000) } else { self.rng.between(1, 10) };
                    self.at(delay, Event::Executed { id, life, proposal });
                }
                Effect::Commit { number, header_hash, signatures } => {
                    if number != machine.height() + 1 {
                        continue;
                    }
                    let Some((proposal, ours)) = machine.executed.get(&number).cloned() else {
                        self.checks.fail(format!("node {id} commits block {number}, which it has not executed"));
                        return;
                    };
                    if ours != header_hash {
                        self.checks.fail(format!("node {id} commits another block {number} than it executed"));
                        return;
                    }
                    self.append(id, proposal, header_hash, signatures);
                    self.machines[id].untold += 1;
                    let delay = self.rng.between(0, 6);
                    self.at(delay, Event::Committed { id, life });
                }
                Effect::Abandon { proposal } => machine.unmark(&proposal),
                Effect::Timer { at_ms } => {
                    let delay = machine.world(at_ms).saturating_sub(self.now);
                    self.at(delay, Event::Tick { id, life });
                }
                Effect::CatchUp { .. } => self.look_around(id),
                Effect::Diverged { number, .. } => {
                    if machine.hostile.is_none() {
                        self.checks.fail(format!("node {id} says that block {number} diverged"));
                    }
                }
                Effect::View { view, .. } => machine.want = machine.want.filter(|(_, wanted)| *wanted == view),
                Effect::Misbehaviour { node, what } => {
                    let accused = index_of(&node);
                    if self.honest(id) && self.honest(accused) {
                        self.checks.fail(format!("node {id} accuses honest node {accused} of {what}"));
                    }
                }
            }
        }
    }

    fn append(&mut self, id: usize, proposal: Arc<Proposal>, header_hash: B256, signatures: Vec<(u64, Bytes)>) {
        let machine = &mut self.machines[id];
        let settings = machine.settings(proposal.number);
        let mut block = Block { proposal, header_hash, signatures, next: settings.clone() };
        machine.ledger.push(block.clone());
        block.next = self.shape.scheme.next_shared(self.shape.nodes, &machine.ledger);
        machine.ledger.pop();
        machine.append(block.clone());
        if self.honest(id) {
            let quorum = self.quorum(&settings);
            self.checks.on_block(id, &settings, self.shape.agreement == Agreement::Raft, quorum, &block);
        }
    }

    fn send(&mut self, from: usize, to: usize, bytes: &Bytes) {
        if let Some(kind) = self.machines[from].hostile {
            let machine = &mut self.machines[from];
            machine.memory.hear(&mut self.rng, bytes);
            let all = spoil(kind, &machine.keys, &mut self.rng, &mut machine.memory, to, bytes);
            for bytes in all {
                self.transmit(from, to, bytes);
            }
        } else {
            self.checks.on_message(&self.machines[from].keys, from, bytes);
            self.transmit(from, to, bytes.clone());
        }
    }

    fn transmit(&mut self, from: usize, to: usize, bytes: Bytes) {
        if self.side[from] != self.side[to] || (!self.healed && self.rng.chance(self.shape.loss)) {
            return;
        }
        let copies = if self.rng.chance(self.shape.duplication) { 2 } else { 1 };
        for _ in 0..copies {
            let late = !self.healed && self.rng.chance(self.shape.delay);
            let delay = if late { self.rng.between(20, 400) } else { self.rng.between(1, 20) };
            self.at(delay, Event::Deliver { to, from, bytes: bytes.clone() });
        }
    }

    /// Asks somebody for blocks and transactions.
    fn look_around(&mut self, id: usize) {
        let near: Vec<usize> = (0..self.machines.len())
            .filter(|p| *p != id && self.side[*p] == self.side[id] && self.machines[*p].core.is_some())
            .collect();
        if let Some(from) = self.rng.pick(&near) {
            let (delay, life) = (self.rng.between(2, 40), self.machines[id].life);
            self.at(delay, Event::Blocks { id, life, from });
        }
    }

    fn fetch(&mut self, id: usize, from: usize) {
        let height = self.machines[id].height() as usize;
        if self.machines[id].untold == 0 && !self.machines[id].flushing {
            let blocks: Vec<Block> = self.machines[from].ledger.iter().skip(height).take(20).cloned().collect();
            for block in blocks {
                let machine = &self.machines[id];
                let number = block.proposal.number;
                let settings = machine.settings(number);
                if !is_signed(
                    &settings,
                    self.shape.agreement == Agreement::Raft,
                    self.quorum(&settings),
                    &block.header_hash,
                    &block.signatures,
                ) {
                    break;
                }
                self.append(id, block.proposal, block.header_hash, block.signatures);
                let machine = &mut self.machines[id];
                let (tip, next) = (machine.tip(number), (*machine.settings(number + 1)).clone());
                machine.step(self.now, Input::Synced { tip, next });
            }
        }
        let pool: Vec<B256> =
            self.machines[from].pool.iter().copied().filter(|t| !self.machines[id].included.contains(t)).collect();
        self.machines[id].pool.extend(pool);
        self.settle(id);
    }

    fn trouble(&mut self) {
        for id in 0..self.machines.len() {
            let eager = self.machines[id].hostile == Some(Kind::Forgetful);
            if self.rng.chance(self.shape.crashes * 2 / self.machines.len() as u64) || (eager && self.rng.chance(25)) {
                self.crash(id);
            }
        }
        if self.rng.chance(3) && self.shape.crashes > 0 {
            // The whole room loses power.
            (0..self.machines.len()).for_each(|id| self.crash(id));
        }
        if self.rng.chance(self.shape.partitions) {
            for id in 0..self.side.len() {
                self.side[id] = self.rng.below(2);
            }
        } else if self.rng.chance(20) {
            self.side.fill(0);
        }
    }

    /// Everything works again; all transactions must be in all chains before long.
    fn heal(&mut self) -> u64 {
        let healed_at = self.now;
        self.healed = true;
        self.side.fill(0);
        for id in 0..self.machines.len() {
            if self.machines[id].core.is_none() {
                self.start(id);
                self.tell_reachable(id, true);
            }
        }
        for _ in 0..5 {
            self.issue();
        }
        while !self.is_done() {
            if !self.next() {
                break;
            }
            if self.now > healed_at + PATIENCE_MS {
                let text = self.describe();
                self.checks.fail(format!("no end {PATIENCE_MS} ms after the healing: {text}"));
            }
        }
        self.now - healed_at
    }

    fn is_done(&self) -> bool {
        let all = self.issued.len();
        self.machines.iter().filter(|m| m.hostile.is_none()).all(|m| m.included.len() == all)
    }

    fn describe(&self) -> String {
        let mut out = String::new();
        for machine in &self.machines {
            let Some(core) = machine.core.as_ref() else { continue };
            let s = core.status();
            let missing = self.issued.len() - machine.included.len();
            let _ = write!(
                out,
                "\n  node {} {:?}: number {} ordered {} executed {} view {} entered {} leader {} cycle {} want {:?} work {} missing {missing}",
                machine.index,
                machine.hostile,
                s.number,
                s.ordered,
                s.executed,
                s.view,
                s.entered,
                s.leader,
                s.change_cycle,
                machine.want,
                machine.work,
            );
        }
        out
    }
}

/// An event as one line.
fn trace(event: &Event) -> String {
    if let Event::Deliver { to, from, bytes } = event
        && let Ok(m) = bcos_consensus::message::Message::decode(bytes.clone(), usize::MAX)
    {
        let mut body = format!("{:?}", m.body);
        body.truncate(160);
        return format!("{from} -> {to}: by {} {body}", m.from);
    }
    let mut text = format!("{event:?}");
    text.truncate(200);
    text
}
