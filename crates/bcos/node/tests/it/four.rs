//! Four nodes that agree over real sockets.

use std::time::Duration;

use alloy_primitives::U256;
use bcos_node::RunningNode;

use crate::cluster::{Account, Cluster, count, deploy, group, until};

async fn connected(running: &[RunningNode], count: usize) {
    until("all nodes are connected", 20, || running.iter().all(|node| node.node().peers().len() == count)).await;
}

fn heights(running: &[RunningNode]) -> Vec<u64> {
    running.iter().map(|node| group(node).chain().height()).collect()
}

async fn same_height(running: &[RunningNode]) -> u64 {
    until("all nodes reach the same height", 30, || {
        let heights = heights(running);
        heights.iter().all(|height| *height == heights[0])
    })
    .await;
    heights(running)[0]
}

fn same_blocks(running: &[RunningNode], height: u64) {
    for number in 0..=height {
        let hashes: Vec<_> =
            running.iter().map(|node| group(node).chain().hash_by_number(number).unwrap().unwrap()).collect();
        assert!(hashes.iter().all(|hash| *hash == hashes[0]), "block {number}: {hashes:?}");
    }
}

/// No transaction stands in two blocks.
fn once_each(running: &[RunningNode], height: u64) {
    let chain = group(&running[0]).chain().clone();
    let mut seen = std::collections::HashMap::new();
    for number in 1..=height {
        for hash in chain.block(number).unwrap().unwrap().transaction_hashes() {
            assert_eq!(seen.insert(hash, number), None, "transaction {hash} again in block {number}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn four_nodes_commit_the_same_blocks_and_one_that_was_away_catches_up() {
    let cluster = Cluster::build(4);
    let mut running = cluster.start_all().await;
    connected(&running, 3).await;
    let account = Account::new();
    let contract = deploy(&group(&running[0]), &account).await;
    // Clients of every node.
    let calls: Vec<_> = (0..80)
        .map(|i| {
            let group = group(&running[i % 4]);
            tokio::spawn(group.submit(account.transaction(&group, Some(contract), &[])))
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().receipt.status, 0);
    }
    let height = same_height(&running).await;
    same_blocks(&running, height);
    once_each(&running, height);
    let counts: Vec<U256> = running.iter().map(|node| count(&group(node), contract)).collect();
    assert_eq!(counts, [U256::from(80); 4], "{:?}", heights(&running));
    let header = group(&running[1]).chain().header(height).unwrap().unwrap();
    assert!(header.signatures.len() >= 3, "{} signatures", header.signatures.len());

    let gone = running.pop().unwrap();
    gone.stop().await;
    // Without the fourth node some leaders are missing; the others go on.
    for i in 0..30 {
        let group = group(&running[i % 3]);
        let call = group.submit(account.transaction(&group, Some(contract), &[]));
        let committed = tokio::time::timeout(Duration::from_mins(1), call).await.expect("an answer").unwrap();
        assert_eq!(committed.receipt.status, 0);
    }
    running.push(cluster.start(3).await);
    let height = same_height(&running).await;
    same_blocks(&running, height);
    assert!(running.iter().all(|node| count(&group(node), contract) == U256::from(110)));
    // It takes part again.
    let last = group(&running[3]);
    last.submit(account.transaction(&last, Some(contract), &[])).await.unwrap();
    same_height(&running).await;
    assert!(running.iter().all(|node| count(&group(node), contract) == U256::from(111)));
    for node in running {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn under_raft_three_nodes_go_on_without_any_one_of_them() {
    let cluster = Cluster::build(3);
    cluster.edit_genesis("consensus_type=pbft", "consensus_type=raft");
    let mut running = cluster.start_all().await;
    connected(&running, 2).await;
    let account = Account::new();
    let contract = deploy(&group(&running[0]), &account).await;
    let mut calls = 0;
    for round in 0..3 {
        for i in 0..6 {
            let group = group(&running[i % 3]);
            let call = group.submit(account.transaction(&group, Some(contract), &[]));
            tokio::time::timeout(Duration::from_mins(1), call).await.expect("an answer").unwrap();
            calls += 1;
        }
        let gone = running.remove(round);
        gone.stop().await;
        let from = group(&running[0]);
        let call = from.submit(account.transaction(&from, Some(contract), &[]));
        tokio::time::timeout(Duration::from_mins(1), call).await.expect("an answer without one node").unwrap();
        calls += 1;
        running.insert(round, cluster.start(round).await);
        let height = same_height(&running).await;
        same_blocks(&running, height);
        assert!(running.iter().all(|node| count(&group(node), contract) == U256::from(calls)));
    }
    for node in running {
        node.stop().await;
    }
}

/// Transactions with one nonce at different nodes: one of them is committed, the other is answered, nobody stands still.
#[tokio::test(flavor = "multi_thread")]
async fn rivals_at_different_nodes_do_not_stop_the_chain() {
    let cluster = Cluster::build(4);
    let running = cluster.start_all().await;
    connected(&running, 3).await;
    let account = Account::new();
    let contract = deploy(&group(&running[0]), &account).await;
    let mut pairs = Vec::new();
    for i in 0..20 {
        let nonce = format!("rival {i}");
        for (node, input) in [(i % 4, [1]), ((i + 1) % 4, [2])] {
            let group = group(&running[node]);
            let rival = account.with_nonce(&group, Some(contract), &input, &nonce);
            pairs.push(tokio::spawn(group.submit(rival)));
        }
    }
    let mut outcomes = Vec::new();
    for call in pairs {
        outcomes.push(tokio::time::timeout(Duration::from_mins(1), call).await.expect("an answer").unwrap());
    }
    for pair in outcomes.chunks(2) {
        assert_eq!(pair.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{pair:?}");
    }
    let height = same_height(&running).await;
    same_blocks(&running, height);
    assert!(running.iter().all(|node| count(&group(node), contract) == U256::from(20)));
    for node in running {
        node.stop().await;
    }
}

/// How often the workers of a group gave up the processor so far.
fn wakes(group: &str) -> u64 {
    let name = format!("group {group}");
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten().map(|task| task.path());
    let of_group =
        tasks.filter(|task| std::fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name));
    of_group
        .filter_map(|task| std::fs::read_to_string(task.join("status")).ok())
        .filter_map(|status| {
            let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches"))?;
            line.split_whitespace().last()?.parse::<u64>().ok()
        })
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_without_work_sleep() {
    let cluster = Cluster::build(4);
    cluster.edit_genesis("group_id=group0", "group_id=sleepy");
    let running = cluster.start_all().await;
    until("all nodes are connected", 20, || running.iter().all(|node| node.node().peers().len() == 3)).await;
    let sleepy = running[0].node().group("sleepy").unwrap().clone();
    deploy(&sleepy, &Account::new()).await;
    let heights = || running.iter().map(|node| node.node().group("sleepy").unwrap().chain().height()).min();
    until("all have the block", 20, || heights() == Some(1)).await;
    // Time-outs of the block that was made may still be under way.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let before = wakes("sleepy");
    tokio::time::sleep(Duration::from_secs(4)).await;
    let wakes = wakes("sleepy") - before;
    // Each looks around twice a second, and hears of the others now and then.
    assert!(before > 0 && wakes < 4 * 4 * 15, "{wakes} in 4 s");
    for node in running {
        node.stop().await;
    }
}
