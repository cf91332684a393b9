//! The small facts of the protocol that everybody needs: what is hashed, what is signed, and how blocks, envelopes and
//! proposals are put together and taken apart.
//!
//! Nothing here decides anything: policies, validation and configuration rules are elsewhere. Everything works on the bytes
//! as received; only messages of our own making are encoded.

mod block;
mod envelope;
mod error;
mod proposal;
mod well_formed;

use bytes::Bytes;

pub use block::{
    METADATA_SLOTS, block_signature_set, block_signed_bytes, channel_id_of_block, commit_hash_of_block,
    config_envelope_of_block, config_of_block, consenter_metadata, data_hash, envelope_at, header_bytes, header_hash,
    init_metadata, is_config_block, last_config_index, metadata, new_block, set_commit_hash, set_metadata,
    set_transactions_filter, transactions_filter,
};
pub use envelope::{
    CONFIG_UPDATE_VERSION, channel_header, channel_id, config_envelope, config_update_envelope,
    config_update_signed_data, decode, envelope_of_type, envelope_signed_data, is_config_envelope, make_channel_header,
    make_signature_header, nonce, now, payload, payload_header, seek, seek_envelope, seek_newest, seek_oldest,
    seek_specified, sign_config_update, signature_header, signed_config_update, signed_envelope,
};
pub use error::ProtoutilError;
pub use proposal::{
    chaincode_proposal, chaincode_proposal_with, check_tx_id, endorsement_signed_bytes, invoked_chaincode_name,
    proposal_hash, proposal_hash_of_parts, proposal_payload_for_tx, proposal_response, proposal_response_payload,
    signed_proposal, signed_transaction, tx_id, unsigned_transaction,
};
pub use well_formed::{check_block_data, well_formed_envelope};

/// Something that can sign as one identity of a consortium.
pub trait Signer: Send + Sync {
    /// The serialized identity (`msp.SerializedIdentity`) that goes into headers.
    fn serialized(&self) -> Bytes;
    /// Signs the message (not a digest of it).
    fn sign(&self, message: &[u8]) -> Vec<u8>;
}

/// One signature with what it is over and who is said to have made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedData {
    /// The signed bytes.
    pub data: Bytes,
    /// The serialized identity of the signer.
    pub identity: Bytes,
    /// The signature.
    pub signature: Bytes,
}
