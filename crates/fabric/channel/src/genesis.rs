//! Genesis blocks: from a profile of `configtx.yaml`, or from a [`Profile`] made in code.
//!
//! ```no_run
//! use std::path::Path;
//! use fabric_channel::genesis::{self, TopLevel};
//!
//! let folder = Path::new("network");
//! let text = std::fs::read_to_string(folder.join("configtx.yaml"))?;
//! let file = TopLevel::from_yaml(&text, &|_| None)?;
//! let profile = file.profile("Golden", folder)?;
//! let block = genesis::block("mychannel", profile.channel_group()?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod encode;
mod error;
mod model;
mod yaml;

use bytes::Bytes;
use fabric_proto::common::{
    Block, BlockData, BlockMetadataIndex, Config, ConfigEnvelope, ConfigGroup, Envelope, HeaderType, LastConfig,
    Metadata, OrdererBlockMetadata, Payload,
};
use prost::Message as _;

pub use encode::create_channel_update;
pub use error::GenesisError;
pub use model::{
    Application, Bft, BftConsenter, Consensus, Content, MspSource, Orderer, Organization, PolicyRule, Profile,
    RaftConsenter, RaftOptions, TopLevel,
};

use crate::protoutil;

/// The version that upstream writes into the channel header of genesis blocks.
const GENESIS_VERSION: i32 = 1;

/// The genesis block of a channel with this configuration. Its transaction id, and so its hash, differ each time.
pub fn block(channel_id: &str, channel_group: ConfigGroup) -> Block {
    let mut channel_header = protoutil::make_channel_header(HeaderType::Config, GENESIS_VERSION, channel_id, 0);
    let signature_header = protoutil::make_signature_header(Bytes::new());
    channel_header.tx_id = protoutil::tx_id(&signature_header.nonce, &signature_header.creator);
    let config = Config { sequence: 0, channel_group: Some(channel_group) };
    let payload = Payload {
        header: Some(protoutil::payload_header(&channel_header, &signature_header)),
        data: ConfigEnvelope { config: Some(config), last_update: None }.encode_to_vec().into(),
    };
    let envelope = Envelope { payload: payload.encode_to_vec().into(), signature: Bytes::new() };

    let mut block = protoutil::new_block(0, Bytes::new());
    let data = vec![Bytes::from(envelope.encode_to_vec())];
    if let Some(header) = &mut block.header {
        header.data_hash = Bytes::copy_from_slice(&protoutil::data_hash(&data));
    }
    block.data = Some(BlockData { data });
    let last_config = LastConfig { index: 0 };
    let in_metadata =
        |value: Vec<u8>| Bytes::from(Metadata { value: value.into(), signatures: Vec::new() }.encode_to_vec());
    protoutil::set_metadata(&mut block, BlockMetadataIndex::LastConfig, in_metadata(last_config.encode_to_vec()));
    let orderer = OrdererBlockMetadata { last_config: Some(last_config), consenter_metadata: Bytes::new() };
    protoutil::set_metadata(&mut block, BlockMetadataIndex::Signatures, in_metadata(orderer.encode_to_vec()));
    block
}
