//! What a local network consists of, and where everything of it lies on disk.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::LocalError;

/// Which TCP ports the nodes listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ports {
    /// The ports every tutorial of the field uses: orderer 7050, peers 7051, 9051, 11051 and so on.
    WellKnown,
    /// Any free ports.
    Free,
    /// Consecutive ports from this one.
    From(u16),
}

/// What the user asked for; only used when a network is made, later starts read it back from [`NetworkSpec`].
#[derive(Debug, Clone)]
pub struct Request {
    /// Number of peer organisations, one peer each (1 to 9).
    pub organizations: usize,
    /// Number of Raft orderers (1, 3 or 5).
    pub orderers: usize,
    /// Channel to create.
    pub channel: String,
    /// Endorsement policy of the sample contract in the policy language; `None` means any member of any organisation.
    pub policy: Option<String>,
    /// Ports to listen on.
    pub ports: Ports,
    /// Largest number of transactions in a block.
    pub max_message_count: u32,
    /// Longest time that the orderer waits for more transactions, as configtx.yaml writes it.
    pub batch_timeout: String,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            organizations: 2,
            orderers: 1,
            channel: "mychannel".into(),
            policy: None,
            ports: Ports::WellKnown,
            max_message_count: 500,
            batch_timeout: "100ms".into(),
        }
    }
}

/// The network as it was made: kept in `network.json` of the data folder.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NetworkSpec {
    /// Format of this file.
    pub version: u32,
    /// The channel of the network.
    pub channel: String,
    /// Endorsement policy of the sample contract.
    pub policy: String,
    /// Largest number of transactions in a block.
    pub max_message_count: u32,
    /// Longest wait for more transactions.
    pub batch_timeout: String,
    /// Every node.
    pub nodes: Vec<NodeSpec>,
}

/// What a node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Orders transactions into blocks.
    Orderer,
    /// Endorses, validates and commits.
    Peer,
}

/// One node and its addresses.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NodeSpec {
    /// Host name in its certificates, and its name in all commands.
    pub name: String,
    /// What it does.
    pub role: Role,
    /// Its organisation's MSP id.
    pub mspid: String,
    /// Its organisation's domain.
    pub domain: String,
    /// gRPC port.
    pub port: u16,
    /// Operations port (health, metrics).
    pub operations_port: u16,
    /// Orderers: channel participation. Peers: the port on which chaincode registers.
    pub second_port: u16,
}

impl NodeSpec {
    /// `host:port` of the gRPC service.
    pub fn endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `host:port` of the operations service.
    pub fn operations(&self) -> String {
        format!("127.0.0.1:{}", self.operations_port)
    }

    /// `host:port` of the second service (participation or chaincode).
    pub fn second(&self) -> String {
        format!("127.0.0.1:{}", self.second_port)
    }
}

impl NetworkSpec {
    /// Names and ports for a new network.
    pub fn plan(request: &Request) -> Result<Self, LocalError> {
        if !(1..=9).contains(&request.organizations) {
            return Err(LocalError::Request(format!(
                "{} organisations asked for; a local network has 1 to 9",
                request.organizations
            )));
        }
        if ![1, 3, 5].contains(&request.orderers) {
            return Err(LocalError::Request(format!(
                "{} orderers asked for; a local network has 1, 3 or 5",
                request.orderers
            )));
        }
        let mut ports = PortPlan::new(request.ports);
        let mut nodes = Vec::new();
        for index in 0..request.orderers {
            let [port, second_port, operations_port] = ports.orderer(index)?;
            let name = if index == 0 { "orderer".to_owned() } else { format!("orderer{}", index + 1) };
            nodes.push(NodeSpec {
                name: format!("{name}.example.com"),
                role: Role::Orderer,
                mspid: "OrdererMSP".into(),
                domain: "example.com".into(),
                port,
                operations_port,
                second_port,
            });
        }
        for index in 0..request.organizations {
            let [port, second_port, operations_port] = ports.peer(index)?;
            let domain = format!("org{}.example.com", index + 1);
            nodes.push(NodeSpec {
                name: format!("peer0.{domain}"),
                role: Role::Peer,
                mspid: format!("Org{}MSP", index + 1),
                domain,
                port,
                operations_port,
                second_port,
            });
        }
        let policy = request.policy.clone().unwrap_or_else(|| {
            let members: Vec<String> = (1..=request.organizations).map(|n| format!("'Org{n}MSP.member'")).collect();
            format!("OR({})", members.join(","))
        });
        Ok(Self {
            version: 1,
            channel: request.channel.clone(),
            policy,
            max_message_count: request.max_message_count,
            batch_timeout: request.batch_timeout.clone(),
            nodes,
        })
    }

    /// The orderers, in order.
    pub fn orderers(&self) -> impl Iterator<Item = &NodeSpec> {
        self.nodes.iter().filter(|node| node.role == Role::Orderer)
    }

    /// The peers, in order.
    pub fn peers(&self) -> impl Iterator<Item = &NodeSpec> {
        self.nodes.iter().filter(|node| node.role == Role::Peer)
    }
}

/// Hands out ports of the chosen kind.
struct PortPlan {
    ports: Ports,
    next: u16,
    /// Listeners held open while planning, so that the same free port is not handed out twice.
    held: Vec<TcpListener>,
}

impl PortPlan {
    fn new(ports: Ports) -> Self {
        let next = if let Ports::From(first) = ports { first } else { 0 };
        Self { ports, next, held: Vec::new() }
    }

    fn take(&mut self) -> Result<u16, LocalError> {
        if let Ports::From(_) = self.ports {
            let port = self.next;
            self.next = port
                .checked_add(1)
                .ok_or_else(|| LocalError::Request("the port range ends at 65535; choose a lower first port".into()))?;
            return Ok(port);
        }
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
            .and_then(|listener| Ok((listener.local_addr()?.port(), listener)))
            .map_err(|source| LocalError::Io { what: "find a free port on 127.0.0.1".into(), source })?;
        self.held.push(listener.1);
        Ok(listener.0)
    }

    /// gRPC, participation, operations.
    fn orderer(&mut self, index: usize) -> Result<[u16; 3], LocalError> {
        if self.ports == Ports::WellKnown {
            let shift = 100 * index as u16;
            return Ok([7050 + shift, 7053 + shift, 9443 + shift]);
        }
        Ok([self.take()?, self.take()?, self.take()?])
    }

    /// gRPC, chaincode, operations.
    fn peer(&mut self, index: usize) -> Result<[u16; 3], LocalError> {
        if self.ports == Ports::WellKnown {
            let index = index as u16;
            return Ok([7051 + 2000 * index, 7052 + 2000 * index, 9444 + index]);
        }
        Ok([self.take()?, self.take()?, self.take()?])
    }
}

/// Paths inside the data folder.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The layout of a data folder.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_path_buf() }
    }

    /// The data folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The network as made.
    pub fn spec_file(&self) -> PathBuf {
        self.root.join("network.json")
    }

    /// Processes of the last start.
    pub fn run_file(&self) -> PathBuf {
        self.root.join("run.json")
    }

    /// Certificates and keys, in the folder layout that cryptogen makes.
    pub fn crypto(&self) -> PathBuf {
        self.root.join("crypto")
    }

    /// The genesis block of the channel.
    pub fn genesis(&self) -> PathBuf {
        self.root.join("genesis.block")
    }

    /// Configuration, ledger and log of one node.
    pub fn node(&self, node: &NodeSpec) -> PathBuf {
        self.root.join("nodes").join(&node.name)
    }

    /// The log of one node.
    pub fn log(&self, node: &NodeSpec) -> PathBuf {
        self.node(node).join("node.log")
    }

    /// A node's MSP and TLS folders.
    pub fn node_crypto(&self, node: &NodeSpec) -> PathBuf {
        match node.role {
            Role::Orderer => self.crypto().join("ordererOrganizations").join(&node.domain).join("orderers"),
            Role::Peer => self.crypto().join("peerOrganizations").join(&node.domain).join("peers"),
        }
        .join(&node.name)
    }

    /// The organisation's folder.
    pub fn organization(&self, node: &NodeSpec) -> PathBuf {
        match node.role {
            Role::Orderer => self.crypto().join("ordererOrganizations").join(&node.domain),
            Role::Peer => self.crypto().join("peerOrganizations").join(&node.domain),
        }
    }

    /// The MSP folder of a user (`Admin` or `User1`) of the node's organisation.
    pub fn user(&self, node: &NodeSpec, user: &str) -> PathBuf {
        self.organization(node).join("users").join(format!("{user}@{}", node.domain))
    }
}
