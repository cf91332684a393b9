//! The first administrator, logging in and out.

use std::net::IpAddr;
use std::time::Instant;

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::users::{NewUser, User, UserDoc, UserView, check_display, check_username, find, find_by_name, insert};
use super::{COOKIE, Known, Session, cookie, password};
use crate::access::{Caller, Proof, Role, rows};
use crate::app::{App, Routes};
use crate::db::{DbError, Kind, New, Repository};
use crate::http::middleware::Peer;
use crate::http::{AuditNote, Json, audited};
use crate::ids;
use crate::language::Language;
use crate::organisations::OrganisationDoc;
use crate::problem::{Problem, kinds};
use crate::settings;
use crate::time;

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(needs_setup, setup))
        .routes(routes!(log_in, session, log_out))
        .merge(super::users::routes())
        .merge(super::keys::routes())
        .merge(super::oidc::routes())
}

/// Whether the first administrator is still to be made.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
struct SetupState {
    /// Whether it is.
    needed: bool,
    /// Whether logging in by an outside provider is set up.
    oidc: bool,
}

/// The first administrator.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SetupRequest {
    /// The token of the link that the server printed.
    token: String,
    /// Name to log in with.
    #[schema(min_length = 2, max_length = 64, pattern = "^[A-Za-z0-9._@-]+$")]
    username: String,
    /// Password, at least 10 characters.
    #[schema(min_length = 10, max_length = 200)]
    password: String,
    /// Language of the console.
    #[serde(default)]
    language: Option<Language>,
    /// Display name of the first organisation.
    #[schema(min_length = 1, max_length = 64)]
    organisation: String,
}

/// Name and password.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Credentials {
    /// Name.
    username: String,
    /// Password.
    password: String,
}

/// Who is logged in, and what they may do.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct SessionView {
    /// The user, or the owner of the key.
    user: UserView,
    /// Role in effect.
    role: Role,
    /// Organisation in effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    organisation: Option<String>,
    /// How it was proved.
    proof: Proof,
    /// To be sent as header `x-csrf-token` with every write; only of sessions.
    #[serde(skip_serializing_if = "Option::is_none")]
    csrf_token: Option<String>,
    /// Endpoints that the role may use, as `POST /v1/networks`.
    permissions: Vec<String>,
    /// When a session ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
}

fn view(user: &User, caller: &Caller, csrf_token: Option<String>, expires_at: Option<i64>) -> SessionView {
    SessionView {
        user: UserView::from(user),
        role: caller.role,
        organisation: caller.organisation.clone(),
        proof: caller.proof,
        csrf_token,
        permissions: rows()
            .filter(|row| row.roles.contains(&caller.role))
            .map(|row| format!("{} {}", row.method, row.path))
            .collect(),
        expires_at: expires_at.map(time::rfc3339),
    }
}

/// The header that gives a browser its session; an empty token takes it away.
fn session_cookie(session: Option<&Session>, secure: bool) -> HeaderValue {
    let (token, age) =
        session.map_or(("", 0), |session| (session.token.as_str(), (session.expires_at - time::now()).max(0) / 1000));
    let secure = if secure { "; Secure" } else { "" };
    HeaderValue::from_str(&format!("{COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age={age}{secure}"))
        .unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// The header that gives a browser its session.
pub(crate) fn session_cookie_of(session: &Session, secure: bool) -> HeaderValue {
    session_cookie(Some(session), secure)
}

/// Who a user is once logged in.
pub(crate) fn caller_of(user: &User) -> Caller {
    Caller {
        id: user.id.clone(),
        user: user.id.clone(),
        name: user.username.clone(),
        role: user.doc.role,
        organisation: user.organisation.clone(),
        networks: None,
        proof: Proof::Session,
    }
}

/// Begins a session and answers with it.
pub(crate) async fn answer_session(app: &App, user: &User, status: StatusCode) -> Result<Response, Problem> {
    let (settings, _) = settings::load(&app.db).await?;
    let session = app.auth.begin_session(&user.id, settings.session_hours).await?;
    let caller = caller_of(user);
    let body = view(user, &caller, Some(session.csrf.clone()), Some(session.expires_at));
    let mut response = (status, axum::Json(body)).into_response();
    response.headers_mut().insert(header::SET_COOKIE, session_cookie(Some(&session), settings.is_https()));
    // The audit record of the request names who logged in.
    response.extensions_mut().insert(caller);
    Ok(response)
}

/// Whether the first administrator is still to be made.
#[utoipa::path(get, path = "/v1/setup", tag = "session", operation_id = "get_setup",
    responses((status = 200, body = SetupState)))]
async fn needs_setup(State(app): State<App>) -> Result<Json<SetupState>, Problem> {
    let (settings, _) = settings::load(&app.db).await?;
    let oidc = settings.oidc.as_ref().is_some_and(|oidc| oidc.enabled);
    Ok(Json(SetupState { needed: app.auth.needs_setup().await?, oidc }))
}

/// Makes the first administrator and the first organisation; works once, with the link that the server printed.
#[utoipa::path(post, path = "/v1/setup", tag = "session", operation_id = "setup",
    request_body = SetupRequest, responses((status = 201, body = SessionView)))]
async fn setup(
    State(app): State<App>,
    Peer(peer): Peer,
    Json(request): Json<SetupRequest>,
) -> Result<Response, Problem> {
    let address = format!("setup:{}", address_of(peer));
    let now = Instant::now();
    if let Some(wait) = app.auth.logins.wait(&[&address], now) {
        return Err(Problem::new(&kinds::RATE_LIMITED).retry_after(wait.as_secs() + 1));
    }
    if !app.auth.needs_setup().await? {
        return Err(Problem::new(&kinds::SETUP_DONE));
    }
    if !app.auth.is_setup_token(&request.token) {
        app.auth.logins.attempt(&[&address], now);
        return Err(Problem::new(&kinds::SETUP_LINK));
    }
    check_username(&request.username)?;
    password::check(&request.password, &request.username)?;
    check_display("organisation", &request.organisation)?;
    let hash = app.auth.passwords.hash(&request.password).await?;
    let (organisation, id) = (ids::new("org"), ids::new("usr"));
    let doc = UserDoc {
        display_name: request.username.clone(),
        role: Role::PlatformAdmin,
        language: request.language,
        disabled: false,
        external: false,
    };
    let mut transaction = app.db.begin().await?;
    // The row is the lock: of two requests with the same link one finds it there.
    sqlx::query("INSERT INTO settings (name, version, doc, updated_at) VALUES ('setup', 1, '{}', $1)")
        .bind(time::now())
        .execute(&mut *transaction)
        .await
        .map_err(|error| match DbError::from(error) {
            DbError::Exists { .. } => Problem::new(&kinds::SETUP_DONE),
            other => other.into(),
        })?;
    let organisation_doc = OrganisationDoc { description: String::new() };
    let new = New {
        id: &organisation,
        network: None,
        organisation: Some(&organisation),
        name: &request.organisation,
        doc: &organisation_doc,
    };
    Repository::create_in(&mut transaction, Kind::Organisation, new).await?;
    let user = NewUser {
        id: &id,
        username: &request.username,
        organisation: Some(&organisation),
        subject: None,
        password: Some(&hash),
        doc: &doc,
    };
    insert(&mut transaction, user).await?;
    transaction.commit().await.map_err(DbError::from)?;
    app.end_setup();
    let user = find(&app.db, &id).await?;
    let note = AuditNote { target: Some(id), after: Some(json!(UserView::from(&user))), ..AuditNote::default() };
    Ok(audited(note, answer_session(&app, &user, StatusCode::CREATED).await?))
}

/// What failures are counted by: the address; of IPv6 the network, since one machine has very many addresses.
pub(crate) fn address_of(peer: IpAddr) -> String {
    match peer {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let s = address.segments();
            format!("{:x}:{:x}:{:x}:{:x}::/64", s[0], s[1], s[2], s[3])
        }
    }
}

/// Logs in: the answer sets the session's cookie.
#[utoipa::path(post, path = "/v1/session", tag = "session", operation_id = "log_in",
    request_body = Credentials, responses((status = 201, body = SessionView)))]
async fn log_in(
    State(app): State<App>,
    Peer(peer): Peer,
    Json(credentials): Json<Credentials>,
) -> Result<Response, Problem> {
    // Nobody has a longer name or password.
    let fits = credentials.username.len() <= 64 && credentials.password.len() <= 1024;
    let name = if fits { credentials.username.to_lowercase() } else { String::new() };
    // Failures count by name together with address, so that nobody can lock somebody else out from afar, and by address alone.
    let pair = format!("name:{name}@{}", address_of(peer));
    let address = format!("address:{}", address_of(peer));
    let now = Instant::now();
    let refused = |app: &App| app.auth.logins.wait(&[&pair], now).or_else(|| app.auth.logins.wait(&[&address], now));
    if let Some(wait) = refused(&app) {
        return Err(Problem::new(&kinds::RATE_LIMITED).retry_after(wait.as_secs() + 1));
    }
    app.auth.logins.attempt(&[&pair], now);
    if !fits {
        return Err(Problem::new(&kinds::WRONG_CREDENTIALS));
    }
    let user = find_by_name(&app.db, &credentials.username).await?;
    let hash = user.as_ref().filter(|user| !user.doc.disabled).and_then(|user| user.password.as_deref());
    let fits = app.auth.passwords.verify(&credentials.password, hash).await?;
    let Some(user) = user.filter(|_| fits) else {
        // Many names from one address: a tenth of the weight, since many people may share one.
        if rand::random::<u8>().is_multiple_of(10) {
            app.auth.logins.attempt(&[&address], now);
        }
        return Err(Problem::new(&kinds::WRONG_CREDENTIALS));
    };
    app.auth.logins.succeed(&[&pair]);
    answer_session(&app, &user, StatusCode::CREATED).await
}

/// Who is logged in, with the token that writes must carry and what the role may do.
#[utoipa::path(get, path = "/v1/session", tag = "session", operation_id = "get_session",
    responses((status = 200, body = SessionView)))]
async fn session(State(app): State<App>, Extension(known): Extension<Known>) -> Result<Json<SessionView>, Problem> {
    let caller = known.caller;
    let user = match find(&app.db, &caller.user).await {
        // The key of this machine belongs to no user.
        Err(DbError::NotFound { .. }) => User {
            id: caller.user.clone(),
            username: caller.name.clone(),
            organisation: caller.organisation.clone(),
            password: None,
            version: 0,
            doc: UserDoc {
                display_name: caller.name.clone(),
                role: caller.role,
                language: None,
                disabled: false,
                external: false,
            },
            created_at: 0,
            updated_at: 0,
        },
        other => other?,
    };
    Ok(Json(view(&user, &caller, known.csrf, known.expires_at)))
}

/// Logs out.
#[utoipa::path(delete, path = "/v1/session", tag = "session", operation_id = "log_out", responses((status = 204)))]
async fn log_out(State(app): State<App>, headers: HeaderMap) -> Result<Response, Problem> {
    if let Some(token) = cookie(&headers, COOKIE) {
        app.auth.end_session(token).await?;
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.headers_mut().insert(header::SET_COOKIE, session_cookie(None, false));
    Ok(response)
}
