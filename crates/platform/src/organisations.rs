//! Organisations: members of the consortium, to which users, networks and projects belong.

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::Row as _;
use utoipa::ToSchema;
use utoipa_axum::routes;

use crate::access::Caller;
use crate::app::{App, Routes};
use crate::auth::users::check_display;
use crate::db::{Connection, DbError, Filter, Kind, New, Record, Repository};
use crate::http::{AuditNote, IfMatch, Json, ListOf, PageQuery, Path, Tagged, audited};
use crate::ids;
use crate::problem::{Problem, kinds};
use crate::settings::load_in;
use crate::time;

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(list, create)).routes(routes!(get, update, remove))
}

/// The document of an organisation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrganisationDoc {
    /// What it is, in its own words.
    #[serde(default)]
    pub description: String,
}

/// An organisation.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct OrganisationView {
    /// `org_…`.
    pub id: String,
    /// Display name, any script.
    pub name: String,
    /// What it is, in its own words.
    pub description: String,
    /// Counts changes.
    pub version: i64,
    /// When it was made.
    pub created_at: String,
    /// When it was changed last.
    pub updated_at: String,
}

impl From<&Record<OrganisationDoc>> for OrganisationView {
    fn from(record: &Record<OrganisationDoc>) -> Self {
        Self {
            id: record.id.clone(),
            name: record.name.clone(),
            description: record.doc.description.clone(),
            version: record.version,
            created_at: time::rfc3339(record.created_at),
            updated_at: time::rfc3339(record.updated_at),
        }
    }
}

/// A new organisation.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewOrganisation {
    /// Display name, any script.
    #[schema(min_length = 1, max_length = 64)]
    name: String,
    /// What it is.
    #[serde(default)]
    #[schema(max_length = 2000)]
    description: String,
}

/// A change of an organisation; absent fields stay.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct OrganisationChange {
    /// Display name.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 64)]
    name: Option<String>,
    /// What it is.
    #[serde(default)]
    #[schema(max_length = 2000)]
    description: Option<String>,
}

fn check_description(text: &str) -> Result<(), Problem> {
    if text.chars().count() <= 2000 && !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t' | '\r')) {
        Ok(())
    } else {
        Err(Problem::invalid_in(
            "description",
            "at most 2000 characters, without control characters, are allowed",
            "最多 2000 个字符，不含控制字符",
        ))
    }
}

async fn name_is_free(connection: &mut Connection, name: &str, but: &str) -> Result<(), Problem> {
    let taken = sqlx::query("SELECT id FROM resources WHERE kind = 'organisation' AND name = $1 AND id <> $2")
        .bind(name)
        .bind(but)
        .fetch_optional(connection)
        .await
        .map_err(DbError::from)?;
    match taken {
        None => Ok(()),
        Some(_) => Err(DbError::Exists { kind: "organisation", name: name.to_owned() }.into()),
    }
}

/// Organisations: one's own and those one shares a network with; platform administrators see all.
#[utoipa::path(get, path = "/v1/organisations", tag = "organisations", operation_id = "list_organisations",
    params(PageQuery), responses((status = 200, body = ListOf<OrganisationView>)))]
async fn list(
    State(app): State<App>,
    caller: Caller,
    page: PageQuery,
) -> Result<Json<ListOf<OrganisationView>>, Problem> {
    let filter = Filter { scope: caller.scope(), ..Filter::default() };
    let page = app.records.list::<OrganisationDoc>(Kind::Organisation, &filter, &page.page()?).await?;
    Ok(Json(page.map(|record| OrganisationView::from(&record)).into()))
}

/// Makes an organisation.
#[utoipa::path(post, path = "/v1/organisations", tag = "organisations", operation_id = "create_organisation",
    request_body = NewOrganisation, responses((status = 201, body = OrganisationView)))]
async fn create(State(app): State<App>, Json(request): Json<NewOrganisation>) -> Result<Response, Problem> {
    check_display("name", &request.name)?;
    check_description(&request.description)?;
    let id = ids::new("org");
    let doc = OrganisationDoc { description: request.description };
    let mut transaction = app.db.begin().await?;
    name_is_free(&mut transaction, &request.name, "").await?;
    let new = New { id: &id, network: None, organisation: Some(&id), name: &request.name, doc: &doc };
    Repository::create_in(&mut transaction, Kind::Organisation, new).await?;
    let record = Repository::get_in(&mut transaction, Kind::Organisation, &id).await?;
    transaction.commit().await.map_err(DbError::from)?;
    let view = OrganisationView::from(&record);
    let note = AuditNote { target: Some(id.clone()), after: Some(json!(view)), ..AuditNote::default() };
    Ok(audited(note, Tagged::created(record.version, format!("/v1/organisations/{id}"), view)))
}

/// An organisation.
#[utoipa::path(get, path = "/v1/organisations/{id}", tag = "organisations", operation_id = "get_organisation",
    params(("id" = String, Path, description = "Organisation")), responses((status = 200, body = OrganisationView)))]
async fn get(State(app): State<App>, Path(id): Path<String>) -> Result<Tagged<OrganisationView>, Problem> {
    let record = app.records.get(Kind::Organisation, &id).await?;
    Ok(Tagged::ok(record.version, OrganisationView::from(&record)))
}

/// Changes an organisation; its own administrators may do so too.
#[utoipa::path(patch, path = "/v1/organisations/{id}", tag = "organisations", operation_id = "update_organisation",
    params(("id" = String, Path, description = "Organisation")), request_body = OrganisationChange,
    responses((status = 200, body = OrganisationView)))]
async fn update(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    IfMatch(expected): IfMatch,
    Json(change): Json<OrganisationChange>,
) -> Result<Response, Problem> {
    // One sees fellow members, but changes only oneself.
    if caller.scope().organisation.is_some_and(|own| own != id) {
        return Err(Problem::new(&kinds::FORBIDDEN));
    }
    let mut transaction = app.db.begin().await?;
    let record: Record<OrganisationDoc> = Repository::get_in(&mut transaction, Kind::Organisation, &id).await?;
    let before = json!(OrganisationView::from(&record));
    let name = change.name.unwrap_or(record.name);
    check_display("name", &name)?;
    name_is_free(&mut transaction, &name, &id).await?;
    let doc = OrganisationDoc { description: change.description.unwrap_or(record.doc.description) };
    check_description(&doc.description)?;
    Repository::update_in(&mut transaction, Kind::Organisation, &id, expected, &name, &doc).await?;
    let record = Repository::get_in(&mut transaction, Kind::Organisation, &id).await?;
    transaction.commit().await.map_err(DbError::from)?;
    let view = OrganisationView::from(&record);
    let note = AuditNote { before: Some(before), after: Some(json!(view)), ..AuditNote::default() };
    Ok(audited(note, Tagged::ok(record.version, view)))
}

/// Removes an organisation that nothing belongs to any more.
#[utoipa::path(delete, path = "/v1/organisations/{id}", tag = "organisations", operation_id = "delete_organisation",
    params(("id" = String, Path, description = "Organisation")), responses((status = 204)))]
async fn remove(
    State(app): State<App>,
    Path(id): Path<String>,
    IfMatch(expected): IfMatch,
) -> Result<Response, Problem> {
    let mut transaction = app.db.begin().await?;
    let record: Record<OrganisationDoc> = Repository::get_in(&mut transaction, Kind::Organisation, &id).await?;
    let row = sqlx::query(
        "SELECT (SELECT COUNT(*) FROM users WHERE organisation = $1)
              + (SELECT COUNT(*) FROM memberships WHERE organisation = $1)
              + (SELECT COUNT(*) FROM api_keys WHERE organisation = $1)
              + (SELECT COUNT(*) FROM resources WHERE organisation = $1 AND kind <> 'organisation')",
    )
    .bind(&id)
    .fetch_one(&mut *transaction)
    .await
    .map_err(DbError::from)?;
    let count: i64 = row.try_get(0).map_err(DbError::from)?;
    if count > 0 {
        return Err(Problem::new(&kinds::CONFLICT)
            .details(
                "users, keys, networks or projects belong to this organisation; move or remove them first",
                "该组织仍有用户、密钥、网络或项目，请先移除",
            )
            .with("count", count));
    }
    let (settings, _) = load_in(&mut transaction).await?;
    if settings.oidc.is_some_and(|oidc| oidc.organisation.as_ref() == Some(&id)) {
        return Err(Problem::new(&kinds::CONFLICT).details(
            "people from the login provider belong to this organisation; choose another one in the settings first",
            "统一登录的人员属于该组织，请先在设置中更换",
        ));
    }
    Repository::delete_in(&mut transaction, Kind::Organisation, &id, expected).await?;
    transaction.commit().await.map_err(DbError::from)?;
    let note = AuditNote { before: Some(json!(OrganisationView::from(&record))), ..AuditNote::default() };
    Ok(audited(note, http::StatusCode::NO_CONTENT))
}
