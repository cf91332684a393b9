//! Who somebody is: passwords, sessions in cookies, API keys, logins by an outside provider, the first administrator.
//!
//! Of every token only the SHA-256 is stored: tokens are 256 bits of chance, so nothing slower is needed. Passwords are stored as
//! Argon2id hashes.

mod handlers;
pub mod keys;
pub mod limit;
pub mod oidc;
pub mod password;
pub mod seal;
pub mod users;

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, header};
use konsort_crypto::hash::sha256;
use parking_lot::RwLock;
use rand::RngCore as _;
use sqlx::Row as _;

use crate::access::{Caller, Proof, Role};
use crate::db::{Db, DbError};
use crate::problem::{Problem, kinds};
use crate::time;

pub(crate) use handlers::{caller_of, routes, session_cookie_of};
use users::UserDoc;

/// Name of the session's cookie.
pub const COOKIE: &str = "konsort_session";
/// Beginning of every API key.
pub const KEY_PREFIX: &str = "kst_";

/// Sessions, keys, passwords.
#[derive(Debug)]
pub struct Auth {
    db: Db,
    /// Token of the setup link, while there is nobody.
    setup: RwLock<Option<String>>,
    /// The key in `server.json`, for the command line on the server's own machine; new at every start.
    local: String,
    pub(crate) passwords: password::Passwords,
    pub(crate) logins: limit::Limiter,
    pub(crate) provider: oidc::Provider,
    pub(crate) seal: seal::Seal,
}

/// A session that was begun.
#[derive(Debug, Clone)]
pub struct Session {
    /// The secret in the cookie.
    pub token: String,
    /// The secret in the header of writes.
    pub csrf: String,
    /// When it ends, milliseconds since 1970.
    pub expires_at: i64,
}

/// Somebody who proved who they are.
#[derive(Debug, Clone)]
pub struct Known {
    /// Who.
    pub caller: Caller,
    /// Of a session: the secret that writes must carry.
    pub csrf: Option<String>,
    /// When the session ends, milliseconds since 1970.
    pub expires_at: Option<i64>,
}

/// 256 bits of chance as text.
pub(crate) fn secret() -> String {
    let mut bytes = [0_u8; 32];
    rand::rng().fill_bytes(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn fingerprint(token: &str) -> String {
    hex::encode(sha256(token.as_bytes()))
}

/// Whether two secrets are equal, in a time that does not tell where they differ.
pub(crate) fn same(left: &str, right: &str) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(left.as_bytes(), right.as_bytes()).is_ok()
}

/// A cookie of a request.
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(found, _)| *found == name)
        .map(|(_, value)| value)
}

/// Who may read the data folder may do everything: all that the server knows lies there.
fn local() -> Known {
    let caller = Caller {
        id: "local".to_owned(),
        user: "local".to_owned(),
        name: "local".to_owned(),
        role: Role::PlatformAdmin,
        organisation: None,
        networks: None,
        proof: Proof::Server,
    };
    Known { caller, csrf: None, expires_at: None }
}

impl Auth {
    /// Of a database; the key that seals stored secrets is kept in the data folder.
    pub fn open(db: Db, folder: &Path) -> std::io::Result<Self> {
        Ok(Self {
            db,
            setup: RwLock::new(None),
            local: format!("{KEY_PREFIX}{}", secret()),
            passwords: password::Passwords::default(),
            logins: limit::Limiter::default(),
            provider: oidc::Provider::default(),
            seal: seal::Seal::open(folder)?,
        })
    }

    /// Makes a new setup token when there is no user yet, and forgets the one before.
    pub async fn begin_setup(&self) -> Result<(), DbError> {
        let token = if self.needs_setup().await? { Some(secret()) } else { None };
        *self.setup.write() = token;
        Ok(())
    }

    /// Whether there is no user yet.
    pub async fn needs_setup(&self) -> Result<bool, DbError> {
        Ok(sqlx::query("SELECT id FROM users LIMIT 1").fetch_optional(self.db.read()).await?.is_none())
    }

    /// The key of whoever may read the data folder, valid as long as this server runs.
    pub(crate) fn local_key(&self) -> &str {
        &self.local
    }

    pub(crate) fn is_setup_token(&self, token: &str) -> bool {
        self.setup.read().as_deref().is_some_and(|expected| same(expected, token))
    }

    /// The token of the setup link, while there is nobody.
    pub(crate) fn setup_token(&self) -> Option<String> {
        self.setup.read().clone()
    }

    /// Makes the setup link void; says whether there was one.
    pub(crate) fn end_setup(&self) -> bool {
        self.setup.write().take().is_some()
    }

    /// Begins a session of a user.
    pub async fn begin_session(&self, user: &str, hours: u32) -> Result<Session, DbError> {
        let now = time::now();
        let session =
            Session { token: secret(), csrf: secret(), expires_at: now + i64::from(hours.clamp(1, 720)) * 3_600_000 };
        sqlx::query("DELETE FROM sessions WHERE expires_at < $1").bind(now).execute(self.db.write()).await?;
        sqlx::query("INSERT INTO sessions (token, account, csrf, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)")
            .bind(fingerprint(&session.token))
            .bind(user)
            .bind(&session.csrf)
            .bind(now)
            .bind(session.expires_at)
            .execute(self.db.write())
            .await?;
        Ok(session)
    }

    /// Ends the session of a cookie.
    pub async fn end_session(&self, token: &str) -> Result<(), DbError> {
        sqlx::query("DELETE FROM sessions WHERE token = $1").bind(fingerprint(token)).execute(self.db.write()).await?;
        Ok(())
    }

    /// Who sends a request: `None` when it carries neither a key nor a session. A key or session that is not valid is refused,
    /// not ignored.
    pub async fn identify(&self, headers: &HeaderMap) -> Result<Option<Known>, Problem> {
        if let Some(value) = headers.get(header::AUTHORIZATION) {
            let text = value.to_str().unwrap_or_default();
            let token = text
                .get(..7)
                .filter(|scheme| scheme.eq_ignore_ascii_case("bearer "))
                .map(|_| text[7..].trim())
                .filter(|token| token.starts_with(KEY_PREFIX) && token.len() < 128)
                .ok_or_else(|| Problem::new(&kinds::SESSION_EXPIRED))?;
            return if same(token, &self.local) { Ok(Some(local())) } else { self.key(token).await.map(Some) };
        }
        match cookie(headers, COOKIE) {
            Some(token) if !token.is_empty() && token.len() < 128 => self.session(token).await.map(Some),
            _ => Ok(None),
        }
    }

    async fn session(&self, token: &str) -> Result<Known, Problem> {
        let row = sqlx::query(
            "SELECT u.id, u.username, u.organisation, u.doc, s.csrf, s.expires_at FROM sessions s JOIN users u ON u.id = s.account
             WHERE s.token = $1 AND s.expires_at > $2",
        )
        .bind(fingerprint(token))
        .bind(time::now())
        .fetch_optional(self.db.read())
        .await
        .map_err(DbError::from)?
        .ok_or_else(|| Problem::new(&kinds::SESSION_EXPIRED))?;
        let known = (|| -> Result<(Known, bool), DbError> {
            let doc: String = row.try_get("doc")?;
            let doc: UserDoc = serde_json::from_str(&doc).map_err(|error| DbError::Failed(error.to_string()))?;
            let id: String = row.try_get("id")?;
            let caller = Caller {
                user: id.clone(),
                id,
                name: row.try_get("username")?,
                role: doc.role,
                organisation: row.try_get("organisation")?,
                networks: None,
                proof: Proof::Session,
            };
            let known =
                Known { caller, csrf: Some(row.try_get("csrf")?), expires_at: Some(row.try_get("expires_at")?) };
            Ok((known, doc.disabled))
        })()?;
        if known.1 { Err(Problem::new(&kinds::SESSION_EXPIRED)) } else { Ok(known.0) }
    }

    async fn key(&self, token: &str) -> Result<Known, Problem> {
        let now = time::now();
        let row = sqlx::query(
            "SELECT k.id, k.name, k.organisation, k.doc, k.account, k.used_at, u.doc AS owner,
                    u.organisation AS home FROM api_keys k
             JOIN users u ON u.id = k.account
             WHERE k.token = $1 AND (k.expires_at IS NULL OR k.expires_at > $2)",
        )
        .bind(fingerprint(token))
        .bind(now)
        .fetch_optional(self.db.read())
        .await
        .map_err(DbError::from)?
        .ok_or_else(|| Problem::new(&kinds::SESSION_EXPIRED))?;
        let read = |error: serde_json::Error| DbError::Failed(error.to_string());
        let (caller, owner, home, used_at) =
            (|| -> Result<(Caller, UserDoc, Option<String>, Option<i64>), DbError> {
                let doc: String = row.try_get("doc")?;
                let doc: keys::KeyDoc = serde_json::from_str(&doc).map_err(read)?;
                let owner: String = row.try_get("owner")?;
                let owner: UserDoc = serde_json::from_str(&owner).map_err(read)?;
                let caller = Caller {
                    id: row.try_get("id")?,
                    user: row.try_get("account")?,
                    name: row.try_get("name")?,
                    role: doc.role,
                    organisation: row.try_get("organisation")?,
                    networks: doc.networks,
                    proof: Proof::ApiKey,
                };
                Ok((caller, owner, row.try_get("home")?, row.try_get("used_at")?))
            })()?;
        // A key is never worth more than its owner is now, and does not stay in an organisation that its owner has left.
        let moved = owner.role != Role::PlatformAdmin && home.is_some() && home != caller.organisation;
        if owner.disabled || moved || !(owner.role == caller.role || owner.role.may_give(caller.role)) {
            return Err(Problem::new(&kinds::SESSION_EXPIRED));
        }
        // When it was used last is for people; to the minute is enough and spares a write for each request.
        if used_at.is_none_or(|used| now - used > 60_000) {
            let _shown_later = sqlx::query("UPDATE api_keys SET used_at = $1 WHERE id = $2")
                .bind(now)
                .bind(&caller.id)
                .execute(self.db.write())
                .await;
        }
        Ok(Known { caller, csrf: None, expires_at: None })
    }
}
