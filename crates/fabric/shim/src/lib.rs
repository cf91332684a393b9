//! Chaincode in Rust: implement [`Contract`], give it to [`run`], package it.
//!
//! ```
//! use fabric_shim::{Contract, ContractError, Reply, Stub};
//!
//! struct Notes;
//!
//! impl Contract for Notes {
//!     async fn invoke(&self, stub: &Stub) -> Reply {
//!         match stub.function() {
//!             "Write" => {
//!                 let [name, text] = stub.parameters()?;
//!                 stub.put_state(name, text.to_owned()).await?;
//!                 Ok(Default::default())
//!             }
//!             "Read" => {
//!                 let [name] = stub.parameters()?;
//!                 stub.get_state(name).await?.ok_or_else(|| ContractError::new(format!("the note {name} does not exist")))
//!             }
//!             other => Err(ContractError::new(format!("function {other} not found"))),
//!         }
//!     }
//! }
//! ```
//!
//! A contract must give the same result on every peer: no clock, no randomness, no I/O but through its [`Stub`]. Reads see the state
//! before the transaction, never its own writes.
//!
//! One process serves many transactions at once over one stream: either the process dials its peer ([`connect`]) or it listens and
//! the peer dials (chaincode as a service, [`serve`]); [`run`] chooses by the environment as the shims of other languages do.
//!
//! What this crate does not do: it offers no derive macros and no contract metadata, and it builds no packages.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod composite;
mod contract;
mod error;
mod identity;
mod run;
pub mod samples;
mod session;
mod settings;
mod stub;

pub use composite::{composite_key, split_composite_key};
pub use contract::{Contract, Reply};
pub use error::{ContractError, RunError, ShimError};
pub use identity::ClientIdentity;
pub use run::{connect, run, serve, service};
pub use settings::{ClientSettings, ClientTlsFiles, Mode, ServerSettings, ServerTlsFiles};
pub use stub::{History, Modification, Page, Row, Rows, Stub};
