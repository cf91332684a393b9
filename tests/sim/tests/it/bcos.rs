//! Thousands of small chains, each from its seed.

use sim_tests::pbft::{Report, Shape, World};

use crate::number;

/// Runs the shape over its seeds; panics with the seed of the first failure.
fn explore(name: &str, shape: &Shape, runs: u64) -> Report {
    let seeds = match number("KONSORT_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("KONSORT_SIM_RUNS").unwrap_or(runs),
    };
    eprintln!("{name}: seeds {seeds:?}");
    let mut total = Report::default();
    for seed in seeds {
        let report = World::run(seed, shape);
        assert!(
            report.violation.is_none(),
            "{name}: {} (again with KONSORT_SIM_SEED={seed} cargo test -p sim-tests bcos::{name})",
            report.violation.unwrap_or_default()
        );
        total.blocks += report.blocks;
        total.transactions += report.transactions;
        total.views += report.views;
        total.crashes += report.crashes;
        total.events += report.events;
        total.healing_ms = total.healing_ms.max(report.healing_ms);
    }
    eprintln!("{name}: {total:?}");
    total
}

#[test]
fn calm() {
    let total = explore("calm", &Shape::calm(), 40);
    // In hundreds of worlds a draw of delays comes that looks like silence for once.
    assert!(total.crashes == 0 && (total.views as u64) * 1000 < total.blocks, "{total:?}");
}

#[test]
fn rough_network() {
    explore("rough_network", &Shape::rough_network(), 60);
}

#[test]
fn power_failures() {
    let total = explore("power_failures", &Shape::power_failures(), 60);
    assert!(total.crashes > 0);
}

#[test]
fn partitions() {
    let total = explore("partitions", &Shape::partitions(), 60);
    assert!(total.views > 0);
}

#[test]
fn hostile() {
    explore("hostile", &Shape::hostile(), 90);
}

#[test]
fn seven() {
    explore("seven", &Shape::seven(), 40);
}

#[test]
fn weights() {
    explore("weights", &Shape::weights(), 50);
}

#[test]
fn membership() {
    explore("membership", &Shape::membership(), 60);
}

#[test]
fn rotation() {
    explore("rotation", &Shape::rotation(), 60);
}

#[test]
fn everything() {
    let shape = Shape { hostile: 1, ..Shape::everything() };
    explore("everything", &shape, 80);
}

#[test]
fn raft() {
    let total = explore("raft", &Shape::raft(), 60);
    assert!(total.crashes > 0);
}

#[test]
fn raft_membership() {
    explore("raft_membership", &Shape::raft_membership(), 40);
}

#[test]
fn nodes_that_forget_their_votes_are_noticed() {
    let shape = Shape { amnesia: true, ..Shape::power_failures() };
    let noticed = (0..40).filter(|seed| {
        let violation = World::run(*seed, &shape).violation.unwrap_or_default();
        violation.contains("votes for two proposals") || violation.contains("which it has left")
    });
    assert!(noticed.count() > 0);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in [2, 77] {
        assert_eq!(World::run(seed, &Shape::seven()), World::run(seed, &Shape::seven()));
    }
}
