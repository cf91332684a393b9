//! Blocks: hashes, metadata slots, the configuration inside.

use bytes::Bytes;
use fabric_proto::common::{
    Block, BlockData, BlockHeader, BlockMetadata, BlockMetadataIndex, Config, ConfigEnvelope, Consenter, Envelope,
    HeaderType, IdentifierHeader, LastConfig, Metadata, OrdererBlockMetadata, SignatureHeader,
};
use fabric_proto::msp::SerializedIdentity;
use konsort_crypto::hash::{Sha256, sha256};
use prost::Message as _;

use super::envelope::{channel_header, decode, payload};
use super::{ProtoutilError, SignedData};

/// The number of metadata slots of a block.
pub const METADATA_SLOTS: usize = 5;

const DER_INTEGER: u8 = 0x02;
const DER_OCTET_STRING: u8 = 0x04;
const DER_SEQUENCE: u8 = 0x30;

fn der_length(out: &mut Vec<u8>, length: usize) {
    if length < 0x80 {
        out.push(length as u8);
        return;
    }
    let bytes = length.to_be_bytes();
    let skip = bytes.iter().take_while(|byte| **byte == 0).count();
    out.push(0x80 | (bytes.len() - skip) as u8);
    out.extend_from_slice(&bytes[skip..]);
}

fn der(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    out.push(tag);
    der_length(out, content.len());
    out.extend_from_slice(content);
}

/// The DER form of a block header, which is what is hashed and signed:
/// `SEQUENCE { INTEGER number, OCTET STRING previous_hash, OCTET STRING data_hash }`.
pub fn header_bytes(header: &BlockHeader) -> Vec<u8> {
    // A leading zero keeps numbers of 2^63 and above positive; DER then wants the shortest form.
    let mut number = [0_u8; 9];
    number[1..].copy_from_slice(&header.number.to_be_bytes());
    let mut start = 0;
    while start < 8 && number[start] == 0 && number[start + 1] < 0x80 {
        start += 1;
    }
    let mut content = Vec::with_capacity(80);
    der(&mut content, DER_INTEGER, &number[start..]);
    der(&mut content, DER_OCTET_STRING, &header.previous_hash);
    der(&mut content, DER_OCTET_STRING, &header.data_hash);
    let mut out = Vec::with_capacity(content.len() + 4);
    der(&mut out, DER_SEQUENCE, &content);
    out
}

/// The hash that the next block names as its previous one.
pub fn header_hash(header: &BlockHeader) -> [u8; 32] {
    sha256(&header_bytes(header))
}

/// The hash of a block's transactions: SHA-256 over all of them joined.
pub fn data_hash(data: &[Bytes]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for entry in data {
        hash.update(entry);
    }
    hash.finish()
}

/// An empty block with all metadata slots present. Its data hash is still to be set.
pub fn new_block(number: u64, previous_hash: Bytes) -> Block {
    Block {
        header: Some(BlockHeader { number, previous_hash, data_hash: Bytes::new() }),
        data: Some(BlockData::default()),
        metadata: Some(BlockMetadata { metadata: vec![Bytes::new(); METADATA_SLOTS] }),
    }
}

/// Gives the block all its metadata slots, keeping what is in them.
pub fn init_metadata(block: &mut Block) {
    let slots = &mut block.metadata.get_or_insert_default().metadata;
    if slots.len() < METADATA_SLOTS {
        slots.resize(METADATA_SLOTS, Bytes::new());
    }
}

/// Puts `bytes` into one metadata slot.
pub fn set_metadata(block: &mut Block, index: BlockMetadataIndex, bytes: Bytes) {
    init_metadata(block);
    if let Some(slot) = block.metadata.as_mut().and_then(|metadata| metadata.metadata.get_mut(index as usize)) {
        *slot = bytes;
    }
}

fn slot(block: &Block, index: BlockMetadataIndex) -> Option<&Bytes> {
    block.metadata.as_ref()?.metadata.get(index as usize)
}

/// The decoded content of a metadata slot. The transactions filter is not such a message: see [`transactions_filter`].
pub fn metadata(block: &Block, index: BlockMetadataIndex) -> Result<Metadata, ProtoutilError> {
    let bytes = slot(block, index).ok_or(ProtoutilError::NoMetadata(index.as_str_name()))?;
    decode("metadata", bytes)
}

/// The validation codes of the block's transactions, one byte each; empty before validation.
pub fn transactions_filter(block: &Block) -> Bytes {
    slot(block, BlockMetadataIndex::TransactionsFilter).cloned().unwrap_or_default()
}

/// Writes the validation codes of the block's transactions.
pub fn set_transactions_filter(block: &mut Block, codes: Bytes) {
    set_metadata(block, BlockMetadataIndex::TransactionsFilter, codes);
}

/// The commit hash that a committing peer has put into the block, if it has.
pub fn commit_hash_of_block(block: &Block) -> Option<Bytes> {
    metadata(block, BlockMetadataIndex::CommitHash).ok().map(|found| found.value).filter(|value| !value.is_empty())
}

/// Writes the commit hash as a committing peer does.
pub fn set_commit_hash(block: &mut Block, hash: &[u8]) {
    let value = Metadata { value: Bytes::copy_from_slice(hash), signatures: Vec::new() };
    set_metadata(block, BlockMetadataIndex::CommitHash, value.encode_to_vec().into());
}

/// The consensus plug-in's own metadata, from where 1.4.1 and later keep it or from where earlier versions did.
pub fn consenter_metadata(block: &Block) -> Result<Metadata, ProtoutilError> {
    let signatures = metadata(block, BlockMetadataIndex::Signatures)?;
    if signatures.value.is_empty() {
        return metadata(block, BlockMetadataIndex::Orderer);
    }
    let orderer: OrdererBlockMetadata = decode("orderer block metadata", &signatures.value)?;
    decode("consenter metadata", &orderer.consenter_metadata)
}

/// The number of the last configuration block at or before this one.
pub fn last_config_index(block: &Block) -> Result<u64, ProtoutilError> {
    let signatures = metadata(block, BlockMetadataIndex::Signatures)?;
    if signatures.value.is_empty() {
        let legacy = metadata(block, BlockMetadataIndex::LastConfig)?;
        let last: LastConfig = decode("LastConfig", &legacy.value)?;
        return Ok(last.index);
    }
    let orderer: OrdererBlockMetadata = decode("orderer block metadata", &signatures.value)?;
    orderer.last_config.map(|last| last.index).ok_or(ProtoutilError::IncompleteConfig("last config index"))
}

/// What an orderer's signature on a block is over.
pub fn block_signed_bytes(metadata_value: &[u8], signature_header: &[u8], header: &BlockHeader) -> Bytes {
    [metadata_value, signature_header, &header_bytes(header)].concat().into()
}

/// The signatures on a block with what each is over. `consenters` is the channel's consenter mapping, by which signatures
/// that carry only a consenter's number (BFT) are resolved; those of unknown numbers are left out, as upstream does.
pub fn block_signature_set(
    header: &BlockHeader,
    metadata: &BlockMetadata,
    consenters: &[Consenter],
) -> Result<Vec<SignedData>, ProtoutilError> {
    let slot = metadata
        .metadata
        .get(BlockMetadataIndex::Signatures as usize)
        .ok_or_else(|| ProtoutilError::IllFormed("no signatures in block metadata".into()))?;
    let decoded: Metadata = decode("signatures from metadata", slot)?;
    let header_der = header_bytes(header);
    let mut set = Vec::with_capacity(decoded.signatures.len());
    for signature in &decoded.signatures {
        let by_number =
            !consenters.is_empty() && signature.signature_header.is_empty() && !signature.identifier_header.is_empty();
        let (identity, signed_header) = if by_number {
            let identifier: IdentifierHeader = decode("identifier header", &signature.identifier_header)?;
            let Some(consenter) = consenters.iter().find(|consenter| consenter.id == identifier.identifier) else {
                continue;
            };
            let identity = SerializedIdentity { mspid: consenter.msp_id.clone(), id_bytes: consenter.identity.clone() };
            (Bytes::from(identity.encode_to_vec()), &signature.identifier_header)
        } else {
            let signer: SignatureHeader = decode("signature header", &signature.signature_header)?;
            (signer.creator, &signature.signature_header)
        };
        set.push(SignedData {
            data: [decoded.value.as_ref(), signed_header, &header_der].concat().into(),
            identity,
            signature: signature.signature.clone(),
        });
    }
    Ok(set)
}

/// One envelope of a block.
pub fn envelope_at(block: &Block, index: usize) -> Result<Envelope, ProtoutilError> {
    let data = block.data.as_ref().and_then(|data| data.data.get(index)).ok_or(ProtoutilError::EnvelopeIndex)?;
    decode("Envelope", data)
}

/// The channel a block belongs to, by its first envelope.
pub fn channel_id_of_block(block: &Block) -> Result<String, ProtoutilError> {
    if block.data.as_ref().is_none_or(|data| data.data.is_empty()) {
        return Err(ProtoutilError::EmptyBlock);
    }
    super::envelope::channel_id(&envelope_at(block, 0)?)
}

/// Whether the block is a configuration block: exactly one envelope, of type CONFIG.
pub fn is_config_block(block: &Block) -> bool {
    block.data.as_ref().is_some_and(is_config_data)
}

pub(super) fn is_config_data(data: &BlockData) -> bool {
    let [only] = data.data.as_slice() else { return false };
    decode::<Envelope>("Envelope", only)
        .and_then(|envelope| channel_header(&envelope))
        .is_ok_and(|header| header.r#type == HeaderType::Config as i32)
}

/// The configuration envelope of a configuration block.
pub fn config_envelope_of_block(block: &Block) -> Result<ConfigEnvelope, ProtoutilError> {
    if !is_config_block(block) {
        let number = block.header.as_ref().map_or(0, |header| header.number);
        return Err(ProtoutilError::NotConfigBlock(number));
    }
    decode("ConfigEnvelope", &payload(&envelope_at(block, 0)?)?.data)
}

/// The channel id and the configuration of a configuration block.
pub fn config_of_block(block: &Block) -> Result<(String, Config), ProtoutilError> {
    let config = config_envelope_of_block(block)?.config.ok_or(ProtoutilError::IncompleteConfig("config"))?;
    Ok((channel_id_of_block(block)?, config))
}
