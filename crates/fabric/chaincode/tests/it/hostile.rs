//! Streams that do not keep to the protocol.

use std::sync::Arc;

use bytes::Bytes;
use fabric_chaincode::{ChaincodeLauncher, LaunchError, Package, PeerConnection, Running};
use fabric_proto::protos::{
    ChaincodeId, ChaincodeMessage, chaincode_message::Type, chaincode_support_client::ChaincodeSupportClient,
};
use fabric_shim::samples::AssetTransfer;
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture};
use konsort_node::{ClientTls, DialOptions, Roots, TlsIdentity};
use parking_lot::Mutex;
use prost::Message as _;
use tokio::sync::mpsc;

use crate::world::{Peer, State, client_settings, run};

/// Starts nothing, and shows the test what the process would have been given.
#[derive(Debug, Default)]
struct Nothing {
    given: Mutex<Option<PeerConnection>>,
}

impl ChaincodeLauncher for Nothing {
    fn name(&self) -> &'static str {
        "nothing"
    }

    fn build<'a>(&'a self, _package: &'a Package) -> BoxFuture<'a, Result<bool, LaunchError>> {
        async { Ok(true) }.boxed()
    }

    fn launch<'a>(
        &'a self,
        _package: &'a Package,
        peer: &'a PeerConnection,
    ) -> BoxFuture<'a, Result<Running, LaunchError>> {
        *self.given.lock() = Some(peer.clone());
        std::future::pending().boxed()
    }
}

async fn launching() -> (Peer, String, PeerConnection) {
    let nothing = Arc::new(Nothing::default());
    let peer = Peer::start(Some(vec![nothing.clone()]), |_| {}).await;
    let id = peer.install("basic_1.0", "x", b"1").await;
    let (runtime, package) = (peer.runtime.clone(), id.clone());
    tokio::spawn(async move { runtime.start(&package).await });
    loop {
        if let Some(given) = nothing.given.lock().clone() {
            return (peer, id, given);
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

/// Sends messages as they are and returns what came back until the stream ended.
async fn talk(peer: &PeerConnection, messages: Vec<ChaincodeMessage>) -> Result<Vec<ChaincodeMessage>, String> {
    let tls = peer.tls.as_ref().unwrap();
    let options = DialOptions::tls(ClientTls {
        roots: Roots::from_pem([&tls.root]).unwrap(),
        identity: Some(TlsIdentity::from_pem(tls.certificate.as_bytes(), tls.key.as_bytes()).unwrap()),
        server_name_override: None,
    });
    let channel = konsort_node::dial(&peer.address, &options).unwrap();
    let (sender, receiver) = mpsc::unbounded_channel();
    for message in messages {
        sender.send(message).unwrap();
    }
    let outgoing = futures::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|message| (message, receiver))
    });
    let mut inbound = ChaincodeSupportClient::new(channel)
        .register(outgoing)
        .await
        .map_err(|status| status.message().to_owned())?
        .into_inner();
    let mut received = Vec::new();
    loop {
        match tokio::time::timeout(std::time::Duration::from_secs(2), inbound.next()).await {
            Err(_) | Ok(None) => return Ok(received),
            Ok(Some(Ok(message))) => received.push(message),
            Ok(Some(Err(status))) => return Err(status.message().to_owned()),
        }
    }
}

fn message(kind: Type, payload: Vec<u8>) -> ChaincodeMessage {
    ChaincodeMessage { r#type: kind.into(), payload: payload.into(), ..ChaincodeMessage::default() }
}

fn register(id: &str) -> ChaincodeMessage {
    message(Type::Register, ChaincodeId { name: id.into(), ..ChaincodeId::default() }.encode_to_vec())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_begins_with_a_register_of_its_own_package() {
    let (_peer, id, given) = launching().await;
    let refused = talk(&given, vec![message(Type::GetState, Vec::new())]).await.unwrap_err();
    assert!(refused.contains("cannot handle message (GET_STATE) while in created state"), "{refused}");
    let refused = talk(&given, vec![message(Type::Register, vec![0xff, 0xff])]).await.unwrap_err();
    assert!(refused.contains("could NOT unmarshal registration info"), "{refused}");
    let refused = talk(&given, vec![register("")]).await.unwrap_err();
    assert!(refused.contains("chaincodeID name is empty"), "{refused}");
    let refused = talk(&given, vec![register("other:00")]).await.unwrap_err();
    assert!(refused.contains("belongs to a different chaincode"), "{refused}");

    let answers = talk(&given, vec![register(&id)]).await.unwrap();
    assert_eq!(answers.iter().map(ChaincodeMessage::r#type).collect::<Vec<_>>(), [Type::Registered, Type::Ready]);
    let parameters = fabric_proto::protos::ChaincodeAdditionalParams::decode(answers[1].payload.clone()).unwrap();
    assert!(parameters.use_write_batch && parameters.use_get_multiple_keys);
    assert_eq!((parameters.max_size_write_batch, parameters.max_size_get_multiple_keys), (1000, 1000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_outside_a_transaction_are_answered_with_errors() {
    let (_peer, id, given) = launching().await;
    let mut stray = message(Type::GetState, Vec::new());
    stray.txid = "abc".into();
    let garbage = message(Type::PutState, vec![0xff; 100]);
    let completed = message(Type::Completed, Vec::new());
    let answers = talk(&given, vec![register(&id), stray, garbage, completed, message(Type::Keepalive, Vec::new())])
        .await
        .unwrap();
    let errors: Vec<_> = answers.iter().filter(|answer| answer.r#type() == Type::Error).collect();
    assert_eq!(errors.len(), 2);
    assert_eq!(errors[0].payload, Bytes::from_static(b"GET_STATE failed: transaction ID: abc: no ledger context"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_message_types_end_the_stream() {
    let (_peer, id, given) = launching().await;
    let mut odd = message(Type::Undefined, Vec::new());
    odd.r#type = 99;
    let ended = talk(&given, vec![register(&id), odd]).await.unwrap_err();
    assert!(ended.contains("cannot handle message (99) while in ready state"), "{ended}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chaincode_that_was_not_started_is_refused() {
    let (peer, tasks, id) = Peer::with_contract(AssetTransfer).await;
    run(&peer, &id, &State::of([]), &["get", "x"]).await.unwrap();
    let again = talk_without_certificate(&peer.address).await;
    assert!(again.is_err(), "no certificate, no stream");
    drop(tasks);

    // The certificate of one package does not open the stream of another. The reason may be lost with the connection, the refusal not.
    let (_peer, _id, given) = launching().await;
    let mut reasons = Vec::new();
    for _ in 0..10 {
        let settings = client_settings("other:1", &given);
        reasons.push(fabric_shim::connect(AssetTransfer, &settings).await.unwrap_err().to_string());
    }
    assert!(reasons.iter().any(|reason| reason.contains("belongs to a different chaincode")), "{reasons:?}");
}

async fn talk_without_certificate(address: &str) -> Result<(), String> {
    let settings = fabric_shim::ClientSettings { chaincode_id: "x:1".into(), peer_address: address.into(), tls: None };
    fabric_shim::connect(AssetTransfer, &settings).await.map_err(|error| error.to_string())
}

/// Registers, waits for a transaction, then sends what `answer` makes of it until that gives nothing more.
async fn work(
    peer: &PeerConnection,
    id: &str,
    mut answer: impl FnMut(&ChaincodeMessage) -> Option<ChaincodeMessage>,
) -> usize {
    let tls = peer.tls.as_ref().unwrap();
    let options = DialOptions::tls(ClientTls {
        roots: Roots::from_pem([&tls.root]).unwrap(),
        identity: Some(TlsIdentity::from_pem(tls.certificate.as_bytes(), tls.key.as_bytes()).unwrap()),
        server_name_override: None,
    });
    let channel = konsort_node::dial(&peer.address, &options).unwrap();
    let (sender, receiver) = mpsc::unbounded_channel();
    sender.send(register(id)).unwrap();
    let outgoing = futures::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|message| (message, receiver))
    });
    let mut inbound = ChaincodeSupportClient::new(channel).register(outgoing).await.unwrap().into_inner();
    let mut exchanged = 0;
    while let Some(Ok(message)) = inbound.next().await {
        if matches!(message.r#type(), Type::Registered | Type::Ready) {
            continue;
        }
        exchanged += 1;
        match answer(&message) {
            Some(next) => sender.send(next).unwrap(),
            None => break,
        }
    }
    exchanged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_of_a_transaction_is_answered_whatever_it_holds() {
    use konsort_node::Random as _;
    const REQUESTS: [Type; 14] = [
        Type::GetState,
        Type::PutState,
        Type::DelState,
        Type::InvokeChaincode,
        Type::GetStateByRange,
        Type::GetQueryResult,
        Type::QueryStateNext,
        Type::QueryStateClose,
        Type::GetHistoryForKey,
        Type::GetStateMetadata,
        Type::PutStateMetadata,
        Type::GetPrivateDataHash,
        Type::WriteBatchState,
        Type::GetStateMultiple,
    ];
    let (peer, id, given) = launching().await;
    let (runtime, package) = (peer.runtime.clone(), id.clone());
    let execution = tokio::spawn(async move {
        let call = crate::world::call(&package, &State::of([]), &["x"]);
        runtime.execute(call, crate::world::dispatcher(&runtime)).await
    });
    let random = konsort_node::SeededRandom::new(7);
    let mut left = 2000_usize;
    let exchanged = work(&given, &id, |received| {
        let expected = if left == 2000 { vec![Type::Transaction] } else { vec![Type::Response, Type::Error] };
        assert!(expected.contains(&received.r#type()), "{received:?}");
        let mut next = ChaincodeMessage { r#type: Type::Completed.into(), ..received.clone() };
        if left == 0 {
            next.payload = Bytes::from_static(&[0xff; 8]);
            left = usize::MAX;
            return Some(next);
        }
        if left == usize::MAX {
            return None;
        }
        left -= 1;
        let mut payload = vec![0; (random.u64() % 40) as usize];
        random.fill(&mut payload);
        // Half of them begin as a message with a text field does, so that they get past decoding more often.
        if payload.len() > 2 && random.u64().is_multiple_of(2) {
            payload[0] = 0x0a;
            payload[1] = (payload.len() - 2) as u8;
            payload[2..].iter_mut().for_each(|byte| *byte &= 0x7f);
        }
        next.r#type = REQUESTS[(random.u64() % REQUESTS.len() as u64) as usize].into();
        next.payload = payload.into();
        Some(next)
    });
    let outcome = tokio::select! {
        exchanged = exchanged => panic!("the stream ended after {exchanged} messages"),
        outcome = execution => outcome.unwrap(),
    };
    let error = outcome.unwrap_err().to_string();
    assert!(error.contains("failed to unmarshal response for transaction"), "{error}");
}
