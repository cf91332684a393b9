//! The only place that writes: a block becomes durable with one write to the block files, then state and indexes follow.

use std::sync::Arc;

use alloy_primitives::B256;
use bcos_types::{HeaderSignature, VerifiedTx};
use konsort_store::Batch;

use super::{Chain, CommittedBlock, ExecutedBlock, Totals, nonces, record};
use crate::{ChainError, keys, state::Layer};

/// State and indexes are made durable after this many bytes of blocks; a power cut before costs that much replay.
const PERSIST_BYTES: usize = 64 << 20;
/// Or after this many blocks.
const PERSIST_BLOCKS: usize = 1000;

/// Where the writing stands.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// A block that is in the files but not in the state: a write failed in between.
    unfinished: Option<B256>,
    bytes: usize,
    blocks: usize,
}

impl Chain {
    /// Makes an executed block the next block of the chain, with the signatures that made it final. When this returns the block is
    /// durable and can be read.
    ///
    /// After an error (disk full) the same block can be committed again; the chain takes no other before.
    pub fn commit(
        &self,
        block: &ExecutedBlock,
        signatures: Vec<HeaderSignature>,
    ) -> Result<CommittedBlock, ChainError> {
        let shared = &*self.shared;
        let mut progress = shared.commit.lock();
        let tip = self.tip();
        let (number, hash) = (block.number(), block.hash());
        if let Some(unfinished) = progress.unfinished
            && unfinished != hash
        {
            return Err(ChainError::Unfinished { number: tip.number() + 1, hash: unfinished });
        }
        if number != tip.number() + 1 || block.parent() != tip.hash() {
            return Err(ChainError::NotNext { number, hash, next: tip.number() + 1, tip: tip.hash() });
        }
        let mut header = block.header().clone();
        header.signatures = signatures;
        let totals = Totals {
            transactions: tip.totals().transactions + block.transactions().len() as u64,
            failed: tip.totals().failed + block.receipts().iter().filter(|receipt| receipt.status != 0).count() as u64,
        };
        let receipt_hashes: Vec<B256> = block.receipts().iter().map(|receipt| receipt.hash).collect();
        // Of an earlier attempt the record may already be in the file.
        if shared.log.next() == number {
            let transactions = block.transactions().iter().map(|transaction| (transaction.hash, &transaction.raw[..]));
            let receipts = receipt_hashes.iter().zip(block.encoded_receipts());
            let record = record::encode(&record::Parts {
                hash,
                header: header.encode(),
                totals,
                transactions: transactions.collect(),
                receipts: receipts.map(|(hash, bytes)| (*hash, &bytes[..])).collect(),
                cells: block.cells(),
            })?;
            shared.log.append(&[&record])?;
            progress.unfinished = Some(hash);
            progress.bytes += record.len();
        }
        shared.log.sync()?;
        let committed = CommittedBlock::memory(
            hash,
            header,
            totals,
            block.transactions().to_vec(),
            block.receipts().to_vec(),
            receipt_hashes,
        );
        shared.store.write(derived(&committed, block.transactions(), block.cells()))?;
        progress.unfinished = None;
        progress.blocks += 1;
        shared.nonces.write().push(number, nonces::of(block.transactions()));
        shared.recent.lock().push(committed.clone());
        let snapshot = shared.store.snapshot();
        shared.cache.advance(hash, block.cells());
        {
            let mut tip = shared.tip.write();
            tip.block = committed.clone();
            tip.snapshot = snapshot;
            let tip = &mut *tip;
            // What does not descend from this block can never be committed.
            tip.executed.retain(|_, executed| executed.number() > number && executed.descends_from(number, hash));
            tip.order.retain(|hash| tip.executed.contains_key(hash));
        }
        if progress.bytes >= PERSIST_BYTES || progress.blocks >= PERSIST_BLOCKS {
            (progress.bytes, progress.blocks) = (0, 0);
            // The block is durable without this; a failure only makes a later start replay more.
            if let Err(error) = shared.store.persist() {
                tracing::warn!(group = shared.config.genesis.group_id, %error, "state not persisted; a restart replays more blocks");
            }
        }
        Ok(committed)
    }
}

/// All rows that follow from one block, each key once.
pub(super) fn derived(block: &CommittedBlock, transactions: &[VerifiedTx], cells: &Layer) -> Batch {
    let number = block.number();
    let mut batch = Batch::with_capacity(transactions.len() + 2 * cells.len() + 8);
    let height = (number + 1).to_be_bytes();
    batch.put(keys::INDEX, keys::block_hash(&block.hash()), number.to_be_bytes());
    batch.put(keys::INDEX, keys::block_number(number), block.hash().as_slice());
    // In the order of their keys: neighbours in the store's memory are found while they are still in the processor's cache.
    let mut places: Vec<(B256, u32)> = transactions.iter().map(|transaction| transaction.hash).zip(0..).collect();
    places.sort_unstable();
    for (hash, index) in places {
        batch.put(keys::INDEX, keys::transaction(&hash), keys::encode_place(number, index));
    }
    let nonces = nonces::encode(nonces::of(transactions));
    if !nonces.is_empty() {
        batch.put(keys::INDEX, keys::nonces(number), nonces);
    }
    batch.put(keys::INDEX, keys::SAVEPOINT, height);
    let mut cells: Vec<_> =
        cells.iter().map(|(key, value)| (keys::cell(key), value.as_ref().map(|value| &value[..]))).collect();
    cells.sort_unstable();
    for (cell, value) in &cells {
        batch.put(keys::HISTORY, keys::version(cell, number), keys::encode_version(*value));
    }
    for (cell, value) in cells {
        match value {
            Some(value) => batch.put(keys::STATE, cell, value),
            None => batch.delete(keys::STATE, cell),
        }
    }
    batch.put(keys::STATE, keys::SAVEPOINT, height);
    batch.put(keys::HISTORY, keys::SAVEPOINT, height);
    batch
}

impl Chain {
    /// Keeps an executed block until it is committed or overtaken.
    pub(super) fn keep_executed(&self, block: &ExecutedBlock) {
        let mut tip = self.shared.tip.write();
        if block.number() <= tip.number() || tip.executed.insert(block.hash(), block.clone()).is_some() {
            return;
        }
        tip.order.push_back(block.hash());
        while tip.order.len() > super::EXECUTED
            && let Some(oldest) = tip.order.pop_front()
        {
            tip.executed.remove(&oldest);
        }
    }

    /// An executed block that is not committed yet.
    pub fn executed(&self, hash: &B256) -> Option<ExecutedBlock> {
        self.shared.tip.read().executed.get(hash).cloned()
    }

    /// How many shares of this chain exist; tests wait for the last one before they open its folder again.
    #[doc(hidden)]
    pub fn shares(&self) -> usize {
        Arc::strong_count(&self.shared)
    }
}
