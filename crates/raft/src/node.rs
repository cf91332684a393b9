//! One member of the replicated log.

mod election;
mod membership;
mod replication;

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::effects::{Effects, Leadership};
use crate::log::Log;
use crate::message::{ConfChange, ConfState, Entry, HardState, MAX_POSITION, Message, MessageType, Snapshot};
use crate::progress::Progress;
use crate::wal::Recovered;

/// Marks vote requests of a campaign that a leader asked for; etcd's text.
pub(crate) const CAMPAIGN_TRANSFER: &[u8] = b"CampaignTransfer";

/// How a node behaves. All counts are in ticks, messages or bytes.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node's id; never 0.
    pub id: u64,
    /// Ticks without a leader before a campaign (the real value is between once and twice this).
    pub election_ticks: u32,
    /// Ticks between heartbeats.
    pub heartbeat_ticks: u32,
    /// Entry bytes per message (one entry always fits).
    pub max_message_bytes: usize,
    /// Messages with entries in flight per follower.
    pub max_inflight: usize,
    /// Seed of the election jitter.
    pub seed: u64,
    /// Ask before disturbing: a campaign first finds out whether it could be won.
    pub pre_vote: bool,
    /// A leader that does not hear from a majority steps down, and followers of a living leader do not vote.
    pub check_quorum: bool,
}

impl Config {
    /// The usual settings: 10 ticks election, 1 tick heartbeat, pre-vote and check-quorum on.
    pub fn new(id: u64) -> Self {
        Self {
            id,
            election_ticks: 10,
            heartbeat_ticks: 1,
            max_message_bytes: 2 * 1024 * 1024,
            max_inflight: 5,
            seed: id,
            pre_vote: true,
            check_quorum: true,
        }
    }
}

/// What a node is at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Follows a leader, or waits for one.
    Follower,
    /// Asks whether a campaign could be won.
    PreCandidate,
    /// Campaigns.
    Candidate,
    /// Leads.
    Leader,
}

/// What happens to a node.
#[derive(Debug)]
pub enum Input {
    /// One tick of the host's clock passed.
    Tick,
    /// A message from a peer arrived.
    Message(Message),
    /// The application wants these appended, in this order.
    Propose(Vec<Bytes>),
    /// The application wants a member added or removed.
    ProposeConfChange(ConfChange),
    /// Start a campaign now.
    Campaign,
    /// Hand leadership to this member.
    TransferLeader(u64),
    /// A peer could not be reached.
    Unreachable(u64),
    /// Sending a snapshot to a peer ended.
    SnapshotSent {
        /// The peer.
        to: u64,
        /// Whether it got it.
        delivered: bool,
    },
    /// The application's state up to `index` is safe in `data`; entries before `index - keep` may go.
    Compact {
        /// The last index covered; must have been applied.
        index: u64,
        /// What a follower that lags behind gets.
        data: Bytes,
        /// Entries kept in front of `index` for followers that lag only a little.
        keep: u64,
    },
}

/// Why an input was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Only the leader appends; the proposals come back for forwarding.
    #[error("this node is not the leader (the leader is {})", leader.map_or_else(|| "not known".to_owned(), |l| format!("node {l}")))]
    NotLeader {
        /// Whom to ask.
        leader: Option<u64>,
        /// What was proposed.
        proposals: Vec<Bytes>,
    },
    /// Leadership is being handed over.
    #[error("leadership is being handed to node {to}, propose again when it leads")]
    Transferring {
        /// The next leader.
        to: u64,
    },
    /// This leader is about to leave the cluster.
    #[error("this node leads until its own removal is committed, propose again when another node leads")]
    Leaving,
    /// Another membership change is under way.
    #[error("the membership change at index {index} is not applied yet, wait for it")]
    ConfChangePending {
        /// Where it stands.
        index: u64,
    },
    /// The membership change makes no sense.
    #[error("membership change of node {node} refused: {reason}")]
    BadConfChange {
        /// The member in question.
        node: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// Compaction beyond what was applied, or behind what is compacted.
    #[error("cannot compact to index {index}: applied up to {applied}, snapshot at {snapshot}")]
    BadCompaction {
        /// The index asked for.
        index: u64,
        /// The last applied index.
        applied: u64,
        /// The latest snapshot's index.
        snapshot: u64,
    },
    /// A message that breaks the protocol.
    #[error("message from node {from} refused: {reason}")]
    BadMessage {
        /// The sender as it stands in the message.
        from: u64,
        /// What is wrong.
        reason: &'static str,
    },
}

/// The Raft state machine of one node.
#[derive(Debug)]
pub struct Node {
    pub(crate) config: Config,
    pub(crate) term: u64,
    pub(crate) vote: u64,
    pub(crate) leader: u64,
    pub(crate) role: Role,
    pub(crate) log: Log,
    /// Members and, on a leader, what is known about each.
    pub(crate) members: BTreeMap<u64, Progress>,
    pub(crate) votes: BTreeMap<u64, bool>,
    /// No membership change may be proposed until this index is applied.
    pub(crate) pending_conf_index: u64,
    pub(crate) transferee: u64,
    /// The log holds this leader's own removal.
    pub(crate) leaving: bool,
    pub(crate) election_elapsed: u32,
    pub(crate) heartbeat_elapsed: u32,
    pub(crate) randomized_timeout: u32,
    /// Something in the running batch must be durable before any message leaves.
    pub(crate) hold_early: bool,
    rng: u64,
    reported: (HardState, Role, u64),
}

impl Node {
    /// A node of a new cluster whose members all start with the same `peers`, in the same order.
    ///
    /// As in etcd's library, the log begins with one committed membership entry per peer at term 1.
    pub fn bootstrap(config: Config, peers: &[u64], effects: &mut Effects) -> Self {
        let mut node = Self::restart(config, Recovered::default(), 0);
        let mut entries = Vec::with_capacity(peers.len());
        node.term = 1;
        for (i, peer) in peers.iter().enumerate() {
            let change = ConfChange { node_id: *peer, ..ConfChange::default() };
            entries.push(Entry {
                entry_type: crate::message::EntryType::ConfChange as i32,
                term: 1,
                index: i as u64 + 1,
                data: prost::Message::encode_to_vec(&change).into(),
            });
        }
        for entry in &entries {
            node.log.push(entry.clone());
        }
        effects.append(&entries);
        node.log.committed = peers.len() as u64;
        node.finish(effects);
        node
    }

    /// A node from what its disk holds; `applied` is the last index the application has.
    ///
    /// Committed entries after `applied` are handed out again by the first step. With nothing on disk
    /// this is a node that joins: it waits for a leader to contact it.
    pub fn restart(config: Config, recovered: Recovered, applied: u64) -> Self {
        let Recovered { hard_state, snapshot, compacted, entries } = recovered;
        let voters: Vec<u64> = snapshot.voters().to_vec();
        let snapshot_index = snapshot.index();
        let mut log = Log::new(snapshot, compacted, entries);
        // What the application has was committed, even when the commit index on disk is older.
        let known_committed = hard_state.commit.max(applied).min(log.last_index());
        log.committed = log.committed.max(known_committed);
        log.applied = applied.clamp(log.applied, log.committed);
        let rng = config.seed ^ config.id.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut node = Self {
            term: hard_state.term.max(log.last_term()),
            vote: if hard_state.term >= log.last_term() { hard_state.vote } else { 0 },
            leader: 0,
            role: Role::Follower,
            members: BTreeMap::new(),
            votes: BTreeMap::new(),
            pending_conf_index: 0,
            transferee: 0,
            leaving: false,
            election_elapsed: 0,
            heartbeat_elapsed: 0,
            randomized_timeout: 0,
            hold_early: true,
            rng,
            reported: (hard_state, Role::Follower, 0),
            config,
            log,
        };
        for voter in voters {
            node.insert_member(voter);
        }
        let changes: Vec<ConfChange> =
            node.log.range(snapshot_index + 1, node.log.applied).filter_map(Entry::conf_change).collect();
        for change in changes {
            node.apply_conf_change(&change);
        }
        node.reset_timeout();
        node
    }

    /// Takes one input; what has to happen is added to `effects`, also when the input is refused.
    pub fn step(&mut self, input: Input, effects: &mut Effects) -> Result<(), Refusal> {
        if effects.is_empty() {
            self.hold_early = false;
        }
        let result = match input {
            Input::Tick => {
                self.tick(effects);
                Ok(())
            }
            Input::Message(message) => self.message(message, effects),
            Input::Propose(proposals) => self.propose(proposals, effects),
            Input::ProposeConfChange(change) => self.propose_conf_change(&change, effects),
            Input::Campaign => {
                if self.role != Role::Leader && self.promotable() {
                    self.campaign_or_ask(effects);
                }
                Ok(())
            }
            Input::TransferLeader(to) => {
                self.transfer_leadership(to, effects);
                Ok(())
            }
            Input::Unreachable(peer) => {
                if let Some(progress) = self.members.get_mut(&peer)
                    && progress.state == crate::progress::SendState::Replicate
                {
                    progress.become_probe();
                }
                Ok(())
            }
            Input::SnapshotSent { to, delivered } => {
                self.snapshot_sent(to, delivered);
                Ok(())
            }
            Input::Compact { index, data, keep } => self.compact(index, data, keep),
        };
        self.finish(effects);
        result
    }

    /// Hands out what became final and reports what changed.
    fn finish(&mut self, effects: &mut Effects) {
        while self.log.applied < self.log.committed {
            let index = self.log.applied + 1;
            let Some(entry) = self.log.get(index).cloned() else { break };
            self.log.applied = index;
            if let Some(change) = entry.conf_change() {
                self.hand_over_if_removed(&change, effects);
                self.apply_conf_change(&change);
                // A smaller cluster may have just committed more.
                if self.role == Role::Leader && self.advance_commit() {
                    self.broadcast_append(effects);
                }
            }
            effects.committed.push(entry);
        }
        let hard_state = self.hard_state();
        let (old, old_role, old_leader) = self.reported;
        if hard_state != old {
            effects.hard_state = Some(hard_state);
            effects.must_sync |= hard_state.term != old.term || hard_state.vote != old.vote;
        }
        if (self.role, self.leader) != (old_role, old_leader) {
            effects.leadership = Some(Leadership { role: self.role, leader: self.leader_id(), term: self.term });
        }
        self.reported = (hard_state, self.role, self.leader);
    }

    fn tick(&mut self, effects: &mut Effects) {
        self.election_elapsed = self.election_elapsed.saturating_add(1);
        if self.role != Role::Leader {
            if self.promotable() && self.election_elapsed >= self.randomized_timeout {
                self.election_elapsed = 0;
                self.campaign_or_ask(effects);
            }
            return;
        }
        self.heartbeat_elapsed += 1;
        self.age_snapshots();
        if self.election_elapsed >= self.config.election_ticks {
            self.election_elapsed = 0;
            if self.config.check_quorum && !self.quorum_active() {
                tracing::warn!(node = self.config.id, term = self.term, "no majority heard from, stepping down");
                self.become_follower(self.term, 0);
                return;
            }
            // A transfer that did not happen within an election time will not.
            self.transferee = 0;
        }
        if self.heartbeat_elapsed >= self.config.heartbeat_ticks {
            self.heartbeat_elapsed = 0;
            self.broadcast_heartbeat(effects);
        }
    }

    fn message(&mut self, message: Message, effects: &mut Effects) -> Result<(), Refusal> {
        let from = message.from;
        let refuse = |reason| Err(Refusal::BadMessage { from, reason });
        let Some(kind) = message.kind() else { return refuse("unknown message type") };
        if from == 0 || from == self.config.id {
            return refuse("the sender's id is missing or this node's own");
        }
        if message.to != self.config.id {
            return refuse("it is addressed to another node");
        }
        match kind {
            MessageType::Hup
            | MessageType::Beat
            | MessageType::Unreachable
            | MessageType::SnapStatus
            | MessageType::CheckQuorum
            | MessageType::Prop
            | MessageType::ReadIndex
            | MessageType::ReadIndexResp => return refuse("a message of this type must not come from the network"),
            _ => {}
        }
        if message.term == 0 {
            return refuse("it has no term");
        }
        let snapshot_index = message.snapshot.as_ref().map_or(0, crate::message::Snapshot::index);
        if [message.term, message.index, message.commit, message.reject_hint, snapshot_index]
            .iter()
            .any(|n| *n > MAX_POSITION)
        {
            return refuse("a term or index is beyond any real one");
        }
        if message.term > self.term && !self.newer_term(&message, kind) {
            return Ok(());
        }
        if message.term < self.term {
            self.older_term(&message, kind, effects);
            return Ok(());
        }
        match kind {
            MessageType::Vote | MessageType::PreVote => self.vote_request(&message, kind, effects),
            MessageType::VoteResp | MessageType::PreVoteResp => self.vote_response(&message, kind, effects),
            MessageType::App | MessageType::Heartbeat | MessageType::Snap => {
                if self.role == Role::Leader {
                    return refuse("two leaders in one term");
                }
                if self.role != Role::Follower || self.leader != from {
                    self.become_follower(self.term, from);
                }
                self.election_elapsed = 0;
                match kind {
                    MessageType::App => return self.append_request(message, effects),
                    MessageType::Heartbeat => self.heartbeat(&message, effects),
                    _ => return self.snapshot_request(message, effects),
                }
            }
            MessageType::AppResp if self.role == Role::Leader => self.append_response(&message, effects),
            MessageType::HeartbeatResp if self.role == Role::Leader => self.heartbeat_response(&message, effects),
            MessageType::TransferLeader if self.role == Role::Leader => self.transfer_leadership(from, effects),
            MessageType::TimeoutNow if self.role == Role::Follower && self.promotable() => {
                self.campaign(true, effects);
            }
            _ => {}
        }
        Ok(())
    }

    pub(crate) fn send(&self, to: u64, kind: MessageType, message: Message, effects: &mut Effects) {
        let term = if message.term == 0 { self.term } else { message.term };
        let message = Message { message_type: kind as i32, to, from: self.config.id, term, ..message };
        // What a leader sends rests on a term that is durable since its election and on commits that
        // others acknowledged; everything else may promise something that has yet to be written.
        if self.role == Role::Leader
            && !self.hold_early
            && matches!(kind, MessageType::App | MessageType::Heartbeat | MessageType::Snap)
        {
            effects.early.push(message);
        } else {
            effects.messages.push(message);
        }
    }

    pub(crate) fn reset_timeout(&mut self) {
        // SplitMix64: small, and a seed gives the same jitter everywhere.
        self.rng = self.rng.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.rng;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        let base = self.config.election_ticks.max(1);
        self.randomized_timeout = base + (z % u64::from(base)) as u32;
    }

    /// This node's id.
    pub fn id(&self) -> u64 {
        self.config.id
    }

    /// What this node is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The current term.
    pub fn term(&self) -> u64 {
        self.term
    }

    /// The leader of the current term, when known.
    pub fn leader_id(&self) -> Option<u64> {
        (self.leader != 0).then_some(self.leader)
    }

    /// Term, vote and commit as they must stand on disk.
    pub fn hard_state(&self) -> HardState {
        HardState { term: self.term, vote: self.vote, commit: self.log.committed }
    }

    /// The log, to look at.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Highest index known committed.
    pub fn committed_index(&self) -> u64 {
        self.log.committed
    }

    /// Highest index handed out.
    pub fn applied_index(&self) -> u64 {
        self.log.applied
    }

    /// The latest snapshot.
    pub fn snapshot(&self) -> &Snapshot {
        &self.log.snapshot
    }

    /// The voters as of the last applied entry.
    pub fn conf_state(&self) -> ConfState {
        ConfState { voters: self.members.keys().copied().collect(), learners: Vec::new() }
    }

    /// What a leader knows about its members: id and progress.
    pub fn progress(&self) -> impl Iterator<Item = (u64, &Progress)> {
        self.members.iter().map(|(id, p)| (*id, p))
    }
}
