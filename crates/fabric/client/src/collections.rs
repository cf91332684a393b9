//! Endorsement policies and private data collections of a definition, in the words of upstream's command line and JSON.

use bytes::Bytes;
use fabric_channel::policy::dsl;
use fabric_proto::protos::{
    ApplicationPolicy, CollectionConfig, CollectionConfigPackage, CollectionPolicyConfig, StaticCollectionConfig,
    application_policy, collection_config, collection_policy_config,
};
use prost::Message;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Collection {
    #[serde(default)]
    name: String,
    #[serde(default)]
    policy: String,
    required_peer_count: Option<i32>,
    max_peer_count: Option<i32>,
    #[serde(default)]
    block_to_live: u64,
    #[serde(default)]
    member_only_read: bool,
    #[serde(default)]
    member_only_write: bool,
    endorsement_policy: Option<EndorsementPolicy>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EndorsementPolicy {
    #[serde(default)]
    channel_config_policy: String,
    #[serde(default)]
    signature_policy: String,
}

/// An endorsement policy given as a signature policy or by reference; neither: none.
fn application_policy(signature: &str, reference: &str) -> Result<Option<ApplicationPolicy>, String> {
    use application_policy::Type;
    let kind = match (signature.is_empty(), reference.is_empty()) {
        (true, true) => return Ok(None),
        (false, false) => {
            return Err("cannot specify both \"--signature-policy\" and \"--channel-config-policy\"".into());
        }
        (false, true) => {
            Type::SignaturePolicy(dsl::parse(signature).map_err(|_| format!("invalid signature policy: {signature}"))?)
        }
        (true, false) => Type::ChannelConfigPolicyReference(reference.to_owned()),
    };
    Ok(Some(ApplicationPolicy { r#type: Some(kind) }))
}

/// The validation parameter of a definition.
pub fn policy_bytes(signature: &str, reference: &str) -> Result<Bytes, String> {
    Ok(application_policy(signature, reference)?.map(|policy| policy.encode_to_vec().into()).unwrap_or_default())
}

/// Reads upstream's JSON list of collections; the error says which part of it is wrong.
pub fn from_json(bytes: &[u8]) -> Result<CollectionConfigPackage, String> {
    let list: Vec<Collection> = serde_json::from_slice(bytes)
        .map_err(|error| format!("could not parse the collection configuration: {error}"))?;
    let config = list.into_iter().map(convert).collect::<Result<_, _>>()?;
    Ok(CollectionConfigPackage { config })
}

fn convert(collection: Collection) -> Result<CollectionConfig, String> {
    let members =
        dsl::parse(&collection.policy).map_err(|error| format!("invalid policy {}: {error}", collection.policy))?;
    let endorsement_policy = match &collection.endorsement_policy {
        None => None,
        Some(policy) => {
            application_policy(&policy.signature_policy, &policy.channel_config_policy).map_err(|error| {
                format!(
                    "invalid endorsement policy [&chaincode.endorsementPolicy{{ChannelConfigPolicy:{:?}, \
                 SignaturePolicy:{:?}}}]: {error}",
                    policy.channel_config_policy, policy.signature_policy
                )
            })?
        }
    };
    let payload = collection_policy_config::Payload::SignaturePolicy(members);
    let config = StaticCollectionConfig {
        name: collection.name,
        member_orgs_policy: Some(CollectionPolicyConfig { payload: Some(payload) }),
        required_peer_count: collection.required_peer_count.unwrap_or(0),
        maximum_peer_count: collection.max_peer_count.unwrap_or(1),
        block_to_live: collection.block_to_live,
        member_only_read: collection.member_only_read,
        member_only_write: collection.member_only_write,
        endorsement_policy,
    };
    Ok(CollectionConfig { payload: Some(collection_config::Payload::StaticCollectionConfig(config)) })
}
