//! Proposals that no endorser runs.

use std::collections::BTreeMap;

use bytes::Bytes;
use fabric_channel::protoutil;
use fabric_client::Call;
use fabric_client::proposal::SignedCall;
use fabric_proto::common::{ChannelHeader, Header, HeaderType, SignatureHeader};
use fabric_proto::protos::{
    ChaincodeHeaderExtension, ChaincodeId, ChaincodeInput, ChaincodeInvocationSpec, ChaincodeProposalPayload,
    ChaincodeSpec, Proposal, SignedProposal, endorser_client::EndorserClient,
};
use tonic::Code;

use super::identities::Cast;
use super::{GARBAGE, World};

fn bytes(message: &impl prost::Message) -> Bytes {
    message.encode_to_vec().into()
}

/// A proposal whose every level can be replaced before it is encoded and signed.
struct Parts {
    channel: ChannelHeader,
    signature: SignatureHeader,
    spec: ChaincodeInvocationSpec,
    /// Encoded parts that take the place of the right ones.
    instead: BTreeMap<&'static str, Bytes>,
}

impl Parts {
    fn new(world: &World) -> Self {
        let signature = protoutil::make_signature_header(world.user.serialized().clone());
        let id = ChaincodeId { name: "basic".into(), ..ChaincodeId::default() };
        let mut channel = protoutil::make_channel_header(HeaderType::EndorserTransaction, 0, world.channel(), 0);
        channel.tx_id = protoutil::tx_id(&signature.nonce, &signature.creator);
        channel.extension = bytes(&ChaincodeHeaderExtension { chaincode_id: Some(id.clone()) });
        let input = ChaincodeInput { args: vec!["get".into(), "k".into()], ..ChaincodeInput::default() };
        let spec = ChaincodeSpec { chaincode_id: Some(id), input: Some(input), ..ChaincodeSpec::default() };
        let spec = ChaincodeInvocationSpec { chaincode_spec: Some(spec) };
        Self { channel, signature, spec, instead: BTreeMap::new() }
    }

    fn part(&self, name: &'static str, right: impl FnOnce() -> Bytes) -> Bytes {
        self.instead.get(name).cloned().unwrap_or_else(right)
    }

    fn sign(&self, world: &World) -> SignedProposal {
        let header = Header {
            channel_header: self.part("channel header", || bytes(&self.channel)),
            signature_header: self.part("signature header", || bytes(&self.signature)),
        };
        let input = self.part("input", || bytes(&self.spec));
        let payload = ChaincodeProposalPayload { input, ..ChaincodeProposalPayload::default() };
        let proposal = Proposal {
            header: self.part("header", || bytes(&header)),
            payload: self.part("payload", || bytes(&payload)),
            ..Proposal::default()
        };
        let proposal_bytes = self.part("proposal", || bytes(&proposal));
        let signature = self.part("signature", || world.user.sign(&proposal_bytes).into());
        SignedProposal { proposal_bytes, signature }
    }
}

type Change = fn(&mut Parts);

/// What is done to a proposal, and what the endorser says to it.
const MALFORMED: &[(Change, &str)] = &[
    (|parts| drop(parts.instead.insert("proposal", GARBAGE)), "error unmarshalling Proposal: "),
    (|parts| drop(parts.instead.insert("header", GARBAGE)), "error unmarshalling Header: "),
    (|parts| drop(parts.instead.insert("channel header", GARBAGE)), "error unmarshalling ChannelHeader: "),
    (|parts| drop(parts.instead.insert("signature header", GARBAGE)), "error unmarshalling SignatureHeader: "),
    (|parts| parts.channel.extension = GARBAGE, "error unmarshalling ChaincodeHeaderExtension: "),
    (|parts| parts.channel.extension = Bytes::new(), "ChaincodeHeaderExtension.ChaincodeId is nil"),
    (
        |parts| {
            parts.channel.extension = bytes(&ChaincodeHeaderExtension { chaincode_id: Some(ChaincodeId::default()) });
        },
        "ChaincodeHeaderExtension.ChaincodeId.Name is empty",
    ),
    (|parts| drop(parts.instead.insert("payload", GARBAGE)), "error unmarshalling ChaincodeProposalPayload: "),
    (|parts| drop(parts.instead.insert("input", GARBAGE)), "error unmarshalling ChaincodeInvocationSpec: "),
    (|parts| parts.spec.chaincode_spec = None, "chaincode invocation spec did not contain chaincode spec"),
    (|parts| parts.spec.chaincode_spec.as_mut().unwrap().input = None, "chaincode input did not contain any input"),
    (|parts| parts.channel.r#type = 99, "error validating proposal: invalid header type "),
    (|parts| parts.channel.epoch = 1, "error validating proposal: epoch is non-zero"),
    (|parts| parts.signature.nonce = Bytes::new(), "error validating proposal: nonce is empty"),
    (|parts| parts.signature.creator = Bytes::new(), "error validating proposal: creator is empty"),
    (
        |parts| parts.channel.tx_id = "00".into(),
        "error validating proposal: incorrectly computed txid '00' -- expected '",
    ),
    (|parts| drop(parts.instead.insert("signature", Bytes::new())), "error validating proposal: empty signature bytes"),
    (
        |parts| drop(parts.instead.insert("signature", GARBAGE)),
        "error validating proposal: access denied: channel [mychannel] creator org [Org1MSP]",
    ),
    (
        |parts| {
            parts.signature.creator = GARBAGE;
            parts.channel.tx_id = protoutil::tx_id(&parts.signature.nonce, &GARBAGE);
        },
        "error validating proposal: access denied: channel [mychannel] creator org unknown, creator is malformed",
    ),
    (
        |parts| parts.channel.timestamp.as_mut().unwrap().seconds += 3600,
        "request unauthorized due to incorrect timestamp ",
    ),
    (|parts| parts.channel.timestamp = None, "request unauthorized due to incorrect timestamp 1970-01-01T00:00:00Z"),
    (
        |parts| parts.channel.timestamp.as_mut().unwrap().seconds = i64::MAX,
        "request unauthorized due to incorrect timestamp ",
    ),
];

/// Every level of a proposal broken in turn.
pub(crate) async fn malformed(world: &World) {
    let mut endorser = EndorserClient::new(world.dial_peer().await);
    let right = endorser.process_proposal(Parts::new(world).sign(world)).await.unwrap().into_inner();
    assert_ne!(right.response.unwrap().message, "", "the key is not there, which the contract says");
    for (change, expected) in MALFORMED {
        let mut parts = Parts::new(world);
        change(&mut parts);
        let status = endorser.process_proposal(parts.sign(world)).await.unwrap_err();
        assert_eq!(status.code(), Code::Unknown, "{expected}: {status:?}");
        assert!(status.message().starts_with(expected), "expected {expected:?}, got {:?}", status.message());
    }
    let empty = endorser.process_proposal(SignedProposal::default()).await.unwrap_err();
    assert_eq!((empty.code(), empty.message()), (Code::Unknown, "ChaincodeHeaderExtension.ChaincodeId is nil"));
}

/// People who may not propose, at the endorser and at the gateway.
pub(crate) async fn strangers(world: &World, cast: &Cast) {
    let unknown =
        "error validating proposal: access denied: channel [mychannel] creator org unknown, creator is malformed";
    for (who, expected) in [
        (&cast.imitator, unknown),
        (&cast.turncoat, unknown),
        (&cast.stranger, unknown),
        (&cast.expired, "proposal client identity expired"),
    ] {
        let client = world.client(who).await;
        let call = world.put("strangers");
        let error = client.propose(&call.sign(&**who)).await.unwrap_err();
        assert_eq!(error.code(), Some(Code::Unknown));
        assert!(error.to_string().contains(expected), "{error}");
        let gateway = fabric_client::GatewayClient::new(world.dial_peer().await, who.clone());
        let error = gateway.evaluate(&call).await.unwrap_err();
        assert_eq!(error.code(), Some(Code::FailedPrecondition), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
        let error = gateway.endorse(&call).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

fn at(world: &World, call: &Call, seconds: i64) -> SignedCall {
    let mut parts = Parts::new(world);
    parts.channel.timestamp.as_mut().unwrap().seconds += seconds;
    call.channel.clone_into(&mut parts.channel.channel_id);
    let signed = parts.sign(world);
    SignedCall { transaction_id: parts.channel.tx_id, proposal: Proposal::default(), signed }
}

/// Channels and chaincodes that are not there, and clocks that are wrong but tolerable.
pub(crate) async fn unknown_names_and_skewed_clocks(world: &World) {
    let client = world.client(&world.user).await;
    let answer = |call: Call| {
        let (client, user) = (client.clone(), world.user.clone());
        async move { client.propose(&call.sign(&*user)).await.unwrap().response.unwrap() }
    };
    let response = answer(Call::new("nochannel", "basic").args(["get", "k"])).await;
    assert_eq!((response.status, response.message.as_str()), (500, "channel 'nochannel' not found"));
    let response = answer(Call::new("mychannel", "nochaincode").args(["get", "k"])).await;
    assert_eq!(response.status, 500);
    assert_eq!(
        response.message,
        "make sure the chaincode nochaincode has been successfully defined on channel mychannel and try again: \
         chaincode nochaincode not found"
    );
    let response = answer(Call::new("", "basic").args(["get", "k"])).await;
    assert_eq!(response.status, 500);
    let gateway = world.gateway().await;
    for call in [Call::new("nochannel", "basic").args(["get"]), Call::new("mychannel", "nochaincode").args(["get"])] {
        let error = gateway.endorse(&call).await.unwrap_err();
        assert!(matches!(error.code(), Some(Code::FailedPrecondition | Code::Aborted | Code::Unavailable)), "{error}");
        assert!(
            error.to_string().contains(if call.channel == "nochannel" { "nochannel" } else { "nochaincode" }),
            "{error}"
        );
    }
    // The default window is 15 minutes either way.
    for seconds in [-880, 880] {
        client.propose(&at(world, &world.put("skew"), seconds)).await.unwrap();
    }
    for seconds in [-920, 920] {
        let error = client.propose(&at(world, &world.put("skew"), seconds)).await.unwrap_err();
        assert_eq!(error.code(), Some(Code::Unknown));
        assert!(error.to_string().contains("peer.authentication.timewindow 15m0s"), "{error}");
    }
}
