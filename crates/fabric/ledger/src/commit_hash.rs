//! The commit hash: a chain over verdicts and state changes by which peers compare ledgers.
//!
//! `commit(n) = SHA-256(uvarint(number of flags) || flags || updates || commit(n-1))`, from block 1 on. The update list holds the net effect of the
//! block by namespace (the channel configuration's is left out), public keys before collections, everything in byte order.

use bytes::Bytes;
use fabric_proto::commithash::KvWrite;
use konsort_crypto::hash::sha256_parts;

use crate::{UpdateBatch, UpdateValue, rwset::CONFIG_NAMESPACE};

/// The serialized update list of a block (empty for an empty batch).
pub fn update_bytes(updates: &UpdateBatch) -> Vec<u8> {
    let mut out = Vec::new();
    let mut namespaces: Vec<&str> = updates
        .public
        .keys()
        .chain(updates.hashed.keys())
        .map(String::as_str)
        .filter(|ns| *ns != CONFIG_NAMESPACE)
        .collect();
    namespaces.sort_unstable();
    namespaces.dedup();
    for namespace in namespaces {
        let mut name = namespace;
        for (key, value) in updates.public.get(namespace).into_iter().flatten() {
            put(&mut out, std::mem::take(&mut name), "", Bytes::copy_from_slice(key.as_bytes()), value);
        }
        for (collection, keys) in updates.hashed.get(namespace).into_iter().flatten() {
            let mut collection = collection.as_str();
            for (key, value) in keys {
                put(&mut out, std::mem::take(&mut name), std::mem::take(&mut collection), key.clone(), value);
            }
        }
    }
    out
}

/// Appends one entry of the repeated field, so that a large block's list exists only once in memory.
fn put(out: &mut Vec<u8>, namespace: &str, collection: &str, key: Bytes, update: &UpdateValue) {
    let write = KvWrite {
        namespace: namespace.into(),
        collection: collection.into(),
        key,
        is_delete: update.value.is_none(),
        value: update.value.clone().unwrap_or_default(),
        version_bytes: Bytes::from(update.version.to_bytes()),
    };
    prost::encoding::message::encode(1, &write, out);
}

/// The commit hash of a block: `flags` are its final validation codes, `previous` the last block's commit hash (empty for block 1).
pub fn commit_hash(previous: &[u8], flags: &[u8], updates: &UpdateBatch) -> Bytes {
    let mut length = Vec::with_capacity(4);
    prost::encoding::encode_varint(flags.len() as u64, &mut length);
    Bytes::copy_from_slice(&sha256_parts(&[&length, flags, &update_bytes(updates), previous]))
}

#[cfg(test)]
mod tests {
    use fabric_proto::commithash::Updates;
    use prost::Message as _;

    use super::*;
    use crate::Height;

    /// Block 12 of the golden chain, as its description spells it out.
    #[test]
    fn the_documented_example() {
        let mut updates = UpdateBatch::default();
        for (index, (key, value)) in [("a1", "1"), ("a2", "2"), ("a3", "3")].into_iter().enumerate() {
            let value = UpdateValue {
                value: Some(Bytes::from(value)),
                metadata: Bytes::new(),
                version: Height::new(12, index as u64),
            };
            updates.public.entry("kv".into()).or_default().insert(key.into(), value);
        }
        updates.public.entry(CONFIG_NAMESPACE.into()).or_default().insert(
            "x".into(),
            UpdateValue { value: Some(Bytes::from("left out")), metadata: Bytes::new(), version: Height::new(12, 0) },
        );
        assert_eq!(
            hex::encode(update_bytes(&updates)),
            "0a100a026b761a0261312a01313203010c000a0d1a0261322a01323204010c01010a0d1a0261332a01333204010c0102"
        );
        let previous = hex::decode("6b5650dc705a8ccc542a28bc6b551521c5ebed33dd919e742ead76e74760f226").unwrap();
        assert_eq!(
            hex::encode(commit_hash(&previous, &[0; 3], &updates)),
            "1e039f94b56c3993424611a7a0f2b04f50fe5f1659fba9b3658a46bd149a695c"
        );
    }

    #[test]
    fn namespace_and_collection_stand_once() {
        let value = UpdateValue { value: None, metadata: Bytes::new(), version: Height::new(1, 0) };
        let mut updates = UpdateBatch::default();
        for collection in ["c2", "c1"] {
            let keys = updates.hashed.entry("ns".into()).or_default().entry(collection.into()).or_default();
            keys.insert(Bytes::from_static(b"k2"), value.clone());
            keys.insert(Bytes::from_static(b"k1"), value.clone());
        }
        let list = Updates::decode(update_bytes(&updates).as_slice()).unwrap().kvwrites;
        let seen: Vec<_> =
            list.iter().map(|w| (w.namespace.as_str(), w.collection.as_str(), &w.key[..], w.is_delete)).collect();
        let want: Vec<(&str, &str, &[u8], bool)> =
            vec![("ns", "c1", b"k1", true), ("", "", b"k2", true), ("", "c2", b"k1", true), ("", "", b"k2", true)];
        assert_eq!(seen, want);
    }
}
