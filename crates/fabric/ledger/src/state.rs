//! Reading the world state: rows, the reader trait, snapshots.

mod snapshot;
mod view;

use std::collections::BTreeMap;

use bytes::Bytes;
use fabric_proto::kvrwset::{KvMetadataEntry, KvMetadataWrite};
use prost::Message as _;

use crate::{Height, LedgerError};
pub use snapshot::{DumpedRow, StateSnapshot};
pub use view::StateView;

/// One row of the world state (for hashed collections `value` is the hash of the value).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionedValue {
    /// The value; never empty.
    pub value: Bytes,
    /// Serialized metadata (see [`decode_metadata`]); empty when there is none.
    pub metadata: Bytes,
    /// The transaction that wrote the row last.
    pub version: Height,
}

/// One row of a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateRow {
    /// The key.
    pub key: String,
    /// The row.
    pub value: VersionedValue,
}

/// Rows of a range in key order; ends at the first error.
pub type StateRows<'a> = Box<dyn Iterator<Item = Result<StateRow, LedgerError>> + Send + 'a>;

/// A consistent view of the world state.
pub trait StateReader: Send + Sync {
    /// The public row of a key.
    fn get(&self, namespace: &str, key: &str) -> Result<Option<VersionedValue>, LedgerError>;

    /// The version of a public key.
    fn version(&self, namespace: &str, key: &str) -> Result<Option<Height>, LedgerError> {
        Ok(self.get(namespace, key)?.map(|row| row.version))
    }

    /// The hashed row of a private key; `value` is the hash of the value.
    fn get_hash(
        &self,
        namespace: &str,
        collection: &str,
        key_hash: &[u8],
    ) -> Result<Option<VersionedValue>, LedgerError>;

    /// Public rows with `start <= key < end`; an empty `end` means the end of the namespace.
    fn range<'a>(&'a self, namespace: &str, start: &str, end: &str) -> Result<StateRows<'a>, LedgerError>;
}

/// Reading one key: the part of the state that chaincode definitions are read through.
///
/// A [`crate::Simulator`] implements it by recording the read, as upstream does.
pub trait StateGet {
    /// The value of a public key.
    fn get_state(&self, namespace: &str, key: &str) -> Result<Option<Bytes>, LedgerError>;
}

impl<R: StateReader + ?Sized> StateGet for R {
    fn get_state(&self, namespace: &str, key: &str) -> Result<Option<Bytes>, LedgerError> {
        Ok(self.get(namespace, key)?.map(|row| row.value))
    }
}

/// Metadata of a row by name, from its stored bytes.
pub fn decode_metadata(bytes: &Bytes) -> Result<BTreeMap<String, Bytes>, LedgerError> {
    let message =
        KvMetadataWrite::decode(bytes.clone()).map_err(|source| LedgerError::decode("state metadata", source))?;
    Ok(message.entries.into_iter().map(|entry| (entry.name, entry.value)).collect())
}

/// The stored bytes of metadata entries, in the order given.
pub fn encode_metadata(entries: &[KvMetadataEntry]) -> Bytes {
    Bytes::from(KvMetadataWrite { key: String::new(), entries: entries.to_vec() }.encode_to_vec())
}

impl<R: StateReader + ?Sized> StateReader for &R {
    fn get(&self, namespace: &str, key: &str) -> Result<Option<VersionedValue>, LedgerError> {
        (**self).get(namespace, key)
    }

    fn version(&self, namespace: &str, key: &str) -> Result<Option<Height>, LedgerError> {
        (**self).version(namespace, key)
    }

    fn get_hash(
        &self,
        namespace: &str,
        collection: &str,
        key_hash: &[u8],
    ) -> Result<Option<VersionedValue>, LedgerError> {
        (**self).get_hash(namespace, collection, key_hash)
    }

    fn range<'a>(&'a self, namespace: &str, start: &str, end: &str) -> Result<StateRows<'a>, LedgerError> {
        (**self).range(namespace, start, end)
    }
}
