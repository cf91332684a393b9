//! Connections of the gossip protocol: the handshake that binds an identity to a TLS session, and the streams.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fabric_proto::gossip::gossip_client::GossipClient;
use fabric_proto::gossip::gossip_message::Content;
use fabric_proto::gossip::gossip_server::Gossip as GossipService;
use fabric_proto::gossip::{Empty, Envelope};
use futures::{Stream, StreamExt as _};
use konsort_crypto::hash::sha256;
use konsort_node::{ConnectionInfo, DialOptions, dial_observed};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::membership::LinkId;
use super::message::{self, Notary};

/// How long the other side may take for its part of the handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Messages that may wait for a slow receiver before it is disconnected.
const SEND_BUFFER: usize = 200;
/// Largest gossip message; identities and membership lists are small.
const MAX_MESSAGE: usize = 16 * 1024 * 1024;

/// What the transport reports.
#[derive(Debug)]
pub(super) enum Event {
    Connected { link: LinkId, identity: Bytes, dialled: Option<String> },
    Disconnected { link: LinkId },
    Unreachable { endpoint: String },
    Received { link: LinkId, envelope: Envelope },
}

/// All connections of this peer.
#[derive(Debug)]
pub(super) struct Transport {
    notary: Arc<dyn Notary>,
    pki_id: Bytes,
    /// SHA-256 of the certificates this peer shows as a server and as a client; empty without TLS.
    server_certificate: Bytes,
    client_certificate: Bytes,
    dial_options: DialOptions,
    events: mpsc::Sender<Event>,
    links: Mutex<HashMap<LinkId, mpsc::Sender<Result<Envelope, Status>>>>,
    next_link: AtomicU64,
    pub(super) received: AtomicU64,
    pub(super) sent: AtomicU64,
}

/// Why a connection was not accepted.
#[derive(Debug, thiserror::Error)]
enum HandshakeError {
    #[error("the other side ended the stream before the connection message")]
    Ended,
    #[error("no connection message within {} s", HANDSHAKE_TIMEOUT.as_secs())]
    Silent,
    #[error("expected a connection message")]
    WrongMessage,
    #[error("no TLS certificate")]
    NoCertificate,
    #[error("the TLS certificate hash in the connection message is not that of the TLS session")]
    WrongCertificate,
    #[error("the peer id does not belong to the identity")]
    WrongId,
    #[error("the identity is not valid here or did not sign the connection message")]
    Unauthentic,
    #[error("the other side only probed")]
    Probe,
}

impl Transport {
    pub(super) fn new(
        notary: Arc<dyn Notary>,
        pki_id: Bytes,
        server_certificate_der: Option<Bytes>,
        client_certificate_der: Option<Bytes>,
        dial_options: DialOptions,
        events: mpsc::Sender<Event>,
    ) -> Self {
        let hash = |der: Option<Bytes>| der.map(|der| Bytes::copy_from_slice(&sha256(&der))).unwrap_or_default();
        Self {
            notary,
            pki_id,
            server_certificate: hash(server_certificate_der),
            client_certificate: hash(client_certificate_der),
            dial_options,
            events,
            links: Mutex::new(HashMap::new()),
            next_link: AtomicU64::new(1),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
        }
    }

    /// Sends without waiting; a receiver that does not keep up is disconnected.
    pub(super) fn send(&self, link: LinkId, envelope: Envelope) {
        self.sent.fetch_add(1, Ordering::Relaxed);
        let mut links = self.links.lock();
        if let Some(sender) = links.get(&link)
            && sender.try_send(Ok(envelope)).is_err()
        {
            links.remove(&link);
        }
    }

    /// Closes a connection.
    pub(super) fn close(&self, link: LinkId) {
        self.links.lock().remove(&link);
    }

    /// Opens a connection in the background.
    pub(super) fn dial(self: &Arc<Self>, endpoint: String) {
        let transport = Arc::clone(self);
        tokio::spawn(async move {
            if let Err(error) = transport.connect(&endpoint).await {
                tracing::debug!(target: "gossip.comm", endpoint, %error, "cannot connect");
                transport.report(Event::Unreachable { endpoint }).await;
            }
        });
    }

    async fn connect(self: &Arc<Self>, endpoint: &str) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let dialed = dial_observed(endpoint, &self.dial_options)?;
        let mut client = GossipClient::new(dialed.channel.clone())
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE);
        let (sender, receiver) = mpsc::channel(SEND_BUFFER);
        let (outgoing, mut forwarded) = (sender.clone(), receiver);
        let (plain_sender, plain_receiver) = mpsc::channel(SEND_BUFFER);
        outgoing.send(Ok(self.introduction(&self.client_certificate))).await?;
        // The client side of a stream carries plain messages; the table of links holds the server side's form.
        tokio::spawn(async move {
            while let Some(Ok(envelope)) = forwarded.recv().await {
                if plain_sender.send(envelope).await.is_err() {
                    return;
                }
            }
        });
        let request = Request::new(ReceiverStream::new(plain_receiver));
        let stream = tokio::time::timeout(HANDSHAKE_TIMEOUT, client.gossip_stream(request))
            .await
            .map_err(|_| HandshakeError::Silent)??;
        let connection = dialed.connection();
        let mut incoming = stream.into_inner();
        let identity = self.authenticate(&mut incoming, connection.as_ref()).await?;
        self.spawn_reader(sender, incoming, identity, Some(endpoint.to_owned())).await;
        Ok(())
    }

    fn introduction(&self, certificate_hash: &Bytes) -> Envelope {
        message::connection(self.pki_id.clone(), certificate_hash.clone(), &*self.notary)
    }

    /// Reads and checks the other side's connection message; gives its identity.
    async fn authenticate(
        &self,
        incoming: &mut Streaming<Envelope>,
        connection: Option<&ConnectionInfo>,
    ) -> Result<Bytes, HandshakeError> {
        let first =
            tokio::time::timeout(HANDSHAKE_TIMEOUT, incoming.message()).await.map_err(|_| HandshakeError::Silent)?;
        let envelope = first.ok().flatten().ok_or(HandshakeError::Ended)?;
        let opened = message::open(&envelope).ok_or(HandshakeError::WrongMessage)?;
        let Some(Content::Conn(introduction)) = opened.content else { return Err(HandshakeError::WrongMessage) };
        if !self.server_certificate.is_empty() {
            let shown = connection.and_then(|info| info.peer_certificates().first().map(|der| sha256(der)));
            let shown = shown.ok_or(HandshakeError::NoCertificate)?;
            if introduction.tls_cert_hash != shown.as_slice() {
                return Err(HandshakeError::WrongCertificate);
            }
        }
        if message::pki_id(&introduction.identity).as_ref() != Some(&introduction.pki_id) {
            return Err(HandshakeError::WrongId);
        }
        if !self.notary.verify(&introduction.identity, &envelope.payload, &envelope.signature) {
            return Err(HandshakeError::Unauthentic);
        }
        if introduction.probe {
            return Err(HandshakeError::Probe);
        }
        Ok(introduction.identity)
    }

    /// Registers an authenticated connection and passes on what comes by it.
    async fn spawn_reader(
        self: &Arc<Self>,
        sender: mpsc::Sender<Result<Envelope, Status>>,
        mut incoming: Streaming<Envelope>,
        identity: Bytes,
        dialled: Option<String>,
    ) {
        let link = self.next_link.fetch_add(1, Ordering::Relaxed);
        let closed = sender.clone();
        self.links.lock().insert(link, sender);
        self.report(Event::Connected { link, identity, dialled }).await;
        let transport = Arc::clone(self);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    message = incoming.message() => match message {
                        Ok(Some(envelope)) => {
                            transport.received.fetch_add(1, Ordering::Relaxed);
                            transport.report(Event::Received { link, envelope }).await;
                        }
                        Ok(None) | Err(_) => break,
                    },
                    () = transport.dropped(link, &closed) => break,
                }
            }
            transport.close(link);
            transport.report(Event::Disconnected { link }).await;
        });
    }

    /// Resolves when the connection was closed from this side or its sending half has ended.
    async fn dropped(&self, link: LinkId, sender: &mpsc::Sender<Result<Envelope, Status>>) {
        loop {
            tokio::select! {
                () = sender.closed() => return,
                () = tokio::time::sleep(Duration::from_millis(500)) => {
                    if !self.links.lock().contains_key(&link) {
                        return;
                    }
                }
            }
        }
    }

    async fn report(&self, event: Event) {
        // The receiver only goes away when this peer stops.
        let _stopping = self.events.send(event).await;
    }
}

/// The gRPC service.
#[derive(Debug, Clone)]
pub(super) struct Service(pub(super) Arc<Transport>);

#[tonic::async_trait]
impl GossipService for Service {
    type GossipStreamStream = Pin<Box<dyn Stream<Item = Result<Envelope, Status>> + Send>>;

    async fn gossip_stream(
        &self,
        request: Request<Streaming<Envelope>>,
    ) -> Result<Response<Self::GossipStreamStream>, Status> {
        let connection = request.extensions().get::<ConnectionInfo>().cloned();
        let mut incoming = request.into_inner();
        let (sender, receiver) = mpsc::channel(SEND_BUFFER);
        let transport = Arc::clone(&self.0);
        // Both sides introduce themselves at once, so the answer stream must be open before the other's introduction is read.
        sender
            .send(Ok(transport.introduction(&transport.server_certificate)))
            .await
            .map_err(|_| Status::internal("the stream ended"))?;
        tokio::spawn(async move {
            match transport.authenticate(&mut incoming, connection.as_ref()).await {
                Ok(identity) => transport.spawn_reader(sender, incoming, identity, None).await,
                Err(HandshakeError::Probe) => {}
                Err(error) => {
                    let remote = connection.as_ref().map(|info| info.remote_addr().to_string()).unwrap_or_default();
                    tracing::warn!(target: "gossip.comm", remote, %error, "authentication failed");
                    let _gone = sender.send(Err(Status::permission_denied(error.to_string()))).await;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver).boxed()))
    }

    async fn ping(&self, _request: Request<Empty>) -> Result<Response<Empty>, Status> {
        Ok(Response::new(Empty {}))
    }
}
