//! Simulation of one transaction.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use fabric_proto::rwset::TxPvtReadWriteSet;

use crate::{Collections, LedgerError, StateGet, StateReader};

/// What a simulated transaction read and wrote.
#[derive(Debug, Clone, PartialEq)]
pub struct TxSimulationResults {
    /// The serialized `rwset.TxReadWriteSet`: the `results` of a chaincode action.
    pub public: Bytes,
    /// Private writes in clear text; `None` when there are none. Its collections' hashes are in `public`.
    pub private: Option<TxPvtReadWriteSet>,
    /// (namespace, collection) pairs from which private values were read.
    pub private_reads: Vec<(String, String)>,
    /// Metadata in committed state of the keys written: namespace, collection (empty for public), key, metadata by name. Only keys with metadata.
    pub write_metadata: Vec<(String, String, String, BTreeMap<String, Bytes>)>,
}

/// One result of a range query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeRow {
    /// Namespace of the key.
    pub namespace: String,
    /// The key.
    pub key: String,
    /// The value.
    pub value: Bytes,
}

/// The open result of a range query; what is taken from it is recorded.
#[derive(Debug)]
pub struct RangeIterator {}

impl RangeIterator {
    /// The next row; `None` at the end of the range (or of the page).
    pub fn next_row(&mut self) -> Result<Option<RangeRow>, LedgerError> {
        Ok(None)
    }

    /// Where the next page begins; empty after the last one.
    pub fn bookmark(&self) -> String {
        String::new()
    }
}

/// One transaction in simulation: reads come from a fixed snapshot and are recorded, writes are only recorded.
///
/// All methods take `&self`; the chaincode runtime may call from any thread.
#[derive(Debug)]
pub struct Simulator {}

impl Simulator {
    /// A simulation over any consistent state; [`crate::Ledger::simulator`] is the usual way to get one.
    pub fn new(_txid: impl Into<String>, _state: Arc<dyn StateReader>, _collections: Arc<dyn Collections>) -> Self {
        Self {}
    }

    /// A reader with the same methods that records nothing (evaluation by system chaincodes).
    pub fn read_only(_state: Arc<dyn StateReader>, _collections: Arc<dyn Collections>) -> Self {
        Self {}
    }

    /// Committed value of a key; own writes are not seen.
    pub fn get_state(&self, _namespace: &str, _key: &str) -> Result<Option<Bytes>, LedgerError> {
        Ok(None)
    }

    /// Values of several keys.
    pub fn get_state_multiple(&self, _namespace: &str, _keys: &[String]) -> Result<Vec<Option<Bytes>>, LedgerError> {
        Ok(Vec::new())
    }

    /// Writes a value; an empty one is a delete.
    pub fn set_state(&self, _namespace: &str, _key: &str, _value: Bytes) -> Result<(), LedgerError> {
        Ok(())
    }

    /// Deletes a key.
    pub fn delete_state(&self, _namespace: &str, _key: &str) -> Result<(), LedgerError> {
        Ok(())
    }

    /// Metadata of a key by name.
    pub fn get_state_metadata(&self, _namespace: &str, _key: &str) -> Result<BTreeMap<String, Bytes>, LedgerError> {
        Ok(BTreeMap::new())
    }

    /// Replaces the metadata of a key; an empty map removes it.
    pub fn set_state_metadata(&self, _namespace: &str, _key: &str, _metadata: BTreeMap<String, Bytes>) -> Result<(), LedgerError> {
        Ok(())
    }

    /// Rows with `start <= key < end`; an empty `end` means the end of the namespace.
    pub fn range(&self, _namespace: &str, _start: &str, _end: &str) -> Result<RangeIterator, LedgerError> {
        Ok(RangeIterator {})
    }

    /// At most `page_size` rows of the range, then [`RangeIterator::bookmark`]; only in transactions without writes.
    pub fn range_page(&self, _namespace: &str, _start: &str, _end: &str, _page_size: u32) -> Result<RangeIterator, LedgerError> {
        Ok(RangeIterator {})
    }

    /// Private value of a key.
    pub fn get_private_data(&self, _namespace: &str, _collection: &str, _key: &str) -> Result<Option<Bytes>, LedgerError> {
        Ok(None)
    }

    /// Private values of several keys.
    pub fn get_private_data_multiple(&self, _namespace: &str, _collection: &str, _keys: &[String]) -> Result<Vec<Option<Bytes>>, LedgerError> {
        Ok(Vec::new())
    }

    /// Hash of the private value of a key.
    pub fn get_private_data_hash(&self, _namespace: &str, _collection: &str, _key: &str) -> Result<Option<Bytes>, LedgerError> {
        Ok(None)
    }

    /// Writes a private value; an empty one is a delete.
    pub fn set_private_data(&self, _namespace: &str, _collection: &str, _key: &str, _value: Bytes) -> Result<(), LedgerError> {
        Ok(())
    }

    /// Deletes a private key.
    pub fn delete_private_data(&self, _namespace: &str, _collection: &str, _key: &str) -> Result<(), LedgerError> {
        Ok(())
    }

    /// Deletes a private key together with its history.
    pub fn purge_private_data(&self, _namespace: &str, _collection: &str, _key: &str) -> Result<(), LedgerError> {
        Ok(())
    }

    /// Private rows of a range; only in transactions without writes.
    pub fn private_range(&self, _namespace: &str, _collection: &str, _start: &str, _end: &str) -> Result<RangeIterator, LedgerError> {
        Ok(RangeIterator {})
    }

    /// Metadata of a private key by name.
    pub fn get_private_data_metadata(&self, _namespace: &str, _collection: &str, _key: &str) -> Result<BTreeMap<String, Bytes>, LedgerError> {
        Ok(BTreeMap::new())
    }

    /// Replaces the metadata of a private key; an empty map removes it.
    pub fn set_private_data_metadata(
        &self,
        _namespace: &str,
        _collection: &str,
        _key: &str,
        _metadata: BTreeMap<String, Bytes>,
    ) -> Result<(), LedgerError> {
        Ok(())
    }

    /// Ends the simulation and gives its results; a second call is an error, and so is any use afterwards.
    pub fn finish(&self) -> Result<TxSimulationResults, LedgerError> {
        Err(LedgerError::simulation("not finished"))
    }
}

impl StateGet for Simulator {
    fn get_state(&self, namespace: &str, key: &str) -> Result<Option<Bytes>, LedgerError> {
        Simulator::get_state(self, namespace, key)
    }
}
