//! `peer lifecycle chaincode`: the commands that change something.

use std::path::{Path, PathBuf};

use futures::future::join_all;
use prost::Message;

use super::super::connect::{Failure, Orderers, Session, call_text, file_text, read};
use super::super::gotext;
use super::chaincode::{Ended, order_and_wait};
use super::profile::Network;
use crate::admin::{ChaincodeDefinition, lifecycle_call};
use crate::{AdminClient, Call, collections};
use fabric_proto::lifecycle::{
    GetInstalledChaincodePackageArgs, GetInstalledChaincodePackageResult, InstallChaincodeArgs, InstallChaincodeResult,
};
use fabric_proto::protos::{CollectionConfigPackage, Response};

const LOGGER: &str = "cli.lifecycle.chaincode";

/// The peers that the flags name.
pub(super) async fn peers(session: &mut Session<'_, '_>) -> Result<Vec<AdminClient>, Failure> {
    let command = session.parsed.command().name();
    let mut addresses = session.parsed.array("peerAddresses");
    let mut roots = session.parsed.array("tlsRootCertFiles");
    let wrong = |text: String| Failure::with_usage(format!("failed to validate peer connection parameters: {text}"));
    let profile = session.parsed.text("connectionProfile");
    if !profile.is_empty() {
        let (channel, target) = (session.parsed.text("channelID"), session.parsed.text("targetPeer"));
        let targets = Network::read(profile).and_then(|network| network.targets(channel, target)).map_err(wrong)?;
        (addresses, roots) = targets.into_iter().unzip();
    }
    if !matches!(command, "approveformyorg" | "commit") && addresses.len() > 1 {
        return Err(wrong(format!("'{command}' command supports one peer. {} peers provided", addresses.len())));
    }
    if !session.settings.tls_enabled() {
        roots = vec![String::new(); addresses.len()];
    } else if roots.len() != addresses.len() {
        return Err(wrong(format!(
            "number of peer addresses ({}) does not match the number of TLS root cert files ({})",
            addresses.len(),
            roots.len()
        )));
    }
    let mut peers = Vec::with_capacity(addresses.len());
    for (address, root) in addresses.iter().zip(&roots) {
        let peer = session.peer(address, root).await;
        peers.push(peer.map_err(|error| {
            Failure::with_usage(format!("failed to retrieve endorser client for {command}: {error}"))
        })?);
    }
    if peers.is_empty() {
        return Err(Failure::with_usage("no endorser clients retrieved"));
    }
    Ok(peers)
}

pub(super) async fn one_peer(session: &mut Session<'_, '_>) -> Result<AdminClient, Failure> {
    Ok(peers(session).await?.swap_remove(0))
}

async fn orderer(session: &mut Session<'_, '_>, peer: &AdminClient) -> Result<Orderers, Failure> {
    let mut address = session.parsed.text("orderer").to_owned();
    if address.is_empty() {
        let channel = session.parsed.text("channelID").to_owned();
        let found = session.orderer_addresses(peer, &channel).await.map_err(|error| {
            Failure::with_usage(format!("error getting channel ({channel}) orderer endpoint: {error}"))
        })?;
        address = found.into_iter().next().ok_or_else(|| {
            Failure::with_usage(format!(
                "no orderer endpoints retrieved for channel {channel}, pass orderer endpoint with -o flag instead"
            ))
        })?;
        session.info(LOGGER, "setOrdererClient", &format!("Retrieved channel ({channel}) orderer endpoint: {address}"));
    }
    let connected = session.orderers(&address).await;
    connected.map_err(|error| Failure::with_usage(format!("failed to retrieve broadcast client: {error}")))
}

/// Sends a call to one peer and returns its 200 answer.
pub(super) async fn ask(peer: &AdminClient, call: &Call, verb: &str) -> Result<Response, Failure> {
    let answer = peer
        .propose(&call.sign(&**peer.signer()))
        .await
        .map_err(|error| Failure::plain(format!("failed to endorse proposal: {}", call_text(&error))))?;
    let response = answer.response.ok_or_else(|| Failure::plain("received proposal response with nil response"))?;
    if response.status != 200 {
        return Err(Failure::plain(format!("{verb} failed with status: {} - {}", response.status, response.message)));
    }
    Ok(response)
}

/// `install`.
pub(super) async fn install(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let peer = one_peer(session).await?;
    let file = session.parsed.args.first().cloned().unwrap_or_default();
    if file.is_empty() {
        return Err(Failure::plain("chaincode install package must be provided"));
    }
    let package = read(Path::new(&file))
        .map_err(|error| Failure::plain(format!("failed to read chaincode package at '{file}': {error}")))?;
    let args = InstallChaincodeArgs { chaincode_install_package: package.into() };
    let call = lifecycle_call("", "InstallChaincode", &args);
    let answer = peer
        .propose(&call.sign(&*session.signer))
        .await
        .map_err(|error| Failure::plain(format!("failed to endorse chaincode install: {}", call_text(&error))))?;
    let Some(response) = answer.response.clone() else {
        return Err(Failure::plain("chaincode install failed: received proposal response with nil response"));
    };
    if response.status != 200 {
        return Err(Failure::plain(format!(
            "chaincode install failed with status: {} - {}",
            response.status, response.message
        )));
    }
    let function = "submitInstallProposal";
    session.info(LOGGER, function, &format!("Installed remotely: {}", gotext::proposal_response(&answer)));
    let result = InstallChaincodeResult::decode(response.payload).map_err(|error| unreadable(&error))?;
    session.info(LOGGER, function, &format!("Chaincode code package identifier: {}", result.package_id));
    Ok(())
}

pub(super) fn unreadable(error: &prost::DecodeError) -> Failure {
    Failure::plain(format!("failed to unmarshal proposal response's response payload: {error}"))
}

/// `getinstalledpackage`.
pub(super) async fn get_installed_package(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let peer = one_peer(session).await?;
    let id = session.parsed.text("package-id").to_owned();
    if id.is_empty() {
        return Err(Failure::plain(
            "The required parameter 'package-id' is empty. Rerun the command with --package-id flag",
        ));
    }
    let args = GetInstalledChaincodePackageArgs { package_id: id.clone() };
    let response = ask(&peer, &lifecycle_call("", "GetInstalledChaincodePackage", &args), "proposal").await?;
    let result = GetInstalledChaincodePackageResult::decode(response.payload).map_err(|error| unreadable(&error))?;
    let file = PathBuf::from(session.parsed.text("output-directory")).join(format!("{id}.tar.gz"));
    std::fs::write(&file, &result.chaincode_install_package).map_err(|error| {
        Failure::plain(format!(
            "failed to write chaincode package to {}: {}",
            file.display(),
            file_text("open", &file, &error)
        ))
    })
}

/// The definition that the flags describe.
pub(super) fn definition(session: &Session<'_, '_>) -> Result<ChaincodeDefinition, Failure> {
    let parsed = session.parsed;
    let policy = collections::policy_bytes(parsed.text("signature-policy"), parsed.text("channel-config-policy"))
        .map_err(Failure::with_usage)?;
    let collections = collections_file(parsed.text("collections-config")).map_err(Failure::with_usage)?;
    Ok(ChaincodeDefinition {
        name: parsed.text("name").to_owned(),
        version: parsed.text("version").to_owned(),
        sequence: parsed.int("sequence"),
        endorsement_plugin: parsed.text("endorsement-plugin").to_owned(),
        validation_plugin: parsed.text("validation-plugin").to_owned(),
        validation_parameter: policy,
        collections,
        init_required: parsed.switch("init-required"),
    })
}

/// What every definition must have.
pub(super) fn check(session: &Session<'_, '_>, definition: &ChaincodeDefinition) -> Result<(), Failure> {
    let channel = session.parsed.text("channelID");
    for (missing, name, flag) in [
        (channel.is_empty(), "channelID", "-C"),
        (definition.name.is_empty(), "name", "-n"),
        (definition.version.is_empty(), "version", "-v"),
        (definition.sequence == 0, "sequence", "--sequence"),
    ] {
        if missing {
            return Err(Failure::with_usage(format!(
                "The required parameter '{name}' is empty. Rerun the command with {flag} flag"
            )));
        }
    }
    Ok(())
}

/// `approveformyorg`.
pub(super) async fn approve(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let definition = definition(session)?;
    let package_id = session.parsed.text("package-id").to_owned();
    let channel = session.parsed.text("channelID").to_owned();
    submit(session, &definition, |definition| definition.approve_call(&channel, Some(&package_id))).await
}

/// `commit`.
pub(super) async fn commit(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let definition = definition(session)?;
    let channel = session.parsed.text("channelID").to_owned();
    submit(session, &definition, |definition| definition.commit_call(&channel)).await
}

async fn submit(
    session: &mut Session<'_, '_>,
    definition: &ChaincodeDefinition,
    call: impl FnOnce(&ChaincodeDefinition) -> Call,
) -> Result<(), Failure> {
    let peers = peers(session).await?;
    let orderer = orderer(session, &peers[0]).await?;
    check(session, definition)?;
    let call = call(definition);
    let signed = call.sign(&*session.signer);
    let mut responses = Vec::with_capacity(peers.len());
    for answer in join_all(peers.iter().map(|peer| peer.propose(&signed))).await {
        responses.push(
            answer.map_err(|error| Failure::plain(format!("failed to endorse proposal: {}", call_text(&error))))?,
        );
    }
    let first = responses.first().and_then(|answer| answer.response.clone()).unwrap_or_default();
    if first.status != 200 {
        return Err(Failure::plain(format!("proposal failed with status: {} - {}", first.status, first.message)));
    }
    let transaction = signed
        .transaction(&*session.signer, &responses)
        .map_err(|error| Failure::plain(format!("failed to create signed transaction: {error}")))?;
    let wait = session.parsed.switch("waitForEvent");
    order_and_wait(session, &peers, &orderer, &call.channel, transaction, &signed.transaction_id, wait).await.map_err(
        |ended| match ended {
            Ended::Sending(error) => Failure::plain(format!("failed to send transaction: {error}")),
            Ended::Waiting(error) => Failure::plain(error),
        },
    )
}

/// `--collections-config`.
fn collections_file(file: &str) -> Result<Option<CollectionConfigPackage>, String> {
    if file.is_empty() {
        return Ok(None);
    }
    let context = |text: String| format!("invalid collection configuration in file {file}: {text}");
    let bytes = read(Path::new(file)).map_err(|error| context(format!("could not read file '{file}': {error}")))?;
    collections::from_json(&bytes).map(Some).map_err(context)
}
