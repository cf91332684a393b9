//! Simulation of one transaction: reads from a fixed state are recorded, writes are only recorded.
//!
//! The read-write set must have upstream's exact bytes, since endorsements of different peers are compared byte by byte:
//! namespaces, collections and keys in byte order, one read per key, range queries in the order in which they were opened.
//! A read of a key the transaction itself wrote returns the committed value and is recorded like any other.

mod builder;
mod private;
mod range;

use std::{collections::BTreeMap, fmt, sync::Arc};

use bytes::Bytes;
use fabric_proto::rwset::TxPvtReadWriteSet;
use parking_lot::Mutex;

use crate::{CollectionSet, Collections, Height, LedgerError, StateGet, StateReader, VersionedValue, decode_metadata};
use builder::RwsetBuilder;
use range::RangeRecord;
pub use range::{RangeIterator, RangeRow};

/// Metadata by name.
pub type Metadata = BTreeMap<String, Bytes>;

/// Committed metadata of written keys: namespace, collection (empty for public keys), key, metadata.
pub type WriteMetadata = BTreeMap<String, BTreeMap<String, BTreeMap<String, Metadata>>>;

/// What a simulated transaction read and wrote.
#[derive(Debug, Clone, PartialEq)]
pub struct TxSimulationResults {
    /// The serialized `rwset.TxReadWriteSet`: the `results` of a chaincode action.
    pub public: Bytes,
    /// Private writes in clear text; `None` when there are none. Its collections' hashes are in `public`.
    pub private: Option<TxPvtReadWriteSet>,
    /// (namespace, collection) pairs from which private values were read, in order.
    pub private_reads: Vec<(String, String)>,
    /// For every key written: its metadata in the committed state (empty without any). A chaincode interest names the key-level policies in it.
    pub write_metadata: WriteMetadata,
}

/// One transaction in simulation. All methods take `&self`; the chaincode runtime may call from any thread.
///
/// ```
/// # use std::sync::Arc;
/// # use fabric_ledger::{NoCollections, Simulator, StateReader, StateRow, StateRows, VersionedValue, LedgerError};
/// # struct Nothing;
/// # impl StateReader for Nothing {
/// #     fn get(&self, _: &str, _: &str) -> Result<Option<VersionedValue>, LedgerError> { Ok(None) }
/// #     fn get_hash(&self, _: &str, _: &str, _: &[u8]) -> Result<Option<VersionedValue>, LedgerError> { Ok(None) }
/// #     fn range<'a>(&'a self, _: &str, _: &str, _: &str) -> Result<StateRows<'a>, LedgerError> { Ok(Box::new(std::iter::empty())) }
/// # }
/// let simulator = Simulator::new("txid", Arc::new(Nothing), Arc::new(NoCollections));
/// assert_eq!(simulator.get_state("basic", "asset1")?, None);
/// simulator.set_state("basic", "asset1", "blue".into())?;
/// let results = simulator.finish()?;
/// assert!(!results.public.is_empty());
/// # Ok::<(), LedgerError>(())
/// ```
pub struct Simulator {
    txid: String,
    state: Arc<dyn StateReader>,
    collections: Arc<dyn Collections>,
    /// False for a reader that records nothing.
    records: bool,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    builder: RwsetBuilder,
    ranges: Vec<(String, Arc<Mutex<RangeRecord>>)>,
    write_metadata: WriteMetadata,
    private_reads: Vec<(String, String)>,
    /// Collections of the namespaces asked for so far.
    known_collections: BTreeMap<String, Arc<CollectionSet>>,
    wrote: bool,
    queried_private: bool,
    queried_pages: bool,
    finished: bool,
    done: bool,
}

impl fmt::Debug for Simulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulator").field("txid", &self.txid).field("records", &self.records).finish_non_exhaustive()
    }
}

impl Simulator {
    /// A simulation over any consistent state; [`crate::Ledger::simulator`] is the usual way to get one.
    pub fn new(txid: impl Into<String>, state: Arc<dyn StateReader>, collections: Arc<dyn Collections>) -> Self {
        Self { txid: txid.into(), state, collections, records: true, inner: Mutex::default() }
    }

    /// A reader with the same methods that records nothing and writes nothing (queries of system chaincodes).
    pub fn read_only(state: Arc<dyn StateReader>, collections: Arc<dyn Collections>) -> Self {
        Self { records: false, ..Self::new("", state, collections) }
    }

    /// The transaction id.
    pub fn txid(&self) -> &str {
        &self.txid
    }

    /// The state under this simulation; reading it directly records nothing.
    pub fn state(&self) -> &Arc<dyn StateReader> {
        &self.state
    }

    /// Committed value of a key; own writes are not seen.
    pub fn get_state(&self, namespace: &str, key: &str) -> Result<Option<Bytes>, LedgerError> {
        Ok(self.read(namespace, key)?.map(|row| row.value))
    }

    /// Values of several keys, in their order.
    pub fn get_state_multiple(&self, namespace: &str, keys: &[String]) -> Result<Vec<Option<Bytes>>, LedgerError> {
        keys.iter().map(|key| self.get_state(namespace, key)).collect()
    }

    /// Metadata of a key by name.
    pub fn get_state_metadata(&self, namespace: &str, key: &str) -> Result<Metadata, LedgerError> {
        match self.read(namespace, key)? {
            Some(row) => decode_metadata(&row.metadata),
            None => Ok(Metadata::new()),
        }
    }

    fn read(&self, namespace: &str, key: &str) -> Result<Option<VersionedValue>, LedgerError> {
        self.check_open()?;
        let row = self.state.get(namespace, key)?;
        if self.records {
            let version = row.as_ref().map(|row| row.version);
            self.inner.lock().builder.read(namespace, key, version);
        }
        Ok(row)
    }

    /// Writes a value; an empty one is a delete.
    pub fn set_state(&self, namespace: &str, key: &str, value: Bytes) -> Result<(), LedgerError> {
        self.check_write()?;
        let metadata = self.committed_metadata(namespace, key)?;
        let mut inner = self.inner.lock();
        inner.builder.write(namespace, key, value);
        inner.remember_metadata(namespace, "", key, metadata);
        Ok(())
    }

    /// Deletes a key.
    pub fn delete_state(&self, namespace: &str, key: &str) -> Result<(), LedgerError> {
        self.set_state(namespace, key, Bytes::new())
    }

    /// Replaces the metadata of a key; an empty map removes it.
    pub fn set_state_metadata(&self, namespace: &str, key: &str, metadata: Metadata) -> Result<(), LedgerError> {
        self.check_write()?;
        let committed = self.committed_metadata(namespace, key)?;
        let mut inner = self.inner.lock();
        inner.builder.write_metadata(namespace, key, metadata);
        inner.remember_metadata(namespace, "", key, committed);
        Ok(())
    }

    fn committed_metadata(&self, namespace: &str, key: &str) -> Result<Metadata, LedgerError> {
        match self.state.get(namespace, key)? {
            Some(row) => decode_metadata(&row.metadata),
            None => Ok(Metadata::new()),
        }
    }

    /// Rows with `start <= key < end`; an empty `end` means the end of the namespace. Own writes are not seen.
    pub fn range(&self, namespace: &str, start: &str, end: &str) -> Result<RangeIterator, LedgerError> {
        self.check_open()?;
        Ok(self.open_range(namespace, start, end, None))
    }

    /// At most `page_size` rows of the range (0: all), then [`RangeIterator::bookmark`]; only in transactions without writes.
    pub fn range_page(
        &self,
        namespace: &str,
        start: &str,
        end: &str,
        page_size: u32,
    ) -> Result<RangeIterator, LedgerError> {
        if self.records {
            let mut inner = self.inner.lock();
            if inner.wrote {
                return Err(self.unsupported("Paginated queries are supported only in a read-only transaction"));
            }
            inner.queried_pages = true;
        }
        self.check_open()?;
        Ok(self.open_range(namespace, start, end, (page_size > 0).then_some(page_size)))
    }

    fn open_range(&self, namespace: &str, start: &str, end: &str, limit: Option<u32>) -> RangeIterator {
        let iterator = RangeIterator::new(Arc::clone(&self.state), namespace, start, end, limit, self.records);
        if let Some(record) = iterator.record() {
            self.inner.lock().ranges.push((namespace.to_owned(), record));
        }
        iterator
    }

    /// Ends the simulation and gives its results; a second call is an error.
    pub fn finish(&self) -> Result<TxSimulationResults, LedgerError> {
        let mut guard = self.inner.lock();
        let inner = &mut *guard;
        if !self.records || inner.finished {
            let text = "this function should only be called once on a transaction simulator instance";
            return Err(LedgerError::simulation(text));
        }
        inner.finished = true;
        for (namespace, record) in std::mem::take(&mut inner.ranges) {
            inner.builder.range(&namespace, record.lock().take());
        }
        let (public, private) = std::mem::take(&mut inner.builder).build();
        Ok(TxSimulationResults {
            public,
            private,
            private_reads: inner.private_reads.clone(),
            write_metadata: inner.write_metadata.clone(),
        })
    }

    /// After this every call is an error: the transaction's chaincode may still be running, its results no longer count.
    pub fn done(&self) {
        self.inner.lock().done = true;
    }

    fn check_open(&self) -> Result<(), LedgerError> {
        if self.inner.lock().done {
            return Err(LedgerError::simulation("this instance should not be used after calling Done()"));
        }
        Ok(())
    }

    fn check_write(&self) -> Result<(), LedgerError> {
        self.check_open()?;
        if !self.records {
            return Err(LedgerError::simulation("this reader cannot write; simulate a transaction instead"));
        }
        let mut inner = self.inner.lock();
        if inner.queried_private {
            let text = "Transaction has already performed queries on pvt data. Writes are not allowed";
            return Err(self.unsupported(text));
        }
        if inner.queried_pages {
            let text = "Transaction has already performed a paginated query. Writes are not allowed";
            return Err(self.unsupported(text));
        }
        inner.wrote = true;
        Ok(())
    }

    /// Upstream's text, its spelling included: clients search for it.
    fn unsupported(&self, why: &str) -> LedgerError {
        LedgerError::simulation(format!("txid [{}]: unsuppored transaction. {why}", self.txid))
    }
}

impl Inner {
    fn remember_metadata(&mut self, namespace: &str, collection: &str, key: &str, metadata: Metadata) {
        self.write_metadata
            .entry(namespace.to_owned())
            .or_default()
            .entry(collection.to_owned())
            .or_default()
            .insert(key.to_owned(), metadata);
    }
}

impl StateGet for Simulator {
    fn get_state(&self, namespace: &str, key: &str) -> Result<Option<Bytes>, LedgerError> {
        Simulator::get_state(self, namespace, key)
    }
}

fn version_text(version: Option<Height>) -> String {
    version.map_or_else(|| "<nil>".to_owned(), |height| height.to_string())
}
