//! The Raft consenter: the leader makes blocks, a log entry is a whole block, a block is written once its entry is final.

mod membership;
mod settings;
mod worker;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fabric_channel::config::Bundle;
use fabric_channel::protoutil;
use fabric_proto::common::Block;
use fabric_proto::etcdraft::{self, BlockMetadata};
use fabric_proto::orderer::{ConsensusRequest, SubmitRequest};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};

pub(crate) use membership::{Change, consenters_of, key_of_der, key_of_pem, own_id};
pub(crate) use settings::metadata_of;

use crate::channel::Channel;
use crate::cluster::Cluster;
use crate::consenter::{Activity, BoxFuture, Consenter, Relation, Submission, Unavailable};
use crate::error::ChannelError;
use crate::metrics::OrdererMetrics;

/// How long a message may wait to be taken, here or by the leader.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the Raft consenters of a node share.
#[derive(Clone, Debug)]
pub(crate) struct RaftNode {
    /// The way to the other orderers.
    pub cluster: Cluster,
    /// Where the logs are, one folder per channel.
    pub wal: PathBuf,
    /// This node's server TLS certificate (DER), by which it finds itself among the consenters.
    pub certificate: Bytes,
    pub metrics: OrdererMetrics,
    /// How long another orderer may take.
    pub rpc_timeout: Duration,
    pub tick_override: Option<Duration>,
    /// How long without a leader before this node asks the others whether it was removed.
    pub eviction_suspicion: Duration,
}

/// What happens to a worker besides submissions.
#[derive(Debug)]
pub(crate) enum Command {
    /// A message from another consenter.
    Message { message: Box<konsort_raft::Message>, metadata: Bytes },
    /// Another consenter cannot be reached.
    Unreachable(u64),
    /// Stop.
    Halt,
}

/// A submission that waits for the leader's word.
#[derive(Debug)]
pub(crate) struct Pending {
    pub submission: Submission,
    pub answer: oneshot::Sender<Result<(), Declined>>,
}

/// Why the worker did not take a submission.
#[derive(Debug)]
pub(crate) enum Declined {
    /// Another node leads; 0 when nobody is known to.
    Leader(u64),
    /// Leadership moves because of this very message: try again shortly.
    HandOver,
    /// It is not valid any more.
    Invalid(String),
}

/// What the worker shows to others.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The leader's id; 0 when not known.
    pub leaders: watch::Sender<u64>,
    pub errored: watch::Sender<bool>,
    pub state: Mutex<(Relation, Activity)>,
    /// Consenters by id and block metadata, as of the last block.
    pub members: Mutex<Members>,
    /// Consenters the leader hears from.
    pub active: Mutex<Vec<u64>>,
}

/// Who orders.
#[derive(Clone, Debug, Default)]
pub(crate) struct Members {
    pub metadata: BlockMetadata,
    pub consenters: BTreeMap<u64, etcdraft::Consenter>,
}

/// The Raft consenter of one channel.
#[derive(Debug)]
pub(crate) struct RaftConsenter {
    id: u64,
    channel: Arc<Channel>,
    node: RaftNode,
    shared: Arc<Shared>,
    submissions: mpsc::Sender<Pending>,
    commands: mpsc::Sender<Command>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

/// Tells the registrar that this node is no consenter of the channel any more.
pub(crate) type Evicted = Box<dyn FnOnce() + Send>;

impl RaftConsenter {
    /// Starts the consenter from the channel's last block and the Raft log.
    pub(crate) fn start(channel: Arc<Channel>, node: RaftNode, evicted: Evicted) -> Result<Arc<Self>, ChannelError> {
        let last = crate::channel::stored_block(channel.blocks(), channel.blocks().height() - 1)?;
        let settings = metadata_of(&channel.bundle())?;
        let recorded = protoutil::consenter_metadata(&last)?.value;
        let metadata = membership::block_metadata(&recorded, &settings)?;
        let consenters = consenters_of(&metadata, &settings)?;
        let id = own_id(&consenters, &node.certificate).ok_or_else(|| {
            ChannelError::unusable("this orderer's TLS certificate is not among the channel's consenters")
        })?;
        let (errored, _) = watch::channel(false);
        let shared = Arc::new(Shared {
            leaders: watch::channel(0).0,
            errored,
            state: Mutex::new((Relation::Consenter, Activity::Active)),
            members: Mutex::new(Members { metadata, consenters }),
            active: Mutex::new(Vec::new()),
        });
        let (submissions, submission_queue) = mpsc::channel(1024);
        let (commands, command_queue) = mpsc::channel(4096);
        let worker = worker::Worker::open(id, channel.clone(), node.clone(), shared.clone(), &last, &settings)?;
        let consenter = Arc::new(Self { id, channel, node, shared, submissions, commands, thread: Mutex::new(None) });
        consenter.node.cluster.register(consenter.channel.id(), &consenter);
        consenter.connect();
        let thread = std::thread::Builder::new()
            .name(format!("raft-{}", consenter.channel.id()))
            .spawn(move || worker.run(submission_queue, command_queue, evicted))
            .map_err(|source| ChannelError::Io { path: "thread".into(), source })?;
        *consenter.thread.lock() = Some(thread);
        Ok(consenter)
    }

    /// Tells the cluster who the others are.
    pub(crate) fn connect(&self) {
        let members = self.shared.members.lock().clone();
        self.node.cluster.configure(self.channel.id(), self.id, &members.consenters);
    }

    /// A consensus message from another consenter.
    pub(crate) async fn consensus(&self, from: u64, request: ConsensusRequest) -> Result<(), String> {
        let message: konsort_raft::Message = prost::Message::decode(request.payload)
            .map_err(|e| format!("failed to unmarshal StepRequest payload to Raft Message: {e}"))?;
        if message.from != from {
            return Err(format!("the message says it is from node {}, its sender is node {from}", message.from));
        }
        let command = Command::Message { message: Box::new(message), metadata: request.metadata };
        self.commands.send(command).await.map_err(|_| "chain is stopped".to_owned())
    }

    /// A message that another consenter passes on to the leader.
    pub(crate) async fn submitted(&self, request: SubmitRequest) -> Result<(), Unavailable> {
        let envelope = request.payload.unwrap_or_default();
        let header = protoutil::channel_header(&envelope).map_err(|e| Unavailable(format!("bad message: {e}")))?;
        let is_config = header.r#type == fabric_proto::common::HeaderType::Config as i32;
        let submission = Submission { envelope, config_sequence: request.last_validation_seq, is_config };
        match self.offer(submission).await? {
            Ok(()) => Ok(()),
            Err(Declined::Invalid(text)) => Err(Unavailable(text)),
            // Passing it on again could go round in circles while the nodes disagree about who leads.
            Err(Declined::Leader(_) | Declined::HandOver) => Err(Unavailable("no Raft leader".to_owned())),
        }
    }

    /// Something about the connection to another consenter.
    pub(crate) fn notice(&self, command: Command) {
        // A full queue means the worker is busy; it finds out by itself.
        let _may_be_full = self.commands.try_send(command);
    }

    /// The longest a client waits for an answer; a node that lost its cluster must say so while others can still be asked.
    fn patience(&self) -> Duration {
        self.node.rpc_timeout.min(PATIENCE)
    }

    async fn offer(&self, submission: Submission) -> Result<Result<(), Declined>, Unavailable> {
        let stopped = || Unavailable("chain is stopped".to_owned());
        let (answer, answered) = oneshot::channel();
        let placing = async {
            self.submissions.send(Pending { submission, answer }).await.map_err(|_| stopped())?;
            answered.await.map_err(|_| stopped())
        };
        let patience = self.patience();
        tokio::time::timeout(patience, placing)
            .await
            .unwrap_or_else(|_| Err(Unavailable(format!("the consenter did not take the message within {patience:?}"))))
    }

    /// Passes a message on; gives up when another node is elected meanwhile.
    async fn forward(&self, submission: &Submission, leader: u64) -> Result<(), Unavailable> {
        let request = SubmitRequest {
            channel: self.channel.id().to_owned(),
            last_validation_seq: submission.config_sequence,
            payload: Some(submission.envelope.clone()),
        };
        let mut leaders = self.shared.leaders.subscribe();
        tokio::select! {
            answer = self.node.cluster.submit(self.channel.id(), leader, request, self.patience()) => answer.map_err(Unavailable),
            _ = leaders.wait_for(|now| *now != leader) => {
                Err(Unavailable(format!("node {leader} lost the leadership before it answered")))
            }
        }
    }

    async fn place(&self, submission: Submission) -> Result<(), Unavailable> {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
        let mut pause = Duration::from_millis(50);
        loop {
            let known = *self.shared.leaders.borrow();
            let leader = if known == self.id || known == 0 {
                match self.offer(submission.clone()).await? {
                    Ok(()) => return Ok(()),
                    Err(Declined::Invalid(text)) => return Err(Unavailable(text)),
                    Err(Declined::Leader(0)) if !submission.is_config => {
                        return Err(Unavailable("no Raft leader".to_owned()));
                    }
                    Err(Declined::Leader(leader)) => leader,
                    Err(Declined::HandOver) => 0,
                }
            } else {
                known
            };
            if leader != 0 && leader != self.id {
                return self.forward(&submission, leader).await;
            }
            if !submission.is_config || tokio::time::Instant::now() >= deadline {
                return Err(Unavailable("no Raft leader".to_owned()));
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }
}

impl Consenter for RaftConsenter {
    fn order(&self, submission: Submission) -> BoxFuture<'_, Result<(), Unavailable>> {
        let counter = if submission.is_config {
            &self.node.metrics.config_proposals
        } else {
            &self.node.metrics.normal_proposals
        };
        counter.with(&[self.channel.id()]).inc();
        Box::pin(async move {
            let placed = self.place(submission).await;
            if placed.is_err() {
                self.node.metrics.proposal_failures.with(&[self.channel.id()]).inc();
            }
            placed
        })
    }

    fn errored(&self) -> watch::Receiver<bool> {
        self.shared.errored.subscribe()
    }

    fn report(&self) -> (Relation, Activity) {
        *self.shared.state.lock()
    }

    fn check_metadata(&self, now: &Bundle, next: &Bundle) -> Result<(), String> {
        let members = self.shared.members.lock().clone();
        let active = self.shared.active.lock().clone();
        settings::check_update(now, next, &members, &active)
    }

    fn halt(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let _stopped_already = self.commands.send(Command::Halt).await;
            let thread = self.thread.lock().take();
            if let Some(thread) = thread {
                let _panicked = tokio::task::spawn_blocking(move || thread.join()).await;
            }
            self.node.cluster.forget(self.channel.id());
            self.shared.state.lock().1 = Activity::Inactive;
        })
    }
}

/// Whether the certificate belongs to a consenter of this configuration block.
pub(crate) fn is_member(block: &Block, certificate: &[u8]) -> Result<bool, ChannelError> {
    let settings = metadata_of(&Bundle::from_config_block(block)?)?;
    let numbered = settings.consenters.iter().cloned().zip(1..).map(|(c, i)| (i, c)).collect();
    Ok(own_id(&numbered, certificate).is_some())
}
