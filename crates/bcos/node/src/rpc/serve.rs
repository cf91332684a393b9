//! Opening the ports for clients: the SDK's with or without TLS, and Ethereum's.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use konsort_node::{ServeError, Server, ServerOptions, Tasks, TlsError};

use super::Rpc;
use super::edge::{Cors, Limits, Port};
use super::filters::Filters;
use crate::api::Node;
use crate::config::Web3RpcConfig;
use crate::eth::Eth;
use crate::network::server_tls;
use crate::sdk::Sdk;

/// How often forgotten filters are dropped.
const SWEEP: Duration = Duration::from_secs(15);

/// Why the ports for clients cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// A listener cannot listen.
    #[error(transparent)]
    Listen(#[from] ServeError),
    /// The certificates of `[cert]` cannot be used.
    #[error("[cert]: {0}")]
    Tls(#[from] TlsError),
    /// SM certificates are configured.
    #[error("rpc.sm_ssl=true: TLS with SM certificates is not spoken here; set it to false, or disable_ssl=true")]
    SmTls,
}

/// The ports clients reach.
#[derive(Debug)]
pub(crate) struct Services {
    /// JSON-RPC and SDKs.
    pub(crate) rpc: SocketAddr,
    /// Ethereum's clients, when enabled.
    pub(crate) web3: Option<SocketAddr>,
    /// For the network: topics between SDKs.
    pub(crate) sdk: Arc<Sdk>,
}

/// Opens the ports and serves until the stop.
pub(crate) async fn start(node: &Node, tasks: &Tasks) -> Result<Services, ServiceError> {
    let config = node.config();
    let tls = match (config.rpc.ssl, config.rpc.sm_ssl) {
        (false, _) => None,
        (true, true) => return Err(ServiceError::SmTls),
        (true, false) => Some(server_tls(&config.cert)?),
    };
    let rpc = Arc::new(Rpc::new(node.clone()));
    sweep(tasks, rpc.filters());
    let sdk = Arc::new(Sdk::new(node.clone(), rpc));
    let address = format!("{}:{}", config.rpc.listen_ip, config.rpc.listen_port);
    let server = Server::bind("rpc", &address, ServerOptions { tls, ..ServerOptions::default() }).await?;
    let web3 = match node.groups().first() {
        Some(group) if config.web3.enable => {
            let eth = Arc::new(Eth::new(node.clone(), group.clone()));
            sweep(tasks, eth.filters());
            Some(open_web3(&config.web3, eth, tasks).await?)
        }
        _ => None,
    };
    let local = server.local_addr();
    let port = Port::new(Arc::clone(&sdk), Limits::default(), Some(Cors::default()), tasks.shutdown());
    let shutdown = tasks.shutdown().clone();
    tasks.spawn_graceful(async move { server.serve(port, shutdown).await });
    sdk.start(tasks);
    Ok(Services { rpc: local, web3, sdk })
}

async fn open_web3(config: &Web3RpcConfig, eth: Arc<Eth>, tasks: &Tasks) -> Result<SocketAddr, ServiceError> {
    let address = format!("{}:{}", config.listen_ip, config.listen_port);
    let server = Server::bind("web3_rpc", &address, ServerOptions::default()).await?;
    let local = server.local_addr();
    let limits = Limits { message: config.body_limit, ..Limits::default() };
    let cors = config.cors.then(|| Cors {
        origins: config.cors_origins.clone(),
        methods: config.cors_methods.clone(),
        headers: config.cors_headers.clone(),
        max_age: config.cors_max_age,
        credentials: config.cors_credentials,
    });
    let port = Port::new(eth, limits, cors, tasks.shutdown());
    let shutdown = tasks.shutdown().clone();
    tasks.spawn_graceful(async move { server.serve(port, shutdown).await });
    Ok(local)
}

fn sweep(tasks: &Tasks, filters: &Arc<Filters>) {
    let (filters, shutdown) = (Arc::clone(filters), tasks.shutdown().clone());
    tasks.spawn(async move {
        loop {
            tokio::select! {
                () = shutdown.triggered() => return,
                () = tokio::time::sleep(SWEEP) => filters.sweep(),
            }
        }
    });
}
