//! The control plane: makes, starts, watches and removes networks, and talks to their nodes as any stranger would, through their
//! public protocols.
//!
//! ```no_run
//! # async fn example() -> Result<(), konsort_platform::local::LocalError> {
//! use konsort_platform::local::{LocalNetwork, Request};
//!
//! let network = LocalNetwork::open_or_create("demo".as_ref(), &Request::default())?;
//! let report = network.up(&std::env::current_exe().unwrap(), &|step| println!("{step:?}")).await?;
//! println!("first commit after {:?} ms", report.first_commit_ms);
//! # Ok(())
//! # }
//! ```
//!
//! What this crate does not do: it orders, validates and executes nothing itself; nodes are separate processes that would run the
//! same under any other supervisor.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod local;
