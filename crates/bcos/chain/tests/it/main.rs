//! The chain from outside: whole lives of ledgers, with faults, kills and forks.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod faults;
mod kills;
mod life;
mod parallel;
mod world;
