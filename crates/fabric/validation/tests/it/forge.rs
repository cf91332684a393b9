//! Transactions made to order, signed with the golden network's own keys.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Read;
use std::sync::LazyLock;

use bytes::Bytes;
use fabric_channel::config::Bundle;
use fabric_channel::policy::dsl;
use fabric_channel::protoutil;
use fabric_ledger::rwset::{CollectionRwset, NsRwset, TxRwset};
use fabric_ledger::{Height, LedgerError, StateReader, StateRows, VersionedValue};
use fabric_proto::common::{
    Block, BlockData, BlockHeader, BlockMetadata, ChannelHeader, Envelope, Header, HeaderType, Payload, SignatureHeader,
};
use fabric_proto::kvrwset::{KvMetadataEntry, KvMetadataWrite, KvMetadataWriteHash, KvWrite, KvWriteHash};
use fabric_proto::msp::SerializedIdentity;
use fabric_proto::protos::{
    ApplicationPolicy, ChaincodeAction, ChaincodeActionPayload, ChaincodeEndorsedAction, ChaincodeEvent,
    ChaincodeHeaderExtension, ChaincodeId, CollectionConfig, Endorsement, ProposalResponsePayload,
    StaticCollectionConfig, Transaction, TransactionAction, TxValidationCode, application_policy, collection_config,
};
use fabric_validation::lifecycle_state::{self, ChaincodeDefinition, NAMESPACES, ReadState, StateError, WriteState};
use fabric_validation::{
    DecodedBlock, KnownSignatures, ValidationError, check_policies, decode_block, verify_signatures,
};
use konsort_crypto::PrivateKey;
use prost::Message;

use crate::golden;

pub(crate) static BUNDLE: LazyLock<Bundle> = LazyLock::new(|| Bundle::from_config_block(&golden::block(0)).unwrap());

static FOLDER: LazyLock<HashMap<String, Vec<u8>>> = LazyLock::new(|| {
    let archive = golden::file("crypto/crypto-config.tar.gz");
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&archive[..]));
    let mut files = HashMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        files.insert(name, content);
    }
    files
});

/// An identity of the golden network with its key.
pub(crate) struct Actor {
    key: PrivateKey,
    pub(crate) serialized: Bytes,
}

impl Actor {
    fn new(mspid: &str, folder: &str, name: &str) -> Self {
        let base = format!("crypto-config/{folder}/msp");
        let file = |path: &str| FOLDER.get(&format!("{base}/{path}")).unwrap_or_else(|| panic!("{base}/{path}"));
        let key = PrivateKey::from_pem(std::str::from_utf8(file("keystore/priv_sk")).unwrap()).unwrap();
        let certificate = file(&format!("signcerts/{name}-cert.pem")).clone();
        let serialized = SerializedIdentity { mspid: mspid.to_owned(), id_bytes: certificate.into() };
        Self { key, serialized: serialized.encode_to_vec().into() }
    }

    pub(crate) fn sign(&self, bytes: &[u8]) -> Bytes {
        self.key.sign(bytes).into()
    }
}

fn peer(org: u8) -> Actor {
    let name = format!("peer0.org{org}.example.com");
    Actor::new(&format!("Org{org}MSP"), &format!("peerOrganizations/org{org}.example.com/peers/{name}"), &name)
}

pub(crate) static PEER1: LazyLock<Actor> = LazyLock::new(|| peer(1));
pub(crate) static PEER2: LazyLock<Actor> = LazyLock::new(|| peer(2));
pub(crate) static USER: LazyLock<Actor> = LazyLock::new(|| {
    let name = "User1@org1.example.com";
    Actor::new("Org1MSP", &format!("peerOrganizations/org1.example.com/users/{name}"), name)
});

/// The orderer of the golden network.
#[allow(dead_code, reason = "used by the example that shares this file")]
pub(crate) fn orderer() -> Actor {
    let name = "orderer.example.com";
    Actor::new("OrdererMSP", &format!("ordererOrganizations/example.com/orderers/{name}"), name)
}

/// What a transaction shall be.
#[derive(Default)]
pub(crate) struct Spec {
    pub(crate) chaincode: &'static str,
    pub(crate) rwset: TxRwset,
    pub(crate) endorsers: Vec<&'static Actor>,
    pub(crate) nonce: u64,
    pub(crate) bad_txid: bool,
    pub(crate) no_action: bool,
    pub(crate) event: Option<ChaincodeEvent>,
    /// Flips in the serialized action, made before anything is signed: position and mask.
    pub(crate) damage: Vec<(usize, u8)>,
    /// Another form of the creator's bytes.
    pub(crate) creator: Option<Bytes>,
    /// Known fields with another wire type, in the channel header and in the read-write set.
    pub(crate) odd_fields: bool,
}

impl Spec {
    /// A transaction of chaincode `cc` that writes what `rwset` says.
    pub(crate) fn new(nonce: u64, rwset: TxRwset, endorsers: &[&'static Actor]) -> Self {
        Self { chaincode: "cc", rwset, endorsers: endorsers.to_vec(), nonce, ..Self::default() }
    }

    pub(crate) fn build(self) -> Bytes {
        let nonce = Bytes::copy_from_slice(&[&[7; 16][..], &self.nonce.to_be_bytes()].concat());
        let creator = self.creator.unwrap_or_else(|| USER.serialized.clone());
        let mut txid = protoutil::tx_id(&nonce, &creator);
        if self.bad_txid {
            txid.replace_range(0..1, if txid.starts_with('0') { "1" } else { "0" });
        }
        let extension = ChaincodeHeaderExtension { chaincode_id: Some(chaincode_id(self.chaincode)) };
        let channel = ChannelHeader {
            r#type: HeaderType::EndorserTransaction as i32,
            channel_id: golden::CHANNEL.to_owned(),
            tx_id: txid,
            extension: extension.encode_to_vec().into(),
            ..ChannelHeader::default()
        };
        let signer = signature_header(&creator, &nonce);
        let odd = |number: u8, bytes: Bytes| {
            if self.odd_fields { [&bytes[..], &[number << 3, 1]].concat().into() } else { bytes }
        };
        let channel_header = odd(5, channel.encode_to_vec().into());
        let header = Header { channel_header, signature_header: signer.clone() };
        let proposal = Bytes::from_static(b"\x0a\x01i");
        let action = ChaincodeAction {
            results: odd(2, self.rwset.encode()),
            events: self.event.map_or_else(Bytes::new, |event| event.encode_to_vec().into()),
            chaincode_id: Some(chaincode_id(self.chaincode)),
            ..ChaincodeAction::default()
        };
        let mut action = action.encode_to_vec();
        for (at, mask) in &self.damage {
            let at = at % action.len();
            action[at] ^= mask;
        }
        let response = ProposalResponsePayload {
            proposal_hash: Bytes::copy_from_slice(&protoutil::proposal_hash_of_parts(
                &header.channel_header,
                &signer,
                &proposal,
            )),
            extension: action.into(),
        };
        let response = Bytes::from(response.encode_to_vec());
        let endorsements = self
            .endorsers
            .iter()
            .map(|actor| Endorsement {
                endorser: actor.serialized.clone(),
                signature: actor.sign(&protoutil::endorsement_signed_bytes(&response, &actor.serialized)),
            })
            .collect();
        let endorsed = ChaincodeEndorsedAction { proposal_response_payload: response, endorsements };
        let payload = ChaincodeActionPayload {
            chaincode_proposal_payload: proposal,
            action: (!self.no_action).then_some(endorsed),
        };
        let action = TransactionAction { header: signer, payload: payload.encode_to_vec().into() };
        let data = Transaction { actions: vec![action] }.encode_to_vec();
        signed(header, data.into())
    }
}

fn chaincode_id(name: &str) -> ChaincodeId {
    ChaincodeId { name: name.to_owned(), version: "1.0".to_owned(), ..ChaincodeId::default() }
}

fn signature_header(creator: &Bytes, nonce: &Bytes) -> Bytes {
    SignatureHeader { creator: creator.clone(), nonce: nonce.clone() }.encode_to_vec().into()
}

fn signed(header: Header, data: Bytes) -> Bytes {
    let payload = Bytes::from(Payload { header: Some(header), data }.encode_to_vec());
    let signature = USER.sign(&payload);
    Envelope { payload, signature }.encode_to_vec().into()
}

/// A signed envelope of any type.
pub(crate) fn envelope_of_type(header_type: HeaderType, data: Bytes) -> Bytes {
    let channel = ChannelHeader {
        r#type: header_type as i32,
        channel_id: golden::CHANNEL.to_owned(),
        ..ChannelHeader::default()
    };
    let signer = signature_header(&USER.serialized, &Bytes::from_static(b"nonce"));
    signed(Header { channel_header: channel.encode_to_vec().into(), signature_header: signer }, data)
}

/// Writes of values to public keys of `namespace`.
pub(crate) fn writes(namespace: &str, keys: &[&str]) -> TxRwset {
    let mut ns = NsRwset { namespace: namespace.to_owned(), ..NsRwset::default() };
    ns.public.writes =
        keys.iter().map(|key| KvWrite { key: (*key).to_owned(), value: "v".into(), ..KvWrite::default() }).collect();
    TxRwset { namespaces: vec![ns] }
}

fn entry(policy: &[u8]) -> KvMetadataEntry {
    KvMetadataEntry { name: "VALIDATION_PARAMETER".to_owned(), value: Bytes::copy_from_slice(policy) }
}

/// A change of the policy of a public key of `cc`.
pub(crate) fn metadata_write(key: &str, policy: &[u8]) -> TxRwset {
    let mut ns = NsRwset { namespace: "cc".to_owned(), ..NsRwset::default() };
    ns.public.metadata_writes = vec![KvMetadataWrite { key: key.to_owned(), entries: vec![entry(policy)] }];
    TxRwset { namespaces: vec![ns] }
}

/// A hashed write, of a value or (with `policy`) of metadata, to a collection of `cc`.
pub(crate) fn hashed_write(namespace: &str, collection: &str, key_hash: &[u8], policy: Option<&[u8]>) -> TxRwset {
    let mut collection = CollectionRwset { name: collection.to_owned(), ..CollectionRwset::default() };
    let key_hash = Bytes::copy_from_slice(key_hash);
    match policy {
        None => {
            collection.hashed.hashed_writes =
                vec![KvWriteHash { key_hash, value_hash: "v".into(), ..KvWriteHash::default() }];
        }
        Some(policy) => {
            collection.hashed.metadata_writes = vec![KvMetadataWriteHash { key_hash, entries: vec![entry(policy)] }];
        }
    }
    TxRwset {
        namespaces: vec![NsRwset {
            namespace: namespace.to_owned(),
            collections: vec![collection],
            ..NsRwset::default()
        }],
    }
}

/// The bytes of a signature policy.
pub(crate) fn policy(text: &str) -> Vec<u8> {
    dsl::parse(text).unwrap().encode_to_vec()
}

pub(crate) fn application_policy(text: &str) -> ApplicationPolicy {
    ApplicationPolicy { r#type: Some(application_policy::Type::SignaturePolicy(dsl::parse(text).unwrap())) }
}

/// A world state in memory.
#[derive(Default)]
pub(crate) struct State {
    public: std::sync::Mutex<BTreeMap<(String, String), VersionedValue>>,
    hashed: BTreeMap<(String, String, Vec<u8>), VersionedValue>,
}

fn row(value: Bytes, metadata: Bytes) -> VersionedValue {
    VersionedValue { value, metadata, version: Height::new(1, 0) }
}

impl State {
    /// With chaincode `cc` under `policy_text` and these collections (name, own policy).
    pub(crate) fn with_chaincode(policy_text: &str, collections: &[(&str, Option<&str>)]) -> Self {
        let state = Self::default();
        state.define("cc", &application_policy(policy_text).encode_to_vec(), "vscc", collections);
        state
    }

    pub(crate) fn define(&self, name: &str, policy: &[u8], plugin: &str, collections: &[(&str, Option<&str>)]) {
        let mut definition = ChaincodeDefinition { sequence: 1, ..ChaincodeDefinition::default() };
        plugin.clone_into(&mut definition.validation_info.validation_plugin);
        definition.validation_info.validation_parameter = Bytes::copy_from_slice(policy);
        definition.collections.config = collections
            .iter()
            .map(|(name, policy)| CollectionConfig {
                payload: Some(collection_config::Payload::StaticCollectionConfig(StaticCollectionConfig {
                    name: (*name).to_owned(),
                    endorsement_policy: policy.map(application_policy),
                    ..StaticCollectionConfig::default()
                })),
            })
            .collect();
        lifecycle_state::write(NAMESPACES, name, &definition, self).unwrap();
    }

    pub(crate) fn set(&self, namespace: &str, key: &str, value: &[u8], policy: Option<&[u8]>) {
        let metadata = policy.map_or_else(Bytes::new, |policy| fabric_ledger::encode_metadata(&[entry(policy)]));
        let row = row(Bytes::copy_from_slice(value), metadata);
        self.public.lock().unwrap().insert((namespace.to_owned(), key.to_owned()), row);
    }

    pub(crate) fn set_hashed(&mut self, collection: &str, key_hash: &[u8], policy: &[u8]) {
        let metadata = fabric_ledger::encode_metadata(&[entry(policy)]);
        self.hashed.insert(("cc".to_owned(), collection.to_owned(), key_hash.to_vec()), row("h".into(), metadata));
    }
}

impl ReadState for State {
    fn get_state(&self, key: &str) -> Result<Option<Bytes>, StateError> {
        Ok(self.get("_lifecycle", key).unwrap().map(|row| row.value))
    }
}

impl WriteState for State {
    fn put_state(&self, key: &str, value: Bytes) -> Result<(), StateError> {
        self.set("_lifecycle", key, &value, None);
        Ok(())
    }

    fn delete_state(&self, _key: &str) -> Result<(), StateError> {
        Err(StateError::new("nothing is deleted here"))
    }
}

impl StateReader for State {
    fn get(&self, namespace: &str, key: &str) -> Result<Option<VersionedValue>, LedgerError> {
        Ok(self.public.lock().unwrap().get(&(namespace.to_owned(), key.to_owned())).cloned())
    }

    fn get_hash(
        &self,
        namespace: &str,
        collection: &str,
        key_hash: &[u8],
    ) -> Result<Option<VersionedValue>, LedgerError> {
        Ok(self.hashed.get(&(namespace.to_owned(), collection.to_owned(), key_hash.to_vec())).cloned())
    }

    fn range<'a>(&'a self, _: &str, _: &str, _: &str) -> Result<StateRows<'a>, LedgerError> {
        Ok(Box::new(std::iter::empty()))
    }
}

/// A block of these envelopes.
pub(crate) fn block_of(envelopes: Vec<Bytes>) -> Bytes {
    let block = Block {
        header: Some(BlockHeader { number: 9, ..BlockHeader::default() }),
        data: Some(BlockData { data: envelopes }),
        metadata: Some(BlockMetadata::default()),
    };
    block.encode_to_vec().into()
}

/// All stages before concurrency control.
pub(crate) fn judge(envelopes: Vec<Bytes>, state: &State) -> Result<Vec<TxValidationCode>, ValidationError> {
    judge_behind(envelopes, state, &HashSet::new())
}

pub(crate) fn judge_behind(
    envelopes: Vec<Bytes>,
    state: &State,
    txids: &HashSet<String>,
) -> Result<Vec<TxValidationCode>, ValidationError> {
    let mut block = decoded(envelopes);
    check_policies(&mut block, &BUNDLE, state, txids)?;
    Ok(block.transactions.iter().map(|tx| tx.code).collect())
}

/// Decoded and with signatures checked.
pub(crate) fn decoded(envelopes: Vec<Bytes>) -> DecodedBlock {
    let mut block = decode_block(&block_of(envelopes)).unwrap();
    verify_signatures(&mut block, &BUNDLE, &KnownSignatures::default());
    block
}
