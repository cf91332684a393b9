//! Chains of the second engine: from one command, and from the chain builder's folders and scripts.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use alloy_sol_types::{SolCall, sol};
use conformance::Network;
use konsort_platform::local::chain::Client;
use serde_json::{Value, json};

sol! {
    function create(string id, string description, uint256 value) external;
    function read(string id) external view returns (address owner, string description, uint256 value);
    function addObserver(string id) external returns (int32);
    function addSealer(string id, uint256 weight) external returns (int32);
    function remove(string id) external returns (int32);
}

/// The precompiled contract of the consensus nodes.
const CONSENSUS: &str = "0x0000000000000000000000000000000000001003";

/// A chain from `konsort up --engine bcos`.
pub(crate) struct Chain(pub(crate) Network);

impl Chain {
    pub(crate) fn up(arguments: &[&str]) -> Self {
        Self(Network::up(&[&["--engine", "bcos"], arguments].concat()).unwrap())
    }

    pub(crate) fn nodes(&self) -> &[Value] {
        self.0.description()["nodes"].as_array().unwrap()
    }

    pub(crate) fn contract(&self) -> &str {
        self.0.description()["contract"].as_str().unwrap()
    }

    pub(crate) fn client(&self, index: usize) -> Client {
        let path = |name: &str| PathBuf::from(self.0.description()[name].as_str().unwrap());
        let address = self.nodes()[index]["rpc"].as_str().unwrap();
        Client::new(address, &path("sdk"), &path("account"), "chain0", "group0").unwrap()
    }

    pub(crate) fn clients(&self) -> Vec<Client> {
        (0..self.nodes().len()).map(|index| self.client(index)).collect()
    }

    /// Starts one node alone, as its supervisor would.
    pub(crate) fn start_node(&self, index: usize) -> conformance::Running {
        self.start_node_under(index, &[])
    }

    /// Starts one node alone under another program, which is given what it has to run.
    pub(crate) fn start_node_under(&self, index: usize, wrapper: &[&str]) -> conformance::Running {
        let folder = self.0.data().join(format!("nodes/127.0.0.1/node{index}"));
        let log = std::fs::OpenOptions::new().append(true).open(folder.join("nohup.out")).unwrap();
        let program = conformance::konsort().unwrap().display().to_string();
        let words = [wrapper, &[&program, "fisco-bcos", "-c", "config.ini", "-g", "config.genesis"]].concat();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).current_dir(folder);
        conformance::Running::start(command.stdout(log.try_clone().unwrap()).stderr(log)).unwrap()
    }
}

/// Creates an asset; the answer comes after the transaction is committed.
pub(crate) async fn create(client: &Client, contract: &str, id: &str) -> Result<Value, String> {
    let call = createCall { id: id.into(), description: "a test".into(), value: "7".parse().unwrap() };
    client.send("create", contract, call.abi_encode(), "").await.map_err(|error| error.to_string())
}

/// Whether a node knows an asset.
pub(crate) async fn has(client: &Client, contract: &str, id: &str) -> bool {
    client.call(contract, &readCall { id: id.into() }.abi_encode()).await.is_ok()
}

/// Waits until every client's node has reached the number, and that they agree on the block's hash.
pub(crate) async fn agree(clients: &[Client], number: u64, patience: Duration) {
    let until = Instant::now() + patience;
    let mut hashes = Vec::new();
    for (index, client) in clients.iter().enumerate() {
        loop {
            let height = client.block_number().await;
            if height.as_ref().is_ok_and(|height| *height >= number) {
                break;
            }
            assert!(Instant::now() < until, "node{index} is at {height:?}, not at {number}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        hashes.push(client.rpc("getBlockHashByNumber", &[json!(number)]).await.unwrap());
    }
    assert!(hashes.windows(2).all(|pair| pair[0] == pair[1]), "block {number}: {hashes:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_command_starts_a_chain_and_a_second_one_continues_it() {
    let mut chain = Chain::up(&[]);
    assert_eq!(chain.nodes().len(), 4);
    let first = chain.contract().to_owned();
    eprintln!("first receipts after {} ms", chain.0.description()["first_receipt_ms"]);
    create(&chain.client(3), &first, "kept").await.unwrap();
    let height = chain.client(3).block_number().await.unwrap();
    chain.0.stop().unwrap();
    chain.0.start(&["--engine", "bcos"]).unwrap();
    assert_eq!(chain.contract(), first);
    let clients = chain.clients();
    assert!(clients[0].block_number().await.unwrap() > height);
    for client in &clients {
        let until = Instant::now() + Duration::from_secs(10);
        while !has(client, &first, "kept").await {
            assert!(Instant::now() < until);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    let status =
        conformance::run(Command::new(conformance::konsort().unwrap()).arg("status").arg("--data").arg(chain.0.data()))
            .unwrap();
    assert_eq!(String::from_utf8_lossy(&status.stdout).matches("running").count(), 4);
}

fn script(folder: &Path, name: &str) -> String {
    let output = conformance::run(Command::new("bash").arg(folder.join(name))).unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Stops what the scripts started, however the test ends.
struct Scripts(PathBuf);

impl Drop for Scripts {
    fn drop(&mut self) {
        let _stopped = Command::new("bash").arg(self.0.join("stop_all.sh")).output();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn builder_and_scripts_make_four_nodes_and_a_fifth_joins_seals_and_leaves() {
    members_come_and_go("pbft").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_under_raft() {
    members_come_and_go("raft").await;
}

async fn members_come_and_go(consensus: &str) {
    let folder = tempfile::tempdir().unwrap();
    let nodes = folder.path().join("nodes");
    let program = conformance::konsort().unwrap();
    let (p2p, rpc) = (conformance::free_row(5), conformance::free_row(5));
    let build = |arguments: &[&str]| {
        conformance::run(Command::new(&program).arg("build_chain").args(arguments).args(["-e"]).arg(&program)).unwrap()
    };
    let output = nodes.display().to_string();
    let ports = format!("{p2p},{rpc}");
    let listen = ["--listen-ip", "127.0.0.1", "--min-seal-time", "20"];
    build(&[&["-l", "127.0.0.1:4", "-p", &ports, "-T", consensus, "-o", &output][..], &listen].concat());
    let host = nodes.join("127.0.0.1");
    let _running = Scripts(host.clone());
    let said = script(&host, "start_all.sh");
    assert_eq!(said.matches("start successfully pid=").count(), 4, "{said}");
    assert!(script(&host.join("node0"), "start.sh").contains(" node0 is running, pid is "));
    let account = folder.path().join("account.pem");
    let key = konsort_crypto::SuiteKey::generate(konsort_crypto::SuiteKind::International);
    konsort_pki::key_file::write_secret(&account, key.to_pem().as_bytes()).unwrap();
    let client = |index: u16| {
        Client::new(&format!("127.0.0.1:{}", rpc + index), &host.join("sdk"), &account, "chain0", "group0").unwrap()
    };
    let contract = client(1).deploy_sample().await.unwrap();
    // The fifth: configuration of the first with its own ports, certificates of the same authority.
    let configuration = folder.path().join("config");
    std::fs::create_dir(&configuration).unwrap();
    for name in ["config.ini", "config.genesis", "nodes.json"] {
        let text = std::fs::read_to_string(host.join("node0").join(name)).unwrap();
        let text = text
            .replace(&format!("listen_port={p2p}\n"), &format!("listen_port={}\n", p2p + 4))
            .replace(&format!("listen_port={rpc}\n"), &format!("listen_port={}\n", rpc + 4));
        std::fs::write(configuration.join(name), text).unwrap();
    }
    let fifth = host.join("node4");
    let (config, ca, at) =
        (configuration.display().to_string(), nodes.join("ca").display().to_string(), fifth.display().to_string());
    build(&["-C", "expand", "-c", &config, "-d", &ca, "-o", &at]);
    assert!(script(&fifth, "start.sh").contains("node4 start successfully"));
    let id = std::fs::read_to_string(fifth.join("conf/node.nodeid")).unwrap().trim().to_owned();
    let consensus_call = async |what: &str, input: Vec<u8>| {
        let receipt = client(0).send(what, CONSENSUS, input, "").await.unwrap();
        let code = receipt["output"].as_str().unwrap();
        assert!(code.trim_start_matches("0x").bytes().all(|digit| digit == b'0'), "{what}: {receipt}");
    };
    consensus_call("addObserver", addObserverCall { id: id.clone() }.abi_encode()).await;
    create(&client(2), &contract, "seen by an observer").await.unwrap();
    let height = client(2).block_number().await.unwrap();
    let all: Vec<Client> = (0..5).map(client).collect();
    agree(&all, height, Duration::from_secs(20)).await;
    assert!(client(0).rpc("getObserverList", &[]).await.unwrap().to_string().contains(&id));
    consensus_call("addSealer", addSealerCall { id: id.clone(), weight: "1".parse().unwrap() }.abi_encode()).await;
    let sealers = client(1).rpc("getSealerList", &[]).await.unwrap();
    assert_eq!(sealers.as_array().unwrap().len(), 5, "{sealers}");
    // Six blocks: under rotating leaders the fifth seals one of them.
    for number in 0..6 {
        create(&client(4), &contract, &format!("five sealers {number}")).await.unwrap();
    }
    let height = client(4).block_number().await.unwrap();
    agree(&all, height, Duration::from_secs(20)).await;
    let block = client(0).rpc("getBlockByNumber", &[json!(height), json!(true), json!(false)]).await.unwrap();
    assert_eq!(block["sealerList"].as_array().unwrap().len(), 5, "{block}");
    assert!(block["signatureList"].as_array().unwrap().len() >= 3, "{block}");
    consensus_call("remove", removeCall { id: id.clone() }.abi_encode()).await;
    create(&client(0), &contract, "four sealers again").await.unwrap();
    assert_eq!(client(1).rpc("getSealerList", &[]).await.unwrap().as_array().unwrap().len(), 4);
    let said = script(&host, "stop_all.sh");
    assert_eq!(said.matches("success.").count(), 5, "{said}");
}
