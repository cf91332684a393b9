//! One transaction of a block.
#![no_main]

use bytes::Bytes;
use fabric_channel::protoutil;
use fabric_proto::common::Envelope;
use fabric_validation::decode::decode_transaction;
use libfuzzer_sys::fuzz_target;
use prost::Message;

fuzz_target!(|data: &[u8]| {
    let bytes = Bytes::copy_from_slice(data);
    let _ = decode_transaction(&bytes);
    // What passes as canonical must be what an encoder writes (the encoder drops unknown fields, so it may be shorter).
    if let Ok(envelope) = protoutil::well_formed_envelope(0, &bytes) {
        let encoded = Envelope { payload: envelope.payload, signature: envelope.signature }.encode_to_vec();
        assert!(bytes.starts_with(&encoded));
    }
});
