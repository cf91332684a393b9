//! A process killed with SIGKILL while it commits: what it acknowledged is there, with the state of a ledger that was never killed.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use fabric_ledger::{Ledger, Options};
use konsort_store::{
    LogOptions, SegmentLog, Store,
    faults::{MemoryFiles, MemoryStore},
};

use crate::{
    chain::{dump, genesis, random_block},
    private::Lives,
};

const FOLDER: &str = "KONSORT_LEDGER_KILL_TEST";
const SEED: u64 = 77;
const ROUNDS: u64 = 20;

fn options() -> Options {
    Options { collections: Arc::new(Lives(2)), history: true }
}

fn open_or_create(folder: &Path) -> Ledger {
    if Ledger::exists(folder) {
        Ledger::open(folder, "ch", options()).unwrap()
    } else {
        Ledger::create(folder, "ch", &genesis(), options()).unwrap()
    }
}

/// The child's part: commits groups of blocks until it is killed and says what is durable.
#[test]
fn child_commits_until_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let ledger = open_or_create(&PathBuf::from(folder));
    loop {
        let mut previous = ledger.info().current_hash;
        for _ in 0..=ledger.height() % 3 {
            previous = ledger.stage(random_block(SEED, &ledger, previous)).unwrap().hash.clone();
        }
        ledger.flush().unwrap();
        println!("durable {}", ledger.height());
    }
}

#[test]
fn a_killed_process_reopens_with_everything_it_acknowledged() {
    let scratch = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let log = SegmentLog::open_in(Arc::new(MemoryFiles::default()), LogOptions::default()).unwrap();
    let reference = Ledger::create_over(log, &store, "ch", &genesis(), options()).unwrap();
    let mut reached = 0;
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill::child_commits_until_killed", "--nocapture", "--test-threads=1"])
            .env(FOLDER, scratch.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let reader = std::thread::spawn(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            let heights = lines.filter_map(|line| {
                line.rsplit_once("durable ").and_then(|(_, height)| height.trim().parse::<u64>().ok())
            });
            heights.last()
        });
        std::thread::sleep(Duration::from_millis(30 + round * 37 % 150));
        child.kill().unwrap();
        child.wait().unwrap();
        let acknowledged = reader.join().unwrap().unwrap_or(0);
        if !Ledger::exists(scratch.path()) {
            continue;
        }
        let ledger = Ledger::open(scratch.path(), "ch", options()).unwrap();
        let height = ledger.height();
        assert!(
            height >= acknowledged.max(reached),
            "round {round}: {height} blocks, {acknowledged} were acknowledged"
        );
        while reference.height() < height {
            reference.commit(random_block(SEED, &reference, reference.info().current_hash)).unwrap();
        }
        assert_eq!(ledger.commit_hash(), reference.commit_hash(), "round {round}");
        assert_eq!(dump(&ledger.snapshot()), dump(&reference.snapshot()), "round {round}");
        reached = height;
    }
    assert!(reached > 40, "the child made only {reached} blocks");
}
