//! Lanes against an orderer that refuses some transactions and ends the stream with each refusal, as the original's do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fabric_proto::orderer::DeliverResponse;
use fabric_proto::orderer::atomic_broadcast_server::{AtomicBroadcast, AtomicBroadcastServer};
use futures::future::join_all;
use futures::stream::BoxStream;
use konsort_node::{Config, Environment, Server, ServerOptions, Shutdown};
use tonic::{Request, Response, Status, Streaming};

use super::*;
use crate::config::PeerConfig;

#[derive(Default)]
struct Picky {
    streams: Arc<AtomicUsize>,
    seen: Arc<AtomicUsize>,
}

#[tonic::async_trait]
impl AtomicBroadcast for Picky {
    type BroadcastStream = BoxStream<'static, Result<BroadcastResponse, Status>>;
    type DeliverStream = BoxStream<'static, Result<DeliverResponse, Status>>;

    async fn broadcast(
        &self,
        request: Request<Streaming<Envelope>>,
    ) -> Result<Response<Self::BroadcastStream>, Status> {
        self.streams.fetch_add(1, Ordering::SeqCst);
        let seen = Arc::clone(&self.seen);
        let (sender, receiver) = mpsc::channel(16);
        tokio::spawn(async move {
            let mut requests = request.into_inner();
            while let Ok(Some(envelope)) = requests.message().await {
                seen.fetch_add(1, Ordering::SeqCst);
                let bad = envelope.payload.starts_with(b"bad");
                let status = if bad { Code::BadRequest } else { Code::Success };
                let info = String::from_utf8_lossy(&envelope.payload).into_owned();
                let answer = BroadcastResponse { status: status.into(), info };
                if sender.send(Ok(answer)).await.is_err() || bad {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn deliver(&self, _: Request<Streaming<Envelope>>) -> Result<Response<Self::DeliverStream>, Status> {
        Err(Status::unimplemented("not here"))
    }
}

fn connections() -> Connections {
    let yaml = "peer: {localMspId: M, tls: {enabled: false}}";
    let config = Config::from_yaml(yaml, "/nowhere/core.yaml", "CORE", &Environment::default()).unwrap();
    Connections::new(&PeerConfig::from_config(&config).unwrap()).unwrap()
}

fn endpoint(address: String) -> Endpoint {
    Endpoint { address, mspid: "O".into(), roots: Vec::new() }
}

async fn orderer(picky: Picky) -> (Endpoint, Shutdown) {
    let server = Server::bind("orderer", "127.0.0.1:0", ServerOptions::default()).await.unwrap();
    let endpoint = endpoint(server.local_addr().to_string());
    let shutdown = Shutdown::new();
    tokio::spawn(server.serve_grpc(tonic::service::Routes::new(AtomicBroadcastServer::new(picky)), shutdown.clone()));
    (endpoint, shutdown)
}

fn envelope(payload: String) -> Envelope {
    Envelope { payload: payload.into(), ..Envelope::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_gets_the_answer_to_their_own_transaction() {
    let picky = Picky::default();
    let streams = Arc::clone(&picky.streams);
    let (endpoint, _shutdown) = orderer(picky).await;
    let broadcasts = Broadcasts::new(connections());
    let answers = join_all((0..200).map(|number| {
        let (broadcasts, endpoint) = (&broadcasts, &endpoint);
        async move { (number, broadcasts.send(endpoint, envelope(format!("good {number}"))).await.unwrap()) }
    }))
    .await;
    for (number, answer) in answers {
        assert_eq!((answer.status, answer.info), (Code::Success as i32, format!("good {number}")));
    }
    assert_eq!(streams.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_reaches_its_sender_and_nobody_else_suffers() {
    let (endpoint, _shutdown) = orderer(Picky::default()).await;
    let broadcasts = Broadcasts::new(connections());
    let answers = join_all((0..40).map(|number| {
        let (broadcasts, endpoint) = (&broadcasts, &endpoint);
        let kind = if number % 4 == 3 { "bad" } else { "good" };
        async move { (kind, number, broadcasts.send(endpoint, envelope(format!("{kind} {number}"))).await.unwrap()) }
    }))
    .await;
    for (kind, number, answer) in answers {
        let status = if kind == "bad" { Code::BadRequest } else { Code::Success };
        assert_eq!((answer.status, answer.info), (status as i32, format!("{kind} {number}")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orderer_that_is_not_there_gives_an_error_and_is_asked_anew() {
    let (there, shutdown) = orderer(Picky::default()).await;
    let broadcasts = Broadcasts::new(connections());
    assert!(broadcasts.send(&there, envelope("good".into())).await.is_ok());
    shutdown.trigger("test");
    tokio::time::sleep(Duration::from_millis(100)).await;
    let nobody = endpoint("127.0.0.1:1".into());
    for _ in 0..2 {
        let error = broadcasts.send(&nobody, envelope("good".into())).await.unwrap_err();
        assert!(error.contains("127.0.0.1:1"), "{error}");
    }
}

#[test]
fn silent_orderers_are_asked_last() {
    let broadcasts = Broadcasts::new(connections());
    let all = [endpoint("a:1".into()), endpoint("b:1".into()), endpoint("c:1".into())];
    broadcasts.note_silence(&all[0]);
    let order: Vec<String> = broadcasts.silent_last(&all).into_iter().map(|endpoint| endpoint.address).collect();
    assert_eq!(order, ["b:1", "c:1", "a:1"]);
}
