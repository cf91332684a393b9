//! The effect of one valid transaction on the update batch.

use std::collections::HashMap;

use bytes::Bytes;
use fabric_proto::kvrwset::KvMetadataEntry;

use super::is_hash_delete;
use crate::{
    Height, LedgerError, StateReader, UpdateBatch, UpdateValue, encode_metadata,
    rwset::{TxRwset, is_delete},
};

/// What a transaction does to one key. Upstream adds these up, so that a key that stands twice in one write set (which no honest
/// endorser produces) gets the meaning of the sum; the sum is kept, since every peer must come to the same state.
const WRITE: u8 = 1;
const METADATA: u8 = 2;
const NO_METADATA: u8 = 4;
const DELETE: u8 = 8;

#[derive(Default)]
struct Operation {
    flags: u8,
    value: Bytes,
    metadata: Bytes,
}

impl Operation {
    fn add(&mut self, flag: u8) -> &mut Self {
        self.flags = self.flags.wrapping_add(flag);
        self
    }

    fn has(&self, flags: u8) -> bool {
        self.flags & flags != 0
    }

    fn metadata_write(&mut self, entries: &[KvMetadataEntry]) {
        if entries.is_empty() {
            self.add(NO_METADATA);
        } else {
            self.add(METADATA).metadata = encode_metadata(entries);
        }
    }
}

/// Namespace, collection (empty for public keys), key or key hash.
type Place<'a> = (&'a str, &'a str, &'a [u8]);

fn operations(rwset: &TxRwset) -> HashMap<Place<'_>, Operation> {
    let mut all: HashMap<Place<'_>, Operation> = HashMap::new();
    for ns in &rwset.namespaces {
        for write in &ns.public.writes {
            let operation = all.entry((&ns.namespace, "", write.key.as_bytes())).or_default();
            if is_delete(write) {
                operation.add(DELETE);
            } else {
                operation.add(WRITE).value = write.value.clone();
            }
        }
        for write in &ns.public.metadata_writes {
            all.entry((&ns.namespace, "", write.key.as_bytes())).or_default().metadata_write(&write.entries);
        }
        for collection in &ns.collections {
            for write in &collection.hashed.hashed_writes {
                let operation = all.entry((&ns.namespace, &collection.name, &write.key_hash)).or_default();
                if is_hash_delete(write) {
                    operation.add(DELETE);
                } else {
                    operation.add(WRITE).value = write.value_hash.clone();
                }
            }
            for write in &collection.hashed.metadata_writes {
                let place = (ns.namespace.as_str(), collection.name.as_str(), &write.key_hash[..]);
                all.entry(place).or_default().metadata_write(&write.entries);
            }
        }
    }
    all
}

/// Adds the transaction's net effect to `updates`; `state` and `updates` give what it leaves unsaid (the value under a metadata
/// write, the metadata under a value write).
pub(super) fn apply(
    rwset: &TxRwset,
    version: Height,
    updates: &mut UpdateBatch,
    state: &dyn StateReader,
) -> Result<(), LedgerError> {
    for (place, mut operation) in operations(rwset) {
        if operation.has(DELETE) {
            put(updates, place, UpdateValue { value: None, metadata: Bytes::new(), version });
            continue;
        }
        let complete = operation.has(WRITE) && operation.has(METADATA | NO_METADATA);
        if !complete {
            let latest = latest(place, updates, state)?;
            if operation.flags | WRITE == WRITE {
                operation.metadata = latest.map(|(_, metadata)| metadata).unwrap_or_default();
            } else {
                // Metadata of a key that is not there has no effect. That also holds when the key was deleted earlier in this very
                // block, where the original stops with a panic.
                let Some((value, _)) = latest else { continue };
                operation.value = value;
            }
        }
        if operation.value.is_empty() {
            continue;
        }
        put(updates, place, UpdateValue { value: Some(operation.value), metadata: operation.metadata, version });
    }
    Ok(())
}

/// Value and metadata after the earlier transactions of the block; `None` for an absent or deleted key.
fn latest(
    (namespace, collection, key): Place<'_>,
    updates: &UpdateBatch,
    state: &dyn StateReader,
) -> Result<Option<(Bytes, Bytes)>, LedgerError> {
    let row = if collection.is_empty() {
        let key = String::from_utf8_lossy(key);
        if let Some(update) = updates.get(namespace, &key) {
            return Ok(update.value.clone().map(|value| (value, update.metadata.clone())));
        }
        state.get(namespace, &key)?
    } else {
        if let Some(update) = updates.get_hash(namespace, collection, key) {
            return Ok(update.value.clone().map(|value| (value, update.metadata.clone())));
        }
        state.get_hash(namespace, collection, key)?
    };
    Ok(row.map(|row| (row.value, row.metadata)))
}

fn put(updates: &mut UpdateBatch, (namespace, collection, key): Place<'_>, value: UpdateValue) {
    if collection.is_empty() {
        let keys = entry(&mut updates.public, namespace);
        keys.insert(String::from_utf8_lossy(key).into_owned(), value);
    } else {
        let keys = entry(entry(&mut updates.hashed, namespace), collection);
        keys.insert(Bytes::copy_from_slice(key), value);
    }
}

fn entry<'a, V: Default>(map: &'a mut std::collections::BTreeMap<String, V>, name: &str) -> &'a mut V {
    map.entry(name.to_owned()).or_default()
}
