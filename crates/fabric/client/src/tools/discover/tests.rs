use super::*;
use fabric_proto::discovery::{ChaincodeQueryResult, EndorsementDescriptor, Layout, Peer, PeerMembershipResult, Peers};
use fabric_proto::gossip::{AliveMessage, Envelope, GossipMessage, Member, Properties, StateInfo, gossip_message};
use fabric_proto::msp::SerializedIdentity;
use std::collections::BTreeMap;

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

fn parsed(line: &str) -> Result<Arguments, String> {
    Arguments::parse(&words(line)).map(Option::unwrap_or_default)
}

fn envelope(content: gossip_message::Content) -> Envelope {
    let message = GossipMessage { content: Some(content), ..GossipMessage::default() };
    Envelope { payload: message.encode_to_vec().into(), ..Envelope::default() }
}

fn peer() -> Peer {
    let membership = Member { endpoint: "peer0:7051".into(), ..Member::default() };
    let properties = Properties {
        ledger_height: 7,
        chaincodes: vec![fabric_proto::gossip::Chaincode { name: "kv".into(), ..Default::default() }],
        ..Properties::default()
    };
    Peer {
        membership_info: Some(envelope(gossip_message::Content::AliveMsg(AliveMessage {
            membership: Some(membership),
            ..AliveMessage::default()
        }))),
        state_info: Some(envelope(gossip_message::Content::StateInfo(StateInfo {
            properties: Some(properties),
            ..StateInfo::default()
        }))),
        identity: SerializedIdentity { mspid: "Org1MSP".into(), id_bytes: "PEM\n".into() }.encode_to_vec().into(),
    }
}

#[test]
fn arguments_are_checked_as_upstream_does() {
    let arguments = parsed("peers --server h:1 --channel=ch").unwrap();
    assert_eq!((arguments.server.as_str(), arguments.channel.as_str()), ("h:1", "ch"));
    assert_eq!(parsed("").unwrap_err(), "command not specified");
    assert_eq!(parsed("peers --nope x").unwrap_err(), "unknown long flag '--nope'");
    assert_eq!(parsed("peers --userKey /nowhere/key").unwrap_err(), "open /nowhere/key: no such file or directory");
    assert_eq!(query_of(&parsed("config --channel ch").unwrap()).unwrap_err(), "no server specified");
    assert_eq!(query_of(&parsed("endorsers --server h:1").unwrap()).unwrap_err(), "no channel specified");
    let wrong = parsed("endorsers --server h:1 --channel ch --chaincode kv --collection other:a,b").unwrap();
    assert_eq!(
        query_of(&wrong).unwrap_err(),
        "a collection specified chaincode other but it wasn't specified with a chaincode flag"
    );
    let right = parsed("endorsers --server h:1 --channel ch --chaincode kv --collection kv:a,b").unwrap();
    assert_eq!(interest(&right).unwrap().chaincodes[0].collection_names, ["a", "b"]);
}

#[test]
fn peers_are_listed_in_upstreams_shape() {
    let members =
        PeerMembershipResult { peers_by_org: BTreeMap::from([("Org1MSP".to_owned(), Peers { peers: vec![peer()] })]) };
    assert_eq!(
        json::peers(&members, true).indented(),
        "[\n\t{\n\t\t\"MSPID\": \"Org1MSP\",\n\t\t\"LedgerHeight\": 7,\n\t\t\"Endpoint\": \"peer0:7051\",\n\t\t\"Identity\": \
         \"PEM\\n\",\n\t\t\"Chaincodes\": [\n\t\t\t\"kv\"\n\t\t]\n\t}\n]"
    );
    assert!(!json::peers(&members, false).indented().contains("LedgerHeight"));
    assert_eq!(json::peers(&PeerMembershipResult::default(), true).indented(), "null");
}

#[test]
fn endorsers_are_listed_in_upstreams_shape() {
    let descriptor = EndorsementDescriptor {
        chaincode: "kv".into(),
        endorsers_by_groups: BTreeMap::from([("G0".to_owned(), Peers { peers: vec![peer()] })]),
        layouts: vec![Layout { quantities_by_group: BTreeMap::from([("G0".to_owned(), 1)]) }],
    };
    let text = json::endorsers(&ChaincodeQueryResult { content: vec![descriptor] }).compact();
    assert_eq!(
        text,
        "[{\"Chaincode\":\"kv\",\"EndorsersByGroups\":{\"G0\":[{\"MSPID\":\"Org1MSP\",\"LedgerHeight\":7,\"Endpoint\":\"peer0:7051\",\
         \"Identity\":\"PEM\\n\"}]},\"Layouts\":[{\"quantities_by_group\":{\"G0\":1}}]}]"
    );
}

#[test]
fn profiles_are_saved_with_upstreams_keys_and_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, "x").unwrap();
        path.display().to_string()
    };
    let (key, cert, config) = (file("key"), file("cert"), folder.path().join("conf.yaml").display().to_string());
    let arguments =
        parsed(&format!("saveConfig --configFile {config} --MSP Org1MSP --userKey {key} --userCert {cert}")).unwrap();
    assert_eq!(execute(&arguments).unwrap(), None);
    let text = std::fs::read_to_string(&config).unwrap();
    assert!(text.contains("signerconfig:\n  mspid: Org1MSP\n"), "{text}");
    assert!(text.contains("timeout: 0s\n"), "{text}");
    assert_eq!(Profile::load(&config).unwrap(), Profile::from_arguments(&arguments).unwrap());
    let incomplete = parsed(&format!("saveConfig --configFile {config} --MSP Org1MSP")).unwrap();
    assert!(execute(&incomplete).unwrap_err().starts_with("Failed persisting configuration: config isn't valid: "));
}
