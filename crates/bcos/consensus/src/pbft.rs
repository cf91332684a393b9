//! Practical Byzantine fault tolerance with pipelined proposals.

use alloy_primitives::B256;
use bytes::Bytes;

use crate::api::{Consensus, Effect, Input, Status, Tip};
use crate::keys::Keys;
use crate::record::RecordKey;
use crate::settings::Settings;

/// What a node starts with, besides its key.
#[derive(Clone, Debug)]
pub struct PbftConfig {
    /// Separates groups that share keys: the genesis block's hash.
    pub domain: B256,
    /// Proposals that may be in flight above the last final block.
    pub window: u64,
    /// Milliseconds without progress before a leader is replaced; the first of a series, later ones are longer.
    pub timeout_ms: u64,
    /// Milliseconds after which unanswered messages are sent again.
    pub retry_ms: u64,
    /// Transactions a proposal may have; longer ones are refused unread.
    pub max_transactions: usize,
}

impl PbftConfig {
    /// The usual settings: 50 proposals in flight, 3000 ms, retries after 500 ms, 100,000 transactions.
    pub fn new(domain: B256) -> Self {
        Self { domain, window: 50, timeout_ms: 3000, retry_ms: 500, max_transactions: 100_000 }
    }
}

/// The state machine of one node.
#[derive(Debug)]
pub struct Pbft {
    config: PbftConfig,
    keys: Box<dyn Keys>,
    settings: Settings,
    tip: Tip,
}

impl Pbft {
    /// A node whose chain ends with `tip`, with the records it persisted before (none on the first start).
    pub fn new(
        config: PbftConfig,
        keys: Box<dyn Keys>,
        settings: Settings,
        tip: Tip,
        _records: impl IntoIterator<Item = (RecordKey, Bytes)>,
    ) -> Self {
        Self { config, keys, settings, tip }
    }
}

impl Consensus for Pbft {
    fn step(&mut self, _now_ms: u64, _input: Input, _out: &mut Vec<Effect>) {}

    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn status(&self) -> Status {
        Status {
            node: self.keys.me().clone(),
            index: None,
            number: self.tip.number,
            header_hash: self.tip.header_hash,
            view: 0,
            entered: true,
            leader: 0,
            quorum: self.settings.quorum(),
            max_faulty: self.settings.max_faulty(),
            timeout_ms: self.config.timeout_ms,
            change_cycle: 0,
            ordered: self.tip.number,
            executed: self.tip.number,
        }
    }
}
