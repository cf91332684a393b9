//! Four sealers, each on a host of its own; links are cut and healed under load.
//!
//! The test runs itself again inside the clients' network namespace, from where it reaches every host.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use conformance::Running;
use konsort_platform::local::chain::Client;
use serde_json::Value;

use crate::chain::agree;
use crate::chain_faults::{Load, assert_one_history};

const NET: &str = "10.78.0";
const INSIDE: &str = "KONSORT_TEST_HOSTS";

fn hosts(arguments: &[&str]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/hosts.sh");
    conformance::run(Command::new("bash").arg(script).args(arguments)).unwrap();
}

/// Removes the hosts however the test ends.
struct Hosts(String);

impl Drop for Hosts {
    fn drop(&mut self) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/hosts.sh");
        let _gone = Command::new("bash").arg(script).args(["down", &self.0, "4"]).output();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sealer_and_then_the_leader_cut_off_neither_fork_nor_lose() {
    if let Ok(tag) = std::env::var(INSIDE) {
        return inside(&tag).await;
    }
    if !conformance::network_namespaces() {
        eprintln!("SKIPPED: network namespaces cannot be made here (they need root)");
        return;
    }
    let tag = format!("b{}", std::process::id());
    let _hosts = Hosts(tag.clone());
    hosts(&["up", &tag, NET, "4"]);
    let output = conformance::run(
        Command::new("ip")
            .args(["netns", "exec", &format!("{tag}c")])
            .arg(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "chain_partition::a_sealer_and_then_the_leader_cut_off_neither_fork_nor_lose",
                "--nocapture",
            ])
            .env(INSIDE, &tag)
            .env("KONSORT_BIN", conformance::konsort().unwrap()),
    )
    .unwrap();
    eprintln!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
}

fn start(tag: &str, nodes: &Path, n: usize) -> Running {
    let folder = nodes.join(format!("{NET}.{n}/node0"));
    let log = std::fs::File::create(folder.join("nohup.out")).unwrap();
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &format!("{tag}{n}")]).arg(conformance::konsort().unwrap());
    command.args(["fisco-bcos", "-c", "config.ini", "-g", "config.genesis"]).current_dir(folder);
    Running::start(command.stdout(log.try_clone().unwrap()).stderr(log)).unwrap()
}

/// The host (1 to 4) of the leader, as a node sees it.
async fn leader(client: &Client, nodes: &Path) -> usize {
    let status = client.rpc("getConsensusStatus", &[]).await.unwrap();
    let status: Value = serde_json::from_str(status.as_str().unwrap()).unwrap();
    let index = status["leaderIndex"].as_u64().unwrap() as usize;
    let id = status["consensusNodeList"][index]["nodeID"].as_str().unwrap();
    let id_of = |n: usize| std::fs::read_to_string(nodes.join(format!("{NET}.{n}/node0/conf/node.nodeid"))).unwrap();
    (1..=4).find(|n| id_of(*n).trim() == id).unwrap()
}

async fn inside(tag: &str) {
    let folder = tempfile::tempdir().unwrap();
    let nodes: PathBuf = folder.path().join("nodes");
    let program = conformance::konsort().unwrap();
    let list: Vec<String> = (1..=4).map(|n| format!("{NET}.{n}:1")).collect();
    conformance::run(
        Command::new(&program)
            .args(["build_chain", "-l", &list.join(","), "-p", "30300,20200", "--min-seal-time", "20", "-o"])
            .arg(&nodes)
            .arg("-e")
            .arg(&program),
    )
    .unwrap();
    let mut running: Vec<Running> = (1..=4).map(|n| start(tag, &nodes, n)).collect();
    let account = folder.path().join("account.pem");
    let key = konsort_crypto::SuiteKey::generate(konsort_crypto::SuiteKind::International);
    konsort_pki::key_file::write_secret(&account, key.to_pem().as_bytes()).unwrap();
    let clients: Vec<Client> = (1..=4)
        .map(|n| {
            let sdk = nodes.join(format!("{NET}.{n}/sdk"));
            Client::new(&format!("{NET}.{n}:20200"), &sdk, &account, "chain0", "group0").unwrap()
        })
        .collect();
    let mut contract = clients[0].deploy_sample().await;
    for _ in 0..100 {
        if contract.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        contract = clients[0].deploy_sample().await;
    }
    let contract = contract.unwrap();
    let load = Load::start(&clients, &contract, 4);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let one = leader(&clients[0], &nodes).await % 4 + 1;
    hosts(&["cut", tag, &one.to_string()]);
    load.progress("one of four was cut off").await;
    hosts(&["heal", tag, &one.to_string()]);
    load.progress("it was connected again").await;
    let first = leader(&clients[0], &nodes).await;
    hosts(&["cut", tag, &first.to_string()]);
    load.progress("the leader was cut off").await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    hosts(&["heal", tag, &first.to_string()]);
    load.progress("it was connected again").await;
    let acknowledged = load.stop().await;
    assert!(acknowledged.len() > 20, "only {} transactions had a receipt", acknowledged.len());
    let height = clients[first % 4].block_number().await.unwrap();
    agree(&clients, height, Duration::from_mins(1)).await;
    assert_one_history(&clients, &contract, &acknowledged).await;
    for node in &mut running {
        node.kill().unwrap();
    }
}
