//! What is agreed on: the order of transactions, by their hashes, before anything is executed.

use std::sync::Arc;

use alloy_primitives::B256;

use crate::keys::Keys;

/// A block to be: everything that execution needs but the transactions' bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The block's number.
    pub number: u64,
    /// The block's time in milliseconds since 1970.
    pub timestamp_ms: u64,
    /// Index of the member that proposed it first; it stays when another leader proposes it again.
    pub sealer: u64,
    /// Whether it holds a system transaction, alone in its block; nothing is ordered above it before it is final.
    pub system: bool,
    /// [`content_hash`] of the block before.
    pub parent: B256,
    /// The transactions' hashes in order.
    pub transactions: Arc<[B256]>,
}

impl Proposal {
    /// The part that votes and certificates name.
    pub fn head(&self, keys: &dyn Keys) -> Head {
        Head {
            number: self.number,
            timestamp_ms: self.timestamp_ms,
            sealer: self.sealer,
            system: self.system,
            parent: self.parent,
            transactions: transactions_hash(keys, &self.transactions),
        }
    }
}

/// A proposal with its transactions replaced by one hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// As in [`Proposal`].
    pub number: u64,
    /// As in [`Proposal`].
    pub timestamp_ms: u64,
    /// As in [`Proposal`].
    pub sealer: u64,
    /// As in [`Proposal`].
    pub system: bool,
    /// As in [`Proposal`].
    pub parent: B256,
    /// The hash of all transaction hashes joined.
    pub transactions: B256,
}

impl Head {
    /// What is voted on.
    pub fn digest(&self, keys: &dyn Keys) -> B256 {
        keys.hash(&[
            b"konsort proposal 1",
            &self.number.to_be_bytes(),
            &self.timestamp_ms.to_be_bytes(),
            &self.sealer.to_be_bytes(),
            &[u8::from(self.system)],
            self.parent.as_slice(),
            self.transactions.as_slice(),
        ])
    }

    /// What the next proposal names as its parent.
    pub fn content(&self, keys: &dyn Keys) -> B256 {
        content(keys, self.number, self.timestamp_ms, self.sealer, &self.transactions)
    }
}

/// The hash by which a proposal names its predecessor, made only of what a committed block still shows: number,
/// timestamp, sealer and transaction hashes. For the genesis block: no transactions.
pub fn content_hash(keys: &dyn Keys, number: u64, timestamp_ms: u64, sealer: u64, transactions: &[B256]) -> B256 {
    content(keys, number, timestamp_ms, sealer, &transactions_hash(keys, transactions))
}

fn content(keys: &dyn Keys, number: u64, timestamp_ms: u64, sealer: u64, transactions: &B256) -> B256 {
    keys.hash(&[
        b"konsort content 1",
        &number.to_be_bytes(),
        &timestamp_ms.to_be_bytes(),
        &sealer.to_be_bytes(),
        transactions.as_slice(),
    ])
}

fn transactions_hash(keys: &dyn Keys, transactions: &[B256]) -> B256 {
    let joined: Vec<u8> = transactions.iter().flat_map(|hash| hash.0).collect();
    keys.hash(&[&joined])
}
