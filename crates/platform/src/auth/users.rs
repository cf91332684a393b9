//! Users.

mod record;

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::Row as _;
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::password;
use crate::access::{Caller, Role};
use crate::app::{App, Routes};
use crate::db::{Connection, DbError, Kind, Query, cut, push_page};
use crate::http::{AuditNote, IfMatch, Json, ListOf, PageQuery, Path, Tagged, audited};
use crate::ids;
use crate::language::Language;
use crate::problem::{Problem, kinds};
use crate::time;

pub use record::UserDoc;
pub(crate) use record::{
    NewUser, User, find, find_by_name, find_by_subject, find_in, insert, organisation_exists, store,
};
use record::{end_sessions, read};

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(list, create)).routes(routes!(get, update, remove)).routes(routes!(set_password))
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
    push_page(&mut query, &page, "username")?;
    let rows = query.build().fetch_all(app.db.read()).await.map_err(DbError::from)?;
    let users = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let page = cut(users, &page, |user| (user.created_at, &user.username, &user.id));
    Ok(Json(page.map(|user| UserView::from(&user)).into()))
}

/// Decides for which organisation somebody may make a user or key with a role.
pub(crate) async fn organisation_for(
    app: &App,
    caller: &Caller,
    role: Role,
    wanted: Option<String>,
) -> Result<Option<String>, Problem> {
    let organisation = match wanted {
        Some(wanted) if caller.role == Role::PlatformAdmin => {
            app.records
                .find::<serde_json::Value>(Kind::Organisation, &wanted)
                .await?
                .ok_or_else(|| Problem::invalid_in("organisation", "there is no such organisation", "组织不存在"))?;
            Some(wanted)
        }
        Some(wanted) if Some(&wanted) != caller.organisation.as_ref() => {
            return Err(Problem::invalid_in("organisation", "there is no such organisation", "组织不存在"));
        }
        _ => caller.organisation.clone(),
    };
    check_reach(role, organisation.as_deref())?;
    Ok(organisation)
}

/// Refuses a role that is held in an organisation only, without one.
pub(crate) fn check_reach(role: Role, organisation: Option<&str>) -> Result<(), Problem> {
    if organisation.is_none() && role.needs_organisation() {
        return Err(Problem::invalid_in("organisation", "this role needs an organisation", "该角色须属于一个组织"));
    }
    Ok(())
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
    if let Some(organisation) = &organisation {
        organisation_exists(&mut transaction, "organisation", organisation).await?;
    }
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
    app.end_setup();
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
        organisation_exists(&mut transaction, "organisation", &organisation).await?;
        user.organisation = Some(organisation);
    }
    check_reach(user.doc.role, user.organisation.as_deref())?;
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
        end_sessions(&mut transaction, &id).await?;
    }
    let user = find_in(&mut transaction, &id).await?;
    transaction.commit().await.map_err(DbError::from)?;
    let view = UserView::from(&user);
    let note = AuditNote { before: Some(before), after: Some(json!(view)), ..AuditNote::default() };
    Ok(audited(note, Tagged::ok(user.version, view)))
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
    let user = find(&app.db, &id).await?;
    if user.doc.external {
        return Err(Problem::new(&kinds::CONFLICT).details(
            "this user logs in by the outside provider and has no password here",
            "该用户通过统一登录服务登录，此处没有密码",
        ));
    }
    let own = caller.user == id;
    if own {
        let key = format!("password:{id}");
        let now = std::time::Instant::now();
        if let Some(wait) = app.auth.logins.wait(&[&key], now) {
            return Err(Problem::new(&kinds::RATE_LIMITED).retry_after(wait.as_secs() + 1));
        }
        app.auth.logins.attempt(&[&key], now);
        let current = change.current.unwrap_or_default();
        if !app.auth.passwords.verify(&current, user.password.as_deref()).await? {
            return Err(Problem::invalid_in("current", "this is not the present password", "当前密码不正确"));
        }
        app.auth.logins.succeed(&[&key]);
    } else if !matches!(caller.role, Role::PlatformAdmin | Role::OrganisationAdmin) {
        return Err(Problem::not_found("user", &id));
    }
    password::check(&change.new, &user.username)?;
    let hash = app.auth.passwords.hash(&change.new).await?;
    let mut transaction = app.db.begin().await?;
    // Hashing takes a while; what happened to the user in the meantime counts.
    let mut present = find_in(&mut transaction, &id).await?;
    if own {
        if present.doc.disabled || present.password != user.password {
            return Err(Problem::new(&kinds::SESSION_EXPIRED));
        }
    } else {
        may_touch(&caller, &present)?;
    }
    present.password = Some(hash);
    store(&mut transaction, &present, None).await?;
    end_sessions(&mut transaction, &id).await?;
    transaction.commit().await.map_err(DbError::from)?;
    Ok(http::StatusCode::NO_CONTENT)
}
