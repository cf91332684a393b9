//! Idempotency keys: a write that is sent again with the same key is carried out once, and answered as it was.
//!
//! Kept are answers of success, for 24 hours; a write that was refused changed nothing and may be tried again with its key.

use std::collections::BTreeMap;

use axum::body::{Body, HttpBody as _, to_bytes};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use konsort_crypto::hash::{sha256, sha256_parts};
use sqlx::Row as _;

use super::run;
use crate::access::{Caller, Row};
use crate::app::App;
use crate::db::{Db, DbError};
use crate::http::body;
use crate::problem::{Problem, kinds};
use crate::time;

/// How long answers are kept.
const KEPT: i64 = 24 * 3_600_000;
/// Largest answer that is kept; nearly all answers of writes are far smaller.
const LARGEST: usize = 1024 * 1024;

/// Forgets keys whose request was cut off by the end of the server, and those that are too old.
pub(crate) async fn forget_unfinished(db: &Db) -> Result<(), DbError> {
    sqlx::query("DELETE FROM idempotency WHERE status = 0 OR created_at < $1")
        .bind(time::now() - KEPT)
        .execute(db.write())
        .await?;
    Ok(())
}

pub(super) async fn around(app: &App, row: &Row, caller: &Caller, request: Request, next: Next) -> Response {
    match kept(app, row, caller, request, next).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn kept(app: &App, row: &Row, caller: &Caller, request: Request, next: Next) -> Result<Response, Problem> {
    let Some(value) = request.headers().get("idempotency-key") else { return Ok(run(next, request).await) };
    let key = value
        .to_str()
        .ok()
        .filter(|key| (1..=255).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic()))
        .ok_or_else(|| {
            Problem::new(&kinds::INVALID_PARAMETER).details(
                "Idempotency-Key: 1 to 255 visible ASCII characters are allowed",
                "Idempotency-Key：须为 1 到 255 个可见 ASCII 字符",
            )
        })?
        .to_owned();
    let (parts, content) = request.into_parts();
    let mut whole = Request::new(content);
    // Among them is what says how large a body may be.
    whole.extensions_mut().clone_from(&parts.extensions);
    let content = body(whole, &()).await?;
    let target = parts.uri.path_and_query().map_or("", http::uri::PathAndQuery::as_str);
    let digest = hex::encode(sha256_parts(&[
        parts.method.as_str().as_bytes(),
        b"\n",
        target.as_bytes(),
        b"\n",
        &sha256(&content),
    ]));
    let request = Request::from_parts(parts, Body::from(content));
    if let Some(answer) = begin(app, &caller.id, &key, &digest).await? {
        return Ok(answer);
    }
    let response = run(next, request).await;
    if !response.status().is_success() {
        forget(app, &caller.id, &key).await;
        return Ok(response);
    }
    keep(app, row, &caller.id, &key, response).await
}

/// Takes the key; or the answer that was given for it, or why it cannot be used.
async fn begin(app: &App, caller: &str, key: &str, digest: &str) -> Result<Option<Response>, Problem> {
    let now = time::now();
    sqlx::query("DELETE FROM idempotency WHERE created_at < $1")
        .bind(now - KEPT)
        .execute(app.db.write())
        .await
        .map_err(DbError::from)?;
    let taken = sqlx::query(
        "INSERT INTO idempotency (caller, token, digest, status, headers, body, created_at)
         VALUES ($1, $2, $3, 0, '{}', $4, $5) ON CONFLICT DO NOTHING",
    )
    .bind(caller)
    .bind(key)
    .bind(digest)
    .bind(Vec::<u8>::new())
    .bind(now)
    .execute(app.db.write())
    .await
    .map_err(DbError::from)?;
    if taken.rows_affected() == 1 {
        return Ok(None);
    }
    let row = sqlx::query("SELECT digest, status, headers, body FROM idempotency WHERE caller = $1 AND token = $2")
        .bind(caller)
        .bind(key)
        .fetch_optional(app.db.read())
        .await
        .map_err(DbError::from)?
        .ok_or_else(|| Problem::new(&kinds::IDEMPOTENCY_RUNNING).retry_after(1))?;
    let read = || -> Result<(String, i64, String, Vec<u8>), DbError> {
        Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?))
    };
    let (found, status, headers, content) = read()?;
    if found != digest {
        return Err(Problem::new(&kinds::IDEMPOTENCY_OTHER));
    }
    match status {
        0 => Err(Problem::new(&kinds::IDEMPOTENCY_RUNNING).retry_after(1)),
        // Kept without its answer, because that held a secret or was too large.
        1 => Err(Problem::new(&kinds::IDEMPOTENCY_SECRET)),
        status => {
            let status = u16::try_from(status).ok().and_then(|code| StatusCode::from_u16(code).ok());
            let mut response = Response::new(Body::from(content));
            *response.status_mut() = status.unwrap_or(StatusCode::OK);
            let headers: BTreeMap<String, String> = serde_json::from_str(&headers).unwrap_or_default();
            for (name, value) in headers {
                if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(&value)) {
                    response.headers_mut().insert(name, value);
                }
            }
            response.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
            Ok(Some(response))
        }
    }
}

async fn forget(app: &App, caller: &str, key: &str) {
    let outcome = sqlx::query("DELETE FROM idempotency WHERE caller = $1 AND token = $2")
        .bind(caller)
        .bind(key)
        .execute(app.db.write())
        .await;
    if let Err(error) = outcome {
        tracing::warn!(%error, "an idempotency key stays taken until the server starts again");
    }
}

async fn keep(app: &App, row: &Row, caller: &str, key: &str, response: Response) -> Result<Response, Problem> {
    let (parts, content) = response.into_parts();
    let known = content.size_hint().exact().is_some_and(|length| length <= LARGEST as u64);
    let (status, headers, bytes, content) = if row.secret || !known {
        (1, "{}".to_owned(), Vec::new(), content)
    } else {
        let bytes = to_bytes(content, LARGEST).await.map_err(|error| Problem::internal(&error))?;
        let kept: BTreeMap<&str, &str> = [header::CONTENT_TYPE, header::ETAG, header::LOCATION]
            .iter()
            .filter_map(|name| Some((name.as_str(), parts.headers.get(name)?.to_str().ok()?)))
            .collect();
        let headers = serde_json::to_string(&kept).unwrap_or_default();
        (i64::from(parts.status.as_u16()), headers, bytes.to_vec(), Body::from(bytes))
    };
    let outcome =
        sqlx::query("UPDATE idempotency SET status = $1, headers = $2, body = $3 WHERE caller = $4 AND token = $5")
            .bind(status)
            .bind(headers)
            .bind(bytes)
            .bind(caller)
            .bind(key)
            .execute(app.db.write())
            .await;
    if let Err(error) = outcome {
        // The write itself is done; a repetition will be told that it still runs, which is safe.
        tracing::warn!(%error, "the answer for an idempotency key was not kept");
    }
    Ok(Response::from_parts(parts, content))
}
