//! One REST operation per contract method, as an OpenAPI document.

use serde_json::{Map, Value, json};

use super::{Engine, Interface, Method, Parameter};

pub(super) fn write(contract: &Interface, base: &str) -> Value {
    let mut paths = Map::new();
    for method in &contract.methods {
        let overloaded = contract.methods.iter().filter(|other| other.name == method.name).count() > 1;
        let segment = if overloaded { &method.signature } else { &method.name };
        paths.insert(format!("{base}/{}", encoded(segment)), json!({ "post": operation(contract, method) }));
    }
    let version = if contract.version.is_empty() { "1" } else { &contract.version };
    json!({
        "openapi": "3.1.0",
        "info": { "title": contract.name, "version": version, "description": contract.description },
        "paths": paths,
        "components": { "securitySchemes": { "api_key": { "type": "http", "scheme": "bearer" } } },
        "security": [{ "api_key": [] }],
    })
}

fn operation(contract: &Interface, method: &Method) -> Value {
    let mut body = Map::new();
    body.insert("arguments".into(), object(&method.parameters));
    body.insert("signer".into(), json!({ "type": "string", "description": "identity or account that signs" }));
    if contract.engine == Engine::Fabric {
        body.insert("organisation".into(), json!({ "type": "string" }));
        body.insert("endorsers".into(), json!({ "type": "array", "items": { "type": "string" } }));
        body.insert("transient".into(), json!({ "type": "object", "additionalProperties": { "type": "string" } }));
    } else if method.read_only {
        body.insert("height".into(), json!({ "type": "integer", "minimum": 0 }));
    }
    let required: &[&str] = if method.parameters.is_empty() { &[] } else { &["arguments"] };
    let output = match &method.returns[..] {
        [] => json!({}),
        [only] => only.schema.clone(),
        several => object(several),
    };
    let mut answer = json!({ "type": "object", "properties": { "output": output, "ok": { "type": "boolean" } } });
    if !method.read_only {
        answer["properties"]["transaction"] = json!({ "type": "string" });
        answer["properties"]["height"] = json!({ "type": "integer" });
    }
    let summary = method.description.lines().next().filter(|line| !line.is_empty()).unwrap_or(&method.signature);
    let content = |schema: &Value| json!({ "application/json": { "schema": schema } });
    json!({
        "operationId": identifier(&method.signature),
        "summary": summary,
        "description": method.description,
        "tags": [if method.read_only { "read" } else { "write" }],
        "requestBody": {
            "required": !required.is_empty(),
            "content": content(&json!({ "type": "object", "properties": body, "required": required })),
        },
        "responses": {
            "200": { "description": "the call's result", "content": content(&answer) },
            "default": {
                "description": "problem",
                "content": { "application/problem+json": { "schema": { "type": "object" } } },
            },
        },
    })
}

fn object(parameters: &[Parameter]) -> Value {
    let name = |index: usize, parameter: &Parameter| {
        if parameter.name.is_empty() { index.to_string() } else { parameter.name.clone() }
    };
    let properties: Map<String, Value> = parameters
        .iter()
        .enumerate()
        .map(|(index, parameter)| {
            let mut schema = if parameter.schema.is_object() { parameter.schema.clone() } else { json!({}) };
            if !parameter.description.is_empty() {
                schema["description"] = parameter.description.clone().into();
            }
            (name(index, parameter), schema)
        })
        .collect();
    let required: Vec<String> =
        parameters.iter().enumerate().map(|(index, parameter)| name(index, parameter)).collect();
    json!({ "type": "object", "properties": properties, "required": required })
}

/// A path segment: what is not a letter, digit or one of `-._~` is percent-encoded.
pub(crate) fn encoded(segment: &str) -> String {
    use std::fmt::Write as _;
    let mut made = String::new();
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            made.push(byte as char);
        } else {
            let _ = write!(made, "%{byte:02X}");
        }
    }
    made
}

fn identifier(signature: &str) -> String {
    let made: String =
        signature.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' }).collect();
    made.trim_matches('_').to_owned()
}
