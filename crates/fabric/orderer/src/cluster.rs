//! The way to other orderers: the `orderer.Cluster` service in both directions.
//!
//! Callers are known by the public key of their TLS client certificate, which the channel's configuration pins; so no
//! authority decides who may speak for a consenter.

mod link;
mod service;
mod trust;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use fabric_proto::etcdraft::Consenter;
use fabric_proto::orderer::{ConsensusRequest, SubmitRequest};
use konsort_node::{ClientTls, DialOptions};
use parking_lot::RwLock;

pub(crate) use link::Target;
pub(crate) use service::ClusterService;
pub(crate) use trust::Trust;

use crate::metrics::OrdererMetrics;
use crate::raft::RaftConsenter;
use link::Link;

/// How long the connection to a removed consenter stays.
const LINGER: Duration = Duration::from_secs(2);

/// All connections of this node to the consenters of its channels.
#[derive(Clone, Debug)]
pub(crate) struct Cluster(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// How other orderers are dialled; none without TLS, where there is no cluster.
    tls: Option<ClientTls>,
    dial_timeout: Duration,
    buffer: usize,
    metrics: OrdererMetrics,
    trust: Trust,
    channels: RwLock<HashMap<String, Peers>>,
    runtime: tokio::runtime::Handle,
}

/// The other consenters of one channel.
#[derive(Debug, Default)]
struct Peers {
    consenter: Weak<RaftConsenter>,
    links: BTreeMap<u64, Link>,
    /// Client certificates' public keys, with the numbers of those who hold them.
    keys: HashMap<Bytes, u64>,
}

impl Cluster {
    /// Nobody is connected yet.
    pub(crate) fn new(
        tls: Option<ClientTls>,
        dial_timeout: Duration,
        buffer: usize,
        metrics: OrdererMetrics,
        trust: Trust,
    ) -> Self {
        let runtime = tokio::runtime::Handle::current();
        Self(Arc::new(Inner { tls, dial_timeout, buffer, metrics, trust, channels: RwLock::default(), runtime }))
    }

    pub(crate) fn register(&self, channel: &str, consenter: &Arc<RaftConsenter>) {
        self.0.channels.write().entry(channel.to_owned()).or_default().consenter = Arc::downgrade(consenter);
    }

    /// Trusts the authorities of a channel's configuration.
    pub(crate) fn trust(&self, bundle: &fabric_channel::config::Bundle) {
        self.0.trust.follow(bundle);
    }

    pub(crate) fn forget(&self, channel: &str) {
        self.0.channels.write().remove(channel);
    }

    /// Connects to the channel's consenters but `own`; those already connected stay so.
    pub(crate) fn configure(&self, channel: &str, own: u64, consenters: &BTreeMap<u64, Consenter>) {
        let mut channels = self.0.channels.write();
        let peers = channels.entry(channel.to_owned()).or_default();
        let mut links = BTreeMap::new();
        let mut keys = HashMap::new();
        for (id, consenter) in consenters.iter().filter(|(id, _)| **id != own) {
            if let Some(key) = crate::raft::key_of_pem(&consenter.client_tls_cert) {
                keys.insert(key, *id);
            } else {
                tracing::warn!(
                    channel,
                    node = id,
                    "the consenter's client TLS certificate cannot be read, it will not be let in"
                );
            }
            let target = Target::of(consenter);
            let link = match peers.links.remove(id) {
                Some(link) if link.target() == &target => link,
                _ => Link::start(*id, channel, target, self),
            };
            links.insert(*id, link);
        }
        let ended = std::mem::replace(&mut peers.links, links);
        if !ended.is_empty() {
            // The news of its own removal may still be on its way to a consenter that is gone.
            self.0.runtime.spawn(async move {
                tokio::time::sleep(LINGER).await;
                drop(ended);
            });
        }
        peers.keys = keys;
        self.0.metrics.egress_streams.with(&[channel]).set(peers.links.len() as f64);
    }

    /// Sends a consensus message; a full queue drops it, which Raft is made for.
    pub(crate) fn send(&self, channel: &str, to: u64, request: ConsensusRequest) {
        let channels = self.0.channels.read();
        if let Some(link) = channels.get(channel).and_then(|p| p.links.get(&to))
            && !link.send(request)
        {
            self.0.metrics.dropped.with(&[&link.target().address, channel]).inc();
        }
    }

    /// Passes a submission on to the leader and waits for its word.
    pub(crate) async fn submit(
        &self,
        channel: &str,
        to: u64,
        request: SubmitRequest,
        timeout: Duration,
    ) -> Result<(), String> {
        let pending = {
            let channels = self.0.channels.read();
            let link = channels.get(channel).and_then(|p| p.links.get(&to));
            link.ok_or_else(|| format!("no connection to the leader, node {to}"))?.submit(request)
        };
        match tokio::time::timeout(timeout, pending).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("timed out ({timeout:?}) waiting on forwarding to {to}")),
        }
    }

    /// The consenter of a channel and the number of the caller with this public key.
    fn caller(&self, channel: &str, key: &Bytes) -> Result<(Arc<RaftConsenter>, u64), String> {
        let channels = self.0.channels.read();
        let peers = channels.get(channel).ok_or_else(|| format!("channel {channel} doesn't exist"))?;
        let id = peers.keys.get(key).ok_or("certificate extracted from TLS connection isn't authorized")?;
        let consenter = peers.consenter.upgrade().ok_or_else(|| format!("channel {channel} doesn't exist"))?;
        Ok((consenter, *id))
    }

    fn consenter(&self, channel: &str) -> Option<Arc<RaftConsenter>> {
        self.0.channels.read().get(channel).and_then(|p| p.consenter.upgrade())
    }

    /// How to dial another orderer.
    pub(crate) fn dial_options(&self) -> DialOptions {
        DialOptions {
            tls: self.0.tls.clone(),
            connect_timeout: self.0.dial_timeout,
            keepalive_interval: Duration::from_secs(10),
            keepalive_timeout: Duration::from_secs(10),
        }
    }
}

impl Cluster {
    /// The hash by which this node's requests are bound to its client certificate.
    pub(crate) fn certificate_hash(&self) -> Option<Bytes> {
        let identity = self.0.tls.as_ref()?.identity.as_ref()?;
        Some(Bytes::copy_from_slice(&konsort_pki::tls_hash(&identity.certificate())))
    }
}
