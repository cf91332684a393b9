//! What can be wrong with a profile. Texts are upstream's.

use crate::config::UpdateError;
use crate::msp::MspError;
use crate::policy::PolicyBuildError;
use crate::policy::dsl::DslError;

/// A profile, or the file it is in, that gives no configuration.
#[derive(Debug, thiserror::Error)]
pub enum GenesisError {
    /// The text is not YAML.
    #[error("Error reading configuration: {0}")]
    Yaml(String),
    /// A setting is unknown or of the wrong kind.
    #[error("Error unmarshalling config into struct: {0}")]
    Setting(String),
    /// The file has no profile of that name.
    #[error("Could not find profile: {0}")]
    NoProfile(String),
    /// The profile lacks something; the text says what.
    #[error("{0}")]
    Invalid(String),
    /// A part of the profile cannot be used.
    #[error("{context}: {source}")]
    In {
        /// The part.
        context: String,
        /// What is wrong with it.
        #[source]
        source: Box<GenesisError>,
    },
    /// An implicit meta rule cannot be read.
    #[error("invalid implicit meta policy rule '{rule}': {source}")]
    ImplicitMeta {
        /// The rule's text.
        rule: String,
        /// What is wrong with it.
        #[source]
        source: PolicyBuildError,
    },
    /// A signature rule cannot be read.
    #[error("invalid signature policy rule '{rule}': {source}")]
    Signature {
        /// The rule's text.
        rule: String,
        /// What is wrong with it.
        #[source]
        source: DslError,
    },
    /// A folder is no MSP.
    #[error("1 - Error loading MSP configuration for org: {organization}: {source}")]
    Msp {
        /// The organisation's name.
        organization: String,
        /// What is wrong with the folder.
        #[source]
        source: MspError,
    },
    /// A file cannot be read.
    #[error("{what}: {source}")]
    File {
        /// What it is for.
        what: String,
        /// Why it cannot be read.
        #[source]
        source: std::io::Error,
    },
    /// A channel creation cannot be computed.
    #[error("could not compute update: {0}")]
    Update(#[from] UpdateError),
}

impl GenesisError {
    pub(super) fn invalid(text: impl Into<String>) -> Self {
        Self::Invalid(text.into())
    }

    pub(super) fn within(self, context: impl Into<String>) -> Self {
        Self::In { context: context.into(), source: Box::new(self) }
    }
}
