//! A whole peer on the chain of a real network, beside what the stock peer delivered and measured.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fabric_channel::msp::SigningIdentity;
use fabric_channel::protoutil;
use fabric_peer::PeerConfig;
use fabric_peer::channel::Channels;
use fabric_proto::protos::deliver_client::DeliverClient;
use fabric_proto::protos::deliver_response::Type;
use fabric_proto::protos::endorser_client::EndorserClient;
use fabric_proto::protos::{
    BlockAndPrivateData, ChaincodeId, ChaincodeInput, ChaincodeInvocationSpec, ChaincodeSpec, DeliverResponse,
    SignedProposal,
};
use fabric_validation::KnownSignatures;
use konsort_node::logging::LogHandle;
use konsort_node::{Config, DialOptions, Environment, Metrics, Shutdown};
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::channels::{commit, join};

fn golden(path: &str) -> Vec<u8> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../tests/golden/fabric").join(path);
    std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn golden_text(path: &str) -> String {
    String::from_utf8(golden(path)).unwrap()
}

#[test]
fn transactions_are_counted_as_a_stock_peer_counts_them() {
    let folder = tempfile::tempdir().unwrap();
    let metrics = Metrics::new();
    let channels = Channels::open(folder.path(), true, Arc::new(KnownSignatures::default()), &metrics).unwrap().0;
    commit(&join(&channels), 105);
    let lines = |text: &str| -> BTreeSet<String> {
        text.lines().filter(|line| line.starts_with("ledger_transaction_count{")).map(str::to_owned).collect()
    };
    let expected = lines(&golden_text("logs/peer_org1_metrics.txt"));
    assert!(expected.len() > 20);
    let found = lines(&metrics.render());
    assert_eq!(found, expected, "only ours {:?}", found.difference(&expected).collect::<Vec<_>>());
}

/// A running peer of the first organisation, which has the whole chain.
struct Peer {
    address: String,
    operations: String,
    shutdown: Shutdown,
    task: tokio::task::JoinHandle<()>,
    folder: tempfile::TempDir,
    /// The figures of committing the chain.
    committed: String,
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

const ORGANIZATION: &str = "crypto-config/peerOrganizations/org1.example.com";

impl Peer {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let archive = golden("crypto/crypto-config.tar.gz");
        tar::Archive::new(flate2::read::GzDecoder::new(archive.as_slice())).unpack(folder.path()).unwrap();
        let data = folder.path().join("data");
        let committed = tokio::task::spawn_blocking({
            let data = data.join("channels");
            move || {
                let metrics = Metrics::new();
                let channels = Channels::open(&data, true, Arc::new(KnownSignatures::default()), &metrics).unwrap().0;
                commit(&join(&channels), 105);
                metrics.render()
            }
        })
        .await
        .unwrap();
        let (port, chaincode, operations) = (free_port(), free_port(), free_port());
        let yaml = format!(
            r"
peer:
  id: peer0
  localMspId: Org1MSP
  listenAddress: 127.0.0.1:{port}
  address: 127.0.0.1:{port}
  chaincodeListenAddress: 127.0.0.1:{chaincode}
  mspConfigPath: {msp}
  fileSystemPath: {data}
  authentication: {{timewindow: 876000h}}
  gossip: {{externalEndpoint: '127.0.0.1:{port}'}}
operations: {{listenAddress: '127.0.0.1:{operations}'}}
metrics: {{provider: prometheus}}
",
            msp = folder.path().join(ORGANIZATION).join("peers/peer0.org1.example.com/msp").display(),
            data = data.display(),
        );
        let environment = Environment::from_pairs::<String, String>([]);
        let config = Config::from_yaml(&yaml, folder.path().join("core.yaml"), "CORE", &environment).unwrap();
        let config = PeerConfig::from_config(&config).unwrap();
        let shutdown = Shutdown::new();
        let running = fabric_peer::run(config, LogHandle::detached(), shutdown.clone());
        let task = tokio::spawn(async move { running.await.unwrap() });
        let peer = Self {
            address: format!("127.0.0.1:{port}"),
            operations: format!("127.0.0.1:{operations}"),
            shutdown,
            task,
            folder,
            committed,
        };
        for _ in 0..200 {
            if tokio::net::TcpStream::connect(&peer.address).await.is_ok() {
                return peer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the peer does not listen");
    }

    /// What the operations service answers: head and body.
    async fn operation(&self, path: &str) -> (String, String) {
        let mut stream = tokio::net::TcpStream::connect(&self.operations).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: peer\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_ascii_lowercase(), body.to_owned())
    }

    fn request(&self, first: u64, last: u64) -> fabric_proto::common::Envelope {
        let user = self.folder.path().join(ORGANIZATION).join("users/User1@org1.example.com/msp");
        let user = SigningIdentity::from_folder(&user, "Org1MSP").unwrap();
        let seek = protoutil::seek(protoutil::seek_specified(first), protoutil::seek_specified(last));
        protoutil::seek_envelope("goldenchannel", Some(&user), &seek, None)
    }
}

async fn parts(mut stream: tonic::Streaming<DeliverResponse>) -> Vec<Type> {
    let mut found = Vec::new();
    while let Some(answer) = stream.message().await.unwrap() {
        match answer.r#type.unwrap() {
            Type::Status(status) => {
                assert_eq!(status, 200);
                break;
            }
            part => found.push(part),
        }
    }
    found
}

/// Names, kinds and labels of the metrics in a scrape.
fn families(text: &str) -> BTreeMap<String, (String, Vec<String>)> {
    let mut found = BTreeMap::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        let series = [name.to_owned(), format!("{name}_count")];
        let of = |line: &&str| {
            series.iter().any(|name| line.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with([' ', '{'])))
        };
        let first = text.lines().find(of).unwrap_or_default();
        let pairs = first.split_once('{').map_or("", |(_, rest)| rest.split_once('}').unwrap().0);
        let labels = pairs.split("\",").filter_map(|pair| pair.split_once('=')).map(|(label, _)| label.to_owned());
        found.insert(name.to_owned(), (kind.to_owned(), labels.collect()));
    }
    found
}

/// Measures of a stock peer that this one does not have, or not in this test.
const WITHOUT: &[(&str, &str)] = &[
    ("go_", "Go's runtime"),
    ("promhttp_", "Go's Prometheus handler"),
    ("gossip_privdata_", "private values are not kept or passed on"),
    ("gossip_payload_buffer_size", "blocks wait in the pipeline, which has no such buffer"),
    ("chaincode_", "no chaincode is installed here; fabric-chaincode's own tests look at these"),
    ("endorser_endorsement_failures", "no endorsement fails here"),
    ("endorser_proposal_simulation_failures", "no simulation fails here"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_peer_delivers_and_measures_as_a_stock_one() {
    let peer = Peer::start().await;
    let channel = konsort_node::dial(&peer.address, &DialOptions::default()).unwrap();
    let mut client = DeliverClient::new(channel.clone());

    let stream = client.deliver(tokio_stream::once(peer.request(9, 16))).await.unwrap().into_inner();
    for (number, part) in (9..).zip(parts(stream).await) {
        let Type::Block(block) = part else { panic!("{part:?}") };
        assert_eq!(block.encode_to_vec(), golden(&format!("blocks/{number:03}.block")), "block {number}");
    }
    let stream = client.deliver_filtered(tokio_stream::once(peer.request(9, 16))).await.unwrap().into_inner();
    let filtered = parts(stream).await;
    assert_eq!(filtered.len(), 8);
    for (number, part) in (9..).zip(filtered) {
        let Type::FilteredBlock(block) = part else { panic!("{part:?}") };
        assert_eq!(block.encode_to_vec(), golden(&format!("deliver/{number:03}.filtered.pb")), "block {number}");
    }
    let stream = client.deliver_with_private_data(tokio_stream::once(peer.request(43, 47))).await.unwrap().into_inner();
    let with_private = parts(stream).await;
    assert_eq!(with_private.len(), 5);
    let mut kept_by_stock = 0;
    for (number, part) in (43..).zip(with_private) {
        let Type::BlockAndPrivateData(ours) = part else { panic!("{part:?}") };
        let bytes = Bytes::from(golden(&format!("deliver/{number:03}.withpvt.pb")));
        let mut stock = BlockAndPrivateData::decode(bytes).unwrap();
        kept_by_stock += stock.private_data_map.len();
        // Private values are not kept by this peer; all else is equal to the byte.
        stock.private_data_map.clear();
        assert_eq!(ours.encode_to_vec(), stock.encode_to_vec(), "block {number}");
    }

    assert!(kept_by_stock > 0);

    // A proposal whose transaction is committed long since, and a call that succeeds.
    let mut endorser = EndorserClient::new(channel);
    let proposal = SignedProposal::decode(Bytes::from(golden("proposals/01_put/signed_proposal.pb"))).unwrap();
    let refused = endorser.process_proposal(proposal).await;
    let text = refused
        .map_or_else(|status| status.message().to_owned(), |answer| answer.into_inner().response.unwrap().message);
    assert!(text.contains("duplicate transaction found"), "{text}");
    let user = peer.folder.path().join(ORGANIZATION).join("users/User1@org1.example.com/msp");
    let user: Arc<dyn protoutil::Signer> = Arc::new(SigningIdentity::from_folder(&user, "Org1MSP").unwrap());
    let args = ["GetChainInfo", "goldenchannel"].map(|arg| Bytes::from_static(arg.as_bytes())).to_vec();
    let spec = ChaincodeSpec {
        chaincode_id: Some(ChaincodeId { name: "qscc".to_owned(), ..ChaincodeId::default() }),
        input: Some(ChaincodeInput { args, ..ChaincodeInput::default() }),
        ..ChaincodeSpec::default()
    };
    let invocation = ChaincodeInvocationSpec { chaincode_spec: Some(spec) };
    let proposal = protoutil::chaincode_proposal("goldenchannel", &invocation, &user.serialized(), BTreeMap::new());
    let answer = endorser.process_proposal(protoutil::signed_proposal(&proposal.0, &*user)).await.unwrap().into_inner();
    assert_eq!(answer.response.unwrap().status, 200);

    for path in ["version", "healthz", "logspec"] {
        let (head, ours) = peer.operation(&format!("/{path}")).await;
        let stock = golden_text(&format!("logs/peer_org1_{path}.txt"));
        let fields = |text: &str| -> BTreeMap<String, String> {
            let values: BTreeMap<String, String> = serde_json::from_str(text).unwrap();
            // Times and revisions are each node's own.
            let own = |name: &str| name == "time" || name == "CommitSHA";
            values
                .into_iter()
                .map(|(name, value)| if own(&name) { (name, String::new()) } else { (name, value) })
                .collect()
        };
        assert_eq!(fields(&ours), fields(&stock), "{path}");
        assert_eq!(ours.ends_with('\n'), stock.ends_with('\n'), "{path}");
        assert!(head.contains("content-type: application/json"), "{head}");
    }

    // The chain was committed before this process's peer started, by the same code.
    let mut ours = families(&peer.committed);
    ours.extend(families(&peer.operation("/metrics").await.1));
    let (mut missing, mut different, mut compared) = (Vec::new(), Vec::new(), 0);
    for (name, theirs) in families(&golden_text("logs/peer_org1_metrics.txt")) {
        if WITHOUT.iter().any(|(prefix, _)| name.starts_with(prefix)) {
            continue;
        }
        match ours.get(&name) {
            None => missing.push(name),
            Some(own) if *own != theirs => different.push(format!("{name}: {own:?} instead of {theirs:?}")),
            Some(_) => compared += 1,
        }
    }
    assert!(missing.is_empty() && different.is_empty(), "missing {missing:?}, different {different:?}");
    assert!(compared >= 30, "{compared}");
    peer.shutdown.trigger("test");
    peer.task.await.unwrap();
}
