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

pub mod access;
pub mod app;
pub mod audit;
pub mod auth;
pub mod channels;
mod console;
pub mod contracts;
pub mod control;
pub mod db;
pub mod download;
pub mod events;
pub mod explorer;
pub mod faults;
pub mod http;
pub mod identities;
pub mod ids;
pub mod index;
pub mod language;
pub mod live;
pub mod local;
pub mod networks;
pub mod nodes;
mod openapi;
pub mod operations;
pub mod organisations;
mod outbound;
pub mod problem;
pub mod projects;
pub mod search;
pub mod server;
pub mod settings;
pub mod supervise;
pub mod time;
