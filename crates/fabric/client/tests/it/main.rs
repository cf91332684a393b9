//! Tests of the tools against what upstream's tools printed.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod configtxgen;
mod configtxlator;
mod mock;
mod peer_cli;
mod support;
