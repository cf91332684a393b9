//! What the services for clients see of a node: its groups, their chains, and the door for transactions.

use std::future::Future;
use std::sync::Arc;

use alloy_primitives::{Address, B256};
use bcos_chain::Chain;
use bcos_types::{Receipt, Transaction, VerifiedTx};
use konsort_crypto::CryptoSuite;
use konsort_node::Metrics;
use tokio::sync::{broadcast, watch};

use crate::config::{GroupConfig, NodeConfig};
use crate::pool::Pool;
pub use crate::pool::SubmitError;

/// A running node. Clones are the same node.
#[derive(Clone, Debug)]
pub struct Node(pub(crate) Arc<NodeInner>);

#[derive(Debug)]
pub(crate) struct NodeInner {
    pub config: NodeConfig,
    pub node_id: String,
    pub p2p_id: String,
    pub groups: Vec<Group>,
    pub metrics: Metrics,
    pub peers: Box<dyn PeerView>,
}

/// Who is connected, as the network knows it at this moment.
pub(crate) trait PeerView: Send + Sync + std::fmt::Debug {
    fn connected(&self) -> Vec<PeerInfo>;
    fn endpoint(&self) -> String;
}

impl Node {
    /// The configuration the node was started with.
    pub fn config(&self) -> &NodeConfig {
        &self.0.config
    }

    /// The public key of `node.pem`, 128 hex digits. It names the node in consensus.
    pub fn node_id(&self) -> &str {
        &self.0.node_id
    }

    /// The modulus of the TLS certificate's RSA key in hex, which upstream calls the p2p node id.
    pub fn p2p_id(&self) -> &str {
        &self.0.p2p_id
    }

    /// Where the p2p listener is, host:port.
    pub fn p2p_endpoint(&self) -> String {
        self.0.peers.endpoint()
    }

    /// All groups, in the order of their files.
    pub fn groups(&self) -> &[Group] {
        &self.0.groups
    }

    /// The group with this id.
    pub fn group(&self, id: &str) -> Option<&Group> {
        self.0.groups.iter().find(|group| group.id() == id)
    }

    /// The nodes connected at this moment.
    pub fn peers(&self) -> Vec<PeerInfo> {
        self.0.peers.connected()
    }

    /// The node's metrics, to add one's own.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }
}

/// A connected node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    /// The modulus of its TLS key in hex.
    pub p2p_id: String,
    /// Its node id, 128 hex digits.
    pub node_id: String,
    /// Its address as seen from here, host:port.
    pub endpoint: String,
    /// The groups it runs.
    pub groups: Vec<String>,
}

/// One group of a running node. Clones are the same group.
#[derive(Clone, Debug)]
pub struct Group(pub(crate) Arc<GroupInner>);

#[derive(Debug)]
pub(crate) struct GroupInner {
    pub config: GroupConfig,
    pub suite: &'static dyn CryptoSuite,
    pub chain: Chain,
    pub pool: Pool,
    pub head: watch::Receiver<u64>,
    pub consensus: watch::Receiver<ConsensusStatus>,
    pub sync: watch::Receiver<SyncStatus>,
}

/// What became of a transaction.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The transaction with its hash and sender.
    pub transaction: VerifiedTx,
    /// Its receipt, durable on this node.
    pub receipt: Arc<Receipt>,
    /// The block.
    pub number: u64,
    /// The place in the block, from 0.
    pub index: u64,
}

impl Group {
    /// The group's id.
    pub fn id(&self) -> &str {
        &self.0.config.genesis.group_id
    }

    /// The chain's id.
    pub fn chain_id(&self) -> &str {
        &self.0.config.genesis.chain_id
    }

    /// What `config.genesis` says, with its text.
    pub fn config(&self) -> &GroupConfig {
        &self.0.config
    }

    /// Hash and signature rules of the chain.
    pub fn suite(&self) -> &'static dyn CryptoSuite {
        self.0.suite
    }

    /// The ledger: committed blocks, receipts, state, calls.
    pub fn chain(&self) -> &Chain {
        &self.0.chain
    }

    /// Hands a transaction in; answers when it is committed on this node, or with the reason why it never will be.
    ///
    /// Dropping the future does not take the transaction back.
    pub fn submit(
        &self,
        transaction: Transaction,
    ) -> impl Future<Output = Result<Committed, SubmitError>> + Send + use<> {
        let pool = self.0.pool.clone();
        async move { pool.submit(transaction)?.committed().await }
    }

    /// Hands a transaction in; answers with its hash as soon as the pool has accepted it.
    pub fn submit_hash(
        &self,
        transaction: Transaction,
    ) -> impl Future<Output = Result<B256, SubmitError>> + Send + use<> {
        let pool = self.0.pool.clone();
        async move { pool.submit(transaction).map(|ticket| ticket.hash()) }
    }

    /// Hands in a signed Ethereum transaction as `eth_sendRawTransaction` gets it; the pool's answer comes at once. Its hash,
    /// and a future that resolves when it is committed.
    pub fn submit_web3(
        &self,
        raw: &[u8],
    ) -> Result<(B256, impl Future<Output = Result<Committed, SubmitError>> + Send + use<>), SubmitError> {
        let ticket = self.0.pool.submit_web3(raw)?;
        Ok((ticket.hash(), ticket.committed()))
    }

    /// How many transactions wait (sealed in a proposal, but not committed ones included).
    pub fn pending_count(&self) -> usize {
        self.0.pool.len()
    }

    /// A transaction that waits.
    pub fn pending(&self, hash: &B256) -> Option<VerifiedTx> {
        self.0.pool.get(hash)
    }

    /// All that wait, oldest first, at most `limit`.
    pub fn pending_all(&self, limit: usize) -> Vec<VerifiedTx> {
        self.0.pool.snapshot(limit)
    }

    /// The next nonce of an Ethereum account, waiting transactions counted; `None` when none of its waits.
    pub fn pending_nonce(&self, account: &Address) -> Option<u64> {
        self.0.pool.next_nonce(account)
    }

    /// Hashes of transactions as they are accepted into the pool. A slow reader loses the oldest.
    pub fn subscribe_pending(&self) -> broadcast::Receiver<B256> {
        self.0.pool.subscribe()
    }

    /// The number of the last committed block, and its changes. Between two looks several blocks may have passed.
    pub fn head(&self) -> watch::Receiver<u64> {
        self.0.head.clone()
    }

    /// Where consensus stands.
    pub fn consensus_status(&self) -> ConsensusStatus {
        self.0.consensus.borrow().clone()
    }

    /// Where synchronisation stands.
    pub fn sync_status(&self) -> SyncStatus {
        self.0.sync.borrow().clone()
    }

    /// Node ids of the connected nodes that run this group, without this one.
    pub fn peers(&self) -> Vec<String> {
        self.0.sync.borrow().peers.iter().map(|peer| peer.node_id.clone()).collect()
    }
}

/// The fields of `getConsensusStatus`; hashes and ids are hex without 0x.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsensusStatus {
    /// This node.
    pub node_id: String,
    /// Its index among the sealers; `None` for an observer.
    pub index: Option<u64>,
    /// The leader's index.
    pub leader_index: u64,
    /// The sum of weights that may be faulty.
    pub max_faulty_quorum: u64,
    /// The sum of weights that decides.
    pub min_required_quorum: u64,
    /// Committed block.
    pub block_number: u64,
    /// Its hash.
    pub hash: String,
    /// Whether a view change runs.
    pub timeout: bool,
    /// How often the view changed in vain since the last progress.
    pub change_cycle: u64,
    /// The view.
    pub view: u64,
    /// Connected sealers, this one included.
    pub connected: u64,
    /// The sealers in order.
    pub nodes: Vec<ConsensusMember>,
}

/// A sealer in [`ConsensusStatus`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsensusMember {
    /// Public key in hex.
    pub node_id: String,
    /// Voting weight.
    pub weight: u64,
    /// Weight in the choice of working sealers.
    pub term_weight: u64,
    /// Place among the sealers.
    pub index: u64,
}

/// The fields of `getSyncStatus`; hashes and ids are hex without 0x.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncStatus {
    /// Whether blocks are being fetched.
    pub syncing: bool,
    /// Hash of block 0.
    pub genesis_hash: String,
    /// This node.
    pub node_id: String,
    /// Committed block.
    pub block_number: u64,
    /// Blocks before this one were archived away.
    pub archived_block_number: u64,
    /// Hash of the committed block.
    pub latest_hash: String,
    /// The highest block anybody told of.
    pub known_highest_number: u64,
    /// Its hash.
    pub known_latest_hash: String,
    /// What the connected nodes of the group told.
    pub peers: Vec<SyncPeer>,
}

/// A node in [`SyncStatus`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncPeer {
    /// Public key in hex.
    pub node_id: String,
    /// Hash of its block 0.
    pub genesis_hash: String,
    /// Its committed block.
    pub block_number: u64,
    /// The hash of that block.
    pub latest_hash: String,
    /// Where its kept blocks begin.
    pub archived_block_number: u64,
}
