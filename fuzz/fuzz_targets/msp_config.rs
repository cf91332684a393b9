//! Definitions of organisations as channel configurations carry them: nothing panics, an accepted one is written back.
#![no_main]

use bytes::Bytes;
use fabric_channel::msp::{Msp, MspVersion};
use fabric_proto::msp::FabricMspConfig;
use libfuzzer_sys::fuzz_target;
use prost::Message as _;

fuzz_target!(|data: &[u8]| {
    let Ok(config) = FabricMspConfig::decode(Bytes::copy_from_slice(data)) else { return };
    for version in [MspVersion::V1_0, MspVersion::V1_1, MspVersion::V1_4_3, MspVersion::V3_0] {
        if let Ok(msp) = Msp::from_config(&config, version) {
            let again = Msp::from_msp_config(&msp.to_config(), version).expect("accepted before");
            assert_eq!(again.config(), msp.config());
        }
    }
});
