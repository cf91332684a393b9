//! Which peers there are, and how they are called.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fabric_channel::config::Bundle;
use fabric_proto::protos::endorser_client::EndorserClient;
use fabric_proto::protos::{ChaincodeInterest, ProposalResponse, SignedProposal};
use konsort_node::{MAX_MESSAGE_SIZE, OsRandom, Random as _};
use parking_lot::Mutex;
use prost::Message as _;
use tonic::Status;

use super::plan::Plan;
use crate::channel::{Channel, Channels};
use crate::connections::{Connections, Endpoint, tls_roots};
use crate::endorser::Endorser;
use crate::endorsers::EndorsersError;
use crate::gossip::Gossip;
use crate::{endorsers, scc};

/// A peer that can be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// Its organisation.
    pub(super) mspid: String,
    /// How it is called in errors.
    pub(super) label: String,
    /// Where it is; `None` is this peer.
    pub(super) endpoint: Option<Endpoint>,
}

impl Node {
    /// This peer.
    pub(super) fn own(label: String, mspid: String) -> Self {
        Self { mspid, label, endpoint: None }
    }

    /// Whether it is this peer.
    pub(super) fn is_local(&self) -> bool {
        self.endpoint.is_none()
    }
}

/// A peer with the height of its ledger on a channel.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    /// How to call it.
    pub(super) node: Arc<Node>,
    /// The height of its ledger.
    pub(super) height: u64,
}

/// How long an answer about peers is taken again. What gossip tells is older than that on average; within this time a busy
/// gateway asks, checks identities and plans once instead of once per request.
const FRESH: Duration = Duration::from_millis(100);
/// Answers kept at most.
const KEPT: usize = 1024;

/// Answers that hold for a moment, and only as long as neither definitions nor configuration change.
struct Recent<K, V>(Mutex<HashMap<K, Answer<V>>>);

/// When it was made, for which definitions and configuration, and what it is.
type Answer<V> = (Instant, (u64, u64), Arc<V>);

impl<K: Eq + Hash, V> Recent<K, V> {
    fn new() -> Self {
        Self(Mutex::new(HashMap::new()))
    }

    fn get_or<E>(&self, key: K, channel: &Channel, make: impl FnOnce() -> Result<V, E>) -> Result<Arc<V>, E> {
        let version = (channel.definitions_version(), channel.bundle().sequence());
        if let Some((at, of, value)) = self.0.lock().get(&key)
            && *of == version
            && at.elapsed() < FRESH
        {
            return Ok(Arc::clone(value));
        }
        let value = Arc::new(make()?);
        let mut kept = self.0.lock();
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(key, (Instant::now(), version, Arc::clone(&value)));
        Ok(value)
    }
}

/// The peers that the gateway works with.
pub(super) struct Registry {
    endorser: Endorser,
    channels: Channels,
    connections: Connections,
    gossip: Gossip,
    local: Arc<Node>,
    organizations: Recent<(String, String), BTreeMap<String, Vec<Candidate>>>,
    combinations: Recent<(String, Vec<u8>), Combinations>,
}

/// Layouts with peers that can be called.
struct Combinations {
    groups: BTreeMap<String, Vec<Candidate>>,
    layouts: Vec<BTreeMap<String, u32>>,
    unavailable: Vec<String>,
}

impl Registry {
    pub(super) fn new(
        endorser: Endorser,
        channels: Channels,
        connections: Connections,
        gossip: Gossip,
        local: Node,
    ) -> Self {
        Self {
            endorser,
            channels,
            connections,
            gossip,
            local: Arc::new(local),
            organizations: Recent::new(),
            combinations: Recent::new(),
        }
    }

    pub(super) fn local_mspid(&self) -> &str {
        &self.local.mspid
    }

    /// How a peer of a channel is called; `None` when it tells no address.
    fn candidate(&self, bundle: &Bundle, known: &endorsers::Candidate) -> Option<Candidate> {
        let height = known.peer.height;
        if known.local {
            return Some(Candidate { node: Arc::clone(&self.local), height });
        }
        let member = &known.peer.member;
        let address = member.preferred_endpoint().to_owned();
        if address.is_empty() {
            return None;
        }
        let mspid = member.mspid.clone();
        let endpoint = Endpoint { address: address.clone(), mspid: mspid.clone(), roots: tls_roots(bundle, &mspid) };
        Some(Candidate { node: Arc::new(Node { mspid, label: address, endpoint: Some(endpoint) }), height })
    }

    /// Brings the own height up to date and sorts.
    fn sorted(channel: &Channel, candidates: &[Candidate]) -> Vec<Candidate> {
        let mut sorted = candidates.to_vec();
        for candidate in sorted.iter_mut().filter(|candidate| candidate.node.is_local()) {
            candidate.height = channel.ledger().height();
        }
        sort(&mut sorted);
        sorted
    }

    /// Peers with the chaincode by organisation, the highest ledgers first and this peer before its equals; nobody for a channel
    /// that is not known here.
    pub(super) fn by_organization(&self, channel: &str, chaincode: &str) -> BTreeMap<String, Vec<Candidate>> {
        let Some(joined) = self.channels.get(channel) else { return BTreeMap::new() };
        let key = (channel.to_owned(), chaincode.to_owned());
        let found = self.organizations.get_or(key, &joined, || Ok(self.find(&joined, chaincode)));
        let Ok(found): Result<_, std::convert::Infallible> = found;
        found.iter().map(|(mspid, candidates)| (mspid.clone(), Self::sorted(&joined, candidates))).collect()
    }

    fn find(&self, channel: &Channel, chaincode: &str) -> BTreeMap<String, Vec<Candidate>> {
        let bundle = channel.bundle();
        let system = scc::is_system(chaincode);
        let mut found: BTreeMap<String, Vec<Candidate>> = BTreeMap::new();
        for known in endorsers::candidates(&self.gossip, channel) {
            let has = system
                || if known.local {
                    self.endorser.active_chaincode(&channel.access(), chaincode).is_ok()
                } else {
                    known.peer.chaincodes.iter().any(|(name, _)| name == chaincode)
                };
            if has && let Some(candidate) = self.candidate(&bundle, &known) {
                found.entry(candidate.node.mspid.clone()).or_default().push(candidate);
            }
        }
        found
    }

    /// The combinations of peers that satisfy every policy a call touches, those with a preferred peer first. Texts of errors are
    /// upstream's.
    pub(super) fn plan(
        &self,
        channel: &str,
        interest: &ChaincodeInterest,
        preferred: Option<&Node>,
    ) -> Result<Plan, String> {
        const NONE: &str = "no combination of peers can be derived which satisfy the endorsement policy";
        let Some(joined) = self.channels.get(channel) else {
            let chaincode = interest.chaincodes.first().map_or("", |call| call.name.as_str());
            return Err(format!("{NONE}: No metadata was found for chaincode {chaincode} in channel {channel}"));
        };
        let key = (channel.to_owned(), interest.encode_to_vec());
        let found = self
            .combinations
            .get_or(key, &joined, || self.combine(&joined, interest))
            .map_err(|error| format!("{NONE}: {error}"))?;
        let favoured = preferred.and_then(|node| {
            let holds = |candidates: &Vec<Candidate>| candidates.iter().any(|candidate| *candidate.node == *node);
            found.groups.iter().find(|(_, candidates)| holds(candidates)).map(|(group, _)| group)
        });
        let possible = found.layouts.iter().filter(|layout| {
            let enough =
                |group: &String, count: u32| found.groups.get(group).is_some_and(|peers| peers.len() >= count as usize);
            layout.iter().all(|(group, count)| enough(group, *count))
        });
        let (mut first, mut others): (Vec<_>, Vec<_>) =
            possible.cloned().partition(|layout| favoured.is_some_and(|group| layout.contains_key(group)));
        shuffle(&mut first);
        shuffle(&mut others);
        first.append(&mut others);
        if first.is_empty() {
            return Err(format!(
                "failed to select a set of endorsers that satisfy the endorsement policy due to unavailability of peers: [{}]",
                found.unavailable.join(" ")
            ));
        }
        let groups = found.groups.iter().map(|(group, all)| (group.clone(), Self::sorted(&joined, all))).collect();
        Ok(Plan::new(first, groups))
    }

    fn combine(&self, channel: &Channel, interest: &ChaincodeInterest) -> Result<Combinations, EndorsersError> {
        let bundle = channel.bundle();
        let found = endorsers::layouts(&self.gossip, &self.endorser, channel, interest)?;
        let mut combinations =
            Combinations { groups: BTreeMap::new(), layouts: found.layouts, unavailable: Vec::new() };
        for (group, members) in &found.groups {
            let candidates = combinations.groups.entry(group.clone()).or_default();
            for known in members {
                match self.candidate(&bundle, known) {
                    Some(candidate) => candidates.push(candidate),
                    None => combinations.unavailable.push(known.peer.member.preferred_endpoint().to_owned()),
                }
            }
        }
        Ok(combinations)
    }

    /// Sends a proposal to a peer.
    pub(super) async fn process(&self, node: &Node, proposal: SignedProposal) -> Result<ProposalResponse, Status> {
        let Some(endpoint) = &node.endpoint else { return self.endorser.process_proposal(proposal).await };
        let transport = self.connections.get(endpoint).map_err(|error| Status::unavailable(error.to_string()))?;
        let mut client = EndorserClient::new(transport)
            .max_decoding_message_size(MAX_MESSAGE_SIZE)
            .max_encoding_message_size(MAX_MESSAGE_SIZE);
        client.process_proposal(proposal).await.map(tonic::Response::into_inner)
    }

    /// Has a peer run a proposal for its answer alone.
    pub(super) async fn evaluate(&self, node: &Node, proposal: SignedProposal) -> Result<ProposalResponse, Status> {
        if node.is_local() { self.endorser.evaluate(proposal).await } else { self.process(node, proposal).await }
    }

    /// Closes the connection to a peer that failed; the next call opens a new one.
    pub(super) fn remove(&self, node: &Node) {
        if let Some(endpoint) = &node.endpoint {
            self.connections.forget(endpoint);
        }
    }
}

/// Highest ledger first; this peer before others of the same height.
pub(super) fn sort(candidates: &mut [Candidate]) {
    candidates.sort_by_key(|candidate| (Reverse(candidate.height), !candidate.node.is_local()));
}

/// A random order, so that load spreads.
pub(super) fn shuffle<T>(items: &mut [T]) {
    for last in (1..items.len()).rev() {
        items.swap(last, (OsRandom.u64() % (last as u64 + 1)) as usize);
    }
}
