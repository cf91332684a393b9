//! Bodies of requests from command-line options.

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use clap::ArgMatches;
use serde_json::{Map, Value, json};

use super::document;
use super::table::{Place, Verb};

/// The body of a command's request; `None` when it has none.
pub(super) fn body(verb: &Verb, arguments: &ArgMatches) -> anyhow::Result<Option<Value>> {
    if verb.method == "GET" || verb.method == "DELETE" {
        return Ok(None);
    }
    let mut body = Map::new();
    for field in verb.fields {
        let Some(text) = super::text_of(arguments, field.place, field.name) else { continue };
        let value = match field.place {
            Place::Text | Place::Word => Value::String(text),
            Place::Switch => Value::Bool(true),
            Place::Number => {
                json!(text.parse::<u64>().with_context(|| format!("--{} {text} is not a number", field.name))?)
            }
            Place::Json => serde_json::from_str(&text).with_context(|| format!("--{} is not JSON", field.name))?,
            Place::File => document(&text)?,
            _ => continue,
        };
        if field.key == "*" {
            // A whole document; options beside it win.
            let Value::Object(whole) = value else { bail!("{text_of} holds no object", text_of = field.name) };
            for (key, value) in whole {
                body.entry(key).or_insert(value);
            }
        } else {
            body.insert(field.key.to_owned(), value);
        }
    }
    for field in verb.fields.iter().filter(|field| matches!(field.place, Place::Many | Place::Words)) {
        let values: Vec<String> = arguments.get_many::<String>(field.name).into_iter().flatten().cloned().collect();
        match (field.key, values.is_empty()) {
            (_, true) => {}
            ("organisations", false) if verb.path == "/v1/networks" => {
                let all = values.iter().map(|text| organisation(text)).collect::<anyhow::Result<Vec<_>>>()?;
                body.insert("organisations".to_owned(), Value::Array(all));
            }
            (key, false) => {
                body.entry(key.to_owned()).or_insert_with(|| json!(values));
            }
        }
    }
    if let Some(artifact) = artifact(arguments)? {
        body.insert("artifact".to_owned(), artifact);
    }
    if verb.path.ends_with("/networks") {
        let engine = body.get("engine").and_then(Value::as_str).unwrap_or_default().to_owned();
        let usual = if engine == "bcos" { "pbft" } else { "raft" };
        body.entry("consensus").or_insert_with(|| usual.into());
        ensure!(
            body.contains_key("organisations"),
            "name at least one organisation: --org Org1:2 (its name and number of nodes)"
        );
    }
    if verb.path.ends_with("/members") {
        let name = body.remove("name").unwrap_or_default();
        let text = format!("{}:{}", name.as_str().unwrap_or_default(), body.remove("nodes").unwrap_or(json!(1)));
        body.insert("organisation".to_owned(), organisation(&text)?);
    }
    Ok(Some(Value::Object(body)))
}

/// `Org1:2` or `Agency1:4:1` (one of the four an observer).
fn organisation(text: &str) -> anyhow::Result<Value> {
    let mut parts = text.split(':');
    let name = parts.next().unwrap_or_default();
    let mut number = |usual: u32| -> anyhow::Result<u32> {
        parts.next().map_or(Ok(usual), |part| {
            part.parse().with_context(|| format!("{text}: write NAME:NODES or NAME:NODES:OBSERVERS"))
        })
    };
    let (nodes, observers) = (number(1)?, number(0)?);
    Ok(json!({ "name": name, "nodes": nodes, "observers": observers }))
}

/// What a contract is made of, when it is not a project.
fn artifact(arguments: &ArgMatches) -> anyhow::Result<Option<Value>> {
    let option = |name: &str| arguments.try_get_one::<String>(name).ok().flatten();
    if let Some(name) = option("builtin") {
        return Ok(Some(json!({ "kind": "builtin", "name": name })));
    }
    if let Some(file) = option("package") {
        let bytes = std::fs::read(file).with_context(|| format!("cannot read {file}"))?;
        return Ok(Some(
            json!({ "kind": "package", "content": base64::engine::general_purpose::STANDARD.encode(&bytes) }),
        ));
    }
    if let Some(file) = option("bytecode") {
        let code = std::fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?;
        let abi = option("abi").context("--bytecode needs --abi FILE, too")?;
        return Ok(Some(json!({ "kind": "evm", "bytecode": code.trim(), "abi": document(abi)? })));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn organisations_are_read_from_short_texts() {
        assert_eq!(organisation("Org1").unwrap(), json!({ "name": "Org1", "nodes": 1, "observers": 0 }));
        assert_eq!(organisation("A:4:1").unwrap(), json!({ "name": "A", "nodes": 4, "observers": 1 }));
        assert!(organisation("A:x").is_err());
    }
}
