//! `peer lifecycle chaincode`: the commands that only ask.

use std::fmt::Write as _;

use fabric_proto::lifecycle::{
    ChaincodeSource, CheckCommitReadinessResult, QueryApprovedChaincodeDefinitionArgs,
    QueryApprovedChaincodeDefinitionResult, QueryApprovedChaincodeDefinitionsArgs,
    QueryApprovedChaincodeDefinitionsResult, QueryChaincodeDefinitionArgs, QueryChaincodeDefinitionResult,
    QueryChaincodeDefinitionsArgs, QueryChaincodeDefinitionsResult, QueryInstalledChaincodesArgs,
    QueryInstalledChaincodesResult, chaincode_source,
};
use prost::Message;

use super::super::connect::{Failure, Session};
use super::super::gojson;
use super::lifecycle::{ask, check, definition, one_peer, unreadable};
use crate::admin::lifecycle_call;

fn wants_json(session: &Session<'_, '_>) -> bool {
    session.parsed.text("output").eq_ignore_ascii_case("json")
}

fn decode<M: Message + Default>(payload: bytes::Bytes) -> Result<M, Failure> {
    M::decode(payload).map_err(|error| unreadable(&error))
}

/// `queryinstalled`.
pub(super) async fn installed(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let peer = one_peer(session).await?;
    let call = lifecycle_call("", "QueryInstalledChaincodes", &QueryInstalledChaincodesArgs {});
    let response = ask(&peer, &call, "query").await?;
    let result: QueryInstalledChaincodesResult = decode(response.payload)?;
    if wants_json(session) {
        session.console.out(&format!("{}\n", gojson::installed(&result).indented()));
        return Ok(());
    }
    let mut text = String::from("Installed chaincodes on peer:\n");
    for chaincode in &result.installed_chaincodes {
        let _ = writeln!(text, "Package ID: {}, Label: {}", chaincode.package_id, chaincode.label);
    }
    session.console.out(&text);
    Ok(())
}

/// `checkcommitreadiness`.
pub(super) async fn readiness(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let definition = definition(session)?;
    let peer = one_peer(session).await?;
    check(session, &definition)?;
    let channel = session.parsed.text("channelID").to_owned();
    let call = lifecycle_call(&channel, "CheckCommitReadiness", &definition.readiness_args());
    let response = ask(&peer, &call, "query").await?;
    let mut result: CheckCommitReadinessResult = decode(response.payload)?;
    let inspect = session.parsed.switch("inspect");
    if !inspect {
        result.mismatches.clear();
    }
    if wants_json(session) {
        for mismatches in result.mismatches.values_mut() {
            for item in &mut mismatches.items {
                *item = described(item);
            }
        }
        session.console.out(&format!("{}\n", gojson::readiness(&result).indented()));
        return Ok(());
    }
    let mut text = format!(
        "Chaincode definition for chaincode '{}', version '{}', sequence '{}' on channel '{channel}' approval status by org:\n",
        definition.name, definition.version, definition.sequence
    );
    for (org, approved) in &result.approvals {
        let _ = write!(text, "{org}: {approved}");
        if let Some(mismatch) = result.mismatches.get(org).filter(|mismatch| !mismatch.items.is_empty()) {
            let _ = write!(text, " (mismatch: [{}])", mismatch.items.join(", "));
        }
        text.push('\n');
    }
    session.console.out(&text);
    Ok(())
}

fn described(item: &str) -> String {
    let check = match item {
        "ChaincodeParameters" => "Sequence, ChaincodeName",
        "EndorsementInfo" => "Version, InitRequired, EndorsementPlugin",
        "ValidationInfo" => "ValidationParameter, ValidationPlugin",
        "Collections" => "Collections",
        other => return other.to_owned(),
    };
    format!("{item} (Check the {check})")
}

/// `queryapproved`.
pub(super) async fn approved(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let peer = one_peer(session).await?;
    let channel = session.parsed.text("channelID").to_owned();
    let name = session.parsed.text("name").to_owned();
    let sequence = session.parsed.int("sequence");
    if channel.is_empty() {
        return Err(Failure::plain("The required parameter 'channelID' is empty. Rerun the command with -C flag"));
    }
    if name.is_empty() && sequence != 0 {
        return Err(Failure::plain(
            "Specifying parameter 'sequence' is invalid without parameter 'name'. Rerun the command with -n flag",
        ));
    }
    if name.is_empty() {
        let call =
            lifecycle_call(&channel, "QueryApprovedChaincodeDefinitions", &QueryApprovedChaincodeDefinitionsArgs {});
        let result: QueryApprovedChaincodeDefinitionsResult = decode(ask(&peer, &call, "query").await?.payload)?;
        if wants_json(session) {
            session.console.out(&format!("{}\n", gojson::all_approved(&result).indented()));
            return Ok(());
        }
        let mut text = format!("Approved chaincode definitions on channel '{channel}':\n");
        for found in &result.approved_chaincode_definitions {
            let line = approval(
                found.sequence,
                &found.version,
                found.init_required,
                found.source.as_ref(),
                &found.endorsement_plugin,
                &found.validation_plugin,
            );
            let _ = writeln!(text, "name: {}, {line}", found.name);
        }
        session.console.out(&text);
        return Ok(());
    }
    let args = QueryApprovedChaincodeDefinitionArgs { name: name.clone(), sequence };
    let call = lifecycle_call(&channel, "QueryApprovedChaincodeDefinition", &args);
    let result: QueryApprovedChaincodeDefinitionResult = decode(ask(&peer, &call, "query").await?.payload)?;
    if wants_json(session) {
        session.console.out(&format!("{}\n", gojson::approved(&result).indented()));
        return Ok(());
    }
    let line = approval(
        result.sequence,
        &result.version,
        result.init_required,
        result.source.as_ref(),
        &result.endorsement_plugin,
        &result.validation_plugin,
    );
    let text = format!("Approved chaincode definition for chaincode '{name}' on channel '{channel}':\n{line}\n");
    session.console.out(&text);
    Ok(())
}

fn approval(
    sequence: i64,
    version: &str,
    init_required: bool,
    source: Option<&ChaincodeSource>,
    endorsement_plugin: &str,
    validation_plugin: &str,
) -> String {
    let package_id = match source.and_then(|source| source.r#type.as_ref()) {
        Some(chaincode_source::Type::LocalPackage(local)) => local.package_id.as_str(),
        _ => "",
    };
    format!(
        "sequence: {sequence}, version: {version}, init-required: {init_required}, package-id: {package_id}, \
         endorsement plugin: {endorsement_plugin}, validation plugin: {validation_plugin}"
    )
}

/// `querycommitted`.
pub(super) async fn committed(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let peer = one_peer(session).await?;
    let channel = session.parsed.text("channelID").to_owned();
    let name = session.parsed.text("name").to_owned();
    if channel.is_empty() {
        return Err(Failure::plain("channel name must be specified"));
    }
    let line = |version: &str, sequence: i64, endorsement: &str, validation: &str| {
        format!(
            "Version: {version}, Sequence: {sequence}, Endorsement Plugin: {endorsement}, Validation Plugin: {validation}"
        )
    };
    if name.is_empty() {
        let call = lifecycle_call(&channel, "QueryChaincodeDefinitions", &QueryChaincodeDefinitionsArgs {});
        let result: QueryChaincodeDefinitionsResult = decode(ask(&peer, &call, "query").await?.payload)?;
        if wants_json(session) {
            session.console.out(&format!("{}\n", gojson::all_committed(&result).indented()));
            return Ok(());
        }
        let mut text = format!("Committed chaincode definitions on channel '{channel}':\n");
        for found in &result.chaincode_definitions {
            let described = line(&found.version, found.sequence, &found.endorsement_plugin, &found.validation_plugin);
            let _ = writeln!(text, "Name: {}, {described}", found.name);
        }
        session.console.out(&text);
        return Ok(());
    }
    let args = QueryChaincodeDefinitionArgs { name: name.clone() };
    let call = lifecycle_call(&channel, "QueryChaincodeDefinition", &args);
    let result: QueryChaincodeDefinitionResult = decode(ask(&peer, &call, "query").await?.payload)?;
    if wants_json(session) {
        session.console.out(&format!("{}\n", gojson::committed(&result).indented()));
        return Ok(());
    }
    let described = line(&result.version, result.sequence, &result.endorsement_plugin, &result.validation_plugin);
    let approvals: Vec<String> = result.approvals.iter().map(|(org, approved)| format!("{org}: {approved}")).collect();
    session.console.out(&format!(
        "Committed chaincode definition for chaincode '{name}' on channel '{channel}':\n{described}, Approvals: [{}]\n",
        approvals.join(", ")
    ));
    Ok(())
}
