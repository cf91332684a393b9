//! What every handler has at hand.

use std::net::SocketAddr;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;

use konsort_node::metrics::{CounterFamily, HistogramFamily, Metrics};
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;

use crate::audit::Audit;
use crate::auth::Auth;
use crate::console::Console;
use crate::control::Control;
use crate::db::{Db, Repository};

/// Routes of a module, with their descriptions.
pub type Routes = OpenApiRouter<App>;

/// The parts of the running server; cheap to clone.
#[derive(Debug, Clone)]
pub struct App(Arc<Parts>);

/// See [`App`].
#[derive(Debug)]
pub struct Parts {
    /// The server's data folder.
    pub data: PathBuf,
    /// Where the server listens.
    pub address: SocketAddr,
    /// The database.
    pub db: Db,
    /// Typed records in it.
    pub records: Repository,
    /// The audit log.
    pub audit: Audit,
    /// Sessions, keys, passwords.
    pub auth: Auth,
    /// Networks, operations, index, events.
    pub control: Arc<Control>,
    /// Figures of the server itself.
    pub figures: Figures,
    /// Set when the server stops; long tasks and streams end then.
    pub stopping: CancellationToken,
    pub(crate) console: Console,
    /// The OpenAPI document, as text.
    pub(crate) document: Arc<str>,
}

/// Figures of the server, for `/metrics`.
#[derive(Debug)]
pub struct Figures {
    /// The registry.
    pub metrics: Metrics,
    pub(crate) requests: CounterFamily,
    pub(crate) duration: HistogramFamily,
}

impl Figures {
    /// Declares them.
    pub fn new() -> Self {
        let metrics = Metrics::new();
        metrics.process();
        let requests =
            metrics.counter("konsort_http_requests_total", "Requests answered", &["method", "route", "status"]);
        let duration =
            metrics.histogram("konsort_http_request_duration_seconds", "Time to answer", &["method", "route"]);
        Self { metrics, requests, duration }
    }
}

impl Default for Figures {
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl App {
    /// Of parts.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Parts {
    /// Address of the server as somebody on this machine calls it.
    pub fn own_url(&self) -> String {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(if address.is_ipv4() {
                std::net::Ipv4Addr::LOCALHOST.into()
            } else {
                std::net::Ipv6Addr::LOCALHOST.into()
            });
        }
        format!("http://{address}")
    }

    /// The link for making the first administrator, while there is nobody.
    pub fn setup_link(&self) -> Option<String> {
        self.auth.setup_token().map(|token| format!("{}/setup?token={token}", self.own_url()))
    }
}
