//! Settings of the whole platform.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::Row as _;
use sqlx::any::AnyRow;
use utoipa::ToSchema;
use utoipa_axum::routes;

use crate::access::Role;
use crate::app::{App, Routes};
use crate::auth::users::{check_display, organisation_exists};
use crate::db::{Connection, Db, DbError};
use crate::http::{AuditNote, IfMatch, Json, Tagged, audited};
use crate::problem::{Problem, kinds};
use crate::time;

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(get, update))
}

/// Stored settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Name shown in the console.
    pub platform_name: String,
    /// Address under which people reach the server, when it is not the one it listens on.
    pub public_url: Option<String>,
    /// Hours until a session ends.
    pub session_hours: u32,
    /// Login by an outside provider.
    pub oidc: Option<OidcSettings>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { platform_name: "Konsort".to_owned(), public_url: None, session_hours: 12, oidc: None }
    }
}

impl Settings {
    /// Whether people reach the server by TLS, so that cookies must be marked.
    pub fn is_https(&self) -> bool {
        self.public_url.as_deref().is_some_and(|url| url.starts_with("https://"))
    }
}

/// Login by an OpenID Connect provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OidcSettings {
    /// Whether it is offered.
    pub enabled: bool,
    /// Issuer: `https://login.example.com/realms/main`. Plain http is accepted for this machine only.
    pub issuer: String,
    /// Client id.
    pub client_id: String,
    /// Client secret; never shown. Absent in a change: the present one stays. Empty: there is none (public client).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<String>,
    /// Claim that lists a person's groups.
    #[serde(default = "groups")]
    pub groups_claim: String,
    /// Role of each group; the mightiest of a person's roles counts.
    #[serde(default)]
    pub roles: BTreeMap<String, Role>,
    /// Role of people in none of these groups; absent: they are refused.
    #[serde(default)]
    pub default_role: Option<Role>,
    /// Organisation that people from the provider belong to.
    #[serde(default)]
    pub organisation: Option<String>,
    /// Certificates (PEM) to trust beside the public authorities.
    #[serde(default)]
    pub ca_pem: Option<String>,
}

fn groups() -> String {
    "groups".to_owned()
}

/// The settings; secrets are left out.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct SettingsView {
    /// Name shown in the console.
    platform_name: String,
    /// Address under which people reach the server, when it is not the one it listens on.
    #[serde(skip_serializing_if = "Option::is_none")]
    public_url: Option<String>,
    /// Hours until a session ends.
    session_hours: u32,
    /// Login by an outside provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    oidc: Option<OidcSettings>,
    /// Whether a client secret is stored.
    oidc_client_secret_set: bool,
    /// Counts changes.
    version: i64,
}

/// A change of settings; absent fields stay.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SettingsChange {
    /// Name shown in the console.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 64)]
    platform_name: Option<String>,
    /// Address under which people reach the server; empty: the one it listens on.
    #[serde(default)]
    public_url: Option<String>,
    /// Hours until a session ends, 1 to 720.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 720)]
    session_hours: Option<u32>,
    /// Login by an outside provider.
    #[serde(default)]
    oidc: Option<OidcSettings>,
}

const STORED: &str = "SELECT doc, version FROM settings WHERE name = 'platform'";

fn read(row: Option<&AnyRow>) -> Result<(Settings, i64), DbError> {
    let Some(row) = row else { return Ok((Settings::default(), 0)) };
    let doc: String = row.try_get(0)?;
    let settings = serde_json::from_str(&doc).map_err(|error| DbError::Failed(format!("settings: {error}")))?;
    Ok((settings, row.try_get(1)?))
}

/// The settings and their version.
pub async fn load(db: &Db) -> Result<(Settings, i64), DbError> {
    read(sqlx::query(STORED).fetch_optional(db.read()).await?.as_ref())
}

/// The same inside of a transaction.
pub(crate) async fn load_in(connection: &mut Connection) -> Result<(Settings, i64), DbError> {
    read(sqlx::query(STORED).fetch_optional(connection).await?.as_ref())
}

async fn store(connection: &mut Connection, settings: &Settings) -> Result<(), DbError> {
    let doc = serde_json::to_string(settings).map_err(|error| DbError::Failed(error.to_string()))?;
    sqlx::query(
        "INSERT INTO settings (name, version, doc, updated_at) VALUES ('platform', 1, $1, $2)
         ON CONFLICT (name) DO UPDATE SET doc = $1, updated_at = $2, version = settings.version + 1",
    )
    .bind(doc)
    .bind(time::now())
    .execute(connection)
    .await?;
    Ok(())
}

fn view(settings: &Settings, version: i64) -> SettingsView {
    let mut oidc = settings.oidc.clone();
    let secret = oidc.as_mut().and_then(|oidc| oidc.client_secret.take());
    SettingsView {
        platform_name: settings.platform_name.clone(),
        public_url: settings.public_url.clone(),
        session_hours: settings.session_hours,
        oidc,
        oidc_client_secret_set: secret.is_some(),
        version,
    }
}

/// Whether an address may be called for logins: TLS, or this machine.
fn check_url(field: &str, text: &str) -> Result<(), Problem> {
    let fits = text.len() <= 512
        && text.parse::<http::Uri>().ok().is_some_and(|uri| {
            let host = uri.host().unwrap_or_default();
            let local = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
            let scheme = uri.scheme_str();
            !host.is_empty()
                && uri.query().is_none()
                && (scheme == Some("https") || (scheme == Some("http") && (local || field == "public_url")))
        });
    if fits {
        Ok(())
    } else {
        Err(Problem::invalid_in(
            field,
            "an https:// address is needed (http:// only for this machine)",
            "须为 https:// 地址（仅本机可用 http://）",
        ))
    }
}

/// The settings.
#[utoipa::path(get, path = "/v1/settings", tag = "settings", operation_id = "get_settings",
    responses((status = 200, body = SettingsView)))]
async fn get(State(app): State<App>) -> Result<Tagged<SettingsView>, Problem> {
    let (settings, version) = load(&app.db).await?;
    Ok(Tagged::ok(version, view(&settings, version)))
}

/// Changes settings.
#[utoipa::path(patch, path = "/v1/settings", tag = "settings", operation_id = "update_settings",
    request_body = SettingsChange, responses((status = 200, body = SettingsView)))]
async fn update(
    State(app): State<App>,
    IfMatch(expected): IfMatch,
    Json(change): Json<SettingsChange>,
) -> Result<Response, Problem> {
    let mut transaction = app.db.begin().await?;
    let (mut settings, version) = load_in(&mut transaction).await?;
    if expected.is_some_and(|expected| expected != version) {
        return Err(Problem::new(&kinds::PRECONDITION_FAILED).with("version", version));
    }
    let before = json!(view(&settings, version));
    if let Some(name) = change.platform_name {
        check_display("platform_name", &name)?;
        settings.platform_name = name;
    }
    if let Some(url) = change.public_url {
        let url = url.trim_end_matches('/').to_owned();
        if url.is_empty() {
            settings.public_url = None;
        } else {
            check_url("public_url", &url)?;
            settings.public_url = Some(url);
        }
    }
    if let Some(hours) = change.session_hours {
        if !(1..=720).contains(&hours) {
            return Err(Problem::invalid_in("session_hours", "1 to 720 are allowed", "取值范围为 1 到 720"));
        }
        settings.session_hours = hours;
    }
    if let Some(mut oidc) = change.oidc {
        check_url("oidc.issuer", &oidc.issuer)?;
        if oidc.client_id.is_empty() || oidc.client_id.len() > 256 {
            return Err(Problem::invalid_in(
                "oidc.client_id",
                "1 to 256 characters are needed",
                "须为 1 到 256 个字符",
            ));
        }
        if let Some(organisation) = &oidc.organisation {
            organisation_exists(&mut transaction, "oidc.organisation", organisation).await?;
        } else if oidc.roles.values().chain(&oidc.default_role).any(|role| role.needs_organisation()) {
            return Err(Problem::invalid_in(
                "oidc.organisation",
                "the roles need an organisation that people from the provider belong to",
                "这些角色须属于一个组织，请指定",
            ));
        }
        if let Some(pem) = &oidc.ca_pem {
            crate::outbound::roots(Some(pem)).map_err(|why| Problem::invalid("oidc.ca_pem", why))?;
        }
        oidc.client_secret = match oidc.client_secret {
            None => settings.oidc.as_ref().and_then(|present| present.client_secret.clone()),
            Some(empty) if empty.is_empty() => None,
            Some(secret) => Some(
                app.auth.seal.close(&secret).ok_or_else(|| Problem::internal(&"the secret could not be encrypted"))?,
            ),
        };
        settings.oidc = Some(oidc);
    }
    store(&mut transaction, &settings).await?;
    transaction.commit().await.map_err(DbError::from)?;
    let version = version + 1;
    let body = view(&settings, version);
    let note = AuditNote { before: Some(before), after: Some(json!(body)), ..AuditNote::default() };
    Ok(audited(note, Tagged::ok(version, body)))
}
