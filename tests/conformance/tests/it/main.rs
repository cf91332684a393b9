//! Stock clients against the real program.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod descriptors;
mod gateway;
mod tools;
