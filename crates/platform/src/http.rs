//! How requests are read and answers written: extractors that refuse with a [`Problem`], entity tags, pages, and the middleware
//! around every handler.
//!
//! A handler looks like this, and is declared by a row of [`crate::access::table`] and `.routes(routes!(handler))`:
//!
//! ```ignore
//! #[utoipa::path(get, path = "/v1/networks/{id}", tag = "networks", operation_id = "get_network",
//!     params(("id" = String, Path, description = "Network")),
//!     responses((status = 200, body = NetworkView)))]
//! async fn get(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> Result<Tagged<NetworkView>, Problem> { … }
//! ```
//!
//! Problem answers, headers of idempotency and entity tags, and security schemes are added to the document by
//! [`crate::openapi`]; handlers document only their successes.

pub mod middleware;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::db;
use crate::problem::{Problem, kinds};

/// A JSON body, read or written.
#[derive(Debug, Clone, Copy)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let media =
            request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if media != "application/json" && !(media.starts_with("application/") && media.ends_with("+json")) {
            return Err(Problem::new(&kinds::UNSUPPORTED_MEDIA).with("content_type", media));
        }
        let bytes = body(request, state).await?;
        parse(&bytes).map(Self)
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

/// Reads JSON; what is wrong with it is said with the path of the field.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    // Structures could be read from lists of their fields' values too, which nobody means.
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
        let read: Result<serde::de::IgnoredAny, _> = serde_json::from_slice(bytes);
        return Err(match read {
            Ok(_) => Problem::invalid_in("body", "an object is needed, not a list", "须为对象，而不是列表"),
            Err(error) => Problem::new(&kinds::MALFORMED_JSON).detail(error.to_string()),
        });
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        if inner.is_data() {
            let field = if path == "." { String::from("body") } else { path };
            Problem::invalid(&field, inner.to_string())
        } else {
            Problem::new(&kinds::MALFORMED_JSON).detail(inner.to_string())
        }
    })?;
    reader.end().map_err(|error| Problem::new(&kinds::MALFORMED_JSON).detail(error.to_string()))?;
    Ok(value)
}

/// The whole body, at most as long as the row of the route allows.
pub async fn body<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    Bytes::from_request(request, state).await.map_err(|rejection| {
        let status = rejection.status();
        if status == StatusCode::PAYLOAD_TOO_LARGE {
            Problem::new(&kinds::TOO_LARGE)
        } else {
            Problem::new(&kinds::MALFORMED_JSON).detail("the body could not be read to its end")
        }
    })
}

/// The parameters of the path.
#[derive(Debug, Clone, Copy)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        axum::extract::Path::<T>::from_request_parts(parts, state)
            .await
            .map(|axum::extract::Path(value)| Self(value))
            .map_err(|rejection| Problem::new(&kinds::INVALID_PARAMETER).detail(rejection.body_text()))
    }
}

/// The query parameters; unknown ones are refused by types with `deny_unknown_fields`.
#[derive(Debug, Clone, Copy)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        axum::extract::Query::<T>::from_request_parts(parts, state)
            .await
            .map(|axum::extract::Query(value)| Self(value))
            .map_err(|rejection| Problem::new(&kinds::INVALID_PARAMETER).detail(rejection.body_text()))
    }
}

/// The query parameters of every list. Take it beside a [`Query`] of the list's own filters.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// Most items of the page, 1 to 200; default 50.
    #[param(minimum = 1, maximum = 200)]
    pub page_size: Option<u32>,
    /// `next_page_token` of the page before.
    pub page_token: Option<String>,
    /// `created_at`, `-created_at` (default: newest first) or `name`.
    #[param(schema_with = order_schema)]
    pub order_by: Option<String>,
}

fn order_schema() -> utoipa::openapi::schema::Object {
    utoipa::openapi::schema::ObjectBuilder::new()
        .schema_type(utoipa::openapi::schema::Type::String)
        .enum_values(Some(["created_at", "-created_at", "name"]))
        .build()
}

impl PageQuery {
    /// What the repository takes.
    pub fn page(&self) -> Result<db::Page, Problem> {
        let size = self.page_size.unwrap_or(50);
        if !(1..=200).contains(&size) {
            return Err(Problem::new(&kinds::INVALID_PARAMETER).details(
                format!("page_size {size}: 1 to 200 are allowed"),
                format!("page_size {size}：取值范围为 1 到 200"),
            ));
        }
        let order = match self.order_by.as_deref() {
            None | Some("-created_at") => db::Order::CreatedDescending,
            Some("created_at") => db::Order::Created,
            Some("name") => db::Order::Name,
            Some(other) => {
                return Err(Problem::new(&kinds::INVALID_PARAMETER).details(
                    format!("order_by {other}: created_at, -created_at or name is allowed"),
                    format!("order_by {other}：可用 created_at、-created_at 或 name"),
                ));
            }
        };
        Ok(db::Page { size, token: self.page_token.clone(), order })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for PageQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Query::<Self>::from_request_parts(parts, state).await.map(|Query(value)| value)
    }
}

/// `?dry_run=true`.
#[derive(Debug, Clone, Copy, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DryRun {
    /// Only say what would be done.
    #[serde(default)]
    pub dry_run: bool,
}

/// A list's answer.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ListOf<T> {
    /// The items.
    pub items: Vec<T>,
    /// Give it as `page_token` to get the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
}

impl<T> From<db::PageOf<T>> for ListOf<T> {
    fn from(page: db::PageOf<T>) -> Self {
        Self { items: page.items, next_page_token: page.next_page_token }
    }
}

/// The version that `If-Match` names; `None` without the header or with `*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IfMatch(pub Option<i64>);

impl IfMatch {
    /// Reads the header.
    pub fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let Some(value) = headers.get(header::IF_MATCH) else { return Ok(Self(None)) };
        let text = value.to_str().unwrap_or_default().trim();
        if text == "*" {
            return Ok(Self(None));
        }
        text.strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'))
            .and_then(|number| number.parse::<i64>().ok())
            .filter(|&version| version >= 0)
            // A tag that is not ours cannot be the present one.
            .map_or_else(|| Err(Problem::new(&kinds::PRECONDITION_FAILED)), |version| Ok(Self(Some(version))))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        Self::of(&parts.headers)
    }
}

/// A JSON answer with the `ETag` of its version.
#[derive(Debug, Clone)]
pub struct Tagged<T> {
    /// Status: 200, or 201 for what was made.
    pub status: StatusCode,
    /// Version, the tag.
    pub version: i64,
    /// `Location`, of what was made.
    pub location: Option<String>,
    /// The body.
    pub body: T,
}

impl<T> Tagged<T> {
    /// 200 with a tag.
    pub fn ok(version: i64, body: T) -> Self {
        Self { status: StatusCode::OK, version, location: None, body }
    }

    /// 201 with a tag and a location.
    pub fn created(version: i64, location: String, body: T) -> Self {
        Self { status: StatusCode::CREATED, version, location: Some(location), body }
    }
}

impl<T: Serialize> IntoResponse for Tagged<T> {
    fn into_response(self) -> Response {
        let mut response = (self.status, axum::Json(self.body)).into_response();
        if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", self.version)) {
            response.headers_mut().insert(header::ETAG, tag);
        }
        if let Some(location) = self.location.and_then(|location| HeaderValue::from_str(&location).ok()) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        response
    }
}

/// 202 with the place of the operation that was begun.
#[derive(Debug, Clone)]
pub struct Accepted<T> {
    /// `/v1/operations/op_…`.
    pub location: String,
    /// The operation.
    pub body: T,
}

impl<T: Serialize> IntoResponse for Accepted<T> {
    fn into_response(self) -> Response {
        let mut response = (StatusCode::ACCEPTED, axum::Json(self.body)).into_response();
        if let Ok(location) = HeaderValue::from_str(&self.location) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        response
    }
}

/// What a handler adds to the audit record of its request; put it into the answer's extensions by [`audited`].
#[derive(Debug, Clone, Default)]
pub struct AuditNote {
    /// The network it was about, when the path does not tell.
    pub network: Option<String>,
    /// The thing it made or changed, when the path does not tell.
    pub target: Option<String>,
    /// The thing before.
    pub before: Option<serde_json::Value>,
    /// The thing after, or what was asked for. Never a secret.
    pub after: Option<serde_json::Value>,
}

/// In an answer's extensions: the request changed nothing, though it was sent as a write, and is not recorded.
#[derive(Debug, Clone, Copy)]
pub struct ReadOnly;

/// An answer with a note for the audit log.
pub fn audited(note: AuditNote, answer: impl IntoResponse) -> Response {
    let mut response = answer.into_response();
    response.extensions_mut().insert(note);
    response
}
