//! Calls of contracts' methods, with values as people write them, and what is remembered of them.

use std::collections::BTreeMap;
use std::time::Instant;

use axum::Extension;
use axum::extract::State;
use konsort_engines::call::{CallInput, CallRequest};
use konsort_engines::ledger::EventRecord;
use konsort_engines::spec::EngineKind;
use konsort_engines::{CallResult, Simulation};
use konsort_workbench::Interface;
use konsort_workbench::interface::Method;
use konsort_workbench::values::{self, Suite, ValueError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::{Any, Row as _};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::acting_organisation;
use super::describe::{interface_of, no_interface};
use super::known::{bytes, find};
use super::record::ContractDoc;
use crate::access::Caller;
use crate::app::{App, Routes};
use crate::control::Network;
use crate::db::{Db, DbError, Kind, Record, decode_token, encode_token};
use crate::http::{Json, ListOf, PageQuery, Path, Query, ReadOnly};
use crate::ids;
use crate::networks::running;
use crate::problem::{Problem, kinds};
use crate::time;

/// Longest arguments or output kept in the history, bytes of JSON.
const REMEMBERED: usize = 8 * 1024;
/// Calls kept of each contract.
const KEPT: i64 = 10_000;

/// A call.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CallBody {
    /// Arguments: an object by parameter name, or an array.
    #[serde(default)]
    pub arguments: Value,
    /// Name of the identity or account that signs; default: the organisation's administrator.
    #[serde(default)]
    pub signer: Option<String>,
    /// Organisation whose identity and nodes are used; default: the caller's, or the network's first.
    #[serde(default)]
    pub organisation: Option<String>,
    /// Fabric: only these organisations endorse; default: what the policy asks for.
    #[serde(default)]
    pub endorsers: Vec<String>,
    /// Fabric: transient data, base64 by key; not recorded.
    #[serde(default)]
    pub transient: BTreeMap<String, String>,
    /// BCOS: read at this height; default: newest.
    #[serde(default)]
    pub height: Option<u64>,
}

/// How a method is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Read: nothing is sent to the ledger.
    Evaluate,
    /// Write: a transaction, answered once it is committed.
    Submit,
}

/// How.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ModeQuery {
    /// `evaluate` or `submit`; default: read-only methods evaluate, others submit.
    #[param(inline)]
    mode: Option<Mode>,
}

/// The outcome of a call.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CallView {
    /// Id; of what was sent, in the history.
    pub id: String,
    /// How it was called.
    pub mode: Mode,
    /// Whether it took effect, or would read without a fault.
    pub ok: bool,
    /// Transaction id or hash.
    pub transaction: Option<String>,
    /// Height of its block.
    pub height: Option<u64>,
    /// The engine's code.
    pub code: Option<String>,
    /// What the code means and what to do; why it failed.
    pub explanation: Option<String>,
    /// The output by the interface's types.
    pub output: Value,
    /// The output as the engine gave it.
    pub raw_output: Value,
    /// Events, decoded where the interface knows them.
    pub events: Vec<DecodedEvent>,
    /// BCOS: gas used.
    pub gas_used: Option<u64>,
    /// How long it took, milliseconds.
    pub duration_ms: u64,
}

/// An event of a contract.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct DecodedEvent {
    /// Chaincode name or contract address.
    pub contract: String,
    /// Its name; on BCOS the first topic where no interface knows it.
    pub name: String,
    /// Its arguments by the interface; absent where none knows it.
    pub arguments: Option<Value>,
    /// As the engine gave it.
    pub payload: Value,
}

/// What a call would do, decoded.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SimulationView {
    /// Whether it would take effect.
    pub ok: bool,
    /// Why not, in words.
    pub problem: Option<String>,
    /// The output by the interface's types.
    pub output: Value,
    /// Events it would emit.
    pub events: Vec<DecodedEvent>,
    /// Fabric: reads and writes by namespace; BCOS: storage before and after by address.
    pub effects: Value,
    /// Fabric: each asked peer's answer `{peer, mspid, ok, same_result, message}`.
    #[schema(value_type = Vec<Object>)]
    pub answers: Vec<Value>,
    /// Fabric: organisations whose endorsement would still be missing.
    pub missing: Vec<String>,
    /// BCOS: gas it would use.
    pub gas_used: Option<u64>,
}

/// A call, ready for the engine.
struct Prepared {
    record: Record<ContractDoc>,
    network: Network,
    interface: Option<Interface>,
    request: CallRequest,
    read_only: bool,
}

impl Prepared {
    fn method(&self) -> Option<&Method> {
        self.interface.as_ref()?.method(&self.request.method, None).ok()
    }
}

fn value_problem(error: &ValueError) -> Problem {
    Problem::invalid_in(&error.field, &error.message, &error.message_zh)
}

async fn prepare(app: &App, caller: &Caller, id: &str, name: &str, body: CallBody) -> Result<Prepared, Problem> {
    let record = app.records.get::<ContractDoc>(Kind::Contract, id).await?;
    if record.doc.deployed_at.is_none() {
        return Err(Problem::new(&kinds::CONFLICT)
            .details("the contract is not deployed yet; look at its operation", "合约尚未部署完成，请查看其操作"));
    }
    let network = running(app, record.network.as_deref().unwrap_or_default()).await?;
    let organisation = acting_organisation(&network, caller, body.organisation.as_deref(), body.signer.as_deref())?;
    let interface = interface_of(app, &record, &network).await?;
    let count = match &body.arguments {
        Value::Array(values) => Some(values.len()),
        Value::Object(named) => Some(named.len()),
        _ => None,
    };
    let method = interface.as_ref().map(|interface| interface.method(name, count));
    let no_method = |why: String| Problem::new(&kinds::NOT_FOUND).detail(why).with("what", "method").with("id", name);
    let (input, read_only, method_name) = match (network.spec().engine, method) {
        (EngineKind::Bcos, None) => return Err(no_interface()),
        (EngineKind::Bcos, Some(Err(error))) => return Err(no_method(error.to_string())),
        (EngineKind::Bcos, Some(Ok(method))) => {
            let data =
                values::encode_call(method, &body.arguments, Suite::Keccak).map_err(|error| value_problem(&error))?;
            let data = format!("0x{}", hex::encode(data));
            (CallInput::Data { data }, method.read_only, method.signature.clone())
        }
        (EngineKind::Fabric, Some(Ok(method))) => {
            let arguments = values::fabric_arguments(method, &body.arguments).map_err(|error| value_problem(&error))?;
            (CallInput::Texts { arguments, transient: body.transient }, method.read_only, method.name.clone())
        }
        // Chaincode that does not say what it offers is called with texts.
        (EngineKind::Fabric, _) => {
            let arguments = texts(&body.arguments)?;
            (CallInput::Texts { arguments, transient: body.transient }, false, name.to_owned())
        }
    };
    let request = CallRequest {
        channel: record.doc.channel.clone(),
        contract: record.doc.target(&record.name).to_owned(),
        method: method_name,
        input,
        signer: body.signer,
        organisation,
        endorsers: body.endorsers,
        height: body.height,
    };
    Ok(Prepared { record, network, interface, request, read_only })
}

fn texts(arguments: &Value) -> Result<Vec<String>, Problem> {
    let values = match arguments {
        Value::Null => return Ok(Vec::new()),
        Value::Array(values) => values,
        _ => {
            return Err(Problem::invalid_in(
                "arguments",
                "this chaincode does not describe its methods: give an array of texts",
                "该链码未提供方法描述：请使用字符串数组",
            ));
        }
    };
    Ok(values.iter().map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)).collect())
}

/// Events in words, by the interfaces of the contracts that the network is known to have.
async fn decoded_events(
    app: &App,
    network: &str,
    channel: &str,
    events: Vec<EventRecord>,
) -> Result<Vec<DecodedEvent>, Problem> {
    let known = app.control.contracts.of(&app.control, network).await?;
    Ok(events
        .into_iter()
        .map(|event| {
            let decoded = find(&known, channel, &event.contract).and_then(|contract| contract.event(&event.payload));
            let name = decoded.as_ref().and_then(|decoded| decoded["name"].as_str()).unwrap_or(&event.name).to_owned();
            let arguments = decoded.map(|decoded| decoded["arguments"].clone());
            DecodedEvent { contract: event.contract, name, arguments, payload: event.payload }
        })
        .collect())
}

fn decoded_output(prepared: &Prepared, output: &Value) -> Value {
    let Some(method) = prepared.method() else { return output.clone() };
    let decoded = match (&prepared.network.spec().engine, output.as_str()) {
        (EngineKind::Bcos, Some(text)) => bytes(text).and_then(|data| values::decode_output(method, &data).ok()),
        (EngineKind::Fabric, Some(text)) => Some(values::fabric_result(method, text.as_bytes())),
        (EngineKind::Bcos | EngineKind::Fabric, None) => None,
    };
    decoded.unwrap_or_else(|| output.clone())
}

/// Why a call on BCOS reverted, by the contract's own errors.
fn revert_words(prepared: &Prepared, output: &Value) -> Option<String> {
    if prepared.network.spec().engine != EngineKind::Bcos {
        return None;
    }
    let data = bytes(output.as_str()?).filter(|data| !data.is_empty())?;
    Some(values::decode_revert(prepared.interface.as_ref(), &data, Suite::Keccak).message)
}

/// Calls a method. Read-only methods are evaluated, others sent and answered once they are committed.
#[utoipa::path(post, path = "/v1/contracts/{id}/methods/{method}", tag = "contracts", operation_id = "call_contract",
    params(("id" = String, Path, description = "Contract"), ("method" = String, Path, description = "Method, or its signature"),
        ModeQuery),
    request_body = CallBody, responses((status = 200, body = CallView)))]
async fn call(
    State(app): State<App>,
    caller: Caller,
    Path((id, method)): Path<(String, String)>,
    Query(ModeQuery { mode }): Query<ModeQuery>,
    Json(body): Json<CallBody>,
) -> Result<(Option<Extension<ReadOnly>>, Json<CallView>), Problem> {
    let arguments = body.arguments.clone();
    let signer = body.signer.clone();
    let prepared = prepare(&app, &caller, &id, &method, body).await?;
    let mode = mode.unwrap_or(if prepared.read_only { Mode::Evaluate } else { Mode::Submit });
    let begun = Instant::now();
    let network = &prepared.network;
    let outcome = match mode {
        Mode::Evaluate => network.engine.evaluate(network.place(), &prepared.request).await.map(Outcome::Simulated),
        Mode::Submit => network.engine.submit(network.place(), &prepared.request).await.map(Outcome::Sent),
    };
    let duration_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    let call = ids::new("call");
    let view = match outcome {
        Ok(outcome) => view_of(&app, &prepared, call.clone(), mode, outcome, duration_ms).await?,
        Err(error) => {
            let problem = Problem::from(error);
            let doc = json!({
                "method": prepared.request.method, "mode": mode, "arguments": bounded(&arguments), "signer": signer,
                "ok": false, "explanation": problem.to_string(), "duration_ms": duration_ms,
            });
            if mode == Mode::Submit {
                remember(&app, &call, &prepared.record.id, &caller, doc).await;
            }
            return Err(problem);
        }
    };
    let doc = json!({
        "method": prepared.request.method, "mode": mode, "arguments": bounded(&arguments), "signer": signer,
        "ok": view.ok, "transaction": view.transaction, "height": view.height, "code": view.code,
        "explanation": view.explanation, "output": bounded(&view.output), "duration_ms": duration_ms,
    });
    if mode == Mode::Submit {
        remember(&app, &call, &prepared.record.id, &caller, doc).await;
    }
    // What only reads does not belong into the audit log.
    Ok(((mode == Mode::Evaluate).then_some(Extension(ReadOnly)), Json(view)))
}

enum Outcome {
    Sent(CallResult),
    Simulated(Simulation),
}

async fn view_of(
    app: &App,
    prepared: &Prepared,
    id: String,
    mode: Mode,
    outcome: Outcome,
    duration_ms: u64,
) -> Result<CallView, Problem> {
    let (network, channel) = (&prepared.network.record.id, &prepared.request.channel);
    Ok(match outcome {
        Outcome::Sent(result) => {
            let words = (!result.ok).then(|| revert_words(prepared, &result.output)).flatten();
            let explanation = match words.filter(|words| !words.is_empty()) {
                Some(words) if result.explanation.contains(&words) => Some(result.explanation),
                Some(words) => Some(format!("{words} ({})", result.explanation)),
                None => Some(result.explanation).filter(|text| !text.is_empty()),
            };
            CallView {
                id,
                mode,
                ok: result.ok,
                transaction: Some(result.transaction),
                height: Some(result.height),
                code: Some(result.code),
                explanation,
                output: if result.ok { decoded_output(prepared, &result.output) } else { result.output.clone() },
                raw_output: result.output,
                events: decoded_events(app, network, channel, result.events).await?,
                gas_used: result.gas_used,
                duration_ms,
            }
        }
        Outcome::Simulated(simulation) => CallView {
            id,
            mode,
            ok: simulation.ok,
            transaction: None,
            height: None,
            code: None,
            explanation: simulation.problem,
            output: if simulation.ok { decoded_output(prepared, &simulation.output) } else { Value::Null },
            raw_output: simulation.output,
            events: decoded_events(app, network, channel, simulation.events).await?,
            gas_used: simulation.gas_used,
            duration_ms,
        },
    })
}

/// Says what a call would do, without sending it.
#[utoipa::path(post, path = "/v1/contracts/{id}/methods/{method}/simulate", tag = "contracts", operation_id = "simulate_call",
    params(("id" = String, Path, description = "Contract"), ("method" = String, Path, description = "Method, or its signature")),
    request_body = CallBody, responses((status = 200, body = SimulationView)))]
async fn simulate(
    State(app): State<App>,
    caller: Caller,
    Path((id, method)): Path<(String, String)>,
    Json(body): Json<CallBody>,
) -> Result<Json<SimulationView>, Problem> {
    let prepared = prepare(&app, &caller, &id, &method, body).await?;
    let network = &prepared.network;
    let simulation = network.engine.simulate(network.place(), &prepared.request).await?;
    Ok(Json(SimulationView {
        ok: simulation.ok,
        problem: simulation.problem,
        output: if simulation.ok { decoded_output(&prepared, &simulation.output) } else { simulation.output },
        events: decoded_events(&app, &network.record.id, &prepared.request.channel, simulation.events).await?,
        effects: simulation.effects,
        answers: simulation.answers,
        missing: simulation.missing,
        gas_used: simulation.gas_used,
    }))
}

fn bounded(value: &Value) -> Value {
    let text = value.to_string();
    if text.len() <= REMEMBERED { value.clone() } else { json!({ "omitted_bytes": text.len() }) }
}

/// Removes the oldest calls of contracts that have more of them than are kept.
pub(crate) async fn prune(db: &Db) -> Result<(), DbError> {
    let rows = sqlx::query::<Any>("SELECT contract FROM calls GROUP BY contract HAVING COUNT(*) > $1")
        .bind(KEPT)
        .fetch_all(db.read())
        .await?;
    for row in rows {
        let contract: String = row.try_get(0)?;
        // The index is by contract and time; calls of the same moment as the oldest that is kept go with those before.
        sqlx::query::<Any>(
            "DELETE FROM calls WHERE contract = $1 AND at <= (SELECT at FROM calls WHERE contract = $1 \
             ORDER BY at DESC LIMIT 1 OFFSET $2)",
        )
        .bind(contract)
        .bind(KEPT)
        .execute(db.write())
        .await?;
    }
    Ok(())
}

/// Keeps a call that was sent in the history; reading leaves no trace. The call itself has happened: a database that is gone must not make it look failed.
async fn remember(app: &App, id: &str, contract: &str, caller: &Caller, doc: Value) {
    let done = sqlx::query::<Any>("INSERT INTO calls (id, contract, at, caller, doc) VALUES ($1, $2, $3, $4, $5)")
        .bind(id.to_owned())
        .bind(contract.to_owned())
        .bind(time::now())
        .bind(caller.id.clone())
        .bind(doc.to_string())
        .execute(app.db.write())
        .await;
    if let Err(error) = done {
        tracing::warn!(%error, "a call is missing from the history");
    }
}

/// A call in the history.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CallRecord {
    /// Its id.
    pub id: String,
    /// When, RFC 3339.
    pub at: String,
    /// Id of who called.
    pub caller: String,
    /// `{method, mode, arguments, signer, ok, transaction, height, code, explanation, output, duration_ms}`.
    #[schema(value_type = Object)]
    pub call: Value,
}

/// Transactions sent to a contract through the platform, newest first.
#[utoipa::path(get, path = "/v1/contracts/{id}/calls", tag = "contracts", operation_id = "list_calls",
    params(("id" = String, Path, description = "Contract"), PageQuery), responses((status = 200, body = ListOf<CallRecord>)))]
async fn history(
    State(app): State<App>,
    Path(id): Path<String>,
    page: PageQuery,
) -> Result<Json<ListOf<CallRecord>>, Problem> {
    let limit = page.page()?.limit();
    let (at, last) = match page.page_token.as_deref() {
        Some(token) => decode_token::<(i64, String)>(token)?,
        None => (i64::MAX, String::new()),
    };
    let rows = sqlx::query::<Any>(
        "SELECT id, at, caller, doc FROM calls WHERE contract = $1 AND (at < $2 OR (at = $2 AND id < $3)) \
         ORDER BY at DESC, id DESC LIMIT $4",
    )
    .bind(id)
    .bind(at)
    .bind(last)
    .bind(limit as i64 + 1)
    .fetch_all(app.db.read())
    .await
    .map_err(DbError::from)?;
    let mut next_page_token = None;
    let mut items = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let read = || -> Result<(String, i64, String, String), sqlx::Error> {
            Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?))
        };
        let (call, at, caller, doc) = read().map_err(DbError::from)?;
        if index == limit {
            break;
        }
        if index + 1 == limit && rows.len() > limit {
            next_page_token = Some(encode_token(&(at, &call)));
        }
        let doc = serde_json::from_str(&doc).unwrap_or_default();
        items.push(CallRecord { id: call, at: time::rfc3339(at), caller, call: doc });
    }
    Ok(Json(ListOf { items, next_page_token }))
}

/// The routes.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(call)).routes(routes!(simulate)).routes(routes!(history))
}
