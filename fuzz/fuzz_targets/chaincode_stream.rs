//! A chaincode that sends anything while it works on a transaction: every message gets an answer or ends the stream, and nothing panics.
#![no_main]

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Arc, LazyLock},
    time::Duration,
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use fabric_chaincode::{
    Call, Capabilities, CollectionPermission, DispatchError, Dispatcher, Outcome, Runtime, Settings, Target,
};
use fabric_ledger::{LedgerError, NoCollections, Simulator, StateReader, StateRows, VersionedValue};
use fabric_proto::protos::{ChaincodeId, ChaincodeInput, ChaincodeMessage, chaincode_message::Type};
use futures::{FutureExt, StreamExt, future::BoxFuture};
use http_body_util::{BodyExt, StreamBody};
use libfuzzer_sys::fuzz_target;
use prost::Message;
use tower::Service;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("konsort-fuzz-stream-{}", std::process::id()));
    let mut settings = Settings::new(folder, "127.0.0.1:0", "Org1MSP");
    (settings.tls, settings.dev_mode) = (false, true);
    Runtime::with_launchers(settings, Vec::new()).unwrap()
});

struct Empty;

impl StateReader for Empty {
    fn get(&self, _: &str, _: &str) -> Result<Option<VersionedValue>, LedgerError> {
        Ok(None)
    }

    fn get_hash(&self, _: &str, _: &str, _: &[u8]) -> Result<Option<VersionedValue>, LedgerError> {
        Ok(None)
    }

    fn range<'a>(&'a self, _: &str, _: &str, _: &str) -> Result<StateRows<'a>, LedgerError> {
        Ok(Box::new(std::iter::empty()))
    }
}

struct Nobody;

impl Dispatcher for Nobody {
    fn invoke<'a>(
        &'a self,
        _: &'a Call,
        _: Target,
        _: ChaincodeInput,
    ) -> BoxFuture<'a, Result<Outcome, DispatchError>> {
        async { Err(DispatchError::Refused("nobody is there".into())) }.boxed()
    }

    fn collection_permission(&self, _: &Call, collection: &str) -> Result<CollectionPermission, String> {
        Ok(CollectionPermission { read: !collection.starts_with('r'), write: !collection.starts_with('w') })
    }
}

fn frame(message: &ChaincodeMessage) -> Bytes {
    let content = message.encode_to_vec();
    let mut frame = BytesMut::with_capacity(content.len() + 5);
    frame.put_u8(0);
    frame.put_u32(content.len() as u32);
    frame.put_slice(&content);
    frame.freeze()
}

/// Cuts the input into messages of the open transaction: type, length, payload. The last piece is sent as it is, unframed.
fn messages(mut data: &[u8]) -> VecDeque<Bytes> {
    let mut frames = VecDeque::new();
    while data.len() > 2 && frames.len() < 64 {
        let (kind, length) = (data.get_u8() % 28, usize::from(data.get_u8()));
        let length = length.min(data.len());
        let (payload, rest) = data.split_at(length);
        data = rest;
        frames.push_back(frame(&ChaincodeMessage {
            r#type: kind.into(),
            payload: Bytes::copy_from_slice(payload),
            txid: "t".into(),
            channel_id: "c".into(),
            ..ChaincodeMessage::default()
        }));
    }
    frames.push_back(Bytes::copy_from_slice(data));
    frames
}

async fn round(data: &[u8]) {
    let id = ChaincodeId { name: "fuzz:1".into(), ..ChaincodeId::default() };
    let register =
        ChaincodeMessage { r#type: Type::Register.into(), payload: id.encode_to_vec().into(), ..Default::default() };
    let (working, started) = tokio::sync::oneshot::channel::<()>();
    let hostile = messages(data);
    let later = started.map(|_| futures::stream::iter(hostile)).flatten_stream();
    let frames = futures::stream::iter([frame(&register)]).chain(later);
    let body = StreamBody::new(frames.map(|bytes| Ok::<_, Infallible>(http_body::Frame::data(bytes))));
    let request = http::Request::post("/protos.ChaincodeSupport/Register").header("content-type", "application/grpc");
    let response = RUNTIME.service().call(request.body(body).unwrap()).await.unwrap();
    let drain = async {
        let (mut body, mut working) = (response.into_body(), Some(working));
        let mut received = BytesMut::new();
        while let Some(Ok(frame)) = body.frame().await {
            let Ok(bytes) = frame.into_data() else { break };
            received.extend_from_slice(&bytes);
            while received.len() >= 5 {
                let length = u32::from_be_bytes([received[1], received[2], received[3], received[4]]) as usize + 5;
                if received.len() < length {
                    break;
                }
                let message = ChaincodeMessage::decode(&received.split_to(length)[5..]).unwrap();
                if matches!(message.r#type(), Type::Transaction | Type::Init) {
                    working.take().map(|working| working.send(()));
                }
            }
        }
    };
    let call = Call {
        package_id: "fuzz:1".into(),
        channel: "c".into(),
        namespace: "fuzz".into(),
        txid: "t".into(),
        input: ChaincodeInput::default(),
        is_init: data.first().is_some_and(|byte| byte % 16 == 15),
        signed_proposal: None,
        simulator: Arc::new(Simulator::new("t", Arc::new(Empty), Arc::new(NoCollections))),
        ledger: None,
        capabilities: Capabilities::default(),
    };
    let execute = async {
        // The stream registers when it is polled for the first time.
        tokio::task::yield_now().await;
        let _ = RUNTIME.execute(call, Arc::new(Nobody)).await;
    };
    let both = async { tokio::join!(drain, execute) };
    tokio::time::timeout(Duration::from_secs(10), both).await.expect("the stream hangs");
}

fuzz_target!(|data: &[u8]| {
    static EXECUTOR: LazyLock<tokio::runtime::Runtime> =
        LazyLock::new(|| tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap());
    EXECUTOR.block_on(round(data));
});
