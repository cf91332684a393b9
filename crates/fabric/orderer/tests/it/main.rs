//! Whole orderers on loopback, with TLS.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod cluster;
mod golden;
mod harness;
mod single;
