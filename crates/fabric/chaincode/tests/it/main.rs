//! The runtime against real streams: our own shim over TLS, services, hostile peers of the stream, real processes.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod golden;
mod hostile;
mod process;
mod service;
mod stock;
mod stream;
mod world;
