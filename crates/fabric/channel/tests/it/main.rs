//! Tests of the channel rules against the bytes of a real network.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod config;
mod dsl;
mod genesis;
mod golden;
mod policies;
mod protoutil;
