//! Deliver requests that are not served, and messages that are none.

use bytes::Bytes;
use fabric_channel::protoutil;
use fabric_proto::common::{Envelope, Header, HeaderType, Payload, Status};
use fabric_proto::orderer::atomic_broadcast_client::AtomicBroadcastClient;
use fabric_proto::orderer::seek_info::SeekBehavior;
use fabric_proto::orderer::{self, BroadcastResponse, SeekInfo};
use fabric_proto::protos::{self, ProposalResponse, deliver_client::DeliverClient};
use prost::Message as _;
use tonic::Code;

use super::identities::Cast;
use super::{GARBAGE, World};

fn seek(world: &World, channel: &str, data: Bytes) -> Envelope {
    protoutil::signed_envelope(HeaderType::DeliverSeekInfo, channel, Some(&*world.user), data, None)
}

fn raw(world: &World, header: Option<Header>) -> Envelope {
    let payload = Bytes::from(Payload { header, data: Bytes::new() }.encode_to_vec());
    Envelope { signature: world.user.sign(&payload).into(), payload }
}

fn header(world: &World, seconds: Option<i64>) -> Header {
    let mut channel = protoutil::make_channel_header(HeaderType::DeliverSeekInfo, 0, world.channel(), 0);
    channel.timestamp = seconds.map(|seconds| prost_types::Timestamp { seconds, nanos: 0 });
    protoutil::payload_header(&channel, &protoutil::make_signature_header(world.user.serialized().clone()))
}

/// Every deliver request that ends in a status, at both kinds of node.
pub(crate) async fn peer_and_orderer(world: &World, cast: &Cast) {
    let from =
        |start, stop| SeekInfo { start, stop, behavior: SeekBehavior::FailIfNotReady as i32, ..SeekInfo::default() };
    let whole = from(Some(protoutil::seek_oldest()), Some(protoutil::seek_oldest()));
    let data = |info: &SeekInfo| Bytes::from(info.encode_to_vec());
    let now = protoutil::now().seconds;
    let mut forged = seek(world, world.channel(), data(&whole));
    forged.signature = seek(world, world.channel(), GARBAGE).signature;
    let mut cases = vec![
        ("an empty envelope", Envelope::default(), Status::BadRequest),
        ("a garbage payload", Envelope { payload: GARBAGE, signature: Bytes::new() }, Status::BadRequest),
        ("no header", raw(world, None), Status::BadRequest),
        (
            "a garbage header",
            raw(world, Some(Header { channel_header: GARBAGE, ..Header::default() })),
            Status::BadRequest,
        ),
        ("no time", raw(world, Some(header(world, None))), Status::BadRequest),
        ("yesterday", raw(world, Some(header(world, Some(now - 86_400)))), Status::BadRequest),
        ("tomorrow", raw(world, Some(header(world, Some(now + 86_400)))), Status::BadRequest),
        ("the end of time", raw(world, Some(header(world, Some(i64::MAX)))), Status::BadRequest),
        ("garbage to seek", seek(world, world.channel(), GARBAGE), Status::BadRequest),
        ("no positions", seek(world, world.channel(), Bytes::new()), Status::BadRequest),
        (
            "start after stop",
            seek(
                world,
                world.channel(),
                data(&from(Some(protoutil::seek_specified(2)), Some(protoutil::seek_specified(1)))),
            ),
            Status::BadRequest,
        ),
        (
            "a block of the future",
            seek(
                world,
                world.channel(),
                data(&from(Some(protoutil::seek_specified(1 << 40)), Some(protoutil::seek_specified(1 << 40)))),
            ),
            Status::NotFound,
        ),
        ("an unknown channel", seek(world, "nochannel", data(&whole)), Status::NotFound),
        ("a forged signature", forged, Status::Forbidden),
        ("the first block", seek(world, world.channel(), data(&whole)), Status::Success),
    ];
    for who in [&cast.imitator, &cast.turncoat, &cast.stranger, &cast.expired] {
        let request = protoutil::seek_envelope(world.channel(), Some(&**who), &whole, None);
        cases.push(("somebody who may not read", request, Status::Forbidden));
    }
    let (peer, orderer) = (world.dial_peer().await, world.dial_orderer().await);
    for (name, request, expected) in cases {
        let answers = DeliverClient::new(peer.clone()).deliver(futures::stream::iter([request.clone()])).await;
        let mut answers = answers.unwrap().into_inner();
        let mut last = None;
        while let Some(answer) = answers.message().await.unwrap() {
            last = answer.r#type;
        }
        let expect = protos::deliver_response::Type::Status(expected as i32);
        assert_eq!(last, Some(expect), "{name} at the peer");

        let answers = AtomicBroadcastClient::new(orderer.clone()).deliver(futures::stream::iter([request])).await;
        let mut answers = answers.unwrap().into_inner();
        let mut last = None;
        while let Some(answer) = answers.message().await.unwrap() {
            last = answer.r#type;
        }
        let expect = orderer::deliver_response::Type::Status(expected as i32);
        assert_eq!(last, Some(expect), "{name} at the orderer");
    }
}

/// A message with a number where every service expects bytes.
#[derive(Clone, PartialEq, prost::Message)]
struct Alien {
    #[prost(fixed64, tag = "1")]
    number: u64,
}

/// A message of any size.
#[derive(Clone, PartialEq, prost::Message)]
struct Blob {
    #[prost(bytes = "bytes", tag = "1")]
    bytes: Bytes,
}

async fn unary<Q: prost::Message + 'static>(
    channel: &tonic::transport::Channel,
    message: Q,
    path: &'static str,
) -> tonic::Status {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<Q, ProposalResponse>::default();
    let path = tonic::codegen::http::uri::PathAndQuery::from_static(path);
    client.unary(tonic::Request::new(message), path, codec).await.unwrap_err()
}

async fn streaming<Q: prost::Message + 'static>(
    channel: &tonic::transport::Channel,
    message: Q,
    path: &'static str,
) -> tonic::Status {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<Q, BroadcastResponse>::default();
    let path = tonic::codegen::http::uri::PathAndQuery::from_static(path);
    let messages = tonic::Request::new(futures::stream::iter([message]));
    match client.streaming(messages, path, codec).await {
        Err(status) => status,
        Ok(answers) => answers.into_inner().message().await.expect_err("an error, not an answer or a silent end"),
    }
}

const UNARY: [&str; 6] = [
    "/protos.Endorser/ProcessProposal",
    "/gateway.Gateway/Evaluate",
    "/gateway.Gateway/Endorse",
    "/gateway.Gateway/Submit",
    "/gateway.Gateway/CommitStatus",
    "/discovery.Discovery/Discover",
];

/// Bytes that are no message, and more bytes than a message may have.
pub(crate) async fn messages_that_are_none_or_too_large(world: &World) {
    let (peer, orderer) = (world.dial_peer().await, world.dial_orderer().await);
    let huge = Blob { bytes: vec![0; (100 << 20) + 1].into() };
    for path in UNARY {
        let status = unary(&peer, Alien { number: 7 }, path).await;
        assert_eq!(status.code(), Code::Internal, "{path}: {status:?}");
        let status = unary(&peer, huge.clone(), path).await;
        assert_eq!(status.code(), Code::ResourceExhausted, "{path}: {status:?}");
        assert!(status.message().starts_with("grpc: received message larger than max ("), "{path}: {status:?}");
    }
    for (node, path) in [
        (&peer, "/protos.Deliver/Deliver"),
        (&peer, "/protos.Deliver/DeliverFiltered"),
        (&orderer, "/orderer.AtomicBroadcast/Broadcast"),
        (&orderer, "/orderer.AtomicBroadcast/Deliver"),
    ] {
        let status = streaming(node, Alien { number: 7 }, path).await;
        assert_eq!(status.code(), Code::Internal, "{path}: {status:?}");
        let status = streaming(node, huge.clone(), path).await;
        assert_eq!(status.code(), Code::ResourceExhausted, "{path}: {status:?}");
    }
    let status = unary(&peer, Alien { number: 7 }, "/protos.Endorser/NoSuchMethod").await;
    assert_eq!(status.code(), Code::Unimplemented, "{status:?}");
}
