//! Damaged blocks, and blocks that stop the original.

use std::sync::LazyLock;

use bytes::Bytes;
use fabric_channel::config::Bundle;
use fabric_proto::common::Block;
use fabric_proto::protos::TxValidationCode as Code;
use fabric_validation::{KnownSignatures, ValidationError, decode_block, verify_block, verify_signatures};
use proptest::prelude::*;
use prost::Message;

use crate::golden::{self, Chain, as_ordered};

/// Blocks 105 and later of the extra runs follow chains that are not kept, so their links are not checked here.
fn judge_extra(name: &str) -> Vec<Code> {
    let mut chain = Chain::up_to(104);
    let mut block = Block::decode(golden::file(name)).unwrap();
    // Give it a place behind our chain.
    let header = block.header.as_mut().unwrap();
    header.number = 105;
    header.previous_hash = chain.ledger.info().current_hash;
    let bytes = Bytes::from(block.encode_to_vec());
    let committed = chain.try_stage(&bytes).unwrap();
    chain.ledger.flush().unwrap();
    assert_eq!(chain.ledger.height(), 106);
    // The node goes on: the next block is judged too.
    let mut next = Block::decode(golden::block_bytes(104)).unwrap();
    let header = next.header.as_mut().unwrap();
    header.number = 106;
    header.previous_hash = chain.ledger.info().current_hash;
    let next = chain.try_stage(&Bytes::from(next.encode_to_vec())).unwrap();
    assert!(next.block.transactions.iter().all(|tx| tx.code == Code::DuplicateTxid));
    committed.block.transactions.iter().map(|tx| tx.code).collect()
}

#[test]
fn a_delete_and_then_a_metadata_write_in_one_block_get_verdicts() {
    let codes = judge_extra("extra/delete_then_metadata/111.block");
    assert_eq!(codes[0], Code::Valid);
    assert_eq!(codes, [Code::Valid, Code::Valid], "the metadata of an absent key is written nowhere");
}

#[test]
fn an_empty_channel_id_is_a_bad_creator_on_every_peer() {
    assert_eq!(judge_extra("extra/empty_channel_peer0_org2/105.block"), [Code::BadCreatorSignature]);
}

#[test]
fn a_payload_without_header_gets_a_verdict() {
    assert_eq!(judge_extra("extra/no_header/106.block"), [Code::BadCommonHeader]);
}

#[test]
fn an_envelope_without_signature_refuses_the_whole_block_by_name() {
    let chain = golden::genesis();
    let mut block = golden::block(12);
    let data = block.data.as_mut().unwrap();
    let mut envelope = fabric_proto::common::Envelope::decode(data.data[1].clone()).unwrap();
    envelope.signature = Bytes::new();
    data.data[1] = Bytes::from(envelope.encode_to_vec());
    let decoded = decode_block(&Bytes::from(block.encode_to_vec())).unwrap();
    let error = verify_block(&decoded, 12, &[], &chain.bundle).unwrap_err().to_string();
    assert!(error.ends_with("transaction 1 has no signature"), "{error}");
    assert!(error.contains("block with id [12] on channel [goldenchannel]"), "{error}");
}

#[test]
fn headers_links_data_and_signatures_are_checked_in_turn() {
    let chain = golden::genesis();
    let good = decode_block(&as_ordered(12)).unwrap();
    let previous = good.header.previous_hash.clone();
    verify_block(&good, 12, &previous, &chain.bundle).unwrap();
    let error = verify_block(&good, 13, &previous, &chain.bundle).unwrap_err();
    assert!(matches!(error, ValidationError::Number { expected: 13, found: 12 }));
    let error = verify_block(&good, 12, &[1; 32], &chain.bundle).unwrap_err();
    assert!(matches!(error, ValidationError::PreviousHash { .. }));
    let mut other = good.clone();
    other.transactions.swap(0, 1);
    let error = verify_block(&other, 12, &previous, &chain.bundle).unwrap_err();
    assert!(matches!(error, ValidationError::DataHash { .. }), "{error}");
    let mut other = good.clone();
    other.metadata.metadata.truncate(4);
    let error = verify_block(&other, 12, &previous, &chain.bundle).unwrap_err();
    assert!(matches!(error, ValidationError::Metadata { .. }), "{error}");
    let mut other = good.clone();
    other.metadata.metadata[0] = decode_block(&as_ordered(13)).unwrap().metadata.metadata[0].clone();
    let error = verify_block(&other, 12, &previous, &chain.bundle).unwrap_err();
    assert!(matches!(error, ValidationError::BlockPolicy { .. }), "{error}");
    let mut other = good;
    other.metadata.metadata[0] = Bytes::from_static(&[0xff]);
    let error = verify_block(&other, 12, &previous, &chain.bundle).unwrap_err();
    assert!(matches!(error, ValidationError::Signatures { .. }), "{error}");
}

static BUNDLE: LazyLock<Bundle> = LazyLock::new(|| Bundle::from_config_block(&golden::block(0)).unwrap());

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn flipped_bytes_never_panic(number in 1..golden::BLOCKS, flips in prop::collection::vec((any::<prop::sample::Index>(), 1_u8..), 1..6)) {
        let mut bytes = as_ordered(number).to_vec();
        for (at, mask) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= mask;
        }
        if let Ok(mut block) = decode_block(&Bytes::from(bytes)) {
            let _ = verify_block(&block, number, &[], &BUNDLE);
            verify_signatures(&mut block, &BUNDLE, &KnownSignatures::default());
        }
    }

    #[test]
    fn cut_blocks_never_panic(number in 1..golden::BLOCKS, at in any::<prop::sample::Index>()) {
        let bytes = as_ordered(number);
        let cut = bytes.slice(..at.index(bytes.len()));
        if let Ok(mut block) = decode_block(&cut) {
            verify_signatures(&mut block, &BUNDLE, &KnownSignatures::default());
        }
    }
}
