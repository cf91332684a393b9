//! A block from an orderer: decoding, checks of the whole, signatures, policies. Nothing may panic, and everything gets a
//! verdict or a named refusal.
#![no_main]

use std::collections::HashSet;
use std::sync::LazyLock;

use bytes::Bytes;
use fabric_channel::config::Bundle;
use fabric_ledger::{LedgerError, StateReader, StateRows, VersionedValue};
use fabric_proto::common::Block;
use fabric_proto::protos::TxValidationCode;
use fabric_validation::{KnownSignatures, apply_config, check_policies, decode_block, verify_block, verify_signatures};
use libfuzzer_sys::fuzz_target;
use prost::Message;

static BUNDLE: LazyLock<Bundle> = LazyLock::new(|| {
    let genesis = include_bytes!("../../tests/golden/fabric/blocks/000.block");
    Bundle::from_config_block(&Block::decode(&genesis[..]).unwrap()).unwrap()
});

struct Empty;

impl StateReader for Empty {
    fn get(&self, _: &str, _: &str) -> Result<Option<VersionedValue>, LedgerError> {
        Ok(None)
    }

    fn get_hash(&self, _: &str, _: &str, _: &[u8]) -> Result<Option<VersionedValue>, LedgerError> {
        Ok(None)
    }

    fn range<'a>(&'a self, _: &str, _: &str, _: &str) -> Result<StateRows<'a>, LedgerError> {
        Ok(Box::new(std::iter::empty()))
    }
}

fuzz_target!(|data: &[u8]| {
    let Ok(mut block) = decode_block(&Bytes::copy_from_slice(data)) else { return };
    let _ = verify_block(&block, block.number(), &[], &BUNDLE);
    verify_signatures(&mut block, &BUNDLE, &KnownSignatures::default());
    let config = apply_config(&block, &BUNDLE);
    if check_policies(&mut block, &BUNDLE, &Empty, &HashSet::new()).is_ok() && config.is_ok() {
        assert!(block.transactions.iter().all(|tx| tx.code != TxValidationCode::NotValidated));
    }
});
