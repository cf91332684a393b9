//! Reading, exporting and checking the audit log.

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, header};
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;
use utoipa_axum::routes;

use super::{AuditFilter, AuditRecord, Verification};
use crate::access::Caller;
use crate::app::{App, Routes};
use crate::db::{DbError, decode_token, encode_token};
use crate::http::{Json, ListOf, Query};
use crate::problem::{Problem, kinds};
use crate::time;

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(list)).routes(routes!(export)).routes(routes!(verify))
}

/// Which records.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// Id of a user or key.
    actor: Option<String>,
    /// Beginning of the action, as `POST /v1/networks`.
    action: Option<String>,
    /// Network.
    network: Option<String>,
    /// From this time on (RFC 3339).
    from: Option<String>,
    /// Before this time (RFC 3339).
    to: Option<String>,
}

impl Wanted {
    fn filter(&self, caller: &Caller) -> Result<AuditFilter, Problem> {
        let time = |name: &str, value: Option<&String>| {
            value
                .map(|text| {
                    time::parse(text).ok_or_else(|| {
                        Problem::new(&kinds::INVALID_PARAMETER).details(
                            format!("{name}: {text} is not a time like 2026-11-22T08:30:00Z"),
                            format!("{name}：{text} 不是形如 2026-11-22T08:30:00Z 的时间"),
                        )
                    })
                })
                .transpose()
        };
        Ok(AuditFilter {
            actor: self.actor.clone(),
            action: self.action.clone(),
            network: self.network.clone(),
            from: time("from", self.from.as_ref())?,
            to: time("to", self.to.as_ref())?,
            scope: caller.scope(),
        })
    }
}

#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct AuditPage {
    /// Most items of the page, 1 to 200; default 50.
    #[param(minimum = 1, maximum = 200)]
    page_size: Option<u32>,
    /// `next_page_token` of the page before.
    page_token: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Cursor {
    s: i64,
}

/// The audit log, newest first.
#[utoipa::path(get, path = "/v1/audit", tag = "audit", operation_id = "list_audit",
    params(Wanted, AuditPage), responses((status = 200, body = ListOf<AuditRecord>)))]
async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(wanted): Query<Wanted>,
    Query(page): Query<AuditPage>,
) -> Result<Json<ListOf<AuditRecord>>, Problem> {
    let size = crate::http::PageQuery { page_size: page.page_size, ..Default::default() }.page()?.limit();
    let before = page.page_token.as_deref().map(decode_token::<Cursor>).transpose()?.map(|cursor| cursor.s);
    let mut items = app.audit.list(&wanted.filter(&caller)?, before, size + 1).await?;
    let more = items.len() > size;
    items.truncate(size);
    let next_page_token = items.last().filter(|_| more).map(|last| encode_token(&Cursor { s: last.seq }));
    Ok(Json(ListOf { items, next_page_token }))
}

/// Forms of an export.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum Form {
    /// One JSON object per line.
    #[default]
    Ndjson,
    /// Comma-separated values with a header line.
    Csv,
}

#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ExportForm {
    /// Form of the file.
    #[serde(default)]
    #[param(inline)]
    format: Form,
}

/// The audit log as a file, newest first.
#[utoipa::path(get, path = "/v1/audit/export", tag = "audit", operation_id = "export_audit",
    params(Wanted, ExportForm),
    responses((status = 200, description = "The records", content(
        (String = "application/x-ndjson"), (String = "text/csv")))))]
async fn export(
    State(app): State<App>,
    caller: Caller,
    Query(wanted): Query<Wanted>,
    Query(ExportForm { format }): Query<ExportForm>,
) -> Result<Response, Problem> {
    let filter = wanted.filter(&caller)?;
    let first = match format {
        Form::Ndjson => String::new(),
        Form::Csv => "seq,at,actor,actor_name,role,organisation,address,action,target,network,status,code,before,after,trace_id,prev,hash\r\n".to_owned(),
    };
    let stream = futures::stream::unfold(Some((app, filter, None::<i64>, first)), move |state| async move {
        let (app, filter, before, mut text) = state?;
        let records = match app.audit.list(&filter, before, 500).await {
            Ok(records) => records,
            // The answer has begun: breaking it off is the only way left to say that it is not whole.
            Err(error) => return Some((Err::<Bytes, DbError>(error), None)),
        };
        for record in &records {
            match format {
                Form::Ndjson => {
                    text.push_str(&serde_json::to_string(record).unwrap_or_default());
                    text.push('\n');
                }
                Form::Csv => text.push_str(&csv(record)),
            }
        }
        let next = records.last().filter(|_| records.len() == 500).map(|last| last.seq);
        let rest = next.map(|before| (app, filter, Some(before), String::new()));
        Some((Ok(Bytes::from(text)), rest))
    });
    let (media, name) = match format {
        Form::Ndjson => ("application/x-ndjson", "attachment; filename=\"audit.ndjson\""),
        Form::Csv => ("text/csv", "attachment; filename=\"audit.csv\""),
    };
    let mut response = Body::from_stream(stream).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    response.headers_mut().insert(header::CONTENT_DISPOSITION, HeaderValue::from_static(name));
    Ok(response)
}

/// A line of CSV. Cells that a spreadsheet would take for a formula begin with an apostrophe.
fn csv(record: &AuditRecord) -> String {
    let entry = &record.entry;
    let json = |value: &Option<serde_json::Value>| value.as_ref().map(ToString::to_string).unwrap_or_default();
    let cells = [
        record.seq.to_string(),
        record.at.clone(),
        entry.actor.id.clone(),
        entry.actor.name.clone(),
        entry.actor.role.map(|role| role.name().to_owned()).unwrap_or_default(),
        entry.actor.organisation.clone().unwrap_or_default(),
        entry.actor.address.clone().unwrap_or_default(),
        entry.action.clone(),
        entry.target.clone(),
        entry.network.clone().unwrap_or_default(),
        entry.status.to_string(),
        entry.code.clone().unwrap_or_default(),
        json(&entry.before),
        json(&entry.after),
        entry.trace_id.clone(),
        record.prev.clone(),
        record.hash.clone(),
    ];
    let mut line = String::new();
    for (index, cell) in cells.iter().enumerate() {
        if index > 0 {
            line.push(',');
        }
        let guard = if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
        if guard.is_empty() && !cell.contains(['"', ',', '\n', '\r']) {
            line.push_str(cell);
        } else {
            line.push('"');
            line.push_str(guard);
            line.push_str(&cell.replace('"', "\"\""));
            line.push('"');
        }
    }
    line.push_str("\r\n");
    line
}

/// Checks the hash chain of the whole audit log.
#[utoipa::path(get, path = "/v1/audit/verify", tag = "audit", operation_id = "verify_audit",
    responses((status = 200, body = Verification)))]
async fn verify(State(app): State<App>) -> Result<Json<Verification>, Problem> {
    Ok(Json(app.audit.verify().await?))
}
