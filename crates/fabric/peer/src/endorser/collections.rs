//! What the creator of a proposal may do with a private data collection.

use std::sync::Arc;

use fabric_chaincode::CollectionPermission;
use fabric_channel::config::Bundle;
use fabric_channel::msp::Identity;
use fabric_ledger::Simulator;
use fabric_proto::protos::{StaticCollectionConfig, collection_policy_config};
use fabric_validation::lifecycle_state::{self, LIFECYCLE_NAMESPACE, LedgerNamespace, implicit_collection_mspid};

const ALL: CollectionPermission = CollectionPermission { read: true, write: true };

/// Looks the collection up through the simulator, whose read set records it as the original's does.
pub(super) fn permission(
    channel: &str,
    bundle: &Bundle,
    simulator: &Simulator,
    creator: &Arc<Identity>,
    chaincode: &str,
    collection: &str,
) -> Result<CollectionPermission, String> {
    let missing = || format!("collection {channel}/{chaincode}/{collection} could not be found");
    if chaincode != LIFECYCLE_NAMESPACE {
        let definition = lifecycle_state::definition(&LedgerNamespace { state: simulator }, chaincode)
            .map_err(|error| format!("could not get info about chaincode: {error}"))?
            .ok_or_else(missing)?;
        if let Some(config) = definition.collection(collection) {
            return of_config(bundle, config, creator);
        }
    }
    // Every organisation of the channel has a collection that anyone may write to.
    let is_implicit = implicit_collection_mspid(collection).is_some_and(|mspid| {
        bundle.application().is_some_and(|application| application.organization_by_msp(mspid).is_some())
    });
    if is_implicit { Ok(ALL) } else { Err(missing()) }
}

fn of_config(
    bundle: &Bundle,
    config: &StaticCollectionConfig,
    creator: &Arc<Identity>,
) -> Result<CollectionPermission, String> {
    if !config.member_only_read && !config.member_only_write {
        return Ok(ALL);
    }
    let members = config.member_orgs_policy.as_ref().and_then(|policy| policy.payload.as_ref());
    let Some(collection_policy_config::Payload::SignaturePolicy(members)) = members else {
        return Err(format!("collection {} has no member policy", config.name));
    };
    let policy = bundle.policies().signature_policy(members.clone()).map_err(|error| error.to_string())?;
    if policy.evaluate_identities(std::slice::from_ref(creator)).is_ok() {
        return Ok(ALL);
    }
    Ok(CollectionPermission { read: !config.member_only_read, write: !config.member_only_write })
}
