//! Channel configuration: the versioned tree in a configuration block, seen as what it means.
//!
//! [`Bundle`] is made from a configuration block once and then shared; it answers every question about the channel: members,
//! policies, capabilities, batch sizes, endpoints, access rules. It also judges updates ([`Bundle::propose_update`],
//! [`Bundle::validate`], [`Bundle::validate_new`]).

pub mod acl;
mod application;
mod bundle;
mod capabilities;
mod duration;
mod error;
mod id;
mod map;
mod orderer;
mod update;
mod values;

pub use application::{ApplicationConfig, ApplicationOrg};
pub use bundle::{Bundle, ROOT_GROUP};
pub use capabilities::{ApplicationCapabilities, CapabilityError, ChannelCapabilities, OrdererCapabilities};
pub use duration::{DurationError, format_duration, parse_duration};
pub use error::{ConfigError, UpdateError};
pub use id::{validate_channel_id, validate_config_id};
pub use orderer::{OrdererConfig, OrdererOrg};
pub use update::compute;
pub(crate) use values::{new_map_value, new_value};

/// Names of groups, values and policies in the tree.
pub mod keys {
    /// The group of the ordering service.
    pub const ORDERER: &str = "Orderer";
    /// The group of the peers' organisations.
    pub const APPLICATION: &str = "Application";
    /// The group that only channels of the 1.x and 2.x system kind have.
    pub const CONSORTIUMS: &str = "Consortiums";
    /// Value: the capabilities that a node must have.
    pub const CAPABILITIES: &str = "Capabilities";
    /// Value: an organisation's MSP.
    pub const MSP: &str = "MSP";
    /// Value: an organisation's anchor peers.
    pub const ANCHOR_PEERS: &str = "AnchorPeers";
    /// Value: an ordering organisation's endpoints.
    pub const ENDPOINTS: &str = "Endpoints";
    /// Value: access rules by resource.
    pub const ACLS: &str = "ACLs";
    /// Value: the hash algorithm.
    pub const HASHING_ALGORITHM: &str = "HashingAlgorithm";
    /// Value: the width of the Merkle tree over a block's transactions.
    pub const BLOCK_DATA_HASHING_STRUCTURE: &str = "BlockDataHashingStructure";
    /// Value: orderer addresses for all organisations (not with V3_0).
    pub const ORDERER_ADDRESSES: &str = "OrdererAddresses";
    /// Value: the consortium that a channel was made for.
    pub const CONSORTIUM: &str = "Consortium";
    /// Value: the consenters with their identities.
    pub const ORDERERS: &str = "Orderers";
    /// Value: the kind of consensus with its own metadata.
    pub const CONSENSUS_TYPE: &str = "ConsensusType";
    /// Value: how large blocks may be.
    pub const BATCH_SIZE: &str = "BatchSize";
    /// Value: how long a block waits for more transactions.
    pub const BATCH_TIMEOUT: &str = "BatchTimeout";
    /// Value: the brokers of a Kafka ordering service.
    pub const KAFKA_BROKERS: &str = "KafkaBrokers";
    /// Value: how many channels there may be.
    pub const CHANNEL_RESTRICTIONS: &str = "ChannelRestrictions";
    /// Value: who may make a channel for a consortium.
    pub const CHANNEL_CREATION_POLICY: &str = "ChannelCreationPolicy";
    /// The policy of administrators.
    pub const ADMINS: &str = "Admins";
    /// The policy of readers.
    pub const READERS: &str = "Readers";
    /// The policy of writers.
    pub const WRITERS: &str = "Writers";
    /// The policy by which peers judge a block's signatures.
    pub const BLOCK_VALIDATION: &str = "BlockValidation";
}
