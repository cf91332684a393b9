//! `/v1/networks/{id}/channels` and `/members`: who is in a network, and in which of its channels or groups.

use axum::extract::State;
use axum::response::Response;
use konsort_engines::Act;
use konsort_engines::spec::OrganisationRequest;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

use crate::access::Caller;
use crate::app::{App, Routes};
use crate::db::Kind;
use crate::http::{DryRun, Json, ListOf, Path, Query};
use crate::networks::model::NetworkDoc;
use crate::networks::running;
use crate::networks::view::{ChannelView, channels};
use crate::operations::handlers::{ActPlan, OperationView, act};
use crate::problem::Problem;

/// Channels or groups of a network.
#[utoipa::path(get, path = "/v1/networks/{id}/channels", tag = "channels", operation_id = "list_channels",
    params(("id" = String, Path, description = "Network")), responses((status = 200, body = ListOf<ChannelView>)))]
async fn list(State(app): State<App>, Path(id): Path<String>) -> Result<Json<ListOf<ChannelView>>, Problem> {
    let record = app.records.get::<NetworkDoc>(Kind::Network, &id).await?;
    Ok(Json(ListOf { items: channels(&app.control, &id, &record.doc), next_page_token: None }))
}

/// A new channel or group.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ChannelRequest {
    /// Its name: small letters, digits, dot, dash.
    name: String,
    /// Names of its organisations; default: all that have nodes.
    #[serde(default)]
    organisations: Option<Vec<String>>,
}

/// Makes a further channel or group.
#[utoipa::path(post, path = "/v1/networks/{id}/channels", tag = "channels", operation_id = "create_channel",
    params(("id" = String, Path, description = "Network"), DryRun), request_body = ChannelRequest,
    responses((status = 200, description = "On a dry run: what would be done", body = ActPlan),
        (status = 202, body = OperationView)))]
async fn create(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    Query(DryRun { dry_run }): Query<DryRun>,
    Json(request): Json<ChannelRequest>,
) -> Result<Response, Problem> {
    let network = running(&app, &id).await?;
    let spec = network.spec();
    let organisations = request.organisations.unwrap_or_else(|| {
        spec.organisations
            .iter()
            .filter(|organisation| !organisation.orders_only)
            .map(|organisation| organisation.name.clone())
            .collect()
    });
    for (index, name) in organisations.iter().enumerate() {
        if !spec.organisations.iter().any(|organisation| organisation.name == *name) {
            let field = format!("organisations[{index}]");
            return Err(Problem::invalid_in(&field, "an organisation of the network", "必须是网络中的组织"));
        }
    }
    let subject = request.name.clone();
    let wanted = Act::CreateChannel { name: request.name, organisations };
    act(&app, &caller, &network, wanted, &subject, dry_run).await
}

/// A channel or group.
#[utoipa::path(get, path = "/v1/networks/{id}/channels/{channel}", tag = "channels", operation_id = "get_channel",
    params(("id" = String, Path, description = "Network"), ("channel" = String, Path, description = "Channel or group")),
    responses((status = 200, body = ChannelView)))]
async fn get(
    State(app): State<App>,
    Path((id, channel)): Path<(String, String)>,
) -> Result<Json<ChannelView>, Problem> {
    let record = app.records.get::<NetworkDoc>(Kind::Network, &id).await?;
    channels(&app.control, &id, &record.doc)
        .into_iter()
        .find(|view| view.name == channel)
        .map(Json)
        .ok_or_else(|| Problem::not_found("channel", &channel))
}

/// A setting of a channel.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SettingRequest {
    /// Fabric: `batch_timeout`, `max_message_count`, …; BCOS: `tx_count_limit`, `tx_gas_limit`, ….
    key: String,
    /// The new value.
    value: String,
}

/// Changes a setting of a channel or group.
#[utoipa::path(patch, path = "/v1/networks/{id}/channels/{channel}", tag = "channels", operation_id = "configure_channel",
    params(("id" = String, Path, description = "Network"), ("channel" = String, Path, description = "Channel or group"), DryRun),
    request_body = SettingRequest,
    responses((status = 200, description = "On a dry run: what would be done", body = ActPlan),
        (status = 202, body = OperationView)))]
async fn configure(
    State(app): State<App>,
    caller: Caller,
    Path((id, channel)): Path<(String, String)>,
    Query(DryRun { dry_run }): Query<DryRun>,
    Json(request): Json<SettingRequest>,
) -> Result<Response, Problem> {
    let network = running(&app, &id).await?;
    if network.spec().channel(&channel).is_none() {
        return Err(Problem::not_found("channel", &channel));
    }
    let subject = format!("{channel}: {}", request.key);
    let wanted = Act::Configure { channel, key: request.key, value: request.value };
    act(&app, &caller, &network, wanted, &subject, dry_run).await
}

/// An organisation in a network.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct MemberView {
    /// Name in identities.
    pub name: String,
    /// Fabric: its MSP id.
    pub mspid: Option<String>,
    /// Domain of its hosts.
    pub domain: String,
    /// Id of its record on the platform.
    pub organisation: Option<String>,
    /// Whether it only orders.
    pub orders_only: bool,
    /// Ids of its nodes.
    pub nodes: Vec<String>,
    /// Channels or groups it is in.
    pub channels: Vec<String>,
}

/// Organisations in a network.
#[utoipa::path(get, path = "/v1/networks/{id}/members", tag = "members", operation_id = "list_members",
    params(("id" = String, Path, description = "Network")), responses((status = 200, body = ListOf<MemberView>)))]
async fn members(State(app): State<App>, Path(id): Path<String>) -> Result<Json<ListOf<MemberView>>, Problem> {
    let spec = app.records.get::<NetworkDoc>(Kind::Network, &id).await?.doc.spec;
    let items = spec
        .organisations
        .iter()
        .map(|organisation| MemberView {
            name: organisation.name.clone(),
            mspid: organisation.mspid.clone(),
            domain: organisation.domain.clone(),
            organisation: organisation.id.clone(),
            orders_only: organisation.orders_only,
            nodes: spec
                .nodes
                .iter()
                .filter(|node| node.organisation == organisation.name)
                .map(|node| node.id.clone())
                .collect(),
            channels: spec
                .channels
                .iter()
                .filter(|channel| channel.organisations.contains(&organisation.name))
                .map(|channel| channel.name.clone())
                .collect(),
        })
        .collect();
    Ok(Json(ListOf { items, next_page_token: None }))
}

/// An organisation that joins.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct MemberRequest {
    /// The organisation and its nodes.
    organisation: OrganisationRequest,
    /// Channels or groups to join; default: the network's first.
    #[serde(default)]
    channels: Option<Vec<String>>,
}

/// Brings an organisation into a living network.
#[utoipa::path(post, path = "/v1/networks/{id}/members", tag = "members", operation_id = "add_member",
    params(("id" = String, Path, description = "Network"), DryRun), request_body = MemberRequest,
    responses((status = 200, description = "On a dry run: what would be done", body = ActPlan),
        (status = 202, body = OperationView)))]
async fn add_member(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    Query(DryRun { dry_run }): Query<DryRun>,
    Json(request): Json<MemberRequest>,
) -> Result<Response, Problem> {
    let network = running(&app, &id).await?;
    if let Some(record) = &request.organisation.id
        && !app.records.sees(&caller.scope(), Kind::Organisation, record).await?
    {
        return Err(Problem::invalid_in("organisation.id", "there is no such organisation", "没有该组织"));
    }
    let spec = network.spec();
    let channels = request
        .channels
        .unwrap_or_else(|| spec.channels.first().map(|channel| channel.name.clone()).into_iter().collect());
    for (index, name) in channels.iter().enumerate() {
        if spec.channel(name).is_none() {
            return Err(Problem::invalid_in(
                &format!("channels[{index}]"),
                "a channel of the network",
                "必须是网络中的通道",
            ));
        }
    }
    let subject = request.organisation.name.clone();
    let wanted = Act::AddOrganisation { organisation: request.organisation, channels };
    act(&app, &caller, &network, wanted, &subject, dry_run).await
}

/// The routes.
pub fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list))
        .routes(routes!(create))
        .routes(routes!(get))
        .routes(routes!(configure))
        .routes(routes!(members))
        .routes(routes!(add_member))
}
