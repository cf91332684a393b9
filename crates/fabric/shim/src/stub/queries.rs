//! Ranges, pages, composite keys, rich queries and history.

use std::{collections::VecDeque, marker::PhantomData};

use bytes::Bytes;
use fabric_proto::{
    protos::{
        GetHistoryForKey, GetQueryResult, GetStateByRange, QueryMetadata, QueryResponse, QueryResponseMetadata,
        QueryResultBytes, QueryStateClose, QueryStateNext, chaincode_message::Type,
    },
    queryresult::{KeyModification, Kv},
};
use prost::Message;

use super::{Stub, check_collection, decode, encode};
use crate::{
    composite::{FIRST_SIMPLE_KEY, check_simple, composite_range},
    error::ShimError,
};

/// One row of a range or query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Bytes,
}

/// One change of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Modification {
    /// The transaction that wrote.
    pub txid: String,
    /// The value written; empty for a delete.
    pub value: Bytes,
    /// Seconds and nanoseconds since 1970 of the client's clock.
    pub timestamp: Option<(i64, i32)>,
    /// The key was deleted.
    pub is_delete: bool,
}

/// A page of rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The rows.
    pub rows: Vec<Row>,
    /// Where the next page begins; empty at the end.
    pub bookmark: String,
    /// Number of rows.
    pub fetched: i32,
}

/// The open result of a range or query. Rows come from the peer in batches of 100.
pub type Rows<'a> = Results<'a, Row>;

/// The open history of a key, newest change first.
pub type History<'a> = Results<'a, Modification>;

/// An open query.
#[derive(Debug)]
pub struct Results<'a, T> {
    stub: &'a Stub,
    id: String,
    batch: VecDeque<QueryResultBytes>,
    has_more: bool,
    kind: PhantomData<T>,
}

mod sealed {
    use super::{Bytes, ShimError};

    pub trait FromResult: Sized {
        fn from_result(bytes: Bytes) -> Result<Self, ShimError>;
    }
}

use sealed::FromResult;

impl FromResult for Row {
    fn from_result(bytes: Bytes) -> Result<Self, ShimError> {
        let kv: Kv = decode("query result", bytes)?;
        Ok(Self { key: kv.key, value: kv.value })
    }
}

impl FromResult for Modification {
    fn from_result(bytes: Bytes) -> Result<Self, ShimError> {
        let modification: KeyModification = decode("history", bytes)?;
        Ok(Self {
            txid: modification.tx_id,
            value: modification.value,
            timestamp: modification.timestamp.map(|timestamp| (timestamp.seconds, timestamp.nanos)),
            is_delete: modification.is_delete,
        })
    }
}

impl<T: FromResult> Results<'_, T> {
    /// The next one; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<T>, ShimError> {
        loop {
            if let Some(result) = self.batch.pop_front() {
                return T::from_result(result.result_bytes).map(Some);
            }
            if !self.has_more {
                return Ok(None);
            }
            let request = QueryStateNext { id: self.id.clone() };
            let answer = self.stub.request(Type::QueryStateNext, encode(&request)).await?;
            let response: QueryResponse = decode("QUERY_STATE_NEXT", answer)?;
            self.batch = response.results.into();
            self.has_more = response.has_more;
        }
    }

    /// All that are left.
    pub async fn collect(mut self) -> Result<Vec<T>, ShimError> {
        let mut all = Vec::with_capacity(self.batch.len());
        while let Some(one) = self.next().await? {
            all.push(one);
        }
        Ok(all)
    }

    /// Ends a query that is not read to its end.
    pub async fn close(self) -> Result<(), ShimError> {
        if self.has_more {
            let request = QueryStateClose { id: self.id };
            self.stub.request(Type::QueryStateClose, encode(&request)).await?;
        }
        Ok(())
    }
}

impl Stub {
    async fn open<T>(&self, kind: Type, request: &impl Message) -> Result<Results<'_, T>, ShimError> {
        let response: QueryResponse = decode("query", self.request(kind, encode(request)).await?)?;
        Ok(Results {
            stub: self,
            id: response.id,
            batch: response.results.into(),
            has_more: response.has_more,
            kind: PhantomData,
        })
    }

    async fn page(&self, kind: Type, request: &impl Message) -> Result<Page, ShimError> {
        let response: QueryResponse = decode("query", self.request(kind, encode(request)).await?)?;
        let metadata: QueryResponseMetadata = decode("query metadata", response.metadata)?;
        let rows = response.results.into_iter().map(|result| Row::from_result(result.result_bytes));
        Ok(Page {
            rows: rows.collect::<Result<_, _>>()?,
            bookmark: metadata.bookmark,
            fetched: metadata.fetched_records_count,
        })
    }

    /// Rows with `start <= key < end`; empty texts mean the first and the last key. Composite keys are not found.
    pub async fn range(&self, start: &str, end: &str) -> Result<Rows<'_>, ShimError> {
        let (start, end) = simple_range(start, end)?;
        self.open(Type::GetStateByRange, &range_request(start, end, "", None)).await
    }

    /// A page of a range. A transaction that uses pages cannot write.
    pub async fn range_page(&self, start: &str, end: &str, size: i32, bookmark: &str) -> Result<Page, ShimError> {
        let (start, end) = simple_range(start, end)?;
        let metadata = QueryMetadata { page_size: size, bookmark: bookmark.to_owned() };
        self.page(Type::GetStateByRange, &range_request(start, end, "", Some(&metadata))).await
    }

    /// Rows whose composite key begins with these parts.
    pub async fn partial_composite(&self, object_type: &str, attributes: &[&str]) -> Result<Rows<'_>, ShimError> {
        let (start, end) = composite_range(object_type, attributes)?;
        self.open(Type::GetStateByRange, &range_request(start, end, "", None)).await
    }

    /// A page of the rows whose composite key begins with these parts.
    pub async fn partial_composite_page(
        &self,
        object_type: &str,
        attributes: &[&str],
        size: i32,
        bookmark: &str,
    ) -> Result<Page, ShimError> {
        let (start, end) = composite_range(object_type, attributes)?;
        let metadata = QueryMetadata { page_size: size, bookmark: bookmark.to_owned() };
        self.page(Type::GetStateByRange, &range_request(start, end, "", Some(&metadata))).await
    }

    /// Private rows of a range.
    pub async fn private_range(&self, collection: &str, start: &str, end: &str) -> Result<Rows<'_>, ShimError> {
        check_collection(collection)?;
        let (start, end) = simple_range(start, end)?;
        self.open(Type::GetStateByRange, &range_request(start, end, collection, None)).await
    }

    /// A rich query in the language of the peer's state database.
    pub async fn query(&self, query: &str) -> Result<Rows<'_>, ShimError> {
        let request = GetQueryResult { query: query.to_owned(), ..GetQueryResult::default() };
        self.open(Type::GetQueryResult, &request).await
    }

    /// The changes of a key by committed transactions, newest first. History is not part of what is validated.
    pub async fn history(&self, key: &str) -> Result<History<'_>, ShimError> {
        self.open(Type::GetHistoryForKey, &GetHistoryForKey { key: key.to_owned() }).await
    }
}

fn simple_range(start: &str, end: &str) -> Result<(String, String), ShimError> {
    check_simple(start)?;
    check_simple(end)?;
    let start = if start.is_empty() { FIRST_SIMPLE_KEY } else { start };
    Ok((start.to_owned(), end.to_owned()))
}

fn range_request(
    start_key: String,
    end_key: String,
    collection: &str,
    metadata: Option<&QueryMetadata>,
) -> GetStateByRange {
    GetStateByRange {
        start_key,
        end_key,
        collection: collection.to_owned(),
        metadata: metadata.map(encode).unwrap_or_default(),
    }
}
