//! Operations and their logs in the database.

use serde::Serialize;
use sqlx::any::AnyRow;
use sqlx::{Any, AssertSqlSafe, Row as _};
use utoipa::ToSchema;

use super::state::{Operation, OperationState};
use crate::access::ScopeFilter;
use crate::db::{Connection, Db, DbError};
use crate::time;

/// Longest log of an operation, in lines; what comes after is not kept.
pub(crate) const LONGEST_LOG: i64 = 20_000;
/// Longest line of a log, in bytes.
const LONGEST_LINE: usize = 4096;

/// A line of an operation's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct LogLine {
    /// Its number.
    pub seq: i64,
    /// When, RFC 3339.
    pub at: String,
    /// Name of the step that wrote it.
    pub step: String,
    /// What it says.
    pub line: String,
}

/// Which operations a list shows.
#[derive(Debug, Clone, Default)]
pub(crate) struct OperationFilter {
    pub(crate) network: Option<String>,
    pub(crate) state: Option<OperationState>,
    pub(crate) scope: ScopeFilter,
    /// Only those after this place of the list (time and id of the last one seen).
    pub(crate) before: Option<(i64, String)>,
}

fn state_name(state: OperationState) -> &'static str {
    match state {
        OperationState::Pending => "pending",
        OperationState::Running => "running",
        OperationState::Done => "done",
        OperationState::Failed => "failed",
        OperationState::Cancelled => "cancelled",
    }
}

fn read(row: &AnyRow) -> Result<Operation, DbError> {
    let doc: String = row.try_get(0)?;
    serde_json::from_str(&doc).map_err(|error| DbError::Failed(format!("document of an operation: {error}")))
}

fn text(operation: &Operation) -> Result<String, DbError> {
    serde_json::to_string(operation).map_err(|error| DbError::Failed(error.to_string()))
}

/// Stores a new operation. `organisation` is its creator's.
pub(crate) async fn insert(
    connection: &mut Connection,
    operation: &Operation,
    organisation: Option<&str>,
) -> Result<(), DbError> {
    sqlx::query::<Any>(
        "INSERT INTO operations (id, network, organisation, kind, state, created_by, version, doc, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, 1, $7, $8, $8)",
    )
    .bind(operation.id.clone())
    .bind(operation.network.clone())
    .bind(organisation.map(str::to_owned))
    .bind(operation.kind.clone())
    .bind(state_name(operation.state))
    .bind(operation.created_by.clone())
    .bind(text(operation)?)
    .bind(time::now())
    .execute(connection)
    .await?;
    Ok(())
}

/// Stores a changed operation.
pub(crate) async fn update(connection: &mut Connection, operation: &Operation) -> Result<(), DbError> {
    let done = sqlx::query::<Any>(
        "UPDATE operations SET state = $1, doc = $2, updated_at = $3, version = version + 1 WHERE id = $4",
    )
    .bind(state_name(operation.state))
    .bind(text(operation)?)
    .bind(time::now())
    .bind(operation.id.clone())
    .execute(connection)
    .await?;
    if done.rows_affected() == 0 {
        return Err(DbError::NotFound { kind: "operation", id: operation.id.clone() });
    }
    Ok(())
}

/// An operation.
pub(crate) async fn get(db: &Db, id: &str) -> Result<Operation, DbError> {
    let row = sqlx::query::<Any>("SELECT doc FROM operations WHERE id = $1")
        .bind(id.to_owned())
        .fetch_optional(db.read())
        .await?;
    row.as_ref().map(read).transpose()?.ok_or_else(|| DbError::NotFound { kind: "operation", id: id.to_owned() })
}

/// The organisation of who asked for an operation.
pub(crate) async fn organisation(db: &Db, id: &str) -> Result<Option<String>, DbError> {
    let row = sqlx::query::<Any>("SELECT organisation FROM operations WHERE id = $1")
        .bind(id.to_owned())
        .fetch_optional(db.read())
        .await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?.flatten())
}

/// Whether nothing more happens to an operation by itself; one that is not there has ended.
pub(crate) async fn ended_in(connection: &mut Connection, id: &str) -> Result<bool, DbError> {
    let row = sqlx::query::<Any>("SELECT state FROM operations WHERE id = $1")
        .bind(id.to_owned())
        .fetch_optional(connection)
        .await?;
    let state: Option<String> = row.map(|row| row.try_get(0)).transpose()?;
    Ok(!matches!(state.as_deref(), Some("pending" | "running")))
}

/// Those that have not ended: first what was running, then what waits, oldest first.
pub(crate) async fn unfinished(db: &Db) -> Result<Vec<Operation>, DbError> {
    let mut found = Vec::new();
    for state in ["running", "pending"] {
        let rows = sqlx::query::<Any>("SELECT doc FROM operations WHERE state = $1 ORDER BY created_at, id LIMIT 1000")
            .bind(state)
            .fetch_all(db.read())
            .await?;
        for row in &rows {
            found.push(read(row)?);
        }
    }
    Ok(found)
}

/// A list, newest first.
pub(crate) async fn list(db: &Db, filter: &OperationFilter, limit: usize) -> Result<Vec<Operation>, DbError> {
    let mut sql = "SELECT doc FROM operations WHERE 1 = 1".to_owned();
    let mut words: Vec<String> = Vec::new();
    let mut place = |sql: &mut String, before: &str, word: &str, after: &str| {
        words.push(word.to_owned());
        sql.push_str(&format!("{before}${}{after}", words.len()));
    };
    if let Some(network) = &filter.network {
        place(&mut sql, " AND network = ", network, "");
    }
    if let Some(state) = filter.state {
        place(&mut sql, " AND state = ", state_name(state), "");
    }
    if let Some(organisation) = &filter.scope.organisation {
        place(&mut sql, " AND (organisation = ", organisation, "");
        place(&mut sql, " OR network IN (SELECT network FROM memberships WHERE organisation = ", organisation, "))");
    }
    if let Some(networks) = &filter.scope.networks {
        sql.push_str(" AND network IN (''");
        for network in networks {
            place(&mut sql, ", ", network, "");
        }
        sql.push(')');
    }
    if let Some((at, id)) = &filter.before {
        // A number of ours, no text from outside.
        sql.push_str(&format!(" AND (created_at < {at} OR (created_at = {at}"));
        place(&mut sql, " AND id < ", id, "))");
    }
    sql.push_str(&format!(" ORDER BY created_at DESC, id DESC LIMIT {limit}"));
    let mut query = sqlx::query::<Any>(AssertSqlSafe(sql));
    for word in words {
        query = query.bind(word);
    }
    let rows = query.fetch_all(db.read()).await?;
    rows.iter().map(read).collect()
}

/// Where a page that ends with this operation continues.
pub(crate) fn place_of(operation: &Operation) -> (i64, String) {
    (time::parse(&operation.created_at).unwrap_or_default(), operation.id.clone())
}

/// A line as it is stored.
pub(crate) fn cut(line: &str) -> String {
    line[..line.floor_char_boundary(LONGEST_LINE)].replace('\0', "\u{fffd}")
}

/// Adds lines, [`cut`], to an operation's log; gives the number after the last.
pub(crate) async fn log(
    connection: &mut Connection,
    operation: &str,
    from: i64,
    lines: &[(String, String)],
) -> Result<i64, DbError> {
    let mut seq = from;
    for (step, line) in lines {
        if seq >= LONGEST_LOG {
            break;
        }
        sqlx::query::<Any>("INSERT INTO operation_log (operation, seq, at, step, line) VALUES ($1, $2, $3, $4, $5)")
            .bind(operation.to_owned())
            .bind(seq)
            .bind(time::now())
            .bind(step.clone())
            .bind(line.clone())
            .execute(&mut *connection)
            .await?;
        seq += 1;
    }
    Ok(seq)
}

/// The number after the last line of a log.
pub(crate) async fn log_end(db: &Db, operation: &str) -> Result<i64, DbError> {
    let row = sqlx::query::<Any>("SELECT MAX(seq) FROM operation_log WHERE operation = $1")
        .bind(operation.to_owned())
        .fetch_one(db.read())
        .await?;
    Ok(row.try_get::<Option<i64>, _>(0)?.map_or(0, |last| last + 1))
}

/// Lines of a log from a number on.
pub(crate) async fn log_lines(db: &Db, operation: &str, from: i64, limit: i64) -> Result<Vec<LogLine>, DbError> {
    let rows = sqlx::query::<Any>(
        "SELECT seq, at, step, line FROM operation_log WHERE operation = $1 AND seq >= $2 ORDER BY seq LIMIT $3",
    )
    .bind(operation.to_owned())
    .bind(from)
    .bind(limit)
    .fetch_all(db.read())
    .await?;
    rows.iter()
        .map(|row| {
            Ok(LogLine {
                seq: row.try_get(0)?,
                at: time::rfc3339(row.try_get(1)?),
                step: row.try_get(2)?,
                line: row.try_get(3)?,
            })
        })
        .collect()
}
