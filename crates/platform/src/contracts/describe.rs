//! What a contract offers: its interface, as OpenAPI, as code to copy; its events.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, header};
use konsort_engines::EngineError;
use konsort_engines::spec::EngineKind;
use konsort_workbench::Interface;
use konsort_workbench::interface::Engine;
use konsort_workbench::snippets::{Snippet, SnippetRequest, snippets};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::calls::DecodedEvent;
use super::known::find;
use super::record::ContractDoc;
use crate::access::Caller;
use crate::app::{App, Routes};
use crate::control::{Network, must_own};
use crate::db::{DbError, Kind, Record, Repository, decode_token, encode_token};
use crate::http::{IfMatch, Json, ListOf, PageQuery, Path, Query, Tagged};
use crate::index::query;
use crate::index::schema::place;
use crate::networks::model::NetworkDoc;
use crate::problem::{Problem, kinds};

/// No interface is known.
pub(crate) fn no_interface() -> Problem {
    Problem::new(&kinds::CONFLICT).details(
        "the contract's interface is not known; upload it (PUT /v1/contracts/{id}/interface)",
        "合约接口未知；请上传接口（PUT /v1/contracts/{id}/interface）",
    )
}

/// A contract's interface: what was recorded, else what the network tells, which is then recorded.
pub(crate) async fn interface_of(
    app: &App,
    record: &Record<ContractDoc>,
    network: &Network,
) -> Result<Option<Interface>, Problem> {
    if let Some(document) = &record.doc.made.interface {
        return Interface::from_document(document).map(Some).map_err(|error| Problem::internal(&error));
    }
    let target = record.doc.target(&record.name);
    let told = match network.engine.interface(network.place(), &record.doc.channel, target).await {
        Ok(told) => told,
        Err(EngineError::NotFound { .. } | EngineError::Unsupported(_) | EngineError::Refused { .. }) => {
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    let Some(interface) = read_told(record, &told) else { return Ok(None) };
    let mut doc = record.doc.clone();
    doc.made.interface = serde_json::to_value(&interface).ok();
    // Somebody else may have recorded it meanwhile; theirs is as good.
    let kept = app.records.update(Kind::Contract, &record.id, Some(record.version), &record.name, &doc).await;
    if let Err(error) = kept {
        tracing::debug!(contract = %record.id, %error, "an interface was not recorded");
    }
    app.control.contracts.forget(&network.record.id);
    Ok(Some(interface))
}

/// What a network tells of a contract: an interface document, Fabric metadata or an ABI.
fn read_told(record: &Record<ContractDoc>, told: &Value) -> Option<Interface> {
    let version = &record.doc.made.version;
    let abi = told.get("abi").unwrap_or(told);
    let told = told.get("metadata").unwrap_or(told);
    Interface::from_document(told)
        .ok()
        .or_else(|| match record.doc.engine {
            EngineKind::Fabric => Interface::from_fabric_metadata(&record.name, version, told).ok(),
            EngineKind::Bcos => {
                let parsed = abi.as_str().and_then(|text| serde_json::from_str(text).ok());
                Interface::from_abi(&record.name, version, parsed.as_ref().unwrap_or(abi), None, None).ok()
            }
        })
        .filter(|interface| !interface.methods.is_empty())
}

async fn known(app: &App, id: &str) -> Result<(Record<ContractDoc>, Network, Interface), Problem> {
    let record = app.records.get::<ContractDoc>(Kind::Contract, id).await?;
    let network = app.control.network(record.network.as_deref().unwrap_or_default()).await?;
    let interface = interface_of(app, &record, &network).await?.ok_or_else(no_interface)?;
    Ok((record, network, interface))
}

/// A contract's interface document.
#[utoipa::path(get, path = "/v1/contracts/{id}/interface", tag = "contracts", operation_id = "get_contract_interface",
    params(("id" = String, Path, description = "Contract")), responses((status = 200, body = Interface)))]
async fn interface(State(app): State<App>, Path(id): Path<String>) -> Result<Tagged<Interface>, Problem> {
    let (record, _, interface) = known(&app, &id).await?;
    Ok(Tagged::ok(record.version, interface))
}

/// Records a contract's interface: an interface document, a Solidity ABI (array), Fabric contract metadata or a FireFly interface.
#[utoipa::path(put, path = "/v1/contracts/{id}/interface", tag = "contracts", operation_id = "set_contract_interface",
    params(("id" = String, Path, description = "Contract")), request_body = Object, responses((status = 200, body = Interface)))]
async fn set_interface(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    IfMatch(expected): IfMatch,
    Json(given): Json<Value>,
) -> Result<Tagged<Interface>, Problem> {
    let mut transaction = app.db.begin().await?;
    let record = Repository::get_in::<ContractDoc>(&mut transaction, Kind::Contract, &id).await?;
    match (&record.organisation, &record.network) {
        (None, Some(network)) => {
            let network = Repository::get_in::<NetworkDoc>(&mut transaction, Kind::Network, network).await?;
            must_own(&caller, network.organisation.as_deref())?;
        }
        (owner, _) => must_own(&caller, owner.as_deref())?,
    }
    let expected = expected.or(Some(record.version));
    let version = &record.doc.made.version;
    let (engine, read) = match (record.doc.engine, &given) {
        (EngineKind::Bcos, Value::Array(_)) => {
            (Engine::Bcos, Interface::from_abi(&record.name, version, &given, None, None))
        }
        (EngineKind::Bcos, _) => (Engine::Bcos, Interface::from_document(&given)),
        (EngineKind::Fabric, Value::Object(fields)) if fields.contains_key("contracts") => {
            (Engine::Fabric, Interface::from_fabric_metadata(&record.name, version, &given))
        }
        (EngineKind::Fabric, _) => (Engine::Fabric, Interface::from_document(&given)),
    };
    let read = match read {
        Err(_) if given.get("methods").is_some() && given.get("engine").is_none() => {
            Interface::from_ffi(&given, engine)
        }
        other => other,
    };
    let interface = read.map_err(|error| Problem::invalid("body", error.to_string()))?;
    if interface.engine != engine {
        return Err(Problem::invalid_in("engine", "the interface is of the other engine", "接口属于另一种引擎"));
    }
    let mut doc = record.doc.clone();
    doc.made.interface = serde_json::to_value(&interface).ok();
    let version = Repository::update_in(&mut transaction, Kind::Contract, &id, expected, &record.name, &doc).await?;
    transaction.commit().await.map_err(DbError::from)?;
    app.control.contracts.forget(record.network.as_deref().unwrap_or_default());
    Ok(Tagged::ok(version, interface))
}

/// An OpenAPI document with one path per method.
#[utoipa::path(get, path = "/v1/contracts/{id}/openapi.json", tag = "contracts", operation_id = "get_contract_openapi",
    params(("id" = String, Path, description = "Contract")), responses((status = 200, body = Object)))]
async fn openapi(State(app): State<App>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let (record, _, interface) = known(&app, &id).await?;
    Ok(Json(interface.to_openapi(&format!("/v1/contracts/{}/methods", record.id))))
}

/// Which call.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct CodeQuery {
    /// Method, or its signature.
    method: String,
    /// Arguments as JSON; default: examples.
    arguments: Option<String>,
}

/// A call as code.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Code {
    /// One per language and way.
    pub items: Vec<Snippet>,
}

/// A call as code to copy: curl, TypeScript, Python, Go, Java, through the API and natively.
#[utoipa::path(get, path = "/v1/contracts/{id}/code", tag = "contracts", operation_id = "get_contract_code",
    params(("id" = String, Path, description = "Contract"), CodeQuery), responses((status = 200, body = Code)))]
async fn code(
    State(app): State<App>,
    headers: HeaderMap,
    Path(id): Path<String>,
    Query(query): Query<CodeQuery>,
) -> Result<Response, Problem> {
    let (record, network, interface) = known(&app, &id).await?;
    let arguments: Value = match query.arguments.as_deref().filter(|text| !text.is_empty()) {
        None => Value::Null,
        Some(text) => serde_json::from_str(text).map_err(|error| {
            Problem::new(&kinds::INVALID_PARAMETER)
                .details(format!("arguments: no JSON ({error})"), format!("arguments：不是有效的 JSON（{error}）"))
        })?,
    };
    let count = arguments.as_array().map(Vec::len).or_else(|| arguments.as_object().map(serde_json::Map::len));
    let method = interface
        .method(&query.method, count)
        .map_err(|error| Problem::new(&kinds::NOT_FOUND).detail(error.to_string()))?;
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("127.0.0.1:8080");
    let plain = host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']'));
    let scheme = headers.get("x-forwarded-proto").and_then(|text| text.to_str().ok()).filter(|text| *text == "https");
    let server = format!("{}://{}", scheme.unwrap_or("http"), if plain { host } else { "127.0.0.1:8080" });
    let spec = network.spec();
    let (port, roles): (&str, &[&str]) = match spec.engine {
        EngineKind::Fabric => ("grpc", &["peer"]),
        EngineKind::Bcos => ("web3", &["sealer", "observer"]),
    };
    let node = spec.nodes.iter().find(|node| roles.contains(&node.role.as_str()));
    let address = node.and_then(|node| {
        let reference = konsort_drivers::NodeRef { network: spec.id.clone(), node: node.id.clone() };
        Some(network.driver.reachable(&reference, *node.ports.get(port)?))
    });
    let endpoint = match (spec.engine, address) {
        (EngineKind::Bcos, Some(address)) => format!("http://{address}"),
        (_, address) => address.unwrap_or_default(),
    };
    let mspid = node
        .and_then(|node| spec.organisations.iter().find(|organisation| organisation.name == node.organisation))
        .and_then(|organisation| organisation.mspid.clone())
        .unwrap_or_default();
    let items = snippets(&SnippetRequest {
        contract: &interface,
        method,
        arguments: &arguments,
        server: &server,
        contract_id: &record.id,
        channel: &record.doc.channel,
        target: record.doc.target(&record.name),
        endpoint: &endpoint,
        mspid: &mspid,
    });
    Ok(Json(Code { items }).into_response())
}

/// An event on the ledger.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ContractEvent {
    /// The event.
    #[serde(flatten)]
    pub event: DecodedEvent,
    /// The transaction.
    pub transaction: String,
    /// Height of its block.
    pub height: u64,
    /// Its time, milliseconds since 1970.
    pub time: i64,
}

/// Events of a contract, newest first.
#[utoipa::path(get, path = "/v1/contracts/{id}/events", tag = "contracts", operation_id = "list_contract_events",
    params(("id" = String, Path, description = "Contract"), PageQuery),
    responses((status = 200, body = ListOf<ContractEvent>)))]
async fn events(
    State(app): State<App>,
    Path(id): Path<String>,
    page: PageQuery,
) -> Result<Json<ListOf<ContractEvent>>, Problem> {
    let record = app.records.get::<ContractDoc>(Kind::Contract, &id).await?;
    let network = record.network.clone().unwrap_or_default();
    let limit = page.page()?.limit();
    let before = page.page_token.as_deref().map(decode_token::<(i64, i64)>).transpose()?;
    let Some(ledger) = app.control.index.ledger(&network, &record.doc.channel) else {
        return Ok(Json(ListOf { items: Vec::new(), next_page_token: None }));
    };
    let target = record.doc.target(&record.name);
    let mut rows =
        query::events(app.db.read(), ledger.id, target, before, limit as u32 + 1).await.map_err(DbError::from)?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next_page_token = rows.last().filter(|_| more).map(|row| encode_token(&(row.position, row.number)));
    let contracts = app.control.contracts.of(&app.control, &network).await?;
    let known = find(&contracts, &record.doc.channel, target);
    let items = rows
        .into_iter()
        .map(|row| {
            let decoded = known.and_then(|known| known.event(&row.payload));
            let name = decoded.as_ref().and_then(|decoded| decoded["name"].as_str()).unwrap_or(&row.name).to_owned();
            let arguments = decoded.map(|decoded| decoded["arguments"].clone());
            ContractEvent {
                event: DecodedEvent { contract: row.contract, name, arguments, payload: row.payload },
                transaction: row.transaction,
                height: place(row.position).0,
                time: row.time,
            }
        })
        .collect();
    Ok(Json(ListOf { items, next_page_token }))
}

/// The routes.
pub fn routes() -> Routes {
    Routes::new()
        .routes(routes!(interface))
        .routes(routes!(set_interface))
        .routes(routes!(openapi))
        .routes(routes!(code))
        .routes(routes!(events))
}
