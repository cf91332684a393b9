//! `_lifecycle`: packages of this peer, approvals of its organisation, definitions of a channel.
//!
//! Reads and writes go through the transaction's simulator in the original's order, because they end up in the read-write set that
//! peers of every organisation must agree on.

mod approval;
mod input;
mod packages;
mod state;

use std::collections::BTreeMap;

use bytes::Bytes;
use fabric_ledger::Simulator;
use fabric_proto::lifecycle::{
    ChaincodeEndorsementInfo, ChaincodeValidationInfo, CheckCommitReadinessArgs, CheckCommitReadinessResult,
    CommitChaincodeDefinitionArgs, CommitChaincodeDefinitionResult, QueryChaincodeDefinitionArgs,
    QueryChaincodeDefinitionResult, QueryChaincodeDefinitionsArgs, QueryChaincodeDefinitionsResult,
    check_commit_readiness_result, query_chaincode_definitions_result,
};
use fabric_proto::protos::{CollectionConfigPackage, Response};
use fabric_validation::lifecycle_state::{
    self, ChaincodeDefinition, DEFAULT_ENDORSEMENT_PLUGIN, DEFAULT_ENDORSEMENT_POLICY, DEFAULT_VALIDATION_PLUGIN,
    NAMESPACES, Record, implicit_collection, private_name,
};
use prost::Message;

use super::{SystemCall, error, success};
use crate::endorser::ChannelAccess;
use state::{CollectionHashes, OrgState, PublicState};

/// Why a function failed.
enum Failure {
    /// Answered with status 404 and this text.
    NotFound(String),
    /// Answered with status 500 behind the function's name.
    Other(String),
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self::Other(text)
    }
}

impl From<&str> for Failure {
    fn from(text: &str) -> Self {
        Self::Other(text.to_owned())
    }
}

type Answer = Result<Bytes, Failure>;

/// Which organisations approved, and in what the others differ.
type Approvals = (BTreeMap<String, bool>, BTreeMap<String, Vec<String>>);

/// Installs a package; building may take minutes.
pub(super) async fn install(call: &SystemCall) -> Response {
    let function = match authorize(call) {
        Ok(function) => function,
        Err(response) => return response,
    };
    respond(&function, packages::install(call).await)
}

/// Every other function.
pub(super) fn invoke(call: &SystemCall) -> Response {
    let function = match authorize(call) {
        Ok(function) => function,
        Err(response) => return response,
    };
    let answer = match function.as_str() {
        "QueryInstalledChaincode" => packages::query_installed(call),
        "QueryInstalledChaincodes" => packages::query_all_installed(call),
        "GetInstalledChaincodePackage" => packages::get_package(call),
        "ApproveChaincodeDefinitionForMyOrg" => on_channel(call, approval::approve),
        "QueryApprovedChaincodeDefinition" => on_channel(call, approval::query),
        "QueryApprovedChaincodeDefinitions" => on_channel(call, approval::query_all),
        "CheckCommitReadiness" => on_channel(call, check_commit_readiness),
        "CommitChaincodeDefinition" => on_channel(call, commit),
        "QueryChaincodeDefinition" => on_channel(call, query_definition),
        "QueryChaincodeDefinitions" => on_channel(call, query_definitions),
        other => Err(Failure::Other(format!("receiver *lifecycle.Invocation.{other} does not exist"))),
    };
    respond(&function, answer)
}

fn respond(function: &str, answer: Answer) -> Response {
    match answer {
        Ok(payload) => success(payload),
        Err(Failure::NotFound(message)) => Response { status: 404, message, payload: Bytes::new() },
        Err(Failure::Other(reason)) => {
            error(format!("failed to invoke backing implementation of '{function}': {reason}"))
        }
    }
}

/// Number of arguments, capability of the channel, access.
fn authorize(call: &SystemCall) -> Result<String, Response> {
    match call.args.len() {
        0 => return Err(error("lifecycle scc must be invoked with arguments")),
        2 => {}
        count => {
            return Err(error(format!("lifecycle scc operations require exactly two arguments but received {count}")));
        }
    }
    if let Some(channel) = &call.channel {
        let Some(application) = channel.bundle.application() else {
            return Err(error(format!("could not get application config for channel '{}'", channel.id)));
        };
        if !application.capabilities.lifecycle_v20() {
            return Err(error(format!(
                "cannot use new lifecycle for channel '{}' as it does not have the required capabilities enabled",
                channel.id
            )));
        }
    }
    let function = call.text(0);
    call.check(&format!("_lifecycle/{function}"), call.channel.as_ref())
        .map_err(|reason| error(format!("Failed to authorize invocation due to failed ACL check: {reason}")))?;
    Ok(function)
}

/// The single argument of a function.
fn argument<M: Message + Default>(call: &SystemCall) -> Result<M, Failure> {
    let bytes = call.args.get(1).cloned().unwrap_or_default();
    M::decode(bytes).map_err(|error| {
        Failure::Other(format!(
            "could not decode input arg for *lifecycle.Invocation.{}: proto: cannot parse invalid wire-format data ({error})",
            call.text(0)
        ))
    })
}

/// A channel's definitions as a transaction sees them.
struct OnChannel<'a> {
    call: &'a SystemCall,
    channel: &'a ChannelAccess,
    simulator: &'a Simulator,
}

fn on_channel(call: &SystemCall, function: fn(&OnChannel<'_>) -> Answer) -> Answer {
    let (Some(channel), Some(simulator)) = (&call.channel, &call.simulator) else {
        return Err(format!("could not get channelconfig for channel '{}'", "").into());
    };
    function(&OnChannel { call, channel, simulator })
}

impl OnChannel<'_> {
    fn public(&self) -> PublicState<'_> {
        PublicState { simulator: self.simulator }
    }

    fn organization(&self) -> OrgState<'_> {
        let collection = implicit_collection(self.call.shared.access.mspid());
        OrgState {
            simulator: self.simulator,
            values: &self.call.shared.private_values,
            channel: &self.channel.id,
            collection,
        }
    }

    fn sequence(&self, name: &str) -> Result<i64, Failure> {
        lifecycle_state::read_int64(NAMESPACES, name, "Sequence", &self.public())
            .map_err(|error| Failure::Other(format!("could not get current sequence: {error}")))
    }

    /// Plugins and policy of a definition that names none.
    fn fill_defaults(&self, definition: &mut ChaincodeDefinition) -> Result<(), Failure> {
        if definition.endorsement_info.endorsement_plugin.is_empty() {
            definition.endorsement_info.endorsement_plugin = DEFAULT_ENDORSEMENT_PLUGIN.into();
        }
        if definition.validation_info.validation_plugin.is_empty() {
            definition.validation_info.validation_plugin = DEFAULT_VALIDATION_PLUGIN.into();
        }
        if definition.validation_info.validation_parameter.is_empty() {
            let channel = &self.channel.id;
            if self.channel.bundle.policies().get(DEFAULT_ENDORSEMENT_POLICY).is_none() {
                return Err(format!(
                    "could not set defaults for chaincode definition in channel {channel}: policy \
                     '{DEFAULT_ENDORSEMENT_POLICY}' must be defined for channel '{channel}' before chaincode operations can \
                     be attempted"
                )
                .into());
            }
            definition.validation_info.validation_parameter = default_policy();
        }
        Ok(())
    }

    /// Which organisations approved exactly this definition, and where the others differ.
    fn approvals(&self, name: &str, definition: &ChaincodeDefinition) -> Result<Approvals, Failure> {
        let Some(application) = self.channel.bundle.application() else {
            return Err(format!("no application config for channel '{}'", self.channel.id).into());
        };
        let approval = private_name(name, definition.sequence);
        let parameters = definition.parameters();
        let (mut approvals, mut mismatches) = (BTreeMap::new(), BTreeMap::new());
        for organization in application.organizations.values() {
            let hashes =
                CollectionHashes { simulator: self.simulator, collection: implicit_collection(&organization.msp_id) };
            let differing = lifecycle_state::matches(NAMESPACES, &approval, &parameters, &hashes)
                .map_err(|error| Failure::Other(format!("serialization check failed for key {approval}: {error}")))?;
            approvals.insert(organization.msp_id.clone(), differing.is_empty());
            if !differing.is_empty() {
                let names = differing.into_iter().map(str::to_owned).collect();
                mismatches.insert(organization.msp_id.clone(), names);
            }
        }
        Ok((approvals, mismatches))
    }

    /// The next definition, with defaults, and who approved it.
    fn readiness(&self, name: &str, definition: &mut ChaincodeDefinition) -> Result<Approvals, Failure> {
        let current = self.sequence(name)?;
        if definition.sequence != current + 1 {
            return Err(format!(
                "requested sequence is {}, but new definition must be sequence {}",
                definition.sequence,
                current + 1
            )
            .into());
        }
        self.fill_defaults(definition)?;
        self.approvals(name, definition)
    }
}

/// The bytes of an application policy that refers to the channel's endorsement policy.
fn default_policy() -> Bytes {
    use fabric_proto::protos::{ApplicationPolicy, application_policy::Type};
    let kind = Type::ChannelConfigPolicyReference(DEFAULT_ENDORSEMENT_POLICY.to_owned());
    ApplicationPolicy { r#type: Some(kind) }.encode_to_vec().into()
}

/// Builds a definition from the fields that all functions' arguments share.
macro_rules! definition_of {
    ($args:expr) => {
        ChaincodeDefinition {
            sequence: $args.sequence,
            endorsement_info: ChaincodeEndorsementInfo {
                version: $args.version.clone(),
                init_required: $args.init_required,
                endorsement_plugin: $args.endorsement_plugin.clone(),
            },
            validation_info: ChaincodeValidationInfo {
                validation_plugin: $args.validation_plugin.clone(),
                validation_parameter: $args.validation_parameter.clone(),
            },
            collections: $args.collections.clone().unwrap_or_default(),
        }
    };
}
use definition_of;

fn check_commit_readiness(on: &OnChannel<'_>) -> Answer {
    let args: CheckCommitReadinessArgs = argument(on.call)?;
    let (approvals, mismatches) = on.readiness(&args.name, &mut definition_of!(args))?;
    let mismatches = mismatches
        .into_iter()
        .map(|(organization, items)| (organization, check_commit_readiness_result::Mismatches { items }))
        .collect();
    Ok(CheckCommitReadinessResult { approvals, mismatches }.encode_to_vec().into())
}

fn commit(on: &OnChannel<'_>) -> Answer {
    let args: CommitChaincodeDefinitionArgs = argument(on.call)?;
    input::validate(on, &args.name, &args.version, args.collections.as_ref())?;
    let own = on.call.shared.access.mspid();
    let is_member =
        on.channel.bundle.application().is_some_and(|application| application.organization_by_msp(own).is_some());
    if !is_member {
        return Err("impossibly, this peer's org is processing requests for a channel it is not a member of".into());
    }
    let mut definition = definition_of!(args);
    let (approvals, _) = on.readiness(&args.name, &mut definition)?;
    lifecycle_state::write(NAMESPACES, &args.name, &definition, &on.public())
        .map_err(|error| format!("could not serialize chaincode definition: {error}"))?;
    if approvals.get(own) != Some(&true) {
        return Err(format!("chaincode definition not agreed to by this org ({own})").into());
    }
    tracing::info!(
        chaincode = args.name,
        channel = &*on.channel.id,
        sequence = args.sequence,
        "endorsed a chaincode definition"
    );
    Ok(CommitChaincodeDefinitionResult {}.encode_to_vec().into())
}

fn query_definition(on: &OnChannel<'_>) -> Answer {
    let args: QueryChaincodeDefinitionArgs = argument(on.call)?;
    let definition = defined(on, &args.name)?;
    let (approvals, _) = on.approvals(&args.name, &definition)?;
    let result = QueryChaincodeDefinitionResult {
        sequence: definition.sequence,
        version: definition.endorsement_info.version,
        endorsement_plugin: definition.endorsement_info.endorsement_plugin,
        validation_plugin: definition.validation_info.validation_plugin,
        validation_parameter: definition.validation_info.validation_parameter,
        collections: Some(definition.collections),
        init_required: definition.endorsement_info.init_required,
        approvals,
    };
    Ok(result.encode_to_vec().into())
}

fn defined(on: &OnChannel<'_>, name: &str) -> Result<ChaincodeDefinition, Failure> {
    lifecycle_state::read::<ChaincodeDefinition>(NAMESPACES, name, &on.public())
        .map_err(|error| Failure::Other(format!("could not deserialize namespace {name} as chaincode: {error}")))?
        .ok_or_else(|| Failure::NotFound(format!("namespace {name} is not defined")))
}

fn query_definitions(on: &OnChannel<'_>) -> Answer {
    let _: QueryChaincodeDefinitionsArgs = argument(on.call)?;
    let found = lifecycle_state::list(NAMESPACES, &on.public())
        .map_err(|error| format!("could not query namespace metadata: {error}"))?;
    let mut definitions = Vec::with_capacity(found.len());
    for (name, metadata) in found {
        if metadata.datatype != ChaincodeDefinition::TYPE_NAME {
            continue;
        }
        let definition = defined(on, &name)?;
        definitions.push(query_chaincode_definitions_result::ChaincodeDefinition {
            name,
            sequence: definition.sequence,
            version: definition.endorsement_info.version,
            endorsement_plugin: definition.endorsement_info.endorsement_plugin,
            validation_plugin: definition.validation_info.validation_plugin,
            validation_parameter: definition.validation_info.validation_parameter,
            collections: Some(definition.collections),
            init_required: definition.endorsement_info.init_required,
        });
    }
    Ok(QueryChaincodeDefinitionsResult { chaincode_definitions: definitions }.encode_to_vec().into())
}

/// The collections of an argument, as a list.
fn configs(collections: Option<&CollectionConfigPackage>) -> &[fabric_proto::protos::CollectionConfig] {
    collections.map(|package| package.config.as_slice()).unwrap_or_default()
}
