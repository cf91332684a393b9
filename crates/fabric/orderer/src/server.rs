//! The composition of an orderer: its listeners, its channels, its stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fabric_channel::msp::SigningIdentity;
use fabric_channel::protoutil::Signer;
use fabric_proto::orderer::cluster_server::ClusterServer;
use konsort_node::logging::LogHandle;
use konsort_node::{
    ClientAuth, ClientTls, Health, Metrics, Operations, OperationsOptions, Server, ServerOptions, ServerTls, Shutdown,
    TlsIdentity,
};
use tonic::service::Routes;

use crate::cluster::{Cluster, ClusterService, Trust};
use crate::config::OrdererConfig;
use crate::deliver::DeliverRules;
use crate::error::OrdererError;
use crate::metrics::OrdererMetrics;
use crate::participation;
use crate::raft::RaftNode;
use crate::registrar::Registrar;
use crate::service::AtomicBroadcast;

/// A running orderer.
#[derive(Debug)]
pub struct Orderer {
    registrar: Registrar,
    shutdown: Shutdown,
    listeners: Vec<tokio::task::JoinHandle<()>>,
    local: SocketAddr,
    admin: SocketAddr,
    operations: SocketAddr,
}

/// The version that clients and dashboards read: the upstream release whose behaviour this orderer has.
const VERSION: &str = "3.1.5";

/// The methods that are streams.
const STREAMS: [&str; 3] =
    ["/orderer.AtomicBroadcast/Broadcast", "/orderer.AtomicBroadcast/Deliver", "/orderer.Cluster/Step"];

fn require_tls(tls: &crate::config::TlsSettings, key: &'static str) -> Result<(), OrdererError> {
    if tls.enabled {
        Ok(())
    } else {
        Err(OrdererError::Setting {
            key,
            problem: "TLS must be enabled: other orderers know each other by their TLS certificates".to_owned(),
        })
    }
}

/// How this node dials other orderers.
fn cluster_tls(config: &OrdererConfig, trust: &Trust) -> Result<ClientTls, OrdererError> {
    let cluster = &config.cluster;
    let identity = match (&cluster.client_certificate, &cluster.client_private_key) {
        (Some(certificate), Some(key)) => TlsIdentity::from_files(certificate, key)?,
        _ => config.tls.identity()?,
    };
    Ok(ClientTls { roots: trust.servers.clone(), identity: Some(identity), server_name_override: None })
}

impl Orderer {
    /// Opens the channels and starts to listen.
    pub async fn start(config: OrdererConfig, log: LogHandle, shutdown: Shutdown) -> Result<Self, OrdererError> {
        require_tls(&config.tls, "General.TLS.Enabled")?;
        let metrics = Metrics::new();
        metrics.process();
        metrics.gauge("fabric_version", "The active version of Fabric.", &["version"]).with(&[VERSION]).set(1.0);
        let families = OrdererMetrics::new(&metrics);
        let signer = SigningIdentity::from_folder(&config.msp_dir, &config.mspid).map_err(|source| {
            OrdererError::Identity { mspid: config.mspid.clone(), folder: config.msp_dir.clone(), source }
        })?;
        let signer: Arc<dyn Signer> = Arc::new(signer);
        let own_certificate = match &config.cluster.listen {
            Some(_) => config.cluster.server.identity()?.certificate(),
            None => config.tls.identity()?.certificate(),
        };
        let server_files = [config.cluster.root_cas.as_slice(), config.tls.root_cas.as_slice()].concat();
        let trust = Trust::new(&server_files, &config.tls.client_root_cas)?;
        let general =
            config.tls.server(ClientAuth::Request)?.map(|tls| ServerTls { client_roots: trust.clients.clone(), ..tls });
        let dialling = cluster_tls(&config, &trust)?;
        let cluster = Cluster::new(
            Some(dialling),
            config.cluster.dial_timeout,
            config.cluster.send_buffer,
            families.clone(),
            trust,
        );
        let node = RaftNode {
            cluster: cluster.clone(),
            wal: config.wal.clone(),
            certificate: own_certificate,
            metrics: families.clone(),
            rpc_timeout: config.cluster.rpc_timeout,
            tick_override: config.tick_override,
            eviction_suspicion: config.eviction_suspicion,
        };
        // Listeners first: a port that is taken must not cost the recovery of all channels to find out.
        let options = |tls| ServerOptions { tls, metrics: Some(metrics.clone()), ..ServerOptions::default() };
        let main = Server::bind("orderer", &config.listen, options(general)).await?;
        let admin_tls = config.admin_tls.server(ClientAuth::VerifyIfGiven)?;
        let admin = Server::bind("channel participation", &config.admin_listen, options(admin_tls)).await?;
        let cluster_listener = match &config.cluster.listen {
            None => None,
            Some(address) => {
                let tls = config.cluster.server.server(ClientAuth::Request)?;
                Some(Server::bind("orderer cluster", address, options(tls)).await?)
            }
        };
        let operations = Operations::bind(OperationsOptions {
            address: config.operations_listen.clone(),
            tls: config.operations_tls.server(ClientAuth::VerifyIfGiven)?,
            version: VERSION.to_owned(),
            commit: "konsort".to_owned(),
            metrics: config.metrics.then(|| metrics.clone()),
            health: Health::new(),
            log,
        })
        .await?;
        let registrar = {
            let (ledger, check) = (config.ledger.clone(), !config.no_expiration_checks);
            tokio::task::block_in_place(|| Registrar::open(&ledger, signer, node, check))?
        };
        let service = AtomicBroadcast {
            registrar: registrar.clone(),
            rules: DeliverRules {
                time_window: config.time_window,
                bind_to_tls: config.tls.client_auth_required,
                ignore_expiration: config.no_expiration_checks,
            },
            metrics: families,
            max_receive: config.max_receive,
            max_send: config.max_send,
        };
        let limit = konsort_node::MAX_MESSAGE_SIZE;
        let steps = ClusterServer::new(ClusterService(cluster))
            .max_decoding_message_size(limit)
            .max_encoding_message_size(limit);
        let (local, admin_address, operations_address) =
            (main.local_addr(), admin.local_addr(), operations.local_addr());
        let counted = |routes: Routes| konsort_node::count_requests(routes.into_axum_router(), &metrics, &STREAMS);
        let mut listeners = Vec::new();
        let mut routes = Routes::new(service);
        match cluster_listener {
            Some(listener) => {
                listeners.push(tokio::spawn(listener.serve(counted(Routes::new(steps)), shutdown.clone())));
            }
            None => routes = routes.add_service(steps),
        }
        listeners.push(tokio::spawn(main.serve(counted(routes), shutdown.clone())));
        let api = participation::router(registrar.clone(), config.participation, config.max_request_body);
        listeners.push(tokio::spawn(admin.serve(api, shutdown.clone())));
        listeners.push(tokio::spawn(operations.serve(shutdown.clone())));
        tracing::info!(
            "Beginning to serve requests on {local}, channel participation on {admin_address}, operations on {operations_address}"
        );
        Ok(Self { registrar, shutdown, listeners, local, admin: admin_address, operations: operations_address })
    }

    /// Where broadcast and deliver listen.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Where the participation API listens.
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin
    }

    /// Where the operations service listens.
    pub fn operations_addr(&self) -> SocketAddr {
        self.operations
    }

    /// The channels.
    pub fn registrar(&self) -> &Registrar {
        &self.registrar
    }

    /// Waits for the wish to stop, then stops everything in order.
    pub async fn wait(self) {
        self.shutdown.triggered().await;
        self.registrar.stop().await;
        for listener in self.listeners {
            let _stopped = tokio::time::timeout(Duration::from_secs(5), listener).await;
        }
    }
}

/// Runs an orderer until `shutdown` is wished.
pub async fn run(config: OrdererConfig, log: LogHandle, shutdown: Shutdown) -> Result<(), OrdererError> {
    let orderer = Orderer::start(config, log, shutdown).await?;
    orderer.wait().await;
    Ok(())
}
