//! Users in the database.

use serde::{Deserialize, Serialize};
use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::access::Role;
use crate::db::{Connection, Db, DbError};
use crate::language::Language;
use crate::problem::Problem;
use crate::time;

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

pub(super) fn read(row: &AnyRow) -> Result<User, DbError> {
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

pub(crate) async fn find_in(connection: &mut Connection, id: &str) -> Result<User, DbError> {
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

/// Ends every session of a user.
pub(super) async fn end_sessions(connection: &mut Connection, user: &str) -> Result<(), DbError> {
    sqlx::query("DELETE FROM sessions WHERE account = $1").bind(user).execute(connection).await?;
    Ok(())
}

/// Refuses an organisation that is not there, by the field that names it.
pub(crate) async fn organisation_exists(connection: &mut Connection, field: &str, id: &str) -> Result<(), Problem> {
    sqlx::query("SELECT id FROM resources WHERE kind = 'organisation' AND id = $1")
        .bind(id)
        .fetch_optional(connection)
        .await
        .map_err(DbError::from)?
        .map(|_| ())
        .ok_or_else(|| Problem::invalid_in(field, "there is no such organisation", "组织不存在"))
}
