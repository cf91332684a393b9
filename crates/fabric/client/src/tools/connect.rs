//! One run of a `peer` command: its arguments, settings, identity, log and connections.

use std::path::Path;
use std::sync::Arc;

use fabric_channel::msp::SigningIdentity;
use fabric_proto::common::{Config, Envelope, OrdererAddresses};
use futures::future::join_all;
use prost::Message;
use tonic::transport::Channel;

use super::Console;
use super::command::Parsed;
use super::log::Log;
use super::settings::Settings;
use crate::{AdminClient, ClientError, Endpoint, OrdererClient, Signer};
use konsort_node::code_name;

/// Why a command failed, and whether its usage belongs to the explanation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// `None`: everything has been said already.
    pub(crate) text: Option<String>,
    pub(crate) usage: bool,
}

impl Failure {
    pub(crate) fn plain(text: impl Into<String>) -> Self {
        Self { text: Some(text.into()), usage: false }
    }

    pub(crate) fn with_usage(text: impl Into<String>) -> Self {
        Self { text: Some(text.into()), usage: true }
    }
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self::plain(text)
    }
}

/// An error of a call in the words of upstream's client library.
pub(crate) fn call_text(error: &ClientError) -> String {
    match error {
        ClientError::Refused { status, .. } => rpc_text(status),
        ClientError::Connect { reason, .. } => connect_text(reason),
        ClientError::Broadcast { status, info, .. } => format!("got unexpected status: {status} -- {info}"),
        ClientError::BadAnswer { reason, .. } => reason.clone(),
        other => other.to_string(),
    }
}

pub(crate) fn rpc_text(status: &tonic::Status) -> String {
    format!("rpc error: code = {} desc = {}", code_name(status.code()), status.message())
}

/// All that upstream's last line ever says about a connection that could not be made.
const NOT_CONNECTED: &str = "failed to create new connection: context deadline exceeded";

fn connect_text(reason: &str) -> String {
    if reason.contains("context deadline exceeded") {
        return format!("failed to create new connection: {reason}");
    }
    // Scripts grep for upstream's words; the cause tells people what to do.
    format!("{NOT_CONNECTED} ({reason})")
}

/// A file error in the words of the Go library.
pub(crate) fn file_text(operation: &str, path: &Path, error: &std::io::Error) -> String {
    let reason = match error.kind() {
        std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        std::io::ErrorKind::IsADirectory => return format!("read {}: is a directory", path.display()),
        _ => error.to_string(),
    };
    format!("{operation} {}: {reason}", path.display())
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| file_text("open", path, &error))
}

/// A command while it runs.
pub(crate) struct Session<'a, 'c> {
    pub(crate) parsed: &'a Parsed,
    pub(crate) console: &'a mut Console<'c>,
    pub(crate) log: Log,
    pub(crate) settings: Settings,
    pub(crate) signer: Arc<dyn Signer>,
}

impl<'a, 'c> Session<'a, 'c> {
    /// Reads settings and identity; failures are logged the way upstream does before it exits.
    pub(crate) fn open(parsed: &'a Parsed, console: &'a mut Console<'c>) -> Result<Self, Failure> {
        let mut log = Log::default();
        let mut fatal = |console: &mut Console<'_>, text: String| {
            log.error(console, "main", "InitCmd", &text);
            Failure { text: None, usage: false }
        };
        let settings = match Settings::load(console) {
            Ok(settings) => settings,
            Err(error) => {
                return Err(fatal(console, format!("Fatal error when initializing core config : {error}")));
            }
        };
        let folder = settings.msp_folder();
        let shown = folder.display().to_string();
        let checked = match std::fs::metadata(&folder) {
            Err(error) => Err(format!(
                "cannot init crypto, specified path {shown:?} does not exist or cannot be accessed: {}",
                file_text("stat", &folder, &error)
            )),
            Ok(kind) if !kind.is_dir() => {
                Err(format!("cannot init crypto, specified path {shown:?} is not a directory"))
            }
            Ok(_) if settings.msp_id().is_empty() => Err("the local MSP must have an ID".to_owned()),
            Ok(_) => SigningIdentity::from_folder(&folder, &settings.msp_id())
                .map_err(|error| format!("error when setting up MSP of type bccsp from directory {shown}: {error}")),
        };
        match checked {
            Ok(identity) => {
                let signer: Arc<dyn Signer> = Arc::new(identity);
                Ok(Self { parsed, console, log, settings, signer })
            }
            Err(error) => Err(fatal(console, format!("Cannot run peer because {error}"))),
        }
    }

    pub(crate) fn info(&mut self, logger: &str, function: &str, message: &str) {
        self.log.info(self.console, logger, function, message);
    }

    pub(crate) fn warn(&mut self, logger: &str, function: &str, message: &str) {
        self.log.warn(self.console, logger, function, message);
    }

    /// The peer that `address` and `root` name, or the one of the settings when `address` is empty.
    pub(crate) fn peer_endpoint(&self, address: &str, root: &str) -> Result<Endpoint, String> {
        let configured = address.is_empty();
        let address = if configured { self.settings.address() } else { address.to_owned() };
        let context = |text: String| {
            if configured { format!("failed to load config for PeerClient: {text}") } else { text }
        };
        let mut endpoint = Endpoint::plain(&address);
        if self.settings.tls_enabled() {
            let roots = if configured {
                read(&self.settings.file("peer.tls.rootcert.file"))
                    .map_err(|error| context(format!("unable to load peer.tls.rootcert.file: {error}")))?
            } else if root.is_empty() {
                return Err("tls root cert file must be set".into());
            } else {
                read(Path::new(root))
                    .map_err(|error| format!("unable to load TLS root cert file from {root}: {error}"))?
            };
            endpoint = Endpoint::tls(&address, roots).server_name(self.settings.server_name());
        }
        if self.settings.client_auth_required() {
            let load = |key: &str| {
                read(&self.settings.file(key)).map_err(|error| context(format!("unable to load {key}: {error}")))
            };
            endpoint = endpoint.client_certificate(load("peer.tls.clientCert.file")?, load("peer.tls.clientKey.file")?);
        }
        Ok(endpoint.connect_timeout(self.settings.connect_timeout()))
    }

    /// Connects to a peer.
    pub(crate) async fn peer(&mut self, address: &str, root: &str) -> Result<AdminClient, String> {
        let endpoint = self.peer_endpoint(address, root)?;
        let channel = self.dial("endorser", &endpoint).await?;
        Ok(AdminClient::new(channel, &endpoint, Arc::clone(&self.signer)))
    }

    /// Opens a connection. Why it failed is a line of the connection library's log with upstream, so it is one here.
    async fn dial(&mut self, kind: &str, endpoint: &Endpoint) -> Result<Channel, String> {
        let opened = match endpoint.check_plain().await {
            Ok(()) => endpoint.connect().await,
            Err(error) => Err(error),
        };
        let address = endpoint.address();
        opened.map_err(|error| {
            let ClientError::Connect { reason, .. } = &error else {
                return format!("{kind} client failed to connect to {address}: {}", call_text(&error));
            };
            let text = format!(
                "[core] grpc: addrConn.createTransport failed to connect to {{Addr: {address:?}, ServerName: {address:?}, }}. \
                 Err: connection error: desc = {reason:?}"
            );
            self.warn("grpc", "AddTraceEvent", &text);
            format!("{kind} client failed to connect to {address}: {NOT_CONNECTED}")
        })
    }

    /// Connects to every orderer of `-o`, which may name several between commas.
    pub(crate) async fn orderers(&mut self, addresses: &str) -> Result<Orderers, String> {
        let mut orderers = Vec::new();
        for address in addresses.split(',') {
            orderers.push(self.orderer(address).await?);
        }
        Ok(Orderers(orderers))
    }

    /// Connects to one orderer.
    pub(crate) async fn orderer(&mut self, address: &str) -> Result<OrdererClient, String> {
        let context = |text: String| format!("failed to load config for OrdererClient: {text}");
        let load = |flag: &str, key: &str| {
            let given = self.parsed.text(flag);
            let path = if given.is_empty() { Path::new("").to_path_buf() } else { self.settings.path(given) };
            read(&path).map_err(|error| context(format!("unable to load orderer.tls.{key}.file: {error}")))
        };
        let mut endpoint = Endpoint::plain(address);
        if self.parsed.switch("tls") {
            endpoint = Endpoint::tls(address, load("cafile", "rootcert")?)
                .server_name(self.parsed.text("ordererTLSHostnameOverride"));
        }
        if self.parsed.switch("clientauth") {
            let key = load("keyfile", "clientKey")?;
            endpoint = endpoint.client_certificate(load("certfile", "clientCert")?, key);
        }
        let endpoint = endpoint.connect_timeout(self.parsed.duration("connTimeout"));
        let channel = self.dial("orderer", &endpoint).await?;
        Ok(OrdererClient::new(channel, &endpoint, Arc::clone(&self.signer)))
    }

    /// Where the channel's configuration says its orderers are.
    pub(crate) async fn orderer_addresses(&self, peer: &AdminClient, channel: &str) -> Result<Vec<String>, String> {
        let config = peer.channel_config(channel).await.map_err(|error| match error {
            ClientError::Endorsement { status, message } => format!("error bad proposal response {status}: {message}"),
            other => format!("error endorsing GetChannelConfig: {}", call_text(&other)),
        })?;
        Ok(addresses_of(&config))
    }
}

/// The orderers that a transaction goes to.
pub(crate) struct Orderers(Vec<OrdererClient>);

impl Orderers {
    /// Sends to all of them. None may fail to answer; of the answers the last one counts, as upstream has it.
    pub(crate) async fn broadcast(&self, envelope: &Envelope) -> Result<(), ClientError> {
        let mut last = Ok(());
        for answer in join_all(self.0.iter().map(|orderer| orderer.broadcast(envelope.clone()))).await {
            match answer {
                Ok(()) | Err(ClientError::Broadcast { .. }) => last = answer,
                Err(error) => return Err(error),
            }
        }
        last
    }
}

/// Orderer endpoints of a channel: those of the organisations, else the old global list.
pub(crate) fn addresses_of(config: &Config) -> Vec<String> {
    let decode = |value: &fabric_proto::common::ConfigValue| {
        OrdererAddresses::decode(value.value.clone()).map(|list| list.addresses).unwrap_or_default()
    };
    let Some(channel) = &config.channel_group else { return Vec::new() };
    let organizations: Vec<String> = channel
        .groups
        .get("Orderer")
        .map(|orderer| orderer.groups.values().filter_map(|org| org.values.get("Endpoints")).flat_map(decode).collect())
        .unwrap_or_default();
    if !organizations.is_empty() {
        return organizations;
    }
    channel.values.get("OrdererAddresses").map(decode).unwrap_or_default()
}
