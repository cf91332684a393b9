//! The peers' part of the configuration.

use std::collections::BTreeMap;

use fabric_proto::common::{Capabilities, ConfigGroup};
use fabric_proto::protos::{AcLs, AnchorPeer, AnchorPeers};

use super::bundle::Members;
use super::values::{check_keys, value};
use super::{ApplicationCapabilities, ConfigError, keys};

/// The peers' part of the configuration.
#[derive(Debug, Clone)]
pub struct ApplicationConfig {
    /// The organisations by name.
    pub organizations: BTreeMap<String, ApplicationOrg>,
    /// The capabilities of the peers.
    pub capabilities: ApplicationCapabilities,
    acls: BTreeMap<String, String>,
}

/// An organisation that runs peers.
#[derive(Debug, Clone)]
pub struct ApplicationOrg {
    /// Its name in the configuration.
    pub name: String,
    /// Its MSP's id.
    pub msp_id: String,
    /// Peers by which other organisations find it.
    pub anchor_peers: Vec<AnchorPeer>,
}

impl ApplicationConfig {
    pub(super) fn new(group: &ConfigGroup, members: &mut Members) -> Result<Self, ConfigError> {
        check_keys(group, &[keys::ACLS, keys::CAPABILITIES])?;
        let capabilities = ApplicationCapabilities::new(&value::<Capabilities>(group, keys::CAPABILITIES)?);
        if !capabilities.acls() && group.values.contains_key(keys::ACLS) {
            return Err(ConfigError::invalid("ACLs may not be specified without the required capability"));
        }
        let mut acls = BTreeMap::new();
        for (resource, rule) in value::<AcLs>(group, keys::ACLS)?.acls {
            if rule.policy_ref.is_empty() {
                tracing::warn!(resource, "policy reference of the resource is empty, its default applies");
            } else if rule.policy_ref.starts_with('/') {
                acls.insert(resource, rule.policy_ref);
            } else {
                acls.insert(resource, format!("/Channel/Application/{}", rule.policy_ref));
            }
        }
        let mut organizations = BTreeMap::new();
        for (name, organization) in &group.groups {
            organizations.insert(name.clone(), ApplicationOrg::new(name, organization, members)?);
        }
        Ok(Self { organizations, capabilities, acls })
    }

    /// The path of the policy that the channel sets for a resource, if it does.
    pub fn policy_ref_for_api(&self, resource: &str) -> Option<&str> {
        self.acls.get(resource).map(String::as_str)
    }

    /// The path of the policy that guards a resource on this channel: the channel's own, or the default.
    /// `None` for resources that are guarded by the local MSP or not known.
    pub fn policy_for_resource(&self, resource: &str) -> Option<&str> {
        self.policy_ref_for_api(resource).or_else(|| super::acl::channel_default(resource))
    }

    /// The organisation with this MSP id.
    pub fn organization_by_msp(&self, msp_id: &str) -> Option<&ApplicationOrg> {
        self.organizations.values().find(|organization| organization.msp_id == msp_id)
    }
}

impl ApplicationOrg {
    fn new(name: &str, group: &ConfigGroup, members: &mut Members) -> Result<Self, ConfigError> {
        if !group.groups.is_empty() {
            return Err(ConfigError::invalid("ApplicationOrg config does not allow sub-groups"));
        }
        check_keys(group, &[keys::ANCHOR_PEERS, keys::MSP])?;
        let anchor_peers = value::<AnchorPeers>(group, keys::ANCHOR_PEERS)?.anchor_peers;
        let msp_id = members.add(name, group)?;
        Ok(Self { name: name.to_owned(), msp_id, anchor_peers })
    }
}
