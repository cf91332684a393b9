//! A transaction's instructions in the words of the sources it was made from.

use std::collections::BTreeMap;

use konsort_workbench::compiler::Compilation;
use konsort_workbench::trace::{TraceInput, TracedContract, explain};
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::contracts::known::find;
use crate::problem::Problem;
use crate::projects::artifacts::kept_compilation;

/// Most contracts of one transaction whose sources are looked up.
const CONTRACTS: usize = 16;

/// Replaces an engine's instructions by explained ones: source lines, calls by name, storage by variable. What an engine traces
/// differently is left as it is.
pub(super) async fn explained(app: &App, network: &str, channel: &str, raw: Value) -> Result<Value, Problem> {
    let Value::Object(mut raw) = raw else { return Ok(raw) };
    let Some(Value::Array(logs)) = raw.remove("structLogs") else { return Ok(Value::Object(raw)) };
    let text = |name: &str| raw.get(name).and_then(Value::as_str).unwrap_or_default().to_lowercase();
    let to = text("to");
    let create = raw.get("create").and_then(Value::as_bool).unwrap_or(false);
    let mut addresses = vec![to.clone()];
    collect(raw.get("calls").unwrap_or(&Value::Null), &mut addresses);
    addresses.sort_unstable();
    addresses.dedup();

    let known = app.control.contracts.of(&app.control, network).await?;
    let mut compiled: BTreeMap<String, (Compilation, String)> = BTreeMap::new();
    for address in addresses.into_iter().take(CONTRACTS) {
        let Some(contract) = find(&known, channel, &address) else { continue };
        let Some((hash, name)) = contract.code_hash.as_ref().zip(contract.source_name.as_ref()) else { continue };
        if let Some(compilation) = kept_compilation(&app.control, hash).await {
            compiled.insert(address, (compilation, name.clone()));
        }
    }
    let done = tokio::task::spawn_blocking(move || {
        let contracts = compiled
            .iter()
            .filter_map(|(address, (compilation, name))| {
                let contract = compilation.contracts.iter().find(|contract| contract.name == *name)?;
                Some((address.clone(), TracedContract { compilation, contract }))
            })
            .collect();
        let trace = explain(&TraceInput { steps: &logs, to, create, contracts, keys: Vec::new() });
        let mut answer = match serde_json::to_value(&trace) {
            Ok(Value::Object(answer)) => answer,
            _ => Map::new(),
        };
        for step in answer.get_mut("steps").and_then(Value::as_array_mut).into_iter().flatten() {
            let index = step["index"].as_u64().and_then(|index| usize::try_from(index).ok());
            let log = index.and_then(|index| logs.get(index)).unwrap_or(&Value::Null);
            step["stack"] = log.get("stack").cloned().unwrap_or(json!([]));
            if let Some(memory) = log.get("memory") {
                step["memory"] = memory.clone();
            }
        }
        answer
    });
    let answer = done.await.map_err(|error| Problem::internal(&error))?;
    raw.remove("calls");
    raw.remove("storage");
    raw.extend(answer);
    Ok(Value::Object(raw))
}

/// Every address in a tree of calls.
fn collect(call: &Value, into: &mut Vec<String>) {
    if into.len() > 1000 {
        return;
    }
    if let Some(to) = call["to"].as_str() {
        into.push(to.to_lowercase());
    }
    for inner in call["calls"].as_array().into_iter().flatten() {
        collect(inner, into);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_from_the_whole_tree() {
        let tree = json!({"to": "0xA", "calls": [{"to": "0xB", "calls": [{"to": "0xC"}]}, {"to": null}]});
        let mut found = Vec::new();
        collect(&tree, &mut found);
        assert_eq!(found, ["0xa", "0xb", "0xc"]);
    }
}
