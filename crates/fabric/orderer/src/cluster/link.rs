//! The connection to one other consenter of one channel.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fabric_proto::etcdraft::Consenter;
use fabric_proto::orderer::cluster_client::ClusterClient;
use fabric_proto::orderer::{ConsensusRequest, StepRequest, SubmitRequest, step_request, step_response};
use konsort_node::Dialed;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

use super::Cluster;
use crate::raft::Command;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Where a consenter is and which key its server must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub address: String,
    key: Option<Bytes>,
}

impl Target {
    pub(crate) fn of(consenter: &Consenter) -> Self {
        Self {
            address: format!("{}:{}", consenter.host, consenter.port),
            key: crate::raft::key_of_pem(&consenter.server_tls_cert),
        }
    }

    /// Whether the server that answered is the one the configuration pins.
    fn accepts(&self, dialed: &Dialed) -> bool {
        let Some(expected) = &self.key else { return false };
        let connection = dialed.connection();
        let found = connection.as_ref().and_then(|c| c.peer_certificate()).and_then(|der| crate::raft::key_of_der(der));
        found.as_ref() == Some(expected)
    }
}

type Answer = oneshot::Sender<Result<(), String>>;

/// Queues towards one consenter; dropping it ends the connection.
#[derive(Debug)]
pub(super) struct Link {
    target: Target,
    consensus: mpsc::Sender<StepRequest>,
    submissions: mpsc::Sender<(SubmitRequest, Answer)>,
    tasks: [AbortHandle; 2],
}

impl Drop for Link {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Link {
    pub(super) fn start(id: u64, channel: &str, target: Target, cluster: &Cluster) -> Self {
        let (consensus, consensus_queue) = mpsc::channel(cluster.0.buffer.max(16));
        let (submissions, submission_queue) = mpsc::channel(cluster.0.buffer.max(16));
        let capacity = cluster.0.metrics.egress_queue_capacity.clone();
        for kind in ["consensus", "transaction"] {
            capacity.with(&[&target.address, kind, channel]).set(cluster.0.buffer as f64);
        }
        let runtime = &cluster.0.runtime;
        let first =
            runtime.spawn(run_consensus(id, channel.to_owned(), target.clone(), cluster.clone(), consensus_queue));
        let second = runtime.spawn(run_submissions(target.clone(), cluster.clone(), submission_queue));
        Self { target, consensus, submissions, tasks: [first.abort_handle(), second.abort_handle()] }
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    pub(super) fn send(&self, request: ConsensusRequest) -> bool {
        self.consensus.try_send(StepRequest { payload: Some(step_request::Payload::ConsensusRequest(request)) }).is_ok()
    }

    pub(super) fn submit(&self, request: SubmitRequest) -> impl Future<Output = Result<(), String>> + Send + use<> {
        let submissions = self.submissions.clone();
        let address = self.target.address.clone();
        async move {
            let (answer, answered) = oneshot::channel();
            let lost = || format!("the connection to {address} was lost");
            submissions.send((request, answer)).await.map_err(|_| lost())?;
            answered.await.map_err(|_| lost())?
        }
    }
}

/// A client whose server was checked against the pinned key.
async fn connect(target: &Target, cluster: &Cluster) -> Result<ClusterClient<tonic::transport::Channel>, String> {
    let dialed =
        konsort_node::dial_checked(&target.address, &cluster.dial_options()).await.map_err(|e| e.to_string())?;
    if !target.accepts(&dialed) {
        return Err(format!(
            "{} does not have the server TLS key that the channel's configuration names",
            target.address
        ));
    }
    let limit = konsort_node::MAX_MESSAGE_SIZE;
    Ok(ClusterClient::new(dialed.channel).max_decoding_message_size(limit).max_encoding_message_size(limit))
}

async fn run_consensus(
    id: u64,
    channel: String,
    target: Target,
    cluster: Cluster,
    mut queue: mpsc::Receiver<StepRequest>,
) {
    let mut pause = FIRST_PAUSE;
    let metrics = cluster.0.metrics.clone();
    let length = metrics.egress_queue_length.with(&[&target.address, "consensus", &channel]);
    loop {
        let client = connect(&target, &cluster).await;
        match client {
            Err(error) => {
                tracing::debug!(channel, node = id, "cannot reach the consenter: {error}");
            }
            Ok(mut client) => {
                pause = FIRST_PAUSE;
                // What waited meanwhile is outdated; Raft sends again what still matters.
                while queue.try_recv().is_ok() {}
                metrics.egress_connections.with(&[]).add(1.0);
                let (sender, receiver) = mpsc::channel(8);
                // The other side may answer the call only with its first message, so both run side by side.
                let mut call = tokio::spawn(async move {
                    let mut answers = client.step(ReceiverStream::new(receiver)).await?.into_inner();
                    while answers.message().await?.is_some() {}
                    Ok::<(), tonic::Status>(())
                });
                let reason = loop {
                    tokio::select! {
                        ended = &mut call => break match ended {
                            Ok(Err(status)) => status.message().to_owned(),
                            _ => "the stream was closed".to_owned(),
                        },
                        request = queue.recv() => {
                            let Some(request) = request else { call.abort(); return };
                            length.set(queue.len() as f64);
                            let began = Instant::now();
                            if sender.send(request).await.is_err() {
                                continue;
                            }
                            metrics.send_time.with(&[&target.address, &channel]).observe_since(began);
                        }
                    }
                };
                metrics.egress_connections.with(&[]).add(-1.0);
                tracing::warn!(channel, node = id, "lost the connection to {}: {reason}", target.address);
            }
        }
        if let Some(consenter) = cluster.consenter(&channel) {
            consenter.notice(Command::Unreachable(id));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn run_submissions(target: Target, cluster: Cluster, mut queue: mpsc::Receiver<(SubmitRequest, Answer)>) {
    while let Some((request, answer)) = queue.recv().await {
        if answer.is_closed() {
            continue;
        }
        let mut first = Some((request, answer));
        let mut client = match connect(&target, &cluster).await {
            Ok(client) => client,
            Err(error) => {
                if let Some((_, answer)) = first.take() {
                    let _gone = answer.send(Err(error));
                }
                continue;
            }
        };
        let (sender, receiver) = mpsc::channel(64);
        let (answers_in, mut answers) = mpsc::channel(64);
        let call = tokio::spawn(async move {
            let mut stream = client.step(ReceiverStream::new(receiver)).await?.into_inner();
            while let Some(response) = stream.next().await {
                if answers_in.send(response?).await.is_err() {
                    break;
                }
            }
            Ok::<(), tonic::Status>(())
        });
        // Answers come in the order of the requests.
        let mut waiting: VecDeque<Answer> = VecDeque::new();
        loop {
            let next = if let Some(next) = first.take() {
                Some(next)
            } else {
                tokio::select! {
                    next = queue.recv() => {
                        if next.is_none() {
                            call.abort();
                            return;
                        }
                        next
                    }
                    response = answers.recv() => {
                        let Some(response) = response else { break };
                        let Some(step_response::Payload::SubmitRes(result)) = response.payload else { continue };
                        if let Some(answer) = waiting.pop_front() {
                            let accepted = result.status == fabric_proto::common::Status::Success as i32;
                            let _gone = answer.send(if accepted { Ok(()) } else { Err(result.info) });
                        }
                        continue;
                    }
                }
            };
            let Some((request, answer)) = next else { break };
            // Who gave up waiting has been told that the message was not taken.
            if answer.is_closed() {
                continue;
            }
            let request = StepRequest { payload: Some(step_request::Payload::SubmitRequest(request)) };
            if sender.send(request).await.is_err() {
                let _gone = answer.send(Err(format!("the connection to {} was lost", target.address)));
                break;
            }
            waiting.push_back(answer);
        }
        call.abort();
    }
}
