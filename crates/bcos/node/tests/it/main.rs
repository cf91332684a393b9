//! Whole nodes in one process: real files of the chain builder, real TLS sockets, real disks.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod cluster;
mod four;
mod hostile;
mod members;
mod rotation;
mod services;
mod single;
