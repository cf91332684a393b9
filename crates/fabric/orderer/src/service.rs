//! `orderer.AtomicBroadcast` as a tower service: the deliver side writes stored bytes into the stream without decoding them.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BufMut as _;
use fabric_proto::common::Envelope;
use fabric_proto::orderer::{BroadcastResponse, DeliverResponse, deliver_response};
use http::{Request, Response};
use konsort_node::ConnectionInfo;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::{Grpc, NamedService, StreamingService};
use tonic_prost::ProstCodec;

use crate::deliver::{DeliverItem, DeliverRules};
use crate::metrics::OrdererMetrics;
use crate::registrar::Registrar;

/// The service of one orderer.
#[derive(Clone, Debug)]
pub(crate) struct AtomicBroadcast {
    pub registrar: Registrar,
    pub rules: DeliverRules,
    pub metrics: OrdererMetrics,
    pub max_receive: usize,
    pub max_send: usize,
}

impl NamedService for AtomicBroadcast {
    const NAME: &'static str = "orderer.AtomicBroadcast";
}

/// Encodes deliver answers; decodes envelopes.
#[derive(Clone, Copy, Debug, Default)]
struct DeliverCodec;

#[derive(Clone, Copy, Debug, Default)]
struct DeliverEncoder;

impl Encoder for DeliverEncoder {
    type Item = DeliverItem;
    type Error = tonic::Status;

    fn encode(&mut self, item: DeliverItem, buffer: &mut EncodeBuf<'_>) -> Result<(), tonic::Status> {
        match item {
            DeliverItem::Status(status) => {
                let response = DeliverResponse { r#type: Some(deliver_response::Type::Status(status as i32)) };
                response.encode(buffer).map_err(|e| tonic::Status::internal(e.to_string()))
            }
            DeliverItem::Block(bytes) => {
                // Field 2 of DeliverResponse, length-delimited: the stored bytes are its content.
                buffer.reserve(bytes.len() + 11);
                buffer.put_u8(0x12);
                prost::encoding::encode_varint(bytes.len() as u64, buffer);
                buffer.put_slice(&bytes);
                Ok(())
            }
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct EnvelopeDecoder;

impl Decoder for EnvelopeDecoder {
    type Item = Envelope;
    type Error = tonic::Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Envelope>, tonic::Status> {
        Envelope::decode(buffer).map(Some).map_err(|e| tonic::Status::internal(e.to_string()))
    }
}

impl Codec for DeliverCodec {
    type Encode = DeliverItem;
    type Decode = Envelope;
    type Encoder = DeliverEncoder;
    type Decoder = EnvelopeDecoder;

    fn encoder(&mut self) -> DeliverEncoder {
        DeliverEncoder
    }

    fn decoder(&mut self) -> EnvelopeDecoder {
        EnvelopeDecoder
    }
}

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

struct Broadcast(AtomicBroadcast);

impl StreamingService<Envelope> for Broadcast {
    type Response = BroadcastResponse;
    type ResponseStream = ReceiverStream<Result<BroadcastResponse, tonic::Status>>;
    type Future = BoxFuture<Result<tonic::Response<Self::ResponseStream>, tonic::Status>>;

    fn call(&mut self, request: tonic::Request<Streaming<Envelope>>) -> Self::Future {
        let service = self.0.clone();
        Box::pin(async move {
            let (sender, receiver) = mpsc::channel(64);
            tokio::spawn(crate::broadcast::serve(service.registrar, service.metrics, request.into_inner(), sender));
            Ok(tonic::Response::new(ReceiverStream::new(receiver)))
        })
    }
}

struct Deliver(AtomicBroadcast);

impl StreamingService<Envelope> for Deliver {
    type Response = DeliverItem;
    type ResponseStream = ReceiverStream<Result<DeliverItem, tonic::Status>>;
    type Future = BoxFuture<Result<tonic::Response<Self::ResponseStream>, tonic::Status>>;

    fn call(&mut self, request: tonic::Request<Streaming<Envelope>>) -> Self::Future {
        let service = self.0.clone();
        Box::pin(async move {
            let connection = request.extensions().get::<ConnectionInfo>().cloned();
            // Blocks are large: a few in the queue keep a slow reader's share of memory small.
            let (sender, receiver) = mpsc::channel(4);
            let AtomicBroadcast { registrar, rules, metrics, .. } = service;
            tokio::spawn(crate::deliver::serve(registrar, rules, metrics, connection, request.into_inner(), sender));
            Ok(tonic::Response::new(ReceiverStream::new(receiver)))
        })
    }
}

impl<B> tonic::codegen::Service<Request<B>> for AtomicBroadcast
where
    B: tonic::codegen::Body + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let service = self.clone();
        let limits = (Some(self.max_receive), Some(self.max_send));
        match request.uri().path() {
            "/orderer.AtomicBroadcast/Broadcast" => Box::pin(async move {
                let codec = ProstCodec::<BroadcastResponse, Envelope>::default();
                Ok(Grpc::new(codec)
                    .apply_max_message_size_config(limits.0, limits.1)
                    .streaming(Broadcast(service), request)
                    .await)
            }),
            "/orderer.AtomicBroadcast/Deliver" => Box::pin(async move {
                Ok(Grpc::new(DeliverCodec)
                    .apply_max_message_size_config(limits.0, limits.1)
                    .streaming(Deliver(service), request)
                    .await)
            }),
            _ => Box::pin(async move {
                Ok(tonic::Status::unimplemented("unknown method of orderer.AtomicBroadcast").into_http())
            }),
        }
    }
}
