//! `/v1/contracts`: contracts on networks, from deployment to their versions.

pub mod calls;
pub mod deploy;
pub mod describe;
pub(crate) mod known;
pub mod record;

use axum::extract::State;
use konsort_engines::spec::EngineKind;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use crate::access::Caller;
use crate::app::{App, Routes};
use crate::control::Network;
use crate::db::{Filter, Kind, Record};
use crate::http::{Json, ListOf, PageQuery, Path, Query, Tagged};
use crate::problem::{Problem, kinds};
use crate::time;
use record::{ContractDoc, ContractState, DeploymentDoc, Origin};

/// A contract.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ContractView {
    /// Its id, `ctr_…`.
    pub id: String,
    /// Its name: of the chaincode on Fabric, in people's words on BCOS.
    pub name: String,
    /// The network.
    pub network: String,
    /// Channel or group.
    pub channel: String,
    /// Engine.
    pub engine: EngineKind,
    /// Where it is.
    pub state: ContractState,
    /// BCOS: its address.
    pub address: Option<String>,
    /// Fabric: id of the installed package.
    pub package_id: Option<String>,
    /// Version in people's words.
    pub version: String,
    /// What it was made from.
    pub origin: Option<Origin>,
    /// Hash of its code.
    pub code_hash: Option<String>,
    /// The operation that deploys the next version.
    pub deploying: Option<String>,
    /// Whether its interface is known without asking the network.
    pub has_interface: bool,
    /// Its deployments, newest first; in the answer to one contract only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deployments: Vec<DeploymentView>,
    /// Id of who deployed it first.
    pub created_by: String,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub updated_at: String,
    /// RFC 3339.
    pub deployed_at: Option<String>,
    /// Counts changes; its entity tag.
    pub etag: i64,
}

/// A deployment of a contract.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct DeploymentView {
    /// Version in people's words.
    pub version: String,
    /// BCOS: its address.
    pub address: Option<String>,
    /// Fabric: id of the installed package.
    pub package_id: Option<String>,
    /// What it was made from.
    pub origin: Option<Origin>,
    /// Hash of the code.
    pub code_hash: Option<String>,
    /// The operation.
    pub operation: String,
    /// Who asked for it.
    pub created_by: String,
    /// RFC 3339.
    pub at: String,
}

fn view(record: &Record<ContractDoc>) -> ContractView {
    let doc = &record.doc;
    let shown =
        if doc.deployed_at.is_some() { &doc.made } else { doc.next.as_ref().map_or(&doc.made, |(_, made)| made) };
    ContractView {
        id: record.id.clone(),
        name: record.name.clone(),
        network: record.network.clone().unwrap_or_default(),
        channel: doc.channel.clone(),
        engine: doc.engine,
        state: doc.state,
        address: doc.address.clone(),
        package_id: doc.package_id.clone(),
        version: shown.version.clone(),
        origin: shown.origin.clone(),
        code_hash: shown.code_hash.clone(),
        deploying: doc.next.as_ref().map(|(operation, _)| operation.clone()),
        has_interface: shown.interface.is_some(),
        deployments: Vec::new(),
        created_by: doc.created_by.clone(),
        created_at: time::rfc3339(record.created_at),
        updated_at: time::rfc3339(record.updated_at),
        deployed_at: doc.deployed_at.map(time::rfc3339),
        etag: record.version,
    }
}

/// Which contracts.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Only on this network.
    network: Option<String>,
    /// Only of exactly this name.
    name: Option<String>,
}

/// Contracts.
#[utoipa::path(get, path = "/v1/contracts", tag = "contracts", operation_id = "list_contracts",
    params(ListQuery, PageQuery), responses((status = 200, body = ListOf<ContractView>)))]
async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<ListQuery>,
    page: PageQuery,
) -> Result<Json<ListOf<ContractView>>, Problem> {
    let filter = Filter { network: query.network, name: query.name, scope: caller.scope(), ..Filter::default() };
    let found = app.records.list::<ContractDoc>(Kind::Contract, &filter, &page.page()?).await?;
    Ok(Json(found.map(|record| view(&record)).into()))
}

/// A contract with its deployments.
#[utoipa::path(get, path = "/v1/contracts/{id}", tag = "contracts", operation_id = "get_contract",
    params(("id" = String, Path, description = "Contract")), responses((status = 200, body = ContractView)))]
async fn get(State(app): State<App>, Path(id): Path<String>) -> Result<Tagged<ContractView>, Problem> {
    let record = app.records.get::<ContractDoc>(Kind::Contract, &id).await?;
    let filter = Filter { network: record.network.clone(), name: Some(id), ..Filter::default() };
    let deployments = app.records.list::<DeploymentDoc>(Kind::Deployment, &filter, &crate::db::Page::default()).await?;
    let mut shown = view(&record);
    shown.deployments = deployments
        .items
        .into_iter()
        .map(|deployment| DeploymentView {
            version: deployment.doc.version,
            address: deployment.doc.address,
            package_id: deployment.doc.package_id,
            origin: deployment.doc.origin,
            code_hash: deployment.doc.code_hash,
            operation: deployment.doc.operation,
            created_by: deployment.doc.created_by,
            at: time::rfc3339(deployment.created_at),
        })
        .collect();
    Ok(Tagged::ok(record.version, shown))
}

/// Whose identity a caller acts with. Who belongs to an organisation acts as that organisation only; a network's organisation
/// without a record on the platform belongs to who made the network.
pub(crate) fn acting_organisation(
    network: &Network,
    caller: &Caller,
    asked: Option<&str>,
    signer: Option<&str>,
) -> Result<Option<String>, Problem> {
    let organisations = &network.spec().organisations;
    if let Some(asked) = asked
        && !organisations.iter().any(|organisation| organisation.name == asked)
    {
        return Err(Problem::invalid_in("organisation", "an organisation of the network", "必须是网络中的组织"));
    }
    let Some(own) = caller.scope().organisation else { return Ok(asked.map(str::to_owned)) };
    let mine: Vec<&str> = organisations
        .iter()
        .filter(|organisation| network.owner(&organisation.name) == Some(own.as_str()))
        .map(|organisation| organisation.name.as_str())
        .collect();
    let forbidden = || {
        Problem::new(&kinds::FORBIDDEN).details("this identity belongs to another organisation", "该身份属于其他组织")
    };
    let found = match asked {
        Some(asked) => mine.iter().find(|name| **name == asked).ok_or_else(forbidden)?,
        None => mine
            .iter()
            .find(|name| {
                organisations.iter().any(|organisation| organisation.name == **name && !organisation.orders_only)
            })
            .or(mine.first())
            .ok_or_else(forbidden)?,
    };
    if let Some(signer) = signer {
        let other = match signer.split_once('/') {
            Some((organisation, _)) => organisation != *found,
            None if signer.starts_with("0x") => !network
                .engine
                .identities(network.place())?
                .iter()
                .any(|identity| identity.organisation == *found && identity.subject.eq_ignore_ascii_case(signer)),
            None => false,
        };
        if other {
            return Err(forbidden());
        }
    }
    Ok(Some((*found).to_owned()))
}

/// The routes.
pub fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list))
        .routes(routes!(get))
        .merge(deploy::routes())
        .merge(describe::routes())
        .merge(calls::routes())
}
