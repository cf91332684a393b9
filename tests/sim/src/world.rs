//! The cluster, its clients and everything that can go wrong with it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use bytes::Bytes;
use konsort_raft::{Config, Input, Message, Node, Outcome, Replica, Role, Transport};

use crate::checks::{Checks, payload_id};
use crate::disk::SimDisk;
use crate::rng::Rng;

const TICK_MS: u64 = 10;
const ELECTION_TICKS: u32 = 10;

/// How rough the world is. Percentages are per event they concern.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Members at the start; 0 picks 1, 3 or 5.
    pub members: u64,
    /// Milliseconds of trouble before the healing.
    pub duration_ms: u64,
    /// Messages lost.
    pub loss: u64,
    /// Messages delivered twice.
    pub duplication: u64,
    /// Messages that take up to 300 ms instead of up to 20.
    pub delay: u64,
    /// Chance of a crash per 100 ms.
    pub crashes: u64,
    /// Chance of a new partition per 100 ms.
    pub partitions: u64,
    /// Chance of a membership change per 100 ms.
    pub changes: u64,
    /// Chance of a compaction per 100 ms.
    pub compactions: u64,
    /// Pre-vote and check-quorum on.
    pub guarded: bool,
}

impl Shape {
    /// Nothing goes wrong.
    pub fn calm() -> Self {
        Self {
            members: 0,
            duration_ms: 1500,
            loss: 0,
            duplication: 0,
            delay: 0,
            crashes: 0,
            partitions: 0,
            changes: 0,
            compactions: 0,
            guarded: true,
        }
    }

    /// Messages get lost, doubled and overtaken.
    pub fn rough_network() -> Self {
        Self { loss: 15, duplication: 15, delay: 15, compactions: 10, ..Self::calm() }
    }

    /// Nodes lose power in the middle of writes.
    pub fn power_failures() -> Self {
        Self { crashes: 45, compactions: 20, duration_ms: 2500, ..Self::calm() }
    }

    /// The network falls apart again and again.
    pub fn partitions() -> Self {
        Self { partitions: 30, duration_ms: 3000, ..Self::calm() }
    }

    /// Members come and go.
    pub fn membership() -> Self {
        Self { changes: 40, compactions: 15, duration_ms: 3000, ..Self::calm() }
    }

    /// All of it at once.
    pub fn everything() -> Self {
        Self {
            loss: 8,
            duplication: 8,
            delay: 8,
            crashes: 20,
            partitions: 15,
            changes: 15,
            compactions: 15,
            duration_ms: 4000,
            ..Self::calm()
        }
    }
}

/// How a run ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Report {
    /// The first invariant that broke.
    pub violation: Option<String>,
    /// Entries committed.
    pub committed: usize,
    /// Elections won.
    pub elections: usize,
    /// Power failures.
    pub crashes: usize,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Tick(u64, u64),
    Deliver(u64, usize),
    Flush(u64, u64),
    Propose,
    Trouble,
}

#[derive(Debug, Default)]
struct Outbox(Vec<Message>);

impl Transport for Outbox {
    fn send(&mut self, message: Message) {
        self.0.push(message);
    }
}

/// What the application has: the log it applied, some of it durable.
#[derive(Debug, Default)]
struct App {
    applied: Vec<(u64, Option<u64>)>,
    durable: usize,
}

impl App {
    fn index(&self) -> u64 {
        self.applied.last().map_or(0, |a| a.0)
    }

    fn encode(&self) -> Bytes {
        self.applied
            .iter()
            .flat_map(|(index, id)| [index.to_le_bytes(), id.unwrap_or(0).to_le_bytes()])
            .flatten()
            .collect::<Vec<u8>>()
            .into()
    }

    fn decode(data: &Bytes) -> Self {
        let word = |b: &[u8]| u64::from_le_bytes(b.try_into().unwrap());
        let applied: Vec<_> =
            data.chunks(16).map(|c| (word(&c[..8]), Some(word(&c[8..])).filter(|id| *id != 0))).collect();
        Self { durable: applied.len(), applied }
    }
}

#[derive(Debug)]
struct Machine {
    replica: Option<Replica<SimDisk>>,
    disk: SimDisk,
    app: App,
    /// Raised by each start, so that events of an earlier life are ignored.
    life: u64,
    flush_planned: bool,
}

/// One cluster from one seed.
#[derive(Debug)]
pub struct World {
    rng: Rng,
    shape: Shape,
    now: u64,
    sequence: u64,
    queue: BinaryHeap<Reverse<(u64, u64, Event)>>,
    messages: Vec<Message>,
    machines: BTreeMap<u64, Machine>,
    /// Which side of the partition each node is on.
    side: BTreeMap<u64, u64>,
    checks: Checks,
    next_payload: u64,
    crashes: usize,
    healed: bool,
    initial: Vec<u64>,
}

impl World {
    /// Runs one seed to its end.
    pub fn run(seed: u64, shape: &Shape) -> Report {
        let mut rng = Rng::new(seed);
        let members = if shape.members > 0 { shape.members } else { [1, 3, 3, 5][rng.below(4) as usize] };
        let mut world = Self {
            rng,
            shape: shape.clone(),
            now: 0,
            sequence: 0,
            queue: BinaryHeap::new(),
            messages: Vec::new(),
            machines: BTreeMap::new(),
            side: BTreeMap::new(),
            checks: Checks::default(),
            next_payload: 0,
            crashes: 0,
            healed: false,
            initial: (1..=members).collect(),
        };
        for id in world.initial.clone() {
            world.add_machine(id);
        }
        world.at(20, Event::Propose);
        world.at(100, Event::Trouble);
        world.run_until(shape.duration_ms);
        world.heal();
        Report {
            violation: world.checks.violation.take(),
            committed: world.checks.committed(),
            elections: world.checks.elections(),
            crashes: world.crashes,
        }
    }

    fn at(&mut self, delay: u64, event: Event) {
        self.sequence += 1;
        self.queue.push(Reverse((self.now + delay, self.sequence, event)));
    }

    fn add_machine(&mut self, id: u64) {
        let machine =
            Machine { replica: None, disk: SimDisk::default(), app: App::default(), life: 0, flush_planned: false };
        self.machines.insert(id, machine);
        self.start(id);
    }

    fn start(&mut self, id: u64) {
        let peers = if self.initial.contains(&id) { self.initial.clone() } else { Vec::new() };
        let seed = self.rng.number();
        let Some(machine) = self.machines.get_mut(&id) else { return };
        let config = Config {
            election_ticks: ELECTION_TICKS,
            max_inflight: 3,
            max_message_bytes: 200,
            seed,
            pre_vote: self.shape.guarded,
            check_quorum: self.shape.guarded,
            ..Config::new(id)
        };
        machine.life += 1;
        machine.flush_planned = false;
        let life = machine.life;
        match Replica::open(config, machine.disk.clone(), machine.app.index(), &peers) {
            Ok(replica) => machine.replica = Some(replica),
            Err(konsort_raft::WalError::Io { .. }) => {
                // The power failed again while the log was opened.
                self.crashes += 1;
                machine.disk.crash(&mut self.rng);
                self.start(id);
                return;
            }
            Err(error) => {
                self.checks.violation.get_or_insert(format!("node {id} does not open after a crash: {error}"));
                return;
            }
        }
        let phase = self.rng.between(1, TICK_MS);
        self.at(phase, Event::Tick(id, life));
    }

    fn crash(&mut self, id: u64) {
        let Some(machine) = self.machines.get_mut(&id) else { return };
        if machine.replica.take().is_none() {
            return;
        }
        self.crashes += 1;
        machine.disk.crash(&mut self.rng);
        let kept = self.rng.between(machine.app.durable as u64, machine.app.applied.len() as u64) as usize;
        machine.app.applied.truncate(kept);
    }

    fn run_until(&mut self, end: u64) {
        while self.checks.violation.is_none() {
            let Some(Reverse((time, _, _))) = self.queue.peek() else { return };
            if *time > end {
                self.now = end;
                return;
            }
            let Some(Reverse((time, _, event))) = self.queue.pop() else { return };
            self.now = time;
            self.handle(event);
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Tick(id, life) => {
                if self.machines.get(&id).is_some_and(|m| m.life == life && m.replica.is_some()) {
                    let jitter = self.rng.between(TICK_MS - 2, TICK_MS + 2);
                    self.at(jitter, Event::Tick(id, life));
                    self.input(id, Input::Tick);
                }
            }
            Event::Deliver(to, slot) => {
                let message = self.messages[slot].clone();
                self.input(to, Input::Message(message));
            }
            Event::Flush(id, life) => {
                if self.machines.get(&id).is_some_and(|m| m.life == life) {
                    self.flush(id);
                }
            }
            Event::Propose => {
                self.propose();
                let delay = self.rng.between(5, 40);
                if !self.healed {
                    self.at(delay, Event::Propose);
                }
            }
            Event::Trouble => {
                if !self.healed {
                    self.trouble();
                    self.at(100, Event::Trouble);
                }
            }
        }
    }

    fn propose(&mut self) {
        let leaders = self.ids(|r| r.node().role() == Role::Leader);
        let Some(id) = self.rng.pick(&leaders) else { return };
        let count = self.rng.between(1, 4);
        let mut proposals = Vec::new();
        for _ in 0..count {
            self.next_payload += 1;
            let mut payload = self.next_payload.to_le_bytes().to_vec();
            payload.resize(8 + self.rng.below(120) as usize, 0xAB);
            proposals.push(Bytes::from(payload));
        }
        self.input(id, Input::Propose(proposals));
    }

    fn ids(&self, wanted: impl Fn(&Replica<SimDisk>) -> bool) -> Vec<u64> {
        self.machines.iter().filter(|(_, m)| m.replica.as_ref().is_some_and(&wanted)).map(|(id, _)| *id).collect()
    }

    fn input(&mut self, id: u64, input: Input) {
        let Some(machine) = self.machines.get_mut(&id) else { return };
        let Some(replica) = machine.replica.as_mut() else { return };
        // Refusals are part of life: a follower refuses proposals, anybody refuses stale nonsense.
        let _ = replica.step(input);
        if machine.flush_planned || !replica.has_pending() {
            return;
        }
        if self.rng.chance(70) {
            self.flush(id);
        } else {
            machine.flush_planned = true;
            let life = machine.life;
            let delay = self.rng.between(1, 5);
            self.at(delay, Event::Flush(id, life));
        }
    }

    fn flush(&mut self, id: u64) {
        let Some(machine) = self.machines.get_mut(&id) else { return };
        machine.flush_planned = false;
        let Some(replica) = machine.replica.as_mut() else { return };
        let mut outbox = Outbox::default();
        let outcome = replica.flush(&mut outbox);
        for message in outbox.0 {
            self.post(message);
        }
        match outcome {
            Ok(outcome) => self.apply(id, outcome),
            Err(_) => self.crash(id),
        }
    }

    fn apply(&mut self, id: u64, outcome: Outcome) {
        let Some(machine) = self.machines.get_mut(&id) else { return };
        let Some(replica) = machine.replica.as_ref() else { return };
        if let Some(snapshot) = outcome.snapshot {
            machine.app = App::decode(&snapshot.data);
        }
        for entry in &outcome.committed {
            if entry.index != machine.app.index() + 1 {
                let text = format!("node {id} is handed entry {} after {}", entry.index, machine.app.index());
                self.checks.violation.get_or_insert(text);
            }
            self.checks.on_commit(id, replica.node().term(), entry);
            machine.app.applied.push((entry.index, payload_id(entry)));
        }
        if outcome.leadership.is_some_and(|l| l.role == Role::Leader) && replica.node().role() == Role::Leader {
            self.checks.on_leader(replica.node());
        }
    }

    fn post(&mut self, message: Message) {
        let apart = self.side.get(&message.from) != self.side.get(&message.to);
        if apart || !self.healed && self.rng.chance(self.shape.loss) {
            return;
        }
        let copies = if !self.healed && self.rng.chance(self.shape.duplication) { 2 } else { 1 };
        let to = message.to;
        self.messages.push(message);
        let slot = self.messages.len() - 1;
        for _ in 0..copies {
            let slow = !self.healed && self.rng.chance(self.shape.delay);
            let delay = if slow { self.rng.between(20, 300) } else { self.rng.between(1, 20) };
            self.at(delay, Event::Deliver(to, slot));
        }
    }

    fn trouble(&mut self) {
        let shape = self.shape.clone();
        let all: Vec<u64> = self.machines.keys().copied().collect();
        if self.rng.chance(shape.crashes)
            && let Some(id) = self.rng.pick(&all)
        {
            if self.rng.chance(50) {
                // Somewhere inside the next writes.
                let operations = self.rng.below(8);
                self.machines[&id].disk.arm(operations);
            } else {
                self.crash(id);
            }
        }
        for id in all.clone() {
            if self.machines[&id].replica.is_none() && self.rng.chance(30) {
                self.start(id);
            }
        }
        if self.rng.chance(shape.partitions) {
            let sides = self.rng.between(1, 3);
            self.side = all.iter().map(|id| (*id, self.rng.below(sides))).collect();
        }
        if self.rng.chance(shape.changes) {
            self.change_membership();
        }
        if self.rng.chance(shape.compactions)
            && let Some(id) = self.rng.pick(&all)
        {
            self.compact(id);
        }
        let live: Vec<&Node> = self.machines.values().filter_map(|m| m.replica.as_ref()).map(Replica::node).collect();
        for (i, a) in live.iter().enumerate() {
            for b in &live[i + 1..] {
                self.checks.on_logs(a, b);
            }
        }
    }

    fn change_membership(&mut self) {
        let leaders = self.ids(|r| r.node().role() == Role::Leader);
        let Some(leader) = self.rng.pick(&leaders) else { return };
        let members = self.machines[&leader].replica.as_ref().map(|r| r.node().conf_state().voters).unwrap_or_default();
        if self.rng.chance(20) {
            if let Some(to) = self.rng.pick(&members) {
                self.input(leader, Input::TransferLeader(to));
            }
        } else if members.len() < 5 && self.rng.chance(55) {
            let id = self.machines.keys().max().unwrap_or(&0) + 1;
            if id > 9 {
                return;
            }
            self.side.insert(id, self.side.get(&leader).copied().unwrap_or(0));
            self.add_machine(id);
            self.input(leader, Node::change_member(id, true));
        } else if members.len() > 1
            && let Some(id) = self.rng.pick(&members)
        {
            self.input(leader, Node::change_member(id, false));
        }
    }

    fn compact(&mut self, id: u64) {
        self.flush(id);
        let keep = self.rng.below(5);
        let Some(machine) = self.machines.get_mut(&id) else { return };
        let Some(replica) = machine.replica.as_mut() else { return };
        let index = machine.app.index();
        if index <= replica.node().snapshot().index() {
            return;
        }
        // The application syncs first; only then may the log forget.
        machine.app.durable = machine.app.applied.len();
        if replica.compact(index, machine.app.encode(), keep).is_err() {
            self.crash(id);
        }
    }

    /// Ends all trouble and expects the cluster to work again.
    fn heal(&mut self) {
        self.healed = true;
        self.side.clear();
        for id in self.machines.keys().copied().collect::<Vec<_>>() {
            let machine = &self.machines[&id];
            machine.disk.arm(u64::MAX);
            if machine.replica.is_none() {
                self.start(id);
            } else if self.rng.chance(10) && self.shape.crashes > 0 {
                self.crash(id);
                self.start(id);
            }
        }
        let election = u64::from(ELECTION_TICKS) * TICK_MS;
        self.run_until(self.now + 15 * election);
        // A leader may still be replaced by a better one; a new payload must get through soon.
        let mut expected = 0;
        for _ in 0..5 {
            if self.checks.violation.is_some() || self.checks.has(expected) {
                break;
            }
            let before = self.next_payload;
            self.propose();
            if self.next_payload > before {
                expected = self.next_payload;
            }
            self.run_until(self.now + 3 * election);
        }
        if self.checks.violation.is_some() {
            return;
        }
        if !self.checks.has(expected) {
            self.checks.violation = Some(format!(
                "no progress after healing: payload {expected} is not committed; {:#?}",
                self.machines.keys().filter_map(|id| self.view(*id)).collect::<Vec<_>>()
            ));
            return;
        }
        // Small messages and a small window make catching up slow on purpose; it must end, though.
        for _ in 0..60 {
            if self.laggard().is_ok_and(|l| l.is_none()) {
                break;
            }
            self.run_until(self.now + election);
        }
        if self.checks.violation.is_some() {
            return;
        }
        self.checks.violation = match self.laggard() {
            Err(text) => Some(text),
            Ok(None) => None,
            Ok(Some((leader, id))) => Some(self.describe_laggard(leader, id)),
        };
    }

    /// The leader and a member whose application differs from the leader's, if there is one.
    fn laggard(&self) -> Result<Option<(u64, u64)>, String> {
        let leaders = self.ids(|r| r.node().role() == Role::Leader);
        let newest = leaders.iter().max_by_key(|id| self.machines[id].replica.as_ref().map(|r| r.node().term()));
        let leader = *newest.ok_or("no leader after healing")?;
        let members = self.machines[&leader].replica.as_ref().map(|r| r.node().conf_state().voters).unwrap_or_default();
        let truth = &self.machines[&leader].app.applied;
        let behind = members.into_iter().find(|id| self.machines.get(id).is_none_or(|m| &m.app.applied != truth));
        Ok(behind.map(|id| (leader, id)))
    }

    fn view(&self, id: u64) -> Option<String> {
        let machine = self.machines.get(&id)?;
        let node = machine.replica.as_ref()?.node();
        Some(format!(
            "{id} {:?} of {:?} in term {}, log {}..{}, committed {}, applied {}",
            node.role(),
            node.conf_state().voters,
            node.term(),
            node.log().first_index(),
            node.log().last_index(),
            node.committed_index(),
            machine.app.index()
        ))
    }

    fn describe_laggard(&self, leader: u64, id: u64) -> String {
        let leader_node = self.machines[&leader].replica.as_ref().map(Replica::node);
        let progress = leader_node.and_then(|n| n.progress().find(|(p, _)| *p == id).map(|(_, p)| p.clone()));
        let (member, leader) = (self.view(id), self.view(leader));
        format!(
            "member {id} does not have the leader's state after healing: {member:?}; leader {leader:?}; {progress:?}"
        )
    }
}
