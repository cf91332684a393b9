//! The tables, as steps that each database takes once, in order.
//!
//! A step that has been released is never changed; what is new becomes a step at the end. `{bytes}`, `{serial}`, `{word}` (a text compared byte
//! by byte) and `{compact}` (a table kept in its key's order) stand for what the two databases spell differently.

use sqlx::{AssertSqlSafe, Executor as _, Row as _};

use super::{Db, DbError};

/// Number and SQL of each step. Owners of further tables add their own steps at the end.
const STEPS: &[(i64, &str)] = &[(1, RECORDS), (2, crate::index::schema::TABLES)];

const RECORDS: &str = "
CREATE TABLE resources (
    kind TEXT NOT NULL, id TEXT NOT NULL, network TEXT, organisation TEXT, name TEXT NOT NULL, version BIGINT NOT NULL,
    doc TEXT NOT NULL, created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL, PRIMARY KEY (kind, id));
CREATE INDEX resources_network ON resources (kind, network, created_at, id);
CREATE INDEX resources_organisation ON resources (kind, organisation, created_at, id);
CREATE INDEX resources_created ON resources (kind, created_at, id);
CREATE INDEX resources_name ON resources (kind, name, id);
CREATE TABLE memberships (
    network TEXT NOT NULL, organisation TEXT NOT NULL, PRIMARY KEY (network, organisation));
CREATE INDEX memberships_organisation ON memberships (organisation, network);
CREATE TABLE operations (
    id TEXT NOT NULL PRIMARY KEY, network TEXT, organisation TEXT, kind TEXT NOT NULL, state TEXT NOT NULL,
    created_by TEXT NOT NULL, version BIGINT NOT NULL, doc TEXT NOT NULL, created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL);
CREATE INDEX operations_network ON operations (network, created_at, id);
CREATE INDEX operations_state ON operations (state, created_at, id);
CREATE TABLE users (
    id TEXT NOT NULL PRIMARY KEY, username TEXT NOT NULL UNIQUE, organisation TEXT, subject TEXT UNIQUE, password TEXT,
    version BIGINT NOT NULL, doc TEXT NOT NULL, created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL);
CREATE TABLE sessions (
    token TEXT NOT NULL PRIMARY KEY, account TEXT NOT NULL, csrf TEXT NOT NULL, created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL);
CREATE INDEX sessions_account ON sessions (account);
CREATE TABLE api_keys (
    id TEXT NOT NULL PRIMARY KEY, token TEXT NOT NULL UNIQUE, account TEXT NOT NULL, organisation TEXT, name TEXT NOT NULL,
    version BIGINT NOT NULL, doc TEXT NOT NULL, created_at BIGINT NOT NULL, expires_at BIGINT, used_at BIGINT);
CREATE INDEX api_keys_account ON api_keys (account);
CREATE TABLE audit (
    seq BIGINT NOT NULL PRIMARY KEY, at BIGINT NOT NULL, actor TEXT NOT NULL, action {word} NOT NULL, network TEXT,
    organisation TEXT, doc TEXT NOT NULL, prev TEXT NOT NULL, hash TEXT NOT NULL);
CREATE INDEX audit_at ON audit (at);
CREATE INDEX audit_actor ON audit (actor, seq);
CREATE INDEX audit_action ON audit (action, seq);
CREATE INDEX audit_network ON audit (network, seq);
CREATE TABLE idempotency (
    caller TEXT NOT NULL, token TEXT NOT NULL, digest TEXT NOT NULL, status BIGINT NOT NULL, headers TEXT NOT NULL,
    body {bytes} NOT NULL, created_at BIGINT NOT NULL, PRIMARY KEY (caller, token));
CREATE INDEX idempotency_created ON idempotency (created_at);
CREATE TABLE settings (
    name TEXT NOT NULL PRIMARY KEY, version BIGINT NOT NULL, doc TEXT NOT NULL, updated_at BIGINT NOT NULL);
CREATE TABLE events (
    seq {serial}, at BIGINT NOT NULL, topic TEXT NOT NULL, network TEXT, channel TEXT, doc TEXT NOT NULL);
CREATE INDEX events_network ON events (network, seq);
";

pub(super) async fn run(db: &Db) -> Result<(), DbError> {
    db.write
        .execute("CREATE TABLE IF NOT EXISTS schema_steps (step BIGINT NOT NULL PRIMARY KEY, at BIGINT NOT NULL)")
        .await?;
    let rows = sqlx::query("SELECT step FROM schema_steps").fetch_all(&db.write).await?;
    let done: Vec<i64> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    let newest = STEPS.iter().map(|(number, _)| *number).max().unwrap_or(0);
    if let Some(unknown) = done.iter().find(|&&number| number > newest) {
        return Err(DbError::Failed(format!(
            "the database was written by a newer version of this program (its step {unknown}, known up to {newest}); use that \
             version"
        )));
    }
    for (number, sql) in STEPS {
        if done.contains(number) {
            continue;
        }
        let (bytes, serial, word, compact) = if db.sole.is_some() {
            ("BYTEA", "BIGSERIAL PRIMARY KEY", "TEXT COLLATE \"C\"", "")
        } else {
            ("BLOB", "INTEGER PRIMARY KEY AUTOINCREMENT", "TEXT", " WITHOUT ROWID")
        };
        let sql = sql.replace("{bytes}", bytes).replace("{serial}", serial).replace("{word}", word);
        let sql = sql.replace("{compact}", compact);
        let mut transaction = db.begin().await?;
        for statement in sql.split(';').map(str::trim).filter(|statement| !statement.is_empty()) {
            transaction.execute(AssertSqlSafe(statement.to_owned())).await?;
        }
        sqlx::query("INSERT INTO schema_steps (step, at) VALUES ($1, $2)")
            .bind(*number)
            .bind(crate::time::now())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
    }
    Ok(())
}
