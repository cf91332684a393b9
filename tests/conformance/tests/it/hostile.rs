//! Bad input to real processes: every refusal has upstream's code and words where it has any, nothing is lost, every node stays up.

mod chaincode;
pub(crate) mod disk;
mod identities;
mod ordering;
mod proposals;
mod requests;
mod streams;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use conformance::Network;
use fabric_channel::msp::SigningIdentity;
use fabric_client::{AdminClient, Call, GatewayClient, OrdererClient};
use futures::FutureExt as _;
use serde_json::Value;

use crate::faults_clients::{admin, assert_no_doubles, endpoint, gateway, height, progress, signer, text};

/// Bytes that no message decodes from: a field header without its field.
pub(crate) const GARBAGE: Bytes = Bytes::from_static(b"\x0a\xff\xff\xff\xff\x0fgarbage");

/// A running network of two organisations, and what tests need to disturb it.
pub(crate) struct World {
    pub(crate) network: Network,
    pub(crate) user: Arc<SigningIdentity>,
    pub(crate) administrator: Arc<SigningIdentity>,
}

impl World {
    pub(crate) fn up() -> Self {
        let network = Network::up(&["--orgs", "2", "--batch-timeout", "50ms"]).unwrap();
        let peer = network.nodes("peer")[0];
        let (user, administrator) = (signer(&network, peer, "User1"), signer(&network, peer, "Admin"));
        Self { network, user, administrator }
    }

    pub(crate) fn peer(&self) -> &Value {
        self.network.nodes("peer")[0]
    }

    pub(crate) fn channel(&self) -> &str {
        self.network.channel()
    }

    /// A call of the sample contract.
    pub(crate) fn put(&self, key: &str) -> Call {
        Call::new(self.channel(), "basic").args(["put", key, "v"])
    }

    /// A connection to the first peer.
    pub(crate) async fn dial_peer(&self) -> tonic::transport::Channel {
        endpoint(self.peer()).connect().await.unwrap()
    }

    /// A connection to the orderer.
    pub(crate) async fn dial_orderer(&self) -> tonic::transport::Channel {
        endpoint(self.network.nodes("orderer")[0]).connect().await.unwrap()
    }

    /// The orderer as somebody sees it.
    pub(crate) async fn orderer(&self, who: &Arc<SigningIdentity>) -> OrdererClient {
        OrdererClient::connect(&endpoint(self.network.nodes("orderer")[0]), who.clone()).await.unwrap()
    }

    /// The first peer as somebody sees it.
    pub(crate) async fn client(&self, who: &Arc<SigningIdentity>) -> AdminClient {
        AdminClient::connect(&endpoint(self.peer()), who.clone()).await.unwrap()
    }

    pub(crate) async fn gateway(&self) -> GatewayClient {
        gateway(&self.network, self.peer()).await.unwrap()
    }

    /// Every node runs and has not panicked, a transaction commits through every peer, and the peers agree.
    pub(crate) async fn assert_well(&self) {
        for node in self.network.description()["nodes"].as_array().unwrap() {
            let state = std::fs::read_to_string(format!("/proc/{}/stat", node["pid"])).unwrap_or_default();
            assert!(!state.is_empty() && !state.contains(") Z "), "{} has ended", node["name"]);
            let log = std::fs::read_to_string(text(&node["log"])).unwrap();
            assert!(!log.contains("panicked at"), "{} panicked:\n{log}", node["name"]);
        }
        let peers = self.network.nodes("peer");
        for peer in &peers {
            progress(&self.network, &gateway(&self.network, peer).await.unwrap(), Duration::from_secs(10)).await;
        }
        let started = Instant::now();
        let target = height(&self.network, peers[0], Duration::from_secs(5)).await;
        for peer in &peers {
            while height(&self.network, peer, Duration::from_secs(5)).await < target {
                assert!(started.elapsed() < Duration::from_secs(10), "{} does not catch up", peer["name"]);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            assert_no_doubles(&self.network, peer).await;
            admin(&self.network, peer).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_is_refused_by_name_and_every_node_stays_up() {
    let world = World::up();
    let cast = identities::Cast::of(&world);
    let mut failed = Vec::new();
    macro_rules! part {
        ($part:expr) => {
            // Every part is tried, whatever became of the one before.
            if AssertUnwindSafe($part).catch_unwind().await.is_err() {
                failed.push(stringify!($part));
            }
        };
    }
    part!(proposals::malformed(&world));
    part!(proposals::strangers(&world, &cast));
    part!(proposals::unknown_names_and_skewed_clocks(&world));
    part!(requests::lifecycle_and_system_chaincodes(&world));
    part!(requests::discovery(&world, &cast));
    part!(requests::gossip(&world));
    part!(requests::participation(&world));
    part!(ordering::refused_envelopes(&world, &cast));
    part!(ordering::ordered_but_invalid(&world));
    part!(ordering::replays(&world));
    part!(streams::peer_and_orderer(&world, &cast));
    part!(streams::messages_that_are_none_or_too_large(&world));
    part!(identities::revocation(&world, &cast));
    part!(world.assert_well());
    assert!(failed.is_empty(), "failed: {failed:?}");
}
