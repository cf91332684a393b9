//! This organisation's approvals in clear text.
//!
//! The ledger holds only hashes of what an organisation approves. The endorsing peer keeps the values it simulated, each under the hash
//! that a commit would leave in the state, so a value counts exactly when the state holds its hash: nothing has to be moved or
//! undone when a block commits, and a crash between endorsement and commit loses nothing.

use std::path::Path;

use bytes::Bytes;
use fabric_ledger::StateReader;
use fabric_proto::kvrwset::KvrwSet;
use fabric_proto::rwset::TxPvtReadWriteSet;
use fabric_validation::lifecycle_state::{LIFECYCLE_NAMESPACE, RangeState, ReadState, StateError};
use konsort_crypto::hash::sha256;
use konsort_store::{Batch, FjallStore, Space, Store, StoreError, prefix_end};
use prost::Message;

const VALUES: Space = Space(0);

/// The store failed, or was handed something that is no private write set.
#[derive(Debug, thiserror::Error)]
pub enum PrivateValuesError {
    /// The store.
    #[error("cannot keep private values: {0}")]
    Store(#[from] StoreError),
    /// The bytes.
    #[error("cannot read the private write set of collection {collection}: {source}")]
    Decode {
        /// The collection.
        collection: String,
        /// The decoder's error.
        source: prost::DecodeError,
    },
}

/// Private values of the lifecycle namespace, by channel, collection, key and hash.
#[derive(Debug)]
pub struct PrivateValues {
    store: FjallStore,
}

impl PrivateValues {
    /// Opens or creates the store in a folder of its own.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, PrivateValuesError> {
        Ok(Self { store: FjallStore::open(folder, &["values"])? })
    }

    /// Keeps the lifecycle values of a simulated transaction; durable when it returns.
    pub fn keep(&self, channel: &str, private: &TxPvtReadWriteSet) -> Result<(), PrivateValuesError> {
        let mut batch = Batch::default();
        let namespaces = private.ns_pvt_rwset.iter().filter(|set| set.namespace == LIFECYCLE_NAMESPACE);
        for collection in namespaces.flat_map(|set| &set.collection_pvt_rwset) {
            let writes = KvrwSet::decode(collection.rwset.clone()).map_err(|source| PrivateValuesError::Decode {
                collection: collection.collection_name.clone(),
                source,
            })?;
            for write in writes.writes.into_iter().filter(|write| !write.is_delete) {
                let mut key = key_prefix(channel, &collection.collection_name, &write.key);
                key.extend_from_slice(&sha256(&write.value));
                batch.put(VALUES, key, write.value.to_vec());
            }
        }
        if batch.is_empty() {
            return Ok(());
        }
        self.store.write(batch)?;
        Ok(self.store.persist()?)
    }

    fn value(&self, channel: &str, collection: &str, key: &str, hash: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let mut stored = key_prefix(channel, collection, key);
        stored.extend_from_slice(hash);
        self.store.get(VALUES, &stored)
    }

    /// All keys of a collection in `start..end`, in order, values of former approvals included.
    fn keys(&self, channel: &str, collection: &str, start: &str, end: &str) -> Result<Vec<String>, StoreError> {
        let base = collection_prefix(channel, collection);
        let mut keys: Vec<String> = Vec::new();
        for entry in self.store.snapshot().range(VALUES, &base, prefix_end(&base).as_deref()) {
            let (stored, _) = entry?;
            let rest = stored.get(base.len()..).unwrap_or_default();
            let Some(end_of_key) = rest.iter().position(|byte| *byte == 0) else { continue };
            let key = String::from_utf8_lossy(&rest[..end_of_key]).into_owned();
            let inside = key.as_str() >= start && (end.is_empty() || key.as_str() < end);
            if inside && keys.last() != Some(&key) {
                keys.push(key);
            }
        }
        Ok(keys)
    }
}

/// Names have no zero byte, so zero separates them.
fn collection_prefix(channel: &str, collection: &str) -> Vec<u8> {
    let mut prefix = Vec::with_capacity(channel.len() + collection.len() + 2);
    prefix.extend_from_slice(channel.as_bytes());
    prefix.push(0);
    prefix.extend_from_slice(collection.as_bytes());
    prefix.push(0);
    prefix
}

fn key_prefix(channel: &str, collection: &str, key: &str) -> Vec<u8> {
    let mut prefix = collection_prefix(channel, collection);
    prefix.extend_from_slice(key.as_bytes());
    prefix.push(0);
    prefix
}

/// Reads a collection's values through the hashes in a state, recording nothing.
pub(crate) struct PrivateReader<'a> {
    values: &'a PrivateValues,
    channel: &'a str,
    collection: &'a str,
    state: &'a dyn StateReader,
}

impl<'a> PrivateReader<'a> {
    pub(crate) fn new(
        values: &'a PrivateValues,
        channel: &'a str,
        collection: &'a str,
        state: &'a dyn StateReader,
    ) -> Self {
        Self { values, channel, collection, state }
    }

    /// The value whose hash is given; an error when only the hash is known here.
    pub(crate) fn with_hash(&self, key: &str, hash: &[u8]) -> Result<Bytes, StateError> {
        let found = self.values.value(self.channel, self.collection, key, hash).map_err(StateError::new)?;
        found.ok_or_else(|| {
            StateError::new(format!(
                "private data matching public hash version is not available (collection {}, key {key}): it was endorsed by \
                 another peer of the organisation; ask that peer, or approve through this one",
                self.collection
            ))
        })
    }
}

impl ReadState for PrivateReader<'_> {
    fn get_state(&self, key: &str) -> Result<Option<Bytes>, StateError> {
        let row = self.state.get_hash(LIFECYCLE_NAMESPACE, self.collection, &sha256(key.as_bytes()));
        let Some(row) = row.map_err(StateError::new)? else { return Ok(None) };
        self.with_hash(key, &row.value).map(Some)
    }
}

impl RangeState for PrivateReader<'_> {
    fn get_state_range(&self, start: &str, end: &str) -> Result<Vec<(String, Bytes)>, StateError> {
        let keys = self.values.keys(self.channel, self.collection, start, end).map_err(StateError::new)?;
        let mut rows = Vec::new();
        for key in keys {
            if let Some(value) = self.get_state(&key)? {
                rows.push((key, value));
            }
        }
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fabric_proto::kvrwset::KvWrite;
    use fabric_proto::rwset::{CollectionPvtReadWriteSet, NsPvtReadWriteSet};

    fn private(namespace: &str, key: &str, value: &'static str) -> TxPvtReadWriteSet {
        let writes = KvrwSet {
            writes: vec![KvWrite { key: key.into(), is_delete: false, value: value.into() }],
            ..KvrwSet::default()
        };
        TxPvtReadWriteSet {
            data_model: 0,
            ns_pvt_rwset: vec![NsPvtReadWriteSet {
                namespace: namespace.into(),
                collection_pvt_rwset: vec![CollectionPvtReadWriteSet {
                    collection_name: "_implicit_org_Org1MSP".into(),
                    rwset: writes.encode_to_vec().into(),
                }],
            }],
        }
    }

    #[test]
    fn a_value_is_found_under_its_hash_only_and_survives_reopening() {
        let folder = tempfile::tempdir().unwrap();
        let collection = "_implicit_org_Org1MSP";
        {
            let values = PrivateValues::open(folder.path()).unwrap();
            values.keep("ch", &private("_lifecycle", "a/1", "first")).unwrap();
            values.keep("ch", &private("_lifecycle", "a/1", "second")).unwrap();
            values.keep("ch", &private("kv", "secret", "not kept")).unwrap();
        }
        let values = PrivateValues::open(folder.path()).unwrap();
        let read = |hash: &[u8]| values.value("ch", collection, "a/1", hash).unwrap();
        assert_eq!(read(&sha256(b"first")).unwrap(), "first");
        assert_eq!(read(&sha256(b"second")).unwrap(), "second");
        assert_eq!(read(&sha256(b"third")), None);
        assert_eq!(values.keys("ch", collection, "a/", "a/\u{7f}").unwrap(), ["a/1"]);
        assert!(values.keys("other", collection, "", "").unwrap().is_empty());
    }
}
