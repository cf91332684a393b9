//! What went wrong, as `application/problem+json` (RFC 9457) in the reader's language.
//!
//! A [`Kind`] is a stable `code` with its status and its texts in both languages; a [`Problem`] is one occurrence of it. Modules
//! define the kinds of their own beside their handlers; those that many share are in [`kinds`].

pub mod kinds;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use konsort_drivers::DriverError;
use konsort_engines::EngineError;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::language::Language;

/// A kind of problem: the same cause always has the same code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// Stable, snake case.
    pub code: &'static str,
    /// HTTP status.
    pub status: u16,
    /// What happened: English, Chinese.
    pub title: [&'static str; 2],
    /// What to do: English, Chinese.
    pub hint: [&'static str; 2],
}

/// One occurrence of a problem.
#[derive(Debug, Clone)]
pub struct Problem {
    kind: &'static Kind,
    detail: Option<String>,
    detail_zh: Option<String>,
    params: Map<String, Value>,
    retry_after: Option<u64>,
}

/// The body of an answer that reports a problem.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProblemBody {
    /// Name of the kind as a URI reference: `/problems/` and the code.
    pub r#type: String,
    /// What happened, in the language of `Accept-Language`.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// Stable code.
    pub code: String,
    /// What exactly happened here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What to do about it.
    pub hint: String,
    /// Values that belong to it (`field`, `id`, …).
    #[schema(value_type = Object)]
    pub params: Map<String, Value>,
    /// Id of the request in the server's log.
    pub trace_id: String,
}

impl Problem {
    /// A problem of a kind.
    pub fn new(kind: &'static Kind) -> Self {
        Self { kind, detail: None, detail_zh: None, params: Map::new(), retry_after: None }
    }

    /// Says what exactly happened, in words for both languages alike (names, other programs' words).
    #[must_use]
    pub fn detail(mut self, text: impl Into<String>) -> Self {
        self.detail = Some(text.into());
        self
    }

    /// Says what exactly happened, English and Chinese.
    #[must_use]
    pub fn details(mut self, english: impl Into<String>, chinese: impl Into<String>) -> Self {
        self.detail = Some(english.into());
        self.detail_zh = Some(chinese.into());
        self
    }

    /// Adds a value.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.params.insert(name.to_owned(), value.into());
        self
    }

    /// Says after how many seconds trying again makes sense.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Something that was asked for is not there (or is not the caller's to see, which is the same to the caller).
    pub fn not_found(what: &str, id: &str) -> Self {
        Self::new(&kinds::NOT_FOUND).with("what", what).with("id", id)
    }

    /// A field of a request is wrong; `why` says what would be right.
    pub fn invalid(field: &str, why: impl Into<String>) -> Self {
        let why = why.into();
        Self::new(&kinds::INVALID_FIELD).detail(format!("{field}: {why}")).with("field", field)
    }

    /// A field of a request is wrong, in both languages.
    pub fn invalid_in(field: &str, english: &str, chinese: &str) -> Self {
        Self::new(&kinds::INVALID_FIELD)
            .details(format!("{field}: {english}"), format!("{field}：{chinese}"))
            .with("field", field)
    }

    /// Something of ours failed; the words go to the log, not to the caller.
    pub fn internal(error: &dyn std::fmt::Display) -> Self {
        tracing::error!(%error, "internal problem");
        Self::new(&kinds::INTERNAL)
    }

    /// Its kind.
    pub fn kind(&self) -> &'static Kind {
        self.kind
    }

    /// Its status.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.kind.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Its body in a language.
    pub fn body(&self, language: Language, trace_id: &str) -> ProblemBody {
        let index = usize::from(language == Language::Chinese);
        let detail = match language {
            Language::Chinese => self.detail_zh.clone().or_else(|| self.detail.clone()),
            Language::English => self.detail.clone(),
        };
        ProblemBody {
            r#type: format!("/problems/{}", self.kind.code),
            title: self.kind.title[index].to_owned(),
            status: self.kind.status,
            code: self.kind.code.to_owned(),
            detail,
            hint: self.kind.hint[index].to_owned(),
            params: self.params.clone(),
            trace_id: trace_id.to_owned(),
        }
    }

    /// The answer in a language.
    pub fn response(&self, language: Language, trace_id: &str) -> Response {
        let body = serde_json::to_vec(&self.body(language, trace_id)).unwrap_or_default();
        let mut response = (self.status(), body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CONTENT_LANGUAGE, HeaderValue::from_static(language.tag()));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.detail {
            Some(detail) => write!(f, "{}: {detail}", self.kind.title[0]),
            None => f.write_str(self.kind.title[0]),
        }
    }
}

impl std::error::Error for Problem {}

impl IntoResponse for Problem {
    /// English and without a trace id; the outermost middleware writes it again for the reader, see [`crate::http`].
    fn into_response(self) -> Response {
        let mut response = self.response(Language::English, "");
        response.extensions_mut().insert(self);
        response
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Invalid { field, why } => Self::invalid(&field, why),
            EngineError::NotFound { what } => Self::new(&kinds::NOT_FOUND).detail(what.clone()).with("what", what),
            EngineError::Refused { code, why } => {
                Self::new(&kinds::REFUSED_BY_NETWORK).detail(why).with("network_code", code)
            }
            EngineError::Unreachable { node, why } => {
                Self::new(&kinds::NODE_UNREACHABLE).detail(format!("{node}: {why}")).with("node", node)
            }
            EngineError::Unsupported(what) => Self::new(&kinds::UNSUPPORTED).detail(what),
            EngineError::Driver(error) => error.into(),
            EngineError::Io { what, source } => {
                let full = source.raw_os_error() == Some(28);
                let kind = if full { &kinds::DISK_FULL } else { &kinds::FILE_FAILED };
                Self::new(kind).detail(format!("cannot {what}: {source}"))
            }
        }
    }
}

impl From<DriverError> for Problem {
    fn from(error: DriverError) -> Self {
        let text = error.to_string();
        match error {
            DriverError::PortTaken { node, port, .. } => {
                Self::new(&kinds::PORT_TAKEN).detail(text).with("node", node).with("port", port)
            }
            DriverError::Unavailable { driver, .. } => {
                Self::new(&kinds::DRIVER_UNAVAILABLE).detail(text).with("driver", driver)
            }
            DriverError::Failed { .. } => Self::new(&kinds::DRIVER_FAILED).detail(text),
        }
    }
}

impl From<crate::db::DbError> for Problem {
    fn from(error: crate::db::DbError) -> Self {
        use crate::db::DbError;
        match error {
            DbError::Unavailable(why) => {
                tracing::warn!(%why, "the database does not answer");
                Self::new(&kinds::DATABASE_UNAVAILABLE).retry_after(5)
            }
            DbError::InUse => {
                tracing::error!("another server works with this server's database");
                Self::new(&kinds::DATABASE_UNAVAILABLE).retry_after(5)
            }
            DbError::Exists { kind, name } => Self::new(&kinds::ALREADY_EXISTS).with("what", kind).with("name", name),
            DbError::NotFound { kind, id } => Self::not_found(kind, &id),
            DbError::Stale { found } => Self::new(&kinds::PRECONDITION_FAILED).with("version", found),
            DbError::Full(why) => Self::new(&kinds::DISK_FULL).detail(why),
            DbError::Failed(why) => Self::internal(&why),
        }
    }
}
