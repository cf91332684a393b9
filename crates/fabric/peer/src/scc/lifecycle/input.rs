//! What a definition must look like before it can be approved or committed.

use std::collections::{BTreeMap, BTreeSet};

use fabric_channel::msp::MspManager;
use fabric_proto::common::{
    MspPrincipal, MspRole, OrganizationUnit, SignaturePolicy, msp_principal::Classification, signature_policy,
};
use fabric_proto::protos::{
    CollectionConfig, CollectionConfigPackage, StaticCollectionConfig, collection_config, collection_policy_config,
};
use fabric_validation::lifecycle_state::{self, ChaincodeDefinition, LedgerNamespace};
use prost::Message;

use super::{Failure, OnChannel, configs};

/// Names that are reserved although no chaincode of the peer bears some of them any more.
const RESERVED: [&str; 5] = ["cscc", "escc", "lscc", "qscc", "vscc"];

/// Checks name, version and collections, the latter also against the committed definition.
pub(super) fn validate(
    on: &OnChannel<'_>,
    name: &str,
    version: &str,
    collections: Option<&CollectionConfigPackage>,
) -> Result<(), Failure> {
    check(on, name, version, collections).map_err(|reason| match reason {
        Failure::Other(reason) => Failure::Other(format!("error validating chaincode definition: {reason}")),
        not_found @ Failure::NotFound(_) => not_found,
    })
}

fn check(
    on: &OnChannel<'_>,
    name: &str,
    version: &str,
    collections: Option<&CollectionConfigPackage>,
) -> Result<(), Failure> {
    if !is_chaincode_name(name) {
        return Err(format!(
            "invalid chaincode name '{name}'. Names can only consist of alphanumerics, '_', and '-' and can only begin with \
             alphanumerics"
        )
        .into());
    }
    if RESERVED.contains(&name) {
        return Err(format!("chaincode name '{name}' is the name of a system chaincode").into());
    }
    let is_version = |letter: char| letter.is_ascii_alphanumeric() || "_.+-".contains(letter);
    if version.is_empty() || !version.chars().all(is_version) {
        return Err(format!(
            "invalid chaincode version '{version}'. Versions can only consist of alphanumerics, '_', '-', '+', and '.'"
        )
        .into());
    }
    let proposed: Vec<&StaticCollectionConfig> =
        configs(collections).iter().map(static_config).collect::<Result<_, _>>()?;
    check_collections(&proposed, on.channel.bundle.msp_manager())?;
    let committed = committed(on, name)?;
    check_against_committed(&proposed, &committed.unwrap_or_default().collections)?;
    Ok(())
}

/// Letters and digits, with single dashes and underscores between them.
fn is_chaincode_name(name: &str) -> bool {
    let parts = || name.split(['-', '_']);
    !name.is_empty()
        && parts().all(|part| !part.is_empty() && part.chars().all(|letter| letter.is_ascii_alphanumeric()))
}

/// Letters, digits, dashes and underscores, not beginning with an underscore.
fn is_collection_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('_')
        && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_')
}

/// The committed definition, read through the transaction. Where there is none the original also looks for one of its former
/// lifecycle; that read is part of the read set.
fn committed(on: &OnChannel<'_>, name: &str) -> Result<Option<ChaincodeDefinition>, Failure> {
    let context = |error: &dyn std::fmt::Display| {
        Failure::Other(format!("could not retrieve committed definition for chaincode '{name}': {error}"))
    };
    let found = lifecycle_state::definition(&LedgerNamespace { state: on.simulator }, name)
        .map_err(|error| context(&format!("could not get info about chaincode: {error}")))?;
    if found.is_none() {
        on.simulator.get_state("lscc", name).map_err(|error| context(&error))?;
    }
    Ok(found)
}

fn static_config(config: &CollectionConfig) -> Result<&StaticCollectionConfig, Failure> {
    match &config.payload {
        Some(collection_config::Payload::StaticCollectionConfig(config)) => Ok(config),
        None => Err("collection config contains unexpected payload type: <nil>".into()),
    }
}

fn check_collections(configs: &[&StaticCollectionConfig], members: &MspManager) -> Result<(), Failure> {
    let mut names = BTreeSet::new();
    for config in configs {
        let name = &config.name;
        if !is_collection_name(name) {
            return Err(format!(
                "invalid collection name '{name}'. Names can only consist of alphanumerics, '_', and '-' and cannot begin with '_'"
            )
            .into());
        }
        if !names.insert(name) {
            return Err(format!("collection-name: {name} -- found duplicate in collection configuration").into());
        }
        let (required, maximum) = (config.required_peer_count, config.maximum_peer_count);
        if maximum < required {
            return Err(format!(
                "collection-name: {name} -- maximum peer count ({maximum}) cannot be less than the required peer count ({required})"
            )
            .into());
        }
        if required < 0 {
            return Err(
                format!("collection-name: {name} -- requiredPeerCount ({required}) cannot be less than zero").into()
            );
        }
        check_members(config, members)?;
    }
    Ok(())
}

fn check_members(config: &StaticCollectionConfig, members: &MspManager) -> Result<(), Failure> {
    let name = &config.name;
    let Some(policy) = &config.member_orgs_policy else {
        return Err(format!("collection member policy is not set for collection '{name}'").into());
    };
    let Some(collection_policy_config::Payload::SignaturePolicy(policy)) = &policy.payload else {
        return Err(format!("collection member org policy is empty for collection '{name}'").into());
    };
    fabric_channel::policy::SignaturePolicy::new(policy.clone(), members)
        .map_err(|error| format!("invalid member org policy for collection '{name}': {error}"))?;
    if let Some(rule) = &policy.rule {
        check_or(rule).map_err(|reason| format!("collection-name: {name} -- error in member org policy: {reason}"))?;
    }
    policy.identities.iter().try_for_each(|principal| check_principal(name, principal, members))
}

/// Only OR may join the members of a collection.
fn check_or(rule: &SignaturePolicy) -> Result<(), String> {
    let Some(signature_policy::Type::NOutOf(n_out_of)) = &rule.r#type else { return Ok(()) };
    if n_out_of.n != 1 {
        return Err(format!("signature policy is not an OR concatenation, NOutOf {}", n_out_of.n));
    }
    n_out_of.rules.iter().try_for_each(check_or)
}

fn check_principal(collection: &str, principal: &MspPrincipal, members: &MspManager) -> Result<(), Failure> {
    let is_member = |mspid: &str| match members.msp(mspid) {
        Some(_) => Ok(()),
        None => Err(Failure::Other(format!(
            "collection-name: {collection} -- collection member '{mspid}' is not part of the channel"
        ))),
    };
    let unreadable = |kind: &str, error: prost::DecodeError| {
        format!("collection-name: {collection} -- cannot unmarshal identity bytes into {kind}: {error}")
    };
    let bytes = principal.principal.clone();
    match Classification::try_from(principal.principal_classification) {
        Ok(Classification::Role) => {
            is_member(&MspRole::decode(bytes).map_err(|error| unreadable("MSPRole", error))?.msp_identifier)
        }
        Ok(Classification::OrganizationUnit) => is_member(
            &OrganizationUnit::decode(bytes).map_err(|error| unreadable("OrganizationUnit", error))?.msp_identifier,
        ),
        Ok(Classification::Identity) => match members.deserialize(&bytes) {
            Ok(_) => Ok(()),
            Err(_) => {
                Err(format!("collection-name: {collection} -- contains an identity that is not part of the channel")
                    .into())
            }
        },
        kind => {
            let kind = kind
                .map_or_else(|_| principal.principal_classification.to_string(), |kind| kind.as_str_name().to_owned());
            Err(format!("collection-name: {collection} -- principal type {kind} is not supported").into())
        }
    }
}

fn check_against_committed(
    proposed: &[&StaticCollectionConfig],
    committed: &CollectionConfigPackage,
) -> Result<(), Failure> {
    if committed.config.is_empty() {
        return Ok(());
    }
    if proposed.is_empty() {
        return Err("the proposed collection config does not contain previously defined collections".into());
    }
    let proposed: BTreeMap<&str, &StaticCollectionConfig> =
        proposed.iter().map(|config| (config.name.as_str(), *config)).collect();
    for existing in &committed.config {
        let existing = static_config(existing).map_err(|_| Failure::from("unknown collection configuration type"))?;
        let name = &existing.name;
        let Some(new) = proposed.get(name.as_str()) else {
            return Err(format!("existing collection [{name}] missing in the proposed collection configuration").into());
        };
        if new.block_to_live != existing.block_to_live {
            return Err(format!(
                "the BlockToLive in an existing collection [{name}] modified. Existing value [{}]",
                existing.block_to_live
            )
            .into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_upstreams_expressions() {
        for good in ["kv", "a-b_c9", "9"] {
            assert!(is_chaincode_name(good), "{good}");
        }
        for bad in ["", "-a", "a--b", "a_", "a.b", "_lifecycle", "ä"] {
            assert!(!is_chaincode_name(bad), "{bad}");
        }
        assert!(is_collection_name("-a_"));
        assert!(!is_collection_name("_a"));
    }

    #[test]
    fn only_or_joins_members() {
        let signed_by = SignaturePolicy { r#type: Some(signature_policy::Type::SignedBy(0)) };
        let rule = |n: i32, rules: Vec<SignaturePolicy>| SignaturePolicy {
            r#type: Some(signature_policy::Type::NOutOf(signature_policy::NOutOf { n, rules })),
        };
        check_or(&rule(1, vec![signed_by.clone(), rule(1, vec![signed_by.clone()])])).unwrap();
        assert_eq!(
            check_or(&rule(1, vec![rule(2, vec![signed_by])])).unwrap_err(),
            "signature policy is not an OR concatenation, NOutOf 2"
        );
    }
}
