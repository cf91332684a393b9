//! Login by an OpenID Connect provider: authorization code flow with PKCE (RFC 7636), state bound to the browser by a cookie,
//! nonce, and an id token whose signature, issuer, audience and times are checked against the provider's published keys.

mod token;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use konsort_crypto::hash::sha256;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::IntoParams;
use utoipa_axum::routes;

use super::users::{
    NewUser, User, UserDoc, UserView, check_reach, find_by_name, find_by_subject, find_in, insert, store,
};
use super::{caller_of, cookie, secret, session_cookie_of};
use crate::access::Role;
use crate::app::{App, Routes};
use crate::db::DbError;
use crate::http::{AuditNote, Query, audited};
use crate::ids;
use crate::outbound::{Call, send};
use crate::problem::{Problem, kinds};
use crate::settings::{self, OidcSettings};
use crate::time;

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(begin)).routes(routes!(finish))
}

const COOKIE: &str = "konsort_oidc";
/// Milliseconds until a login must be finished.
const LIFETIME: i64 = 600_000;
/// How long what the provider says of itself is believed.
const FRESH: Duration = Duration::from_mins(5);

/// A login that was begun; the browser keeps it, sealed, so that beginning logins costs the server nothing.
#[derive(Debug, Serialize, Deserialize)]
struct Attempt {
    state: String,
    verifier: String,
    nonce: String,
    begun: i64,
}

/// What the provider said of itself last, when, and asked with which settings.
#[derive(Debug, Default)]
pub(crate) struct Provider(Mutex<Option<(OidcSettings, Instant, Arc<Discovery>)>>);

/// What the provider says of itself.
#[derive(Debug, Deserialize)]
pub(crate) struct Discovery {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct TokenAnswer {
    id_token: String,
}

fn failed(why: impl std::fmt::Display) -> Problem {
    Problem::new(&kinds::OIDC_FAILED).detail(why.to_string())
}

async fn fetch<T: serde::de::DeserializeOwned>(oidc: &OidcSettings, url: &str) -> Result<T, Problem> {
    let call = Call { method: Method::GET, url, body: None, authorization: None, ca_pem: oidc.ca_pem.as_deref() };
    let (status, body) = send(call).await.map_err(failed)?;
    if status != 200 {
        return Err(failed(format!("{url} answered {status}")));
    }
    serde_json::from_slice(&body).map_err(|error| failed(format!("{url}: {error}")))
}

async fn discover(app: &App, oidc: &OidcSettings) -> Result<Arc<Discovery>, Problem> {
    let known = app.auth.provider.0.lock().clone();
    if let Some((settings, at, found)) = known
        && settings == *oidc
        && at.elapsed() < FRESH
    {
        return Ok(found);
    }
    let issuer = oidc.issuer.trim_end_matches('/');
    let found: Discovery = fetch(oidc, &format!("{issuer}/.well-known/openid-configuration")).await?;
    if found.issuer.trim_end_matches('/') != issuer {
        return Err(failed(format!("the provider calls itself {}, the settings say {}", found.issuer, oidc.issuer)));
    }
    let http_allowed = issuer.starts_with("http://");
    for url in [&found.authorization_endpoint, &found.token_endpoint, &found.jwks_uri] {
        if !(url.starts_with("https://") || (http_allowed && url.starts_with("http://"))) {
            return Err(failed(format!("{url} is not an https address")));
        }
    }
    let found = Arc::new(found);
    *app.auth.provider.0.lock() = Some((oidc.clone(), Instant::now(), Arc::clone(&found)));
    Ok(found)
}

async fn configured(app: &App) -> Result<(OidcSettings, String, bool), Problem> {
    let (settings, _) = settings::load(&app.db).await?;
    let secure = settings.is_https();
    let base = settings.public_url.clone().unwrap_or_else(|| app.own_url());
    let oidc = settings
        .oidc
        .filter(|oidc| oidc.enabled)
        .ok_or_else(|| Problem::new(&kinds::NOT_FOUND).details("no login provider is set up", "未配置统一登录"))?;
    Ok((oidc, format!("{base}/v1/oidc/callback"), secure))
}

fn encode(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            let _infallible = write!(out, "%{byte:02X}");
        }
        out
    })
}

fn form(pairs: &[(&str, &str)]) -> String {
    pairs.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect::<Vec<_>>().join("&")
}

/// Sends the browser to the login provider.
#[utoipa::path(get, path = "/v1/oidc/login", tag = "session", operation_id = "begin_oidc_login",
    responses((status = 302, description = "To the login provider")))]
async fn begin(State(app): State<App>) -> Result<Response, Problem> {
    let (oidc, redirect, secure) = configured(&app).await?;
    let found = discover(&app, &oidc).await?;
    let (state, nonce, verifier) = (secret(), secret(), secret());
    let challenge = URL_SAFE_NO_PAD.encode(sha256(verifier.as_bytes()));
    let query = form(&[
        ("response_type", "code"),
        ("client_id", &oidc.client_id),
        ("redirect_uri", &redirect),
        ("scope", "openid profile email"),
        ("state", &state),
        ("nonce", &nonce),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ]);
    let separator = if found.authorization_endpoint.contains('?') { '&' } else { '?' };
    let target = HeaderValue::from_str(&format!("{}{separator}{query}", found.authorization_endpoint))
        .map_err(|_| failed("the provider's address holds characters that a header cannot"))?;
    let attempt = Attempt { state, verifier, nonce, begun: time::now() };
    let attempt = serde_json::to_string(&attempt).ok().and_then(|text| app.auth.seal.close(&text));
    let attempt = attempt.ok_or_else(|| Problem::internal(&"the login could not be encrypted"))?;
    let mut response = StatusCode::FOUND.into_response();
    response.headers_mut().insert(header::LOCATION, target);
    // Lax, because the provider's redirect comes from another site.
    let secure = if secure { "; Secure" } else { "" };
    let bound = format!("{COOKIE}={attempt}; Path=/v1/oidc; HttpOnly; SameSite=Lax; Max-Age=600{secure}");
    if let Ok(value) = HeaderValue::from_str(&bound) {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
    Ok(response)
}

/// What the provider sends back with the browser.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Callback {
    /// The code.
    #[serde(default)]
    code: Option<String>,
    /// The state that was sent.
    #[serde(default)]
    state: Option<String>,
    /// Why the provider refused.
    #[serde(default)]
    error: Option<String>,
    /// The same in words.
    #[serde(default)]
    error_description: Option<String>,
}

/// Where the login provider sends the browser back to; logs in and shows the console.
#[utoipa::path(get, path = "/v1/oidc/callback", tag = "session", operation_id = "finish_oidc_login", params(Callback),
    responses((status = 200, description = "A page that leads to the console", content_type = "text/html", body = String)))]
async fn finish(
    State(app): State<App>,
    headers: HeaderMap,
    Query(callback): Query<Callback>,
) -> Result<Response, Problem> {
    let (oidc, redirect, secure) = configured(&app).await?;
    let state = callback.state.unwrap_or_default();
    let attempt = cookie(&headers, COOKIE)
        .and_then(|sealed| app.auth.seal.unseal(sealed))
        .and_then(|text| serde_json::from_str::<Attempt>(&text).ok())
        .filter(|attempt| super::same(&attempt.state, &state) && time::now() - attempt.begun < LIFETIME);
    let attempt = attempt.ok_or_else(|| {
        Problem::new(&kinds::CSRF).details(
            "this login was not begun in this browser, or more than 10 minutes ago; log in again",
            "该登录并非由本浏览器发起，或已超过 10 分钟，请重新登录",
        )
    })?;
    if let Some(error) = callback.error {
        let words = callback.error_description.unwrap_or_default();
        return Err(Problem::new(&kinds::FORBIDDEN).detail(format!("{error} {words}").trim().to_owned()));
    }
    let code = callback.code.ok_or_else(|| failed("the provider sent no code"))?;
    let found = discover(&app, &oidc).await?;
    let client_secret = match &oidc.client_secret {
        None => None,
        Some(sealed) => Some(app.auth.seal.unseal(sealed).ok_or_else(|| {
            failed("the stored client secret cannot be read with this server's key; set it again in the settings")
        })?),
    };
    let mut pairs = vec![
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", redirect.as_str()),
        ("code_verifier", attempt.verifier.as_str()),
    ];
    let methods = &found.token_endpoint_auth_methods_supported;
    let basic = methods.is_empty() || methods.iter().any(|method| method == "client_secret_basic");
    let mut authorization = None;
    match &client_secret {
        Some(secret) if basic => {
            let both = format!("{}:{}", encode(&oidc.client_id), encode(secret));
            authorization = Some(format!("Basic {}", STANDARD.encode(both)));
        }
        Some(secret) => pairs.extend([("client_id", oidc.client_id.as_str()), ("client_secret", secret.as_str())]),
        None => pairs.push(("client_id", oidc.client_id.as_str())),
    }
    let call = Call {
        method: Method::POST,
        url: &found.token_endpoint,
        body: Some(("application/x-www-form-urlencoded", form(&pairs))),
        authorization,
        ca_pem: oidc.ca_pem.as_deref(),
    };
    let (status, body) = send(call).await.map_err(failed)?;
    if status != 200 {
        // The provider's words may repeat what was sent; only its error code is shown.
        let code = serde_json::from_slice::<Value>(&body).ok();
        let code = code.as_ref().and_then(|value| value["error"].as_str()).unwrap_or("no reason").to_owned();
        return Err(failed(format!("the provider did not accept the code ({status}: {code})")));
    }
    let answer: TokenAnswer =
        serde_json::from_slice(&body).map_err(|error| failed(format!("token answer: {error}")))?;
    let keys: token::KeySet = fetch(&oidc, &found.jwks_uri).await?;
    let expected = token::Expected {
        issuer: &found.issuer,
        client_id: &oidc.client_id,
        nonce: &attempt.nonce,
        now: time::now() / 1000,
    };
    let claims = token::verify(&answer.id_token, &keys, &expected).map_err(failed)?;
    let user = user_of(&app, &oidc, &found.issuer, &claims).await?;
    let (settings, _) = settings::load(&app.db).await?;
    let session = app.auth.begin_session(&user.id, settings.session_hours).await?;
    // A redirect would still count as coming from the provider's site, and the browser would hold the strict cookie back.
    let page = "<!doctype html><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"0;url=/\"><title>Konsort</title><a href=\"/\">Konsort</a>";
    let mut response = (StatusCode::OK, page).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.append(header::SET_COOKIE, session_cookie_of(&session, secure));
    headers.append(
        header::SET_COOKIE,
        HeaderValue::from_static("konsort_oidc=; Path=/v1/oidc; HttpOnly; SameSite=Lax; Max-Age=0"),
    );
    // The audit record of the request names who logged in.
    response.extensions_mut().insert(caller_of(&user));
    let note =
        AuditNote { target: Some(user.id.clone()), after: Some(json!(UserView::from(&user))), ..AuditNote::default() };
    Ok(audited(note, response))
}

/// The role that a person's groups give.
fn role_of(oidc: &OidcSettings, claims: &Value) -> Option<Role> {
    let groups = &claims[oidc.groups_claim.as_str()];
    let named = groups.as_array().into_iter().flatten().filter_map(Value::as_str).chain(groups.as_str());
    // Roles are ordered from the mightiest down.
    named.filter_map(|group| oidc.roles.get(group)).min().copied().or(oidc.default_role)
}

async fn user_of(app: &App, oidc: &OidcSettings, issuer: &str, claims: &Value) -> Result<User, Problem> {
    let subject = claims["sub"].as_str().filter(|sub| !sub.is_empty() && sub.len() <= 255);
    let subject = format!("{issuer}|{}", subject.ok_or_else(|| failed("the id token has no subject"))?);
    let role = role_of(oidc, claims).ok_or_else(|| {
        Problem::new(&kinds::FORBIDDEN)
            .details("none of your groups has a role on this platform", "您所在的组在本平台没有对应角色")
    })?;
    check_reach(role, oidc.organisation.as_deref())?;
    let text = |name: &str| claims[name].as_str().map(str::trim).filter(|text| !text.is_empty());
    let wanted = text("preferred_username").or_else(|| text("email")).unwrap_or("user");
    let display: String = text("name").unwrap_or(wanted).chars().filter(|c| !c.is_control()).take(64).collect();
    if let Some(user) = find_by_subject(&app.db, &subject).await? {
        let mut transaction = app.db.begin().await?;
        let mut user = find_in(&mut transaction, &user.id).await?;
        if user.doc.disabled {
            return Err(Problem::new(&kinds::FORBIDDEN).details("this user is disabled", "该用户已停用"));
        }
        // The provider decides anew at every login.
        user.doc.role = role;
        user.doc.display_name = display;
        user.organisation = oidc.organisation.clone();
        store(&mut transaction, &user, None).await?;
        let user = find_in(&mut transaction, &user.id).await?;
        transaction.commit().await.map_err(DbError::from)?;
        return Ok(user);
    }
    let mut username: String = wanted
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '@'))
        .take(48)
        .collect::<String>()
        .to_lowercase();
    // A name that is taken, also by somebody with a password here, never leads to that account.
    if username.len() < 2 || find_by_name(&app.db, &username).await?.is_some() {
        username = format!("{username}-{}", ids::random_text(6));
    }
    let id = ids::new("usr");
    let doc = UserDoc { display_name: display, role, language: None, disabled: false, external: true };
    let mut transaction = app.db.begin().await?;
    let new = NewUser {
        id: &id,
        username: &username,
        organisation: oidc.organisation.as_deref(),
        subject: Some(&subject),
        password: None,
        doc: &doc,
    };
    insert(&mut transaction, new).await?;
    let user = find_in(&mut transaction, &id).await?;
    transaction.commit().await.map_err(DbError::from)?;
    Ok(user)
}
