//! The network between nodes: own protocol over mutual TLS. It does not join nodes of the C++ implementation.
//!
//! Every pair of nodes shares one session. A node dials what `nodes.json` lists, again and again with growing pauses, and
//! takes whoever dials it, has a certificate of the chain's CA, proves its node id, and is not kept out by the lists.

mod amop;
mod frame;
mod handshake;
mod lists;
mod probe;
mod session;
mod tls;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bcos_consensus::{Keys, NodeId, NodeKeys};
use bytes::Bytes;
use konsort_crypto::SuiteKind;
use konsort_node::metrics::{Counter, Gauge};
use konsort_node::{Metrics, Shutdown, TlsError};
use parking_lot::{Mutex, RwLock};
use rustls::pki_types::ServerName;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

pub(crate) use amop::AmopLink;
use frame::NO_GROUP;
pub(crate) use frame::{Message, Standing};
use handshake::{HandshakeError, Introduction};
use lists::Lists;
pub(crate) use probe::{Probe, Seen};
use session::Session;
use tls::Tls;
pub(crate) use tls::{roots, server_tls};

use crate::api::{PeerInfo, PeerView};
use crate::config::NodeConfig;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
const CONNECT: Duration = Duration::from_secs(5);
/// Connections that may be in their handshake at once.
const MAX_HANDSHAKES: usize = 64;

/// Why the network cannot start.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// TLS material cannot be used.
    #[error("p2p: {0}; make the node's certificates again with the chain builder or correct [cert]")]
    Certificate(#[from] TlsError),
    /// The port is taken or the address is not ours.
    #[error("p2p: cannot listen on {address}: {source}; change listen_ip or listen_port in [p2p]")]
    Listen {
        /// The address.
        address: String,
        /// The system's reason.
        source: std::io::Error,
    },
}

/// Where the messages of one group go. What does not fit is dropped; every protocol above asks again.
#[derive(Debug)]
pub(crate) struct Port {
    pub group: Arc<str>,
    /// Consensus messages and standings.
    pub urgent: mpsc::Sender<(NodeId, Message)>,
    /// Everything else.
    pub bulk: mpsc::Sender<(NodeId, Message)>,
}

/// The node's side of all sessions. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Network(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    keys: Arc<NodeKeys>,
    introduction: Introduction,
    tls: Tls,
    config_file: PathBuf,
    nodes_file: PathBuf,
    max_frame: usize,
    ports: Vec<Port>,
    /// Messages about no group.
    node: mpsc::Sender<(NodeId, Message)>,
    sessions: RwLock<HashMap<NodeId, Arc<Session>>>,
    changes: watch::Sender<u64>,
    lists: RwLock<Lists>,
    endpoint: SocketAddr,
    /// Addresses with a task that dials them, and the node found there.
    dialled: Mutex<BTreeMap<String, Option<NodeId>>>,
    handshakes: tokio::sync::Semaphore,
    shutdown: Shutdown,
    lost: AtomicU64,
    /// Connections so far.
    opened: AtomicU64,
    metrics: NetworkMetrics,
}

#[derive(Debug)]
struct NetworkMetrics {
    sessions: Gauge,
    sent: Counter,
    received: Counter,
    dropped: Counter,
    refused: Counter,
}

impl NetworkMetrics {
    fn new(metrics: &Metrics) -> Self {
        let counter = |name: &str, help: &str| metrics.counter(name, help, &[]).with(&[]);
        Self {
            sessions: metrics.gauge("bcos_p2p_sessions", "Nodes connected.", &[]).with(&[]),
            sent: counter("bcos_p2p_sent_bytes", "Bytes of messages given to sessions."),
            received: counter("bcos_p2p_received_bytes", "Bytes of messages received."),
            dropped: counter("bcos_p2p_dropped_messages", "Messages received and dropped because the group was busy."),
            refused: counter("bcos_p2p_refused_connections", "Connections refused in the handshake."),
        }
    }
}

impl Network {
    /// Listens and begins to dial.
    pub(crate) async fn start(
        config: &NodeConfig,
        keys: Arc<NodeKeys>,
        suite: SuiteKind,
        ports: Vec<Port>,
        node: mpsc::Sender<(NodeId, Message)>,
        metrics: &Metrics,
        shutdown: Shutdown,
    ) -> Result<Self, NetworkError> {
        let tls = Tls::load(&config.cert)?;
        let address = format!("{}:{}", config.p2p.listen_ip, config.p2p.listen_port);
        let listen = |source| NetworkError::Listen { address: address.clone(), source };
        let listener = TcpListener::bind(&address).await.map_err(listen)?;
        let endpoint = listener.local_addr().map_err(listen)?;
        let introduction = Introduction {
            chain: config.groups.first().map(|group| group.genesis.chain_id.clone()).unwrap_or_default(),
            suite,
            groups: ports.iter().map(|port| Arc::clone(&port.group)).collect(),
        };
        let network = Self(Arc::new(Inner {
            keys,
            introduction,
            tls,
            config_file: config.file.clone(),
            nodes_file: config.p2p.nodes_file.clone(),
            max_frame: config.p2p.max_message,
            ports,
            node,
            sessions: RwLock::default(),
            changes: watch::channel(0).0,
            lists: RwLock::new(Lists::new(&config.p2p.deny, &config.p2p.allow)),
            endpoint,
            dialled: Mutex::default(),
            handshakes: tokio::sync::Semaphore::new(MAX_HANDSHAKES),
            shutdown,
            lost: AtomicU64::new(0),
            opened: AtomicU64::new(0),
            metrics: NetworkMetrics::new(metrics),
        }));
        tracing::info!("p2p: listening on {endpoint}");
        network.spawn(network.clone().listen(listener));
        network.spawn(lists::watch(network.clone()));
        network.dial_all(&config.p2p.nodes);
        Ok(network)
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let shutdown = self.0.shutdown.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = shutdown.triggered() => {}
                () = task => {}
            }
        });
    }

    pub(crate) fn p2p_id(&self) -> &str {
        &self.0.tls.p2p_id
    }

    /// Changes whenever somebody comes or goes.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    fn group(&self, group: usize) -> Option<&Arc<str>> {
        self.0.ports.get(group).map(|port| &port.group)
    }

    /// The connected nodes that run the group with this place in our list.
    pub(crate) fn peers(&self, group: usize) -> Vec<NodeId> {
        let Some(name) = self.group(group) else { return Vec::new() };
        let sessions = self.0.sessions.read();
        sessions
            .values()
            .filter(|session| session.partner.groups.contains(name))
            .map(|s| s.partner.node.clone())
            .collect()
    }

    /// Sends to one node; false when it is not connected.
    pub(crate) fn send(&self, group: usize, to: &NodeId, message: &Message) -> bool {
        let session = self.0.sessions.read().get(to).cloned();
        let Some(session) = session else { return false };
        let frame = message.encode(group as u8);
        self.0.metrics.sent.add(frame.len() as f64);
        session.send(frame, message.is_urgent())
    }

    /// Sends to every connected node of the group but one.
    pub(crate) fn broadcast(&self, group: usize, message: &Message, except: Option<&NodeId>) -> usize {
        let Some(name) = self.group(group) else { return 0 };
        let targets: Vec<Arc<Session>> = {
            let sessions = self.0.sessions.read();
            let wanted = |session: &&Arc<Session>| {
                session.partner.groups.contains(name) && Some(&session.partner.node) != except
            };
            sessions.values().filter(wanted).cloned().collect()
        };
        if targets.is_empty() {
            return 0;
        }
        let frame = message.encode(group as u8);
        self.0.metrics.sent.add((frame.len() * targets.len()) as f64);
        targets.iter().filter(|session| session.send(frame.clone(), message.is_urgent())).count()
    }

    /// All connected nodes, each with the number of its connection: another connection has another number.
    fn all(&self) -> HashMap<NodeId, u64> {
        self.0.sessions.read().iter().map(|(node, session)| (node.clone(), session.serial)).collect()
    }

    /// Sends a message about no group.
    fn send_plain(&self, to: &NodeId, message: &Message) -> bool {
        let session = self.0.sessions.read().get(to).cloned();
        session.is_some_and(|session| session.send(message.encode(NO_GROUP), false))
    }

    async fn listen(self, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, address)) => {
                    let network = self.clone();
                    self.spawn(async move { network.accept(stream, address).await });
                }
                Err(error) => {
                    tracing::warn!("p2p: cannot accept a connection: {error}");
                    tokio::time::sleep(FIRST_PAUSE).await;
                }
            }
        }
    }

    async fn accept(&self, stream: TcpStream, address: SocketAddr) {
        let Ok(permit) = self.0.handshakes.try_acquire() else {
            tracing::warn!("p2p: {address} is refused, {MAX_HANDSHAKES} connections are in their handshake already");
            return;
        };
        let outcome = self.enter(stream, address, false, None).await;
        drop(permit);
        match outcome {
            Ok(run) => run.await,
            Err(reason) => {
                self.0.metrics.refused.inc();
                tracing::warn!("p2p: the connection from {address} is refused: {reason}");
            }
        }
    }

    /// TLS, introduction, admission; what it gives runs the session.
    async fn enter(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        dialled: bool,
        name: Option<&str>,
    ) -> Result<impl Future<Output = ()> + Send + 'static, String> {
        let text = |error: std::io::Error| explain(&error);
        stream.set_nodelay(true).map_err(text)?;
        let secured = async {
            Ok(if dialled {
                let connector = TlsConnector::from(Arc::clone(&self.0.tls.client));
                // Certificates name no hosts, so the name in the handshake means nothing.
                let host = ServerName::IpAddress(address.ip().into());
                TlsStream::Client(connector.connect(host, stream).await?)
            } else {
                TlsStream::Server(TlsAcceptor::from(Arc::clone(&self.0.tls.server)).accept(stream).await?)
            })
        };
        let secured = tokio::time::timeout(CONNECT, secured).await;
        let mut stream: TlsStream<TcpStream> =
            secured.map_err(|_| format!("no TLS handshake within {} s", CONNECT.as_secs()))?.map_err(text)?;
        let partner = handshake::run(&mut stream, &self.0.introduction, &*self.0.keys, dialled).await;
        let partner = match partner {
            Ok(partner) => partner,
            Err(HandshakeError::Myself) => {
                if let Some(name) = name {
                    self.0.dialled.lock().insert(name.to_owned(), Some(self.0.keys.me().clone()));
                }
                return Err(HandshakeError::Myself.to_string());
            }
            Err(error) => return Err(error.to_string()),
        };
        if let Some(name) = name {
            self.0.dialled.lock().insert(name.to_owned(), Some(partner.node.clone()));
        }
        self.0.lists.read().check(&partner).map_err(|error| error.to_string())?;
        // The index of a group in the partner's list, to the place of the same group in ours.
        let places: Vec<Option<usize>> =
            partner.groups.iter().map(|group| self.0.ports.iter().position(|port| port.group == *group)).collect();
        let node = partner.node.clone();
        let serial = self.0.opened.fetch_add(1, Ordering::Relaxed);
        let (session, ends) = Session::new(partner, address, dialled, serial);
        if !self.register(&session) {
            return Err("both nodes dialled each other, the other connection stays".to_owned());
        }
        let network = self.clone();
        Ok(async move {
            let receive = {
                let network = network.clone();
                let node = node.clone();
                let session = Arc::clone(&session);
                move |frame: Bytes| network.receive(&session, &node, &places, frame)
            };
            let ended = session::run(stream, ends, network.0.max_frame, receive).await;
            network.unregister(&session);
            tracing::info!(%node, "p2p: the connection with {address} ended: {ended}");
        })
    }

    /// Of two connections between the same nodes the one that the smaller node id opened stays; of two of the same kind the newer.
    fn register(&self, session: &Arc<Session>) -> bool {
        let mut sessions = self.0.sessions.write();
        let me = self.0.keys.me();
        let opened_by_smaller = |session: &Session| session.dialled == (me < &session.partner.node);
        if let Some(other) = sessions.get(&session.partner.node)
            && !other.closed.is_cancelled()
        {
            if opened_by_smaller(other) && !opened_by_smaller(session) {
                return false;
            }
            other.closed.cancel();
        }
        sessions.insert(session.partner.node.clone(), Arc::clone(session));
        self.0.metrics.sessions.set(sessions.len() as f64);
        drop(sessions);
        tracing::info!(node = %session.partner.node, "p2p: connected with {}", session.endpoint);
        self.0.changes.send_modify(|version| *version += 1);
        true
    }

    fn unregister(&self, session: &Arc<Session>) {
        let mut sessions = self.0.sessions.write();
        if sessions.get(&session.partner.node).is_some_and(|current| Arc::ptr_eq(current, session)) {
            sessions.remove(&session.partner.node);
        }
        self.0.metrics.sessions.set(sessions.len() as f64);
        drop(sessions);
        self.0.changes.send_modify(|version| *version += 1);
    }

    fn receive(&self, session: &Session, node: &NodeId, places: &[Option<usize>], frame: Bytes) {
        self.0.metrics.received.add(frame.len() as f64);
        let (group, message) = match Message::decode(frame) {
            Ok(decoded) => decoded,
            Err(error) => {
                tracing::warn!(%node, "p2p: unreadable message, the connection is closed: {error}");
                session.closed.cancel();
                return;
            }
        };
        if group == NO_GROUP {
            if self.0.node.try_send((node.clone(), message)).is_err() {
                self.0.metrics.dropped.inc();
            }
            return;
        }
        // A group this node does not run, or no longer runs.
        let Some(port) = places.get(group as usize).copied().flatten().and_then(|place| self.0.ports.get(place)) else {
            return;
        };
        let queue = if message.is_urgent() { &port.urgent } else { &port.bulk };
        if queue.try_send((node.clone(), message)).is_err() {
            self.0.metrics.dropped.inc();
            let lost = self.0.lost.fetch_add(1, Ordering::Relaxed) + 1;
            if lost.is_power_of_two() {
                tracing::warn!(%node, group = %port.group, "p2p: the group is busy, {lost} messages were dropped so far");
            }
        }
    }

    /// Begins to dial what is new in the list; tasks of what is gone end by themselves.
    fn dial_all(&self, addresses: &[String]) {
        let mut dialled = self.0.dialled.lock();
        dialled.retain(|address, _| addresses.contains(address));
        for address in addresses {
            if !dialled.contains_key(address) {
                dialled.insert(address.clone(), None);
                self.spawn(self.clone().dial(address.clone()));
            }
        }
    }

    async fn dial(self, address: String) {
        let mut pause = FIRST_PAUSE;
        let mut told = String::new();
        let mut changes = self.changes();
        loop {
            // Which node is there is known after the first time; while it is connected, by whichever side, there is nothing to do.
            let known = match self.0.dialled.lock().get(&address) {
                None => return,
                Some(known) => known.clone(),
            };
            if let Some(node) = known {
                if node == *self.0.keys.me() {
                    return;
                }
                if self.0.sessions.read().contains_key(&node) {
                    pause = FIRST_PAUSE;
                    told.clear();
                    let _closed = changes.changed().await;
                    continue;
                }
            }
            match self.reach(&address).await {
                Ok(run) => {
                    self.spawn(run);
                    continue;
                }
                Err(reason) => {
                    if reason != told {
                        tracing::info!("p2p: cannot reach {address}: {reason}");
                        told = reason;
                    }
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(LONGEST_PAUSE);
        }
    }

    async fn reach(&self, address: &str) -> Result<impl Future<Output = ()> + Send + 'static, String> {
        let stream = tokio::time::timeout(CONNECT, TcpStream::connect(address)).await;
        let stream =
            stream.map_err(|_| format!("no answer within {} s", CONNECT.as_secs()))?.map_err(|e| e.to_string())?;
        let remote = stream.peer_addr().map_err(|error| error.to_string())?;
        self.enter(stream, remote, true, Some(address)).await
    }

    /// Takes other lists and closes the sessions they forbid.
    fn set_lists(&self, lists: Lists) {
        let sessions: Vec<Arc<Session>> = self.0.sessions.read().values().cloned().collect();
        for session in sessions {
            if let Err(reason) = lists.check(&session.partner) {
                tracing::warn!("p2p: closing a connection after a change of the lists: {reason}");
                session.closed.cancel();
            }
        }
        *self.0.lists.write() = lists;
    }
}

impl PeerView for Network {
    fn connected(&self) -> Vec<PeerInfo> {
        let mut peers: Vec<PeerInfo> = self
            .0
            .sessions
            .read()
            .values()
            .map(|session| PeerInfo {
                p2p_id: session.partner.p2p_id.clone(),
                node_id: session.partner.node.to_hex(),
                endpoint: session.endpoint.to_string(),
                groups: session.partner.groups.iter().map(ToString::to_string).collect(),
            })
            .collect();
        peers.sort_by(|a, b| a.node_id.cmp(&b.node_id));
        peers
    }

    fn endpoint(&self) -> String {
        self.0.endpoint.to_string()
    }
}

/// Our own verdict on a certificate in its own words.
fn explain(error: &std::io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(rustls::CertificateError::Other(other))) => {
            format!("the other node's certificate is not accepted by this chain's CA: {}", other.0)
        }
        Some(rustls::Error::AlertReceived(alert)) => {
            format!("the other node refused TLS ({alert:?}); do both certificates come from the same ca.crt?")
        }
        Some(other) => other.to_string(),
        None => error.to_string(),
    }
}
