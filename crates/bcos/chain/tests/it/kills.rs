//! A real process is killed while it commits, again and again, and its ledger opened after each death.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use bcos_chain::Chain;
use rand::Rng as _;

use crate::world::*;

const FOLDER: &str = "KONSORT_KILLED_CHAIN";

/// Not a test of its own: the process that is killed. Commits scripted blocks and says so, one line each.
#[test]
fn child_that_commits_until_it_is_killed() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let chain = Chain::create_or_open(folder, &config()).unwrap();
    let mut out = std::io::stdout();
    loop {
        let block = extend(&chain, scripted(&chain, chain.height() + 1));
        writeln!(out, "\ncommitted {} {}", block.number(), block.hash()).unwrap();
        out.flush().unwrap();
    }
}

/// Runs the child until it is killed; gives the last block it acknowledged, if any.
fn run_and_kill(folder: &Path, after: Duration) -> Option<(u64, String)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["kills::child_that_commits_until_it_is_killed", "--exact", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let reader = std::thread::spawn(move || {
        let mut last = None;
        for line in output.lines().map_while(Result::ok) {
            let mut words = line.split(' ');
            if words.next() == Some("committed") {
                last = Some((words.next().unwrap().parse().unwrap(), words.next().unwrap_or_default().to_owned()));
            }
        }
        last
    });
    std::thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}

#[test]
fn a_ledger_survives_being_killed_at_any_instant() {
    let kills: u32 = std::env::var("KONSORT_KILLS").map_or(6, |text| text.parse().unwrap());
    let (folder, partner) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let partner = Chain::create_or_open(partner.path(), &config()).unwrap();
    let mut acknowledged = 0;
    for kill in 0..kills {
        let after = Duration::from_millis(rand::rng().random_range(20..600));
        let last = run_and_kill(folder.path(), after);
        let chain = Chain::create_or_open(folder.path(), &config()).unwrap();
        if let Some((number, hash)) = last {
            acknowledged = number;
            // A line that was cut by the kill has a part of the hash only.
            let stored = chain.hash_by_number(number).unwrap().unwrap().to_string();
            assert!(stored.starts_with(&hash), "kill {kill}: block {number}");
        }
        assert!(chain.height() >= acknowledged, "kill {kill}: {} of {acknowledged} blocks", chain.height());
        while partner.height() < chain.height() {
            extend(&partner, scripted(&partner, partner.height() + 1));
        }
        assert_eq!(chain.tip().hash(), partner.tip().hash());
        assert_eq!(chain.state_hash(None).unwrap(), partner.state_hash(None).unwrap());
        assert_eq!(chain.total_counts(), partner.total_counts());
    }
    assert!(acknowledged > 0, "no kill came after a commit");
}
