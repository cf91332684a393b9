//! Verdicts that the golden chain does not reach, on transactions made for them.

use std::collections::HashSet;

use bytes::Bytes;
use fabric_channel::protoutil;
use fabric_ledger::rwset::{NsRwset, TxRwset};
use fabric_proto::common::HeaderType;
use fabric_proto::kvrwset::KvRead;
use fabric_proto::protos::TxValidationCode::{self as Code, *};
use fabric_validation::{ValidationError, apply_config, check_policies, decode_block};
use proptest::prelude::*;
use prost::Message;

use crate::forge::{
    Actor, BUNDLE, PEER1, PEER2, Spec, State, USER, application_policy, block_of, decoded, envelope_of_type,
    hashed_write, judge, judge_behind, metadata_write, policy, writes,
};

const ORG1: &str = "OR('Org1MSP.peer')";
const ORG2: &str = "OR('Org2MSP.peer')";
const BOTH: &str = "AND('Org1MSP.peer','Org2MSP.peer')";

fn one(spec: Spec, state: &State) -> Code {
    judge(vec![spec.build()], state).unwrap()[0]
}

fn written(endorsers: &[&'static Actor]) -> Spec {
    Spec::new(1, writes("cc", &["k"]), endorsers)
}

#[test]
fn the_chaincodes_policy_decides_and_endorsements_count_once() {
    let state = State::with_chaincode(BOTH, &[]);
    assert_eq!(one(written(&[&PEER1, &PEER2]), &state), Valid);
    assert_eq!(one(written(&[&PEER1]), &state), EndorsementPolicyFailure);
    assert_eq!(one(written(&[&PEER1, &PEER1]), &state), EndorsementPolicyFailure);
    assert_eq!(one(written(&[]), &state), EndorsementPolicyFailure);
    assert_eq!(one(written(&[&USER, &PEER2]), &state), EndorsementPolicyFailure);
}

#[test]
fn nothing_written_still_needs_the_policy() {
    let state = State::with_chaincode(ORG2, &[]);
    assert_eq!(one(Spec::new(1, TxRwset::default(), &[&PEER1]), &state), EndorsementPolicyFailure);
    assert_eq!(one(Spec::new(1, TxRwset::default(), &[&PEER2]), &state), Valid);
}

#[test]
fn every_written_namespace_is_judged_and_read_ones_are_not() {
    let state = State::with_chaincode(ORG1, &[]);
    state.define("other", &application_policy(ORG2).encode_to_vec(), "vscc", &[]);
    let mut rwset = writes("cc", &["k"]);
    rwset.namespaces.extend(writes("other", &["k"]).namespaces);
    assert_eq!(one(Spec::new(1, rwset.clone(), &[&PEER1]), &state), EndorsementPolicyFailure);
    assert_eq!(one(Spec::new(1, rwset, &[&PEER1, &PEER2]), &state), Valid);
    let mut rwset = writes("cc", &["k"]);
    let mut read = NsRwset { namespace: "nowhere".to_owned(), ..NsRwset::default() };
    read.public.reads = vec![KvRead { key: "k".to_owned(), version: None }];
    rwset.namespaces.push(read);
    assert_eq!(one(Spec::new(1, rwset, &[&PEER1]), &state), Valid);
}

#[test]
fn chaincodes_without_a_usable_definition() {
    let state = State::default();
    assert_eq!(one(written(&[&PEER1]), &state), InvalidChaincode);
    state.define("cc", b"", "vscc", &[]);
    assert_eq!(one(written(&[&PEER1]), &state), InvalidChaincode);
    state.define("cc", &application_policy(ORG1).encode_to_vec(), "", &[]);
    assert_eq!(one(written(&[&PEER1]), &state), InvalidChaincode);
    state.define("cc", b"\xff", "vscc", &[]);
    assert_eq!(one(written(&[&PEER1]), &state), EndorsementPolicyFailure);
    state.define("cc", &application_policy(ORG1).encode_to_vec(), "special", &[]);
    let error = judge(vec![written(&[&PEER1]).build()], &state).unwrap_err();
    assert!(matches!(&error, ValidationError::Plugin { number: 9, index: 0, .. }));
    assert!(error.to_string().contains("plugin with name special (chaincode cc)"), "{error}");
    state.set("_lifecycle", "namespaces/fields/cc/ValidationInfo", b"\xff", None);
    let error = judge(vec![written(&[&PEER1]).build()], &state).unwrap_err();
    assert!(matches!(&error, ValidationError::Definition { number: 9, index: 0, .. }), "{error}");
    // A transaction that is refused before does not get that far.
    let refused = Spec { bad_txid: true, ..written(&[&PEER1]) };
    assert_eq!(one(refused, &state), BadProposalTxid);
}

#[test]
fn a_policy_may_be_one_of_the_channel() {
    let state = State::default();
    let reference = |path: &str| {
        use fabric_proto::protos::{ApplicationPolicy, application_policy::Type};
        ApplicationPolicy { r#type: Some(Type::ChannelConfigPolicyReference(path.to_owned())) }.encode_to_vec()
    };
    state.define("cc", &reference("/Channel/Application/Endorsement"), "vscc", &[]);
    assert_eq!(one(written(&[&PEER1]), &state), EndorsementPolicyFailure);
    assert_eq!(one(written(&[&PEER1, &PEER2]), &state), Valid);
    state.define("cc", &reference("/Channel/Application/Unknown"), "vscc", &[]);
    assert_eq!(one(written(&[&PEER1, &PEER2]), &state), EndorsementPolicyFailure);
}

#[test]
fn a_keys_own_policy_replaces_the_chaincodes() {
    let state = State::with_chaincode(ORG1, &[]);
    state.set("cc", "k", b"v", Some(&policy(ORG2)));
    assert_eq!(one(written(&[&PEER1]), &state), EndorsementPolicyFailure);
    assert_eq!(one(written(&[&PEER2]), &state), Valid);
    // A second key without one asks the chaincode's policy too.
    let two = |endorsers: &[&'static Actor]| Spec::new(1, writes("cc", &["k", "l"]), endorsers);
    assert_eq!(one(two(&[&PEER2]), &state), EndorsementPolicyFailure);
    assert_eq!(one(two(&[&PEER1, &PEER2]), &state), Valid);
    // Changing the policy needs the one in force.
    assert_eq!(one(Spec::new(1, metadata_write("k", b""), &[&PEER1]), &state), EndorsementPolicyFailure);
    assert_eq!(one(Spec::new(1, metadata_write("k", b""), &[&PEER2]), &state), Valid);
    state.set("cc", "k", b"v", Some(b"\xff"));
    assert_eq!(one(written(&[&PEER1, &PEER2]), &state), EndorsementPolicyFailure);
    state.set("cc", "k", b"v", Some(b""));
    assert_eq!(one(written(&[&PEER1]), &state), Valid);
}

#[test]
fn a_policy_changed_in_the_block_bars_later_writes_of_the_key() {
    let state = State::with_chaincode(ORG1, &[]);
    let change = |nonce, endorser: &'static Actor| Spec::new(nonce, metadata_write("k", &policy(ORG2)), &[endorser]);
    let write = |nonce, key: &str| Spec::new(nonce, writes("cc", &[key]), &[&PEER1, &PEER2]);
    let codes = |specs: Vec<Spec>| judge(specs.into_iter().map(Spec::build).collect(), &state).unwrap();
    let failure = EndorsementPolicyFailure;
    assert_eq!(codes(vec![change(1, &PEER1), write(2, "k"), write(3, "l")]), [Valid, failure, Valid]);
    assert_eq!(codes(vec![write(2, "k"), change(1, &PEER1)]), [Valid, Valid]);
    // A change that was not acceptable bars nothing, nor does one that never got to its policy.
    assert_eq!(codes(vec![change(1, &PEER2), write(2, "k")]), [failure, Valid]);
    let unread = Spec { bad_txid: true, ..change(1, &PEER1) };
    assert_eq!(codes(vec![unread, write(2, "k")]), [BadProposalTxid, Valid]);
    // The second change is barred by the first and so bars nothing itself; the first still does.
    assert_eq!(codes(vec![change(1, &PEER1), change(2, &PEER1), write(3, "k")]), [Valid, failure, failure]);
    // Barred changes do not bar: a write after a failed and a barred one.
    assert_eq!(codes(vec![change(1, &PEER2), change(2, &PEER2), write(3, "k")]), [failure, failure, Valid]);
}

#[test]
fn a_change_counts_by_the_verdict_in_its_own_namespace() {
    let state = State::with_chaincode(ORG1, &[]);
    state.define("other", &application_policy(ORG2).encode_to_vec(), "vscc", &[]);
    let mut rwset = metadata_write("k", &policy(ORG2));
    rwset.namespaces.extend(writes("other", &["o"]).namespaces);
    // The write to `other` fails the transaction, its change in `cc` was acceptable.
    let change = Spec::new(1, rwset, &[&PEER1]).build();
    let write = Spec::new(2, writes("cc", &["k"]), &[&PEER1]).build();
    assert_eq!(judge(vec![change, write], &state).unwrap(), [EndorsementPolicyFailure; 2]);
}

#[test]
fn collections_have_their_own_policies() {
    let mut state = State::with_chaincode(ORG1, &[("own", Some(ORG2)), ("plain", None)]);
    let write = |collection: &str, endorser: &'static Actor| {
        Spec::new(1, hashed_write("cc", collection, b"h", None), &[endorser])
    };
    assert_eq!(one(write("own", &PEER1), &state), EndorsementPolicyFailure);
    assert_eq!(one(write("own", &PEER2), &state), Valid);
    assert_eq!(one(write("plain", &PEER1), &state), Valid);
    assert_eq!(one(write("plain", &PEER2), &state), EndorsementPolicyFailure);
    assert_eq!(one(write("absent", &PEER1), &state), EndorsementPolicyFailure);
    assert_eq!(one(write("_implicit_org_Org2MSP", &PEER1), &state), EndorsementPolicyFailure);
    assert_eq!(one(write("_implicit_org_Org2MSP", &PEER2), &state), Valid);
    assert_eq!(one(write("_implicit_org_NopeMSP", &PEER2), &state), EndorsementPolicyFailure);
    // Without a name it is the public state to the policies.
    assert_eq!(one(write("", &PEER1), &state), Valid);
    assert_eq!(one(write("", &PEER2), &state), EndorsementPolicyFailure);
    // A private key's own policy comes before all of them, and its change bars later writes.
    state.set_hashed("plain", b"h", &policy(ORG2));
    assert_eq!(one(write("plain", &PEER2), &state), Valid);
    assert_eq!(one(write("plain", &PEER1), &state), EndorsementPolicyFailure);
    let change = Spec::new(1, hashed_write("cc", "plain", b"h", Some(&policy(ORG1))), &[&PEER2]).build();
    let later = Spec::new(2, hashed_write("cc", "plain", b"h", None), &[&PEER2]).build();
    assert_eq!(judge(vec![change, later], &state).unwrap(), [Valid, EndorsementPolicyFailure]);
}

#[test]
fn lifecycle_writes_need_the_lifecycle_policy_and_approvals_their_organisation() {
    let state = State::default();
    let definition = |endorsers: &[&'static Actor]| Spec {
        chaincode: "_lifecycle",
        ..Spec::new(1, writes("_lifecycle", &["namespaces/fields/cc/Sequence"]), endorsers)
    };
    assert_eq!(one(definition(&[&PEER1]), &state), EndorsementPolicyFailure);
    assert_eq!(one(definition(&[&PEER1, &PEER2]), &state), Valid);
    let approval = |endorser: &'static Actor| Spec {
        chaincode: "_lifecycle",
        ..Spec::new(1, hashed_write("_lifecycle", "_implicit_org_Org1MSP", b"h", None), &[endorser])
    };
    assert_eq!(one(approval(&PEER1), &state), Valid);
    assert_eq!(one(approval(&PEER2), &state), EndorsementPolicyFailure);
}

#[test]
fn an_id_counts_once_on_the_ledger_and_once_in_the_block() {
    let state = State::with_chaincode(ORG1, &[]);
    let build = |endorser: &'static Actor| Spec::new(5, writes("cc", &["k"]), &[endorser]).build();
    assert_eq!(judge(vec![build(&PEER1), build(&PEER1)], &state).unwrap(), [Valid, DuplicateTxid]);
    // The first of the two failed, so the second is the only one.
    assert_eq!(judge(vec![build(&PEER2), build(&PEER1)], &state).unwrap(), [EndorsementPolicyFailure, Valid]);
    let txid = decoded(vec![build(&PEER1)]).transactions[0].txid.clone();
    let ledger = HashSet::from([txid]);
    assert_eq!(judge_behind(vec![build(&PEER1)], &state, &ledger).unwrap(), [DuplicateTxid]);
    // Being known comes before what is wrong inside.
    let event = Some(fabric_proto::protos::ChaincodeEvent { chaincode_id: "x".to_owned(), ..Default::default() });
    let wrong = || Spec { event: event.clone(), ..Spec::new(5, writes("cc", &["k"]), &[&PEER1]) }.build();
    assert_eq!(judge(vec![wrong()], &state).unwrap(), [InvalidOtherReason]);
    assert_eq!(judge_behind(vec![wrong()], &state, &ledger).unwrap(), [DuplicateTxid]);
}

#[test]
fn types_and_forms() {
    let state = State::default();
    let verdict = |envelope: Bytes| judge(vec![envelope], &state).unwrap()[0];
    assert_eq!(verdict(envelope_of_type(HeaderType::Config, Bytes::new())), InvalidConfigTransaction);
    assert_eq!(verdict(envelope_of_type(HeaderType::ConfigUpdate, "x".into())), UnsupportedTxPayload);
    assert_eq!(verdict(envelope_of_type(HeaderType::OrdererTransaction, "x".into())), BadCommonHeader);
    assert_eq!(verdict(Spec { no_action: true, ..written(&[&PEER1]) }.build()), InvalidEndorserTransaction);
    assert_eq!(verdict(Bytes::from_static(b"\xff")), InvalidOtherReason);
    assert_eq!(verdict(Bytes::new()), BadCommonHeader);
}

#[test]
fn configurations_stand_alone_and_must_be_understood() {
    let refuse = |envelopes: Vec<Bytes>| apply_config(&decoded(envelopes), &BUNDLE).unwrap_err();
    let config = || envelope_of_type(HeaderType::Config, "\u{1}".into());
    let error = refuse(vec![config()]);
    assert!(matches!(error, ValidationError::Config { number: 9, .. }), "{error}");
    let error = refuse(vec![written(&[&PEER1]).build(), config()]);
    assert!(matches!(error, ValidationError::MixedConfig { number: 9, index: 1, .. }), "{error}");
    assert!(apply_config(&decoded(vec![written(&[&PEER1]).build()]), &BUNDLE).unwrap().is_none());
}

#[test]
fn channels_of_the_old_rules_are_refused_by_name() {
    let mut config = BUNDLE.config().clone();
    let application = config.channel_group.as_mut().unwrap().groups.get_mut("Application").unwrap();
    let old = fabric_proto::common::Capabilities {
        capabilities: [("V1_4_2".to_owned(), fabric_proto::common::Capability {})].into(),
    };
    application.values.get_mut("Capabilities").unwrap().value = old.encode_to_vec().into();
    let bundle = fabric_channel::config::Bundle::from_config(BUNDLE.channel_id(), config).unwrap();
    let mut block = decoded(vec![written(&[&PEER1]).build()]);
    let error = check_policies(&mut block, &bundle, &State::with_chaincode(ORG1, &[]), &HashSet::new()).unwrap_err();
    assert!(error.to_string().contains("older than V2_0"), "{error}");
}

#[test]
fn an_id_that_is_not_claimed_is_computed_for_the_index() {
    let block = decoded(vec![envelope_of_type(HeaderType::ConfigUpdate, "x".into())]);
    assert_eq!(block.transactions[0].txid, "");
    assert_eq!(block.transactions[0].index_txid(), protoutil::tx_id(b"nonce", &USER.serialized));
}

#[test]
fn a_field_of_another_wire_type_is_unknown_as_to_the_original() {
    let state = State::with_chaincode(ORG1, &[]);
    // Field 5 of the channel header (`tx_id` text) once more as a number, and the same in the read-write set's namespace list.
    let spec = Spec { odd_fields: true, ..written(&[&PEER1]) };
    assert_eq!(one(spec, &state), Valid);
    // So are those in the creator's own bytes: `mspid` once more as a number.
    let creator = Some([&USER.serialized[..], &[0x08, 1]].concat().into());
    assert_eq!(one(Spec { creator, ..written(&[&PEER1]) }, &state), Valid);
}

#[test]
fn a_block_whose_signatures_were_not_checked_gets_no_verdict() {
    let mut block = decode_block(&block_of(vec![written(&[&PEER1]).build()])).unwrap();
    let error = check_policies(&mut block, &BUNDLE, &State::default(), &HashSet::new()).unwrap_err();
    assert_eq!(error.to_string(), "transaction 0 in block 9 has skipped validation");
}

#[test]
fn what_this_node_endorsed_is_not_verified_again() {
    let state = State::with_chaincode(ORG1, &[]);
    // The user's key signs in the peer's name: only the memory of having signed makes it count.
    let forged = {
        let mut endorsement = None;
        let built = Spec::new(1, writes("cc", &["k"]), &[&PEER1]).build();
        let tx = fabric_validation::decode::decode_transaction(&built);
        if let Some(endorser) = tx.endorser() {
            let signed = protoutil::endorsement_signed_bytes(&endorser.response_payload, &PEER1.serialized);
            endorsement = Some((endorser.response_payload.clone(), USER.sign(&signed)));
        }
        endorsement.unwrap()
    };
    let known = fabric_validation::KnownSignatures::default();
    let run = |known: &fabric_validation::KnownSignatures| {
        let mut block = decode_block(&block_of(vec![written(&[&PEER1]).build()])).unwrap();
        if let fabric_validation::TxBody::Endorser(endorser) = &mut block.transactions[0].body {
            endorser.endorsements[0].signature = forged.1.clone();
        }
        fabric_validation::verify_signatures(&mut block, &BUNDLE, known);
        check_policies(&mut block, &BUNDLE, &state, &HashSet::new()).unwrap();
        block.transactions[0].code
    };
    assert_eq!(run(&known), EndorsementPolicyFailure);
    known.remember(&forged.0, &PEER1.serialized, &forged.1);
    assert_eq!(run(&known), Valid);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Genuine signatures over damaged insides: the deeper stages meet what no honest endorser writes.
    #[test]
    fn damaged_insides_get_verdicts_too(damage in prop::collection::vec((0_usize..400, 1_u8..), 0..4), later in any::<bool>()) {
        let state = State::with_chaincode(ORG1, &[("own", Some(ORG2)), ("plain", None)]);
        state.set("cc", "k", b"v", Some(&policy(ORG1)));
        let mut rwset = writes("cc", &["k", "l"]);
        rwset.namespaces[0].public.metadata_writes = metadata_write("l", &policy(ORG1)).namespaces.remove(0).public.metadata_writes;
        rwset.namespaces[0].collections = hashed_write("cc", "plain", b"hash", None).namespaces.remove(0).collections;
        rwset.namespaces.extend(writes("_lifecycle", &["x"]).namespaces);
        let mut envelopes = vec![Spec { damage, ..Spec::new(1, rwset, &[&PEER1, &PEER2]) }.build()];
        if later {
            envelopes.push(Spec::new(2, writes("cc", &["l"]), &[&PEER1]).build());
        }
        let codes = judge(envelopes.clone(), &state).unwrap();
        prop_assert!(codes.iter().all(|code| *code != NotValidated));
        // The same on one thread.
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        prop_assert_eq!(pool.install(|| judge(envelopes, &state)).unwrap(), codes);
    }
}
