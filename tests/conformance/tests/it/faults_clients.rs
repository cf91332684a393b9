//! Clients of a running network, for tests that put load on it while something breaks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use conformance::Network;
use fabric_channel::msp::SigningIdentity;
use fabric_client::{AdminClient, Call, ClientError, Endpoint, GatewayClient};
use prost::Message as _;
use serde_json::Value;

/// A text of the description.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// A node's address and TLS root.
pub(crate) fn endpoint(node: &Value) -> Endpoint {
    let roots = std::fs::read(text(&node["tls_ca"])).unwrap();
    Endpoint::tls(text(&node["endpoint"]), roots).server_name(text(&node["name"]))
}

/// A user of the node's organisation.
pub(crate) fn signer(network: &Network, node: &Value, user: &str) -> Arc<SigningIdentity> {
    let identities = network.description()["identities"].as_array().unwrap();
    let identity =
        identities.iter().find(|one| one["mspid"] == node["mspid"] && text(&one["name"]).starts_with(user)).unwrap();
    Arc::new(SigningIdentity::from_folder(text(&identity["msp"]).as_ref(), &text(&identity["mspid"])).unwrap())
}

/// A gateway client of a peer.
pub(crate) async fn gateway(network: &Network, node: &Value) -> Result<GatewayClient, ClientError> {
    Ok(GatewayClient::new(endpoint(node).connect().await?, signer(network, node, "User1")))
}

/// An administrator's client of a peer.
pub(crate) async fn admin(network: &Network, node: &Value) -> Result<AdminClient, ClientError> {
    AdminClient::connect(&endpoint(node), signer(network, node, "Admin")).await
}

/// Commits numbered keys one after the other until told to stop.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<Vec<String>>>,
}

impl Load {
    /// `workers` writers through the gateway of a peer. Only what was reported as committed counts; failures are tried again with a
    /// new transaction for a new key.
    pub(crate) fn start(network: &Network, gateway: &GatewayClient, name: &str, workers: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let channel = text(&network.description()["channel"]);
        let chaincode = text(&network.description()["chaincode"]);
        let tasks = (0..workers)
            .map(|worker| {
                let (stop, gateway, name) = (stop.clone(), gateway.clone(), name.to_owned());
                let base = Call::new(&channel, &chaincode);
                tokio::spawn(async move {
                    let mut committed = Vec::new();
                    let mut next = 0;
                    while !stop.load(Ordering::Relaxed) {
                        let key = format!("{name}-{worker}-{next}");
                        next += 1;
                        match gateway.submit_and_wait(&base.clone().args(["put", &key, &key])).await {
                            Ok(_) => committed.push(key),
                            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                        }
                    }
                    committed
                })
            })
            .collect();
        Self { stop, tasks }
    }

    /// Stops and gives the keys that were reported as committed.
    pub(crate) async fn stop(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for task in self.tasks {
            all.extend(task.await.unwrap());
        }
        all
    }
}

/// Waits until a key can be committed; gives how long it took.
pub(crate) async fn progress(network: &Network, gateway: &GatewayClient, limit: Duration) -> Duration {
    let started = Instant::now();
    let channel = text(&network.description()["channel"]);
    let chaincode = text(&network.description()["chaincode"]);
    for attempt in 0.. {
        let key = format!("progress-{attempt}-{started:?}");
        let call = Call::new(&channel, &chaincode).args(["put", &key, "x"]);
        let outcome = tokio::time::timeout(Duration::from_secs(3), gateway.submit_and_wait(&call)).await;
        match outcome {
            Ok(Ok(_)) => break,
            other if started.elapsed() > limit => {
                panic!("no transaction commits within {limit:?}; the last attempt: {other:?}")
            }
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    started.elapsed()
}

/// The ledger's height on a peer, once it answers.
pub(crate) async fn height(network: &Network, node: &Value, limit: Duration) -> u64 {
    let channel = text(&network.description()["channel"]);
    let started = Instant::now();
    loop {
        let answer = async { admin(network, node).await?.channel_info(&channel).await }.await;
        match answer {
            Ok(info) => return info.height,
            Err(error) if started.elapsed() > limit => panic!("{} does not answer: {error}", node["name"]),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// The commit hash that a peer stored with a block.
pub(crate) async fn commit_hash(network: &Network, node: &Value, number: u64) -> Vec<u8> {
    let channel = text(&network.description()["channel"]);
    let client = admin(network, node).await.unwrap();
    let block = client.block(&channel, fabric_client::envelope::Seek::Number(number), false).await.unwrap().unwrap();
    block.metadata.unwrap().metadata[4].to_vec()
}

/// Every key has its own value on a peer: what was reported as committed is there.
pub(crate) async fn assert_kept(network: &Network, node: &Value, keys: &[String]) {
    let channel = text(&network.description()["channel"]);
    let chaincode = text(&network.description()["chaincode"]);
    let gateway = gateway(network, node).await.unwrap();
    for key in keys {
        let value = gateway.evaluate(&Call::new(&channel, &chaincode).args(["get", key])).await;
        assert_eq!(value.unwrap(), key.as_bytes(), "{key} on {}", node["name"]);
    }
}

/// No transaction id stands twice as valid in the chain of a peer, and every hash links.
pub(crate) async fn assert_no_doubles(network: &Network, node: &Value) {
    let channel = text(&network.description()["channel"]);
    let mut client = admin(network, node).await.unwrap();
    let height = client.channel_info(&channel).await.unwrap().height;
    let mut seen = std::collections::HashSet::new();
    let mut previous: Option<Vec<u8>> = None;
    for number in 0..height {
        if number % 500 == 499 {
            // One connection is not made for thousands of streams that are left after their first block.
            client = admin(network, node).await.unwrap();
        }
        let block =
            client.block(&channel, fabric_client::envelope::Seek::Number(number), false).await.unwrap().unwrap();
        let header = block.header.clone().unwrap();
        if let Some(previous) = previous {
            assert_eq!(header.previous_hash, previous, "block {number}");
        }
        previous = Some(fabric_channel::protoutil::header_hash(&header).to_vec());
        let flags = block.metadata.unwrap().metadata[2].clone();
        for (index, envelope) in block.data.unwrap().data.iter().enumerate() {
            let envelope = fabric_proto::common::Envelope::decode(envelope.clone()).unwrap();
            let header = fabric_channel::protoutil::channel_header(&envelope).unwrap();
            if flags.get(index) == Some(&0) && !header.tx_id.is_empty() {
                assert!(seen.insert(header.tx_id.clone()), "transaction {} is valid twice", header.tx_id);
            }
        }
    }
}
