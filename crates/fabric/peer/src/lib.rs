//! (being built)
pub mod gossip;
