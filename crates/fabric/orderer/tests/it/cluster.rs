//! Several orderers: forwarding, a lost leader, catching up, changing who orders.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use fabric_channel::protoutil;
use fabric_proto::common::{Block, Status};
use fabric_proto::orderer::BatchSize;
use prost::Message as _;

use crate::harness::{Cluster, consenter, edit_raft, message, payloads};

/// Header and data are the same everywhere; metadata carry each orderer's own signature.
fn same(a: &[Block], b: &[Block]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.header == b.header && a.data == b.data)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_leader_is_replaced_and_nothing_is_lost() {
    let mut cluster = Cluster::start(3, 0).await;
    let user = cluster.keys.user(1, "User1");
    // Through every orderer, most of which must pass it on.
    for i in 0..12 {
        cluster.order(i % 3, message(&*user, &format!("first {i}"))).await;
    }
    let leader = cluster.leader().await;
    let mut expected: BTreeSet<String> = (0..12).map(|i| format!("first {i}")).collect();
    let read = async |cluster: &Cluster, number: usize, expected: &BTreeSet<String>| {
        let mut seen = Vec::new();
        let mut blocks = Vec::new();
        while seen.len() < expected.len() {
            let next =
                cluster.node(number).blocks(&*user, blocks.len() as u64 + 1, blocks.len() as u64 + 1).await.remove(0);
            seen.extend(payloads(&next));
            blocks.push(next);
        }
        assert_eq!(&seen.iter().cloned().collect::<BTreeSet<_>>(), expected);
        assert_eq!(seen.len(), expected.len(), "something is there twice");
        blocks
    };
    let before = read(&cluster, 0, &expected).await;
    assert!(same(&read(&cluster, 1, &expected).await, &before) && same(&read(&cluster, 2, &expected).await, &before));

    cluster.stop(leader).await;
    let began = Instant::now();
    let survivors: Vec<usize> = (0..3).filter(|n| *n != leader).collect();
    for i in 0..10 {
        cluster.order(survivors[i % 2], message(&*user, &format!("second {i}"))).await;
        expected.insert(format!("second {i}"));
    }
    // Election timeout here: 10 to 20 ticks of 50 ms.
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let after = read(&cluster, survivors[0], &expected).await;
    assert!(same(&read(&cluster, survivors[1], &expected).await, &after));

    cluster.restart(leader).await;
    assert!(same(&read(&cluster, leader, &expected).await, &after));
    cluster.order(leader, message(&*user, "third")).await;
    expected.insert("third".to_owned());
    let last = read(&cluster, leader, &expected).await;
    for survivor in survivors {
        assert!(same(&read(&cluster, survivor, &expected).await, &last));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_missed_the_log_catches_up_by_blocks() {
    let mut cluster = Cluster::start(3, 0).await;
    let user = cluster.keys.user(1, "User1");
    cluster.order(0, message(&*user, "start")).await;
    let leader = cluster.leader().await;
    let absent = (leader + 1) % 3;
    cluster.stop(absent).await;
    // Each message is a block of some 13 KB, so that the log of 40 KB is cut several times.
    let large = "x".repeat(12_000);
    for i in 0..30 {
        let batch =
            (0..10).map(|n| message(&*user, &format!("{i} {n} {}", if n == 0 { &large } else { "" }))).collect();
        let answers = cluster.node(leader).broadcast(batch).await;
        assert!(answers.iter().all(|a| a.status == Status::Success as i32), "{answers:?}");
    }
    let there = cluster.node(leader).blocks(&*user, 1, 30).await;
    cluster.restart(absent).await;
    let caught_up = cluster.node(absent).blocks(&*user, 1, 30).await;
    assert!(same(&caught_up, &there));
    cluster.order(absent, message(&*user, "end")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn configuration_updates_take_effect() {
    let cluster = Cluster::start(1, 0).await;
    let user = cluster.keys.user(1, "User1");
    cluster.order(0, message(&*user, "start")).await;
    cluster.node(0).blocks(&*user, 1, 1).await;
    let answer = cluster
        .update(0, |config| {
            let group = config.channel_group.as_mut().unwrap().groups.get_mut("Orderer").unwrap();
            let value = group.values.get_mut("BatchSize").unwrap();
            let mut size = BatchSize::decode(value.value.clone()).unwrap();
            size.max_message_count = 3;
            value.value = size.encode_to_vec().into();
        })
        .await;
    assert_eq!(answer.status, Status::Success as i32, "{}", answer.info);
    let config_block = cluster.node(0).blocks(&*user, 2, 2).await.remove(0);
    assert!(protoutil::is_config_block(&config_block));
    let answers = cluster.node(0).broadcast((0..6).map(|i| message(&*user, &i.to_string())).collect()).await;
    assert!(answers.iter().all(|a| a.status == Status::Success as i32));
    let blocks = cluster.node(0).blocks(&*user, 3, 4).await;
    assert_eq!(blocks.iter().map(|b| payloads(b).len()).collect::<Vec<_>>(), [3, 3]);
    assert_eq!(protoutil::last_config_index(&blocks[1]).unwrap(), 2);
    // The same update again changes nothing and is refused.
    let answer =
        cluster.update(0, |config| edit_raft(config, |raft| raft.options.as_mut().unwrap().election_tick = 1)).await;
    assert_eq!(answer.status, Status::BadRequest as i32);
    assert!(answer.info.contains("ElectionTick (1) must be greater than HeartbeatTick (1)"), "{}", answer.info);
}

#[tokio::test(flavor = "multi_thread")]
async fn consenters_come_and_go() {
    let mut cluster = Cluster::start(3, 1).await;
    let user = cluster.keys.user(1, "User1");
    cluster.order(0, message(&*user, "start")).await;
    let leader = cluster.leader().await;
    cluster.node(leader).blocks(&*user, 1, 1).await;
    let newcomer = consenter(&cluster.places[3]);
    let answer = cluster.update(leader, |config| edit_raft(config, |raft| raft.consenters.push(newcomer))).await;
    assert_eq!(answer.status, Status::Success as i32, "{}", answer.info);
    let config_block = cluster.node(leader).blocks(&*user, 2, 2).await.remove(0);

    // The newcomer joins with the configuration block that names it, fetches what came before, and takes part.
    cluster.restart(3).await;
    cluster.node(3).join(&config_block).await;
    cluster.until(3, "\"consensusRelation\":\"consenter\",\"status\":\"active\"").await;
    cluster.order(3, message(&*user, "by the newcomer")).await;
    let blocks = cluster.node(3).blocks(&*user, 0, 3).await;
    assert!(same(&blocks, &cluster.node(leader).blocks(&*user, 0, 3).await));
    assert_eq!(payloads(&blocks[3]), ["by the newcomer"]);

    // The leader is removed: it hands over, becomes a follower, and the others go on.
    let gone = consenter(&cluster.places[leader]);
    let answer = cluster
        .update(leader, |config| {
            edit_raft(config, |raft| raft.consenters.retain(|c| c.client_tls_cert != gone.client_tls_cert));
        })
        .await;
    assert_eq!(answer.status, Status::Success as i32, "{}", answer.info);
    cluster.until(leader, "\"consensusRelation\":\"follower\"").await;
    let other = (leader + 1) % 3;
    cluster.order(other, message(&*user, "without it")).await;
    assert_eq!(payloads(&cluster.node(other).blocks(&*user, 5, 5).await[0]), ["without it"]);
    cluster.until(leader, "\"height\":6").await;
}
