//! Tests of the tools against what upstream's tools printed.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod configtxgen;
mod configtxlator;
mod mock;
mod peer_chaincode;
mod peer_cli;
mod peer_lifecycle;
mod place;
mod records;
mod support;
