//! `discover`: what a peer's discovery service tells about peers, configuration and endorsers.

mod arguments;
mod json;
mod profile;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fabric_channel::msp::SigningIdentity;
use fabric_proto::discovery::{
    AuthInfo, ChaincodeQuery, ConfigQuery, LocalPeerQuery, PeerMembershipQuery, Query, QueryResult, Request,
    SignedRequest, discovery_client::DiscoveryClient, query, query_result,
};
use fabric_proto::protos::{ChaincodeCall, ChaincodeInterest};
use prost::Message;

use super::connect::{call_text, rpc_text};
use super::{Console, block_on};
use crate::transport::MAX_MESSAGE_BYTES;
use crate::{Endpoint, Signer};
use arguments::Arguments;
use profile::Profile;

/// How long a query may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Runs `discover`; returns the exit code.
pub(super) fn run(args: &[String], console: &mut Console<'_>) -> i32 {
    let arguments = match Arguments::parse(args) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            console.err(arguments::USAGE);
            return 0;
        }
        Err(error) => {
            console.err(&format!("discover: error: {error}, try --help\n"));
            return 1;
        }
    };
    match execute(&arguments) {
        Ok(Some(output)) => {
            console.out(&format!("{output}\n"));
            0
        }
        Ok(None) => 0,
        Err(error) => {
            console.err(&format!("{error}\n"));
            1
        }
    }
}

fn execute(arguments: &Arguments) -> Result<Option<String>, String> {
    if arguments.command == "saveConfig" {
        if arguments.config_file.is_empty() {
            return Err("--configFile must be used to specify the configuration file".into());
        }
        let saved = Profile::from_arguments(arguments)?.save(&arguments.config_file);
        return saved.map(|()| None).map_err(|error| format!("Failed persisting configuration: {error}"));
    }
    let profile = if arguments.config_file.is_empty() {
        Profile::from_arguments(arguments)?
    } else {
        Profile::load(&arguments.config_file).map_err(|error| format!("Failed loading config {error}"))?
    };
    let query = query_of(arguments)?;
    let result = block_on(ask(arguments, &profile, query))??;
    describe(arguments, result).map(Some)
}

fn query_of(arguments: &Arguments) -> Result<Query, String> {
    let channel = arguments.channel.clone();
    let needs_channel = || if channel.is_empty() { Err("no channel specified".to_owned()) } else { Ok(()) };
    let needs_server = || if arguments.server.is_empty() { Err("no server specified".to_owned()) } else { Ok(()) };
    let kind = match arguments.command.as_str() {
        "config" => {
            needs_server()?;
            needs_channel()?;
            query::Query::ConfigQuery(ConfigQuery {})
        }
        "endorsers" => {
            needs_channel()?;
            needs_server()?;
            query::Query::CcQuery(ChaincodeQuery { interests: vec![interest(arguments)?] })
        }
        _ => {
            needs_server()?;
            if channel.is_empty() {
                query::Query::LocalPeers(LocalPeerQuery {})
            } else {
                query::Query::PeerQuery(PeerMembershipQuery::default())
            }
        }
    };
    Ok(Query { channel, query: Some(kind) })
}

fn interest(arguments: &Arguments) -> Result<ChaincodeInterest, String> {
    let named = |name: &String| arguments.chaincodes.contains(name);
    if let Some(name) = arguments.no_private_reads.iter().find(|name| !named(name)) {
        return Err(format!(
            "chaincode {name} is specified as not containing private data reads but should be explicitly defined via a \
             chaincode flag"
        ));
    }
    if let Some((name, _)) = arguments.collections.iter().find(|(name, _)| !named(name)) {
        return Err(format!("a collection specified chaincode {name} but it wasn't specified with a chaincode flag"));
    }
    if arguments.chaincodes.is_empty() {
        return Err("failed creating request: invocation chain should not be empty".into());
    }
    let chaincodes = arguments
        .chaincodes
        .iter()
        .map(|name| ChaincodeCall {
            name: name.clone(),
            collection_names: arguments
                .collections
                .iter()
                .find(|(chaincode, _)| chaincode == name)
                .map(|(_, list)| list.clone())
                .unwrap_or_default(),
            no_private_reads: arguments.no_private_reads.contains(name),
            ..ChaincodeCall::default()
        })
        .collect();
    Ok(ChaincodeInterest { chaincodes })
}

async fn ask(arguments: &Arguments, profile: &Profile, query: Query) -> Result<QueryResult, String> {
    let signer: Arc<SigningIdentity> = Arc::new(profile.signer()?);
    let endpoint: Endpoint = profile.endpoint(&arguments.server)?.connect_timeout(TIMEOUT);
    let failed = |error: String| format!("failed connecting to {}: {error}", arguments.server);
    let channel = endpoint.connect().await.map_err(|error| failed(call_text(&error)))?;
    let request = Request {
        authentication: Some(AuthInfo {
            client_identity: Signer::serialized(&*signer),
            client_tls_cert_hash: endpoint.tls_cert_hash(),
        }),
        queries: vec![query],
    };
    let payload = Bytes::from(request.encode_to_vec());
    let signature = signer.sign(&payload).into();
    let mut call = tonic::Request::new(SignedRequest { payload, signature });
    call.set_timeout(TIMEOUT);
    let answer = DiscoveryClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .discover(call)
        .await
        .map_err(|status| failed(rpc_text(&status)))?;
    answer.into_inner().results.into_iter().next().ok_or_else(|| "empty results".to_owned())
}

fn describe(arguments: &Arguments, result: QueryResult) -> Result<String, String> {
    use query_result::Result as Answer;
    let json = match (arguments.command.as_str(), result.result) {
        ("endorsers", Some(Answer::Error(error))) => return Err(format!("server returned: {}", error.content)),
        (_, Some(Answer::Error(error))) => return Err(error.content),
        ("config", Some(Answer::ConfigResult(config))) => json::config(&config),
        ("peers", Some(Answer::Members(members))) => json::peers(&members, !arguments.channel.is_empty()),
        ("endorsers", Some(Answer::CcQueryRes(found))) => json::endorsers(&found),
        _ => return Err("server returned response of unexpected type: *discovery.QueryResult".into()),
    };
    Ok(json.indented())
}

#[cfg(test)]
mod tests;
