//! Signature policies: a tree of "n out of" over principals.

use std::sync::Arc;

use bytes::Bytes;
use fabric_proto::common::{
    Consenter, MspPrincipal, MspRole, SignaturePolicy as Node, SignaturePolicyEnvelope, msp_principal::Classification,
    msp_role::MspRoleType, signature_policy,
};
use fabric_proto::msp::SerializedIdentity;
use prost::Message as _;

use super::{PolicyBuildError, PolicyError};
use crate::msp::{Identity, MspManager};

/// A signature policy, ready to be evaluated against the members of one channel.
#[derive(Debug)]
pub struct SignaturePolicy {
    rule: Rule,
    envelope: SignaturePolicyEnvelope,
    msps: MspManager,
}

/// The tree with its indexes checked.
#[derive(Debug)]
pub(super) enum Rule {
    SignedBy(usize),
    OutOf { needed: i64, rules: Vec<Rule> },
}

fn compile(node: &Node, principals: usize) -> Result<Rule, PolicyBuildError> {
    match node.r#type.as_ref().ok_or(PolicyBuildError::UnknownNode)? {
        signature_policy::Type::SignedBy(index) => match usize::try_from(*index) {
            Ok(known) if known < principals => Ok(Rule::SignedBy(known)),
            _ => Err(PolicyBuildError::PrincipalIndex { requested: *index, length: principals }),
        },
        signature_policy::Type::NOutOf(gate) => {
            let rules = gate.rules.iter().map(|rule| compile(rule, principals)).collect::<Result<_, _>>()?;
            Ok(Rule::OutOf { needed: i64::from(gate.n), rules })
        }
    }
}

/// Which identities a branch has taken. Two sizes: nearly always there are few.
pub(super) trait Used: Clone {
    fn contains(&self, index: usize) -> bool;
    fn insert(&mut self, index: usize);
}

impl Used for u128 {
    fn contains(&self, index: usize) -> bool {
        self & (1 << index) != 0
    }
    fn insert(&mut self, index: usize) {
        *self |= 1 << index;
    }
}

impl Used for Vec<bool> {
    fn contains(&self, index: usize) -> bool {
        self[index]
    }
    fn insert(&mut self, index: usize) {
        self[index] = true;
    }
}

impl SignaturePolicy {
    /// Prepares a policy found in a channel configuration.
    pub fn from_bytes(bytes: &Bytes, msps: &MspManager) -> Result<Self, PolicyBuildError> {
        let envelope = SignaturePolicyEnvelope::decode(bytes.clone())
            .map_err(|source| PolicyBuildError::Decode { what: "SignaturePolicy", source })?;
        if envelope.version != 0 {
            return Err(PolicyBuildError::Version(envelope.version));
        }
        Self::new(envelope, msps)
    }

    /// Prepares a policy. As upstream, a definition that did not come from a channel configuration may have any version.
    pub fn new(envelope: SignaturePolicyEnvelope, msps: &MspManager) -> Result<Self, PolicyBuildError> {
        let root = envelope.rule.as_ref().ok_or(PolicyBuildError::Empty)?;
        let rule = compile(root, envelope.identities.len())?;
        Ok(Self { rule, envelope, msps: msps.clone() })
    }

    /// The definition.
    pub fn envelope(&self) -> &SignaturePolicyEnvelope {
        &self.envelope
    }

    pub(super) fn rule(&self) -> &Rule {
        &self.rule
    }

    pub(super) fn principal(&self, index: usize) -> &MspPrincipal {
        &self.envelope.identities[index]
    }

    pub(super) fn msps(&self) -> &MspManager {
        &self.msps
    }

    /// Whether these identities satisfy the policy. Their signatures have been verified.
    pub fn evaluate_identities(&self, identities: &[Arc<Identity>]) -> Result<(), PolicyError> {
        let satisfied = if identities.len() <= 128 {
            self.check(&self.rule, identities, &mut 0_u128)
        } else {
            self.check(&self.rule, identities, &mut vec![false; identities.len()])
        };
        if satisfied { Ok(()) } else { Err(PolicyError::NotSatisfied) }
    }

    /// One rule, greedily: a gate visits all its rules even when it has enough, so later rules take identities too; what a
    /// failed rule has taken is free again.
    pub(super) fn check<U: Used>(&self, rule: &Rule, identities: &[Arc<Identity>], used: &mut U) -> bool {
        match rule {
            Rule::SignedBy(principal) => {
                let principal = &self.envelope.identities[*principal];
                let found = (0..identities.len()).find(|index| {
                    !used.contains(*index) && self.msps.satisfies(&identities[*index], principal).is_ok()
                });
                if let Some(index) = found {
                    used.insert(index);
                }
                found.is_some()
            }
            Rule::OutOf { needed, rules } => {
                let mut satisfied = 0;
                for rule in rules {
                    let mut branch = used.clone();
                    if self.check(rule, identities, &mut branch) {
                        satisfied += 1;
                        *used = branch;
                    }
                }
                satisfied >= *needed
            }
        }
    }
}

/// A leaf: signed by the principal with this index.
pub fn signed_by(principal: i32) -> Node {
    Node { r#type: Some(signature_policy::Type::SignedBy(principal)) }
}

/// A gate: `n` of the rules.
pub fn n_out_of(n: i32, rules: Vec<Node>) -> Node {
    Node { r#type: Some(signature_policy::Type::NOutOf(signature_policy::NOutOf { n, rules })) }
}

/// The principal "holders of this role in this MSP".
pub fn role_principal(msp_identifier: &str, role: MspRoleType) -> MspPrincipal {
    let role = MspRole { msp_identifier: msp_identifier.to_owned(), role: role as i32 };
    MspPrincipal { principal_classification: Classification::Role as i32, principal: role.encode_to_vec().into() }
}

/// The policy "one holder of this role in this MSP", in the form upstream's tools write it.
pub fn signed_by_msp_role(msp_identifier: &str, role: MspRoleType) -> SignaturePolicyEnvelope {
    SignaturePolicyEnvelope {
        version: 0,
        rule: Some(n_out_of(1, vec![signed_by(0)])),
        identities: vec![role_principal(msp_identifier, role)],
    }
}

/// How many of `nodes` must agree when `faulty` of them may lie: half of `nodes + faulty + 1`, rounded up.
pub fn bft_quorum(nodes: usize, faulty: usize) -> usize {
    (nodes + faulty + 1).div_ceil(2)
}

/// The block validation policy of a BFT channel: a quorum of the consenters by their very identities.
pub fn bft_block_validation_policy(consenters: &[Consenter]) -> SignaturePolicyEnvelope {
    let identities: Vec<MspPrincipal> = consenters
        .iter()
        .map(|consenter| {
            let identity = SerializedIdentity { mspid: consenter.msp_id.clone(), id_bytes: consenter.identity.clone() };
            MspPrincipal {
                principal_classification: Classification::Identity as i32,
                principal: identity.encode_to_vec().into(),
            }
        })
        .collect();
    let rules = (0..consenters.len() as i32).map(signed_by).collect();
    let quorum = bft_quorum(consenters.len(), consenters.len().saturating_sub(1) / 3);
    SignaturePolicyEnvelope { version: 0, rule: Some(n_out_of(quorum as i32, rules)), identities }
}
