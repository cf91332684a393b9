//! Synchronisation: transactions reach every pool, blocks reach whoever missed them.

mod blocks;
mod gossip;

pub(crate) use blocks::{Fetcher, FetcherParts, Hint};
pub(crate) use gossip::{Gossip, GossipParts};
