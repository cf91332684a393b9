use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use fabric_client::{configtxlator, protolator};
use fabric_proto::common::{Block, Config, ConfigUpdate, Envelope};
use proptest::prelude::*;
use prost::Message;
use tower::ServiceExt as _;

use crate::support::{Answer, bytes, golden, recorded, run, text, versionless};

fn tool(args: &[&str], input: &[u8]) -> Answer {
    run(configtxlator::run, args, &[], input)
}

const UPDATES: [&str; 7] = [
    "01_anchor_peer_org1",
    "02_anchor_peer_org2",
    "03_batch_size_refused",
    "04_batch_size",
    "05_acl",
    "06_add_org3_refused",
    "07_add_org3",
];

fn same_json(left: &str, right: &str) -> bool {
    let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    parse(left) == parse(right)
}

/// Both directions for one message whose text was recorded (some texts were laid out anew when they were recorded).
fn check<T: Message + Default + PartialEq + std::fmt::Debug>(type_name: &str, message: &str, json: &str) {
    let (message_bytes, expected) = (bytes(message), text(json));
    let decoded = protolator::decode(type_name, &message_bytes).unwrap();
    assert!(same_json(&decoded, &expected), "{message} differs from {json}");
    let encoded = protolator::encode(type_name, &expected).unwrap();
    let again = protolator::decode(type_name, &encoded).unwrap();
    assert!(again == decoded, "{message} changes when encoded again");
    assert!(T::decode(encoded.as_slice()).is_ok());
}

/// One direction, for texts that a script has edited before the recorded message was made of them.
fn check_edited<T: Message + Default + PartialEq>(type_name: &str, message: &str, json: &str) {
    let encoded = protolator::encode(type_name, &text(json)).unwrap();
    let recorded = T::decode(bytes(message).as_slice()).unwrap();
    assert!(T::decode(encoded.as_slice()).unwrap() == recorded, "{json} does not give {message}");
}

#[test]
fn every_recorded_text_is_made_and_read() {
    check::<Block>("common.Block", "genesis.block", "genesis.json");
    for name in UPDATES {
        let path = |file: &str| format!("updates/{name}/{file}");
        check::<Config>("common.Config", &path("before.pb"), &path("before.json"));
        check_edited::<Config>("common.Config", &path("after.pb"), &path("after.json"));
        check::<ConfigUpdate>("common.ConfigUpdate", &path("update.pb"), &path("update.json"));
        check::<Envelope>("common.Envelope", &path("envelope.pb"), &path("envelope.json"));
        let made = protolator::encode("common.Envelope", &text(&path("envelope_unsigned.json"))).unwrap();
        let made = protolator::decode("common.Envelope", &made).unwrap();
        let recorded = protolator::decode("common.Envelope", &bytes(&path("envelope_unsigned.pb"))).unwrap();
        assert!(made == recorded, "{name}");
        if !name.ends_with("refused") {
            check::<Config>("common.Config", &path("resulting_config.pb"), &path("resulting_config.json"));
        }
    }
}

#[test]
fn configurations_written_from_text_have_upstreams_bytes_where_it_matters() {
    // Values are compared by their bytes when an update is computed, so a configuration that went through the text form must
    // show no difference to one that did not.
    for name in UPDATES {
        let original = Config::decode(bytes(&format!("updates/{name}/before.pb")).as_slice()).unwrap();
        let json = text(&format!("updates/{name}/before.json"));
        let rewritten = protolator::encode("common.Config", &json).unwrap();
        assert!(Config::decode(rewritten.as_slice()).unwrap() == original, "{name}");
    }
}

#[test]
fn every_block_survives_the_way_there_and_back() {
    let mut refused = Vec::new();
    for number in 0..105 {
        let original = bytes(&format!("blocks/{number:03}.block"));
        let Ok(json) = protolator::decode("common.Block", &original) else {
            refused.push(number);
            continue;
        };
        let encoded = protolator::encode("common.Block", &json).unwrap();
        assert!(protolator::decode("common.Block", &encoded).unwrap() == json, "block {number}");
    }
    // Only blocks with transactions that no client would send cannot be shown.
    assert!(refused.iter().all(|number| *number > 74), "{refused:?}");
}

#[test]
fn a_block_with_transactions_is_shown_as_upstream_shows_it() {
    let block = golden("blocks/014.block");
    let answer = tool(&["proto_decode", "--type", "common.Block", "--input", block.to_str().unwrap()], b"");
    assert_eq!((answer.code, answer.stderr.as_str()), (0, ""));
    assert!(answer.text() == recorded("125_configtxlator_proto_decode_tx_block")["stdout"].as_str().unwrap());
}

/// A recorded command with its files in `folder`.
fn replay(name: &str, folder: &std::path::Path) -> Answer {
    let case = recorded(name);
    let argv = case["argv"].as_array().unwrap().iter().skip(1).map(|argument| {
        let argument = argument.as_str().unwrap();
        let is_file = [".pb", ".json", ".block"].iter().any(|end| argument.ends_with(end));
        if is_file { folder.join(argument).display().to_string() } else { argument.to_owned() }
    });
    let argv: Vec<String> = argv.collect();
    let answer = tool(&argv.iter().map(String::as_str).collect::<Vec<_>>(), b"");
    assert_eq!(i64::from(answer.code), case["exit_code"], "{name}");
    assert_eq!(versionless(answer.text()), versionless(case["stdout"].as_str().unwrap()), "{name}");
    assert_eq!(answer.stderr, case["stderr"].as_str().unwrap(), "{name}");
    answer
}

#[test]
fn recorded_commands_do_the_same_again() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path();
    replay("015_configtxlator_version", folder);
    let put = |name: &str, from: &str| std::fs::write(folder.join(name), bytes(from)).unwrap();
    let made = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let json = |name: &str| String::from_utf8(made(name)).unwrap();
    put("genesis.block", "genesis.block");
    replay("016_configtxlator_proto_decode_block", folder);
    assert!(same_json(&json("genesis.json"), &text("genesis.json")));
    let update = |file: &str| format!("updates/01_anchor_peer_org1/{file}");
    put("after.json", &update("after.json"));
    replay("047_configtxlator_proto_encode_config", folder);
    let config = |bytes: Vec<u8>| Config::decode(bytes.as_slice()).unwrap();
    assert!(config(made("after.pb")) == config(bytes(&update("after.pb"))));
    put("before.pb", &update("before.pb"));
    replay("049_configtxlator_compute_update", folder);
    let difference = |bytes: Vec<u8>| ConfigUpdate::decode(bytes.as_slice()).unwrap();
    assert_eq!(difference(made("update.pb")), difference(bytes(&update("update.pb"))));
    replay("050_configtxlator_proto_decode_update", folder);
    assert!(same_json(&json("update.json"), &text(&update("update.json"))));
}

#[test]
fn refusals_have_upstreams_texts() {
    let genesis = golden("genesis.block");
    let genesis = genesis.to_str().unwrap();
    let before = golden("updates/04_batch_size/before.pb");
    let before = before.to_str().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let out = scratch.path().join("out.pb");
    let out = out.to_str().unwrap();
    for (name, args) in [
        ("017_configtxlator_proto_decode_bad_type", &["proto_decode", "--type", "common.Nope", "--input", genesis][..]),
        ("018_configtxlator_proto_decode_wrong_type", &["proto_decode", "--type", "common.Config", "--input", genesis]),
        (
            "048_configtxlator_compute_update_no_change",
            &["compute_update", "--channel_id", "c", "--original", before, "--updated", before, "--output", out],
        ),
    ] {
        let (answer, expected) = (tool(args, b""), recorded(name));
        assert_eq!(i64::from(answer.code), expected["exit_code"], "{name}");
        assert_eq!(answer.stderr, expected["stderr"].as_str().unwrap(), "{name}");
        assert_eq!(answer.text(), expected["stdout"].as_str().unwrap(), "{name}");
    }
    for (args, text) in [
        (&["proto_decode", "--input", genesis][..], "required flag --type not provided, try --help"),
        (&["proto_decode", "--nope", "x"], "unknown long flag '--nope', try --help"),
        (&["sing"], "expected command but got \"sing\", try --help"),
        (
            &["proto_decode", "--type", "common.Config", "--input", "/no/such"],
            "open /no/such: no such file or directory, try --help",
        ),
        (&["compute_update", "--channel_id", "c"], "required flag --original not provided, try --help"),
    ] {
        let answer = tool(args, b"");
        assert_eq!((answer.code, answer.stderr), (1, format!("configtxlator: error: {text}\n")));
    }
    let answer = tool(&["proto_encode", "--type", "common.Config"], b"{\"sequenc\": 1}");
    assert!(answer.stderr.contains("unknown field \"sequenc\""), "{}", answer.stderr);
    let answer = tool(&["proto_decode", "--type", "common.Config"], &[0xff]);
    assert!(
        answer.stderr.contains("error unmarshalling: proto: cannot parse invalid wire-format data"),
        "{}",
        answer.stderr
    );
    assert!(tool(&["version"], b"").text().starts_with("configtxlator:\n Version: 3.1.5\n"));
    assert!(tool(&["--help"], b"").text().starts_with("usage: configtxlator"));
}

#[test]
fn the_way_scripts_change_a_configuration_works() {
    let scratch = tempfile::tempdir().unwrap();
    let path = |name: &str| scratch.path().join(name).to_str().unwrap().to_owned();
    let name = "04_batch_size";
    let block = golden(&format!("updates/{name}/config_block.pb"));
    let ok = |args: &[&str]| assert_eq!((tool(args, b"").code, tool(args, b"").stderr), (0, String::new()), "{args:?}");
    ok(&[
        "proto_decode",
        "--type",
        "common.Block",
        "--input",
        block.to_str().unwrap(),
        "--output",
        &path("block.json"),
    ]);
    let json: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path("block.json")).unwrap()).unwrap();
    let mut config = json["data"]["data"][0]["payload"]["data"]["config"].clone();
    std::fs::write(path("before.json"), config.to_string()).unwrap();
    let values = &mut config["channel_group"]["groups"]["Orderer"]["values"];
    values["BatchSize"]["value"]["max_message_count"] = 20.into();
    values["BatchTimeout"]["value"]["timeout"] = "350ms".into();
    std::fs::write(path("after.json"), config.to_string()).unwrap();
    for which in ["before", "after"] {
        let (json, pb) = (path(&format!("{which}.json")), path(&format!("{which}.pb")));
        ok(&["proto_encode", "--type", "common.Config", "--input", &json, "--output", &pb]);
    }
    let (before, after, update) = (path("before.pb"), path("after.pb"), path("update.pb"));
    ok(&[
        "compute_update",
        "--channel_id",
        "goldenchannel",
        "--original",
        &before,
        "--updated",
        &after,
        "--output",
        &update,
    ]);
    let made = ConfigUpdate::decode(std::fs::read(update).unwrap().as_slice()).unwrap();
    let expected = ConfigUpdate::decode(bytes(&format!("updates/{name}/update.pb")).as_slice()).unwrap();
    assert_eq!(made, expected);
    let update = tool(&["proto_decode", "--type", "common.ConfigUpdate"], &made.encode_to_vec());
    let expected = text(&format!("updates/{name}/update.json"));
    assert!(same_json(update.text(), &expected));
    // The envelope that scripts build with jq.
    let update: serde_json::Value = serde_json::from_str(update.text()).unwrap();
    let envelope = serde_json::json!({"payload": {"header": {"channel_header": {"channel_id": "goldenchannel", "type": 2}},
        "data": {"config_update": update}}});
    let answer = tool(&["proto_encode", "--type", "common.Envelope"], envelope.to_string().as_bytes());
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    let envelope = Envelope::decode(answer.stdout.as_slice()).unwrap();
    let update = fabric_channel::protoutil::config_update_envelope(&envelope).unwrap();
    assert_eq!(ConfigUpdate::decode(update.config_update).unwrap(), made);
}

async fn post(path: &str, kind: &str, body: Vec<u8>) -> (StatusCode, Vec<u8>) {
    let request =
        Request::builder().method("POST").uri(path).header("content-type", kind).body(Body::from(body)).unwrap();
    let response = configtxlator::router(vec!["*".into()]).oneshot(request).await.unwrap();
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
    (response.status(), to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec())
}

#[tokio::test]
async fn the_same_over_http() {
    let (status, json) = post("/protolator/decode/common.Block", "", bytes("genesis.block")).await;
    assert_eq!(status, StatusCode::OK);
    assert!(same_json(std::str::from_utf8(&json).unwrap(), &text("genesis.json")));
    let (status, block) = post("/protolator/encode/common.Block", "", json).await;
    assert_eq!(status, StatusCode::OK);
    assert!(Block::decode(block.as_slice()).is_ok());
    let (status, text) = post("/protolator/decode/common.Nope", "", Vec::new()).await;
    assert_eq!((status, text), (StatusCode::NOT_FOUND, b"message type not found: proto: not found\n".to_vec()));
    let (status, _) = post("/protolator/decode/common.Block", "", vec![0xff]).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);

    let mut form = Vec::new();
    for (name, value) in [
        ("channel", b"goldenchannel".to_vec()),
        ("original", bytes("updates/05_acl/before.pb")),
        ("updated", bytes("updates/05_acl/after.pb")),
    ] {
        form.extend(
            format!("--cut\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"f\"\r\n\r\n").bytes(),
        );
        form.extend(value);
        form.extend(b"\r\n");
    }
    form.extend(b"--cut--\r\n");
    let path = "/configtxlator/compute/update-from-configs";
    let (status, update) = post(path, "multipart/form-data; boundary=cut", form).await;
    assert_eq!(status, StatusCode::OK);
    let expected = ConfigUpdate::decode(bytes("updates/05_acl/update.pb").as_slice()).unwrap();
    assert_eq!(ConfigUpdate::decode(update.as_slice()).unwrap(), expected);
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        for type_name in ["common.Block", "common.Envelope", "common.ConfigUpdate", "protos.Transaction"] {
            if let Ok(json) = protolator::decode(type_name, &bytes) {
                prop_assert!(protolator::encode(type_name, &json).is_ok(), "{}", json);
            }
        }
    }
}
