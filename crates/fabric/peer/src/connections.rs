//! Connections to other nodes, each opened once and shared by everybody who needs it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fabric_channel::config::Bundle;
use konsort_node::{DialError, DialOptions, TlsError, TlsIdentity};
use parking_lot::Mutex;
use tonic::transport::Channel as Transport;

use crate::config::{AddressOverride, PeerConfig, TlsSettings};

/// A node to call: where, whose, and by which authorities its certificate is judged.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// `host:port` as the channel's configuration or another peer says it.
    pub address: String,
    /// Its organisation.
    pub mspid: String,
    /// The organisation's TLS authorities (PEM).
    pub roots: Vec<Bytes>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address cannot be dialled.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The authorities cannot be used.
    #[error("{address}: {source}")]
    Roots {
        /// The address.
        address: String,
        /// The reason.
        source: TlsError,
    },
}

/// All connections of a peer. Clones share them.
#[derive(Clone, Debug)]
pub struct Connections(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    tls: bool,
    identity: Option<TlsIdentity>,
    overrides: std::collections::BTreeMap<String, AddressOverride>,
    keepalive: (Duration, Duration),
    orderer_keepalive: (Duration, Duration),
    connect_timeout: Duration,
    open: Mutex<HashMap<Endpoint, Transport>>,
}

impl Connections {
    /// With the peer's settings; nothing is dialled yet.
    pub fn new(config: &PeerConfig) -> Result<Self, TlsError> {
        let identity = if config.tls.enabled { Some(config.tls.client_identity()?) } else { None };
        Ok(Self(Arc::new(Inner {
            tls: config.tls.enabled,
            identity,
            overrides: config.delivery.overrides.clone(),
            keepalive: config.client_keepalive,
            orderer_keepalive: config.delivery.keepalive,
            connect_timeout: config.delivery.connect_timeout,
            open: Mutex::default(),
        })))
    }

    /// Our certificate as a TLS client.
    pub fn identity(&self) -> Option<&TlsIdentity> {
        self.0.identity.as_ref()
    }

    /// The address that is really dialled for an orderer, and how to call it in logs.
    pub fn orderer_label(&self, address: &str) -> String {
        match self.0.overrides.get(address) {
            Some(other) => format!("{} (mapped from {address})", other.to),
            None => address.to_owned(),
        }
    }

    /// A connection to an orderer, by the other address if one is configured.
    pub fn orderer(&self, endpoint: &Endpoint) -> Result<Transport, ConnectError> {
        let keepalive = self.0.orderer_keepalive;
        let Some(other) = self.0.overrides.get(&endpoint.address) else { return self.open(endpoint, keepalive) };
        let roots = match &other.roots {
            None => endpoint.roots.clone(),
            Some(file) => {
                let text = std::fs::read(file).map_err(|source| ConnectError::Roots {
                    address: other.to.clone(),
                    source: TlsError::Read { what: "TLS root certificate", path: file.clone(), source },
                })?;
                vec![Bytes::from(text)]
            }
        };
        self.open(&Endpoint { address: other.to.clone(), mspid: endpoint.mspid.clone(), roots }, keepalive)
    }

    /// A connection to a node; it is made at the first call and again after a break.
    pub fn get(&self, endpoint: &Endpoint) -> Result<Transport, ConnectError> {
        self.open(endpoint, self.0.keepalive)
    }

    fn open(&self, endpoint: &Endpoint, keepalive: (Duration, Duration)) -> Result<Transport, ConnectError> {
        if let Some(transport) = self.0.open.lock().get(endpoint) {
            return Ok(transport.clone());
        }
        let tls = if self.0.tls {
            let client = TlsSettings::client(self.0.identity.clone(), &endpoint.roots)
                .map_err(|source| ConnectError::Roots { address: endpoint.address.clone(), source })?;
            Some(client)
        } else {
            None
        };
        let options = DialOptions {
            tls,
            connect_timeout: self.0.connect_timeout,
            keepalive_interval: keepalive.0,
            keepalive_timeout: keepalive.1,
        };
        let transport = konsort_node::dial(&endpoint.address, &options)?;
        Ok(self.0.open.lock().entry(endpoint.clone()).or_insert(transport).clone())
    }

    /// Forgets a connection that failed, so that the next call makes a new one.
    pub fn forget(&self, endpoint: &Endpoint) {
        self.0.open.lock().remove(endpoint);
    }
}

/// The TLS authorities of an organisation on a channel.
pub fn tls_roots(bundle: &Bundle, mspid: &str) -> Vec<Bytes> {
    bundle
        .msp_manager()
        .msp(mspid)
        .map_or_else(Vec::new, |msp| msp.tls_root_certs().iter().chain(msp.tls_intermediate_certs()).cloned().collect())
}

/// The orderers of a channel.
pub fn orderers(bundle: &Bundle) -> Vec<Endpoint> {
    let Some(orderer) = bundle.orderer() else { return Vec::new() };
    let named: Vec<Endpoint> = orderer
        .endpoints()
        .map(|(organization, address)| Endpoint {
            address: address.to_owned(),
            mspid: organization.msp_id.clone(),
            roots: tls_roots(bundle, &organization.msp_id),
        })
        .collect();
    if !named.is_empty() {
        return named;
    }
    // Channels older than organisations' own endpoints name addresses for all; any orderer organisation may answer there.
    let roots: Vec<Bytes> =
        orderer.organizations.values().flat_map(|organization| tls_roots(bundle, &organization.msp_id)).collect();
    let global = bundle.orderer_addresses().iter();
    global.map(|address| Endpoint { address: address.clone(), mspid: String::new(), roots: roots.clone() }).collect()
}
