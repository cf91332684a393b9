//! Blocks opened: what every transaction says, who signed it, what it read and wrote, and what became of it.
//!
//! Decoding never fails as a whole: a ledger holds whatever was ordered, so a transaction that cannot be read is there as
//! [`Content::Unreadable`] with the reason.

use std::collections::HashMap;
use std::fmt;

use bytes::Bytes;
use fabric_channel::protoutil;
use fabric_proto::common::{
    Block, BlockMetadataIndex, ChannelHeader, ConfigEnvelope, Envelope, HeaderType, Payload, SignatureHeader,
};
use fabric_proto::kvrwset::{HashedRwSet, KvrwSet};
use fabric_proto::msp::SerializedIdentity;
use fabric_proto::protos::{
    ChaincodeAction, ChaincodeActionPayload, ChaincodeEvent, ChaincodeHeaderExtension, ChaincodeInvocationSpec,
    ChaincodeProposalPayload, ProposalResponsePayload, Response, Transaction, TxValidationCode,
};
use fabric_proto::rwset::TxReadWriteSet;
use prost::{DecodeError, Message as _};

/// A member as lists show it: `Org1MSP:User1@org1.example.com`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Member {
    /// MSP id.
    pub mspid: String,
    /// Common name of the certificate; empty when it cannot be read.
    pub name: String,
}

impl Member {
    /// Reads a serialized identity; what cannot be read stays empty.
    pub fn of(serialized: &Bytes) -> Self {
        let Ok(identity) = SerializedIdentity::decode(serialized.clone()) else { return Self::default() };
        let name = konsort_pki::Certificate::from_pem(&identity.id_bytes)
            .map(|certificate| certificate.common_name().to_owned())
            .unwrap_or_default();
        Self { mspid: identity.mspid, name }
    }
}

impl fmt::Display for Member {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.mspid, self.name)
    }
}

/// A block, opened.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenBlock {
    /// Its number.
    pub number: u64,
    /// Hash of its header.
    pub hash: [u8; 32],
    /// Hash of the header before.
    pub previous_hash: Bytes,
    /// Encoded size in bytes.
    pub size: usize,
    /// Whether it holds configuration.
    pub is_config: bool,
    /// Orderers that signed it; none did for a genesis block.
    pub signers: Vec<Member>,
    /// Its transactions, in order.
    pub transactions: Vec<OpenTransaction>,
}

/// A transaction, opened.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenTransaction {
    /// Its id; empty for configuration of early blocks.
    pub id: String,
    /// Position in the block.
    pub index: usize,
    /// The verdict; [`TxValidationCode::NotValidated`] when the block carries none.
    pub code: TxValidationCode,
    /// Who sent it.
    pub creator: Member,
    /// When its creator says it was made, milliseconds since 1970.
    pub time: i64,
    /// What it holds.
    pub content: Content,
    /// The envelope itself.
    pub envelope: Envelope,
}

/// What a transaction holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// A call of chaincode.
    Call(Box<OpenCall>),
    /// A configuration.
    Config(Box<ConfigEnvelope>),
    /// Something else, by the name of its header type.
    Other(String),
    /// It cannot be read, and why.
    Unreadable(String),
}

/// A call of chaincode with its endorsements.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OpenCall {
    /// Chaincode name.
    pub chaincode: String,
    /// Version of its definition at the time of the endorsement.
    pub version: String,
    /// Function and arguments.
    pub args: Vec<Bytes>,
    /// Whether it was the initialising call.
    pub is_init: bool,
    /// What the chaincode answered.
    pub response: Response,
    /// Its event.
    pub event: Option<ChaincodeEvent>,
    /// Reads and writes.
    pub effects: Vec<Namespace>,
    /// Who endorsed it.
    pub endorsements: Vec<OpenEndorsement>,
    /// The bytes that every endorser signed.
    pub response_payload: Bytes,
}

/// An endorsement.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenEndorsement {
    /// The serialized identity of who endorsed; [`Member::of`] reads it.
    pub identity: Bytes,
    /// The signature over response payload and identity.
    pub signature: Bytes,
}

/// Reads and writes in one namespace.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Namespace {
    /// Chaincode name.
    pub name: String,
    /// The public state.
    pub public: KvrwSet,
    /// Hashed reads and writes of private collections by name.
    pub collections: Vec<(String, HashedRwSet)>,
}

/// Opens a block.
pub fn open(block: &Block) -> OpenBlock {
    let header = block.header.clone().unwrap_or_default();
    // Few people send the many transactions of a block.
    let mut members = HashMap::new();
    let mut member =
        |creator: &Bytes| -> Member { members.entry(creator.clone()).or_insert_with(|| Member::of(creator)).clone() };
    let transactions =
        coded(block).map(|(index, code, bytes)| transaction_by(index, code, bytes, &mut member)).collect();
    OpenBlock {
        number: header.number,
        hash: protoutil::header_hash(&header),
        previous_hash: header.previous_hash,
        size: block.encoded_len(),
        is_config: protoutil::is_config_block(block),
        signers: signers(block),
        transactions,
    }
}

/// The envelopes of a block with their places and verdicts.
fn coded(block: &Block) -> impl Iterator<Item = (usize, TxValidationCode, &Bytes)> {
    let codes = protoutil::transactions_filter(block);
    let is_first = block.header.as_ref().is_none_or(|header| header.number == 0);
    let data = block.data.as_ref().map(|data| data.data.as_slice()).unwrap_or_default();
    data.iter().enumerate().map(move |(index, bytes)| {
        // A genesis block is valid by being the beginning; nobody judged it.
        let code = match codes.get(index) {
            Some(code) => TxValidationCode::try_from(i32::from(*code)).unwrap_or(TxValidationCode::InvalidOtherReason),
            None if is_first => TxValidationCode::Valid,
            None => TxValidationCode::NotValidated,
        };
        (index, code, bytes)
    })
}

/// Opens the transaction with an id, and no other one of its block.
pub fn find(block: &Block, id: &str) -> Option<OpenTransaction> {
    let is_wanted = |bytes: &Bytes| {
        let header =
            Envelope::decode(bytes.clone()).and_then(|envelope| Payload::decode(envelope.payload)).ok()?.header?;
        Some(ChannelHeader::decode(header.channel_header).ok()?.tx_id == id)
    };
    let (index, code, bytes) = coded(block).find(|(_, _, bytes)| is_wanted(bytes) == Some(true))?;
    Some(transaction(index, code, bytes))
}

fn signers(block: &Block) -> Vec<Member> {
    let Ok(metadata) = protoutil::metadata(block, BlockMetadataIndex::Signatures) else { return Vec::new() };
    metadata
        .signatures
        .iter()
        .filter_map(|signature| SignatureHeader::decode(signature.signature_header.clone()).ok())
        .filter(|header| !header.creator.is_empty())
        .map(|header| Member::of(&header.creator))
        .collect()
}

/// Opens one envelope of a block.
pub fn transaction(index: usize, code: TxValidationCode, bytes: &Bytes) -> OpenTransaction {
    transaction_by(index, code, bytes, &mut Member::of)
}

fn transaction_by(
    index: usize,
    code: TxValidationCode,
    bytes: &Bytes,
    member: &mut dyn FnMut(&Bytes) -> Member,
) -> OpenTransaction {
    let mut open = OpenTransaction {
        id: String::new(),
        index,
        code,
        creator: Member::default(),
        time: 0,
        content: Content::Unreadable(String::new()),
        envelope: Envelope::default(),
    };
    match Envelope::decode(bytes.clone()) {
        Ok(envelope) => {
            open.envelope = envelope;
            open_envelope(&mut open, member);
        }
        Err(error) => open.content = Content::Unreadable(format!("its envelope does not decode: {error}")),
    }
    open
}

fn open_envelope(open: &mut OpenTransaction, member: &mut dyn FnMut(&Bytes) -> Member) {
    let attempt = || -> Result<(ChannelHeader, SignatureHeader, Payload), DecodeError> {
        let payload = Payload::decode(open.envelope.payload.clone())?;
        let header = payload.header.clone().unwrap_or_default();
        Ok((ChannelHeader::decode(header.channel_header)?, SignatureHeader::decode(header.signature_header)?, payload))
    };
    let (channel, signature, payload) = match attempt() {
        Ok(parts) => parts,
        Err(error) => {
            open.content = Content::Unreadable(format!("its headers do not decode: {error}"));
            return;
        }
    };
    open.id.clone_from(&channel.tx_id);
    open.creator = member(&signature.creator);
    open.time = channel
        .timestamp
        .as_ref()
        .map_or(0, |time| time.seconds.saturating_mul(1000).saturating_add(i64::from(time.nanos) / 1_000_000));
    open.content = match HeaderType::try_from(channel.r#type) {
        Ok(HeaderType::EndorserTransaction) => call(&channel, &payload.data)
            .map_or_else(|error| Content::Unreadable(error.to_string()), |call| Content::Call(Box::new(call))),
        Ok(HeaderType::Config) => ConfigEnvelope::decode(payload.data)
            .map_or_else(|error| Content::Unreadable(error.to_string()), |config| Content::Config(Box::new(config))),
        Ok(other) => Content::Other(other.as_str_name().to_owned()),
        Err(_) => Content::Other(channel.r#type.to_string()),
    };
}

fn call(channel: &ChannelHeader, data: &Bytes) -> Result<OpenCall, DecodeError> {
    let extension = ChaincodeHeaderExtension::decode(channel.extension.clone())?;
    let mut open =
        OpenCall { chaincode: extension.chaincode_id.map(|id| id.name).unwrap_or_default(), ..OpenCall::default() };
    let transaction = Transaction::decode(data.clone())?;
    let Some(action) = transaction.actions.into_iter().next() else { return Ok(open) };
    let payload = ChaincodeActionPayload::decode(action.payload)?;
    let proposal = ChaincodeProposalPayload::decode(payload.chaincode_proposal_payload)?;
    let invocation = ChaincodeInvocationSpec::decode(proposal.input)?.chaincode_spec.unwrap_or_default();
    if let Some(input) = invocation.input {
        open.args = input.args;
        open.is_init = input.is_init;
    }
    let endorsed = payload.action.unwrap_or_default();
    open.endorsements = endorsed
        .endorsements
        .into_iter()
        .map(|endorsement| OpenEndorsement { identity: endorsement.endorser, signature: endorsement.signature })
        .collect();
    open.response_payload = endorsed.proposal_response_payload;
    let answer = answer(&open.response_payload)?;
    open.version = answer.version;
    open.response = answer.response;
    open.event = answer.event;
    open.effects = answer.effects;
    Ok(open)
}

/// What an endorser signed, opened.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// Version of the chaincode that ran.
    pub version: String,
    /// What it answered.
    pub response: Response,
    /// Its event.
    pub event: Option<ChaincodeEvent>,
    /// Reads and writes.
    pub effects: Vec<Namespace>,
}

/// Opens the payload of a proposal response.
pub fn answer(response_payload: &Bytes) -> Result<Answer, DecodeError> {
    let payload = ProposalResponsePayload::decode(response_payload.clone())?;
    let action = ChaincodeAction::decode(payload.extension)?;
    let event = if action.events.is_empty() {
        None
    } else {
        Some(ChaincodeEvent::decode(action.events)?).filter(|event| !event.event_name.is_empty())
    };
    Ok(Answer {
        version: action.chaincode_id.map(|id| id.version).unwrap_or_default(),
        response: action.response.unwrap_or_default(),
        event,
        effects: effects(&action.results)?,
    })
}

/// Opens a serialized read-write set.
fn effects(results: &Bytes) -> Result<Vec<Namespace>, DecodeError> {
    TxReadWriteSet::decode(results.clone())?
        .ns_rwset
        .into_iter()
        .map(|namespace| {
            let collections = namespace
                .collection_hashed_rwset
                .into_iter()
                .map(|collection| Ok((collection.collection_name, HashedRwSet::decode(collection.hashed_rwset)?)))
                .collect::<Result<_, DecodeError>>()?;
            Ok(Namespace { name: namespace.namespace, public: KvrwSet::decode(namespace.rwset)?, collections })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use fabric_proto::common::{BlockData, BlockHeader};

    use super::*;
    use crate::Signer;
    use crate::proposal::Call;

    struct Nobody;

    impl Signer for Nobody {
        fn serialized(&self) -> Bytes {
            SerializedIdentity { mspid: "Org1MSP".into(), id_bytes: Bytes::from_static(b"no certificate") }
                .encode_to_vec()
                .into()
        }

        fn sign(&self, _: &[u8]) -> Vec<u8> {
            vec![1]
        }
    }

    fn block(data: Vec<Bytes>) -> Block {
        Block {
            header: Some(BlockHeader { number: 7, ..BlockHeader::default() }),
            data: Some(BlockData { data }),
            metadata: None,
        }
    }

    #[test]
    fn a_call_is_opened_down_to_its_arguments() {
        let signed = Call::new("mychannel", "basic").args(["Transfer", "asset1"]).sign(&Nobody);
        let response = Response { status: 200, message: String::new(), payload: Bytes::from_static(b"ok") };
        let action = ChaincodeAction {
            response: Some(response.clone()),
            events: ChaincodeEvent { event_name: "Moved".into(), ..ChaincodeEvent::default() }.encode_to_vec().into(),
            ..ChaincodeAction::default()
        };
        let payload =
            ProposalResponsePayload { extension: action.encode_to_vec().into(), ..ProposalResponsePayload::default() };
        let endorsed = protoutil::proposal_response(payload.encode_to_vec().into(), response, &Nobody);
        let envelope = signed.transaction(&Nobody, &[endorsed]).unwrap();
        let block = block(vec![Bytes::from_static(b"junk"), envelope.encode_to_vec().into()]);
        let open = open(&block);
        let transaction = &open.transactions[1];
        assert_eq!(find(&block, &signed.transaction_id).as_ref(), Some(transaction));
        assert_eq!(find(&block, "another"), None);
        assert_eq!(transaction.id, signed.transaction_id);
        assert_eq!(transaction.creator.to_string(), "Org1MSP:");
        assert_eq!(transaction.code, TxValidationCode::NotValidated);
        let Content::Call(call) = &transaction.content else { panic!("{:?}", transaction.content) };
        assert_eq!((call.chaincode.as_str(), call.args.len()), ("basic", 2));
        assert_eq!(call.event.as_ref().unwrap().event_name, "Moved");
        assert_eq!(call.endorsements.len(), 1);
    }

    #[test]
    fn what_cannot_be_read_is_shown_as_such() {
        let junk = Bytes::from_static(&[0xff; 9]);
        let half = Envelope { payload: junk.clone(), signature: Bytes::new() }.encode_to_vec();
        let open = open(&block(vec![junk, half.into(), Bytes::new()]));
        assert_eq!(open.transactions.len(), 3);
        assert!(matches!(&open.transactions[0].content, Content::Unreadable(why) if why.contains("envelope")));
        assert!(matches!(&open.transactions[1].content, Content::Unreadable(why) if why.contains("headers")));
    }
}
