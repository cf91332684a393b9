//! The net effect of one block on the world state.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::Height;

/// What becomes of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateValue {
    /// The new value, or `None` for a delete.
    pub value: Option<Bytes>,
    /// Serialized metadata; empty when there is none.
    pub metadata: Bytes,
    /// The transaction that did it.
    pub version: Height,
}

/// Per (namespace, collection, key) the last effect of the block's valid transactions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpdateBatch {
    /// Public keys by namespace.
    pub public: BTreeMap<String, BTreeMap<String, UpdateValue>>,
    /// Hashed keys by namespace and collection.
    pub hashed: BTreeMap<String, BTreeMap<String, BTreeMap<Bytes, UpdateValue>>>,
    /// Hashed rows that end with this block because of block-to-live; no part of the commit hash.
    pub expired: Vec<(String, String, Bytes)>,
    /// Hashed rows of this block that will expire: (block number, namespace, collection, key hash).
    pub schedule: Vec<(u64, String, String, Bytes)>,
}

impl UpdateBatch {
    /// The effect on a public key, if any.
    pub fn get(&self, namespace: &str, key: &str) -> Option<&UpdateValue> {
        self.public.get(namespace)?.get(key)
    }

    /// The effect on a hashed key, if any.
    pub fn get_hash(&self, namespace: &str, collection: &str, key_hash: &[u8]) -> Option<&UpdateValue> {
        self.hashed.get(namespace)?.get(collection)?.get(key_hash)
    }

    /// True when the hashed row ends with this block because of block-to-live.
    pub(crate) fn expires(&self, namespace: &str, collection: &str, key_hash: &[u8]) -> bool {
        self.expired.iter().any(|(ns, of, key)| ns == namespace && of == collection && key == key_hash)
    }
}
