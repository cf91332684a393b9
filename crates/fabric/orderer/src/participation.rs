//! The channel participation API: paths, bodies, codes and words of upstream.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, FromRequest as _, Multipart, Path, Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use bytes::Bytes;
use fabric_channel::config::{Bundle, validate_channel_id};
use fabric_channel::protoutil;
use fabric_proto::common::{Block, ConfigUpdate, Envelope, HeaderType};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use prost::Message as _;
use serde::Serialize;

use crate::registrar::{ParticipationError, Registrar};

const BASE: &str = "/participation/v1/";
const CHANNELS: &str = "/participation/v1/channels";

#[derive(Clone, Debug)]
struct Api {
    registrar: Registrar,
    enabled: bool,
    max_body: usize,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'a str,
}

#[derive(Serialize)]
struct Short {
    name: String,
    url: String,
}

#[derive(Serialize)]
struct List {
    #[serde(rename = "systemChannel")]
    system_channel: Option<Short>,
    channels: Option<Vec<Short>>,
}

/// The routes of the API.
pub(crate) fn router(registrar: Registrar, enabled: bool, max_body: usize) -> Router {
    let api = Arc::new(Api { registrar, enabled, max_body });
    let collection_fallback = |request: Request| async move { not_allowed(request.method(), "GET, POST, PUT") };
    let channel_fallback = |request: Request| async move { not_allowed(request.method(), "GET, DELETE") };
    let block_fallback = |request: Request| async move { not_allowed(request.method(), "GET") };
    Router::new()
        .route(CHANNELS, get(list).post(join).put(update).fallback(collection_fallback))
        .route("/participation/v1/channels/{channel}", get(info).delete(remove).fallback(channel_fallback))
        .route("/participation/v1/channels/{channel}/blocks/{block}", get(fetch).fallback(block_fallback))
        .route(BASE, get(|| async { (StatusCode::FOUND, [(header::LOCATION, CHANNELS)]) }))
        // Upstream counts the form's parts against the limit itself and answers 400, not 413.
        .layer(DefaultBodyLimit::disable())
        .layer(axum::middleware::from_fn_with_state(api.clone(), gate))
        .with_state(api)
}

async fn gate(State(api): State<Arc<Api>>, request: Request, next: axum::middleware::Next) -> Response {
    if !api.enabled {
        return error(StatusCode::SERVICE_UNAVAILABLE, "channel participation API is disabled");
    }
    if request.uri().path() != BASE && is_api_method(request.method()) && !accepts_json(request.headers()) {
        return error(StatusCode::NOT_ACCEPTABLE, "response Content-Type is application/json only");
    }
    next.run(request).await
}

fn is_api_method(method: &Method) -> bool {
    [Method::GET, Method::POST, Method::PUT, Method::DELETE].contains(method)
}

fn accepts_json(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.is_empty() || ["application/json", "application/*", "*/*"].iter().any(|kind| accept.contains(kind))
}

fn json(status: StatusCode, body: &impl Serialize) -> Response {
    // Upstream's encoder ends every body with a line feed.
    let mut text = serde_json::to_string(body).unwrap_or_default();
    text.push('\n');
    (status, [(header::CONTENT_TYPE, "application/json")], text).into_response()
}

fn error(status: StatusCode, text: &str) -> Response {
    json(status, &ErrorBody { error: text })
}

fn with_header(mut response: Response, name: header::HeaderName, value: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
    response
}

fn not_allowed(method: &Method, allow: &str) -> Response {
    let response = error(StatusCode::METHOD_NOT_ALLOWED, &format!("invalid request method: {method}"));
    with_header(response, header::ALLOW, allow)
}

fn uncached(response: Response) -> Response {
    with_header(response, header::CACHE_CONTROL, "no-store")
}

async fn list(State(api): State<Arc<Api>>) -> Response {
    let named = |name: String| Short { url: format!("{CHANNELS}/{name}"), name };
    let channels: Vec<Short> = api.registrar.list().into_iter().map(named).collect();
    let body = List { system_channel: None, channels: Some(channels).filter(|c| !c.is_empty()) };
    uncached(json(StatusCode::OK, &body))
}

fn check_name(name: &str) -> Result<(), Box<Response>> {
    validate_channel_id(name).map_err(|e| Box::new(error(StatusCode::BAD_REQUEST, &format!("invalid channel ID: {e}"))))
}

async fn info(State(api): State<Arc<Api>>, Path(name): Path<String>) -> Response {
    if let Err(response) = check_name(&name) {
        return *response;
    }
    match api.registrar.info(&name) {
        Ok(info) => uncached(json(StatusCode::OK, &info)),
        Err(e) => error(StatusCode::NOT_FOUND, &e.to_string()),
    }
}

async fn fetch(State(api): State<Arc<Api>>, Path((name, which)): Path<(String, String)>) -> Response {
    if let Err(response) = check_name(&name) {
        return *response;
    }
    if !["newest", "oldest", "config"].contains(&which.as_str()) && which.parse::<u64>().is_err() {
        return error(
            StatusCode::BAD_REQUEST,
            &format!("invalid block ID: '{which}' not equal <newest|oldest|config|(number)>"),
        );
    }
    match api.registrar.fetch(&name, &which) {
        Ok(block) => {
            uncached((StatusCode::OK, [(header::CONTENT_TYPE, "application/octet-stream")], block).into_response())
        }
        Err(e) => error(StatusCode::NOT_FOUND, &e.to_string()),
    }
}

async fn remove(State(api): State<Arc<Api>>, Path(name): Path<String>) -> Response {
    if let Err(response) = check_name(&name) {
        return *response;
    }
    let failed = match api.registrar.remove(&name).await {
        Ok(()) => return StatusCode::NO_CONTENT.into_response(),
        Err(failed) => failed,
    };
    let status = match failed {
        ParticipationError::NotExist => StatusCode::NOT_FOUND,
        ParticipationError::PendingRemoval => StatusCode::CONFLICT,
        _ => StatusCode::BAD_REQUEST,
    };
    error(status, &format!("cannot remove: {failed}"))
}

/// The single file part a form must consist of.
async fn form_part(api: &Api, request: Request, key: &str) -> Result<Bytes, Box<Response>> {
    let bad = |text: String| Box::new(error(StatusCode::BAD_REQUEST, &text));
    let content_type =
        request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    if !content_type.starts_with("multipart/form-data") {
        let shown = if content_type.is_empty() { "[]".to_owned() } else { format!("[{content_type}]") };
        return Err(bad(format!("unsupported Content-Type: {shown}")));
    }
    let unreadable = |reason: String| bad(format!("cannot read form from request body: {reason}"));
    let (parts, body) = request.into_parts();
    let bytes = axum::body::to_bytes(body, api.max_body)
        .await
        .map_err(|_| unreadable("http: request body too large".to_owned()))?;
    let request = Request::from_parts(parts, Body::from(bytes));
    let mut form = Multipart::from_request(request, &()).await.map_err(|e| unreadable(e.body_text()))?;
    let mut found = None;
    let mut count = 0;
    while let Some(field) = form.next_field().await.map_err(|e| unreadable(e.body_text()))? {
        count += 1;
        let is_file = field.file_name().is_some();
        let named = field.name() == Some(key);
        let bytes = field.bytes().await.map_err(|e| unreadable(e.body_text()))?;
        if named && is_file && found.is_none() {
            found = Some(bytes);
        }
    }
    let found = found.ok_or_else(|| bad(format!("form does not contains part key: {key}")))?;
    if count == 1 { Ok(found) } else { Err(bad("form contains too many parts".to_owned())) }
}

/// The channel a block can be joined with, or upstream's reason why not.
fn join_channel(block: &Block) -> Result<String, String> {
    if !protoutil::is_config_block(block) {
        return Err("block is not a config block".to_owned());
    }
    if block.metadata.as_ref().is_none_or(|m| m.metadata.is_empty()) {
        return Err("invalid block: does not have metadata".to_owned());
    }
    let data = block.data.clone().unwrap_or_default();
    if block.header.as_ref().is_none_or(|h| h.data_hash != protoutil::data_hash(&data.data)[..]) {
        return Err("invalid block: Header.DataHash is different from Hash(block.Data)".to_owned());
    }
    let bundle = Bundle::from_config_block(block).map_err(|e| e.to_string())?;
    if bundle.has_consortiums() {
        return Err("invalid config: contains consortiums: system channel not supported".to_owned());
    }
    if bundle.application().is_none() {
        return Err("invalid config: must contain application config".to_owned());
    }
    Ok(bundle.channel_id().to_owned())
}

async fn join(State(api): State<Arc<Api>>, request: Request) -> Response {
    let bytes = match form_part(&api, request, "config-block").await {
        Ok(bytes) => bytes,
        Err(response) => return *response,
    };
    let Ok(block) = Block::decode(bytes) else {
        return error(
            StatusCode::BAD_REQUEST,
            "cannot unmarshal file part config-block into a block: proto: cannot parse invalid wire-format data",
        );
    };
    let name = match join_channel(&block) {
        Ok(name) => name,
        Err(reason) => return error(StatusCode::BAD_REQUEST, &format!("invalid join block: {reason}")),
    };
    let failed = match api.registrar.join(&name, &block).await {
        Ok(info) => return with_header(json(StatusCode::CREATED, &info), header::LOCATION, &info.url),
        Err(failed) => failed,
    };
    let text = format!("cannot join: {failed}");
    match failed {
        ParticipationError::AlreadyExists => {
            with_header(error(StatusCode::METHOD_NOT_ALLOWED, &text), header::ALLOW, "GET, DELETE")
        }
        ParticipationError::PendingRemoval => error(StatusCode::CONFLICT, &text),
        ParticipationError::RemovalFailure => error(StatusCode::INTERNAL_SERVER_ERROR, &text),
        _ => error(StatusCode::BAD_REQUEST, &text),
    }
}

/// The channel a configuration update is for, or upstream's reason why it is none.
fn update_channel(envelope: &Envelope) -> Result<String, String> {
    let payload = protoutil::payload(envelope).map_err(|_| "bad payload")?;
    let header = payload.header.filter(|h| !h.channel_header.is_empty()).ok_or("bad header")?;
    let channel: fabric_proto::common::ChannelHeader = protoutil::decode("ChannelHeader", &header.channel_header)
        .map_err(|_| "could not unmarshall channel header")?;
    if channel.r#type != HeaderType::ConfigUpdate as i32 {
        return Err("bad type".to_owned());
    }
    if channel.channel_id.is_empty() {
        return Err("empty channel id".to_owned());
    }
    let update = protoutil::config_update_envelope(envelope).map_err(|e| e.to_string())?;
    let update: ConfigUpdate = protoutil::decode("ConfigUpdate", &update.config_update).map_err(|e| e.to_string())?;
    Ok(update.channel_id)
}

async fn update(State(api): State<Arc<Api>>, request: Request) -> Response {
    const KEY: &str = "config-update-envelope";
    let bytes = match form_part(&api, request, KEY).await {
        Ok(bytes) => bytes,
        Err(response) => return *response,
    };
    let Ok(envelope) = Envelope::decode(bytes) else {
        return error(
            StatusCode::BAD_REQUEST,
            &format!("cannot unmarshal file part {KEY} into an envelope: proto: cannot parse invalid wire-format data"),
        );
    };
    let name = match update_channel(&envelope) {
        Ok(name) => name,
        Err(reason) => return error(StatusCode::BAD_REQUEST, &format!("invalid config update envelope: {reason}")),
    };
    let failed = match api.registrar.update(&name, &envelope).await {
        Ok(info) => return with_header(json(StatusCode::CREATED, &info), header::LOCATION, &info.url),
        Err(failed) => failed,
    };
    let status = match failed {
        ParticipationError::PendingRemoval => StatusCode::CONFLICT,
        ParticipationError::RemovalFailure => StatusCode::INTERNAL_SERVER_ERROR,
        ParticipationError::NotExist => StatusCode::METHOD_NOT_ALLOWED,
        ParticipationError::NotReady => StatusCode::FORBIDDEN,
        _ => StatusCode::BAD_REQUEST,
    };
    error(status, &format!("cannot update: {failed}"))
}
