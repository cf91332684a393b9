//! From source to something a network can install, and from bytes back to what people read.
//!
//! Interface documents, forms' values and their encodings, projects with versions, compilers and builders, sample contracts,
//! source lines of a trace.
//!
//! What this crate does not do: it talks to no network and keeps no records; a project is files in a folder.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]
