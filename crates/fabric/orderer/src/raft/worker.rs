//! The one thread of a channel that owns its Raft node, cutter and block writing.
//!
//! Everything that waits is taken in before the log is flushed once, so the number of syncs falls as the load grows.
//! Signatures are checked before messages come here.

mod committed;
mod proposing;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fabric_channel::protoutil;
use fabric_proto::common::{Block, Envelope};
use fabric_proto::etcdraft::{ClusterMetadata, ConfigMetadata};
use fabric_proto::orderer::ConsensusRequest;
use konsort_crypto::hash::sha256;
use konsort_raft::{ConfChange, Config, FolderDisk, Input, Message, MessageType, Refusal, Replica, Role, Transport};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, sleep_until};

use super::membership::outstanding;
use super::settings::Timing;
use super::{Command, Evicted, Pending, RaftNode, Shared};
use crate::channel::Channel;
use crate::cluster::Cluster;
use crate::consenter::Activity;
use crate::cutter::{Cutter, Item};
use crate::error::ChannelError;

/// Entries kept behind a snapshot for consenters that lag only a little; upstream's number.
const KEPT_ENTRIES: u64 = 4;
/// Submissions taken in one go.
const BATCH: usize = 256;

impl Item for Envelope {
    fn size(&self) -> usize {
        self.payload.len() + self.signature.len()
    }
}

/// Hands messages to the cluster.
#[derive(Debug)]
struct Outbox {
    channel: String,
    cluster: Cluster,
    /// What goes with messages of the leader: who is alive.
    metadata: Bytes,
    snapshots: Vec<u64>,
}

impl Transport for Outbox {
    fn send(&mut self, message: Message) {
        let to = message.to;
        if message.message_type == MessageType::Snap as i32 {
            self.snapshots.push(to);
        }
        let payload = message.encode_to_vec().into();
        let request = ConsensusRequest { channel: self.channel.clone(), payload, metadata: self.metadata.clone() };
        self.cluster.send(&self.channel, to, request);
    }
}

/// How the loop goes on.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Continue,
    /// Somebody wants it to stop.
    Stop,
    /// This node is no consenter any more.
    Evicted,
}

pub(super) struct Worker {
    id: u64,
    channel: Arc<Channel>,
    node: RaftNode,
    shared: Arc<Shared>,
    replica: Replica<FolderDisk>,
    outbox: Outbox,
    timing: Timing,
    cutter: Cutter<Envelope>,
    batch_began: Option<Instant>,
    /// Number and header hash of the last block written.
    tip: (u64, Bytes),
    /// Number and header hash of the last block made, on a leader that may make more.
    made: Option<(u64, Bytes)>,
    last_config: u64,
    in_flight: usize,
    /// A configuration block or membership change is on its way: nothing may follow it yet.
    config_in_flight: bool,
    conf_change: Option<ConfChange>,
    leaderless_since: Option<Instant>,
    /// The other orderers' configuration does not list this node.
    removed: Arc<AtomicBool>,
    /// When a leader last knew each consenter to be alive.
    heard: BTreeMap<u64, Instant>,
    bytes_since_snapshot: u64,
    backlog: VecDeque<Pending>,
    /// This node starts the first election of a new channel.
    campaigns: bool,
    evicted: bool,
}

impl Worker {
    pub(super) fn open(
        id: u64,
        channel: Arc<Channel>,
        node: RaftNode,
        shared: Arc<Shared>,
        last: &Block,
        settings: &ConfigMetadata,
    ) -> Result<Self, ChannelError> {
        let mut timing = Timing::new(settings)?;
        if let Some(tick) = node.tick_override {
            timing.tick = tick;
        }
        let header = last.header.clone().unwrap_or_default();
        let members = shared.members.lock().clone();
        let last_config = if header.number == 0 { 0 } else { protoutil::last_config_index(last)? };
        let peers: &[u64] = if header.number == 0 { &members.metadata.consenter_ids } else { &[] };
        let folder = node.wal.join(channel.id());
        let disk = FolderDisk::new(&folder).map_err(|source| ChannelError::Io { path: folder.clone(), source })?;
        let bundle = channel.bundle();
        let max_message = bundle.orderer().map_or(2 << 20, |o| o.batch_size.preferred_max_bytes as usize);
        let config = Config {
            election_ticks: timing.election_ticks,
            heartbeat_ticks: timing.heartbeat_ticks,
            max_message_bytes: max_message,
            max_inflight: timing.max_in_flight,
            seed: u64::from_le_bytes(konsort_crypto::random_bytes::<8>()),
            ..Config::new(id)
        };
        let replica = Replica::open(config, disk, members.metadata.raft_index, peers)?;
        // One member starts the first election, the same that upstream's nodes would choose.
        let (number, _) = varint(&sha256(channel.id().as_bytes())[24..]);
        let campaigns = !peers.is_empty() && id == number % peers.len() as u64 + 1;
        let outbox = Outbox {
            channel: channel.id().to_owned(),
            cluster: node.cluster.clone(),
            metadata: Bytes::new(),
            snapshots: Vec::new(),
        };
        let tip = (header.number, Bytes::copy_from_slice(&protoutil::header_hash(&header)));
        let worker = Self {
            id,
            channel,
            node,
            shared,
            replica,
            outbox,
            timing,
            cutter: Cutter::default(),
            batch_began: None,
            tip,
            made: None,
            last_config,
            in_flight: 0,
            config_in_flight: false,
            conf_change: None,
            leaderless_since: None,
            removed: Arc::default(),
            heard: BTreeMap::new(),
            bytes_since_snapshot: 0,
            backlog: VecDeque::new(),
            campaigns,
            evicted: false,
        };
        worker.show();
        Ok(worker)
    }

    /// Runs until it is stopped, the node is evicted, or the disk fails.
    pub(super) fn run(
        mut self,
        mut submissions: mpsc::Receiver<Pending>,
        mut commands: mpsc::Receiver<Command>,
        evicted: Evicted,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!(channel = self.channel.id(), "cannot start the consenter: {error}");
                self.shared.state.lock().1 = Activity::Failed;
                return;
            }
        };
        let outcome = runtime.block_on(self.serve(&mut submissions, &mut commands));
        if let Err(error) = self.channel.blocks().sync() {
            tracing::error!(channel = self.channel.id(), "cannot sync the ledger: {error}");
        }
        self.shared.leaders.send_replace(0);
        match outcome {
            Ok(Next::Evicted) => evicted(),
            Ok(_) => {}
            Err(error) => {
                // What may or may not have reached the disk must not be built upon.
                tracing::error!(channel = self.channel.id(), "the consenter stops: {error}");
                self.shared.state.lock().1 = Activity::Failed;
            }
        }
        self.shared.errored.send_replace(true);
        self.metric_gauges(false);
    }

    async fn serve(
        &mut self,
        submissions: &mut mpsc::Receiver<Pending>,
        commands: &mut mpsc::Receiver<Command>,
    ) -> Result<Next, ChannelError> {
        self.catch_up_with_log().await?;
        let mut ticker = tokio::time::interval(self.timing.tick);
        ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut campaign = tokio::time::interval(self.timing.tick.min(Duration::from_millis(200)));
        campaign.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // A first step hands out what was final before the start; only then the members are complete.
        self.step(Input::Unreachable(0));
        self.flush().await?;
        if self.replica.node().conf_state().voters == [self.id] {
            // Nobody else can lead; waiting for the election timeout would only cost time.
            self.step(Input::Campaign);
        }
        self.flush().await?;
        let mut incoming = Vec::with_capacity(BATCH);
        loop {
            let deadline = self.batch_deadline();
            let accepting = self.accepts() && self.backlog.is_empty();
            tokio::select! {
                biased;
                command = commands.recv() => {
                    let mut next = command;
                    while let Some(command) = next {
                        if self.command(command) == Next::Stop {
                            return Ok(Next::Stop);
                        }
                        next = commands.try_recv().ok();
                    }
                }
                _ = ticker.tick() => {
                    self.step(Input::Tick);
                    self.suspect_eviction();
                }
                _ = campaign.tick(), if self.campaigns => self.campaign(),
                () = sleep_until(deadline.unwrap_or_else(Instant::now).into()), if deadline.is_some() => self.cut_batch(),
                count = submissions.recv_many(&mut incoming, BATCH), if accepting => {
                    if count == 0 {
                        return Ok(Next::Stop);
                    }
                    self.backlog.extend(incoming.drain(..));
                }
            }
            self.work_off();
            self.flush().await?;
            if self.evicted {
                return Ok(Next::Evicted);
            }
        }
    }

    /// A node that was removed hears nothing any more: it must find out by itself.
    fn suspect_eviction(&mut self) {
        if self.replica.node().leader_id().is_some() {
            self.leaderless_since = None;
            return;
        }
        let since = *self.leaderless_since.get_or_insert_with(Instant::now);
        if !self.shared.members.lock().consenters.contains_key(&self.id) {
            tracing::info!(channel = self.channel.id(), "This node is not among the consenters any more");
            self.evicted = true;
        } else if since.elapsed() >= self.node.eviction_suspicion {
            self.leaderless_since = None;
            tracing::warn!(
                channel = self.channel.id(),
                "No leader for {:?}, asking the other orderers whether this node was removed",
                since.elapsed()
            );
            let (channel, node, verdict) = (self.channel.clone(), self.node.clone(), self.removed.clone());
            // It may take long, and blocks from the others must not wait for it.
            tokio::spawn(async move {
                if crate::pull::removed_from(&channel, &node).await {
                    verdict.store(true, Ordering::Release);
                }
            });
        }
        self.evicted |= self.removed.load(Ordering::Acquire);
    }

    fn campaign(&mut self) {
        if self.replica.node().leader_id().is_some() {
            self.campaigns = false;
        } else if self.replica.node().role() == Role::Follower || self.replica.node().role() == Role::PreCandidate {
            self.step(Input::Campaign);
        }
    }

    /// Whether another submission may be looked at; anybody but a busy leader answers at once.
    fn accepts(&self) -> bool {
        let leads = self.replica.node().role() == Role::Leader;
        !leads || (self.made.is_some() && !self.config_in_flight && self.in_flight < self.timing.max_in_flight)
    }

    fn batch_deadline(&self) -> Option<Instant> {
        let began = self.batch_began?;
        // A leader that waits for blocks in flight cuts when they are through.
        if self.made.is_none() || self.in_flight >= self.timing.max_in_flight {
            return None;
        }
        Some(began + self.channel.bundle().orderer().map_or(Duration::from_secs(2), |o| o.batch_timeout))
    }

    fn step(&mut self, input: Input) {
        if let Err(refusal) = self.replica.step(input) {
            if matches!(refusal, Refusal::BadMessage { .. }) {
                tracing::warn!(channel = self.channel.id(), "{refusal}");
            } else {
                tracing::debug!(channel = self.channel.id(), "{refusal}");
            }
        }
    }

    fn command(&mut self, command: Command) -> Next {
        match command {
            Command::Halt => return Next::Stop,
            Command::Unreachable(peer) => self.step(Input::Unreachable(peer)),
            Command::Message { message, metadata } => {
                let from = message.from;
                self.step(Input::Message(*message));
                if !metadata.is_empty()
                    && self.replica.node().leader_id() == Some(from)
                    && let Ok(cluster) = ClusterMetadata::decode(metadata)
                {
                    self.node.metrics.active_nodes.with(&[self.channel.id()]).set(cluster.active_nodes.len() as f64);
                    *self.shared.active.lock() = cluster.active_nodes;
                }
            }
        }
        Next::Continue
    }

    /// Takes submissions as long as blocks may be made.
    fn work_off(&mut self) {
        while self.accepts()
            && let Some(pending) = self.backlog.pop_front()
        {
            if pending.answer.is_closed() {
                // Whoever asked gave up and may have turned to another orderer.
                continue;
            }
            let outcome = self.take(pending.submission);
            // Whoever asked may have gone.
            let _gone = pending.answer.send(outcome);
        }
    }

    /// Carries out everything that is pending.
    async fn flush(&mut self) -> Result<(), ChannelError> {
        while self.replica.has_pending() {
            let began = Instant::now();
            let outcome = self.replica.flush(&mut self.outbox)?;
            if outcome.persisted.is_some() {
                self.node.metrics.data_persist_duration.with(&[self.channel.id()]).observe_since(began);
            }
            for to in std::mem::take(&mut self.outbox.snapshots) {
                // It counts as delivered, as upstream counts it; when it was lost, the next probe finds out.
                self.step(Input::SnapshotSent { to, delivered: true });
            }
            // A leader that was deposed in this very batch must know it before its blocks are counted.
            if let Some(leadership) = outcome.leadership {
                self.leadership(leadership.leader.unwrap_or(0));
            }
            if let Some(snapshot) = outcome.snapshot {
                self.install(&snapshot).await?;
            }
            for entry in outcome.committed {
                self.apply(&entry)?;
            }
            self.settle();
            self.work_off();
        }
        Ok(())
    }

    fn leadership(&mut self, leader: u64) {
        let before = self.shared.leaders.send_replace(leader);
        if leader != before {
            tracing::info!(channel = self.channel.id(), node = self.id, "Raft leader changed: {before} -> {leader}");
            self.node.metrics.leader_changes.with(&[self.channel.id()]).inc();
        }
        let leads = leader == self.id && self.replica.node().role() == Role::Leader;
        if !leads {
            // What was collected but not in a block is lost, as it would be with a crash; clients see no commit.
            self.cutter.cut();
            self.batch_began = None;
        }
        self.made = None;
        self.heard.clear();
        self.in_flight = 0;
        self.config_in_flight = false;
        let cluster_size = self.shared.members.lock().consenters.len();
        // With one or two consenters readers have nowhere else to go, and the cluster must be able to grow.
        self.shared.errored.send_replace(leader == 0 && cluster_size > 2);
        self.metric_gauges(leads);
    }

    /// A new leader serves once everything before its election is applied.
    fn settle(&mut self) {
        let node = self.replica.node();
        if node.role() != Role::Leader {
            return;
        }
        self.update_active();
        let node = self.replica.node();
        if self.made.is_some() || node.log().last_index() > node.applied_index() {
            return;
        }
        let voters = node.conf_state().voters;
        let metadata = self.shared.members.lock().metadata.clone();
        if let Some(change) = outstanding(&metadata, &voters) {
            if self.conf_change.as_ref() != Some(&change) || !self.config_in_flight {
                self.config_in_flight = true;
                self.conf_change = Some(change.clone());
                self.step(Input::ProposeConfChange(change));
            }
            return;
        }
        self.config_in_flight = false;
        tracing::info!(
            channel = self.channel.id(),
            node = self.id,
            "Start accepting requests as Raft leader at block [{}]",
            self.tip.0
        );
        self.made = Some(self.tip.clone());
    }

    fn update_active(&mut self) {
        // The core forgets at every quorum check; a node counts until it was silent for two of them.
        let now = Instant::now();
        let silence = self.timing.tick * self.timing.election_ticks * 2;
        let node = self.replica.node();
        for (id, progress) in node.progress() {
            if id == self.id || progress.recent_active {
                self.heard.insert(id, now);
            }
        }
        let members = node.conf_state().voters;
        self.heard.retain(|id, at| members.contains(id) && now.duration_since(*at) <= silence);
        let active: Vec<u64> = self.heard.keys().copied().collect();
        let mut shared = self.shared.active.lock();
        if *shared != active {
            self.node.metrics.active_nodes.with(&[self.channel.id()]).set(active.len() as f64);
            self.outbox.metadata = ClusterMetadata { active_nodes: active.clone() }.encode_to_vec().into();
            *shared = active;
        }
    }

    fn show(&self) {
        let channel = self.channel.id();
        let metrics = &self.node.metrics;
        metrics.cluster_size.with(&[channel]).set(self.shared.members.lock().consenters.len() as f64);
        metrics.committed_block_number.with(&[channel]).set(self.tip.0 as f64);
        metrics.height.with(&[channel]).set(self.channel.blocks().height() as f64);
        metrics.snapshot_block_number.with(&[channel]).set(0.0);
        self.metric_gauges(false);
    }

    fn metric_gauges(&self, leads: bool) {
        let channel = self.channel.id();
        self.node.metrics.is_leader.with(&[channel]).set(if leads { 1.0 } else { 0.0 });
        if !leads {
            self.node.metrics.active_nodes.with(&[channel]).set(0.0);
        }
    }
}

/// Reads one base-128 number; second value: its length, 0 when there is none.
fn varint(bytes: &[u8]) -> (u64, usize) {
    let mut value = 0u64;
    for (i, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f).checked_shl(7 * i as u32).unwrap_or(0);
        if byte & 0x80 == 0 {
            return (value, i + 1);
        }
    }
    (0, 0)
}
