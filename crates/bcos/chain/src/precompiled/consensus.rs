//! Nodes of the group (0x1003): adding, removing, weights. Changes are in force from the next block.

use alloy_primitives::{Address, Bytes, U256, hex};

use super::abi::{Text, Uint, decode, int};
use super::registry::Methods;
use super::{Answer, Call, Failure};
use crate::access::{
    CONSENSUS_NODES_KEY, CONSENSUS_TABLE, ConsensusNode, ConsensusNodes, NodeKind, SYSTEM_CONFIG_TABLE, SystemValue,
};
use crate::rotation::{self, Draw, Rotation};
use bcos_types::codes;

pub(super) const METHODS: Methods = &[
    ("addSealer(string,uint256)", add_sealer),
    ("addSealer(string,uint256,uint256)", add_sealer_with_term_weight),
    ("addObserver(string)", add_observer),
    ("remove(string)", remove),
    ("setWeight(string,uint256)", set_weight),
    ("setTermWeight(string,uint256)", set_term_weight),
    (rotation::METHOD, rotate),
];

/// Hex digits of a node id.
const NODE_ID_DIGITS: usize = 128;

fn nodes(call: &mut Call<'_, '_>) -> Result<Vec<ConsensusNode>, Failure> {
    let row = call.row(&CONSENSUS_TABLE.into(), &Bytes::from_static(CONSENSUS_NODES_KEY))?;
    Ok(row.and_then(|bytes| ConsensusNodes::decode(&bytes)).unwrap_or_default().0)
}

fn keep(call: &mut Call<'_, '_>, nodes: Vec<ConsensusNode>) -> Answer {
    let value = ConsensusNodes(nodes).encode();
    call.set_row(&CONSENSUS_TABLE.into(), Bytes::from_static(CONSENSUS_NODES_KEY), Some(value))?;
    int(codes::SUCCESS)
}

/// The id in lower case, `None` when it cannot be one.
fn node_id(text: &str) -> Option<String> {
    (text.len() == NODE_ID_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .then(|| text.to_ascii_lowercase())
}

fn weight_of(value: U256) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

/// A system setting as the transactions before this one left it.
fn setting(call: &mut Call<'_, '_>, key: &str) -> Result<Option<SystemValue>, Failure> {
    let row = call.row(&SYSTEM_CONFIG_TABLE.into(), &Bytes::copy_from_slice(key.as_bytes()))?;
    Ok(row.and_then(|bytes| SystemValue::decode(&bytes)))
}

fn is_on(call: &mut Call<'_, '_>, flag: &str) -> Result<bool, Failure> {
    let number = call.env().number;
    Ok(setting(call, flag)?.is_some_and(|flag| flag.value == "1" && flag.enable_number <= number))
}

fn put_sealer(call: &mut Call<'_, '_>, id: &str, weight: U256, term_weight: U256) -> Answer {
    let Some(id) = node_id(id) else { return int(codes::INVALID_NODE_ID) };
    if weight.is_zero() {
        return int(codes::INVALID_WEIGHT);
    }
    // With rotation on, new sealers wait as candidates until their turn.
    let new_kind = if is_on(call, rotation::SWITCH)? { NodeKind::Candidate } else { NodeKind::Sealer };
    let enable_number = call.env().number + 1;
    let mut all = nodes(call)?;
    let Some(node) = all.iter_mut().find(|node| node.node_id == id) else {
        return int(codes::ADD_SEALER_SHOULD_IN_OBSERVER);
    };
    // One that works already works on: otherwise the last one's weight could not be changed without a committee of nobody.
    let kind = if node.kind == NodeKind::Sealer { NodeKind::Sealer } else { new_kind };
    *node = ConsensusNode {
        node_id: id,
        kind,
        weight: weight_of(weight),
        term_weight: weight_of(term_weight),
        enable_number,
    };
    keep(call, all)
}

fn add_sealer(call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    let (id, weight) = decode::<(Text, Uint<256>)>(data)?;
    put_sealer(call, &id, weight, U256::ZERO)
}

fn add_sealer_with_term_weight(call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    let (id, weight, term_weight) = decode::<(Text, Uint<256>, Uint<256>)>(data)?;
    put_sealer(call, &id, weight, term_weight)
}

fn add_observer(call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    let (id,) = decode::<(Text,)>(data)?;
    let Some(id) = node_id(&id) else { return int(codes::INVALID_NODE_ID) };
    let enable_number = call.env().number + 1;
    let mut all = nodes(call)?;
    let sealers = all.iter().filter(|node| node.kind == NodeKind::Sealer).count();
    let observer =
        ConsensusNode { node_id: id.clone(), kind: NodeKind::Observer, weight: 0, term_weight: 0, enable_number };
    match all.iter_mut().find(|node| node.node_id == id) {
        Some(_) if sealers == 1 => return int(codes::LAST_SEALER),
        Some(node) => *node = observer,
        None => all.push(observer),
    }
    keep(call, all)
}

fn remove(call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    let (id,) = decode::<(Text,)>(data)?;
    let Some(id) = node_id(&id) else { return int(codes::INVALID_NODE_ID) };
    let mut all = nodes(call)?;
    let Some(at) = all.iter().position(|node| node.node_id == id) else {
        return int(codes::NODE_NOT_EXIST);
    };
    all.remove(at);
    if !all.iter().any(|node| node.kind == NodeKind::Sealer) {
        return int(codes::LAST_SEALER);
    }
    keep(call, all)
}

fn put_weight(call: &mut Call<'_, '_>, id: &str, set: impl FnOnce(&mut ConsensusNode)) -> Answer {
    let enable_number = call.env().number + 1;
    let mut all = nodes(call)?;
    let id = id.to_ascii_lowercase();
    let Some(node) = all.iter_mut().find(|node| node.node_id == id) else {
        return int(codes::NODE_NOT_EXIST);
    };
    if node.kind == NodeKind::Observer {
        return Err(Failure::Refused("Cannot set weight to observer.".into()));
    }
    set(node);
    node.enable_number = enable_number;
    keep(call, all)
}

fn set_weight(call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    let (id, weight) = decode::<(Text, Uint<256>)>(data)?;
    if id.len() != NODE_ID_DIGITS {
        return int(codes::INVALID_NODE_ID);
    }
    if weight.is_zero() {
        return int(codes::INVALID_WEIGHT);
    }
    put_weight(call, &id, |node| node.weight = weight_of(weight))
}

fn set_term_weight(call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    let (id, weight) = decode::<(Text, Uint<256>)>(data)?;
    if id.len() != NODE_ID_DIGITS {
        return int(codes::INVALID_NODE_ID);
    }
    put_weight(call, &id, |node| node.term_weight = weight_of(weight))
}

/// The leader's transaction in a block in which a change is due; in any other block, or a second time in one, it does nothing.
fn rotate(call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    let number = call.env().number;
    let Some(rotation) = Rotation::read(number, |key| setting(call, key))? else {
        return super::registry::unknown_method(super::registry::Kind::Consensus);
    };
    let Some(draw) = Draw::of_arguments(data) else {
        return Err(Failure::Refused("InternalPrecompiledFailed".into()));
    };
    let mut all = nodes(call)?;
    let changed = |node: &ConsensusNode| node.enable_number > number && node.kind != NodeKind::Observer;
    if all.iter().any(changed) || !rotation.is_due(number, &all) {
        return int(codes::SUCCESS);
    }
    let suite = call.suite();
    let caller = call.caller;
    let is_caller = |node: &ConsensusNode| {
        let id = hex::decode_to_array::<_, 64>(&node.node_id).ok();
        id.is_some_and(|id| caller == Address::from(suite.address(&id)))
    };
    if !all.iter().any(|node| node.kind == NodeKind::Sealer && is_caller(node)) {
        // Upstream's words for a stranger.
        return super::registry::unknown_method(super::registry::Kind::Consensus);
    }
    let drawn = draw.check(number).map_err(|reason| Failure::Refused(reason.into()))?;
    let by_term_weight = is_on(call, "feature_rpbft_term_weight")?;
    if rotation::rotate(&rotation, suite, number, drawn, by_term_weight, &mut all) {
        // The sealer's account need not have anything, and a committee that cannot change must not be the price of that.
        call.waive_fee();
        return keep(call, all);
    }
    int(codes::SUCCESS)
}
