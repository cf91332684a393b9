//! Chaincode that crashes, hangs, floods or answers garbage hurts its own transaction only.

use std::pin::Pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use conformance::Network;
use conformance::deploy::{Package, free_port};
use fabric_client::gateway::Deadlines;
use fabric_client::{Call, GatewayClient};
use fabric_proto::protos::chaincode_message::Type;
use fabric_proto::protos::chaincode_server::{Chaincode, ChaincodeServer};
use fabric_proto::protos::{ChaincodeId, ChaincodeInput, ChaincodeMessage, Response};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use super::{GARBAGE, World};
use crate::faults_clients::signer;

/// How long the peer waits for an answer of chaincode in this test.
const EXECUTE_TIMEOUT: &str = "executetimeout: 2s";

/// A chaincode server whose functions are named after their faults.
struct Hostile {
    id: String,
}

fn message(kind: Type, request: &ChaincodeMessage, payload: impl Into<Bytes>) -> ChaincodeMessage {
    ChaincodeMessage {
        r#type: kind as i32,
        payload: payload.into(),
        txid: request.txid.clone(),
        channel_id: request.channel_id.clone(),
        ..ChaincodeMessage::default()
    }
}

/// What is sent for a function; `None` ends the stream.
fn answers(request: &ChaincodeMessage) -> Option<Vec<ChaincodeMessage>> {
    let input = ChaincodeInput::decode(request.payload.clone()).unwrap();
    let response = Response { status: 200, payload: "fine".into(), ..Response::default() };
    let completed = message(Type::Completed, request, response.encode_to_vec());
    let stray = ChaincodeMessage { txid: "no-such-transaction".into(), ..message(Type::PutState, request, GARBAGE) };
    Some(match input.args.first().map_or(&b""[..], |name| &name[..]) {
        b"hangs" => Vec::new(),
        b"crashes" => return None,
        b"garbage" => vec![message(Type::Completed, request, GARBAGE)],
        b"fails" => vec![message(Type::Error, request, "everything is lost")],
        b"nonsense" => {
            let unknown = ChaincodeMessage { r#type: 999, ..message(Type::Completed, request, GARBAGE) };
            vec![unknown, completed]
        }
        b"registers-again" => vec![message(Type::Register, request, GARBAGE), completed],
        b"floods" => {
            let mut all = vec![stray; 20_000];
            all.push(completed);
            all
        }
        b"huge" => vec![message(Type::Completed, request, vec![0; (100 << 20) + 1])],
        b"other-transaction" => vec![ChaincodeMessage { txid: "other".into(), ..completed }],
        _ => vec![completed],
    })
}

#[tonic::async_trait]
impl Chaincode for Hostile {
    type ConnectStream = Pin<Box<dyn futures::Stream<Item = Result<ChaincodeMessage, Status>> + Send>>;

    async fn connect(
        &self,
        request: tonic::Request<Streaming<ChaincodeMessage>>,
    ) -> Result<tonic::Response<Self::ConnectStream>, Status> {
        let (sender, receiver) = mpsc::channel(64);
        let id = ChaincodeId { name: self.id.clone(), ..ChaincodeId::default() };
        let mut requests = request.into_inner();
        tokio::spawn(async move {
            let register = message(Type::Register, &ChaincodeMessage::default(), id.encode_to_vec());
            let _peer_gone = sender.send(Ok(register)).await;
            while let Ok(Some(request)) = requests.message().await {
                if request.r#type != Type::Transaction as i32 {
                    continue;
                }
                let Some(messages) = answers(&request) else { return };
                for answer in messages {
                    if sender.send(Ok(answer)).await.is_err() {
                        return;
                    }
                }
            }
        });
        Ok(tonic::Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

/// A Node program that writes as much as it can, never registers, and ends.
fn flooding_program(folder: &std::path::Path) {
    let package = r#"{"name":"floods","version":"1.0.0","main":"index.js","scripts":{"start":"node index.js"}}"#;
    let program = "const line = 'x'.repeat(1 << 20) + '\\n';\n\
                   for (let i = 0; i < 60; i++) require('fs').writeSync(1, line);\n\
                   process.exit(3);\n";
    std::fs::write(folder.join("package.json"), package).unwrap();
    std::fs::write(folder.join("index.js"), program).unwrap();
}

fn impatient() -> World {
    let mut network = Network::up(&["--orgs", "1", "--batch-timeout", "50ms"]).unwrap();
    network.stop().unwrap();
    let file = network.data().join("nodes/peer0.org1.example.com/core.yaml");
    let configuration = std::fs::read_to_string(&file).unwrap();
    assert!(configuration.contains("executetimeout: 30s"));
    std::fs::write(&file, configuration.replace("executetimeout: 30s", EXECUTE_TIMEOUT)).unwrap();
    network.start(&["--orgs", "1", "--batch-timeout", "50ms"]).unwrap();
    let configuration = std::fs::read_to_string(&file).unwrap();
    assert!(configuration.contains(EXECUTE_TIMEOUT), "a restart keeps the operator's configuration");
    let peer = network.nodes("peer")[0];
    let (user, administrator) = (signer(&network, peer, "User1"), signer(&network, peer, "Admin"));
    World { network, user, administrator }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_chaincode_hurts_its_own_transaction_only() {
    let world = impatient();
    let port = free_port().unwrap();
    let id = world.network.deploy("hostile", Package::Service(port), None).unwrap();
    let client = world.client(&world.user).await;
    let propose = |function: &'static str| {
        let call = Call::new(world.channel(), "hostile").args([function]).sign(&*world.user);
        let client = client.clone();
        async move {
            let answer = tokio::time::timeout(Duration::from_secs(20), client.propose(&call)).await;
            (call.transaction_id.clone(), answer.expect("an answer in time").unwrap().response.unwrap())
        }
    };

    let (txid, response) = propose("before it listens").await;
    assert_eq!(response.status, 500);
    let expected = format!(
        "error in simulation: failed to execute transaction {txid}: could not launch chaincode {id}: connection to {id} failed: "
    );
    assert!(response.message.starts_with(&expected), "{}", response.message);

    let service = ChaincodeServer::new(Hostile { id: id.clone() }).max_encoding_message_size(usize::MAX);
    let serving =
        tokio::spawn(tonic::transport::Server::builder().add_service(service).serve(([127, 0, 0, 1], port).into()));
    let cases = [
        (
            "hangs",
            "error in simulation: failed to execute transaction {txid}: error sending: timeout expired while executing transaction",
        ),
        (
            "crashes",
            "error in simulation: failed to execute transaction {txid}: error sending: chaincode stream terminated",
        ),
        ("garbage", "error in simulation: failed to unmarshal response for transaction {txid}: "),
        ("fails", "error in simulation: transaction returned with failure: everything is lost"),
        // As upstream, a message out of place ends the stream.
        (
            "nonsense",
            "error in simulation: failed to execute transaction {txid}: error sending: chaincode stream terminated",
        ),
        (
            "registers-again",
            "error in simulation: failed to execute transaction {txid}: error sending: chaincode stream terminated",
        ),
        (
            "huge",
            "error in simulation: failed to execute transaction {txid}: error sending: chaincode stream terminated",
        ),
        (
            "other-transaction",
            "error in simulation: failed to execute transaction {txid}: error sending: timeout expired while executing transaction",
        ),
    ];
    for (function, expected) in cases {
        let (_, fine) = propose("well").await;
        assert_eq!((fine.status, &fine.payload[..]), (200, &b"fine"[..]), "before {function}: {fine:?}");
        let started = Instant::now();
        let (txid, response) = propose(function).await;
        assert_eq!(response.status, 500, "{function}");
        assert!(response.message.starts_with(&expected.replace("{txid}", &txid)), "{function}: {}", response.message);
        assert!(started.elapsed() < Duration::from_secs(10), "{function} took {:?}", started.elapsed());
    }
    let (_, response) = propose("floods").await;
    assert_eq!(
        response.status, 200,
        "messages for transactions that are not running change nothing: {}",
        response.message
    );

    // The same through the gateway, whose client may have less patience than the peer.
    let gateway = world.gateway().await;
    let call = |function: &str| Call::new(world.channel(), "hostile").args([function]);
    let error = gateway.endorse(&call("hangs")).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::Aborted), "{error}");
    let hurried =
        Deadlines { endorse: Duration::from_millis(500), evaluate: Duration::from_millis(500), ..Deadlines::default() };
    let hurried: GatewayClient = gateway.clone().with_deadlines(hurried);
    for error in [hurried.endorse(&call("hangs")).await.map(drop), hurried.evaluate(&call("hangs")).await.map(drop)] {
        let error = error.unwrap_err();
        assert!(matches!(error.code(), Some(Code::DeadlineExceeded | Code::Cancelled)), "{error}");
    }
    // Hanging calls of one chaincode keep nobody else waiting.
    let hanging: Vec<_> = (0..20).map(|_| tokio::spawn(propose("hangs"))).collect();
    let started = Instant::now();
    gateway.submit_and_wait(&world.put("beside-hanging-calls")).await.unwrap();
    assert!(started.elapsed() < Duration::from_millis(1500), "took {:?}", started.elapsed());
    for one in hanging {
        assert_eq!(one.await.unwrap().1.status, 500);
    }
    gateway.submit_and_wait(&call("well")).await.unwrap();
    serving.abort();

    let folder = tempfile::tempdir().unwrap();
    flooding_program(folder.path());
    let id = world.network.deploy("floods", Package::Sources { lang: "node", path: folder.path() }, None).unwrap();
    let call = Call::new(world.channel(), "floods").args(["x"]).sign(&*world.user);
    let response = client.propose(&call).await.unwrap().response.unwrap();
    assert_eq!(response.status, 500);
    let expected = format!("could not launch chaincode {id}: chaincode registration failed: container exited with ");
    assert!(response.message.contains(&expected), "{}", response.message);
    let data = world.network.data().join("nodes/peer0.org1.example.com/data");
    let output = std::process::Command::new("du").args(["-sm"]).arg(&data).output().unwrap();
    let used: u64 = String::from_utf8_lossy(&output.stdout).split_whitespace().next().unwrap().parse().unwrap();
    assert!(used < 60, "the flooded log is bounded, but {} holds {used} MiB", data.display());
    world.assert_well().await;
}
