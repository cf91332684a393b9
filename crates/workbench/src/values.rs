//! JSON values of forms and programs to what the engines take, and back to what people read.
//!
//! Numbers of more than 53 bits are JSON texts (`"1000000000000000000"`, also `0x…`), small ones may be JSON numbers; bytes are 0x-hex;
//! tuples are objects by field name or arrays; arguments are an object by parameter name or an array.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::interface::{Interface, Method};

/// A value that does not fit; `field` is its path (`arguments.order.lines[2].amount`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{field}: {message}")]
pub struct ValueError {
    /// Where.
    pub field: String,
    /// Stable name of the problem (`missing`, `unknown_field`, `wrong_type`, `out_of_range`, `wrong_length`, `bad_hex`,
    /// `bad_address`, `bad_checksum`, `too_large`, `unsupported`, `bad_data`).
    pub code: &'static str,
    /// What is wrong and what would be right, English.
    pub message: String,
    /// The same, Chinese.
    pub message_zh: String,
}

/// The hash that selectors and topics are made with: that of the compiler which built the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Suite {
    /// Keccak-256.
    #[default]
    Keccak,
    /// SM3, of the "-gm" compilers.
    Sm3,
}

impl Suite {
    /// The hash of a signature.
    pub fn hash(self, signature: &str) -> [u8; 32] {
        match self {
            Self::Keccak => konsort_crypto::hash::keccak256(signature.as_bytes()),
            Self::Sm3 => konsort_crypto::hash::sm3(signature.as_bytes()),
        }
    }

    /// The selector of a signature, `0x` and 8 digits.
    pub fn selector(self, signature: &str) -> String {
        format!("0x{}", hex::encode(&self.hash(signature)[..4]))
    }
}

/// A decoded event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DecodedEvent {
    /// Its name.
    pub name: String,
    /// Its signature.
    pub signature: String,
    /// Values by parameter name; texts, bytes and arrays that are topics are there as `{"hash": "0x…"}`.
    #[schema(value_type = Object)]
    pub arguments: Value,
}

/// Decoded call data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DecodedCall {
    /// The method's name.
    pub method: String,
    /// Its signature.
    pub signature: String,
    /// Values by parameter name.
    #[schema(value_type = Object)]
    pub arguments: Value,
}

/// Why a call was reverted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Revert {
    /// `error` (require, revert with text), `panic`, `custom`, `empty` or `unknown`.
    pub kind: String,
    /// `Error`, `Panic`, or the custom error's name; empty when unknown.
    pub name: String,
    /// In words, English.
    pub message: String,
    /// In words, Chinese.
    pub message_zh: String,
    /// Values of a custom error by name, or of a panic `{code}`.
    #[schema(value_type = Object)]
    pub arguments: Value,
}

/// Call data of a method: selector and encoded arguments.
pub fn encode_call(method: &Method, arguments: &Value, suite: Suite) -> Result<Vec<u8>, ValueError> {
    todo!()
}

/// What to send to create a contract: creation code and encoded constructor arguments.
pub fn encode_constructor(contract: &Interface, bytecode: &str, arguments: &Value) -> Result<Vec<u8>, ValueError> {
    todo!()
}

/// What a method gave: `null` for nothing, the value for one result, an object by name (or an array when names lack) for several.
pub fn decode_output(method: &Method, data: &[u8]) -> Result<Value, ValueError> {
    todo!()
}

/// Call data back to method and arguments; `None` when no method of the interface fits.
pub fn decode_call(contract: &Interface, data: &[u8], suite: Suite) -> Option<DecodedCall> {
    todo!()
}

/// A log back to event and arguments; `None` when no event of the interface fits. Topics and data are bytes.
pub fn decode_event(contract: &Interface, topics: &[Vec<u8>], data: &[u8], suite: Suite) -> Option<DecodedEvent> {
    todo!()
}

/// The output of a reverted call in words.
pub fn decode_revert(contract: Option<&Interface>, data: &[u8], suite: Suite) -> Revert {
    todo!()
}

/// The arguments of a chaincode method as the texts that go to the peers.
pub fn fabric_arguments(method: &Method, arguments: &Value) -> Result<Vec<String>, ValueError> {
    todo!()
}

/// What a chaincode method gave: JSON when it is, else text, else 0x-hex; `null` for nothing.
pub fn fabric_result(method: &Method, payload: &[u8]) -> Value {
    todo!()
}
