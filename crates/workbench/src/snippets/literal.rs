//! Texts and values as the languages write them, and examples for values that are not given.

use serde_json::{Map, Value, json};

use crate::interface::{Method, Parameter};

/// A text for TypeScript, Python, Go and Java: the escapes of JSON mean the same in all of them.
pub(super) fn text(words: &str) -> String {
    // Java reads \u escapes before anything else, but JSON never writes one for a quote or a line end.
    Value::String(words.to_owned()).to_string()
}

/// A word for the shell.
pub(super) fn shell(words: &str) -> String {
    format!("'{}'", words.replace('\'', r"'\''"))
}

/// The arguments by name, each given one as it is and an example for each missing one.
pub(super) fn arguments(method: &Method, given: &Value) -> Value {
    let mut made = Map::new();
    for (index, parameter) in method.parameters.iter().enumerate() {
        let name = name(index, parameter);
        let found = match given {
            Value::Object(fields) => fields.get(&name),
            Value::Array(items) => items.get(index),
            _ => None,
        };
        made.insert(name, found.cloned().unwrap_or_else(|| example(&parameter.schema, 0)));
    }
    Value::Object(made)
}

pub(super) fn name(index: usize, parameter: &Parameter) -> String {
    if parameter.name.is_empty() { index.to_string() } else { parameter.name.clone() }
}

/// A value that a schema allows.
fn example(schema: &Value, depth: usize) -> Value {
    if depth > 8 {
        return Value::Null;
    }
    if let Some(first) = schema["enum"].as_array().and_then(|values| values.first()) {
        return first.clone();
    }
    let format = schema["format"].as_str().unwrap_or_default();
    match schema["type"].as_str() {
        Some("boolean") => true.into(),
        Some("integer" | "number") => schema["minimum"].as_i64().unwrap_or(1).max(1).into(),
        Some("array") => {
            let count = schema["minItems"].as_u64().unwrap_or(1).min(4);
            (0..count).map(|_| example(&schema["items"], depth + 1)).collect()
        }
        Some("object") => {
            let properties = schema["properties"].as_object();
            let made: Map<String, Value> =
                properties.into_iter().flatten().map(|(name, part)| (name.clone(), example(part, depth + 1))).collect();
            Value::Object(made)
        }
        _ if format.starts_with("uint") || format.starts_with("int") => "1".into(),
        _ if format == "address" => format!("0x{}1", "0".repeat(39)).into(),
        _ if format == "bytes" => "0x00".into(),
        _ if format.starts_with("bytes") => {
            let length = format.trim_start_matches("bytes").parse::<usize>().unwrap_or(32).min(32);
            format!("0x{}", "00".repeat(length)).into()
        }
        _ => json!("text"),
    }
}

/// A value of an ABI type for web3.py, which wants numbers as numbers and addresses with their checksum.
pub(super) fn python(parameter: &Parameter, value: &Value) -> String {
    if let Some(at) = parameter.kind.rfind('[') {
        let element = Parameter { kind: parameter.kind[..at].to_owned(), ..parameter.clone() };
        let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
        let items: Vec<String> = items.iter().map(|item| python(&element, item)).collect();
        return format!("[{}]", items.join(", "));
    }
    match parameter.kind.as_str() {
        "tuple" => {
            let parts: Vec<String> = parameter
                .components
                .iter()
                .enumerate()
                .map(|(index, part)| {
                    python(part, value.get(name(index, part)).or_else(|| value.get(index)).unwrap_or(&Value::Null))
                })
                .collect();
            // One value in parentheses alone would be no tuple.
            format!("({},)", parts.join(", "))
        }
        "bool" => if value == &Value::Bool(true) { "True" } else { "False" }.to_owned(),
        "address" => format!("Web3.to_checksum_address({})", plain(value)),
        kind if kind.starts_with("uint") || kind.starts_with("int") => {
            let digits = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let number = digits.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-');
            if number { digits } else { "0".to_owned() }
        }
        _ => plain(value),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(words) => text(words),
        other => text(&other.to_string()),
    }
}
