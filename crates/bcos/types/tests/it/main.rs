//! The published vectors of FISCO BCOS 3.x, and properties of the codecs.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod crypto;
mod golden;
mod numbers;
mod properties;
mod structures;
mod transactions;
