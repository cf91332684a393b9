//! Searching blocks for logs.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bloom, BloomInput, Bytes};
use bcos_chain::CommittedBlock;
use bcos_types::Receipt;
use serde_json::{Value, json};

use super::criteria::{Criteria, Matcher};
use super::envelope::Manner;
use super::error::RpcError;
use super::ledger::{Ledger, chain, heavy};
use super::text;
use crate::api::Group;

/// Logs in one answer.
pub(crate) const MOST_LOGS: usize = 20_000;
/// Blocks that one question may cover.
const MOST_BLOCKS: u64 = 100_000;

/// A log with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) address: Address,
    pub(crate) topics: Vec<B256>,
    pub(crate) data: Bytes,
    pub(crate) block_number: u64,
    pub(crate) block_hash: B256,
    pub(crate) transaction_hash: B256,
    pub(crate) transaction_index: u64,
    /// Counted from 0 in its transaction.
    pub(crate) index_in_transaction: u64,
    /// Counted from 0 in its block.
    pub(crate) index_in_block: u64,
}

impl Found {
    /// As answers show it. Upstream counts a log's index in its transaction, Ethereum in the block.
    pub(crate) fn to_json(&self, manner: Manner) -> Value {
        let index = match manner {
            Manner::Bcos => self.index_in_transaction,
            Manner::Ethereum => self.index_in_block,
        };
        json!({
            "address": text::data(self.address),
            "topics": text::list(&self.topics),
            "data": text::data(&self.data),
            "blockNumber": text::quantity(self.block_number),
            "blockHash": text::data(self.block_hash),
            "transactionHash": text::data(self.transaction_hash),
            "transactionIndex": text::quantity(self.transaction_index),
            "logIndex": text::quantity(index),
            "removed": false,
        })
    }
}

/// The bloom filter over a receipt's addresses and topics: kept with it, or made again.
pub(crate) fn bloom(receipt: &Receipt) -> Bloom {
    if receipt.logs.is_empty() {
        return Bloom::ZERO;
    }
    if let Ok(bloom) = Bloom::try_from(&receipt.logs_bloom[..]) {
        return bloom;
    }
    let mut bloom = Bloom::ZERO;
    for entry in &receipt.logs {
        bloom.accrue(BloomInput::Raw(entry.address.as_slice()));
        for topic in &entry.topics {
            bloom.accrue(BloomInput::Raw(topic.as_slice()));
        }
    }
    bloom
}

/// Searches the blocks of a range, which exist; more logs than `most` are refused.
pub(crate) async fn scan(
    group: &Group,
    from: u64,
    to: u64,
    matcher: Arc<Matcher>,
    most: usize,
) -> Result<Vec<Found>, RpcError> {
    // New blocks are in memory, and handing over costs more than looking.
    if to <= from + 1 {
        return scan_here(group, from, to, &matcher, most);
    }
    let group = group.clone();
    heavy(move || scan_here(&group, from, to, &matcher, most)).await
}

fn scan_here(group: &Group, from: u64, to: u64, matcher: &Matcher, most: usize) -> Result<Vec<Found>, RpcError> {
    let mut found = Vec::new();
    for number in from..=to {
        search(&Ledger(group).block(number)?, matcher, &mut found)?;
        if found.len() > most {
            let first = number.saturating_sub(1);
            return Err(RpcError::new(
                -32005,
                format!("query returned more than {most} results; ask for blocks {from} to {first} first"),
            ));
        }
    }
    Ok(found)
}

/// Searches one block.
fn search(block: &CommittedBlock, matcher: &Matcher, found: &mut Vec<Found>) -> Result<(), RpcError> {
    let mut hashes = None;
    let mut index_in_block = 0;
    for (receipt, transaction_index) in chain(block.receipts())?.iter().zip(0..) {
        let first = index_in_block;
        index_in_block += receipt.logs.len() as u64;
        if receipt.logs.is_empty() || !matcher.may_be_in(&bloom(receipt)) {
            continue;
        }
        for (log, index_in_transaction) in receipt.logs.iter().zip(0..) {
            if !matcher.wants(&log.address, &log.topics) {
                continue;
            }
            let hashes = hashes.get_or_insert_with(|| block.transaction_hashes());
            found.push(Found {
                address: log.address,
                topics: log.topics.clone(),
                data: log.data.clone(),
                block_number: block.number(),
                block_hash: block.hash(),
                transaction_hash: hashes.get(transaction_index).copied().unwrap_or_default(),
                transaction_index: transaction_index as u64,
                index_in_transaction,
                index_in_block: first + index_in_transaction,
            });
        }
    }
    Ok(())
}

/// `getLogs` of either surface.
pub(crate) async fn answer(group: &Group, criteria: Criteria, manner: Manner) -> Result<Value, RpcError> {
    let ledger = Ledger(group);
    let head = ledger.head();
    let (from, to) = match &criteria.block {
        Some(hash) => {
            let number = ledger.find_number(hash)?.ok_or_else(|| RpcError::params("unknown block"))?;
            (number, number)
        }
        None => (criteria.from.resolve(head), criteria.to.resolve(head).min(head)),
    };
    if to < from {
        return Ok(json!([]));
    }
    if to - from >= MOST_BLOCKS {
        return Err(RpcError::new(
            -32005,
            format!("the range covers {} blocks; ask for at most {MOST_BLOCKS}", to - from + 1),
        ));
    }
    let found = scan(group, from, to, Arc::new(criteria.matcher), MOST_LOGS).await?;
    Ok(found.iter().map(|log| log.to_json(manner)).collect())
}
