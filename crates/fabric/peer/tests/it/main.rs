//! The peer against recorded blocks of a real network.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod channels;
mod filtered;
mod golden;
