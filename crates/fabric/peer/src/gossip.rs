//! Membership by the gossip protocol: which peers are there, of which organisation, with which ledger heights and chaincodes.
//!
//! Blocks do not travel by gossip (every peer fetches them from the orderers); what does is what discovery and the gateway need to
//! know of other peers. [`membership`] is the protocol as a state machine, `transport` its connections, this file the task between.

pub mod membership;
pub mod message;
mod transport;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fabric_proto::gossip::gossip_server::GossipServer;
use konsort_node::{DialOptions, Tasks};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tonic::service::Routes;

pub use self::membership::{Anchor, ChannelPeer, Member, Myself, Timing};
use self::membership::{Effect, Input, Membership};
pub use self::message::Notary;
use self::transport::{Event, Service, Transport};

/// How often the state machine looks at the clock.
const TICK: Duration = Duration::from_millis(100);
/// Events that may wait while the state machine is busy.
const EVENT_BUFFER: usize = 1024;

/// This peer's part in the gossip network; clones are handles of the same part.
#[derive(Debug, Clone)]
pub struct Gossip(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    membership: Mutex<Membership>,
    transport: Arc<Transport>,
    events: Mutex<Option<mpsc::Receiver<Event>>>,
    started: Instant,
}

/// What a peer needs to take part.
#[derive(Debug)]
pub struct GossipOptions {
    /// Signs and verifies.
    pub notary: Arc<dyn Notary>,
    /// Where this peer can be reached.
    pub myself: Myself,
    /// Intervals.
    pub timing: Timing,
    /// The TLS certificate (DER) of the listener; `None` without TLS.
    pub server_certificate: Option<Bytes>,
    /// The TLS certificate (DER) shown when dialling.
    pub client_certificate: Option<Bytes>,
    /// How to dial other peers.
    pub dial_options: DialOptions,
}

impl Gossip {
    /// Prepares membership; nothing is sent before [`Self::start`]. `None` when the peer's own identity is not valid.
    pub fn new(options: GossipOptions) -> Option<Self> {
        let membership = Membership::new(options.notary.clone(), options.myself, options.timing)?;
        let (sender, receiver) = mpsc::channel(EVENT_BUFFER);
        let transport = Arc::new(Transport::new(
            options.notary,
            membership.pki_id().clone(),
            options.server_certificate,
            options.client_certificate,
            options.dial_options,
            sender,
        ));
        Some(Self(Arc::new(Shared {
            membership: Mutex::new(membership),
            transport,
            events: Mutex::new(Some(receiver)),
            started: Instant::now(),
        })))
    }

    /// Adds the gRPC service to a listener's routes.
    #[must_use]
    pub fn add_to(&self, routes: Routes) -> Routes {
        routes.add_service(GossipServer::new(Service(self.0.transport.clone())))
    }

    /// Starts to connect, speak and listen, until the task tree stops.
    pub fn start(&self, tasks: &Tasks) {
        let Some(mut events) = self.0.events.lock().take() else { return };
        let gossip = self.clone();
        tasks.spawn(async move {
            let mut clock = tokio::time::interval(TICK);
            clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    event = events.recv() => match event {
                        Some(event) => gossip.step(input_of(event)),
                        None => return,
                    },
                    _ = clock.tick() => gossip.step(Input::Tick),
                }
            }
        });
    }

    fn step(&self, input: Input) {
        let effects = self.0.membership.lock().step(self.0.started.elapsed(), input);
        for effect in effects {
            match effect {
                Effect::Send(link, envelope) => self.0.transport.send(link, envelope),
                Effect::Dial(endpoint) => self.0.transport.dial(endpoint),
                Effect::Close(link) => self.0.transport.close(link),
            }
        }
    }

    /// Tells of a channel: after joining, and whenever its organisations or anchor peers have changed. Needs a runtime.
    pub fn join_channel(&self, channel: &str, organizations: BTreeSet<String>, anchors: Vec<Anchor>) {
        self.step(Input::Channel { channel: channel.to_owned(), organizations, anchors });
    }

    /// Tells the own ledger's height. Needs a runtime.
    pub fn set_height(&self, channel: &str, height: u64) {
        self.step(Input::Height { channel: channel.to_owned(), height });
    }

    /// Tells the chaincodes (name, version) that this peer can endorse for. Needs a runtime.
    pub fn set_chaincodes(&self, channel: &str, chaincodes: Vec<(String, String)>) {
        self.step(Input::Chaincodes { channel: channel.to_owned(), chaincodes });
    }

    /// Messages received from and sent to other peers.
    pub fn messages(&self) -> (u64, u64) {
        let transport = &self.0.transport;
        (transport.received.load(Ordering::Relaxed), transport.sent.load(Ordering::Relaxed))
    }

    /// Other peers that are alive.
    pub fn members(&self) -> Vec<Member> {
        self.0.membership.lock().members()
    }

    /// Other peers that are alive and in the channel.
    pub fn channel_peers(&self, channel: &str) -> Vec<ChannelPeer> {
        self.0.membership.lock().channel_peers(channel)
    }

    /// This peer itself, as others see it in a channel it has joined.
    pub fn own_channel_peer(&self, channel: &str) -> Option<ChannelPeer> {
        self.0.membership.lock().own_channel_peer(channel)
    }

    /// This peer itself.
    pub fn own_member(&self) -> Member {
        self.0.membership.lock().own_member()
    }
}

fn input_of(event: Event) -> Input {
    match event {
        Event::Connected { link, identity, dialled } => Input::Connected { link, identity, dialled },
        Event::Disconnected { link } => Input::Disconnected { link },
        Event::Unreachable { endpoint } => Input::Unreachable { endpoint },
        Event::Received { link, envelope } => Input::Received { link, envelope },
    }
}
