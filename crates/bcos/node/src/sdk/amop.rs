//! AMOP: messages between SDKs by topic, with the node in the middle.
//!
//! The node keeps who listens to what and which forwarded request waits for an answer; it never reads the data.

use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use alloy_primitives::Bytes;
use bcos_types::frame::{AmopMessage, Frame, kind};
use parking_lot::Mutex;
use rand::seq::IndexedRandom as _;
use tokio::sync::oneshot;

use crate::rpc::edge::{Session, Work};

/// Nobody listens to the topic.
pub(crate) const NO_CLIENT: i16 = 3002;
/// The words upstream sends with it.
const NO_CLIENT_TEXT: &str = "NotFoundClientByTopicDispatchMsg";
/// The payload is no AMOP message.
const UNREADABLE: i16 = -32_602;
/// The subscriber did not answer in time.
pub(crate) const TIMED_OUT: i16 = -4008;
/// How long a subscriber may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Topics of one session.
const MOST_TOPICS: usize = 1_024;
/// Bytes of one topic's name.
const LONGEST_TOPIC: usize = 1_024;
/// Requests that wait for an answer, over all sessions.
const MOST_WAITING: usize = 65_536;

/// An answer on its way back to the publisher: status and raw data.
pub(crate) type Answer = Result<Bytes, (i16, String)>;

/// The other nodes, as far as AMOP needs them.
pub(crate) trait AmopNetwork: Send + Sync + std::fmt::Debug {
    /// Local subscriptions changed.
    fn topics_changed(&self, topics: Vec<String>);
    /// Sends the request to one node with a subscriber; `None` when there is none.
    fn request(&self, topic: &str, payload: Bytes) -> Option<Pin<Box<dyn Future<Output = Answer> + Send>>>;
    /// Sends the message to every node with subscribers.
    fn broadcast(&self, topic: &str, payload: Bytes);
}

/// Topics, their local listeners and the requests under way.
#[derive(Debug, Default)]
pub(crate) struct Amop {
    state: Mutex<State>,
    next: AtomicU64,
    network: Mutex<Option<Arc<dyn AmopNetwork>>>,
}

#[derive(Debug, Default)]
struct State {
    listeners: HashMap<String, Vec<Arc<Session>>>,
    topics: HashMap<u64, BTreeSet<String>>,
    waiting: HashMap<Bytes, (u64, oneshot::Sender<Answer>)>,
}

impl Amop {
    /// From now on other nodes take part.
    pub(crate) fn join(&self, network: Arc<dyn AmopNetwork>) {
        network.topics_changed(self.topics());
        *self.network.lock() = Some(network);
    }

    /// The topics somebody here listens to.
    pub(crate) fn topics(&self) -> Vec<String> {
        let mut topics: Vec<String> = self.state.lock().listeners.keys().cloned().collect();
        topics.sort_unstable();
        topics
    }

    /// A session's whole new list of topics.
    pub(crate) fn subscribe(&self, session: &Arc<Session>, payload: &[u8]) {
        let Some(topics) = parse_topics(payload) else {
            tracing::debug!("amop: session {} sent a list of topics that cannot be read", session.id());
            return;
        };
        {
            let mut state = self.state.lock();
            state.forget(session.id());
            for topic in &topics {
                state.listeners.entry(topic.clone()).or_default().push(Arc::clone(session));
            }
            state.topics.insert(session.id(), topics);
        }
        self.tell();
    }

    /// A session ended.
    pub(crate) fn closed(&self, session: u64) {
        let had_topics = {
            let mut state = self.state.lock();
            state.waiting.retain(|_, (asked, _)| *asked != session);
            let had_topics = state.topics.contains_key(&session);
            state.forget(session);
            had_topics
        };
        if had_topics {
            self.tell();
        }
    }

    fn tell(&self) {
        let network = self.network.lock().clone();
        if let Some(network) = network {
            network.topics_changed(self.topics());
        }
    }

    /// A publisher's request: forwarded to one subscriber, here if there is one, and the answer brought back.
    pub(crate) fn request(self: &Arc<Self>, session: &Arc<Session>, frame: Frame) -> Work {
        let amop = Arc::clone(self);
        let session = Arc::clone(session);
        Box::pin(async move {
            let answer = match AmopMessage::decode(&frame.payload) {
                Ok(message) => amop.deliver(&message.topic, &frame.payload, true).await,
                Err(error) => Err((UNREADABLE, error.to_string())),
            };
            let reply = match answer {
                Ok(data) => Frame { kind: kind::AMOP_RESPONSE, status: 0, payload: data, ..frame },
                Err((status, text)) => Frame { kind: kind::NONE, status, payload: text.into_bytes().into(), ..frame },
            };
            session.send_binary(reply.encode());
        })
    }

    /// A request that came through another node; only listeners here are asked.
    pub(crate) async fn take_request(&self, payload: &Bytes) -> Answer {
        match AmopMessage::decode(payload) {
            Ok(message) => self.deliver(&message.topic, payload, false).await,
            Err(error) => Err((UNREADABLE, error.to_string())),
        }
    }

    async fn deliver(&self, topic: &str, payload: &Bytes, abroad: bool) -> Answer {
        let Some((seq, answer)) = self.forward(topic, payload) else {
            let network = self.network.lock().clone().filter(|_| abroad);
            let remote = network.and_then(|network| network.request(topic, payload.clone()));
            return match remote {
                Some(remote) => remote.await,
                None => Err((NO_CLIENT, NO_CLIENT_TEXT.to_owned())),
            };
        };
        let answer = tokio::time::timeout(PATIENCE, answer).await;
        self.state.lock().waiting.remove(&seq);
        match answer {
            Ok(Ok(answer)) => answer,
            // The subscriber is gone.
            Ok(Err(_)) => Err((NO_CLIENT, NO_CLIENT_TEXT.to_owned())),
            Err(_) => Err((TIMED_OUT, format!("no answer on topic {topic} within {} s", PATIENCE.as_secs()))),
        }
    }

    /// Sends the payload to one listener under a number of our own; `None` when nobody here takes it.
    fn forward(&self, topic: &str, payload: &Bytes) -> Option<(Bytes, oneshot::Receiver<Answer>)> {
        let mut state = self.state.lock();
        if state.waiting.len() >= MOST_WAITING {
            return None;
        }
        let open: Vec<&Arc<Session>> =
            state.listeners.get(topic)?.iter().filter(|listener| !listener.is_closed()).collect();
        let chosen = Arc::clone(open.choose(&mut rand::rng())?);
        let seq: Bytes = format!("{:032x}", self.next.fetch_add(1, Ordering::Relaxed)).into_bytes().into();
        let (sender, receiver) = oneshot::channel();
        state.waiting.insert(seq.clone(), (chosen.id(), sender));
        drop(state);
        let frame = Frame { seq: seq.clone(), ..Frame::push(kind::AMOP_REQUEST, payload.clone()) };
        chosen.send_binary(frame.encode());
        Some((seq, receiver))
    }

    /// A subscriber's answer; false when no request of ours waits for it from this connection.
    pub(crate) fn answered(&self, session: u64, frame: Frame) -> bool {
        let mut state = self.state.lock();
        if state.waiting.get(&frame.seq).is_none_or(|(asked, _)| *asked != session) {
            return false;
        }
        let Some((_, sender)) = state.waiting.remove(&frame.seq) else { return false };
        drop(state);
        let answer = if frame.status == 0 {
            Ok(frame.payload)
        } else {
            Err((frame.status, String::from_utf8_lossy(&frame.payload).into_owned()))
        };
        sender.send(answer).is_ok()
    }

    /// A publisher's broadcast, to every listener here and at other nodes.
    pub(crate) fn broadcast(&self, payload: &Bytes) {
        let Ok(message) = AmopMessage::decode(payload) else { return };
        self.broadcast_here(payload);
        let network = self.network.lock().clone();
        if let Some(network) = network {
            network.broadcast(&message.topic, payload.clone());
        }
    }

    /// A broadcast for the listeners here.
    pub(crate) fn broadcast_here(&self, payload: &Bytes) {
        let Ok(message) = AmopMessage::decode(payload) else { return };
        let listeners = self.state.lock().listeners.get(&message.topic).cloned().unwrap_or_default();
        if listeners.is_empty() {
            return;
        }
        let frame: bytes::Bytes = Frame::push(kind::AMOP_BROADCAST, payload.clone()).encode().into();
        for listener in listeners {
            listener.send_binary(frame.clone());
        }
    }
}

impl State {
    fn forget(&mut self, session: u64) {
        for topic in self.topics.remove(&session).unwrap_or_default() {
            if let Some(listeners) = self.listeners.get_mut(&topic) {
                listeners.retain(|listener| listener.id() != session);
                if listeners.is_empty() {
                    self.listeners.remove(&topic);
                }
            }
        }
    }
}

fn parse_topics(payload: &[u8]) -> Option<BTreeSet<String>> {
    let value: serde_json::Value = serde_json::from_slice(payload).ok()?;
    let topics = value.get("topics")?.as_array()?;
    if topics.len() > MOST_TOPICS {
        return None;
    }
    topics.iter().map(|topic| topic.as_str().filter(|topic| topic.len() <= LONGEST_TOPIC).map(str::to_owned)).collect()
}
