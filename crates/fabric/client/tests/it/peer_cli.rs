//! `peer` and `osnadmin` against what upstream's binaries printed: arguments, texts, log lines, files and exit codes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use fabric_client::tools::{self, Console, Outcome};
use fabric_proto::common::{self, BlockchainInfo};
use fabric_proto::lifecycle::{
    ChaincodeSource, CheckCommitReadinessResult, CommitChaincodeDefinitionArgs, InstallChaincodeResult,
    QueryApprovedChaincodeDefinitionResult, QueryChaincodeDefinitionResult, QueryChaincodeDefinitionsResult,
    QueryInstalledChaincodesResult, chaincode_source, check_commit_readiness_result,
    query_chaincode_definitions_result, query_installed_chaincodes_result,
};
use fabric_proto::protos::{ChannelInfo, ChannelQueryResponse, Response, TxValidationCode};
use prost::Message;
use serde_json::Value;

use crate::mock::{Node, Script, block, failed, ok};
use crate::support::{Answer, bytes, golden, recorded, run};

const KV: &str = "kv_1.0:4884794547d51f7c5badf83eb6332e0f757f0674fd2c094cd5a68371ef5bb2f3";
const KV2: &str = "kv2_1.0:dcc272d17e20c169ef84ff0ae4ad6f49b1d10c94bdad237588c8ec042b337264";

/// A folder as upstream's commands were run in, and a node for them.
struct Place {
    folder: tempfile::TempDir,
    nodes: [Node; 2],
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let archive = std::fs::File::open(golden("crypto/crypto-config.tar.gz")).unwrap();
        tar::Archive::new(flate2::read::GzDecoder::new(archive)).unpack(folder.path()).unwrap();
        std::fs::create_dir(folder.path().join("cfg")).unwrap();
        std::fs::write(folder.path().join("cfg/core.yaml"), "peer:\n  id: cli\n").unwrap();
        std::fs::create_dir(folder.path().join("ccsrc")).unwrap();
        std::fs::write(folder.path().join("ccsrc/go.mod"), "module example.com/gocc\n\ngo 1.22\n").unwrap();
        std::fs::write(folder.path().join("ccsrc/main.go"), "package main\n").unwrap();
        for file in ["genesis.block", "genesis.json", "packages/kv_1.0.tgz"] {
            let name = Path::new(file).file_name().unwrap();
            std::fs::write(folder.path().join(name), bytes(file)).unwrap();
        }
        std::fs::write(folder.path().join("collections.json"), bytes("collections_config.json")).unwrap();
        Self { folder, nodes: Node::pair() }
    }

    /// Upstream ran in its folder; tests share one process, so every file name becomes absolute instead.
    fn absolute(&self, argument: &str) -> String {
        let path = self.folder.path().join(argument);
        let output = ["gocc.tgz", "gocc2.tgz", "cfgblock.pb", "env.pb", "newest.block", "zero.block"];
        if !argument.is_empty() && (path.exists() || output.contains(&argument)) {
            return path.display().to_string();
        }
        argument
            .replace("127.0.0.1:7051", &self.nodes[0].address.to_string())
            .replace("127.0.0.1:8051", &self.nodes[1].address.to_string())
            .replace("127.0.0.1:7050", &self.nodes[0].address.to_string())
    }

    fn run(&self, case: &Value) -> Answer {
        let argv: Vec<String> =
            case["argv"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap().to_owned()).collect();
        let args: Vec<String> = argv[1..].iter().filter(|arg| *arg != "--tls").map(|arg| self.absolute(arg)).collect();
        let env: BTreeMap<String, String> = case["env"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| {
                let value = value.as_str().unwrap();
                let value = if name == "CORE_PEER_TLS_ENABLED" { "false".to_owned() } else { self.absolute(value) };
                (name.clone(), value)
            })
            .collect();
        let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let tool: fn(&[String], &mut Console<'_>) -> i32 = if argv[0] == "osnadmin" { osnadmin } else { peer };
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        run(tool, &args, &env, &[])
    }

    /// Runs a recorded command and compares everything but times, ids, and the connection library's own log.
    fn compare(&self, name: &str) {
        let case = recorded(name);
        let answer = self.run(&case);
        assert_eq!(
            answer.text(),
            case["stdout"].as_str().unwrap(),
            "{name}: standard output; stderr {}",
            answer.stderr
        );
        let ours = self.normal(&answer.stderr);
        let mut theirs = self.normal(case["stderr"].as_str().unwrap());
        // Two peers answer in any order.
        let mut sorted = ours.clone();
        if ours != theirs {
            sorted.sort();
            theirs.sort();
        }
        assert_eq!(sorted, theirs, "{name}: standard error");
        assert_eq!(answer.code, case["exit_code"].as_i64().unwrap() as i32, "{name}: exit code");
    }

    fn play(&self, answers: Vec<(&'static str, &'static str, Response)>) {
        for node in &self.nodes {
            node.play(Script { answers: answers.clone(), ..Script::default() });
        }
    }

    fn normal(&self, stderr: &str) -> Vec<String> {
        let colour = regex::Regex::new("\x1b\\[[0-9;]*m").unwrap();
        let prefix = regex::Regex::new(r"^\d{4}-\d\d-\d\d \S+ UTC [0-9a-f]{4} ").unwrap();
        let txid = regex::Regex::new("[0-9a-f]{64}").unwrap();
        let plain = colour.replace_all(stderr, "").into_owned();
        let mut lines = Vec::new();
        let mut in_library = false;
        for line in plain.lines() {
            if prefix.is_match(line) {
                in_library = line.contains(" [grpc] ");
            } else if in_library && line.starts_with([' ', '{', '}']) {
                continue;
            } else {
                in_library = false;
            }
            if !in_library {
                let line = prefix.replace(line, "").into_owned();
                let line = if line.contains("txid [") { txid.replace_all(&line, "TXID").into_owned() } else { line };
                let line = line.replace(&format!("{}/", self.folder.path().display()), "");
                lines.push(
                    line.replace(&self.nodes[0].address.to_string(), "127.0.0.1:7051")
                        .replace(&self.nodes[1].address.to_string(), "127.0.0.1:8051"),
                );
            }
        }
        lines
    }
}

fn peer(args: &[String], console: &mut Console<'_>) -> i32 {
    match tools::run("peer", args, console) {
        Outcome::Exit(code) => code,
        Outcome::StartPeerNode { .. } => -1,
    }
}

fn osnadmin(args: &[String], console: &mut Console<'_>) -> i32 {
    match tools::run("osnadmin", args, console) {
        Outcome::Exit(code) => code,
        Outcome::StartPeerNode { .. } => -1,
    }
}

fn message(message: &impl Message) -> Response {
    ok(message.encode_to_vec())
}

/// The definition of `kv` as block 5 of the golden chain has it.
fn definition(number: u64) -> CommitChaincodeDefinitionArgs {
    use fabric_proto::common::{Block, Envelope, Payload};
    use fabric_proto::protos::{
        ChaincodeActionPayload, ChaincodeInvocationSpec, ChaincodeProposalPayload, Transaction,
    };
    let block = Block::decode(bytes(&format!("blocks/{number:03}.block")).as_slice()).unwrap();
    let envelope = Envelope::decode(block.data.unwrap().data[0].clone()).unwrap();
    let transaction = Transaction::decode(Payload::decode(envelope.payload).unwrap().data).unwrap();
    let action = ChaincodeActionPayload::decode(transaction.actions[0].payload.clone()).unwrap();
    let proposal = ChaincodeProposalPayload::decode(action.chaincode_proposal_payload).unwrap();
    let spec = ChaincodeInvocationSpec::decode(proposal.input).unwrap().chaincode_spec.unwrap();
    CommitChaincodeDefinitionArgs::decode(spec.input.unwrap().args[1].clone()).unwrap()
}

fn committed(number: u64) -> query_chaincode_definitions_result::ChaincodeDefinition {
    let definition = definition(number);
    query_chaincode_definitions_result::ChaincodeDefinition {
        name: definition.name,
        sequence: definition.sequence,
        version: definition.version,
        endorsement_plugin: "escc".into(),
        validation_plugin: "vscc".into(),
        validation_parameter: definition.validation_parameter,
        collections: Some(definition.collections.unwrap_or_default()),
        init_required: definition.init_required,
    }
}

fn approvals(pairs: &[(&str, bool)]) -> BTreeMap<String, bool> {
    pairs.iter().map(|(org, approved)| ((*org).to_owned(), *approved)).collect()
}

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
    let answer = place.run(&recorded("035_peer_version"));
    assert_eq!(answer.code, 0);
    assert!(answer.text().starts_with("peer:\n Version: 3.1.5\n Commit SHA: "));
    assert!(
        answer
            .text()
            .ends_with(" Chaincode:\n  Base Docker Label: org.hyperledger.fabric\n  Docker Namespace: hyperledger\n\n")
    );
    // The node's offline maintenance commands are not there yet; everything else of the help is.
    let answer = place.run(&recorded("045_peer_node_status"));
    assert_eq!(answer.code, 0);
    assert!(answer.text().starts_with("Operate a peer node: start|"), "{}", answer.text());
    assert!(answer.text().contains("\nAvailable Commands:\n  start       Starts the node.\n"), "{}", answer.text());
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
fn packages_are_installed_and_listed() {
    let place = Place::new();
    let lifecycle = |function: &'static str, response: Response| place.play(vec![("_lifecycle", function, response)]);
    use query_installed_chaincodes_result::{Chaincode, InstalledChaincode, References};
    let package = |id: &str, name: &str, used: bool| {
        let chaincodes = vec![Chaincode { name: name.to_owned(), version: "1.0".into() }];
        let references = BTreeMap::from([("goldenchannel".to_owned(), References { chaincodes })]);
        InstalledChaincode {
            package_id: id.to_owned(),
            label: format!("{name}_1.0"),
            references: if used { references } else { BTreeMap::new() },
        }
    };
    let list =
        |packages: Vec<InstalledChaincode>| message(&QueryInstalledChaincodesResult { installed_chaincodes: packages });
    lifecycle("QueryInstalledChaincodes", list(Vec::new()));
    place.compare("056_lifecycle_queryinstalled_empty");
    lifecycle("QueryInstalledChaincodes", list(vec![package(KV2, "kv2", false), package(KV, "kv", false)]));
    place.compare("061_lifecycle_queryinstalled");
    lifecycle("QueryInstalledChaincodes", list(vec![package(KV, "kv", false), package(KV2, "kv2", false)]));
    place.compare("062_lifecycle_queryinstalled_json");
    lifecycle("QueryInstalledChaincodes", list(vec![package(KV, "kv", true), package(KV2, "kv2", true)]));
    place.compare("084_lifecycle_queryinstalled_referenced_json");

    lifecycle("InstallChaincode", message(&InstallChaincodeResult { package_id: KV.into(), label: "kv_1.0".into() }));
    place.compare("057_lifecycle_install");
    lifecycle(
        "InstallChaincode",
        failed(
            500,
            &format!(
                "failed to invoke backing implementation of 'InstallChaincode': chaincode already successfully installed \
                 (package ID '{KV}')"
            ),
        ),
    );
    place.compare("058_lifecycle_install_again");
    lifecycle(
        "GetInstalledChaincodePackage",
        failed(
            500,
            "failed to invoke backing implementation of 'GetInstalledChaincodePackage': could not load cc install package: \
             chaincode install package 'nope:00' not found",
        ),
    );
    place.compare("063_lifecycle_getinstalledpackage_missing");
}

#[test]
fn definitions_are_approved_checked_and_committed() {
    let place = Place::new();
    let lifecycle = |function: &'static str, response: Response| place.play(vec![("_lifecycle", function, response)]);
    lifecycle("ApproveChaincodeDefinitionForMyOrg", ok(Bytes::new()));
    place.compare("066_lifecycle_approveformyorg");
    lifecycle(
        "ApproveChaincodeDefinitionForMyOrg",
        failed(
            500,
            "failed to invoke backing implementation of 'ApproveChaincodeDefinitionForMyOrg': requested sequence 5 is larger \
             than the next available sequence number 1",
        ),
    );
    place.compare("068_lifecycle_approveformyorg_wrong_sequence");

    let ready = |pairs: &[(&str, bool)], mismatches: &[(&str, &str)]| {
        let mismatches = mismatches
            .iter()
            .map(|(org, item)| {
                ((*org).to_owned(), check_commit_readiness_result::Mismatches { items: vec![(*item).to_owned()] })
            })
            .collect();
        message(&CheckCommitReadinessResult { approvals: approvals(pairs), mismatches })
    };
    let partial = || ready(&[("Org1MSP", true), ("Org2MSP", false)], &[("Org2MSP", "ChaincodeParameters")]);
    lifecycle("CheckCommitReadiness", partial());
    place.compare("070_lifecycle_checkcommitreadiness_partial");
    place.compare("071_lifecycle_checkcommitreadiness_partial_json");
    lifecycle(
        "CheckCommitReadiness",
        ready(
            &[("Org1MSP", false), ("Org2MSP", false)],
            &[("Org1MSP", "EndorsementInfo"), ("Org2MSP", "ChaincodeParameters")],
        ),
    );
    place.compare("072_lifecycle_checkcommitreadiness_inspect");

    lifecycle("CommitChaincodeDefinition", ok(Bytes::new()));
    place.compare("078_lifecycle_commit");
    place.nodes[1].play(Script {
        answers: vec![(
            "_lifecycle",
            "CommitChaincodeDefinition",
            failed(
                500,
                "failed to invoke backing implementation of 'CommitChaincodeDefinition': chaincode definition not agreed to by \
                 this org (Org2MSP)",
            ),
        )],
        ..Script::default()
    });
    place.compare("073_lifecycle_commit_not_ready");
}

#[test]
fn definitions_are_queried() {
    let place = Place::new();
    let lifecycle = |function: &'static str, response: Response| place.play(vec![("_lifecycle", function, response)]);
    let kv = committed(5);
    let approved = QueryApprovedChaincodeDefinitionResult {
        sequence: kv.sequence,
        version: kv.version.clone(),
        endorsement_plugin: kv.endorsement_plugin.clone(),
        validation_plugin: kv.validation_plugin.clone(),
        validation_parameter: kv.validation_parameter.clone(),
        collections: kv.collections.clone(),
        init_required: false,
        source: Some(ChaincodeSource {
            r#type: Some(chaincode_source::Type::LocalPackage(chaincode_source::Local { package_id: KV.into() })),
        }),
    };
    lifecycle("QueryApprovedChaincodeDefinition", message(&approved));
    place.compare("075_lifecycle_queryapproved");
    place.compare("076_lifecycle_queryapproved_json");
    lifecycle(
        "QueryApprovedChaincodeDefinition",
        failed(
            500,
            "failed to invoke backing implementation of 'QueryApprovedChaincodeDefinition': could not fetch approved chaincode \
             definition (name: 'kv', sequence: '0') on channel 'goldenchannel'",
        ),
    );
    place.compare("065_lifecycle_queryapproved_missing");

    let one = QueryChaincodeDefinitionResult {
        sequence: kv.sequence,
        version: kv.version.clone(),
        endorsement_plugin: kv.endorsement_plugin.clone(),
        validation_plugin: kv.validation_plugin.clone(),
        validation_parameter: kv.validation_parameter.clone(),
        collections: kv.collections.clone(),
        init_required: false,
        approvals: approvals(&[("Org1MSP", true), ("Org2MSP", true)]),
    };
    lifecycle("QueryChaincodeDefinition", message(&one));
    place.compare("080_lifecycle_querycommitted_name");
    place.compare("081_lifecycle_querycommitted_name_json");
    lifecycle("QueryChaincodeDefinition", failed(404, "namespace nocc is not defined"));
    place.compare("083_lifecycle_querycommitted_missing");

    let all = |definitions| message(&QueryChaincodeDefinitionsResult { chaincode_definitions: definitions });
    lifecycle("QueryChaincodeDefinitions", all(Vec::new()));
    place.compare("064_lifecycle_querycommitted_empty");
    lifecycle("QueryChaincodeDefinitions", all(vec![kv]));
    place.compare("079_lifecycle_querycommitted");
    place.compare("082_lifecycle_querycommitted_json");
    let mut kv2 = committed(66);
    if kv2.validation_parameter.is_empty() {
        kv2.validation_parameter =
            [b"\x12\x20".as_slice(), b"/Channel/Application/Endorsement".as_slice()].concat().into();
    }
    lifecycle("QueryChaincodeDefinitions", all(vec![committed(70), kv2]));
    place.compare("105_lifecycle_querycommitted_final_json");
}

#[test]
fn chaincode_is_invoked_and_queried() {
    let place = Place::new();
    let kv = |function: &'static str, response: Response| place.play(vec![("kv", function, response)]);
    kv("put", ok("ok"));
    place.compare("085_chaincode_invoke_waitForEvent");
    place.compare("086_chaincode_invoke_no_wait");
    for node in &place.nodes {
        node.play(Script {
            answers: vec![("kv", "put", ok("ok"))],
            verdict: Some(TxValidationCode::EndorsementPolicyFailure),
            ..Script::default()
        });
    }
    place.compare("087_chaincode_invoke_waitForEvent_policy_failure");
    kv("fail", failed(500, "deliberate failure"));
    place.compare("088_chaincode_invoke_chaincode_error");
    kv("put", ok(Bytes::new()));
    place.compare("103_chaincode_invoke_isInit");

    kv("get", ok("v1"));
    place.compare("091_chaincode_query");
    place.compare("092_chaincode_query_hex");
    place.compare("093_chaincode_query_raw");
    place.compare("097_chaincode_query_bad_json_key");
    kv("get", failed(500, "key not found: missing"));
    place.compare("094_chaincode_query_chaincode_error");
    kv("get", failed(500, "channel 'nochannel' not found"));
    place.compare("098_chaincode_query_no_channel");
    kv("", failed(500, "unknown function "));
    place.compare("096_chaincode_query_no_args");
}

#[test]
fn endorsers_that_disagree_are_shown() {
    let place = Place::new();
    place.nodes[0].play(Script { answers: vec![("kv", "nondeterministic", ok("a"))], ..Script::default() });
    place.nodes[1].play(Script { answers: vec![("kv", "nondeterministic", ok("b"))], ..Script::default() });
    let answer = place.run(&recorded("089_chaincode_invoke_mismatch"));
    assert_eq!(answer.code, 1);
    let error = answer.stderr.lines().last().unwrap();
    assert!(
        error.starts_with("Error: could not assemble transaction: ProposalResponsePayloads do not match (base64): '"),
        "{error}"
    );
    assert!(
        error.contains("' - proposal response: version:1 response:{status:200 payload:\"a\"} payload:\"\\n\\x04hash"),
        "{error}"
    );
    assert!(error.ends_with("endorsement:{endorser:\"somebody\" signature:\"signed\"}"), "{error}");
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
         new connection: context deadline exceeded ("
    );
    assert!(answer.stderr.lines().last().unwrap().starts_with(&expected), "{}", answer.stderr);
    let missing: PathBuf = place.folder.path().join("nowhere");
    case["env"]["CORE_PEER_MSPCONFIGPATH"] = Value::from(missing.display().to_string());
    let answer = place.run(&case);
    assert_eq!(answer.code, 1);
    assert!(answer.stderr.contains("Cannot run peer because cannot init crypto, specified path"), "{}", answer.stderr);
}
