//! One look at another node, for a diagnosis.

use std::sync::Arc;
use std::time::Duration;

use bcos_consensus::{NodeId, NodeKeys};
use konsort_crypto::SuiteKind;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, TlsStream};

use super::handshake::{self, HandshakeError, Introduction};
use super::{NetworkError, Tls, explain};
use crate::config::NodeConfig;

const PATIENCE: Duration = Duration::from_secs(3);

/// What was found at an address.
#[derive(Debug)]
pub(crate) enum Seen {
    /// This node itself.
    Myself,
    /// A node of the chain, with the groups it runs.
    Node(NodeId, Vec<Arc<str>>),
}

/// Connects as the node would. The node behind the address sees a session that ends at once.
pub(crate) struct Probe {
    tls: Tls,
    keys: Arc<NodeKeys>,
    introduction: Introduction,
}

impl Probe {
    pub(crate) fn new(config: &NodeConfig, keys: Arc<NodeKeys>, suite: SuiteKind) -> Result<Self, NetworkError> {
        let chain = config.groups.first().map(|group| group.genesis.chain_id.clone()).unwrap_or_default();
        // No groups: the other node must not send anything about them.
        let introduction = Introduction { chain, suite, groups: Vec::new() };
        Ok(Self { tls: Tls::load(&config.cert)?, keys, introduction })
    }

    pub(crate) async fn look(&self, address: &str) -> Result<Seen, String> {
        tokio::time::timeout(PATIENCE, self.connect(address)).await.unwrap_or_else(|_| {
            Err(format!("no answer within {} s; is there a firewall in between?", PATIENCE.as_secs()))
        })
    }

    async fn connect(&self, address: &str) -> Result<Seen, String> {
        let stream = TcpStream::connect(address).await.map_err(|error| format!("{error}; does the node run?"))?;
        let remote = stream.peer_addr().map_err(|error| error.to_string())?;
        let connector = TlsConnector::from(Arc::clone(&self.tls.client));
        let stream = connector.connect(ServerName::IpAddress(remote.ip().into()), stream).await;
        let mut stream = TlsStream::Client(stream.map_err(|error| explain(&error))?);
        match handshake::run(&mut stream, &self.introduction, &*self.keys, true).await {
            Ok(partner) => Ok(Seen::Node(partner.node, partner.groups)),
            Err(HandshakeError::Myself) => Ok(Seen::Myself),
            // Under TLS 1.3 the other side's verdict on our certificate arrives with the first read.
            Err(HandshakeError::Broken(error)) => Err(explain(&error)),
            Err(error) => Err(error.to_string()),
        }
    }
}
