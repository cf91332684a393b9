//! Who is there, who they are, and what they say of their channels: a state machine without clock, sockets or randomness.
//!
//! The shell feeds [`Input`]s and carries out [`Effect`]s. Rules are the protocol's: only newer statements replace older ones, what an
//! organisation's peers say goes to that organisation and to those that its statement is for, internal endpoints stay inside.

mod channel;
mod identities;
mod periodic;
mod receive;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fabric_proto::gossip::{Envelope, PeerTime};

use self::channel::ChannelView;
use self::identities::Identities;
use super::message::{self, Notary};

/// Most members, links and identities that are remembered; strangers cannot make this peer grow without end.
pub(crate) const MAX_MEMBERS: usize = 4096;

/// A connection, as the shell numbers them.
pub type LinkId = u64;

/// Timing of the protocol; the defaults are upstream's except where noted.
#[derive(Debug, Clone)]
pub struct Timing {
    /// Time between two alive statements.
    pub alive_interval: Duration,
    /// Silence after which a member counts as dead.
    pub alive_expiration: Duration,
    /// Time between attempts to reach a member that is dead or unknown.
    pub reconnect_interval: Duration,
    /// Shortest time between two statements about a channel. Upstream waits 4 s; waiting less lets other peers' gateways see a new
    /// height or chaincode at once, at the cost of one small message.
    pub state_info_interval: Duration,
    /// Time between requests for other peers' state information and identities.
    pub pull_interval: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            alive_interval: Duration::from_secs(5),
            alive_expiration: Duration::from_secs(25),
            reconnect_interval: Duration::from_secs(2),
            state_info_interval: Duration::from_millis(250),
            pull_interval: Duration::from_secs(4),
        }
    }
}

/// Where this peer can be reached and who it is.
#[derive(Debug, Clone)]
pub struct Myself {
    /// `host:port` for everybody; empty means that other organisations do not get to know this peer.
    pub endpoint: String,
    /// `host:port` for the own organisation.
    pub internal_endpoint: String,
    /// Distinguishes this run from earlier ones: nanoseconds at start.
    pub incarnation: u64,
    /// Endpoints of the own organisation to contact first.
    pub bootstrap: Vec<String>,
}

/// A peer of an organisation through which others find it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Anchor {
    /// MSP id.
    pub mspid: String,
    /// `host:port`.
    pub endpoint: String,
}

/// What happens to the state machine. Time is measured from any fixed instant.
#[derive(Debug)]
pub enum Input {
    /// A connection is up and the other side has proved who it is.
    Connected {
        /// The connection.
        link: LinkId,
        /// The other side's serialized identity.
        identity: Bytes,
        /// The endpoint that was dialled, for connections that this peer opened.
        dialled: Option<String>,
    },
    /// A connection has ended.
    Disconnected {
        /// The connection.
        link: LinkId,
    },
    /// An endpoint could not be reached.
    Unreachable {
        /// The endpoint.
        endpoint: String,
    },
    /// A message came.
    Received {
        /// The connection it came by.
        link: LinkId,
        /// The message.
        envelope: Envelope,
    },
    /// Nothing but time has passed.
    Tick,
    /// A channel was joined or its organisations or anchors have changed.
    Channel {
        /// Channel id.
        channel: String,
        /// MSP ids of its application organisations.
        organizations: BTreeSet<String>,
        /// Anchor peers of all organisations.
        anchors: Vec<Anchor>,
    },
    /// The own ledger has grown.
    Height {
        /// Channel id.
        channel: String,
        /// Number of blocks.
        height: u64,
    },
    /// The chaincodes that this peer can endorse for have changed.
    Chaincodes {
        /// Channel id.
        channel: String,
        /// Name and version of each.
        chaincodes: Vec<(String, String)>,
    },
}

/// What the shell has to do.
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// Send on a connection.
    Send(LinkId, Envelope),
    /// Open a connection.
    Dial(String),
    /// Close a connection.
    Close(LinkId),
}

/// Another peer that is alive.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Peer id.
    pub pki_id: Bytes,
    /// MSP id.
    pub mspid: String,
    /// `host:port` for everybody.
    pub endpoint: String,
    /// `host:port` for its own organisation, when it is ours.
    pub internal_endpoint: Option<String>,
    /// Serialized identity.
    pub identity: Bytes,
    /// Its signed alive statement.
    pub alive: Envelope,
}

impl Member {
    /// The endpoint to use: the internal one when it is known.
    pub fn preferred_endpoint(&self) -> &str {
        self.internal_endpoint.as_deref().filter(|endpoint| !endpoint.is_empty()).unwrap_or(&self.endpoint)
    }
}

/// A member and what it says about a channel.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelPeer {
    /// The member.
    pub member: Member,
    /// Height of its ledger.
    pub height: u64,
    /// Chaincodes it can endorse for, name and version.
    pub chaincodes: Vec<(String, String)>,
    /// Its signed state information.
    pub state_info: Envelope,
}

#[derive(Debug)]
struct Record {
    endpoint: String,
    internal_endpoint: Option<String>,
    timestamp: (u64, u64),
    last_seen: Duration,
    dead: bool,
    envelope: Envelope,
}

#[derive(Debug)]
struct Link {
    pki_id: Bytes,
    mspid: String,
}

/// The state machine.
#[derive(Debug)]
pub struct Membership {
    notary: Arc<dyn Notary>,
    myself: Myself,
    pki_id: Bytes,
    mspid: String,
    timing: Timing,
    sequence: u64,
    identities: Identities,
    members: BTreeMap<Bytes, Record>,
    links: BTreeMap<LinkId, Link>,
    channels: BTreeMap<String, ChannelView>,
    /// Endpoints being dialled, or not to be dialled again before the given time.
    dialling: BTreeMap<String, Duration>,
    next_alive: Duration,
    /// The own statement as it was last sent; asking who this peer is does not sign a new one.
    last_alive: Option<Envelope>,
    next_pull: Duration,
}

impl Membership {
    /// A peer that knows nobody yet; `None` when the notary's own identity is not a valid one.
    pub fn new(notary: Arc<dyn Notary>, myself: Myself, timing: Timing) -> Option<Self> {
        let identity = notary.identity();
        let pki_id = message::pki_id(&identity)?;
        let mspid = notary.organization(&identity)?;
        let identities = Identities::new(pki_id.clone(), message::own_identity(pki_id.clone(), &*notary));
        Some(Self {
            notary,
            myself,
            pki_id,
            mspid,
            timing,
            sequence: 0,
            identities,
            members: BTreeMap::new(),
            links: BTreeMap::new(),
            channels: BTreeMap::new(),
            dialling: BTreeMap::new(),
            next_alive: Duration::ZERO,
            last_alive: None,
            next_pull: Duration::ZERO,
        })
    }

    /// This peer's id.
    pub fn pki_id(&self) -> &Bytes {
        &self.pki_id
    }

    /// The own statement as others have it.
    fn known_alive(&mut self) -> Envelope {
        match &self.last_alive {
            Some(alive) => alive.clone(),
            None => self.own_alive(),
        }
    }

    /// This peer's own signed alive statement, as it would be sent now.
    fn own_alive(&mut self) -> Envelope {
        let timestamp = self.timestamp();
        let (endpoint, internal) = (&self.myself.endpoint, &self.myself.internal_endpoint);
        let alive = message::alive(self.pki_id.clone(), endpoint, internal, timestamp, &*self.notary);
        self.last_alive = Some(alive.clone());
        alive
    }

    /// This peer's own signed statement about a channel, the last one that was made.
    fn own_state_info(&mut self, channel: &str) -> Option<Envelope> {
        let timestamp = self.timestamp();
        let view = self.channels.get_mut(channel)?;
        Some(view.own(&self.pki_id, channel, timestamp, &*self.notary))
    }

    /// Members that are alive.
    pub fn members(&self) -> Vec<Member> {
        self.members.iter().filter(|(_, record)| !record.dead).filter_map(|(id, _)| self.member(id)).collect()
    }

    /// Members that are alive and have said something about a channel.
    pub fn channel_peers(&self, channel: &str) -> Vec<ChannelPeer> {
        let Some(view) = self.channels.get(channel) else { return Vec::new() };
        view.statements()
            .filter(|(id, _)| self.members.get(*id).is_some_and(|record| !record.dead))
            .filter_map(|(id, statement)| {
                Some(ChannelPeer {
                    member: self.member(id)?,
                    height: statement.height,
                    chaincodes: statement.chaincodes.clone(),
                    state_info: statement.envelope.clone(),
                })
            })
            .collect()
    }

    fn member(&self, id: &Bytes) -> Option<Member> {
        let record = self.members.get(id)?;
        let known = self.identities.get(id)?;
        Some(Member {
            pki_id: id.clone(),
            mspid: known.mspid.clone(),
            endpoint: record.endpoint.clone(),
            internal_endpoint: record.internal_endpoint.clone(),
            identity: known.identity.clone(),
            alive: record.envelope.clone(),
        })
    }

    /// This peer as others see it in a channel; `None` before the channel is joined.
    pub fn own_channel_peer(&mut self, channel: &str) -> Option<ChannelPeer> {
        let alive = self.known_alive();
        let state_info = self.own_state_info(channel)?;
        let view = self.channels.get(channel)?;
        Some(ChannelPeer {
            member: Member {
                pki_id: self.pki_id.clone(),
                mspid: self.mspid.clone(),
                endpoint: self.myself.endpoint.clone(),
                internal_endpoint: Some(self.myself.internal_endpoint.clone()),
                identity: self.notary.identity(),
                alive,
            },
            height: view.height(),
            chaincodes: view.chaincodes().to_vec(),
            state_info,
        })
    }

    /// This peer as a member.
    pub fn own_member(&mut self) -> Member {
        Member {
            pki_id: self.pki_id.clone(),
            mspid: self.mspid.clone(),
            endpoint: self.myself.endpoint.clone(),
            internal_endpoint: Some(self.myself.internal_endpoint.clone()),
            identity: self.notary.identity(),
            alive: self.known_alive(),
        }
    }

    /// One step; `now` never goes back.
    pub fn step(&mut self, now: Duration, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::Connected { link, identity, dialled } => self.connected(now, link, &identity, dialled, &mut effects),
            Input::Disconnected { link } => self.disconnected(link),
            Input::Unreachable { endpoint } => {
                self.dialling.insert(endpoint, now + self.timing.reconnect_interval);
            }
            Input::Received { link, envelope } => self.received(now, link, envelope, &mut effects),
            Input::Tick => {}
            Input::Channel { channel, organizations, anchors } => {
                let view = self.channels.entry(channel.clone()).or_default();
                view.configure(organizations, anchors);
                // Those already connected may know more of this channel than we have been told so far.
                let request = message::state_info_request(&self.pki_id, &channel);
                effects.extend(self.links_of_channel(&channel).map(|link| Effect::Send(link, request.clone())));
            }
            Input::Height { channel, height } => {
                if let Some(view) = self.channels.get_mut(&channel) {
                    view.set_height(height);
                }
            }
            Input::Chaincodes { channel, chaincodes } => {
                if let Some(view) = self.channels.get_mut(&channel) {
                    view.set_chaincodes(chaincodes);
                }
            }
        }
        self.periodic(now, &mut effects);
        effects
    }

    fn timestamp(&mut self) -> PeerTime {
        self.sequence += 1;
        PeerTime { inc_num: self.myself.incarnation, seq_num: self.sequence }
    }

    fn connected(
        &mut self,
        now: Duration,
        link: LinkId,
        identity: &Bytes,
        dialled: Option<String>,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(endpoint) = &dialled {
            self.dialling.insert(endpoint.clone(), now + self.timing.reconnect_interval);
        }
        let Some(id) = self.identities.learn(identity, &*self.notary) else {
            effects.push(Effect::Close(link));
            return;
        };
        if id == self.pki_id || self.links.len() >= MAX_MEMBERS {
            // A bootstrap or anchor endpoint may turn out to be this very peer.
            if let (Some(endpoint), true) = (dialled, id == self.pki_id) {
                self.dialling.insert(endpoint, Duration::MAX);
            }
            effects.push(Effect::Close(link));
            return;
        }
        let mspid = self.identities.get(&id).map(|known| known.mspid.clone()).unwrap_or_default();
        self.links.insert(link, Link { pki_id: id, mspid: mspid.clone() });
        let alive = self.concealed(self.mspid == mspid);
        effects.push(Effect::Send(link, message::membership_request(alive, self.sequence)));
        let channels: Vec<String> = self.channels.keys().cloned().collect();
        for channel in channels {
            if !self.channels.get(&channel).is_some_and(|view| view.has(&mspid)) {
                continue;
            }
            let timestamp = self.timestamp();
            if let Some(view) = self.channels.get_mut(&channel) {
                let own = view.own(&self.pki_id, &channel, timestamp, &*self.notary);
                effects.push(Effect::Send(link, own));
            }
            effects.push(Effect::Send(link, message::state_info_request(&self.pki_id, &channel)));
        }
    }

    fn disconnected(&mut self, link: LinkId) {
        if let Some(gone) = self.links.remove(&link)
            && !self.links.values().any(|other| other.pki_id == gone.pki_id)
            && let Some(record) = self.members.get_mut(&gone.pki_id)
        {
            // A member whose only connection broke is presumed dead until it says otherwise, as upstream does.
            record.dead = true;
        }
    }

    /// The own alive statement, with the internal endpoint only for the own organisation.
    pub(super) fn concealed(&mut self, own_organization: bool) -> Envelope {
        let mut alive = self.own_alive();
        if !own_organization {
            alive.secret_envelope = None;
        }
        alive
    }
}
