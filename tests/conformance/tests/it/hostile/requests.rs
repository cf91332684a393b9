//! Requests to system chaincodes, discovery, gossip and the orderer's administration that make no sense.

use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use fabric_client::{Call, Endpoint, ParticipationClient};
use fabric_proto::discovery::discovery_client::DiscoveryClient;
use fabric_proto::discovery::{
    AuthInfo, ChaincodeQuery, ConfigQuery, LocalPeerQuery, Query, Request, SignedRequest, query, query_result,
};
use fabric_proto::gossip;
use fabric_proto::gossip::gossip_client::GossipClient;
use prost::Message as _;
use tonic::Code;

use super::identities::Cast;
use super::{GARBAGE, World};
use crate::faults_clients::text;

/// Arguments that no system chaincode understands.
pub(crate) async fn lifecycle_and_system_chaincodes(world: &World) {
    let client = world.client(&world.administrator).await;
    let garbage: &[u8] = &GARBAGE;
    let channel = world.channel().as_bytes();
    let cases: &[(&str, &str, &[&[u8]], &str)] = &[
        (
            "",
            "_lifecycle",
            &[b"InstallChaincode", garbage],
            "failed to invoke backing implementation of 'InstallChaincode': could not decode input arg for",
        ),
        (
            "",
            "_lifecycle",
            &[b"QueryInstalledChaincode", garbage],
            "failed to invoke backing implementation of 'QueryInstalledChaincode': could not decode input arg for",
        ),
        (
            "",
            "_lifecycle",
            &[b"GetInstalledChaincodePackage", garbage],
            "failed to invoke backing implementation of 'GetInstalledChaincodePackage': could not decode input arg for",
        ),
        (
            "mychannel",
            "_lifecycle",
            &[b"ApproveChaincodeDefinitionForMyOrg", garbage],
            "failed to invoke backing implementation of 'ApproveChaincodeDefinitionForMyOrg': could not decode input arg for",
        ),
        (
            "mychannel",
            "_lifecycle",
            &[b"CheckCommitReadiness", garbage],
            "failed to invoke backing implementation of 'CheckCommitReadiness': could not decode input arg for",
        ),
        (
            "mychannel",
            "_lifecycle",
            &[b"CommitChaincodeDefinition", garbage],
            "failed to invoke backing implementation of 'CommitChaincodeDefinition': could not decode input arg for",
        ),
        (
            "mychannel",
            "_lifecycle",
            &[b"QueryChaincodeDefinition", garbage],
            "failed to invoke backing implementation of 'QueryChaincodeDefinition': could not decode input arg for",
        ),
        (
            "mychannel",
            "_lifecycle",
            &[b"QueryChaincodeDefinitions", garbage],
            "failed to invoke backing implementation of 'QueryChaincodeDefinitions': could not decode input arg for",
        ),
        (
            "mychannel",
            "_lifecycle",
            &[b"NoSuchFunction", garbage],
            "Failed to authorize invocation due to failed ACL check: Unmapped policy for _lifecycle/NoSuchFunction",
        ),
        (
            "mychannel",
            "_lifecycle",
            &[b"QueryChaincodeDefinition"],
            "lifecycle scc operations require exactly two arguments but received 1",
        ),
        ("mychannel", "_lifecycle", &[], "lifecycle scc must be invoked with arguments"),
        ("", "cscc", &[b"JoinChain", garbage], "Failed to reconstruct the genesis block, "),
        ("", "cscc", &[b"JoinChain"], "Incorrect number of arguments, 1"),
        ("", "cscc", &[b"NoSuchFunction", b"x"], "Requested function NoSuchFunction not found."),
        ("", "cscc", &[], "Incorrect number of arguments, 0"),
        ("", "cscc", &[b"GetChannelConfig", b"nochannel"], "nochannel"),
        (
            "",
            "qscc",
            &[b"GetBlockByNumber", channel, garbage],
            "Failed to parse block number with error strconv.ParseUint: parsing ",
        ),
        (
            "",
            "qscc",
            &[b"GetBlockByNumber", channel, b"18446744073709551614"],
            "Failed to get block number 18446744073709551614, error ",
        ),
        ("", "qscc", &[b"GetBlockByHash", channel, garbage], "Failed to get block hash "),
        (
            "",
            "qscc",
            &[b"GetTransactionByID", channel, b"no-such-id"],
            "Failed to get transaction with id no-such-id, error no such transaction ID [no-such-id] in index",
        ),
        ("", "qscc", &[b"GetChainInfo", b"nochannel"], "Invalid chain ID, nochannel"),
        ("", "qscc", &[b"NoSuchFunction", channel], "missing 3rd argument for NoSuchFunction"),
        ("", "qscc", &[], "Incorrect number of arguments, 0"),
    ];
    for (channel, chaincode, args, expected) in cases {
        let call = Call::new(*channel, *chaincode).args(*args);
        let shown = format!("{chaincode} {:?}", args.first().map(|name| String::from_utf8_lossy(name)));
        match client.propose(&call.sign(&*world.administrator)).await {
            Ok(answer) => {
                let response = answer.response.unwrap();
                assert!(response.status >= 400 && !response.message.is_empty(), "{shown}: {response:?}");
                assert!(
                    response.message.contains(expected),
                    "{shown}: expected {expected:?}, got {:?}",
                    response.message
                );
            }
            Err(error) => {
                assert_eq!(error.code(), Some(Code::Unknown), "{shown}: {error}");
                assert!(error.to_string().contains(expected), "{shown}: {error}");
            }
        }
    }
    let error = client.install(GARBAGE).await.unwrap_err().to_string();
    assert!(
        error.contains(
            "failed to invoke backing implementation of 'InstallChaincode': could not parse as a chaincode install package: error \
             reading as gzip stream"
        ),
        "{error}"
    );
    // A user is no administrator.
    let error = world.client(&world.user).await.install(GARBAGE).await.unwrap_err().to_string();
    let policy = "Failed verifying that proposal's creator satisfies local MSP principal during channelless check policy with policy [Admins]";
    assert!(error.contains(policy), "{error}");
}

/// Discovery queries that are refused: as a whole with a status, or one by one with an error each.
pub(crate) async fn discovery(world: &World, cast: &Cast) {
    let mut client = DiscoveryClient::new(world.dial_peer().await);
    let auth = |identity: Bytes| Some(AuthInfo { client_identity: identity, client_tls_cert_hash: Bytes::new() });
    let config =
        || Query { channel: world.channel().to_owned(), query: Some(query::Query::ConfigQuery(ConfigQuery {})) };
    let sign = |request: &Request, who: &fabric_channel::msp::SigningIdentity| {
        let payload = Bytes::from(request.encode_to_vec());
        SignedRequest { signature: who.sign(&payload).into(), payload }
    };
    let status = client.discover(SignedRequest { payload: GARBAGE, signature: Bytes::new() }).await.unwrap_err();
    assert_eq!(status.code(), Code::Unknown);
    assert!(status.message().starts_with("failed parsing request: "), "{status:?}");
    let status = client.discover(SignedRequest::default()).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unknown, "access denied, no authentication info in request"));
    let nobody = Request { authentication: auth(Bytes::new()), queries: vec![config()] };
    let status = client.discover(sign(&nobody, &world.user)).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unknown, "access denied, client identity wasn't supplied"));

    let elsewhere = Query { channel: "nochannel".into(), query: config().query };
    let local = Query { channel: String::new(), query: Some(query::Query::LocalPeers(LocalPeerQuery {})) };
    let chaincodes =
        Query { channel: world.channel().to_owned(), query: Some(query::Query::CcQuery(ChaincodeQuery::default())) };
    let nothing = Query { channel: world.channel().to_owned(), query: None };
    let mut cases = vec![
        (world.user.clone(), elsewhere, "access denied"),
        (world.user.clone(), local, "access denied"),
        (world.user.clone(), chaincodes, "chaincode query must have at least one chaincode interest"),
        (world.user.clone(), nothing, "unknown or missing request type"),
    ];
    // As upstream, policies do not look at the time: an expired member still gets descriptions of the network.
    for who in [&cast.imitator, &cast.turncoat, &cast.stranger] {
        cases.push((who.clone(), config(), "access denied"));
    }
    for (who, query, expected) in cases {
        let request = Request { authentication: auth(who.serialized().clone()), queries: vec![query, config()] };
        let results = client.discover(sign(&request, &who)).await.unwrap().into_inner().results;
        assert_eq!(results.len(), 2);
        match &results[0].result {
            Some(query_result::Result::Error(error)) => assert_eq!(error.content, expected),
            other => panic!("expected {expected:?}, got {other:?}"),
        }
        let served = matches!(results[1].result, Some(query_result::Result::ConfigResult(_)));
        assert_eq!(served, std::sync::Arc::ptr_eq(&who, &world.user), "the other query is judged for itself");
    }
    let request = Request { authentication: auth(world.user.serialized().clone()), queries: vec![config()] };
    let mut forged = sign(&request, &world.user);
    forged.signature = GARBAGE;
    let results = client.discover(forged).await.unwrap().into_inner().results;
    assert!(
        matches!(&results[0].result, Some(query_result::Result::Error(error)) if error.content == "access denied"),
        "{results:?}"
    );
}

/// A stranger talks to the peer's gossip service; whatever the peer does with the stream, it ends or stays silent.
pub(crate) async fn gossip(world: &World) {
    let mut client = GossipClient::new(world.dial_peer().await);
    client.ping(gossip::Empty {}).await.unwrap();
    let envelope = |payload: Bytes| gossip::Envelope { payload, signature: GARBAGE, secret_envelope: None };
    let message = gossip::GossipMessage { channel: GARBAGE, ..gossip::GossipMessage::default() };
    let streams = [
        vec![gossip::Envelope::default()],
        vec![envelope(GARBAGE)],
        vec![envelope(message.encode_to_vec().into())],
        vec![envelope(Bytes::from(vec![0; 1 << 20])); 20],
    ];
    for messages in streams {
        let answer = client.gossip_stream(futures::stream::iter(messages)).await;
        let Ok(answer) = answer else { continue };
        let mut answers = answer.into_inner();
        // The peer introduces itself and then ends the stream of somebody who does not.
        let ended = async { while let Ok(Some(_)) = answers.message().await {} };
        tokio::time::timeout(Duration::from_secs(5), ended).await.expect("the stream of a stranger ends");
    }
    client.ping(gossip::Empty {}).await.unwrap();
}

/// The REST interface with wrong names, wrong bodies and wrong methods.
pub(crate) async fn participation(world: &World) {
    let node = world.network.nodes("orderer")[0];
    let tls = std::path::PathBuf::from(text(&node["tls_ca"])).parent().unwrap().to_path_buf();
    let read = |name: &str| std::fs::read(tls.join(name)).unwrap();
    let endpoint = Endpoint::tls(text(&node["admin"]), read("ca.crt"))
        .server_name(text(&node["name"]))
        .client_certificate(read("server.crt"), read("server.key"));
    let client = ParticipationClient::new(endpoint);
    let genesis = std::fs::read(world.network.data().join("genesis.block")).unwrap();
    let cases = [
        (client.join(&GARBAGE).await, 400, "cannot unmarshal file part config-block into a block: "),
        (client.join(b"").await, 400, "invalid join block: block is not a config block"),
        (client.join(&genesis).await, 405, "cannot join: channel already exists"),
        (client.update(&GARBAGE).await, 400, "cannot unmarshal file part config-update-envelope into an envelope: "),
        (client.update(b"").await, 400, "invalid config update envelope: bad header"),
        (client.info("nochannel").await, 404, "channel does not exist"),
        (client.info("No%20Channel").await, 400, "invalid channel ID: "),
        (client.remove("nochannel").await, 404, "cannot remove: channel does not exist"),
        (
            client.fetch("mychannel", "latest").await,
            400,
            "invalid block ID: 'latest' not equal <newest|oldest|config|(number)>",
        ),
        (client.fetch("mychannel", "99999999").await, 404, ""),
    ];
    for (answer, status, expected) in cases {
        let answer = answer.unwrap();
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status, status, "{expected}: {body}");
        assert!(body.starts_with(&format!("{{\"error\":\"{expected}")), "expected {expected:?}, got {body}");
    }
    let url = format!("https://{}/participation/v1/channels", text(&node["admin"]));
    let curl = |arguments: &[&str]| {
        let output = Command::new("curl")
            .args(["-s", "-m", "5", "-k", "--cert"])
            .arg(tls.join("server.crt"))
            .arg("--key")
            .arg(tls.join("server.key"))
            .args(arguments)
            .arg(&url)
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(curl(&["-X", "PATCH"]), "{\"error\":\"invalid request method: PATCH\"}\n");
    assert_eq!(
        curl(&["-d", "x", "-H", "Content-Type: text/plain"]),
        "{\"error\":\"unsupported Content-Type: [text/plain]\"}\n"
    );
    let broken = curl(&["-d", "no parts", "-H", "Content-Type: multipart/form-data; boundary=x"]);
    assert!(broken.starts_with("{\"error\":\"cannot read form from request body: "), "{broken}");
    let other = curl(&["-F", "other=@/dev/null"]);
    assert_eq!(other, "{\"error\":\"form does not contains part key: config-block\"}\n");
    let large = tempfile::NamedTempFile::new().unwrap();
    large.as_file().set_len(2 << 20).unwrap();
    let form = format!("config-block=@{}", large.path().display());
    let answer = curl(&["-F", &form]);
    assert_eq!(answer, "{\"error\":\"cannot read form from request body: http: request body too large\"}\n");
}
