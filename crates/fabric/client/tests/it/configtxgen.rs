use fabric_client::configtxgen;
use fabric_proto::common::Block;
use prost::Message as _;

use crate::support::{Answer, bytes, golden, log, recorded, run};

fn tool(args: &[&str]) -> Answer {
    let folder = golden("");
    run(configtxgen::run, args, &[("FABRIC_CFG_PATH", folder.to_str().unwrap())], b"")
}

/// The recorded lines; paths there are relative to the folder the tool ran in.
fn recorded_log(name: &str) -> Vec<String> {
    log(recorded(name)["stderr"].as_str().unwrap())
}

fn relative(lines: Vec<String>) -> Vec<String> {
    let folder = golden("");
    let folder = format!("{}/", folder.display().to_string().trim_end_matches('/'));
    lines.into_iter().map(|line| line.replace(&folder, "")).collect()
}

#[test]
fn a_block_is_made_with_upstreams_lines() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("deep/er/genesis.block");
    let answer = tool(&["-profile", "Golden", "-outputBlock", file.to_str().unwrap(), "-channelID", "goldenchannel"]);
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    assert!(answer.stdout.is_empty());
    assert_eq!(relative(answer.log()), recorded_log("007_configtxgen_outputBlock"));
    let made = Block::decode(std::fs::read(&file).unwrap().as_slice()).unwrap();
    let upstream = Block::decode(bytes("genesis.block").as_slice()).unwrap();
    let config = |block| fabric_channel::protoutil::config_of_block(block).unwrap();
    assert!(config(&made) == config(&upstream));
    // An id that the channel rules refuse is not refused here.
    let answer = tool(&["-profile", "Golden", "-outputBlock", file.to_str().unwrap(), "-channelID", "Bad_Channel"]);
    assert_eq!((answer.code, relative(answer.log())), (0, recorded_log("011_configtxgen_bad_channel_id")));
}

#[test]
fn blocks_are_shown_as_upstream_shows_them() {
    for (name, file) in
        [("008_configtxgen_inspectBlock", "genesis.block"), ("126_configtxgen_inspectBlock_config", "blocks/057.block")]
    {
        let answer = tool(&["-inspectBlock", golden(file).to_str().unwrap()]);
        assert_eq!(answer.code, 0, "{}", answer.stderr);
        assert!(answer.text() == recorded(name)["stdout"].as_str().unwrap(), "{name}");
        assert_eq!(answer.log(), recorded_log(name));
    }
}

#[test]
fn an_organization_is_printed_as_upstream_prints_it() {
    let answer = tool(&["-printOrg", "Org3MSP"]);
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    assert!(answer.text() == recorded("009_configtxgen_printOrg")["stdout"].as_str().unwrap());
    assert_eq!(relative(answer.log()), recorded_log("009_configtxgen_printOrg"));
    let answer = tool(&["-printOrg", "OrdererOrg"]);
    assert!(answer.text().contains("127.0.0.1:7050"));
    let answer = tool(&["-printOrg", "Nobody"]);
    assert_eq!(answer.code, 1);
    assert!(answer.stderr.ends_with("Error on printOrg: organization Nobody not found\n"));
}

#[test]
fn refusals_have_upstreams_lines_and_codes() {
    let missing = golden("missing.block");
    for (name, args) in [
        ("010_configtxgen_unknown_profile", &["-profile", "Nope", "-outputBlock", "x.block", "-channelID", "c"][..]),
        ("012_configtxgen_no_channel_id", &["-profile", "Golden", "-outputBlock", "x.block"]),
        ("013_configtxgen_inspect_missing", &["-inspectBlock", missing.to_str().unwrap()]),
        (
            "014_configtxgen_outputCreateChannelTx",
            &["-profile", "Golden", "-outputCreateChannelTx", "ch.tx", "-channelID", "goldenchannel"],
        ),
    ] {
        let answer = tool(args);
        assert_eq!(i64::from(answer.code), recorded(name)["exit_code"], "{name}");
        assert_eq!(relative(answer.log()), recorded_log(name), "{name}");
        assert!(answer.stdout.is_empty());
    }
    let answer = run(configtxgen::run, &["-printOrg", "A", "-configPath", "/nowhere"], &[], b"");
    assert_eq!(answer.code, 1);
    assert!(
        answer.stderr.contains("Could not find configtx.yaml. Please make sure that FABRIC_CFG_PATH"),
        "{}",
        answer.stderr
    );
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("configtx.yaml"), "Profiles: {A: {Orderer: {OrdererType: kafka}}}").unwrap();
    let args =
        ["-profile", "A", "-outputBlock", "x", "-channelID", "c", "-configPath", folder.path().to_str().unwrap()];
    let answer = run(configtxgen::run, &args, &[], b"");
    assert_eq!(answer.code, 2);
    assert!(answer.stderr.contains("unknown orderer type: kafka"), "{}", answer.stderr);
}

#[test]
fn the_version_has_upstreams_form() {
    let answer = run(configtxgen::run, &["-version"], &[], b"");
    let expected = recorded("006_configtxgen_version")["stdout"].as_str().unwrap().to_owned();
    let keys = |text: &str| text.lines().map(|line| line.split(": ").next().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(keys(answer.text()), keys(&expected));
    assert_eq!(answer.text().lines().nth(1), expected.lines().nth(1));
}
