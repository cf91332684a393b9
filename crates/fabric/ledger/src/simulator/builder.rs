//! Collecting reads and writes and giving the read-write set in its canonical order.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use fabric_proto::{
    kvrwset::{
        HashedRwSet, KvMetadataEntry, KvMetadataWrite, KvMetadataWriteHash, KvRead, KvReadHash, KvWrite, KvWriteHash,
        KvrwSet, RangeQueryInfo,
    },
    rwset::{CollectionPvtReadWriteSet, NsPvtReadWriteSet, TxPvtReadWriteSet},
};
use konsort_crypto::hash::sha256;
use prost::Message as _;

use super::Metadata;
use crate::{
    Height,
    rwset::{CollectionRwset, NsRwset, TxRwset},
};

/// Reads and writes so far; maps keep keys in byte order, and a later entry for a key replaces the earlier.
#[derive(Default)]
pub(super) struct RwsetBuilder {
    namespaces: BTreeMap<String, Namespace>,
}

#[derive(Default)]
struct Namespace {
    reads: BTreeMap<String, Option<Height>>,
    writes: BTreeMap<String, Bytes>,
    metadata: BTreeMap<String, Metadata>,
    ranges: Vec<RangeQueryInfo>,
    /// The same range with the same end counts once, whatever it returned.
    seen_ranges: BTreeSet<(String, String, bool)>,
    collections: BTreeMap<String, Collection>,
}

/// Keyed by the clear key, whose order (not the hashes') is the order of the hashed sets.
#[derive(Default)]
struct Collection {
    reads: BTreeMap<String, Option<Height>>,
    writes: BTreeMap<String, PrivateWrite>,
    metadata: BTreeMap<String, Metadata>,
}

struct PrivateWrite {
    value: Bytes,
    is_purge: bool,
}

impl RwsetBuilder {
    fn namespace(&mut self, namespace: &str) -> &mut Namespace {
        self.namespaces.entry(namespace.to_owned()).or_default()
    }

    fn collection(&mut self, namespace: &str, collection: &str) -> &mut Collection {
        self.namespace(namespace).collections.entry(collection.to_owned()).or_default()
    }

    pub(super) fn read(&mut self, namespace: &str, key: &str, version: Option<Height>) {
        self.namespace(namespace).reads.insert(key.to_owned(), version);
    }

    pub(super) fn write(&mut self, namespace: &str, key: &str, value: Bytes) {
        self.namespace(namespace).writes.insert(key.to_owned(), value);
    }

    pub(super) fn write_metadata(&mut self, namespace: &str, key: &str, metadata: Metadata) {
        self.namespace(namespace).metadata.insert(key.to_owned(), metadata);
    }

    pub(super) fn range(&mut self, namespace: &str, query: RangeQueryInfo) {
        let namespace = self.namespace(namespace);
        if namespace.seen_ranges.insert((query.start_key.clone(), query.end_key.clone(), query.itr_exhausted)) {
            namespace.ranges.push(query);
        }
    }

    pub(super) fn read_hash(&mut self, namespace: &str, collection: &str, key: &str, version: Option<Height>) {
        self.collection(namespace, collection).reads.insert(key.to_owned(), version);
    }

    pub(super) fn write_private(&mut self, namespace: &str, collection: &str, key: &str, value: Bytes, is_purge: bool) {
        self.collection(namespace, collection).writes.insert(key.to_owned(), PrivateWrite { value, is_purge });
    }

    pub(super) fn write_private_metadata(&mut self, namespace: &str, collection: &str, key: &str, metadata: Metadata) {
        self.collection(namespace, collection).metadata.insert(key.to_owned(), metadata);
    }

    /// The serialized public set, and the private one if anything private was written.
    pub(super) fn build(self) -> (Bytes, Option<TxPvtReadWriteSet>) {
        let mut public = TxRwset::default();
        let mut private = TxPvtReadWriteSet::default();
        for (name, namespace) in self.namespaces {
            let mut collections = Vec::with_capacity(namespace.collections.len());
            let mut private_collections = Vec::new();
            for (collection_name, collection) in namespace.collections {
                let clear = collection.clear();
                let private_hash = clear.as_ref().map_or_else(Bytes::new, |set| Bytes::copy_from_slice(&sha256(set)));
                if let Some(rwset) = clear {
                    private_collections
                        .push(CollectionPvtReadWriteSet { collection_name: collection_name.clone(), rwset });
                }
                collections.push(CollectionRwset { name: collection_name, hashed: collection.hashed(), private_hash });
            }
            if !private_collections.is_empty() {
                private
                    .ns_pvt_rwset
                    .push(NsPvtReadWriteSet { namespace: name.clone(), collection_pvt_rwset: private_collections });
            }
            let set = KvrwSet {
                reads: namespace
                    .reads
                    .into_iter()
                    .map(|(key, version)| KvRead { key, version: version.map(Height::to_proto) })
                    .collect(),
                range_queries_info: namespace.ranges,
                writes: namespace.writes.into_iter().map(|(key, value)| write(key, value)).collect(),
                metadata_writes: namespace
                    .metadata
                    .into_iter()
                    .map(|(key, metadata)| KvMetadataWrite { key, entries: entries(metadata) })
                    .collect(),
            };
            public.namespaces.push(NsRwset { namespace: name, public: set, collections });
        }
        (public.encode(), (!private.ns_pvt_rwset.is_empty()).then_some(private))
    }
}

fn write(key: String, value: Bytes) -> KvWrite {
    KvWrite { key, is_delete: value.is_empty(), value }
}

fn entries(metadata: Metadata) -> Vec<KvMetadataEntry> {
    metadata.into_iter().map(|(name, value)| KvMetadataEntry { name, value }).collect()
}

fn key_hash(key: &str) -> Bytes {
    Bytes::copy_from_slice(&sha256(key.as_bytes()))
}

impl Collection {
    /// The serialized write set in clear text. A metadata write leaves only its key there: the metadata belongs to the hashed key.
    fn clear(&self) -> Option<Bytes> {
        if self.writes.is_empty() && self.metadata.is_empty() {
            return None;
        }
        let set = KvrwSet {
            writes: self.writes.iter().map(|(key, private)| write(key.clone(), private.value.clone())).collect(),
            metadata_writes: self
                .metadata
                .keys()
                .map(|key| KvMetadataWrite { key: key.clone(), entries: Vec::new() })
                .collect(),
            ..KvrwSet::default()
        };
        Some(Bytes::from(set.encode_to_vec()))
    }

    fn hashed(self) -> HashedRwSet {
        HashedRwSet {
            hashed_reads: self
                .reads
                .into_iter()
                .map(|(key, version)| KvReadHash { key_hash: key_hash(&key), version: version.map(Height::to_proto) })
                .collect(),
            hashed_writes: self
                .writes
                .into_iter()
                .map(|(key, private)| {
                    let is_delete = private.value.is_empty();
                    let value_hash =
                        if is_delete { Bytes::new() } else { Bytes::copy_from_slice(&sha256(&private.value)) };
                    KvWriteHash { key_hash: key_hash(&key), is_delete, value_hash, is_purge: private.is_purge }
                })
                .collect(),
            metadata_writes: self
                .metadata
                .into_iter()
                .map(|(key, metadata)| KvMetadataWriteHash { key_hash: key_hash(&key), entries: entries(metadata) })
                .collect(),
        }
    }
}
