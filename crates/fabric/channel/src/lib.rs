//! The rules of a Fabric channel: identities, policies, configuration and the bytes that are hashed and signed.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod config;
pub mod genesis;
pub mod msp;
pub mod policy;
pub mod protoutil;
pub mod seek;
