//! All policies of a channel by their paths.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use fabric_proto::common::{ConfigGroup, policy::PolicyType};
use fabric_proto::protos::{ApplicationPolicy, application_policy};
use prost::Message as _;

use super::{ImplicitMetaPolicy, Policy, PolicyBuildError, SignaturePolicy};
use crate::msp::MspManager;

/// The policies of one configuration group and all groups below it. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct PolicyManager {
    node: Arc<Node>,
}

#[derive(Debug)]
struct Node {
    path: String,
    policies: BTreeMap<String, Policy>,
    children: BTreeMap<String, PolicyManager>,
    msps: MspManager,
}

impl PolicyManager {
    /// Prepares the policies of `group` and below. `path` is the group's path without leading slash (`Channel`).
    pub fn new(path: &str, group: &ConfigGroup, msps: &MspManager) -> Result<Self, PolicyBuildError> {
        let mut children = BTreeMap::new();
        for (name, child) in &group.groups {
            children.insert(name.clone(), Self::new(&format!("{path}/{name}"), child, msps)?);
        }
        let mut policies = BTreeMap::new();
        for (name, element) in &group.policies {
            let Some(definition) = &element.policy else {
                return Err(PolicyBuildError::Missing { name: name.clone(), path: path.to_owned() });
            };
            let at = |prefix: &'static str, source: PolicyBuildError| PolicyBuildError::At {
                prefix,
                name: name.clone(),
                path: path.to_owned(),
                source: Box::new(source),
            };
            let policy = match PolicyType::try_from(definition.r#type) {
                Ok(PolicyType::ImplicitMeta) => {
                    let policy = ImplicitMetaPolicy::new(&definition.value, &children)
                        .map_err(|error| at("implicit policy", error))?;
                    Policy::ImplicitMeta(Arc::new(policy))
                }
                Ok(PolicyType::Signature) => {
                    let policy =
                        SignaturePolicy::from_bytes(&definition.value, msps).map_err(|error| at("policy", error))?;
                    Policy::Signature(Arc::new(policy))
                }
                _ => {
                    let (name, path) = (name.clone(), path.to_owned());
                    return Err(PolicyBuildError::UnknownType { name, path, kind: definition.r#type });
                }
            };
            policies.insert(name.clone(), policy);
        }
        for (group, child) in &children {
            for (name, policy) in &child.node.policies {
                policies.insert(format!("{group}/{name}"), policy.clone());
            }
        }
        let node = Node { path: path.to_owned(), policies, children, msps: msps.clone() };
        Ok(Self { node: Arc::new(node) })
    }

    /// The policies of a group below, by the names on the way to it.
    pub fn child(&self, path: &[String]) -> Option<&Self> {
        path.iter().try_fold(self, |manager, name| manager.node.children.get(name))
    }

    /// The policy with this path, absolute (`/Channel/Application/Writers`) or relative to the group (`Application/Writers`).
    pub fn get(&self, path: &str) -> Option<&Policy> {
        self.node.policies.get(self.relative(path)?)
    }

    fn relative<'a>(&self, path: &'a str) -> Option<&'a str> {
        match path.strip_prefix('/') {
            Some(absolute) => absolute.strip_prefix(self.node.path.as_str())?.strip_prefix('/'),
            None => Some(path),
        }
    }

    /// As [`PolicyManager::get`]; an unknown path gives a policy that nobody satisfies.
    pub fn policy(&self, path: &str) -> Policy {
        let reject = || Policy::Reject(self.relative(path).unwrap_or(path).into());
        self.get(path).cloned().unwrap_or_else(reject)
    }

    /// The policy that the bytes of an `ApplicationPolicy` stand for: its own signature policy, or a policy of the channel.
    pub fn application_policy(&self, bytes: &Bytes) -> Result<Policy, PolicyBuildError> {
        let definition = ApplicationPolicy::decode(bytes.clone())
            .map_err(|source| PolicyBuildError::Decode { what: "ApplicationPolicy bytes", source })?;
        match definition.r#type {
            Some(application_policy::Type::SignaturePolicy(envelope)) => self.signature_policy(envelope),
            Some(application_policy::Type::ChannelConfigPolicyReference(path)) => {
                self.get(&path).cloned().ok_or(PolicyBuildError::UnknownReference(path))
            }
            None => Err(PolicyBuildError::UnsupportedApplicationPolicy),
        }
    }

    /// A signature policy of no channel configuration (of a chaincode, a collection, a key) over this channel's members.
    pub fn signature_policy(
        &self,
        envelope: fabric_proto::common::SignaturePolicyEnvelope,
    ) -> Result<Policy, PolicyBuildError> {
        let policy = SignaturePolicy::new(envelope, &self.node.msps)
            .map_err(|error| PolicyBuildError::SignaturePolicy(Box::new(error)))?;
        Ok(Policy::Signature(Arc::new(policy)))
    }

    /// The members by whom the policies are evaluated.
    pub fn msps(&self) -> &MspManager {
        &self.node.msps
    }

    /// The paths of all policies, relative to the group.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.node.policies.keys().map(String::as_str)
    }
}
