//! The only place that writes: one sync of the block file per group of staged blocks, then the derived rows.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use fabric_proto::{common::Block, protos::TxValidationCode};
use konsort_store::{Batch, Store};

use super::{ChainInfo, Ledger, StagedBlock};
use crate::{LedgerError, TxToCommit, UpdateBatch, decode, keys, rwset::CONFIG_NAMESPACE};

/// The derived databases are made durable after this many bytes of blocks; a crash before costs that much replay.
const PERSIST_BYTES: usize = 64 << 20;
/// Or after this many blocks.
const PERSIST_BLOCKS: usize = 1000;

/// What a crash would have to replay.
#[derive(Debug, Default)]
pub(super) struct Unpersisted {
    bytes: usize,
    blocks: usize,
    times: FlushTimes,
}

/// How long the last [`Ledger::flush`] that wrote something took, divided by its blocks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FlushTimes {
    /// Writing and syncing the block file.
    pub blocks: Duration,
    /// Writing the derived rows: state, indexes, history.
    pub state: Duration,
}

impl Ledger {
    /// Makes all staged blocks durable with one sync and gives them back in order.
    ///
    /// After an error the same blocks stay staged. A failed write to the block files stops the ledger: restart the node.
    pub fn flush(&self) -> Result<Vec<Arc<StagedBlock>>, LedgerError> {
        let shared = &*self.shared;
        let mut unpersisted = shared.flush.lock();
        let group = shared.chain.lock().staged.clone();
        let Some(last) = group.last() else { return Ok(group) };
        let started = Instant::now();
        for block in &group {
            // Blocks of an earlier attempt may already be in the file.
            if block.number >= shared.blocks.height() {
                shared.blocks.append_encoded(&block.block, block.hash.clone(), block.bytes.clone())?;
            }
        }
        shared.blocks.sync()?;
        let synced = Instant::now();
        for block in &group {
            let parts = Parts { index: true, state: true, history: shared.options.history };
            shared.store.write(derived(block, &*shared.store, parts)?)?;
            unpersisted.bytes += block.bytes.len();
            unpersisted.blocks += 1;
        }
        let count = u32::try_from(group.len()).unwrap_or(u32::MAX);
        unpersisted.times = FlushTimes { blocks: (synced - started) / count, state: synced.elapsed() / count };
        {
            let mut chain = shared.chain.lock();
            chain.staged.drain(..group.len());
            for txid in group.iter().flat_map(|block| &block.txids) {
                chain.staged_txids.remove(txid);
            }
            // An id that a block still staged holds too stays known.
            let again: Vec<String> = chain.staged.iter().flat_map(|block| block.txids.clone()).collect();
            chain.staged_txids.extend(again.into_iter().filter(|txid| !txid.is_empty()));
            let header = decode::header(&last.block)?;
            chain.durable = ChainInfo {
                height: last.number + 1,
                current_hash: last.hash.clone(),
                previous_hash: header.previous_hash.clone(),
            };
            chain.durable_commit_hash = last.commit_hash.clone();
        }
        shared.height.send_replace(last.number + 1);
        if unpersisted.bytes >= PERSIST_BYTES || unpersisted.blocks >= PERSIST_BLOCKS {
            *unpersisted = Unpersisted { times: unpersisted.times, ..Unpersisted::default() };
            shared.store.persist()?;
        }
        Ok(group)
    }

    /// How long the last flush took per block.
    pub fn flush_times(&self) -> FlushTimes {
        self.shared.flush.lock().times
    }
}

/// Which databases a block is written to (replay brings each up from where it stands).
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts {
    pub(super) index: bool,
    pub(super) state: bool,
    pub(super) history: bool,
}

/// All rows that follow from one block, each key once. A savepoint comes last in its space.
pub(super) fn derived(block: &StagedBlock, store: &dyn Store, parts: Parts) -> Result<Batch, LedgerError> {
    let mut batch = Batch::with_capacity(block.txids.len() * 3 + 8);
    let height = (block.number + 1).to_be_bytes();
    if parts.index {
        index_rows(&mut batch, block, store)?;
        batch.put(keys::INDEX, keys::SAVEPOINT, height);
    }
    if parts.state {
        state_rows(&mut batch, &block.updates);
        for entry in store.snapshot().prefix(keys::STATE, &keys::expiry_prefix(block.number)) {
            batch.delete(keys::STATE, entry?.0);
        }
        batch.put(keys::STATE, keys::SAVEPOINT, height);
    }
    if parts.history {
        block.history.iter().for_each(|row| batch.put(keys::HISTORY, row.clone(), Vec::new()));
        batch.put(keys::HISTORY, keys::SAVEPOINT, height);
    }
    Ok(batch)
}

fn index_rows(batch: &mut Batch, block: &StagedBlock, store: &dyn Store) -> Result<(), LedgerError> {
    batch.put(keys::INDEX, keys::block_hash(&block.hash), block.number.to_be_bytes());
    let mut seen = HashSet::with_capacity(block.txids.len());
    for (index, txid) in block.txids.iter().enumerate() {
        // The first transaction with an id keeps it, whatever became of it.
        if txid.is_empty() || !seen.insert(txid) {
            continue;
        }
        let key = keys::txid(txid);
        if block.check_txid[index]
            && let Some(found) = store.get(keys::INDEX, &key)?
            // A replay finds its own row.
            && keys::decode_location(&found).is_none_or(|(of, _, _)| of < block.number)
        {
            continue;
        }
        batch.put(keys::INDEX, key, keys::encode_location(block.number, index as u32, block.flags[index]));
    }
    Ok(())
}

fn state_rows(batch: &mut Batch, updates: &UpdateBatch) {
    for (namespace, rows) in &updates.public {
        for (key, update) in rows {
            let key = keys::public(namespace, key);
            match &update.value {
                Some(value) => batch.put(keys::STATE, key, keys::encode_row(update, value)),
                None => batch.delete(keys::STATE, key),
            }
        }
    }
    for (namespace, collections) in &updates.hashed {
        for (collection, rows) in collections {
            for (key_hash, update) in rows {
                let key = keys::hashed(namespace, collection, key_hash);
                match &update.value {
                    Some(value) => batch.put(keys::STATE, key, keys::encode_row(update, value)),
                    None => batch.delete(keys::STATE, key),
                }
            }
        }
    }
    for (namespace, collection, key_hash) in &updates.expired {
        batch.delete(keys::STATE, keys::hashed(namespace, collection, key_hash));
    }
    for (expiry, namespace, collection, key_hash) in &updates.schedule {
        if let Some(update) = updates.get_hash(namespace, collection, key_hash) {
            let key = keys::expiry(*expiry, update.version.block, namespace, collection, key_hash);
            batch.put(keys::STATE, key, Vec::new());
        }
    }
}

/// Which transactions may carry an id that is indexed already: all but valid endorser transactions, whose ids were found to be new.
pub(super) fn maybe_indexed(transactions: &[TxToCommit]) -> Vec<bool> {
    let is_config = |transaction: &TxToCommit| {
        let rwset = transaction.rwset.as_ref();
        rwset.is_none_or(|rwset| rwset.namespaces.iter().any(|ns| ns.namespace == CONFIG_NAMESPACE))
    };
    let may = |transaction: &TxToCommit| match transaction.code {
        TxValidationCode::Valid | TxValidationCode::MvccReadConflict | TxValidationCode::PhantomReadConflict => {
            is_config(transaction)
        }
        _ => true,
    };
    transactions.iter().map(may).collect()
}

/// The id of each transaction; where none was given the envelope is asked.
pub(super) fn transaction_ids(block: &Block, transactions: Vec<TxToCommit>) -> Vec<String> {
    let envelopes = block.data.as_ref().map_or(&[][..], |data| &data.data);
    transactions
        .into_iter()
        .zip(envelopes)
        .map(|(transaction, envelope)| {
            if transaction.txid.is_empty() {
                decode::transaction_id(envelope).unwrap_or_default()
            } else {
                transaction.txid
            }
        })
        .collect()
}
