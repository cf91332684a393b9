//! Whole committees with real keys, and the bytes they exchange.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod cluster;
mod codec;
