//! `debug_trace*` in geth's shapes, and access lists.

use bcos_chain::access::{AccessError, BlockEnv, StateAccess, TxOutcome};
use bcos_chain::executor::Executor;
use bcos_chain::executor::call::CallRequest;
use bcos_chain::executor::overrides::Imagined;
use bcos_chain::executor::trace::{CallOptions, Step, StepOptions, Traced, TracedCall, TracedLog};
use serde_json::{Map, Value, json};

use super::prestate::{self, StateOptions};
use super::{calls, overrides};
use crate::api::Group;
use crate::rpc::error::RpcError;
use crate::rpc::ledger::{Ledger, access, chain, heavy};
use crate::rpc::params::Params;
use crate::rpc::text;

/// Instructions in one answer.
const MOST_STEPS: usize = 100_000;

/// What to show.
#[derive(Clone, Debug, PartialEq)]
enum Tracer {
    Calls(CallOptions),
    State(StateOptions),
    Steps(StepOptions),
}

impl Tracer {
    fn parse(options: Option<&Value>) -> Result<Self, RpcError> {
        let nothing = Map::new();
        let options = match options {
            None => &nothing,
            Some(Value::Object(options)) => options,
            Some(_) => return Err(RpcError::params("the trace options must be a JSON object")),
        };
        let config = options.get("tracerConfig").unwrap_or(&Value::Null);
        let flag = |name: &str| options.get(name).and_then(Value::as_bool).unwrap_or(false);
        match options.get("tracer") {
            None | Some(Value::Null) => {
                let limit = options.get("limit").and_then(Value::as_u64).filter(|limit| *limit > 0);
                let limit = limit.map_or(MOST_STEPS, |limit| usize::try_from(limit).unwrap_or(MOST_STEPS));
                Ok(Self::Steps(StepOptions {
                    stack: !flag("disableStack"),
                    memory: flag("enableMemory"),
                    storage: !flag("disableStorage"),
                    return_data: flag("enableReturnData"),
                    limit: limit.min(MOST_STEPS),
                }))
            }
            Some(Value::String(name)) if name == "callTracer" => {
                let flag = |name: &str| config[name].as_bool().unwrap_or(false);
                Ok(Self::Calls(CallOptions { only_top: flag("onlyTopCall"), with_log: flag("withLog") }))
            }
            Some(Value::String(name)) if name == "prestateTracer" => Ok(Self::State(StateOptions::parse(config))),
            Some(other) => Err(RpcError::params(format!(
                "the tracer {other} is not available; use \"callTracer\" or \"prestateTracer\", or none for every instruction"
            ))),
        }
    }
}

impl Tracer {
    fn trace(
        &self,
        executor: &Executor,
        state: &dyn StateAccess,
        env: &BlockEnv,
        traced: &Traced<'_>,
    ) -> Result<(TxOutcome, Value), AccessError> {
        Ok(match self {
            Self::Calls(options) => {
                let (outcome, call) = executor.trace_calls(state, env, traced, *options)?;
                (outcome, call_json(&call))
            }
            Self::State(options) => {
                let (outcome, touched) = executor.trace_state(state, env, traced)?;
                (outcome, prestate::shown(&touched, *options))
            }
            Self::Steps(options) => {
                let (outcome, steps) = executor.trace_steps(state, env, traced, options)?;
                let shown = steps_json(&outcome, &steps);
                (outcome, shown)
            }
        })
    }
}

/// Whether a value can be read as the options of a trace.
pub(super) fn fuzz_options(value: &Value) -> bool {
    Tracer::parse(Some(value)).is_ok() && overrides::of_trace(Some(value)).is_ok()
}

/// `debug_traceTransaction`.
pub(crate) async fn transaction(group: &Group, params: Params<'_>) -> Result<Value, RpcError> {
    let hash = params.hash(0, "transaction hash")?;
    let tracer = Tracer::parse(params.get(1))?;
    let found = Ledger(group).find(&hash)?.ok_or_else(|| RpcError::new(-32000, "transaction not found"))?;
    let (number, at) = (found.block.number(), found.index as usize);
    let mut traces = replayed(group, number, at..=at, tracer).await?;
    traces.pop().flatten().ok_or_else(|| RpcError::new(-32000, "the transaction was refused before it ran"))
}

/// `debug_traceBlockByNumber` and `debug_traceBlockByHash`.
pub(crate) async fn block(group: &Group, number: u64, options: Option<&Value>) -> Result<Value, RpcError> {
    let tracer = Tracer::parse(options)?;
    if number == 0 {
        return Err(RpcError::new(-32000, "genesis is not traceable"));
    }
    let hashes = Ledger(group).block(number)?.transaction_hashes();
    let Some(last) = hashes.len().checked_sub(1) else { return Ok(json!([])) };
    let traces = replayed(group, number, 0..=last, tracer).await?;
    let shown = hashes.iter().zip(traces).map(|(hash, trace)| json!({ "txHash": text::data(hash), "result": trace }));
    Ok(shown.collect())
}

async fn replayed(
    group: &Group,
    number: u64,
    wanted: std::ops::RangeInclusive<usize>,
    tracer: Tracer,
) -> Result<Vec<Option<Value>>, RpcError> {
    let chain_of = group.chain().clone();
    heavy(move || {
        chain(chain_of.replay(number, wanted, |executor, state, env, input, index| {
            tracer.trace(executor, state, env, &Traced::Transaction(input, index))
        }))
    })
    .await
}

/// `debug_traceCall`.
pub(crate) async fn call(
    group: &Group,
    request: CallRequest,
    at: Option<u64>,
    options: Option<&Value>,
) -> Result<Value, RpcError> {
    let tracer = Tracer::parse(options)?;
    let imagined = overrides::of_trace(options)?;
    let chain_of = group.chain().clone();
    heavy(move || {
        let view = chain(chain_of.state_at(at))?;
        let env = chain(chain_of.env_at(&view))?;
        let state = access(Imagined::new(&view, chain_of.suite(), &imagined))?;
        let (executor, traced) = (chain_of.executor(), Traced::Call(&request));
        access(tracer.trace(executor, &state, &env, &traced)).map(|(_, shown)| shown)
    })
    .await
}

/// `eth_createAccessList`.
pub(crate) async fn access_list(group: &Group, request: CallRequest, at: Option<u64>) -> Result<Value, RpcError> {
    let chain_of = group.chain().clone();
    heavy(move || {
        let view = chain(chain_of.state_at(at))?;
        let env = chain(chain_of.env_at(&view))?;
        let (outcome, list) = access(chain_of.executor().access_list(&view, &env, &request))?;
        let list: Vec<Value> = list
            .iter()
            .map(|(address, slots)| json!({ "address": text::data(address), "storageKeys": text::list(slots) }))
            .collect();
        let mut out = json!({ "accessList": list, "gasUsed": text::quantity(outcome.gas_used) });
        if outcome.status != 0 {
            out["error"] = calls::failure(&outcome).message.into();
        }
        Ok(out)
    })
    .await
}

/// A tree of calls; its depth is bounded by the EVM.
fn call_json(call: &TracedCall) -> Value {
    let mut out = Map::new();
    let mut put = |name: &str, value: Value| {
        out.insert(name.to_owned(), value);
    };
    put("type", call.kind.name().into());
    put("from", text::data(call.from).into());
    if let Some(to) = call.to {
        put("to", text::data(to).into());
    }
    if let Some(value) = &call.value {
        put("value", text::quantity_256(value).into());
    }
    put("gas", text::quantity(call.gas).into());
    put("gasUsed", text::quantity(call.gas_used).into());
    put("input", text::data(&call.input).into());
    if !call.output.is_empty() {
        put("output", text::data(&call.output).into());
    }
    if let Some(error) = &call.error {
        put("error", error.as_str().into());
    }
    if let Some(reason) = &call.revert_reason {
        put("revertReason", reason.as_str().into());
    }
    if !call.calls.is_empty() {
        put("calls", call.calls.iter().map(call_json).collect());
    }
    if !call.logs.is_empty() {
        let log = |log: &TracedLog| {
            json!({
                "address": text::data(log.log.address),
                "topics": text::list(&log.log.topics),
                "data": text::data(&log.log.data),
                "position": text::quantity(log.position as u64),
                "index": text::quantity(log.index as u64),
            })
        };
        put("logs", call.logs.iter().map(log).collect());
    }
    Value::Object(out)
}

/// Every instruction, with what came of the whole.
fn steps_json(outcome: &TxOutcome, steps: &[Step]) -> Value {
    let logs: Vec<Value> = steps.iter().map(step_json).collect();
    json!({
        "gas": outcome.gas_used,
        "failed": outcome.status != 0,
        "returnValue": text::data(&outcome.output),
        "structLogs": logs,
    })
}

fn step_json(step: &Step) -> Value {
    let mut out = Map::new();
    let mut put = |name: &str, value: Value| {
        out.insert(name.to_owned(), value);
    };
    put("pc", step.pc.into());
    put("op", step.op.into());
    put("gas", step.gas.into());
    put("gasCost", step.gas_cost.into());
    put("depth", step.depth.into());
    if let Some(error) = step.error {
        put("error", error.into());
    }
    if let Some(stack) = &step.stack {
        put("stack", stack.iter().map(|word| Value::String(text::quantity_256(word))).collect());
    }
    let bare = |bytes: &[u8]| Value::String(alloy_primitives::hex::encode(bytes));
    if let Some(memory) = &step.memory {
        put("memory", memory.chunks(32).map(bare).collect());
    }
    if let Some(storage) = &step.storage {
        let slots =
            storage.iter().map(|(slot, value)| (alloy_primitives::hex::encode(slot), bare(value.as_slice()))).collect();
        put("storage", Value::Object(slots));
    }
    if let Some(data) = step.return_data.as_ref().filter(|data| !data.is_empty()) {
        put("returnData", text::data(data).into());
    }
    Value::Object(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_choose_the_tracer() {
        assert_eq!(
            Tracer::parse(Some(&json!({ "tracer": "callTracer", "tracerConfig": { "onlyTopCall": true } }))).unwrap(),
            Tracer::Calls(CallOptions { only_top: true, with_log: false })
        );
        assert_eq!(
            Tracer::parse(Some(&json!({ "tracer": "callTracer", "tracerConfig": { "withLog": true } }))).unwrap(),
            Tracer::Calls(CallOptions { only_top: false, with_log: true })
        );
        let Tracer::Steps(options) =
            Tracer::parse(Some(&json!({ "disableStack": true, "enableMemory": true }))).unwrap()
        else {
            panic!("no tracer means every instruction");
        };
        assert!(!options.stack && options.memory && options.storage);
        assert_eq!(options.limit, MOST_STEPS);
        assert!(
            Tracer::parse(Some(&json!({ "tracer": "4byteTracer" }))).unwrap_err().message.contains("prestateTracer")
        );
        assert!(Tracer::parse(Some(&json!([]))).is_err());
    }
}
