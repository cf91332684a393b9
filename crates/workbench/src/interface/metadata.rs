//! Contract metadata of Fabric's contract APIs (Node, Java, Go) to the interface document.

use serde_json::{Map, Value, json};

use super::schema::text_signature;
use super::{Engine, Interface, InterfaceError, Method, Parameter, malformed};

/// The contract that every chaincode of these APIs has and that answers the metadata.
const SYSTEM: &str = "org.hyperledger.fabric";
/// How deep references are followed; recursive types end here.
const MAX_DEPTH: usize = 8;
/// The most contracts, transactions of one, and parameters of one.
const MAX_COUNT: usize = 1024;

pub(super) fn read(name: &str, version: &str, metadata: &Value) -> Result<Interface, InterfaceError> {
    let contracts = metadata["contracts"]
        .as_object()
        .ok_or_else(|| malformed("contracts", "is missing: this is no contract metadata"))?;
    let schemas = &metadata["components"]["schemas"];
    let own: Vec<(&String, &Value)> = contracts.iter().filter(|(key, _)| key.as_str() != SYSTEM).collect();
    if own.len() > MAX_COUNT {
        return Err(malformed("contracts", format!("has more than {MAX_COUNT} entries")));
    }
    let marked =
        own.iter().find(|(_, contract)| contract["default"] == true || contract["contractInstance"]["default"] == true);
    // Without a mark the first one is called when no class is named; with one contract there is no doubt.
    let default = marked.or_else(|| own.first()).map(|(key, _)| key.as_str());
    let mut methods = Vec::new();
    for (key, contract) in &own {
        let transactions = contract["transactions"].as_array().map(Vec::as_slice).unwrap_or_default();
        if transactions.len() > MAX_COUNT {
            return Err(malformed(
                format!("contracts.{key}.transactions"),
                format!("has more than {MAX_COUNT} entries"),
            ));
        }
        for (index, transaction) in transactions.iter().enumerate() {
            let path = format!("contracts.{key}.transactions[{index}]");
            methods.push(method(transaction, &path, key, default == Some(key.as_str()), schemas)?);
        }
    }
    let info = default.map_or(&Value::Null, |key| &contracts[key]["info"]);
    let texts = [&info["title"], &info["description"], &metadata["info"]["description"]];
    let description = texts.into_iter().filter_map(Value::as_str).find(|text| !text.is_empty()).unwrap_or_default();
    let stated = metadata["info"]["version"].as_str().unwrap_or_default();
    Ok(Interface {
        name: name.to_owned(),
        version: if version.is_empty() { stated.to_owned() } else { version.to_owned() },
        engine: Engine::Fabric,
        description: description.to_owned(),
        methods,
        events: Vec::new(),
        errors: Vec::new(),
        constructor: None,
        engine_details: json!({
            "default_contract": default,
            "contracts": own.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(),
            "schemas": schemas,
        }),
    })
}

fn method(
    transaction: &Value,
    path: &str,
    class: &str,
    default: bool,
    schemas: &Value,
) -> Result<Method, InterfaceError> {
    let plain = transaction["name"].as_str().filter(|name| !name.is_empty());
    let plain = plain.ok_or_else(|| malformed(format!("{path}.name"), "is missing"))?;
    let name = if default { plain.to_owned() } else { format!("{class}:{plain}") };
    let given = transaction["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
    if given.len() > MAX_COUNT {
        return Err(malformed(format!("{path}.parameters"), format!("has more than {MAX_COUNT} entries")));
    }
    let parameters: Vec<Parameter> =
        given.iter().enumerate().map(|(index, entry)| parameter(entry, &format!("param{index}"), schemas)).collect();
    let returns = match &transaction["returns"] {
        Value::Null => Vec::new(),
        Value::Array(several) => several.iter().map(|entry| parameter(entry, "", schemas)).collect(),
        // Node and Java write the schema itself, Go an object around it.
        single => {
            let schema = if single["schema"].is_object() { &single["schema"] } else { single };
            let empty = schema.as_object().is_none_or(Map::is_empty);
            if empty { Vec::new() } else { vec![parameter(&json!({ "schema": schema }), "", schemas)] }
        }
    };
    let tags = [&transaction["tag"], &transaction["tags"]];
    let tags: Vec<String> = tags
        .into_iter()
        .flat_map(|list| list.as_array().into_iter().flatten())
        .filter_map(|tag| tag.as_str().map(str::to_ascii_lowercase))
        .collect();
    let says = |word: &str| tags.iter().any(|tag| tag == word);
    Ok(Method {
        signature: text_signature(&name, &parameters),
        name,
        description: transaction["description"].as_str().unwrap_or_default().to_owned(),
        // The Java and Node APIs write both tags for some transactions; sending is then what is meant.
        read_only: says("evaluate") && !says("submit") && !says("submittx"),
        parameters,
        returns,
        details: json!({ "contract": class, "tags": tags }),
    })
}

fn parameter(entry: &Value, fallback: &str, schemas: &Value) -> Parameter {
    let given = if entry["schema"].is_object() { entry["schema"].clone() } else { json!({ "type": "string" }) };
    let name = entry["name"].as_str().filter(|name| !name.is_empty()).unwrap_or(fallback);
    let description = entry["description"].as_str().or_else(|| given["description"].as_str()).unwrap_or_default();
    Parameter {
        name: name.to_owned(),
        kind: kind(&given),
        schema: resolve(&given, schemas, 0),
        description: description.to_owned(),
        components: Vec::new(),
        indexed: false,
        internal_type: String::new(),
    }
}

/// A short name of a schema: `string`, `Asset`, `Asset[]`.
fn kind(schema: &Value) -> String {
    if let Some(reference) = schema["$ref"].as_str() {
        return reference.rsplit('/').next().unwrap_or("object").to_owned();
    }
    match schema["type"].as_str() {
        Some("array") => format!("{}[]", kind(&schema["items"])),
        Some(plain) => plain.to_owned(),
        None => "any".to_owned(),
    }
}

/// The schema with references to the metadata's own types put in.
fn resolve(schema: &Value, schemas: &Value, depth: usize) -> Value {
    if depth > MAX_DEPTH {
        return json!({});
    }
    match schema {
        Value::Object(fields) => {
            if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
                let name = reference.rsplit('/').next().unwrap_or_default();
                return match schemas.get(name) {
                    Some(found) => resolve(found, schemas, depth + 1),
                    None => json!({ "type": "object" }),
                };
            }
            let resolved: Map<String, Value> = fields
                .iter()
                .filter(|(key, _)| key.as_str() != "$id" && key.as_str() != "$schema")
                .map(|(key, value)| (key.clone(), resolve(value, schemas, depth + 1)))
                .collect();
            Value::Object(resolved)
        }
        Value::Array(items) => items.iter().map(|item| resolve(item, schemas, depth + 1)).collect(),
        plain => plain.clone(),
    }
}
