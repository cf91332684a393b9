//! Chains of nodes on free ports.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use alloy_primitives::{Address, B256, Bytes, U256};
use bcos_node::chain_builder::{ChainPlan, Host, NodeFiles, build};
use bcos_node::{Group, NodeConfig, RunningNode};
use bcos_types::{Transaction, TransactionData};
use konsort_crypto::{SuiteKey, SuiteKind};
use konsort_node::{Metrics, Shutdown};

/// A contract that adds one to its only slot with every call.
pub(crate) const COUNTER: &[u8] =
    &[0x60, 0x0a, 0x80, 0x60, 0x0b, 0x60, 0, 0x39, 0x60, 0, 0xf3, 0x60, 0, 0x54, 0x60, 1, 1, 0x60, 0, 0x55, 0];

/// Free ports, all different, below those that the system gives to outgoing connections: one of these might take a port before
/// its node does.
fn ports(count: usize) -> Vec<u16> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let first = 10_000 + u64::from(std::process::id() % 100) * 200;
    let next = || (first + NEXT.fetch_add(1, Ordering::Relaxed) % 200) as u16;
    std::iter::repeat_with(next).filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).take(count).collect()
}

/// The folders of a chain.
pub(crate) struct Cluster {
    _folder: tempfile::TempDir,
    pub nodes: Vec<PathBuf>,
    pub addresses: Vec<String>,
}

impl Cluster {
    pub(crate) fn build(count: usize) -> Self {
        Self::build_outside(count, 0)
    }

    /// The last `outside` nodes are not among the sealers of the first block.
    pub(crate) fn build_outside(count: usize, outside: usize) -> Self {
        // What the nodes say goes past the test's own output: only for those who ask.
        if let Ok(level) = std::env::var("KONSORT_TEST_LOG") {
            konsort_node::logging::init_with(&level, konsort_node::logging::Format::Console).unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("program");
        std::fs::write(&program, "").unwrap();
        let plan = ChainPlan {
            hosts: vec![Host { address: "127.0.0.1".into(), nodes: count }],
            output: folder.path().join("nodes"),
            authority: None,
            program,
            keys: None,
            files: NodeFiles { listen_ip: "127.0.0.1".into(), rpc_tls: false, ..NodeFiles::default() },
        };
        let built = build(&plan, &mut |_| {}).unwrap();
        let nodes: Vec<PathBuf> = built.nodes.into_iter().map(|node| node.folder).collect();
        let addresses: Vec<String> = ports(count).into_iter().map(|port| format!("127.0.0.1:{port}")).collect();
        for node in &nodes {
            std::fs::write(node.join("nodes.json"), serde_json::json!({ "nodes": addresses }).to_string()).unwrap();
            let genesis = std::fs::read_to_string(node.join("config.genesis")).unwrap();
            let left_out: Vec<String> = (count - outside..count).map(|index| format!("node.{index}=")).collect();
            let kept = genesis.lines().filter(|line| !left_out.iter().any(|key| line.trim().starts_with(key)));
            std::fs::write(node.join("config.genesis"), kept.collect::<Vec<_>>().join("\n")).unwrap();
        }
        Self { _folder: folder, nodes, addresses }
    }

    /// Changes the genesis configuration of all nodes.
    pub(crate) fn edit_genesis(&self, from: &str, to: &str) {
        for node in &self.nodes {
            let path = node.join("config.genesis");
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.contains(from));
            std::fs::write(&path, text.replace(from, to)).unwrap();
        }
    }

    pub(crate) fn config(&self, node: usize) -> NodeConfig {
        let folder: &Path = &self.nodes[node];
        let mut config = NodeConfig::load(&folder.join("config.ini"), &[folder.join("config.genesis")]).unwrap();
        config.p2p.listen_port = self.addresses[node].rsplit_once(':').unwrap().1.parse().unwrap();
        config.rpc.listen_port = 0;
        config.consensus.min_seal = Duration::from_millis(20);
        config
    }

    pub(crate) async fn start(&self, node: usize) -> RunningNode {
        bcos_node::start(self.config(node), Metrics::new(), Shutdown::new()).await.unwrap()
    }

    pub(crate) async fn start_all(&self) -> Vec<RunningNode> {
        let mut running = Vec::new();
        for node in 0..self.nodes.len() {
            running.push(self.start(node).await);
        }
        running
    }
}

pub(crate) fn group(node: &RunningNode) -> Group {
    node.node().group("group0").unwrap().clone()
}

/// An account of a client.
pub(crate) struct Account(SuiteKey);

impl Account {
    pub(crate) fn new() -> Self {
        Self(SuiteKey::generate(SuiteKind::International))
    }

    pub(crate) fn transaction(&self, group: &Group, to: Option<Address>, input: &[u8]) -> Transaction {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let nonce = NEXT.fetch_add(1, Ordering::Relaxed).to_string();
        self.with_nonce(group, to, input, &nonce)
    }

    pub(crate) fn with_nonce(&self, group: &Group, to: Option<Address>, input: &[u8], nonce: &str) -> Transaction {
        let data = TransactionData {
            chain_id: "chain0".into(),
            group_id: group.id().into(),
            block_limit: (group.chain().height() + 500) as i64,
            nonce: nonce.into(),
            to: to.map(|to| format!("{to:#x}")).unwrap_or_default(),
            input: Bytes::copy_from_slice(input),
            ..TransactionData::default()
        };
        Transaction::signed(data, &self.0)
    }

    pub(crate) fn signed(&self, data: TransactionData) -> Transaction {
        Transaction::signed(data, &self.0)
    }
}

/// Deploys the counter and gives its address.
pub(crate) async fn deploy(group: &Group, account: &Account) -> Address {
    let committed = group.submit(account.transaction(group, None, COUNTER)).await.unwrap();
    assert_eq!(committed.receipt.status, 0, "{:?}", committed.receipt);
    committed.receipt.contract_address.unwrap()
}

pub(crate) fn count(group: &Group, contract: Address) -> U256 {
    group.chain().state_at(None).unwrap().storage(contract, B256::ZERO).unwrap()
}

/// Waits for a condition; panics with its name after a while.
pub(crate) async fn until(what: &str, seconds: u64, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < Duration::from_secs(seconds), "{what}: not within {seconds} s");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
