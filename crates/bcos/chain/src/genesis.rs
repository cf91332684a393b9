//! Block 0: the settings, nodes and accounts a chain begins with.

use alloy_primitives::{B256, Bytes, U256, hex};
use bcos_types::{
    BlockHeader,
    genesis::{version_number, version_text},
};
use konsort_crypto::{CryptoSuite, suite};

use crate::{
    ChainConfig, ChainError,
    access::{
        AccountRecord, CONSENSUS_NODES_KEY, CONSENSUS_TABLE, ConsensusNode, ConsensusNodes, NodeKind,
        SYSTEM_CONFIG_TABLE, StateKey, SystemValue,
    },
    config::FEATURES,
    state::Layer,
};

/// Chains of older versions would need behaviour that this engine does not have.
const OLDEST_VERSION: u32 = 0x0310_0000;
/// The newest version whose rules are known.
const NEWEST_VERSION: u32 = 0x0310_0400;
/// The last fix came later than the others.
const REVERT_LOGS_SINCE: u32 = 0x0310_0400;
const MIN_GAS_LIMIT: u64 = 100_000;
/// Bytes of a node id.
const NODE_ID_BYTES: usize = 64;

/// The sealed genesis header and the cells of the first state.
pub(crate) fn build(config: &ChainConfig) -> Result<(BlockHeader, Layer), ChainError> {
    check(config)?;
    let suite = suite(config.suite());
    let mut header = config.genesis.header().map_err(|error| ChainError::Genesis(error.to_string()))?;
    header.seal(suite);
    let mut cells = settings(config, header.version);
    cells.push((StateKey::row(CONSENSUS_TABLE, CONSENSUS_NODES_KEY.to_vec()), Some(nodes(config, suite)?.encode())));
    for account in &config.alloc {
        let code_hash = if account.code.is_empty() { B256::ZERO } else { suite.hash(&account.code).into() };
        let record = AccountRecord { nonce: account.nonce, balance: account.balance, code_hash };
        cells.push((StateKey::Account(account.address), Some(record.encode())));
        if !account.code.is_empty() {
            cells.push((StateKey::Code(code_hash), Some(account.code.clone())));
        }
        for (slot, value) in account.storage.iter().filter(|(_, value)| !value.is_zero()) {
            cells.push((StateKey::Slot(account.address, *slot), Some(Bytes::copy_from_slice(value.as_slice()))));
        }
    }
    let mut layer = Layer::default();
    layer.apply(&cells);
    Ok((header, layer))
}

fn check(config: &ChainConfig) -> Result<(), ChainError> {
    let genesis = &config.genesis;
    let refuse = |text: String| Err(ChainError::Genesis(text));
    let version =
        version_number(&genesis.compatibility_version).map_err(|error| ChainError::Genesis(error.to_string()))?;
    if !(OLDEST_VERSION..=NEWEST_VERSION).contains(&version) {
        return refuse(format!(
            "version.compatibility_version is {}, this node runs chains of {} to {}; found the chain with one of these",
            genesis.compatibility_version,
            version_text(OLDEST_VERSION),
            version_text(NEWEST_VERSION)
        ));
    }
    if genesis.is_wasm {
        return refuse("executor.is_wasm is true, but contracts run in the EVM only; set it to false".into());
    }
    if config.executor_version != 1 {
        return refuse(format!("executor.version is {}, only 1 exists here; set it to 1", config.executor_version));
    }
    if genesis.gas_limit < MIN_GAS_LIMIT {
        return refuse(format!("tx.gas_limit is {}, it must be at least {MIN_GAS_LIMIT}", genesis.gas_limit));
    }
    if genesis.block_tx_count_limit == 0 || genesis.leader_period == 0 {
        return refuse("consensus.block_tx_count_limit and consensus.leader_period must be at least 1".into());
    }
    if config.web3_chain_id > u64::from(u32::MAX) {
        return refuse(format!("web3.chain_id is {}, it must be below 2^32", config.web3_chain_id));
    }
    if genesis.sealers.is_empty() {
        return refuse(
            "consensus.node.0 is missing: a chain needs at least one sealer; add its node id and weight".into(),
        );
    }
    let mut seen = std::collections::BTreeSet::new();
    for (id, weight) in &genesis.sealers {
        if id.len() != 2 * NODE_ID_BYTES || !id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            let bytes = 2 * NODE_ID_BYTES;
            return refuse(format!(
                "the node id {id:.160} is not {bytes} lower-case hex digits; copy it from conf/node.nodeid"
            ));
        }
        if *weight == 0 {
            return refuse(format!("the sealer {id} has weight 0; give it at least 1"));
        }
        if !seen.insert(id) {
            return refuse(format!("the sealer {id} is listed twice; remove one"));
        }
    }
    for (name, on) in genesis.features.iter().flatten() {
        if *on && name == "feature_rpbft_vrf_type_secp256k1" {
            return refuse(format!("features.{name} is on, but sealers are drawn over curve 25519 only; remove it"));
        }
        if !FEATURES.contains(&name.as_str()) {
            return refuse(format!("features.{name:.80} is not a feature of version 3.16; remove or correct it"));
        }
    }
    Ok(())
}

type Cell = (StateKey, Option<Bytes>);

fn settings(config: &ChainConfig, version: u32) -> Vec<Cell> {
    let genesis = &config.genesis;
    let setting = |name: &str, value: String| -> Cell {
        let key = StateKey::row(SYSTEM_CONFIG_TABLE, name.as_bytes().to_vec());
        (key, Some(SystemValue { value, enable_number: 0 }.encode()))
    };
    let mut cells = vec![
        setting("tx_count_limit", genesis.block_tx_count_limit.to_string()),
        setting("tx_gas_limit", genesis.gas_limit.to_string()),
        setting("tx_gas_price", "0x0".into()),
        setting("consensus_leader_period", genesis.leader_period.to_string()),
        setting("compatibility_version", genesis.compatibility_version.clone()),
        setting("auth_check_status", u8::from(genesis.is_auth_check).to_string()),
        setting("web3_chain_id", config.web3_chain_id.to_string()),
        setting("executor_version", config.executor_version.to_string()),
        setting("balance_transfer", "1".into()),
    ];
    let rotating = genesis.consensus_type == "rpbft";
    if rotating {
        cells.push(setting("feature_rpbft_epoch_sealer_num", genesis.epoch_sealer_num.to_string()));
        cells.push(setting("feature_rpbft_epoch_block_num", genesis.epoch_block_num.to_string()));
        cells.push(setting("feature_rpbft_notify_rotate", "0".into()));
    }
    let chosen = genesis.features.as_deref().unwrap_or_default();
    for name in FEATURES {
        let fixed = name.starts_with("bugfix_") && (name != "bugfix_revert_logs" || version >= REVERT_LOGS_SINCE);
        let wanted = chosen.iter().any(|(chosen, on)| *on && chosen == name);
        if fixed || wanted || (rotating && name == "feature_rpbft") {
            cells.push(setting(name, "1".into()));
        }
    }
    cells
}

/// The sealers; in a rotating chain those beyond the first epoch's number wait as candidates, chosen as upstream shuffles them.
fn nodes(config: &ChainConfig, suite: &dyn CryptoSuite) -> Result<ConsensusNodes, ChainError> {
    let genesis = &config.genesis;
    let mut sealers: Vec<_> = genesis.sealers.iter().collect();
    sealers.sort();
    let mut shuffled: Vec<&str> = sealers.iter().map(|(id, _)| id.as_str()).collect();
    let working = usize::try_from(genesis.epoch_sealer_num).unwrap_or(usize::MAX);
    let rotating = genesis.consensus_type == "rpbft" && shuffled.len() > working;
    if rotating {
        for at in (1..shuffled.len()).rev() {
            let id = hex::decode(shuffled[at]).map_err(|error| ChainError::Genesis(error.to_string()))?;
            let number = U256::from_be_bytes(suite.hash(&id));
            let other = number % U256::from(at + 1);
            shuffled.swap(at, other.to::<u64>() as usize);
        }
        shuffled.truncate(working);
    }
    let node = |(id, weight): &(String, u64)| ConsensusNode {
        node_id: id.clone(),
        kind: if shuffled.contains(&id.as_str()) { NodeKind::Sealer } else { NodeKind::Candidate },
        weight: *weight,
        term_weight: config.term_weights.get(id).copied().unwrap_or_default(),
        enable_number: 0,
    };
    Ok(ConsensusNodes(sealers.into_iter().map(node).collect()))
}

/// The first line in which two genesis texts differ, for people.
pub(crate) fn difference(stored: &[u8], configured: &[u8]) -> String {
    let (stored, configured) = (String::from_utf8_lossy(stored), String::from_utf8_lossy(configured));
    let (mut left, mut right) = (stored.lines(), configured.lines());
    loop {
        match (left.next(), right.next()) {
            (None, None) => return "none".into(),
            (left, right) if left == right => {}
            (left, right) => {
                return format!("the ledger says {:?}, config.genesis {:?}", left.unwrap_or(""), right.unwrap_or(""));
            }
        }
    }
}
