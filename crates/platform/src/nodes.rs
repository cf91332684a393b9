//! `/v1/networks/{id}/nodes`: nodes, what they do, their logs.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use axum::response::sse::{Event as Sse, KeepAlive, Sse as SseAnswer};
use futures::{Stream, StreamExt as _};
use http::HeaderMap;
use konsort_drivers::{NodeRef, RunState};
use konsort_engines::Act;
use konsort_engines::spec::NodeSpec;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use crate::access::Caller;
use crate::app::{App, Routes};
use crate::control::Network;
use crate::db::Kind;
use crate::events::stream::gone;
use crate::http::{DryRun, Json, ListOf, Path, Query};
use crate::index::Index;
use crate::live::{NodeLive, NodeStatus, status_of};
use crate::networks::model::NetworkDoc;
use crate::networks::reads::{Metrics, MetricsQuery, figures};
use crate::networks::running;
use crate::operations::handlers::{ActPlan, OperationView, act};
use crate::problem::Problem;
use crate::time;

/// Most lines of a log's end.
const LONGEST_TAIL: usize = 5000;

/// A node.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct NodeView {
    /// Its id, unique in its network.
    pub id: String,
    /// Host name in its certificate.
    pub hostname: String,
    /// `peer`, `orderer`, `sealer`, `observer`.
    pub role: String,
    /// Name of its organisation.
    pub organisation: String,
    /// What it is doing.
    pub status: NodeStatus,
    /// What is wrong, in words.
    pub problem: Option<String>,
    /// Ports it listens on, by name.
    pub ports: BTreeMap<String, u16>,
    /// Endpoints of a node that somebody else runs.
    pub external: Option<BTreeMap<String, String>>,
    /// BCOS: its id in consensus.
    pub node_id: Option<String>,
    /// Version it reports.
    pub version: Option<String>,
    /// What it is in consensus now: `leader`, `follower`, `sealer`, `observer`, `peer`.
    pub consensus_role: Option<String>,
    /// Height of each channel or group.
    pub heights: BTreeMap<String, u64>,
    /// Blocks it is behind the platform's index, at most of its channels.
    pub lag: Option<u64>,
    /// Nodes it is connected to.
    pub peers: Option<u32>,
    /// Days until its first certificate expires.
    pub certificate_days: Option<i64>,
    /// Transactions waiting in its pool.
    pub pending: Option<u64>,
    /// Process id.
    pub pid: Option<u32>,
    /// Container id.
    pub container: Option<String>,
    /// Start of the present run, RFC 3339.
    pub started_at: Option<String>,
    /// Restarts that nobody asked for.
    pub restarts: u32,
    /// Why its last run ended.
    pub last_exit: Option<String>,
    /// Share of a core, 1.0 is a whole one.
    pub cpu: Option<f64>,
    /// Resident memory, bytes.
    pub memory: Option<u64>,
    /// Size of its folder, bytes.
    pub disk: Option<u64>,
}

impl NodeView {
    pub(crate) fn of(
        doc: &NetworkDoc,
        node: &NodeSpec,
        live: Option<&NodeLive>,
        status: NodeStatus,
        index: &Index,
    ) -> Self {
        let health = live.and_then(|live| live.health.as_ref());
        let observed = live.and_then(|live| live.observed.as_ref());
        let heights = health.map(|health| health.heights.clone()).unwrap_or_default();
        let lag = heights
            .iter()
            .filter_map(|(channel, height)| {
                let newest = index.ledger(&doc.spec.id, channel)?.next.checked_sub(1)?;
                Some(newest.saturating_sub(*height))
            })
            .max();
        Self {
            id: node.id.clone(),
            hostname: node.hostname.clone(),
            role: node.role.clone(),
            organisation: node.organisation.clone(),
            status,
            problem: health
                .and_then(|health| health.problem.clone())
                .filter(|_| !matches!(status, NodeStatus::Stopped | NodeStatus::Pending)),
            ports: if node.external.is_some() { BTreeMap::new() } else { node.ports.clone() },
            external: node.external.clone(),
            node_id: node.node_id.clone(),
            version: health.and_then(|health| health.version.clone()),
            consensus_role: health.filter(|health| health.reachable).map(|health| health.role.clone()),
            heights,
            lag,
            peers: health.and_then(|health| health.peers),
            certificate_days: health.and_then(|health| health.certificate_days),
            pending: health.and_then(|health| health.pending),
            pid: observed.and_then(|observed| observed.pid),
            container: observed.and_then(|observed| observed.container.clone()),
            started_at: observed
                .filter(|observed| observed.state == RunState::Running)
                .and_then(|observed| observed.started_at)
                .map(time::rfc3339),
            restarts: observed.map_or(0, |observed| observed.restarts),
            last_exit: observed.and_then(|observed| observed.last_exit.clone()),
            cpu: live.and_then(|live| live.cpu).map(|cpu| cpu as f64 / 1000.0),
            memory: observed.and_then(|observed| observed.memory),
            disk: observed.and_then(|observed| observed.disk),
        }
    }
}

fn view(app: &App, id: &str, doc: &NetworkDoc, node: &NodeSpec) -> NodeView {
    let snapshot = app.control.live.of(id).snapshot();
    let live = snapshot.nodes.get(&node.id);
    NodeView::of(doc, node, live, status_of(doc, &node.id, live, time::now()), &app.control.index)
}

fn known<'a>(network: &'a Network, node: &str) -> Result<&'a NodeSpec, Problem> {
    network.spec().node(node).ok_or_else(|| Problem::not_found("node", node))
}

/// Nodes of a network.
#[utoipa::path(get, path = "/v1/networks/{id}/nodes", tag = "nodes", operation_id = "list_nodes",
    params(("id" = String, Path, description = "Network")), responses((status = 200, body = ListOf<NodeView>)))]
async fn list(State(app): State<App>, Path(id): Path<String>) -> Result<Json<ListOf<NodeView>>, Problem> {
    let record = app.records.get::<NetworkDoc>(Kind::Network, &id).await?;
    let items = record.doc.spec.nodes.iter().map(|node| view(&app, &id, &record.doc, node)).collect();
    Ok(Json(ListOf { items, next_page_token: None }))
}

/// A new node.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NodeRequest {
    /// Name of its organisation.
    organisation: String,
    /// `peer`, `orderer`, `sealer` or `observer`.
    role: String,
    /// Channels or groups to join; default: all of its organisation's.
    #[serde(default)]
    channels: Option<Vec<String>>,
}

/// Adds a node to a living network.
#[utoipa::path(post, path = "/v1/networks/{id}/nodes", tag = "nodes", operation_id = "add_node",
    params(("id" = String, Path, description = "Network"), DryRun), request_body = NodeRequest,
    responses((status = 200, description = "On a dry run: what would be done", body = ActPlan),
        (status = 202, body = OperationView)))]
async fn add(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    Query(DryRun { dry_run }): Query<DryRun>,
    Json(request): Json<NodeRequest>,
) -> Result<Response, Problem> {
    let network = running(&app, &id).await?;
    if !network.spec().organisations.iter().any(|organisation| organisation.name == request.organisation) {
        return Err(Problem::invalid_in(
            "organisation",
            "the name of an organisation of the network",
            "必须是网络中的组织名称",
        ));
    }
    let channels = request.channels.unwrap_or_else(|| {
        let of_organisation =
            network.spec().channels.iter().filter(|channel| channel.organisations.contains(&request.organisation));
        of_organisation.map(|channel| channel.name.clone()).collect()
    });
    for (index, name) in channels.iter().enumerate() {
        if network.spec().channel(name).is_none() {
            return Err(Problem::invalid_in(
                &format!("channels[{index}]"),
                "a channel of the network",
                "必须是网络中的通道",
            ));
        }
    }
    let subject = format!("{} ({})", request.role, request.organisation);
    let wanted = Act::AddNode { organisation: request.organisation, role: request.role, channels };
    act(&app, &caller, &network, wanted, &subject, dry_run).await
}

/// A node.
#[utoipa::path(get, path = "/v1/networks/{id}/nodes/{node}", tag = "nodes", operation_id = "get_node",
    params(("id" = String, Path, description = "Network"), ("node" = String, Path, description = "Node")),
    responses((status = 200, body = NodeView)))]
async fn get(State(app): State<App>, Path((id, node)): Path<(String, String)>) -> Result<Json<NodeView>, Problem> {
    let network = app.control.network(&id).await?;
    Ok(Json(view(&app, &id, &network.record.doc, known(&network, &node)?)))
}

/// Takes a node out of its network and removes it.
#[utoipa::path(delete, path = "/v1/networks/{id}/nodes/{node}", tag = "nodes", operation_id = "remove_node",
    params(("id" = String, Path, description = "Network"), ("node" = String, Path, description = "Node"), DryRun),
    responses((status = 200, description = "On a dry run: what would be done", body = ActPlan),
        (status = 202, body = OperationView)))]
async fn remove(
    State(app): State<App>,
    caller: Caller,
    Path((id, node)): Path<(String, String)>,
    Query(DryRun { dry_run }): Query<DryRun>,
) -> Result<Response, Problem> {
    let network = running(&app, &id).await?;
    known(&network, &node)?;
    act(&app, &caller, &network, Act::RemoveNode { node: node.clone() }, &node, dry_run).await
}

async fn one(
    app: &App,
    caller: &Caller,
    (id, node): (String, String),
    what: &str,
    dry_run: bool,
) -> Result<Response, Problem> {
    let network = running(app, &id).await?;
    known(&network, &node)?;
    act(app, caller, &network, Act::Node { node: node.clone(), what: what.to_owned() }, &node, dry_run).await
}

/// Starts a node.
#[utoipa::path(post, path = "/v1/networks/{id}/nodes/{node}/start", tag = "nodes", operation_id = "start_node",
    params(("id" = String, Path, description = "Network"), ("node" = String, Path, description = "Node"), DryRun),
    responses((status = 200, description = "On a dry run: what would be done", body = ActPlan),
        (status = 202, body = OperationView)))]
async fn start(
    State(app): State<App>,
    caller: Caller,
    Path(path): Path<(String, String)>,
    Query(DryRun { dry_run }): Query<DryRun>,
) -> Result<Response, Problem> {
    one(&app, &caller, path, "start", dry_run).await
}

/// Stops a node.
#[utoipa::path(post, path = "/v1/networks/{id}/nodes/{node}/stop", tag = "nodes", operation_id = "stop_node",
    params(("id" = String, Path, description = "Network"), ("node" = String, Path, description = "Node"), DryRun),
    responses((status = 200, description = "On a dry run: what would be done", body = ActPlan),
        (status = 202, body = OperationView)))]
async fn stop(
    State(app): State<App>,
    caller: Caller,
    Path(path): Path<(String, String)>,
    Query(DryRun { dry_run }): Query<DryRun>,
) -> Result<Response, Problem> {
    one(&app, &caller, path, "stop", dry_run).await
}

/// Stops and starts a node.
#[utoipa::path(post, path = "/v1/networks/{id}/nodes/{node}/restart", tag = "nodes", operation_id = "restart_node",
    params(("id" = String, Path, description = "Network"), ("node" = String, Path, description = "Node"), DryRun),
    responses((status = 200, description = "On a dry run: what would be done", body = ActPlan),
        (status = 202, body = OperationView)))]
async fn restart(
    State(app): State<App>,
    caller: Caller,
    Path(path): Path<(String, String)>,
    Query(DryRun { dry_run }): Query<DryRun>,
) -> Result<Response, Problem> {
    one(&app, &caller, path, "restart", dry_run).await
}

/// A node's part in consensus.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RoleRequest {
    /// `sealer` or `observer`.
    role: String,
    /// Weight as a sealer.
    #[serde(default)]
    weight: Option<u64>,
}

/// BCOS: changes a node's role or weight in consensus.
#[utoipa::path(put, path = "/v1/networks/{id}/nodes/{node}/role", tag = "nodes", operation_id = "set_node_role",
    params(("id" = String, Path, description = "Network"), ("node" = String, Path, description = "Node"), DryRun),
    request_body = RoleRequest,
    responses((status = 200, description = "On a dry run: what would be done", body = ActPlan),
        (status = 202, body = OperationView)))]
async fn role(
    State(app): State<App>,
    caller: Caller,
    Path((id, node)): Path<(String, String)>,
    Query(DryRun { dry_run }): Query<DryRun>,
    Json(request): Json<RoleRequest>,
) -> Result<Response, Problem> {
    let network = running(&app, &id).await?;
    known(&network, &node)?;
    let wanted = Act::SetRole { node: node.clone(), role: request.role, weight: request.weight };
    act(&app, &caller, &network, wanted, &node, dry_run).await
}

/// How much of a log.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct LogQuery {
    /// Lines from its end, 1 to 5000; default 200.
    #[param(minimum = 1, maximum = 5000)]
    tail: Option<usize>,
}

/// The end of a node's log.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct NodeLog {
    /// Oldest first.
    pub lines: Vec<String>,
}

async fn lines(
    app: &App,
    id: &str,
    node: &str,
    tail: Option<usize>,
    follow: bool,
) -> Result<futures::stream::BoxStream<'static, String>, Problem> {
    let network = app.control.network(id).await?;
    known(&network, node)?;
    let reference = NodeRef { network: id.to_owned(), node: node.to_owned() };
    let tail = tail.unwrap_or(200).clamp(1, LONGEST_TAIL);
    Ok(network.driver.logs(&reference, tail, follow).await?)
}

/// The end of a node's log.
#[utoipa::path(get, path = "/v1/networks/{id}/nodes/{node}/logs", tag = "nodes", operation_id = "get_node_logs",
    params(("id" = String, Path, description = "Network"), ("node" = String, Path, description = "Node"), LogQuery),
    responses((status = 200, body = NodeLog)))]
async fn logs(
    State(app): State<App>,
    Path((id, node)): Path<(String, String)>,
    Query(query): Query<LogQuery>,
) -> Result<Json<NodeLog>, Problem> {
    let stream = lines(&app, &id, &node, query.tail, false).await?;
    let collected = tokio::time::timeout(Duration::from_secs(10), stream.take(LONGEST_TAIL).collect::<Vec<_>>());
    Ok(Json(NodeLog { lines: collected.await.unwrap_or_default() }))
}

/// A node's log as it is written: events named `line`, each a JSON text.
#[utoipa::path(get, path = "/v1/networks/{id}/nodes/{node}/logs/stream", tag = "nodes", operation_id = "stream_node_logs",
    params(("id" = String, Path, description = "Network"), ("node" = String, Path, description = "Node"), LogQuery),
    responses((status = 200, description = "Server-sent events", body = String, content_type = "text/event-stream")))]
async fn stream(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    Path((id, node)): Path<(String, String)>,
    Query(query): Query<LogQuery>,
) -> Result<SseAnswer<impl Stream<Item = Result<Sse, Infallible>>>, Problem> {
    let stream = lines(&app, &id, &node, query.tail, true).await?;
    let stopping = app.stopping.clone();
    let gone = gone(app, headers, caller);
    let events = stream
        .map(|line| Ok(Sse::default().event("line").data(json!(line).to_string())))
        .take_until(async move { stopping.run_until_cancelled(gone).await });
    Ok(SseAnswer::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))))
}

/// Figures of a node over time.
#[utoipa::path(get, path = "/v1/networks/{id}/nodes/{node}/metrics", tag = "nodes", operation_id = "get_node_metrics",
    params(("id" = String, Path, description = "Network"), ("node" = String, Path, description = "Node"), MetricsQuery),
    responses((status = 200, body = Metrics)))]
async fn metrics(
    State(app): State<App>,
    Path((id, node)): Path<(String, String)>,
    Query(query): Query<MetricsQuery>,
) -> Result<Json<Metrics>, Problem> {
    let network = app.control.network(&id).await?;
    known(&network, &node)?;
    Ok(Json(figures(&app, &id, Some(&node), &query).await?))
}

/// The routes.
pub fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list))
        .routes(routes!(add))
        .routes(routes!(get))
        .routes(routes!(remove))
        .routes(routes!(start))
        .routes(routes!(stop))
        .routes(routes!(restart))
        .routes(routes!(role))
        .routes(routes!(logs))
        .routes(routes!(stream))
        .routes(routes!(metrics))
}
