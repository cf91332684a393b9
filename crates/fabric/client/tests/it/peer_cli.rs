//! `peer channel`, `peer node` and `osnadmin` against what upstream's binaries printed: arguments, texts, log lines, files and exit
//! codes.

use std::path::PathBuf;

use bytes::Bytes;
use fabric_client::tools;
use fabric_proto::common::{self, BlockchainInfo};
use fabric_proto::protos::{ChannelInfo, ChannelQueryResponse};
use prost::Message;
use serde_json::Value;

use crate::mock::{Script, block, failed, ok};
use crate::place::{Place, message};
use crate::support::{Answer, bytes, recorded, versionless};

#[test]
fn commands_that_need_no_network() {
    let place = Place::new();
    for name in [
        "044_peer_channel_getinfo_no_channel",
        "052_lifecycle_calculatepackageid",
        "053_lifecycle_package_golang",
        "054_lifecycle_package_no_label",
        "055_lifecycle_package_bad_label",
        "069_lifecycle_approveformyorg_bad_policy",
        "112_peer_unknown_command",
        "114_chaincode_query_no_channel_flag",
    ] {
        place.compare(name);
    }
    let packed = std::fs::read(place.folder.path().join("gocc.tgz")).unwrap();
    let metadata = fabric_client::package::metadata(&packed).unwrap();
    assert_eq!(
        (metadata.path.as_str(), metadata.kind.as_str(), metadata.label.as_str()),
        ("example.com/gocc", "golang", "gocc_1")
    );
}

#[test]
fn helps_and_versions() {
    let place = Place::new();
    place.compare("045_peer_node_status");
    let case = recorded("035_peer_version");
    let answer = place.run(&case);
    assert_eq!(answer.code, 0);
    assert_eq!(versionless(answer.text()), versionless(case["stdout"].as_str().unwrap()));
    // The program prints this text and one more line break for `orderer version`.
    let ours = format!("{}\n", tools::version_text("orderer"));
    assert_eq!(versionless(&ours), versionless(recorded("020_orderer_version")["stdout"].as_str().unwrap()));
}

/// A case that runs `peer` with other arguments than were recorded.
fn case(argv: &[&str]) -> Value {
    let mut case = recorded("091_chaincode_query");
    let argv: Vec<&str> = [&["peer"], argv].concat();
    case["argv"] = serde_json::json!(argv);
    case
}

#[test]
fn offline_maintenance_is_refused_with_a_way_out() {
    let place = Place::new();
    let help = place.run(&case(&["node", "rollback", "--help"]));
    assert_eq!((help.code, help.stderr.as_str()), (0, ""));
    assert!(
        help.text().ends_with(
            "state database. The command is not supported if the peer contains any channel that was bootstrapped from a \
             snapshot.\n\nUsage:\n  peer node rollback [flags]\n\nFlags:\n  -b, --blockNumber uint   Block number to which the \
             channel needs to be rolled back to.\n  -c, --channelID string   Channel to rollback.\n  -h, --help               help \
             for rollback\n"
        ),
        "{}",
        help.text()
    );
    for (command, channel, way_out) in [
        ("pause", true, "stop it to fetch none"),
        ("resume", true, "fetches the blocks of all its channels"),
        ("rollback", true, "delete ch in the folder channels under peer.fileSystemPath, start it and join it again"),
        ("unjoin", true, "delete ch in the folder channels under peer.fileSystemPath\n"),
        ("reset", false, "start it and join it again with peer channel join"),
        (
            "rebuild-dbs",
            false,
            "delete ledger/derived of every channel in the folder channels under peer.fileSystemPath",
        ),
        ("upgrade-dbs", false, "nothing to upgrade"),
    ] {
        let mut argv = vec!["node", command];
        if channel {
            let answer = place.run(&case(&argv));
            let expected = format!("Error: Must supply channel ID\nUsage:\n  peer node {command} [flags]\n");
            assert!(answer.code == 1 && answer.stderr.starts_with(&expected), "{}", answer.stderr);
            argv.extend(["-c", "ch"]);
        }
        let answer = place.run(&case(&argv));
        let expected = format!("Error: peer node {command} is not available in this build; ");
        assert!(answer.code == 1 && answer.stderr.starts_with(&expected), "{}", answer.stderr);
        assert!(answer.stderr.contains(way_out), "{}", answer.stderr);
    }
    let answer = place.run(&case(&["node", "rollback", "-b", "-1"]));
    let expected = "Error: invalid argument \"-1\" for \"-b, --blockNumber\" flag: strconv.ParseUint: parsing \"-1\": invalid syntax\n";
    assert!(answer.code == 1 && answer.stderr.starts_with(expected), "{}", answer.stderr);
}

#[test]
fn connection_profiles_name_the_peers() {
    let place = Place::new();
    let file = place.folder.path().join("profile.yaml");
    let [one, two] = &place.nodes;
    let profile = format!(
        "channels:\n  goldenchannel:\n    peers:\n      one: {{endorsingPeer: true}}\n      two: {{endorsingPeer: true}}\n      \
         three: {{ledgerQuery: true}}\n  quiet:\n    peers:\n      three: {{ledgerQuery: true}}\npeers:\n  one: {{url: \"{}\"}}\n  \
         two: {{url: \"{}\"}}\n",
        one.address, two.address
    );
    std::fs::write(&file, profile).unwrap();
    let profile = ["--connectionProfile", file.to_str().unwrap()];
    let run = |argv: &[&str]| place.run(&case(&[argv, &profile].concat()));
    let last = |answer: &Answer| answer.stderr.lines().find(|line| line.starts_with("Error")).unwrap_or("").to_owned();

    // Both endorsing peers of the channel are asked, and the transaction waits for both.
    place.play(vec![("kv", "put", ok("ok"))]);
    let call = ["-n", "kv", "-c", "{\"Args\":[\"put\",\"a\",\"b\"]}"];
    let orderer = ["-o", "127.0.0.1:7050", "--waitForEvent"];
    let answer = run(&[&["chaincode", "invoke", "-C", "goldenchannel"], &call[..], &orderer].concat());
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    for node in &place.nodes {
        let text = format!("committed with status (VALID) at {}", node.address);
        assert!(answer.stderr.contains(&text), "{}", answer.stderr);
    }
    let answer = run(&[&["chaincode", "query", "-C", "goldenchannel"], &call[..]].concat());
    let expected = "Error: error validating peer connection parameters: 'query' command can only be executed against one peer. received 2";
    assert_eq!((answer.code, last(&answer).as_str()), (1, expected));
    let answer = run(&[&["chaincode", "query", "-C", "quiet"], &call[..]].concat());
    assert_eq!(last(&answer), "Error: no endorser clients retrieved - this might indicate a bug");
    // A channel that the profile does not know leaves the choice to the other flags.
    let answer = run(&[&["chaincode", "query", "-C", "other"], &call[..]].concat());
    assert_eq!((answer.code, answer.text()), (0, "ok\n"), "{}", answer.stderr);

    // Commands without a channel go to the peer that is named.
    two.play(Script::default());
    let installed = fabric_proto::lifecycle::QueryInstalledChaincodesResult::default();
    one.play(Script {
        answers: vec![("_lifecycle", "QueryInstalledChaincodes", message(&installed))],
        ..Script::default()
    });
    let command = ["lifecycle", "chaincode", "queryinstalled"];
    let answer = run(&[&command[..], &["--targetPeer", "one"]].concat());
    assert_eq!((answer.code, answer.text()), (0, "Installed chaincodes on peer:\n"), "{}", answer.stderr);
    assert!(last(&run(&[&command[..], &["--targetPeer", "two"]].concat())).contains("no answer for _lifecycle"));
    let validate = "Error: failed to validate peer connection parameters:";
    assert_eq!(
        last(&run(&command)),
        format!("{validate} --targetPeer must be specified for channel-less operation using connection profile")
    );
    assert_eq!(
        last(&run(&[&command[..], &["--targetPeer", "nine"]].concat())),
        format!("{validate} peer 'nine' doesn't have associated peer config")
    );
    let answer = place.run(&case(&[&command[..], &["--connectionProfile", "/no/such"]].concat()));
    assert_eq!(
        last(&answer),
        format!("{validate} error reading connection profile: open /no/such: no such file or directory")
    );
}

#[test]
fn several_orderers_all_get_the_transaction() {
    let place = Place::new();
    let [one, two] = &place.nodes;
    let refusing = |status: common::Status| Script {
        answers: vec![("kv", "put", ok("ok"))],
        broadcast: Some((status, "no".into())),
        ..Script::default()
    };
    let invoke = |orderers: &str| {
        let call = ["-C", "goldenchannel", "-n", "kv", "-c", "{\"Args\":[\"put\",\"a\",\"b\"]}"];
        place.run(&case(&[&["chaincode", "invoke", "-o", orderers], &call[..]].concat()))
    };
    let both = format!("{},{}", one.address, two.address);
    place.play(vec![("kv", "put", ok("ok"))]);
    assert_eq!(invoke(&both).code, 0);
    assert_eq!((one.broadcasts(), two.broadcasts()), (1, 1));
    // Of the answers the last one counts.
    two.play(refusing(common::Status::ServiceUnavailable));
    let answer = invoke(&both);
    assert_eq!(answer.code, 1);
    assert!(answer.stderr.contains("got unexpected status: SERVICE_UNAVAILABLE -- no"), "{}", answer.stderr);
    one.play(refusing(common::Status::Forbidden));
    two.play(Script::default());
    assert_eq!(invoke(&both).code, 0);
    // One that cannot be reached is an error.
    let answer = invoke(&format!("{},{}", one.address, place.other));
    let expected = format!(
        "Error: error getting broadcast client: orderer client failed to connect to {}: failed to create new connection: \
         context deadline exceeded",
        place.other
    );
    assert_eq!((answer.code, answer.stderr.lines().last()), (1, Some(expected.as_str())));
}

#[test]
fn osnadmin_refuses_what_upstream_refuses() {
    let place = Place::new();
    for name in [
        "019_osnadmin_version",
        "022_osnadmin_channel_join_wrong_name",
        "023_osnadmin_channel_join_not_a_block",
        "030_osnadmin_channel_list_no_client_cert",
    ] {
        place.compare(name);
    }
}

#[test]
fn channel_commands() {
    let place = Place::new();
    let channels = |names: &[&str]| {
        let channels = names.iter().map(|name| ChannelInfo { channel_id: (*name).to_owned() }).collect();
        vec![("cscc", "GetChannels", message(&ChannelQueryResponse { channels }))]
    };
    place.play(channels(&[]));
    place.compare("036_peer_channel_list_empty");
    place.play(channels(&["goldenchannel"]));
    place.compare("041_peer_channel_list");

    place.play(vec![("cscc", "JoinChain", ok(Bytes::new()))]);
    place.compare("037_peer_channel_join");
    place.compare("039_peer_channel_join_missing_block");
    place.play(vec![(
        "cscc",
        "JoinChain",
        failed(
            500,
            "cannot create ledger from genesis block: ledger [goldenchannel] already exists with state [ACTIVE]",
        ),
    )]);
    place.compare("038_peer_channel_join_again");
    place.play(vec![(
        "cscc",
        "JoinChain",
        failed(
            500,
            "access denied for [JoinChain][goldenchannel]: [Failed verifying that proposal's creator satisfies local MSP \
             principal during channelless check policy with policy [Admins]: [The identity is not an admin under this MSP \
             [Org2MSP]: The identity does not contain OU [ADMIN], MSP: [Org2MSP]]]",
        ),
    )]);
    place.compare("040_peer_channel_join_not_admin");

    use base64::Engine as _;
    let hash = |text: &str| Bytes::from(base64::engine::general_purpose::STANDARD.decode(text).unwrap());
    let mut info = BlockchainInfo {
        height: 1,
        current_block_hash: hash("dRmlY6BEoOUhdxBV3D9/VkQNazt2e6VDiQOwiPLeejM="),
        ..BlockchainInfo::default()
    };
    place.play(vec![("qscc", "GetChainInfo", message(&info))]);
    place.compare("042_peer_channel_getinfo");
    info.height = 74;
    info.current_block_hash = hash("BJb2ib9Pva3x1ONIMoR5BzqB8aYG67/1puRsuvaMjXg=");
    info.previous_block_hash = hash("EJkaZ5O+VOoegb8kuL8bV4eajtqfhSDTXSj+QMk60KE=");
    place.play(vec![("qscc", "GetChainInfo", message(&info))]);
    place.compare("108_peer_channel_getinfo_later");
    info.height = 105;
    info.current_block_hash = hash("KqYimU/bZD/D/xWpL2ZS5/J1/1yMjZnUxF7eWcnPJLw=");
    info.previous_block_hash = hash("8X0KHeWXoTc6ecoXXYa0fuqYvSgwtO1wVJkPFYBD3d0=");
    place.play(vec![("qscc", "GetChainInfo", message(&info))]);
    place.compare("124_peer_channel_getinfo_final");
    place.play(vec![("qscc", "GetChainInfo", failed(500, "Invalid chain ID, nochannel"))]);
    place.compare("043_peer_channel_getinfo_missing");
}

#[test]
fn blocks_are_fetched_and_updates_are_sent() {
    let place = Place::new();
    let script = || {
        let last_config = common::OrdererBlockMetadata {
            last_config: Some(common::LastConfig { index: 0 }),
            ..common::OrdererBlockMetadata::default()
        };
        let slot = common::Metadata { value: last_config.encode_to_vec().into(), ..common::Metadata::default() };
        Script { blocks: vec![block(0, vec![slot.encode_to_vec().into()])], ..Script::default() }
    };
    place.nodes[0].play(script());
    place.compare("046_peer_channel_fetch_config");
    place.compare("110_peer_channel_fetch_0");
    place.compare("111_peer_channel_fetch_bogus");
    let fetched = std::fs::read(place.folder.path().join("zero.block")).unwrap();
    assert_eq!(common::Block::decode(fetched.as_slice()).unwrap(), script().blocks[0]);
    place.nodes[0].play(Script { blocks: vec![block(73, Vec::new())], ..Script::default() });
    place.compare("109_peer_channel_fetch_newest");

    let unsigned = bytes("updates/01_anchor_peer_org1/envelope_unsigned.pb");
    let file = place.folder.path().join("env.pb");
    std::fs::write(&file, &unsigned).unwrap();
    place.compare("051_peer_channel_update");
    let refused = "error applying config update to existing channel 'goldenchannel': error authorizing update: error validating \
                   DeltaSet: policy for [Value]  /Channel/Orderer/BatchSize not satisfied: implicit policy evaluation failed - 0 \
                   sub-policies were satisfied, but this policy requires 1 of the 'Admins' sub-policies to be satisfied";
    place.nodes[0].play(Script { broadcast: Some((common::Status::BadRequest, refused.into())), ..Script::default() });
    place.compare("099_peer_channel_update_refused");
    let refused = "error applying config update to existing channel 'goldenchannel': error authorizing update: error validating \
                   DeltaSet: policy for [Group]  /Channel/Application not satisfied: implicit policy evaluation failed - 1 \
                   sub-policies were satisfied, but this policy requires 2 of the 'Admins' sub-policies to be satisfied";
    place.nodes[0].play(Script { broadcast: Some((common::Status::BadRequest, refused.into())), ..Script::default() });
    place.compare("100_peer_channel_update_refused");

    // Signing adds one signature and leaves the update's bytes alone.
    let signatures = |bytes: &[u8]| {
        let payload = common::Payload::decode(common::Envelope::decode(bytes).unwrap().payload).unwrap();
        common::ConfigUpdateEnvelope::decode(payload.data).unwrap()
    };
    let before = signatures(&unsigned);
    let mut case = recorded("051_peer_channel_update");
    case["argv"] = serde_json::json!(["peer", "channel", "signconfigtx", "-f", "env.pb"]);
    assert_eq!(place.run(&case).code, 0);
    let after = signatures(&std::fs::read(&file).unwrap());
    assert_eq!(after.config_update, before.config_update);
    assert_eq!(after.signatures.len(), before.signatures.len() + 1);
}

#[test]
fn a_peer_that_is_not_there_is_named() {
    let place = Place::new();
    let mut case = recorded("091_chaincode_query");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    case["env"]["CORE_PEER_ADDRESS"] = Value::from(format!("127.0.0.1:{port}"));
    let answer = place.run(&case);
    assert_eq!(answer.code, 1);
    let expected = format!(
        "Error: error getting endorser client for query: endorser client failed to connect to 127.0.0.1:{port}: failed to create \
         new connection: context deadline exceeded"
    );
    let mut lines = answer.stderr.lines().rev();
    assert_eq!(lines.next(), Some(expected.as_str()));
    // The cause stands where upstream's connection library logs it.
    let cause = lines.next().unwrap();
    assert!(cause.contains("createTransport failed to connect to") && cause.contains("refused"), "{cause}");
    let missing: PathBuf = place.folder.path().join("nowhere");
    case["env"]["CORE_PEER_MSPCONFIGPATH"] = Value::from(missing.display().to_string());
    let answer = place.run(&case);
    assert_eq!(answer.code, 1);
    assert!(answer.stderr.contains("Cannot run peer because cannot init crypto, specified path"), "{}", answer.stderr);
}
