//! The private data half of a simulation. Values are not stored in this ledger, only their hashes; so a read of a value that exists
//! somewhere fails with the text by which upstream tells that its peer misses it.

use std::sync::Arc;

use bytes::Bytes;
use konsort_crypto::hash::sha256;

use super::{Metadata, RangeIterator, Simulator, version_text};
use crate::{LedgerError, VersionedValue, decode_metadata};

impl Simulator {
    /// Private value of a key.
    pub fn get_private_data(&self, namespace: &str, collection: &str, key: &str) -> Result<Option<Bytes>, LedgerError> {
        self.check_collection(namespace, collection)?;
        self.check_open()?;
        if let Some(row) = self.hashed_row(namespace, collection, key)? {
            return Err(LedgerError::simulation(format!(
                "private data matching public hash version is not available. Public hash version = {}, Private data version = {}",
                version_text(Some(row.version)),
                version_text(None),
            )));
        }
        if self.records {
            let mut inner = self.inner.lock();
            inner.builder.read_hash(namespace, collection, key, None);
            let place = (namespace.to_owned(), collection.to_owned());
            if !inner.private_reads.contains(&place) {
                inner.private_reads.push(place);
            }
        }
        Ok(None)
    }

    /// Private values of several keys, in their order.
    pub fn get_private_data_multiple(
        &self,
        namespace: &str,
        collection: &str,
        keys: &[String],
    ) -> Result<Vec<Option<Bytes>>, LedgerError> {
        keys.iter().map(|key| self.get_private_data(namespace, collection, key)).collect()
    }

    /// Hash of the private value of a key.
    pub fn get_private_data_hash(
        &self,
        namespace: &str,
        collection: &str,
        key: &str,
    ) -> Result<Option<Bytes>, LedgerError> {
        Ok(self.read_hash(namespace, collection, key)?.map(|row| row.value))
    }

    /// Metadata of a private key by name.
    pub fn get_private_data_metadata(
        &self,
        namespace: &str,
        collection: &str,
        key: &str,
    ) -> Result<Metadata, LedgerError> {
        match self.read_hash(namespace, collection, key)? {
            Some(row) => decode_metadata(&row.metadata),
            None => Ok(Metadata::new()),
        }
    }

    /// Writes a private value; an empty one is a delete.
    pub fn set_private_data(
        &self,
        namespace: &str,
        collection: &str,
        key: &str,
        value: Bytes,
    ) -> Result<(), LedgerError> {
        self.write_private(namespace, collection, key, value, false)
    }

    /// Deletes a private key.
    pub fn delete_private_data(&self, namespace: &str, collection: &str, key: &str) -> Result<(), LedgerError> {
        self.write_private(namespace, collection, key, Bytes::new(), false)
    }

    /// Deletes a private key together with its history.
    pub fn purge_private_data(&self, namespace: &str, collection: &str, key: &str) -> Result<(), LedgerError> {
        self.write_private(namespace, collection, key, Bytes::new(), true)
    }

    fn write_private(
        &self,
        namespace: &str,
        collection: &str,
        key: &str,
        value: Bytes,
        is_purge: bool,
    ) -> Result<(), LedgerError> {
        self.check_collection(namespace, collection)?;
        self.check_write()?;
        let metadata = self.committed_private_metadata(namespace, collection, key)?;
        let mut inner = self.inner.lock();
        inner.builder.write_private(namespace, collection, key, value, is_purge);
        inner.remember_metadata(namespace, collection, key, metadata);
        Ok(())
    }

    /// Replaces the metadata of a private key; an empty map removes it.
    pub fn set_private_data_metadata(
        &self,
        namespace: &str,
        collection: &str,
        key: &str,
        metadata: Metadata,
    ) -> Result<(), LedgerError> {
        self.check_collection(namespace, collection)?;
        self.check_write()?;
        let committed = self.committed_private_metadata(namespace, collection, key)?;
        let mut inner = self.inner.lock();
        inner.builder.write_private_metadata(namespace, collection, key, metadata);
        inner.remember_metadata(namespace, collection, key, committed);
        Ok(())
    }

    /// Private rows of a range; only in transactions without writes. Private values are not stored here, so the range is always empty.
    pub fn private_range(
        &self,
        namespace: &str,
        collection: &str,
        _start: &str,
        _end: &str,
    ) -> Result<RangeIterator, LedgerError> {
        if self.records {
            let mut inner = self.inner.lock();
            if inner.wrote {
                return Err(self.unsupported("Queries on pvt data is supported only in a read-only transaction"));
            }
            inner.queried_private = true;
        }
        self.check_collection(namespace, collection)?;
        self.check_open()?;
        Ok(RangeIterator::empty(Arc::clone(&self.state), namespace))
    }

    fn read_hash(&self, namespace: &str, collection: &str, key: &str) -> Result<Option<VersionedValue>, LedgerError> {
        self.check_collection(namespace, collection)?;
        self.check_open()?;
        let row = self.hashed_row(namespace, collection, key)?;
        if self.records {
            let version = row.as_ref().map(|row| row.version);
            self.inner.lock().builder.read_hash(namespace, collection, key, version);
        }
        Ok(row)
    }

    fn hashed_row(&self, namespace: &str, collection: &str, key: &str) -> Result<Option<VersionedValue>, LedgerError> {
        self.state.get_hash(namespace, collection, &sha256(key.as_bytes()))
    }

    fn committed_private_metadata(
        &self,
        namespace: &str,
        collection: &str,
        key: &str,
    ) -> Result<Metadata, LedgerError> {
        match self.hashed_row(namespace, collection, key)? {
            Some(row) => decode_metadata(&row.metadata),
            None => Ok(Metadata::new()),
        }
    }

    /// Refuses a collection the chaincode does not define. The definition is read through this simulation and so recorded in its read set,
    /// once per namespace, as upstream does.
    fn check_collection(&self, namespace: &str, collection: &str) -> Result<(), LedgerError> {
        let known = self.inner.lock().known_collections.get(namespace).cloned();
        let known = if let Some(known) = known {
            known
        } else {
            let Some(found) = self.collections.collections(self, namespace)? else {
                return Err(LedgerError::simulation(format!(
                    "collection config not defined for chaincode [{namespace}], pass the collection configuration upon chaincode definition/instantiation"
                )));
            };
            self.inner.lock().known_collections.insert(namespace.to_owned(), Arc::clone(&found));
            found
        };
        if known.contains_key(collection) {
            return Ok(());
        }
        Err(LedgerError::simulation(format!(
            "collection [{collection}] not defined in the collection config for chaincode [{namespace}]"
        )))
    }
}
