//! Range queries of a simulation: what the chaincode takes from the iterator is what is recorded.

use std::{collections::VecDeque, fmt, sync::Arc};

use bytes::Bytes;
use fabric_proto::kvrwset::{KvRead, QueryReads, RangeQueryInfo, range_query_info::ReadsInfo};
use parking_lot::Mutex;

use crate::{
    LedgerError, StateReader, StateRow,
    merkle::{RangeResults, Summary},
};

/// Rows fetched from the state at once.
const CHUNK: usize = 128;

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

/// What one range query has seen so far.
#[derive(Debug)]
pub(super) struct RangeRecord {
    start: String,
    end: String,
    exhausted: bool,
    results: RangeResults,
}

impl RangeRecord {
    /// The message for the read-write set; the record is empty afterwards.
    pub(super) fn take(&mut self) -> RangeQueryInfo {
        let results = std::mem::replace(&mut self.results, RangeResults::of_simulation());
        let reads_info = match results.finish() {
            Summary::Empty => None,
            Summary::Raw(kv_reads) => Some(ReadsInfo::RawReads(QueryReads { kv_reads })),
            Summary::Merkle(summary) => Some(ReadsInfo::ReadsMerkleHashes(summary)),
        };
        RangeQueryInfo {
            start_key: self.start.clone(),
            end_key: self.end.clone(),
            itr_exhausted: self.exhausted,
            reads_info,
        }
    }
}

/// The open result of a range query. Taking a row records it: take only what is handed to the chaincode.
pub struct RangeIterator {
    state: Arc<dyn StateReader>,
    namespace: String,
    /// Where the next chunk begins.
    next_start: String,
    end: String,
    /// Rows still allowed by the page.
    left: Option<u32>,
    buffer: VecDeque<StateRow>,
    /// The state has no more rows than those in the buffer.
    drained: bool,
    record: Option<Arc<Mutex<RangeRecord>>>,
}

impl fmt::Debug for RangeIterator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RangeIterator")
            .field("namespace", &self.namespace)
            .field("next_start", &self.next_start)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

impl RangeIterator {
    pub(super) fn new(
        state: Arc<dyn StateReader>,
        namespace: &str,
        start: &str,
        end: &str,
        page_size: Option<u32>,
        records: bool,
    ) -> Self {
        let record = records.then(|| {
            Arc::new(Mutex::new(RangeRecord {
                start: start.to_owned(),
                end: String::new(),
                exhausted: false,
                results: RangeResults::of_simulation(),
            }))
        });
        Self {
            state,
            namespace: namespace.to_owned(),
            next_start: start.to_owned(),
            end: end.to_owned(),
            left: page_size,
            buffer: VecDeque::new(),
            drained: false,
            record,
        }
    }

    pub(super) fn empty(state: Arc<dyn StateReader>, namespace: &str) -> Self {
        Self { drained: true, ..Self::new(state, namespace, "", "", None, false) }
    }

    pub(super) fn record(&self) -> Option<Arc<Mutex<RangeRecord>>> {
        self.record.clone()
    }

    /// Makes sure the buffer holds a row unless there is none.
    fn fill(&mut self) -> Result<(), LedgerError> {
        if !self.buffer.is_empty() || self.drained {
            return Ok(());
        }
        let rows = self.state.range(&self.namespace, &self.next_start, &self.end)?;
        for row in rows.take(CHUNK) {
            self.buffer.push_back(row?);
        }
        self.drained = self.buffer.len() < CHUNK;
        if let Some(last) = self.buffer.back() {
            // The smallest key after the last one.
            self.next_start = format!("{}\0", last.key);
        }
        Ok(())
    }

    /// The next row; `None` at the end of the range or of the page. Both count as having seen the whole range.
    pub fn next_row(&mut self) -> Result<Option<RangeRow>, LedgerError> {
        let row = if self.left == Some(0) {
            None
        } else {
            self.fill()?;
            self.buffer.pop_front()
        };
        let mut record = self.record.as_ref().map(|record| record.lock());
        let Some(row) = row else {
            if let Some(record) = &mut record {
                record.exhausted = true;
                record.end.clone_from(&self.end);
            }
            return Ok(None);
        };
        if let Some(record) = &mut record {
            record.end.clone_from(&row.key);
            record.results.add(KvRead { key: row.key.clone(), version: Some(row.value.version.to_proto()) });
        }
        if let Some(left) = &mut self.left {
            *left -= 1;
        }
        Ok(Some(RangeRow { namespace: self.namespace.clone(), key: row.key, value: row.value.value }))
    }

    /// The key at which the next page begins; empty when the range holds no more.
    pub fn bookmark(&mut self) -> Result<String, LedgerError> {
        self.fill()?;
        Ok(self.buffer.front().map(|row| row.key.clone()).unwrap_or_default())
    }
}
