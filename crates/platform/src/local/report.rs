//! What runs where, for people and programs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fabric_client::{AdminClient, Endpoint};
use serde::Serialize;

use super::bring_up::{self, SAMPLE};
use super::process::NodeProcess;
use super::spec::{Layout, NetworkSpec, Role};

/// A network for a program that wants to use it.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The data folder.
    pub data: PathBuf,
    /// The channel.
    pub channel: String,
    /// Name of the sample contract.
    pub chaincode: String,
    /// Milliseconds from the start of the command to the first committed transaction; only after a start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_commit_ms: Option<u64>,
    /// Every node.
    pub nodes: Vec<NodeReport>,
    /// Identities that may be used.
    pub identities: Vec<IdentityReport>,
}

/// One node of a [`Report`].
#[derive(Debug, Serialize)]
pub struct NodeReport {
    /// Name, also the host name in its certificate.
    pub name: String,
    /// What it does.
    pub role: Role,
    /// MSP id of its organisation.
    pub mspid: String,
    /// gRPC `host:port`.
    pub endpoint: String,
    /// Certificate file of the authority that signed its TLS certificate.
    pub tls_ca: PathBuf,
    /// Health and metrics `host:port` (HTTP).
    pub operations: String,
    /// Channel participation `host:port` (orderers).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin: Option<String>,
    /// Process id, when it was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// Log file.
    pub log: PathBuf,
}

/// An identity of a [`Report`].
#[derive(Debug, Serialize)]
pub struct IdentityReport {
    /// MSP id.
    pub mspid: String,
    /// Name, as `User1@org1.example.com`.
    pub name: String,
    /// MSP folder (certificate, key, roots).
    pub msp: PathBuf,
    /// TLS client certificate folder.
    pub tls: PathBuf,
}

/// State of a node.
#[derive(Debug, Serialize)]
pub struct NodeStatus {
    /// Name.
    pub name: String,
    /// What it does.
    pub role: Role,
    /// `host:port`.
    pub endpoint: String,
    /// Whether its process runs.
    pub running: bool,
    /// Process id when running.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// Height of the channel's ledger (peers that answer).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<u64>,
    /// What is wrong, when something is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

pub(super) fn report(layout: &Layout, spec: &NetworkSpec, processes: &[NodeProcess], took: Option<Duration>) -> Report {
    let nodes = spec
        .nodes
        .iter()
        .map(|node| NodeReport {
            name: node.name.clone(),
            role: node.role,
            mspid: node.mspid.clone(),
            endpoint: node.endpoint(),
            tls_ca: layout.node_crypto(node).join("tls/ca.crt"),
            operations: node.operations(),
            admin: (node.role == Role::Orderer).then(|| node.second()),
            pid: processes
                .iter()
                .find(|process| process.name == node.name && process.is_running())
                .map(|process| process.pid),
            log: layout.log(node),
        })
        .collect();
    let mut identities = Vec::new();
    for (index, node) in spec.nodes.iter().enumerate() {
        if spec.nodes[..index].iter().any(|earlier| earlier.mspid == node.mspid) {
            continue;
        }
        for user in ["Admin", "User1"] {
            let folder = layout.user(node, user);
            if folder.exists() {
                identities.push(IdentityReport {
                    mspid: node.mspid.clone(),
                    name: format!("{user}@{}", node.domain),
                    msp: folder.join("msp"),
                    tls: folder.join("tls"),
                });
            }
        }
    }
    Report {
        data: layout.root().to_path_buf(),
        channel: spec.channel.clone(),
        chaincode: SAMPLE.to_owned(),
        first_commit_ms: took.map(|took| took.as_millis() as u64),
        nodes,
        identities,
    }
}

pub(super) async fn status(layout: &Layout, spec: &NetworkSpec, processes: &[NodeProcess]) -> Vec<NodeStatus> {
    let mut statuses = Vec::new();
    for node in &spec.nodes {
        let process = processes.iter().find(|process| process.name == node.name);
        let running = process.is_some_and(NodeProcess::is_running);
        let mut status = NodeStatus {
            name: node.name.clone(),
            role: node.role,
            endpoint: node.endpoint(),
            running,
            pid: process.filter(|_| running).map(|process| process.pid),
            height: None,
            problem: None,
        };
        if !running {
            status.problem = Some(format!("not running; see {}", layout.log(node).display()));
        } else if node.role == Role::Peer {
            let height = async {
                let endpoint: Endpoint = bring_up::endpoint(layout, node)?;
                let signer = bring_up::signer(layout, node, "Admin")?;
                let client =
                    AdminClient::connect(&endpoint, Arc::new(signer)).await.map_err(|error| error.to_string())?;
                client.channel_info(&spec.channel).await.map(|info| info.height).map_err(|error| error.to_string())
            };
            match height.await {
                Ok(height) => status.height = Some(height),
                Err(problem) => status.problem = Some(problem),
            }
        }
        statuses.push(status);
    }
    statuses
}
