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
        // Apart from other tests of this machine.
        let first = 20_000 + u16::try_from(std::process::id() % 300).unwrap() * 64 + row() * 4000;
        request["first_port"] = json!(first);
        let spec = engine.plan("net_test0123", &serde_json::from_value(request).unwrap(), &[]).unwrap();
        let driver = Arc::new(ProcessDriver::new(program(), folder.path().join("driver")));
        std::fs::create_dir_all(folder.path().join("net")).unwrap();
        Self { engine, driver, folder, spec }
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
            let outcome = self.engine.run(place, act, &step, &|line| println!("    {line}")).await?;
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
                panic!("{act:?}: {error}");
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
    NEXT.fetch_add(1, Ordering::Relaxed) % 5
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
    let simulated = world.call(&address, &readCall { id: "a3".into() }.abi_encode());
    let _ = simulated;
    world.done(Act::Delete).await;
    assert!(!world.folder().join("nodes").exists() && !world.folder().join("accounts").exists());
}
