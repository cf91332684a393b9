//! The server as its users meet it: over HTTP, on SQLite and on a real PostgreSQL.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod access;
mod audit;
mod console;
mod crash;
mod document;
mod faults;
mod keys;
mod oidc;
mod postgres;
mod real;
mod sessions;
mod support;
mod thread;
mod writes;
