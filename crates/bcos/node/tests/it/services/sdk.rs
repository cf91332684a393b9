//! The SDK's WebSocket: frames, pushes, events, AMOP, with and without TLS.

use std::sync::Arc;

use bcos_types::frame::{AmopMessage, Frame, kind};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use super::client::Socket;
use super::world::{TOPIC, World, word};
use crate::cluster::Cluster;

const SEQ: &str = "0123456789abcdef0123456789abcdef";

async fn send<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut Socket<S>, kind: u16, seq: &str, payload: &[u8]) {
    socket.send(Message::binary(Frame::new(kind, seq, payload.to_vec()).encode())).await;
}

async fn next<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut Socket<S>) -> Frame {
    match socket.next().await.expect("an open connection") {
        Message::Binary(bytes) => Frame::decode(bytes.into()).unwrap(),
        other => panic!("a binary message was expected: {other:?}"),
    }
}

/// The next frame of a type.
async fn wait<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut Socket<S>, kind: u16) -> Frame {
    loop {
        let frame = next(socket).await;
        if frame.kind == kind {
            return frame;
        }
    }
}

fn content(frame: &Frame) -> Value {
    assert_eq!(frame.payload.last(), Some(&b'\n').filter(|_| frame.kind != kind::NONE).or(frame.payload.last()));
    serde_json::from_slice(&frame.payload).unwrap()
}

async fn greet<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut Socket<S>) -> Value {
    send(socket, kind::HANDSHAKE, SEQ, b"{\"maxVersion\":2,\"minVersion\":0,\"moduleID\":2}\n").await;
    let frame = next(socket).await;
    assert_eq!((frame.kind, frame.version, frame.ext, &frame.seq[..]), (kind::HANDSHAKE, 0, 0, SEQ.as_bytes()));
    content(&frame)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_greeted_served_and_told_of_blocks() {
    let world = World::start(false).await;
    let mut socket = Socket::open(&world.rpc).await;
    let greeting = greet(&mut socket).await;
    assert_eq!(greeting["protocolVersion"], 2);
    assert_eq!(greeting["groupBlockNumber"], json!([{ "group0": 0 }]));
    assert_eq!(greeting["groupInfoList"][0]["groupID"], "group0");
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": "sendTransaction",
        "params": ["group0", "", world.native("", super::world::contract()), false] });
    send(&mut socket, kind::RPC, SEQ, request.to_string().as_bytes()).await;
    let (mut told, mut answered) = (None, None);
    while told.is_none() || answered.is_none() {
        let frame = next(&mut socket).await;
        match frame.kind {
            kind::BLOCK_NOTIFY => {
                assert!(frame.seq.is_empty());
                told = Some(content(&frame));
            }
            kind::NONE => {
                assert_eq!(&frame.seq[..], SEQ.as_bytes());
                answered = Some(content(&frame));
            }
            other => panic!("{other:#x}"),
        }
    }
    let told = told.unwrap();
    assert_eq!((&told["group"], &told["blockNumber"]), (&json!("group0"), &json!(1)));
    assert_eq!(told["nodeName"], greeting["groupInfoList"][0]["nodeList"][0]["name"]);
    assert_eq!(answered.unwrap()["result"]["status"], 0);

    // Text is JSON-RPC without a frame.
    let mut plain = Socket::open(&world.rpc).await;
    let answer = plain.call("getBlockNumber", json!(["group0", ""]), &mut Vec::new()).await;
    assert_eq!(answer["result"], 1);

    // What is no frame ends the connection, and only this one.
    plain.send(Message::binary(vec![1, 2, 3])).await;
    assert!(plain.next().await.is_none());
    send(&mut socket, kind::RPC, SEQ, br#"{"jsonrpc":"2.0","id":1,"method":"getBlockNumber","params":["group0",""]}"#)
        .await;
    assert_eq!(content(&wait(&mut socket, kind::NONE).await)["result"], 1);
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_the_past_and_of_new_blocks_are_pushed() {
    let world = World::start(false).await;
    let address = world.deploy().await;
    let emit = async |number| {
        let raw = world.native(&address, word(number));
        world.bcos("sendTransaction", json!(["group0", "", raw, false])).await.unwrap()
    };
    let past = emit(1).await;
    let mut socket = Socket::open(&world.rpc).await;
    greet(&mut socket).await;
    let params = |from: i64, to: i64| {
        json!({ "id": "0x123", "group": "group0",
            "params": { "fromBlock": from, "toBlock": to, "addresses": [address], "topics": [[TOPIC], null] } })
    };
    send(&mut socket, kind::EVENT_SUBSCRIBE, SEQ, params(1, -1).to_string().as_bytes()).await;
    let reply = wait(&mut socket, kind::EVENT_SUBSCRIBE).await;
    assert_eq!(content(&reply), json!({ "id": "0x123", "status": 0 }));
    let push = wait(&mut socket, kind::EVENT_PUSH).await;
    assert!(push.seq.is_empty());
    let event = &content(&push)["result"][0];
    assert_eq!(event["address"], json!(&address[2..]));
    assert_eq!((&event["transactionHash"], &event["blockNumber"]), (&past["transactionHash"], &past["blockNumber"]));
    assert_eq!((&event["logIndex"], &event["transactionIndex"]), (&json!(0), &json!(0)));
    let fresh = emit(2).await;
    let push = content(&wait(&mut socket, kind::EVENT_PUSH).await);
    assert_eq!((&push["id"], &push["status"]), (&json!("0x123"), &json!(0)));
    assert_eq!(push["result"][0]["transactionHash"], fresh["transactionHash"]);
    send(&mut socket, kind::EVENT_UNSUBSCRIBE, SEQ, br#"{"id":"0x123","group":"group0"}"#).await;
    assert_eq!(content(&wait(&mut socket, kind::EVENT_UNSUBSCRIBE).await)["status"], 0);

    // A range that lies behind is told to its end.
    send(&mut socket, kind::EVENT_SUBSCRIBE, SEQ, params(1, 2).to_string().as_bytes()).await;
    assert_eq!(content(&wait(&mut socket, kind::EVENT_PUSH).await)["result"].as_array().unwrap().len(), 1);
    assert_eq!(content(&wait(&mut socket, kind::EVENT_PUSH).await), json!({ "id": "0x123", "status": 1 }));
    send(&mut socket, kind::EVENT_SUBSCRIBE, SEQ, br#"{"id":"1","group":"nowhere","params":{}}"#).await;
    assert_eq!(content(&wait(&mut socket, kind::EVENT_SUBSCRIBE).await)["status"], -41_002);
    send(&mut socket, kind::EVENT_SUBSCRIBE, SEQ, b"{}").await;
    assert_eq!(content(&wait(&mut socket, kind::EVENT_SUBSCRIBE).await)["status"], -41_000);
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn amop_carries_requests_answers_and_broadcasts() {
    let world = World::start(false).await;
    let (mut publisher, mut subscriber) = (Socket::open(&world.rpc).await, Socket::open(&world.rpc).await);
    greet(&mut publisher).await;
    greet(&mut subscriber).await;
    let message = AmopMessage { version: 0, topic: "testTopic".into(), data: b"hello".to_vec().into() };
    let payload = message.encode().unwrap();
    send(&mut publisher, kind::AMOP_REQUEST, SEQ, &payload).await;
    let refused = next(&mut publisher).await;
    assert_eq!((refused.kind, refused.status, &refused.seq[..]), (0, 3002, SEQ.as_bytes()));
    assert_eq!(&refused.payload[..], b"NotFoundClientByTopicDispatchMsg");

    send(&mut subscriber, kind::AMOP_SUBSCRIBE, SEQ, br#"{"topics":["testTopic"]}"#).await;
    // The subscription has no answer; a request behind it shows that it was taken.
    send(&mut subscriber, kind::RPC, SEQ, br#"{"jsonrpc":"2.0","id":1,"method":"getGroupList","params":[]}"#).await;
    wait(&mut subscriber, kind::NONE).await;
    send(&mut publisher, kind::AMOP_REQUEST, SEQ, &payload).await;
    let asked = next(&mut subscriber).await;
    assert_eq!((asked.kind, &asked.payload[..]), (kind::AMOP_REQUEST, &payload[..]));
    let seq = String::from_utf8(asked.seq.to_vec()).unwrap();
    assert_ne!(seq, SEQ);
    send(&mut subscriber, kind::AMOP_RESPONSE, &seq, b"world").await;
    let answer = next(&mut publisher).await;
    assert_eq!((answer.kind, answer.status, &answer.seq[..]), (kind::AMOP_RESPONSE, 0, SEQ.as_bytes()));
    assert_eq!(&answer.payload[..], b"world");

    send(&mut publisher, kind::AMOP_BROADCAST, SEQ, &payload).await;
    let told = next(&mut subscriber).await;
    assert_eq!((told.kind, told.seq.len(), &told.payload[..]), (kind::AMOP_BROADCAST, 0, &payload[..]));
    world.node.stop().await;
}

/// Takes any server: what is tested is what the server thinks of the client.
#[derive(Debug)]
struct AnyServer;

impl rustls::client::danger::ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

fn connector(world: &World, with_certificate: bool) -> tokio_rustls::TlsConnector {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer));
    let config = if with_certificate {
        let chain = CertificateDer::pem_file_iter(world.sdk.join("sdk.crt")).unwrap().map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_file(world.sdk.join("sdk.key")).unwrap();
        builder.with_client_auth_cert(chain, key).unwrap()
    } else {
        builder.with_no_client_auth()
    };
    tokio_rustls::TlsConnector::from(Arc::new(config))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_port_wants_a_certificate_of_the_chains_authority() {
    let world = World::start(true).await;
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TcpStream::connect(&world.rpc).await.unwrap();
    let stream = connector(&world, true).connect(name.clone(), stream).await.unwrap();
    let mut socket = Socket::over(stream, &world.rpc).await;
    assert_eq!(greet(&mut socket).await["groupInfoList"][0]["chainID"], "chain0");

    let stream = TcpStream::connect(&world.rpc).await.unwrap();
    assert!(connector(&world, false).connect(name, stream).await.is_err());
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn amop_reaches_the_sdks_of_other_nodes() {
    let cluster = Cluster::build(2);
    let (one, two) = (cluster.start(0).await, cluster.start(1).await);
    let mut publisher = Socket::open(&one.rpc_address().to_string()).await;
    let mut subscriber = Socket::open(&two.rpc_address().to_string()).await;
    greet(&mut publisher).await;
    greet(&mut subscriber).await;
    send(&mut subscriber, kind::AMOP_SUBSCRIBE, SEQ, br#"{"topics":["far"]}"#).await;
    let message = AmopMessage { version: 0, topic: "far".into(), data: b"hello".to_vec().into() };
    let payload = message.encode().unwrap();
    // The news of the topic takes its time to the other node; until then the publisher is refused.
    let asked = 'asked: {
        for _ in 0..200 {
            send(&mut publisher, kind::AMOP_REQUEST, SEQ, &payload).await;
            tokio::select! {
                asked = wait(&mut subscriber, kind::AMOP_REQUEST) => break 'asked asked,
                _refused = wait(&mut publisher, kind::NONE) => {}
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("the topic never reached the other node");
    };
    assert_eq!(&asked.payload[..], &payload[..]);
    let seq = String::from_utf8(asked.seq.to_vec()).unwrap();
    send(&mut subscriber, kind::AMOP_RESPONSE, &seq, b"world").await;
    let answer = wait(&mut publisher, kind::AMOP_RESPONSE).await;
    assert_eq!((answer.status, &answer.seq[..], &answer.payload[..]), (0, SEQ.as_bytes(), &b"world"[..]));
    send(&mut publisher, kind::AMOP_BROADCAST, SEQ, &payload).await;
    assert_eq!(&wait(&mut subscriber, kind::AMOP_BROADCAST).await.payload[..], &payload[..]);
    one.stop().await;
    two.stop().await;
}
