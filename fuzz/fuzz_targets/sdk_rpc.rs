//! Requests of JSON-RPC as SDKs and Ethereum's clients send them, read in every way that methods read them: nothing panics.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| bcos_node::fuzz_request(data));
