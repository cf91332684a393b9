//! The fabric engine's acts on a network of real processes.

mod import;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use konsort_drivers::process::ProcessDriver;
use konsort_drivers::{Driver, DriverKind, NodeRef, RunState};
use konsort_engines::act::{Act, Artifact, Deployment};
use konsort_engines::call::{CallInput, CallRequest, CallResult};
use konsort_engines::fabric::Fabric;
use konsort_engines::spec::{EngineKind, NetworkRequest, NetworkSpec, OrganisationRequest};
use konsort_engines::{Engine, EngineError, Place};
use serde_json::{Map, Value};

/// A network on processes in a temporary folder. Every step is begun, cut off after a moment, and then run twice with the same
/// specification, as a server that crashes before and after the step would run it.
struct Network {
    folder: tempfile::TempDir,
    engine: Fabric,
    driver: Arc<dyn Driver>,
    spec: NetworkSpec,
    /// Milliseconds until the next step is cut off.
    cut: u64,
    runtime: tokio::runtime::Runtime,
}

fn organisation(name: &str, nodes: u32) -> OrganisationRequest {
    OrganisationRequest { id: None, name: name.into(), nodes, observers: 0 }
}

fn request(organisations: Vec<OrganisationRequest>) -> NetworkRequest {
    NetworkRequest {
        name: "测试网络".into(),
        engine: EngineKind::Fabric,
        driver: DriverKind::Process,
        organisations,
        consensus: "raft".into(),
        orderers: None,
        channel: None,
        first_port: None,
        block_time_ms: Some(50),
        block_transactions: Some(10),
    }
}

impl Network {
    fn create(id: &str, organisations: Vec<OrganisationRequest>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let engine = Fabric::new(&konsort_node::Environment::process());
        let spec = engine.plan(id, &request(organisations), &[]).unwrap();
        let driver: Arc<dyn Driver> = Arc::new(ProcessDriver::new(super::program(), folder.path().join("driver")));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let mut network = Self { folder, engine, driver, spec, cut: 1, runtime };
        network.act(&Act::Create);
        network
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("network")
    }

    /// Runs an act as a server with an unlucky life would; gives what its steps produced.
    fn act(&mut self, act: &Act) -> Map<String, Value> {
        self.try_act(act).unwrap_or_else(|error| panic!("{act:?}: {error}"))
    }

    fn try_act(&mut self, act: &Act) -> Result<Map<String, Value>, EngineError> {
        let began = Instant::now();
        let mut result = Map::new();
        for step in self.engine.steps(&self.spec, act)? {
            assert!(!step.title.is_empty() && !step.title_zh.is_empty() && step.title != step.title_zh, "{step:?}");
            let data = self.data();
            let place = Place { spec: &self.spec, folder: &data, driver: &self.driver };
            let progress = |line: String| println!("    {line}");
            // Primes spread the cuts over everything that a step does.
            self.cut = self.cut * 7 % 1009;
            let cut = Duration::from_millis(self.cut % 97);
            let once = || self.engine.run(place, act, &step, &progress);
            let outcome = self.runtime.block_on(async {
                let _cut_off = tokio::time::timeout(cut, once()).await;
                once().await?;
                once().await
            })?;
            println!("{:?} {} ({} ms)", began.elapsed(), step.name, cut.as_millis());
            result.extend(outcome.result);
            if let Some(spec) = outcome.spec {
                // The platform keeps the specification as text.
                self.spec = serde_json::from_str(&serde_json::to_string(&spec).unwrap()).unwrap();
            }
        }
        Ok(result)
    }

    fn ask<T>(&self, question: impl AsyncFnOnce(&Fabric, Place<'_>) -> T) -> T {
        let data = self.data();
        let place = Place { spec: &self.spec, folder: &data, driver: &self.driver };
        self.runtime.block_on(question(&self.engine, place))
    }

    fn submit(&self, call: &CallRequest) -> Result<CallResult, EngineError> {
        self.ask(async |engine, place| engine.submit(place, call).await)
    }

    fn heights(&self, channel: &str) -> BTreeMap<String, u64> {
        let health = self.ask(async |engine, place| engine.health(place).await);
        health.into_iter().filter_map(|health| Some((health.node.clone(), *health.heights.get(channel)?))).collect()
    }

    /// Waits until every node that has joined the channel has the same height.
    fn level(&self, channel: &str) {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            let heights = self.heights(channel);
            let joined = self.spec.channel(channel).unwrap().nodes.len();
            let first = heights.values().next().copied();
            if heights.len() == joined && heights.values().all(|height| Some(*height) == first) {
                return;
            }
            assert!(Instant::now() < until, "{heights:?} of {:?}", self.spec.channel(channel));
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for node in &self.spec.nodes {
                let reference = NodeRef { network: self.spec.id.clone(), node: node.id.clone() };
                println!("--- log of {}", node.id);
                let driver = Arc::clone(&self.driver);
                self.runtime.block_on(async move {
                    if let Ok(lines) = driver.logs(&reference, 15, false).await {
                        lines.for_each(async |line| println!("{line}")).await;
                    }
                });
            }
        }
        for node in &self.spec.nodes {
            let reference = NodeRef { network: self.spec.id.clone(), node: node.id.clone() };
            let _gone = self.runtime.block_on(self.driver.stop(&reference, Duration::from_secs(5)));
        }
    }
}

fn call(channel: &str, method: &str, arguments: &[&str]) -> CallRequest {
    CallRequest {
        channel: channel.into(),
        contract: "basic".into(),
        method: method.into(),
        input: CallInput::Texts {
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            transient: BTreeMap::new(),
        },
        signer: None,
        organisation: None,
        endorsers: Vec::new(),
        height: None,
    }
}

fn deployment(channel: &str, version: &str, policy: Option<&str>) -> Act {
    Act::Deploy(Box::new(Deployment {
        contract: "ctr_1".into(),
        name: "basic".into(),
        version: version.into(),
        channel: channel.into(),
        artifact: Artifact::Builtin { name: "asset-transfer".into() },
        arguments: Vec::new(),
        init: false,
        policy: policy.map(str::to_owned),
        collections: None,
        signer: None,
    }))
}

#[test]
fn a_network_is_made_used_stopped_and_removed() {
    let mut network = Network::create("net_thin", vec![organisation("Org1", 1), organisation("Org2", 1)]);
    let health = network.ask(async |engine, place| engine.health(place).await);
    for node in &health {
        assert!(node.reachable && node.problem.is_none(), "{node:?}");
        assert!(node.version.is_some() && node.certificate_days.is_some_and(|days| days > 3000), "{node:?}");
        assert_eq!(node.heights.get("mychannel"), Some(&1), "{node:?}");
    }
    assert_eq!(health[0].role, "leader");

    let result = network.act(&deployment("mychannel", "1.0", None));
    assert_eq!(result["sequence"], 1);
    let sent = network.submit(&call("mychannel", "CreateAsset", &["a1", "blue", "5", "Tom", "300"])).unwrap();
    assert!(sent.ok && sent.code == "VALID" && sent.explanation.is_empty(), "{sent:?}");

    // Blocks from the first on, the newest being the one just made.
    let blocks = network.ask(async |engine, place| {
        let stream = engine.blocks(place, "mychannel", 0).await.unwrap();
        stream.take(sent.height as usize + 1).map(Result::unwrap).collect::<Vec<_>>().await
    });
    assert!(blocks[0].config && blocks[0].transactions[0].kind == "config");
    assert!(blocks.windows(2).all(|pair| pair[1].parent_hash == pair[0].hash && pair[1].height == pair[0].height + 1));
    let newest = blocks.last().unwrap();
    let row = &newest.transactions[0];
    assert_eq!(
        (row.id.as_str(), row.to.as_str(), row.method.as_str()),
        (sent.transaction.as_str(), "basic", "CreateAsset")
    );
    assert_eq!(row.from, "Org1MSP:Admin@org1.example.com");
    assert!(row.terms.contains(&"a1".to_owned()), "{row:?}");
    assert_eq!(newest.producer, "OrdererMSP:orderer1.example.com");
    assert!(blocks.iter().any(|block| block.transactions[0].kind == "deploy"));

    let detail =
        network.ask(async |engine, place| engine.transaction(place, "mychannel", &sent.transaction).await).unwrap();
    assert_eq!(detail.height, sent.height);
    assert_eq!(detail.input[0], "CreateAsset");
    assert_eq!(detail.endorsements.len(), 2);
    assert_eq!(detail.effects["basic"]["writes"][0]["key"], "a1");
    assert!(detail.raw.is_object());
    let missing = network.ask(async |engine, place| engine.transaction(place, "mychannel", "no-such").await);
    assert!(matches!(missing, Err(EngineError::NotFound { .. })), "{missing:?}");

    // A node alone, then all.
    network.act(&Act::Node { node: "peer0-org2".into(), what: "stop".into() });
    let health = network.ask(async |engine, place| engine.health(place).await);
    let stopped = health.iter().find(|health| health.node == "peer0-org2").unwrap();
    assert!(!stopped.reachable && stopped.problem.is_some(), "{stopped:?}");
    network.act(&Act::Node { node: "peer0-org2".into(), what: "start".into() });
    network.act(&Act::Stop);
    let seen = network.ask(async |_, place| place.driver.observe("net_thin").await).unwrap();
    assert_eq!(seen.len(), network.spec.nodes.len());
    assert!(seen.iter().all(|node| node.state == RunState::Stopped), "{seen:?}");
    let refused = network.submit(&call("mychannel", "ReadAsset", &["a1"]));
    assert!(matches!(refused, Err(EngineError::Unreachable { .. })), "{refused:?}");
    network.act(&Act::Start);
    let again = network.submit(&call("mychannel", "UpdateAsset", &["a1", "red", "5", "Tom", "300"])).unwrap();
    assert!(again.ok && again.height > sent.height, "{again:?}");
    network.act(&Act::Delete);
    assert!(!network.data().join("crypto").exists() && !network.data().join("nodes").exists());
}

#[test]
fn a_living_network_grows_and_shrinks() {
    let mut network = Network::create("net_grow", vec![organisation("Org1", 1), organisation("Org2", 1)]);
    let both = "AND('Org1MSP.peer','Org2MSP.peer')";
    network.act(&deployment("mychannel", "1.0", Some(both)));
    assert!(network.submit(&call("mychannel", "InitLedger", &[])).unwrap().ok);

    // A second peer reads the channel and runs the contract; it stands in for the first one.
    let peer = Act::AddNode { organisation: "Org1".into(), role: "peer".into(), channels: vec!["mychannel".into()] };
    network.act(&peer);
    assert!(network.spec.node("peer1-org1").is_some());
    network.level("mychannel");
    network.act(&Act::Node { node: "peer0-org1".into(), what: "stop".into() });
    let sent = network.submit(&call("mychannel", "CreateAsset", &["b1", "blue", "5", "Tom", "300"])).unwrap();
    assert!(sent.ok, "{sent:?}");
    network.act(&Act::Node { node: "peer0-org1".into(), what: "start".into() });
    network.act(&Act::RemoveNode { node: "peer0-org1".into() });
    assert!(network.spec.node("peer0-org1").is_none());
    assert!(matches!(
        network.try_act(&Act::RemoveNode { node: "peer1-org1".into() }),
        Err(EngineError::Invalid { .. })
    ));

    // The ordering service grows to three and loses its first member.
    let orderer = Act::AddNode { organisation: "Orderer".into(), role: "orderer".into(), channels: vec![] };
    network.act(&orderer);
    network.act(&orderer);
    network.level("mychannel");
    network.act(&Act::RemoveNode { node: "orderer1".into() });
    let sent = network.submit(&call("mychannel", "CreateAsset", &["b2", "blue", "5", "Tom", "300"])).unwrap();
    assert!(sent.ok, "{sent:?}");

    // A third organisation joins, and a channel of two of the three.
    let third = Act::AddOrganisation { organisation: organisation("Org3", 1), channels: vec!["mychannel".into()] };
    network.act(&third);
    network.level("mychannel");
    let mut asked = call("mychannel", "ReadAsset", &["b2"]);
    asked.organisation = Some("Org3".into());
    let seen = network.ask(async |engine, place| engine.simulate(place, &asked).await).unwrap();
    assert!(seen.output.as_str().unwrap().contains("b2"), "{seen:?}");
    network.act(&Act::CreateChannel { name: "second".into(), organisations: vec!["Org1".into(), "Org3".into()] });
    network.act(&deployment("second", "1.0", None));
    assert!(network.submit(&call("second", "InitLedger", &[])).unwrap().ok);
    network.level("second");

    // Settings.
    let set =
        |key: &str, value: &str| Act::Configure { channel: "second".into(), key: key.into(), value: value.into() };
    network.act(&set("max_message_count", "7"));
    network.act(&set("batch_timeout", "70ms"));
    assert_eq!((network.spec.block_transactions, network.spec.block_time_ms), (7, 70));
    assert!(matches!(network.try_act(&set("colour", "red")), Err(EngineError::Invalid { .. })));
    let history = network.ask(async |engine, place| engine.config_history(place, "second").await).unwrap();
    let paths: Vec<&str> = history.iter().flat_map(|change| &change.changes).map(|line| line.path.as_str()).collect();
    assert_eq!(history.len(), 3);
    assert_eq!(paths[0], "Orderer.BatchTimeout.timeout", "{paths:?}");
    assert_eq!(history[0].signers, ["OrdererMSP:Admin@example.com"]);
    let history = network.ask(async |engine, place| engine.config_history(place, "mychannel").await).unwrap();
    let admitted =
        history.iter().find(|change| change.changes.iter().any(|line| line.path == "Application.groups.Org3MSP"));
    assert_eq!(admitted.unwrap().signers, ["Org1MSP:Admin@org1.example.com", "Org2MSP:Admin@org2.example.com"]);

    // After all this everything still works from a cold start.
    network.act(&Act::Stop);
    network.act(&Act::Start);
    assert!(network.submit(&call("mychannel", "CreateAsset", &["b3", "blue", "5", "Tom", "300"])).unwrap().ok);
    network.level("mychannel");
}

#[test]
fn calls_are_tried_explained_and_identities_revoked() {
    let mut network = Network::create("net_call", vec![organisation("Org1", 1), organisation("Org2", 1)]);
    network.act(&deployment("mychannel", "1.0", Some("OR('Org1MSP.peer','Org2MSP.peer')")));
    let created = network.submit(&call("mychannel", "CreateAsset", &["c1", "blue", "5", "Tom", "300"])).unwrap();
    assert!(created.ok);
    network.level("mychannel");

    // Trying changes nothing and shows everything.
    let height = network.heights("mychannel")["peer0-org1"];
    let seen = network
        .ask(async |engine, place| engine.simulate(place, &call("mychannel", "TransferAsset", &["c1", "Ann"])).await)
        .unwrap();
    assert!(seen.ok && seen.missing.is_empty() && seen.answers.len() == 2, "{seen:?}");
    assert!(seen.answers.iter().all(|answer| answer["same_result"] == true), "{:?}", seen.answers);
    assert_eq!(seen.effects["basic"]["writes"][0]["key"], "c1");
    assert_eq!(seen.effects["basic"]["reads"][0]["version"]["block"], created.height);
    let refused = network
        .ask(async |engine, place| engine.simulate(place, &call("mychannel", "ReadAsset", &["nothing"])).await)
        .unwrap();
    assert!(!refused.ok && refused.problem.as_ref().unwrap().contains("nothing"), "{refused:?}");
    // What only reads is read on one peer.
    let read = call("mychannel", "ReadAsset", &["c1"]);
    let read = network.ask(async |engine, place| engine.evaluate(place, &read).await).unwrap();
    assert!(read.ok && read.output.as_str().unwrap().contains("Tom") && read.answers.is_empty(), "{read:?}");
    let missed = call("mychannel", "ReadAsset", &["nothing"]);
    let missed = network.ask(async |engine, place| engine.evaluate(place, &missed).await).unwrap();
    assert!(!missed.ok && missed.problem.as_ref().unwrap().contains("nothing"), "{missed:?}");
    // Transient data is shown to the caller's organisation alone, unless others are named.
    let mut secret = call("mychannel", "TransferAsset", &["c1", "Ann"]);
    secret.input = CallInput::Texts {
        arguments: vec!["c1".into(), "Ann".into()],
        transient: BTreeMap::from([("price".to_owned(), "MTAw".to_owned())]),
    };
    let seen = network.ask(async |engine, place| engine.simulate(place, &secret).await).unwrap();
    assert!(seen.ok && seen.answers.len() == 1 && seen.answers[0]["mspid"] == "Org1MSP", "{seen:?}");
    assert_eq!(network.heights("mychannel")["peer0-org1"], height);
    let refused = network.submit(&call("mychannel", "ReadAsset", &["nothing"]));
    assert!(matches!(&refused, Err(EngineError::Refused { why, .. }) if why.contains("nothing")), "{refused:?}");

    // An upgrade makes the policy stricter: one organisation is not enough any more.
    let upgraded = network.act(&deployment("mychannel", "2.0", Some("AND('Org1MSP.peer','Org2MSP.peer')")));
    assert_eq!(upgraded["sequence"], 2);
    let mut one = call("mychannel", "TransferAsset", &["c1", "Ann"]);
    one.endorsers = vec!["Org1".into()];
    let seen = network.ask(async |engine, place| engine.simulate(place, &one).await).unwrap();
    assert_eq!((seen.ok, seen.missing), (false, vec!["Org2MSP".to_owned()]));
    let sent = network.submit(&one).unwrap();
    assert_eq!((sent.ok, sent.code.as_str()), (false, "ENDORSEMENT_POLICY_FAILURE"));
    let trace = network.ask(async |engine, place| engine.trace(place, "mychannel", &sent.transaction).await).unwrap();
    let outline = trace["policy"]["outline"].to_string();
    assert!(outline.contains("Org2MSP") && outline.contains("not satisfied"), "{trace}");

    // Two that read the same key at once: one of them loses, and the trace says to whom.
    let mut conflict = None;
    for round in 0..20 {
        let names: Vec<String> = (0..4).map(|number| format!("owner{round}-{number}")).collect();
        let calls: Vec<CallRequest> =
            names.iter().map(|name| call("mychannel", "TransferAsset", &["c1", name])).collect();
        let results = network.ask(async |engine, place| {
            futures::future::join_all(calls.iter().map(|one| engine.submit(place, one))).await
        });
        conflict = results.into_iter().filter_map(Result::ok).find(|sent| sent.code == "MVCC_READ_CONFLICT");
        if conflict.is_some() {
            break;
        }
    }
    let conflict = conflict.expect("of 80 transfers at once none met another");
    assert!(!conflict.ok && conflict.explanation.contains("send it again"));
    let trace =
        network.ask(async |engine, place| engine.trace(place, "mychannel", &conflict.transaction).await).unwrap();
    let named = &trace["conflicts"][0];
    assert_eq!(named["key"], "c1", "{trace}");
    let winner = named["changed_by"]["transaction"].as_str().unwrap().to_owned();
    let winner = network.ask(async |engine, place| engine.transaction(place, "mychannel", &winner).await).unwrap();
    assert!(winner.record.ok && winner.height <= conflict.height);
    assert!(named["explanation"]["en"].as_str().unwrap().contains(&winner.record.id));

    // What the contract and the network say of themselves.
    let interface = network.ask(async |engine, place| engine.interface(place, "mychannel", "basic").await).unwrap();
    assert_eq!(interface["definition"]["sequence"], 2, "{interface}");
    let data = network.data();
    let place = Place { spec: &network.spec, folder: &data, driver: &network.driver };
    let profile = network.engine.connection_profile(place, "Org1").unwrap();
    let profile: Value = serde_json::from_slice(&profile.bytes).unwrap();
    assert_eq!(profile["organizations"]["Org1"]["mspid"], "Org1MSP");
    let pem = profile["peers"]["peer0.org1.example.com"]["tlsCACerts"]["pem"].as_str().unwrap();
    assert!(pem.contains("BEGIN CERTIFICATE"));

    // An identity is issued, used, revoked and then refused.
    let identity = |name: &str, role: &str| Act::IssueIdentity {
        organisation: "Org1".into(),
        name: name.into(),
        role: role.into(),
    };
    let issued = network.act(&identity("alice", "client"));
    assert_eq!(issued["identity"], "alice@org1.example.com");
    let mut hers = call("mychannel", "TransferAsset", &["c1", "Alice"]);
    hers.signer = Some("alice".into());
    assert!(network.submit(&hers).unwrap().ok);
    network.act(&identity("bob", "auditor"));
    let other_role = network.try_act(&identity("alice", "admin"));
    assert!(matches!(&other_role, Err(EngineError::Invalid { field, .. }) if field == "role"), "{other_role:?}");
    let revoke =
        |organisation: &str, name: &str| Act::RevokeIdentity { organisation: organisation.into(), name: name.into() };
    for name in ["alice", "bob"] {
        network.act(&revoke("Org1", name));
    }
    let again = network.try_act(&identity("alice", "client"));
    assert!(matches!(&again, Err(EngineError::Invalid { field, .. }) if field == "name"), "{again:?}");
    // So it is with those of the orderers' organisation: nodes and channel know.
    let operator = Act::IssueIdentity { organisation: "Orderer".into(), name: "eve".into(), role: "client".into() };
    network.act(&operator);
    network.act(&revoke("Orderer", "eve"));
    let changes = network.ask(async |engine, place| engine.config_history(place, "mychannel").await).unwrap();
    let path = &changes[0].changes[0].path;
    assert!(path.starts_with("Orderer.groups.OrdererMSP.MSP"), "{path}");
    let own = "crypto/ordererOrganizations/example.com/orderers/orderer1.example.com/msp/crls/revoked.pem";
    assert!(network.data().join(own).exists());
    let refused = network.submit(&hers);
    assert!(matches!(&refused, Err(EngineError::Refused { .. })), "{refused:?}");
    let records = network.ask(async |engine, place| engine.identities(place)).unwrap();
    let revoked: Vec<&str> = records.iter().filter(|one| one.revoked).map(|one| one.name.as_str()).collect();
    assert_eq!(revoked, ["eve", "alice", "bob"], "{records:?}");
    let files = network.ask(async |engine, place| engine.identity_files(place, "Org1", "User1")).unwrap();
    assert!(files.iter().any(|file| file.name == "key.pem" && file.bytes.starts_with(b"-----BEGIN PRIVATE KEY")));
    assert!(network.ask(async |engine, place| engine.identity_files(place, "Org1", "../../ca")).is_err());
    assert!(network.submit(&call("mychannel", "TransferAsset", &["c1", "Tom"])).unwrap().ok);
}

#[test]
#[ignore = "fetches packages from the registry and builds them, which takes minutes; run it with -- --ignored"]
fn a_package_with_sources_is_built_by_the_peers_and_describes_itself() {
    let mut network = Network::create("net_node", vec![organisation("Org1", 1)]);
    let stock = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/conformance/chaincode/node");
    let sources = network.folder.path().join("sources");
    std::fs::create_dir_all(sources.join("lib")).unwrap();
    for file in ["index.js", "lib/asset-transfer.js"] {
        std::fs::copy(stock.join(file), sources.join(file)).unwrap();
    }
    // Upstream's contract API fails to describe contracts with any later version of this, also with the one in the lock file.
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(stock.join("package.json")).unwrap()).unwrap();
    manifest["dependencies"]["class-transformer"] = "0.4.0".into();
    std::fs::write(sources.join("package.json"), manifest.to_string()).unwrap();
    let package = fabric_client::package::from_source(&sources.display().to_string(), "node", "nodecc_1.0").unwrap();
    let path = network.folder.path().join("nodecc.tar.gz");
    std::fs::write(&path, &package).unwrap();
    let result = network.act(&Act::Deploy(Box::new(Deployment {
        contract: "ctr_2".into(),
        name: "nodecc".into(),
        version: "1.0-beta".into(),
        channel: "mychannel".into(),
        artifact: Artifact::Package { path, label: "nodecc_1.0".into() },
        arguments: Vec::new(),
        init: false,
        policy: None,
        collections: Some(serde_json::json!([{
            "name": "secrets", "policy": "OR('Org1MSP.member')", "requiredPeerCount": 0, "maxPeerCount": 1,
            "blockToLive": 0, "memberOnlyRead": true,
        }])),
        signer: None,
    })));
    assert_eq!(result["package_id"], fabric_client::package::package_id("nodecc_1.0", &package).as_str());
    let mut made = call("mychannel", "CreateAsset", &["n1", "blue", "5", "Tom", "300"]);
    made.contract = "nodecc".into();
    made.signer = Some("User1".into());
    let sent = network.submit(&made).unwrap();
    assert!(sent.ok, "{sent:?}");
    let interface = network.ask(async |engine, place| engine.interface(place, "mychannel", "nodecc").await).unwrap();
    assert!(interface["metadata"]["contracts"].is_object(), "{interface}");
    assert_eq!(interface["definition"]["version"], "1.0-beta");
}
