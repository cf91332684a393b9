//! Types: Solidity's as the ABI writes them, their JSON Schemas, and the JSON Schema of the document itself.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{Engine, Interface, InterfaceError, Parameter, abi, malformed};

/// The most elements of one dimension of a fixed array.
const MAX_FIXED: usize = 65_536;
/// The most 32-byte words that a type without dynamic parts may take.
const MAX_WORDS: usize = 131_072;
/// The most dimensions of an array.
const MAX_DIMENSIONS: usize = 8;
/// Integers of more bits are texts in JSON, since JavaScript would round them.
pub(crate) const NUMBER_BITS: usize = 48;

/// A type of the ABI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AbiType {
    Uint(usize),
    Int(usize),
    Address,
    Bool,
    Text,
    Bytes,
    FixedBytes(usize),
    /// Address and selector, 24 bytes.
    Function,
    Tuple(Vec<(String, AbiType)>),
    Array(Box<AbiType>),
    FixedArray(Box<AbiType>, usize),
}

/// Reads a parameter's type.
pub(crate) fn abi_type(parameter: &Parameter) -> Result<AbiType, String> {
    let found = read_type(&parameter.kind, &parameter.components)?;
    match words(&found) {
        Some(_) => Ok(found),
        None => Err(format!("{:?} is larger than {MAX_WORDS} words", parameter.kind)),
    }
}

fn read_type(kind: &str, components: &[Parameter]) -> Result<AbiType, String> {
    let base_end = kind.find('[').unwrap_or(kind.len());
    let (base, mut dimensions) = kind.split_at(base_end);
    let mut found = base_type(base, components)?;
    let mut count = 0;
    while !dimensions.is_empty() {
        count += 1;
        let unclosed = || format!("{kind:?} is no type: a [ is not closed");
        let inner = dimensions.strip_prefix('[').ok_or_else(unclosed)?;
        let (length, rest) = inner.split_once(']').ok_or_else(unclosed)?;
        found = if length.is_empty() {
            AbiType::Array(Box::new(found))
        } else {
            let length: usize = length.parse().map_err(|_| format!("{length:?} in {kind:?} is no array length"))?;
            if length == 0 || length > MAX_FIXED {
                return Err(format!("arrays have 1 to {MAX_FIXED} elements, {kind:?} has {length}"));
            }
            AbiType::FixedArray(Box::new(found), length)
        };
        if count > MAX_DIMENSIONS {
            return Err(format!("{kind:?} has more than {MAX_DIMENSIONS} dimensions"));
        }
        dimensions = rest;
    }
    Ok(found)
}

fn base_type(base: &str, components: &[Parameter]) -> Result<AbiType, String> {
    let bits = |digits: &str| -> Result<usize, String> {
        if digits.is_empty() {
            return Ok(256);
        }
        let plain = !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit());
        match digits.parse::<usize>() {
            Ok(bits) if plain && bits > 0 && bits <= 256 && bits % 8 == 0 => Ok(bits),
            _ => Err(format!("{base:?} is no type: integers have 8 to 256 bits in steps of 8")),
        }
    };
    match base {
        "address" => Ok(AbiType::Address),
        "bool" => Ok(AbiType::Bool),
        "string" => Ok(AbiType::Text),
        "bytes" => Ok(AbiType::Bytes),
        "function" => Ok(AbiType::Function),
        "tuple" if components.is_empty() => Err("a tuple needs components".to_owned()),
        "tuple" => {
            let mut parts = Vec::new();
            for (index, component) in components.iter().enumerate() {
                let name = if component.name.is_empty() { index.to_string() } else { component.name.clone() };
                parts.push((name, abi_type(component)?));
            }
            Ok(AbiType::Tuple(parts))
        }
        _ if base.starts_with("fixed") || base.starts_with("ufixed") => {
            Err(format!("{base:?}: fixed-point numbers are not supported; Solidity does not implement them either"))
        }
        _ => {
            if let Some(digits) = base.strip_prefix("uint") {
                return bits(digits).map(AbiType::Uint);
            }
            if let Some(digits) = base.strip_prefix("int") {
                return bits(digits).map(AbiType::Int);
            }
            if let Some(digits) = base.strip_prefix("bytes") {
                let plain = !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit());
                return match digits.parse::<usize>() {
                    Ok(length @ 1..=32) if plain => Ok(AbiType::FixedBytes(length)),
                    _ => Err(format!("{base:?} is no type: fixed bytes have 1 to 32 bytes")),
                };
            }
            Err(format!("{base:?} is no type of the ABI"))
        }
    }
}

/// The words that a value takes at least; `None` when that is too many.
fn words(found: &AbiType) -> Option<usize> {
    let count = match found {
        AbiType::Tuple(parts) => {
            parts.iter().try_fold(0_usize, |sum, (_, part)| sum.checked_add(words(part)?)).filter(|sum| *sum > 0)?
        }
        AbiType::FixedArray(element, length) => words(element)?.checked_mul(*length)?,
        AbiType::Array(element) => {
            words(element)?;
            1
        }
        _ => 1,
    };
    (count <= MAX_WORDS).then_some(count)
}

/// The type as it stands in signatures: `uint` as `uint256`, tuples as their parts in parentheses.
pub(super) fn canonical(parameter: &Parameter) -> String {
    let base_end = parameter.kind.find('[').unwrap_or(parameter.kind.len());
    let (base, dimensions) = parameter.kind.split_at(base_end);
    match base {
        "tuple" => {
            let parts: Vec<String> = parameter.components.iter().map(canonical).collect();
            format!("({}){dimensions}", parts.join(","))
        }
        "uint" => format!("uint256{dimensions}"),
        "int" => format!("int256{dimensions}"),
        _ => parameter.kind.clone(),
    }
}

/// JSON Schema of an ABI parameter's values.
pub(super) fn abi_schema(parameter: &Parameter) -> Result<Value, String> {
    let found = abi_type(parameter)?;
    Ok(schema_of(&found))
}

fn schema_of(found: &AbiType) -> Value {
    match found {
        AbiType::Uint(bits) if *bits <= NUMBER_BITS => {
            json!({ "type": "integer", "minimum": 0, "maximum": (1_u64 << bits) - 1, "format": format!("uint{bits}") })
        }
        AbiType::Int(bits) if *bits <= NUMBER_BITS => {
            let half = 1_i64 << (bits - 1);
            json!({ "type": "integer", "minimum": -half, "maximum": half - 1, "format": format!("int{bits}") })
        }
        AbiType::Uint(bits) => {
            json!({ "type": "string", "pattern": "^([0-9]{1,78}|0x[0-9a-fA-F]{1,64})$", "format": format!("uint{bits}") })
        }
        AbiType::Int(bits) => {
            json!({ "type": "string", "pattern": "^-?([0-9]{1,78}|0x[0-9a-fA-F]{1,64})$", "format": format!("int{bits}") })
        }
        AbiType::Address => json!({ "type": "string", "pattern": "^0x[0-9a-fA-F]{40}$", "format": "address" }),
        AbiType::Bool => json!({ "type": "boolean" }),
        AbiType::Text => json!({ "type": "string" }),
        AbiType::Bytes => json!({ "type": "string", "pattern": "^0x([0-9a-fA-F]{2})*$", "format": "bytes" }),
        AbiType::FixedBytes(length) => {
            json!({ "type": "string", "pattern": format!("^0x[0-9a-fA-F]{{{}}}$", length * 2), "format": format!("bytes{length}") })
        }
        AbiType::Function => json!({ "type": "string", "pattern": "^0x[0-9a-fA-F]{48}$", "format": "function" }),
        AbiType::Array(element) => json!({ "type": "array", "items": schema_of(element) }),
        AbiType::FixedArray(element, length) => {
            json!({ "type": "array", "items": schema_of(element), "minItems": length, "maxItems": length })
        }
        AbiType::Tuple(parts) => {
            let properties: Map<String, Value> =
                parts.iter().map(|(name, part)| (name.clone(), schema_of(part))).collect();
            let required: Vec<&String> = parts.iter().map(|(name, _)| name).collect();
            json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
        }
    }
}

/// Reads a document and fills in what follows from the rest.
pub(super) fn complete(document: &Value) -> Result<Interface, InterfaceError> {
    let mut contract: Interface =
        serde_json::from_value(document.clone()).map_err(|error| malformed("interface", error.to_string()))?;
    if contract.name.is_empty() || contract.name.len() > 256 {
        return Err(malformed("name", "is needed, at most 256 characters"));
    }
    if contract.engine == Engine::Bcos {
        return complete_abi(contract);
    }
    let mut seen = BTreeSet::new();
    for (index, method) in contract.methods.iter_mut().enumerate() {
        let path = format!("methods[{index}]");
        if method.name.is_empty() || !seen.insert(method.name.clone()) {
            return Err(malformed(format!("{path}.name"), format!("{:?} is empty or there twice", method.name)));
        }
        fill(&mut method.parameters, &format!("{path}.parameters"))?;
        fill(&mut method.returns, &format!("{path}.returns"))?;
        method.signature = text_signature(&method.name, &method.parameters);
    }
    for (index, event) in contract.events.iter_mut().enumerate() {
        fill(&mut event.parameters, &format!("events[{index}].parameters"))?;
        event.signature = text_signature(&event.name, &event.parameters);
    }
    Ok(contract)
}

/// An ABI contract goes through the ABI once, so that everything derived is the same as for a compiled one.
fn complete_abi(contract: Interface) -> Result<Interface, InterfaceError> {
    let mut read = abi::read(&contract.name, &contract.version, &contract.to_abi(), None, None)?;
    read.description = contract.description;
    for (read, given) in read.methods.iter_mut().zip(contract.methods) {
        describe(&mut read.description, &mut read.parameters, given.description, given.parameters);
        describe(&mut String::new(), &mut read.returns, String::new(), given.returns);
    }
    for (read, given) in read.events.iter_mut().zip(contract.events) {
        describe(&mut read.description, &mut read.parameters, given.description, given.parameters);
    }
    for (read, given) in read.errors.iter_mut().zip(contract.errors) {
        describe(&mut read.description, &mut read.parameters, given.description, given.parameters);
    }
    if let (Some(read), Some(given)) = (&mut read.constructor, contract.constructor) {
        describe(&mut read.description, &mut read.parameters, given.description, given.parameters);
    }
    Ok(read)
}

fn describe(text: &mut String, parameters: &mut [Parameter], given_text: String, given: Vec<Parameter>) {
    *text = given_text;
    for (parameter, given) in parameters.iter_mut().zip(given) {
        parameter.description = given.description;
    }
}

/// Types and schemas of chaincode parameters that a person left out.
fn fill(parameters: &mut [Parameter], path: &str) -> Result<(), InterfaceError> {
    for (index, parameter) in parameters.iter_mut().enumerate() {
        if parameter.schema.is_null() {
            parameter.schema = match parameter.kind.as_str() {
                "string" | "boolean" | "number" | "integer" | "object" | "array" => json!({ "type": parameter.kind }),
                other => {
                    return Err(malformed(
                        format!("{path}[{index}].type"),
                        format!("{other:?} needs a schema; string, boolean, number, integer, object and array do not"),
                    ));
                }
            };
        }
        if !parameter.schema.is_object() {
            return Err(malformed(format!("{path}[{index}].schema"), "must be a JSON Schema object"));
        }
    }
    Ok(())
}

pub(super) fn text_signature(name: &str, parameters: &[Parameter]) -> String {
    let kinds: Vec<&str> = parameters.iter().map(|parameter| parameter.kind.as_str()).collect();
    format!("{name}({})", kinds.join(","))
}

/// The JSON Schema (2020-12) of the interface document, as published in `docs/interface.schema.json`.
pub fn json_schema() -> Value {
    let text = json!({ "type": "string" });
    let list = |item: &str| json!({ "type": "array", "items": { "$ref": format!("#/$defs/{item}") } });
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Interface of a contract",
        "description": "What a contract offers: methods, events, errors and constructor, for either engine.",
        "type": "object",
        "required": ["name", "engine"],
        "additionalProperties": false,
        "properties": {
            "name": { "type": "string", "minLength": 1, "maxLength": 256 },
            "version": text,
            "engine": { "enum": ["fabric", "bcos"] },
            "description": text,
            "methods": list("method"),
            "events": list("event"),
            "errors": list("error"),
            "constructor": { "anyOf": [{ "$ref": "#/$defs/constructor" }, { "type": "null" }] },
            "engine_details": { "type": ["object", "null"] },
        },
        "$defs": {
            "parameter": {
                "type": "object",
                "required": ["type"],
                "additionalProperties": false,
                "properties": {
                    "name": text,
                    "type": { "type": "string", "description": "in the engine's words: uint256, tuple[2][], string, number" },
                    "schema": { "type": ["object", "null"], "description": "JSON Schema of the values" },
                    "description": text,
                    "components": list("parameter"),
                    "indexed": { "type": "boolean" },
                    "internal_type": text,
                },
            },
            "method": {
                "type": "object",
                "required": ["name"],
                "additionalProperties": false,
                "properties": {
                    "name": text, "signature": text, "description": text,
                    "read_only": { "type": "boolean" },
                    "parameters": list("parameter"),
                    "returns": list("parameter"),
                    "details": { "type": ["object", "null"] },
                },
            },
            "event": {
                "type": "object",
                "required": ["name"],
                "additionalProperties": false,
                "properties": {
                    "name": text, "signature": text, "description": text,
                    "parameters": list("parameter"),
                    "anonymous": { "type": "boolean" },
                },
            },
            "error": {
                "type": "object",
                "required": ["name"],
                "additionalProperties": false,
                "properties": { "name": text, "signature": text, "description": text, "parameters": list("parameter") },
            },
            "constructor": {
                "type": "object",
                "additionalProperties": false,
                "properties": { "description": text, "parameters": list("parameter") },
            },
        },
    })
}
