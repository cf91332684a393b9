//! Who decides, with which weight, and whose turn it is.

use std::fmt;

use alloy_primitives::B256;
use bytes::Bytes;

use crate::api::HeaderSignature;
use crate::keys::Keys;

/// A consensus node's public key: the point's two coordinates, 64 bytes. In hex it is the node id of the ledger.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub Bytes);

impl NodeId {
    /// Reads the hexadecimal form, with or without `0x`.
    pub fn from_hex(text: &str) -> Option<Self> {
        let bytes = hex::decode(text.strip_prefix("0x").unwrap_or(text)).ok()?;
        (!bytes.is_empty() && bytes.len() <= 128).then(|| Self(bytes.into()))
    }

    /// The hexadecimal form without `0x`, as the ledger lists it.
    pub fn to_hex(&self) -> String {
        hex::encode(&self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for NodeId {
    /// The first four bytes, enough to tell nodes apart in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", hex::encode(&self.0[..self.0.len().min(4)]))
    }
}

/// A node that votes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its public key.
    pub node_id: NodeId,
    /// What its vote counts; at least 1.
    pub weight: u64,
}

/// Committee and turn for the next block, as the ledger has them.
///
/// Everybody must give the same settings for the same block: the order of the members is the order of the
/// header's sealer list, and an index in a signature list counts in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The working sealers in the ledger's order.
    pub members: Vec<Member>,
    /// Consecutive blocks one leader proposes (`consensus_leader_period`); at least 1.
    pub leader_period: u64,
    /// Epoch of rotating PBFT as (first block, blocks per epoch); none without rotation. A block whose distance
    /// from the first is a multiple of the length may change the committee, so nothing is ordered above it before
    /// it is final.
    pub epoch: Option<(u64, u64)>,
    /// A block that ends an epoch out of turn: the committee is short, or the rules of rotation are new.
    pub rotate_at: Option<u64>,
}

impl Settings {
    /// A committee without rotation whose leader changes with every block.
    pub fn new(members: Vec<Member>) -> Self {
        Self { members, leader_period: 1, epoch: None, rotate_at: None }
    }

    /// The sum of all weights.
    pub fn total_weight(&self) -> u64 {
        self.members.iter().fold(0, |sum, m| sum.saturating_add(m.weight))
    }

    /// The weight that may be faulty: a third less one, rounded down.
    pub fn max_faulty(&self) -> u64 {
        self.total_weight().saturating_sub(1) / 3
    }

    /// The weight that decides: everything but what may be faulty.
    pub fn quorum(&self) -> u64 {
        self.total_weight() - self.max_faulty()
    }

    /// Members that decide under Raft, where weights do not count: more than half.
    pub fn majority(&self) -> u64 {
        self.members.len() as u64 / 2 + 1
    }

    /// Whether a signature list makes a header final: different members in order of indices, together a quorum
    /// (under Raft a majority).
    pub fn is_final(&self, keys: &dyn Keys, raft: bool, header_hash: &B256, signatures: &[HeaderSignature]) -> bool {
        let needed = if raft { self.majority() } else { self.quorum() };
        let rising = signatures.windows(2).all(|pair| pair[0].0 < pair[1].0);
        let member = |index: &u64| usize::try_from(*index).ok().and_then(|index| self.members.get(index));
        let weight = |index: &u64| member(index).map_or(0, |m| if raft { 1 } else { m.weight });
        rising
            && signatures.iter().map(|(index, _)| weight(index)).sum::<u64>() >= needed
            && signatures.iter().all(|(index, signature)| {
                member(index).is_some_and(|m| keys.verify(&m.node_id, header_hash, signature))
            })
    }

    /// The member that proposes block `number` in `view`.
    pub fn leader(&self, number: u64, view: u64) -> usize {
        let count = self.members.len().max(1) as u64;
        ((number / self.leader_period.max(1)) % count + view % count) as usize % count as usize
    }

    /// The member with this id.
    pub fn index_of(&self, node: &NodeId) -> Option<usize> {
        self.members.iter().position(|m| m.node_id == *node)
    }

    /// The weight of a member; 0 for an index outside of the committee.
    pub fn weight(&self, index: usize) -> u64 {
        self.members.get(index).map_or(0, |m| m.weight)
    }

    /// Whether the committee rotates with this block: it may change without a transaction of a client.
    pub fn ends_epoch(&self, number: u64) -> bool {
        let in_turn =
            |(first, length): (u64, u64)| length > 0 && number >= first && (number - first).is_multiple_of(length);
        self.epoch.is_some_and(in_turn) || self.rotate_at == Some(number)
    }

    /// What every signed message names, so that a vote for one committee (or group) counts in no other.
    pub fn digest(&self, domain: &B256, keys: &dyn Keys) -> B256 {
        let mut text = Vec::with_capacity(64 + self.members.len() * 80);
        text.extend_from_slice(b"konsort settings 2");
        text.extend_from_slice(domain.as_slice());
        text.extend_from_slice(&self.leader_period.to_be_bytes());
        let (first, length) = self.epoch.unwrap_or_default();
        text.extend_from_slice(&first.to_be_bytes());
        text.extend_from_slice(&length.to_be_bytes());
        text.extend_from_slice(&self.rotate_at.unwrap_or_default().to_be_bytes());
        for member in &self.members {
            text.extend_from_slice(&(member.node_id.0.len() as u32).to_be_bytes());
            text.extend_from_slice(&member.node_id.0);
            text.extend_from_slice(&member.weight.to_be_bytes());
        }
        keys.hash(&[&text])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(weights: &[u64]) -> Settings {
        let member = |(i, w): (usize, &u64)| Member { node_id: NodeId(vec![i as u8; 64].into()), weight: *w };
        Settings::new(weights.iter().enumerate().map(member).collect())
    }

    #[test]
    fn quorums_follow_the_weights() {
        for (weights, quorum) in
            [(vec![1], 1), (vec![1; 2], 2), (vec![1; 3], 3), (vec![1; 4], 3), (vec![1; 7], 5), (vec![3, 1, 1, 1], 5)]
        {
            let settings = settings(&weights);
            assert_eq!(settings.quorum(), quorum, "{weights:?}");
            // Two quorums share more than what may be faulty.
            assert!(2 * settings.quorum() > settings.total_weight() + settings.max_faulty());
        }
    }

    #[test]
    fn leaders_rotate_with_number_and_view() {
        let mut settings = settings(&[1; 4]);
        assert_eq!((settings.leader(5, 0), settings.leader(5, 2), settings.leader(8, 0)), (1, 3, 0));
        settings.leader_period = 3;
        assert_eq!((settings.leader(5, 0), settings.leader(6, 0), settings.leader(6, u64::MAX)), (1, 2, 1));
    }

    #[test]
    fn epochs_count_from_their_first_block() {
        let mut settings = settings(&[1]);
        assert!(!settings.ends_epoch(10));
        settings.epoch = Some((3, 5));
        assert_eq!((0..15).filter(|n| settings.ends_epoch(*n)).collect::<Vec<_>>(), [3, 8, 13]);
        settings.rotate_at = Some(10);
        assert_eq!((0..15).filter(|n| settings.ends_epoch(*n)).collect::<Vec<_>>(), [3, 8, 10, 13]);
    }

    #[test]
    fn node_ids_read_hex() {
        let id = NodeId::from_hex(&format!("0x{}", "ab".repeat(64))).unwrap();
        assert_eq!((id.to_hex(), id.to_string()), ("ab".repeat(64), "abababab".to_owned()));
        assert_eq!((NodeId::from_hex("xyz"), NodeId::from_hex("")), (None, None));
    }
}
