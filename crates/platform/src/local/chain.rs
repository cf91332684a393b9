//! A chain of the second engine on this machine, each node its own process.
//!
//! As with a network, everything lies in one data folder: the plan (`chain.json`), and under `nodes/` what the chain builder made
//! (certificates, keys, configuration, scripts), each node with its ledger and log. A start reads the plan back.

mod sample;

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use futures::future::try_join_all;
use serde::{Deserialize, Serialize};

use super::process::{self, NodeProcess};
use super::{LocalError, Ports, STOP_GRACE, bring_up, claim, files, read_plan, remove_if_there, to_json};
pub use sample::{ABI as SAMPLE_ABI, BYTECODE as SAMPLE_BYTECODE, Client};

/// What the user asked for; only used when a chain is made.
#[derive(Debug, Clone)]
pub struct ChainRequest {
    /// Sealers, 1 to 16.
    pub nodes: usize,
    /// `pbft`, `rpbft` or `raft`.
    pub consensus: String,
    /// Ports to listen on; three ranges of as many ports as there are nodes.
    pub ports: Ports,
}

impl Default for ChainRequest {
    fn default() -> Self {
        Self { nodes: 4, consensus: "pbft".into(), ports: Ports::WellKnown }
    }
}

/// The chain as it was made: kept in `chain.json` of the data folder.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ChainSpec {
    /// Format of this file.
    pub version: u32,
    /// Chain id.
    pub chain_id: String,
    /// The group.
    pub group_id: String,
    /// How the nodes agree.
    pub consensus: String,
    /// Every node.
    pub nodes: Vec<ChainNode>,
    /// Address of the sample contract, once it is deployed.
    pub contract: Option<String>,
}

/// One node and its addresses.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ChainNode {
    /// Its name in all commands.
    pub name: String,
    /// Its id in consensus, 128 hex digits.
    pub node_id: String,
    /// Its folder.
    pub folder: PathBuf,
    /// Port of the peer-to-peer network.
    pub p2p_port: u16,
    /// Port of JSON-RPC and the SDK.
    pub rpc_port: u16,
    /// Port of the Ethereum JSON-RPC.
    pub web3_port: u16,
}

impl ChainNode {
    /// `host:port` of JSON-RPC and the SDK.
    pub fn rpc(&self) -> String {
        format!("127.0.0.1:{}", self.rpc_port)
    }

    fn log(&self) -> PathBuf {
        self.folder.join("nohup.out")
    }
}

/// What is being done, for a progress display.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChainStep {
    /// Certificates, keys and configuration files are being written.
    Files,
    /// A node's process is being started.
    Starting(String),
    /// A node answers.
    Ready(String),
    /// The sample contract is being deployed.
    Deploying,
    /// The sample contract is called.
    Calling,
    /// The first receipt is there.
    Done,
}

/// A chain for a program that wants to use it.
#[derive(Debug, Serialize)]
pub struct ChainReport {
    /// The data folder.
    pub data: PathBuf,
    /// Chain id.
    pub chain_id: String,
    /// The group.
    pub group_id: String,
    /// How the nodes agree.
    pub consensus: String,
    /// Milliseconds from the start of the command to the first receipt; only after a start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_receipt_ms: Option<u64>,
    /// The sample contract.
    pub contract: Option<String>,
    /// Folder of the SDK's certificates: `ca.crt`, `sdk.crt`, `sdk.key`.
    pub sdk: PathBuf,
    /// The key of the account that deployed the sample, PEM.
    pub account: PathBuf,
    /// Every node.
    pub nodes: Vec<ChainNodeReport>,
}

/// One node of a [`ChainReport`] and of a status.
#[derive(Debug, Serialize)]
pub struct ChainNodeReport {
    /// Name.
    pub name: String,
    /// Its id in consensus.
    pub node_id: String,
    /// `host:port` of JSON-RPC and the SDK (TLS).
    pub rpc: String,
    /// URL of the Ethereum JSON-RPC.
    pub web3: String,
    /// `host:port` of the peer-to-peer network.
    pub p2p: String,
    /// Whether its process runs.
    pub running: bool,
    /// Process id when running.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// Number of its last block, when it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<u64>,
    /// What is wrong, when something is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Log file.
    pub log: PathBuf,
}

/// A chain and its data folder.
#[derive(Debug)]
pub struct LocalChain {
    root: PathBuf,
    spec: ChainSpec,
    _lock: Option<File>,
    started: Instant,
}

impl LocalChain {
    /// Whether the folder holds a chain.
    pub fn is_in(data: &Path) -> bool {
        data.join("chain.json").exists()
    }

    /// Opens the chain of a data folder, making it with the chain builder of `program` when there is none.
    pub fn open_or_create(program: &Path, data: &Path, request: &ChainRequest) -> Result<Self, LocalError> {
        let started = Instant::now();
        let (root, lock) = claim(data)?;
        let spec = if Self::is_in(&root) {
            read_plan(&root.join("chain.json"))?
        } else {
            let spec = build(program, &root, request)?;
            files::write(&root.join("chain.json"), &to_json(&spec))?;
            spec
        };
        Ok(Self { root, spec, _lock: Some(lock), started })
    }

    /// Opens the chain of a data folder to look at it.
    pub fn open(data: &Path) -> Result<Self, LocalError> {
        let root = data.canonicalize().map_err(|_| LocalError::NoNetwork(data.to_path_buf()))?;
        if !Self::is_in(&root) {
            return Err(LocalError::NoNetwork(root));
        }
        Ok(Self { spec: read_plan(&root.join("chain.json"))?, root, _lock: None, started: Instant::now() })
    }

    /// The plan.
    pub fn spec(&self) -> &ChainSpec {
        &self.spec
    }

    /// The data folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn host_folder(&self) -> PathBuf {
        self.root.join("nodes/127.0.0.1")
    }

    /// A client of a node, with the SDK's certificates and the account of the data folder.
    pub fn client(&self, node: &ChainNode) -> Result<Client, LocalError> {
        let spec = &self.spec;
        Client::new(&node.rpc(), &self.host_folder().join("sdk"), &self.account(), &spec.chain_id, &spec.group_id)
    }

    fn account(&self) -> PathBuf {
        self.root.join("account.pem")
    }

    /// Starts every node, deploys the sample contract if that was not done, and calls it. When anything fails the nodes that were
    /// started are stopped again.
    pub async fn up(
        &mut self,
        program: &Path,
        progress: &(dyn Fn(ChainStep) + Sync),
    ) -> Result<ChainReport, LocalError> {
        if self.processes().iter().any(NodeProcess::is_running) {
            return Err(LocalError::AlreadyRunning(self.root.clone()));
        }
        for node in &self.spec.nodes {
            for port in [node.p2p_port, node.rpc_port, node.web3_port] {
                if let Some(why) = bring_up::port_in_use(port) {
                    return Err(LocalError::PortTaken { node: node.name.clone(), port, why });
                }
            }
        }
        let mut processes = Vec::new();
        let outcome = self.start(program, &mut processes, progress).await;
        if outcome.is_err() {
            process::stop_all(&processes, STOP_GRACE);
        }
        outcome?;
        let took = u64::try_from(self.started.elapsed().as_millis()).ok();
        let mut report = self.report();
        report.first_receipt_ms = took;
        Ok(report)
    }

    async fn start(
        &mut self,
        program: &Path,
        processes: &mut Vec<NodeProcess>,
        progress: &(dyn Fn(ChainStep) + Sync),
    ) -> Result<(), LocalError> {
        for node in &self.spec.nodes {
            progress(ChainStep::Starting(node.name.clone()));
            let mut command = Command::new(program);
            command.args(["fisco-bcos", "-c", "config.ini", "-g", "config.genesis"]).current_dir(&node.folder);
            processes.push(NodeProcess::start(&node.name, command, &node.log())?);
        }
        files::write(&self.root.join("run.json"), &to_json(processes))?;
        try_join_all(self.spec.nodes.iter().zip(processes.iter()).map(async |(node, process)| {
            process.listens_on(&[node.p2p_port, node.rpc_port, node.web3_port], &node.log()).await?;
            progress(ChainStep::Ready(node.name.clone()));
            Ok::<_, LocalError>(())
        }))
        .await?;
        let Some(first) = self.spec.nodes.first() else { return Ok(()) };
        let client = self.client(first)?;
        let contract = if let Some(contract) = self.spec.contract.clone() {
            contract
        } else {
            progress(ChainStep::Deploying);
            let contract = client.deploy_sample().await?;
            self.spec.contract = Some(contract.clone());
            files::write(&self.root.join("chain.json"), &to_json(&self.spec))?;
            contract
        };
        progress(ChainStep::Calling);
        client.call_sample(&contract).await?;
        progress(ChainStep::Done);
        Ok(())
    }

    /// The processes of the last start, running or not.
    pub fn processes(&self) -> Vec<NodeProcess> {
        process::read_all(&self.root.join("run.json"))
    }

    /// What runs where.
    pub fn report(&self) -> ChainReport {
        let processes = self.processes();
        let nodes = self.spec.nodes.iter().map(|node| {
            let process = processes.iter().find(|process| process.name == node.name && process.is_running());
            ChainNodeReport {
                name: node.name.clone(),
                node_id: node.node_id.clone(),
                rpc: node.rpc(),
                web3: format!("http://127.0.0.1:{}", node.web3_port),
                p2p: format!("127.0.0.1:{}", node.p2p_port),
                running: process.is_some(),
                pid: process.map(|process| process.pid),
                height: None,
                problem: None,
                log: node.log(),
            }
        });
        ChainReport {
            data: self.root.clone(),
            chain_id: self.spec.chain_id.clone(),
            group_id: self.spec.group_id.clone(),
            consensus: self.spec.consensus.clone(),
            first_receipt_ms: None,
            contract: self.spec.contract.clone(),
            sdk: self.host_folder().join("sdk"),
            account: self.account(),
            nodes: nodes.collect(),
        }
    }

    /// Each node with its process state and the number of its last block.
    pub async fn status(&self) -> Vec<ChainNodeReport> {
        let mut nodes = self.report().nodes;
        for (status, node) in nodes.iter_mut().zip(&self.spec.nodes) {
            if !status.running {
                status.problem = Some(format!("not running; see {}", status.log.display()));
                continue;
            }
            let height = match self.client(node) {
                Ok(client) => client.block_number().await,
                Err(error) => Err(error),
            };
            match height {
                Ok(height) => status.height = Some(height),
                Err(error) => status.problem = Some(error.to_string()),
            }
        }
        nodes
    }

    /// Stops all nodes; returns the names of those that had to be ended by force.
    pub fn stop(&self) -> Result<Vec<String>, LocalError> {
        let forced = process::stop_all(&self.processes(), STOP_GRACE);
        files::write(&self.root.join("run.json"), b"[]\n")?;
        Ok(forced)
    }

    /// Stops all nodes and removes what this module made.
    pub fn remove(self) -> Result<(), LocalError> {
        self.stop()?;
        remove_if_there(&self.root.join("nodes"), |path| std::fs::remove_dir_all(path))?;
        for entry in ["chain.json", "run.json", "account.pem", "lock"] {
            remove_if_there(&self.root.join(entry), |path| std::fs::remove_file(path))?;
        }
        let _not_empty = std::fs::remove_dir(&self.root);
        Ok(())
    }

    /// The log file of a node.
    pub fn log_of(&self, name: &str) -> Result<PathBuf, LocalError> {
        self.spec.nodes.iter().find(|node| node.name == name).map(ChainNode::log).ok_or_else(|| {
            LocalError::NoSuchNode {
                name: name.to_owned(),
                known: self.spec.nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>().join(", "),
            }
        })
    }
}

/// First ports of the peer-to-peer, JSON-RPC and Ethereum listeners.
fn first_ports(ports: Ports, nodes: u16) -> Result<[u16; 3], LocalError> {
    let free = |first: u16| {
        (first..first.saturating_add(nodes)).all(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
    };
    match ports {
        Ports::WellKnown => Ok([30300, 20200, 8545]),
        Ports::From(first) => {
            let last = first.checked_add(3 * nodes);
            last.map(|_| [first, first + nodes, first + 2 * nodes]).ok_or_else(|| {
                LocalError::Request(format!("--ports {first}: {} ports do not fit below 65536", 3 * nodes))
            })
        }
        Ports::Free => {
            // A free port of the system's choice is where the search for a row of them begins.
            let start = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
                .and_then(|listener| listener.local_addr())
                .map_or(20_000, |address| address.port());
            let mut candidates = (0..2000_u16).map(|step| 10_000 + (start % 20_000 + step * 3 * nodes) % 40_000);
            candidates
                .find(|first| free(*first) && free(first + nodes) && free(first + 2 * nodes))
                .map(|first| [first, first + nodes, first + 2 * nodes])
                .ok_or_else(|| LocalError::Request(format!("no row of {} free ports was found", 3 * nodes)))
        }
    }
}

/// What the chain builder prints.
#[derive(Deserialize)]
struct Built {
    nodes: Vec<BuiltNode>,
}

#[derive(Deserialize)]
struct BuiltNode {
    folder: PathBuf,
    node_id: String,
}

fn build(program: &Path, root: &Path, request: &ChainRequest) -> Result<ChainSpec, LocalError> {
    let count = u16::try_from(request.nodes)
        .ok()
        .filter(|nodes| (1..=16).contains(nodes))
        .ok_or_else(|| LocalError::Request(format!("{} nodes asked for; a local chain has 1 to 16", request.nodes)))?;
    let [p2p, rpc, web3] = first_ports(request.ports, count)?;
    for port in [p2p, rpc, web3].into_iter().flat_map(|first| first..first + count) {
        if let Some(why) = bring_up::port_in_use(port) {
            return Err(LocalError::PortTaken { node: "the chain".into(), port, why });
        }
    }
    // Left behind by a start that was cut off before the plan was written.
    remove_if_there(&root.join("nodes"), |path| std::fs::remove_dir_all(path))?;
    let step = |why: String| LocalError::Step { step: "building the chain's files".into(), why };
    let output = Command::new(program)
        .arg("build_chain")
        .args(["-l", &format!("127.0.0.1:{count}"), "-p", &format!("{p2p},{rpc}"), "-T", &request.consensus, "-o"])
        .arg(root.join("nodes"))
        .arg("-e")
        .arg(program)
        .args(["--web3-port", &web3.to_string(), "--listen-ip", "127.0.0.1", "--min-seal-time", "20"])
        .args(["--output", "json"])
        .output()
        .map_err(|source| LocalError::Io { what: format!("run {} build_chain", program.display()), source })?;
    if !output.status.success() {
        return Err(step(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    let built: Built = serde_json::from_slice(&output.stdout).map_err(|error| step(error.to_string()))?;
    sample::make_account(&root.join("account.pem"))?;
    let nodes = built.nodes.into_iter().zip(0..count).map(|(node, index)| ChainNode {
        name: format!("node{index}"),
        node_id: node.node_id,
        folder: node.folder,
        p2p_port: p2p + index,
        rpc_port: rpc + index,
        web3_port: web3 + index,
    });
    Ok(ChainSpec {
        version: 1,
        chain_id: "chain0".into(),
        group_id: "group0".into(),
        consensus: request.consensus.clone(),
        nodes: nodes.collect(),
        contract: None,
    })
}
