//! Nonces of the native transactions of the last blocks.

use std::{
    collections::VecDeque,
    hash::{BuildHasher as _, RandomState},
};

use alloy_primitives::map::HashSet;
use bcos_types::{TxKind, VerifiedTx};

/// A nonce must be new among this many blocks; also how far ahead a transaction's block limit may be.
pub const NONCE_BLOCKS: u64 = 1000;

/// Fingerprints of nonces by block. 128 bits under a random key: two nonces share one about never.
#[derive(Debug)]
pub(super) struct NonceWindow {
    keys: (RandomState, RandomState),
    known: HashSet<u128>,
    blocks: VecDeque<(u64, Vec<u128>)>,
}

impl Default for NonceWindow {
    fn default() -> Self {
        Self { keys: (RandomState::new(), RandomState::new()), known: HashSet::default(), blocks: VecDeque::new() }
    }
}

impl NonceWindow {
    fn fingerprint(&self, nonce: &str) -> u128 {
        u128::from(self.keys.0.hash_one(nonce)) << 64 | u128::from(self.keys.1.hash_one(nonce))
    }

    /// Takes in the nonces of the next block and lets go of those that no longer count.
    pub(super) fn push<'a>(&mut self, number: u64, nonces: impl Iterator<Item = &'a str>) {
        let nonces: Vec<u128> = nonces.map(|nonce| self.fingerprint(nonce)).collect();
        self.known.extend(&nonces);
        if !nonces.is_empty() {
            self.blocks.push_back((number, nonces));
        }
        while let Some((oldest, _)) = self.blocks.front()
            && oldest + NONCE_BLOCKS <= number
            && let Some((_, gone)) = self.blocks.pop_front()
        {
            for nonce in gone {
                self.known.remove(&nonce);
            }
        }
    }

    /// True when a transaction of the last blocks has this nonce.
    pub(super) fn contains(&self, nonce: &str) -> bool {
        self.known.contains(&self.fingerprint(nonce))
    }
}

/// The nonces that count of a block's transactions: Ethereum ones have their account's.
pub(super) fn of(transactions: &[VerifiedTx]) -> impl Iterator<Item = &str> {
    let native = transactions.iter().filter(|transaction| transaction.tx.kind == TxKind::Bcos);
    native.map(|transaction| transaction.tx.data.nonce.as_str())
}

/// A block's nonces as stored: each with its length before it.
pub(super) fn encode<'a>(nonces: impl Iterator<Item = &'a str>) -> Vec<u8> {
    let mut out = Vec::new();
    for nonce in nonces {
        out.extend_from_slice(&(nonce.len() as u32).to_be_bytes());
        out.extend_from_slice(nonce.as_bytes());
    }
    out
}

/// Reads a block's nonces.
pub(super) fn decode(mut bytes: &[u8]) -> Option<Vec<&str>> {
    let mut nonces = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (nonce, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        nonces.push(std::str::from_utf8(nonce).ok()?);
        bytes = rest;
    }
    Some(nonces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_counts_for_a_thousand_blocks() {
        let mut window = NonceWindow::default();
        window.push(5, ["a", "b"].into_iter());
        for number in 6..5 + NONCE_BLOCKS {
            window.push(number, std::iter::empty());
            assert!(window.contains("a") && window.contains("b"));
        }
        window.push(5 + NONCE_BLOCKS, ["c"].into_iter());
        assert!(!window.contains("a") && window.contains("c"));
    }

    #[test]
    fn stored_nonces_come_back() {
        let stored = encode(["", "a", "0x12"].into_iter());
        assert_eq!(decode(&stored).unwrap(), ["", "a", "0x12"]);
        assert!(decode(&stored[..stored.len() - 1]).is_none());
    }
}
