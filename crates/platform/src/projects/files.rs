//! Files and versions of a project.

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use konsort_engines::call::Download;
use konsort_workbench::project::{FileDiff, FileEntry, Version};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::{ProjectDoc, with_project};
use crate::access::Caller;
use crate::app::{App, Routes};
use crate::db::Kind;
use crate::download;
use crate::http::{Json, ListOf, Path, body};
use crate::problem::Problem;
use crate::time;

/// Files of a project.
#[utoipa::path(get, path = "/v1/projects/{id}/files", tag = "projects", operation_id = "list_project_files",
    params(("id" = String, Path, description = "Project")), responses((status = 200, body = ListOf<FileEntry>)))]
async fn list(State(app): State<App>, Path(id): Path<String>) -> Result<Json<ListOf<FileEntry>>, Problem> {
    let items = with_project(&app.control, &id, |project| project.list()).await?;
    Ok(Json(ListOf { items, next_page_token: None }))
}

/// A file of a project. Its entity tag is the hash of its content.
#[utoipa::path(get, path = "/v1/projects/{id}/files/{*path}", tag = "projects", operation_id = "get_project_file",
    params(("id" = String, Path, description = "Project"), ("path" = String, Path, description = "Path of the file")),
    responses((status = 200, description = "The file", body = String, content_type = "text/plain")))]
async fn read(State(app): State<App>, Path((id, path)): Path<(String, String)>) -> Result<Response, Problem> {
    let wanted = path.clone();
    let (content, entry) = with_project(&app.control, &id, move |project| {
        let content = project.read(&wanted)?;
        let entry = project.list()?.into_iter().find(|entry| entry.path == wanted);
        Ok((content, entry))
    })
    .await?;
    // Never shown as a page of ours, whatever is in it.
    let media =
        if std::str::from_utf8(&content).is_ok() { "text/plain; charset=utf-8" } else { "application/octet-stream" };
    let mut response = content.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    if let Some(tag) = entry.and_then(|entry| HeaderValue::from_str(&format!("\"{}\"", entry.hash)).ok()) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}

/// The hash that `If-Match` wants a file to have; `If-None-Match: *`: that there is none.
fn expected(headers: &HeaderMap) -> Option<String> {
    if headers.get(header::IF_NONE_MATCH).is_some_and(|value| value == "*") {
        return Some(String::new());
    }
    let text = headers.get(header::IF_MATCH)?.to_str().ok()?.trim();
    (text != "*").then(|| text.trim_matches('"').to_owned())
}

/// Writes a file of a project: the body is its content. With `If-Match`, only when its hash is still that.
#[utoipa::path(put, path = "/v1/projects/{id}/files/{*path}", tag = "projects", operation_id = "put_project_file",
    params(("id" = String, Path, description = "Project"), ("path" = String, Path, description = "Path of the file")),
    request_body(content = String, content_type = "text/plain"), responses((status = 200, body = FileEntry)))]
async fn write(
    State(app): State<App>,
    Path((id, path)): Path<(String, String)>,
    request: Request,
) -> Result<Json<FileEntry>, Problem> {
    let expected = expected(request.headers());
    let content = body(request, &app).await?;
    let entry =
        with_project(&app.control, &id, move |project| project.write(&path, &content, expected.as_deref())).await?;
    Ok(Json(entry))
}

/// Removes a file of a project.
#[utoipa::path(delete, path = "/v1/projects/{id}/files/{*path}", tag = "projects", operation_id = "delete_project_file",
    params(("id" = String, Path, description = "Project"), ("path" = String, Path, description = "Path of the file")),
    responses((status = 204)))]
async fn remove(State(app): State<App>, Path((id, path)): Path<(String, String)>) -> Result<Response, Problem> {
    with_project(&app.control, &id, move |project| project.delete(&path)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// All files of a project as a ZIP archive.
#[utoipa::path(get, path = "/v1/projects/{id}/archive", tag = "projects", operation_id = "download_project",
    params(("id" = String, Path, description = "Project")),
    responses((status = 200, description = "ZIP archive", body = String, content_type = "application/zip")))]
async fn export(State(app): State<App>, Path(id): Path<String>) -> Result<Response, Problem> {
    let bytes = with_project(&app.control, &id, |project| project.export_zip(None)).await?;
    Ok(download::answer(Download { name: format!("{id}.zip"), media_type: "application/zip".to_owned(), bytes }))
}

/// Replaces all files of a project by those of a ZIP archive.
#[utoipa::path(put, path = "/v1/projects/{id}/archive", tag = "projects", operation_id = "upload_project",
    params(("id" = String, Path, description = "Project")),
    request_body(content = String, content_type = "application/zip"), responses((status = 200, body = ListOf<FileEntry>)))]
async fn import(
    State(app): State<App>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Json<ListOf<FileEntry>>, Problem> {
    let archive = body(request, &app).await?;
    let items = with_project(&app.control, &id, move |project| project.import_zip(&archive)).await?;
    Ok(Json(ListOf { items, next_page_token: None }))
}

/// A version of a project.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct VersionView {
    /// Its number, from 1.
    pub number: u32,
    /// Hash over all its files.
    pub hash: String,
    /// When it was made, RFC 3339.
    pub created_at: String,
    /// Who made it.
    pub author: String,
    /// What changed, in the author's words.
    pub message: String,
    /// Its files.
    pub files: Vec<FileEntry>,
}

impl From<Version> for VersionView {
    fn from(version: Version) -> Self {
        Self {
            number: version.number,
            hash: version.hash,
            created_at: time::rfc3339(version.created_at),
            author: version.author,
            message: version.message,
            files: version.files,
        }
    }
}

/// Versions of a project, newest first.
#[utoipa::path(get, path = "/v1/projects/{id}/versions", tag = "projects", operation_id = "list_project_versions",
    params(("id" = String, Path, description = "Project")), responses((status = 200, body = ListOf<VersionView>)))]
async fn versions(State(app): State<App>, Path(id): Path<String>) -> Result<Json<ListOf<VersionView>>, Problem> {
    let mut versions = with_project(&app.control, &id, |project| project.versions()).await?;
    versions.sort_by_key(|version| std::cmp::Reverse(version.number));
    Ok(Json(ListOf { items: versions.into_iter().map(VersionView::from).collect(), next_page_token: None }))
}

/// A new version.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct VersionRequest {
    /// What changed, at most 1000 characters.
    #[serde(default)]
    message: String,
}

/// Keeps the files as they are now as a version.
#[utoipa::path(post, path = "/v1/projects/{id}/versions", tag = "projects", operation_id = "create_project_version",
    params(("id" = String, Path, description = "Project")), request_body = VersionRequest,
    responses((status = 201, body = VersionView)))]
async fn commit(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    Json(request): Json<VersionRequest>,
) -> Result<Response, Problem> {
    app.records.get::<ProjectDoc>(Kind::Project, &id).await?;
    if request.message.chars().count() > 1000 {
        return Err(Problem::invalid_in("message", "at most 1000 characters", "最长 1000 个字符"));
    }
    let now = time::now();
    let version =
        with_project(&app.control, &id, move |project| project.commit(&caller.name, &request.message, now)).await?;
    Ok((StatusCode::CREATED, Json(VersionView::from(version))).into_response())
}

/// A version of a project.
#[utoipa::path(get, path = "/v1/projects/{id}/versions/{version}", tag = "projects", operation_id = "get_project_version",
    params(("id" = String, Path, description = "Project"), ("version" = u32, Path, description = "Number of the version")),
    responses((status = 200, body = VersionView)))]
async fn version(
    State(app): State<App>,
    Path((id, version)): Path<(String, u32)>,
) -> Result<Json<VersionView>, Problem> {
    Ok(Json(with_project(&app.control, &id, move |project| project.version(version)).await?.into()))
}

/// What changed between two versions of a project; version 0 stands for the files as they are now.
#[utoipa::path(get, path = "/v1/projects/{id}/versions/{version}/diff/{other}", tag = "projects", operation_id = "diff_project_versions",
    params(("id" = String, Path, description = "Project"), ("version" = u32, Path, description = "From this version"),
        ("other" = u32, Path, description = "To this version")),
    responses((status = 200, body = ListOf<FileDiff>)))]
async fn diff(
    State(app): State<App>,
    Path((id, version, other)): Path<(String, u32, u32)>,
) -> Result<Json<ListOf<FileDiff>>, Problem> {
    let number = |number: u32| (number > 0).then_some(number);
    let items = with_project(&app.control, &id, move |project| project.diff(number(version), number(other))).await?;
    Ok(Json(ListOf { items, next_page_token: None }))
}

/// The routes.
pub fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list))
        .routes(routes!(read, write, remove))
        .routes(routes!(export, import))
        .routes(routes!(versions, commit))
        .routes(routes!(version))
        .routes(routes!(diff))
}
