//! Filtered blocks: verdicts and the names of events, without content.

use fabric_channel::protoutil::transactions_filter;
use fabric_proto::common::{Block, ChannelHeader, Envelope, HeaderType, Payload};
use fabric_proto::protos::{
    ChaincodeAction, ChaincodeActionPayload, ChaincodeEvent, FilteredBlock, FilteredChaincodeAction,
    FilteredTransaction, FilteredTransactionActions, ProposalResponsePayload, Transaction, TxValidationCode,
    filtered_transaction,
};
use prost::Message as _;

/// A part of a block that a filtered block must name cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("transaction {index} of block {number}: {part} cannot be decoded: {source}")]
pub struct FilterError {
    /// The block.
    pub number: u64,
    /// The transaction's place in it.
    pub index: usize,
    /// The message.
    pub part: &'static str,
    /// The decoder's reason.
    pub source: prost::DecodeError,
}

/// What of a block its readers may see without reading its content.
pub fn filtered_block(block: &Block) -> Result<FilteredBlock, FilterError> {
    let number = block.header.as_ref().map_or(0, |header| header.number);
    let codes = transactions_filter(block);
    let mut filtered = FilteredBlock { number, ..FilteredBlock::default() };
    let envelopes = block.data.as_ref().map(|data| data.data.as_slice()).unwrap_or_default();
    for (index, bytes) in envelopes.iter().enumerate() {
        let failed = |part: &'static str| move |source| FilterError { number, index, part, source };
        let Ok(envelope) = Envelope::decode(bytes.clone()) else { continue };
        let payload = Payload::decode(envelope.payload).map_err(failed("Payload"))?;
        let Some(header) = payload.header else { continue };
        let channel_header = ChannelHeader::decode(header.channel_header).map_err(failed("ChannelHeader"))?;
        filtered.channel_id = channel_header.channel_id;
        let code = codes.get(index).map_or(TxValidationCode::NotValidated as i32, |code| i32::from(*code));
        let data = if channel_header.r#type == HeaderType::EndorserTransaction as i32 {
            let transaction = Transaction::decode(payload.data).map_err(failed("Transaction"))?;
            let mut actions = FilteredTransactionActions::default();
            for action in transaction.actions {
                let action =
                    ChaincodeActionPayload::decode(action.payload).map_err(failed("ChaincodeActionPayload"))?;
                let Some(action) = action.action else { continue };
                let response = ProposalResponsePayload::decode(action.proposal_response_payload)
                    .map_err(failed("ProposalResponsePayload"))?;
                let action = ChaincodeAction::decode(response.extension).map_err(failed("ChaincodeAction"))?;
                let event = ChaincodeEvent::decode(action.events).map_err(failed("ChaincodeEvent"))?;
                if !event.chaincode_id.is_empty() {
                    let event = ChaincodeEvent { payload: bytes::Bytes::new(), ..event };
                    actions.chaincode_actions.push(FilteredChaincodeAction { chaincode_event: Some(event) });
                }
            }
            Some(filtered_transaction::Data::TransactionActions(actions))
        } else {
            None
        };
        filtered.filtered_transactions.push(FilteredTransaction {
            txid: channel_header.tx_id,
            r#type: channel_header.r#type,
            tx_validation_code: code,
            data,
        });
    }
    Ok(filtered)
}
