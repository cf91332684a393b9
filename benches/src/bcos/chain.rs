//! The chain under test: started by the program that lies beside this one, removed when dropped.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use konsort_node::{ClientTls, DialOptions, Roots, TlsIdentity};
use serde::Deserialize;
use serde_json::{Value, json};

use super::wire::Target;
use crate::cpu;

/// What `konsort up --engine bcos --output json` prints.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Description {
    pub(crate) chain_id: String,
    pub(crate) group_id: String,
    #[serde(default)]
    pub(crate) first_receipt_ms: Option<u64>,
    sdk: PathBuf,
    nodes: Vec<Node>,
}

#[derive(Debug, Clone, Deserialize)]
struct Node {
    rpc: String,
    web3: String,
    pid: Option<u32>,
    log: PathBuf,
}

/// A running chain.
#[derive(Debug)]
pub(crate) struct Chain {
    program: PathBuf,
    folder: tempfile::TempDir,
    /// Its description.
    pub(crate) about: Description,
}

impl Chain {
    /// Starts a chain of this many PBFT nodes.
    pub(crate) fn start(nodes: usize) -> anyhow::Result<Self> {
        let program = std::env::current_exe()?.with_file_name("konsort");
        ensure!(program.exists(), "{} is missing; build it with `cargo build --release -p konsort`", program.display());
        let folder = tempfile::tempdir()?;
        let output = Command::new(&program)
            .args(["up", "--engine", "bcos", "--detach", "--output", "json", "--ports", "free"])
            .args(["--nodes", &nodes.to_string(), "--data"])
            .arg(folder.path().join("chain"))
            .output()?;
        ensure!(output.status.success(), "konsort up: {}", String::from_utf8_lossy(&output.stderr));
        let about = serde_json::from_slice(&output.stdout)?;
        Ok(Self { program, folder, about })
    }

    /// The native JSON-RPC of every node, over the mutual TLS that SDKs use by default.
    pub(crate) fn native(&self) -> anyhow::Result<Vec<Target>> {
        let sdk = &self.about.sdk;
        let tls = ClientTls {
            roots: Roots::from_files([sdk.join("ca.crt")])?.nameless(),
            identity: Some(TlsIdentity::from_files(&sdk.join("sdk.crt"), &sdk.join("sdk.key"))?),
            server_name_override: None,
        };
        let targets = self.about.nodes.iter();
        Ok(targets.map(|node| Target { address: node.rpc.clone(), options: DialOptions::tls(tls.clone()) }).collect())
    }

    /// The Ethereum JSON-RPC of every node.
    pub(crate) fn ethereum(&self) -> Vec<Target> {
        self.about.nodes.iter().map(|node| Target::plain(node.web3.trim_start_matches("http://"))).collect()
    }

    /// The processes, in the order of the nodes.
    pub(crate) fn pids(&self) -> anyhow::Result<Vec<u32>> {
        self.about.nodes.iter().map(|node| node.pid.context("a node's process is not known")).collect()
    }

    /// The first node's last block.
    pub(crate) async fn height(&self) -> anyhow::Result<u64> {
        let target = self.ethereum().swap_remove(0);
        let answer = target.call("eth_blockNumber", json!([])).await?;
        Ok(u64::from_str_radix(answer.as_str().unwrap_or_default().trim_start_matches("0x"), 16)?)
    }

    /// What imports it into a platform.
    pub(crate) fn import_request(&self) -> anyhow::Result<Value> {
        let read = |name: &str| std::fs::read_to_string(self.about.sdk.join(name));
        let organisation = json!({
            "organisation": "Agency", "ca": read("ca.crt")?, "certificate": read("sdk.crt")?, "key": read("sdk.key")?,
        });
        let nodes: Vec<Value> = (self.about.nodes.iter().enumerate())
            .map(|(number, node)| {
                json!({ "id": format!("node{number}"), "role": "sealer", "organisation": "Agency",
                    "endpoints": { "rpc": node.rpc, "web3": node.web3.trim_start_matches("http://") } })
            })
            .collect();
        Ok(json!({ "name": "chain under load", "engine": "bcos", "consensus": "pbft", "chain_id": self.about.chain_id,
            "organisations": [organisation], "channels": [self.about.group_id], "nodes": nodes }))
    }

    /// Waits until all nodes have the same last block, so that the work of every one is counted; its number.
    pub(crate) async fn settle(&self) -> anyhow::Result<u64> {
        let until = Instant::now() + Duration::from_mins(1);
        let targets = self.ethereum();
        loop {
            let mut heights = Vec::new();
            for target in &targets {
                let answer = target.call("eth_blockNumber", json!([])).await?;
                let digits = answer.as_str().unwrap_or_default().trim_start_matches("0x");
                heights.push(u64::from_str_radix(digits, 16)?);
            }
            if heights.windows(2).all(|pair| pair[0] == pair[1]) {
                return Ok(heights.first().copied().unwrap_or_default());
            }
            ensure!(Instant::now() < until, "the nodes do not reach the same height: {heights:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Bytes that each node's ledger takes on the disk.
    pub(crate) fn disk(&self) -> Vec<u64> {
        self.about.nodes.iter().map(|node| allocated(&node.log.with_file_name("data"))).collect()
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        let _best_effort =
            Command::new(&self.program).args(["down", "--data"]).arg(self.folder.path().join("chain")).output();
    }
}

/// Allocated bytes of all files below a folder: files with holes count what they hold.
fn allocated(path: &Path) -> u64 {
    let Ok(metadata) = path.symlink_metadata() else { return 0 };
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    metadata.blocks() * 512 + entries.map(|entry| allocated(&entry.path())).sum::<u64>()
}

/// What processes have used up to an instant.
#[derive(Debug, Clone)]
pub(crate) struct Used(Vec<f64>);

impl Used {
    /// Reads the counters of the processes.
    pub(crate) fn by(pids: &[u32]) -> Self {
        Self(pids.iter().map(|pid| cpu::milliseconds(*pid)).collect())
    }

    /// Milliseconds of each process since `before`.
    pub(crate) fn since(&self, before: &Self) -> Vec<f64> {
        self.0.iter().zip(&before.0).map(|(after, before)| after - before).collect()
    }
}
