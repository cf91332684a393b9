//! Who is there, who they are, and what they say of their channels: a state machine without clock, sockets or randomness.
//!
//! The shell feeds [`Input`]s and carries out [`Effect`]s. Rules are the protocol's: only newer statements replace older ones, what an
//! organisation's peers say goes to that organisation and to those that its statement is for, internal endpoints stay inside.

mod channel;
mod identities;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fabric_proto::gossip::gossip_message::Content;
use fabric_proto::gossip::{Envelope, GossipMessage, PeerTime};

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
            next_pull: Duration::ZERO,
        })
    }

    /// This peer's id.
    pub fn pki_id(&self) -> &Bytes {
        &self.pki_id
    }

    /// This peer's own signed alive statement, as it would be sent now.
    fn own_alive(&mut self) -> Envelope {
        let timestamp = self.timestamp();
        message::alive(
            self.pki_id.clone(),
            &self.myself.endpoint,
            &self.myself.internal_endpoint,
            timestamp,
            &*self.notary,
        )
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
        let alive = self.own_alive();
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
            alive: self.own_alive(),
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

    fn connected(&mut self, now: Duration, link: LinkId, identity: &Bytes, dialled: Option<String>, effects: &mut Vec<Effect>) {
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
    fn concealed(&mut self, own_organization: bool) -> Envelope {
        let mut alive = self.own_alive();
        if !own_organization {
            alive.secret_envelope = None;
        }
        alive
    }

    fn received(&mut self, now: Duration, link: LinkId, envelope: Envelope, effects: &mut Vec<Effect>) {
        let Some((sender, organization)) = self.links.get(&link).map(|link| (link.pki_id.clone(), link.mspid.clone())) else {
            return;
        };
        let Some(opened) = message::open(&envelope) else { return };
        let nonce = opened.nonce;
        match opened.content {
            Some(Content::AliveMsg(_)) => {
                if self.learn_alive(now, &envelope) {
                    self.forward_alive(link, &envelope, effects);
                }
            }
            Some(Content::MemReq(request)) => {
                if let Some(about) = request.self_information {
                    self.learn_alive(now, &about);
                }
                let response = self.membership_response(&sender, &organization, nonce);
                effects.push(Effect::Send(link, response));
            }
            Some(Content::MemRes(response)) => {
                for about in response.alive.iter().take(MAX_MEMBERS) {
                    self.learn_alive(now, about);
                }
                // The dead are of use only as endpoints to try; statements about them are old by nature.
                for about in response.dead.iter().take(MAX_MEMBERS) {
                    self.learn_dead(now, about);
                }
            }
            Some(
                content @ (Content::Hello(_) | Content::DataDig(_) | Content::DataReq(_) | Content::DataUpdate(_)),
            ) => {
                let whole = GossipMessage { content: Some(content), ..Default::default() };
                effects.extend(self.identities.pull(whole, &*self.notary).map(|answer| Effect::Send(link, answer)));
            }
            Some(Content::StateInfo(_)) => self.learn_state_info(link, &envelope, effects),
            Some(Content::StateSnapshot(snapshot)) => {
                for element in snapshot.elements.iter().take(MAX_MEMBERS) {
                    self.learn_state_info_quietly(element);
                }
            }
            Some(Content::StateInfoPullReq(request)) => {
                let wanted = self.channels.iter().find(|(channel, view)| {
                    view.has(&organization) && message::channel_mac(&sender, channel) == request.channel_mac
                });
                if let Some((channel, view)) = wanted {
                    effects.push(Effect::Send(link, message::state_info_snapshot(channel, view.envelopes())));
                }
            }
            // Blocks come from the orderers; leadership, private data and acknowledgements are not spoken here.
            _ => {}
        }
    }

    /// Checks an alive statement and keeps it when it is newer; true when it was.
    fn learn_alive(&mut self, now: Duration, envelope: &Envelope) -> bool {
        let Some((id, timestamp, endpoint)) = self.check_alive(envelope) else { return false };
        let internal = message::internal_endpoint(envelope);
        if let Some(record) = self.members.get_mut(&id) {
            if timestamp <= record.timestamp {
                return false;
            }
            record.timestamp = timestamp;
            record.endpoint = endpoint;
            if internal.is_some() {
                record.internal_endpoint = internal;
            }
            record.last_seen = now;
            record.dead = false;
            record.envelope = envelope.clone();
            return true;
        }
        if self.members.len() >= MAX_MEMBERS {
            return false;
        }
        let record =
            Record { endpoint, internal_endpoint: internal, timestamp, last_seen: now, dead: false, envelope: envelope.clone() };
        self.members.insert(id, record);
        true
    }

    fn learn_dead(&mut self, now: Duration, envelope: &Envelope) {
        let Some((id, timestamp, endpoint)) = self.check_alive(envelope) else { return };
        if !self.members.contains_key(&id) && self.members.len() < MAX_MEMBERS {
            let internal_endpoint = message::internal_endpoint(envelope);
            let record =
                Record { endpoint, internal_endpoint, timestamp, last_seen: now, dead: true, envelope: envelope.clone() };
            self.members.insert(id, record);
        }
    }

    /// Id, time and endpoint of a properly signed alive statement of somebody else.
    fn check_alive(&mut self, envelope: &Envelope) -> Option<(Bytes, (u64, u64), String)> {
        let Some(Content::AliveMsg(alive)) = message::open(envelope)?.content else { return None };
        let membership = alive.membership?;
        let timestamp = alive.timestamp?;
        if membership.pki_id.is_empty() || membership.pki_id == self.pki_id || membership.endpoint.len() > 256 {
            return None;
        }
        // Old news need no signature check.
        let time = (timestamp.inc_num, timestamp.seq_num);
        if self.members.get(&membership.pki_id).is_some_and(|record| time <= record.timestamp) {
            return None;
        }
        if !alive.identity.is_empty() && self.identities.learn(&alive.identity, &*self.notary)? != membership.pki_id {
            return None;
        }
        let identity = self.identities.get(&membership.pki_id)?.identity.clone();
        self.notary
            .verify(&identity, &envelope.payload, &envelope.signature)
            .then_some((membership.pki_id, time, membership.endpoint))
    }

    /// Whether statements of `subject`'s organisation may go to `receiver`'s: our own go everywhere, others' only home.
    fn may_tell(&self, subject: &str, receiver: &str, endpoint: &str) -> bool {
        (subject == receiver || subject == self.mspid) && (subject == receiver || !endpoint.is_empty())
    }

    fn forward_alive(&self, from: LinkId, envelope: &Envelope, effects: &mut Vec<Effect>) {
        let Some(Content::AliveMsg(alive)) = message::open(envelope).and_then(|opened| opened.content) else { return };
        let Some(membership) = alive.membership else { return };
        let Some(subject) = self.identities.get(&membership.pki_id).map(|known| known.mspid.clone()) else { return };
        for (link, to) in &self.links {
            if *link != from && to.pki_id != membership.pki_id && self.may_tell(&subject, &to.mspid, &membership.endpoint) {
                let mut copy = envelope.clone();
                if to.mspid != subject {
                    copy.secret_envelope = None;
                }
                effects.push(Effect::Send(*link, copy));
            }
        }
    }

    fn membership_response(&mut self, receiver: &Bytes, organization: &str, nonce: u64) -> Envelope {
        let (mut alive, mut dead) = (Vec::new(), Vec::new());
        for (id, record) in &self.members {
            let subject = self.identities.get(id).map(|known| known.mspid.as_str()).unwrap_or_default();
            if id == receiver || !self.may_tell(subject, organization, &record.endpoint) {
                continue;
            }
            let mut copy = record.envelope.clone();
            if organization != subject {
                copy.secret_envelope = None;
            }
            if record.dead { dead.push(copy) } else { alive.push(copy) }
        }
        alive.push(self.concealed(self.mspid == organization));
        message::membership_response(alive, dead, nonce)
    }

    fn learn_state_info_quietly(&mut self, envelope: &Envelope) -> Option<String> {
        let Some(Content::StateInfo(info)) = message::open(envelope)?.content else { return None };
        if info.pki_id == self.pki_id {
            return None;
        }
        let known = self.identities.get(&info.pki_id)?;
        let (channel, view) = self
            .channels
            .iter_mut()
            .find(|(channel, _)| message::channel_mac(&info.pki_id, channel) == info.channel_mac)?;
        let newer = view.has(&known.mspid) && view.is_newer(&info);
        if !newer || !self.notary.verify(&known.identity, &envelope.payload, &envelope.signature) {
            return None;
        }
        view.learn(info, envelope);
        Some(channel.clone())
    }

    fn learn_state_info(&mut self, from: LinkId, envelope: &Envelope, effects: &mut Vec<Effect>) {
        if let Some(channel) = self.learn_state_info_quietly(envelope) {
            let others = self.links_of_channel(&channel).filter(|link| *link != from);
            effects.extend(others.map(|link| Effect::Send(link, envelope.clone())));
        }
    }

    /// One connection per member whose organisation is in the channel.
    fn links_of_channel(&self, channel: &str) -> impl Iterator<Item = LinkId> {
        let view = self.channels.get(channel);
        let mut seen = BTreeSet::new();
        self.links
            .iter()
            .filter(move |(_, link)| view.is_some_and(|view| view.has(&link.mspid)) && seen.insert(link.pki_id.clone()))
            .map(|(id, _)| *id)
    }

    /// What is due by time: statements, requests, expiry, connections.
    fn periodic(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        for record in self.members.values_mut() {
            if !record.dead && now.saturating_sub(record.last_seen) > self.timing.alive_expiration {
                record.dead = true;
            }
        }
        if now >= self.next_alive {
            self.next_alive = now + self.timing.alive_interval;
            if !self.links.is_empty() {
                let full = self.own_alive();
                let mut bare = full.clone();
                bare.secret_envelope = None;
                for (link, to) in &self.links {
                    let envelope = if to.mspid == self.mspid { &full } else { &bare };
                    effects.push(Effect::Send(*link, envelope.clone()));
                }
            }
        }
        let channels: Vec<String> = self.channels.keys().cloned().collect();
        for channel in &channels {
            let due = self.channels.get(channel).is_some_and(|view| view.is_due(now, self.timing.state_info_interval));
            let links: Vec<LinkId> = self.links_of_channel(channel).collect();
            if due && !links.is_empty() {
                let timestamp = self.timestamp();
                if let Some(view) = self.channels.get_mut(channel) {
                    view.published(now);
                    let own = view.own(&self.pki_id, channel, timestamp, &*self.notary);
                    effects.extend(links.into_iter().map(|link| Effect::Send(link, own.clone())));
                }
            }
        }
        if now >= self.next_pull {
            self.next_pull = now + self.timing.pull_interval;
            for channel in &channels {
                let request = message::state_info_request(&self.pki_id, channel);
                effects.extend(self.links_of_channel(channel).map(|link| Effect::Send(link, request.clone())));
            }
            self.sequence += 1;
            let hello = message::identity_pull(message::Pull::Hello, self.sequence);
            let own: Vec<LinkId> =
                self.links.iter().filter(|(_, link)| link.mspid == self.mspid).map(|(id, _)| *id).collect();
            effects.extend(own.into_iter().map(|link| Effect::Send(link, hello.clone())));
        }
        for endpoint in self.wanted_endpoints() {
            let busy = self.dialling.get(&endpoint).is_some_and(|until| *until > now);
            if !busy {
                // Marked until the outcome is known; an outcome sets the time of the next attempt.
                self.dialling.insert(endpoint.clone(), now + self.timing.reconnect_interval.saturating_mul(4));
                effects.push(Effect::Dial(endpoint));
            }
        }
    }

    /// Endpoints of peers that should be connected and are not.
    fn wanted_endpoints(&self) -> BTreeSet<String> {
        let linked: BTreeSet<&Bytes> = self.links.values().map(|link| &link.pki_id).collect();
        let mut linked_endpoints = BTreeSet::new();
        let mut wanted = BTreeSet::new();
        for (id, record) in &self.members {
            let internal = record.internal_endpoint.clone().unwrap_or_default();
            if linked.contains(id) {
                linked_endpoints.extend([record.endpoint.clone(), internal]);
            } else if !internal.is_empty() {
                wanted.insert(internal);
            } else {
                wanted.insert(record.endpoint.clone());
            }
        }
        wanted.extend(self.myself.bootstrap.iter().cloned());
        wanted.extend(self.channels.values().flat_map(ChannelView::anchors).map(|anchor| anchor.endpoint.clone()));
        wanted.retain(|endpoint| {
            !endpoint.is_empty()
                && *endpoint != self.myself.endpoint
                && *endpoint != self.myself.internal_endpoint
                && !linked_endpoints.contains(endpoint)
        });
        wanted
    }
}
