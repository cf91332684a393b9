//! Whole-ledger tests: a real network's chain, models, crashes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)]

mod chain;
mod crash;
mod damage;
mod golden;
mod kill;
mod model;
mod private;
mod simulate;
