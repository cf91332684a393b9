//! Chaincode calls: proposal, signed proposal, and the transaction made of endorsements.

use std::collections::BTreeMap;

use bytes::Bytes;
use fabric_channel::protoutil;
use fabric_proto::common::{Envelope, Payload};
use fabric_proto::protos::{
    ChaincodeActionPayload, ChaincodeId, ChaincodeInput, ChaincodeInvocationSpec, ChaincodeSpec, Proposal,
    ProposalResponse, SignedProposal, Transaction, chaincode_spec,
};
use prost::Message;

use crate::{ClientError, Signer};

/// A call of a chaincode function on a channel.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Call {
    /// Channel name; empty for calls of the peer itself (install, join).
    pub channel: String,
    /// Chaincode name.
    pub chaincode: String,
    /// Function name and arguments.
    pub args: Vec<Bytes>,
    /// Data for the endorsers that is left out of the transaction.
    pub transient: BTreeMap<String, Bytes>,
    /// Only these organisations are asked (gateway calls); empty: whatever the policy needs.
    pub endorsing_organizations: Vec<String>,
    /// The call that initialises a chaincode whose definition requires it.
    pub is_init: bool,
}

impl Call {
    /// A call without arguments.
    pub fn new(channel: impl Into<String>, chaincode: impl Into<String>) -> Self {
        Self { channel: channel.into(), chaincode: chaincode.into(), ..Self::default() }
    }

    /// Adds arguments; the first of all is the function name.
    #[must_use]
    pub fn args<A: AsRef<[u8]>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(|arg| Bytes::copy_from_slice(arg.as_ref())));
        self
    }

    /// Adds an entry to the transient map.
    #[must_use]
    pub fn transient(mut self, key: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.transient.insert(key.into(), value.into());
        self
    }

    /// Names the organisations that must endorse.
    #[must_use]
    pub fn endorsed_by<S: Into<String>>(mut self, organizations: impl IntoIterator<Item = S>) -> Self {
        self.endorsing_organizations.extend(organizations.into_iter().map(Into::into));
        self
    }

    /// Marks the call as the initialising one.
    #[must_use]
    pub fn init(mut self) -> Self {
        self.is_init = true;
        self
    }

    /// Builds and signs the proposal.
    pub fn sign(&self, signer: &dyn Signer) -> SignedCall {
        let invocation = ChaincodeInvocationSpec {
            chaincode_spec: Some(ChaincodeSpec {
                // Clients name a type although nothing reads it; upstream's command line sends Go here.
                r#type: chaincode_spec::Type::Golang as i32,
                chaincode_id: Some(ChaincodeId { name: self.chaincode.clone(), ..ChaincodeId::default() }),
                input: Some(ChaincodeInput {
                    args: self.args.clone(),
                    decorations: BTreeMap::new(),
                    is_init: self.is_init,
                }),
                timeout: 0,
            }),
        };
        let (proposal, transaction_id) =
            protoutil::chaincode_proposal(&self.channel, &invocation, &signer.serialized(), self.transient.clone());
        let signed = protoutil::signed_proposal(&proposal, signer);
        SignedCall { transaction_id, proposal, signed }
    }
}

/// A signed proposal with the parts a transaction is made of later.
#[derive(Debug, Clone, PartialEq)]
pub struct SignedCall {
    /// Its transaction id.
    pub transaction_id: String,
    /// What was proposed.
    pub proposal: Proposal,
    /// Ready to send.
    pub signed: SignedProposal,
}

impl SignedCall {
    /// The transaction of equal endorsements, signed. Texts are upstream's.
    pub fn transaction(&self, signer: &dyn Signer, responses: &[ProposalResponse]) -> Result<Envelope, ClientError> {
        protoutil::signed_transaction(&self.proposal, responses, signer)
            .map_err(|error| ClientError::Mismatch(error.to_string()))
    }
}

/// Reads the chaincode's answer out of a prepared transaction.
pub fn result_of(envelope: &Envelope) -> Result<fabric_proto::protos::Response, prost::DecodeError> {
    use fabric_proto::protos::{ChaincodeAction, ProposalResponsePayload};
    let payload = Payload::decode(envelope.payload.clone())?;
    let transaction = Transaction::decode(payload.data)?;
    let Some(first) = transaction.actions.into_iter().next() else {
        return Ok(fabric_proto::protos::Response::default());
    };
    let action = ChaincodeActionPayload::decode(first.payload)?;
    let response_payload = action.action.unwrap_or_default().proposal_response_payload;
    let extension = ProposalResponsePayload::decode(response_payload)?.extension;
    Ok(ChaincodeAction::decode(extension)?.response.unwrap_or_default())
}
