//! The discovery service: a channel's configuration, its peers, and who has to endorse, for clients that plan for themselves.

use std::collections::BTreeMap;

use bytes::Bytes;
use fabric_channel::policy::role_principal;
use fabric_channel::protoutil::SignedData;
use fabric_proto::common::msp_role::MspRoleType;
use fabric_proto::discovery::discovery_server::{Discovery as DiscoveryService, DiscoveryServer};
use fabric_proto::discovery::query::Query as Kind;
use fabric_proto::discovery::query_result::Result as Content;
use fabric_proto::discovery::{
    ChaincodeQuery, ChaincodeQueryResult, ConfigResult, EndorsementDescriptor, Endpoint, Endpoints, Error, Layout,
    Peer, PeerMembershipResult, Peers, Query, QueryResult, Request as DiscoveryRequest, Response as DiscoveryResponse,
    SignedRequest,
};
use fabric_proto::msp::FabricMspConfig;
use konsort_crypto::hash::sha256;
use konsort_node::ConnectionInfo;
use prost::Message as _;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use crate::acl::AccessControl;
use crate::channel::{Channel, Channels};
use crate::endorser::Endorser;
use crate::endorsers::{self, Candidate};
use crate::gossip::{Gossip, Member};

/// Most queries in one request.
const MAX_QUERIES: usize = 100;

/// Answers discovery requests.
#[derive(Debug, Clone)]
pub struct Discovery {
    channels: Channels,
    gossip: Gossip,
    endorser: Endorser,
    access: AccessControl,
    /// Whether callers must bind their request to the TLS certificate they connected with.
    tls_binding: bool,
}

impl Discovery {
    /// A service over these channels and this view of other peers.
    pub fn new(channels: Channels, gossip: Gossip, endorser: Endorser, tls_binding: bool) -> Self {
        Self { channels, gossip, access: endorser.access().clone(), endorser, tls_binding }
    }

    /// Adds the gRPC service to a listener's routes.
    #[must_use]
    pub fn add_to(self, routes: Routes) -> Routes {
        routes.add_service(DiscoveryServer::new(self))
    }

    fn answer(&self, query: &Query, signed: &SignedData) -> Content {
        let denied = || failure("access denied");
        let channel = match query.channel.as_str() {
            "" => None,
            id => match self.channels.get(id) {
                Some(channel) => Some(channel),
                None => return denied(),
            },
        };
        let bundle = channel.as_ref().map(Channel::bundle);
        // Local queries are for the own organisation's administrators, as upstream; channel queries for the channel's writers.
        let allowed = match &bundle {
            Some(bundle) => {
                bundle.policies().policy("/Channel/Application/Writers").evaluate(std::slice::from_ref(signed)).is_ok()
            }
            None => self.is_local_admin(signed),
        };
        if !allowed {
            tracing::warn!(target: "discovery", channel = query.channel, "got a query from a client that isn't eligible");
            return denied();
        }
        match (&query.query, channel) {
            (Some(Kind::ConfigQuery(_)), Some(channel)) => config(&channel),
            (Some(Kind::PeerQuery(membership)), Some(channel)) => {
                let interest = membership.filter.clone().unwrap_or_default();
                match endorsers::peers_for(&self.gossip, &self.endorser, &channel, &interest) {
                    Ok(found) => members(found.iter().map(|one| (one.peer.member.mspid.clone(), peer_of(one)))),
                    Err(error) => failure(error.to_string()),
                }
            }
            (Some(Kind::CcQuery(chaincodes)), Some(channel)) => self.endorsement(&channel, chaincodes),
            (Some(Kind::LocalPeers(_)), None) => {
                let everybody = std::iter::once(self.gossip.own_member()).chain(self.gossip.members());
                members(everybody.map(|one| (one.mspid.clone(), local_peer(one))))
            }
            _ => failure("unknown or missing request type"),
        }
    }

    fn is_local_admin(&self, signed: &SignedData) -> bool {
        let local = self.access.local();
        let admin = role_principal(self.access.mspid(), MspRoleType::Admin);
        local.deserialize(&signed.identity).is_ok_and(|identity| {
            local.satisfies(&identity, &admin).is_ok() && identity.verify(&signed.data, &signed.signature).is_ok()
        })
    }

    fn endorsement(&self, channel: &Channel, query: &ChaincodeQuery) -> Content {
        if query.interests.is_empty() {
            return failure("chaincode query must have at least one chaincode interest");
        }
        let mut content = Vec::new();
        for interest in &query.interests {
            let Some(first) = interest.chaincodes.first() else {
                return failure("chaincode interest must contain at least one chaincode");
            };
            if interest.chaincodes.iter().any(|call| call.name.is_empty()) {
                return failure("chaincode name in interest cannot be empty");
            }
            match endorsers::layouts(&self.gossip, &self.endorser, channel, interest) {
                Ok(planned) => content.push(EndorsementDescriptor {
                    chaincode: first.name.clone(),
                    endorsers_by_groups: planned
                        .groups
                        .iter()
                        .map(|(name, group)| (name.clone(), Peers { peers: group.iter().map(peer_of).collect() }))
                        .collect(),
                    layouts: planned
                        .layouts
                        .into_iter()
                        .map(|quantities_by_group| Layout { quantities_by_group })
                        .collect(),
                }),
                Err(error) => {
                    tracing::error!(target: "discovery", chaincode = first.name, %error, "failed constructing descriptor");
                    // The reason helps whoever asks; upstream only names the interest.
                    return failure(format!(
                        "failed constructing descriptor for chaincodes:<name:\"{}\" >: {error}",
                        first.name
                    ));
                }
            }
        }
        Content::CcQueryRes(ChaincodeQueryResult { content })
    }
}

fn failure(content: impl Into<String>) -> Content {
    Content::Error(Error { content: content.into() })
}

fn peer_of(candidate: &Candidate) -> Peer {
    Peer {
        state_info: Some(candidate.peer.state_info.clone()),
        membership_info: Some(public(candidate.peer.member.clone())),
        identity: candidate.peer.member.identity.clone(),
    }
}

fn local_peer(member: Member) -> Peer {
    let identity = member.identity.clone();
    Peer { state_info: None, membership_info: Some(public(member)), identity }
}

/// The alive statement without the internal endpoint, which is not for clients.
fn public(member: Member) -> fabric_proto::gossip::Envelope {
    let mut alive = member.alive;
    alive.secret_envelope = None;
    alive
}

fn members(all: impl Iterator<Item = (String, Peer)>) -> Content {
    let mut peers_by_org: BTreeMap<String, Peers> = BTreeMap::new();
    for (mspid, peer) in all {
        peers_by_org.entry(mspid).or_default().peers.push(peer);
    }
    Content::Members(PeerMembershipResult { peers_by_org })
}

/// MSPs and orderer endpoints of a channel.
fn config(channel: &Channel) -> Content {
    let bundle = channel.bundle();
    let mut msps = BTreeMap::new();
    for msp in bundle.msp_manager().msps() {
        match FabricMspConfig::decode(msp.to_config().config) {
            Ok(config) => msps.insert(msp.name().to_owned(), config),
            Err(error) => return failure(format!("failed fetching config for channel {}: {error}", channel.id())),
        };
    }
    let mut orderers: BTreeMap<String, Endpoints> = BTreeMap::new();
    for (organization, address) in
        bundle.orderer().into_iter().flat_map(fabric_channel::config::OrdererConfig::endpoints)
    {
        let endpoint = address.rsplit_once(':').and_then(|(host, port)| {
            Some(Endpoint { host: host.trim_matches(['[', ']']).to_owned(), port: port.parse().ok()? })
        });
        orderers.entry(organization.msp_id.clone()).or_default().endpoint.extend(endpoint);
    }
    Content::ConfigResult(ConfigResult { msps, orderers })
}

#[tonic::async_trait]
impl DiscoveryService for Discovery {
    async fn discover(&self, request: Request<SignedRequest>) -> Result<Response<DiscoveryResponse>, Status> {
        let shown = request
            .extensions()
            .get::<ConnectionInfo>()
            .and_then(|info| info.peer_certificate().map(|der| Bytes::copy_from_slice(&sha256(der))));
        let signed = request.into_inner();
        let parsed = DiscoveryRequest::decode(signed.payload.clone())
            .map_err(|error| Status::unknown(format!("failed parsing request: {error}")))?;
        let authentication =
            parsed.authentication.ok_or_else(|| Status::unknown("access denied, no authentication info in request"))?;
        if authentication.client_identity.is_empty() {
            return Err(Status::unknown("access denied, client identity wasn't supplied"));
        }
        if self.tls_binding {
            let shown = shown.ok_or_else(|| Status::unknown("client didn't send a TLS certificate"))?;
            if shown != authentication.client_tls_cert_hash {
                return Err(Status::unknown(
                    "client claimed TLS hash doesn't match computed TLS hash from gRPC stream",
                ));
            }
        }
        if parsed.queries.len() > MAX_QUERIES {
            return Err(Status::invalid_argument(format!(
                "{} queries in one request; at most {MAX_QUERIES} are answered",
                parsed.queries.len()
            )));
        }
        let signed_data =
            SignedData { data: signed.payload, identity: authentication.client_identity, signature: signed.signature };
        let service = self.clone();
        // Policies verify signatures and state is read from disk: not on the I/O threads.
        let results = tokio::task::spawn_blocking(move || {
            parsed
                .queries
                .iter()
                .map(|query| QueryResult { result: Some(service.answer(query, &signed_data)) })
                .collect()
        })
        .await
        .map_err(|error| Status::internal(format!("discovery failed: {error}")))?;
        Ok(Response::new(DiscoveryResponse { results }))
    }
}
