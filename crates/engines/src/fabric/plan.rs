//! From a request to a specification: names, ports, defaults. Pure but for the look at which ports are free.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use super::layout::invalid;
use crate::EngineError;
use crate::spec::{
    ChannelSpec, EngineKind, NetworkRequest, NetworkSpec, NodeSpec, OrganisationRequest, OrganisationSpec,
};

/// Name of the organisation that runs the orderers.
pub(super) const ORDERER_ORGANISATION: &str = "Orderer";
/// Domain under which every organisation has its own.
const DOMAIN: &str = "example.com";
/// Name of the first channel when none is asked for.
const CHANNEL: &str = "mychannel";
const PEER: &str = "peer";
const ORDERER: &str = "orderer";
/// The ports of a peer by name.
const PEER_PORTS: [&str; 3] = ["grpc", "chaincode", "operations"];
/// The ports of an orderer by name.
const ORDERER_PORTS: [&str; 3] = ["grpc", "participation", "operations"];
/// Where free ports are looked for: below those that the system hands out to outgoing connections by itself.
const FREE_PORTS: std::ops::Range<u16> = 16_000..32_000;

const MAX_ORGANISATIONS: usize = 32;
const MAX_NODES: u32 = 16;
const DEFAULT_BLOCK_TIME_MS: u32 = 500;
const DEFAULT_BLOCK_TRANSACTIONS: u32 = 500;

/// Which kind of node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Endorses, validates and commits.
    Peer,
    /// Orders transactions into blocks.
    Orderer,
}

impl Role {
    pub(super) fn of(text: &str) -> Option<Self> {
        match text {
            PEER => Some(Self::Peer),
            ORDERER => Some(Self::Orderer),
            _ => None,
        }
    }

    fn ports(self) -> [&'static str; 3] {
        match self {
            Self::Peer => PEER_PORTS,
            Self::Orderer => ORDERER_PORTS,
        }
    }
}

impl NodeSpec {
    pub(super) fn is_orderer(&self) -> bool {
        self.role == ORDERER
    }

    pub(super) fn is_peer(&self) -> bool {
        self.role == PEER
    }

    pub(super) fn port(&self, name: &str) -> u16 {
        self.ports.get(name).copied().unwrap_or_default()
    }
}

impl OrganisationSpec {
    /// The MSP id; imported records may lack it.
    pub(super) fn msp(&self) -> String {
        self.mspid.clone().unwrap_or_else(|| format!("{}MSP", self.name))
    }
}

/// Checks a name that goes into certificates, host names and MSP ids.
fn check_name(field: &str, name: &str) -> Result<(), EngineError> {
    let starts_well = name.chars().next().is_some_and(|first| first.is_ascii_alphabetic());
    let letters = name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-');
    if starts_well && letters && name.len() <= 32 && !name.ends_with('-') {
        return Ok(());
    }
    Err(invalid(field, "use 1 to 32 letters, digits and dashes, a letter first and no dash last, such as Org1"))
}

/// Checks the name of a channel as the network does.
pub(super) fn check_channel(field: &str, name: &str) -> Result<(), EngineError> {
    if name.len() > 64 {
        return Err(invalid(field, "a channel name has at most 64 letters"));
    }
    fabric_channel::config::validate_channel_id(name).map_err(|error| {
        invalid(field, format!("{error}; use lower-case letters, digits, dots and dashes, a letter first"))
    })
}

/// The specification that a request asks for.
pub(super) fn plan(id: &str, request: &NetworkRequest, taken: &[u16]) -> Result<NetworkSpec, EngineError> {
    check(request)?;
    let channel = request.channel.clone().unwrap_or_else(|| CHANNEL.to_owned());
    check_channel("channel", &channel)?;
    let mut ports = Ports::new(id, request.first_port, taken);
    let mut organisations = vec![OrganisationSpec {
        id: None,
        name: ORDERER_ORGANISATION.into(),
        mspid: Some("OrdererMSP".into()),
        domain: DOMAIN.into(),
        orders_only: true,
    }];
    let mut nodes = Vec::new();
    for number in 1..=request.orderers.unwrap_or(1) {
        nodes.push(node(&organisations[0], Role::Orderer, number, &mut ports)?);
    }
    for wanted in &request.organisations {
        let organisation = organisation(wanted);
        for number in 0..wanted.nodes {
            nodes.push(node(&organisation, Role::Peer, number, &mut ports)?);
        }
        organisations.push(organisation);
    }
    let channel = ChannelSpec {
        name: channel,
        organisations: request.organisations.iter().map(|wanted| wanted.name.clone()).collect(),
        nodes: nodes.iter().map(|node| node.id.clone()).collect(),
    };
    Ok(NetworkSpec {
        id: id.to_owned(),
        name: request.name.clone(),
        engine: EngineKind::Fabric,
        driver: request.driver,
        consensus: "raft".into(),
        chain_id: None,
        organisations,
        channels: vec![channel],
        nodes,
        block_time_ms: request.block_time_ms.unwrap_or(DEFAULT_BLOCK_TIME_MS),
        block_transactions: request.block_transactions.unwrap_or(DEFAULT_BLOCK_TRANSACTIONS),
    })
}

fn check(request: &NetworkRequest) -> Result<(), EngineError> {
    if request.engine != EngineKind::Fabric {
        return Err(invalid("engine", "this is the fabric engine"));
    }
    if request.consensus != "raft" {
        return Err(invalid(
            "consensus",
            format!("{:?} is not known; Fabric's orderers agree by raft", request.consensus),
        ));
    }
    let orderers = request.orderers.unwrap_or(1);
    if ![1, 3, 5, 7].contains(&orderers) {
        return Err(invalid("orderers", format!("{orderers} orderers asked for; use 1, 3, 5 or 7")));
    }
    let count = request.organisations.len();
    if !(1..=MAX_ORGANISATIONS).contains(&count) {
        return Err(invalid(
            "organisations",
            format!("{count} organisations asked for; a network has 1 to {MAX_ORGANISATIONS}"),
        ));
    }
    let mut seen = BTreeSet::new();
    for (index, wanted) in request.organisations.iter().enumerate() {
        let field = format!("organisations[{index}]");
        check_organisation(&field, wanted)?;
        if !seen.insert(wanted.name.to_ascii_lowercase()) {
            return Err(invalid(
                format!("{field}.name"),
                format!("{} is there twice; names differ by more than case", wanted.name),
            ));
        }
    }
    let with_peers = request.organisations.iter().filter(|wanted| wanted.nodes > 0).count();
    if with_peers * 2 <= count {
        return Err(invalid(
            "organisations",
            "more than half of the organisations need a peer: a majority of them has to endorse every contract",
        ));
    }
    if request.block_time_ms.is_some_and(|time| !(1..=60_000).contains(&time)) {
        return Err(invalid("block_time_ms", "use 1 to 60000 milliseconds"));
    }
    if request.block_transactions.is_some_and(|count| !(1..=100_000).contains(&count)) {
        return Err(invalid("block_transactions", "use 1 to 100000 transactions"));
    }
    Ok(())
}

/// Checks an organisation of a request.
pub(super) fn check_organisation(field: &str, wanted: &OrganisationRequest) -> Result<(), EngineError> {
    check_name(&format!("{field}.name"), &wanted.name)?;
    if wanted.name.eq_ignore_ascii_case(ORDERER_ORGANISATION) {
        return Err(invalid(
            format!("{field}.name"),
            "Orderer is the organisation of the orderers; choose another name",
        ));
    }
    if wanted.nodes > MAX_NODES {
        return Err(invalid(
            format!("{field}.nodes"),
            format!("an organisation begins with at most {MAX_NODES} peers"),
        ));
    }
    if wanted.observers > 0 {
        return Err(invalid(format!("{field}.observers"), "Fabric has no observers; use 0"));
    }
    Ok(())
}

/// The specification of an organisation of peers.
pub(super) fn organisation(wanted: &OrganisationRequest) -> OrganisationSpec {
    OrganisationSpec {
        id: wanted.id.clone(),
        name: wanted.name.clone(),
        mspid: Some(format!("{}MSP", wanted.name)),
        domain: format!("{}.{DOMAIN}", wanted.name.to_ascii_lowercase()),
        orders_only: false,
    }
}

/// The id that a node of an organisation has by its number.
fn node_id(organisation: &OrganisationSpec, role: Role, number: u32) -> String {
    match role {
        Role::Orderer => format!("orderer{number}"),
        Role::Peer => format!("peer{number}-{}", organisation.name.to_ascii_lowercase()),
    }
}

/// The specification of one node.
pub(super) fn node(
    organisation: &OrganisationSpec,
    role: Role,
    number: u32,
    ports: &mut Ports,
) -> Result<NodeSpec, EngineError> {
    let host = match role {
        Role::Orderer => format!("orderer{number}"),
        Role::Peer => format!("peer{number}"),
    };
    let mut named = BTreeMap::new();
    for name in role.ports() {
        named.insert(name.to_owned(), ports.take()?);
    }
    Ok(NodeSpec {
        id: node_id(organisation, role, number),
        hostname: format!("{host}.{}", organisation.domain),
        role: if role == Role::Orderer { ORDERER } else { PEER }.to_owned(),
        organisation: organisation.name.clone(),
        ports: named,
        node_id: None,
        external: None,
    })
}

/// The number of the next node of an organisation: never one that was used by a node that is still there.
pub(super) fn next_number(spec: &NetworkSpec, organisation: &OrganisationSpec, role: Role) -> u32 {
    let first = u32::from(role == Role::Orderer);
    (first..=u32::MAX).find(|number| spec.node(&node_id(organisation, role, *number)).is_none()).unwrap_or(first)
}

/// The id of the next node of an organisation.
pub(super) fn next_id(spec: &NetworkSpec, organisation: &OrganisationSpec, role: Role) -> String {
    node_id(organisation, role, next_number(spec, organisation, role))
}

/// Hands out ports: consecutive ones, or free ones.
#[derive(Debug)]
pub(super) struct Ports {
    next: u16,
    consecutive: bool,
    taken: BTreeSet<u16>,
    tried: u32,
}

impl Ports {
    /// Ports from `first` on, or free ones that are not `taken`. Networks look in different places, by their ids, so that ports
    /// of stopped networks are rarely handed out again.
    pub(super) fn new(id: &str, first: Option<u16>, taken: &[u16]) -> Self {
        let spread = id.bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
        let start = FREE_PORTS.start + (spread % u32::from(FREE_PORTS.end - FREE_PORTS.start)) as u16;
        Self {
            next: first.unwrap_or(start),
            consecutive: first.is_some(),
            taken: taken.iter().copied().collect(),
            tried: 0,
        }
    }

    /// Free ports for further nodes of a network: behind all it has, so that a removed node's port, which others may still
    /// remember, is not soon somebody else's.
    pub(super) fn after(spec: &NetworkSpec) -> Self {
        let taken: Vec<u16> = spec.all_ports().collect();
        let mut ports = Self::new(&spec.id, None, &taken);
        let last = taken.iter().copied().filter(|port| FREE_PORTS.contains(port)).max();
        if let Some(next) = last.map(|last| last + 1).filter(|next| FREE_PORTS.contains(next)) {
            ports.next = next;
        }
        ports
    }

    fn take(&mut self) -> Result<u16, EngineError> {
        if self.consecutive {
            let port = self.next;
            self.next = port.checked_add(1).filter(|_| port >= 1024).ok_or_else(|| {
                invalid("first_port", "the ports lie between 1024 and 65535; choose another first port")
            })?;
            if self.taken.contains(&port) {
                return Err(invalid(
                    "first_port",
                    format!("port {port} belongs to another network; choose another range"),
                ));
            }
            return Ok(port);
        }
        while self.tried < u32::from(FREE_PORTS.end - FREE_PORTS.start) {
            self.tried += 1;
            let port = self.next;
            self.next = if port + 1 < FREE_PORTS.end { port + 1 } else { FREE_PORTS.start };
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            if !self.taken.contains(&port) && TcpListener::bind(address).is_ok() {
                return Ok(port);
            }
        }
        Err(invalid("first_port", "there is no free port left between 16000 and 32000; name a first port"))
    }
}

#[cfg(test)]
mod tests {
    use konsort_drivers::DriverKind;

    use super::*;

    fn request() -> NetworkRequest {
        let organisation = |name: &str, nodes| OrganisationRequest { id: None, name: name.into(), nodes, observers: 0 };
        NetworkRequest {
            name: "网络".into(),
            engine: EngineKind::Fabric,
            driver: DriverKind::Process,
            organisations: vec![organisation("Org1", 2), organisation("Org2", 1)],
            consensus: "raft".into(),
            orderers: Some(3),
            channel: None,
            first_port: Some(20_000),
            block_time_ms: None,
            block_transactions: None,
        }
    }

    fn field(request: &NetworkRequest, taken: &[u16]) -> String {
        match plan("net_1", request, taken) {
            Err(EngineError::Invalid { field, why }) => {
                assert!(!why.is_empty());
                field
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn names_and_ports_follow_the_request() {
        let spec = plan("net_1", &request(), &[]).unwrap();
        let ids: Vec<&str> = spec.nodes.iter().map(|node| node.id.as_str()).collect();
        assert_eq!(ids, ["orderer1", "orderer2", "orderer3", "peer0-org1", "peer1-org1", "peer0-org2"]);
        assert_eq!(spec.nodes[3].hostname, "peer0.org1.example.com");
        assert_eq!(spec.all_ports().collect::<BTreeSet<_>>(), (20_000..20_018).collect());
        assert_eq!(spec.organisations[1].msp(), "Org1MSP");
        assert_eq!(spec.channels[0].organisations, ["Org1", "Org2"]);
        assert_eq!(spec.channels[0].nodes.len(), 6);
    }

    #[test]
    fn free_ports_avoid_those_of_other_networks() {
        let free = NetworkRequest { first_port: None, ..request() };
        let first: Vec<u16> = plan("net_1", &free, &[]).unwrap().all_ports().collect();
        let second: BTreeSet<u16> = plan("net_1", &free, &first).unwrap().all_ports().collect();
        assert!(first.iter().all(|port| !second.contains(port) && FREE_PORTS.contains(port)));
    }

    #[test]
    fn nonsense_is_refused_by_field() {
        let change = |change: fn(&mut NetworkRequest)| {
            let mut request = request();
            change(&mut request);
            field(&request, &[])
        };
        assert_eq!(change(|request| request.orderers = Some(2)), "orderers");
        assert_eq!(change(|request| request.consensus = "pbft".into()), "consensus");
        assert_eq!(change(|request| request.organisations.clear()), "organisations");
        assert_eq!(change(|request| request.organisations[1].name = "org1".into()), "organisations[1].name");
        assert_eq!(change(|request| request.organisations[0].name = "../x".into()), "organisations[0].name");
        assert_eq!(change(|request| request.organisations[0].name = "orderer".into()), "organisations[0].name");
        assert_eq!(change(|request| request.organisations[0].nodes = 99), "organisations[0].nodes");
        assert_eq!(change(|request| request.organisations[0].nodes = 0), "organisations");
        assert_eq!(change(|request| request.organisations[0].observers = 1), "organisations[0].observers");
        assert_eq!(change(|request| request.channel = Some("My Channel".into())), "channel");
        assert_eq!(change(|request| request.block_time_ms = Some(0)), "block_time_ms");
        assert_eq!(change(|request| request.first_port = Some(65_530)), "first_port");
        assert_eq!(field(&request(), &[20_003]), "first_port");
    }

    #[test]
    fn the_next_node_takes_the_first_free_number() {
        let mut spec = plan("net_1", &request(), &[]).unwrap();
        let (orderers, org1) = (spec.organisations[0].clone(), spec.organisations[1].clone());
        assert_eq!(next_id(&spec, &orderers, Role::Orderer), "orderer4");
        assert_eq!(next_id(&spec, &org1, Role::Peer), "peer2-org1");
        spec.nodes.retain(|node| node.id != "peer0-org1");
        assert_eq!(next_id(&spec, &org1, Role::Peer), "peer0-org1");
    }
}
