//! Which peers there are, and how they are called.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use fabric_channel::config::Bundle;
use fabric_proto::protos::endorser_client::EndorserClient;
use fabric_proto::protos::{ChaincodeInterest, ProposalResponse, SignedProposal};
use konsort_node::{MAX_MESSAGE_SIZE, OsRandom, Random as _};
use tonic::Status;

use super::plan::Plan;
use crate::channel::Channels;
use crate::connections::{Connections, Endpoint, tls_roots};
use crate::endorser::Endorser;
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

/// The peers that the gateway works with.
pub(super) struct Registry {
    endorser: Endorser,
    channels: Channels,
    connections: Connections,
    gossip: Gossip,
    local: Arc<Node>,
}

impl Registry {
    pub(super) fn new(
        endorser: Endorser,
        channels: Channels,
        connections: Connections,
        gossip: Gossip,
        local: Node,
    ) -> Self {
        Self { endorser, channels, connections, gossip, local: Arc::new(local) }
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

    /// Peers with the chaincode by organisation, the highest ledgers first and this peer before its equals; nobody for a channel
    /// that is not known here.
    pub(super) fn by_organization(&self, channel: &str, chaincode: &str) -> BTreeMap<String, Vec<Candidate>> {
        let Some(joined) = self.channels.get(channel) else { return BTreeMap::new() };
        let bundle = joined.bundle();
        let system = scc::is_system(chaincode);
        let mut found: BTreeMap<String, Vec<Candidate>> = BTreeMap::new();
        for known in endorsers::candidates(&self.gossip, &joined) {
            let has = system
                || if known.local {
                    self.endorser.active_chaincode(&joined.access(), chaincode).is_ok()
                } else {
                    known.peer.chaincodes.iter().any(|(name, _)| name == chaincode)
                };
            if has && let Some(candidate) = self.candidate(&bundle, &known) {
                found.entry(candidate.node.mspid.clone()).or_default().push(candidate);
            }
        }
        for candidates in found.values_mut() {
            sort(candidates);
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
        let bundle = joined.bundle();
        let found = endorsers::layouts(&self.gossip, &self.endorser, &joined, interest)
            .map_err(|error| format!("{NONE}: {error}"))?;
        let mut unavailable = Vec::new();
        let mut favoured = None;
        let mut groups = BTreeMap::new();
        for (group, members) in &found.groups {
            let mut candidates = Vec::new();
            for known in members {
                match self.candidate(&bundle, known) {
                    Some(candidate) => candidates.push(candidate),
                    None => unavailable.push(known.peer.member.preferred_endpoint().to_owned()),
                }
            }
            if preferred.is_some_and(|node| candidates.iter().any(|candidate| *candidate.node == *node)) {
                favoured = Some(group.clone());
            }
            sort(&mut candidates);
            groups.insert(group.clone(), candidates);
        }
        let possible = found.layouts.into_iter().filter(|layout| {
            layout.iter().all(|(group, count)| groups.get(group).is_some_and(|peers| peers.len() >= *count as usize))
        });
        let (mut first, mut others): (Vec<_>, Vec<_>) =
            possible.partition(|layout| favoured.as_ref().is_some_and(|group| layout.contains_key(group)));
        shuffle(&mut first);
        shuffle(&mut others);
        first.append(&mut others);
        if first.is_empty() {
            return Err(format!(
                "failed to select a set of endorsers that satisfy the endorsement policy due to unavailability of peers: [{}]",
                unavailable.join(" ")
            ));
        }
        Ok(Plan::new(first, groups))
    }

    /// Sends a proposal to a peer.
    pub(super) async fn process(&self, node: &Node, proposal: SignedProposal) -> Result<ProposalResponse, Status> {
        let Some(endpoint) = &node.endpoint else { return self.endorser.process_proposal(proposal).await };
        let transport =
            self.connections.get(endpoint).map_err(|error| Status::unavailable(error.to_string()))?;
        let mut client = EndorserClient::new(transport)
            .max_decoding_message_size(MAX_MESSAGE_SIZE)
            .max_encoding_message_size(MAX_MESSAGE_SIZE);
        client.process_proposal(proposal).await.map(tonic::Response::into_inner)
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
