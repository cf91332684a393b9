//! Implicit meta policies: how many of the child groups' policies of one name must be satisfied.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use fabric_proto::common::ImplicitMetaPolicy as Definition;
use fabric_proto::common::implicit_meta_policy::Rule;
use prost::Message as _;

use super::{Policy, PolicyBuildError, PolicyError, PolicyManager};
use crate::msp::Identity;

/// An implicit meta policy with its sub-policies found.
#[derive(Debug)]
pub struct ImplicitMetaPolicy {
    name: String,
    threshold: usize,
    sub_policies: Vec<(String, Policy)>,
}

impl ImplicitMetaPolicy {
    pub(super) fn new(bytes: &Bytes, children: &BTreeMap<String, PolicyManager>) -> Result<Self, PolicyBuildError> {
        let definition = Definition::decode(bytes.clone())
            .map_err(|source| PolicyBuildError::Decode { what: "ImplicitMetaPolicy", source })?;
        let sub_policies: Vec<(String, Policy)> =
            children.iter().map(|(group, manager)| (group.clone(), manager.policy(&definition.sub_policy))).collect();
        // A rule that does not exist leaves the threshold at zero, as upstream.
        let threshold = match Rule::try_from(definition.rule) {
            _ if sub_policies.is_empty() => 0,
            Ok(Rule::Any) => 1,
            Ok(Rule::All) => sub_policies.len(),
            Ok(Rule::Majority) => sub_policies.len() / 2 + 1,
            Err(_) => 0,
        };
        Ok(Self { name: definition.sub_policy, threshold, sub_policies })
    }

    /// The name that the sub-policies share.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many sub-policies must be satisfied.
    pub fn threshold(&self) -> usize {
        self.threshold
    }

    /// The sub-policies with the names of their groups.
    pub fn sub_policies(&self) -> &[(String, Policy)] {
        &self.sub_policies
    }

    /// Whether these identities satisfy enough of the sub-policies. Their signatures have been verified.
    pub fn evaluate_identities(&self, identities: &[Arc<Identity>]) -> Result<(), PolicyError> {
        // A threshold of zero is met only by nobody: upstream counts down and stops at exactly zero.
        let enough = if self.threshold == 0 { usize::MAX } else { self.threshold };
        let satisfied = self
            .sub_policies
            .iter()
            .filter(|(_, policy)| policy.evaluate_identities(identities).is_ok())
            .take(enough)
            .count();
        if satisfied == self.threshold {
            return Ok(());
        }
        Err(PolicyError::TooFewSubPolicies { satisfied, required: self.threshold, name: self.name.clone() })
    }
}

/// Reads the short form of configuration files: `ANY Readers`, `ALL Writers`, `MAJORITY Admins`.
pub fn implicit_meta_from_str(text: &str) -> Result<Definition, PolicyBuildError> {
    let words: Vec<&str> = text.split(' ').collect();
    let &[rule, sub_policy] = words.as_slice() else {
        let text = format!("expected two space separated tokens, but got {}", words.len());
        return Err(PolicyBuildError::ImplicitMeta(text));
    };
    let rule = Rule::from_str_name(rule).ok_or_else(|| {
        PolicyBuildError::ImplicitMeta(format!("unknown rule type '{rule}', expected ALL, ANY, or MAJORITY"))
    })?;
    Ok(Definition { sub_policy: sub_policy.to_owned(), rule: rule as i32 })
}
