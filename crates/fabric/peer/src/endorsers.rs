//! Which peers can endorse a call: the channel's policies and chaincode definitions against the peers that are alive.
//!
//! The gateway plans endorsements with it, the discovery service passes it on to clients.

use bytes::Bytes;
use fabric_channel::config::Bundle;
use fabric_channel::msp::Identity;
use fabric_ledger::StateGet;
use fabric_proto::common::MspPrincipal;
use fabric_proto::protos::{
    ApplicationPolicy, ChaincodeCall, ChaincodeInterest, StaticCollectionConfig, collection_policy_config,
};
use fabric_validation::lifecycle_state::{self, ChaincodeDefinition, LedgerNamespace, implicit_collection_mspid};
use prost::Message as _;
use std::sync::Arc;

use crate::channel::Channel;
use crate::endorser::Endorser;
use crate::gossip::{ChannelPeer, Gossip};
use crate::layout::{self, LayoutError, Layouts, PrincipalSet};

/// Why no plan can be made; the texts that clients see are upstream's.
#[derive(Debug, thiserror::Error)]
pub enum EndorsersError {
    /// The channel has no such chaincode.
    #[error("No metadata was found for chaincode {chaincode} in channel {channel}")]
    UnknownChaincode {
        /// Its name.
        chaincode: String,
        /// The channel.
        channel: String,
    },
    /// A collection that the definition does not have.
    #[error("collection {collection} doesn't exist in collection config for chaincode {chaincode}")]
    UnknownCollection {
        /// The chaincode.
        chaincode: String,
        /// The collection.
        collection: String,
    },
    /// The call names nothing whose policy would count.
    #[error(
        "requested to disregard chaincode {0}'s policy but key and collection policies are missing, either disable \
         DisregardNamespacePolicy or specify at least one key policy or at least one collection policy"
    )]
    NothingLeft(String),
    /// A stored definition or policy cannot be read.
    #[error("the definition of chaincode {chaincode} cannot be used: {reason}")]
    Definition {
        /// The chaincode.
        chaincode: String,
        /// What is wrong.
        reason: String,
    },
    /// The peers do not suffice.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

/// A peer of a channel that can be asked.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Who it is and what it says.
    pub peer: ChannelPeer,
    /// Whether it is this peer.
    pub local: bool,
    /// Its identity in the channel's MSPs.
    pub identity: Arc<Identity>,
}

impl Candidate {
    /// Whether it says that it has the chaincode in the given version.
    pub fn has(&self, chaincode: &str, version: &str) -> bool {
        self.peer.chaincodes.iter().any(|(name, at)| name == chaincode && at == version)
    }
}

/// The peers of a channel that are alive, the own one first, each with a valid identity.
pub fn candidates(gossip: &Gossip, channel: &Channel) -> Vec<Candidate> {
    let bundle = channel.bundle();
    let own = gossip.own_channel_peer(channel.id()).map(|mut own| {
        own.height = channel.ledger().height();
        (own, true)
    });
    own.into_iter()
        .chain(gossip.channel_peers(channel.id()).into_iter().map(|peer| (peer, false)))
        .filter_map(|(peer, local)| {
            let identity = bundle.msp_manager().deserialize(&peer.member.identity).ok()?;
            bundle.msp_manager().validate(&identity).ok()?;
            Some(Candidate { peer, local, identity })
        })
        .collect()
}

/// The committed definition of a chaincode.
pub fn definition(channel: &Channel, chaincode: &str) -> Result<ChaincodeDefinition, EndorsersError> {
    let state = channel.ledger().snapshot();
    let state: &dyn StateGet = &state;
    lifecycle_state::definition(&LedgerNamespace { state }, chaincode)
        .map_err(|error| EndorsersError::Definition { chaincode: chaincode.to_owned(), reason: error.to_string() })?
        .ok_or_else(|| EndorsersError::UnknownChaincode {
            chaincode: chaincode.to_owned(),
            channel: channel.id().to_owned(),
        })
}

/// Groups and layouts for a call.
pub fn layouts(
    gossip: &Gossip,
    endorser: &Endorser,
    channel: &Channel,
    interest: &ChaincodeInterest,
) -> Result<Layouts<Candidate>, EndorsersError> {
    let bundle = channel.bundle();
    let (alive, definitions) = authorized(gossip, channel, interest)?;
    let mut policies = Vec::new();
    for (call, definition) in interest.chaincodes.iter().zip(&definitions) {
        policies.extend(policies_of(&bundle, call, definition)?);
    }
    let sets = layout::merge(&policies)?;
    let satisfies = |candidate: &Candidate, principal: &MspPrincipal| {
        bundle.msp_manager().satisfies(&candidate.identity, principal).is_ok()
    };
    let installed = |candidate: &Candidate| has_all(endorser, channel, candidate, interest, &definitions);
    Ok(layout::plan(&sets, &alive, satisfies, installed)?)
}

/// The own peer is asked itself: what it tells others lags behind its ledger.
fn has_all(
    endorser: &Endorser,
    channel: &Channel,
    candidate: &Candidate,
    interest: &ChaincodeInterest,
    definitions: &[ChaincodeDefinition],
) -> bool {
    interest.chaincodes.iter().zip(definitions).all(|(call, definition)| {
        let version = &definition.endorsement_info.version;
        if candidate.local {
            endorser.active_chaincode(&channel.access(), &call.name).is_ok_and(|active| active.version == *version)
        } else {
            candidate.has(&call.name, version)
        }
    })
}

/// Peers of a channel that have the chaincodes of an interest and may read its collections; all when there is no interest.
pub fn peers_for(
    gossip: &Gossip,
    endorser: &Endorser,
    channel: &Channel,
    interest: &ChaincodeInterest,
) -> Result<Vec<Candidate>, EndorsersError> {
    let (mut alive, definitions) = authorized(gossip, channel, interest)?;
    alive.retain(|candidate| has_all(endorser, channel, candidate, interest, &definitions));
    Ok(alive)
}

/// Candidates that are members of the collections which the call reads, and the definitions of its chaincodes.
fn authorized(
    gossip: &Gossip,
    channel: &Channel,
    interest: &ChaincodeInterest,
) -> Result<(Vec<Candidate>, Vec<ChaincodeDefinition>), EndorsersError> {
    let bundle = channel.bundle();
    let mut alive = candidates(gossip, channel);
    let mut definitions = Vec::new();
    for call in &interest.chaincodes {
        let definition = definition(channel, &call.name)?;
        if !call.no_private_reads {
            for collection in &call.collection_names {
                alive.retain({
                    let members = members_of(&definition, call, collection)?;
                    let bundle = &bundle;
                    move |candidate| match &members {
                        Members::Organization(mspid) => candidate.peer.member.mspid == *mspid,
                        Members::Principals(principals) => principals
                            .iter()
                            .any(|principal| bundle.msp_manager().satisfies(&candidate.identity, principal).is_ok()),
                    }
                });
            }
        }
        definitions.push(definition);
    }
    Ok((alive, definitions))
}

/// Who may have a collection's data.
enum Members {
    Organization(String),
    Principals(Vec<MspPrincipal>),
}

fn members_of(
    definition: &ChaincodeDefinition,
    call: &ChaincodeCall,
    collection: &str,
) -> Result<Members, EndorsersError> {
    if let Some(mspid) = implicit_collection_mspid(collection) {
        return Ok(Members::Organization(mspid.to_owned()));
    }
    let config = explicit(definition, call, collection)?;
    let payload = config.member_orgs_policy.as_ref().and_then(|policy| policy.payload.as_ref());
    let Some(collection_policy_config::Payload::SignaturePolicy(policy)) = payload else {
        return Err(EndorsersError::Definition {
            chaincode: call.name.clone(),
            reason: format!("collection {collection} has no member policy"),
        });
    };
    Ok(Members::Principals(policy.identities.clone()))
}

fn explicit<'a>(
    definition: &'a ChaincodeDefinition,
    call: &ChaincodeCall,
    collection: &str,
) -> Result<&'a StaticCollectionConfig, EndorsersError> {
    definition.collection(collection).ok_or_else(|| EndorsersError::UnknownCollection {
        chaincode: call.name.clone(),
        collection: collection.to_owned(),
    })
}

/// The ways to satisfy each policy that a call of one chaincode touches.
fn policies_of(
    bundle: &Bundle,
    call: &ChaincodeCall,
    definition: &ChaincodeDefinition,
) -> Result<Vec<Vec<PrincipalSet>>, EndorsersError> {
    let of_application_policy = |bytes: &Bytes| {
        bundle
            .policies()
            .application_policy(bytes)
            .map(|policy| layout::satisfied_by(&policy))
            .map_err(|error| EndorsersError::Definition { chaincode: call.name.clone(), reason: error.to_string() })
    };
    let mut policies = Vec::new();
    if !call.disregard_namespace_policy {
        policies.push(of_application_policy(&definition.validation_info.validation_parameter)?);
    }
    for collection in &call.collection_names {
        if let Some(mspid) = implicit_collection_mspid(collection) {
            let member =
                fabric_channel::policy::signed_by_msp_role(mspid, fabric_proto::common::msp_role::MspRoleType::Member);
            policies.push(layout::satisfied_by_signatures(&member));
            continue;
        }
        let policy: Option<&ApplicationPolicy> = explicit(definition, call, collection)?.endorsement_policy.as_ref();
        if let Some(policy) = policy {
            policies.push(of_application_policy(&policy.encode_to_vec().into())?);
        }
    }
    policies.extend(call.key_policies.iter().map(layout::satisfied_by_signatures));
    if policies.is_empty() {
        return Err(EndorsersError::NothingLeft(call.name.clone()));
    }
    Ok(policies)
}
