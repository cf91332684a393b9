use super::super::peer_tree_for_tests as tree;
use super::*;

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

fn refused(line: &str) -> String {
    match parse(tree(), &words(line)) {
        Err((_, ParseError::UnknownCommand(text) | ParseError::Flag(text))) => text,
        Ok(parsed) => panic!("{line} was taken as {}", parsed.names()),
    }
}

#[test]
fn flags_may_stand_anywhere_and_in_every_form() {
    let parsed = parse(
        tree(),
        &words(
            "chaincode --tls invoke -C ch --name=cc -c{} --waitForEvent --peerAddresses a --peerAddresses b -I rest",
        ),
    )
    .unwrap();
    assert_eq!(parsed.names(), "peer chaincode invoke");
    assert_eq!((parsed.text("channelID"), parsed.text("name"), parsed.text("ctor")), ("ch", "cc", "{}"));
    assert!(parsed.switch("tls") && parsed.switch("isInit") && parsed.switch("waitForEvent"));
    assert_eq!(parsed.array("peerAddresses"), ["a", "b"]);
    assert_eq!(parsed.array("tlsRootCertFiles"), [""]);
    assert_eq!(parsed.args, ["rest"]);
    assert_eq!(parsed.duration("waitForEventTimeout").as_secs(), 30);
}

#[test]
fn wrong_flags_are_named() {
    assert_eq!(refused("channel list --nope"), "unknown flag: --nope");
    assert_eq!(refused("channel list -Z"), "unknown shorthand flag: 'Z' in -Z");
    assert_eq!(refused("channel fetch -c"), "flag needs an argument: 'c' in -c");
    assert_eq!(refused("channel fetch --channelID"), "flag needs an argument: --channelID");
    assert_eq!(
        refused("lifecycle chaincode commit --sequence x"),
        "invalid argument \"x\" for \"--sequence\" flag: strconv.ParseInt: parsing \"x\": invalid syntax"
    );
    assert_eq!(
        refused("channel list --connTimeout 5"),
        "invalid argument \"5\" for \"--connTimeout\" flag: time: missing unit in duration \"5\""
    );
    assert_eq!(
        refused("chaincode query --hex=maybe"),
        "invalid argument \"maybe\" for \"-x, --hex\" flag: strconv.ParseBool: parsing \"maybe\": invalid syntax"
    );
}

#[test]
fn unknown_commands_get_suggestions() {
    assert_eq!(refused("nosuch"), "unknown command \"nosuch\" for \"peer\"");
    assert_eq!(refused("chanel list"), "unknown command \"chanel\" for \"peer\"\n\nDid you mean this?\n\tchannel\n");
}
