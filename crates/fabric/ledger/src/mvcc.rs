//! Multi-version concurrency control in upstream's exact order.
//!
//! Verdicts must be the same on every peer, so nothing here is smarter than the original: a transaction conflicts when a key it read
//! was written by an earlier valid transaction of the block or has another version in the state, and a range conflicts when running it
//! again over state and earlier writes gives anything else.

mod operations;
mod ranges;

use std::collections::HashSet;

use fabric_proto::protos::TxValidationCode;
use konsort_crypto::hash::sha256;

use crate::{
    Height, LedgerError, StateReader, TxToCommit, UpdateBatch,
    rwset::{NsRwset, TxRwset},
};

/// Judges the transactions of block `number` that are still `VALID`, in order, against `state` and the earlier valid ones of the block:
/// conflicting ones get their code changed to `MVCC_READ_CONFLICT` or `PHANTOM_READ_CONFLICT`. Returns the net effect of the valid ones.
///
/// Per transaction and namespace: public reads, range queries, hashed reads.
pub fn validate(
    number: u64,
    transactions: &mut [TxToCommit],
    state: &dyn StateReader,
) -> Result<UpdateBatch, LedgerError> {
    let mut updates = UpdateBatch::default();
    for (index, transaction) in transactions.iter_mut().enumerate() {
        if transaction.code != TxValidationCode::Valid {
            continue;
        }
        let Some(rwset) = &transaction.rwset else { continue };
        transaction.code = verdict(rwset, &updates, state)?;
        if transaction.code == TxValidationCode::Valid {
            operations::apply(rwset, Height::new(number, index as u64), &mut updates, state)?;
        }
    }
    Ok(updates)
}

/// The net effect of a block whose verdicts are already final (replay of stored blocks).
pub(crate) fn effects(
    number: u64,
    transactions: &[TxToCommit],
    state: &dyn StateReader,
) -> Result<UpdateBatch, LedgerError> {
    let mut updates = UpdateBatch::default();
    for (index, transaction) in transactions.iter().enumerate() {
        if transaction.code == TxValidationCode::Valid
            && let Some(rwset) = &transaction.rwset
        {
            operations::apply(rwset, Height::new(number, index as u64), &mut updates, state)?;
        }
    }
    Ok(updates)
}

fn verdict(rwset: &TxRwset, updates: &UpdateBatch, state: &dyn StateReader) -> Result<TxValidationCode, LedgerError> {
    for ns in &rwset.namespaces {
        if !reads_hold(ns, updates, state)? {
            return Ok(TxValidationCode::MvccReadConflict);
        }
        for range in &ns.public.range_queries_info {
            if !ranges::holds(&ns.namespace, range, updates, state)? {
                return Ok(TxValidationCode::PhantomReadConflict);
            }
        }
        if !hashed_reads_hold(ns, updates, state)? {
            return Ok(TxValidationCode::MvccReadConflict);
        }
    }
    Ok(TxValidationCode::Valid)
}

fn reads_hold(ns: &NsRwset, updates: &UpdateBatch, state: &dyn StateReader) -> Result<bool, LedgerError> {
    let written = updates.public.get(&ns.namespace);
    for read in &ns.public.reads {
        if written.is_some_and(|keys| keys.contains_key(&read.key)) {
            return Ok(false);
        }
        if state.version(&ns.namespace, &read.key)? != read.version.as_ref().map(Height::from) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn hashed_reads_hold(ns: &NsRwset, updates: &UpdateBatch, state: &dyn StateReader) -> Result<bool, LedgerError> {
    for collection in &ns.collections {
        for read in &collection.hashed.hashed_reads {
            if updates.get_hash(&ns.namespace, &collection.name, &read.key_hash).is_some() {
                return Ok(false);
            }
            // Upstream keeps writes of a nameless collection among the public ones, so it never finds them here.
            let committed = if collection.name.is_empty() {
                None
            } else {
                state.get_hash(&ns.namespace, &collection.name, &read.key_hash)?.map(|row| row.version)
            };
            if committed != read.version.as_ref().map(Height::from) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Private keys (as hashes) that valid transactions of a block purge: the deletions themselves are part of the update batch.
pub fn purges(transactions: &[TxToCommit]) -> HashSet<(String, String, bytes::Bytes)> {
    let mut found = HashSet::new();
    for transaction in transactions.iter().filter(|transaction| transaction.code == TxValidationCode::Valid) {
        for ns in transaction.rwset.iter().flat_map(|rwset| &rwset.namespaces) {
            for collection in &ns.collections {
                for write in collection.hashed.hashed_writes.iter().filter(|write| write.is_purge) {
                    found.insert((ns.namespace.clone(), collection.name.clone(), write.key_hash.clone()));
                }
            }
        }
    }
    found
}

/// Upstream's rule for hashed writes: no value hash, or the hash of nothing, is a delete.
fn is_hash_delete(write: &fabric_proto::kvrwset::KvWriteHash) -> bool {
    write.is_delete || write.value_hash.is_empty() || write.value_hash == sha256(b"")[..]
}
