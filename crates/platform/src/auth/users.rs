//! Users.

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::Row as _;
use sqlx::any::AnyRow;
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::password;
use crate::access::{Caller, Role};
use crate::app::{App, Routes};
use crate::db::{Connection, Db, DbError, Kind, Order, Page, PageOf, Query, decode_token, encode_token};
use crate::http::{AuditNote, IfMatch, Json, ListOf, PageQuery, Path, Tagged, audited};
use crate::ids;
use crate::language::Language;
use crate::problem::{Problem, kinds};
use crate::time;

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(list, create)).routes(routes!(get, update, remove)).routes(routes!(set_password))
}

/// What is stored of a user beside the columns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserDoc {
    /// Name for people.
    pub display_name: String,
    /// Role.
    pub role: Role,
    /// Language of the console.
    pub language: Option<Language>,
    /// Whether logging in is forbidden.
    pub disabled: bool,
    /// Whether an outside provider logs the user in.
    #[serde(default)]
    pub external: bool,
}

/// A stored user.
#[derive(Debug, Clone)]
pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) username: String,
    pub(crate) organisation: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) version: i64,
    pub(crate) doc: UserDoc,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
}

/// A user.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct UserView {
    /// `usr_…`.
    pub id: String,
    /// Name to log in with.
    pub username: String,
    /// Name for people.
    pub display_name: String,
    /// Role.
    pub role: Role,
    /// Organisation; absent for platform-wide users.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organisation: Option<String>,
    /// Language of the console; absent: the browser's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<Language>,
    /// Whether logging in is forbidden.
    pub disabled: bool,
    /// Whether an outside provider logs the user in.
    pub external: bool,
    /// Counts changes.
    pub version: i64,
    /// When it was made.
    pub created_at: String,
    /// When it was changed last.
    pub updated_at: String,
}

impl From<&User> for UserView {
    fn from(user: &User) -> Self {
        Self {
            id: user.id.clone(),
            username: user.username.clone(),
            display_name: user.doc.display_name.clone(),
            role: user.doc.role,
            organisation: user.organisation.clone(),
            language: user.doc.language,
            disabled: user.doc.disabled,
            external: user.doc.external,
            version: user.version,
            created_at: time::rfc3339(user.created_at),
            updated_at: time::rfc3339(user.updated_at),
        }
    }
}

fn read(row: &AnyRow) -> Result<User, DbError> {
    let doc: String = row.try_get("doc")?;
    Ok(User {
        id: row.try_get("id")?,
        username: row.try_get("username")?,
        organisation: row.try_get("organisation")?,
        password: row.try_get("password")?,
        version: row.try_get("version")?,
        doc: serde_json::from_str(&doc).map_err(|error| DbError::Failed(error.to_string()))?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}

const BY_ID: &str =
    "SELECT id, username, organisation, password, version, doc, created_at, updated_at FROM users WHERE id = $1";

pub(crate) async fn find(db: &Db, id: &str) -> Result<User, DbError> {
    let row = sqlx::query(BY_ID).bind(id).fetch_optional(db.read()).await?;
    read(&row.ok_or_else(|| DbError::NotFound { kind: "user", id: id.to_owned() })?)
}

async fn find_in(connection: &mut Connection, id: &str) -> Result<User, DbError> {
    let row = sqlx::query(BY_ID).bind(id).fetch_optional(connection).await?;
    read(&row.ok_or_else(|| DbError::NotFound { kind: "user", id: id.to_owned() })?)
}

pub(crate) async fn find_by_name(db: &Db, username: &str) -> Result<Option<User>, DbError> {
    let row = sqlx::query(
        "SELECT id, username, organisation, password, version, doc, created_at, updated_at FROM users WHERE username = $1",
    )
    .bind(username.to_lowercase())
    .fetch_optional(db.read())
    .await?;
    row.as_ref().map(read).transpose()
}

pub(crate) async fn find_by_subject(db: &Db, subject: &str) -> Result<Option<User>, DbError> {
    let row = sqlx::query(
        "SELECT id, username, organisation, password, version, doc, created_at, updated_at FROM users WHERE subject = $1",
    )
    .bind(subject)
    .fetch_optional(db.read())
    .await?;
    row.as_ref().map(read).transpose()
}

/// A user to be stored.
#[derive(Debug)]
pub(crate) struct NewUser<'a> {
    pub(crate) id: &'a str,
    pub(crate) username: &'a str,
    pub(crate) organisation: Option<&'a str>,
    pub(crate) subject: Option<&'a str>,
    pub(crate) password: Option<&'a str>,
    pub(crate) doc: &'a UserDoc,
}

pub(crate) async fn insert(connection: &mut Connection, new: NewUser<'_>) -> Result<(), DbError> {
    let doc = serde_json::to_string(new.doc).map_err(|error| DbError::Failed(error.to_string()))?;
    sqlx::query(
        "INSERT INTO users (id, username, organisation, subject, password, version, doc, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, 1, $6, $7, $7)",
    )
    .bind(new.id)
    .bind(new.username.to_lowercase())
    .bind(new.organisation)
    .bind(new.subject)
    .bind(new.password)
    .bind(doc)
    .bind(time::now())
    .execute(connection)
    .await
    .map(|_| ())
    .map_err(|error| match DbError::from(error) {
        DbError::Exists { .. } => DbError::Exists { kind: "user", name: new.username.to_owned() },
        other => other,
    })
}

/// Stores role, organisation and the rest; the version must be the expected one.
pub(crate) async fn store(connection: &mut Connection, user: &User, expected: Option<i64>) -> Result<i64, DbError> {
    let doc = serde_json::to_string(&user.doc).map_err(|error| DbError::Failed(error.to_string()))?;
    let row = sqlx::query(
        "UPDATE users SET organisation = $1, password = $2, doc = $3, updated_at = $4, version = version + 1
         WHERE id = $5 AND (version = $6 OR $6 = -1) RETURNING version",
    )
    .bind(user.organisation.as_deref())
    .bind(user.password.as_deref())
    .bind(doc)
    .bind(time::now())
    .bind(&user.id)
    .bind(expected.unwrap_or(-1))
    .fetch_optional(connection)
    .await?;
    match row {
        Some(row) => Ok(row.try_get(0)?),
        None => Err(DbError::Stale { found: user.version }),
    }
}

/// Whether a user name has an allowed form.
pub(crate) fn check_username(username: &str) -> Result<(), Problem> {
    let fits = (2..=64).contains(&username.len())
        && username.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'@'));
    if fits {
        Ok(())
    } else {
        Err(Problem::invalid_in(
            "username",
            "2 to 64 letters, digits, dots, dashes, underscores or @ are allowed",
            "须为 2 到 64 个字母、数字、点、横线、下划线或 @",
        ))
    }
}

/// Whether a display name has an allowed form: any script, no control characters, 1 to 64 characters.
pub(crate) fn check_display(field: &str, text: &str) -> Result<(), Problem> {
    let length = text.chars().count();
    if (1..=64).contains(&length) && !text.chars().any(char::is_control) && text.trim() == text {
        Ok(())
    } else {
        Err(Problem::invalid_in(
            field,
            "1 to 64 characters, without control characters or spaces around, are allowed",
            "须为 1 到 64 个字符，不含控制字符，首尾无空格",
        ))
    }
}

/// A new user.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewUserRequest {
    /// Name to log in with: 2 to 64 ASCII letters, digits, `.`, `-`, `_`, `@`.
    #[schema(min_length = 2, max_length = 64, pattern = "^[A-Za-z0-9._@-]+$")]
    username: String,
    /// Name for people; default: the user name.
    #[serde(default)]
    display_name: Option<String>,
    /// Role.
    role: Role,
    /// Organisation; default: the caller's. Platform administrators may name another.
    #[serde(default)]
    organisation: Option<String>,
    /// First password; when it is absent one is made and shown once in the answer.
    #[serde(default)]
    password: Option<String>,
    /// Language of the console.
    #[serde(default)]
    language: Option<Language>,
}

/// A user that was made.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct CreatedUser {
    /// The user.
    #[serde(flatten)]
    user: UserView,
    /// The first password when the server made it; not shown again.
    #[serde(skip_serializing_if = "Option::is_none")]
    initial_password: Option<String>,
}

/// A change of a user; absent fields stay.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UserChange {
    /// Name for people.
    #[serde(default)]
    display_name: Option<String>,
    /// Role.
    #[serde(default)]
    role: Option<Role>,
    /// Organisation (platform administrators only).
    #[serde(default)]
    organisation: Option<String>,
    /// Language of the console.
    #[serde(default)]
    language: Option<Language>,
    /// Whether logging in is forbidden.
    #[serde(default)]
    disabled: Option<bool>,
}

/// A new password.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PasswordChange {
    /// The present password; needed for one's own.
    #[serde(default)]
    current: Option<String>,
    /// The new one: at least 10 characters.
    #[schema(min_length = 10, max_length = 200)]
    new: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Cursor {
    t: Option<i64>,
    n: Option<String>,
    i: String,
}

/// Users, of one's own organisation or of all.
#[utoipa::path(get, path = "/v1/users", tag = "access", operation_id = "list_users",
    params(PageQuery), responses((status = 200, body = ListOf<UserView>)))]
async fn list(State(app): State<App>, caller: Caller, page: PageQuery) -> Result<Json<ListOf<UserView>>, Problem> {
    let page = page.page()?;
    let mut query = Query::new(
        "SELECT id, username, organisation, password, version, doc, created_at, updated_at FROM users WHERE 1 = 1",
    );
    if let Some(organisation) = caller.scope().organisation {
        query.push(" AND organisation = ").push_bind(organisation);
    }
    let users = paged(&app.db, query, &page, "username").await?;
    Ok(Json(users.map(|user| UserView::from(&user)).into()))
}

async fn paged(db: &Db, mut query: Query, page: &Page, name: &'static str) -> Result<PageOf<User>, Problem> {
    push_page(&mut query, page, name)?;
    let rows = query.build().fetch_all(db.read()).await.map_err(DbError::from)?;
    let items = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(cut(items, page, |user| (user.created_at, user.username.clone(), user.id.clone())))
}

/// Adds order and beginning of a page to a list with `created_at`, a name and `id`.
pub(crate) fn push_page(query: &mut Query, page: &Page, name: &'static str) -> Result<(), Problem> {
    if let Some(token) = &page.token {
        let cursor: Cursor = decode_token(token)?;
        let (column, sign) = match page.order {
            Order::Created => ("created_at", " > "),
            Order::CreatedDescending => ("created_at", " < "),
            Order::Name => (name, " > "),
        };
        query.push(" AND (").push(column).push(sign);
        match (page.order, cursor.t, cursor.n) {
            (Order::Name, None, Some(text)) => {
                query.push_bind(text.clone()).push(" OR (").push(column).push(" = ").push_bind(text);
            }
            (Order::Created | Order::CreatedDescending, Some(at), None) => {
                query.push_bind(at).push(" OR (").push(column).push(" = ").push_bind(at);
            }
            _ => return Err(Problem::new(&kinds::INVALID_PAGE_TOKEN)),
        }
        query.push(" AND id").push(sign).push_bind(cursor.i).push("))");
    }
    match page.order {
        Order::Created => query.push(" ORDER BY created_at, id"),
        Order::CreatedDescending => query.push(" ORDER BY created_at DESC, id DESC"),
        Order::Name => query.push(" ORDER BY ").push(name).push(", id"),
    };
    query.push(" LIMIT ").push_bind(page.limit() as i64 + 1);
    Ok(())
}

/// Cuts the item that only says that there is more, and makes the token of the next page.
pub(crate) fn cut<T>(mut items: Vec<T>, page: &Page, keys: impl Fn(&T) -> (i64, String, String)) -> PageOf<T> {
    let more = items.len() > page.limit();
    items.truncate(page.limit());
    let next_page_token = items.last().filter(|_| more).map(|last| {
        let (at, name, id) = keys(last);
        let (t, n) = if page.order == Order::Name { (None, Some(name)) } else { (Some(at), None) };
        encode_token(&Cursor { t, n, i: id })
    });
    PageOf { items, next_page_token }
}

/// Decides for which organisation somebody may make a user or key with a role.
pub(crate) async fn organisation_for(
    app: &App,
    caller: &Caller,
    role: Role,
    wanted: Option<String>,
) -> Result<Option<String>, Problem> {
    let organisation = match (caller.role, wanted) {
        (Role::PlatformAdmin, Some(wanted)) => {
            app.records
                .find::<serde_json::Value>(Kind::Organisation, &wanted)
                .await?
                .ok_or_else(|| Problem::invalid_in("organisation", "there is no such organisation", "组织不存在"))?;
            Some(wanted)
        }
        (Role::PlatformAdmin, None) if role == Role::PlatformAdmin => caller.organisation.clone(),
        (_, None) => caller.organisation.clone(),
        (_, Some(wanted)) if Some(&wanted) == caller.organisation.as_ref() => Some(wanted),
        (_, Some(_)) => {
            return Err(Problem::invalid_in("organisation", "there is no such organisation", "组织不存在"));
        }
    };
    if organisation.is_none() && !matches!(role, Role::PlatformAdmin | Role::Auditor | Role::Operator) {
        return Err(Problem::invalid_in("organisation", "this role needs an organisation", "该角色须属于一个组织"));
    }
    Ok(organisation)
}

/// Makes a user.
#[utoipa::path(post, path = "/v1/users", tag = "access", operation_id = "create_user",
    request_body = NewUserRequest, responses((status = 201, body = CreatedUser)))]
async fn create(
    State(app): State<App>,
    caller: Caller,
    Json(request): Json<NewUserRequest>,
) -> Result<Response, Problem> {
    check_username(&request.username)?;
    if !caller.role.may_give(request.role) {
        return Err(Problem::new(&kinds::FORBIDDEN).with("role", request.role.name()));
    }
    let display_name = request.display_name.unwrap_or_else(|| request.username.clone());
    check_display("display_name", &display_name)?;
    let organisation = organisation_for(&app, &caller, request.role, request.organisation).await?;
    let (password, initial_password) = if let Some(given) = request.password {
        (given, None)
    } else {
        let made = ids::random_text(20);
        (made.clone(), Some(made))
    };
    password::check(&password, &request.username)?;
    let hash = app.auth.passwords.hash(&password).await?;
    let id = ids::new("usr");
    let doc =
        UserDoc { display_name, role: request.role, language: request.language, disabled: false, external: false };
    let mut transaction = app.db.begin().await?;
    let new = NewUser {
        id: &id,
        username: &request.username,
        organisation: organisation.as_deref(),
        subject: None,
        password: Some(&hash),
        doc: &doc,
    };
    insert(&mut transaction, new).await?;
    let user = find_in(&mut transaction, &id).await?;
    transaction.commit().await.map_err(DbError::from)?;
    let view = UserView::from(&user);
    let note = AuditNote { target: Some(id.clone()), after: Some(json!(view)), ..AuditNote::default() };
    let body = CreatedUser { user: view, initial_password };
    Ok(audited(note, Tagged::created(user.version, format!("/v1/users/{id}"), body)))
}

/// A user.
#[utoipa::path(get, path = "/v1/users/{id}", tag = "access", operation_id = "get_user",
    params(("id" = String, Path, description = "User")), responses((status = 200, body = UserView)))]
async fn get(State(app): State<App>, Path(id): Path<String>) -> Result<Tagged<UserView>, Problem> {
    let user = find(&app.db, &id).await?;
    Ok(Tagged::ok(user.version, UserView::from(&user)))
}

/// Refuses a change after which nobody could run the platform any more.
async fn keep_an_admin(connection: &mut Connection, changed: &str) -> Result<(), Problem> {
    // On PostgreSQL, where transactions run at the same time, two administrators must not remove each other.
    let rows = sqlx::query("SELECT id, doc FROM users").fetch_all(&mut *connection).await.map_err(DbError::from)?;
    for row in rows {
        let id: String = row.try_get("id").map_err(DbError::from)?;
        let doc: String = row.try_get("doc").map_err(DbError::from)?;
        let doc: UserDoc = serde_json::from_str(&doc).map_err(|error| Problem::internal(&error))?;
        if id != changed && doc.role == Role::PlatformAdmin && !doc.disabled {
            return Ok(());
        }
    }
    Err(Problem::new(&kinds::CONFLICT).details(
        "this is the last platform administrator; make another one first",
        "这是最后一位平台管理员，请先添加另一位",
    ))
}

/// One who may not give a role may not touch who has it either.
fn may_touch(caller: &Caller, user: &User) -> Result<(), Problem> {
    if caller.role.may_give(user.doc.role) { Ok(()) } else { Err(Problem::new(&kinds::FORBIDDEN)) }
}

/// Changes a user.
#[utoipa::path(patch, path = "/v1/users/{id}", tag = "access", operation_id = "update_user",
    params(("id" = String, Path, description = "User")), request_body = UserChange,
    responses((status = 200, body = UserView)))]
async fn update(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    IfMatch(expected): IfMatch,
    Json(change): Json<UserChange>,
) -> Result<Response, Problem> {
    let mut transaction = app.db.begin().await?;
    let mut user = find_in(&mut transaction, &id).await?;
    let before = json!(UserView::from(&user));
    may_touch(&caller, &user)?;
    let was_admin = user.doc.role == Role::PlatformAdmin && !user.doc.disabled;
    if let Some(name) = change.display_name {
        check_display("display_name", &name)?;
        user.doc.display_name = name;
    }
    if let Some(role) = change.role {
        if !caller.role.may_give(role) {
            return Err(Problem::new(&kinds::FORBIDDEN).with("role", role.name()));
        }
        user.doc.role = role;
    }
    if let Some(organisation) = change.organisation {
        if caller.role != Role::PlatformAdmin && Some(&organisation) != user.organisation.as_ref() {
            return Err(Problem::new(&kinds::FORBIDDEN).with("field", "organisation"));
        }
        Organisations::exists(&mut transaction, &organisation).await?;
        user.organisation = Some(organisation);
    }
    if user.organisation.is_none() && !matches!(user.doc.role, Role::PlatformAdmin | Role::Auditor | Role::Operator) {
        return Err(Problem::invalid_in("organisation", "this role needs an organisation", "该角色须属于一个组织"));
    }
    if let Some(language) = change.language {
        user.doc.language = Some(language);
    }
    if let Some(disabled) = change.disabled {
        user.doc.disabled = disabled;
    }
    if was_admin && (user.doc.role != Role::PlatformAdmin || user.doc.disabled) {
        keep_an_admin(&mut transaction, &id).await?;
    }
    store(&mut transaction, &user, expected).await?;
    if user.doc.disabled {
        sqlx::query("DELETE FROM sessions WHERE account = $1")
            .bind(&id)
            .execute(&mut *transaction)
            .await
            .map_err(DbError::from)?;
    }
    let user = find_in(&mut transaction, &id).await?;
    transaction.commit().await.map_err(DbError::from)?;
    let view = UserView::from(&user);
    let note = AuditNote { before: Some(before), after: Some(json!(view)), ..AuditNote::default() };
    Ok(audited(note, Tagged::ok(user.version, view)))
}

struct Organisations;

impl Organisations {
    async fn exists(connection: &mut Connection, id: &str) -> Result<(), Problem> {
        let found = sqlx::query("SELECT id FROM resources WHERE kind = 'organisation' AND id = $1")
            .bind(id)
            .fetch_optional(connection)
            .await
            .map_err(DbError::from)?;
        found
            .map(|_| ())
            .ok_or_else(|| Problem::invalid_in("organisation", "there is no such organisation", "组织不存在"))
    }
}

/// Removes a user with its sessions and keys.
#[utoipa::path(delete, path = "/v1/users/{id}", tag = "access", operation_id = "delete_user",
    params(("id" = String, Path, description = "User")), responses((status = 204)))]
async fn remove(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    IfMatch(expected): IfMatch,
) -> Result<Response, Problem> {
    let mut transaction = app.db.begin().await?;
    let user = find_in(&mut transaction, &id).await?;
    may_touch(&caller, &user)?;
    if expected.is_some_and(|expected| expected != user.version) {
        return Err(DbError::Stale { found: user.version }.into());
    }
    if user.doc.role == Role::PlatformAdmin {
        keep_an_admin(&mut transaction, &id).await?;
    }
    for statement in [
        "DELETE FROM sessions WHERE account = $1",
        "DELETE FROM api_keys WHERE account = $1",
        "DELETE FROM users WHERE id = $1",
    ] {
        sqlx::query(statement).bind(&id).execute(&mut *transaction).await.map_err(DbError::from)?;
    }
    transaction.commit().await.map_err(DbError::from)?;
    let note = AuditNote { before: Some(json!(UserView::from(&user))), ..AuditNote::default() };
    Ok(audited(note, http::StatusCode::NO_CONTENT))
}

/// Sets a password; every session of the user ends.
#[utoipa::path(post, path = "/v1/users/{id}/password", tag = "access", operation_id = "set_password",
    params(("id" = String, Path, description = "User")), request_body = PasswordChange, responses((status = 204)))]
async fn set_password(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    Json(change): Json<PasswordChange>,
) -> Result<http::StatusCode, Problem> {
    let mut user = find(&app.db, &id).await?;
    if user.doc.external {
        return Err(Problem::new(&kinds::CONFLICT).details(
            "this user logs in by the outside provider and has no password here",
            "该用户通过统一登录服务登录，此处没有密码",
        ));
    }
    if caller.user == id {
        let keys = [format!("password:{id}")];
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let now = std::time::Instant::now();
        if let Some(wait) = app.auth.logins.wait(&keys, now) {
            return Err(Problem::new(&kinds::RATE_LIMITED).retry_after(wait.as_secs() + 1));
        }
        app.auth.logins.attempt(&keys, now);
        let current = change.current.unwrap_or_default();
        if !app.auth.passwords.verify(&current, user.password.as_deref()).await? {
            return Err(Problem::invalid_in("current", "this is not the present password", "当前密码不正确"));
        }
        app.auth.logins.succeed(&keys);
    } else {
        if !matches!(caller.role, Role::PlatformAdmin | Role::OrganisationAdmin) {
            return Err(Problem::not_found("user", &id));
        }
        may_touch(&caller, &user)?;
    }
    password::check(&change.new, &user.username)?;
    user.password = Some(app.auth.passwords.hash(&change.new).await?);
    let mut transaction = app.db.begin().await?;
    store(&mut transaction, &user, None).await?;
    sqlx::query("DELETE FROM sessions WHERE account = $1")
        .bind(&id)
        .execute(&mut *transaction)
        .await
        .map_err(DbError::from)?;
    transaction.commit().await.map_err(DbError::from)?;
    Ok(http::StatusCode::NO_CONTENT)
}
