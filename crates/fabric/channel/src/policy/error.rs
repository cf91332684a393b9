//! Why a policy is not satisfied, or is none.

/// A policy that is not satisfied. The texts are upstream's, because tools and scripts look for them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// The signature policy's tree is not satisfied.
    #[error("signature set did not satisfy policy")]
    NotSatisfied,
    /// Too few of the child groups' policies are satisfied.
    #[error(
        "implicit policy evaluation failed - {satisfied} sub-policies were satisfied, but this policy requires {required} of the '{name}' sub-policies to be satisfied"
    )]
    TooFewSubPolicies {
        /// How many were satisfied.
        satisfied: usize,
        /// How many must be.
        required: usize,
        /// The name of the sub-policies.
        name: String,
    },
    /// There is no policy of that name, which counts as refusal.
    #[error("no such policy: '{0}'")]
    NoSuchPolicy(String),
}

/// A policy definition that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyBuildError {
    /// Bytes that are not the definition they should be.
    #[error("Error unmarshalling to {what}: {source}")]
    Decode {
        /// The message that was expected.
        what: &'static str,
        /// What the decoder found.
        #[source]
        source: prost::DecodeError,
    },
    /// A definition of a later format.
    #[error("This evaluator only understands messages of version 0, but version was {0}")]
    Version(i32),
    /// A tree without root.
    #[error("Empty policy element")]
    Empty,
    /// A node of the tree that is neither a principal nor a gate.
    #[error("Unknown type: <nil>:<nil>")]
    UnknownNode,
    /// A leaf that names a principal which is not there.
    #[error("identity index out of range, requested {requested}, but identities length is {length}")]
    PrincipalIndex {
        /// The index in the leaf.
        requested: i32,
        /// How many principals there are.
        length: usize,
    },
    /// A configuration element without policy.
    #[error("policy {name} at path {path} was nil")]
    Missing {
        /// The policy's name.
        name: String,
        /// The path of its group.
        path: String,
    },
    /// A configuration element with a policy of a type that does not exist.
    #[error("policy {name} at path {path} has unknown policy type: {kind}")]
    UnknownType {
        /// The policy's name.
        name: String,
        /// The path of its group.
        path: String,
        /// The number of the type.
        kind: i32,
    },
    /// A configuration element whose policy cannot be used.
    #[error("{prefix} {name} at path {path} did not compile: {source}")]
    At {
        /// `policy` or `implicit policy`.
        prefix: &'static str,
        /// The policy's name.
        name: String,
        /// The path of its group.
        path: String,
        /// What is wrong with it.
        #[source]
        source: Box<PolicyBuildError>,
    },
    /// An implicit meta rule that does not exist, or a text that is none.
    #[error("{0}")]
    ImplicitMeta(String),
    /// An application policy that is neither a signature policy nor a reference.
    #[error("unsupported policy type <nil>")]
    UnsupportedApplicationPolicy,
    /// An application policy that refers to a policy the channel does not have.
    #[error("could not create evaluator for channel reference policy: failed to retrieve policy for reference {0}")]
    UnknownReference(String),
    /// An application policy whose signature policy cannot be used.
    #[error("could not create evaluator for signature policy: {0}")]
    SignaturePolicy(#[source] Box<PolicyBuildError>),
}
