//! Putting a node together and taking it apart.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bcos_chain::ChainError;
use bcos_consensus::{Consensus, Keys, NodeId, NodeKeys, Pbft, PbftConfig, Raft, RaftConfig};
use konsort_crypto::{SuiteKey, SuiteKind};
use konsort_node::logging::LogHandle;
use konsort_node::{Health, Metrics, Operations, OperationsOptions, Shutdown, Tasks};
use tokio::sync::{mpsc, watch};

use crate::api::{ConsensusStatus, Group, GroupInner, Node, NodeInner, SyncStatus};
use crate::config::{ConsensusKind, GroupConfig, NodeConfig};
use crate::host::{Drawer, Ledger, Parts, Pipeline, PoolView, Reports, Votes, Worker};
use crate::network::{AmopLink, Message, Network, NetworkError, Port};
use crate::pool::{Pool, PoolRules};
use crate::rpc::serve::{self, ServiceError, Services};
use crate::sync::{Fetcher, FetcherParts, Gossip, GossipParts};

/// Messages that may wait for a group's worker, and for its gossip.
const QUEUE: usize = 8192;
/// How long clients' open requests may go on after a stop was wished.
const DRAIN: Duration = Duration::from_secs(5);
/// Blocks agreement remembers, to help those who are a little behind.
const RECENT: u64 = 64;
/// How often the pool looks for transactions that waited too long.
const MAINTENANCE: Duration = Duration::from_secs(1);

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The node's key cannot be used.
    #[error("[security] private_key_path {path}: {reason}")]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// A group's ledger cannot be opened.
    #[error("group {group}: {source}")]
    Ledger {
        /// The group.
        group: String,
        /// The reason.
        source: Box<ChainError>,
    },
    /// A group cannot start for another reason.
    #[error("group {group}: {reason}")]
    Group {
        /// The group.
        group: String,
        /// The reason.
        reason: String,
    },
    /// The network cannot start.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// A port for clients cannot be opened.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

/// A node that runs; [`RunningNode::stop`] ends it in order.
#[derive(Debug)]
pub struct RunningNode {
    node: Node,
    services: Services,
    tasks: Tasks,
    workers: Vec<JoinHandle<()>>,
}

impl RunningNode {
    /// Where JSON-RPC and SDKs are served.
    pub fn rpc_address(&self) -> SocketAddr {
        self.services.rpc
    }

    /// Where Ethereum JSON-RPC is served, when it is enabled.
    pub fn web3_address(&self) -> Option<SocketAddr> {
        self.services.web3
    }

    /// What services see.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// The wish to stop, to be triggered or waited for.
    pub fn shutdown(&self) -> &Shutdown {
        self.tasks.shutdown()
    }

    /// Stops everything, blocks in execution first; false when clients had to be cut off.
    pub async fn stop(self) -> bool {
        self.tasks.shutdown().trigger("stopped");
        let workers = self.workers;
        let joined = tokio::task::spawn_blocking(move || {
            for worker in workers {
                // A panic was printed by the thread itself.
                let _panicked = worker.join();
            }
        });
        let _cancelled = joined.await;
        self.tasks.stop(DRAIN).await
    }
}

/// Runs a node until the wish to stop; the error says why it could not start, or why it stopped by itself.
pub async fn run(config: NodeConfig, shutdown: Shutdown) -> Result<(), StartError> {
    let running = start(config, Metrics::new(), shutdown.clone()).await?;
    shutdown.triggered().await;
    running.stop().await;
    Ok(())
}

pub(crate) fn node_key(config: &NodeConfig) -> Result<SuiteKey, StartError> {
    let wrong = |reason: String| StartError::Key { path: config.key.clone(), reason };
    let text = std::fs::read_to_string(&config.key)
        .map_err(|error| wrong(format!("{error}; put the node's node.pem there or correct the path")))?;
    let key = SuiteKey::from_pem(&text).map_err(|error| wrong(error.to_string()))?;
    let sm = config.groups.first().is_some_and(|group| group.genesis.sm_crypto);
    let wanted = if sm { SuiteKind::Sm } else { SuiteKind::International };
    if key.kind() == wanted {
        Ok(key)
    } else {
        let curve = if sm { "SM2" } else { "secp256k1" };
        Err(wrong(format!(
            "config.genesis says sm_crypto={sm}, so the key must be on the curve {curve}; make it again with the chain builder"
        )))
    }
}

/// Starts a node: ledgers, network, agreement, and the ports for clients.
pub async fn start(config: NodeConfig, metrics: Metrics, shutdown: Shutdown) -> Result<RunningNode, StartError> {
    let key = node_key(&config)?;
    let suite = key.kind();
    let keys = Arc::new(NodeKeys::new(key.clone()));
    let node_id = keys.me().to_hex();
    metrics.process();
    let tasks = Tasks::new(shutdown.clone());
    let mut ports = Vec::new();
    let mut opened = Vec::new();
    for group in &config.groups {
        let (urgent, urgent_end) = mpsc::channel(QUEUE);
        let (bulk, bulk_end) = mpsc::channel(QUEUE);
        let name: Arc<str> = group.genesis.group_id.as_str().into();
        ports.push(Port { group: Arc::clone(&name), urgent, bulk });
        let (group, keys) = (group.clone(), Arc::clone(&keys));
        // Opening may replay many blocks.
        let ledger = tokio::task::spawn_blocking(move || Ledger::open(&group, keys)).await;
        let failed = |reason: String| StartError::Group { group: name.to_string(), reason };
        let ledger = ledger
            .map_err(|error| failed(error.to_string()))?
            .map_err(|source| StartError::Ledger { group: name.to_string(), source: Box::new(source) })?;
        opened.push((name, Arc::new(ledger), urgent_end, bulk_end));
    }
    let (plain, plain_end) = mpsc::channel(QUEUE);
    let network = Network::start(&config, Arc::clone(&keys), suite, ports, plain, &metrics, shutdown.clone()).await?;
    let mut groups = Vec::new();
    let mut workers = Vec::new();
    for (place, ((name, ledger, urgent, bulk), group)) in opened.into_iter().zip(&config.groups).enumerate() {
        let maker = Maker { config: &config, group, place, name, ledger, key: &key, node_id: &node_id };
        let (group, worker) = maker.make(urgent, bulk, &network, &metrics, &tasks)?;
        groups.push(group);
        workers.push(worker);
    }
    let node = Node(Arc::new(NodeInner {
        config,
        node_id,
        p2p_id: network.p2p_id().to_owned(),
        groups,
        metrics,
        peers: Box::new(network.clone()),
    }));
    let services = match serve::start(&node, &tasks).await {
        Ok(services) => services,
        Err(error) => {
            // The groups run already; whoever starts again must find their folders free.
            shutdown.trigger("a port for clients could not be opened");
            for worker in workers {
                let _panicked = worker.join();
            }
            return Err(error.into());
        }
    };
    let link = AmopLink::new(network, Arc::clone(services.sdk.amop()));
    services.sdk.amop().join(Arc::clone(&link) as _);
    tasks.spawn(link.run(plain_end));
    if let Some(address) = &node.config().metrics {
        let operations = Operations::bind(OperationsOptions {
            address: address.clone(),
            tls: None,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: String::new(),
            metrics: Some(node.metrics().clone()),
            health: Health::new(),
            log: LogHandle::detached(),
        });
        let operations = operations.await.map_err(ServiceError::from)?;
        let stop = shutdown.clone();
        tasks.spawn_graceful(async move { operations.serve(stop).await });
    }
    tracing::info!(node = node.node_id(), rpc = %services.rpc, "the node runs, p2p on {}", node.p2p_endpoint());
    Ok(RunningNode { node, services, tasks, workers })
}

/// What one group is made from.
struct Maker<'a> {
    config: &'a NodeConfig,
    group: &'a GroupConfig,
    place: usize,
    name: Arc<str>,
    ledger: Arc<Ledger>,
    key: &'a SuiteKey,
    node_id: &'a str,
}

impl Maker<'_> {
    fn failed(&self, reason: impl ToString) -> StartError {
        StartError::Group { group: self.name.to_string(), reason: reason.to_string() }
    }

    fn make(
        self,
        urgent: mpsc::Receiver<(NodeId, Message)>,
        bulk: mpsc::Receiver<(NodeId, Message)>,
        network: &Network,
        metrics: &Metrics,
        tasks: &Tasks,
    ) -> Result<(Group, JoinHandle<()>), StartError> {
        let chain = self.ledger.chain().clone();
        let genesis = &self.group.genesis;
        let rules = PoolRules {
            chain_id: genesis.chain_id.clone(),
            group_id: genesis.group_id.clone(),
            limit: self.config.pool.limit,
            expiry: self.config.pool.expiry,
            block_limit: genesis.block_limit,
            check_block_limit: self.config.pool.check_block_limit,
            from_free_nodes: self.config.pool.from_free_nodes,
            suite: chain.suite(),
        };
        let pool = Pool::new(rules, Box::new(PoolView(Arc::clone(&self.ledger))));
        let (events, events_end) = mpsc::unbounded_channel();
        let (hints, hints_end) = mpsc::unbounded_channel();
        let (head, head_end) = watch::channel(self.ledger.height());
        let (status, status_end) = watch::channel(ConsensusStatus::default());
        let (sync, sync_end) = watch::channel(SyncStatus::default());
        let votes = Votes::open(&self.group.data.join("consensus")).map_err(|error| self.failed(error))?;
        let consensus = self.consensus(&votes)?;
        let reports = Reports { events: events.clone(), head, pool: pool.clone(), shutdown: tasks.shutdown().clone() };
        let pipeline = Pipeline::start(&self.name, Arc::clone(&self.ledger), reports, metrics)
            .map_err(|error| self.failed(error))?;
        let parts = Parts {
            group: Arc::clone(&self.name),
            place: self.place,
            consensus,
            votes,
            ledger: Arc::clone(&self.ledger),
            pool: pool.clone(),
            pipeline,
            network: network.clone(),
            messages: urgent,
            events: events_end,
            hints: hints.clone(),
            status,
            min_seal: self.config.consensus.min_seal,
            drawer: Drawer {
                key: self.key.clone(),
                chain_id: genesis.chain_id.clone(),
                group_id: genesis.group_id.clone(),
                made: None,
            },
            metrics: metrics.clone(),
            shutdown: tasks.shutdown().clone(),
        };
        tasks.spawn(Gossip::run(GossipParts {
            group: Arc::clone(&self.name),
            place: self.place,
            network: network.clone(),
            pool: pool.clone(),
            ledger: Arc::clone(&self.ledger),
            messages: bulk,
            events: events.clone(),
            hints,
            from_free_nodes: self.config.pool.from_free_nodes,
            blocks_to_free_nodes: self.config.sync.allow_free_node,
        }));
        let fetcher = Fetcher::new(FetcherParts {
            group: Arc::clone(&self.name),
            place: self.place,
            node_id: self.node_id.to_owned(),
            network: network.clone(),
            ledger: Arc::clone(&self.ledger),
            hints: hints_end,
            events,
            status: sync,
        });
        tasks.spawn(fetcher.run());
        let maintained = pool.clone();
        tasks.spawn(async move {
            loop {
                tokio::time::sleep(MAINTENANCE).await;
                maintained.maintain();
            }
        });
        let worker = std::thread::Builder::new()
            .name(format!("group {}", self.name))
            .spawn(move || Worker::new(parts).run())
            .map_err(|error| self.failed(error))?;
        let group = Group(Arc::new(GroupInner {
            config: self.group.clone(),
            suite: chain.suite(),
            chain,
            pool,
            head: head_end,
            consensus: status_end,
            sync: sync_end,
        }));
        Ok((group, worker))
    }

    fn consensus(&self, votes: &Votes) -> Result<Box<dyn Consensus>, StartError> {
        let genesis = &self.group.genesis;
        let settings = self.ledger.settings().map_err(|error| self.failed(error))?;
        let records = votes.records().map_err(|error| self.failed(error))?;
        let config = PbftConfig {
            window: self.config.consensus.pipeline,
            timeout_ms: genesis.consensus_timeout_ms,
            ..PbftConfig::new(self.ledger.genesis_hash())
        };
        let keys = Box::new(NodeKeys::new(self.key.clone()));
        let recent = self.ledger.recent(RECENT).map_err(|error| self.failed(error))?;
        if genesis.consensus == ConsensusKind::Raft {
            let config =
                RaftConfig { window: self.config.consensus.pipeline, ..RaftConfig::new(self.ledger.genesis_hash()) };
            let keys = Box::new(NodeKeys::new(self.key.clone()));
            return Raft::new(config, keys, settings, recent, records)
                .map(|raft| Box::new(raft) as Box<dyn Consensus>)
                .map_err(|error| self.failed(error));
        }
        Pbft::new(config, keys, settings, recent, records)
            .map(|pbft| Box::new(pbft) as Box<dyn Consensus>)
            .map_err(|error| self.failed(error))
    }
}
