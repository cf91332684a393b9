//! Handing transactions to orderers over streams that stay open.
//!
//! Opening a stream for every transaction, as the original does, costs both sides more than the transaction itself. A lane keeps one
//! stream to an orderer; answers come in the order of the requests. An orderer ends the stream with its first refusal, without having
//! looked at what was sent after it: that is sent again on a new stream.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use fabric_proto::common::{Envelope, Status as Code};
use fabric_proto::orderer::BroadcastResponse;
use fabric_proto::orderer::atomic_broadcast_client::AtomicBroadcastClient;
use konsort_node::MAX_MESSAGE_SIZE;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;

use super::errors::go_text;
use crate::connections::{Connections, Endpoint};

/// Transactions that may wait in one lane.
const WAITING: usize = 1024;
/// Streams in a row that may end without a single answer before what waits is given up.
const ATTEMPTS: u32 = 3;

type Answer = Result<BroadcastResponse, String>;

struct Job {
    envelope: Envelope,
    answer: oneshot::Sender<Answer>,
}

/// All lanes of a peer.
pub(super) struct Broadcasts {
    connections: Connections,
    lanes: Mutex<HashMap<Endpoint, mpsc::Sender<Job>>>,
    silent: Mutex<HashMap<Endpoint, Instant>>,
}

/// How long an orderer that did not answer, or could not, is asked last.
const SILENT: Duration = Duration::from_secs(10);

impl Broadcasts {
    pub(super) fn new(connections: Connections) -> Self {
        Self { connections, lanes: Mutex::default(), silent: Mutex::default() }
    }

    /// The name of an orderer in errors.
    pub(super) fn label(&self, endpoint: &Endpoint) -> String {
        self.connections.orderer_label(&endpoint.address)
    }

    /// Notes that an orderer did not answer in time, or could not do what it was asked.
    pub(super) fn note_silence(&self, endpoint: &Endpoint) {
        self.silent.lock().insert(endpoint.clone(), Instant::now());
    }

    /// The same orderers, those that were silent a short while ago at the end.
    pub(super) fn silent_last(&self, endpoints: &[Endpoint]) -> Vec<Endpoint> {
        let mut silent = self.silent.lock();
        silent.retain(|_, since| since.elapsed() < SILENT);
        let (last, first): (Vec<_>, Vec<_>) =
            endpoints.iter().cloned().partition(|endpoint| silent.contains_key(endpoint));
        first.into_iter().chain(last).collect()
    }

    /// Hands over a transaction and waits for the answer.
    pub(super) async fn send(&self, endpoint: &Endpoint, envelope: Envelope) -> Answer {
        let (answer, receiver) = oneshot::channel();
        let mut job = Job { envelope, answer };
        // A lane ends when its connection fails; then the next transaction opens it anew.
        for _ in 0..2 {
            match self.lane(endpoint).send(job).await {
                Ok(()) => {
                    return receiver.await.unwrap_or_else(|_| Err("the connection to the orderer broke".to_owned()));
                }
                Err(mpsc::error::SendError(returned)) => {
                    job = returned;
                    self.lanes.lock().retain(|_, lane| !lane.is_closed());
                }
            }
        }
        Err("the connection to the orderer broke".to_owned())
    }

    fn lane(&self, endpoint: &Endpoint) -> mpsc::Sender<Job> {
        let mut lanes = self.lanes.lock();
        if let Some(lane) = lanes.get(endpoint).filter(|lane| !lane.is_closed()) {
            return lane.clone();
        }
        let (sender, receiver) = mpsc::channel(WAITING);
        lanes.insert(endpoint.clone(), sender.clone());
        tokio::spawn(run(self.connections.clone(), endpoint.clone(), receiver));
        sender
    }
}

/// How a stream ended.
enum Ended {
    /// After a refusal or by a stop of the orderer; what was not answered may be sent again.
    Cleanly,
    /// With an error for all that was not answered.
    Broken(String),
    /// Nobody needs the lane any more.
    Idle,
}

async fn run(connections: Connections, endpoint: Endpoint, mut jobs: mpsc::Receiver<Job>) {
    let mut again: VecDeque<Job> = VecDeque::new();
    let mut fruitless = 0;
    loop {
        let mut pending = VecDeque::new();
        let mut answers = 0;
        let ended = stream(&connections, &endpoint, &mut jobs, &mut again, &mut pending, &mut answers).await;
        fruitless = if answers > 0 { 0 } else { fruitless + 1 };
        let unanswered: VecDeque<Job> = pending.into_iter().chain(again.drain(..)).collect();
        match ended {
            Ended::Idle => return,
            Ended::Broken(reason) => {
                jobs.close();
                let rest = std::iter::from_fn(|| jobs.try_recv().ok());
                for job in unanswered.into_iter().chain(rest) {
                    // Whoever gave up meanwhile needs no answer.
                    let _ = job.answer.send(Err(reason.clone()));
                }
                return;
            }
            // Every refusal is an answer, so a stream that ends by one has brought its sender's matter to an end.
            Ended::Cleanly if fruitless < ATTEMPTS => again = unanswered,
            Ended::Cleanly => {
                fruitless = 0;
                for job in unanswered {
                    let _ = job.answer.send(Err("EOF".to_owned()));
                }
            }
        }
    }
}

/// Runs one stream. `again` is sent first; `pending` holds what was sent and not answered when it ends.
async fn stream(
    connections: &Connections,
    endpoint: &Endpoint,
    jobs: &mut mpsc::Receiver<Job>,
    again: &mut VecDeque<Job>,
    pending: &mut VecDeque<Job>,
    answered: &mut u64,
) -> Ended {
    let first = match again.pop_front() {
        Some(job) => job,
        None => match jobs.recv().await {
            Some(job) => job,
            None => return Ended::Idle,
        },
    };
    let (sender, receiver) = mpsc::channel::<Envelope>(WAITING);
    let envelope = first.envelope.clone();
    pending.push_back(first);
    let transport = match connections.orderer(endpoint) {
        Ok(transport) => transport,
        Err(error) => return Ended::Broken(error.to_string()),
    };
    let mut client = AtomicBroadcastClient::new(transport)
        .max_decoding_message_size(MAX_MESSAGE_SIZE)
        .max_encoding_message_size(MAX_MESSAGE_SIZE);
    // The buffer has room: this is its first entry.
    let _ = sender.try_send(envelope);
    let mut answers = match client.broadcast(ReceiverStream::new(receiver)).await {
        Ok(response) => response.into_inner(),
        Err(status) => return Ended::Broken(go_text(&status)),
    };
    while let Some(job) = again.pop_front() {
        let envelope = job.envelope.clone();
        pending.push_back(job);
        if sender.send(envelope).await.is_err() {
            return Ended::Cleanly;
        }
    }
    let mut open = true;
    loop {
        tokio::select! {
            biased;
            answer = answers.message() => match answer {
                Ok(Some(answer)) => {
                    *answered += 1;
                    let refused = answer.status != Code::Success as i32;
                    if let Some(job) = pending.pop_front() {
                        let _ = job.answer.send(Ok(answer));
                    }
                    if refused {
                        return Ended::Cleanly;
                    }
                }
                Ok(None) => return Ended::Cleanly,
                Err(status) => return Ended::Broken(go_text(&status)),
            },
            job = jobs.recv(), if open && pending.len() < WAITING => match job {
                Some(job) => {
                    let envelope = job.envelope.clone();
                    pending.push_back(job);
                    if sender.send(envelope).await.is_err() {
                        return Ended::Cleanly;
                    }
                }
                None => open = false,
            },
        }
        if !open && pending.is_empty() {
            return Ended::Idle;
        }
    }
}

impl std::fmt::Debug for Broadcasts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broadcasts").field("lanes", &self.lanes.lock().len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
