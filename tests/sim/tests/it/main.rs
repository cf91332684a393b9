//! Thousands of small clusters, each from its seed.
//!
//! `KONSORT_SIM_SEED=<n>` runs that one seed of every shape; `KONSORT_SIM_RUNS=<n>` changes how many
//! seeds each test takes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bcos;

use sim_tests::{Report, Rng, Shape, World};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|v| v.parse().ok())
}

/// Runs the shape over its seeds; panics with the seed of the first failure.
fn explore(name: &str, shape: &Shape, runs: u64) -> Report {
    let seeds = match number("KONSORT_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("KONSORT_SIM_RUNS").unwrap_or(runs),
    };
    let mut total = Report { violation: None, committed: 0, elections: 0, crashes: 0 };
    for seed in seeds {
        let report = World::run(seed, shape);
        assert!(
            report.violation.is_none(),
            "{name}: {} (again with KONSORT_SIM_SEED={seed} cargo test -p sim-tests {name})",
            report.violation.unwrap_or_default()
        );
        total.committed += report.committed;
        total.elections += report.elections;
        total.crashes += report.crashes;
    }
    total
}

#[test]
fn calm() {
    let total = explore("calm", &Shape::calm(), 300);
    assert!(total.committed > 0 && total.crashes == 0);
}

#[test]
fn rough_network() {
    explore("rough_network", &Shape::rough_network(), 800);
}

#[test]
fn power_failures() {
    let total = explore("power_failures", &Shape::power_failures(), 1000);
    assert!(total.crashes > 0);
}

#[test]
fn partitions() {
    let total = explore("partitions", &Shape::partitions(), 800);
    assert!(total.elections > 0);
}

#[test]
fn membership() {
    explore("membership", &Shape::membership(), 800);
}

#[test]
fn everything() {
    explore("everything", &Shape::everything(), 1500);
}

#[test]
fn everything_without_pre_vote_and_check_quorum() {
    // Without the guards a removed member disturbs the others for ever, so membership stays as it is.
    explore(
        "everything_without_pre_vote_and_check_quorum",
        &Shape { guarded: false, changes: 0, ..Shape::everything() },
        500,
    );
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in [1, 99, Rng::new(3).number()] {
        assert_eq!(World::run(seed, &Shape::everything()), World::run(seed, &Shape::everything()));
    }
}
