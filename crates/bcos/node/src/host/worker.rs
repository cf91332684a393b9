//! The loop that gives agreement its inputs and carries out its effects.

mod draw;
mod gather;
mod seal;
mod show;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use alloy_primitives::B256;
use bcos_consensus::{Consensus, Effect, Input, NodeId, Proposal, Settings, Tip, Verdict};
use bytes::Bytes;
use konsort_node::{Metrics, Shutdown};
use tokio::sync::{mpsc, watch};

use super::bodies::{Bodies, Found, Purpose};
use super::votes::Votes;
use super::{ImportError, Imported, Ledger, Pipeline};
use crate::api::ConsensusStatus;
use crate::network::{Message, Network};
use crate::pool::Pool;
use crate::sync::Hint;
pub(crate) use draw::Drawer;
use gather::Gather;
use show::Gauges;

/// Messages handled before the loop looks at everything else again.
const BATCH: usize = 256;
/// Pause between attempts to keep votes.
const RETRY: Duration = Duration::from_secs(1);
/// Ticks come at least this often.
const IDLE: Duration = Duration::from_millis(500);

/// What reaches the worker from its own threads and from synchronisation.
#[derive(Debug)]
pub(crate) enum Event {
    Executed {
        number: u64,
        header_hash: B256,
    },
    Committed {
        number: u64,
        next: Settings,
    },
    Synced {
        tip: Tip,
        next: Settings,
    },
    Imported(Imported),
    /// Blocks that another node says are final.
    Import {
        blocks: Vec<Bytes>,
        from: NodeId,
    },
    /// Transactions arrived that a proposal may wait for.
    Transactions,
    /// The group cannot go on.
    Failed {
        what: String,
    },
}

/// What a worker is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub group: Arc<str>,
    /// The group's place in the node's list.
    pub place: usize,
    pub consensus: Box<dyn Consensus>,
    pub votes: Votes,
    pub ledger: Arc<Ledger>,
    pub pool: Pool,
    pub pipeline: Pipeline,
    pub network: Network,
    pub messages: mpsc::Receiver<(NodeId, Message)>,
    pub events: mpsc::UnboundedReceiver<Event>,
    /// To the task that fetches blocks.
    pub hints: mpsc::UnboundedSender<Hint>,
    pub status: watch::Sender<ConsensusStatus>,
    pub min_seal: Duration,
    pub drawer: Drawer,
    pub metrics: Metrics,
    pub shutdown: Shutdown,
}

/// A group's worker.
#[derive(Debug)]
pub(crate) struct Worker {
    parts: Parts,
    started: Instant,
    bodies: Bodies,
    /// What agreement wants from the sealer: number, view.
    wanted: Option<(u64, u64)>,
    gather: Gather,
    /// When the next block may be sealed, if it was too early.
    seal_at: Option<Instant>,
    /// Timestamps of proposals by number, as far as they are not committed.
    timestamps: Vec<(u64, u64)>,
    timer: Option<u64>,
    reachable: HashSet<NodeId>,
    pending: bool,
    effects: Vec<Effect>,
    gauges: Gauges,
}

impl Worker {
    pub(crate) fn new(parts: Parts) -> Self {
        let gauges = Gauges::new(&parts.metrics, &parts.group);
        let gather = Gather::new(parts.min_seal, Instant::now());
        Self {
            parts,
            started: Instant::now(),
            bodies: Bodies::default(),
            wanted: None,
            gather,
            seal_at: None,
            timestamps: Vec::new(),
            timer: None,
            reachable: HashSet::new(),
            pending: false,
            effects: Vec::new(),
            gauges,
        }
    }

    /// Runs on a thread of its own until the node stops or the group cannot go on.
    pub(crate) fn run(mut self) {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                self.parts.shutdown.trigger(format!("group {} cannot start: {error}", self.parts.group));
                return;
            }
        };
        if let Err(reason) = runtime.block_on(self.serve()) {
            // Other groups of the process would go on, but an operator sees a process that ended, not a group that did.
            tracing::error!(group = %self.parts.group, "the group stops: {reason}");
            self.parts.shutdown.trigger(format!("group {}: {reason}", self.parts.group));
        }
        if let Err(error) = self.flush() {
            tracing::error!(group = %self.parts.group, "{error}");
        }
        self.parts.pipeline.stop();
    }

    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    async fn serve(&mut self) -> Result<(), String> {
        let shutdown = self.parts.shutdown.clone();
        let pool = self.parts.pool.clone();
        let mut changes = self.parts.network.changes();
        let mut messages = Vec::with_capacity(BATCH);
        let mut events = Vec::with_capacity(BATCH);
        self.peers_changed();
        self.step(Input::Tick)?;
        loop {
            self.parts.pool.set_block_size(self.parts.ledger.tx_count_limit() as usize);
            self.seal()?;
            self.ask();
            self.show();
            let pause = self.pause();
            tokio::select! {
                biased;
                () = shutdown.triggered() => return Ok(()),
                count = self.parts.events.recv_many(&mut events, BATCH) => {
                    if count == 0 {
                        return Ok(());
                    }
                    for event in events.drain(..) {
                        self.event(event)?;
                    }
                }
                count = self.parts.messages.recv_many(&mut messages, BATCH) => {
                    if count == 0 {
                        return Ok(());
                    }
                    for (from, message) in messages.drain(..) {
                        self.message(from, message);
                    }
                    // One look at the disk for all of them.
                    self.carry_out()?;
                }
                changed = changes.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    self.peers_changed();
                    self.carry_out()?;
                }
                () = pool.arrived() => {}
                () = tokio::time::sleep(pause) => {
                    // One that has rung is over: agreement does not say so when it wants none any more.
                    let now = self.now_ms();
                    self.timer = self.timer.filter(|at| *at > now);
                    self.step(Input::Tick)?;
                }
            }
            self.work_changed()?;
        }
    }

    /// How long nothing has to be done.
    fn pause(&self) -> Duration {
        let mut pause = IDLE;
        if let Some(at) = self.timer {
            pause = pause.min(Duration::from_millis(at.saturating_sub(self.now_ms())));
        }
        // As it was found then: asked anew, it could be over by now, and the loop would sleep in front of a full pool.
        if let Some(at) = self.seal_at {
            pause = pause.min(at.saturating_duration_since(Instant::now()));
        }
        if let Some(at) = self.bodies.deadline() {
            pause = pause.min(at.saturating_duration_since(Instant::now()));
        }
        pause
    }

    fn input(&mut self, input: Input) {
        let now = self.now_ms();
        self.parts.consensus.step(now, input, &mut self.effects);
    }

    fn step(&mut self, input: Input) -> Result<(), String> {
        self.input(input);
        self.carry_out()
    }

    fn message(&mut self, from: NodeId, message: Message) {
        match message {
            Message::Consensus(bytes) => self.input(Input::Message { from, bytes }),
            Message::Standing(standing) => {
                let _stopped = self.parts.hints.send(Hint::Standing(from, standing));
            }
            // The network sends nothing else here.
            _ => {}
        }
    }

    fn event(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Executed { number, header_hash } => self.step(Input::Executed { number, header_hash })?,
            Event::Committed { number, next } => {
                self.settled(number);
                self.step(Input::Committed { number, next })?;
            }
            Event::Synced { tip, next } => {
                self.settled(tip.number);
                self.step(Input::Synced { tip, next })?;
            }
            Event::Import { blocks, from } => self.parts.pipeline.import(blocks, from),
            Event::Imported(imported) => {
                if let Err(error) = &imported.outcome {
                    tracing::warn!(group = %self.parts.group, node = %imported.from, "blocks of the node are not taken: {error}");
                    if let ImportError::Diverged { .. } = error {
                        tracing::error!(
                            group = %self.parts.group,
                            "this node's state differs from the others': stop it, move its data folder away and let it synchronise anew"
                        );
                    }
                }
                let _stopped = self.parts.hints.send(Hint::Imported(imported));
            }
            Event::Transactions => {
                for (proposal, digest, purpose, found) in self.bodies.retry(&self.parts.pool) {
                    self.found(&proposal, digest, purpose, found);
                }
                self.carry_out()?;
            }
            Event::Failed { what } => return Err(what),
        }
        Ok(())
    }

    fn settled(&mut self, number: u64) {
        self.bodies.settled(number);
        // The parent of the next block stays.
        self.timestamps.retain(|(of, _)| *of >= number);
        let _stopped = self.parts.hints.send(Hint::Height(number));
    }

    fn peers_changed(&mut self) {
        let now: HashSet<NodeId> = self.parts.network.peers(self.parts.place).into_iter().collect();
        let before = std::mem::replace(&mut self.reachable, now.clone());
        for node in before.difference(&now).cloned() {
            let _stopped = self.parts.hints.send(Hint::Gone(node.clone()));
            self.input(Input::Reachable { node, reachable: false });
        }
        for node in now.difference(&before).cloned() {
            let _stopped = self.parts.hints.send(Hint::Came(node.clone()));
            self.input(Input::Reachable { node, reachable: true });
        }
    }

    fn work_changed(&mut self) -> Result<(), String> {
        let pending = self.parts.pool.ready() > 0;
        if pending != self.pending {
            self.pending = pending;
            self.step(Input::Work { pending })?;
        }
        Ok(())
    }

    /// Carries out what agreement wants, in order; records are durable before anything that follows them leaves the node.
    fn carry_out(&mut self) -> Result<(), String> {
        while !self.effects.is_empty() {
            for effect in std::mem::take(&mut self.effects) {
                self.effect(effect)?;
            }
        }
        // What was noted after the last message goes to the disk with the next one: nobody depends on it yet.
        Ok(())
    }

    /// A full disk stops the group until there is room again: without its votes on disk it must say nothing.
    fn flush(&mut self) -> Result<(), String> {
        // A committee of one contradicts nobody: what it committed is in its chain.
        let durable = self.parts.consensus.settings().members.len() > 1;
        let mut told = false;
        loop {
            match self.parts.votes.flush(durable) {
                Ok(_) => {
                    if told {
                        tracing::info!(group = %self.parts.group, "votes can be kept again, the group goes on");
                    }
                    return Ok(());
                }
                Err(error) if self.parts.shutdown.is_triggered() => return Err(error.to_string()),
                Err(error) => {
                    if !told {
                        tracing::error!(group = %self.parts.group, "{error}");
                        told = true;
                    }
                    std::thread::sleep(RETRY);
                }
            }
        }
    }

    fn effect(&mut self, effect: Effect) -> Result<(), String> {
        match effect {
            Effect::Persist { key, value } => self.parts.votes.put(key, value),
            Effect::Send { to, bytes } => {
                self.flush()?;
                self.parts.network.send(self.parts.place, &to, &Message::Consensus(bytes));
            }
            Effect::Broadcast { bytes } => {
                self.flush()?;
                self.broadcast(bytes);
            }
            Effect::WantProposal { number, view } => self.wanted = Some((number, view)),
            Effect::Verify { proposal, digest, certified, from } => self.verify(&proposal, digest, certified, from),
            Effect::Execute { proposal, digest } => {
                self.remember(&proposal);
                let from = self.proposer(&proposal);
                let found = self.bodies.find(&self.parts.pool, &proposal, digest, Purpose::Execute, from);
                self.found(&proposal, digest, Purpose::Execute, found);
            }
            Effect::Commit { number, header_hash, signatures } => {
                self.flush()?;
                self.parts.pipeline.commit(number, header_hash, signatures);
            }
            Effect::Abandon { proposal } => {
                self.bodies.abandoned(&proposal);
                self.timestamps.retain(|(number, _)| *number != proposal.number);
                self.parts.pool.release(&proposal);
            }
            Effect::Timer { at_ms } => self.timer = Some(at_ms),
            Effect::CatchUp { number, from } => {
                let _stopped = self.parts.hints.send(Hint::CatchUp { number, from });
            }
            Effect::Diverged { number, ours, theirs } => {
                tracing::error!(
                    group = %self.parts.group,
                    "block {number} was executed to {ours} here and to {theirs} by a quorum: this node's state is damaged; stop it, move its \
                     data folder away and let it synchronise anew"
                );
            }
            Effect::View { view, entered } => {
                self.gauges.view_changes.inc();
                tracing::info!(group = %self.parts.group, view, entered, "consensus: view change");
            }
            Effect::Misbehaviour { node, what } => {
                self.gauges.misbehaviour.inc();
                tracing::warn!(group = %self.parts.group, %node, "consensus: the node misbehaves: {what}");
            }
        }
        Ok(())
    }

    /// Votes go to the committee only: an observer has no use for them.
    fn broadcast(&self, bytes: Bytes) {
        let message = Message::Consensus(bytes);
        let me = self.parts.consensus.status().node;
        for member in &self.parts.consensus.settings().members {
            if member.node_id != me {
                self.parts.network.send(self.parts.place, &member.node_id, &message);
            }
        }
    }

    fn proposer(&self, proposal: &Proposal) -> NodeId {
        let members = &self.parts.consensus.settings().members;
        members.get(proposal.sealer as usize).map_or_else(|| self.parts.consensus.status().node, |m| m.node_id.clone())
    }

    fn remember(&mut self, proposal: &Proposal) {
        self.gather.proposed(proposal.number, proposal.transactions.len(), Instant::now());
        self.timestamps.retain(|(number, _)| *number != proposal.number);
        self.timestamps.push((proposal.number, proposal.timestamp_ms));
    }

    /// The time of the block before.
    fn parent_time(&self, number: u64) -> Option<u64> {
        let known = self.timestamps.iter().find(|(of, _)| *of + 1 == number).map(|(_, time)| *time);
        known.or_else(|| (self.parts.ledger.height() + 1 == number).then(|| self.parts.ledger.head_time()))
    }

    fn verify(&mut self, proposal: &Arc<Proposal>, digest: B256, certified: bool, from: NodeId) {
        if !certified {
            // The draw that rotates the committee is not counted.
            let draws = u64::from(self.parts.consensus.settings().ends_epoch(proposal.number));
            let too_many =
                proposal.transactions.len() as u64 > self.parts.ledger.tx_count_limit().saturating_add(draws);
            let in_order = self.parent_time(proposal.number).is_none_or(|parent| proposal.timestamp_ms > parent);
            if too_many || !in_order || proposal.transactions.is_empty() {
                let number = proposal.number;
                tracing::warn!(group = %self.parts.group, number, node = %from, too_many, in_order, "consensus: a proposal is refused");
                self.input(Input::Verified { number, digest, verdict: Verdict::Invalid });
                return;
            }
        }
        self.remember(proposal);
        let purpose = Purpose::Verify { certified };
        let found = self.bodies.find(&self.parts.pool, proposal, digest, purpose, from);
        self.found(proposal, digest, purpose, found);
    }

    fn found(&mut self, proposal: &Arc<Proposal>, digest: B256, purpose: Purpose, found: Found) {
        let number = proposal.number;
        let found = match found {
            Found::All(transactions) if purpose == (Purpose::Verify { certified: false }) => {
                let (suite, settings) = (self.parts.ledger.chain().suite(), self.parts.consensus.settings());
                let right = draw::is_right(suite, settings, proposal, &transactions);
                if right { Found::All(transactions) } else { Found::Wrong }
            }
            other => other,
        };
        match (purpose, found) {
            (_, Found::Later) => {}
            (Purpose::Verify { .. }, Found::All(_)) => {
                self.input(Input::Verified { number, digest, verdict: Verdict::Valid });
            }
            (Purpose::Verify { .. }, Found::Wrong) => {
                tracing::warn!(group = %self.parts.group, number, "consensus: a proposal holds transactions that may not be in it");
                self.bodies.forget(&digest);
                self.parts.pool.release(proposal);
                self.input(Input::Verified { number, digest, verdict: Verdict::Invalid });
            }
            (Purpose::Execute, Found::All(transactions)) => {
                self.bodies.take(&digest);
                self.parts.pipeline.execute(Arc::clone(proposal), transactions);
            }
            (Purpose::Execute, Found::Wrong) => {
                // A quorum ordered what this node holds to be committed already: synchronisation will bring the block.
                tracing::error!(group = %self.parts.group, number, "consensus: an ordered block cannot be put together");
                self.bodies.forget(&digest);
            }
        }
    }

    fn ask(&mut self) {
        if self.bodies.deadline().is_none_or(|at| at > Instant::now()) {
            return;
        }
        let peers: Vec<NodeId> = self.reachable.iter().cloned().collect();
        for ask in self.bodies.asks(&self.parts.pool, &peers) {
            let message = Message::WantTransactions { id: 0, hashes: ask.hashes };
            self.parts.network.send(self.parts.place, &ask.to, &message);
        }
    }
}

/// This node's clock, milliseconds since 1970.
pub(crate) fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
