//! Rotating agreement (rPBFT): when the working sealers change, who may change them, and whom the draw takes.
//!
//! As upstream does it: in a block in which a change is due the leader puts a transaction of its own before all others. It calls
//! 0x1003 with a verifiable random number over the block's number; the contract swaps working sealers for candidates by that
//! number, from the next block on. Whether a change is due follows from the state below the block, so all nodes agree on it.
//!
//! The public key of the draw is not tied to the leader's node key (upstream's rule, too): a dishonest leader may try several.

use alloy_primitives::{Bytes, U256};
use alloy_sol_types::SolType;
use alloy_sol_types::sol_data::Bytes as BytesType;
use konsort_crypto::{CryptoSuite, SuiteKey, vrf};

use crate::access::{ConsensusNode, NodeKind, SystemValue};

/// What the leader calls at 0x1003; the arguments are bytes, the spelling is upstream's.
pub const METHOD: &str = "rotateWorkingSealer(std::string,std::string,std::string)";
/// The contract that is called.
pub const CONTRACT: u64 = 0x1003;

/// The flag that makes a chain rotate.
pub(crate) const SWITCH: &str = "feature_rpbft";
const EPOCH_SEALERS: &str = "feature_rpbft_epoch_sealer_num";
const EPOCH_BLOCKS: &str = "feature_rpbft_epoch_block_num";
/// Upstream's defaults, for chains that began to rotate later.
const DEFAULTS: (u64, u64) = (4, 1000);

/// The settings of rotation in force for a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Sealers that work at the same time.
    pub sealers: u64,
    /// The block since which that holds.
    pub sealers_since: u64,
    /// Blocks of an epoch.
    pub blocks: u64,
    /// The block from which epochs are counted.
    pub blocks_since: u64,
    /// The first block of the chain that rotates; 0 when it always did.
    pub on_since: u64,
}

impl Rotation {
    /// What the system settings say for block `number`; `None` when the chain does not rotate.
    pub(crate) fn read<E>(
        number: u64,
        mut setting: impl FnMut(&str) -> Result<Option<SystemValue>, E>,
    ) -> Result<Option<Self>, E> {
        let mut in_force = |key: &str| Ok(setting(key)?.filter(|setting| setting.enable_number <= number));
        let Some(switch) = in_force(SWITCH)?.filter(|switch| switch.value == "1") else { return Ok(None) };
        let mut counted = |key: &str, default: u64| -> Result<(u64, u64), E> {
            let found = in_force(key)?.and_then(|found| Some((found.value.parse().ok()?, found.enable_number)));
            Ok(found.unwrap_or((default, 0)))
        };
        let (sealers, sealers_since) = counted(EPOCH_SEALERS, DEFAULTS.0)?;
        let (blocks, blocks_since) = counted(EPOCH_BLOCKS, DEFAULTS.1)?;
        let (sealers, blocks) = (sealers.max(1), blocks.max(1));
        Ok(Some(Self { sealers, sealers_since, blocks, blocks_since, on_since: switch.enable_number }))
    }

    /// Whether block `number` has to change the working sealers of this state.
    pub fn is_due(&self, number: u64, nodes: &[ConsensusNode]) -> bool {
        self.is_out_of_turn(number, nodes) || self.ends_epoch(number)
    }

    /// Whether it has to for another reason than the end of an epoch. Only what the block before decided can make it so, and that
    /// block was one above which nothing is ordered before it is final; ends of epochs are known long before.
    pub fn is_out_of_turn(&self, number: u64, nodes: &[ConsensusNode]) -> bool {
        let (working, candidates) = in_office(number, nodes);
        let wanted = self.sealers.min((working.len() + candidates.len()) as u64);
        self.on_since == number || self.sealers_since == number || (working.len() as u64) < wanted
    }

    fn ends_epoch(&self, number: u64) -> bool {
        number.checked_sub(self.blocks_since).is_some_and(|since| since.is_multiple_of(self.blocks))
    }
}

/// Indices of the working sealers and of the candidates, as far as their entries are in force.
fn in_office(number: u64, nodes: &[ConsensusNode]) -> (Vec<usize>, Vec<usize>) {
    let of = |kind: NodeKind| {
        let fits = move |(_, node): &(usize, &ConsensusNode)| node.kind == kind && node.enable_number <= number;
        nodes.iter().enumerate().filter(fits).map(|(index, _)| index).collect()
    };
    (of(NodeKind::Sealer), of(NodeKind::Candidate))
}

/// A leader's draw: the arguments of its transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draw {
    /// Key of the verifiable random function.
    pub public_key: Bytes,
    /// What was drawn over: the block's number, eight bytes, big-endian.
    pub input: Bytes,
    /// The proof.
    pub proof: Bytes,
}

type Arguments = (BytesType, BytesType, BytesType);

impl Draw {
    /// Draws for a block.
    pub fn new(key: &SuiteKey, number: u64) -> Self {
        let input = number.to_be_bytes();
        let (public_key, proof) = key.vrf_prove(&input);
        Self {
            public_key: Bytes::copy_from_slice(&public_key),
            input: Bytes::copy_from_slice(&input),
            proof: Bytes::copy_from_slice(&proof),
        }
    }

    /// The call data.
    pub fn call(&self, suite: &dyn CryptoSuite) -> Bytes {
        let mut call = suite.hash(METHOD.as_bytes())[..4].to_vec();
        call.extend(Arguments::abi_encode_params(&(&self.public_key, &self.input, &self.proof)));
        call.into()
    }

    /// Reads call data; `None` when it calls something else.
    pub fn of_call(suite: &dyn CryptoSuite, call: &[u8]) -> Option<Self> {
        Self::of_arguments(call.strip_prefix(&suite.hash(METHOD.as_bytes())[..4])?)
    }

    pub(crate) fn of_arguments(arguments: &[u8]) -> Option<Self> {
        let (public_key, input, proof) = Arguments::abi_decode_params(arguments).ok()?;
        Some(Self { public_key, input, proof })
    }

    /// The number drawn for block `number`, or upstream's words for what is wrong.
    pub fn check(&self, number: u64) -> Result<U256, &'static str> {
        if self.input[..] != number.to_be_bytes() {
            return Err("Invalid VRFInput, must be the parentHash!");
        }
        if !vrf::is_public_key(&self.public_key) {
            return Err("Invalid VRF Public Key!");
        }
        let drawn = vrf::verify(&self.public_key, &self.input, &self.proof).then(|| vrf::output(&self.proof)).flatten();
        drawn.map(U256::from_be_bytes).ok_or("Verify VRF proof failed!")
    }
}

/// Changes who works: true when anybody's role did.
pub(crate) fn rotate(
    rotation: &Rotation,
    suite: &dyn CryptoSuite,
    number: u64,
    drawn: U256,
    by_term_weight: bool,
    nodes: &mut [ConsensusNode],
) -> bool {
    let (mut working, mut candidates) = in_office(number, nodes);
    let all = working.len() + candidates.len();
    let size = usize::try_from(rotation.sealers).unwrap_or(usize::MAX).min(all);
    if all <= 1 || (candidates.is_empty() && working.len() == size) {
        return false;
    }
    if by_term_weight && nodes.iter().any(|node| node.term_weight > 0) {
        let everybody: Vec<usize> = candidates.iter().chain(&working).copied().collect();
        let chosen = by_weight(nodes, &everybody, drawn, size);
        // A committee of nobody would end the chain.
        return !chosen.is_empty() && appoint(nodes, number, &everybody, &chosen);
    }
    let (leaving, coming) = match working.len() {
        count if count > size => (count - size, 0),
        count if count < size => (0, size - count),
        count => (usize::from(all != count), usize::from(all != count)),
    };
    let (leave, come) =
        (shuffled(nodes, &mut working, suite, drawn, leaving), shuffled(nodes, &mut candidates, suite, drawn, coming));
    let mut everybody = leave;
    everybody.extend(&come);
    appoint(nodes, number, &everybody, &come)
}

/// Of `everybody` those in `chosen` work from the next block on, the others wait.
fn appoint(nodes: &mut [ConsensusNode], number: u64, everybody: &[usize], chosen: &[usize]) -> bool {
    let mut changed = false;
    for index in everybody {
        let kind = if chosen.contains(index) { NodeKind::Sealer } else { NodeKind::Candidate };
        let node = &mut nodes[*index];
        if node.kind != kind {
            node.kind = kind;
            node.enable_number = number + 1;
            changed = true;
        }
    }
    changed
}

/// The first `count` of the list after upstream's shuffle.
fn shuffled(
    nodes: &[ConsensusNode],
    list: &mut [usize],
    suite: &dyn CryptoSuite,
    drawn: U256,
    count: usize,
) -> Vec<usize> {
    list.sort_by(|a, b| nodes[*a].node_id.cmp(&nodes[*b].node_id));
    let mut seed = drawn;
    for at in (1..list.len()).rev() {
        let other = (seed % U256::from(at + 1)).to::<u64>() as usize;
        list.swap(at, other);
        seed = U256::from_be_bytes(suite.hash(other.to_string().as_bytes()));
    }
    list[..count.min(list.len())].to_vec()
}

/// Up to `count` of the list, each pick with a chance by term weight, as upstream picks.
fn by_weight(nodes: &[ConsensusNode], list: &[usize], drawn: U256, count: usize) -> Vec<usize> {
    let mut left: Vec<(usize, U256)> = list
        .iter()
        .filter(|index| nodes[**index].term_weight > 0)
        .map(|index| (*index, U256::from(nodes[*index].term_weight)))
        .collect();
    let mut total: U256 = left.iter().fold(U256::ZERO, |sum, (_, weight)| sum + *weight);
    let mut chosen = Vec::new();
    while chosen.len() < count && !left.is_empty() {
        let wanted = drawn % total;
        let mut sum = U256::ZERO;
        let at = left.iter().position(|(_, weight)| {
            sum += *weight;
            sum >= wanted
        });
        let (index, weight) = left.remove(at.unwrap_or_default());
        total -= weight;
        chosen.push(index);
    }
    chosen
}

#[cfg(test)]
mod tests;
