//! `/v1/networks`: networks as people ask for them and as they are.

pub mod import;
pub mod model;
pub mod reads;
pub mod view;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use konsort_engines::act::StepPlan;
use konsort_engines::{Act, NetworkRequest, NetworkSpec};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use crate::access::Caller;
use crate::app::{App, Routes};
use crate::control::{Control, Network, may_act, must_own};
use crate::db::{Filter, Kind, New, Repository};
use crate::faults::{FaultBudget, fault_budget};
use crate::http::{AuditNote, DryRun, IfMatch, Json, ListOf, PageQuery, Path, Query, Tagged, audited};
use crate::ids;
use crate::operations::handlers::{OperationView, accepted, act};
use crate::operations::{Operation, Work};
use crate::problem::{Problem, kinds};
use crate::time;
use model::{NetworkDoc, NetworkState};
use view::NetworkView;

/// What creating a network would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NetworkPlan {
    /// The network as it would be.
    pub spec: NetworkSpec,
    /// The steps in order.
    pub steps: Vec<StepPlan>,
    /// What it would survive.
    pub fault_budget: FaultBudget,
}

/// Which networks.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Only of exactly this name.
    name: Option<String>,
}

/// Networks.
#[utoipa::path(get, path = "/v1/networks", tag = "networks", operation_id = "list_networks",
    params(ListQuery, PageQuery), responses((status = 200, body = ListOf<NetworkView>)))]
async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<ListQuery>,
    page: PageQuery,
) -> Result<Json<ListOf<NetworkView>>, Problem> {
    let filter = Filter { name: query.name, scope: caller.scope(), ..Filter::default() };
    let found = app.records.list::<NetworkDoc>(Kind::Network, &filter, &page.page()?).await?;
    Ok(Json(found.map(|record| NetworkView::of(&app.control, &record)).into()))
}

/// Makes a network.
#[utoipa::path(post, path = "/v1/networks", tag = "networks", operation_id = "create_network",
    params(DryRun), request_body = NetworkRequest,
    responses((status = 200, description = "On a dry run: what would be done", body = NetworkPlan),
        (status = 202, body = OperationView)))]
async fn create(
    State(app): State<App>,
    caller: Caller,
    Query(DryRun { dry_run }): Query<DryRun>,
    Json(mut request): Json<NetworkRequest>,
) -> Result<Response, Problem> {
    check_name(&request.name)?;
    let control = &app.control;
    for (index, organisation) in request.organisations.iter().enumerate() {
        if let Some(id) = &organisation.id
            && !app.records.sees(&caller.scope(), Kind::Organisation, id).await?
        {
            return Err(Problem::invalid_in(
                &format!("organisations[{index}].id"),
                "there is no such organisation; take an id of GET /v1/organisations or leave it out",
                "没有该组织；请使用 GET /v1/organisations 中的编号，或省略此字段",
            ));
        }
    }
    // Who belongs to an organisation makes networks for it.
    if let (Some(own), Some(first)) = (&caller.organisation, request.organisations.first_mut()) {
        first.id.get_or_insert_with(|| own.clone());
    }
    let engine = control.engine(request.engine)?;
    let driver = control.driver(request.driver)?;
    let id = ids::new("net");
    // Nobody else plans meanwhile: two networks made at once must not choose the same ports.
    let _planning = control.planning.lock().await;
    let taken = taken_ports(control).await?;
    let spec = engine.plan(&id, &request, &taken)?;
    let steps = engine.steps(&spec, &Act::Create)?;
    let fault_budget = fault_budget(&spec);
    if dry_run {
        return Ok(Json(NetworkPlan { spec, steps, fault_budget }).into_response());
    }
    driver.check().await?;
    let doc = NetworkDoc {
        spec,
        state: NetworkState::Pending,
        created_by: caller.id.clone(),
        stopped_nodes: std::collections::BTreeSet::default(),
        imported: false,
    };
    let mut operation = Operation::new(
        ids::new("op"),
        Some(id.clone()),
        request.name.clone(),
        Work::Network { act: Act::Create },
        caller.id.clone(),
        &time::rfc3339(time::now()),
    );
    operation.plan(steps);
    let mut telling = control.outbox.begin().await?;
    let new =
        New { id: &id, network: None, organisation: caller.organisation.as_deref(), name: &request.name, doc: &doc };
    Repository::create_in(telling.connection(), Kind::Network, new).await?;
    Control::enqueue(&mut telling, &operation, caller.organisation.as_deref()).await?;
    telling.commit().await?;
    control.runner.wake();
    control.changed.notify_one();
    let after = serde_json::to_value(&request).ok();
    let note = AuditNote { network: Some(id.clone()), target: Some(id), before: None, after };
    Ok(audited(note, accepted(&operation)))
}

/// A network.
#[utoipa::path(get, path = "/v1/networks/{id}", tag = "networks", operation_id = "get_network",
    params(("id" = String, Path, description = "Network")), responses((status = 200, body = NetworkView)))]
async fn get(State(app): State<App>, Path(id): Path<String>) -> Result<Tagged<NetworkView>, Problem> {
    let record = app.records.get::<NetworkDoc>(Kind::Network, &id).await?;
    Ok(Tagged::ok(record.version, NetworkView::of(&app.control, &record)))
}

/// What can be changed of a network's record.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NetworkChange {
    /// Display name, any script, 1 to 64 characters.
    name: String,
}

/// Renames a network.
#[utoipa::path(patch, path = "/v1/networks/{id}", tag = "networks", operation_id = "update_network",
    params(("id" = String, Path, description = "Network")), request_body = NetworkChange,
    responses((status = 200, body = NetworkView)))]
async fn patch(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    IfMatch(expected): IfMatch,
    Json(change): Json<NetworkChange>,
) -> Result<Tagged<NetworkView>, Problem> {
    check_name(&change.name)?;
    let mut transaction = app.db.begin().await?;
    let mut record = Repository::get_in::<NetworkDoc>(&mut transaction, Kind::Network, &id).await?;
    must_own(&caller, record.organisation.as_deref())?;
    let expected = expected.or(Some(record.version));
    record.doc.spec.name.clone_from(&change.name);
    let version =
        Repository::update_in(&mut transaction, Kind::Network, &id, expected, &change.name, &record.doc).await?;
    transaction.commit().await.map_err(crate::db::DbError::from)?;
    record.name = change.name;
    record.version = version;
    Ok(Tagged::ok(version, NetworkView::of(&app.control, &record)))
}

/// Removes a network: its nodes are stopped, everything the platform holds of it goes.
#[utoipa::path(delete, path = "/v1/networks/{id}", tag = "networks", operation_id = "delete_network",
    params(("id" = String, Path, description = "Network"), DryRun),
    responses((status = 200, description = "On a dry run: what would be done", body = crate::operations::handlers::ActPlan),
        (status = 202, body = OperationView)))]
async fn delete(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    Query(DryRun { dry_run }): Query<DryRun>,
) -> Result<Response, Problem> {
    let network = app.control.network(&id).await?;
    may_act(&network, &caller, &Act::Delete)?;
    if !dry_run {
        // One that is being made is given up first, which removes it.
        let unfinished = crate::operations::store::unfinished(&app.db).await?;
        if let Some(removing) =
            unfinished.iter().find(|other| other.network.as_ref() == Some(&id) && other.act() == Some(&Act::Delete))
        {
            return Ok(accepted(removing).into_response());
        }
        let creating =
            unfinished.iter().find(|other| other.network.as_ref() == Some(&id) && other.act() == Some(&Act::Create));
        if let Some(creating) = creating {
            let (operation, removal) = app.control.cancel_operation(&creating.id, &caller).await?;
            return Ok(accepted(removal.as_ref().unwrap_or(&operation)).into_response());
        }
    }
    let name = network.record.name.clone();
    act(&app, &caller, &network, Act::Delete, &name, dry_run).await
}

/// Starts every node.
#[utoipa::path(post, path = "/v1/networks/{id}/start", tag = "networks", operation_id = "start_network",
    params(("id" = String, Path, description = "Network"), DryRun),
    responses((status = 200, description = "On a dry run: what would be done", body = crate::operations::handlers::ActPlan),
        (status = 202, body = OperationView)))]
async fn start(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    Query(DryRun { dry_run }): Query<DryRun>,
) -> Result<Response, Problem> {
    let network = app.control.network(&id).await?;
    if !matches!(network.record.doc.state, NetworkState::Running | NetworkState::Stopped) {
        return Err(not_now(&network));
    }
    let name = network.record.name.clone();
    act(&app, &caller, &network, Act::Start, &name, dry_run).await
}

/// Stops every node.
#[utoipa::path(post, path = "/v1/networks/{id}/stop", tag = "networks", operation_id = "stop_network",
    params(("id" = String, Path, description = "Network"), DryRun),
    responses((status = 200, description = "On a dry run: what would be done", body = crate::operations::handlers::ActPlan),
        (status = 202, body = OperationView)))]
async fn stop(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    Query(DryRun { dry_run }): Query<DryRun>,
) -> Result<Response, Problem> {
    let network = running(&app, &id).await?;
    let name = network.record.name.clone();
    act(&app, &caller, &network, Act::Stop, &name, dry_run).await
}

/// A network that runs, for acts that need one.
pub(crate) async fn running(app: &App, id: &str) -> Result<Network, Problem> {
    let network = app.control.network(id).await?;
    if network.record.doc.state == NetworkState::Running { Ok(network) } else { Err(not_now(&network)) }
}

fn not_now(network: &Network) -> Problem {
    let (english, chinese) = match network.record.doc.state {
        NetworkState::Pending => {
            ("the network is still being made; wait for its operation", "网络仍在创建，请等待操作完成")
        }
        NetworkState::Failed => (
            "making or removing the network failed; retry or cancel that operation",
            "网络创建或删除失败，请重试或取消该操作",
        ),
        NetworkState::Deleting => ("the network is being removed", "网络正在删除"),
        NetworkState::Stopped => ("the network is stopped; start it first", "网络已停止，请先启动"),
        NetworkState::Running | NetworkState::Degraded => ("the network cannot do this now", "网络当前无法执行此操作"),
    };
    Problem::new(&kinds::CONFLICT).details(english, chinese).with("network", network.record.id.clone())
}

pub(crate) fn check_name(name: &str) -> Result<(), Problem> {
    let length = name.chars().count();
    if name.trim() != name || !(1..=64).contains(&length) || name.chars().any(char::is_control) {
        return Err(Problem::invalid_in(
            "name",
            "1 to 64 characters without spaces at the ends",
            "1 至 64 个字符，首尾不能有空格",
        ));
    }
    Ok(())
}

/// Ports of every network of the platform.
async fn taken_ports(control: &Control) -> Result<Vec<u16>, Problem> {
    let networks = control.every_network().await?;
    let local = networks.iter().filter(|record| !record.doc.imported);
    Ok(local.flat_map(|record| record.doc.spec.all_ports().collect::<Vec<_>>()).collect())
}

/// The routes.
pub fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list))
        .routes(routes!(create))
        .routes(routes!(get))
        .routes(routes!(patch))
        .routes(routes!(delete))
        .routes(routes!(start))
        .routes(routes!(stop))
        .merge(reads::routes())
        .merge(import::routes())
}
