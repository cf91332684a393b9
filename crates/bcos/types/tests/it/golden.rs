//! Reading the vectors.

use bcos_types::{Address, B256, Bytes};
use konsort_crypto::{CryptoSuite, SuiteKind, suite};
use serde_json::Value;

pub(crate) fn load(name: &str) -> Value {
    let path = format!("{}/../../../tests/golden/bcos/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

pub(crate) fn bytes(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    hex::decode(text.strip_prefix("0x").unwrap_or(text)).unwrap()
}

pub(crate) fn data(value: &Value) -> Bytes {
    bytes(value).into()
}

pub(crate) fn hash(value: &Value) -> B256 {
    B256::try_from(&bytes(value)[..]).unwrap()
}

pub(crate) fn address(value: &Value) -> Address {
    Address::try_from(&bytes(value)[..]).unwrap()
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

pub(crate) fn kind(name: &Value) -> SuiteKind {
    match text(name) {
        "keccak256" | "secp256k1" => SuiteKind::International,
        "sm3" | "sm2" => SuiteKind::Sm,
        other => panic!("suite {other}"),
    }
}

pub(crate) fn chain(vector: &Value) -> &'static dyn CryptoSuite {
    suite(kind(&vector["suite"]))
}
