//! The binary Merkle tree over transaction and receipt hashes.
//!
//! Each level hashes pairs; a lone last node is hashed alone. One leaf is its own root, none gives zero. A proof lists
//! per level the group that the running hash is part of: a count item (the number in the first four bytes, big-endian,
//! zeros after), then that many hashes. It carries no index: the verifier looks for the running hash in the group.

use alloy_primitives::B256;
use konsort_crypto::CryptoSuite;

fn parents(suite: &dyn CryptoSuite, level: &[B256]) -> Vec<B256> {
    let parent = |group: &[B256]| match group {
        [left, right] => suite.hash_parts(&[left.as_slice(), right.as_slice()]).into(),
        [alone, ..] => suite.hash(alone.as_slice()).into(),
        [] => B256::ZERO,
    };
    level.chunks(2).map(parent).collect()
}

/// The root over `leaves`.
pub fn root(suite: &dyn CryptoSuite, leaves: &[B256]) -> B256 {
    match leaves {
        [] => B256::ZERO,
        [leaf] => *leaf,
        leaves => {
            let mut level = parents(suite, leaves);
            while level.len() > 1 {
                level = parents(suite, &level);
            }
            level[0]
        }
    }
}

/// The proof for the leaf at `index`; `None` when there is no such leaf.
pub fn proof(suite: &dyn CryptoSuite, leaves: &[B256], index: usize) -> Option<Vec<B256>> {
    let leaf = *leaves.get(index)?;
    if leaves.len() == 1 {
        return Some(vec![leaf]);
    }
    let mut out = Vec::new();
    let mut position = index;
    let mut level = leaves.to_vec();
    while level.len() > 1 {
        let group = level.chunks(2).nth(position / 2)?;
        out.push(count_item(group.len()));
        out.extend_from_slice(group);
        level = parents(suite, &level);
        position /= 2;
    }
    Some(out)
}

/// Whether `proof` leads from `leaf` to `root`.
pub fn verify(suite: &dyn CryptoSuite, leaf: &B256, root: &B256, proof: &[B256]) -> bool {
    match proof {
        [] => return false,
        [only] => return only == leaf && only == root,
        _ => {}
    }
    let mut running = *leaf;
    let mut rest = proof;
    while let Some((item, after)) = rest.split_first() {
        let Some(group) = item_count(item).and_then(|count| after.get(..count)) else { return false };
        if !group.contains(&running) {
            return false;
        }
        let bytes: Vec<&[u8]> = group.iter().map(B256::as_slice).collect();
        running = suite.hash_parts(&bytes).into();
        rest = &after[group.len()..];
    }
    running == *root
}

fn count_item(count: usize) -> B256 {
    let mut item = B256::ZERO;
    item[..4].copy_from_slice(&(count as u32).to_be_bytes());
    item
}

/// One or two, the only groups a binary tree has.
fn item_count(item: &B256) -> Option<usize> {
    [1, 2].into_iter().find(|&count| *item == count_item(count))
}
