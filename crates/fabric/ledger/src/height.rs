//! The place of a transaction on the chain; the version of every state row.

use fabric_proto::kvrwset;

/// Block number and transaction index: the version of a state row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Height {
    /// Number of the block.
    pub block: u64,
    /// Index of the transaction in the block.
    pub tx: u64,
}

impl Height {
    /// A height from its two parts.
    pub const fn new(block: u64, tx: u64) -> Self {
        Self { block, tx }
    }

    /// Upstream's order-preserving bytes: for each number one length byte, then big-endian without leading zeros.
    pub fn to_bytes(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(8);
        put_ordered(&mut out, self.block);
        put_ordered(&mut out, self.tx);
        out
    }

    /// The version message of a read-write set.
    pub fn to_proto(self) -> kvrwset::Version {
        kvrwset::Version { block_num: self.block, tx_num: self.tx }
    }
}

impl From<&kvrwset::Version> for Height {
    fn from(version: &kvrwset::Version) -> Self {
        Self::new(version.block_num, version.tx_num)
    }
}

impl std::fmt::Display for Height {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{{BlockNum: {}, TxNum: {}}}", self.block, self.tx)
    }
}

fn put_ordered(out: &mut Vec<u8>, number: u64) {
    let bytes = number.to_be_bytes();
    let skip = (number.leading_zeros() / 8) as usize;
    out.push((8 - skip) as u8);
    out.extend_from_slice(&bytes[skip..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordered_bytes_follow_the_documented_example() {
        assert_eq!(Height::new(14, 2).to_bytes(), [1, 14, 1, 2]);
        assert_eq!(Height::new(0, 0).to_bytes(), [0, 0]);
        assert_eq!(Height::new(256, u64::MAX).to_bytes(), [2, 1, 0, 8, 255, 255, 255, 255, 255, 255, 255, 255]);
    }

    #[test]
    fn ordered_bytes_keep_the_order() {
        let mut heights = [Height::new(300, 1), Height::new(2, 70000), Height::new(2, 3), Height::new(255, 0)];
        heights.sort_unstable();
        let mut bytes: Vec<_> = heights.iter().map(|h| h.to_bytes()).collect();
        let before = bytes.clone();
        bytes.sort();
        assert_eq!(before, bytes);
    }
}
