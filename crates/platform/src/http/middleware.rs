//! Around every handler: who asks and whether they may ([`guard`]); and around everything: trace ids, the reader's language,
//! security headers, figures ([`outermost`]).

mod idempotency;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{ConnectInfo, FromRequestParts, MatchedPath, RawPathParams, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures::FutureExt as _;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use http_body_util::Limited;

use super::{AuditNote, ReadOnly};
use crate::access::{self, Caller, Proof, Role, Row, Scope};
use crate::app::App;
use crate::audit::{Actor, Entry};
use crate::auth::Known;
use crate::db::{DbError, Kind, Query, push_scope};
use crate::language::Language;
use crate::problem::{Problem, kinds};

pub(crate) use idempotency::forget_unfinished;

/// Address of the one who asks.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

impl<S: Send + Sync> FromRequestParts<S> for Peer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        Ok(Self(peer_of(parts)))
    }
}

fn peer_of(parts: &Parts) -> IpAddr {
    parts
        .extensions
        .get::<ConnectInfo<SocketAddr>>()
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ConnectInfo(address)| address.ip())
}

/// Id of a request, 32 hex digits: the caller's (W3C `traceparent`) or one of ours.
#[derive(Debug, Clone)]
pub struct TraceId(pub String);

fn trace_of(headers: &HeaderMap) -> String {
    headers
        .get("traceparent")
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.split('-').nth(1))
        .filter(|id| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()) && id.bytes().any(|b| b != b'0'))
        .map_or_else(|| format!("{:032x}", rand::random::<u128>()), str::to_ascii_lowercase)
}

const CONTENT_POLICY: &str = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; worker-src 'self'; connect-src 'self'; object-src 'none'; frame-ancestors 'none'; base-uri 'none'; \
     form-action 'self'";

/// Around everything.
pub(crate) async fn outermost(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let trace_id = trace_of(request.headers());
    let language = Language::of(request.headers());
    let method = method_label(request.method());
    let path = request.uri().path().to_owned();
    let route = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str).to_owned();
    request.extensions_mut().insert(TraceId(trace_id.clone()));
    request.extensions_mut().insert(language);
    // A task of its own: what was begun is finished also when the caller goes away, and a panic ends only this request.
    let mut response = match tokio::spawn(next.run(request)).await {
        Ok(response) => response,
        Err(error) => Problem::internal(&error).into_response(),
    };
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let told = problem.response(language, &trace_id);
        let (parts, body) = told.into_parts();
        *response.body_mut() = body;
        response.headers_mut().remove(header::CONTENT_LENGTH);
        for (name, value) in &parts.headers {
            response.headers_mut().insert(name.clone(), value.clone());
        }
    }
    let status = response.status().as_u16();
    app.figures.requests.with(&[method, &route, &status.to_string()]).inc();
    app.figures.duration.with(&[method, &route]).observe_since(begun);
    if status >= 500 {
        tracing::error!(%trace_id, method, path, status, "request failed");
    } else {
        tracing::debug!(%trace_id, method, path, status, "request");
    }
    let api = path.starts_with("/v1/");
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if api {
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        headers.append(header::VARY, HeaderValue::from_static("accept-language, cookie, authorization"));
    }
    if let Ok(value) = HeaderValue::from_str(&trace_id) {
        headers.insert(HeaderName::from_static("x-trace-id"), value);
    }
    response
}

/// A name for figures: what callers make up must not make new ones.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

fn writes(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Around every declared route.
pub(crate) async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    match guarded(&app, request, next).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn guarded(app: &App, request: Request, next: Next) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let matched = parts.extensions.get::<MatchedPath>().map(|path| path.as_str().to_owned()).unwrap_or_default();
    let row = access::row(parts.method.as_str(), &matched)
        .ok_or_else(|| Problem::internal(&format!("{} {matched} has no row in the table", parts.method)))?;
    let known = if row.scope == Scope::Public {
        None
    } else {
        let known = app.auth.identify(&parts.headers).await?;
        Some(known.ok_or_else(|| Problem::new(&kinds::UNAUTHENTICATED))?)
    };
    let mut allowed = Ok(());
    if let Some(known) = &known {
        allowed = admit(app, row, known, &mut parts).await;
    }
    let length = parts.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if allowed.is_ok()
        && length.and_then(|text| text.parse::<u64>().ok()).is_some_and(|length| length > row.body as u64)
    {
        allowed = Err(Problem::new(&kinds::TOO_LARGE).with("limit", row.body));
    }
    let caller = known.as_ref().map(|known| known.caller.clone());
    let actor_address = Some(peer_of(&parts).to_string());
    // What an outside provider adds to its address are secrets of the login.
    let target =
        if caller.is_some() { parts.uri.path_and_query().map_or("", PathAndQuery::as_str) } else { parts.uri.path() };
    let target = shorten(target, 512);
    let trace_id = parts.extensions.get::<TraceId>().map(|id| id.0.clone()).unwrap_or_default();
    let network = match row.scope {
        Scope::Network(name) if allowed.is_ok() => parameter(&mut parts, name).await,
        _ => None,
    };
    let response = if let Err(problem) = allowed {
        problem.into_response()
    } else {
        if let Some(known) = known {
            parts.extensions.insert(known.caller.clone());
            parts.extensions.insert(known);
        }
        let request = Request::from_parts(parts, Body::new(Limited::new(body, row.body)));
        match &caller {
            Some(caller) if writes(request.method()) => idempotency::around(app, row, caller, request, next).await,
            _ => run(next, request).await,
        }
    };
    if recorded(row, caller.as_ref(), &response) {
        let note = response.extensions().get::<AuditNote>().cloned().unwrap_or_default();
        let logged_in = response.extensions().get::<Caller>();
        let actor = match caller.as_ref().or(logged_in) {
            Some(caller) => Actor::of(caller, actor_address),
            None => Actor::anonymous(actor_address),
        };
        let entry = Entry {
            actor,
            action: format!("{} {}", row.method, row.path),
            target: note
                .target
                .map_or(target.clone(), |id| if target.ends_with(&id) { target } else { format!("{target} {id}") }),
            network: network.or(note.network),
            status: response.status().as_u16(),
            code: code_of(&response).map(str::to_owned),
            before: note.before,
            after: note.after,
            trace_id,
        };
        if let Err(error) = app.audit.append(entry).await {
            tracing::error!(%error, "the audit log could not be written");
        }
    }
    Ok(response)
}

/// The handler's answer. One that panics answers with a problem, so that what is around it is told that it has ended.
async fn run(next: Next, request: Request) -> Response {
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    answer.unwrap_or_else(|_| Problem::internal(&"a handler panicked").into_response())
}

fn code_of(response: &Response) -> Option<&'static str> {
    response.extensions().get::<Problem>().map(|problem| problem.kind().code)
}

/// Whether a request goes into the audit log. What anybody can send as often as they like would only fill the disk: of those who
/// are not known, what succeeded and what was guessed is recorded, and guessing is slowed down; what was refused for being too
/// many never is.
fn recorded(row: &Row, caller: Option<&Caller>, response: &Response) -> bool {
    let worth = row.recorded && response.extensions().get::<ReadOnly>().is_none();
    let guessed = [kinds::WRONG_CREDENTIALS.code, kinds::SETUP_LINK.code];
    let known = caller.is_some()
        || response.status().is_success()
        || code_of(response).is_some_and(|code| guessed.contains(&code));
    worth && known && response.status() != StatusCode::TOO_MANY_REQUESTS
}

fn shorten(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

async fn parameter(parts: &mut Parts, name: &str) -> Option<String> {
    let params = RawPathParams::from_request_parts(parts, &()).await.ok()?;
    params.iter().find(|(found, _)| *found == name).map(|(_, value)| value.to_owned())
}

/// Whether the table lets somebody do this with that.
async fn admit(app: &App, row: &'static Row, known: &Known, parts: &mut Parts) -> Result<(), Problem> {
    let caller = &known.caller;
    if let Some(expected) = known.csrf.as_ref().filter(|_| writes(&parts.method)) {
        let given = parts.headers.get("x-csrf-token").and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !crate::auth::same(given, expected) {
            return Err(Problem::new(&kinds::CSRF));
        }
    }
    if !row.roles.contains(&caller.role) {
        return Err(Problem::new(&kinds::FORBIDDEN).with("role", caller.role.name()));
    }
    // People, keys, organisations and what is new are outside of the networks that a key may be limited to.
    let outside =
        matches!(row.scope, Scope::Any | Scope::User(_) | Scope::ApiKey(_) | Scope::Record(Kind::Organisation, _));
    if outside && caller.networks.is_some() && writes(&parts.method) && row.path != "/v1/session" {
        return Err(Problem::new(&kinds::FORBIDDEN)
            .details("this API key is limited to some networks", "该 API 密钥仅限部分网络使用"));
    }
    let (name, what) = match row.scope {
        Scope::Public | Scope::Any => return Ok(()),
        Scope::Network(name) => (name, "network"),
        Scope::Record(kind, name) => (name, kind.name()),
        Scope::Operation(name) => (name, "operation"),
        Scope::User(name) => (name, "user"),
        Scope::ApiKey(name) => (name, "api_key"),
    };
    let id = parameter(parts, name).await.ok_or_else(|| Problem::new(&kinds::INVALID_PARAMETER).with("name", name))?;
    let seen = id.len() <= 64 && !id.contains('\0') && sees(app, caller, row.scope, &id).await?;
    if seen { Ok(()) } else { Err(Problem::not_found(what, &shorten(&id, 64))) }
}

async fn sees(app: &App, caller: &Caller, scope: Scope, id: &str) -> Result<bool, DbError> {
    let administers = |organisation: Option<String>| match caller.role {
        Role::PlatformAdmin => true,
        Role::OrganisationAdmin | Role::Auditor => caller.organisation.is_none() || caller.organisation == organisation,
        _ => false,
    };
    // A key made for another organisation is not its maker.
    let at_home =
        |organisation: &Option<String>| caller.proof == Proof::Session || caller.organisation == *organisation;
    match scope {
        Scope::Public | Scope::Any => Ok(true),
        Scope::Network(_) => app.records.sees(&caller.scope(), Kind::Network, id).await,
        Scope::Record(kind, _) => app.records.sees(&caller.scope(), kind, id).await,
        Scope::Operation(_) => {
            let mut query = Query::new("SELECT id FROM operations WHERE id = ");
            query.push_bind(id.to_owned());
            push_scope(&mut query, &caller.scope(), "network");
            Ok(query.build().fetch_optional(app.db.read()).await?.is_some())
        }
        Scope::User(_) => {
            let row = sqlx::query("SELECT organisation FROM users WHERE id = $1")
                .bind(id)
                .fetch_optional(app.db.read())
                .await?;
            let Some(row) = row else { return Ok(false) };
            let organisation: Option<String> = sqlx::Row::try_get(&row, 0)?;
            Ok((caller.user == id && at_home(&organisation)) || administers(organisation))
        }
        Scope::ApiKey(_) => {
            let row = sqlx::query("SELECT organisation, account FROM api_keys WHERE id = $1")
                .bind(id)
                .fetch_optional(app.db.read())
                .await?;
            let Some(row) = row else { return Ok(false) };
            let owner: String = sqlx::Row::try_get(&row, 1)?;
            let organisation: Option<String> = sqlx::Row::try_get(&row, 0)?;
            Ok((caller.user == owner && at_home(&organisation)) || administers(organisation))
        }
    }
}

#[cfg(test)]
mod tests {
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_answer_to_what_is_around_the_handler() {
        async fn panics() {
            panic!("on purpose");
        }
        let around = axum::middleware::from_fn(|request, next| async { run(next, request).await });
        let router: axum::Router = axum::Router::new().route("/", axum::routing::get(panics)).layer(around);
        let answer = router.oneshot(Request::new(Body::empty())).await.unwrap();
        assert_eq!(code_of(&answer), Some("internal"));
    }
}
