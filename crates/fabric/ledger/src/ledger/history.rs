//! The history of keys: which transactions changed a key. Values are read from the blocks.

use bytes::Bytes;
use fabric_proto::protos::TxValidationCode;
use konsort_store::Snapshot;

use crate::{
    BlockStore, Height, LedgerError, TxToCommit, decode, keys,
    rwset::{CONFIG_NAMESPACE, is_delete},
};

/// One change of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The transaction that wrote.
    pub txid: String,
    /// The value written; empty for a delete.
    pub value: Bytes,
    /// Client timestamp of the transaction: seconds and nanoseconds of the channel header.
    pub timestamp: Option<(i64, i32)>,
    /// True for a delete.
    pub is_delete: bool,
}

/// Changes of a key, newest first; ends at the first error.
pub type HistoryEntries = Box<dyn Iterator<Item = Result<HistoryEntry, LedgerError>> + Send>;

/// The rows a block adds, each once. Metadata writes and the configuration have no history.
pub(super) fn rows(number: u64, transactions: &[TxToCommit]) -> Vec<Vec<u8>> {
    let mut rows = Vec::with_capacity(transactions.len());
    for (index, transaction) in transactions.iter().enumerate() {
        if transaction.code != TxValidationCode::Valid {
            continue;
        }
        for ns in transaction.rwset.iter().flat_map(|rwset| &rwset.namespaces) {
            if ns.namespace != CONFIG_NAMESPACE {
                let height = Height::new(number, index as u64);
                rows.extend(ns.public.writes.iter().map(|write| keys::history(&ns.namespace, &write.key, height)));
            }
        }
    }
    rows.sort_unstable();
    rows.dedup();
    rows
}

pub(super) fn entries(blocks: &BlockStore, snapshot: &dyn Snapshot, namespace: &str, key: &str) -> HistoryEntries {
    let prefix = keys::history_prefix(namespace, key);
    let rows = snapshot.prefix(keys::HISTORY, &prefix);
    let (blocks, namespace, key) = (blocks.clone(), namespace.to_owned(), key.to_owned());
    Box::new(rows.map(move |row| {
        let height = keys::parse_history(&row?.0, prefix.len());
        let height = height.ok_or_else(|| LedgerError::Corrupt { what: "history row".into() })?;
        entry(&blocks, &namespace, &key, height)
    }))
}

fn entry(blocks: &BlockStore, namespace: &str, key: &str, height: Height) -> Result<HistoryEntry, LedgerError> {
    let lost = || LedgerError::Corrupt { what: format!("history of key {key:?} in {namespace:?} at {height}") };
    let bytes = blocks.block(height.block)?.ok_or_else(lost)?;
    let block = decode::block(&bytes)?;
    let envelope = block.data.as_ref().and_then(|data| data.data.get(height.tx as usize)).ok_or_else(lost)?;
    let (channel, rwset) = decode::valid_transaction(envelope)?;
    let rwset = rwset.ok_or_else(lost)?;
    let ns = rwset.namespaces.into_iter().find(|ns| ns.namespace == namespace).ok_or_else(lost)?;
    let write = ns.public.writes.into_iter().find(|write| write.key == key).ok_or_else(lost)?;
    let is_delete = is_delete(&write);
    Ok(HistoryEntry {
        txid: channel.tx_id,
        value: if is_delete { Bytes::new() } else { write.value },
        timestamp: channel.timestamp.map(|at| (at.seconds, at.nanos)),
        is_delete,
    })
}
