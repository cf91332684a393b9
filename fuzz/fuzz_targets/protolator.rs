//! Any message as JSON and back, as configtxlator does for whoever can reach its port: what decodes is encoded again, and the JSON of
//! the result is the same.
#![no_main]

use fabric_client::protolator::{decode, encode};
use libfuzzer_sys::fuzz_target;

const TYPES: [&str; 6] = [
    "common.Config",
    "common.ConfigUpdate",
    "common.Block",
    "common.Envelope",
    "common.ConfigUpdateEnvelope",
    "protos.Transaction",
];

fuzz_target!(|data: &[u8]| {
    let Some((choice, bytes)) = data.split_first() else { return };
    let name = TYPES[usize::from(*choice) % TYPES.len()];
    if let Ok(json) = decode(name, bytes)
        && let Ok(encoded) = encode(name, &json)
    {
        let again = decode(name, &encoded).expect("what was written can be read");
        assert_eq!(again, json, "{name}");
    }
    if let Ok(json) = std::str::from_utf8(bytes) {
        let _ = encode(name, json);
    }
});
