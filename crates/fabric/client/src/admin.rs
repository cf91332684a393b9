//! Administration: what an operator does to a peer, an orderer and an orderer's channel list.

mod orderer;
mod participation;
mod peer;

pub use orderer::OrdererClient;
pub use participation::{ParticipationAnswer, ParticipationClient};
pub(crate) use peer::lifecycle_call;
pub use peer::{AdminClient, BlockStream, ChaincodeDefinition, Commit, Watch};
