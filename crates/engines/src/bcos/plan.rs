//! From a request to a specification: names, ports, defaults.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};

use super::Bcos;
use crate::EngineError;
use crate::spec::{
    ChannelSpec, EngineKind, NetworkRequest, NetworkSpec, NodeSpec, OrganisationRequest, OrganisationSpec,
};

/// Names of a node's ports, in the order in which they are given.
pub(super) const PORTS: [&str; 4] = ["p2p", "rpc", "web3", "metrics"];
/// Where the search for free ports begins: upstream's first port.
const FIRST_PORT: u16 = 30_300;
/// Nodes of one network.
const MOST_NODES: usize = 64;
const MOST_ORGANISATIONS: usize = 32;

pub(super) fn invalid(field: impl Into<String>, why: impl Into<String>) -> EngineError {
    EngineError::Invalid { field: field.into(), why: why.into() }
}

/// A name that is safe in file names and on the command line of the chain builder.
fn check_name(field: &str, name: &str, longest: usize) -> Result<(), EngineError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let starts = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if starts && name.len() <= longest && name.bytes().all(plain) {
        return Ok(());
    }
    Err(invalid(
        field,
        format!(
            "{name:?} must be 1 to {longest} letters, digits, dashes or underscores and begin with a letter or digit"
        ),
    ))
}

/// Checks the name of a group.
pub(super) fn check_group(field: &str, name: &str) -> Result<(), EngineError> {
    check_name(field, name, 64)
}

/// Checks an organisation that is to join; `at` is its place in the request.
pub(super) fn check_organisation(at: &str, organisation: &OrganisationRequest) -> Result<(), EngineError> {
    check_name(&format!("{at}.name"), &organisation.name, 40)?;
    if organisation.nodes > 16 {
        return Err(invalid(
            format!("{at}.nodes"),
            "an organisation starts with 0 to 16 nodes; add further ones later",
        ));
    }
    if organisation.observers > organisation.nodes {
        return Err(invalid(
            format!("{at}.observers"),
            format!("{} of {} nodes cannot be observers", organisation.observers, organisation.nodes),
        ));
    }
    Ok(())
}

/// Checks the name of an account.
pub(super) fn check_account(field: &str, name: &str) -> Result<(), EngineError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'@');
    let starts = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if starts && name.len() <= 64 && name.bytes().all(plain) {
        return Ok(());
    }
    Err(invalid(
        field,
        format!("{name:?} must be 1 to 64 letters, digits or any of - _ . @ and begin with a letter or digit"),
    ))
}

/// Number of the next node: after the highest there is, so that a removed node's name does not come back while others stay.
pub(super) fn next_node(spec: &NetworkSpec) -> usize {
    spec.nodes
        .iter()
        .filter_map(|node| node.id.strip_prefix("node")?.parse::<usize>().ok())
        .max()
        .map_or(0, |last| last + 1)
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
}

/// Where to look for free ports: from upstream's first one on, below that, and last where systems take ports for outgoing
/// connections, any of which may come and go.
const RANGES: [(u16, u16); 3] = [(FIRST_PORT, 32_768), (10_000, FIRST_PORT), (32_768, 65_000)];

/// Where a network looks first: in different places by their ids, so that networks which are made at the same moment, and ports
/// of stopped ones, are rarely met.
fn first_of(id: &str, wanted: usize) -> u16 {
    let (from, to) = RANGES[0];
    let wanted = u16::try_from(wanted).unwrap_or(u16::MAX).max(1);
    let places = u32::from(((to - from) / wanted).max(1));
    let spread = id.bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
    from + u16::try_from(spread % places).unwrap_or_default() * wanted
}

/// As many free ports in a row as asked for, from `first` on where that is possible.
fn free_row(first: u16, count: usize, taken: &[u16]) -> Option<u16> {
    let count = u16::try_from(count).ok()?;
    let (_, end) = RANGES.iter().find(|(from, to)| (*from..*to).contains(&first)).copied().unwrap_or_default();
    std::iter::once((first, end)).chain(RANGES).find_map(|(mut start, end)| {
        while start.checked_add(count)? <= end {
            match (start..start + count).rev().find(|port| taken.contains(port) || !is_free(*port)) {
                None => return Some(start),
                Some(used) => start = used + 1,
            }
        }
        None
    })
}

/// Ports of one more node, next to the network's own where that is free.
pub(super) fn more_ports(spec: &NetworkSpec) -> Result<BTreeMap<String, u16>, EngineError> {
    let own: Vec<u16> = spec.all_ports().collect();
    let first = own.iter().max().map_or(FIRST_PORT, |last| last.saturating_add(1));
    let start = free_row(first, PORTS.len(), &own)
        .ok_or_else(|| EngineError::Unsupported("no four free ports in a row were found on this machine".into()))?;
    Ok(ports_from(start))
}

fn ports_from(start: u16) -> BTreeMap<String, u16> {
    PORTS.iter().zip(start..).map(|(name, port)| ((*name).to_owned(), port)).collect()
}

pub(super) fn node(
    number: usize,
    organisation: &OrganisationSpec,
    role: &str,
    ports: BTreeMap<String, u16>,
) -> NodeSpec {
    NodeSpec {
        id: format!("node{number}"),
        hostname: format!("node{number}.{}", organisation.domain),
        role: role.to_owned(),
        organisation: organisation.name.clone(),
        ports,
        node_id: None,
        external: None,
    }
}

pub(super) fn organisation(request: &OrganisationRequest) -> OrganisationSpec {
    OrganisationSpec {
        id: request.id.clone(),
        name: request.name.clone(),
        mspid: None,
        domain: format!("{}.example.com", request.name.to_ascii_lowercase().replace('_', "-")),
        orders_only: false,
    }
}

/// The number Ethereum's wallets know the network by: from its id, so that two networks of one person are two to a wallet.
pub(super) fn web3_chain_id(network: &str) -> u32 {
    let hash = network.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    20_200_000 + hash % 10_000_000
}

impl Bcos {
    pub(super) fn planned(id: &str, request: &NetworkRequest, taken: &[u16]) -> Result<NetworkSpec, EngineError> {
        if request.engine != EngineKind::Bcos {
            return Err(invalid("engine", "this request is not for a BCOS network"));
        }
        if !["pbft", "rpbft", "raft"].contains(&request.consensus.as_str()) {
            return Err(invalid("consensus", format!("{:?} is not one of pbft, rpbft, raft", request.consensus)));
        }
        if request.organisations.is_empty() || request.organisations.len() > MOST_ORGANISATIONS {
            return Err(invalid("organisations", format!("name 1 to {MOST_ORGANISATIONS} organisations")));
        }
        for (at, organisation) in request.organisations.iter().enumerate() {
            check_organisation(&format!("organisations[{at}]"), organisation)?;
            let same = |other: &OrganisationRequest| other.name.eq_ignore_ascii_case(&organisation.name);
            if request.organisations[..at].iter().any(same) {
                return Err(invalid(
                    format!("organisations[{at}].name"),
                    format!("{} is named twice", organisation.name),
                ));
            }
        }
        let count: usize = request.organisations.iter().map(|organisation| organisation.nodes as usize).sum();
        let sealers = request.organisations.iter().any(|organisation| organisation.nodes > organisation.observers);
        if !sealers {
            return Err(invalid("organisations", "at least one node must be a sealer, or no block is ever made"));
        }
        if count > MOST_NODES {
            return Err(invalid("organisations", format!("{count} nodes; a network starts with at most {MOST_NODES}")));
        }
        let group = request.channel.clone().unwrap_or_else(|| "group0".into());
        check_group("channel", &group)?;
        let block_time_ms = request.block_time_ms.unwrap_or(500);
        if block_time_ms > 60_000 {
            return Err(invalid("block_time_ms", "a block waits at most 60000 ms"));
        }
        let block_transactions = request.block_transactions.unwrap_or(1000);
        if !(1..=100_000).contains(&block_transactions) {
            return Err(invalid("block_transactions", "a block holds 1 to 100000 transactions"));
        }
        let wanted = count * PORTS.len();
        let start = match request.first_port {
            Some(first) => {
                let last = usize::from(first) + wanted;
                if first < 1024 || last > 65_536 {
                    return Err(invalid(
                        "first_port",
                        format!("{wanted} ports from {first} on do not fit between 1024 and 65535"),
                    ));
                }
                if let Some(used) =
                    (usize::from(first)..last).find(|port| taken.iter().any(|taken| usize::from(*taken) == *port))
                {
                    return Err(invalid(
                        "first_port",
                        format!("port {used} belongs to another network; choose another first port"),
                    ));
                }
                first
            }
            None => {
                free_row(first_of(id, wanted), wanted, taken).or_else(|| free_row(10_000, wanted, taken)).ok_or_else(
                    || invalid("first_port", format!("no {wanted} free ports in a row were found; name a first port")),
                )?
            }
        };
        let organisations: Vec<OrganisationSpec> = request.organisations.iter().map(organisation).collect();
        let mut nodes = Vec::new();
        for (asked, made) in request.organisations.iter().zip(&organisations) {
            for index in 0..asked.nodes {
                // The last ones of an organisation observe.
                let role = if index < asked.nodes - asked.observers { "sealer" } else { "observer" };
                let number = nodes.len();
                let offset = u16::try_from(number * PORTS.len()).unwrap_or(u16::MAX);
                nodes.push(node(number, made, role, ports_from(start + offset)));
            }
        }
        let short: String = id.trim_start_matches("net_").chars().filter(char::is_ascii_alphanumeric).take(8).collect();
        Ok(NetworkSpec {
            id: id.to_owned(),
            name: request.name.clone(),
            engine: EngineKind::Bcos,
            driver: request.driver,
            consensus: request.consensus.clone(),
            chain_id: Some(format!("chain-{short}")),
            channels: vec![ChannelSpec {
                name: group,
                organisations: organisations.iter().map(|organisation| organisation.name.clone()).collect(),
                nodes: nodes.iter().map(|node| node.id.clone()).collect(),
            }],
            organisations,
            nodes,
            block_time_ms,
            block_transactions,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> NetworkRequest {
        serde_json::from_value(serde_json::json!({
            "name": "Trade", "engine": "bcos", "consensus": "pbft",
            "organisations": [{ "name": "Org1", "nodes": 3, "observers": 1 }, { "name": "Org2", "nodes": 2 }],
        }))
        .unwrap()
    }

    #[test]
    fn a_plan_names_nodes_and_gives_each_its_ports() {
        let spec = Bcos::planned("net_abcdefghijklmnopqrst", &request(), &[]).unwrap();
        assert_eq!(spec.chain_id.as_deref(), Some("chain-abcdefgh"));
        let roles: Vec<&str> = spec.nodes.iter().map(|node| node.role.as_str()).collect();
        assert_eq!(roles, ["sealer", "sealer", "observer", "sealer", "sealer"]);
        let ports: std::collections::BTreeSet<u16> = spec.all_ports().collect();
        assert_eq!(ports.len(), 20);
        let taken: Vec<u16> = ports.into_iter().collect();
        let other = Bcos::planned("net_b", &request(), &taken).unwrap();
        assert!(other.all_ports().all(|port| !taken.contains(&port)));
        assert_eq!(spec.nodes[3].hostname, "node3.org2.example.com");
    }

    #[test]
    fn nonsense_is_refused_by_field() {
        let field = |change: &dyn Fn(&mut NetworkRequest)| {
            let mut request = request();
            change(&mut request);
            match Bcos::planned("net_a", &request, &[40_002]).unwrap_err() {
                EngineError::Invalid { field, .. } => field,
                other => panic!("{other}"),
            }
        };
        assert_eq!(field(&|request| request.consensus = "solo".into()), "consensus");
        assert_eq!(field(&|request| request.organisations[1].name = "org1".into()), "organisations[1].name");
        assert_eq!(field(&|request| request.organisations[0].name = "../up".into()), "organisations[0].name");
        assert_eq!(field(&|request| request.organisations[0].observers = 4), "organisations[0].observers");
        assert_eq!(field(&|request| request.organisations[0].nodes = 17), "organisations[0].nodes");
        assert_eq!(field(&|request| request.organisations.clear()), "organisations");
        assert_eq!(field(&|request| request.first_port = Some(40_000)), "first_port");
        assert_eq!(field(&|request| request.first_port = Some(65_530)), "first_port");
        assert_eq!(field(&|request| request.channel = Some("a/b".into())), "channel");
        assert_eq!(field(&|request| request.block_transactions = Some(0)), "block_transactions");
        let observers = |request: &mut NetworkRequest| {
            request.organisations.truncate(1);
            request.organisations[0].observers = 3;
        };
        assert_eq!(field(&observers), "organisations");
    }
}
