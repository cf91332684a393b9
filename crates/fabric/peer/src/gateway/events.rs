//! Chaincode events, block by block.

use std::sync::Arc;

use fabric_channel::policy::SignedData;
use fabric_channel::protoutil::transactions_filter;
use fabric_ledger::Ledger;
use fabric_proto::common::{Block, ChannelHeader, Envelope, HeaderType, Payload};
use fabric_proto::gateway::{ChaincodeEventsRequest, ChaincodeEventsResponse, SignedChaincodeEventsRequest};
use fabric_proto::orderer::seek_position;
use fabric_proto::protos::{
    ChaincodeAction, ChaincodeActionPayload, ChaincodeEvent, ProposalResponsePayload, Transaction, TxValidationCode,
};
use prost::{DecodeError, Message as _};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::Inner;
use crate::channel::Channel;
use crate::deliver::read_block;

/// Responses that may wait for a slow client.
const AHEAD: usize = 16;

type Events = std::pin::Pin<Box<dyn Stream<Item = Result<ChaincodeEventsResponse, Status>> + Send>>;

pub(super) fn open(
    gateway: &Arc<Inner>,
    signed: SignedChaincodeEventsRequest,
    permit: OwnedSemaphorePermit,
) -> Result<Events, Status> {
    if signed.request.is_empty() {
        return Err(Status::invalid_argument("a chaincode events request is required"));
    }
    let request = ChaincodeEventsRequest::decode(signed.request.clone())
        .map_err(|error| Status::invalid_argument(format!("invalid chaincode events request: {error}")))?;
    let data = SignedData { data: signed.request, identity: request.identity.clone(), signature: signed.signature };
    let channel = gateway.authorized("gateway/ChaincodeEvents", &request.channel_id, &data)?;
    let start = first_block(channel.ledger(), &request)?;
    let (sender, receiver) = mpsc::channel(AHEAD);
    let shutdown = gateway.shutdown.clone();
    tokio::spawn(async move {
        let _permit = permit;
        tokio::select! {
            () = follow(&channel, &request, start, &sender) => {}
            () = sender.closed() => {}
            () = shutdown.triggered() => {}
        }
    });
    Ok(Box::pin(ReceiverStream::new(receiver)))
}

/// Where to start: at the block of the given transaction if it is known, else as the position says, else at the next block.
fn first_block(ledger: &Ledger, request: &ChaincodeEventsRequest) -> Result<u64, Status> {
    if !request.after_transaction_id.is_empty()
        && let Ok(Some((_, block))) = ledger.blocks().transaction_code(&request.after_transaction_id)
    {
        return Ok(block);
    }
    match request.start_position.as_ref().and_then(|position| position.r#type.as_ref()) {
        None | Some(seek_position::Type::NextCommit(_)) => Ok(ledger.height()),
        Some(seek_position::Type::Specified(specified)) => Ok(specified.number),
        Some(other) => {
            let name = match other {
                seek_position::Type::Newest(_) => "*orderer.SeekPosition_Newest",
                _ => "*orderer.SeekPosition_Oldest",
            };
            Err(Status::invalid_argument(format!("invalid start position type: {name}")))
        }
    }
}

async fn follow(
    channel: &Channel,
    request: &ChaincodeEventsRequest,
    start: u64,
    sender: &mpsc::Sender<Result<ChaincodeEventsResponse, Status>>,
) {
    let mut heights = channel.ledger().height_watch();
    let mut next = start;
    let mut passed = request.after_transaction_id.is_empty();
    loop {
        let height = *heights.borrow_and_update();
        while next < height {
            let found =
                read_block(channel, next).and_then(|block| events_of(&block).map_err(|error| error.to_string()));
            let all = match found {
                Ok(all) => all,
                Err(error) => {
                    // A client that is gone needs no reason.
                    let _ = sender.send(Err(Status::aborted(error))).await;
                    return;
                }
            };
            let mut events = Vec::new();
            for event in all {
                if !passed {
                    passed = event.tx_id == request.after_transaction_id;
                } else if event.chaincode_id == request.chaincode_id {
                    events.push(event);
                }
            }
            if !events.is_empty() {
                let response = ChaincodeEventsResponse { events, block_number: next };
                if sender.send(Ok(response)).await.is_err() {
                    return;
                }
            }
            next += 1;
        }
        if heights.changed().await.is_err() {
            return;
        }
    }
}

/// The events of a block's valid transactions, in order.
fn events_of(block: &Block) -> Result<Vec<ChaincodeEvent>, DecodeError> {
    let codes = transactions_filter(block);
    let mut events = Vec::new();
    let envelopes = block.data.as_ref().map(|data| data.data.as_slice()).unwrap_or_default();
    for (index, bytes) in envelopes.iter().enumerate() {
        let payload = Payload::decode(Envelope::decode(bytes.clone())?.payload)?;
        let header = ChannelHeader::decode(payload.header.unwrap_or_default().channel_header)?;
        let valid = codes.get(index).is_some_and(|code| *code == TxValidationCode::Valid as u8);
        if header.r#type != HeaderType::EndorserTransaction as i32 || !valid {
            continue;
        }
        for action in Transaction::decode(payload.data)?.actions {
            // An action that cannot be read has no event; its transaction was valid all the same.
            events.extend(event_of(action.payload).ok().filter(|event| {
                !event.chaincode_id.is_empty() && !event.event_name.is_empty() && !event.tx_id.is_empty()
            }));
        }
    }
    Ok(events)
}

fn event_of(action: bytes::Bytes) -> Result<ChaincodeEvent, DecodeError> {
    let action = ChaincodeActionPayload::decode(action)?.action.unwrap_or_default();
    let response = ProposalResponsePayload::decode(action.proposal_response_payload)?;
    ChaincodeEvent::decode(ChaincodeAction::decode(response.extension)?.events)
}
