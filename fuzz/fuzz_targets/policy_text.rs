//! The policy language: nothing panics, and what was read can be read back from inside a block and compiled.
#![no_main]

use std::sync::LazyLock;

use fabric_channel::config::Bundle;
use fabric_channel::policy::{dsl, implicit_meta_from_str};
use fabric_proto::common::Block;
use fabric_proto::protos::{ApplicationPolicy, application_policy};
use libfuzzer_sys::fuzz_target;
use prost::Message;

static BUNDLE: LazyLock<Bundle> = LazyLock::new(|| {
    let genesis = include_bytes!("../../tests/golden/fabric/blocks/000.block");
    Bundle::from_config_block(&Block::decode(&genesis[..]).unwrap()).unwrap()
});

fuzz_target!(|text: &str| {
    let _ = implicit_meta_from_str(text);
    let Ok(envelope) = dsl::parse(text) else { return };
    let policy = ApplicationPolicy { r#type: Some(application_policy::Type::SignaturePolicy(envelope)) };
    let policy = BUNDLE.policies().application_policy(&policy.encode_to_vec().into()).unwrap();
    assert_eq!(policy.evaluate_identities(&[]).is_ok(), policy.explain(&[]).satisfied);
});
