//! Functions about this peer's packages.

use std::collections::BTreeMap;

use fabric_chaincode::PackageInfo;
use fabric_proto::lifecycle::{
    GetInstalledChaincodePackageArgs, GetInstalledChaincodePackageResult, InstallChaincodeArgs, InstallChaincodeResult,
    QueryInstalledChaincodeArgs, QueryInstalledChaincodeResult, QueryInstalledChaincodesArgs,
    QueryInstalledChaincodesResult, query_installed_chaincode_result, query_installed_chaincodes_result,
};
use fabric_validation::lifecycle_state::{self, LedgerNamespace, NAMESPACES, RangeState, ReadState, StateError};
use prost::Message;

use super::{Answer, Failure, argument};
use crate::endorser::ChannelAccess;
use crate::scc::SystemCall;

pub(super) async fn install(call: &SystemCall) -> Answer {
    let args: InstallChaincodeArgs = argument(call)?;
    let installed = call
        .shared
        .runtime
        .install(args.chaincode_install_package)
        .await
        .map_err(|error| Failure::Other(error.to_string()))?;
    tracing::info!(package_id = installed.package_id, "installed a chaincode package");
    let result = InstallChaincodeResult { package_id: installed.package_id, label: installed.label };
    Ok(result.encode_to_vec().into())
}

fn installed(call: &SystemCall) -> Result<Vec<PackageInfo>, Failure> {
    let mut packages = call.shared.runtime.installed().map_err(|error| Failure::Other(error.to_string()))?;
    packages.sort();
    Ok(packages)
}

/// Channel to (name, version) of the definitions that run a package.
type References = BTreeMap<String, Vec<(String, String)>>;

/// Package id to where it is used.
fn references(call: &SystemCall) -> BTreeMap<String, References> {
    let mut references: BTreeMap<String, References> = BTreeMap::new();
    let channels = call.shared.channels.list().into_iter().filter_map(|id| call.shared.channels.get(&id));
    for channel in channels {
        for name in names(&channel) {
            let reader = channel.ledger.query();
            // A chaincode that is not approved or not installed here refers to no package of this peer.
            if let Ok(active) = call.shared.definitions.active(&call.shared, &channel, &name, &reader) {
                references
                    .entry(active.package_id.clone())
                    .or_default()
                    .entry(channel.id.to_string())
                    .or_default()
                    .push((name, active.version.clone()));
            }
        }
    }
    references
}

struct Committed<'a>(&'a fabric_ledger::Simulator);

impl ReadState for Committed<'_> {
    fn get_state(&self, key: &str) -> Result<Option<bytes::Bytes>, StateError> {
        LedgerNamespace { state: self.0 }.get_state(key)
    }
}

impl RangeState for Committed<'_> {
    fn get_state_range(&self, start: &str, end: &str) -> Result<Vec<(String, bytes::Bytes)>, StateError> {
        super::PublicState { simulator: self.0 }.get_state_range(start, end)
    }
}

fn names(channel: &ChannelAccess) -> Vec<String> {
    let reader = channel.ledger.query();
    let found = lifecycle_state::list(NAMESPACES, &Committed(&reader)).unwrap_or_default();
    found.into_iter().map(|(name, _)| name).collect()
}

pub(super) fn query_installed(call: &SystemCall) -> Answer {
    let args: QueryInstalledChaincodeArgs = argument(call)?;
    let Some(package) = installed(call)?.into_iter().find(|package| package.package_id == args.package_id) else {
        return Err(Failure::NotFound(format!("chaincode install package '{}' not found", args.package_id)));
    };
    use query_installed_chaincode_result::{Chaincode, References};
    let references = references(call).remove(&package.package_id).unwrap_or_default();
    let references = references
        .into_iter()
        .map(|(channel, used)| {
            let chaincodes = used.into_iter().map(|(name, version)| Chaincode { name, version }).collect();
            (channel, References { chaincodes })
        })
        .collect();
    let result = QueryInstalledChaincodeResult { package_id: package.package_id, label: package.label, references };
    Ok(result.encode_to_vec().into())
}

pub(super) fn query_all_installed(call: &SystemCall) -> Answer {
    let _: QueryInstalledChaincodesArgs = argument(call)?;
    use query_installed_chaincodes_result::{Chaincode, InstalledChaincode, References};
    let mut all = references(call);
    let installed_chaincodes = installed(call)?
        .into_iter()
        .map(|package| {
            let references = all
                .remove(&package.package_id)
                .unwrap_or_default()
                .into_iter()
                .map(|(channel, used)| {
                    let chaincodes = used.into_iter().map(|(name, version)| Chaincode { name, version }).collect();
                    (channel, References { chaincodes })
                })
                .collect();
            InstalledChaincode { package_id: package.package_id, label: package.label, references }
        })
        .collect();
    Ok(QueryInstalledChaincodesResult { installed_chaincodes }.encode_to_vec().into())
}

pub(super) fn get_package(call: &SystemCall) -> Answer {
    let args: GetInstalledChaincodePackageArgs = argument(call)?;
    let package = call
        .shared
        .runtime
        .package(&args.package_id)
        .map_err(|error| Failure::Other(format!("could not load cc install package: {error}")))?;
    Ok(GetInstalledChaincodePackageResult { chaincode_install_package: package }.encode_to_vec().into())
}
