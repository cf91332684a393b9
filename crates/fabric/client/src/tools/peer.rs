//! `peer`: the command tree and how its commands end.

mod chaincode;
mod channel;
mod lifecycle;
mod lifecycle_query;
mod maintenance;
mod package;
mod profile;
mod tree;

use super::command::{self, Parsed};
use super::connect::{Failure, Session};
use super::{Console, Outcome, block_on};

/// Runs `peer`.
pub(super) fn run(args: &[String], console: &mut Console<'_>) -> Outcome {
    let parsed = match command::parse(&tree::PEER, args) {
        Ok(parsed) => parsed,
        Err((path, error)) => return Outcome::Exit(command::refuse(console, &path, &error)),
    };
    if parsed.path.len() == 1 && parsed.args.first().is_some_and(|arg| arg == "help") {
        let named: Vec<String> = parsed.args[1..].to_vec();
        let path = command::parse(&tree::PEER, &named).map_or_else(|(path, _)| path, |parsed| parsed.path);
        console.out(&command::help(&path));
        return Outcome::Exit(0);
    }
    if parsed.help || !parsed.command().runnable() {
        console.out(&command::help(&parsed.path));
        return Outcome::Exit(0);
    }
    if parsed.names() == "peer node start" {
        if !parsed.args.is_empty() {
            return finish(console, &parsed, Err(Failure::with_usage("trailing args detected")));
        }
        return Outcome::StartPeerNode { chaincode_dev_mode: parsed.switch("peer-chaincodedev") };
    }
    let result = execute(&parsed, console);
    finish(console, &parsed, result)
}

fn execute(parsed: &Parsed, console: &mut Console<'_>) -> Result<(), Failure> {
    let names = parsed.names();
    if names.starts_with("peer node ") {
        return Err(maintenance::refuse(parsed));
    }
    match names.as_str() {
        "peer version" => return version(parsed, console),
        "peer lifecycle chaincode package" => return package::package(parsed),
        "peer lifecycle chaincode calculatepackageid" => return package::calculate_id(parsed, console),
        _ => {}
    }
    let mut session = Session::open(parsed, console)?;
    // One runtime for the whole command: a connection lives on the runtime that dialled it.
    block_on(dispatch(&mut session, &names))?
}

async fn dispatch(session: &mut Session<'_, '_>, names: &str) -> Result<(), Failure> {
    match names.strip_prefix("peer ").unwrap_or_default() {
        "channel create" => Err(Failure::plain(
            "channels are no longer created through a system channel; create the genesis block with configtxgen and join \
             the orderers with osnadmin channel join",
        )),
        "channel fetch" => channel::fetch(session).await,
        "channel getinfo" => channel::getinfo(session).await,
        "channel join" => channel::join(session).await,
        "channel list" => channel::list(session).await,
        "channel signconfigtx" => channel::signconfigtx(session),
        "channel update" => channel::update(session).await,
        "chaincode invoke" => chaincode::invoke_or_query(session, true).await,
        "chaincode query" => chaincode::invoke_or_query(session, false).await,
        "lifecycle chaincode install" => lifecycle::install(session).await,
        "lifecycle chaincode approveformyorg" => lifecycle::approve(session).await,
        "lifecycle chaincode commit" => lifecycle::commit(session).await,
        "lifecycle chaincode getinstalledpackage" => lifecycle::get_installed_package(session).await,
        "lifecycle chaincode checkcommitreadiness" => lifecycle_query::readiness(session).await,
        "lifecycle chaincode queryinstalled" => lifecycle_query::installed(session).await,
        "lifecycle chaincode queryapproved" => lifecycle_query::approved(session).await,
        "lifecycle chaincode querycommitted" => lifecycle_query::committed(session).await,
        other => Err(Failure::plain(format!("peer {other} is not available in this build"))),
    }
}

fn finish(console: &mut Console<'_>, parsed: &Parsed, result: Result<(), Failure>) -> Outcome {
    let Err(failure) = result else { return Outcome::Exit(0) };
    if let Some(text) = &failure.text {
        console.err(&format!("Error: {text}\n"));
        if failure.usage {
            console.err(&format!("{}\n", command::usage(&parsed.path)));
        }
    }
    Outcome::Exit(1)
}

fn version(parsed: &Parsed, console: &mut Console<'_>) -> Result<(), Failure> {
    if !parsed.args.is_empty() {
        return Err(Failure::with_usage("trailing args detected"));
    }
    let chaincode = " Chaincode:\n  Base Docker Label: org.hyperledger.fabric\n  Docker Namespace: hyperledger\n";
    console.out(&format!("{}{chaincode}\n", super::version_text("peer")));
    Ok(())
}

#[cfg(test)]
pub(super) fn tree_for_tests() -> &'static command::Command {
    &tree::PEER
}
