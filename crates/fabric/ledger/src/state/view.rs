//! The state that validation sees: a snapshot with the blocks over it that are decided but not yet on disk.

use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use super::{StateReader, StateRow, StateRows, StateSnapshot, VersionedValue};
use crate::{Height, LedgerError, UpdateBatch, UpdateValue};

/// The state as validation of the next block must see it: a snapshot and, over it, the blocks that are staged but not durable yet.
#[derive(Debug, Clone)]
pub struct StateView {
    snapshot: StateSnapshot,
    /// Effects of staged blocks, oldest first.
    overlay: Vec<Arc<UpdateBatch>>,
}

impl StateView {
    pub(crate) fn new(snapshot: StateSnapshot, overlay: Vec<Arc<UpdateBatch>>) -> Self {
        Self { snapshot, overlay }
    }

    pub(crate) fn snapshot(&self) -> &StateSnapshot {
        &self.snapshot
    }

    pub(crate) fn overlay(&self) -> &[Arc<UpdateBatch>] {
        &self.overlay
    }

    fn newest_first(&self) -> impl Iterator<Item = &UpdateBatch> {
        self.overlay.iter().rev().map(AsRef::as_ref)
    }
}

fn row(update: &UpdateValue) -> Option<VersionedValue> {
    let value = update.value.clone()?;
    Some(VersionedValue { value, metadata: update.metadata.clone(), version: update.version })
}

impl StateReader for StateView {
    fn get(&self, namespace: &str, key: &str) -> Result<Option<VersionedValue>, LedgerError> {
        match self.newest_first().find_map(|updates| updates.get(namespace, key)) {
            Some(update) => Ok(row(update)),
            None => self.snapshot.get(namespace, key),
        }
    }

    fn version(&self, namespace: &str, key: &str) -> Result<Option<Height>, LedgerError> {
        match self.newest_first().find_map(|updates| updates.get(namespace, key)) {
            Some(update) => Ok(update.value.is_some().then_some(update.version)),
            None => self.snapshot.version(namespace, key),
        }
    }

    fn get_hash(
        &self,
        namespace: &str,
        collection: &str,
        key_hash: &[u8],
    ) -> Result<Option<VersionedValue>, LedgerError> {
        for updates in self.newest_first() {
            if let Some(update) = updates.get_hash(namespace, collection, key_hash) {
                return Ok(row(update));
            }
            if updates.expires(namespace, collection, key_hash) {
                return Ok(None);
            }
        }
        self.snapshot.get_hash(namespace, collection, key_hash)
    }

    fn range<'a>(&'a self, namespace: &str, start: &str, end: &str) -> Result<StateRows<'a>, LedgerError> {
        let stored = self.snapshot.range(namespace, start, end)?;
        let mut changed: BTreeMap<&'a str, &'a UpdateValue> = BTreeMap::new();
        if end.is_empty() || start <= end {
            let upper = if end.is_empty() { Bound::Unbounded } else { Bound::Excluded(end) };
            for updates in &self.overlay {
                if let Some(keys) = updates.public.get(namespace) {
                    let range = keys.range::<str, _>((Bound::Included(start), upper));
                    changed.extend(range.map(|(key, update)| (key.as_str(), update)));
                }
            }
        }
        if changed.is_empty() {
            return Ok(stored);
        }
        let mut stored = stored.peekable();
        let mut changed = changed.into_iter().peekable();
        Ok(Box::new(std::iter::from_fn(move || {
            loop {
                let stored_first = match (stored.peek(), changed.peek()) {
                    (None, None) => return None,
                    (Some(Err(_)), _) | (Some(_), None) => true,
                    (Some(Ok(row)), Some((key, _))) => row.key.as_str() < *key,
                    (None, Some(_)) => false,
                };
                if stored_first {
                    return stored.next();
                }
                let (key, update) = changed.next()?;
                if matches!(stored.peek(), Some(Ok(row)) if row.key == key) {
                    stored.next();
                }
                if let Some(value) = row(update) {
                    return Some(Ok(StateRow { key: key.to_owned(), value }));
                }
            }
        })))
    }
}
