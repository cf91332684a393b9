//! What can be looked at of a network: topology, figures, history of its configuration, connection profiles.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::State;
use axum::response::Response;
use konsort_engines::ConfigChange;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::model::{NetworkDoc, NetworkState};
use super::view::{ChannelView, channels, condition};
use crate::access::Caller;
use crate::app::{App, Routes};
use crate::control::must_own;
use crate::db::Kind;
use crate::download;
use crate::faults::{FaultBudget, fault_budget};
use crate::http::{Json, Path, Query};
use crate::live::{BUCKET, MINUTE, read_coarse, status_of};
use crate::nodes::NodeView;
use crate::problem::{Problem, kinds};
use crate::time;

/// A network by organisation and place.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Topology {
    /// How it is.
    pub state: NetworkState,
    /// What it survives.
    pub fault_budget: FaultBudget,
    /// Organisations with their nodes.
    pub organisations: Vec<TopologyOrganisation>,
    /// Channels or groups.
    pub channels: Vec<ChannelView>,
    /// Who is connected with whom.
    pub links: Vec<Link>,
}

/// An organisation and its nodes.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TopologyOrganisation {
    /// Its name in identities.
    pub name: String,
    /// Fabric: its MSP id.
    pub mspid: Option<String>,
    /// Id of its record on the platform.
    pub id: Option<String>,
    /// Its nodes.
    pub nodes: Vec<NodeView>,
}

/// A connection between two nodes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
pub struct Link {
    /// A node's id.
    pub from: String,
    /// Another's.
    pub to: String,
    /// What they have in common: `consensus`, or the name of a channel or group.
    pub kind: String,
}

/// The network by organisation, with the state of every node.
#[utoipa::path(get, path = "/v1/networks/{id}/topology", tag = "networks", operation_id = "get_topology",
    params(("id" = String, Path, description = "Network")), responses((status = 200, body = Topology)))]
async fn topology(State(app): State<App>, Path(id): Path<String>) -> Result<Json<Topology>, Problem> {
    let record = app.records.get::<NetworkDoc>(Kind::Network, &id).await?;
    let doc = &record.doc;
    let snapshot = app.control.live.of(&id).snapshot();
    let now = time::now();
    let organisations = doc
        .spec
        .organisations
        .iter()
        .map(|organisation| TopologyOrganisation {
            name: organisation.name.clone(),
            mspid: organisation.mspid.clone(),
            id: organisation.id.clone(),
            nodes: doc
                .spec
                .nodes
                .iter()
                .filter(|node| node.organisation == organisation.name)
                .map(|node| {
                    let live = snapshot.nodes.get(&node.id);
                    NodeView::of(doc, node, live, status_of(doc, &node.id, live, now), &app.control.index)
                })
                .collect(),
        })
        .collect();
    Ok(Json(Topology {
        state: condition(&app.control, &id, doc).0,
        fault_budget: fault_budget(&doc.spec),
        organisations,
        channels: channels(&app.control, &id, doc),
        links: links(doc),
    }))
}

/// Those who agree are all connected; the others hang on those of their channel.
fn links(doc: &NetworkDoc) -> Vec<Link> {
    let voters: Vec<&str> = doc
        .spec
        .nodes
        .iter()
        .filter(|node| matches!(node.role.as_str(), "orderer" | "sealer"))
        .map(|node| node.id.as_str())
        .collect();
    let mut links = BTreeSet::new();
    for (index, from) in voters.iter().enumerate() {
        for to in &voters[index + 1..] {
            links.insert(Link { from: (*from).to_owned(), to: (*to).to_owned(), kind: "consensus".to_owned() });
        }
    }
    for channel in &doc.spec.channels {
        for node in channel.nodes.iter().filter(|node| !voters.contains(&node.as_str())) {
            if let Some(to) = voters.first() {
                links.insert(Link { from: node.clone(), to: (*to).to_owned(), kind: channel.name.clone() });
            }
        }
    }
    links.into_iter().collect()
}

/// Which figures.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct MetricsQuery {
    /// Begin, RFC 3339 or milliseconds since 1970; default: ten minutes ago.
    from: Option<String>,
    /// End; default: now.
    to: Option<String>,
    /// Seconds between two points, 2 to 86400; default: so that there are about 200.
    #[param(minimum = 2, maximum = 86400)]
    step: Option<u32>,
}

/// Figures of a network.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Metrics {
    /// Begin, milliseconds since 1970.
    pub from: i64,
    /// End.
    pub to: i64,
    /// Milliseconds between two points.
    pub step: i64,
    /// Of the network as a whole.
    pub network: Vec<NetworkPoint>,
    /// Of each node.
    pub nodes: BTreeMap<String, Vec<NodePoint>>,
}

/// A network at a moment.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct NetworkPoint {
    /// Milliseconds since 1970.
    pub at: i64,
    /// Transactions per second.
    pub tps: f64,
    /// Milliseconds between two blocks; absent when there was none.
    pub block_time: Option<f64>,
}

/// A node at a moment.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct NodePoint {
    /// Milliseconds since 1970.
    pub at: i64,
    /// Its height.
    pub height: u64,
    /// Share of a core, 1.0 is a whole one.
    pub cpu: f64,
    /// Resident memory, bytes.
    pub memory: u64,
}

/// Figures of a network or one of its nodes over a span of time.
pub(crate) async fn figures(app: &App, id: &str, only: Option<&str>, query: &MetricsQuery) -> Result<Metrics, Problem> {
    /// What is older than this is taken from the database.
    const IN_MEMORY: i64 = 3_500_000;
    /// Most points of one series.
    const POINTS: i64 = 2000;
    let now = time::now();
    let read = |name: &str, text: &Option<String>, default: i64| match text {
        None => Ok(default),
        Some(text) => time::parse(text).ok_or_else(|| {
            Problem::new(&kinds::INVALID_PARAMETER).details(
                format!("{name}: a time as RFC 3339 or milliseconds"),
                format!("{name}：时间应为 RFC 3339 或毫秒数"),
            )
        }),
    };
    let to = read("to", &query.to, now)?.min(now);
    let from = read("from", &query.from, to.saturating_sub(600_000))?.max(0);
    if from >= to {
        return Err(Problem::new(&kinds::INVALID_PARAMETER)
            .details("from must be before to, and not in the future", "from 必须早于 to，且不能晚于当前时间"));
    }
    let span = to - from;
    let wanted = query.step.map_or(span / 200, |seconds| i64::from(seconds) * 1000);
    let recent = from >= now - IN_MEMORY;
    // Steps begin and end where what is counted does, so that nothing is counted twice or not at all.
    let unit = if recent { BUCKET } else { MINUTE };
    let step = (wanted.min(86_400_000).max(span / POINTS).max(unit) + unit - 1) / unit * unit;
    let from = from - from % unit;
    let mut metrics = Metrics { from, to, step, network: Vec::new(), nodes: BTreeMap::new() };
    if recent {
        let record = app.records.get::<NetworkDoc>(Kind::Network, id).await?;
        let live = app.control.live.of(id);
        let history = live.history.lock();
        let mut at = from;
        while at < to {
            let (transactions, blocks) = history.committed(at, at + step);
            let block_time = (blocks > 0).then(|| step as f64 / blocks as f64);
            metrics.network.push(NetworkPoint { at, tps: transactions as f64 * 1000.0 / step as f64, block_time });
            at += step;
        }
        for node in record.doc.spec.nodes.iter().filter(|node| only.is_none_or(|only| only == node.id)) {
            let points = history
                .samples(&node.id, from, to, step)
                .into_iter()
                .map(|sample| NodePoint {
                    at: sample.at,
                    height: sample.height,
                    cpu: sample.cpu as f64 / 1000.0,
                    memory: sample.memory,
                })
                .collect();
            metrics.nodes.insert(node.id.clone(), points);
        }
        return Ok(metrics);
    }
    for row in read_coarse(&app.db, id, only, from, to, step).await? {
        if row.node.is_empty() {
            let tps = row.transactions as f64 * 1000.0 / step as f64;
            metrics.network.push(NetworkPoint { at: row.at, tps, block_time: None });
        } else {
            let point = NodePoint { at: row.at, height: row.height, cpu: row.cpu as f64 / 1000.0, memory: row.memory };
            metrics.nodes.entry(row.node).or_default().push(point);
        }
    }
    Ok(metrics)
}

/// Figures over time: transactions per second, block time, height, processor and memory of each node.
#[utoipa::path(get, path = "/v1/networks/{id}/metrics", tag = "networks", operation_id = "get_network_metrics",
    params(("id" = String, Path, description = "Network"), MetricsQuery), responses((status = 200, body = Metrics)))]
async fn metrics(
    State(app): State<App>,
    Path(id): Path<String>,
    Query(query): Query<MetricsQuery>,
) -> Result<Json<Metrics>, Problem> {
    Ok(Json(figures(&app, &id, None, &query).await?))
}

/// Which channel.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ChannelQuery {
    /// Channel or group; default: the network's first.
    pub(crate) channel: Option<String>,
}

/// The channel that a query means.
pub(crate) fn channel_of(doc: &NetworkDoc, asked: Option<&str>) -> Result<String, Problem> {
    let found = match asked {
        Some(name) => doc.spec.channel(name),
        None => doc.spec.channels.first(),
    };
    found.map(|channel| channel.name.clone()).ok_or_else(|| Problem::not_found("channel", asked.unwrap_or_default()))
}

/// Changes of a channel's configuration.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ConfigHistory {
    /// Newest first.
    pub items: Vec<ConfigChange>,
}

/// Changes of a channel's configuration with their signers, newest first.
#[utoipa::path(get, path = "/v1/networks/{id}/config_history", tag = "networks", operation_id = "get_config_history",
    params(("id" = String, Path, description = "Network"), ChannelQuery),
    responses((status = 200, body = ConfigHistory)))]
async fn config_history(
    State(app): State<App>,
    Path(id): Path<String>,
    Query(query): Query<ChannelQuery>,
) -> Result<Json<ConfigHistory>, Problem> {
    let network = app.control.network(&id).await?;
    let channel = channel_of(&network.record.doc, query.channel.as_deref())?;
    let items = network.engine.config_history(network.place(), &channel).await?;
    Ok(Json(ConfigHistory { items }))
}

/// Whose profile.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ProfileQuery {
    /// Name of the organisation; default: the caller's first that has nodes to connect to.
    organisation: Option<String>,
}

/// What an organisation's applications need to connect: a file for stock SDKs.
#[utoipa::path(get, path = "/v1/networks/{id}/connection_profile", tag = "networks", operation_id = "get_connection_profile",
    params(("id" = String, Path, description = "Network"), ProfileQuery),
    responses((status = 200, description = "Connection profile: JSON of Fabric; an archive of config.toml and certificates of BCOS",
        content((Object = "application/json"), (String = "application/zip")))))]
async fn connection_profile(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<ProfileQuery>,
) -> Result<Response, Problem> {
    let network = app.control.network(&id).await?;
    // It has keys in it, which are given to their own organisation only.
    let owns = |name: &str| must_own(&caller, network.owner(name)).is_ok();
    let name = network
        .spec()
        .organisations
        .iter()
        .find(|candidate| match &query.organisation {
            Some(name) => candidate.name == *name && owns(name),
            None => !candidate.orders_only && owns(&candidate.name),
        })
        .map(|organisation| organisation.name.clone())
        .ok_or_else(|| Problem::not_found("organisation", query.organisation.as_deref().unwrap_or_default()))?;
    Ok(download::answer(network.engine.connection_profile(network.place(), &name)?))
}

/// The routes.
pub fn routes() -> Routes {
    Routes::new()
        .routes(routes!(topology))
        .routes(routes!(metrics))
        .routes(routes!(config_history))
        .routes(routes!(connection_profile))
}
