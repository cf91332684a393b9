//! Open queries: rows are given out in batches, the last batch closes the query.

use bytes::Bytes;
use fabric_ledger::{HistoryEntry, LedgerError, RangeIterator};
use fabric_proto::{
    protos::{QueryResponse, QueryResponseMetadata, QueryResultBytes},
    queryresult::{KeyModification, Kv},
};
use prost::Message as _;

/// How many rows go into one message.
const BATCH: usize = 100;

/// Where the rows come from.
pub(crate) enum Rows {
    Range(RangeIterator),
    History(Box<dyn Iterator<Item = Result<HistoryEntry, LedgerError>> + Send>),
}

impl Rows {
    fn next(&mut self) -> Result<Option<Bytes>, LedgerError> {
        match self {
            Self::Range(iterator) => Ok(iterator.next_row()?.map(|row| {
                Bytes::from(Kv { namespace: row.namespace, key: row.key, value: row.value }.encode_to_vec())
            })),
            Self::History(iterator) => Ok(iterator.next().transpose()?.map(|entry| {
                let modification = KeyModification {
                    tx_id: entry.txid,
                    value: entry.value,
                    timestamp: entry.timestamp.map(|(seconds, nanos)| prost_types::Timestamp { seconds, nanos }),
                    is_delete: entry.is_delete,
                };
                Bytes::from(modification.encode_to_vec())
            })),
        }
    }
}

/// A query in progress.
pub(crate) struct Query {
    rows: Rows,
    /// The row that was read to learn that there are more.
    pending: Option<Bytes>,
    paginated: bool,
    returned: u32,
}

impl Query {
    pub(crate) fn new(rows: Rows, paginated: bool) -> Self {
        Self { rows, pending: None, paginated, returned: 0 }
    }

    /// The next batch: at most 100 rows, or a whole page when the chaincode asked for pages. `limit` bounds the rows of the whole query.
    pub(crate) fn next_batch(&mut self, id: &str, limit: u32) -> Result<QueryResponse, LedgerError> {
        let mut results: Vec<QueryResultBytes> =
            self.pending.take().map(|result_bytes| QueryResultBytes { result_bytes }).into_iter().collect();
        while self.returned < limit {
            let Some(result_bytes) = self.rows.next()? else { break };
            self.returned += 1;
            if !self.paginated && results.len() == BATCH {
                self.pending = Some(result_bytes);
                return Ok(QueryResponse { results, has_more: true, id: id.to_owned(), metadata: Bytes::new() });
            }
            results.push(QueryResultBytes { result_bytes });
        }
        let metadata = match &mut self.rows {
            Rows::Range(iterator) if self.paginated => {
                let metadata = QueryResponseMetadata {
                    fetched_records_count: i32::try_from(self.returned).unwrap_or(i32::MAX),
                    bookmark: iterator.bookmark()?,
                };
                Bytes::from(metadata.encode_to_vec())
            }
            _ => Bytes::new(),
        };
        Ok(QueryResponse { results, has_more: false, id: id.to_owned(), metadata })
    }
}
