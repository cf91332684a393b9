//! Listeners and callers against each other.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod operations;
mod tls;
mod unread;
