//! The network under test: one that is described by a file, or one that the bench starts and removes itself.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use fabric_channel::msp::SigningIdentity;
use fabric_client::{AdminClient, Endpoint, GatewayClient};
use serde::Deserialize;

use crate::cpu::{self, Watched};

/// What `konsort up --output json` prints; write such a file by hand for a network made otherwise.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Description {
    /// The channel.
    pub(crate) channel: String,
    /// The contract with the functions `put`, `get` and `move`.
    pub(crate) chaincode: String,
    /// Start to first commit.
    #[serde(default)]
    pub(crate) first_commit_ms: Option<u64>,
    /// The nodes.
    pub(crate) nodes: Vec<Node>,
    /// The identities.
    pub(crate) identities: Vec<Identity>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Node {
    /// Host name in the TLS certificate.
    pub(crate) name: String,
    /// `orderer` or `peer`.
    pub(crate) role: String,
    /// MSP id.
    pub(crate) mspid: String,
    /// `host:port`.
    pub(crate) endpoint: String,
    /// TLS root certificate file.
    pub(crate) tls_ca: PathBuf,
    /// Process id, if it runs on this machine.
    #[serde(default)]
    pub(crate) pid: Option<u32>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Identity {
    /// MSP id.
    pub(crate) mspid: String,
    /// `User1@…` or `Admin@…`.
    pub(crate) name: String,
    /// MSP folder.
    pub(crate) msp: PathBuf,
}

impl Description {
    /// The peers.
    pub(crate) fn peers(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.role == "peer")
    }

    /// The MSP folder of a user of a node's organisation.
    pub(crate) fn msp(&self, node: &Node, user: &str) -> anyhow::Result<&Path> {
        let mut identities = self.identities.iter();
        let identity = identities
            .find(|one| one.mspid == node.mspid && one.name.starts_with(user))
            .with_context(|| format!("the description has no {user} of {}", node.mspid))?;
        Ok(&identity.msp)
    }

    /// A signing identity of a peer's organisation.
    pub(crate) fn signer(&self, node: &Node, user: &str) -> anyhow::Result<Arc<SigningIdentity>> {
        Ok(Arc::new(SigningIdentity::from_folder(self.msp(node, user)?, &node.mspid)?))
    }

    fn endpoint(node: &Node) -> anyhow::Result<Endpoint> {
        let roots = std::fs::read(&node.tls_ca).with_context(|| format!("cannot read {}", node.tls_ca.display()))?;
        Ok(Endpoint::tls(node.endpoint.clone(), roots).server_name(node.name.clone()))
    }

    /// A gateway client over a connection of its own.
    pub(crate) async fn gateway(&self, node: &Node) -> anyhow::Result<GatewayClient> {
        let connection = Self::endpoint(node)?.connect().await?;
        Ok(GatewayClient::new(connection, self.signer(node, "User1")?))
    }

    /// An administrator's client.
    pub(crate) async fn admin(&self, node: &Node) -> anyhow::Result<AdminClient> {
        Ok(AdminClient::connect(&Self::endpoint(node)?, self.signer(node, "Admin")?).await?)
    }

    /// Every process of the network that runs here: nodes, and what they started (chaincode).
    pub(crate) fn processes(&self) -> Vec<Watched> {
        let mut all = Vec::new();
        for node in &self.nodes {
            let Some(pid) = node.pid else { continue };
            all.push(Watched { role: node.role.clone(), pid });
            all.extend(cpu::descendants(pid).into_iter().map(|pid| Watched { role: "chaincode".into(), pid }));
        }
        all
    }
}

/// A network started by the bench; removed when dropped.
#[derive(Debug)]
pub(crate) struct Own {
    program: PathBuf,
    folder: tempfile::TempDir,
}

impl Own {
    /// Starts a network of the program that lies beside this one.
    pub(crate) fn start(arguments: &[&str]) -> anyhow::Result<(Self, Description)> {
        let here = std::env::current_exe()?;
        let program = here.with_file_name("konsort");
        ensure!(program.exists(), "{} is missing; build it with `cargo build --release -p konsort`", program.display());
        let own = Self { program, folder: tempfile::tempdir()? };
        let output = Command::new(&own.program)
            .args(["up", "--engine", "fabric", "--detach", "--output", "json", "--ports", "free", "--data"])
            .arg(own.data())
            .args(arguments)
            .output()?;
        ensure!(output.status.success(), "konsort up: {}", String::from_utf8_lossy(&output.stderr));
        let description = serde_json::from_slice(&output.stdout)?;
        Ok((own, description))
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("net")
    }

    /// The configuration folder of a node.
    pub(crate) fn node_folder(&self, node: &Node) -> PathBuf {
        self.data().join("nodes").join(&node.name)
    }

    /// The genesis block of the channel.
    pub(crate) fn genesis(&self) -> anyhow::Result<Vec<u8>> {
        Ok(std::fs::read(self.data().join("genesis.block"))?)
    }

    /// The program.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _best_effort = Command::new(&self.program).args(["down", "--data"]).arg(self.data()).output();
    }
}
