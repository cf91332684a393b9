use std::sync::Arc;

use fabric_channel::config::Bundle;
use fabric_channel::msp::Identity;
use fabric_channel::policy::{Policy, dsl, verified_identities};
use fabric_channel::protoutil;
use fabric_proto::common::{SignaturePolicy, SignaturePolicyEnvelope, signature_policy};
use fabric_proto::msp::SerializedIdentity;
use proptest::prelude::*;
use prost::Message as _;

use crate::golden;

/// Serialized identities of the golden network by organisation and user folder.
fn identity(bundle: &Bundle, organization: &str, kind: &str, user: &str) -> Arc<Identity> {
    let folder = golden::path(&format!(
        "crypto-config/peerOrganizations/{organization}.example.com/{kind}/{user}/msp/signcerts"
    ));
    let file = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())).next();
    let pem = std::fs::read(file.unwrap().unwrap().path()).unwrap();
    let mspid = format!("O{}MSP", &organization[1..]);
    let serialized = SerializedIdentity { mspid, id_bytes: pem.into() }.encode_to_vec();
    bundle.msp_manager().deserialize(&serialized.into()).unwrap()
}

fn bundle() -> Bundle {
    Bundle::from_config_block(&golden::block(0)).unwrap()
}

fn everybody(bundle: &Bundle) -> Vec<Arc<Identity>> {
    let mut all = Vec::new();
    for organization in ["org1", "org2"] {
        all.push(identity(bundle, organization, "peers", &format!("peer0.{organization}.example.com")));
        all.push(identity(bundle, organization, "users", &format!("Admin@{organization}.example.com")));
        all.push(identity(bundle, organization, "users", &format!("User1@{organization}.example.com")));
    }
    all
}

fn policy(bundle: &Bundle, text: &str) -> Policy {
    bundle.policies().signature_policy(dsl::parse(text).unwrap()).unwrap()
}

#[test]
fn roles_and_gates() {
    let bundle = bundle();
    let all = everybody(&bundle);
    let [peer1, admin1, user1, peer2, _, user2] = all.as_slice() else { panic!("six identities") };
    let check = |text: &str, who: &[&Arc<Identity>]| {
        let who: Vec<Arc<Identity>> = who.iter().map(|identity| Arc::clone(identity)).collect();
        policy(&bundle, text).evaluate_identities(&who).is_ok()
    };
    assert!(check("OR('Org1MSP.peer','Org2MSP.peer')", &[peer2]));
    assert!(!check("AND('Org1MSP.peer','Org2MSP.peer')", &[peer2]));
    assert!(check("AND('Org1MSP.peer','Org2MSP.peer')", &[peer2, peer1]));
    assert!(check("OR('Org1MSP.admin')", &[admin1]));
    assert!(!check("OR('Org1MSP.admin')", &[user1, user2]));
    assert!(check("OutOf(2,'Org1MSP.member','Org1MSP.member','Org2MSP.member')", &[user1, peer1]));
    assert!(check("OutOf(0,'Org1MSP.member')", &[]));
    assert!(!check("OutOf(3,'Org1MSP.member','Org2MSP.member')", &[user1, user2]));
    // Greedy: the member rule takes the admin, and nobody is left for the admin rule.
    assert!(!check("AND('Org1MSP.member','Org1MSP.admin')", &[admin1, peer1]));
    assert!(check("AND('Org1MSP.admin','Org1MSP.member')", &[admin1, peer1]));
    // A gate goes on taking identities when it has enough.
    assert!(!check("AND(OR('Org1MSP.peer','Org1MSP.client'),'Org1MSP.client')", &[peer1, user1]));
}

#[test]
fn channel_policies_by_path() {
    let bundle = bundle();
    let all = everybody(&bundle);
    let [peer1, admin1, user1, _, admin2, _] = all.as_slice() else { panic!("six identities") };
    let policies = bundle.policies();
    let check = |path: &str, who: &[&Arc<Identity>]| {
        let who: Vec<Arc<Identity>> = who.iter().map(|identity| Arc::clone(identity)).collect();
        policies.policy(path).evaluate_identities(&who).map_err(|error| error.to_string())
    };
    check("/Channel/Application/Writers", &[user1]).unwrap();
    check("/Channel/Application/Readers", &[peer1]).unwrap();
    check("/Channel/Application/Admins", &[admin1, admin2]).unwrap();
    check("/Channel/Application/Org1MSP/Admins", &[admin1]).unwrap();
    check("Application/Org1MSP/Admins", &[admin1]).unwrap();
    assert_eq!(
        check("/Channel/Application/Admins", &[admin1, user1]).unwrap_err(),
        "implicit policy evaluation failed - 1 sub-policies were satisfied, but this policy requires 2 of the 'Admins' sub-policies to be satisfied"
    );
    assert_eq!(check("/Channel/Application/Nobody", &[admin1]).unwrap_err(), "no such policy: 'Application/Nobody'");
    assert_eq!(check("/Other/Writers", &[admin1]).unwrap_err(), "no such policy: '/Other/Writers'");
    assert!(policies.get("/Channel").is_none() && policies.get("").is_none());

    let explanation = policies.policy("/Channel/Application/Admins").explain(&[Arc::clone(admin1)]);
    assert!(!explanation.satisfied);
    let text = explanation.to_string();
    assert!(text.contains("Org1MSP/Admins: satisfied") && text.contains("Org2MSP/Admins: not satisfied"), "{text}");
    assert!(text.contains("not by Admin@org1.example.com of Org1MSP"), "{text}");
}

#[test]
fn one_key_signing_twice_counts_once() {
    let bundle = bundle();
    let envelope = protoutil::envelope_at(&golden::block(12), 0).unwrap();
    let signed = protoutil::envelope_signed_data(&envelope).unwrap();
    let mut forged = signed.clone();
    forged.signature = signed.signature.slice(1..);
    let mut unknown = signed.clone();
    unknown.identity = bytes::Bytes::from_static(b"nobody");
    // The bad signature comes first and does not spoil the good ones.
    let set = [forged, unknown, signed.clone(), signed.clone()];
    assert_eq!(verified_identities(&set, bundle.msp_manager()).len(), 1);
    let twice = policy(&bundle, "OutOf(2,'Org1MSP.member','Org1MSP.member')");
    assert!(twice.evaluate(&set).is_err());
    assert!(policy(&bundle, "OR('Org1MSP.member','Org2MSP.member')").evaluate(&set).is_ok());
    let text = twice.explain_signed(&set).to_string();
    assert!(text.contains("the signature is invalid") && text.contains("has signed before"), "{text}");
}

#[test]
fn application_policies() {
    let bundle = bundle();
    let all = everybody(&bundle);
    let recorded = golden::json("policies.json");
    let bytes = hex::decode(recorded[0]["application_policy"].as_str().unwrap()).unwrap();
    bundle.policies().application_policy(&bytes.into()).unwrap().evaluate_identities(&all).unwrap();
    let reference = |path: &str| {
        let policy = fabric_proto::protos::ApplicationPolicy {
            r#type: Some(fabric_proto::protos::application_policy::Type::ChannelConfigPolicyReference(path.into())),
        };
        bundle.policies().application_policy(&policy.encode_to_vec().into())
    };
    reference("/Channel/Application/Endorsement").unwrap().evaluate_identities(&all).unwrap();
    assert_eq!(
        reference("/Channel/Application/Nope").unwrap_err().to_string(),
        "could not create evaluator for channel reference policy: failed to retrieve policy for reference /Channel/Application/Nope"
    );
    assert!(bundle.policies().application_policy(&bytes::Bytes::new()).is_err());
    assert!(bundle.policies().application_policy(&bytes::Bytes::from_static(&[0xff])).is_err());
}

/// Upstream's evaluation, written down as plainly as possible.
fn model(rule: &SignaturePolicy, fits: &dyn Fn(usize, usize) -> bool, identities: usize, used: &mut Vec<bool>) -> bool {
    match rule.r#type.as_ref().unwrap() {
        signature_policy::Type::SignedBy(principal) => {
            let free = (0..identities).find(|index| !used[*index] && fits(*index, *principal as usize));
            free.map(|index| used[index] = true).is_some()
        }
        signature_policy::Type::NOutOf(gate) => {
            let mut count = 0;
            for rule in &gate.rules {
                let mut copy = used.clone();
                if model(rule, fits, identities, &mut copy) {
                    count += 1;
                    *used = copy;
                }
            }
            count >= gate.n
        }
    }
}

fn rules() -> impl Strategy<Value = SignaturePolicy> {
    let leaf = (0..6_i32).prop_map(fabric_channel::policy::signed_by);
    leaf.prop_recursive(3, 16, 4, |inner| {
        (0..4_i32, prop::collection::vec(inner, 0..4)).prop_map(|(n, rules)| fabric_channel::policy::n_out_of(n, rules))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn evaluation_agrees_with_the_model(
        rule in rules(),
        who in prop::collection::vec(0..6_usize, 0..5),
        many in any::<bool>(),
    ) {
        use fabric_proto::common::msp_role::MspRoleType::{Admin, Client, Member, Peer};
        thread_local! {
            static NETWORK: (Bundle, Vec<Arc<Identity>>) = {
                let bundle = bundle();
                let all = everybody(&bundle);
                (bundle, all)
            };
        }
        NETWORK.with(|(bundle, all)| {
            let principals = [("Org1MSP", Peer), ("Org1MSP", Member), ("Org1MSP", Admin), ("Org2MSP", Peer), ("Org2MSP", Member), ("Org2MSP", Client)];
            let identities: Vec<_> =
                principals.iter().map(|(msp, role)| fabric_channel::policy::role_principal(msp, *role)).collect();
            let mut present: Vec<Arc<Identity>> = who.iter().map(|index| Arc::clone(&all[*index])).collect();
            if many {
                // Past the small fast path.
                while present.len() < 130 {
                    present.push(Arc::clone(&all[5]));
                }
            }
            let fits = |identity: usize, principal: usize| {
                bundle.msp_manager().satisfies(&present[identity], &identities[principal]).is_ok()
            };
            let expected = model(&rule, &fits, present.len(), &mut vec![false; present.len()]);
            let envelope = SignaturePolicyEnvelope { version: 0, rule: Some(rule.clone()), identities: identities.clone() };
            let policy = bundle.policies().signature_policy(envelope).unwrap();
            assert_eq!(policy.evaluate_identities(&present).is_ok(), expected);
            assert_eq!(policy.explain(&present).satisfied, expected);
        });
    }
}
