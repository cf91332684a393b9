//! orderer.yaml: upstream's keys, defaults and `ORDERER_` overrides.

use std::path::PathBuf;
use std::time::Duration;

use konsort_node::{Config, Roots, ServerTls, TlsIdentity};

use crate::error::OrdererError;

/// TLS settings of one listener.
#[derive(Clone, Debug, Default)]
pub struct TlsSettings {
    /// Whether TLS is on.
    pub enabled: bool,
    /// Certificate file.
    pub certificate: PathBuf,
    /// Key file.
    pub private_key: PathBuf,
    /// Whether callers must show a certificate.
    pub client_auth_required: bool,
    /// Files of the authorities callers' certificates come from.
    pub client_root_cas: Vec<PathBuf>,
    /// Files of the authorities of other orderers.
    pub root_cas: Vec<PathBuf>,
}

/// How orderers reach each other.
#[derive(Clone, Debug)]
pub struct ClusterSettings {
    /// A listener of its own for other orderers, when configured.
    pub listen: Option<String>,
    /// TLS of that listener.
    pub server: TlsSettings,
    /// Certificate file shown to other orderers; the general one when empty.
    pub client_certificate: Option<PathBuf>,
    /// Its key.
    pub client_private_key: Option<PathBuf>,
    /// Authorities of other orderers' certificates, besides those of the channels.
    pub root_cas: Vec<PathBuf>,
    /// How long a connection may take.
    pub dial_timeout: Duration,
    /// How long another orderer may take to answer.
    pub rpc_timeout: Duration,
    /// Messages that may wait for one other orderer.
    pub send_buffer: usize,
    /// Pause between attempts to pull blocks.
    pub replication_retry: Duration,
}

/// The settings of an orderer.
#[derive(Clone, Debug)]
pub struct OrdererConfig {
    /// `host:port` of the broadcast and deliver services.
    pub listen: String,
    /// TLS of that listener.
    pub tls: TlsSettings,
    /// The cluster's settings.
    pub cluster: ClusterSettings,
    /// The folder of the orderer's own identity.
    pub msp_dir: PathBuf,
    /// Its MSP id.
    pub mspid: String,
    /// How far a deliver request's time may be off.
    pub time_window: Duration,
    /// Leaves expired identities alone.
    pub no_expiration_checks: bool,
    /// Largest message received.
    pub max_receive: usize,
    /// Largest message sent.
    pub max_send: usize,
    /// Where the blocks are.
    pub ledger: PathBuf,
    /// Where the Raft logs are.
    pub wal: PathBuf,
    /// How long without a leader before a node asks whether it was removed.
    pub eviction_suspicion: Duration,
    /// A tick interval that overrides the channels' own.
    pub tick_override: Option<Duration>,
    /// Whether the participation API is on.
    pub participation: bool,
    /// Largest request body of that API.
    pub max_request_body: usize,
    /// Its listener.
    pub admin_listen: String,
    /// Its TLS.
    pub admin_tls: TlsSettings,
    /// The operations listener.
    pub operations_listen: String,
    /// Its TLS.
    pub operations_tls: TlsSettings,
    /// Whether metrics are served.
    pub metrics: bool,
}

fn tls(config: &Config, key: &str) -> Result<TlsSettings, OrdererError> {
    let at = |name: &str| format!("{key}.{name}");
    Ok(TlsSettings {
        enabled: config.bool(&at("Enabled"))?.unwrap_or(false),
        certificate: config.path(&at("Certificate")).unwrap_or_default(),
        private_key: config.path(&at("PrivateKey")).unwrap_or_default(),
        client_auth_required: config.bool(&at("ClientAuthRequired"))?.unwrap_or(false),
        client_root_cas: config.paths(&at("ClientRootCAs")),
        root_cas: config.paths(&at("RootCAs")),
    })
}

impl OrdererConfig {
    /// Reads the keys this orderer knows; unknown ones are ignored as upstream ignores them.
    pub fn load(config: &Config) -> Result<Self, OrdererError> {
        let text = |key: &str, default: &str| {
            Some(config.string(key)).filter(|s| !s.is_empty()).unwrap_or_else(|| default.to_owned())
        };
        let time = |key: &str, default: Duration| {
            Ok::<_, OrdererError>(config.duration(key)?.filter(|d| !d.is_zero()).unwrap_or(default))
        };
        let number =
            |key: &str, default: i64| Ok::<_, OrdererError>(config.integer(key)?.filter(|n| *n > 0).unwrap_or(default));
        let port = |key: &str, default: i64| -> Result<i64, OrdererError> {
            let port = config.integer(key)?.unwrap_or(default);
            if (0..=65535).contains(&port) {
                Ok(port)
            } else {
                Err(OrdererError::Setting { key: "ListenPort", problem: format!("{port} is not a port number") })
            }
        };
        let cluster_address = config.string("General.Cluster.ListenAddress");
        let cluster_port = port("General.Cluster.ListenPort", 0)?;
        let cluster_tls = TlsSettings {
            enabled: true,
            certificate: config.path("General.Cluster.ServerCertificate").unwrap_or_default(),
            private_key: config.path("General.Cluster.ServerPrivateKey").unwrap_or_default(),
            ..TlsSettings::default()
        };
        let own_listener = !cluster_address.is_empty() && cluster_port > 0;
        if own_listener
            && (cluster_tls.certificate.as_os_str().is_empty() || cluster_tls.private_key.as_os_str().is_empty())
        {
            return Err(OrdererError::Setting {
                key: "General.Cluster",
                problem: "with ListenAddress and ListenPort, ServerCertificate and ServerPrivateKey must be set too"
                    .to_owned(),
            });
        }
        let location =
            config.path("FileLedger.Location").unwrap_or_else(|| PathBuf::from("/var/hyperledger/production/orderer"));
        let wal = config.path("Consensus.WALDir").unwrap_or_else(|| location.join("etcdraft/wal"));
        Ok(Self {
            listen: format!("{}:{}", text("General.ListenAddress", "127.0.0.1"), port("General.ListenPort", 7050)?),
            tls: tls(config, "General.TLS")?,
            cluster: ClusterSettings {
                listen: own_listener.then(|| format!("{cluster_address}:{cluster_port}")),
                server: cluster_tls,
                client_certificate: config.path("General.Cluster.ClientCertificate"),
                client_private_key: config.path("General.Cluster.ClientPrivateKey"),
                root_cas: config.paths("General.Cluster.RootCAs"),
                dial_timeout: time("General.Cluster.DialTimeout", Duration::from_secs(5))?,
                rpc_timeout: time("General.Cluster.RPCTimeout", Duration::from_secs(7))?,
                send_buffer: number("General.Cluster.SendBufferSize", 100)? as usize,
                replication_retry: time("General.Cluster.ReplicationRetryTimeout", Duration::from_secs(5))?,
            },
            msp_dir: config.path("General.LocalMSPDir").unwrap_or_else(|| config.resolve("msp")),
            mspid: text("General.LocalMSPID", "SampleOrg"),
            time_window: time("General.Authentication.TimeWindow", Duration::from_mins(15))?,
            no_expiration_checks: config.bool("General.Authentication.NoExpirationChecks")?.unwrap_or(false),
            max_receive: number("General.MaxRecvMsgSize", konsort_node::MAX_MESSAGE_SIZE as i64)? as usize,
            max_send: number("General.MaxSendMsgSize", konsort_node::MAX_MESSAGE_SIZE as i64)? as usize,
            ledger: location,
            wal,
            eviction_suspicion: time("Consensus.EvictionSuspicion", Duration::from_mins(10))?,
            tick_override: config.duration("Consensus.TickIntervalOverride")?.filter(|d| !d.is_zero()),
            participation: config.bool("ChannelParticipation.Enabled")?.unwrap_or(true),
            max_request_body: config.size("ChannelParticipation.MaxRequestBodySize")?.unwrap_or(1 << 20) as usize,
            admin_listen: text("Admin.ListenAddress", "127.0.0.1:0"),
            admin_tls: tls(config, "Admin.TLS")?,
            operations_listen: text("Operations.ListenAddress", "127.0.0.1:0"),
            operations_tls: tls(config, "Operations.TLS")?,
            metrics: config.string("Metrics.Provider") == "prometheus",
        })
    }
}

impl TlsSettings {
    /// The certificate and key.
    pub(crate) fn identity(&self) -> Result<TlsIdentity, OrdererError> {
        Ok(TlsIdentity::from_files(&self.certificate, &self.private_key)?)
    }

    /// The listener's TLS; none when it is off. `unasked` is how callers are treated that need not show a certificate.
    pub(crate) fn server(&self, unasked: konsort_node::ClientAuth) -> Result<Option<ServerTls>, OrdererError> {
        if !self.enabled {
            return Ok(None);
        }
        let client_auth = if self.client_auth_required { konsort_node::ClientAuth::Require } else { unasked };
        let client_roots = Roots::from_files(&self.client_root_cas)?;
        Ok(Some(ServerTls { identity: self.identity()?, client_auth, client_roots }))
    }
}
