//! Proposals, endorsements and the transactions made of them.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fabric_proto::common::{ChannelHeader, Envelope, Header, HeaderType, Payload, SignatureHeader};
use fabric_proto::protos::{
    ChaincodeAction, ChaincodeActionPayload, ChaincodeEndorsedAction, ChaincodeHeaderExtension, ChaincodeId,
    ChaincodeInvocationSpec, ChaincodeProposalPayload, Endorsement, Proposal, ProposalResponse,
    ProposalResponsePayload, Response, SignedProposal, Transaction, TransactionAction,
};
use konsort_crypto::hash::sha256_parts;
use prost::Message as _;

use super::envelope::{decode, nonce, now, payload_header};
use super::{ProtoutilError, Signer};

/// The transaction id that belongs to a nonce and a creator: lower-case hex of SHA-256 over both.
pub fn tx_id(nonce: &[u8], creator: &[u8]) -> String {
    hex::encode(sha256_parts(&[nonce, creator]))
}

/// Refuses a transaction id that does not belong to the nonce and the creator.
pub fn check_tx_id(found: &str, nonce: &[u8], creator: &[u8]) -> Result<(), ProtoutilError> {
    let expected = tx_id(nonce, creator);
    if found == expected {
        return Ok(());
    }
    Err(ProtoutilError::TxId { found: found.to_owned(), expected })
}

/// The proposal payload as it goes into a transaction: without the transient map.
pub fn proposal_payload_for_tx(payload: &Bytes) -> Result<Bytes, ProtoutilError> {
    let decoded: ChaincodeProposalPayload = decode("ChaincodeProposalPayload", payload)?;
    let visible = ChaincodeProposalPayload { input: decoded.input, transient_map: BTreeMap::new() };
    Ok(visible.encode_to_vec().into())
}

/// The proposal hash from the bytes as they stand in a transaction (payload already without transient map).
pub fn proposal_hash_of_parts(channel_header: &[u8], signature_header: &[u8], visible_payload: &[u8]) -> [u8; 32] {
    sha256_parts(&[channel_header, signature_header, visible_payload])
}

/// The proposal hash from a proposal's own header and payload.
pub fn proposal_hash(header: &Header, payload: &Bytes) -> Result<[u8; 32], ProtoutilError> {
    let visible = proposal_payload_for_tx(payload)?;
    Ok(proposal_hash_of_parts(&header.channel_header, &header.signature_header, &visible))
}

/// What an endorsement's signature is over.
pub fn endorsement_signed_bytes(response_payload: &[u8], endorser: &[u8]) -> Vec<u8> {
    [response_payload, endorser].concat()
}

/// A proposal to run a chaincode, with its transaction id. Nonce and time are fresh.
pub fn chaincode_proposal(
    channel_id: &str,
    invocation: &ChaincodeInvocationSpec,
    creator: &Bytes,
    transient: BTreeMap<String, Bytes>,
) -> (Proposal, String) {
    chaincode_proposal_with(channel_id, invocation, creator, transient, nonce(), now())
}

/// As [`chaincode_proposal`], with the given nonce and time.
pub fn chaincode_proposal_with(
    channel_id: &str,
    invocation: &ChaincodeInvocationSpec,
    creator: &Bytes,
    transient: BTreeMap<String, Bytes>,
    nonce: Bytes,
    timestamp: prost_types::Timestamp,
) -> (Proposal, String) {
    let chaincode_id = invocation.chaincode_spec.as_ref().and_then(|spec| spec.chaincode_id.clone());
    let transaction = tx_id(&nonce, creator);
    let channel_header = ChannelHeader {
        r#type: HeaderType::EndorserTransaction as i32,
        timestamp: Some(timestamp),
        channel_id: channel_id.to_owned(),
        tx_id: transaction.clone(),
        extension: ChaincodeHeaderExtension { chaincode_id }.encode_to_vec().into(),
        ..ChannelHeader::default()
    };
    let header = payload_header(&channel_header, &SignatureHeader { creator: creator.clone(), nonce });
    let payload = ChaincodeProposalPayload { input: invocation.encode_to_vec().into(), transient_map: transient };
    let proposal = Proposal {
        header: header.encode_to_vec().into(),
        payload: payload.encode_to_vec().into(),
        extension: Bytes::new(),
    };
    (proposal, transaction)
}

/// The proposal with the signer's signature.
pub fn signed_proposal(proposal: &Proposal, signer: &dyn Signer) -> SignedProposal {
    let proposal_bytes: Bytes = proposal.encode_to_vec().into();
    let signature = signer.sign(&proposal_bytes).into();
    SignedProposal { proposal_bytes, signature }
}

/// The name of the chaincode that a proposal wants to run.
pub fn invoked_chaincode_name(proposal: &Proposal) -> Result<String, ProtoutilError> {
    let payload: ChaincodeProposalPayload = decode("chaincode proposal payload", &proposal.payload)?;
    let invocation: ChaincodeInvocationSpec = decode("chaincode invocation spec", &payload.input)?;
    let spec = invocation.chaincode_spec.ok_or(ProtoutilError::IncompleteProposal("chaincode spec is nil"))?;
    Ok(spec.chaincode_id.ok_or(ProtoutilError::IncompleteProposal("chaincode id is nil"))?.name)
}

/// The bytes that endorsers sign: the proposal hash and what the chaincode did.
pub fn proposal_response_payload(
    proposal_hash: &[u8; 32],
    response: Response,
    results: Bytes,
    events: Bytes,
    chaincode_id: ChaincodeId,
) -> Bytes {
    let action = ChaincodeAction { results, events, response: Some(response), chaincode_id: Some(chaincode_id) };
    let payload = ProposalResponsePayload {
        proposal_hash: Bytes::copy_from_slice(proposal_hash),
        extension: action.encode_to_vec().into(),
    };
    payload.encode_to_vec().into()
}

/// The endorsed answer to a proposal.
pub fn proposal_response(payload: Bytes, response: Response, endorser: &dyn Signer) -> ProposalResponse {
    let identity = endorser.serialized();
    let signature = endorser.sign(&endorsement_signed_bytes(&payload, &identity)).into();
    ProposalResponse {
        version: 1,
        timestamp: None,
        response: Some(response),
        payload,
        endorsement: Some(Endorsement { endorser: identity, signature }),
        interest: None,
    }
}

/// The payload of the transaction that carries a proposal and its endorsements, ready to be signed by the proposal's creator.
/// Endorsers that appear twice are taken once.
pub fn unsigned_transaction(proposal: &Proposal, responses: &[ProposalResponse]) -> Result<Payload, ProtoutilError> {
    let Some(first) = responses.first() else {
        return Err(ProtoutilError::IncompleteProposal("at least one proposal response is required"));
    };
    let header: Header = decode("Header", &proposal.header)?;
    let mut endorsements: Vec<Endorsement> = Vec::with_capacity(responses.len());
    for answer in responses {
        let response = answer.response.clone().unwrap_or_default();
        if !(200..400).contains(&response.status) {
            return Err(ProtoutilError::Unsuccessful { status: response.status, message: response.message });
        }
        if answer.payload != first.payload {
            return Err(ProtoutilError::Mismatch {
                other: STANDARD.encode(&answer.payload),
                first: STANDARD.encode(&first.payload),
            });
        }
        if let Some(endorsement) = &answer.endorsement
            && !endorsements.iter().any(|used| used.endorser == endorsement.endorser)
        {
            endorsements.push(endorsement.clone());
        }
    }
    if endorsements.is_empty() {
        return Err(ProtoutilError::IncompleteProposal("no endorsements"));
    }
    let action = ChaincodeActionPayload {
        chaincode_proposal_payload: proposal_payload_for_tx(&proposal.payload)?,
        action: Some(ChaincodeEndorsedAction { proposal_response_payload: first.payload.clone(), endorsements }),
    };
    let transaction = Transaction {
        actions: vec![TransactionAction {
            header: header.signature_header.clone(),
            payload: action.encode_to_vec().into(),
        }],
    };
    Ok(Payload { header: Some(header), data: transaction.encode_to_vec().into() })
}

/// The signed transaction of a proposal and its endorsements. The signer must be the proposal's creator.
pub fn signed_transaction(
    proposal: &Proposal,
    responses: &[ProposalResponse],
    signer: &dyn Signer,
) -> Result<Envelope, ProtoutilError> {
    let header: Header = decode("Header", &proposal.header)?;
    let creator: SignatureHeader = decode("SignatureHeader", &header.signature_header)?;
    if creator.creator != signer.serialized() {
        return Err(ProtoutilError::IncompleteProposal("signer must be the same as the one referenced in the header"));
    }
    let payload: Bytes = unsigned_transaction(proposal, responses)?.encode_to_vec().into();
    let signature = signer.sign(&payload).into();
    Ok(Envelope { payload, signature })
}
