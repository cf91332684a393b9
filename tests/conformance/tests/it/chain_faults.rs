//! Nodes of a chain that are killed or stopped under load: nothing that had a receipt is lost, nothing is doubled, no fork.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use konsort_platform::local::chain::Client;
use serde_json::json;
use tokio::task::JoinHandle;

use crate::chain::{Chain, agree, create, has};

/// A view change after a leader's silence takes the consensus timeout (3 s); two in a row back off.
const PROGRESS: Duration = Duration::from_secs(15);

/// Writers, each on a node of its own, that go on with the next asset when a node does not answer.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    writers: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    pub(crate) fn start(clients: &[Client], contract: &str, count: usize) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let writer = |writer: usize| {
            let (clients, contract) = (clients.to_vec(), contract.to_owned());
            let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let id = format!("w{writer}-{number}");
                    let client = &clients[(writer + number) % clients.len()];
                    let answer = tokio::time::timeout(Duration::from_secs(20), create(client, &contract, &id)).await;
                    match answer {
                        Ok(Ok(_)) => {
                            done.fetch_add(1, Ordering::Relaxed);
                            acknowledged.push(id);
                        }
                        _ => tokio::time::sleep(Duration::from_millis(50)).await,
                    }
                }
                acknowledged
            })
        };
        let writers = (0..count).map(writer).collect();
        Self { stop, done, writers }
    }

    /// Waits until more transactions are committed than at this moment.
    pub(crate) async fn progress(&self, after: &str) {
        let (start, before) = (Instant::now(), self.done.load(Ordering::Relaxed));
        while self.done.load(Ordering::Relaxed) < before + 5 {
            assert!(start.elapsed() < PROGRESS, "no progress within {PROGRESS:?} after {after}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        eprintln!("progress {:?} after {after}", start.elapsed());
    }

    pub(crate) async fn stop(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for writer in self.writers {
            all.extend(writer.await.unwrap());
        }
        all
    }
}

/// Every node has the same blocks, each transaction once, and every acknowledged asset.
pub(crate) async fn assert_one_history(clients: &[Client], contract: &str, acknowledged: &[String]) {
    let height = clients[0].block_number().await.unwrap();
    agree(clients, height, Duration::from_secs(30)).await;
    let mut seen = BTreeSet::new();
    for number in 1..=height {
        let block = clients[1].rpc("getBlockByNumber", &[json!(number), json!(false), json!(true)]).await.unwrap();
        for hash in block["transactions"].as_array().unwrap() {
            let hash = hash.as_str().or(hash["hash"].as_str()).unwrap().to_owned();
            assert!(seen.insert(hash.clone()), "transaction {hash} is in two blocks");
        }
    }
    for (index, id) in acknowledged.iter().enumerate() {
        let client = &clients[index % clients.len()];
        assert!(has(client, contract, id).await, "asset {id} had a receipt and is lost");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_sealers_lose_one_then_the_leader_then_a_third_stands_still() {
    let chain = Chain::up(&[]);
    let clients = chain.clients();
    let load = Load::start(&clients, chain.contract(), 4);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let pid = |index: usize| chain.nodes()[index]["pid"].clone();
    conformance::kill(&pid(0)).unwrap();
    load.progress("one of four was killed").await;
    let mut first = chain.start_node(0);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let status = chain.client(1).rpc("getConsensusStatus", &[]).await.unwrap();
    let status: serde_json::Value = serde_json::from_str(status.as_str().unwrap()).unwrap();
    let leader = status["consensusNodeList"][status["leaderIndex"].as_u64().unwrap() as usize]["nodeID"].clone();
    let index = chain.nodes().iter().position(|node| node["node_id"] == leader).unwrap();
    let index = if index == 0 { 1 } else { index };
    conformance::kill(&pid(index)).unwrap();
    load.progress("the leader was killed").await;
    let mut second = chain.start_node(index);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let still = (1..4).find(|other| *other != index).unwrap();
    let signal = |name: &str| {
        let pid = pid(still).as_u64().unwrap().to_string();
        conformance::run(std::process::Command::new("kill").args([name, &pid])).unwrap();
    };
    signal("-STOP");
    load.progress("one stands still").await;
    signal("-CONT");
    load.progress("it goes on").await;
    let acknowledged = load.stop().await;
    assert!(acknowledged.len() > 40, "only {} transactions had a receipt", acknowledged.len());
    assert_one_history(&clients, chain.contract(), &acknowledged).await;
    first.kill().unwrap();
    second.kill().unwrap();
}

/// Rounds of the loop; `KONSORT_KILL_ROUNDS` changes it for longer runs.
fn rounds() -> u64 {
    std::env::var("KONSORT_KILL_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(30)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_killed_again_and_again_reopens_with_its_partners_blocks() {
    let chain = Chain::up(&[]);
    let clients = chain.clients();
    let load = Load::start(&clients, chain.contract(), 3);
    conformance::kill(&chain.nodes()[3]["pid"]).unwrap();
    let (victim, partner) = (chain.client(3), chain.client(0));
    let mut last = 0;
    for round in 0..rounds() {
        let mut node = chain.start_node(3);
        let until = Instant::now() + Duration::from_secs(20);
        let height = loop {
            match victim.block_number().await {
                Ok(height) => break height,
                Err(error) => assert!(Instant::now() < until, "round {round}: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert!(height >= last, "round {round}: block {height} after {last}");
        last = height;
        agree(&[partner.clone(), victim.clone()], height, Duration::from_secs(10)).await;
        tokio::time::sleep(Duration::from_millis(round * 37 % 250)).await;
        node.kill().unwrap();
    }
    let acknowledged = load.stop().await;
    let mut node = chain.start_node(3);
    let target = partner.block_number().await.unwrap();
    agree(&[partner, victim], target, Duration::from_secs(30)).await;
    assert_one_history(&clients, chain.contract(), &acknowledged).await;
    node.kill().unwrap();
}

/// One sealer whose clock is an hour ahead, one whose clock is an hour behind, and one whose disk takes a quarter of a second to sync.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_clocks_and_a_slow_disk_do_not_stop_the_chain() {
    if !conformance::has_program("faketime") || !conformance::has_program("strace") {
        eprintln!("SKIPPED: this needs the programs faketime and strace");
        return;
    }
    let chain = Chain::up(&[]);
    let clients = chain.clients();
    let slow =
        ["strace", "-D", "-f", "-qq", "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:delay_exit=250000"];
    // The program would stand between the test and the node, so only what it sets is used.
    let preload = conformance::run(std::process::Command::new("faketime").args(["-m", "-f", "+1h", "env"])).unwrap();
    let preload = String::from_utf8_lossy(&preload.stdout).into_owned();
    let preload = preload.lines().find(|line| line.starts_with("LD_PRELOAD=")).unwrap();
    let clock = ["env", preload, "FAKETIME_DONT_FAKE_MONOTONIC=1"];
    let wrappers = [
        [&clock[..], &["FAKETIME=+1h"]].concat(),
        [&clock[..], &["FAKETIME=-1h"]].concat(),
        [&slow[..], &["-o", "/dev/null"]].concat(),
    ];
    let mut running = Vec::new();
    for (index, wrapper) in (1..4).zip(wrappers) {
        conformance::kill(&chain.nodes()[index]["pid"]).unwrap();
        running.push(chain.start_node_under(index, &wrapper));
    }
    let load = Load::start(&clients, chain.contract(), 4);
    load.progress("two clocks went wrong and a disk became slow").await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    load.progress("some time").await;
    let acknowledged = load.stop().await;
    assert_one_history(&clients, chain.contract(), &acknowledged).await;
    let height = clients[0].block_number().await.unwrap();
    let mut last = 0;
    for number in 1..=height {
        let block = clients[0].rpc("getBlockByNumber", &[json!(number), json!(true), json!(true)]).await.unwrap();
        let time = block["timestamp"].as_u64().unwrap();
        assert!(time > last, "block {number} of {time} comes after {last}");
        last = time;
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64;
    assert!(last > now + 3_000_000, "the fast clock proposed nothing: the last block is of {last}, now is {now}");
}
