//! The durable state at one height.

use std::{fmt, sync::Arc};

use konsort_store::{Snapshot, prefix_end};

use super::{StateReader, StateRow, StateRows, VersionedValue};
use crate::{LedgerError, keys};

/// The durable state at one height; cheap to take and to clone.
#[derive(Clone)]
pub struct StateSnapshot {
    rows: Arc<dyn Snapshot>,
}

impl fmt::Debug for StateSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateSnapshot").finish_non_exhaustive()
    }
}

impl StateSnapshot {
    pub(crate) fn new(rows: Arc<dyn Snapshot>) -> Self {
        Self { rows }
    }

    pub(crate) fn rows(&self) -> &dyn Snapshot {
        self.rows.as_ref()
    }

    /// Number of blocks this state reflects.
    pub fn height(&self) -> Result<u64, LedgerError> {
        let found = self.rows.get(keys::STATE, keys::SAVEPOINT)?;
        Ok(found.and_then(|bytes| keys::decode_number(&bytes)).unwrap_or(0))
    }
}

impl StateReader for StateSnapshot {
    fn get(&self, namespace: &str, key: &str) -> Result<Option<VersionedValue>, LedgerError> {
        self.rows.get(keys::STATE, &keys::public(namespace, key))?.map(keys::decode_row).transpose()
    }

    fn get_hash(
        &self,
        namespace: &str,
        collection: &str,
        key_hash: &[u8],
    ) -> Result<Option<VersionedValue>, LedgerError> {
        self.rows.get(keys::STATE, &keys::hashed(namespace, collection, key_hash))?.map(keys::decode_row).transpose()
    }

    fn range<'a>(&'a self, namespace: &str, start: &str, end: &str) -> Result<StateRows<'a>, LedgerError> {
        let prefix = keys::public(namespace, "");
        let first = keys::public(namespace, start);
        let last = if end.is_empty() { prefix_end(&prefix) } else { Some(keys::public(namespace, end)) };
        let skip = prefix.len();
        let rows = self.rows.range(keys::STATE, &first, last.as_deref());
        Ok(Box::new(rows.map(move |entry| {
            let (key, row) = entry?;
            let key = String::from_utf8(key[skip..].to_vec())
                .map_err(|_| LedgerError::Corrupt { what: "state key".into() })?;
            Ok(StateRow { key, value: keys::decode_row(row)? })
        })))
    }
}
