//! The core step by step, and the log on a real disk.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod core;
mod log_file;
