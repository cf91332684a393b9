//! Any message as JSON and back, as configtxlator does for whoever can reach its port: what decodes is encoded again, and after
//! the first round, which drops fields nobody knows, the JSON stays the same.
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
    let round = |json: &str| {
        let encoded = encode(name, json).ok()?;
        Some(decode(name, &encoded).expect("what was written can be read"))
    };
    if let Ok(json) = decode(name, bytes)
        && let Some(once) = round(&json)
    {
        assert_eq!(round(&once).as_ref(), Some(&once), "{name}");
    }
    if let Ok(json) = std::str::from_utf8(bytes) {
        let _ = encode(name, json);
    }
});
