//! Requests that were damaged on the way.

use serde_json::Value;

use super::fuzz_request;

const SAMPLES: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/golden/bcos/jsonrpc_samples.json"));
const ETHEREUM: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/golden/bcos/web3_requests.json"));

/// Published requests of both surfaces.
fn requests() -> Vec<String> {
    let samples: Value = serde_json::from_str(SAMPLES).unwrap();
    let ethereum: Value = serde_json::from_str(ETHEREUM).unwrap();
    let native = samples["samples"].as_array().unwrap().iter().map(|sample| sample["request"].to_string());
    let filters = samples["shapes"]["filter_requests"]["requests"].as_array().unwrap().iter().map(Value::to_string);
    let ethereum = ethereum["requests"].as_array().unwrap().iter().map(|request| request.as_str().unwrap().to_owned());
    native.chain(filters).chain(ethereum).filter(|request| (10..2_000).contains(&request.len())).collect()
}

#[test]
fn cut_and_altered_requests_are_read_without_harm() {
    let requests = requests();
    assert!(requests.len() > 30, "{}", requests.len());
    for request in requests {
        let bytes = request.as_bytes();
        for at in 0..bytes.len() {
            fuzz_request(&bytes[..at]);
            for other in [b'0', b'"', b'[', b'{', b'x', 0xff] {
                let mut altered = bytes.to_vec();
                altered[at] = other;
                fuzz_request(&altered);
            }
        }
    }
}
