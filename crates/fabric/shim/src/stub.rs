//! A transaction's door to the ledger.

mod queries;

use std::{collections::BTreeMap, sync::OnceLock};

use bytes::Bytes;
use fabric_proto::{
    common::{ChannelHeader, Header, SignatureHeader},
    protos::{
        ChaincodeEvent, ChaincodeId, ChaincodeInput, ChaincodeMessage, ChaincodeProposalPayload, ChaincodeSpec,
        DelState, GetState, GetStateMetadata, GetStateMultiple, GetStateMultipleResult, Proposal, PutState,
        PutStateMetadata, Response, SignedProposal, StateMetadata, StateMetadataResult, WriteBatchState, WriteRecord,
        chaincode_message::Type, write_record,
    },
};
use parking_lot::Mutex;
use prost::Message;

use crate::{
    composite::check_simple,
    error::{ContractError, ShimError},
    identity::ClientIdentity,
    session::Link,
};

pub use queries::{History, Modification, Page, Row, Rows};

/// Name of the metadata entry that holds a key's own endorsement policy.
const VALIDATION_PARAMETER: &str = "VALIDATION_PARAMETER";

/// One transaction: its call, and the operations on the ledger.
///
/// Writes are collected and sent together at the end of the transaction when the peer understands batches; since reads never see a
/// transaction's own writes, the only difference is that a refused write fails the transaction at its end.
pub struct Stub {
    link: Link,
    input: ChaincodeInput,
    proposal: Option<SignedProposal>,
    header: OnceLock<Result<ProposalParts, ShimError>>,
    event: Mutex<Option<ChaincodeEvent>>,
    writes: Mutex<Vec<WriteRecord>>,
}

/// What is taken from the signed proposal when it is asked for.
struct ProposalParts {
    channel_header: ChannelHeader,
    creator: Bytes,
    transient: BTreeMap<String, Bytes>,
}

impl std::fmt::Debug for Stub {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Stub")
            .field("channel", &self.channel())
            .field("txid", &self.txid())
            .finish_non_exhaustive()
    }
}

fn encode(message: &impl Message) -> Bytes {
    Bytes::from(message.encode_to_vec())
}

fn decode<M: Message + Default>(request: &'static str, payload: Bytes) -> Result<M, ShimError> {
    M::decode(payload).map_err(|error| ShimError::Answer { request, cause: error.to_string() })
}

/// The peer sends nothing for a key that is not there.
fn present(value: Bytes) -> Option<Bytes> {
    (!value.is_empty()).then_some(value)
}

impl Stub {
    pub(crate) fn new(link: Link, input: ChaincodeInput, proposal: Option<SignedProposal>) -> Self {
        Self { link, input, proposal, header: OnceLock::new(), event: Mutex::default(), writes: Mutex::default() }
    }

    /// The channel.
    pub fn channel(&self) -> &str {
        self.link.channel()
    }

    /// The transaction id.
    pub fn txid(&self) -> &str {
        self.link.txid()
    }

    /// The first argument as text: the function that is called. A contract name before it (`Contract:Function`) is kept.
    pub fn function(&self) -> &str {
        self.input.args.first().and_then(|name| std::str::from_utf8(name).ok()).unwrap_or_default()
    }

    /// All arguments, the function first.
    pub fn args(&self) -> &[Bytes] {
        &self.input.args
    }

    /// The arguments after the function, as text, exactly `N`.
    pub fn parameters<const N: usize>(&self) -> Result<[&str; N], ContractError> {
        let given = self.input.args.get(1..).unwrap_or_default();
        if given.len() != N {
            return Err(ContractError::new(format!(
                "Incorrect number of params. Expected {N}, received {}",
                given.len()
            )));
        }
        let mut parameters = [""; N];
        for (index, (parameter, bytes)) in parameters.iter_mut().zip(given).enumerate() {
            *parameter = std::str::from_utf8(bytes).map_err(|_| {
                ContractError::new(format!("Error managing parameter param{index}. It is not UTF-8 text"))
            })?;
        }
        Ok(parameters)
    }

    /// What the endorsing peer added to the call.
    pub fn decorations(&self) -> &BTreeMap<String, Bytes> {
        &self.input.decorations
    }

    /// The client's signed proposal; `None` when a system call has none.
    pub fn signed_proposal(&self) -> Option<&SignedProposal> {
        self.proposal.as_ref()
    }

    fn parts(&self) -> Result<&ProposalParts, ShimError> {
        let parts = self.header.get_or_init(|| {
            let signed =
                self.proposal.as_ref().ok_or_else(|| ShimError::Argument("the call has no signed proposal".into()))?;
            let proposal: Proposal = decode("proposal", signed.proposal_bytes.clone())?;
            let header: Header = decode("proposal header", proposal.header)?;
            let signature_header: SignatureHeader = decode("signature header", header.signature_header)?;
            let payload: ChaincodeProposalPayload = decode("proposal payload", proposal.payload)?;
            Ok(ProposalParts {
                channel_header: decode("channel header", header.channel_header)?,
                creator: signature_header.creator,
                transient: payload.transient_map,
            })
        });
        parts.as_ref().map_err(Clone::clone)
    }

    /// The serialized identity of the caller.
    pub fn creator(&self) -> Result<&Bytes, ShimError> {
        Ok(&self.parts()?.creator)
    }

    /// The caller.
    pub fn client_identity(&self) -> Result<ClientIdentity, ShimError> {
        ClientIdentity::from_creator(self.parts()?.creator.clone())
    }

    /// Data for the chaincode that does not go on the ledger.
    pub fn transient(&self) -> Result<&BTreeMap<String, Bytes>, ShimError> {
        Ok(&self.parts()?.transient)
    }

    /// The client's time: seconds and nanoseconds since 1970, the same on every endorsing peer.
    pub fn timestamp(&self) -> Result<(i64, i32), ShimError> {
        let header = &self.parts()?.channel_header;
        header
            .timestamp
            .as_ref()
            .map(|timestamp| (timestamp.seconds, timestamp.nanos))
            .ok_or_else(|| ShimError::Argument("the proposal has no timestamp".into()))
    }

    /// Sets the transaction's event; the last one set counts.
    pub fn set_event(&self, name: &str, payload: impl Into<Bytes>) -> Result<(), ShimError> {
        if name.is_empty() {
            return Err(ShimError::Argument("event name can not be empty string".into()));
        }
        *self.event.lock() =
            Some(ChaincodeEvent { event_name: name.to_owned(), payload: payload.into(), ..ChaincodeEvent::default() });
        Ok(())
    }

    pub(crate) fn take_event(&self) -> Option<ChaincodeEvent> {
        self.event.lock().take()
    }

    async fn request(&self, kind: Type, payload: Bytes) -> Result<Bytes, ShimError> {
        self.link.request(kind, payload).await
    }

    /// The committed value of a key; `None` when there is none.
    pub async fn get_state(&self, key: &str) -> Result<Option<Bytes>, ShimError> {
        self.get("", key).await
    }

    /// A private value; `None` when there is none, or when this peer is no member of the collection.
    pub async fn get_private(&self, collection: &str, key: &str) -> Result<Option<Bytes>, ShimError> {
        check_collection(collection)?;
        self.get(collection, key).await
    }

    async fn get(&self, collection: &str, key: &str) -> Result<Option<Bytes>, ShimError> {
        let request = GetState { key: key.to_owned(), collection: collection.to_owned() };
        Ok(present(self.request(Type::GetState, encode(&request)).await?))
    }

    /// The committed values of several keys, in as few messages as the peer allows.
    pub async fn get_states(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>, ShimError> {
        let mut values = Vec::with_capacity(keys.len());
        let most = self.link.parameters().max_keys;
        if most < 2 {
            for key in keys {
                values.push(self.get_state(key).await?);
            }
            return Ok(values);
        }
        for chunk in keys.chunks(most) {
            let request = GetStateMultiple {
                keys: chunk.iter().map(|key| (*key).to_owned()).collect(),
                collection: String::new(),
            };
            let answer = self.request(Type::GetStateMultiple, encode(&request)).await?;
            let result: GetStateMultipleResult = decode("GET_STATE_MULTIPLE", answer)?;
            if result.values.len() != chunk.len() {
                return Err(ShimError::Answer {
                    request: "GET_STATE_MULTIPLE",
                    cause: format!("{} values for {} keys", result.values.len(), chunk.len()),
                });
            }
            values.extend(result.values.into_iter().map(present));
        }
        Ok(values)
    }

    /// Writes a value. An empty value is a delete, as on every peer.
    pub async fn put_state(&self, key: &str, value: impl Into<Bytes>) -> Result<(), ShimError> {
        check_key(key)?;
        self.write(WriteRecord {
            r#type: write_record::Type::PutState.into(),
            key: key.to_owned(),
            value: value.into(),
            ..WriteRecord::default()
        })
        .await
    }

    /// Deletes a key.
    pub async fn delete_state(&self, key: &str) -> Result<(), ShimError> {
        self.write(WriteRecord {
            r#type: write_record::Type::DelState.into(),
            key: key.to_owned(),
            ..WriteRecord::default()
        })
        .await
    }

    /// Writes a private value; only its hash goes on the ledger.
    pub async fn put_private(&self, collection: &str, key: &str, value: impl Into<Bytes>) -> Result<(), ShimError> {
        check_collection(collection)?;
        check_key(key)?;
        self.write(WriteRecord {
            r#type: write_record::Type::PutState.into(),
            key: key.to_owned(),
            value: value.into(),
            collection: collection.to_owned(),
            ..WriteRecord::default()
        })
        .await
    }

    /// Deletes a private key.
    pub async fn delete_private(&self, collection: &str, key: &str) -> Result<(), ShimError> {
        check_collection(collection)?;
        self.write(WriteRecord {
            r#type: write_record::Type::DelState.into(),
            key: key.to_owned(),
            collection: collection.to_owned(),
            ..WriteRecord::default()
        })
        .await
    }

    /// Deletes a private key and its history on every peer.
    pub async fn purge_private(&self, collection: &str, key: &str) -> Result<(), ShimError> {
        check_collection(collection)?;
        self.write(WriteRecord {
            r#type: write_record::Type::PurgePrivateData.into(),
            key: key.to_owned(),
            collection: collection.to_owned(),
            ..WriteRecord::default()
        })
        .await
    }

    /// The SHA-256 of a private value, which every peer of the channel has.
    pub async fn private_hash(&self, collection: &str, key: &str) -> Result<Option<Bytes>, ShimError> {
        check_collection(collection)?;
        let request = GetState { key: key.to_owned(), collection: collection.to_owned() };
        Ok(present(self.request(Type::GetPrivateDataHash, encode(&request)).await?))
    }

    /// Sets a key's own endorsement policy (serialized); an empty one removes it.
    pub async fn set_validation_parameter(&self, key: &str, policy: impl Into<Bytes>) -> Result<(), ShimError> {
        self.set_parameter("", key, policy.into()).await
    }

    /// A key's own endorsement policy.
    pub async fn validation_parameter(&self, key: &str) -> Result<Option<Bytes>, ShimError> {
        self.parameter("", key).await
    }

    /// Sets the endorsement policy of a private key.
    pub async fn set_private_validation_parameter(
        &self,
        collection: &str,
        key: &str,
        policy: impl Into<Bytes>,
    ) -> Result<(), ShimError> {
        check_collection(collection)?;
        self.set_parameter(collection, key, policy.into()).await
    }

    /// The endorsement policy of a private key.
    pub async fn private_validation_parameter(&self, collection: &str, key: &str) -> Result<Option<Bytes>, ShimError> {
        check_collection(collection)?;
        self.parameter(collection, key).await
    }

    async fn set_parameter(&self, collection: &str, key: &str, value: Bytes) -> Result<(), ShimError> {
        self.write(WriteRecord {
            r#type: write_record::Type::PutStateMetadata.into(),
            key: key.to_owned(),
            collection: collection.to_owned(),
            metadata: Some(StateMetadata { metakey: VALIDATION_PARAMETER.into(), value }),
            ..WriteRecord::default()
        })
        .await
    }

    async fn parameter(&self, collection: &str, key: &str) -> Result<Option<Bytes>, ShimError> {
        let request = GetStateMetadata { key: key.to_owned(), collection: collection.to_owned() };
        let answer = self.request(Type::GetStateMetadata, encode(&request)).await?;
        let result: StateMetadataResult = decode("GET_STATE_METADATA", answer)?;
        Ok(result.entries.into_iter().find(|entry| entry.metakey == VALIDATION_PARAMETER).map(|entry| entry.value))
    }

    /// Calls another chaincode. On the same channel its writes belong to this transaction; on another one it can only be read.
    pub async fn invoke_chaincode(&self, name: &str, args: &[&[u8]], channel: &str) -> Result<Response, ShimError> {
        self.flush().await?;
        let name = if channel.is_empty() { name.to_owned() } else { format!("{name}/{channel}") };
        let spec = ChaincodeSpec {
            chaincode_id: Some(ChaincodeId { name, ..ChaincodeId::default() }),
            input: Some(ChaincodeInput {
                args: args.iter().map(|arg| Bytes::copy_from_slice(arg)).collect(),
                ..ChaincodeInput::default()
            }),
            ..ChaincodeSpec::default()
        };
        let answer = self.request(Type::InvokeChaincode, encode(&spec)).await?;
        let ended: ChaincodeMessage = decode("INVOKE_CHAINCODE", answer)?;
        if ended.r#type == i32::from(Type::Completed) {
            return decode("INVOKE_CHAINCODE", ended.payload);
        }
        Err(ShimError::Peer(String::from_utf8_lossy(&ended.payload).into_owned()))
    }

    async fn write(&self, record: WriteRecord) -> Result<(), ShimError> {
        let most = self.link.parameters().max_writes;
        if most < 2 {
            return self.send_write(record).await;
        }
        let full = {
            let mut writes = self.writes.lock();
            writes.push(record);
            writes.len() >= most
        };
        if full { self.flush().await } else { Ok(()) }
    }

    /// Sends the writes collected so far.
    pub(crate) async fn flush(&self) -> Result<(), ShimError> {
        let mut rec = std::mem::take(&mut *self.writes.lock());
        match rec.len() {
            0 => Ok(()),
            1 => match rec.pop() {
                Some(record) => self.send_write(record).await,
                None => Ok(()),
            },
            _ => self.request(Type::WriteBatchState, encode(&WriteBatchState { rec })).await.map(|_| ()),
        }
    }

    async fn send_write(&self, record: WriteRecord) -> Result<(), ShimError> {
        let WriteRecord { key, value, collection, metadata, r#type } = record;
        let (kind, payload) = match write_record::Type::try_from(r#type) {
            Ok(write_record::Type::DelState) => (Type::DelState, encode(&DelState { key, collection })),
            Ok(write_record::Type::PurgePrivateData) => (Type::PurgePrivateData, encode(&DelState { key, collection })),
            Ok(write_record::Type::PutStateMetadata) => {
                (Type::PutStateMetadata, encode(&PutStateMetadata { key, collection, metadata }))
            }
            _ => (Type::PutState, encode(&PutState { key, value, collection })),
        };
        self.request(kind, payload).await.map(|_| ())
    }
}

fn check_key(key: &str) -> Result<(), ShimError> {
    if key.is_empty() { Err(ShimError::Argument("key must not be an empty string".into())) } else { Ok(()) }
}

fn check_collection(collection: &str) -> Result<(), ShimError> {
    if collection.is_empty() {
        return Err(ShimError::Argument("collection must not be an empty string".into()));
    }
    check_simple(collection)
}
