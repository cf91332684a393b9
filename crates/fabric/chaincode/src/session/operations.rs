//! What a chaincode may ask while it works on a transaction.

use std::collections::BTreeMap;

use bytes::Bytes;
use fabric_proto::protos::{
    ChaincodeMessage, ChaincodeSpec, DelState, GetHistoryForKey, GetQueryResult, GetState, GetStateByRange,
    GetStateMetadata, GetStateMultiple, GetStateMultipleResult, PutState, PutStateMetadata, QueryMetadata,
    QueryResponse, QueryStateClose, QueryStateNext, StateMetadata, StateMetadataResult, WriteBatchState,
    chaincode_message::Type, write_record,
};
use prost::Message;

use super::query::{Query, Rows};
use crate::{
    call::{DispatchError, Target},
    error::ChaincodeError,
    transaction::Transaction,
};

const PRIVATE_IN_INIT: &str = "private data APIs are not allowed in chaincode Init()";

/// The most queries that one transaction may hold open.
const MAX_OPEN_QUERIES: usize = 1000;

/// The types that a chaincode may send between TRANSACTION and COMPLETED.
pub(super) fn is_request(kind: Type) -> bool {
    matches!(
        kind,
        Type::GetState
            | Type::PutState
            | Type::DelState
            | Type::InvokeChaincode
            | Type::GetStateByRange
            | Type::GetQueryResult
            | Type::QueryStateNext
            | Type::QueryStateClose
            | Type::GetHistoryForKey
            | Type::GetStateMetadata
            | Type::PutStateMetadata
            | Type::GetPrivateDataHash
            | Type::PurgePrivateData
            | Type::WriteBatchState
            | Type::GetStateMultiple
    )
}

/// Answers everything but INVOKE_CHAINCODE.
pub(super) fn answer(transaction: &Transaction, kind: Type, payload: Bytes, query_limit: u32) -> ChaincodeMessage {
    let result = Request { transaction, query_limit }.answer(kind, payload);
    let (channel, txid) = (&transaction.call.channel, &transaction.call.txid);
    match result {
        Ok(payload) => response(channel, txid, payload),
        Err(cause) => error_message(kind, channel, txid, &cause),
    }
}

fn response(channel: &str, txid: &str, payload: Bytes) -> ChaincodeMessage {
    ChaincodeMessage {
        r#type: Type::Response.into(),
        payload,
        txid: txid.to_owned(),
        channel_id: channel.to_owned(),
        ..ChaincodeMessage::default()
    }
}

/// The ERROR message for a request that failed.
pub(super) fn error_message(kind: Type, channel: &str, txid: &str, cause: &str) -> ChaincodeMessage {
    let text = format!("{} failed: transaction ID: {txid}: {cause}", kind.as_str_name());
    tracing::debug!(%txid, %channel, "{text}");
    ChaincodeMessage {
        r#type: Type::Error.into(),
        payload: text.into(),
        txid: txid.to_owned(),
        channel_id: channel.to_owned(),
        ..ChaincodeMessage::default()
    }
}

fn decode<M: Message + Default>(payload: Bytes) -> Result<M, String> {
    M::decode(payload).map_err(|error| format!("unmarshal failed: {error}"))
}

fn encode(message: &impl Message) -> Bytes {
    Bytes::from(message.encode_to_vec())
}

// The ledger's own texts are what the chaincode is told.
#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn text(error: fabric_ledger::LedgerError) -> String {
    error.to_string()
}

struct Request<'a> {
    transaction: &'a Transaction,
    query_limit: u32,
}

impl Request<'_> {
    fn answer(&self, kind: Type, payload: Bytes) -> Result<Bytes, String> {
        match kind {
            Type::GetState => self.get_state(decode(payload)?),
            Type::GetStateMultiple => self.get_multiple(decode(payload)?),
            Type::GetPrivateDataHash => self.get_hash(decode(payload)?),
            Type::GetStateMetadata => self.get_metadata(decode(payload)?),
            Type::GetStateByRange => self.range(decode(payload)?),
            Type::GetQueryResult => self.query(decode(payload)?),
            Type::GetHistoryForKey => self.history(decode(payload)?),
            Type::QueryStateNext => self.next(decode(payload)?),
            Type::QueryStateClose => Ok(self.close(decode(payload)?)),
            Type::PutState => self.put(decode(payload)?).map(|()| Bytes::new()),
            Type::DelState => self.delete(decode(payload)?).map(|()| Bytes::new()),
            Type::PurgePrivateData => self.purge(decode(payload)?).map(|()| Bytes::new()),
            Type::PutStateMetadata => self.put_metadata(decode(payload)?).map(|()| Bytes::new()),
            Type::WriteBatchState => self.write_batch(decode(payload)?).map(|()| Bytes::new()),
            other => Err(format!("unexpected request {}", other.as_str_name())),
        }
    }

    fn namespace(&self) -> &str {
        &self.transaction.call.namespace
    }

    fn permission(&self, collection: &str) -> Result<crate::CollectionPermission, String> {
        let call = &self.transaction.call;
        if call.is_init {
            return Err(PRIVATE_IN_INIT.into());
        }
        let mut state = self.transaction.state.lock();
        if let Some(permission) = state.permissions.get(collection) {
            return Ok(*permission);
        }
        let permission = self.transaction.dispatcher.collection_permission(call, collection)?;
        state.permissions.insert(collection.to_owned(), permission);
        Ok(permission)
    }

    fn may_read(&self, collection: &str) -> Result<(), String> {
        if self.permission(collection)?.read { Ok(()) } else { Err(self.denied("read", collection)) }
    }

    fn may_write(&self, collection: &str) -> Result<(), String> {
        if self.permission(collection)?.write { Ok(()) } else { Err(self.denied("write", collection)) }
    }

    fn denied(&self, access: &str, collection: &str) -> String {
        format!(
            "tx creator does not have {access} access permission on privatedata in chaincodeName:{} collectionName: {collection}",
            self.namespace()
        )
    }

    fn check_metadata_capability(&self) -> Result<(), String> {
        if self.transaction.call.capabilities.key_level_endorsement {
            Ok(())
        } else {
            Err("key level endorsement is not enabled, channel application capability of V1_3 or later is required"
                .into())
        }
    }

    fn get_state(&self, request: GetState) -> Result<Bytes, String> {
        let simulator = &self.transaction.call.simulator;
        let value = if request.collection.is_empty() {
            simulator.get_state(self.namespace(), &request.key)
        } else {
            self.may_read(&request.collection)?;
            simulator.get_private_data(self.namespace(), &request.collection, &request.key)
        };
        Ok(value.map_err(text)?.unwrap_or_default())
    }

    fn get_multiple(&self, request: GetStateMultiple) -> Result<Bytes, String> {
        let simulator = &self.transaction.call.simulator;
        let values = if request.collection.is_empty() {
            simulator.get_state_multiple(self.namespace(), &request.keys)
        } else {
            self.may_read(&request.collection)?;
            simulator.get_private_data_multiple(self.namespace(), &request.collection, &request.keys)
        };
        let values = values.map_err(text)?.into_iter().map(Option::unwrap_or_default).collect();
        Ok(encode(&GetStateMultipleResult { values }))
    }

    fn get_hash(&self, request: GetState) -> Result<Bytes, String> {
        let call = &self.transaction.call;
        if call.is_init {
            return Err(PRIVATE_IN_INIT.into());
        }
        let hash = call.simulator.get_private_data_hash(&call.namespace, &request.collection, &request.key);
        Ok(hash.map_err(text)?.unwrap_or_default())
    }

    fn get_metadata(&self, request: GetStateMetadata) -> Result<Bytes, String> {
        self.check_metadata_capability()?;
        let simulator = &self.transaction.call.simulator;
        let metadata = if request.collection.is_empty() {
            simulator.get_state_metadata(self.namespace(), &request.key)
        } else {
            self.may_read(&request.collection)?;
            simulator.get_private_data_metadata(self.namespace(), &request.collection, &request.key)
        };
        let entries =
            metadata.map_err(text)?.into_iter().map(|(metakey, value)| StateMetadata { metakey, value }).collect();
        Ok(encode(&StateMetadataResult { entries }))
    }

    fn put(&self, request: PutState) -> Result<(), String> {
        let simulator = &self.transaction.call.simulator;
        if request.collection.is_empty() {
            return simulator.set_state(self.namespace(), &request.key, request.value).map_err(text);
        }
        self.may_write(&request.collection)?;
        simulator.set_private_data(self.namespace(), &request.collection, &request.key, request.value).map_err(text)
    }

    fn delete(&self, request: DelState) -> Result<(), String> {
        let simulator = &self.transaction.call.simulator;
        if request.collection.is_empty() {
            return simulator.delete_state(self.namespace(), &request.key).map_err(text);
        }
        self.may_write(&request.collection)?;
        simulator.delete_private_data(self.namespace(), &request.collection, &request.key).map_err(text)
    }

    fn purge(&self, request: DelState) -> Result<(), String> {
        let call = &self.transaction.call;
        if !call.capabilities.purge_private_data {
            return Err(
                "purge private data is not enabled, channel application capability of V2_5 or later is required".into(),
            );
        }
        if request.collection.is_empty() {
            return Err("only applicable for private data".into());
        }
        self.may_write(&request.collection)?;
        call.simulator.purge_private_data(&call.namespace, &request.collection, &request.key).map_err(text)
    }

    fn put_metadata(&self, request: PutStateMetadata) -> Result<(), String> {
        self.check_metadata_capability()?;
        let entry = request.metadata.unwrap_or_default();
        let metadata = BTreeMap::from([(entry.metakey, entry.value)]);
        let simulator = &self.transaction.call.simulator;
        if request.collection.is_empty() {
            return simulator.set_state_metadata(self.namespace(), &request.key, metadata).map_err(text);
        }
        self.may_write(&request.collection)?;
        simulator.set_private_data_metadata(self.namespace(), &request.collection, &request.key, metadata).map_err(text)
    }

    fn write_batch(&self, batch: WriteBatchState) -> Result<(), String> {
        for record in batch.rec {
            let (key, collection) = (record.key, record.collection);
            match write_record::Type::try_from(record.r#type) {
                Ok(write_record::Type::PutState) => self.put(PutState { key, value: record.value, collection })?,
                Ok(write_record::Type::DelState) => self.delete(DelState { key, collection })?,
                Ok(write_record::Type::PurgePrivateData) => self.purge(DelState { key, collection })?,
                Ok(write_record::Type::PutStateMetadata) => {
                    self.put_metadata(PutStateMetadata { key, collection, metadata: record.metadata })?;
                }
                _ => return Err("unknown operation type".into()),
            }
        }
        Ok(())
    }

    fn range(&self, request: GetStateByRange) -> Result<Bytes, String> {
        let metadata: QueryMetadata = decode(request.metadata)?;
        let simulator = &self.transaction.call.simulator;
        let paginated = metadata.page_size != 0 || !metadata.bookmark.is_empty();
        if !request.collection.is_empty() {
            self.may_read(&request.collection)?;
            let rows =
                simulator.private_range(self.namespace(), &request.collection, &request.start_key, &request.end_key);
            return self.first(Rows::Range(rows.map_err(text)?), false, self.limit(&metadata));
        }
        let rows = if paginated {
            let start = if metadata.bookmark.is_empty() { &request.start_key } else { &metadata.bookmark };
            let size = u32::try_from(metadata.page_size).unwrap_or(0);
            simulator.range_page(self.namespace(), start, &request.end_key, size)
        } else {
            simulator.range(self.namespace(), &request.start_key, &request.end_key)
        };
        self.first(Rows::Range(rows.map_err(text)?), paginated, self.limit(&metadata))
    }

    fn query(&self, request: GetQueryResult) -> Result<Bytes, String> {
        if !request.collection.is_empty() {
            self.may_read(&request.collection)?;
        }
        Err("ExecuteQuery not supported for leveldb: rich queries need a state database with a query engine, use keys, ranges or composite keys".into())
    }

    fn history(&self, request: GetHistoryForKey) -> Result<Bytes, String> {
        let call = &self.transaction.call;
        let ledger = call.ledger.as_ref().ok_or("history database is not enabled")?;
        let rows = ledger.history(&call.namespace, &request.key).map_err(text)?;
        self.first(Rows::History(rows), false, self.query_limit)
    }

    fn limit(&self, metadata: &QueryMetadata) -> u32 {
        match u32::try_from(metadata.page_size) {
            Ok(size) if size > 0 => size.min(self.query_limit),
            _ => self.query_limit,
        }
    }

    fn first(&self, rows: Rows, paginated: bool, limit: u32) -> Result<Bytes, String> {
        let mut state = self.transaction.state.lock();
        if state.queries.len() >= MAX_OPEN_QUERIES {
            return Err(format!(
                "more than {MAX_OPEN_QUERIES} queries are open, close iterators that are no longer needed"
            ));
        }
        state.queries_made += 1;
        let id = format!("{:x}-{}", state.queries_made, self.transaction.call.txid);
        let mut query = Query::new(rows, paginated);
        let response = query.next_batch(&id, limit).map_err(text)?;
        if response.has_more {
            state.queries.insert(id, query);
        }
        Ok(encode(&response))
    }

    fn next(&self, request: QueryStateNext) -> Result<Bytes, String> {
        let mut state = self.transaction.state.lock();
        let query = state.queries.get_mut(&request.id).ok_or("query iterator not found")?;
        let response = query.next_batch(&request.id, self.query_limit);
        if !matches!(&response, Ok(response) if response.has_more) {
            state.queries.remove(&request.id);
        }
        Ok(encode(&response.map_err(text)?))
    }

    fn close(&self, request: QueryStateClose) -> Bytes {
        self.transaction.state.lock().queries.remove(&request.id);
        encode(&QueryResponse { id: request.id, ..QueryResponse::default() })
    }
}

/// Runs a call to another chaincode. The answer's payload is the message that the called chaincode ended with.
pub(super) async fn invoke(transaction: &Transaction, payload: Bytes) -> ChaincodeMessage {
    let call = &transaction.call;
    let result = async {
        let spec: ChaincodeSpec = decode(payload)?;
        let name = spec.chaincode_id.unwrap_or_default().name;
        let target = Target::parse(&name, &call.channel);
        let channel = target.channel.clone();
        let (kind, payload) = match transaction.dispatcher.invoke(call, target, spec.input.unwrap_or_default()).await {
            Ok(outcome) => (Type::Completed, encode(&outcome.response)),
            Err(DispatchError::Execution(ChaincodeError::Failure { message })) => (Type::Error, message.into()),
            Err(DispatchError::Execution(error)) => return Err(format!("execute failed: {}", error.cause_text())),
            Err(error @ DispatchError::Invalid(_)) => return Err(format!("execute failed: {error}")),
            Err(DispatchError::Refused(text)) => return Err(text),
        };
        let ended = ChaincodeMessage {
            r#type: kind.into(),
            payload,
            txid: call.txid.clone(),
            channel_id: channel,
            ..ChaincodeMessage::default()
        };
        Ok::<_, String>(encode(&ended))
    };
    match result.await {
        Ok(payload) => response(&call.channel, &call.txid, payload),
        Err(cause) => error_message(Type::InvokeChaincode, &call.channel, &call.txid, &cause),
    }
}
