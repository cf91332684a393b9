//! Errors as clients read them: a gRPC status with one detail per node that failed.

use fabric_proto::gateway::ErrorDetail;
use fabric_proto::protos::ProposalResponse;
use prost::Message as _;
use tonic::{Code, Status};

use super::peers::Node;

/// `google.rpc.Status`, the form in which details travel.
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

/// A status with details.
pub(super) fn with_details(code: Code, message: impl Into<String>, details: &[ErrorDetail]) -> Status {
    let message = message.into();
    if details.is_empty() {
        return Status::new(code, message);
    }
    let details = details
        .iter()
        .map(|detail| prost_types::Any {
            type_url: "type.googleapis.com/gateway.ErrorDetail".to_owned(),
            value: detail.encode_to_vec(),
        })
        .collect();
    let status = RpcStatus { code: code as i32, message: message.clone(), details };
    Status::with_details(code, message, status.encode_to_vec().into())
}

/// What went wrong at one node.
pub(super) fn detail(node: &Node, message: impl Into<String>) -> ErrorDetail {
    ErrorDetail { address: node.label.clone(), msp_id: node.mspid.clone(), message: message.into() }
}

/// A failed proposal and what to do about it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// The code for the client.
    pub(super) code: Code,
    /// The text for the client.
    pub(super) message: String,
    /// Another peer may do better.
    pub(super) retry: bool,
    /// The connection should be made anew.
    pub(super) remove: bool,
}

/// The end of upstream's text for a chaincode that went away during a transaction.
const STREAM_TERMINATED: &str = "chaincode stream terminated";

/// Judges an endorser's answer. `local` endorsers refuse proposals for the caller's fault; from others an error without an answer
/// means that the peer is not there.
pub(super) fn judge(local: bool, result: Result<ProposalResponse, Status>) -> Result<ProposalResponse, Failure> {
    let response = match result {
        Ok(response) => response,
        Err(status) if local => {
            let message = status.message().to_owned();
            return Err(Failure { code: Code::FailedPrecondition, message, retry: false, remove: false });
        }
        Err(status) => {
            return Err(Failure { code: Code::Unavailable, message: go_text(&status), retry: true, remove: true });
        }
    };
    let (status, message) =
        response.response.as_ref().map_or((0, ""), |answer| (answer.status, answer.message.as_str()));
    if (200..400).contains(&status) {
        return Ok(response);
    }
    if response.payload.is_empty() && status == 500 {
        // Without a payload the failure is the peer's, not the chaincode's.
        let remove = message.ends_with(STREAM_TERMINATED);
        return Err(Failure { code: Code::Aborted, message: message.to_owned(), retry: true, remove });
    }
    let message = format!("chaincode response {status}, {message}");
    Err(Failure { code: Code::Unknown, message, retry: false, remove: false })
}

/// A status as Go prints it.
pub(super) fn go_text(status: &Status) -> String {
    let code = konsort_node::code_name(status.code());
    format!("rpc error: code = {code} desc = {}", crate::blocks::status_text(status))
}

#[cfg(test)]
mod tests {
    use fabric_proto::protos::Response;

    use super::*;

    fn answer(status: i32, message: &str, payload: &'static [u8]) -> ProposalResponse {
        ProposalResponse {
            response: Some(Response { status, message: message.into(), payload: bytes::Bytes::new() }),
            payload: bytes::Bytes::from_static(payload),
            ..ProposalResponse::default()
        }
    }

    #[test]
    fn answers_are_judged_as_upstream_does() {
        assert!(judge(true, Ok(answer(200, "", b"p"))).is_ok());
        let by_chaincode = judge(true, Ok(answer(500, "no", b"p"))).unwrap_err();
        assert_eq!((by_chaincode.code, by_chaincode.retry), (Code::Unknown, false));
        assert_eq!(by_chaincode.message, "chaincode response 500, no");
        let by_peer = judge(true, Ok(answer(500, "error in simulation", b""))).unwrap_err();
        assert_eq!((by_peer.code, by_peer.retry, by_peer.remove), (Code::Aborted, true, false));
        let crashed = judge(false, Ok(answer(500, "x: chaincode stream terminated", b""))).unwrap_err();
        assert!(crashed.remove);
        let refused = judge(true, Err(Status::unknown("access denied"))).unwrap_err();
        assert_eq!((refused.code, refused.message.as_str()), (Code::FailedPrecondition, "access denied"));
        let gone = judge(false, Err(Status::unavailable("refused"))).unwrap_err();
        assert_eq!(gone.message, "rpc error: code = Unavailable desc = refused");
        assert_eq!((gone.code, gone.remove), (Code::Unavailable, true));
    }

    #[test]
    fn details_travel_in_the_standard_form() {
        let node = Node::own("peer0:7051".into(), "Org1MSP".into());
        let status = with_details(Code::Aborted, "failed", &[detail(&node, "why")]);
        let decoded = RpcStatus::decode(status.details()).unwrap();
        assert_eq!((decoded.code, decoded.message.as_str()), (10, "failed"));
        let detail = ErrorDetail::decode(decoded.details[0].value.as_slice()).unwrap();
        assert_eq!(
            (detail.address.as_str(), detail.msp_id.as_str(), detail.message.as_str()),
            ("peer0:7051", "Org1MSP", "why")
        );
    }
}
