//! The rules of a Fabric channel: who is a member, who must have signed, what the configuration says and how it may change.
//!
//! Everything here is a pure function of its arguments: a peer, an orderer and a tool give the same verdict on the same bytes.
//!
//! ```
//! use fabric_channel::{config::Bundle, protoutil};
//! use fabric_proto::common::Block;
//! use prost::Message;
//!
//! # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/golden/fabric/genesis.block");
//! let block = Block::decode(std::fs::read(file)?.as_slice())?;
//! let channel = Bundle::from_config_block(&block)?;
//! channel.check_peer_capabilities()?;
//! assert_eq!(channel.channel_id(), "goldenchannel");
//!
//! // Nobody has signed, so nobody may write; the explanation says what is missing.
//! let writers = channel.policies().policy("/Channel/Application/Writers");
//! assert!(writers.evaluate(&[]).is_err());
//! assert!(writers.explain(&[]).to_string().contains("Org1MSP/Writers: not satisfied"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! * [`protoutil`]: what is hashed and what is signed; headers, envelopes, blocks, proposals.
//! * [`msp`]: members, their identities and principals.
//! * [`policy`]: signature and implicit meta policies, the policy language, why a policy is not satisfied.
//! * [`config`]: the configuration tree seen as what it means; updates, judged and computed; capabilities and access rules.
//! * [`genesis`]: the first block of a channel, from `configtx.yaml` or from code.
//! * [`seek`]: which blocks a deliver request asks for.
//!
//! What this crate does not do: transactions are validated in `fabric-validation`, state is kept in `fabric-ledger`, and nothing
//! here opens a socket. Files are read in two places only: MSP folders, and the certificates that a `configtx.yaml` names.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod config;
pub mod genesis;
pub mod msp;
pub mod policy;
pub mod protoutil;
pub mod seek;
