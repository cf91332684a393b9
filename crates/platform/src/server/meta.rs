//! The server about itself: alive, ready, figures, version, description.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::routes;

use crate::app::{App, Routes};
use crate::http::Json;

pub(super) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(livez))
        .routes(routes!(readyz))
        .routes(routes!(metrics))
        .routes(routes!(version))
        .routes(routes!(document))
}

/// Whether the server works.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct Health {
    /// Whether it does.
    ok: bool,
    /// What does not, when something does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// The version of the server.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct ServerVersion {
    /// Of the program.
    version: &'static str,
    /// Of the API.
    api: &'static str,
}

/// Whether the process answers.
#[utoipa::path(get, path = "/livez", tag = "server", operation_id = "livez", responses((status = 200, body = Health)))]
async fn livez() -> Json<Health> {
    Json(Health { ok: true, problem: None })
}

/// Whether requests can be served: the database answers.
#[utoipa::path(get, path = "/readyz", tag = "server", operation_id = "readyz",
    responses((status = 200, body = Health), (status = 503, description = "Not ready", body = Health)))]
async fn readyz(State(app): State<App>) -> Response {
    match app.db.ping().await {
        Ok(()) => Json(Health { ok: true, problem: None }).into_response(),
        Err(error) => {
            let body = Json(Health { ok: false, problem: Some(error.to_string()) });
            (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
        }
    }
}

/// Figures of the server, in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "server", operation_id = "metrics",
    responses((status = 200, content_type = "text/plain", body = String)))]
async fn metrics(State(app): State<App>) -> Response {
    let mut response = app.figures.metrics.render().into_response();
    let media = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, media);
    response
}

/// The version of the server.
#[utoipa::path(get, path = "/v1/version", tag = "server", operation_id = "get_version",
    responses((status = 200, body = ServerVersion)))]
async fn version() -> Json<ServerVersion> {
    Json(ServerVersion { version: env!("CARGO_PKG_VERSION"), api: "v1" })
}

/// This document.
#[utoipa::path(get, path = "/v1/openapi.json", tag = "server", operation_id = "get_openapi",
    responses((status = 200, body = Object)))]
async fn document(State(app): State<App>) -> Response {
    let mut response = app.document.to_string().into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
