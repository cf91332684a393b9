//! The metadata an orderer puts on a block: where the configuration stands, the consenter's own state, its signature.

use bytes::Bytes;
use fabric_channel::protoutil::{self, Signer};
use fabric_proto::common::{Block, BlockMetadataIndex, LastConfig, Metadata, MetadataSignature, OrdererBlockMetadata};
use prost::Message as _;

/// Completes a block: LAST_CONFIG, and SIGNATURES with last config and consenter metadata inside.
pub(crate) fn complete(block: &mut Block, last_config: u64, consenter_metadata: Bytes, signer: &dyn Signer) {
    let last_config = LastConfig { index: last_config };
    let slot = Metadata { value: last_config.encode_to_vec().into(), signatures: Vec::new() };
    protoutil::set_metadata(block, BlockMetadataIndex::LastConfig, slot.encode_to_vec().into());
    let consenter = Metadata { value: consenter_metadata, signatures: Vec::new() };
    let value: Bytes =
        OrdererBlockMetadata { last_config: Some(last_config), consenter_metadata: consenter.encode_to_vec().into() }
            .encode_to_vec()
            .into();
    let signature_header: Bytes = protoutil::make_signature_header(signer.serialized()).encode_to_vec().into();
    let header = block.header.clone().unwrap_or_default();
    let signature = signer.sign(&protoutil::block_signed_bytes(&value, &signature_header, &header)).into();
    let signatures = vec![MetadataSignature { signature_header, signature, ..MetadataSignature::default() }];
    let slot = Metadata { value, signatures };
    protoutil::set_metadata(block, BlockMetadataIndex::Signatures, slot.encode_to_vec().into());
}

/// The next block of a chain, without metadata.
pub(crate) fn next_block(number: u64, previous_hash: Bytes, data: Vec<Bytes>) -> Block {
    let mut block = protoutil::new_block(number, previous_hash);
    if let Some(header) = &mut block.header {
        header.data_hash = Bytes::copy_from_slice(&protoutil::data_hash(&data));
    }
    if let Some(block_data) = &mut block.data {
        block_data.data = data;
    }
    block
}
