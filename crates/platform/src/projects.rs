//! `/v1/projects`: contracts' sources on the server, with versions, compilers and builds.

pub mod artifacts;
pub mod build;
pub mod files;
pub mod tools;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use konsort_engines::spec::EngineKind;
use konsort_workbench::project::{Language, Project, ProjectError};
use konsort_workbench::samples;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

use crate::access::Caller;
use crate::app::{App, Routes};
use crate::control::Control;
use crate::db::{Filter, Kind, New, Record};
use crate::http::{AuditNote, IfMatch, Json, ListOf, PageQuery, Path, Tagged, audited};
use crate::ids;
use crate::problem::{Problem, kinds};
use crate::time;

/// A project's record; its files are in its folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectDoc {
    /// What it is written in.
    pub language: Language,
    /// What it is for, in people's words.
    #[serde(default)]
    pub description: String,
    /// The sample it was made from.
    #[serde(default)]
    pub sample: Option<String>,
    /// Id of who made it.
    pub created_by: String,
}

/// A project.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ProjectView {
    /// Its id, `prj_…`.
    pub id: String,
    /// Display name.
    pub name: String,
    /// What it is written in.
    pub language: Language,
    /// The engine that runs it.
    pub engine: EngineKind,
    /// What it is for.
    pub description: String,
    /// The sample it was made from.
    pub sample: Option<String>,
    /// Id of who made it.
    pub created_by: String,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub updated_at: String,
    /// Counts changes of this record; its entity tag.
    pub etag: i64,
}

fn view(record: &Record<ProjectDoc>) -> ProjectView {
    ProjectView {
        id: record.id.clone(),
        name: record.name.clone(),
        language: record.doc.language,
        engine: engine_of(record.doc.language),
        description: record.doc.description.clone(),
        sample: record.doc.sample.clone(),
        created_by: record.doc.created_by.clone(),
        created_at: time::rfc3339(record.created_at),
        updated_at: time::rfc3339(record.updated_at),
        etag: record.version,
    }
}

/// The engine that runs a language.
pub(crate) fn engine_of(language: Language) -> EngineKind {
    if language == Language::Solidity { EngineKind::Bcos } else { EngineKind::Fabric }
}

impl From<ProjectError> for Problem {
    fn from(error: ProjectError) -> Self {
        let text = error.to_string();
        match error {
            ProjectError::Path { path, .. } => Self::invalid("path", text).with("path", path),
            ProjectError::NotFound(what) => Self::not_found("file or version", &what),
            ProjectError::Changed { path, now } => {
                Self::new(&kinds::PRECONDITION_FAILED).detail(text).with("path", path).with("hash", now)
            }
            ProjectError::TooLarge { limit, .. } => Self::new(&kinds::TOO_LARGE).detail(text).with("limit", limit),
            ProjectError::Archive(_) => Self::invalid("body", text),
            ProjectError::Damaged { .. } => Self::internal(&text),
            ProjectError::Io { what, source } => konsort_engines::EngineError::Io { what, source }.into(),
        }
    }
}

/// Works on a project's files, off the threads that answer requests.
pub(crate) async fn with_project<T: Send + 'static>(
    control: &Control,
    id: &str,
    work: impl FnOnce(Project) -> Result<T, ProjectError> + Send + 'static,
) -> Result<T, Problem> {
    let folder = control.folder.join("projects").join(id);
    let done = tokio::task::spawn_blocking(move || work(Project::open(&folder)?));
    match done.await {
        Ok(result) => Ok(result?),
        Err(error) => Err(Problem::internal(&error)),
    }
}

/// Projects.
#[utoipa::path(get, path = "/v1/projects", tag = "projects", operation_id = "list_projects",
    params(PageQuery), responses((status = 200, body = ListOf<ProjectView>)))]
async fn list(State(app): State<App>, caller: Caller, page: PageQuery) -> Result<Json<ListOf<ProjectView>>, Problem> {
    let filter = Filter { scope: caller.scope(), ..Filter::default() };
    let found = app.records.list::<ProjectDoc>(Kind::Project, &filter, &page.page()?).await?;
    Ok(Json(found.map(|record| view(&record)).into()))
}

/// A new project.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ProjectRequest {
    /// Display name, 1 to 64 characters.
    name: String,
    /// What it is written in; default: the sample's.
    #[serde(default)]
    language: Option<Language>,
    /// The sample to begin with; default: the smallest project of the language.
    #[serde(default)]
    sample: Option<String>,
    /// What it is for.
    #[serde(default)]
    description: String,
}

/// Makes a project.
#[utoipa::path(post, path = "/v1/projects", tag = "projects", operation_id = "create_project",
    request_body = ProjectRequest, responses((status = 201, body = ProjectView)))]
async fn create(
    State(app): State<App>,
    caller: Caller,
    Json(request): Json<ProjectRequest>,
) -> Result<Response, Problem> {
    crate::networks::check_name(&request.name)?;
    check_description(&request.description)?;
    let sample = match &request.sample {
        None => None,
        Some(id) => Some(samples::all().into_iter().find(|sample| sample.id == *id).ok_or_else(|| {
            Problem::invalid_in("sample", "take an id of GET /v1/samples", "请使用 GET /v1/samples 中的编号")
        })?),
    };
    let language = match (request.language, &sample) {
        (Some(language), Some(sample)) if language != sample.language => {
            return Err(Problem::invalid_in(
                "language",
                "the sample is written in another one",
                "示例使用的是另一种语言",
            ));
        }
        (Some(language), _) => language,
        (None, Some(sample)) => sample.language,
        (None, None) => return Err(Problem::invalid_in("language", "is missing", "缺少语言")),
    };
    let id = ids::new("prj");
    let files = request.sample.as_deref().and_then(samples::files).unwrap_or_else(|| samples::empty(language));
    let folder = app.control.folder.join("projects").join(&id);
    let made = folder.clone();
    let created = tokio::task::spawn_blocking(move || Project::create(&made, &files).map(|_| ()));
    created.await.map_err(|error| Problem::internal(&error))??;
    let doc = ProjectDoc {
        language,
        description: request.description,
        sample: request.sample,
        created_by: caller.id.clone(),
    };
    let new =
        New { id: &id, network: None, organisation: caller.organisation.as_deref(), name: &request.name, doc: &doc };
    if let Err(error) = app.records.create(Kind::Project, new).await {
        let _ = tokio::fs::remove_dir_all(&folder).await;
        return Err(error.into());
    }
    let record = app.records.get::<ProjectDoc>(Kind::Project, &id).await?;
    let note = AuditNote { target: Some(id.clone()), ..AuditNote::default() };
    Ok(audited(note, Tagged::created(record.version, format!("/v1/projects/{id}"), view(&record))))
}

fn check_description(text: &str) -> Result<(), Problem> {
    if text.len() <= 4096 {
        return Ok(());
    }
    Err(Problem::invalid_in("description", "at most 4096 bytes", "最长 4096 字节"))
}

/// A project.
#[utoipa::path(get, path = "/v1/projects/{id}", tag = "projects", operation_id = "get_project",
    params(("id" = String, Path, description = "Project")), responses((status = 200, body = ProjectView)))]
async fn get(State(app): State<App>, Path(id): Path<String>) -> Result<Tagged<ProjectView>, Problem> {
    let record = app.records.get::<ProjectDoc>(Kind::Project, &id).await?;
    Ok(Tagged::ok(record.version, view(&record)))
}

/// What can be changed of a project's record.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ProjectChange {
    /// Display name.
    #[serde(default)]
    name: Option<String>,
    /// What it is for.
    #[serde(default)]
    description: Option<String>,
}

/// Renames or describes a project.
#[utoipa::path(patch, path = "/v1/projects/{id}", tag = "projects", operation_id = "update_project",
    params(("id" = String, Path, description = "Project")), request_body = ProjectChange,
    responses((status = 200, body = ProjectView)))]
async fn update(
    State(app): State<App>,
    Path(id): Path<String>,
    IfMatch(expected): IfMatch,
    Json(change): Json<ProjectChange>,
) -> Result<Tagged<ProjectView>, Problem> {
    let mut record = app.records.get::<ProjectDoc>(Kind::Project, &id).await?;
    if let Some(name) = change.name {
        crate::networks::check_name(&name)?;
        record.name = name;
    }
    if let Some(description) = change.description {
        check_description(&description)?;
        record.doc.description = description;
    }
    let seen = expected.unwrap_or(record.version);
    record.version = app.records.update(Kind::Project, &id, Some(seen), &record.name, &record.doc).await?;
    Ok(Tagged::ok(record.version, view(&record)))
}

/// Removes a project with all its versions. What was deployed from it stays on its networks.
#[utoipa::path(delete, path = "/v1/projects/{id}", tag = "projects", operation_id = "delete_project",
    params(("id" = String, Path, description = "Project")), responses((status = 204)))]
async fn delete(
    State(app): State<App>,
    Path(id): Path<String>,
    IfMatch(expected): IfMatch,
) -> Result<Response, Problem> {
    app.records.delete(Kind::Project, &id, expected).await?;
    // The record decides: files that could not be removed are in nobody's way.
    if let Err(error) = tokio::fs::remove_dir_all(app.control.folder.join("projects").join(&id)).await {
        tracing::warn!(project = %id, %error, "the files of a removed project are left over");
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The routes.
pub fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list))
        .routes(routes!(create))
        .routes(routes!(get))
        .routes(routes!(update))
        .routes(routes!(delete))
        .merge(files::routes())
        .merge(tools::routes())
        .merge(build::routes())
}
