//! API keys: made by a user for a program, shown once, with a role, an organisation, perhaps only some networks, and an end.

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::Row as _;
use sqlx::any::AnyRow;
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::users::{check_display, organisation_for};
use super::{KEY_PREFIX, fingerprint, secret};
use crate::access::{Caller, Proof, Role, ScopeFilter};
use crate::app::{App, Routes};
use crate::db::{DbError, Kind, Query, cut, push_page};
use crate::http::{AuditNote, Json, ListOf, PageQuery, Path, Tagged, audited};
use crate::ids;
use crate::problem::{Problem, kinds};
use crate::time;

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(list, create)).routes(routes!(remove))
}

/// What is stored of a key beside the columns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyDoc {
    /// Role.
    pub role: Role,
    /// Only these networks.
    pub networks: Option<Vec<String>>,
    /// First characters of the secret, to tell keys apart.
    pub prefix: String,
}

/// An API key; its secret is not part of it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct KeyView {
    /// `key_…`.
    pub id: String,
    /// Name for people.
    pub name: String,
    /// First characters of the secret, to tell keys apart.
    pub prefix: String,
    /// Role.
    pub role: Role,
    /// Organisation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organisation: Option<String>,
    /// The user that made it.
    pub owner: String,
    /// Only these networks; absent: all that the organisation sees.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub networks: Option<Vec<String>>,
    /// When it was made.
    pub created_at: String,
    /// When it ends; absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// When it was used last, to the minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<String>,
}

/// A new key.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewKey {
    /// Name for people.
    #[schema(min_length = 1, max_length = 64)]
    name: String,
    /// Role; at most what the maker may give or has. Default: `application`.
    #[serde(default)]
    role: Option<Role>,
    /// Organisation; default: the maker's.
    #[serde(default)]
    organisation: Option<String>,
    /// Only these networks.
    #[serde(default)]
    networks: Option<Vec<String>>,
    /// Days until it ends, 1 to 3650; default: never.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 3650)]
    expires_in_days: Option<u32>,
}

/// A key that was made.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct CreatedKey {
    /// The key.
    #[serde(flatten)]
    key: KeyView,
    /// The secret, to be sent as `Authorization: Bearer kst_…`; not shown again.
    secret: String,
}

fn view(row: &AnyRow) -> Result<(KeyView, i64), DbError> {
    let doc: String = row.try_get("doc")?;
    let doc: KeyDoc = serde_json::from_str(&doc).map_err(|error| DbError::Failed(error.to_string()))?;
    let created_at: i64 = row.try_get("created_at")?;
    let optional =
        |name: &str| -> Result<Option<String>, DbError> { Ok(row.try_get::<Option<i64>, _>(name)?.map(time::rfc3339)) };
    let key = KeyView {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        prefix: doc.prefix,
        role: doc.role,
        organisation: row.try_get("organisation")?,
        owner: row.try_get("account")?,
        networks: doc.networks,
        created_at: time::rfc3339(created_at),
        expires_at: optional("expires_at")?,
        last_used_at: optional("used_at")?,
    };
    Ok((key, created_at))
}

/// API keys: one's own; administrators and auditors see those of their organisation.
#[utoipa::path(get, path = "/v1/api_keys", tag = "access", operation_id = "list_api_keys",
    params(PageQuery), responses((status = 200, body = ListOf<KeyView>)))]
async fn list(State(app): State<App>, caller: Caller, page: PageQuery) -> Result<Json<ListOf<KeyView>>, Problem> {
    let page = page.page()?;
    let mut query = Query::new(
        "SELECT id, account, organisation, name, doc, created_at, expires_at, used_at FROM api_keys WHERE 1 = 1",
    );
    match caller.role {
        Role::PlatformAdmin | Role::OrganisationAdmin | Role::Auditor => {
            if let Some(organisation) = caller.scope().organisation {
                query.push(" AND organisation = ").push_bind(organisation);
            }
        }
        _ => {
            query.push(" AND account = ").push_bind(caller.user.clone());
            if let (Proof::ApiKey, Some(organisation)) = (caller.proof, &caller.organisation) {
                query.push(" AND organisation = ").push_bind(organisation.clone());
            }
        }
    }
    push_page(&mut query, &page, "name")?;
    let rows = query.build().fetch_all(app.db.read()).await.map_err(DbError::from)?;
    let items = rows.iter().map(view).collect::<Result<Vec<_>, _>>()?;
    let page = cut(items, &page, |(key, at)| (*at, &key.name, &key.id));
    Ok(Json(page.map(|(key, _)| key).into()))
}

/// The user that a new key belongs to: who makes it; for this machine's own key, which is nobody's, the first administrator.
async fn owner_of(app: &App, caller: &Caller) -> Result<String, Problem> {
    let rows = sqlx::query("SELECT id, doc FROM users WHERE id = $1 OR $1 = 'local' ORDER BY created_at, id")
        .bind(&caller.user)
        .fetch_all(app.db.read())
        .await
        .map_err(DbError::from)?;
    for row in rows {
        let doc: String = row.try_get(1).map_err(DbError::from)?;
        let doc: super::users::UserDoc = serde_json::from_str(&doc).map_err(|error| Problem::internal(&error))?;
        if caller.user != "local" || (doc.role == Role::PlatformAdmin && !doc.disabled) {
            return Ok(row.try_get(0).map_err(DbError::from)?);
        }
    }
    Err(Problem::new(&kinds::CONFLICT).details(
        "there is no administrator yet whose key it could be; open the setup link first",
        "尚无管理员可拥有该密钥，请先打开初始化链接",
    ))
}

/// Makes an API key; its secret is in this answer and nowhere else.
#[utoipa::path(post, path = "/v1/api_keys", tag = "access", operation_id = "create_api_key",
    request_body = NewKey, responses((status = 201, body = CreatedKey)))]
async fn create(State(app): State<App>, caller: Caller, Json(request): Json<NewKey>) -> Result<Response, Problem> {
    check_display("name", &request.name)?;
    let role = request.role.unwrap_or(Role::Application);
    if role != caller.role && !caller.role.may_give(role) {
        return Err(Problem::new(&kinds::FORBIDDEN).with("role", role.name()));
    }
    let organisation = organisation_for(&app, &caller, role, request.organisation).await?;
    let networks = request.networks;
    if let Some(networks) = &networks {
        if networks.is_empty() || networks.len() > 100 {
            return Err(Problem::invalid_in("networks", "1 to 100 networks are allowed", "须为 1 到 100 个网络"));
        }
        for (index, network) in networks.iter().enumerate() {
            let scope = ScopeFilter { organisation: organisation.clone(), networks: None };
            if !app.records.sees(&scope, Kind::Network, network).await? {
                let field = format!("networks[{index}]");
                return Err(Problem::invalid_in(&field, "there is no such network", "网络不存在"));
            }
        }
    }
    let days = request.expires_in_days;
    if days.is_some_and(|days| !(1..=3650).contains(&days)) {
        return Err(Problem::invalid_in("expires_in_days", "1 to 3650 are allowed", "取值范围为 1 到 3650"));
    }
    let now = time::now();
    let mut expires_at = days.map(|days| now + i64::from(days) * 86_400_000);
    if caller.proof == Proof::ApiKey {
        // A key does not make keys that outlive it.
        let row = sqlx::query("SELECT expires_at FROM api_keys WHERE id = $1")
            .bind(&caller.id)
            .fetch_one(app.db.read())
            .await
            .map_err(DbError::from)?;
        let own: Option<i64> = row.try_get(0).map_err(DbError::from)?;
        expires_at = match (expires_at, own) {
            (Some(wanted), Some(own)) => Some(wanted.min(own)),
            (wanted, own) => wanted.or(own),
        };
    }
    let owner = owner_of(&app, &caller).await?;
    let secret = format!("{KEY_PREFIX}{}", secret());
    let doc = KeyDoc { role, networks: networks.clone(), prefix: secret[..KEY_PREFIX.len() + 4].to_owned() };
    let id = ids::new("key");
    sqlx::query(
        "INSERT INTO api_keys (id, token, account, organisation, name, version, doc, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, 1, $6, $7, $8)",
    )
    .bind(&id)
    .bind(fingerprint(&secret))
    .bind(&owner)
    .bind(organisation.as_deref())
    .bind(&request.name)
    .bind(serde_json::to_string(&doc).map_err(|error| Problem::internal(&error))?)
    .bind(now)
    .bind(expires_at)
    .execute(app.db.write())
    .await
    .map_err(DbError::from)?;
    let key = KeyView {
        id: id.clone(),
        name: request.name,
        prefix: doc.prefix,
        role,
        organisation,
        owner,
        networks,
        created_at: time::rfc3339(now),
        expires_at: expires_at.map(time::rfc3339),
        last_used_at: None,
    };
    let note = AuditNote { target: Some(id.clone()), after: Some(json!(key)), ..AuditNote::default() };
    Ok(audited(note, Tagged::created(1, format!("/v1/api_keys/{id}"), CreatedKey { key, secret })))
}

/// Ends an API key at once.
#[utoipa::path(delete, path = "/v1/api_keys/{id}", tag = "access", operation_id = "delete_api_key",
    params(("id" = String, Path, description = "API key")), responses((status = 204)))]
async fn remove(State(app): State<App>, Path(id): Path<String>) -> Result<Response, Problem> {
    let row = sqlx::query(
        "DELETE FROM api_keys WHERE id = $1
         RETURNING id, account, organisation, name, doc, created_at, expires_at, used_at",
    )
    .bind(&id)
    .fetch_optional(app.db.write())
    .await
    .map_err(DbError::from)?
    .ok_or_else(|| Problem::not_found("api_key", &id))?;
    let note = AuditNote { before: Some(json!(view(&row)?.0)), ..AuditNote::default() };
    Ok(audited(note, http::StatusCode::NO_CONTENT))
}
