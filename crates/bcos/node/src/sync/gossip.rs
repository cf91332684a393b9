//! Transactions between pools, and answers to what other nodes ask for.
//!
//! The node a client talks to pushes the transaction to all connected nodes of the group; whoever learnt of it that way
//! announces its hash a little later, so that nodes without a direct connection ask for it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::B256;
use alloy_primitives::map::B256Map;
use bcos_consensus::NodeId;
use bcos_types::{Transaction, VerifiedTx};
use bytes::Bytes;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{Semaphore, broadcast, mpsc};

use super::Hint;
use crate::host::{Event, Ledger};
use crate::network::{Message, Network};
use crate::pool::Pool;

/// Transactions in one push.
const PUSH: usize = 1000;
/// Bytes of transactions or blocks in one answer.
const ANSWER: usize = 8 << 20;
/// How long transactions are gathered for one push.
const GATHER: Duration = Duration::from_millis(5);
/// How long announcements are gathered, and how long an announced transaction may take to come by itself.
const RELAY: Duration = Duration::from_millis(200);
/// Announced transactions that may be unknown at once.
const MAX_UNKNOWN: usize = 100_000;
/// Lists of transactions verified at once.
const VERIFIERS: usize = 4;

/// Requests for blocks answered at once.
const READERS: usize = 4;

/// What the task is made of.
#[derive(Debug)]
pub(crate) struct GossipParts {
    pub group: Arc<str>,
    pub place: usize,
    pub network: Network,
    pub pool: Pool,
    pub ledger: Arc<Ledger>,
    pub messages: mpsc::Receiver<(NodeId, Message)>,
    pub events: mpsc::UnboundedSender<Event>,
    pub hints: mpsc::UnboundedSender<Hint>,
    /// Transactions of nodes outside the group are taken.
    pub from_free_nodes: bool,
    /// Nodes outside the group get blocks.
    pub blocks_to_free_nodes: bool,
}

/// The task of one group.
#[derive(Debug)]
pub(crate) struct Gossip {
    parts: Arc<GossipParts>,
    verifiers: Arc<Semaphore>,
    readers: Arc<Semaphore>,
    relay: mpsc::UnboundedSender<B256>,
}

impl Gossip {
    /// Runs until the network or the pool is gone.
    pub(crate) async fn run(mut parts: GossipParts) {
        let (_, closed) = mpsc::channel(1);
        let mut messages = std::mem::replace(&mut parts.messages, closed);
        let mut local = parts.pool.subscribe_local();
        let mut changes = parts.network.changes();
        let (relay, mut relayed) = mpsc::unbounded_channel();
        let gossip = Self {
            parts: Arc::new(parts),
            verifiers: Arc::new(Semaphore::new(VERIFIERS)),
            readers: Arc::new(Semaphore::new(READERS)),
            relay,
        };
        let mut unknown: B256Map<NodeId> = B256Map::default();
        let mut peers: HashSet<NodeId> = HashSet::new();
        let mut tick = tokio::time::interval(RELAY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                message = messages.recv() => {
                    let Some((from, message)) = message else { return };
                    gossip.message(from, message, &mut unknown).await;
                }
                transaction = local.recv() => match transaction {
                    Ok(first) => {
                        // A moment later there are more, and one message carries them all.
                        tokio::time::sleep(GATHER).await;
                        gossip.push(first, &mut local);
                    }
                    Err(RecvError::Lagged(_)) => gossip.announce_all(None),
                    Err(RecvError::Closed) => return,
                },
                changed = changes.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let now: HashSet<NodeId> = gossip.parts.network.peers(gossip.parts.place).into_iter().collect();
                    for node in now.difference(&peers) {
                        gossip.announce_all(Some(node));
                    }
                    peers = now;
                }
                _ = tick.tick() => {
                    let mut hashes = Vec::new();
                    while let Ok(hash) = relayed.try_recv() {
                        hashes.push(hash);
                    }
                    // What is in a block by now needs no announcing, and would be looked up in every ledger.
                    gossip.parts.pool.retain_waiting(&mut hashes);
                    if !hashes.is_empty() {
                        gossip.parts.network.broadcast(gossip.parts.place, &Message::Have(hashes), None);
                    }
                    gossip.want(&mut unknown);
                }
            }
        }
    }

    /// Everything clients handed in since the last time, to everybody.
    fn push(&self, first: VerifiedTx, local: &mut broadcast::Receiver<VerifiedTx>) {
        if self.parts.network.peers(self.parts.place).is_empty() {
            // Whoever connects gets a list of everything that waits.
            *local = local.resubscribe();
            return;
        }
        let mut next = Some(first);
        while next.is_some() {
            let mut items = Vec::new();
            let mut size = 0;
            while let Some(transaction) = next.take() {
                size += transaction.raw.len();
                items.push(transaction.raw.0.clone());
                if items.len() >= PUSH || size >= ANSWER {
                    break;
                }
                next = match local.try_recv() {
                    Ok(transaction) => Some(transaction),
                    Err(TryRecvError::Lagged(_)) => {
                        self.announce_all(None);
                        None
                    }
                    Err(_) => None,
                };
            }
            self.parts.network.broadcast(self.parts.place, &Message::Push(items), None);
            if next.is_none() {
                next = local.try_recv().ok();
            }
        }
    }

    /// Tells one node (or all) what waits here.
    fn announce_all(&self, to: Option<&NodeId>) {
        let hashes: Vec<B256> =
            self.parts.pool.snapshot(MAX_UNKNOWN).iter().map(|transaction| transaction.hash).collect();
        if hashes.is_empty() {
            return;
        }
        let message = Message::Have(hashes);
        match to {
            Some(node) => {
                self.parts.network.send(self.parts.place, node, &message);
            }
            None => {
                self.parts.network.broadcast(self.parts.place, &message, None);
            }
        }
    }

    async fn message(&self, from: NodeId, message: Message, unknown: &mut B256Map<NodeId>) {
        match message {
            Message::Push(items) => {
                if !self.parts.from_free_nodes && !self.parts.ledger.is_member(&from) {
                    tracing::debug!(group = %self.parts.group, node = %from, "transactions of a node outside the group are not taken");
                    return;
                }
                // Waiting here lets the queue fill and the network drop: the proposals will ask for what is missing.
                let Ok(permit) = Arc::clone(&self.verifiers).acquire_owned().await else { return };
                let (parts, relay) = (Arc::clone(&self.parts), self.relay.clone());
                tokio::spawn(async move {
                    let _permit = permit;
                    let (transactions, broken) = decode(items);
                    let admitted = parts.pool.admit(transactions).await;
                    if admitted.invalid + broken > 0 {
                        let count = admitted.invalid + broken;
                        tracing::warn!(group = %parts.group, node = %from, "the node pushed {count} invalid transactions");
                    }
                    if !admitted.fresh.is_empty() {
                        for transaction in &admitted.fresh {
                            let _stopped = relay.send(transaction.hash);
                        }
                        let _stopped = parts.events.send(Event::Transactions);
                    }
                });
            }
            Message::Have(hashes) => {
                for hash in self.parts.pool.missing(&hashes) {
                    if unknown.len() >= MAX_UNKNOWN {
                        break;
                    }
                    unknown.entry(hash).or_insert_with(|| from.clone());
                }
            }
            Message::WantTransactions { id, hashes } => {
                let mut items = Vec::new();
                let mut size = 0;
                for transaction in self.parts.pool.get_many(&hashes) {
                    size += transaction.raw.len();
                    if size > ANSWER && !items.is_empty() {
                        break;
                    }
                    items.push(transaction.raw.0.clone());
                }
                let answer = Message::Transactions { id, items };
                self.parts.network.send(self.parts.place, &from, &answer);
            }
            Message::Transactions { items, .. } => {
                let parts = Arc::clone(&self.parts);
                tokio::spawn(async move {
                    let (transactions, _) = decode(items);
                    // What cannot be used wakes nobody.
                    if parts.pool.admit_proposed(transactions).await {
                        let _stopped = parts.events.send(Event::Transactions);
                    }
                });
            }
            Message::WantBlocks { id, from: first, count } => {
                if !self.parts.blocks_to_free_nodes && !self.parts.ledger.is_member(&from) {
                    tracing::debug!(group = %self.parts.group, node = %from, "a node outside the group gets no blocks");
                    let nothing = Message::Blocks { id, items: Vec::new() };
                    self.parts.network.send(self.parts.place, &from, &nothing);
                    return;
                }
                // A flood of requests gets no more than this; who is refused asks another node.
                let Ok(permit) = Arc::clone(&self.readers).try_acquire_owned() else {
                    self.parts.network.send(self.parts.place, &from, &Message::Blocks { id, items: Vec::new() });
                    return;
                };
                let parts = Arc::clone(&self.parts);
                tokio::spawn(async move {
                    let _permit = permit;
                    let ledger = Arc::clone(&parts.ledger);
                    let read = tokio::task::spawn_blocking(move || ledger.encoded_blocks(first, count, ANSWER)).await;
                    let items = match read {
                        Ok(Ok(items)) => items,
                        Ok(Err(error)) => {
                            tracing::error!(group = %parts.group, "blocks from {first} on cannot be read: {error}");
                            Vec::new()
                        }
                        Err(_) => Vec::new(),
                    };
                    parts.network.send(parts.place, &from, &Message::Blocks { id, items });
                });
            }
            Message::Blocks { id, items } => {
                let _stopped = self.parts.hints.send(Hint::Blocks { from, id, items });
            }
            // Not for this task, whatever a partner sends.
            _ => {}
        }
    }

    /// Asks for what was announced and did not come by itself.
    fn want(&self, unknown: &mut B256Map<NodeId>) {
        if unknown.is_empty() {
            return;
        }
        let mut by_node: HashMap<NodeId, Vec<B256>> = HashMap::new();
        let hashes: Vec<B256> = unknown.keys().copied().collect();
        for hash in self.parts.pool.missing(&hashes) {
            if let Some(node) = unknown.get(&hash)
                && !self.parts.ledger.is_committed(&hash)
            {
                by_node.entry(node.clone()).or_default().push(hash);
            }
        }
        unknown.clear();
        for (node, hashes) in by_node {
            self.parts.network.send(self.parts.place, &node, &Message::WantTransactions { id: 1, hashes });
        }
    }
}

/// The second value counts what cannot be read.
fn decode(items: Vec<Bytes>) -> (Vec<Transaction>, usize) {
    let count = items.len();
    let decoded: Vec<Transaction> = items.iter().filter_map(|item| Transaction::decode(item).ok()).collect();
    let broken = count - decoded.len();
    (decoded, broken)
}
