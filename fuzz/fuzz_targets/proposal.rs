//! What a client sends to the endorser: nothing panics, and only what is signed by a member of the channel passes.
#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use fabric_channel::config::Bundle;
use fabric_peer::endorser::check_proposal;
use fabric_proto::common::Block;
use fabric_proto::protos::SignedProposal;
use libfuzzer_sys::fuzz_target;
use prost::Message;

static BUNDLE: LazyLock<Bundle> = LazyLock::new(|| {
    let genesis = include_bytes!("../../tests/golden/fabric/blocks/000.block");
    Bundle::from_config_block(&Block::decode(&genesis[..]).unwrap()).unwrap()
});

fuzz_target!(|data: &[u8]| {
    let Ok(signed) = SignedProposal::decode(Bytes::copy_from_slice(data)) else { return };
    // The times are those of the seeds' network, so that the checks behind the clock's are reached.
    for (now, window) in [(1_795_000_000, Duration::MAX), (0, Duration::from_secs(900)), (u64::MAX, Duration::ZERO)] {
        if let Ok(identity) = check_proposal(signed.clone(), BUNDLE.msp_manager(), Duration::from_secs(now), window) {
            assert!(identity.verify(&signed.proposal_bytes, &signed.signature).is_ok());
        }
    }
});
