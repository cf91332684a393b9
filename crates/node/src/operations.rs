//! The operations service: health, metrics, log levels and version, under upstream's paths and texts.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use parking_lot::RwLock;
use serde_json::json;

use crate::logging::LogHandle;
use crate::server::{ServeError, Server, ServerOptions};
use crate::{Clock, ConnectionInfo, Metrics, ServerTls, Shutdown, SystemClock, rfc3339};

type Check = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync>;

/// The parts of a node that can be unwell.
#[derive(Clone, Default)]
pub struct Health(Arc<RwLock<BTreeMap<String, Check>>>);

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.read().keys()).finish()
    }
}

impl Health {
    /// Nothing to check yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a check; its error text is the reason that callers of `/healthz` read.
    pub fn register<F>(&self, component: &str, check: impl Fn() -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.0.write().insert(component.to_owned(), Arc::new(move || Box::pin(check())));
    }

    async fn failed(&self) -> Vec<(String, String)> {
        let checks: Vec<(String, Check)> =
            self.0.read().iter().map(|(name, check)| (name.clone(), Arc::clone(check))).collect();
        let mut failed = Vec::new();
        for (name, check) in checks {
            if let Err(reason) = check().await {
                failed.push((name, reason));
            }
        }
        failed
    }
}

/// What the operations service shows.
#[derive(Clone, Debug)]
pub struct OperationsOptions {
    /// Where to listen.
    pub address: String,
    /// TLS, or plain text. With TLS, `/logspec` and `/metrics` want a verified client certificate.
    pub tls: Option<ServerTls>,
    /// The version clients read.
    pub version: String,
    /// The source revision clients read.
    pub commit: String,
    /// The registry behind `/metrics`; without one the path does not exist.
    pub metrics: Option<Metrics>,
    /// The checks behind `/healthz`.
    pub health: Health,
    /// The log behind `/logspec`.
    pub log: LogHandle,
}

/// A bound operations service.
#[derive(Debug)]
pub struct Operations {
    server: Server,
    router: Router,
}

#[derive(Clone)]
struct Shared(Arc<OperationsOptions>);

impl Operations {
    /// Binds the listener.
    pub async fn bind(options: OperationsOptions) -> Result<Self, ServeError> {
        let server_options = ServerOptions { tls: options.tls.clone(), ..ServerOptions::default() };
        let server = Server::bind("operations service", &options.address, server_options).await?;
        Ok(Self { server, router: router(options) })
    }

    /// Adds more paths (an engine's own).
    #[must_use]
    pub fn with(mut self, more: Router) -> Self {
        self.router = self.router.merge(more);
        self
    }

    /// The address it listens on.
    pub fn local_addr(&self) -> std::net::SocketAddr {
        self.server.local_addr()
    }

    /// Serves until a stop is wished.
    pub async fn serve(self, shutdown: Shutdown) {
        self.server.serve(self.router, shutdown).await;
    }
}

fn router(options: OperationsOptions) -> Router {
    let with_metrics = options.metrics.is_some();
    let shared = Shared(Arc::new(options));
    let mut secured = Router::new().route("/logspec", get(read_spec).put(write_spec).fallback(bad_method));
    if with_metrics {
        secured = secured.route("/metrics", get(metrics));
    }
    let secured = secured.layer(axum::middleware::from_fn_with_state(shared.clone(), certificate_wanted));
    Router::new().route("/healthz", get(health)).route("/version", get(version)).merge(secured).with_state(shared)
}

async fn certificate_wanted(
    State(shared): State<Shared>,
    request: axum::extract::Request,
    next: axum::middleware::Next,
) -> Response {
    let verified = request.extensions().get::<ConnectionInfo>().is_some_and(ConnectionInfo::is_verified);
    if shared.0.tls.is_some() && !verified {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    next.run(request).await
}

fn answer(status: StatusCode, body: &serde_json::Value) -> Response {
    (status, [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body.to_string()).into_response()
}

async fn health(State(shared): State<Shared>) -> Response {
    let time = rfc3339(SystemClock.unix_nanos());
    let failed = shared.0.health.failed().await;
    if failed.is_empty() {
        return answer(StatusCode::OK, &json!({"status": "OK", "time": time}));
    }
    let checks: Vec<_> =
        failed.iter().map(|(component, reason)| json!({"component": component, "reason": reason})).collect();
    let body = json!({"status": "Service Unavailable", "time": time, "failed_checks": checks});
    answer(StatusCode::SERVICE_UNAVAILABLE, &body)
}

async fn version(State(shared): State<Shared>) -> Response {
    answer(StatusCode::OK, &json!({"CommitSHA": shared.0.commit, "Version": shared.0.version}))
}

async fn metrics(State(shared): State<Shared>) -> Response {
    let text = shared.0.metrics.as_ref().map(Metrics::render).unwrap_or_default();
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

async fn read_spec(State(shared): State<Shared>) -> Response {
    let mut response = answer(StatusCode::OK, &json!({"spec": shared.0.log.spec()}));
    // Upstream ends this body, unlike the others, with a line feed.
    *response.body_mut() = format!("{}\n", json!({"spec": shared.0.log.spec()})).into();
    response
}

async fn write_spec(State(shared): State<Shared>, body: axum::body::Bytes) -> Response {
    #[derive(serde::Deserialize)]
    struct Wanted {
        #[serde(default)]
        spec: String,
    }
    let outcome = serde_json::from_slice::<Wanted>(&body)
        .map_err(|error| error.to_string())
        .and_then(|wanted| shared.0.log.activate(&wanted.spec).map_err(|error| error.to_string()));
    match outcome {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => answer(StatusCode::BAD_REQUEST, &json!({"error": error})),
    }
}

async fn bad_method(method: axum::http::Method) -> Response {
    answer(StatusCode::BAD_REQUEST, &json!({"error": format!("invalid request method: {method}")}))
}
