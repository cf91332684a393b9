//! Worlds of a few peers that exchange effects directly, without sockets.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fabric_proto::gossip::gossip_message::Content;
use fabric_proto::gossip::{Envelope, PeerTime, Secret, secret};
use konsort_crypto::hash::sha256_parts;
use prost::Message as _;

use super::{Anchor, Effect, Input, LinkId, Membership, Myself, Timing};
use crate::gossip::message::{self, Notary};

/// "Signs" with a hash over identity and message: forgeable, but wrong signatures are told from right ones.
#[derive(Debug)]
struct TestNotary(Bytes);

impl TestNotary {
    fn new(mspid: &str, name: &str) -> Arc<Self> {
        let identity = fabric_proto::msp::SerializedIdentity {
            mspid: mspid.into(),
            id_bytes: Bytes::copy_from_slice(name.as_bytes()),
        };
        Arc::new(Self(identity.encode_to_vec().into()))
    }
}

impl Notary for TestNotary {
    fn identity(&self) -> Bytes {
        self.0.clone()
    }

    fn sign(&self, message: &[u8]) -> Bytes {
        Bytes::copy_from_slice(&sha256_parts(&[&self.0, message]))
    }

    fn verify(&self, identity: &Bytes, message: &[u8], signature: &[u8]) -> bool {
        sha256_parts(&[identity, message]) == signature
    }

    fn organization(&self, identity: &Bytes) -> Option<String> {
        let identity = fabric_proto::msp::SerializedIdentity::decode(identity.clone()).ok()?;
        (identity.mspid != "Unknown").then_some(identity.mspid)
    }
}

struct World {
    peers: BTreeMap<String, Membership>,
    identities: BTreeMap<String, Bytes>,
    /// Link number -> the two endpoints it joins.
    links: BTreeMap<LinkId, (String, String)>,
    next_link: LinkId,
    now: Duration,
    cut: BTreeSet<String>,
}

impl World {
    /// Peers given as organisation and endpoint; every organisation's first peer is its anchor and bootstrap.
    fn new(peers: &[(&str, &str)]) -> Self {
        let mut world = Self {
            peers: BTreeMap::new(),
            identities: BTreeMap::new(),
            links: BTreeMap::new(),
            next_link: 0,
            now: Duration::ZERO,
            cut: BTreeSet::new(),
        };
        for (mspid, endpoint) in peers {
            let notary = TestNotary::new(mspid, endpoint);
            let bootstrap = peers.iter().find(|(other, _)| other == mspid).map(|(_, first)| (*first).to_owned());
            let myself = Myself {
                endpoint: (*endpoint).to_owned(),
                internal_endpoint: format!("inside-{endpoint}"),
                incarnation: 1,
                bootstrap: bootstrap.into_iter().collect(),
            };
            world.identities.insert((*endpoint).to_owned(), notary.identity());
            world.peers.insert((*endpoint).to_owned(), Membership::new(notary, myself, Timing::default()).unwrap());
        }
        world
    }

    fn join(&mut self, channel: &str, organizations: &[&str], anchors: &[(&str, &str)]) {
        for endpoint in self.peers.keys().cloned().collect::<Vec<_>>() {
            let input = Input::Channel {
                channel: channel.into(),
                organizations: organizations.iter().map(|&one| one.to_owned()).collect(),
                anchors: anchors
                    .iter()
                    .map(|(mspid, endpoint)| Anchor { mspid: (*mspid).into(), endpoint: (*endpoint).into() })
                    .collect(),
            };
            self.feed(&endpoint, input);
            self.feed(&endpoint, Input::Height { channel: channel.into(), height: 1 });
        }
    }

    fn feed(&mut self, endpoint: &str, input: Input) {
        let mut queue = VecDeque::from([(endpoint.to_owned(), input)]);
        let mut steps = 0;
        while let Some((at, input)) = queue.pop_front() {
            steps += 1;
            assert!(steps < 20_000, "the peers talk without end");
            let effects = self.peers.get_mut(&at).unwrap().step(self.now, input);
            for effect in effects {
                match effect {
                    Effect::Dial(target) => {
                        let target = target.trim_start_matches("inside-").to_owned();
                        if !self.peers.contains_key(&target) || self.cut.contains(&target) || self.cut.contains(&at) {
                            queue.push_back((at.clone(), Input::Unreachable { endpoint: target }));
                            continue;
                        }
                        self.next_link += 1;
                        let link = self.next_link;
                        self.links.insert(link, (at.clone(), target.clone()));
                        let (mine, theirs) = (self.identities[&at].clone(), self.identities[&target].clone());
                        let dialled = Some(target.clone());
                        queue.push_back((at.clone(), Input::Connected { link, identity: theirs, dialled }));
                        queue.push_back((target, Input::Connected { link, identity: mine, dialled: None }));
                    }
                    Effect::Send(link, envelope) => {
                        if let Some((a, b)) = self.links.get(&link) {
                            let to = if *a == at { b.clone() } else { a.clone() };
                            queue.push_back((to, Input::Received { link, envelope }));
                        }
                    }
                    Effect::Close(link) => {
                        if let Some((a, b)) = self.links.remove(&link) {
                            queue.push_back((a, Input::Disconnected { link }));
                            queue.push_back((b, Input::Disconnected { link }));
                        }
                    }
                }
            }
        }
    }

    fn run(&mut self, seconds: u64) {
        for _ in 0..seconds * 4 {
            self.now += Duration::from_millis(250);
            for endpoint in self.peers.keys().cloned().collect::<Vec<_>>() {
                self.feed(&endpoint, Input::Tick);
            }
        }
    }

    fn isolate(&mut self, endpoint: &str) {
        self.cut.insert(endpoint.to_owned());
        let broken: Vec<LinkId> =
            self.links.iter().filter(|(_, (a, b))| a == endpoint || b == endpoint).map(|(id, _)| *id).collect();
        for link in broken {
            let (a, b) = self.links.remove(&link).unwrap();
            self.feed(&a, Input::Disconnected { link });
            self.feed(&b, Input::Disconnected { link });
        }
    }

    fn seen_by(&self, endpoint: &str) -> Vec<String> {
        let mut seen: Vec<String> = self.peers[endpoint].members().into_iter().map(|member| member.endpoint).collect();
        seen.sort();
        seen
    }
}

const TWO: [(&str, &str); 4] = [("Org1", "a:1"), ("Org1", "b:1"), ("Org2", "c:1"), ("Org2", "d:1")];

#[test]
fn organisations_find_each_other_through_anchor_peers() {
    let mut world = World::new(&TWO);
    world.join("ch", &["Org1", "Org2"], &[("Org1", "a:1"), ("Org2", "c:1")]);
    world.run(10);
    assert_eq!(world.seen_by("a:1"), ["b:1", "c:1", "d:1"]);
    assert_eq!(world.seen_by("d:1"), ["a:1", "b:1", "c:1"]);
    let peers = world.peers["b:1"].channel_peers("ch");
    assert_eq!(peers.len(), 3);
    assert!(peers.iter().all(|peer| peer.height == 1));
}

#[test]
fn height_and_chaincodes_reach_every_member_within_a_second() {
    let mut world = World::new(&TWO);
    world.join("ch", &["Org1", "Org2"], &[("Org1", "a:1"), ("Org2", "c:1")]);
    world.run(10);
    world.feed("b:1", Input::Height { channel: "ch".into(), height: 42 });
    world.feed("b:1", Input::Chaincodes { channel: "ch".into(), chaincodes: vec![("basic".into(), "1.0".into())] });
    world.run(1);
    for at in ["a:1", "c:1", "d:1"] {
        let peers = world.peers[at].channel_peers("ch");
        let said = peers.iter().find(|peer| peer.member.endpoint == "b:1").unwrap();
        assert_eq!((said.height, said.chaincodes.len()), (42, 1), "at {at}");
    }
}

#[test]
fn internal_endpoints_stay_inside_the_organisation() {
    let mut world = World::new(&TWO);
    world.join("ch", &["Org1", "Org2"], &[("Org1", "a:1"), ("Org2", "c:1")]);
    world.run(12);
    for member in world.peers["c:1"].members() {
        assert_eq!(member.internal_endpoint.is_some(), member.mspid == "Org2", "{}", member.endpoint);
    }
}

#[test]
fn a_silent_member_dies_and_comes_back() {
    let mut world = World::new(&TWO);
    world.join("ch", &["Org1", "Org2"], &[("Org1", "a:1"), ("Org2", "c:1")]);
    world.run(10);
    world.isolate("d:1");
    world.run(1);
    assert_eq!(world.seen_by("a:1"), ["b:1", "c:1"]);
    assert!(world.peers["a:1"].channel_peers("ch").iter().all(|peer| peer.member.endpoint != "d:1"));
    world.cut.clear();
    world.run(15);
    assert_eq!(world.seen_by("a:1"), ["b:1", "c:1", "d:1"]);
}

#[test]
fn an_organisation_outside_of_the_channel_learns_nothing_of_it() {
    let mut world = World::new(&[("Org1", "a:1"), ("Org2", "c:1"), ("Org3", "e:1")]);
    world.join("ch", &["Org1", "Org2"], &[("Org1", "a:1"), ("Org2", "c:1")]);
    // Org3 knows an anchor's address and connects to it.
    let input = Input::Channel {
        channel: "other".into(),
        organizations: BTreeSet::from(["Org3".to_owned()]),
        anchors: vec![Anchor { mspid: "Org1".into(), endpoint: "a:1".into() }],
    };
    world.feed("e:1", input);
    world.run(12);
    assert_eq!(world.peers["a:1"].channel_peers("ch").len(), 1);
    assert!(world.peers["e:1"].channel_peers("other").is_empty());
    assert_eq!(world.peers["e:1"].channel_peers("ch").len(), 0);
}

#[test]
fn forged_and_malformed_statements_change_nothing() {
    let mut world = World::new(&TWO);
    world.join("ch", &["Org1", "Org2"], &[("Org1", "a:1"), ("Org2", "c:1")]);
    world.run(10);
    let before = world.peers["a:1"].members();
    let victim = before.iter().find(|member| member.endpoint == "c:1").unwrap().clone();
    let link = *world.links.iter().find(|(_, (a, b))| a == "a:1" || b == "a:1").unwrap().0;
    let mut forged = victim.alive.clone();
    let mut payload = forged.payload.to_vec();
    *payload.last_mut().unwrap() ^= 1;
    forged.payload = payload.into();
    let garbage = Envelope { payload: Bytes::from_static(b"\xff\xff\xff"), ..Envelope::default() };
    for envelope in [forged, garbage, Envelope::default()] {
        world.peers.get_mut("a:1").unwrap().step(world.now, Input::Received { link, envelope });
    }
    assert_eq!(world.peers["a:1"].members(), before);
}

#[test]
fn an_internal_endpoint_that_the_member_has_not_signed_is_refused() {
    let mut world = World::new(&TWO);
    world.join("ch", &["Org1", "Org2"], &[("Org1", "a:1"), ("Org2", "c:1")]);
    world.run(10);
    let notary = TestNotary::new("Org1", "b:1");
    let id = message::pki_id(&notary.identity()).unwrap();
    let at = |seq_num| PeerTime { inc_num: 9, seq_num };
    let mut changed = message::alive(id.clone(), "b:1", "inside-b:1", at(1), &*notary);
    let secret = changed.secret_envelope.as_mut().unwrap();
    secret.payload =
        Secret { content: Some(secret::Content::InternalEndpoint("elsewhere:1".into())) }.encode_to_vec().into();
    let good = message::alive(id, "b:1", "moved-b:1", at(2), &*notary);
    let link = *world.links.iter().find(|(_, (a, b))| a == "a:1" || b == "a:1").unwrap().0;
    let mut internal_after = |envelope| {
        world.peers.get_mut("a:1").unwrap().step(world.now, Input::Received { link, envelope });
        let members = world.peers["a:1"].members();
        members.into_iter().find(|member| member.endpoint == "b:1").unwrap().internal_endpoint
    };
    assert_eq!(internal_after(changed).as_deref(), Some("inside-b:1"));
    assert_eq!(internal_after(good).as_deref(), Some("moved-b:1"));
}

#[test]
fn an_identity_asked_for_many_times_is_sent_once() {
    let mut world = World::new(&TWO);
    world.run(10);
    let peer = world.peers.get_mut("a:1").unwrap();
    let own = peer.pki_id().clone();
    let link = *world.links.iter().find(|(_, (a, b))| a == "a:1" || b == "a:1").unwrap().0;
    let envelope = message::identity_pull(message::Pull::Request(vec![own; 1000]), 1);
    let effects = peer.step(world.now, Input::Received { link, envelope });
    let sent = effects.iter().find_map(|effect| match effect {
        Effect::Send(to, envelope) if *to == link => match message::open(envelope)?.content? {
            Content::DataUpdate(update) => Some(update.data.len()),
            _ => None,
        },
        _ => None,
    });
    assert_eq!(sent, Some(1));
}

#[test]
fn an_identity_of_no_known_organisation_is_disconnected() {
    let mut world = World::new(&TWO);
    let stranger = TestNotary::new("Unknown", "x").identity();
    let effects = world
        .peers
        .get_mut("a:1")
        .unwrap()
        .step(Duration::ZERO, Input::Connected { link: 99, identity: stranger, dialled: None });
    assert!(effects.contains(&Effect::Close(99)));
}
