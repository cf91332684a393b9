//! How a channel's configuration came to be: every change as readable lines, with who signed.

use fabric_channel::protoutil;
use fabric_client::blocks::{self, Content, Member};
use fabric_client::envelope::Seek;
use fabric_client::protolator;
use fabric_proto::common::{Block, Config, ConfigEnvelope, SignatureHeader};
use prost::Message as _;
use serde_json::{Map, Value};

use super::connect::Net;
use crate::EngineError;
use crate::ledger::{ConfigChange, FieldChange};

/// Changes that are shown.
const MAX_CHANGES: usize = 200;
/// Lines of one change.
const MAX_LINES: usize = 500;
/// Longer texts (certificates) are shortened.
const MAX_TEXT: usize = 200;

impl Net<'_> {
    /// The configuration changes of a channel, newest first.
    pub(super) async fn config_history(&self, channel: &str) -> Result<Vec<ConfigChange>, EngineError> {
        let newest = self.block_at(channel, Seek::Newest).await?;
        let mut found = Vec::new();
        let mut index = last_config(&newest)?;
        loop {
            let block = self.block_at(channel, Seek::Number(index)).await?;
            found.push(block);
            if index == 0 || found.len() > MAX_CHANGES {
                break;
            }
            let before = self.block_at(channel, Seek::Number(index - 1)).await?;
            index = last_config(&before)?;
        }
        let changes = found
            .iter()
            .enumerate()
            .filter(|(at, _)| *at < MAX_CHANGES)
            .map(|(at, block)| change(block, found.get(at + 1)))
            .collect();
        Ok(changes)
    }

    async fn block_at(&self, channel: &str, at: Seek) -> Result<Block, EngineError> {
        self.ask(channel, None, |client| async move { client.block(channel, at, false).await })
            .await?
            .ok_or_else(|| EngineError::NotFound { what: format!("a block of {channel}") })
    }
}

fn last_config(block: &Block) -> Result<u64, EngineError> {
    if block.header.as_ref().is_some_and(|header| header.number == 0) {
        return Ok(0);
    }
    protoutil::last_config_index(block)
        .map_err(|error| EngineError::Refused { code: "BAD_ANSWER".into(), why: error.to_string() })
}

fn change(block: &Block, before: Option<&Block>) -> ConfigChange {
    let open = blocks::open(block);
    let transaction = open.transactions.first();
    let envelope = transaction.and_then(|transaction| match &transaction.content {
        Content::Config(envelope) => Some(envelope.as_ref().clone()),
        _ => None,
    });
    let envelope = envelope.unwrap_or_default();
    let earlier = before.and_then(|block| protoutil::config_of_block(block).ok()).map(|(_, config)| config);
    let mut signers = signers(&envelope);
    signers.dedup();
    ConfigChange {
        height: open.number,
        transaction: transaction.map(|transaction| transaction.id.clone()).unwrap_or_default(),
        time: transaction.map(|transaction| transaction.time).unwrap_or_default(),
        signers,
        changes: differences(earlier.as_ref(), envelope.config.as_ref()),
    }
}

/// Who signed the update that led to a configuration.
fn signers(envelope: &ConfigEnvelope) -> Vec<String> {
    let Some(update) = envelope.last_update.as_ref().and_then(|last| protoutil::config_update_envelope(last).ok())
    else {
        return Vec::new();
    };
    update
        .signatures
        .iter()
        .filter_map(|signature| SignatureHeader::decode(signature.signature_header.clone()).ok())
        .map(|header| Member::of(&header.creator).to_string())
        .collect()
}

fn tree(config: Option<&Config>) -> Value {
    config
        .and_then(|config| protolator::decode("common.Config", &config.encode_to_vec()).ok())
        .and_then(|text| serde_json::from_str::<Value>(&text).ok())
        .map_or(Value::Null, |mut value| value["channel_group"].take())
}

/// What differs between two configurations.
fn differences(before: Option<&Config>, after: Option<&Config>) -> Vec<FieldChange> {
    let mut changes = Vec::new();
    let (before, after) = (tree(before), tree(after));
    walk("", &before, &after, &mut changes);
    changes.truncate(MAX_LINES);
    changes
}

/// Counters that rise with every change and say nothing.
fn is_noise(key: &str) -> bool {
    matches!(key, "version" | "mod_policy")
}

fn joined(path: &str, key: &str) -> String {
    match (path, key) {
        // Values sit two levels below their name, which tells nothing.
        (_, "values" | "value") => path.to_owned(),
        ("", "groups") => String::new(),
        ("", key) => key.to_owned(),
        (path, key) => format!("{path}.{key}"),
    }
}

fn walk(path: &str, before: &Value, after: &Value, changes: &mut Vec<FieldChange>) {
    if before == after || changes.len() >= MAX_LINES {
        return;
    }
    let (Value::Object(old), Value::Object(new)) = (before, after) else {
        changes.push(FieldChange { path: path.to_owned(), before: shown(before), after: shown(after) });
        return;
    };
    let keys: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for key in keys.into_iter().filter(|key| !is_noise(key)) {
        let null = Value::Null;
        let (old, new) = (old.get(key).unwrap_or(&null), new.get(key).unwrap_or(&null));
        walk(&joined(path, key), old, new, changes);
    }
}

/// A value as a line of a difference shows it; `None` for what is not there.
fn shown(value: &Value) -> Option<Value> {
    if value.is_null() { None } else { Some(short(value)) }
}

fn short(value: &Value) -> Value {
    match value {
        Value::String(text) if text.len() > MAX_TEXT => {
            Value::String(format!("{}… ({} bytes)", text.chars().take(24).collect::<String>(), text.len()))
        }
        Value::Array(list) => Value::Array(list.iter().map(short).collect()),
        Value::Object(map) => {
            let kept = map.iter().filter(|(key, value)| !is_noise(key) && !value.is_null());
            Value::Object(kept.map(|(key, value)| (key.clone(), short(value))).collect::<Map<_, _>>())
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differences_are_lines_with_paths_that_people_know() {
        let before = json!({"version": "0", "groups": {
            "Application": {"groups": {"Org1MSP": {"version": "0"}}, "values": {}},
            "Orderer": {"values": {"BatchSize": {"version": "0", "value": {"max_message_count": 10}}}},
        }});
        let mut after = before.clone();
        after["version"] = json!("1");
        after["groups"]["Orderer"]["values"]["BatchSize"] = json!({"version": "1", "value": {"max_message_count": 20}});
        after["groups"]["Application"]["groups"]["Org3MSP"] =
            json!({"mod_policy": "Admins", "certificate": "x".repeat(1000)});
        let mut changes = Vec::new();
        walk("", &before, &after, &mut changes);
        let lines: Vec<&str> = changes.iter().map(|change| change.path.as_str()).collect();
        assert_eq!(lines, ["Application.groups.Org3MSP", "Orderer.BatchSize.max_message_count"]);
        assert_eq!(changes[0].before, None);
        assert!(changes[0].after.as_ref().unwrap()["certificate"].as_str().unwrap().contains("1000 bytes"));
        assert_eq!((changes[1].before.clone(), changes[1].after.clone()), (Some(json!(10)), Some(json!(20))));
    }
}
