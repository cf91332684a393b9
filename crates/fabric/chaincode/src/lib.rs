//! Chaincode as a peer sees it: packages, the processes or services that run them, and the stream on which they ask for state.
//!
//! ```
//! use fabric_chaincode::package::{self, Metadata};
//!
//! let metadata = Metadata { label: "basic_1.0".into(), kind: "ccaas".into(), path: String::new() };
//! let bytes = package::pack(&metadata, b"the code archive")?;
//! let info = package::Package::parse(bytes.into())?.info();
//! assert!(info.package_id.starts_with("basic_1.0:"));
//! # Ok::<(), fabric_chaincode::PackageError>(())
//! ```
//!
//! The way through: [`Runtime::install`] checks a package, keeps it and builds it; [`Runtime::execute`] starts the chaincode when it
//! is not running (through a [`ChaincodeLauncher`]), sends it the transaction on its stream, answers its questions from the
//! [`fabric_ledger::Simulator`] of the [`Call`], and returns the [`Outcome`]. Calls from chaincode to chaincode go back up through the
//! [`Dispatcher`] that the endorser gives.
//!
//! What this crate does not do: it does not know lifecycle definitions, policies or identities (the endorser does, and answers for
//! them through [`Dispatcher`]), it runs no Docker, and it has no engine for rich queries.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod call;
pub mod confine;
mod error;
pub mod launcher;
mod metrics;
pub mod package;
mod registry;
mod runtime;
mod session;
mod tls;
mod transaction;

pub use call::{
    Call, Capabilities, CollectionPermission, DispatchError, Dispatcher, INITIALIZED_KEY, Outcome, Target,
    check_initialization,
};
pub use error::{ChaincodeError, InstallError, LaunchError, PackageError};
pub use launcher::{
    ChaincodeLauncher, ExternalBuilder, PeerConnection, ProcessSettings, Running, RunningProcess, ServerAddress,
};
pub use package::{Package, PackageInfo, PackageStore};
pub use runtime::{Runtime, Settings, Support};
pub use session::Batching;
pub use tls::ListenerCredentials;
