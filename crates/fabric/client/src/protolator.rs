//! Messages as the JSON that upstream's tools read and write, in which bytes that hold further messages are opened.
//!
//! The form has upstream's field names, enumerations by name, 64-bit integers as texts, bytes in base64, absent messages as
//! `null`; payloads, headers, configuration values by their keys, policies by their types, members' definitions and read-write
//! sets are shown as what they hold. Keys are sorted and indented by tabs, so equal messages give equal texts.

mod from_json;
mod plain;
mod schema;
mod text;
mod to_json;
mod wire;

use std::sync::OnceLock;

use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use serde_json::Value;

pub use schema::GroupKind;
use schema::View;

/// Opaque bytes inside opaque bytes are opened this deep and no deeper.
const MAX_DEPTH: usize = 64;

/// Why a message cannot be turned into JSON or back. The texts follow upstream's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TranslateError(String);

impl TranslateError {
    fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    fn within(self, context: impl std::fmt::Display) -> Self {
        Self(format!("{context}: {}", self.0))
    }
}

fn pool() -> &'static DescriptorPool {
    static POOL: OnceLock<DescriptorPool> = OnceLock::new();
    // The descriptors are part of this program; a pool that does not hold them makes every type unknown.
    POOL.get_or_init(|| DescriptorPool::decode(fabric_proto::DESCRIPTORS).unwrap_or_default())
}

fn descriptor(name: &str) -> Result<MessageDescriptor, TranslateError> {
    pool().get_message_by_name(name).ok_or_else(|| TranslateError::new("proto: not found"))
}

/// Whether there is a message type of this name (`common.Config`).
pub fn is_known(name: &str) -> bool {
    descriptor(name).is_ok()
}

/// A message's bytes as JSON text.
pub fn decode(type_name: &str, bytes: &[u8]) -> Result<String, TranslateError> {
    let message = wire::decode(&descriptor(type_name)?, bytes).map_err(|error| error.within("error unmarshalling"))?;
    let tree = to_json::tree(&message, &View::Plain, 0).map_err(|error| error.within("error encoding output"))?;
    Ok(text::indented(&Value::Object(tree)))
}

/// A configuration group's bytes as JSON text; `kind` says where in the tree it belongs.
pub fn decode_group(kind: GroupKind, bytes: &[u8]) -> Result<String, TranslateError> {
    let message = wire::decode(&descriptor("common.ConfigGroup")?, bytes)?;
    Ok(text::indented(&Value::Object(to_json::tree(&message, &View::Group(kind), 0)?)))
}

/// The bytes of the message that a JSON text describes.
pub fn encode(type_name: &str, json: &str) -> Result<Vec<u8>, TranslateError> {
    let descriptor = descriptor(type_name)?;
    let value: Value = serde_json::from_str(json).map_err(|error| {
        TranslateError::new(format!("error decoding input: error unmarshaling intermediate JSON: {error}"))
    })?;
    let Value::Object(tree) = value else {
        return Err(TranslateError::new(
            "error decoding input: error unmarshaling intermediate JSON: the document is not an object",
        ));
    };
    let message: DynamicMessage =
        from_json::message(tree, &descriptor, &View::Plain, 0).map_err(|error| error.within("error decoding input"))?;
    Ok(wire::encode(&message))
}
