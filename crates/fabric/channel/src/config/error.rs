//! What can be wrong with a configuration or an update of one. Texts are upstream's: administrators and scripts know them.

use crate::policy::{PolicyBuildError, PolicyError};
use crate::protoutil::ProtoutilError;

/// A configuration that no channel can have.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConfigError {
    /// A rule of the configuration is broken; the text says which.
    #[error("{0}")]
    Invalid(String),
    /// A value cannot be decoded.
    #[error("failed to deserialize values: {key}: {source}")]
    Decode {
        /// The value's key.
        key: String,
        /// What the decoder found.
        #[source]
        source: prost::DecodeError,
    },
    /// A value that the group does not know.
    #[error("failed to deserialize values: Unexpected key {0}")]
    UnexpectedKey(String),
    /// A group below the channel cannot be used.
    #[error("could not create channel {group} sub-group config: {source}")]
    Group {
        /// The group's name.
        group: String,
        /// What is wrong with it.
        #[source]
        source: Box<ConfigError>,
    },
    /// The values and groups of the channel cannot be used.
    #[error("initializing channelconfig failed: {0}")]
    Channel(#[source] Box<ConfigError>),
    /// A member's MSP cannot be used.
    #[error("setting up the MSP manager failed: {0}")]
    Msp(String),
    /// The policies cannot be used.
    #[error("initializing policymanager failed: {0}")]
    Policies(#[from] PolicyBuildError),
    /// The tree as such cannot be used.
    #[error("initializing configtx manager failed: {0}")]
    Configtx(String),
    /// The block or envelope holds no configuration.
    #[error(transparent)]
    Envelope(#[from] ProtoutilError),
}

impl ConfigError {
    pub(super) fn invalid(text: impl Into<String>) -> Self {
        Self::Invalid(text.into())
    }
}

/// An update that is refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum UpdateError {
    /// The text says which rule is broken and where.
    #[error("{0}")]
    Refused(String),
    /// A changed element's policy is not satisfied.
    #[error("error validating DeltaSet: policy for {key} not satisfied: {source}")]
    Policy {
        /// The element, with its kind and path.
        key: String,
        /// The refusal.
        #[source]
        source: PolicyError,
        /// What each part of the policy made of the signatures.
        explanation: String,
    },
    /// While proposing: the envelope is not an update.
    #[error("error converting envelope to config update: {0}")]
    NotAnUpdate(#[source] ProtoutilError),
    /// While proposing: the update is not allowed.
    #[error("error authorizing update: {0}")]
    Authorizing(#[source] Box<UpdateError>),
    /// The envelope or a header in it cannot be decoded.
    #[error(transparent)]
    Envelope(#[from] ProtoutilError),
    /// There is nothing to update.
    #[error("no differences detected between original and updated config")]
    NoDifferences,
    /// The resulting configuration is one that no channel can have.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl UpdateError {
    pub(super) fn refused(text: impl Into<String>) -> Self {
        Self::Refused(text.into())
    }

    /// What each part of the policy made of the signatures, when a policy is the reason.
    pub fn explanation(&self) -> Option<&str> {
        match self {
            Self::Policy { explanation, .. } => Some(explanation),
            Self::Authorizing(inner) => inner.explanation(),
            _ => None,
        }
    }
}
