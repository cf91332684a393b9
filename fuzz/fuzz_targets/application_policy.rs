//! Policies as chaincode definitions and keys carry them: any bytes give a policy or a named refusal, and evaluation agrees with
//! its explanation.
#![no_main]

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use fabric_channel::config::Bundle;
use fabric_channel::msp::Identity;
use fabric_channel::protoutil;
use fabric_proto::common::Block;
use libfuzzer_sys::fuzz_target;
use prost::Message;

static NETWORK: LazyLock<(Bundle, Vec<Arc<Identity>>)> = LazyLock::new(|| {
    let read = |bytes: &[u8]| Block::decode(bytes).unwrap();
    let bundle =
        Bundle::from_config_block(&read(include_bytes!("../../tests/golden/fabric/blocks/000.block"))).unwrap();
    let block = read(include_bytes!("../../tests/golden/fabric/blocks/012.block"));
    let creator = protoutil::signature_header(&protoutil::envelope_at(&block, 0).unwrap()).unwrap().creator;
    let identity = bundle.msp_manager().deserialize(&creator).unwrap();
    (bundle, vec![identity])
});

fuzz_target!(|data: &[u8]| {
    let (bundle, identities) = &*NETWORK;
    let Ok(policy) = bundle.policies().application_policy(&Bytes::copy_from_slice(data)) else { return };
    for identities in [&identities[..], &[]] {
        assert_eq!(policy.evaluate_identities(identities).is_ok(), policy.explain(identities).satisfied);
    }
});
