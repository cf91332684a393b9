//! The durable state at one height.

use std::{fmt, sync::Arc};

use bytes::Bytes;
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

/// One row of the whole state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DumpedRow {
    /// Namespace.
    pub namespace: String,
    /// The collection of a hashed row; `None` for a public one.
    pub collection: Option<String>,
    /// The key, or the key hash of a hashed row.
    pub key: Bytes,
    /// The row.
    pub value: VersionedValue,
}

impl StateSnapshot {
    /// Every row: hashed rows first, then public ones; within a namespace (and collection) keys ascend.
    pub fn dump(&self) -> impl Iterator<Item = Result<DumpedRow, LedgerError>> + Send + use<> {
        let hashed = self.rows.prefix(keys::STATE, b"h").map(|entry| (true, entry));
        let public = self.rows.prefix(keys::STATE, b"p").map(|entry| (false, entry));
        hashed.chain(public).map(|(is_hashed, entry)| {
            let (mut key, row) = entry?;
            let parts =
                keys::split(&mut key, is_hashed).ok_or_else(|| LedgerError::Corrupt { what: "state key".into() })?;
            Ok(DumpedRow { namespace: parts.0, collection: parts.1, key, value: keys::decode_row(row)? })
        })
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
