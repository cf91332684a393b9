//! Samples, compilers and builders.

use std::path::Path as FilePath;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use konsort_workbench::Tools;
use konsort_workbench::builder::{Builder, BuilderSettings, Toolchain};
use konsort_workbench::compiler::{CompilerInfo, CompilerSettings, Compilers};
use konsort_workbench::samples::Sample;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::build::compiler_problem;
use crate::app::{App, Routes};
use crate::http::{Json, ListOf, Path, body, parse};
use crate::problem::Problem;

/// Compilers and builders of a server.
#[derive(Debug, Clone)]
pub(crate) struct Workshop {
    pub(crate) compilers: Compilers,
    pub(crate) builder: Builder,
}

impl Workshop {
    /// In the server's data folder, with the machine's programs.
    pub(crate) fn open(data: &FilePath, tools: &Tools) -> Result<Self, Problem> {
        let compilers = Compilers::new(CompilerSettings {
            store: data.join("compilers"),
            tools: tools.clone(),
            registry: None,
            library: None,
            time: Duration::from_mins(2),
            memory: 2 << 30,
            processes: 1,
        })
        .map_err(compiler_problem)?;
        let builder = Builder::new(BuilderSettings {
            scratch: data.join("builds"),
            cache: data.join("build-cache"),
            tools: tools.clone(),
            registry: None,
            shim: None,
            time: Duration::from_mins(15),
            memory: 4 << 30,
            at_once: 2,
            trust_build_scripts: false,
        })
        .map_err(|error| Problem::internal(&error))?;
        Ok(Self { compilers, builder })
    }
}

/// Contracts to start from.
#[utoipa::path(get, path = "/v1/samples", tag = "projects", operation_id = "list_samples",
    responses((status = 200, body = ListOf<Sample>)))]
async fn list_samples(State(app): State<App>) -> Result<Json<ListOf<Sample>>, Problem> {
    Ok(Json(ListOf { items: app.control.workshop()?.builder.samples(), next_page_token: None }))
}

/// What sources can be built with.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ToolList {
    /// Solidity compilers, newest first.
    pub items: Vec<CompilerInfo>,
    /// Toolchains of Fabric chaincode.
    pub toolchains: Vec<Toolchain>,
}

/// Solidity compilers that are installed or can be, and the toolchains of Fabric chaincode.
#[utoipa::path(get, path = "/v1/compilers", tag = "projects", operation_id = "list_compilers",
    responses((status = 200, body = ToolList)))]
async fn list(State(app): State<App>) -> Result<Json<ToolList>, Problem> {
    let workshop = app.control.workshop()?;
    let items = workshop.compilers.list().await.map_err(compiler_problem)?;
    Ok(Json(ToolList { items, toolchains: workshop.builder.toolchains().await }))
}

/// A compiler to install.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CompilerRequest {
    /// Its version, as in the list.
    version: String,
}

/// Installs a published compiler (JSON `{version}`), or takes an uploaded soljson file (`text/javascript`).
#[utoipa::path(post, path = "/v1/compilers", tag = "projects", operation_id = "install_compiler",
    request_body = CompilerRequest, responses((status = 200, body = CompilerInfo)))]
async fn install(State(app): State<App>, request: Request) -> Result<Json<CompilerInfo>, Problem> {
    let media = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    // The last is the package of a published compiler, for servers that cannot fetch it.
    let uploaded = ["text/javascript", "application/javascript", "application/gzip"];
    let uploaded = uploaded.iter().any(|kind| media.starts_with(kind));
    let content = body(request, &app).await?;
    let compilers = &app.control.workshop()?.compilers;
    let installed = if uploaded {
        compilers.upload(&content, None).await
    } else {
        let wanted: CompilerRequest = parse(&content)?;
        compilers.install(&wanted.version).await
    };
    Ok(Json(installed.map_err(compiler_problem)?))
}

/// An installed compiler as a script for a browser's worker.
#[utoipa::path(get, path = "/v1/compilers/{version}/soljson.js", tag = "projects", operation_id = "get_compiler_script",
    params(("version" = String, Path, description = "Version of the compiler")),
    responses((status = 200, description = "Script", body = String, content_type = "text/javascript")))]
async fn script(State(app): State<App>, Path(version): Path<String>) -> Result<Response, Problem> {
    let missing = || Problem::not_found("compiler", &version);
    let path = app.control.workshop()?.compilers.soljson(&version).ok_or_else(missing)?;
    let content = tokio::fs::read(&path).await.map_err(|_| missing())?;
    let mut response = content.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/javascript"));
    // A version's script never changes.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=31536000, immutable"));
    Ok(response)
}

/// The routes.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(list_samples)).routes(routes!(list, install)).routes(routes!(script))
}
