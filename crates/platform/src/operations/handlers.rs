//! `/v1/operations`.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use konsort_engines::act::StepPlan;
use konsort_engines::{Act, Artifact};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::state::{Operation, OperationState, Step, Work};
use super::store::{self, LogLine, OperationFilter};
use crate::access::Caller;
use crate::app::{App, Routes};
use crate::control::{Network, may_act};
use crate::db::{decode_token, encode_token};
use crate::http::{Accepted, Json, ListOf, PageQuery, Path, Query};
use crate::problem::Problem;

/// A long act, as the API shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OperationView {
    /// Its id, `op_…`.
    pub id: String,
    /// What it does, in one word: `create`, `add_node`, `deploy`, `build`, ….
    pub kind: String,
    /// The network it works on.
    pub network: Option<String>,
    /// What it is about, for lists: a network's, node's or contract's name.
    pub subject: String,
    /// What was asked for; code and packages are left out.
    #[schema(value_type = Object)]
    pub request: Value,
    /// Its steps in order.
    pub steps: Vec<Step>,
    /// Where it is.
    pub state: OperationState,
    /// What its steps produced.
    #[schema(value_type = Object)]
    pub result: Map<String, Value>,
    /// Id of who asked for it.
    pub created_by: String,
    /// When it was asked for, RFC 3339.
    pub created_at: String,
    /// When it last changed, RFC 3339.
    pub updated_at: String,
    /// When it ended, RFC 3339.
    pub ended_at: Option<String>,
}

impl OperationView {
    /// Of an operation.
    pub fn of(operation: &Operation) -> Self {
        Self {
            id: operation.id.clone(),
            kind: operation.kind.clone(),
            network: operation.network.clone(),
            subject: operation.subject.clone(),
            request: request_of(&operation.work),
            steps: operation.steps.clone(),
            state: operation.state,
            result: operation.result.clone(),
            created_by: operation.created_by.clone(),
            created_at: operation.created_at.clone(),
            updated_at: operation.updated_at.clone(),
            ended_at: operation.ended_at.clone(),
        }
    }
}

/// What was asked for, without what is long.
fn request_of(work: &Work) -> Value {
    match work {
        Work::Build { project, version } => json!({ "kind": "build", "project": project, "version": version }),
        Work::Network { act: Act::Deploy(deployment) } => {
            let artifact = match &deployment.artifact {
                Artifact::Evm { bytecode, .. } => json!({ "kind": "evm", "bytes": bytecode.len() / 2 }),
                Artifact::Package { label, .. } => json!({ "kind": "package", "label": label }),
                Artifact::Builtin { name } => json!({ "kind": "builtin", "name": name }),
            };
            json!({
                "kind": "deploy", "contract": deployment.contract, "name": deployment.name, "version": deployment.version,
                "channel": deployment.channel, "artifact": artifact, "arguments": deployment.arguments,
                "policy": deployment.policy, "init": deployment.init, "signer": deployment.signer,
            })
        }
        Work::Network { act } => serde_json::to_value(act).unwrap_or_default(),
    }
}

/// What an act would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ActPlan {
    /// Its steps in order.
    pub steps: Vec<StepPlan>,
}

/// The answer to a request that begins an operation.
pub(crate) fn accepted(operation: &Operation) -> Accepted<OperationView> {
    Accepted { location: format!("/v1/operations/{}", operation.id), body: OperationView::of(operation) }
}

/// Asks for an act, or, on a dry run, says what it would do.
pub(crate) async fn act(
    app: &App,
    caller: &Caller,
    network: &Network,
    act: Act,
    subject: &str,
    dry_run: bool,
) -> Result<Response, Problem> {
    may_act(network, caller, &act)?;
    if dry_run {
        let steps = network.engine.steps(network.spec(), &act)?;
        return Ok(Json(ActPlan { steps }).into_response());
    }
    let operation = app.control.submit_act(network, act, subject, caller).await?;
    Ok(accepted(&operation).into_response())
}

/// Which operations.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Only of this network.
    network: Option<String>,
    /// Only in this state.
    state: Option<OperationState>,
}

/// Operations, newest first.
#[utoipa::path(get, path = "/v1/operations", tag = "operations", operation_id = "list_operations",
    params(ListQuery, PageQuery), responses((status = 200, body = ListOf<OperationView>)))]
async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<ListQuery>,
    page: PageQuery,
) -> Result<Json<ListOf<OperationView>>, Problem> {
    let size = page.page()?.limit();
    let before = page.page_token.as_deref().map(decode_token::<(i64, String)>).transpose()?;
    let filter = OperationFilter { network: query.network, state: query.state, scope: caller.scope(), before };
    let mut found = store::list(&app.db, &filter, size + 1).await?;
    let more = found.len() > size;
    found.truncate(size);
    let next_page_token = found.last().filter(|_| more).map(|last| encode_token(&store::place_of(last)));
    Ok(Json(ListOf { items: found.iter().map(OperationView::of).collect(), next_page_token }))
}

/// An operation.
#[utoipa::path(get, path = "/v1/operations/{id}", tag = "operations", operation_id = "get_operation",
    params(("id" = String, Path, description = "Operation")), responses((status = 200, body = OperationView)))]
async fn get(State(app): State<App>, Path(id): Path<String>) -> Result<Json<OperationView>, Problem> {
    Ok(Json(OperationView::of(&store::get(&app.db, &id).await?)))
}

/// Runs a failed operation again, from the step that failed.
#[utoipa::path(post, path = "/v1/operations/{id}/retry", tag = "operations", operation_id = "retry_operation",
    params(("id" = String, Path, description = "Operation")), responses((status = 202, body = OperationView)))]
async fn retry(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Accepted<OperationView>, Problem> {
    Ok(accepted(&app.control.retry_operation(&id, &caller).await?))
}

/// Gives an operation up. A network that was being created is removed again by an operation that the answer names in `Location`.
#[utoipa::path(post, path = "/v1/operations/{id}/cancel", tag = "operations", operation_id = "cancel_operation",
    params(("id" = String, Path, description = "Operation")), responses((status = 202, body = OperationView)))]
async fn cancel(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Accepted<OperationView>, Problem> {
    let (operation, removal) = app.control.cancel_operation(&id, &caller).await?;
    let mut answer = accepted(&operation);
    if let Some(removal) = removal {
        answer.location = format!("/v1/operations/{}", removal.id);
    }
    Ok(answer)
}

/// Which lines.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct LogQuery {
    /// Number of the first line; default 0.
    #[serde(default)]
    #[param(minimum = 0)]
    from: u32,
    /// Most lines, 1 to 5000; default 1000.
    #[param(minimum = 1, maximum = 5000)]
    limit: Option<u32>,
}

/// The log of an operation.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct OperationLog {
    /// Its lines.
    pub items: Vec<LogLine>,
    /// Number of the first line that would come next.
    pub next: i64,
}

/// What an operation's steps said.
#[utoipa::path(get, path = "/v1/operations/{id}/log", tag = "operations", operation_id = "get_operation_log",
    params(("id" = String, Path, description = "Operation"), LogQuery), responses((status = 200, body = OperationLog)))]
async fn log(
    State(app): State<App>,
    Path(id): Path<String>,
    Query(query): Query<LogQuery>,
) -> Result<Json<OperationLog>, Problem> {
    let limit = i64::from(query.limit.unwrap_or(1000).clamp(1, 5000));
    let items = store::log_lines(&app.db, &id, i64::from(query.from), limit).await?;
    let next = items.last().map_or(i64::from(query.from), |line| line.seq + 1);
    Ok(Json(OperationLog { items, next }))
}

/// The routes.
pub fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list))
        .routes(routes!(get))
        .routes(routes!(retry))
        .routes(routes!(cancel))
        .routes(routes!(log))
}
