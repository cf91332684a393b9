//! Policies: who must have signed.
//!
//! A verdict here is part of consensus between peers, so evaluation is upstream's own, greedy and left to right: a rule takes
//! the first unused identity that fits its principal, even where another choice would satisfy more rules.
//!
//! A refusal carries upstream's text. Why it was refused (which identity, which principal) is worked out only when somebody
//! asks, by [`Policy::explain`], because a failed branch is the ordinary case inside a larger policy.

pub mod dsl;
mod error;
mod explain;
mod implicit;
mod manager;
mod signature;

use std::sync::Arc;

pub use crate::protoutil::SignedData;
pub use error::{PolicyBuildError, PolicyError};
pub use explain::Explanation;
pub use implicit::{ImplicitMetaPolicy, implicit_meta_from_str};
pub use manager::PolicyManager;
pub use signature::{
    SignaturePolicy, bft_block_validation_policy, bft_quorum, n_out_of, role_principal, signed_by, signed_by_msp_role,
};

use crate::msp::{Identity, MspManager};

/// A policy of any kind. Cloning is cheap.
#[derive(Debug, Clone)]
pub enum Policy {
    /// A tree of "n out of" over principals.
    Signature(Arc<SignaturePolicy>),
    /// ANY, ALL or MAJORITY of the policies of one name in the child groups.
    ImplicitMeta(Arc<ImplicitMetaPolicy>),
    /// What an unknown name stands for: nobody is good enough. Holds the name.
    Reject(Arc<str>),
}

impl Policy {
    /// Whether the signatures satisfy the policy. Every signature is verified here.
    pub fn evaluate(&self, set: &[SignedData]) -> Result<(), PolicyError> {
        match self.msps() {
            Some(msps) => self.evaluate_identities(&verified_identities(set, msps)),
            None => self.evaluate_identities(&[]),
        }
    }

    /// Whether these identities, whose signatures have been verified already, satisfy the policy.
    pub fn evaluate_identities(&self, identities: &[Arc<Identity>]) -> Result<(), PolicyError> {
        match self {
            Self::Signature(policy) => policy.evaluate_identities(identities),
            Self::ImplicitMeta(policy) => policy.evaluate_identities(identities),
            Self::Reject(name) => Err(PolicyError::NoSuchPolicy(name.to_string())),
        }
    }

    /// What each part of the policy makes of these identities, for a person to read.
    pub fn explain(&self, identities: &[Arc<Identity>]) -> Explanation {
        Explanation::of(self, identities)
    }

    /// As [`Policy::explain`], from signatures; those that do not count are named with the reason.
    pub fn explain_signed(&self, set: &[SignedData]) -> Explanation {
        Explanation::of_signed(self, set)
    }

    fn msps(&self) -> Option<&MspManager> {
        match self {
            Self::Signature(policy) => Some(policy.msps()),
            Self::ImplicitMeta(policy) => policy.sub_policies().iter().find_map(|(_, policy)| policy.msps()),
            Self::Reject(_) => None,
        }
    }
}

/// The identities whose signatures are valid, each once (by MSP id and certificate), in the order of their signatures.
///
/// The order of the steps is upstream's: unknown identities are dropped, then doubles, then bad signatures. A bad signature does
/// not make a later good one by the same identity a double.
pub fn verified_identities(set: &[SignedData], msps: &MspManager) -> Vec<Arc<Identity>> {
    let mut identities: Vec<Arc<Identity>> = Vec::with_capacity(set.len());
    for signed in set {
        if let Ok(identity) = verified_identity(signed, msps, &identities) {
            identities.push(identity);
        }
    }
    identities
}

/// Why a signature does not count.
#[derive(Debug, Clone, thiserror::Error)]
enum Discarded {
    #[error("invalid identity: {0}")]
    Identity(String),
    #[error("the same identity has signed before")]
    Double,
    #[error("the signature is invalid")]
    Signature,
}

fn verified_identity(
    signed: &SignedData,
    msps: &MspManager,
    before: &[Arc<Identity>],
) -> Result<Arc<Identity>, Discarded> {
    let identity = msps.deserialize(&signed.identity).map_err(|error| Discarded::Identity(error.to_string()))?;
    if before.iter().any(|other| same_identity(other, &identity)) {
        return Err(Discarded::Double);
    }
    identity.verify(&signed.data, &signed.signature).map_err(|_| Discarded::Signature)?;
    Ok(identity)
}

fn same_identity(left: &Arc<Identity>, right: &Arc<Identity>) -> bool {
    Arc::ptr_eq(left, right) || left.id() == right.id()
}
