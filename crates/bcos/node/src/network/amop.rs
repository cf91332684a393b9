//! AMOP across nodes: who listens where, and requests under way.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bcos_consensus::NodeId;
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{mpsc, oneshot};

use super::{Message, Network};
use crate::sdk::amop::{Amop, AmopNetwork, Answer, NO_CLIENT, TIMED_OUT};

/// Topics one node may announce.
const MOST_TOPICS: usize = 65_536;
/// How long another node may take, its listener included.
const PATIENCE: Duration = Duration::from_secs(35);

/// The other nodes for AMOP.
#[derive(Debug)]
pub(crate) struct AmopLink {
    network: Network,
    amop: Arc<Amop>,
    own: Mutex<Vec<Bytes>>,
    topics: RwLock<HashMap<NodeId, HashSet<Bytes>>>,
    waiting: Mutex<HashMap<u64, (NodeId, oneshot::Sender<Answer>)>>,
    next: AtomicU64,
}

impl AmopLink {
    pub(crate) fn new(network: Network, amop: Arc<Amop>) -> Arc<Self> {
        Arc::new(Self {
            network,
            amop,
            own: Mutex::default(),
            topics: RwLock::default(),
            waiting: Mutex::default(),
            next: AtomicU64::new(0),
        })
    }

    /// Handles what other nodes send until the network is gone.
    pub(crate) async fn run(self: Arc<Self>, mut messages: mpsc::Receiver<(NodeId, Message)>) {
        let mut changes = self.network.changes();
        let mut known: HashMap<NodeId, u64> = HashMap::new();
        loop {
            tokio::select! {
                message = messages.recv() => {
                    let Some((from, message)) = message else { return };
                    self.message(from, message);
                    continue;
                }
                changed = changes.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
            }
            let now = self.network.all();
            // What was announced over a connection that another one has replaced since is lost, so connections count, not nodes; that
            // there is nothing any more is news, too.
            for (node, _) in now.iter().filter(|(node, serial)| known.get(*node) != Some(serial)) {
                self.network.send_plain(node, &Message::Topics(self.own.lock().clone()));
            }
            self.topics.write().retain(|node, _| now.contains_key(node));
            // Answers of nodes that are gone will never come; the publisher need not wait for the time-out.
            self.waiting.lock().retain(|_, (node, _)| now.contains_key(node));
            known = now;
        }
    }

    fn message(self: &Arc<Self>, from: NodeId, message: Message) {
        match message {
            Message::Topics(topics) if topics.len() <= MOST_TOPICS => {
                self.topics.write().insert(from, topics.into_iter().collect());
            }
            Message::AmopBroadcast(payload) => self.amop.broadcast_here(&payload.into()),
            Message::AmopRequest { id, payload } => {
                let link = Arc::clone(self);
                tokio::spawn(async move {
                    let (status, payload) = match link.amop.take_request(&payload.into()).await {
                        Ok(data) => (0, data.0),
                        Err((status, text)) => (status, text.into()),
                    };
                    link.network.send_plain(&from, &Message::AmopAnswer { id, status, payload });
                });
            }
            Message::AmopAnswer { id, status, payload } => {
                let mut waiting = self.waiting.lock();
                if waiting.get(&id).is_none_or(|(asked, _)| *asked != from) {
                    return;
                }
                if let Some((_, answer)) = waiting.remove(&id) {
                    let outcome = if status == 0 {
                        Ok(payload.into())
                    } else {
                        Err((status, String::from_utf8_lossy(&payload).into_owned()))
                    };
                    // Whoever asked may have gone.
                    let _gone = answer.send(outcome);
                }
            }
            _ => {}
        }
    }

    fn listeners(&self, topic: &str) -> Vec<NodeId> {
        let topics = self.topics.read();
        topics.iter().filter(|(_, topics)| topics.contains(topic.as_bytes())).map(|(node, _)| node.clone()).collect()
    }
}

impl AmopNetwork for AmopLink {
    fn topics_changed(&self, topics: Vec<String>) {
        let topics: Vec<Bytes> = topics.into_iter().map(Bytes::from).collect();
        self.own.lock().clone_from(&topics);
        let message = Message::Topics(topics);
        for node in self.network.all().into_keys() {
            self.network.send_plain(&node, &message);
        }
    }

    fn request(
        &self,
        topic: &str,
        payload: alloy_primitives::Bytes,
    ) -> Option<Pin<Box<dyn Future<Output = Answer> + Send>>> {
        let nodes = self.listeners(topic);
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let node = nodes.get(id as usize % nodes.len().max(1))?.clone();
        let (sender, receiver) = oneshot::channel();
        self.waiting.lock().insert(id, (node.clone(), sender));
        if !self.network.send_plain(&node, &Message::AmopRequest { id, payload: payload.0 }) {
            self.waiting.lock().remove(&id);
            return None;
        }
        Some(Box::pin(async move {
            match tokio::time::timeout(PATIENCE, receiver).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => Err((NO_CLIENT, "the node of the subscriber is gone".to_owned())),
                Err(_) => Err((TIMED_OUT, "the node of the subscriber does not answer".to_owned())),
            }
        }))
    }

    fn broadcast(&self, topic: &str, payload: alloy_primitives::Bytes) {
        let message = Message::AmopBroadcast(payload.0);
        for node in self.listeners(topic) {
            self.network.send_plain(&node, &message);
        }
    }
}
