//! The Gateway service of one peer, as applications use it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fabric_proto::common::Envelope;
use fabric_proto::gateway::{
    ChaincodeEventsRequest, ChaincodeEventsResponse, CommitStatusRequest, EndorseRequest, EvaluateRequest,
    SignedChaincodeEventsRequest, SignedCommitStatusRequest, SubmitRequest, gateway_client,
};
use fabric_proto::protos::TxValidationCode;
use prost::Message;
use tonic::transport::Channel;

use crate::envelope::Seek;
use crate::proposal::{Call, SignedCall, result_of};
use crate::transport::MAX_MESSAGE_BYTES;
use crate::{ClientError, Signer};

/// How long each call may take; the defaults are those of upstream's client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// Evaluate.
    pub evaluate: Duration,
    /// Endorse.
    pub endorse: Duration,
    /// Submit.
    pub submit: Duration,
    /// Commit status.
    pub commit_status: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            evaluate: Duration::from_secs(30),
            endorse: Duration::from_secs(30),
            submit: Duration::from_secs(30),
            commit_status: Duration::from_mins(2),
        }
    }
}

/// A client of one peer's gateway; clones share the connection and the key.
#[derive(Clone)]
pub struct GatewayClient {
    service: gateway_client::GatewayClient<Channel>,
    signer: Arc<dyn Signer>,
    deadlines: Deadlines,
}

/// An endorsed transaction that waits to be submitted.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    /// Channel name.
    pub channel: String,
    /// Transaction id.
    pub transaction_id: String,
    /// The signed envelope.
    pub envelope: Envelope,
    /// What the chaincode returned.
    pub payload: Bytes,
}

/// The verdict on a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitStatus {
    /// Validation code.
    pub code: TxValidationCode,
    /// The block that holds it.
    pub block_number: u64,
}

/// A committed transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// Transaction id.
    pub transaction_id: String,
    /// What the chaincode returned.
    pub payload: Bytes,
    /// Where it was committed.
    pub status: CommitStatus,
}

/// Where a chaincode event stream begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum EventsFrom {
    /// With the next block.
    #[default]
    NextBlock,
    /// With this block.
    Block(u64),
    /// In this block, after the named transaction.
    After(u64, String),
}

impl std::fmt::Debug for GatewayClient {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("GatewayClient").field("deadlines", &self.deadlines).finish_non_exhaustive()
    }
}

impl GatewayClient {
    /// A client over an open connection.
    pub fn new(channel: Channel, signer: Arc<dyn Signer>) -> Self {
        let service = gateway_client::GatewayClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Self { service, signer, deadlines: Deadlines::default() }
    }

    /// Changes the deadlines.
    #[must_use]
    pub fn with_deadlines(mut self, deadlines: Deadlines) -> Self {
        self.deadlines = deadlines;
        self
    }

    /// Runs a function without recording anything and returns its payload.
    pub async fn evaluate(&self, call: &Call) -> Result<Bytes, ClientError> {
        let signed = call.sign(&*self.signer);
        let request = EvaluateRequest {
            transaction_id: signed.transaction_id,
            channel_id: call.channel.clone(),
            proposed_transaction: Some(signed.signed),
            target_organizations: call.endorsing_organizations.clone(),
        };
        let answer = self
            .service
            .clone()
            .evaluate(timed(request, self.deadlines.evaluate))
            .await
            .map_err(|status| ClientError::refused("Evaluate", status))?;
        Ok(answer.into_inner().result.unwrap_or_default().payload)
    }

    /// Collects endorsements and signs the transaction.
    pub async fn endorse(&self, call: &Call) -> Result<Prepared, ClientError> {
        let signed = call.sign(&*self.signer);
        self.endorse_signed(call, signed).await
    }

    async fn endorse_signed(&self, call: &Call, signed: SignedCall) -> Result<Prepared, ClientError> {
        let request = EndorseRequest {
            transaction_id: signed.transaction_id.clone(),
            channel_id: call.channel.clone(),
            proposed_transaction: Some(signed.signed),
            endorsing_organizations: call.endorsing_organizations.clone(),
        };
        let answer = self
            .service
            .clone()
            .endorse(timed(request, self.deadlines.endorse))
            .await
            .map_err(|status| ClientError::refused("Endorse", status))?
            .into_inner();
        let mut envelope = answer.prepared_transaction.unwrap_or_default();
        let payload = result_of(&envelope)
            .map_err(|error| ClientError::BadAnswer {
                what: "the prepared transaction",
                address: "the gateway".into(),
                reason: error.to_string(),
            })?
            .payload;
        envelope.signature = self.signer.sign(&envelope.payload).into();
        Ok(Prepared { channel: call.channel.clone(), transaction_id: signed.transaction_id, envelope, payload })
    }

    /// Hands a prepared transaction to the orderers; returns once one of them has taken it.
    pub async fn submit(&self, prepared: &Prepared) -> Result<(), ClientError> {
        let request = SubmitRequest {
            transaction_id: prepared.transaction_id.clone(),
            channel_id: prepared.channel.clone(),
            prepared_transaction: Some(prepared.envelope.clone()),
        };
        self.service
            .clone()
            .submit(timed(request, self.deadlines.submit))
            .await
            .map_err(|status| ClientError::refused("Submit", status))?;
        Ok(())
    }

    /// Waits for the verdict on a transaction.
    pub async fn commit_status(&self, channel: &str, transaction_id: &str) -> Result<CommitStatus, ClientError> {
        let request = CommitStatusRequest {
            transaction_id: transaction_id.to_owned(),
            channel_id: channel.to_owned(),
            identity: self.signer.serialized(),
        };
        let request = Bytes::from(request.encode_to_vec());
        let signature = self.signer.sign(&request).into();
        let answer = self
            .service
            .clone()
            .commit_status(timed(SignedCommitStatusRequest { request, signature }, self.deadlines.commit_status))
            .await
            .map_err(|status| ClientError::refused("CommitStatus", status))?
            .into_inner();
        let code = TxValidationCode::try_from(answer.result).unwrap_or(TxValidationCode::InvalidOtherReason);
        Ok(CommitStatus { code, block_number: answer.block_number })
    }

    /// Endorses, submits and waits; an invalid transaction is an error.
    pub async fn submit_and_wait(&self, call: &Call) -> Result<Submitted, ClientError> {
        let prepared = self.endorse(call).await?;
        self.submit(&prepared).await?;
        let status = self.commit_status(&prepared.channel, &prepared.transaction_id).await?;
        if status.code != TxValidationCode::Valid {
            return Err(ClientError::Invalid {
                transaction_id: prepared.transaction_id,
                code: status.code,
                block_number: status.block_number,
            });
        }
        Ok(Submitted { transaction_id: prepared.transaction_id, payload: prepared.payload, status })
    }

    /// A stream of blocks' chaincode events (only blocks that have some).
    pub async fn chaincode_events(
        &self,
        channel: &str,
        chaincode: &str,
        from: EventsFrom,
    ) -> Result<tonic::Streaming<ChaincodeEventsResponse>, ClientError> {
        let (start_position, after_transaction_id) = match from {
            EventsFrom::NextBlock => (
                Some(fabric_proto::orderer::SeekPosition {
                    r#type: Some(fabric_proto::orderer::seek_position::Type::NextCommit(
                        fabric_proto::orderer::SeekNextCommit {},
                    )),
                }),
                String::new(),
            ),
            EventsFrom::Block(number) => (Some(Seek::Number(number).position()), String::new()),
            EventsFrom::After(number, transaction) => (Some(Seek::Number(number).position()), transaction),
        };
        let request = ChaincodeEventsRequest {
            channel_id: channel.to_owned(),
            chaincode_id: chaincode.to_owned(),
            identity: self.signer.serialized(),
            start_position,
            after_transaction_id,
        };
        let request = Bytes::from(request.encode_to_vec());
        let signature = self.signer.sign(&request).into();
        let stream = self
            .service
            .clone()
            .chaincode_events(SignedChaincodeEventsRequest { request, signature })
            .await
            .map_err(|status| ClientError::refused("ChaincodeEvents", status))?;
        Ok(stream.into_inner())
    }
}

fn timed<T>(message: T, deadline: Duration) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(deadline);
    request
}
