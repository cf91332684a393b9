//! JSON values of forms and programs to what the engines take, and back to what people read.
//!
//! Numbers of more than 53 bits are JSON texts (`"1000000000000000000"`, also `0x…`), small ones may be JSON numbers; bytes are 0x-hex;
//! tuples are objects by field name or arrays; arguments are an object by parameter name or an array.

mod decode;
mod encode;
mod revert;
mod texts;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::interface::{Event, Interface, Method, Parameter};

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
    pub arguments: Value,
}

/// Call data of a method: selector and encoded arguments.
pub fn encode_call(method: &Method, arguments: &Value, suite: Suite) -> Result<Vec<u8>, ValueError> {
    let mut data = suite.hash(&method.signature)[..4].to_vec();
    data.extend(encode::arguments(&method.parameters, arguments, "arguments")?);
    Ok(data)
}

/// What to send to create a contract: creation code (hex, with or without 0x) and encoded constructor arguments.
pub fn encode_constructor(contract: &Interface, bytecode: &str, arguments: &Value) -> Result<Vec<u8>, ValueError> {
    let digits = bytecode.trim().strip_prefix("0x").unwrap_or(bytecode.trim());
    if digits.contains("__") {
        return Err(problem(
            "bytecode",
            "unsupported",
            "calls libraries that are not linked yet; deploy them and put their addresses in".into(),
            "调用了尚未链接的库;请先部署这些库并填入地址".into(),
        ));
    }
    let mut data =
        hex::decode(digits).map_err(|_| problem("bytecode", "bad_hex", "is no hex".into(), "不是十六进制".into()))?;
    if data.is_empty() {
        return Err(problem(
            "bytecode",
            "missing",
            "is empty: interfaces and abstract contracts cannot be deployed".into(),
            "为空:接口和抽象合约不能部署".into(),
        ));
    }
    let parameters = contract.constructor.as_ref().map_or(&[][..], |constructor| &constructor.parameters);
    data.extend(encode::arguments(parameters, arguments, "arguments")?);
    Ok(data)
}

/// What a method gave: `null` for nothing, the value for one result, an object by name (or an array when names lack) for several.
pub fn decode_output(method: &Method, data: &[u8]) -> Result<Value, ValueError> {
    let parameters: Vec<&Parameter> = method.returns.iter().collect();
    let mut values = decode::parameters(&parameters, data, "output").map_err(|(field, why)| {
        let zh = format!("返回的数据与 {} 不符:{why}", method.signature);
        problem(&field, "bad_data", format!("the data does not fit {}: {why}", method.signature), zh)
    })?;
    Ok(match values.len() {
        0 => Value::Null,
        1 => values.remove(0),
        _ => named(&method.returns, values),
    })
}

/// Call data back to method and arguments; `None` when no method of the interface fits. The other hash is tried too.
pub fn decode_call(contract: &Interface, data: &[u8], suite: Suite) -> Option<DecodedCall> {
    let selector = data.get(..4)?;
    for suite in [suite, other(suite)] {
        for method in contract.methods.iter().filter(|method| suite.hash(&method.signature)[..4] == *selector) {
            let parameters: Vec<&Parameter> = method.parameters.iter().collect();
            if let Ok(values) = decode::parameters(&parameters, &data[4..], "arguments") {
                return Some(DecodedCall {
                    method: method.name.clone(),
                    signature: method.signature.clone(),
                    arguments: named(&method.parameters, values),
                });
            }
        }
    }
    None
}

/// A log back to event and arguments; `None` when no event of the interface fits. Topics and data are bytes.
pub fn decode_event(contract: &Interface, topics: &[Vec<u8>], data: &[u8], suite: Suite) -> Option<DecodedEvent> {
    if let Some(first) = topics.first() {
        for suite in [suite, other(suite)] {
            let named = contract.events.iter().filter(|event| !event.anonymous);
            for event in named.filter(|event| suite.hash(&event.signature)[..] == first[..]) {
                if let Some(found) = event_values(event, &topics[1..], data) {
                    return Some(found);
                }
            }
        }
    }
    contract.events.iter().filter(|event| event.anonymous).find_map(|event| event_values(event, topics, data))
}

fn event_values(event: &Event, topics: &[Vec<u8>], data: &[u8]) -> Option<DecodedEvent> {
    let (indexed, plain): (Vec<&Parameter>, Vec<&Parameter>) =
        event.parameters.iter().partition(|parameter| parameter.indexed);
    if indexed.len() != topics.len() {
        return None;
    }
    let mut from_data = decode::parameters(&plain, data, "data").ok()?.into_iter();
    let mut from_topics = topics.iter();
    let mut values = Vec::new();
    for parameter in &event.parameters {
        values.push(if parameter.indexed {
            decode::word_value(parameter, from_topics.next()?).ok()?
        } else {
            from_data.next()?
        });
    }
    Some(DecodedEvent {
        name: event.name.clone(),
        signature: event.signature.clone(),
        arguments: named(&event.parameters, values),
    })
}

/// The output of a reverted call in words.
pub fn decode_revert(contract: Option<&Interface>, data: &[u8], suite: Suite) -> Revert {
    revert::read(contract, data, suite)
}

/// The arguments of a chaincode method as the texts that go to the peers.
pub fn fabric_arguments(method: &Method, arguments: &Value) -> Result<Vec<String>, ValueError> {
    texts::arguments(method, arguments)
}

/// Arguments of a method that no interface describes: a list of texts; other JSON values go as JSON.
pub fn fabric_untyped(arguments: &Value) -> Result<Vec<String>, ValueError> {
    texts::untyped(arguments)
}

/// What a chaincode method gave: JSON when it is, else text, else 0x-hex; `null` for nothing.
pub fn fabric_result(method: &Method, payload: &[u8]) -> Value {
    texts::result(method, payload)
}

/// Values by name; a list when a name is missing or there twice.
fn named(parameters: &[Parameter], values: Vec<Value>) -> Value {
    let mut names: Vec<&str> = parameters.iter().map(|parameter| parameter.name.as_str()).collect();
    names.sort_unstable();
    let clear = names.iter().all(|name| !name.is_empty()) && names.windows(2).all(|pair| pair[0] != pair[1]);
    if clear {
        Value::Object(parameters.iter().map(|parameter| parameter.name.clone()).zip(values).collect())
    } else {
        Value::Array(values)
    }
}

fn other(suite: Suite) -> Suite {
    match suite {
        Suite::Keccak => Suite::Sm3,
        Suite::Sm3 => Suite::Keccak,
    }
}

fn problem(field: &str, code: &'static str, message: String, message_zh: String) -> ValueError {
    ValueError { field: field.to_owned(), code, message, message_zh }
}
