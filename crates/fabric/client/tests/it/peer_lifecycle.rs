//! `peer lifecycle chaincode` against what upstream's binaries printed.

use std::collections::BTreeMap;

use bytes::Bytes;
use fabric_proto::lifecycle::{
    ChaincodeSource, CheckCommitReadinessResult, CommitChaincodeDefinitionArgs, InstallChaincodeResult,
    QueryApprovedChaincodeDefinitionResult, QueryChaincodeDefinitionResult, QueryChaincodeDefinitionsResult,
    QueryInstalledChaincodesResult, chaincode_source, check_commit_readiness_result,
    query_chaincode_definitions_result, query_installed_chaincodes_result,
};
use fabric_proto::protos::Response;
use prost::Message;

use crate::mock::{Script, failed, ok, orderer_at};
use crate::place::{Place, message};
use crate::support::bytes;

const KV: &str = "kv_1.0:4884794547d51f7c5badf83eb6332e0f757f0674fd2c094cd5a68371ef5bb2f3";
const KV2: &str = "kv2_1.0:dcc272d17e20c169ef84ff0ae4ad6f49b1d10c94bdad237588c8ec042b337264";

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
    for (name, refused) in [
        (
            "059_lifecycle_install_not_a_package",
            "failed to invoke backing implementation of 'InstallChaincode': could not parse as a chaincode install package: error \
             reading as gzip stream: gzip: invalid header",
        ),
        (
            "060_lifecycle_install_not_admin",
            "Failed to authorize invocation due to failed ACL check: Failed verifying that proposal's creator satisfies local MSP \
             principal during channelless check policy with policy [Admins]: [The identity is not an admin under this MSP \
             [Org1MSP]: The identity does not contain OU [ADMIN], MSP: [Org1MSP]]",
        ),
    ] {
        lifecycle("InstallChaincode", failed(500, refused));
        place.compare(name);
    }
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
            "failed to invoke backing implementation of 'ApproveChaincodeDefinitionForMyOrg': attempted to redefine uncommitted \
             sequence (1) for namespace kv with unchanged content",
        ),
    );
    place.compare("067_lifecycle_approveformyorg_again");
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
    for (name, pairs) in [
        ("074_lifecycle_checkcommitreadiness", &[("Org1MSP", true), ("Org2MSP", true)][..]),
        ("101_lifecycle_checkcommitreadiness_seq2_json", &[("Org1MSP", true), ("Org2MSP", true), ("Org3MSP", false)]),
        ("107_lifecycle_checkcommitreadiness_seq3_json", &[("Org1MSP", true), ("Org2MSP", false), ("Org3MSP", false)]),
    ] {
        // What differs is told only when it is asked for.
        lifecycle("CheckCommitReadiness", ready(pairs, &[("Org2MSP", "ChaincodeParameters")]));
        place.compare(name);
    }

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
    let kv = committed(70);
    let last = QueryChaincodeDefinitionResult {
        sequence: kv.sequence,
        version: kv.version,
        endorsement_plugin: kv.endorsement_plugin,
        validation_plugin: kv.validation_plugin,
        validation_parameter: kv.validation_parameter,
        collections: kv.collections,
        init_required: kv.init_required,
        approvals: approvals(&[("Org1MSP", true), ("Org2MSP", true), ("Org3MSP", false)]),
    };
    lifecycle("QueryChaincodeDefinition", message(&last));
    place.compare("106_lifecycle_querycommitted_final_name");
}

#[test]
fn an_orderer_that_wants_tls_is_not_reached_without() {
    let place = Place::new();
    place.play(vec![("cscc", "GetChannelConfig", message(&orderer_at(place.other)))]);
    place.compare("115_lifecycle_commit_missing_flags");
}
