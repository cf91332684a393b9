//! Calls tried and transactions traced: what they return, which events they emit, what they change.

use std::collections::BTreeMap;

use alloy_json_abi::StateMutability;
use bcos_types::status;
use konsort_crypto::SuiteKey;
use serde_json::{Map, Value, json};

use super::blocks::{hash, is_first};
use super::rpc::{Client, RpcError, RpcResult, first};
use super::send::{Log, contract, data, number};
use super::views::plain_address;
use super::{Bcos, accounts, words};
use crate::call::{CallRequest, Simulation};
use crate::ledger::EventRecord;
use crate::{EngineError, Place};

/// Instructions of one answer; the next ones are asked for by a place behind the hash, `0x…#20000`.
const PAGE: usize = 20_000;
/// With more instructions memory is not shown: it would be many times the rest.
const WITH_MEMORY: usize = 3_000;
/// JSON-RPC errors of a call that was run: a revert, and anything else that ended it.
const REVERTED: i64 = 3;
const STOPPED: i64 = -32_000;
/// Events of one answer.
const MOST_EVENTS: usize = 1_000;

impl Bcos {
    pub(super) async fn simulated(&self, place: Place<'_>, call: &CallRequest) -> Result<Simulation, EngineError> {
        let key = accounts::signer(place, call.organisation.as_deref(), call.signer.as_deref())?;
        let to = contract(&call.contract)?;
        let input = data(&call.input)?;
        let clients = self.clients.of_group(place, &call.channel, call.organisation.as_deref())?;
        if !is_first(place, &call.channel) || !clients.iter().any(|client| client.has_web3()) {
            return self.called(place, call, &key, &to, &input).await;
        }
        let request =
            &json!({ "from": accounts::address(&key), "to": to, "input": format!("0x{}", hex::encode(&input)) });
        let at = &call.height.map_or_else(|| json!("latest"), |height| json!(format!("{height:#x}")));
        if self.only_reads(place, call, &input).await {
            return self.read(place, call, request, at).await;
        }
        let (tree, difference) = first(&clients, |client| async move {
            let with_logs = json!([request, at, { "tracer": "callTracer", "tracerConfig": { "withLog": true } }]);
            let changes = json!([request, at, { "tracer": "prestateTracer", "tracerConfig": { "diffMode": true } }]);
            let (tree, changes) = tokio::join!(
                client.eth::<Value>("debug_traceCall", with_logs),
                client.eth::<Value>("debug_traceCall", changes)
            );
            let tree = match tree {
                // A node without this option still says what the call returns.
                Err(RpcError::Refused(failure)) if failure.code == -32602 => {
                    client.eth::<Value>("debug_traceCall", json!([request, at, { "tracer": "callTracer" }])).await?
                }
                tree => tree?,
            };
            Ok((tree, optional(changes)?))
        })
        .await?;
        let output = tree["output"].as_str().unwrap_or("0x").to_owned();
        let failed = tree["error"].as_str().map(str::to_owned);
        let problem = match &failed {
            Some(error) => Some(self.failure(place, call, &output, error).await),
            None => self.nothing_there(place, &call.channel, &to).await?,
        };
        Ok(Simulation {
            ok: failed.is_none(),
            problem,
            output: json!(output),
            events: if failed.is_none() { events(&tree) } else { Vec::new() },
            effects: if failed.is_none() { effects(&difference) } else { json!({}) },
            answers: Vec::new(),
            missing: Vec::new(),
            gas_used: number(&tree["gasUsed"]),
        })
    }

    /// Whether the contract's interface says that the method changes nothing.
    async fn only_reads(&self, place: Place<'_>, call: &CallRequest, input: &[u8]) -> bool {
        let Some(abi) = self.stored_abi(place, &call.channel, &call.contract).await else { return false };
        let mut methods = abi.functions();
        methods.any(|method| {
            input.starts_with(method.selector().as_slice())
                && matches!(method.state_mutability, StateMutability::View | StateMutability::Pure)
        })
    }

    /// A call that changes nothing costs a node much less than a trace.
    async fn read(
        &self,
        place: Place<'_>,
        call: &CallRequest,
        request: &Value,
        at: &Value,
    ) -> Result<Simulation, EngineError> {
        let clients = self.clients.of_group(place, &call.channel, call.organisation.as_deref())?;
        let answer = first(&clients, |client| async move {
            match client.eth::<String>("eth_call", json!([request, at])).await {
                // The contract, or the machine that runs it, refused.
                Err(RpcError::Refused(failure)) if failure.code == REVERTED || failure.code == STOPPED => {
                    Ok(Err(failure))
                }
                other => other.map(Ok),
            }
        })
        .await?;
        let (output, problem) = match answer {
            Ok(output) => (output, None),
            Err(failure) if failure.message == "header not found" => {
                return Err(EngineError::NotFound { what: format!("the block {}", call.height.unwrap_or_default()) });
            }
            Err(failure) => {
                let output = failure.data.as_str().unwrap_or("0x").to_owned();
                let problem = self.failure(place, call, &output, &failure.message).await;
                (output, Some(problem))
            }
        };
        Ok(Simulation {
            ok: problem.is_none(),
            problem,
            output: json!(output),
            events: Vec::new(),
            effects: json!({}),
            answers: Vec::new(),
            missing: Vec::new(),
            gas_used: None,
        })
    }

    /// The same by the chain's own surface, which tells less: for groups beyond the first, and nodes without the Ethereum surface.
    async fn called(
        &self,
        place: Place<'_>,
        call: &CallRequest,
        key: &SuiteKey,
        to: &str,
        input: &[u8],
    ) -> Result<Simulation, EngineError> {
        if call.height.is_some() {
            return Err(EngineError::Unsupported(
                "only the first group of a network can be read at an earlier height; leave the height out".into(),
            ));
        }
        let signed = bcos_types::signed_call_hash(konsort_crypto::suite(key.kind()), to, input);
        let sign = format!("0x{}", hex::encode(key.sign(&signed.0)));
        let params = &[json!(to), json!(format!("0x{}", hex::encode(input))), json!(sign)];
        let group = call.channel.as_str();
        let clients = self.clients.of_group(place, group, call.organisation.as_deref())?;
        let answer: Value = first(&clients, |client| async move { client.call(group, "call", params).await }).await?;
        let code = answer["status"].as_i64().and_then(|code| i32::try_from(code).ok()).unwrap_or(status::UNKNOWN);
        let output = answer["output"].as_str().unwrap_or("0x").to_owned();
        let problem = if code == 0 {
            self.nothing_there(place, group, to).await?
        } else {
            Some(self.failure(place, call, &output, status::name(code)).await)
        };
        Ok(Simulation {
            ok: code == 0,
            problem,
            output: json!(output),
            events: Vec::new(),
            effects: Value::Null,
            answers: Vec::new(),
            missing: Vec::new(),
            gas_used: None,
        })
    }

    /// Why a call fails, by the contract's own errors where the chain keeps its ABI.
    async fn failure(&self, place: Place<'_>, call: &CallRequest, output: &str, error: &str) -> String {
        if let Ok(to) = contract(&call.contract)
            && let Ok(Some(nothing)) = self.nothing_there(place, &call.channel, &to).await
        {
            return nothing;
        }
        let output = words::bytes(output).unwrap_or_default();
        let code = if error.contains("revert") || error == status::name(status::REVERT_INSTRUCTION) {
            status::REVERT_INSTRUCTION
        } else {
            let known = status::ALL.iter().find(|(_, name)| *name == error);
            known.map_or(status::UNKNOWN, |(code, _)| *code)
        };
        let abi = self.stored_abi(place, &call.channel, &call.contract).await;
        if code == status::UNKNOWN { error.to_owned() } else { words::outcome(code, &output, "", abi.as_deref()) }
    }

    /// A call of an address without code succeeds and returns nothing, which is rarely what was meant.
    async fn nothing_there(&self, place: Place<'_>, group: &str, to: &str) -> Result<Option<String>, EngineError> {
        // The chain's own contracts are at low numbers and have no code.
        if to.starts_with("0x00000000000000000000000000000000") {
            return Ok(None);
        }
        let clients = self.clients.of_group(place, group, None)?;
        let code: String =
            first(&clients, |client| async move { client.call(group, "getCode", &[json!(to)]).await }).await?;
        let empty = code.trim_start_matches("0x").is_empty();
        Ok(empty.then(|| format!("there is no contract at {to}; check the address and the group")))
    }

    pub(super) async fn traced(&self, place: Place<'_>, group: &str, id: &str) -> Result<Value, EngineError> {
        let (id, from) = match id.split_once('#') {
            Some((id, from)) => {
                (id, from.parse().map_err(|_| super::plan::invalid("id", "the place behind # is no number"))?)
            }
            None => (id, 0_usize),
        };
        let id = &hash(id)?;
        if !is_first(place, group) {
            return Err(EngineError::Unsupported(
                "nodes trace transactions of their first group only; transaction details are there for every group"
                    .into(),
            ));
        }
        let clients = self.clients.of_group(place, group, None)?;
        let last = from.saturating_add(PAGE).min(usize::MAX - 1);
        let (tree, difference, mut steps) = first(&clients, |client| async move {
            let (tree, changes, steps) = tokio::join!(
                trace(&client, id, json!({ "tracer": "callTracer" })),
                trace(&client, id, json!({ "tracer": "prestateTracer", "tracerConfig": { "diffMode": true } })),
                // One more tells whether there is more.
                trace(&client, id, json!({ "limit": last + 1 })),
            );
            let tree = absent(tree, id)?;
            let steps = match steps? {
                steps if count(&steps) > WITH_MEMORY => steps,
                _ => {
                    trace(&client, id, json!({ "enableMemory": true, "enableReturnData": true, "limit": last + 1 }))
                        .await?
                }
            };
            Ok((tree, optional(changes)?, steps))
        })
        .await?;
        let total = count(&steps);
        let more = total > last;
        let mut logs = match steps["structLogs"].take() {
            Value::Array(logs) => logs,
            _ => Vec::new(),
        };
        logs.truncate(last);
        logs.drain(..from.min(logs.len()));
        only_changed_memory(&mut logs);
        let kind = tree["type"].as_str().unwrap_or_default();
        Ok(json!({
            "transaction": id,
            "to": tree["to"],
            "create": kind.starts_with("CREATE"),
            "failed": steps["failed"],
            "gas_used": number(&steps["gas"]),
            "output": steps["returnValue"],
            "calls": tree,
            "storage": effects(&difference),
            "first": from,
            "structLogs": logs,
            "next": more.then(|| format!("{id}#{last}")),
        }))
    }
}

async fn trace(client: &Client, id: &str, options: Value) -> RpcResult<Value> {
    client.eth("debug_traceTransaction", json!([id, options])).await
}

fn count(steps: &Value) -> usize {
    steps["structLogs"].as_array().map_or(0, Vec::len)
}

/// A tracer that a node does not have leaves its part of the answer empty.
fn optional(answer: RpcResult<Value>) -> RpcResult<Value> {
    match answer {
        Err(RpcError::Refused(_)) => Ok(Value::Null),
        other => other,
    }
}

fn absent(answer: RpcResult<Value>, id: &str) -> RpcResult<Value> {
    match answer {
        Err(RpcError::Refused(failure)) if failure.message.contains("not found") => {
            Err(RpcError::Final(EngineError::NotFound { what: format!("the transaction {id}") }))
        }
        other => other,
    }
}

/// Memory stays only in the steps after which it is another one.
fn only_changed_memory(steps: &mut [Value]) {
    let mut last: Option<(Value, Value)> = None;
    for step in steps {
        let depth = step["depth"].clone();
        let Some(memory) = step.get("memory").cloned() else { continue };
        let now = Some((depth, memory));
        if now == last
            && let Value::Object(fields) = step
        {
            fields.remove("memory");
        }
        last = now;
    }
}

/// The events of a tree of calls, without those of calls that failed, in the order in which they were emitted.
fn events(tree: &Value) -> Vec<EventRecord> {
    fn collect(call: &Value, into: &mut Vec<(u64, EventRecord)>) {
        if !call["error"].is_null() || into.len() >= MOST_EVENTS {
            return;
        }
        let logs = call["logs"].as_array().map_or(&[][..], Vec::as_slice);
        for log in logs {
            let at = number(&log["index"]).unwrap_or(u64::MAX);
            if let Ok(log) = serde_json::from_value::<Log>(log.clone()) {
                into.push((at, log.record()));
            }
        }
        for call in call["calls"].as_array().into_iter().flatten() {
            collect(call, into);
        }
    }
    let mut found = Vec::new();
    collect(tree, &mut found);
    found.sort_by_key(|(at, _)| *at);
    found.into_iter().map(|(_, event)| event).collect()
}

/// What changed, by address: storage slots, balance, nonce and code, each before and after. Null when the node cannot tell.
fn effects(difference: &Value) -> Value {
    const ZERO: &str = "0x0000000000000000000000000000000000000000000000000000000000000000";
    let (Some(pre), Some(post)) = (difference["pre"].as_object(), difference["post"].as_object()) else {
        return Value::Null;
    };
    let mut out = BTreeMap::new();
    for address in pre.keys().chain(post.keys()) {
        let (before, after) = (pre.get(address), post.get(address));
        let slots =
            |side: Option<&Value>| side.and_then(|side| side["storage"].as_object()).cloned().unwrap_or_default();
        let (old, new) = (slots(before), slots(after));
        let mut storage = Map::new();
        for slot in old.keys().chain(new.keys()) {
            let value = |side: &Map<String, Value>| side.get(slot).cloned().unwrap_or_else(|| json!(ZERO));
            let (was, is) = (value(&old), value(&new));
            if was != is {
                storage.insert(slot.clone(), json!({ "before": was, "after": is }));
            }
        }
        let mut account = Map::new();
        if !storage.is_empty() {
            account.insert("storage".into(), Value::Object(storage));
        }
        for field in ["balance", "nonce", "code"] {
            let value = |side: Option<&Value>| side.and_then(|side| side.get(field)).cloned();
            if let Some(is) = value(after) {
                account.insert(field.into(), json!({ "before": value(before), "after": is }));
            }
        }
        if !account.is_empty() {
            out.insert(plain_address(address), Value::Object(account));
        }
    }
    json!(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effects_are_what_differs() {
        let word = |digit: char| format!("0x{}{digit}", "0".repeat(63));
        let difference = json!({
            "pre": { "0xAA": { "balance": "0x1", "nonce": 1, "storage": { word('1'): word('5'), word('2'): word('6') } } },
            "post": { "0xAA": { "nonce": 2, "storage": { word('1'): word('7'), word('3'): word('8') } }, "0xbb": { "code": "0x60" } },
        });
        let effects = effects(&difference);
        assert_eq!(effects["0xaa"]["storage"][word('1')], json!({ "before": word('5'), "after": word('7') }));
        assert_eq!(effects["0xaa"]["storage"][word('2')], json!({ "before": word('6'), "after": word('0') }));
        assert_eq!(effects["0xaa"]["storage"][word('3')], json!({ "before": word('0'), "after": word('8') }));
        assert_eq!(effects["0xaa"]["nonce"], json!({ "before": 1, "after": 2 }));
        assert!(effects["0xaa"].get("balance").is_none());
        assert_eq!(effects["0xbb"]["code"], json!({ "before": null, "after": "0x60" }));
        assert_eq!(super::effects(&Value::Null), Value::Null);
    }

    #[test]
    fn events_of_failed_calls_do_not_count() {
        let log = |n: u32, index: u32| json!({ "address": format!("0x{n:040x}"), "topics": [], "data": "0x", "index": format!("{index:#x}") });
        let tree = json!({
            "logs": [log(1, 0), log(2, 3)],
            "calls": [
                { "error": "execution reverted", "logs": [log(9, 1)] },
                { "logs": [log(3, 2)] },
            ],
        });
        let from: Vec<String> = events(&tree).into_iter().map(|event| event.contract).collect();
        assert_eq!(from, [1, 3, 2].map(|n| format!("0x{n:040x}")));
    }

    #[test]
    fn memory_is_shown_when_it_changes() {
        let mut steps = vec![
            json!({ "depth": 1, "memory": ["00"] }),
            json!({ "depth": 1, "memory": ["00"] }),
            json!({ "depth": 2, "memory": [] }),
            json!({ "depth": 1, "memory": ["00"] }),
        ];
        only_changed_memory(&mut steps);
        let shown: Vec<bool> = steps.iter().map(|step| step.get("memory").is_some()).collect();
        assert_eq!(shown, [true, false, true, true]);
    }
}
