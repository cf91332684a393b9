//! Why a policy is or is not satisfied, in words.

use std::fmt;
use std::sync::Arc;

use fabric_proto::common::{
    MspPrincipal, MspRole, OrganizationUnit, msp_principal::Classification, msp_role::MspRoleType,
};
use fabric_proto::msp::SerializedIdentity;
use prost::Message as _;

use super::signature::Rule;
use super::{Policy, SignaturePolicy, SignedData, verified_identity};
use crate::msp::Identity;

/// What each part of a policy made of a set of identities. Printed as an indented outline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Whether the whole is satisfied.
    pub satisfied: bool,
    lines: Vec<String>,
}

impl Explanation {
    /// The outline, one line per part of the policy.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    pub(super) fn of(policy: &Policy, identities: &[Arc<Identity>]) -> Self {
        let mut explanation = Self { satisfied: policy.evaluate_identities(identities).is_ok(), lines: Vec::new() };
        explanation.policy(policy, identities, 0);
        explanation
    }

    pub(super) fn of_signed(policy: &Policy, set: &[SignedData]) -> Self {
        let mut discarded = Vec::new();
        let mut identities: Vec<Arc<Identity>> = Vec::new();
        if let Some(msps) = policy.msps() {
            for signed in set {
                match verified_identity(signed, msps, &identities) {
                    Ok(identity) => identities.push(identity),
                    Err(reason) => {
                        discarded.push(format!("signature by {} does not count: {reason}", creator(&signed.identity)));
                    }
                }
            }
        }
        let mut explanation = Self::of(policy, &identities);
        explanation.lines.extend(discarded);
        explanation
    }

    fn line(&mut self, depth: usize, satisfied: bool, text: &str) {
        let mark = if satisfied { "satisfied" } else { "not satisfied" };
        self.lines.push(format!("{:width$}{text}: {mark}", "", width = depth * 2));
    }

    fn policy(&mut self, policy: &Policy, identities: &[Arc<Identity>], depth: usize) {
        let satisfied = policy.evaluate_identities(identities).is_ok();
        match policy {
            Policy::Signature(policy) => {
                if identities.is_empty() {
                    self.lines.push(format!("{:width$}no valid signature was given", "", width = depth * 2));
                }
                self.rule(policy, policy.rule(), identities, &mut vec![false; identities.len()], depth);
            }
            Policy::ImplicitMeta(policy) => {
                let text = format!(
                    "{} of the {} '{}' policies of the groups below",
                    policy.threshold(),
                    policy.sub_policies().len(),
                    policy.name()
                );
                self.line(depth, satisfied, &text);
                for (group, sub_policy) in policy.sub_policies() {
                    self.line(
                        depth + 1,
                        sub_policy.evaluate_identities(identities).is_ok(),
                        &format!("{group}/{}", policy.name()),
                    );
                    self.policy(sub_policy, identities, depth + 2);
                }
            }
            Policy::Reject(name) => self.line(depth, false, &format!("there is no policy named '{name}'")),
        }
    }

    fn rule(
        &mut self,
        policy: &SignaturePolicy,
        rule: &Rule,
        identities: &[Arc<Identity>],
        used: &mut Vec<bool>,
        depth: usize,
    ) -> bool {
        match rule {
            Rule::SignedBy(index) => {
                let principal = policy.principal(*index);
                let before = used.clone();
                let satisfied = policy.check(rule, identities, used);
                self.line(depth, satisfied, &format!("signature of {}", principal_text(principal)));
                if !satisfied {
                    for (identity, taken) in identities.iter().zip(before) {
                        let reason = if taken {
                            "it has been counted for another part of the policy".to_owned()
                        } else {
                            match policy.msps().satisfies(identity, principal) {
                                Ok(()) => continue,
                                Err(error) => error.to_string(),
                            }
                        };
                        let who = creator(identity.serialized());
                        self.lines.push(format!("{:width$}not by {who}: {reason}", "", width = depth * 2 + 2));
                    }
                }
                satisfied
            }
            Rule::OutOf { needed, rules } => {
                let at = self.lines.len();
                let mut count = 0;
                for rule in rules {
                    let mut branch = used.clone();
                    if self.rule(policy, rule, identities, &mut branch, depth + 1) {
                        count += 1;
                        *used = branch;
                    }
                }
                let satisfied = count >= *needed;
                let mark = if satisfied { "satisfied" } else { "not satisfied" };
                let text = format!("{:width$}{needed} of {} (has {count}): {mark}", "", rules.len(), width = depth * 2);
                self.lines.insert(at, text);
                satisfied
            }
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.lines.join("\n"))
    }
}

fn creator(serialized: &bytes::Bytes) -> String {
    let Ok(identity) = SerializedIdentity::decode(serialized.clone()) else {
        return "bytes that are no identity".into();
    };
    let name = konsort_pki::Certificate::from_pem(&identity.id_bytes)
        .ok()
        .map(|certificate| certificate.common_name().to_owned())
        .filter(|name| !name.is_empty());
    match name {
        Some(name) => format!("{name} of {}", identity.mspid),
        None => format!("an identity of {}", identity.mspid),
    }
}

/// The principal as the policy language writes it, or in words where the language has none.
fn principal_text(principal: &MspPrincipal) -> String {
    match Classification::try_from(principal.principal_classification) {
        Ok(Classification::Role) => MspRole::decode(principal.principal.clone()).ok().map(|role| {
            let name = MspRoleType::try_from(role.role).map_or("unknown role", |role| match role {
                MspRoleType::Member => "member",
                MspRoleType::Admin => "admin",
                MspRoleType::Client => "client",
                MspRoleType::Peer => "peer",
                MspRoleType::Orderer => "orderer",
            });
            format!("'{}.{name}'", role.msp_identifier)
        }),
        Ok(Classification::OrganizationUnit) => OrganizationUnit::decode(principal.principal.clone())
            .ok()
            .map(|unit| format!("unit '{}' of {}", unit.organizational_unit_identifier, unit.msp_identifier)),
        Ok(Classification::Identity) => Some(creator(&principal.principal)),
        _ => None,
    }
    .unwrap_or_else(|| "a principal of another kind".into())
}
