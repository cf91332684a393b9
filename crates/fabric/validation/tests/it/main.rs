//! The chain of a real network, replayed; and what happens to it when it is damaged.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod codes;
mod forge;
mod golden;
mod hostile;
mod pipelined;
mod replay;
mod vectors;
