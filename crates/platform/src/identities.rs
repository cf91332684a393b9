//! `/v1/networks/{id}/identities`: certificates and accounts that the platform holds keys of.

use axum::extract::State;
use axum::response::Response;
use konsort_engines::{Act, IdentityRecord};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::routes;

use crate::access::Caller;
use crate::app::{App, Routes};
use crate::control::must_own;
use crate::download;
use crate::http::{DryRun, Json, ListOf, Path, Query};
use crate::networks::running;
use crate::operations::handlers::{ActPlan, OperationView, act};
use crate::problem::Problem;

/// Identities of a network.
#[utoipa::path(get, path = "/v1/networks/{id}/identities", tag = "identities", operation_id = "list_identities",
    params(("id" = String, Path, description = "Network")), responses((status = 200, body = ListOf<IdentityRecord>)))]
async fn list(State(app): State<App>, Path(id): Path<String>) -> Result<Json<ListOf<IdentityRecord>>, Problem> {
    let network = app.control.network(&id).await?;
    Ok(Json(ListOf { items: network.engine.identities(network.place())?, next_page_token: None }))
}

/// A new identity.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct IdentityRequest {
    /// Name of its organisation.
    organisation: String,
    /// Its name: letters, digits, dash, dot, at most 64.
    name: String,
    /// `client`, `admin` or `auditor`; BCOS: `account`.
    role: String,
}

/// Issues an identity.
#[utoipa::path(post, path = "/v1/networks/{id}/identities", tag = "identities", operation_id = "issue_identity",
    params(("id" = String, Path, description = "Network"), DryRun), request_body = IdentityRequest,
    responses((status = 200, description = "On a dry run: what would be done", body = ActPlan),
        (status = 202, body = OperationView)))]
async fn issue(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    Query(DryRun { dry_run }): Query<DryRun>,
    Json(request): Json<IdentityRequest>,
) -> Result<Response, Problem> {
    let network = running(&app, &id).await?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'@');
    if !(1..=64).contains(&request.name.len())
        || !request.name.bytes().all(plain)
        || !request.name.starts_with(|first: char| first.is_ascii_alphanumeric())
        || request.name.contains("..")
    {
        return Err(Problem::invalid_in(
            "name",
            "1 to 64 letters, digits, dashes, dots, beginning with a letter or digit",
            "1 至 64 个字母、数字、短横线或点，以字母或数字开头",
        ));
    }
    let subject = format!("{}@{}", request.name, request.organisation);
    let wanted = Act::IssueIdentity { organisation: request.organisation, name: request.name, role: request.role };
    act(&app, &caller, &network, wanted, &subject, dry_run).await
}

/// Revokes an identity.
#[utoipa::path(post, path = "/v1/networks/{id}/identities/{organisation}/{name}/revoke", tag = "identities",
    operation_id = "revoke_identity",
    params(("id" = String, Path, description = "Network"), ("organisation" = String, Path, description = "Organisation's name"),
        ("name" = String, Path, description = "Identity's name"), DryRun),
    responses((status = 200, description = "On a dry run: what would be done", body = ActPlan),
        (status = 202, body = OperationView)))]
async fn revoke(
    State(app): State<App>,
    caller: Caller,
    Path((id, organisation, name)): Path<(String, String, String)>,
    Query(DryRun { dry_run }): Query<DryRun>,
) -> Result<Response, Problem> {
    let network = running(&app, &id).await?;
    let held = network.engine.identities(network.place())?;
    if !held.iter().any(|identity| identity.organisation == organisation && identity.name == name) {
        return Err(Problem::not_found("identity", &format!("{name}@{organisation}")));
    }
    let subject = format!("{name}@{organisation}");
    act(&app, &caller, &network, Act::RevokeIdentity { organisation, name }, &subject, dry_run).await
}

/// Certificate and key of an identity, as a ZIP archive.
#[utoipa::path(get, path = "/v1/networks/{id}/identities/{organisation}/{name}/download", tag = "identities",
    operation_id = "download_identity",
    params(("id" = String, Path, description = "Network"), ("organisation" = String, Path, description = "Organisation's name"),
        ("name" = String, Path, description = "Identity's name")),
    responses((status = 200, description = "ZIP archive", body = String, content_type = "application/zip")))]
async fn files(
    State(app): State<App>,
    caller: Caller,
    Path((id, organisation, name)): Path<(String, String, String)>,
) -> Result<Response, Problem> {
    let network = app.control.network(&id).await?;
    if !network.spec().organisations.iter().any(|candidate| candidate.name == organisation) {
        return Err(Problem::not_found("organisation", &organisation));
    }
    // Keys are given to their own organisation only.
    must_own(&caller, network.owner(&organisation))
        .map_err(|_| Problem::not_found("identity", &format!("{name}@{organisation}")))?;
    let files = network.engine.identity_files(network.place(), &organisation, &name)?;
    Ok(download::answer(download::zip(&format!("{name}-{organisation}.zip"), &files)))
}

/// The routes.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(list)).routes(routes!(issue)).routes(routes!(revoke)).routes(routes!(files))
}
