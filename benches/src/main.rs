//! `konsort-bench`: measurements that print their figures and end with one JSON object.
//!
//! CPU time per transaction stands beside wall time, because wall time on a small shared machine says little.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a bench prints")]

mod bcos;
mod cpu;
mod fabric;
mod load;
mod network;
mod platform;

use clap::{Parser, Subcommand};

/// Measurements.
#[derive(Debug, Parser)]
#[command(name = "konsort-bench", about = "Measurements; the last line of each is one JSON object")]
struct Arguments {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// Throughput, latency and CPU per transaction of a network with gateway peers
    Fabric(fabric::Options),
    /// Throughput, latency and CPU per transaction of chains with one and with four nodes, and of anvil
    Bcos(bcos::Options),
    /// The platform's server: growth of the index, times of lists and searches
    Platform(platform::Options),
}

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match Arguments::parse().bench {
        Bench::Fabric(options) => runtime.block_on(fabric::run(&options)),
        Bench::Bcos(options) => runtime.block_on(bcos::run(&options)),
        Bench::Platform(options) => runtime.block_on(platform::run(&options)),
    }
}
