//! One specification, two kinds of places: the same networks run as processes of this machine and as containers of a Docker Engine,
//! stock clients use them, a node is killed and a node is cut off.
//!
//! The engine and everything of the test that speaks to containers are in a network namespace of their own; see
//! `scripts/dockerd.sh`.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use conformance::bcos::{ethereum_suite, java_suite, prepare_clients};
use conformance::{konsort, node_suite_on, npm_project};
use konsort_drivers::docker::DockerDriver;
use konsort_drivers::process::ProcessDriver;
use konsort_drivers::{Driver, DriverKind, NodeRef, Observed, RunState};
use konsort_engines::act::{Artifact, Deployment};
use konsort_engines::bcos::Bcos;
use konsort_engines::call::CallInput;
use konsort_engines::fabric::Fabric;
use konsort_engines::{Act, CallRequest, Engine, NetworkSpec, Place};
use serde_json::{Map, Value, json};

/// Set for the part inside the engine's namespace: the folder to work in.
const INSIDE: &str = "KONSORT_PLACES_FOLDER";
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/dockerd.sh");
const ABI: &str = include_str!("../../../../crates/platform/src/local/chain/sample_contract/Asset.abi");
const BYTECODE: &str = include_str!("../../../../crates/platform/src/local/chain/sample_contract/Asset.bin");

/// Specifications as they are made once and then used in every place.
fn specifications(folder: &Path) -> PathBuf {
    folder.join("specifications.json")
}

fn plan(folder: &Path) {
    let first = conformance::free_row(60);
    let organisations = |nodes: u32| json!([{"name": "Org1", "nodes": nodes, "observers": 0}, {"name": "Org2", "nodes": nodes, "observers": 0}]);
    let request = |engine: &str, consensus: &str, nodes: u32, first: u16| {
        let request = json!({"name": "贸易 Trade", "engine": engine, "organisations": organisations(nodes), "consensus": consensus,
            "orderers": (engine == "fabric").then_some(3), "first_port": first, "block_time_ms": 50});
        serde_json::from_value(request).unwrap()
    };
    let fabric = fabric().plan("net_fabric01", &request("fabric", "raft", 1, first), &[]).unwrap();
    let bcos = Bcos::new(konsort().unwrap()).plan("net_bcos01", &request("bcos", "pbft", 2, first + 30), &[]).unwrap();
    std::fs::write(specifications(folder), json!({"fabric": fabric, "bcos": bcos}).to_string()).unwrap();
}

fn fabric() -> Fabric {
    Fabric::new(&konsort_node::Environment::process())
}

#[test]
#[ignore = "takes some minutes; cargo xtask test --all runs it"]
fn the_same_networks_run_as_processes() {
    let folder = tempfile::tempdir().unwrap();
    let _nodes = Nodes(folder.path().join("driver"));
    plan(folder.path());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(play(folder.path(), None));
}

#[test]
#[ignore = "takes some minutes; cargo xtask test --all runs it"]
fn the_same_networks_run_as_containers() {
    if std::env::var_os(INSIDE).is_some() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    plan(folder.path());
    // Inside there is no way to the package registries.
    npm_project("node").unwrap();
    prepare_clients().unwrap();
    let name = format!("kp{}", std::process::id());
    let engine = ContainerEngine { folder: folder.path().to_owned(), name };
    let up = Command::new("bash").args([SCRIPT, "up"]).arg(folder.path()).arg(&engine.name).output().unwrap();
    let said = String::from_utf8_lossy(&up.stdout).into_owned();
    if up.status.code() == Some(77) && !rustix::process::geteuid().is_root() {
        println!("SKIPPED: {}", said.trim());
        return;
    }
    assert!(up.status.success(), "{said}{}", String::from_utf8_lossy(&up.stderr));
    let inside = Command::new("bash")
        .args([SCRIPT, "in", &engine.name])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "places::inside", "--nocapture"])
        .env(INSIDE, folder.path())
        .env("KONSORT_BIN", konsort().unwrap())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&inside.stdout).into_owned();
    let errors = String::from_utf8_lossy(&inside.stderr);
    assert!(inside.status.success() && said.contains("BOTH ENGINES IN docker"), "{said}{errors}");
    println!("{said}{errors}");
}

/// Not a test of its own: the part inside the namespace.
#[test]
fn inside() {
    let Some(folder) = std::env::var_os(INSIDE).map(PathBuf::from) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(play(&folder, Some(&folder.join("docker.sock"))));
}

/// Ends nodes that a failed test leaves behind.
struct Nodes(PathBuf);

impl Drop for Nodes {
    fn drop(&mut self) {
        for network in std::fs::read_dir(&self.0).into_iter().flatten().flatten() {
            for file in std::fs::read_dir(network.path()).into_iter().flatten().flatten() {
                let record: Value = std::fs::read(file.path())
                    .ok()
                    .and_then(|bytes| serde_json::from_slice(&bytes).ok())
                    .unwrap_or_default();
                if let Some(pid) = record["run"]["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()) {
                    let group = rustix::process::Pid::from_raw(pid).unwrap();
                    let _gone = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
                }
            }
        }
    }
}

/// Ends the engine however the test ends.
struct ContainerEngine {
    folder: PathBuf,
    name: String,
}

impl Drop for ContainerEngine {
    fn drop(&mut self) {
        let down = Command::new("bash").args([SCRIPT, "down"]).arg(&self.folder).arg(&self.name).status();
        assert!(down.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

/// One network in one place.
struct World<'a> {
    engine: &'a dyn Engine,
    driver: Arc<dyn Driver>,
    docker: Option<Arc<DockerDriver>>,
    socket: Option<PathBuf>,
    folder: PathBuf,
    spec: NetworkSpec,
}

impl World<'_> {
    fn place(&self) -> Place<'_> {
        Place { spec: &self.spec, folder: &self.folder, driver: &self.driver }
    }

    async fn act(&mut self, act: Act) -> Map<String, Value> {
        let mut result = Map::new();
        for step in self.engine.steps(&self.spec, &act).unwrap() {
            let begun = Instant::now();
            let progress = |line: String| println!("    {line}");
            let outcome = match self.engine.run(self.place(), &act, &step, &progress).await {
                Ok(outcome) => outcome,
                Err(error) => {
                    self.show_logs().await;
                    panic!("{}: {error}", step.name);
                }
            };
            println!("  {} {:?}", step.name, begun.elapsed());
            result.extend(outcome.result);
            self.spec = outcome.spec.unwrap_or_else(|| self.spec.clone());
        }
        result
    }

    async fn show_logs(&self) {
        use futures::StreamExt as _;
        for node in &self.spec.nodes {
            println!("--- {}", node.id);
            if let Ok(lines) = self.driver.logs(&self.reference(&node.id), 15, false).await {
                lines.for_each(|line| async move { println!("{line}") }).await;
            }
        }
    }

    fn reference(&self, node: &str) -> NodeRef {
        NodeRef { network: self.spec.id.clone(), node: node.to_owned() }
    }

    async fn look(&self, node: &str) -> Observed {
        let seen = self.driver.observe(&self.spec.id).await.unwrap();
        seen.into_iter().find(|seen| seen.node == node).unwrap()
    }

    fn deploy(&self, artifact: Artifact, name: &str) -> Act {
        Act::Deploy(Box::new(Deployment {
            contract: "ctr_places".into(),
            name: name.into(),
            version: "1.0".into(),
            channel: self.channel().into(),
            artifact,
            arguments: Vec::new(),
            init: false,
            policy: None,
            collections: None,
            signer: None,
        }))
    }

    fn channel(&self) -> &str {
        &self.spec.channels[0].name
    }

    /// Sends a transaction until one takes effect, and says how long that took.
    async fn submit(&self, call: impl Fn(u32) -> CallRequest) -> Duration {
        let begun = Instant::now();
        for attempt in 0.. {
            match self.engine.submit(self.place(), &call(attempt)).await {
                Ok(result) if result.ok => break,
                other if begun.elapsed() > Duration::from_mins(1) => {
                    self.show_logs().await;
                    panic!("{other:?}");
                }
                _ => {}
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        begun.elapsed()
    }

    /// Ends a node as a machine or a person would, with everything it has in memory.
    async fn kill(&self, node: &str) {
        let before = self.look(node).await;
        if let Some(socket) = &self.socket {
            let name = format!("konsort-{}-{node}", self.spec.id);
            let host = format!("unix://{}", socket.display());
            conformance::run(Command::new("docker").args(["kill", &name]).env("DOCKER_HOST", host)).unwrap();
        } else {
            conformance::kill(&json!(before.pid.unwrap())).unwrap();
        }
    }

    /// Cuts a node off: a container loses its network, a process is held.
    async fn cut(&self, node: &str) {
        match &self.docker {
            Some(docker) => docker.disconnect(&self.reference(node)).await.unwrap(),
            None => self.signal(node, rustix::process::Signal::STOP).await,
        }
    }

    async fn heal(&self, node: &str) {
        match &self.docker {
            Some(docker) => docker.reconnect(&self.reference(node)).await.unwrap(),
            None => self.signal(node, rustix::process::Signal::CONT).await,
        }
    }

    async fn signal(&self, node: &str, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.look(node).await.pid.unwrap()).unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    /// Waits until every node runs, answers and has the same height.
    async fn level(&self) -> u64 {
        let begun = Instant::now();
        loop {
            let health = self.engine.health(self.place()).await;
            let seen = self.driver.observe(&self.spec.id).await.unwrap();
            let heights: Vec<Option<u64>> =
                health.iter().map(|node| node.heights.get(self.channel()).copied()).collect();
            let level = heights.iter().all(|height| height.is_some() && *height == heights[0]);
            if level && health.len() == self.spec.nodes.len() && seen.iter().all(|seen| seen.state == RunState::Running)
            {
                return heights[0].unwrap();
            }
            if begun.elapsed() > Duration::from_secs(90) {
                self.show_logs().await;
                panic!("not level: {health:?} {seen:?}");
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// What every network must bear: one node killed, one cut off, and all of it level again afterwards.
    async fn suffer(&self, killed: &str, cut: &str, call: impl Fn(u32) -> CallRequest) {
        let start = self.level().await;
        self.kill(killed).await;
        let waited = self.submit(&call).await;
        println!("  {killed} killed, next transaction after {waited:?}");
        let begun = Instant::now();
        let grown = self.level().await;
        let seen = self.look(killed).await;
        assert!(grown > start && seen.restarts >= 1, "{seen:?}");
        println!("  {killed} is back and level after {:?}: {}", begun.elapsed(), seen.last_exit.unwrap_or_default());
        self.cut(cut).await;
        for _ in 0..3 {
            let waited = self.submit(&call).await;
            println!("  {cut} cut off, transaction after {waited:?}");
        }
        self.heal(cut).await;
        let begun = Instant::now();
        let end = self.level().await;
        assert!(end >= grown + 3, "{grown} {end}");
        println!("  {cut} is back and level after {:?}", begun.elapsed());
    }
}

async fn play(folder: &Path, socket: Option<&Path>) {
    let specs: Value = serde_json::from_slice(&std::fs::read(specifications(folder)).unwrap()).unwrap();
    let state = folder.join("driver");
    let docker = socket.map(|socket| {
        Arc::new(DockerDriver::new(Some(&socket.display().to_string()), konsort().unwrap(), state.clone()))
    });
    let driver: Arc<dyn Driver> = match &docker {
        Some(docker) => Arc::clone(docker) as _,
        None => Arc::new(ProcessDriver::new(konsort().unwrap(), state)),
    };
    driver.check().await.unwrap();
    let world = |engine, name: &str| {
        let mut spec: NetworkSpec = serde_json::from_value(specs[name].clone()).unwrap();
        spec.driver = driver.kind();
        let folder = folder.join("networks").join(&spec.id);
        std::fs::create_dir_all(&folder).unwrap();
        World {
            engine,
            driver: Arc::clone(&driver),
            docker: docker.clone(),
            socket: socket.map(Path::to_owned),
            folder,
            spec,
        }
    };
    let place = if driver.kind() == DriverKind::Docker { "docker" } else { "processes" };

    let fabric = fabric();
    println!("Fabric, {place}");
    let mut network = world(&fabric, "fabric");
    network.act(Act::Create).await;
    network.act(network.deploy(Artifact::Builtin { name: "asset-transfer".into() }, "basic")).await;
    let description = describe(&network, &folder.join("description.json"));
    gateway_clients(&description, "Org1MSP");
    let orderers: Vec<String> =
        network.spec.nodes.iter().filter(|node| node.role == "orderer").map(|node| node.id.clone()).collect();
    let tag = std::cell::Cell::new(0);
    let create = |_: u32| {
        tag.set(tag.get() + 1);
        let arguments = ["CreateAsset", &format!("p{}", tag.get()), "blue", "5", "Tom", "300"].map(String::from);
        fabric_call(network.channel(), &arguments)
    };
    network.suffer(&orderers[0], &orderers[1], create).await;
    network.suffer("peer0-org2", &orderers[2], create).await;
    gateway_clients(&description, "Org2MSP");
    network.act(Act::Delete).await;
    assert!(driver.observe(&network.spec.id).await.unwrap().is_empty());

    let bcos = Bcos::new(konsort().unwrap());
    println!("BCOS, {place}");
    let mut network = world(&bcos, "bcos");
    network.act(Act::Create).await;
    let deployed = network
        .act(network.deploy(
            Artifact::Evm { bytecode: BYTECODE.trim().into(), abi: serde_json::from_str(ABI).unwrap() },
            "Asset",
        ))
        .await;
    let address = deployed["address"].as_str().unwrap().to_owned();
    ethereum_clients(&network);
    java_client(&network, folder);
    let create = |_: u32| {
        tag.set(tag.get() + 1);
        bcos_call(network.channel(), &address, tag.get())
    };
    let nodes: Vec<String> = network.spec.nodes.iter().map(|node| node.id.clone()).collect();
    network.suffer(&nodes[0], &nodes[1], create).await;
    network.suffer(&nodes[2], &nodes[3], create).await;
    ethereum_clients(&network);
    network.act(Act::Delete).await;
    assert!(driver.observe(&network.spec.id).await.unwrap().is_empty());
    println!("BOTH ENGINES IN {place}");
}

/// The stock gateway client's tests. Some of them build on the transaction before without endorsing again when one of the peers is
/// a block behind, which happens on a busy machine and is the application's to settle: they get a second chance.
fn gateway_clients(description: &Path, mspid: &str) {
    let suite = || node_suite_on(description, "gateway.test.mjs", &[("KONSORT_MSPID", mspid)]);
    if let Err(first) = suite() {
        assert!(format!("{first:#}").contains("failed to collect enough transaction endorsements"), "{first:#}");
        suite().unwrap();
    }
}

fn fabric_call(channel: &str, texts: &[String]) -> CallRequest {
    CallRequest {
        channel: channel.into(),
        contract: "basic".into(),
        method: texts[0].clone(),
        input: CallInput::Texts { arguments: texts[1..].to_vec(), transient: std::collections::BTreeMap::new() },
        signer: None,
        organisation: None,
        endorsers: Vec::new(),
        height: None,
    }
}

fn bcos_call(group: &str, address: &str, number: u32) -> CallRequest {
    use alloy_sol_types::SolCall as _;
    alloy_sol_types::sol! {
        function create(string id, string description, uint256 value) external;
    }
    let call = createCall { id: format!("p{number}"), description: "a".into(), value: "1".parse().unwrap() };
    CallRequest {
        channel: group.into(),
        contract: address.into(),
        method: "create".into(),
        input: CallInput::Data { data: format!("0x{}", hex::encode(call.abi_encode())) },
        signer: None,
        organisation: None,
        endorsers: Vec::new(),
        height: None,
    }
}

/// A description of a network as the stock client's tests read it.
fn describe(network: &World<'_>, file: &Path) -> PathBuf {
    let mut nodes = Vec::new();
    let mut identities = Vec::new();
    for organisation in network.spec.organisations.iter().filter(|organisation| !organisation.orders_only) {
        let folder = network.folder.join("crypto/peerOrganizations").join(&organisation.domain);
        for node in network.spec.nodes.iter().filter(|node| node.organisation == organisation.name) {
            nodes.push(json!({
                "role": "peer", "name": node.hostname, "mspid": organisation.mspid,
                "endpoint": network.driver.reachable(&network.reference(&node.id), node.ports["grpc"]),
                "tls_ca": folder.join("peers").join(&node.hostname).join("tls/ca.crt"),
            }));
        }
        for user in std::fs::read_dir(folder.join("users")).unwrap().flatten() {
            let name = user.file_name().into_string().unwrap();
            identities.push(json!({"mspid": organisation.mspid, "name": name, "msp": user.path().join("msp")}));
        }
    }
    let description =
        json!({"channel": network.channel(), "chaincode": "basic", "nodes": nodes, "identities": identities});
    std::fs::write(file, description.to_string()).unwrap();
    file.to_owned()
}

/// Ethereum's clients, over the port that the platform would tell them.
fn ethereum_clients(network: &World<'_>) {
    let node = &network.spec.nodes[0];
    let web3 = network.driver.reachable(&network.reference(&node.id), node.ports["web3"]);
    let environment = [
        ("KONSORT_ETH_HTTP", format!("http://{web3}")),
        ("KONSORT_ETH_WS", format!("ws://{web3}")),
        ("KONSORT_ETH_CHAIN_ID", chain_id(&web3).to_string()),
    ];
    ethereum_suite(&environment, &["rpc.test.mjs", "ethers.test.mjs"]).unwrap();
}

/// The Java SDK with the certificates of an organisation's applications.
fn java_client(network: &World<'_>, folder: &Path) {
    let sdk = network.folder.join("agencies/Org1/sdk");
    let ports: Vec<u16> = network.spec.nodes.iter().take(2).map(|node| node.ports["rpc"]).collect();
    let chain = network.spec.chain_id.clone().unwrap();
    let work = folder.join("java");
    std::fs::create_dir_all(&work).unwrap();
    java_suite(&work, Some(&sdk), &ports, network.channel(), &chain).unwrap();
}

/// Ethereum's chain id, asked of the node.
fn chain_id(address: &str) -> u64 {
    let mut stream = TcpStream::connect(address).unwrap();
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[]}"#;
    write!(
        stream,
        "POST / HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let start = answer.find("\"0x").unwrap() + 3;
    let digits: String = answer[start..].chars().take_while(char::is_ascii_hexdigit).collect();
    u64::from_str_radix(&digits, 16).unwrap()
}
