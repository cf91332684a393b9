//! Login by an OpenID Connect provider: authorization code flow with PKCE (RFC 7636), state bound to the browser by a cookie,
//! nonce, and an id token whose signature, issuer, audience and times are checked against the provider's published keys.

mod token;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use konsort_crypto::hash::sha256;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::IntoParams;
use utoipa_axum::routes;

use super::users::{NewUser, User, UserDoc, UserView, find, find_by_name, find_by_subject, insert, store};
use super::{cookie, secret, session_cookie_of};
use crate::access::Role;
use crate::app::{App, Routes};
use crate::db::DbError;
use crate::http::{AuditNote, Query, audited};
use crate::ids;
use crate::outbound::{Call, send};
use crate::problem::{Problem, kinds};
use crate::settings::{self, OidcSettings};

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(begin)).routes(routes!(finish))
}

const COOKIE: &str = "konsort_oidc";
const LIFETIME: Duration = Duration::from_mins(10);
const MOST: usize = 10_000;

#[derive(Debug, Clone)]
struct Attempt {
    verifier: String,
    nonce: String,
    begun: Instant,
}

/// Logins that were begun, by state.
#[derive(Debug, Default)]
pub struct Pending(Mutex<HashMap<String, Attempt>>);

impl Pending {
    fn put(&self, state: String, attempt: Attempt) -> Result<(), Problem> {
        let mut map = self.0.lock();
        if map.len() >= MOST {
            map.retain(|_, attempt| attempt.begun.elapsed() < LIFETIME);
        }
        if map.len() >= MOST {
            return Err(Problem::new(&kinds::RATE_LIMITED).retry_after(60));
        }
        map.insert(state, attempt);
        Ok(())
    }

    fn take(&self, state: &str) -> Option<Attempt> {
        self.0.lock().remove(state).filter(|attempt| attempt.begun.elapsed() < LIFETIME)
    }
}

/// What the provider says of itself.
#[derive(Debug, Deserialize)]
struct Discovery {
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

async fn discover(oidc: &OidcSettings) -> Result<Discovery, Problem> {
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
    let found = discover(&oidc).await?;
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
    app.auth.oidc.put(state.clone(), Attempt { verifier, nonce, begun: Instant::now() })?;
    let mut response = StatusCode::FOUND.into_response();
    response.headers_mut().insert(header::LOCATION, target);
    // Lax, because the provider's redirect comes from another site.
    let secure = if secure { "; Secure" } else { "" };
    let bound = format!("{COOKIE}={state}; Path=/v1/oidc; HttpOnly; SameSite=Lax; Max-Age=600{secure}");
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
    let bound = cookie(&headers, COOKIE).is_some_and(|value| super::same(value, &state));
    let attempt = if bound { app.auth.oidc.take(&state) } else { None };
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
    let found = discover(&oidc).await?;
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
        now: crate::time::now() / 1000,
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
    let text = |name: &str| claims[name].as_str().map(str::trim).filter(|text| !text.is_empty());
    let wanted = text("preferred_username").or_else(|| text("email")).unwrap_or("user");
    let display: String = text("name").unwrap_or(wanted).chars().filter(|c| !c.is_control()).take(64).collect();
    if let Some(mut user) = find_by_subject(&app.db, &subject).await? {
        if user.doc.disabled {
            return Err(Problem::new(&kinds::FORBIDDEN).details("this user is disabled", "该用户已停用"));
        }
        // The provider decides anew at every login.
        user.doc.role = role;
        user.doc.display_name = display;
        user.organisation = oidc.organisation.clone();
        let mut transaction = app.db.begin().await?;
        store(&mut transaction, &user, None).await?;
        transaction.commit().await.map_err(DbError::from)?;
        return Ok(find(&app.db, &user.id).await?);
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
    transaction.commit().await.map_err(DbError::from)?;
    Ok(find(&app.db, &id).await?)
}
