//! The same over HTTP: `POST /protolator/encode/TYPE`, `/protolator/decode/TYPE`, `/configtxlator/compute/update-from-configs`.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Multipart, Path, Request};
use axum::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_TYPE, ORIGIN};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use fabric_proto::common::Config;
use konsort_node::{Server, ServerOptions, Shutdown};
use prost::Message as _;

use super::MAX_INPUT;
use crate::protolator::{self, TranslateError};
use crate::tools::Console;

const JSON: &str = "application/json";
const BYTES: &str = "application/octet-stream";

fn refused(status: StatusCode, text: impl std::fmt::Display) -> Response {
    (status, format!("{text}\n")).into_response()
}

fn answer(kind: &'static str, result: Result<Vec<u8>, TranslateError>) -> Response {
    match result {
        Ok(body) => ([(CONTENT_TYPE, kind)], body).into_response(),
        Err(error) => refused(StatusCode::BAD_REQUEST, error),
    }
}

async fn encode(Path(type_name): Path<String>, body: Bytes) -> Response {
    if !protolator::is_known(&type_name) {
        return refused(StatusCode::NOT_FOUND, "message type not found: proto: not found");
    }
    match std::str::from_utf8(&body) {
        Ok(json) => answer(BYTES, protolator::encode(&type_name, json)),
        Err(error) => refused(StatusCode::BAD_REQUEST, error),
    }
}

async fn decode(Path(type_name): Path<String>, body: Bytes) -> Response {
    if !protolator::is_known(&type_name) {
        return refused(StatusCode::NOT_FOUND, "message type not found: proto: not found");
    }
    answer(JSON, protolator::decode(&type_name, &body).map(String::into_bytes))
}

fn config(bytes: Option<&Bytes>) -> Result<Config, String> {
    let bytes = bytes.ok_or("error reading field bytes: http: no such file")?;
    Config::decode(bytes.clone()).map_err(|error| format!("error unmarshalling field bytes: {error}"))
}

async fn compute_update(mut form: Multipart) -> Response {
    let (mut original, mut updated, mut channel) = (None, None, String::new());
    loop {
        let field = match form.next_field().await {
            Ok(Some(field)) => field,
            Ok(None) => break,
            Err(error) => return refused(StatusCode::BAD_REQUEST, error),
        };
        let name = field.name().unwrap_or_default().to_owned();
        let bytes = match field.bytes().await {
            Ok(bytes) => bytes,
            Err(error) => return refused(StatusCode::BAD_REQUEST, error),
        };
        match name.as_str() {
            "original" => original = Some(bytes),
            "updated" => updated = Some(bytes),
            "channel" => channel = String::from_utf8_lossy(&bytes).into_owned(),
            _ => {}
        }
    }
    let original = match config(original.as_ref()) {
        Ok(config) => config,
        Err(error) => return refused(StatusCode::BAD_REQUEST, format!("Error with field 'original': {error}")),
    };
    let updated = match config(updated.as_ref()) {
        Ok(config) => config,
        Err(error) => return refused(StatusCode::BAD_REQUEST, format!("Error with field 'updated': {error}")),
    };
    match fabric_channel::config::compute(&original, &updated) {
        Ok(mut update) => {
            update.channel_id = channel;
            answer(BYTES, Ok(update.encode_to_vec()))
        }
        Err(error) => refused(StatusCode::BAD_REQUEST, format!("Error computing update: {error}")),
    }
}

/// The routes. Pages of the domains in `cors` (or of all, for `*`) may use them.
pub fn router(cors: Vec<String>) -> Router {
    let routes = Router::new()
        .route("/protolator/encode/{type}", post(encode))
        .route("/protolator/decode/{type}", post(decode))
        .route("/configtxlator/compute/update-from-configs", post(compute_update))
        .layer(DefaultBodyLimit::max(MAX_INPUT as usize));
    if cors.is_empty() {
        return routes;
    }
    routes.layer(from_fn(move |request: Request, next: Next| {
        let origin = request.headers().get(ORIGIN).cloned();
        let allowed = if cors.iter().any(|domain| domain == "*") {
            Some(HeaderValue::from_static("*"))
        } else {
            origin.filter(|origin| cors.iter().any(|domain| origin.as_bytes() == domain.as_bytes()))
        };
        async move {
            let mut response = next.run(request).await;
            if let Some(allowed) = allowed {
                response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
            }
            response
        }
    }))
}

/// Serves until the process is stopped.
pub(super) fn serve(hostname: &str, port: u16, cors: Vec<String>, console: &mut Console<'_>) -> Result<(), String> {
    let address = format!("{hostname}:{port}");
    let router = router(cors);
    crate::tools::block_on(async {
        let server = Server::bind("configtxlator", &address, ServerOptions::default())
            .await
            .map_err(|error| format!("Could not bind to address '{address}': {error}"))?;
        console.err(&format!("Serving HTTP requests on {}\n", server.local_addr()));
        let shutdown = Shutdown::new();
        shutdown.on_signals().map_err(|error| format!("cannot listen for signals: {error}"))?;
        server.serve(router, shutdown).await;
        Ok(())
    })?
}
