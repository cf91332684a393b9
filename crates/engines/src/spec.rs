//! What a network should be.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use konsort_drivers::DriverKind;

/// The engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EngineKind {
    /// Fabric-compatible peers and orderers.
    Fabric,
    /// FISCO BCOS- and Ethereum-compatible nodes.
    Bcos,
}

/// What a person asks for when creating a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NetworkRequest {
    /// Display name, any script, 1 to 64 characters.
    pub name: String,
    /// The engine.
    pub engine: EngineKind,
    /// Where its nodes run.
    #[serde(default = "process")]
    pub driver: DriverKind,
    /// Organisations, 1 to 32; on Fabric each has an MSP, on BCOS each is an agency.
    pub organisations: Vec<OrganisationRequest>,
    /// How the nodes agree. Fabric: `raft`. BCOS: `pbft`, `rpbft`, `raft`.
    pub consensus: String,
    /// Fabric: number of orderers (1, 3, 5 or 7). BCOS: not used, every organisation's nodes are sealers.
    #[serde(default)]
    pub orderers: Option<u32>,
    /// First channel (Fabric: default `mychannel`) or group (BCOS: default `group0`).
    #[serde(default)]
    pub channel: Option<String>,
    /// First port of a consecutive range; free ports are chosen when it is absent.
    #[serde(default)]
    pub first_port: Option<u16>,
    /// Longest wait for a block, milliseconds (Fabric batch timeout; BCOS minimal seal time).
    #[serde(default)]
    pub block_time_ms: Option<u32>,
    /// Most transactions of a block.
    #[serde(default)]
    pub block_transactions: Option<u32>,
}

fn process() -> DriverKind {
    DriverKind::Process
}

/// One organisation of a new network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrganisationRequest {
    /// Id of the organisation's record on the platform, when there is one.
    #[serde(default)]
    pub id: Option<String>,
    /// Name in identities: letters, digits, dash (`Org1` gives the MSP id `Org1MSP` and the domain `org1.example.com`).
    pub name: String,
    /// Its nodes: Fabric peers, BCOS sealers; 0 to 16.
    pub nodes: u32,
    /// BCOS: of these, how many are observers.
    #[serde(default)]
    pub observers: u32,
}

/// A network as planned; its changes are recorded by the platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NetworkSpec {
    /// The platform's id, `net_…`.
    pub id: String,
    /// Display name.
    pub name: String,
    /// The engine.
    pub engine: EngineKind,
    /// Where its nodes run.
    pub driver: DriverKind,
    /// How the nodes agree.
    pub consensus: String,
    /// BCOS: the chain id.
    pub chain_id: Option<String>,
    /// Organisations.
    pub organisations: Vec<OrganisationSpec>,
    /// Channels or groups.
    pub channels: Vec<ChannelSpec>,
    /// Every node.
    pub nodes: Vec<NodeSpec>,
    /// Block cutting.
    pub block_time_ms: u32,
    /// Most transactions of a block.
    pub block_transactions: u32,
}

/// An organisation of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OrganisationSpec {
    /// Id of its record on the platform.
    pub id: Option<String>,
    /// Name in identities.
    pub name: String,
    /// Fabric: MSP id.
    pub mspid: Option<String>,
    /// Domain of its hosts (`org1.example.com`).
    pub domain: String,
    /// Whether it only orders (Fabric's orderer organisation).
    #[serde(default)]
    pub orders_only: bool,
}

/// A channel or group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChannelSpec {
    /// Its name on the network.
    pub name: String,
    /// Names of the organisations in it.
    pub organisations: Vec<String>,
    /// Ids of the nodes that joined it.
    pub nodes: Vec<String>,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeSpec {
    /// Id, unique in its network: `peer0-org1`, `orderer1`, `node0`.
    pub id: String,
    /// Host name, in its certificate.
    pub hostname: String,
    /// `peer`, `orderer`, `sealer`, `observer`.
    pub role: String,
    /// Name of its organisation.
    pub organisation: String,
    /// Named ports: Fabric peer `grpc`, `chaincode`, `operations`; orderer `grpc`, `participation`, `operations`; BCOS `p2p`,
    /// `rpc`, `web3`, `metrics`.
    pub ports: std::collections::BTreeMap<String, u16>,
    /// BCOS: the node's id in consensus, 128 hex digits; set once its key is made.
    pub node_id: Option<String>,
    /// Of a node that somebody else hosts: its endpoints by the same names as `ports`, as `host:port`.
    #[serde(default)]
    pub external: Option<std::collections::BTreeMap<String, String>>,
}

impl NetworkSpec {
    /// The node with an id.
    pub fn node(&self, id: &str) -> Option<&NodeSpec> {
        self.nodes.iter().find(|node| node.id == id)
    }

    /// The channel with a name.
    pub fn channel(&self, name: &str) -> Option<&ChannelSpec> {
        self.channels.iter().find(|channel| channel.name == name)
    }

    /// Every port its nodes listen on.
    pub fn all_ports(&self) -> impl Iterator<Item = u16> + '_ {
        self.nodes.iter().flat_map(|node| node.ports.values().copied())
    }
}
