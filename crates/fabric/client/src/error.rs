//! What can go wrong when talking to a node.

use fabric_proto::gateway::ErrorDetail;
use fabric_proto::protos::TxValidationCode;
use prost::Message;

/// What one peer or orderer answered behind a gateway error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerDetail {
    /// The node's endpoint.
    pub address: String,
    /// The node's organisation.
    pub msp_id: String,
    /// What the node said.
    pub message: String,
}

/// A failed call, in words that name the node, transaction or field at fault.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection.
    #[error("cannot connect to {address}: {reason}")]
    Connect {
        /// The endpoint that was dialled.
        address: String,
        /// Why it failed.
        reason: String,
    },
    /// The node refused the call with a gRPC status.
    #[error("{operation} refused: {} ({}){}", .status.message(), konsort_node::code_name(.status.code()), list(.details))]
    Refused {
        /// The remote procedure.
        operation: &'static str,
        /// The status as received.
        status: Box<tonic::Status>,
        /// Per-node details of a gateway error.
        details: Vec<PeerDetail>,
    },
    /// The chaincode or the endorser answered with an error status inside a normal response.
    #[error("endorsement failed with status {status}: {message}")]
    Endorsement {
        /// Response status, 400 and above.
        status: i32,
        /// Response message.
        message: String,
    },
    /// Endorsers disagree.
    #[error("{0}")]
    Mismatch(String),
    /// The transaction was ordered but found invalid.
    #[error("transaction {transaction_id} is invalid: {} in block {block_number}", .code.as_str_name())]
    Invalid {
        /// Its id.
        transaction_id: String,
        /// The verdict.
        code: TxValidationCode,
        /// Where it stands.
        block_number: u64,
    },
    /// The orderer refused an envelope.
    #[error("orderer {address} refused the envelope: {status} -- {info}")]
    Broadcast {
        /// The orderer.
        address: String,
        /// Its status name, for example `BAD_REQUEST`.
        status: String,
        /// Its explanation.
        info: String,
    },
    /// An answer that does not decode or lacks a part.
    #[error("{what} from {address} cannot be used: {reason}")]
    BadAnswer {
        /// Which message.
        what: &'static str,
        /// Who sent it.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Something the caller gave cannot be used.
    #[error("{0}")]
    Input(String),
    /// Nothing arrived in time.
    #[error("timed out after {seconds} s waiting for {what}")]
    Timeout {
        /// What was awaited.
        what: String,
        /// How long.
        seconds: u64,
    },
}

fn list(details: &[PeerDetail]) -> String {
    use std::fmt::Write as _;
    details.iter().fold(String::new(), |mut text, detail| {
        let _ = write!(text, "; {} ({}): {}", detail.address, detail.msp_id, detail.message);
        text
    })
}

/// `google.rpc.Status` and `google.protobuf.Any`, as far as the details header needs them.
#[derive(Clone, PartialEq, prost::Message)]
struct RichStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

const ERROR_DETAIL: &str = "type.googleapis.com/gateway.ErrorDetail";

impl ClientError {
    /// Wraps a gRPC status and unpacks the gateway's details.
    pub(crate) fn refused(operation: &'static str, status: tonic::Status) -> Self {
        let details = RichStatus::decode(status.details())
            .map(|rich| rich.details)
            .unwrap_or_default()
            .into_iter()
            .filter(|any| any.type_url == ERROR_DETAIL)
            .filter_map(|any| ErrorDetail::decode(any.value.as_slice()).ok())
            .map(|detail| PeerDetail { address: detail.address, msp_id: detail.msp_id, message: detail.message })
            .collect();
        Self::Refused { operation, status: Box::new(status), details }
    }

    /// The gRPC code, when the failure was a gRPC status.
    pub fn code(&self) -> Option<tonic::Code> {
        match self {
            Self::Refused { status, .. } => Some(status.code()),
            _ => None,
        }
    }

    /// Whether there was no connection, or it broke: the node itself has said nothing.
    pub fn is_transport(&self) -> bool {
        match self {
            Self::Connect { .. } => true,
            // A status that a node sent has no cause on this side.
            Self::Refused { status, .. } => std::error::Error::source(&**status).is_some(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_of_a_gateway_error_are_unpacked_and_printed() {
        let detail = ErrorDetail { address: "peer0:7051".into(), msp_id: "Org1MSP".into(), message: "no".into() };
        let rich = RichStatus {
            code: 10,
            message: "failed".into(),
            details: vec![prost_types::Any { type_url: ERROR_DETAIL.into(), value: detail.encode_to_vec() }],
        };
        let status = tonic::Status::with_details(tonic::Code::Aborted, "failed", rich.encode_to_vec().into());
        let error = ClientError::refused("Endorse", status);
        assert_eq!(error.to_string(), "Endorse refused: failed (Aborted); peer0:7051 (Org1MSP): no");
        assert_eq!(error.code(), Some(tonic::Code::Aborted));
        assert!(!error.is_transport());
        let broken = tonic::Status::from_error(Box::new(std::io::Error::from(std::io::ErrorKind::BrokenPipe)));
        assert!(ClientError::refused("Endorse", broken).is_transport());
    }
}
