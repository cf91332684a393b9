//! Rotating PBFT over real sockets.

use std::collections::BTreeSet;
use std::time::Duration;

use alloy_primitives::{Address, U256};
use bcos_node::RunningNode;

use crate::cluster::{Account, Cluster, count, deploy, group, until};

/// A call that every running node sees committed.
async fn call(node: &RunningNode, account: &Account, contract: Address) {
    let group = group(node);
    let call = group.submit(account.transaction(&group, Some(contract), &[]));
    let committed = tokio::time::timeout(Duration::from_mins(1), call).await.expect("an answer").unwrap();
    assert_eq!(committed.receipt.status, 0);
}

async fn same_blocks(running: &[RunningNode]) -> u64 {
    let heights = || running.iter().map(|node| group(node).chain().height()).collect::<Vec<_>>();
    until("all nodes reach the same height", 30, || heights().iter().all(|height| *height == heights()[0])).await;
    let height = heights()[0];
    for number in 0..=height {
        let hashes: BTreeSet<_> =
            running.iter().map(|node| group(node).chain().hash_by_number(number).unwrap().unwrap()).collect();
        assert_eq!(hashes.len(), 1, "block {number}");
    }
    height
}

/// A text of up to 32 bytes as Solidity encodes it.
fn padded(text: &str) -> [u8; 32] {
    let mut word = [0; 32];
    word[..text.len()].copy_from_slice(text.as_bytes());
    word
}

/// The sealers of a block, as its header names them.
fn sealers(node: &RunningNode, number: u64) -> BTreeSet<Vec<u8>> {
    let header = group(node).chain().header(number).unwrap().unwrap();
    header.sealer_list.iter().map(|id| id.to_vec()).collect()
}

fn rotating(count: usize, sealers: u64, blocks: u64) -> Cluster {
    let cluster = Cluster::build(count);
    cluster.edit_genesis("consensus_type=pbft", "consensus_type=rpbft");
    cluster.edit_genesis("epoch_sealer_num=4", &format!("epoch_sealer_num={sealers}"));
    cluster.edit_genesis("epoch_block_num=1000", &format!("epoch_block_num={blocks}"));
    cluster
}

/// Who changed with each block, checked against the epochs: one comes and one goes with the block after an epoch's end.
fn changes(node: &RunningNode, height: u64, size: usize, blocks: u64) -> usize {
    let mut changed = 0;
    for number in 2..=height {
        let (before, now) = (sealers(node, number - 1), sealers(node, number));
        assert_eq!(now.len(), size);
        let new = now.difference(&before).count();
        let due = (number - 1).is_multiple_of(blocks);
        assert_eq!(new, usize::from(due), "block {number}");
        changed += new;
        // The block that ends an epoch begins with its sealer's draw.
        let block = group(node).chain().block(number - 1).unwrap().unwrap();
        let first = block.transaction(0).unwrap().unwrap();
        let is_draw = first.tx.data.to == format!("{:040x}", 0x1003);
        if due {
            let sealer = &block.header().sealer_list[block.header().sealer as usize];
            let address = Address::from_slice(&alloy_primitives::keccak256(sealer)[12..]);
            assert!(is_draw && first.sender == address, "block {}", number - 1);
        } else if is_draw {
            // One of a block that came to nothing, with its leader gone; it does nothing here.
            assert_eq!(block.transaction_hashes().len(), 1);
        }
    }
    changed
}

#[tokio::test(flavor = "multi_thread")]
async fn the_committee_of_a_rotating_chain_changes_with_every_epoch() {
    const EPOCH: u64 = 3;
    let cluster = rotating(6, 4, EPOCH);
    cluster.edit_genesis("block_tx_count_limit=1000", "block_tx_count_limit=5");
    let mut running = cluster.start_all().await;
    until("all nodes are connected", 20, || running.iter().all(|node| node.node().peers().len() == 5)).await;
    let account = Account::new();
    let contract = deploy(&group(&running[0]), &account).await;
    let mut calls = 0;
    // Clients of working sealers and of candidates.
    for i in 0..20 {
        call(&running[i % 6], &account, contract).await;
        calls += 1;
    }
    let height = same_blocks(&running).await;
    let changed = changes(&running[0], height, 4, EPOCH);
    assert!(changed >= 5, "{changed} changes in {height} blocks");
    assert!(running.iter().all(|node| count(&group(node), contract) == U256::from(calls)));

    // Many at once, so that blocks are ordered while those before them are on their way.
    let burst = (0..90_u64).map(|i| {
        let (node, account) = (&running[i as usize % 6], &account);
        async move {
            tokio::time::sleep(Duration::from_millis(i * 5)).await;
            call(node, account, contract).await;
        }
    });
    futures::future::join_all(burst).await;
    calls += 90;
    let before = height;
    let height = same_blocks(&running).await;
    let changed = changes(&running[0], height, 4, EPOCH);
    assert!(height >= before + 9 && changed >= 8, "{changed} changes in {height} blocks, {before} of them before");

    // What clients see: the committee of agreement is the ledger's, candidates are listed as such.
    let nodes = group(&running[0]).chain().nodes().unwrap();
    let of = |kind| nodes.iter().filter(|node| node.kind == kind).map(|node| node.node_id.clone()).collect::<Vec<_>>();
    let (working, waiting) = (of(bcos_chain::access::NodeKind::Sealer), of(bcos_chain::access::NodeKind::Candidate));
    assert_eq!((working.len(), waiting.len()), (4, 2));
    for node in &running {
        until("the node's committee is the ledger's", 10, || {
            let status = group(node).consensus_status();
            let shown: Vec<_> = status.nodes.into_iter().map(|member| member.node_id).collect();
            shown == working && status.index.is_some() == working.iter().any(|id| id == node.node().node_id())
        })
        .await;
    }

    // A working sealer is gone: the others rotate on, and whoever it proposed to be is replaced.
    let gone = running.iter().position(|node| working.contains(&node.node().node_id().to_owned())).unwrap();
    let stopped = running.remove(gone);
    let absent = hex::decode(stopped.node().node_id()).unwrap();
    stopped.stop().await;
    for i in 0..12 {
        call(&running[i % 5], &account, contract).await;
        calls += 1;
    }
    let later = same_blocks(&running).await;
    let changed = changes(&running[0], later, 4, EPOCH);
    assert!(later >= height + 8 && changed >= 8, "{changed} changes in {later} blocks");

    // It comes back, catches up over epochs it missed, and serves again when it is drawn.
    running.insert(gone, cluster.start(gone).await);
    for i in 0..60 {
        call(&running[i % 6], &account, contract).await;
        calls += 1;
        if i > 10 && group(&running[gone]).consensus_status().index.is_some() {
            break;
        }
    }
    let last = same_blocks(&running).await;
    assert!(running.iter().all(|node| count(&group(node), contract) == U256::from(calls)));
    let served = (later + 1..=last).filter(|number| sealers(&running[0], *number).contains(&absent)).count();
    assert!(served > 0, "the node never worked again in blocks {later} to {last}");
    for node in running {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_begins_to_rotate_when_its_setting_says_so() {
    let cluster = Cluster::build(5);
    let running = cluster.start_all().await;
    until("all nodes are connected", 20, || running.iter().all(|node| node.node().peers().len() == 4)).await;
    let account = Account::new();
    let contract = deploy(&group(&running[0]), &account).await;
    assert_eq!(sealers(&running[0], 1).len(), 5);
    let system = |key: &str, value: &str| {
        let mut input = alloy_primitives::keccak256("setValueByKey(string,string)")[..4].to_vec();
        for number in [64, 128, key.len()] {
            input.extend(U256::from(number).to_be_bytes::<32>());
        }
        input.extend(padded(key));
        input.extend(U256::from(value.len()).to_be_bytes::<32>());
        input.extend(padded(value));
        input
    };
    for (key, value) in
        [("feature_rpbft_epoch_block_num", "1000"), ("feature_rpbft_epoch_sealer_num", "3"), ("feature_rpbft", "1")]
    {
        let first = group(&running[0]);
        let address = Address::from_word(U256::from(0x1000).into());
        let committed = first.submit(account.transaction(&first, Some(address), &system(key, value))).await.unwrap();
        assert_eq!(committed.receipt.status, 0);
    }
    // The next block is the first of a rotating chain: it cuts the committee to its size.
    for i in 0..6 {
        call(&running[i % 5], &account, contract).await;
    }
    let height = same_blocks(&running).await;
    assert_eq!(sealers(&running[0], height - 5).len(), 5);
    assert_eq!(sealers(&running[0], height - 4).len(), 3, "{height} blocks");
    assert_eq!(sealers(&running[0], height), sealers(&running[0], height - 4));
    for node in running {
        node.stop().await;
    }
}
