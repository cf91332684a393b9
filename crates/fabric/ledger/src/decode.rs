//! Reading what the ledger needs out of blocks and envelopes. Signatures and policies are judged elsewhere; here only stored or
//! already judged blocks are taken apart.

use bytes::Bytes;
use fabric_proto::{
    common::{
        Block, BlockHeader, BlockMetadata, BlockMetadataIndex, ChannelHeader, Envelope, HeaderType, Metadata, Payload,
        SignatureHeader,
    },
    protos::{ChaincodeAction, ChaincodeActionPayload, ProposalResponsePayload, Transaction, TxValidationCode},
};
use konsort_crypto::hash::{sha256, sha256_parts};
use prost::Message;

use crate::{LedgerError, TxToCommit, rwset::TxRwset, tolerant};

/// Hash of a block header: SHA-256 of `SEQUENCE { INTEGER number, OCTET STRING previous, OCTET STRING data hash }` in DER.
pub(crate) fn header_hash(header: &BlockHeader) -> Bytes {
    let mut body = Vec::with_capacity(96);
    let number = header.number.to_be_bytes();
    let zeros = (header.number.leading_zeros() / 8) as usize;
    let digits = &number[zeros.min(7)..];
    // A leading one bit would make the integer negative.
    let pad: &[u8] = if digits[0] & 0x80 == 0 { &[] } else { &[0] };
    put_der(&mut body, 0x02, &[pad, digits]);
    put_der(&mut body, 0x04, &[&header.previous_hash]);
    put_der(&mut body, 0x04, &[&header.data_hash]);
    let mut sequence = Vec::with_capacity(body.len() + 4);
    put_der(&mut sequence, 0x30, &[&body]);
    Bytes::copy_from_slice(&sha256(&sequence))
}

fn put_der(out: &mut Vec<u8>, tag: u8, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    out.push(tag);
    if length < 0x80 {
        out.push(length as u8);
    } else {
        let bytes = length.to_be_bytes();
        let skip = (length.leading_zeros() / 8) as usize;
        out.push(0x80 | (bytes.len() - skip) as u8);
        out.extend_from_slice(&bytes[skip..]);
    }
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// A stored block decoded, its byte fields sharing the stored buffer.
pub(crate) fn block(bytes: &Bytes) -> Result<Block, LedgerError> {
    Block::decode(bytes.clone()).map_err(|source| LedgerError::decode("block", source))
}

/// The header of a block.
pub(crate) fn header(block: &Block) -> Result<&BlockHeader, LedgerError> {
    block.header.as_ref().ok_or_else(|| LedgerError::malformed(0, "it has no header"))
}

/// One slot of the block metadata; empty when absent.
pub(crate) fn slot(block: &Block, index: BlockMetadataIndex) -> Bytes {
    let metadata = block.metadata.as_ref().and_then(|metadata| metadata.metadata.get(index as usize));
    metadata.cloned().unwrap_or_default()
}

/// Sets one slot, adding empty ones before it.
pub(crate) fn set_slot(block: &mut Block, index: BlockMetadataIndex, value: Bytes) {
    let slots = &mut block.metadata.get_or_insert_with(BlockMetadata::default).metadata;
    if slots.len() <= index as usize {
        slots.resize(index as usize + 1, Bytes::new());
    }
    slots[index as usize] = value;
}

/// The commit hash in a stored block; empty when it has none.
pub(crate) fn stored_commit_hash(block: &Block) -> Result<Bytes, LedgerError> {
    let slot = slot(block, BlockMetadataIndex::CommitHash);
    Ok(Metadata::decode(slot).map_err(|source| LedgerError::decode("commit hash of a stored block", source))?.value)
}

/// The id under which a transaction is indexed: of its channel header, or, where that is empty (configuration), computed as
/// hex SHA-256(nonce || creator); `None` when the envelope does not decode that far.
pub fn transaction_id(envelope: &Bytes) -> Option<String> {
    let envelope: Envelope = tolerant::decode("common.Envelope", envelope).ok()?;
    let payload: Payload = tolerant::decode("common.Payload", &envelope.payload).ok()?;
    let header = payload.header?;
    let channel: ChannelHeader = tolerant::decode("common.ChannelHeader", &header.channel_header).ok()?;
    if !channel.tx_id.is_empty() {
        return Some(channel.tx_id);
    }
    let signature: SignatureHeader = tolerant::decode("common.SignatureHeader", &header.signature_header).ok()?;
    Some(hex::encode(sha256_parts(&[&signature.nonce, &signature.creator])))
}

/// Channel header and read-write set of a valid transaction; no set for types that write nothing.
pub(crate) fn valid_transaction(envelope: &Bytes) -> Result<(ChannelHeader, Option<TxRwset>), LedgerError> {
    fn part<M: Message + Default>(name: &str, bytes: &Bytes) -> Result<M, LedgerError> {
        tolerant::decode(name, bytes).map_err(|source| LedgerError::decode(name, source))
    }
    let envelope: Envelope = part("common.Envelope", envelope)?;
    let payload: Payload = part("common.Payload", &envelope.payload)?;
    let header = payload.header.unwrap_or_default();
    let channel: ChannelHeader = part("common.ChannelHeader", &header.channel_header)?;
    let rwset = match HeaderType::try_from(channel.r#type) {
        Ok(HeaderType::Config) => Some(TxRwset::config(payload.data)),
        Ok(HeaderType::EndorserTransaction) => {
            let transaction: Transaction = part("protos.Transaction", &payload.data)?;
            let Some(action) = transaction.actions.into_iter().next() else { return Ok((channel, None)) };
            let action: ChaincodeActionPayload = part("protos.ChaincodeActionPayload", &action.payload)?;
            let endorsed = action.action.unwrap_or_default();
            let response: ProposalResponsePayload =
                part("protos.ProposalResponsePayload", &endorsed.proposal_response_payload)?;
            let action: ChaincodeAction = part("protos.ChaincodeAction", &response.extension)?;
            Some(tolerant::decode_rwset(&action.results).ok_or_else(|| LedgerError::Corrupt {
                what: format!("read-write set of valid transaction {}", channel.tx_id),
            })?)
        }
        _ => None,
    };
    Ok((channel, rwset))
}

/// The transactions of a stored block with their stored verdicts.
pub(crate) fn stored_transactions(block: &Block) -> Result<Vec<TxToCommit>, LedgerError> {
    let number = header(block)?.number;
    let flags = slot(block, BlockMetadataIndex::TransactionsFilter);
    let envelopes = block.data.as_ref().map_or(&[][..], |data| &data.data);
    if flags.len() != envelopes.len() {
        let what = format!("it has {} validation codes for {} transactions", flags.len(), envelopes.len());
        return Err(LedgerError::malformed(number, what));
    }
    let mut transactions = Vec::with_capacity(envelopes.len());
    for (envelope, &flag) in envelopes.iter().zip(&flags) {
        let code = TxValidationCode::try_from(i32::from(flag))
            .map_err(|_| LedgerError::malformed(number, format!("validation code {flag} is unknown")))?;
        let txid = transaction_id(envelope).unwrap_or_default();
        let rwset = if code == TxValidationCode::Valid { valid_transaction(envelope)?.1 } else { None };
        transactions.push(TxToCommit { txid, code, rwset });
    }
    Ok(transactions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_hash_encodes_the_number_as_der_does() {
        let hash = |number| header_hash(&BlockHeader { number, ..BlockHeader::default() });
        let by_hand = |der: &[u8]| Bytes::copy_from_slice(&sha256(der));
        assert_eq!(hash(0), by_hand(&[0x30, 7, 2, 1, 0, 4, 0, 4, 0]));
        assert_eq!(hash(127), by_hand(&[0x30, 7, 2, 1, 127, 4, 0, 4, 0]));
        assert_eq!(hash(128), by_hand(&[0x30, 8, 2, 2, 0, 128, 4, 0, 4, 0]));
        assert_eq!(hash(u64::MAX), by_hand(&[0x30, 15, 2, 9, 0, 255, 255, 255, 255, 255, 255, 255, 255, 4, 0, 4, 0]));
    }
}
