//! What this peer's organisation has approved.

use fabric_proto::lifecycle::{
    ApproveChaincodeDefinitionForMyOrgArgs, ApproveChaincodeDefinitionForMyOrgResult, ChaincodeEndorsementInfo,
    ChaincodeSource, ChaincodeValidationInfo, QueryApprovedChaincodeDefinitionArgs,
    QueryApprovedChaincodeDefinitionResult, QueryApprovedChaincodeDefinitionsArgs,
    QueryApprovedChaincodeDefinitionsResult, chaincode_source, query_approved_chaincode_definitions_result,
};
use fabric_validation::lifecycle_state::{
    self, CHAINCODE_SOURCES, ChaincodeDefinition, ChaincodeLocalPackage, ChaincodeParameters, NAMESPACES, RangeState,
    ReadState, private_name,
};
use prost::Message;

use super::state::OrgState;
use super::{Answer, Failure, OnChannel, argument, definition_of, input};

pub(super) fn approve(on: &OnChannel<'_>) -> Answer {
    let args: ApproveChaincodeDefinitionForMyOrgArgs = argument(on.call)?;
    input::validate(on, &args.name, &args.version, args.collections.as_ref())?;
    let package_id = match args.source.as_ref().and_then(|source| source.r#type.as_ref()) {
        Some(chaincode_source::Type::LocalPackage(local)) => local.package_id.clone(),
        _ => String::new(),
    };
    let mut definition = definition_of!(args);
    let name = &args.name;
    let (current, requested) = (on.sequence(name)?, definition.sequence);
    if current == requested && requested == 0 {
        return Err("requested sequence is 0, but first definable sequence number is 1".into());
    }
    if requested < current {
        return Err(
            format!("currently defined sequence {current} is larger than requested sequence {requested}").into()
        );
    }
    if requested > current + 1 {
        return Err(format!(
            "requested sequence {requested} is larger than the next available sequence number {}",
            current + 1
        )
        .into());
    }
    on.fill_defaults(&mut definition)?;
    let approval = private_name(name, requested);
    let parameters = definition.parameters();
    let organization = on.organization();
    if requested == current {
        let committed = lifecycle_state::read::<ChaincodeDefinition>(NAMESPACES, name, &on.public())
            .map_err(|error| format!("could not deserialize namespace {name} as chaincode: {error}"))?
            .ok_or_else(|| format!("missing metadata for currently committed sequence number ({current})"))?;
        if let Some(difference) = committed.parameters().difference(&parameters) {
            return Err(format!(
                "attempted to redefine the current committed sequence ({current}) for namespace {name} with different \
                 parameters: {difference}"
            )
            .into());
        }
        if is_unchanged(&organization, &approval, requested, &parameters, &package_id)? {
            return Err(format!(
                "attempted to redefine the current committed sequence ({current}) for namespace {name}"
            )
            .into());
        }
    } else if is_unchanged(&organization, &approval, requested, &parameters, &package_id)? {
        return Err(format!(
            "attempted to redefine uncommitted sequence ({requested}) for namespace {name} with unchanged content"
        )
        .into());
    }
    lifecycle_state::write(NAMESPACES, &approval, &parameters, &organization)
        .map_err(|error| format!("could not serialize chaincode parameters to state: {error}"))?;
    let source = ChaincodeLocalPackage { package_id };
    lifecycle_state::write(CHAINCODE_SOURCES, &approval, &source, &organization)
        .map_err(|error| format!("could not serialize chaincode package info to state: {error}"))?;
    tracing::info!(
        chaincode = name,
        package_id = source.package_id,
        channel = &*on.channel.id,
        sequence = requested,
        "endorsed a chaincode approval"
    );
    Ok(ApproveChaincodeDefinitionForMyOrgResult {}.encode_to_vec().into())
}

/// Whether the organisation has approved just this already.
fn is_unchanged(
    organization: &OrgState<'_>,
    approval: &str,
    sequence: i64,
    parameters: &ChaincodeParameters,
    package_id: &str,
) -> Result<bool, Failure> {
    let metadata = lifecycle_state::metadata(NAMESPACES, approval, organization).map_err(|error| {
        format!("could not fetch chaincode definition, chaincode {approval}, requested at sequence {sequence}: {error}")
    })?;
    if metadata.is_none() {
        return Ok(false);
    }
    let approved = lifecycle_state::read::<ChaincodeParameters>(NAMESPACES, approval, organization)
        .map_err(|error| format!("could not deserialize namespace {approval} as chaincode: {error}"))?;
    if approved.is_none_or(|approved| approved.difference(parameters).is_some()) {
        return Ok(false);
    }
    let source = lifecycle_state::read::<ChaincodeLocalPackage>(CHAINCODE_SOURCES, approval, organization)
        .map_err(|error| format!("could not deserialize chaincode package for {approval}: {error}"))?;
    Ok(source.is_some_and(|source| source.package_id == package_id))
}

/// An approval as queries answer it.
fn approved_definition(
    state: &dyn ReadState,
    name: &str,
    sequence: i64,
) -> Result<(ChaincodeParameters, ChaincodeSource), Failure> {
    let approval = private_name(name, sequence);
    let parameters = lifecycle_state::read::<ChaincodeParameters>(NAMESPACES, &approval, state)
        .map_err(|error| format!("could not deserialize chaincode parameters for {approval}: {error}"))?
        .ok_or_else(|| format!("could not deserialize chaincode parameters for {approval}"))?;
    let source = lifecycle_state::read::<ChaincodeLocalPackage>(CHAINCODE_SOURCES, &approval, state)
        .map_err(|error| format!("could not deserialize chaincode package for {approval}: {error}"))?
        .ok_or_else(|| format!("could not fetch chaincode-source metadata for {approval}"))?;
    let kind = if source.package_id.is_empty() {
        chaincode_source::Type::Unavailable(chaincode_source::Unavailable {})
    } else {
        chaincode_source::Type::LocalPackage(chaincode_source::Local { package_id: source.package_id })
    };
    Ok((parameters, ChaincodeSource { r#type: Some(kind) }))
}

pub(super) fn query(on: &OnChannel<'_>) -> Answer {
    let args: QueryApprovedChaincodeDefinitionArgs = argument(on.call)?;
    let (name, organization) = (&args.name, on.organization());
    let mut sequence = args.sequence;
    let metadata = |sequence: i64| {
        let approval = private_name(name, sequence);
        lifecycle_state::metadata(NAMESPACES, &approval, &organization)
            .map_err(|error| format!("could not deserialize namespace metadata for {approval}: {error}"))
    };
    if sequence == 0 {
        let current = on.sequence(name)?;
        sequence = if metadata(current + 1)?.is_some() { current + 1 } else { current };
    }
    if metadata(sequence)?.is_none() {
        return Err(format!(
            "could not fetch approved chaincode definition (name: '{name}', sequence: '{sequence}') on channel '{}'",
            on.channel.id
        )
        .into());
    }
    let (parameters, source) = approved_definition(&organization, name, sequence)?;
    let result = QueryApprovedChaincodeDefinitionResult {
        sequence,
        version: parameters.endorsement_info.version,
        endorsement_plugin: parameters.endorsement_info.endorsement_plugin,
        validation_plugin: parameters.validation_info.validation_plugin,
        validation_parameter: parameters.validation_info.validation_parameter,
        collections: Some(parameters.collections),
        init_required: parameters.endorsement_info.init_required,
        source: Some(source),
    };
    Ok(result.encode_to_vec().into())
}

pub(super) fn query_all(on: &OnChannel<'_>) -> Answer {
    let _: QueryApprovedChaincodeDefinitionsArgs = argument(on.call)?;
    let organization = on.organization();
    let found = lifecycle_state::list(NAMESPACES, &organization as &dyn RangeState)
        .map_err(|error| format!("could not fetch metadatas: {error}"))?;
    let mut definitions = Vec::with_capacity(found.len());
    for (approval, _) in found {
        let parts = approval.split_once('#').and_then(|(name, sequence)| Some((name, sequence.parse::<i64>().ok()?)));
        let Some((name, sequence)) = parts else {
            return Err(format!(
                "could not extract chaincode name and sequence number from metadata: {approval}: invalid private name format: \
                 {approval}"
            )
            .into());
        };
        let (parameters, source) = approved_definition(&organization, name, sequence)?;
        definitions.push(query_approved_chaincode_definitions_result::ApprovedChaincodeDefinition {
            name: name.to_owned(),
            sequence,
            version: parameters.endorsement_info.version,
            endorsement_plugin: parameters.endorsement_info.endorsement_plugin,
            validation_plugin: parameters.validation_info.validation_plugin,
            validation_parameter: parameters.validation_info.validation_parameter,
            collections: Some(parameters.collections),
            init_required: parameters.endorsement_info.init_required,
            source: Some(source),
        });
    }
    let result = QueryApprovedChaincodeDefinitionsResult { approved_chaincode_definitions: definitions };
    Ok(result.encode_to_vec().into())
}
