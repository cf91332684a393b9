//! Processes that are killed or stopped under load: nothing that was reported as committed is lost or doubled.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use conformance::Network;
use serde_json::Value;

use crate::faults_clients::{Load, admin, assert_kept, assert_no_doubles, commit_hash, gateway, height, progress};

/// Time that a new leader may take: election time-out (10 ticks of 100 ms, randomised up to twice that), plus the clients' retries.
const ELECTION: Duration = Duration::from_secs(10);

fn signal(pid: &Value, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().unwrap();
    assert!(status.success(), "kill -{name} {pid}");
}

/// Which orderer says that it leads, by its metric.
fn leader(network: &Network) -> Option<usize> {
    network.nodes("orderer").iter().position(|node| {
        let url = format!("http://{}/metrics", node["operations"].as_str().unwrap());
        let output = Command::new("curl").args(["-s", "-m", "2", &url]).output().unwrap();
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .any(|line| line.starts_with("consensus_etcdraft_is_leader") && line.ends_with(" 1"))
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_orderers_lose_one_then_the_leader_then_a_minority_is_cut_off() {
    let network = Network::up(&["--orderers", "3"]).unwrap();
    let peers = network.nodes("peer");
    let client = gateway(&network, peers[0]).await.unwrap();
    let load = Load::start(&network, &client, "orderers", 8);
    tokio::time::sleep(Duration::from_secs(2)).await;

    let first_leader = leader(&network).expect("one orderer leads");
    let orderers = network.nodes("orderer");
    let follower = (first_leader + 1) % 3;
    conformance::kill(&orderers[follower]["pid"]).unwrap();
    progress(&network, &client, ELECTION).await;
    let mut revived = network.start_node(orderers[follower]["name"].as_str().unwrap()).unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;

    let started = Instant::now();
    conformance::kill(&orderers[first_leader]["pid"]).unwrap();
    let took = progress(&network, &client, ELECTION).await;
    eprintln!("after the leader's end a transaction committed within {took:?}");
    let mut revived_leader = network.start_node(orderers[first_leader]["name"].as_str().unwrap()).unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(started.elapsed() < Duration::from_mins(1));

    // The third orderer hangs: the others go on without it, and it catches up when it is back.
    let third = 3 - follower - first_leader;
    signal(&orderers[third]["pid"], "STOP");
    progress(&network, &client, ELECTION).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    signal(&orderers[third]["pid"], "CONT");
    progress(&network, &client, ELECTION).await;

    let committed = load.stop().await;
    assert!(committed.len() > 50, "only {} transactions were committed under load", committed.len());
    for peer in &peers {
        let until = Instant::now() + Duration::from_secs(20);
        let target = height(&network, peers[0], Duration::from_secs(5)).await;
        while height(&network, peer, Duration::from_secs(5)).await < target {
            assert!(Instant::now() < until, "{} does not reach height {target}", peer["name"]);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_kept(&network, peer, &committed).await;
    }
    assert_no_doubles(&network, peers[1]).await;
    revived.kill().unwrap();
    revived_leader.kill().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_orderers_lose_the_leader_and_another_at_once() {
    let network = Network::up(&["--orderers", "5"]).unwrap();
    let peers = network.nodes("peer");
    let client = gateway(&network, peers[0]).await.unwrap();
    let load = Load::start(&network, &client, "five", 4);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let orderers = network.nodes("orderer");
    let first = leader(&network).expect("one orderer leads");
    let lost = [orderers[first], orderers[(first + 2) % 5]];
    for orderer in lost {
        conformance::kill(&orderer["pid"]).unwrap();
    }
    progress(&network, &client, ELECTION).await;
    let mut revived: Vec<_> =
        lost.iter().map(|orderer| network.start_node(orderer["name"].as_str().unwrap()).unwrap()).collect();
    tokio::time::sleep(Duration::from_secs(2)).await;
    // The two that were lost count again: without two of the others there is still a majority.
    let second = leader(&network).expect("one orderer leads");
    let other = (0..5).find(|index| *index != second && !lost.contains(&orderers[*index])).unwrap();
    for index in [second, other] {
        if !lost.contains(&orderers[index]) {
            conformance::kill(&orderers[index]["pid"]).unwrap();
        }
    }
    progress(&network, &client, ELECTION).await;
    let committed = load.stop().await;
    assert!(committed.len() > 20, "only {} transactions were committed under load", committed.len());
    assert_kept(&network, peers[0], &committed).await;
    assert_no_doubles(&network, peers[0]).await;
    for node in &mut revived {
        node.kill().unwrap();
    }
}

/// Three orderers on hosts of their own; the leader's link is cut and healed under load.
#[test]
fn a_leader_cut_off_from_its_cluster_neither_loses_nor_doubles() {
    if !conformance::network_namespaces() {
        eprintln!("SKIPPED: network namespaces cannot be made here (they need root)");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/partition.sh");
    let output = conformance::run(
        Command::new("bash").arg(script).env("KONSORT", conformance::konsort().unwrap()).env("WORK", folder.path()),
    )
    .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    eprintln!("{said}");
    assert!(said.ends_with("PARTITION SURVIVED\n"));
}

/// Rounds of the loop; `KONSORT_KILL_ROUNDS` changes it for longer runs.
fn rounds() -> u32 {
    std::env::var("KONSORT_KILL_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(200)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_killed_again_and_again_reopens_with_its_partners_commit_hash() {
    let network = Network::up(&["--orgs", "2", "--batch-timeout", "20ms"]).unwrap();
    let peers = network.nodes("peer");
    let (partner, victim) = (peers[0], peers[1]);
    let name = victim["name"].as_str().unwrap();
    let client = gateway(&network, partner).await.unwrap();
    let load = Load::start(&network, &client, "kill", 4);
    conformance::kill(&victim["pid"]).unwrap();
    let mut grown = 0;
    let mut last_height = 0;
    for round in 0..rounds() {
        let mut child = network.start_node(name).unwrap();
        let reopened = height(&network, victim, Duration::from_secs(20)).await;
        assert!(reopened >= last_height, "round {round}: height {reopened} after {last_height}");
        // The partner may be a block behind at this very moment.
        while height(&network, partner, Duration::from_secs(5)).await < reopened {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let (own, theirs) =
            (commit_hash(&network, victim, reopened - 1).await, commit_hash(&network, partner, reopened - 1).await);
        assert_eq!(own, theirs, "round {round}: commit hash of block {}", reopened - 1);
        grown += u32::from(reopened > last_height);
        last_height = reopened;
        // A different moment each round, so that every stage of the pipeline is hit.
        tokio::time::sleep(Duration::from_millis(u64::from(round) * 37 % 160)).await;
        child.kill().unwrap();
    }
    assert!(grown > rounds() / 4, "the ledger grew in {grown} rounds only");
    let committed = load.stop().await;
    let mut child = network.start_node(name).unwrap();
    let target = height(&network, partner, Duration::from_secs(5)).await;
    let until = Instant::now() + Duration::from_secs(30);
    while height(&network, victim, Duration::from_secs(20)).await < target {
        assert!(Instant::now() < until, "the killed peer does not catch up");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_kept(&network, victim, &committed).await;
    assert_no_doubles(&network, victim).await;
    drop(admin(&network, victim).await.unwrap());
    child.kill().unwrap();
}
