//! Typed read-write sets: decoded once, their byte fields shared with the received buffer.

use bytes::Bytes;
use fabric_proto::{
    kvrwset::{HashedRwSet, KvWrite, KvrwSet},
    rwset::{CollectionHashedReadWriteSet, NsReadWriteSet, TxReadWriteSet},
};
use prost::Message as _;

use crate::LedgerError;

/// Namespace of the channel configuration in the world state.
pub const CONFIG_NAMESPACE: &str = "";
/// Key of the channel configuration in the world state; its value is a `common.ConfigEnvelope`.
pub const CONFIG_KEY: &str = "CHANNEL_CONFIG_ENV_BYTES";

/// The read-write set of one transaction.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TxRwset {
    /// One entry per namespace, in the order of the message.
    pub namespaces: Vec<NsRwset>,
}

/// Reads and writes in one namespace.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NsRwset {
    /// Chaincode name, or [`CONFIG_NAMESPACE`].
    pub namespace: String,
    /// Reads, range queries, writes and metadata writes of the public state.
    pub public: KvrwSet,
    /// Hashed reads and writes of private collections.
    pub collections: Vec<CollectionRwset>,
}

/// Hashed reads and writes of one private collection.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CollectionRwset {
    /// Collection name.
    pub name: String,
    /// The hashed sets.
    pub hashed: HashedRwSet,
    /// SHA-256 of the serialized private write set; empty when nothing private was written.
    pub private_hash: Bytes,
}

impl TxRwset {
    /// Decodes a serialized `rwset.TxReadWriteSet` (the `results` of a chaincode action) down to the last level.
    pub fn decode(bytes: &Bytes) -> Result<Self, LedgerError> {
        let message = TxReadWriteSet::decode(bytes.clone())
            .map_err(|source| LedgerError::decode("transaction read-write set", source))?;
        Self::from_message(message)
    }

    /// The typed form of an already decoded outer message.
    pub fn from_message(message: TxReadWriteSet) -> Result<Self, LedgerError> {
        let mut namespaces = Vec::with_capacity(message.ns_rwset.len());
        for ns in message.ns_rwset {
            namespaces.push(NsRwset::from_message(ns)?);
        }
        Ok(Self { namespaces })
    }

    /// The set a configuration transaction has: one write of the configuration envelope (the payload's data).
    pub fn config(config_envelope: Bytes) -> Self {
        let write = KvWrite { key: CONFIG_KEY.into(), is_delete: config_envelope.is_empty(), value: config_envelope };
        Self {
            namespaces: vec![NsRwset {
                namespace: CONFIG_NAMESPACE.into(),
                public: KvrwSet { writes: vec![write], ..KvrwSet::default() },
                collections: Vec::new(),
            }],
        }
    }

    /// The message with its exact upstream bytes.
    pub fn to_message(&self) -> TxReadWriteSet {
        TxReadWriteSet { data_model: 0, ns_rwset: self.namespaces.iter().map(NsRwset::to_message).collect() }
    }

    /// The serialized message.
    pub fn encode(&self) -> Bytes {
        Bytes::from(self.to_message().encode_to_vec())
    }

    /// True when any collection carries private writes.
    pub fn has_private_writes(&self) -> bool {
        self.namespaces.iter().any(|ns| ns.collections.iter().any(|c| !c.private_hash.is_empty()))
    }
}

impl NsRwset {
    fn from_message(message: NsReadWriteSet) -> Result<Self, LedgerError> {
        let public = KvrwSet::decode(message.rwset).map_err(|source| {
            LedgerError::decode(format!("read-write set of namespace {:?}", message.namespace), source)
        })?;
        let mut collections = Vec::with_capacity(message.collection_hashed_rwset.len());
        for collection in message.collection_hashed_rwset {
            let hashed = HashedRwSet::decode(collection.hashed_rwset).map_err(|source| {
                let what = format!("hashed read-write set of {:?}/{:?}", message.namespace, collection.collection_name);
                LedgerError::decode(what, source)
            })?;
            collections.push(CollectionRwset {
                name: collection.collection_name,
                hashed,
                private_hash: collection.pvt_rwset_hash,
            });
        }
        Ok(Self { namespace: message.namespace, public, collections })
    }

    fn to_message(&self) -> NsReadWriteSet {
        NsReadWriteSet {
            namespace: self.namespace.clone(),
            rwset: Bytes::from(self.public.encode_to_vec()),
            collection_hashed_rwset: self
                .collections
                .iter()
                .map(|collection| CollectionHashedReadWriteSet {
                    collection_name: collection.name.clone(),
                    hashed_rwset: Bytes::from(collection.hashed.encode_to_vec()),
                    pvt_rwset_hash: collection.private_hash.clone(),
                })
                .collect(),
        }
    }

    /// True when this namespace writes or deletes anything, public or hashed, values or metadata.
    pub fn has_writes(&self) -> bool {
        !self.public.writes.is_empty()
            || !self.public.metadata_writes.is_empty()
            || self
                .collections
                .iter()
                .any(|c| !c.hashed.hashed_writes.is_empty() || !c.hashed.metadata_writes.is_empty())
    }
}

/// Upstream's rule: a write without a value is a delete, whatever its flag says.
pub fn is_delete(write: &KvWrite) -> bool {
    write.is_delete || write.value.is_empty()
}
