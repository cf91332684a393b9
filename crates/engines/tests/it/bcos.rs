//! Real chains of real processes, through every act.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy_sol_types::{SolCall as _, sol};
use futures::StreamExt as _;
use konsort_drivers::Driver;
use konsort_drivers::process::ProcessDriver;
use konsort_engines::act::{Artifact, Deployment};
use konsort_engines::bcos::Bcos;
use konsort_engines::call::CallInput;
use konsort_engines::{Act, CallRequest, Engine as _, EngineError, NetworkSpec, Place};
use serde_json::{Map, Value, json};

use crate::program;

const BYTECODE: &str = include_str!("../../../platform/src/local/chain/sample_contract/Asset.bin");
const ABI: &str = include_str!("../../../platform/src/local/chain/sample_contract/Asset.abi");

sol! {
    function create(string id, string description, uint256 value) external;
    function read(string id) external view returns (address owner, string description, uint256 value);
}

/// One network on this machine. Its nodes end with it.
struct World {
    /// Every step is cut off after a while and run again, then once more as if its end had not been recorded.
    rough: bool,
    engine: Bcos,
    driver: Arc<dyn Driver>,
    folder: tempfile::TempDir,
    spec: NetworkSpec,
}

impl World {
    fn plan(request: &Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let engine = Bcos::new(program());
        let mut request = request.clone();
        request["name"] = json!("Trade");
        request["engine"] = json!("bcos");
        request["block_time_ms"] = json!(20);
        // Apart from other tests of this machine, and below the ports of outgoing connections.
        let first = 10_240 + u16::try_from(std::process::id() % 40).unwrap() * 512 + row() * 64;
        request["first_port"] = json!(first);
        let spec = engine.plan("net_test0123", &serde_json::from_value(request).unwrap(), &[]).unwrap();
        let driver = Arc::new(ProcessDriver::new(program(), folder.path().join("driver")));
        std::fs::create_dir_all(folder.path().join("net")).unwrap();
        Self { rough: false, engine, driver, folder, spec }
    }

    fn folder(&self) -> PathBuf {
        self.folder.path().join("net")
    }

    async fn act(&mut self, act: &Act) -> Result<Map<String, Value>, EngineError> {
        let mut result = Map::new();
        for step in self.engine.steps(&self.spec, act)? {
            let began = Instant::now();
            let folder = self.folder();
            let place = Place { spec: &self.spec, folder: &folder, driver: &self.driver };
            let progress = |line| println!("    {line}");
            let attempt = async || self.engine.run(place, act, &step, &progress).await;
            if self.rough {
                for pause in [1, 7, 25, 130] {
                    let _cut_off = tokio::time::timeout(Duration::from_millis(pause), attempt()).await;
                    // What the driver had begun in other threads ends with a crash, but not with a dropped future.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
            let mut outcome = attempt().await?;
            if self.rough {
                let again = attempt().await?;
                assert_eq!(outcome.spec, again.spec, "{}", step.name);
                outcome = again;
            }
            println!("{} {:?}", step.name, began.elapsed());
            if let Some(spec) = outcome.spec {
                self.spec = spec;
            }
            result.extend(outcome.result);
        }
        Ok(result)
    }

    async fn done(&mut self, act: Act) -> Map<String, Value> {
        match self.act(&act).await {
            Ok(result) => result,
            Err(error) => {
                self.show_logs();
                panic!("{error}");
            }
        }
    }

    fn show_logs(&self) {
        for file in
            walk(self.folder.path()).into_iter().filter(|path| path.extension().is_some_and(|kind| kind == "log"))
        {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            let lines: Vec<&str> = text.lines().rev().take(12).collect();
            println!("--- {}\n{}", file.display(), lines.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
    }

    fn call(&self, contract: &str, input: &[u8]) -> CallRequest {
        CallRequest {
            channel: "group0".into(),
            contract: contract.into(),
            method: String::new(),
            input: CallInput::Data { data: format!("0x{}", hex::encode(input)) },
            signer: None,
            organisation: None,
            endorsers: Vec::new(),
            height: None,
        }
    }

    fn deployment(&self, group: &str) -> Act {
        Act::Deploy(Box::new(Deployment {
            contract: "ctr_asset".into(),
            name: "Asset".into(),
            version: "1.0".into(),
            channel: group.into(),
            artifact: Artifact::Evm { bytecode: BYTECODE.trim().into(), abi: serde_json::from_str(ABI).unwrap() },
            arguments: Vec::new(),
            init: false,
            policy: None,
            collections: None,
            signer: None,
        }))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let (driver, spec) = (Arc::clone(&self.driver), self.spec.clone());
        let ended = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                for node in &spec.nodes {
                    let node = konsort_drivers::NodeRef { network: spec.id.clone(), node: node.id.clone() };
                    let _was_gone = driver.stop(&node, Duration::from_secs(3)).await;
                }
            });
        });
        let _panicked = ended.join();
    }
}

/// Runs a block with the place of a world.
macro_rules! at {
    ($world:expr, $engine:ident, $place:ident => $body:expr) => {{
        let folder = $world.folder();
        let $place = Place { spec: &$world.spec, folder: &folder, driver: &$world.driver };
        let $engine = &$world.engine;
        $body
    }};
}

fn row() -> u16 {
    use std::sync::atomic::{AtomicU16, Ordering};
    static NEXT: AtomicU16 = AtomicU16::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed) % 8
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() { found.extend(walk(&entry.path())) } else { found.push(entry.path()) }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_is_made_used_stopped_started_and_deleted() {
    let mut world = World::plan(&json!({
        "consensus": "pbft",
        "organisations": [{ "name": "Org1", "nodes": 3, "observers": 1 }, { "name": "Org2", "nodes": 2 }],
    }));
    let made = world.done(Act::Create).await;
    assert!(made["first_transaction"].as_str().unwrap().starts_with("0x"));
    assert!(world.spec.nodes.iter().all(|node| node.node_id.as_ref().is_some_and(|id| id.len() == 128)));

    // Health of every node.
    let health = at!(world, engine, place => engine.health(place).await);
    assert!(health.iter().all(|node| node.reachable && node.problem.is_none()), "{health:?}");
    assert_eq!(health.iter().filter(|node| node.role == "leader").count(), 1, "{health:?}");
    assert_eq!(health[2].role, "observer");
    assert!(
        health[0].peers == Some(4) && health[0].certificate_days.unwrap() > 3000 && health[0].heights["group0"] > 0
    );
    assert!(health[0].version.as_ref().unwrap().starts_with("3.16"));

    // A contract, its name, a call, its record.
    let deployed = world.done(world.deployment("group0")).await;
    let address = deployed["address"].as_str().unwrap().to_owned();
    assert_eq!(deployed["path"], "/apps/Asset/1.0");
    let input = createCall { id: "a1".into(), description: "first".into(), value: "7".parse().unwrap() }.abi_encode();
    let call = world.call(&address, &input);
    let sent = at!(world, engine, place => engine.submit(place, &call).await).unwrap();
    assert!(sent.ok && sent.explanation.is_empty() && sent.gas_used.unwrap() > 0, "{sent:?}");
    let detail = at!(world, engine, place => engine.transaction(place, "group0", &sent.transaction).await).unwrap();
    assert_eq!((detail.height, detail.record.to.as_str(), detail.record.ok), (sent.height, address.as_str(), true));
    assert_eq!(detail.record.method, format!("0x{}", hex::encode(createCall::SELECTOR)));
    // A second one with the same key is refused by the contract, with its reason.
    let again = at!(world, engine, place => engine.submit(place, &call).await).unwrap();
    assert!(!again.ok && again.explanation.contains("RevertInstruction"), "{again:?}");

    // Blocks from the first on, and then as they come.
    let mut blocks = at!(world, engine, place => engine.blocks(place, "group0", 0).await).unwrap();
    let mut height = 0;
    let mut codes = Vec::new();
    while height <= again.height {
        let block = blocks.next().await.unwrap().unwrap();
        assert_eq!(block.height, height);
        codes.extend(block.transactions.iter().map(|transaction| (transaction.kind.clone(), transaction.code.clone())));
        height += 1;
    }
    assert!(
        codes.contains(&("deploy".into(), "0".into())) && codes.contains(&("call".into(), "16".into())),
        "{codes:?}"
    );
    let submitted = {
        let folder = world.folder();
        let place = Place { spec: &world.spec, folder: &folder, driver: &world.driver };
        let other =
            createCall { id: "a2".into(), description: String::new(), value: "8".parse().unwrap() }.abi_encode();
        world.engine.submit(place, &world.call(&address, &other)).await.unwrap()
    };
    let live = tokio::time::timeout(Duration::from_secs(5), async {
        loop {
            let block = blocks.next().await.unwrap().unwrap();
            if block.transactions.iter().any(|transaction| transaction.id == submitted.transaction) {
                return block;
            }
        }
    });
    assert!(live.await.is_ok());

    // One node ends, the network goes on; it comes back; then all stop and start.
    world.done(Act::Node { node: "node0".into(), what: "stop".into() }).await;
    let health = at!(world, engine, place => engine.health(place).await);
    assert!(!health[0].reachable && health[1].reachable);
    let third = createCall { id: "a3".into(), description: String::new(), value: "9".parse().unwrap() }.abi_encode();
    let call = world.call(&address, &third);
    assert!(at!(world, engine, place => engine.submit(place, &call).await).unwrap().ok);
    world.done(Act::Node { node: "node0".into(), what: "start".into() }).await;
    world.done(Act::Node { node: "node1".into(), what: "restart".into() }).await;
    world.done(Act::Stop).await;
    world.done(Act::Start).await;
    let read = world.call(&address, &readCall { id: "a3".into() }.abi_encode());
    let answer = at!(world, engine, place => engine.simulate(place, &read).await).unwrap();
    let output = hex::decode(answer.output.as_str().unwrap().trim_start_matches("0x")).unwrap();
    assert_eq!(readCall::abi_decode_returns(&output).unwrap().value.to_string(), "9");
    world.done(Act::Delete).await;
    assert!(!world.folder().join("nodes").exists() && !world.folder().join("accounts").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_tried_traced_and_explained() {
    let mut world = World::plan(&json!({ "consensus": "pbft", "organisations": [{ "name": "Org1", "nodes": 1 }] }));
    world.done(Act::Create).await;
    let deployed = world.done(world.deployment("group0")).await;
    let address = deployed["address"].as_str().unwrap().to_owned();

    let input = createCall { id: "a1".into(), description: "first".into(), value: "7".parse().unwrap() }.abi_encode();
    let call = world.call(&address, &input);
    let tried = at!(world, engine, place => engine.simulate(place, &call).await).unwrap();
    assert!(tried.ok && tried.problem.is_none() && tried.gas_used.unwrap() > 20_000, "{tried:?}");
    assert_eq!(tried.events.len(), 1, "{tried:?}");
    assert_eq!(tried.events[0].contract, address);
    let slots = tried.effects[&address]["storage"].as_object().unwrap();
    let counted = format!("0x{:064x}", 1);
    assert_eq!(slots[&counted]["after"], counted, "{slots:?}");
    // Trying changed nothing.
    let read = world.call(&address, &readCall { id: "a1".into() }.abi_encode());
    let missing = at!(world, engine, place => engine.simulate(place, &read).await).unwrap();
    assert!(
        !missing.ok && missing.problem.as_ref().unwrap().starts_with("the asset does not exist (RevertInstruction)"),
        "{missing:?}"
    );

    let sent = at!(world, engine, place => engine.submit(place, &call).await).unwrap();
    let trace = at!(world, engine, place => engine.trace(place, "group0", &sent.transaction).await).unwrap();
    assert_eq!(
        (trace["create"].as_bool(), trace["failed"].as_bool(), trace["to"].as_str()),
        (Some(false), Some(false), Some(address.as_str()))
    );
    let steps = trace["structLogs"].as_array().unwrap();
    assert!(steps.len() > 100 && steps[0]["op"] == "PUSH1" && steps.iter().any(|step| step["op"] == "SSTORE"));
    assert!(steps.iter().any(|step| step["memory"].is_array()) && trace["next"].is_null());
    assert_eq!(trace["storage"][&address]["storage"][&counted]["after"], counted);
    let page =
        at!(world, engine, place => engine.trace(place, "group0", &format!("{}#50", sent.transaction)).await).unwrap();
    assert_eq!(page["structLogs"][0]["pc"], steps[50]["pc"]);
    let at_height = CallRequest { height: Some(sent.height - 1), ..read.clone() };
    let earlier = at!(world, engine, place => engine.simulate(place, &at_height).await).unwrap();
    assert!(!earlier.ok);
    let now = at!(world, engine, place => engine.simulate(place, &read).await).unwrap();
    assert!(now.ok);

    // What the chain itself knows of the contract, by address and by name.
    let by_name = at!(world, engine, place => engine.interface(place, "group0", "Asset/1.0").await).unwrap();
    let by_address = at!(world, engine, place => engine.interface(place, "group0", &address).await).unwrap();
    assert!(by_name == by_address && by_name["abi"].as_array().unwrap().iter().any(|item| item["name"] == "create"));

    // An account of its own.
    let issue = Act::IssueIdentity { organisation: "Org1".into(), name: "alice".into(), role: "client".into() };
    let alice = world.done(issue).await["address"].as_str().unwrap().to_owned();
    let other = createCall { id: "b".into(), description: String::new(), value: "1".parse().unwrap() }.abi_encode();
    let by_alice = CallRequest { signer: Some("alice".into()), ..world.call(&address, &other) };
    let sent = at!(world, engine, place => engine.submit(place, &by_alice).await).unwrap();
    let detail = at!(world, engine, place => engine.transaction(place, "group0", &sent.transaction).await).unwrap();
    assert_eq!(detail.record.from, alice);
    assert!(detail.record.terms.contains(&alice), "{:?}", detail.record.terms);
    let known = at!(world, engine, place => engine.identities(place)).unwrap();
    assert_eq!(known.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["admin", "alice"]);
    world.done(Act::RevokeIdentity { organisation: "Org1".into(), name: "alice".into() }).await;
    let refused = at!(world, engine, place => engine.submit(place, &by_alice).await).unwrap_err();
    assert!(matches!(refused, EngineError::NotFound { .. }), "{refused}");

    // Errors in words, and nothing that was never there.
    let nothing =
        at!(world, engine, place => engine.transaction(place, "group0", &format!("0x{}", "1".repeat(64))).await);
    assert!(matches!(nothing, Err(EngineError::NotFound { .. })), "{nothing:?}");
    let nothing = at!(world, engine, place => engine.trace(place, "group0", &format!("0x{}", "1".repeat(64))).await);
    assert!(matches!(nothing, Err(EngineError::NotFound { .. })), "{nothing:?}");
    let wrong = world.call("0x12", &[]);
    assert!(matches!(
        at!(world, engine, place => engine.submit(place, &wrong).await),
        Err(EngineError::Invalid { .. })
    ));
    let empty = world.call(&format!("0x{}", "ab".repeat(20)), &other);
    let tried = at!(world, engine, place => engine.simulate(place, &empty).await).unwrap();
    assert!(tried.problem.unwrap().contains("there is no contract"));

    let profile = at!(world, engine, place => engine.connection_profile(place, "Org1")).unwrap();
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(profile.bytes)).unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut archive.by_name("config.toml").unwrap(), &mut text).unwrap();
    let peer = format!("peers = [\"127.0.0.1:{}\"]", world.spec.nodes[0].ports["rpc"]);
    assert!(text.contains(&peer), "{text}");
    assert!(archive.by_name("conf/sdk.key").is_ok() && archive.by_name("conf/ca.crt").is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_living_chain_grows_and_shrinks() {
    let mut world = World::plan(&json!({
        "consensus": "pbft",
        "organisations": [{ "name": "Org1", "nodes": 2 }, { "name": "Org2", "nodes": 2 }],
    }));
    world.done(Act::Create).await;
    let address = world.done(world.deployment("group0")).await["address"].as_str().unwrap().to_owned();
    let mut number = 0;
    let mut create = |world: &World| {
        number += 1;
        let id = format!("n{number}");
        world.call(&address, &createCall { id, description: String::new(), value: "1".parse().unwrap() }.abi_encode())
    };

    // An observer, that seals later with a weight.
    world
        .done(Act::AddNode { organisation: "Org2".into(), role: "observer".into(), channels: vec!["group0".into()] })
        .await;
    let health = at!(world, engine, place => engine.health(place).await);
    assert_eq!(
        (health[4].node.as_str(), health[4].role.as_str(), health[4].peers),
        ("node4", "observer", Some(4)),
        "{health:?}"
    );
    world.done(Act::SetRole { node: "node4".into(), role: "sealer".into(), weight: Some(2) }).await;
    let health = at!(world, engine, place => engine.health(place).await);
    assert!(health[4].role != "observer", "{health:?}");

    // Another organisation with its own authority; every node learns to trust it.
    let organisation = serde_json::from_value(json!({ "name": "Org3", "nodes": 1 })).unwrap();
    world.done(Act::AddOrganisation { organisation, channels: vec![] }).await;
    let health = at!(world, engine, place => engine.health(place).await);
    assert!(health.len() == 6 && health.iter().all(|node| node.reachable && node.peers == Some(5)), "{health:?}");
    let call = CallRequest { organisation: Some("Org3".into()), ..create(&world) };
    assert!(at!(world, engine, place => engine.submit(place, &call).await).unwrap().ok);

    // A further group on some of the nodes.
    world.done(Act::CreateChannel { name: "trade".into(), organisations: vec!["Org1".into(), "Org3".into()] }).await;
    let other = world.done(world.deployment("trade")).await["address"].as_str().unwrap().to_owned();
    let call = CallRequest { channel: "trade".into(), contract: other.clone(), ..create(&world) };
    assert!(at!(world, engine, place => engine.submit(place, &call).await).unwrap().ok);
    let tried = at!(world, engine, place => engine.simulate(place, &call).await).unwrap();
    assert!(!tried.ok && tried.problem.unwrap().contains("the asset exists already"));
    let mut blocks = at!(world, engine, place => engine.blocks(place, "trade", 0).await).unwrap();
    let mut found = Vec::new();
    while !found.contains(&("call".to_owned(), other.clone())) {
        let block = tokio::time::timeout(Duration::from_secs(5), blocks.next()).await.unwrap().unwrap().unwrap();
        found.extend(block.transactions.into_iter().map(|transaction| (transaction.kind, transaction.to)));
    }
    let health = at!(world, engine, place => engine.health(place).await);
    assert!(health[0].heights["trade"] > 0 && !health[2].heights.contains_key("trade"), "{health:?}");

    // Settings, and a node less.
    let configure =
        |value: &str| Act::Configure { channel: "group0".into(), key: "tx_count_limit".into(), value: value.into() };
    world.done(configure("2000")).await;
    assert!(world.done(configure("2000")).await.is_empty());
    let refused = world.act(&configure("none")).await.unwrap_err();
    assert!(refused.to_string().contains("must be a valid number"), "{refused}");
    world.done(Act::RemoveNode { node: "node3".into() }).await;
    assert!(world.spec.node("node3").is_none() && !world.folder().join("nodes/node3").exists());
    let call = create(&world);
    assert!(at!(world, engine, place => engine.submit(place, &call).await).unwrap().ok);

    // Who did what.
    let history = at!(world, engine, place => engine.config_history(place, "group0").await).unwrap();
    let told: Vec<(String, Option<Value>, Option<Value>)> = history
        .iter()
        .flat_map(|change| &change.changes)
        .map(|change| (change.path.clone(), change.before.clone(), change.after.clone()))
        .collect();
    assert!(told.contains(&("tx_count_limit".into(), Some(json!("1000")), Some(json!("2000")))), "{told:?}");
    let sealer = |weight: u64| Some(json!({ "role": "sealer", "weight": weight }));
    assert!(told.contains(&("members.node4".into(), Some(json!({ "role": "observer" })), sealer(2))), "{told:?}");
    assert_eq!(history.last().unwrap().height, 0);
    assert!(
        history.iter().any(|change| change.signers.iter().any(|signer| signer.starts_with("Org2/admin (0x"))),
        "{history:?}"
    );
    let again = at!(world, engine, place => engine.config_history(place, "group0").await).unwrap();
    assert_eq!(history, again);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_may_be_cut_off_and_run_again() {
    let mut world = World::plan(&json!({ "consensus": "pbft", "organisations": [{ "name": "Org1", "nodes": 2 }] }));
    world.rough = true;
    world.done(Act::Create).await;
    let deployed = world.done(world.deployment("group0")).await;
    // One deployment was made, however often it was tried.
    let mut blocks = at!(world, engine, place => engine.blocks(place, "group0", 0).await).unwrap();
    let mut deployments = 0;
    let linked = deployed["height"].as_u64().unwrap() + 1;
    loop {
        let block = blocks.next().await.unwrap().unwrap();
        deployments += block.transactions.iter().filter(|transaction| transaction.kind == "deploy").count();
        if block.height >= linked {
            break;
        }
    }
    assert_eq!(deployments, 1);
    // The same again is a second contract.
    let second = world.done(world.deployment("group0")).await;
    assert_ne!(deployed["address"], second["address"]);
    world.done(Act::AddNode { organisation: "Org1".into(), role: "sealer".into(), channels: vec![] }).await;
    let organisation = serde_json::from_value(json!({ "name": "Org2", "nodes": 1 })).unwrap();
    world.done(Act::AddOrganisation { organisation, channels: vec![] }).await;
    world.done(Act::CreateChannel { name: "trade".into(), organisations: vec!["Org1".into(), "Org2".into()] }).await;
    world.done(Act::SetRole { node: "node1".into(), role: "observer".into(), weight: None }).await;
    world.done(Act::RemoveNode { node: "node1".into() }).await;
    world.done(Act::Node { node: "node0".into(), what: "restart".into() }).await;
    let health = at!(world, engine, place => engine.health(place).await);
    assert_eq!(health.len(), 3);
    assert!(health.iter().all(|node| node.reachable && node.problem.is_none() && node.peers == Some(2)), "{health:?}");
    world.done(Act::Stop).await;
    world.done(Act::Delete).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_of_somebody_else_is_watched_and_used() {
    let mut world = World::plan(&json!({ "consensus": "raft", "organisations": [{ "name": "Org1", "nodes": 1 }] }));
    world.done(Act::Create).await;
    let address = world.done(world.deployment("group0")).await["address"].as_str().unwrap().to_owned();

    let mut spec = world.spec.clone();
    spec.id = "net_other".into();
    spec.driver = konsort_drivers::DriverKind::External;
    for node in &mut spec.nodes {
        let endpoint = |name: &str| (name.to_owned(), format!("127.0.0.1:{}", node.ports[name]));
        node.external = Some([endpoint("rpc"), endpoint("web3")].into());
        node.ports.clear();
    }
    let folder = world.folder.path().join("other");
    std::fs::create_dir_all(&folder).unwrap();
    let driver: Arc<dyn Driver> = Arc::new(konsort_drivers::external::ExternalDriver::new());
    let engine = Bcos::new(program());
    let place = Place { spec: &spec, folder: &folder, driver: &driver };
    let sdk = world.folder().join("agencies/Org1/sdk");
    let pem = |name: &str| std::fs::read_to_string(sdk.join(name)).ok();
    let mut trust = konsort_engines::Trust {
        organisation: "Org1".into(),
        ca: pem("ca.crt"),
        certificate: pem("sdk.crt"),
        ..Default::default()
    };
    let refused = engine.import(place, std::slice::from_ref(&trust)).unwrap_err();
    assert!(refused.to_string().contains("belong together"), "{refused}");
    trust.key = pem("sdk.key");
    engine.import(place, std::slice::from_ref(&trust)).unwrap();

    let health = engine.health(place).await;
    assert!(health[0].reachable && health[0].problem.is_none() && health[0].heights["group0"] > 0, "{health:?}");
    let input = createCall { id: "x".into(), description: String::new(), value: "5".parse().unwrap() }.abi_encode();
    let sent = engine.submit(place, &world.call(&address, &input)).await.unwrap();
    assert!(sent.ok, "{sent:?}");
    let mut blocks = engine.blocks(place, "group0", sent.height).await.unwrap();
    assert_eq!(blocks.next().await.unwrap().unwrap().transactions[0].id, sent.transaction);
    let read = engine.simulate(place, &world.call(&address, &readCall { id: "x".into() }.abi_encode())).await.unwrap();
    assert!(read.ok, "{read:?}");
    // Its nodes are not ours to start or stop.
    for act in [Act::Stop, Act::Start, Act::Node { node: "node0".into(), what: "stop".into() }] {
        assert!(matches!(engine.steps(&spec, &act), Err(EngineError::Unsupported(_))));
    }
    for step in engine.steps(&spec, &Act::Delete).unwrap() {
        engine.run(place, &Act::Delete, &step, &|_| {}).await.unwrap();
    }
    let health = at!(world, engine, place => engine.health(place).await);
    assert!(health[0].reachable);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_of_blocks_keeps_up_with_rotating_sealers_at_full_load() {
    const CALLS: usize = 1_200;
    let mut world = World::plan(&json!({ "consensus": "rpbft", "organisations": [{ "name": "Org1", "nodes": 1 }] }));
    world.done(Act::Create).await;
    let address = world.done(world.deployment("group0")).await["address"].as_str().unwrap().to_owned();
    let mut blocks = at!(world, engine, place => engine.blocks(place, "group0", 0).await).unwrap();
    let read = tokio::spawn(async move {
        let mut seen = 0;
        while seen < CALLS {
            let block = blocks.next().await.unwrap().unwrap();
            seen +=
                block.transactions.iter().filter(|transaction| transaction.kind == "call" && transaction.ok).count();
        }
        Instant::now()
    });
    let folder = world.folder();
    let place = Place { spec: &world.spec, folder: &folder, driver: &world.driver };
    let began = Instant::now();
    let calls = (0..CALLS).map(|number| {
        let id = format!("load{number}");
        world.call(&address, &createCall { id, description: String::new(), value: "1".parse().unwrap() }.abi_encode())
    });
    let engine = &world.engine;
    let sent: Vec<bool> = futures::stream::iter(calls)
        .map(|call| async move { engine.submit(place, &call).await.unwrap().ok })
        .buffer_unordered(48)
        .collect()
        .await;
    assert!(sent.len() == CALLS && sent.iter().all(|ok| *ok));
    let ended = Instant::now();
    let caught_up = tokio::time::timeout(Duration::from_secs(2), read).await.unwrap().unwrap();
    println!(
        "{CALLS} calls in {:?}, in the stream {:?} later",
        ended - began,
        caught_up.saturating_duration_since(ended)
    );
}
