//! Solidity ABI and `NatSpec` to the interface document and back.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::schema::{abi_schema, canonical};
use super::{Constructor, Engine, ErrorShape, Event, Interface, InterfaceError, Method, Parameter, malformed};
use crate::values::Suite;

/// The most entries of an ABI.
const MAX_ENTRIES: usize = 4096;
/// The most parameters of one entry.
const MAX_PARAMETERS: usize = 256;
/// The deepest tuple.
const MAX_DEPTH: usize = 16;

pub(super) fn read(
    name: &str,
    version: &str,
    abi: &Value,
    devdoc: Option<&Value>,
    userdoc: Option<&Value>,
) -> Result<Interface, InterfaceError> {
    let entries = abi.as_array().ok_or_else(|| malformed("abi", "must be a list of entries, as compilers write it"))?;
    if entries.len() > MAX_ENTRIES {
        return Err(malformed("abi", format!("has {} entries; at most {MAX_ENTRIES} are read", entries.len())));
    }
    let docs = Docs { developer: devdoc.unwrap_or(&Value::Null), user: userdoc.unwrap_or(&Value::Null) };
    let mut contract = Interface {
        name: name.to_owned(),
        version: version.to_owned(),
        engine: Engine::Bcos,
        description: docs.contract(),
        methods: Vec::new(),
        events: Vec::new(),
        errors: Vec::new(),
        constructor: None,
        engine_details: json!({}),
    };
    let mut details = Map::new();
    for (index, entry) in entries.iter().enumerate() {
        let path = format!("[{index}]");
        // Before Solidity 0.5 the type of a function could be left out.
        match entry.get("type").and_then(Value::as_str).unwrap_or("function") {
            "function" => contract.methods.push(method(entry, &path, &docs)?),
            "event" => contract.events.push(event(entry, &path, &docs)?),
            "error" => contract.errors.push(error(entry, &path, &docs)?),
            "constructor" => contract.constructor = Some(constructor(entry, &path, &docs)?),
            kind @ ("receive" | "fallback") => {
                details.insert(kind.to_owned(), json!({ "payable": payable(entry) }));
            }
            other => {
                return Err(malformed(
                    format!("{path}.type"),
                    format!("is {other:?}; known are function, event, error, constructor, receive, fallback"),
                ));
            }
        }
    }
    if let Some(constructor) = entries.iter().find(|entry| entry["type"] == "constructor") {
        details.insert("constructor_payable".into(), payable(constructor).into());
    }
    contract.engine_details = Value::Object(details);
    Ok(contract)
}

fn payable(entry: &Value) -> bool {
    entry["stateMutability"] == "payable" || entry["payable"] == true
}

fn name_of<'a>(entry: &'a Value, path: &str) -> Result<&'a str, InterfaceError> {
    let name = entry.get("name").and_then(Value::as_str).unwrap_or_default();
    let fits = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '$';
    if name.is_empty() || name.len() > 256 || !name.chars().all(fits) {
        return Err(malformed(format!("{path}.name"), format!("is {name:?}; a Solidity name is needed")));
    }
    Ok(name)
}

fn method(entry: &Value, path: &str, docs: &Docs<'_>) -> Result<Method, InterfaceError> {
    let name = name_of(entry, path)?;
    let mut parameters = parameters(entry.get("inputs"), &format!("{path}.inputs"), 0)?;
    let mut returns = self::parameters(entry.get("outputs"), &format!("{path}.outputs"), 0)?;
    let signature = signature(name, &parameters);
    docs.describe("methods", &signature, &mut parameters);
    docs.describe_returns(&signature, &mut returns);
    let mutability = entry["stateMutability"].as_str().unwrap_or_default();
    let read_only = matches!(mutability, "view" | "pure") || entry["constant"] == true;
    let details = json!({
        "selector": Suite::Keccak.selector(&signature),
        "selector_sm3": Suite::Sm3.selector(&signature),
        "payable": payable(entry),
        "mutability": if mutability.is_empty() { if read_only { "view" } else { "nonpayable" } } else { mutability },
    });
    let description = docs.text("methods", &signature);
    Ok(Method { name: name.to_owned(), signature, description, read_only, parameters, returns, details })
}

fn event(entry: &Value, path: &str, docs: &Docs<'_>) -> Result<Event, InterfaceError> {
    let name = name_of(entry, path)?;
    let mut parameters = parameters(entry.get("inputs"), &format!("{path}.inputs"), 0)?;
    let signature = signature(name, &parameters);
    docs.describe("events", &signature, &mut parameters);
    let description = docs.text("events", &signature);
    let anonymous = entry["anonymous"] == true;
    Ok(Event { name: name.to_owned(), signature, description, parameters, anonymous })
}

fn error(entry: &Value, path: &str, docs: &Docs<'_>) -> Result<ErrorShape, InterfaceError> {
    let name = name_of(entry, path)?;
    let mut parameters = parameters(entry.get("inputs"), &format!("{path}.inputs"), 0)?;
    let signature = signature(name, &parameters);
    docs.describe("errors", &signature, &mut parameters);
    let description = docs.text("errors", &signature);
    Ok(ErrorShape { name: name.to_owned(), signature, description, parameters })
}

fn constructor(entry: &Value, path: &str, docs: &Docs<'_>) -> Result<Constructor, InterfaceError> {
    let mut parameters = parameters(entry.get("inputs"), &format!("{path}.inputs"), 0)?;
    docs.describe("methods", "constructor", &mut parameters);
    Ok(Constructor { description: docs.text("methods", "constructor"), parameters })
}

fn parameters(list: Option<&Value>, path: &str, depth: usize) -> Result<Vec<Parameter>, InterfaceError> {
    let Some(list) = list.filter(|list| !list.is_null()) else { return Ok(Vec::new()) };
    let list = list.as_array().ok_or_else(|| malformed(path, "must be a list"))?;
    if depth > MAX_DEPTH || list.len() > MAX_PARAMETERS {
        return Err(malformed(path, format!("is nested deeper than {MAX_DEPTH} or longer than {MAX_PARAMETERS}")));
    }
    list.iter()
        .enumerate()
        .map(|(index, entry)| {
            let path = format!("{path}[{index}]");
            let kind = entry.get("type").and_then(Value::as_str).unwrap_or_default();
            let components = parameters(entry.get("components"), &format!("{path}.components"), depth + 1)?;
            let internal = entry.get("internalType").and_then(Value::as_str).unwrap_or_default();
            let mut parameter = Parameter {
                name: entry.get("name").and_then(Value::as_str).unwrap_or_default().to_owned(),
                kind: kind.to_owned(),
                schema: Value::Null,
                description: String::new(),
                components,
                indexed: entry["indexed"] == true,
                internal_type: if internal == kind { String::new() } else { internal.to_owned() },
            };
            parameter.schema = abi_schema(&parameter).map_err(|why| malformed(format!("{path}.type"), why))?;
            Ok(parameter)
        })
        .collect()
}

pub(super) fn signature(name: &str, parameters: &[Parameter]) -> String {
    let types: Vec<String> = parameters.iter().map(canonical).collect();
    format!("{name}({})", types.join(","))
}

/// The two `NatSpec` documents.
struct Docs<'a> {
    developer: &'a Value,
    user: &'a Value,
}

impl Docs<'_> {
    fn contract(&self) -> String {
        let texts = [&self.developer["title"], &self.user["notice"], &self.developer["details"]];
        join(texts.into_iter().filter_map(Value::as_str))
    }

    /// The entry of a method or event; errors and (since 0.8.x) events may have several documents, of which the first is taken.
    fn entry<'b>(document: &'b Value, section: &str, key: &str) -> &'b Value {
        match &document[section][key] {
            Value::Array(several) => several.first().unwrap_or(&Value::Null),
            found => found,
        }
    }

    fn text(&self, section: &str, key: &str) -> String {
        let user = Self::entry(self.user, section, key);
        // Compilers before 0.6 wrote the constructor's notice as a bare text.
        let notice = user.as_str().or_else(|| user["notice"].as_str());
        join(notice.into_iter().chain(Self::entry(self.developer, section, key)["details"].as_str()))
    }

    fn describe(&self, section: &str, key: &str, parameters: &mut [Parameter]) {
        let described = &Self::entry(self.developer, section, key)["params"];
        for parameter in parameters {
            if let Some(text) = described[&parameter.name].as_str() {
                text.clone_into(&mut parameter.description);
            }
        }
    }

    fn describe_returns(&self, key: &str, returns: &mut [Parameter]) {
        let entry = Self::entry(self.developer, "methods", key);
        for (index, parameter) in returns.iter_mut().enumerate() {
            let named = entry["returns"][&parameter.name].as_str();
            let numbered = entry["returns"][format!("_{index}")].as_str();
            // One text for all results before 0.6.
            let single = entry["return"].as_str().filter(|_| index == 0);
            if let Some(text) = named.or(numbered).or(single) {
                text.clone_into(&mut parameter.description);
            }
        }
    }
}

fn join<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    texts.map(str::trim).filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n")
}

pub(super) fn write(contract: &Interface) -> Value {
    if contract.engine != Engine::Bcos {
        return json!([]);
    }
    let mut entries = Vec::new();
    if let Some(constructor) = &contract.constructor {
        let payable = contract.engine_details["constructor_payable"] == true;
        entries.push(json!({
            "type": "constructor",
            "inputs": inputs(&constructor.parameters, false),
            "stateMutability": if payable { "payable" } else { "nonpayable" },
        }));
    }
    for method in &contract.methods {
        let default = if method.read_only { "view" } else { "nonpayable" };
        entries.push(json!({
            "type": "function",
            "name": method.name,
            "inputs": inputs(&method.parameters, false),
            "outputs": inputs(&method.returns, false),
            "stateMutability": method.details["mutability"].as_str().unwrap_or(default),
        }));
    }
    for event in &contract.events {
        entries.push(json!({
            "type": "event", "name": event.name, "anonymous": event.anonymous, "inputs": inputs(&event.parameters, true),
        }));
    }
    for error in &contract.errors {
        entries.push(json!({ "type": "error", "name": error.name, "inputs": inputs(&error.parameters, false) }));
    }
    for kind in ["receive", "fallback"] {
        if let Some(details) = contract.engine_details.get(kind) {
            let payable = details["payable"] == true;
            entries.push(json!({ "type": kind, "stateMutability": if payable { "payable" } else { "nonpayable" } }));
        }
    }
    Value::Array(entries)
}

fn inputs(parameters: &[Parameter], event: bool) -> Vec<Value> {
    parameters
        .iter()
        .map(|parameter| {
            let internal = if parameter.internal_type.is_empty() { &parameter.kind } else { &parameter.internal_type };
            let mut entry = BTreeMap::from([
                ("name", json!(parameter.name)),
                ("type", json!(parameter.kind)),
                ("internalType", json!(internal)),
            ]);
            if event {
                entry.insert("indexed", parameter.indexed.into());
            }
            if !parameter.components.is_empty() {
                entry.insert("components", inputs(&parameter.components, false).into());
            }
            json!(entry)
        })
        .collect()
}
