//! Configurations and updates of them: nothing panics, an update that is computed leads to a configuration without differences
//! to the wished one, and one that was not signed is refused.
#![no_main]

use std::sync::LazyLock;

use bytes::Bytes;
use fabric_channel::config::{Bundle, compute};
use fabric_channel::protoutil;
use fabric_proto::common::{Block, Config, ConfigUpdateEnvelope, HeaderType};
use libfuzzer_sys::fuzz_target;
use prost::Message;

static BUNDLE: LazyLock<Bundle> = LazyLock::new(|| {
    let genesis = include_bytes!("../../tests/golden/fabric/blocks/000.block");
    Bundle::from_config_block(&Block::decode(&genesis[..]).unwrap()).unwrap()
});

fuzz_target!(|data: &[u8]| {
    // The bytes as an update, unsigned.
    let update = ConfigUpdateEnvelope { config_update: Bytes::copy_from_slice(data), signatures: Vec::new() };
    let envelope = protoutil::signed_config_update("goldenchannel", &update, None);
    if let Ok(proposed) = BUNDLE.propose_update(&envelope) {
        // Only what nobody guards can pass; both sides must agree about it.
        BUNDLE.validate(&proposed).unwrap();
    }
    // The bytes as an envelope of any type.
    let raw =
        protoutil::signed_envelope(HeaderType::ConfigUpdate, "goldenchannel", None, Bytes::copy_from_slice(data), None);
    let _ = BUNDLE.propose_update(&raw);
    // The bytes as a configuration.
    let Ok(config) = Config::decode(data) else { return };
    if let Ok(update) = compute(BUNDLE.config(), &config) {
        assert!(update.write_set.is_some());
    }
    if let Ok(bundle) = Bundle::from_config("goldenchannel", config) {
        let _ = BUNDLE.validate_new(&bundle);
        let _ = bundle.check_peer_capabilities();
        let _ = bundle.check_orderer_capabilities();
        for path in bundle.policies().paths() {
            let _ = bundle.policies().policy(path).evaluate_identities(&[]);
        }
    }
});
