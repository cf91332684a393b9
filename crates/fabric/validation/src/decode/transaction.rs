//! One envelope: the original's checks of form, in the original's order.

use bytes::Bytes;
use fabric_channel::protoutil;
use fabric_proto::common::{ChannelHeader, Envelope, Header, HeaderType, Payload, SignatureHeader};
use fabric_proto::protos::{
    ChaincodeAction, ChaincodeActionPayload, ChaincodeEndorsedAction, ChaincodeEvent, ChaincodeHeaderExtension,
    ProposalResponsePayload, Transaction, TxValidationCode as Code,
};

use super::{CreatorSignature, DecodedTx, EndorserTx, TxBody};
use fabric_ledger::tolerant::{decode, decode_rwset};

/// Takes one envelope of a block apart.
pub fn decode_transaction(envelope: &Bytes) -> DecodedTx {
    let mut tx = DecodedTx {
        envelope: envelope.clone(),
        txid: String::new(),
        channel_id: String::new(),
        header_type: -1,
        code: Code::NotValidated,
        body: TxBody::None,
        computed_txid: None,
        creator: None,
        after_signature: None,
        after_duplicate: None,
    };
    if let Err(code) = read(&mut tx) {
        tx.code = code;
    }
    tx
}

/// Everything up to the creator's signature decides at once; what comes later is kept for its turn.
fn read(tx: &mut DecodedTx) -> Result<(), Code> {
    let envelope: Envelope = decode("common.Envelope", &tx.envelope).map_err(|_| Code::InvalidOtherReason)?;
    let payload: Payload = decode("common.Payload", &envelope.payload).map_err(|_| Code::BadPayload)?;
    let header = payload.header.ok_or(Code::BadCommonHeader)?;
    let channel: ChannelHeader =
        decode("common.ChannelHeader", &header.channel_header).map_err(|_| Code::BadCommonHeader)?;
    tx.txid.clone_from(&channel.tx_id);
    tx.channel_id.clone_from(&channel.channel_id);
    tx.header_type = channel.r#type;
    let signer: SignatureHeader =
        decode("common.SignatureHeader", &header.signature_header).map_err(|_| Code::BadCommonHeader)?;
    if channel.tx_id.is_empty() {
        tx.computed_txid = Some(protoutil::tx_id(&signer.nonce, &signer.creator));
    }
    let known_type = matches!(
        HeaderType::try_from(channel.r#type),
        Ok(HeaderType::EndorserTransaction | HeaderType::ConfigUpdate | HeaderType::Config)
    );
    if !known_type || channel.epoch != 0 || !names_signer(&signer) {
        return Err(Code::BadCommonHeader);
    }
    if channel.r#type == HeaderType::EndorserTransaction as i32 {
        if let Err(code) = read_endorser(tx, &header, &channel, &signer, &payload.data) {
            tx.after_signature = Some(code);
        }
    } else if channel.r#type == HeaderType::Config as i32 {
        if payload.data.is_empty() {
            tx.after_signature = Some(Code::InvalidConfigTransaction);
        } else {
            tx.body = TxBody::Config(payload.data);
        }
    } else {
        tx.after_signature = Some(Code::UnsupportedTxPayload);
    }
    tx.creator =
        Some(CreatorSignature { identity: signer.creator, payload: envelope.payload, signature: envelope.signature });
    Ok(())
}

fn names_signer(header: &SignatureHeader) -> bool {
    !header.nonce.is_empty() && !header.creator.is_empty()
}

/// The form of a chaincode transaction: one action, whose proposal hash is that of the proposal.
fn read_endorser(
    tx: &mut DecodedTx,
    header: &Header,
    channel: &ChannelHeader,
    signer: &SignatureHeader,
    data: &Bytes,
) -> Result<(), Code> {
    if protoutil::check_tx_id(&channel.tx_id, &signer.nonce, &signer.creator).is_err() {
        return Err(Code::BadProposalTxid);
    }
    let invalid = |_| Code::InvalidEndorserTransaction;
    let transaction: Transaction = decode("protos.Transaction", data).map_err(invalid)?;
    let [action] = transaction.actions.as_slice() else { return Err(Code::InvalidEndorserTransaction) };
    let action_signer: SignatureHeader = decode("common.SignatureHeader", &action.header).map_err(invalid)?;
    let payload: ChaincodeActionPayload = decode("protos.ChaincodeActionPayload", &action.payload).map_err(invalid)?;
    // The original stops with a nil pointer when there is no endorsed action; the form is wrong, so say that.
    let endorsed = payload.action.ok_or(Code::InvalidEndorserTransaction)?;
    let response: ProposalResponsePayload =
        decode("protos.ProposalResponsePayload", &endorsed.proposal_response_payload).map_err(invalid)?;
    let proposal = &payload.chaincode_proposal_payload;
    let complete = names_signer(&action_signer) && !header.channel_header.is_empty() && !proposal.is_empty();
    if !complete
        || response.proposal_hash
            != protoutil::proposal_hash_of_parts(&header.channel_header, &action.header, proposal)[..]
    {
        return Err(Code::InvalidEndorserTransaction);
    }
    match read_action(channel, &response, endorsed) {
        Ok(endorser) => tx.body = TxBody::Endorser(Box::new(endorser)),
        Err(code) => tx.after_duplicate = Some(code),
    }
    Ok(())
}

/// What the endorsers signed: names, event and read-write set.
fn read_action(
    channel: &ChannelHeader,
    response: &ProposalResponsePayload,
    endorsed: ChaincodeEndorsedAction,
) -> Result<EndorserTx, Code> {
    let extension: ChaincodeHeaderExtension =
        decode("protos.ChaincodeHeaderExtension", &channel.extension).map_err(|_| Code::BadHeaderExtension)?;
    if endorsed.proposal_response_payload.is_empty() || response.extension.is_empty() {
        return Err(Code::BadResponsePayload);
    }
    let action: ChaincodeAction =
        decode("protos.ChaincodeAction", &response.extension).map_err(|_| Code::BadResponsePayload)?;
    let rwset = decode_rwset(&action.results).ok_or(Code::BadRwset)?;
    let invoked = extension.chaincode_id.ok_or(Code::InvalidOtherReason)?;
    let executed = action.chaincode_id.ok_or(Code::InvalidOtherReason)?;
    if invoked.name.is_empty() || invoked.name != executed.name || executed.version.is_empty() {
        return Err(Code::InvalidChaincode);
    }
    let event = if action.events.is_empty() {
        None
    } else {
        let event: ChaincodeEvent =
            decode("protos.ChaincodeEvent", &action.events).map_err(|_| Code::InvalidOtherReason)?;
        if event.chaincode_id != invoked.name {
            return Err(Code::InvalidOtherReason);
        }
        Some(event)
    };
    let mut names: Vec<&str> = rwset.namespaces.iter().map(|ns| ns.namespace.as_str()).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Code::IllegalWriteset);
    }
    Ok(EndorserTx {
        chaincode: invoked.name,
        version: executed.version,
        rwset,
        event,
        response_payload: endorsed.proposal_response_payload,
        endorsements: endorsed.endorsements,
        endorsers: Vec::new(),
    })
}
