//! A sealer whose disk is full says so and votes for nothing it cannot keep; the others go on, and so does it once there is space.

use std::time::{Duration, Instant};

use crate::chain::{Chain, agree, create, has};
use crate::chain_faults::assert_one_history;
use crate::hostile::disk::Small;

const ARGUMENTS: [&str; 2] = ["--engine", "bcos"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stops_one_sealer_by_name_and_it_resumes() {
    let mut chain = Chain::up(&[]);
    chain.0.stop().unwrap();
    let data = chain.0.data().join("nodes/127.0.0.1/node3/data");
    let Some(disk) = Small::instead_of(&data, 192) else {
        eprintln!("SKIPPED: mounting a small file system needs root");
        return;
    };
    chain.0.start(&ARGUMENTS).unwrap();
    let (clients, contract) = (chain.clients(), chain.contract().to_owned());
    let mut kept = vec!["before".to_owned()];
    create(&clients[0], &contract, "before").await.unwrap();
    agree(&clients, clients[0].block_number().await.unwrap(), Duration::from_secs(20)).await;
    disk.fill(64);
    let log = || std::fs::read_to_string(chain.nodes()[3]["log"].as_str().unwrap()).unwrap();
    let started = Instant::now();
    while !log().contains("No space left on device") {
        assert!(started.elapsed() < Duration::from_mins(1), "node3 does not notice that its disk is full: {}", log());
        // Names as long as this fill what is left.
        let id = format!("{}-{}", kept.len(), "x".repeat(20_000));
        create(&clients[kept.len() % 3], &contract, &id).await.unwrap();
        kept.push(id);
    }
    assert!(!log().contains("panicked at"), "{}", log());
    create(&clients[1], &contract, "while it is full").await.unwrap();
    kept.push("while it is full".into());
    disk.free();
    create(&clients[2], &contract, "after").await.unwrap();
    kept.push("after".into());
    let height = clients[2].block_number().await.unwrap();
    // It goes on by itself, or its supervisor starts it again when it had to end.
    let mut revived = None;
    let started = Instant::now();
    while !has(&clients[3], &contract, "after").await {
        assert!(started.elapsed() < Duration::from_mins(1), "node3 does not catch up: {}", log());
        if revived.is_none() && !conformance::is_alive(&chain.nodes()[3]["pid"]) {
            assert!(log().contains("start it again"), "it ended without a word of what to do: {}", log());
            revived = Some(chain.start_node(3));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    agree(&clients, height, Duration::from_secs(20)).await;
    assert_one_history(&clients, &contract, &kept).await;
    eprintln!("{}", if revived.is_some() { "it was started again" } else { "it went on by itself" });
}
