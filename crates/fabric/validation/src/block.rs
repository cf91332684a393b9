//! Checks of a block as a whole: its place in the chain, its hashes, its form and its orderers' signatures.

use fabric_channel::config::Bundle;
use fabric_channel::protoutil;
use fabric_proto::common::{BlockData, BlockHeader, BlockMetadata};

use crate::ValidationError;
use crate::decode::DecodedBlock;

/// The channel policy that an orderer's block signatures must satisfy.
pub const BLOCK_VALIDATION_POLICY: &str = "/Channel/Orderer/BlockValidation";

/// Checks a received block before anything of it is looked at: number, previous hash, data hash, canonical form of every
/// envelope, and the orderers' signatures against the channel's block validation policy.
///
/// `previous_hash` is the header hash of the block before; empty means unknown, and then the link is not checked.
pub fn verify_block(
    block: &DecodedBlock,
    expected_number: u64,
    previous_hash: &[u8],
    bundle: &Bundle,
) -> Result<(), ValidationError> {
    let channel = bundle.channel_id();
    check_header(&block.header, expected_number, previous_hash, channel)?;
    check_data(block, channel)?;
    verify_attestation(&block.header, &block.metadata, bundle)
}

/// Checks number and link of a header.
pub fn check_header(
    header: &BlockHeader,
    expected_number: u64,
    previous_hash: &[u8],
    channel: &str,
) -> Result<(), ValidationError> {
    if header.number != expected_number {
        return Err(ValidationError::Number { expected: expected_number, found: header.number });
    }
    if !previous_hash.is_empty() && header.previous_hash != previous_hash {
        return Err(ValidationError::PreviousHash {
            number: header.number,
            channel: channel.to_owned(),
            received: hex::encode(&header.previous_hash),
            expected: hex::encode(previous_hash),
        });
    }
    Ok(())
}

/// Checks the form of the envelopes and that the header is over them.
pub fn check_data(block: &DecodedBlock, channel: &str) -> Result<(), ValidationError> {
    let number = block.number();
    let ill_formed = |source| ValidationError::IllFormed { number, channel: channel.to_owned(), source };
    let data = BlockData { data: block.transactions.iter().map(|tx| tx.envelope.clone()).collect() };
    protoutil::check_block_data(&data).map_err(ill_formed)?;
    let computed = protoutil::data_hash(&data.data);
    if block.header.data_hash != computed[..] {
        return Err(ValidationError::DataHash {
            number,
            channel: channel.to_owned(),
            header: hex::encode(&block.header.data_hash),
            data: hex::encode(computed),
        });
    }
    Ok(())
}

/// Checks the signatures on a header, also of a block that came without its data.
pub fn verify_attestation(
    header: &BlockHeader,
    metadata: &BlockMetadata,
    bundle: &Bundle,
) -> Result<(), ValidationError> {
    let (number, channel) = (header.number, bundle.channel_id().to_owned());
    if metadata.metadata.len() < protoutil::METADATA_SLOTS {
        return Err(ValidationError::Metadata { number, channel });
    }
    let set = match bundle.block_signature_set(header, metadata) {
        Ok(set) => set,
        Err(source) => return Err(ValidationError::Signatures { number, channel, source }),
    };
    bundle.policies().policy(BLOCK_VALIDATION_POLICY).evaluate(&set).map_err(|error| ValidationError::BlockPolicy {
        number,
        channel,
        reason: error.to_string(),
    })
}
