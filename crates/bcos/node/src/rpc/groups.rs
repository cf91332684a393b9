//! What SDKs ask about groups and nodes before anything else: they choose codec, hash and signature from it.

use bcos_chain::FEATURES;
use konsort_crypto::SuiteKind;
use serde_json::{Value, json};

use crate::api::{Group, Node};

/// Upstream's release whose surface this is.
pub(crate) const VERSION: &str = "3.16.4";
/// That release as block headers and `compatibilityVersion` carry it: major, minor and patch in one byte each, then zero.
pub(crate) const VERSION_NUMBER: u32 = 0x0310_0400;

/// Keys of the system configuration, likewise.
const SUPPORTED_CONFIGS: [&str; 14] = [
    "tx_gas_limit",
    "tx_gas_price",
    "tx_count_limit",
    "consensus_leader_period",
    "auth_check_status",
    "compatibility_version",
    "feature_rpbft",
    "feature_rpbft_epoch_block_num",
    "feature_rpbft_epoch_sealer_num",
    "feature_rpbft_notify_rotate",
    "feature_balance_precompiled",
    "web3_chain_id",
    "balance_transfer",
    "executor_version",
];

/// Under which name requests may address this node: its id, as upstream when no name is configured.
pub(crate) fn node_name(node: &Node) -> &str {
    node.node_id()
}

/// `getGroupInfo`.
pub(crate) fn info(node: &Node, group: &Group) -> Value {
    json!({
        "chainID": group.chain_id(),
        "groupID": group.id(),
        "genesisConfig": genesis(group),
        "iniConfig": "",
        "nodeList": [node_info(node, group)],
    })
}

/// `getGroupNodeInfo`.
pub(crate) fn node_info(node: &Node, group: &Group) -> Value {
    let sm = group.suite().kind() == SuiteKind::Sm;
    json!({
        "name": node_name(node),
        "nodeID": node.node_id(),
        "type": i32::from(sm),
        "microService": false,
        "iniConfig": ini(node, group),
        "serviceInfo": [
            { "type": 2, "serviceName": "LedgerServiceObj" },
            { "type": 3, "serviceName": "SchedulerServiceObj" },
            { "type": 4, "serviceName": "FrontServiceObj" },
            { "type": 6, "serviceName": "" },
            { "type": 7, "serviceName": "" },
            { "type": 8, "serviceName": "TxPoolServiceObj" },
        ],
        "featureKeys": FEATURES.as_slice(),
        "supportConfigs": SUPPORTED_CONFIGS,
        "protocol": {
            "minSupportedVersion": 0,
            "maxSupportedVersion": 2,
            "compatibilityVersion": VERSION_NUMBER,
        },
    })
}

/// JSON text inside the JSON, with the newline upstream's writer leaves.
fn inner(content: &Value) -> String {
    format!("{content}\n")
}

fn ini(node: &Node, group: &Group) -> String {
    let genesis = &group.config().genesis;
    inner(&json!({
        "binaryInfo": {
            "version": VERSION,
            "gitCommitHash": concat!("konsort ", env!("CARGO_PKG_VERSION")),
            "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
            "buildTime": "",
        },
        "chainID": group.chain_id(),
        "groupID": group.id(),
        "smCryptoType": genesis.sm_crypto,
        "isWasm": false,
        "isAuthCheck": genesis.auth_check,
        "isSerialExecute": genesis.serial,
        "nodeName": node_name(node),
        "nodeID": node.node_id(),
        "rpcServiceName": "",
        "gatewayServiceName": "",
    }))
}

fn genesis(group: &Group) -> String {
    let genesis = &group.config().genesis;
    let sealers: Vec<Value> =
        genesis.nodes.iter().map(|node| json!({ "nodeID": node.id, "weight": node.weight })).collect();
    inner(&json!({
        "consensusType": genesis.consensus.name(),
        "blockTxCountLimit": genesis.tx_count_limit,
        "txGasLimit": genesis.gas_limit,
        "consensusLeaderPeriod": genesis.leader_period,
        "sealerList": sealers,
    }))
}

/// `getPeers`.
pub(crate) fn peers(node: &Node) -> Value {
    let own: Vec<Value> =
        node.groups().iter().map(|group| json!({ "group": group.id(), "nodeIDList": [node.node_id()] })).collect();
    let others: Vec<Value> = node
        .peers()
        .into_iter()
        .map(|peer| {
            let groups: Vec<Value> =
                peer.groups.iter().map(|group| json!({ "group": group, "nodeIDList": [peer.node_id] })).collect();
            json!({ "p2pNodeID": peer.p2p_id, "endPoint": peer.endpoint, "groupNodeIDInfo": groups })
        })
        .collect();
    json!({
        "p2pNodeID": node.p2p_id(),
        "endPoint": node.p2p_endpoint(),
        "groupNodeIDInfo": own,
        "peers": others,
    })
}

/// `getGroupPeers`: every node of the group that is connected, and this one, in order.
pub(crate) fn group_peers(node: &Node, group: &Group) -> Value {
    let mut ids = group.peers();
    ids.push(node.node_id().to_owned());
    ids.sort_unstable();
    ids.dedup();
    json!(ids)
}

/// `getSyncStatus`: JSON text.
pub(crate) fn sync_status(group: &Group) -> String {
    let status = group.sync_status();
    let peers: Vec<Value> = status
        .peers
        .iter()
        .map(|peer| {
            json!({
                "nodeID": peer.node_id,
                "genesisHash": peer.genesis_hash,
                "blockNumber": peer.block_number,
                "latestHash": peer.latest_hash,
                "archivedBlockNumber": peer.archived_block_number,
            })
        })
        .collect();
    inner(&json!({
        "isSyncing": status.syncing,
        "genesisHash": status.genesis_hash,
        "nodeID": status.node_id,
        "blockNumber": status.block_number,
        "archivedBlockNumber": status.archived_block_number,
        "latestHash": status.latest_hash,
        "knownHighestNumber": status.known_highest_number,
        "knownLatestHash": status.known_latest_hash,
        "peers": peers,
    }))
}

/// `getConsensusStatus`: JSON text.
pub(crate) fn consensus_status(group: &Group) -> String {
    let status = group.consensus_status();
    let nodes: Vec<Value> = status
        .nodes
        .iter()
        .map(|member| {
            json!({
                "nodeID": member.node_id,
                "weight": member.weight,
                "termWeight": member.term_weight,
                "index": member.index,
            })
        })
        .collect();
    inner(&json!({
        "nodeID": status.node_id,
        // An observer has upstream's number for no index.
        "index": status.index.unwrap_or(u64::MAX),
        "leaderIndex": status.leader_index,
        "consensusNodesNum": status.nodes.len(),
        "maxFaultyQuorum": status.max_faulty_quorum,
        "minRequiredQuorum": status.min_required_quorum,
        "isConsensusNode": status.index.is_some(),
        "blockNumber": status.block_number,
        "hash": status.hash,
        "timeout": status.index.is_some() && status.timeout,
        "changeCycle": status.change_cycle,
        "view": status.view,
        "connectedNodeList": status.connected,
        "consensusNodeList": nodes,
    }))
}
