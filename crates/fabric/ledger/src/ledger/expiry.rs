//! Block-to-live: hashed rows that leave the state some blocks after they were written.
//!
//! A row written by block `n` of a collection that lives `b` blocks leaves with block `n + b + 1`, unless it was written again
//! meanwhile. The removal is no entry of the update list under the commit hash.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Collections, LedgerError, StateReader as _, StateView, UpdateBatch, keys};

/// Adds to `updates` what expires with block `number`, and when its own hashed rows will.
pub(super) fn apply(
    number: u64,
    updates: &mut UpdateBatch,
    view: &StateView,
    collections: &dyn Collections,
) -> Result<(), LedgerError> {
    updates.expired = expired(number, updates, view)?;
    updates.schedule = schedule(number, updates, view, collections)?;
    Ok(())
}

fn expired(
    number: u64,
    updates: &UpdateBatch,
    view: &StateView,
) -> Result<Vec<(String, String, bytes::Bytes)>, LedgerError> {
    let mut due = BTreeSet::new();
    for entry in view.snapshot().rows().prefix(keys::STATE, &keys::expiry_prefix(number)) {
        let (key, _) = entry?;
        due.insert(keys::parse_expiry(&key).ok_or_else(|| LedgerError::Corrupt { what: "expiry schedule".into() })?);
    }
    for staged in view.overlay() {
        let written = |version: Option<&crate::UpdateValue>| version.map(|update| update.version.block);
        for (expiry, namespace, collection, key) in staged.schedule.iter().filter(|entry| entry.0 == number) {
            debug_assert_eq!(*expiry, number);
            if let Some(block) = written(staged.get_hash(namespace, collection, key)) {
                due.insert((block, namespace.clone(), collection.clone(), key.clone()));
            }
        }
    }
    let mut expired = Vec::new();
    for (written, namespace, collection, key) in due {
        if updates.get_hash(&namespace, &collection, &key).is_some() {
            continue;
        }
        if view.get_hash(&namespace, &collection, &key)?.is_some_and(|row| row.version.block == written) {
            expired.push((namespace, collection, key));
        }
    }
    Ok(expired)
}

fn schedule(
    number: u64,
    updates: &UpdateBatch,
    view: &StateView,
    collections: &dyn Collections,
) -> Result<Vec<(u64, String, String, bytes::Bytes)>, LedgerError> {
    let mut schedule = Vec::new();
    for (namespace, by_collection) in &updates.hashed {
        let known = collections.collections(view, namespace)?;
        let lives: &BTreeMap<String, u64> = match &known {
            Some(known) => known,
            None => continue,
        };
        for (collection, rows) in by_collection {
            let Some(lives) = lives.get(collection).copied().filter(|blocks| *blocks > 0) else { continue };
            let Some(expiry) = number.checked_add(lives).and_then(|last| last.checked_add(1)) else { continue };
            for (key, _) in rows.iter().filter(|(_, update)| update.value.is_some()) {
                schedule.push((expiry, namespace.clone(), collection.clone(), key.clone()));
            }
        }
    }
    Ok(schedule)
}
