//! Who takes part: groups, lists, nodes that come later.

use std::time::Duration;

use alloy_primitives::{Address, U256};
use bcos_chain::access::NodeKind;
use bcos_node::{NodeConfig, RunningNode, Severity, SubmitError, doctor};
use konsort_node::{Metrics, Shutdown};

use crate::cluster::{Account, Cluster, count, deploy, group, until};

fn word(value: u64) -> [u8; 32] {
    U256::from(value).to_be_bytes()
}

/// The input of `name(string[,uint256])`.
fn with_node(name: &str, node: &str, weight: Option<u64>) -> Vec<u8> {
    let suite = konsort_crypto::suite(konsort_crypto::SuiteKind::International);
    let mut input = suite.hash(name.as_bytes())[..4].to_vec();
    input.extend(word(if weight.is_some() { 64 } else { 32 }));
    input.extend(weight.map(word).into_iter().flatten());
    input.extend(word(node.len() as u64));
    input.extend(node.as_bytes());
    input
}

async fn consensus(running: &RunningNode, account: &Account, input: &[u8]) {
    let group = group(running);
    let to = Address::from_word(U256::from(0x1003).into());
    let committed = group.submit(account.transaction(&group, Some(to), input)).await.unwrap();
    assert_eq!((committed.receipt.status, committed.receipt.output.last()), (0, Some(&0)), "{:?}", committed.receipt);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fifth_node_observes_seals_and_is_removed() {
    let cluster = Cluster::build_outside(5, 1);
    let running = cluster.start_all().await;
    until("all are connected", 20, || running.iter().all(|node| node.node().peers().len() == 4)).await;
    let account = Account::new();
    let contract = deploy(&group(&running[0]), &account).await;
    let fifth = group(&running[4]);
    let id = running[4].node().node_id().to_owned();
    // Outside of the group: no blocks, no transactions.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(fifth.chain().height(), 0);
    let refused = fifth.submit(account.transaction(&fifth, Some(contract), &[])).await.unwrap_err();
    assert_eq!(refused, SubmitError::RequestNotBelongToTheGroup);

    consensus(&running[0], &account, &with_node("addObserver(string)", &id, None)).await;
    until("the observer has all blocks", 20, || fifth.chain().height() == group(&running[0]).chain().height()).await;
    assert_eq!(fifth.consensus_status().index, None);
    fifth.submit(account.transaction(&fifth, Some(contract), &[])).await.unwrap();
    assert_eq!(count(&fifth, contract), U256::from(1));

    consensus(&running[1], &account, &with_node("addSealer(string,uint256)", &id, Some(1))).await;
    until("it is a sealer", 20, || fifth.consensus_status().index.is_some()).await;
    for i in 0..12 {
        let from = group(&running[i % 5]);
        from.submit(account.transaction(&from, Some(contract), &[])).await.unwrap();
    }
    until("it proposed a block", 20, || {
        let height = fifth.chain().height();
        let place = fifth.consensus_status().index;
        (1..=height).any(|number| {
            let header = fifth.chain().header(number).unwrap().unwrap();
            header.sealer_list.len() == 5 && Some(header.sealer) == place
        })
    })
    .await;
    assert_eq!(fifth.consensus_status().min_required_quorum, 4);

    consensus(&running[2], &account, &with_node("remove(string)", &id, None)).await;
    let first = group(&running[0]);
    until("it is outside again", 20, || first.consensus_status().nodes.len() == 4).await;
    first.submit(account.transaction(&first, Some(contract), &[])).await.unwrap();
    let nodes = first.chain().nodes().unwrap();
    assert!(nodes.iter().all(|node| node.node_id != id && node.kind == NodeKind::Sealer));
    for node in running {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_groups_in_one_process_keep_apart() {
    let cluster = Cluster::build(1);
    let ini = cluster.nodes[0].join("config.ini");
    let first = cluster.nodes[0].join("config.genesis");
    let second = cluster.nodes[0].join("other.genesis");
    let text = std::fs::read_to_string(&first).unwrap().replace("group_id=group0", "group_id=group1");
    std::fs::write(&second, text).unwrap();
    let mut config = NodeConfig::load(&ini, &[first, second]).unwrap();
    (config.p2p.listen_port, config.rpc.listen_port) = (0, 0);
    config.consensus.min_seal = Duration::from_millis(20);
    let running = bcos_node::start(config, Metrics::new(), Shutdown::new()).await.unwrap();
    let [zero, one] = ["group0", "group1"].map(|id| running.node().group(id).unwrap().clone());
    let account = Account::new();
    let contract = deploy(&zero, &account).await;
    let other = deploy(&one, &account).await;
    for _ in 0..3 {
        zero.submit(account.transaction(&zero, Some(contract), &[])).await.unwrap();
    }
    assert_eq!((count(&zero, contract), count(&one, other)), (U256::from(3), U256::ZERO));
    assert_ne!(zero.chain().genesis_hash(), one.chain().genesis_hash());
    let stray = account.transaction(&zero, Some(contract), &[]);
    assert_eq!(one.submit(stray).await.unwrap_err(), SubmitError::InvalidGroupId);
    let metrics = running.node().metrics().render();
    assert!(metrics.contains("bcos_block_number{group=\"group1\"}"), "{metrics}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_node_is_cut_off_at_once_and_may_come_back() {
    let cluster = Cluster::build(2);
    let running = cluster.start_all().await;
    let peers = |node: usize| running[node].node().peers().len();
    until("both are connected", 20, || peers(0) == 1 && peers(1) == 1).await;
    let ini = cluster.nodes[0].join("config.ini");
    let open = std::fs::read_to_string(&ini).unwrap();
    let id = running[1].node().node_id();
    let denying = open.replace("[certificate_blacklist]", &format!("[certificate_blacklist]\ncrl.0={id}"));
    assert_ne!(open, denying);
    std::fs::write(&ini, denying).unwrap();
    until("it is cut off", 20, || peers(0) == 0).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(peers(0), 0);
    std::fs::write(&ini, open).unwrap();
    until("it is back", 20, || peers(0) == 1).await;
    for node in running {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_names_what_is_wrong() {
    let cluster = Cluster::build(2);
    let other = Cluster::build(1);
    let look = async |node: usize| {
        let folder = &cluster.nodes[node];
        doctor(&folder.join("config.ini"), &[folder.join("config.genesis")]).await
    };
    let problems = |findings: &[bcos_node::Finding]| -> String {
        let problems = findings.iter().filter(|f| f.severity == Severity::Problem);
        problems.map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let running = cluster.start(1).await;
    let findings = look(0).await;
    let text: String = findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    assert!(text.contains(&format!("{} is node {}", cluster.addresses[1], running.node().node_id())), "{text}");
    // The node itself does not run.
    let found = problems(&findings);
    assert!(found.contains(&format!("{} (nodes.json) cannot be joined", cluster.addresses[0])), "{found}");
    assert_eq!(found.lines().count(), 1, "{found}");

    let conf = cluster.nodes[0].join("conf");
    std::fs::copy(other.nodes[0].join("conf/ssl.crt"), conf.join("ssl.crt")).unwrap();
    let found = problems(&look(0).await);
    assert!(found.contains("ssl.crt is not accepted by"), "{found}");
    assert!(found.contains("ssl.key is not the key of"), "{found}");
    std::fs::copy(other.nodes[0].join("conf/ssl.key"), conf.join("ssl.key")).unwrap();
    let found = problems(&look(0).await);
    assert!(found.contains("do both certificates come from the same ca.crt?"), "{found}");
    std::fs::copy(other.nodes[0].join("conf/node.pem"), conf.join("node.pem")).unwrap();
    let found = problems(&look(0).await);
    assert!(found.contains("node.nodeid says"), "{found}");
    running.stop().await;
}
