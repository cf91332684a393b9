//! Every recorded command of the real network is run again by a test, or stands here with the reason why not.

use std::collections::BTreeSet;

use crate::support::golden;

/// The sources of the tests that run recorded commands again; those of the orderer need one to talk to.
const TESTS: &[&str] = &[
    include_str!("../../src/cryptogen/tests.rs"),
    include_str!("configtxgen.rs"),
    include_str!("configtxlator.rs"),
    include_str!("peer_chaincode.rs"),
    include_str!("peer_cli.rs"),
    include_str!("peer_lifecycle.rs"),
    include_str!("../../../orderer/tests/it/golden.rs"),
];

const SNAPSHOTS: &str = "ledger snapshots are not part of the peer yet";

/// Records that no test runs again.
const LEFT_OUT: &[(&str, &str)] = &[
    ("116_peer_snapshot_listpending_empty", SNAPSHOTS),
    ("117_peer_snapshot_submitrequest_future", SNAPSHOTS),
    ("118_peer_snapshot_listpending", SNAPSHOTS),
    ("119_peer_snapshot_cancelrequest", SNAPSHOTS),
    ("120_peer_snapshot_submitrequest_past", SNAPSHOTS),
    ("121_peer_snapshot_submitrequest_now", SNAPSHOTS),
];

#[test]
fn every_record_is_run_again_or_left_out_for_a_reason() {
    let records: BTreeSet<String> = std::fs::read_dir(golden("cli"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .map(|name| name.strip_suffix(".json").expect("records are JSON files").to_owned())
        .collect();
    assert_eq!(records.len(), 126);
    for record in &records {
        let quoted = format!("\"{record}\"");
        let replayed = TESTS.iter().any(|source| source.contains(&quoted));
        let left_out = LEFT_OUT.iter().any(|(name, reason)| name == record && !reason.is_empty());
        assert!(replayed != left_out, "{record}: run again: {replayed}, left out: {left_out}");
    }
    for (name, _) in LEFT_OUT {
        assert!(records.contains(*name), "{name} is no record");
    }
}
