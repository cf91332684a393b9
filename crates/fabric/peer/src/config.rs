//! The peer's settings, under the keys of upstream's `core.yaml`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use konsort_node::{ClientAuth, ClientTls, Config, ConfigError, Environment, Roots, ServerTls, TlsError, TlsIdentity};

/// Everything a peer is told at its start.
#[derive(Clone, Debug)]
pub struct PeerConfig {
    /// `peer.id`: a name for logs.
    pub id: String,
    /// `peer.networkId`: a name for logs.
    pub network_id: String,
    /// `peer.listenAddress`.
    pub listen_address: String,
    /// `peer.address`: under which its own organisation reaches it.
    pub address: String,
    /// `peer.chaincodeListenAddress`; port 7052 of the peer's host when not set.
    pub chaincode_listen_address: String,
    /// `peer.chaincodeAddress`: under which chaincode reaches it.
    pub chaincode_address: String,
    /// `peer.localMspId`.
    pub msp_id: String,
    /// `peer.mspConfigPath`.
    pub msp_path: PathBuf,
    /// `peer.fileSystemPath`: everything the peer keeps.
    pub data_path: PathBuf,
    /// `peer.tls`.
    pub tls: TlsSettings,
    /// `peer.gateway`.
    pub gateway: GatewaySettings,
    /// `peer.deliveryclient`.
    pub delivery: DeliverySettings,
    /// `peer.authentication.timewindow`: how far a caller's clock may be off.
    pub time_window: Duration,
    /// `peer.limits.concurrency.endorserService`; 0 is no limit.
    pub endorser_limit: usize,
    /// `peer.limits.concurrency.deliverService`.
    pub deliver_limit: usize,
    /// `peer.limits.concurrency.gatewayService`.
    pub gateway_limit: usize,
    /// `peer.maxRecvMsgSize` and `peer.maxSendMsgSize` (the larger), bytes.
    pub max_message_size: usize,
    /// `peer.keepalive.interval` and `timeout` of the listener.
    pub keepalive: (Duration, Duration),
    /// `peer.keepalive.client.interval` and `timeout`.
    pub client_keepalive: (Duration, Duration),
    /// `operations.listenAddress`.
    pub operations_address: String,
    /// `operations.tls`.
    pub operations_tls: TlsSettings,
    /// `metrics.provider` is `prometheus`.
    pub metrics: bool,
    /// `ledger.history.enableHistoryDatabase`.
    pub history: bool,
    /// `ledger.state.totalQueryLimit`.
    pub total_query_limit: u32,
    /// `chaincode.mode` is `dev`: chaincode is started by a person.
    pub chaincode_dev_mode: bool,
    /// Where other organisations reach this peer (`peer.gossip.externalEndpoint`); empty when they shall not know it.
    pub external_endpoint: String,
    /// Where the own organisation reaches it (`peer.gossip.endpoint`).
    pub internal_endpoint: String,
    /// Peers of the own organisation to contact first (`peer.gossip.bootstrap`).
    pub bootstrap: Vec<String>,
    /// `peer.discovery.enabled`.
    pub discovery: bool,
    /// Our own program, which holds built-in contracts and confines chaincode; `None` for neither.
    pub program: Option<PathBuf>,
    /// The file and environment themselves, for parts with settings of their own.
    pub source: Config,
}

/// TLS of one listener.
#[derive(Clone, Debug, Default)]
pub struct TlsSettings {
    /// Off means plain text.
    pub enabled: bool,
    /// Callers must show a certificate.
    pub client_auth_required: bool,
    /// The certificate's file.
    pub certificate: Option<PathBuf>,
    /// The key's file.
    pub key: Option<PathBuf>,
    /// The file of the authority of our own certificate.
    pub root: Option<PathBuf>,
    /// Files of the authorities of callers' certificates.
    pub client_roots: Vec<PathBuf>,
    /// Our certificate as a caller, when it is another one.
    pub client_certificate: Option<PathBuf>,
    /// The key to it.
    pub client_key: Option<PathBuf>,
}

/// How the gateway works.
#[derive(Clone, Debug)]
pub struct GatewaySettings {
    /// Off means that the service is not offered.
    pub enabled: bool,
    /// How long one endorsement may take.
    pub endorsement_timeout: Duration,
    /// How long handing a transaction to one orderer may take.
    pub broadcast_timeout: Duration,
    /// How long connecting may take.
    pub dial_timeout: Duration,
}

/// How blocks are fetched.
#[derive(Clone, Debug)]
pub struct DeliverySettings {
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// The first pause after a failure.
    pub minimal_reconnect_interval: Duration,
    /// `peer.keepalive.deliveryClient.interval` and `timeout`: silence after which an orderer is pinged, and how long its answer may
    /// take.
    pub keepalive: (Duration, Duration),
    /// Other addresses for orderers than the channel's configuration says.
    pub overrides: BTreeMap<String, AddressOverride>,
}

/// One other address.
#[derive(Clone, Debug)]
pub struct AddressOverride {
    /// The address to dial.
    pub to: String,
    /// File of its TLS authorities.
    pub roots: Option<PathBuf>,
}

impl PeerConfig {
    /// Reads `core.yaml` where upstream looks for it, under `CORE_` variables.
    pub fn find(environment: &Environment) -> Result<Self, ConfigError> {
        Self::from_config(&Config::find("core.yaml", "CORE", environment)?)
    }

    /// Takes the settings from a configuration.
    pub fn from_config(config: &Config) -> Result<Self, ConfigError> {
        let listen_address = non_empty(config.string("peer.listenAddress"), "0.0.0.0:7051");
        let address = own_address(config, &listen_address)?;
        let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host).to_owned();
        let chaincode_listen_address = non_empty(config.string("peer.chaincodeListenAddress"), &format!("{host}:7052"));
        let chaincode_address = match config.string("peer.chaincodeAddress") {
            given if !given.is_empty() => given,
            _ => match chaincode_listen_address.rsplit_once(':') {
                Some(("" | "0.0.0.0" | "[::]", port)) => format!("{host}:{port}"),
                _ => chaincode_listen_address.clone(),
            },
        };
        let seconds = |key: &str, default: u64| -> Result<Duration, ConfigError> {
            Ok(config.duration(key)?.filter(|value| !value.is_zero()).unwrap_or(Duration::from_secs(default)))
        };
        let number = |key: &str, default: i64| -> Result<i64, ConfigError> {
            Ok(config.integer(key)?.filter(|value| *value >= 0).unwrap_or(default))
        };
        let largest = number("peer.maxRecvMsgSize", 0)?.max(number("peer.maxSendMsgSize", 0)?) as usize;
        Ok(Self {
            id: config.string("peer.id"),
            network_id: config.string("peer.networkId"),
            chaincode_listen_address,
            chaincode_address,
            msp_id: config.required("peer.localMspId")?,
            msp_path: config.path("peer.mspConfigPath").unwrap_or_else(|| config.resolve("msp")),
            data_path: config
                .path("peer.fileSystemPath")
                .unwrap_or_else(|| PathBuf::from("/var/hyperledger/production")),
            tls: TlsSettings::read(config, "peer.tls")?,
            gateway: GatewaySettings {
                enabled: config.bool("peer.gateway.enabled")?.unwrap_or(true),
                endorsement_timeout: seconds("peer.gateway.endorsementTimeout", 30)?,
                broadcast_timeout: seconds("peer.gateway.broadcastTimeout", 30)?,
                dial_timeout: seconds("peer.gateway.dialTimeout", 120)?,
            },
            delivery: DeliverySettings {
                connect_timeout: seconds("peer.deliveryclient.connTimeout", 3)?,
                minimal_reconnect_interval: config
                    .duration("peer.deliveryclient.minimalReconnectInterval")?
                    .filter(|value| !value.is_zero())
                    .unwrap_or(Duration::from_millis(100)),
                keepalive: (
                    seconds("peer.keepalive.deliveryClient.interval", 60)?,
                    seconds("peer.keepalive.deliveryClient.timeout", 20)?,
                ),
                overrides: overrides(config)?,
            },
            time_window: seconds("peer.authentication.timewindow", 15 * 60)?,
            endorser_limit: number("peer.limits.concurrency.endorserService", 0)? as usize,
            deliver_limit: number("peer.limits.concurrency.deliverService", 0)? as usize,
            gateway_limit: number("peer.limits.concurrency.gatewayService", 500)? as usize,
            max_message_size: if largest == 0 { konsort_node::MAX_MESSAGE_SIZE } else { largest },
            keepalive: (seconds("peer.keepalive.interval", 7200)?, seconds("peer.keepalive.timeout", 20)?),
            client_keepalive: (
                seconds("peer.keepalive.client.interval", 60)?,
                seconds("peer.keepalive.client.timeout", 20)?,
            ),
            operations_address: config.string("operations.listenAddress"),
            operations_tls: TlsSettings::read(config, "operations.tls")?,
            metrics: config.string("metrics.provider") == "prometheus",
            history: config.bool("ledger.history.enableHistoryDatabase")?.unwrap_or(true),
            total_query_limit: u32::try_from(number("ledger.state.totalQueryLimit", 100_000)?).unwrap_or(u32::MAX),
            chaincode_dev_mode: config.string("chaincode.mode") == "dev",
            external_endpoint: config.string("peer.gossip.externalEndpoint"),
            internal_endpoint: non_empty(config.string("peer.gossip.endpoint"), &address),
            bootstrap: config.list("peer.gossip.bootstrap"),
            discovery: config.bool("peer.discovery.enabled")?.unwrap_or(true),
            program: std::env::current_exe().ok(),
            listen_address,
            address,
            source: config.clone(),
        })
    }
}

fn non_empty(value: String, default: &str) -> String {
    if value.is_empty() { default.to_owned() } else { value }
}

/// `peer.address`; when it names no host, the address this machine uses to talk to others.
fn own_address(config: &Config, listen_address: &str) -> Result<String, ConfigError> {
    let address = non_empty(config.string("peer.address"), listen_address);
    let detect = config.bool("peer.addressAutoDetect")?.unwrap_or(false);
    Ok(match address.rsplit_once(':') {
        Some((host, port)) if detect || matches!(host, "" | "0.0.0.0" | "[::]") => {
            format!("{}:{port}", machine_address())
        }
        _ => address,
    })
}

fn machine_address() -> String {
    // Connecting a datagram socket sends nothing; it only makes the system choose a route.
    std::net::UdpSocket::bind("0.0.0.0:0")
        .and_then(|socket| socket.connect("192.0.2.1:9").map(|()| socket))
        .and_then(|socket| socket.local_addr())
        .map_or("127.0.0.1".to_owned(), |address| address.ip().to_string())
}

fn overrides(config: &Config) -> Result<BTreeMap<String, AddressOverride>, ConfigError> {
    #[derive(serde::Deserialize)]
    struct Entry {
        from: String,
        to: String,
        #[serde(default)]
        cacertsfile: String,
    }
    let entries: Vec<Entry> = config.value("peer.deliveryclient.addressOverrides")?.unwrap_or_default();
    Ok(entries
        .into_iter()
        .map(|entry| {
            let roots = (!entry.cacertsfile.is_empty()).then(|| config.resolve(&entry.cacertsfile));
            (entry.from, AddressOverride { to: entry.to, roots })
        })
        .collect())
}

impl TlsSettings {
    fn read(config: &Config, prefix: &str) -> Result<Self, ConfigError> {
        let key = |name: &str| format!("{prefix}.{name}");
        Ok(Self {
            enabled: config.bool(&key("enabled"))?.unwrap_or(false),
            client_auth_required: config.bool(&key("clientAuthRequired"))?.unwrap_or(false),
            certificate: config.path(&key("cert.file")),
            key: config.path(&key("key.file")),
            root: config.path(&key("rootcert.file")),
            client_roots: config.paths(&key("clientRootCAs.files")),
            client_certificate: config.path(&key("clientCert.file")),
            client_key: config.path(&key("clientKey.file")),
        })
    }

    /// Our identity on this listener.
    pub fn identity(&self) -> Result<TlsIdentity, TlsError> {
        let certificate = self.certificate.as_ref().ok_or(TlsError::Incomplete { what: "certificate file" })?;
        let key = self.key.as_ref().ok_or(TlsError::Incomplete { what: "key file" })?;
        TlsIdentity::from_files(certificate, key)
    }

    /// Our identity as a caller.
    pub fn client_identity(&self) -> Result<TlsIdentity, TlsError> {
        match (&self.client_certificate, &self.client_key) {
            (Some(certificate), Some(key)) => TlsIdentity::from_files(certificate, key),
            _ => self.identity(),
        }
    }

    /// The listener's rules; `unverified` is what a listener that requires no certificate does about one.
    pub fn server(&self, unverified: ClientAuth) -> Result<Option<ServerTls>, TlsError> {
        if !self.enabled {
            return Ok(None);
        }
        Ok(Some(ServerTls {
            identity: self.identity()?,
            client_auth: if self.client_auth_required { ClientAuth::Require } else { unverified },
            client_roots: Roots::from_files(self.client_roots.iter().chain(&self.root))?,
        }))
    }

    /// The rules for calling servers of these authorities (PEM texts).
    pub fn client<P: AsRef<[u8]>>(
        identity: Option<TlsIdentity>,
        roots: impl IntoIterator<Item = P>,
    ) -> Result<ClientTls, TlsError> {
        Ok(ClientTls { roots: Roots::from_pem(roots)?, identity, server_name_override: None })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn keys_of_core_yaml() {
        let yaml = "
peer:
  localMspId: Org1MSP
  listenAddress: 0.0.0.0:7051
  address: peer0.org1:7051
  mspConfigPath: msp
  tls: {enabled: true, cert: {file: tls/server.crt}, clientRootCAs: {files: [tls/ca.crt]}}
  deliveryclient:
    addressOverrides:
      - {from: 'orderer:7050', to: '127.0.0.1:7050', caCertsFile: o.pem}
metrics: {provider: prometheus}
";
        let environment =
            Environment::from_pairs([("CORE_PEER_GATEWAY_ENDORSEMENTTIMEOUT", "5s"), ("CORE_PEER_ID", "p0")]);
        let config = Config::from_yaml(yaml, "/etc/p/core.yaml", "core", &environment).unwrap();
        let peer = PeerConfig::from_config(&config).unwrap();
        assert_eq!((peer.id.as_str(), peer.msp_id.as_str()), ("p0", "Org1MSP"));
        assert_eq!(peer.gateway.endorsement_timeout, Duration::from_secs(5));
        assert_eq!(peer.chaincode_address, "peer0.org1:7052");
        assert_eq!(peer.msp_path, Path::new("/etc/p/msp"));
        assert_eq!(peer.tls.client_roots, [PathBuf::from("/etc/p/tls/ca.crt")]);
        let other = &peer.delivery.overrides["orderer:7050"];
        assert_eq!((other.to.as_str(), other.roots.as_deref()), ("127.0.0.1:7050", Some(Path::new("/etc/p/o.pem"))));
        assert!(peer.metrics);
    }
}
