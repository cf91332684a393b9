//! A whole peer: its parts in the order in which they need each other.

mod chaincode;
mod follow;

use std::sync::Arc;
use std::time::Duration;

use fabric_chaincode::{PackageError, Runtime};
use fabric_channel::msp::MspError;
use fabric_proto::protos::deliver_server::DeliverServer;
use konsort_node::logging::LogHandle;
use konsort_node::{
    ClientAuth, Clock, ConfigError, DialOptions, Health, Metrics, Operations, OperationsOptions, Roots, ServeError,
    Server, ServerOptions, ServerTls, Shutdown, SystemClock, Tasks, TlsError, TlsIdentity,
};
use tonic::service::Routes;

use crate::channel::{ChannelError, Channels};
use crate::config::PeerConfig;
use crate::connections::Connections;
use crate::deliver::{Deliver, DeliverParts};
use crate::discovery::Discovery;
use crate::endorser::{Endorser, EndorserParts, EndorserSettings};
use crate::gateway::{Gateway, GatewayParts};
use crate::gossip::{Gossip, GossipOptions, Myself, Timing};
use crate::local::{GossipNotary, Local};
use crate::scc::{PrivateValues, PrivateValuesError};
use follow::Follower;

/// The version that clients and dashboards read: the upstream release whose behaviour this peer has.
const VERSION: &str = "3.1.5";

/// The methods that are streams.
const STREAMS: [&str; 5] = [
    "/protos.Deliver/Deliver",
    "/protos.Deliver/DeliverFiltered",
    "/protos.Deliver/DeliverWithPrivateData",
    "/gossip.Gossip/GossipStream",
    "/gateway.Gateway/ChaincodeEvents",
];

/// How long open requests may go on after a stop was wished.
const GRACE: Duration = Duration::from_secs(5);

/// Why a peer cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The MSP folder cannot be used.
    #[error("cannot use the MSP folder {path} (peer.mspConfigPath) of {mspid}: {source}")]
    Msp {
        /// The folder.
        path: String,
        /// The organisation.
        mspid: String,
        /// What is wrong.
        source: MspError,
    },
    /// TLS material cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A channel does not open.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// The chaincode runtime does not open.
    #[error("cannot open the chaincode runtime: {0}")]
    Runtime(#[from] PackageError),
    /// The store of approvals does not open.
    #[error("cannot open the store of approvals: {0}")]
    Approvals(#[from] PrivateValuesError),
    /// A listener does not listen.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The peer's own identity is not valid in its own organisation.
    #[error("the peer's certificate in {0} is not valid in its own MSP; issue a new one")]
    Identity(String),
    /// A part the peer cannot do without stopped.
    #[error("the peer stopped: {0}")]
    Stopped(String),
}

/// Starts a peer and runs it until a stop is wished.
pub async fn run(config: PeerConfig, log: LogHandle, shutdown: Shutdown) -> Result<(), PeerError> {
    tracing::info!(
        "Starting peer:\n Version: {VERSION}\n Peer: {} ({})\n Chaincode: listens on {}, is told {}",
        config.id,
        config.msp_id,
        config.chaincode_listen_address,
        config.chaincode_address
    );
    let tasks = Tasks::new(shutdown.clone());
    let result = start(&config, log, &tasks).await;
    if let Ok(runtime) = &result {
        shutdown.triggered().await;
        tracing::info!("stopping: {}", shutdown.reason().unwrap_or_default());
        runtime.stop().await;
    } else {
        shutdown.trigger("the peer could not start");
    }
    if !tasks.stop(GRACE).await {
        tracing::warn!("some tasks did not end within {} s", GRACE.as_secs());
    }
    result.map(drop)
}

/// The listener's rules with roots that follow the channels' configurations.
struct Trust {
    /// Authorities whose TLS certificates we accept when we call.
    servers: Roots,
    /// Authorities whose client certificates we accept.
    clients: Roots,
    /// Those of the configuration, which stay whatever channels say.
    fixed: Vec<Vec<u8>>,
}

impl Trust {
    fn new(config: &PeerConfig, local: &Local, tls: Option<&ServerTls>) -> Self {
        let files = config.tls.client_roots.iter().chain(&config.tls.root);
        let mut fixed: Vec<Vec<u8>> = files.filter_map(|file| std::fs::read(file).ok()).collect();
        fixed.extend(local.msp().tls_root_certs().iter().map(|pem| pem.to_vec()));
        let servers = Roots::new();
        if let Err(error) = servers.replace(&fixed) {
            tracing::warn!("TLS roots: {error}");
        }
        Self { servers, clients: tls.map(|tls| tls.client_roots.clone()).unwrap_or_default(), fixed }
    }

    /// Takes in the authorities of all organisations of all channels.
    fn update(&self, channels: &Channels) {
        let mut all = self.fixed.clone();
        for channel in channels.list() {
            for msp in channel.bundle().msp_manager().msps() {
                all.extend(msp.tls_root_certs().iter().chain(msp.tls_intermediate_certs()).map(|pem| pem.to_vec()));
            }
        }
        for roots in [&self.servers, &self.clients] {
            if let Err(error) = roots.replace(&all) {
                tracing::warn!("TLS roots of a channel cannot be used: {error}");
            }
        }
    }
}

async fn start(config: &PeerConfig, log: LogHandle, tasks: &Tasks) -> Result<Runtime, PeerError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let shutdown = tasks.shutdown().clone();
    let metrics = Metrics::new();
    metrics.process();
    metrics.gauge("fabric_version", "The active version of Fabric.", &["version"]).with(&[VERSION]).set(1.0);
    let health = Health::new();
    let local = Local::open(&config.msp_path, &config.msp_id).map_err(|source| PeerError::Msp {
        path: config.msp_path.display().to_string(),
        mspid: config.msp_id.clone(),
        source,
    })?;

    // Listeners first: a taken port shows before anything is opened or started.
    let tls = config.tls.server(ClientAuth::Request)?;
    let options = ServerOptions {
        tls: tls.clone(),
        keepalive_interval: config.keepalive.0,
        keepalive_timeout: config.keepalive.1,
        metrics: Some(metrics.clone()),
        ..ServerOptions::default()
    };
    let listener = Server::bind("peer listener (peer.listenAddress)", &config.listen_address, options).await?;
    let runtime = Runtime::open(chaincode::settings(config, &metrics)?)?;
    let chaincode_listener = chaincode::listener(config, &runtime).await?;
    let operations = operations(config, log, &metrics, &health).await?;

    let known = Arc::new(fabric_validation::KnownSignatures::default());
    let folder = config.data_path.join("channels");
    let (history, figures) = (config.history, metrics.clone());
    let opened = tokio::task::spawn_blocking(move || Channels::open(&folder, history, known, &figures)).await;
    let (channels, joined) = opened.map_err(|error| PeerError::Stopped(format!("opening the ledgers: {error}")))??;
    let connections = Connections::new(config)?;
    let trust = Trust::new(config, &local, tls.as_ref());
    trust.update(&channels);

    let private_values = Arc::new(PrivateValues::open(config.data_path.join("approvals"))?);
    let endorser = Endorser::new(
        EndorserParts {
            local_msp: local.msp().clone(),
            signer: local.signer().clone(),
            channels: Arc::new(channels.clone()),
            runtime: runtime.clone(),
            private_values,
            metrics: &metrics,
        },
        EndorserSettings { time_window: config.time_window, concurrency: config.endorser_limit },
    );
    let gossip = gossip(config, &local, &channels, &trust, &connections, tls.as_ref(), &*clock)?;

    gossip_figures(&metrics, &gossip, &channels);

    let mutual_tls = config.tls.enabled && config.tls.client_auth_required;
    let deliver = Deliver::new(DeliverParts {
        channels: channels.clone(),
        access: endorser.access().clone(),
        clock: Arc::clone(&clock),
        window: config.time_window,
        mutual_tls,
        limit: config.deliver_limit,
        metrics: &metrics,
        shutdown: shutdown.clone(),
    });
    let deliver = DeliverServer::new(deliver)
        .max_decoding_message_size(config.max_message_size)
        .max_encoding_message_size(config.max_message_size);
    let mut routes = Routes::new(endorser.service()).add_service(deliver);
    if config.gateway.enabled {
        let gateway = Gateway::new(GatewayParts {
            endorser: endorser.clone(),
            channels: channels.clone(),
            connections: connections.clone(),
            gossip: gossip.clone(),
            mspid: config.msp_id.clone(),
            address: if config.external_endpoint.is_empty() {
                config.address.clone()
            } else {
                config.external_endpoint.clone()
            },
            settings: config.gateway.clone(),
            limit: config.gateway_limit,
            shutdown: shutdown.clone(),
        });
        routes = routes.add_service(gateway.service(config.max_message_size));
    }
    routes = gossip.add_to(routes);
    if config.discovery {
        let discovery = Discovery::new(channels.clone(), gossip.clone(), endorser.clone(), mutual_tls);
        routes = discovery.add_to(routes);
    }

    let healthy = channels.clone();
    health.register("channels", move || {
        let halted: Vec<String> = healthy
            .list()
            .iter()
            .filter_map(|channel| Some(format!("{}: {}", channel.id(), channel.halted()?)))
            .collect();
        async move { if halted.is_empty() { Ok(()) } else { Err(halted.join("; ")) } }
    });
    if let Some(operations) = operations {
        tasks.spawn_graceful(operations.serve(shutdown.clone()));
    }
    tasks.spawn_graceful(chaincode_listener.serve_grpc(Routes::new(runtime.service()), shutdown.clone()));
    gossip.start(tasks);
    let follower = Follower { channels, endorser, gossip, trust: Arc::new(trust), runtime: runtime.clone() };
    follow::start(tasks, follower, joined, local, connections, config.delivery.minimal_reconnect_interval);
    let address = listener.local_addr();
    let router = konsort_node::count_requests(routes.into_axum_router(), &metrics, &STREAMS);
    tasks.spawn_graceful(listener.serve(router, shutdown));
    tracing::info!(
        "Started peer with ID=[{}], network ID=[{}], address=[{}], listening on {address}",
        config.id,
        config.network_id,
        config.address
    );
    Ok(runtime)
}

async fn operations(
    config: &PeerConfig,
    log: LogHandle,
    metrics: &Metrics,
    health: &Health,
) -> Result<Option<Operations>, PeerError> {
    if config.operations_address.is_empty() {
        return Ok(None);
    }
    let operations = Operations::bind(OperationsOptions {
        address: config.operations_address.clone(),
        tls: config.operations_tls.server(ClientAuth::VerifyIfGiven)?,
        version: VERSION.to_owned(),
        commit: "konsort".to_owned(),
        metrics: config.metrics.then(|| metrics.clone()),
        health: health.clone(),
        log,
    })
    .await?;
    Ok(Some(operations))
}

/// What gossip knows, read at every scrape.
fn gossip_figures(metrics: &Metrics, gossip: &Gossip, channels: &Channels) {
    let peers = metrics.gauge("gossip_membership_total_peers_known", "Total known peers", &["channel"]);
    let received = metrics.counter("gossip_comm_messages_received", "Number of messages received", &[]).with(&[]);
    let sent = metrics.counter("gossip_comm_messages_sent", "Number of messages sent", &[]).with(&[]);
    let (gossip, channels) = (gossip.clone(), channels.clone());
    metrics.on_scrape(move || {
        for channel in channels.list() {
            peers.with(&[channel.id()]).set(gossip.channel_peers(channel.id()).len() as f64);
        }
        let messages = gossip.messages();
        received.add(messages.0 as f64 - received.get());
        sent.add(messages.1 as f64 - sent.get());
    });
}

fn gossip(
    config: &PeerConfig,
    local: &Local,
    channels: &Channels,
    trust: &Trust,
    connections: &Connections,
    tls: Option<&ServerTls>,
    clock: &dyn Clock,
) -> Result<Gossip, PeerError> {
    let notary = GossipNotary { local: local.clone(), channels: channels.clone() };
    let client = tls.map(|_| konsort_node::ClientTls {
        roots: trust.servers.clone(),
        identity: connections.identity().cloned(),
        server_name_override: None,
    });
    let bootstrap =
        config.bootstrap.iter().filter(|endpoint| **endpoint != config.internal_endpoint).cloned().collect();
    Gossip::new(GossipOptions {
        notary: Arc::new(notary),
        myself: Myself {
            endpoint: config.external_endpoint.clone(),
            internal_endpoint: config.internal_endpoint.clone(),
            incarnation: clock.unix_nanos(),
            bootstrap,
        },
        timing: Timing::default(),
        server_certificate: tls.map(|tls| tls.identity.certificate()),
        client_certificate: connections.identity().map(TlsIdentity::certificate),
        dial_options: DialOptions { tls: client, ..DialOptions::default() },
    })
    .ok_or_else(|| PeerError::Identity(config.msp_path.display().to_string()))
}
