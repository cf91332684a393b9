//! Who may do what: resources, and the policies that guard them.
//!
//! Resources of the peer itself (install, join) are guarded by roles of the local organisation; those of a channel by the policy that
//! the channel names for them, or by the default one. The texts of refusals are those that users of the original know.

use std::sync::Arc;

use fabric_channel::config::{Bundle, acl};
use fabric_channel::msp::{Identity, Msp, MspManager};
use fabric_channel::policy::role_principal;
use fabric_channel::protoutil::SignedData;
use fabric_proto::common::msp_role::MspRoleType;

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AclError(pub String);

/// Checks callers against resources. Clones share the caches.
#[derive(Debug, Clone)]
pub struct AccessControl {
    local: MspManager,
    mspid: Arc<str>,
}

impl AccessControl {
    /// For a peer of this organisation.
    pub fn new(local_msp: Msp) -> Self {
        let mspid = Arc::from(local_msp.name());
        Self { local: MspManager::new(vec![local_msp]), mspid }
    }

    /// The peer's own organisation as the only member of a manager.
    pub fn local(&self) -> &MspManager {
        &self.local
    }

    /// The peer's MSP id.
    pub fn mspid(&self) -> &str {
        &self.mspid
    }

    /// Checks a request whose signature has not been verified yet.
    pub fn check(&self, resource: &str, channel: Option<&Bundle>, request: &SignedData) -> Result<(), AclError> {
        match guard(resource, channel)? {
            Guard::Local(role) => {
                let identity = self.local.deserialize(&request.identity).map_err(|error| {
                    AclError(format!(
                        "Failed deserializing proposal creator during channelless check policy with policy [{}]: [{error}]",
                        role_name(role)
                    ))
                })?;
                self.has_role(role, &identity)?;
                identity.verify(&request.data, &request.signature).map_err(|error| AclError(error.to_string()))
            }
            Guard::Channel { bundle, path, chosen } => {
                let policy = bundle.policies().policy(path);
                policy
                    .evaluate(std::slice::from_ref(request))
                    .map_err(|error| refusal(bundle, path, chosen, &error.to_string()))
            }
        }
    }

    /// Checks a caller whose signature over the request has been verified.
    pub fn check_verified(
        &self,
        resource: &str,
        channel: Option<&Bundle>,
        identity: &Arc<Identity>,
    ) -> Result<(), AclError> {
        match guard(resource, channel)? {
            Guard::Local(role) => {
                // The caller may have been read by a channel's members; roles are decided by the local organisation.
                let local = self.local.deserialize(identity.serialized()).map_err(|error| {
                    AclError(format!(
                        "Failed deserializing proposal creator during channelless check policy with policy [{}]: [{error}]",
                        role_name(role)
                    ))
                })?;
                self.has_role(role, &local)
            }
            Guard::Channel { bundle, path, chosen } => bundle
                .policies()
                .policy(path)
                .evaluate_identities(std::slice::from_ref(identity))
                .map_err(|error| refusal(bundle, path, chosen, &error.to_string())),
        }
    }

    fn has_role(&self, policy: acl::LocalPolicy, identity: &Identity) -> Result<(), AclError> {
        let role = match policy {
            acl::LocalPolicy::Admins => MspRoleType::Admin,
            acl::LocalPolicy::Members => MspRoleType::Member,
        };
        self.local.satisfies(identity, &role_principal(&self.mspid, role)).map_err(|error| {
            AclError(format!(
                "Failed verifying that proposal's creator satisfies local MSP principal during channelless check policy with \
                 policy [{}]: [{error}]",
                role_name(policy)
            ))
        })
    }
}

/// What stands before a resource.
enum Guard<'a> {
    Local(acl::LocalPolicy),
    Channel {
        bundle: &'a Bundle,
        path: &'a str,
        /// The channel's own choice instead of the default.
        chosen: bool,
    },
}

fn guard<'a>(resource: &str, channel: Option<&'a Bundle>) -> Result<Guard<'a>, AclError> {
    if let Some(role) = acl::local_default(resource) {
        return Ok(Guard::Local(role));
    }
    let unmapped = || AclError(format!("Unmapped policy for {resource}"));
    let Some(bundle) = channel else {
        let path = acl::channel_default(resource).ok_or_else(unmapped)?;
        return Err(AclError(format!(
            "Failed getting local MSP principal during channelless check policy with policy [{path}]: [role [{path}] is not \
             recognized]"
        )));
    };
    let chosen = bundle.application().and_then(|application| application.policy_ref_for_api(resource));
    if let Some(path) = chosen {
        return Ok(Guard::Channel { bundle, path, chosen: true });
    }
    let path = acl::channel_default(resource).ok_or_else(unmapped)?;
    Ok(Guard::Channel { bundle, path, chosen: false })
}

fn refusal(bundle: &Bundle, path: &str, chosen: bool, reason: &str) -> AclError {
    if chosen {
        return AclError(format!("failed evaluating policy on signed data during check policy [{path}]: [{reason}]"));
    }
    AclError(format!(
        "Failed evaluating policy on signed data during check policy on channel [{}] with policy [{path}]: [{reason}]",
        bundle.channel_id()
    ))
}

fn role_name(policy: acl::LocalPolicy) -> &'static str {
    match policy {
        acl::LocalPolicy::Admins => "Admins",
        acl::LocalPolicy::Members => "Members",
    }
}
