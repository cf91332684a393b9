//! Where the bytes of the real network are.

use std::path::PathBuf;

use bytes::Bytes;
use fabric_proto::common::Block;
use prost::Message as _;

pub(crate) fn path(relative: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../tests/golden/fabric").join(relative)
}

pub(crate) fn bytes(relative: &str) -> Bytes {
    let path = path(relative);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).into()
}

pub(crate) fn text(relative: &str) -> String {
    String::from_utf8(bytes(relative).to_vec()).unwrap()
}

pub(crate) fn json(relative: &str) -> serde_json::Value {
    serde_json::from_str(&text(relative)).unwrap()
}

pub(crate) fn message<T: prost::Message + Default>(relative: &str) -> T {
    T::decode(bytes(relative)).unwrap()
}

pub(crate) const BLOCKS: u64 = 105;

pub(crate) fn block(number: u64) -> Block {
    Block::decode(bytes(&format!("blocks/{number:03}.block"))).unwrap()
}
