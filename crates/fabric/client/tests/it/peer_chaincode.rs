//! `peer chaincode` against what upstream's binaries printed.

use bytes::Bytes;
use fabric_proto::protos::{Response, TxValidationCode};

use crate::mock::{Script, failed, ok, orderer_at};
use crate::place::{Place, message};
use crate::support::recorded;

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
    let simulation = |txid: &str, reason: &str| {
        failed(500, &format!("error in simulation: failed to execute transaction {txid}: invalid invocation: {reason}"))
    };
    kv(
        "put",
        simulation(
            "7bbcf184293015fa3d5aa696542dfbf628587f74d3791ac0a38ba27ddfa5d2b2",
            "chaincode 'kv' has not been initialized for this version, must call as init first",
        ),
    );
    place.compare("102_chaincode_invoke_not_initialised");
    kv(
        "put",
        simulation(
            "cd7433715dba400b8ddbfe22e891ca14e83a29104217b1a68174cbe180081c2f",
            "chaincode 'kv' is already initialized but called as init",
        ),
    );
    place.compare("104_chaincode_invoke_isInit_again");
    let unknown = |name: &str| {
        failed(
            500,
            &format!(
                "make sure the chaincode {name} has been successfully defined on channel goldenchannel and try again: chaincode \
                 {name} not found"
            ),
        )
    };
    place.play(vec![("nocc", "put", unknown("nocc"))]);
    place.compare("090_chaincode_invoke_no_chaincode");
    kv("get", unknown("kv"));
    place.compare("077_chaincode_query_not_committed");

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
    kv("nofn", failed(500, "unknown function nofn"));
    place.compare("095_chaincode_query_unknown_function");
}

#[test]
fn an_orderer_that_wants_tls_is_not_reached_without() {
    let place = Place::new();
    place.play(vec![("cscc", "GetChannelConfig", message(&orderer_at(place.other)))]);
    place.compare("113_chaincode_invoke_no_ctor");
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
