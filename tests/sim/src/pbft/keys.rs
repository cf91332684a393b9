//! Keys that cost nothing: good enough against the hostile nodes of this world, which do not try to break them.

use alloy_primitives::B256;
use bcos_consensus::{Keys, NodeId};
use bytes::Bytes;

/// The key of one simulated node.
#[derive(Debug)]
pub struct SimKeys(NodeId);

impl SimKeys {
    /// The key of node `index`.
    pub fn new(index: usize) -> Self {
        Self(node_id(index))
    }
}

/// The id of node `index`.
pub(super) fn node_id(index: usize) -> NodeId {
    let mut id = [0x5A; 64];
    id[..8].copy_from_slice(&(index as u64).to_be_bytes());
    NodeId(Bytes::copy_from_slice(&id))
}

/// The index in a node's id.
pub(super) fn index_of(node: &NodeId) -> usize {
    let mut index = [0; 8];
    index.copy_from_slice(&node.0[..8]);
    u64::from_be_bytes(index) as usize
}

/// A hash with four lanes of 64 bits, quick and free of accidental collisions.
pub(super) fn hash(parts: &[&[u8]]) -> B256 {
    let mut lanes = [0x243F_6A88_85A3_08D3u64, 0x1319_8A2E_0370_7344, 0xA409_3822_299F_31D0, 0x082E_FA98_EC4E_6C89];
    let mut word = 0u64;
    let mut filled = 0;
    let mut length = 0u64;
    let mut absorb = |word: u64| {
        for (i, lane) in lanes.iter_mut().enumerate() {
            *lane = (*lane ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15 + 2 * i as u64).rotate_left(29);
            *lane ^= *lane >> 31;
        }
    };
    for byte in parts.iter().flat_map(|part| part.iter()) {
        word = word << 8 | u64::from(*byte);
        filled += 1;
        length += 1;
        if filled == 8 {
            absorb(word);
            (word, filled) = (0, 0);
        }
    }
    absorb(word);
    absorb(length);
    absorb(0);
    let mut out = [0; 32];
    for (chunk, lane) in out.chunks_mut(8).zip(lanes) {
        chunk.copy_from_slice(&lane.to_be_bytes());
    }
    B256::from(out)
}

fn signature(node: &NodeId, hashed: &B256) -> Bytes {
    Bytes::copy_from_slice(&hash(&[b"secret", &node.0, hashed.as_slice()])[..16])
}

impl Keys for SimKeys {
    fn me(&self) -> &NodeId {
        &self.0
    }

    fn hash(&self, parts: &[&[u8]]) -> B256 {
        hash(parts)
    }

    fn sign(&self, hash: &B256) -> Bytes {
        signature(&self.0, hash)
    }

    fn verify(&self, node: &NodeId, hash: &B256, given: &[u8]) -> bool {
        signature(node, hash) == given
    }
}
