//! The interface format of FireFly: import and export.

use serde_json::{Map, Value, json};

use super::schema::{abi_type, complete};
use super::{Engine, Interface, InterfaceError, Parameter, malformed};

/// The most methods, events or errors.
const MAX_COUNT: usize = 4096;
/// The deepest schema.
const MAX_DEPTH: usize = 16;

pub(super) fn read(ffi: &Value, engine: Engine) -> Result<Interface, InterfaceError> {
    let name = ffi["name"].as_str().filter(|name| !name.is_empty()).ok_or_else(|| malformed("name", "is missing"))?;
    let section = |key: &str| -> Result<Vec<Value>, InterfaceError> {
        match &ffi[key] {
            Value::Null => Ok(Vec::new()),
            Value::Array(list) if list.len() <= MAX_COUNT => {
                list.iter().enumerate().map(|(index, entry)| item(entry, &format!("{key}[{index}]"), engine)).collect()
            }
            _ => Err(malformed(key, format!("must be a list of at most {MAX_COUNT} entries"))),
        }
    };
    complete(&json!({
        "name": name,
        "version": ffi["version"].as_str().unwrap_or_default(),
        "engine": engine,
        "description": ffi["description"].as_str().unwrap_or_default(),
        "methods": section("methods")?,
        "events": section("events")?,
        "errors": section("errors")?,
        "engine_details": {},
    }))
}

fn item(entry: &Value, path: &str, engine: Engine) -> Result<Value, InterfaceError> {
    let name = entry["name"].as_str().filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| malformed(format!("{path}.name"), "is missing"))?;
    let list = |key: &str| -> Result<Vec<Parameter>, InterfaceError> {
        let given = entry[key].as_array().map(Vec::as_slice).unwrap_or_default();
        given
            .iter()
            .enumerate()
            .map(|(index, entry)| {
                let path = format!("{path}.{key}[{index}]");
                let name = entry["name"].as_str().unwrap_or_default();
                parameter(name, &entry["schema"], &path, engine, 0)
            })
            .collect()
    };
    let mut made = json!({
        "name": name,
        "description": entry["description"].as_str().unwrap_or_default(),
        "parameters": list("params")?,
    });
    if path.starts_with("methods") {
        let mutability = entry["details"]["stateMutability"].as_str().unwrap_or_default();
        let read_only = matches!(mutability, "view" | "pure") || entry["details"]["read_only"] == true;
        made["returns"] = json!(list("returns")?);
        made["read_only"] = read_only.into();
        if !mutability.is_empty() {
            made["details"] = json!({ "mutability": mutability });
        }
    }
    if path.starts_with("events") {
        made["anonymous"] = (entry["details"]["anonymous"] == true).into();
    }
    Ok(made)
}

fn parameter(
    name: &str,
    schema: &Value,
    path: &str,
    engine: Engine,
    depth: usize,
) -> Result<Parameter, InterfaceError> {
    if depth > MAX_DEPTH {
        return Err(malformed(path, format!("is nested deeper than {MAX_DEPTH}")));
    }
    let details = &schema["details"];
    let plain = schema["type"].as_str().unwrap_or("string");
    let mut found = Parameter {
        name: name.to_owned(),
        kind: details["type"].as_str().unwrap_or(plain).to_owned(),
        schema: Value::Null,
        description: schema["description"].as_str().unwrap_or_default().to_owned(),
        components: Vec::new(),
        indexed: details["indexed"] == true,
        internal_type: details["internalType"].as_str().unwrap_or_default().to_owned(),
    };
    if engine == Engine::Fabric {
        found.schema = if schema.is_object() { without_details(schema, 0) } else { json!({ "type": "string" }) };
        return Ok(found);
    }
    if details["type"].as_str().is_none() {
        return Err(malformed(format!("{path}.schema.details.type"), "is missing: the Solidity type is needed"));
    }
    if found.kind.starts_with("tuple") {
        let mut inner = schema;
        let mut levels = 0;
        while inner["items"].is_object() && levels < MAX_DEPTH {
            inner = &inner["items"];
            levels += 1;
        }
        let properties = inner["properties"].as_object();
        let properties = properties.ok_or_else(|| malformed(format!("{path}.schema"), "a tuple needs properties"))?;
        let mut parts: Vec<(&String, &Value)> = properties.iter().collect();
        parts.sort_by_key(|(_, part)| part["details"]["index"].as_u64().unwrap_or(u64::MAX));
        for (name, part) in parts {
            found.components.push(parameter(name, part, &format!("{path}.{name}"), engine, depth + 1)?);
        }
    }
    abi_type(&found).map_err(|why| malformed(format!("{path}.schema.details.type"), why))?;
    Ok(found)
}

fn without_details(schema: &Value, depth: usize) -> Value {
    match schema {
        Value::Object(fields) if depth <= MAX_DEPTH => fields
            .iter()
            .filter(|(key, _)| key.as_str() != "details")
            .map(|(key, value)| (key.clone(), without_details(value, depth + 1)))
            .collect::<Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}

pub(super) fn write(contract: &Interface) -> Value {
    let fabric = contract.engine == Engine::Fabric;
    let list = |parameters: &[Parameter]| -> Vec<Value> {
        parameters
            .iter()
            .map(|parameter| json!({ "name": parameter.name, "schema": schema(parameter, fabric, None) }))
            .collect()
    };
    let methods: Vec<Value> = contract
        .methods
        .iter()
        .map(|method| {
            let details = if fabric {
                json!({ "read_only": method.read_only })
            } else {
                json!({ "stateMutability": method.details["mutability"] })
            };
            json!({
                "name": method.name, "description": method.description, "details": details,
                "params": list(&method.parameters), "returns": list(&method.returns),
            })
        })
        .collect();
    let events: Vec<Value> = contract
        .events
        .iter()
        .map(|event| {
            json!({
                "name": event.name, "description": event.description, "params": list(&event.parameters),
                "details": { "anonymous": event.anonymous },
            })
        })
        .collect();
    let errors: Vec<Value> = contract
        .errors
        .iter()
        .map(|error| json!({ "name": error.name, "description": error.description, "params": list(&error.parameters) }))
        .collect();
    json!({
        "name": contract.name, "version": contract.version, "description": contract.description,
        "methods": methods, "events": events, "errors": errors,
    })
}

fn schema(parameter: &Parameter, fabric: bool, index: Option<usize>) -> Value {
    let mut made = if fabric { parameter.schema.clone() } else { abi_form(&parameter.kind, &parameter.components) };
    if !made.is_object() {
        made = json!({});
    }
    if !parameter.description.is_empty() {
        made["description"] = parameter.description.clone().into();
    }
    if !fabric {
        let internal = if parameter.internal_type.is_empty() { &parameter.kind } else { &parameter.internal_type };
        let mut details = json!({ "type": parameter.kind, "internalType": internal });
        if parameter.indexed {
            details["indexed"] = true.into();
        }
        if let Some(index) = index {
            details["index"] = index.into();
        }
        made["details"] = details;
    }
    made
}

/// The forms FireFly writes: integers as text or number, everything else by its JSON type.
fn abi_form(kind: &str, components: &[Parameter]) -> Value {
    if let Some(element) = kind.strip_suffix(']').and_then(|rest| rest.rfind('[').map(|at| &rest[..at])) {
        return json!({ "type": "array", "items": abi_form(element, components) });
    }
    match kind {
        "bool" => json!({ "type": "boolean" }),
        "tuple" => {
            let parts: Map<String, Value> = components
                .iter()
                .enumerate()
                .map(|(index, part)| (part.name.clone(), schema(part, false, Some(index))))
                .collect();
            json!({ "type": "object", "properties": parts })
        }
        _ if kind.starts_with("uint") || kind.starts_with("int") => {
            json!({ "oneOf": [{ "type": "string" }, { "type": "integer" }] })
        }
        _ => json!({ "type": "string" }),
    }
}
