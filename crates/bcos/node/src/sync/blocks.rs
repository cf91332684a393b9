//! Fetching blocks that were agreed on without this node.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bcos_consensus::NodeId;
use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use crate::api::{SyncPeer, SyncStatus};
use crate::host::{Event, Imported, Ledger, wall_ms};
use crate::network::{Message, Network, Standing};

/// Blocks asked for at once.
const COUNT: u32 = 256;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// A node that is this little behind, for this short, gets the blocks by agreement.
const GRACE: Duration = Duration::from_millis(400);
/// Further behind than this, agreement will not help.
const FAR: u64 = 8;
/// How often the own standing is told when nothing changes.
const TELL: Duration = Duration::from_secs(2);
/// How long a node is not asked after it sent something wrong.
const SHUN: Duration = Duration::from_secs(30);
/// How long it is not asked after it had nothing to send.
const PAUSE: Duration = Duration::from_secs(1);

/// What the task is told.
#[derive(Debug)]
pub(crate) enum Hint {
    /// Another node's standing.
    Standing(NodeId, Standing),
    /// Agreement is ahead of this node.
    CatchUp { number: u64, from: Vec<NodeId> },
    /// A block was committed here.
    Height(u64),
    /// Blocks arrived.
    Blocks { from: NodeId, id: u64, items: Vec<Bytes> },
    /// What became of blocks handed to the worker.
    Imported(Imported),
    /// A node connected.
    Came(NodeId),
    /// A node is gone.
    Gone(NodeId),
}

/// What the task is made of.
#[derive(Debug)]
pub(crate) struct FetcherParts {
    pub group: Arc<str>,
    pub place: usize,
    pub node_id: String,
    pub network: Network,
    pub ledger: Arc<Ledger>,
    pub hints: mpsc::UnboundedReceiver<Hint>,
    pub events: mpsc::UnboundedSender<Event>,
    pub status: watch::Sender<SyncStatus>,
}

#[derive(Debug)]
enum Doing {
    Nothing,
    /// Waits for blocks.
    Asked {
        id: u64,
        node: NodeId,
        at: Instant,
    },
    /// The worker has them.
    Importing {
        at: Instant,
    },
}

/// The task of one group.
#[derive(Debug)]
pub(crate) struct Fetcher {
    parts: FetcherParts,
    standings: HashMap<NodeId, Standing>,
    /// Until when nodes are not asked.
    shunned: HashMap<NodeId, Instant>,
    height: u64,
    /// When the height last changed, or was last seen to be the highest.
    progress: Instant,
    /// Agreement said that blocks up to here are final.
    urgent: u64,
    doing: Doing,
    requests: u64,
    told: Instant,
}

impl Fetcher {
    pub(crate) fn new(parts: FetcherParts) -> Self {
        let height = parts.ledger.height();
        let now = Instant::now();
        Self {
            parts,
            standings: HashMap::new(),
            shunned: HashMap::new(),
            height,
            progress: now,
            urgent: 0,
            doing: Doing::Nothing,
            requests: 0,
            told: now,
        }
    }

    /// Runs until the worker is gone.
    pub(crate) async fn run(mut self) {
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                hint = self.parts.hints.recv() => {
                    let Some(hint) = hint else { return };
                    self.hint(hint);
                    while let Ok(hint) = self.parts.hints.try_recv() {
                        self.hint(hint);
                    }
                }
                _ = tick.tick() => {}
            }
            self.act();
            self.show();
        }
    }

    fn hint(&mut self, hint: Hint) {
        match hint {
            Hint::Standing(node, standing) => {
                let ours = self.parts.ledger.genesis_hash();
                // It is kept, so that it is warned of once and shown; it is never asked.
                if standing.genesis != ours && !self.standings.contains_key(&node) {
                    tracing::warn!(
                        group = %self.parts.group,
                        %node,
                        "the node has another genesis block ({}) than this one ({ours}): compare both config.genesis files",
                        standing.genesis
                    );
                }
                self.standings.insert(node, standing);
            }
            Hint::CatchUp { number, from } => {
                self.urgent = self.urgent.max(number);
                for node in from {
                    // It is known to have them, whatever it told last.
                    if let Some(standing) = self.standings.get_mut(&node) {
                        standing.number = standing.number.max(number);
                    }
                }
            }
            Hint::Height(number) => {
                if number > self.height {
                    self.height = number;
                    self.progress = Instant::now();
                }
                // The others see by it whether they missed something.
                self.tell(None);
            }
            Hint::Blocks { from, id, items } => {
                let expected =
                    matches!(&self.doing, Doing::Asked { id: asked, node, .. } if *asked == id && *node == from);
                if !expected {
                    return;
                }
                if items.is_empty() {
                    self.shunned.insert(from, Instant::now() + PAUSE);
                    self.doing = Doing::Nothing;
                } else {
                    self.doing = Doing::Importing { at: Instant::now() };
                    let _stopped = self.parts.events.send(Event::Import { blocks: items, from });
                }
            }
            Hint::Imported(imported) => {
                if imported.outcome.is_err() {
                    self.shunned.insert(imported.from, Instant::now() + SHUN);
                } else if imported.reached > 0 {
                    // Handed to the commit thread: what follows can be asked for already.
                    self.height = self.height.max(imported.reached);
                    self.progress = Instant::now();
                }
                self.doing = Doing::Nothing;
            }
            Hint::Came(node) => self.tell(Some(&node)),
            Hint::Gone(node) => {
                self.standings.remove(&node);
                if matches!(&self.doing, Doing::Asked { node: asked, .. } if *asked == node) {
                    self.doing = Doing::Nothing;
                }
            }
        }
    }

    fn own(&self) -> Standing {
        let ledger = &self.parts.ledger;
        let (number, hash) = ledger.head();
        Standing { genesis: ledger.genesis_hash(), number, hash, archived: 0, time_ms: wall_ms() }
    }

    fn tell(&mut self, to: Option<&NodeId>) {
        let message = Message::Standing(self.own());
        if let Some(node) = to {
            self.parts.network.send(self.parts.place, node, &message);
        } else {
            self.told = Instant::now();
            self.parts.network.broadcast(self.parts.place, &message, None);
        }
    }

    fn usable(&self, node: &NodeId, standing: &Standing) -> bool {
        standing.number > self.height
            && standing.genesis == self.parts.ledger.genesis_hash()
            && self.shunned.get(node).is_none_or(|until| Instant::now() > *until)
    }

    fn act(&mut self) {
        if self.told.elapsed() >= TELL {
            self.tell(None);
        }
        match &self.doing {
            Doing::Asked { node, at, .. } if at.elapsed() > PATIENCE => {
                tracing::debug!(group = %self.parts.group, %node, "no blocks came in time, another node is asked");
                self.shunned.insert(node.clone(), Instant::now() + PAUSE);
                self.doing = Doing::Nothing;
            }
            // The worker always answers; this is only a net against a lost answer.
            Doing::Importing { at } if at.elapsed() > PATIENCE * 60 => self.doing = Doing::Nothing,
            Doing::Nothing => {}
            _ => return,
        }
        let genesis = self.parts.ledger.genesis_hash();
        let same = self.standings.values().filter(|standing| standing.genesis == genesis);
        let highest = same.map(|standing| standing.number).max().unwrap_or(0);
        if highest <= self.height {
            self.progress = Instant::now();
            return;
        }
        let wanted = self.urgent > self.height || highest >= self.height + FAR || self.progress.elapsed() > GRACE;
        if !wanted {
            return;
        }
        let mut candidates: Vec<&NodeId> = self
            .standings
            .iter()
            .filter(|(node, standing)| self.usable(node, standing))
            .map(|(node, _)| node)
            .collect();
        if candidates.is_empty() {
            return;
        }
        candidates.sort();
        self.requests += 1;
        let node = candidates[self.requests as usize % candidates.len()].clone();
        let message = Message::WantBlocks { id: self.requests, from: self.height + 1, count: COUNT };
        if self.parts.network.send(self.parts.place, &node, &message) {
            tracing::debug!(group = %self.parts.group, %node, "asking for blocks from {} on", self.height + 1);
            self.doing = Doing::Asked { id: self.requests, node, at: Instant::now() };
        }
    }

    fn show(&self) {
        let own = self.own();
        let best = self.standings.values().filter(|s| s.genesis == own.genesis).max_by_key(|s| s.number);
        let (known_number, known_hash) = best
            .filter(|best| best.number > own.number)
            .map_or((own.number, own.hash), |best| (best.number, best.hash));
        let mut peers: Vec<SyncPeer> = self
            .standings
            .iter()
            .map(|(node, standing)| SyncPeer {
                node_id: node.to_hex(),
                genesis_hash: hex::encode(standing.genesis),
                block_number: standing.number,
                latest_hash: hex::encode(standing.hash),
                archived_block_number: standing.archived,
            })
            .collect();
        peers.sort_by(|a, b| a.node_id.cmp(&b.node_id));
        let status = SyncStatus {
            syncing: !matches!(self.doing, Doing::Nothing),
            genesis_hash: hex::encode(own.genesis),
            node_id: self.parts.node_id.clone(),
            block_number: own.number,
            archived_block_number: 0,
            latest_hash: hex::encode(own.hash),
            known_highest_number: known_number,
            known_latest_hash: hex::encode(known_hash),
            peers,
        };
        self.parts.status.send_if_modified(|shown| {
            let changed = *shown != status;
            if changed {
                *shown = status;
            }
            changed
        });
    }
}
