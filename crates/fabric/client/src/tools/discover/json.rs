//! Answers of the discovery service as JSON, in upstream's shape.

use std::collections::BTreeMap;

use base64::Engine as _;
use bytes::Bytes;
use fabric_proto::discovery::{ChaincodeQueryResult, ConfigResult, Peer, PeerMembershipResult};
use fabric_proto::gossip::{Envelope, GossipMessage, Properties, gossip_message::Content};
use fabric_proto::msp::{FabricMspConfig, FabricOuIdentifier, SerializedIdentity};
use prost::Message;

use crate::tools::gojson::Json;

/// What is told about one peer.
struct Described {
    mspid: String,
    endpoint: String,
    identity: String,
    properties: Properties,
}

fn content(envelope: Option<&Envelope>) -> Option<Content> {
    GossipMessage::decode(envelope?.payload.clone()).ok()?.content
}

fn described(peer: &Peer) -> Described {
    let identity = SerializedIdentity::decode(peer.identity.clone()).unwrap_or_default();
    let endpoint = match content(peer.membership_info.as_ref()) {
        Some(Content::AliveMsg(alive)) => alive.membership.unwrap_or_default().endpoint,
        _ => String::new(),
    };
    let properties = match content(peer.state_info.as_ref()) {
        Some(Content::StateInfo(state)) => state.properties.unwrap_or_default(),
        _ => Properties::default(),
    };
    Described {
        mspid: identity.mspid,
        endpoint,
        identity: String::from_utf8_lossy(&identity.id_bytes).into_owned(),
        properties,
    }
}

/// An empty list is `null`, as Go prints a nil slice.
fn list_or_null(items: Vec<Json>) -> Json {
    if items.is_empty() { Json::Null } else { Json::List(items) }
}

/// `peers`.
pub(super) fn peers(members: &PeerMembershipResult, with_channel_state: bool) -> Json {
    let rows = members.peers_by_org.iter().flat_map(|(org, peers)| peers.peers.iter().map(move |peer| (org, peer)));
    let rows = rows.map(|(org, peer)| {
        let Described { endpoint, identity, properties, .. } = described(peer);
        let (mspid, endpoint, identity) = (Json::text(org), Json::text(endpoint), Json::text(identity));
        if !with_channel_state {
            return Json::object([("MSPID", mspid), ("Endpoint", endpoint), ("Identity", identity)]);
        }
        let chaincodes = properties.chaincodes.into_iter().map(|chaincode| Json::text(chaincode.name)).collect();
        Json::object([
            ("MSPID", mspid),
            ("LedgerHeight", Json::number(properties.ledger_height)),
            ("Endpoint", endpoint),
            ("Identity", identity),
            ("Chaincodes", list_or_null(chaincodes)),
        ])
    });
    list_or_null(rows.collect())
}

/// `endorsers`.
pub(super) fn endorsers(result: &ChaincodeQueryResult) -> Json {
    let descriptors = result.content.iter().map(|descriptor| {
        let groups = descriptor.endorsers_by_groups.iter().map(|(group, peers)| {
            let peers = peers.peers.iter().map(|peer| {
                let Described { mspid, endpoint, identity, properties } = described(peer);
                Json::object([
                    ("MSPID", Json::text(mspid)),
                    ("LedgerHeight", Json::number(properties.ledger_height)),
                    ("Endpoint", Json::text(endpoint)),
                    ("Identity", Json::text(identity)),
                ])
            });
            (group.clone(), list_or_null(peers.collect()))
        });
        let layouts = descriptor.layouts.iter().map(|layout| {
            let quantities =
                layout.quantities_by_group.iter().map(|(group, count)| (group.clone(), Json::number(*count)));
            Json::object([("quantities_by_group", Json::object(quantities))])
        });
        Json::object([
            ("Chaincode", Json::text(&descriptor.chaincode)),
            ("EndorsersByGroups", Json::object(groups)),
            ("Layouts", list_or_null(layouts.collect())),
        ])
    });
    list_or_null(descriptors.collect())
}

/// `config`.
pub(super) fn config(result: &ConfigResult) -> Json {
    let mut fields = Vec::new();
    if !result.msps.is_empty() {
        let msps: BTreeMap<_, _> = result.msps.iter().collect();
        fields.push(("msps", Json::object(msps.into_iter().map(|(org, msp)| (org.clone(), msp_config(msp))))));
    }
    if !result.orderers.is_empty() {
        let orderers = result.orderers.iter().map(|(org, endpoints)| {
            let endpoints = endpoints.endpoint.iter().map(|endpoint| {
                Json::object([("host", Json::text(&endpoint.host)), ("port", Json::number(endpoint.port))])
            });
            (org.clone(), Json::object([("endpoint", Json::List(endpoints.collect()))]))
        });
        fields.push(("orderers", Json::object(orderers)));
    }
    Json::object(fields)
}

fn base64(bytes: &Bytes) -> Json {
    Json::text(base64::engine::general_purpose::STANDARD.encode(bytes))
}

fn unit(identifier: &FabricOuIdentifier) -> Json {
    let mut fields = Vec::new();
    if !identifier.certificate.is_empty() {
        fields.push(("certificate", base64(&identifier.certificate)));
    }
    if !identifier.organizational_unit_identifier.is_empty() {
        fields.push(("organizational_unit_identifier", Json::text(&identifier.organizational_unit_identifier)));
    }
    Json::object(fields)
}

fn msp_config(config: &FabricMspConfig) -> Json {
    let mut fields = vec![("name", Json::text(&config.name))];
    for (name, certificates) in [
        ("root_certs", &config.root_certs),
        ("intermediate_certs", &config.intermediate_certs),
        ("admins", &config.admins),
        ("revocation_list", &config.revocation_list),
    ] {
        if !certificates.is_empty() {
            fields.push((name, Json::List(certificates.iter().map(base64).collect())));
        }
    }
    if !config.organizational_unit_identifiers.is_empty() {
        let units = config.organizational_unit_identifiers.iter().map(unit).collect();
        fields.push(("organizational_unit_identifiers", Json::List(units)));
    }
    if let Some(crypto) = &config.crypto_config {
        fields.push((
            "crypto_config",
            Json::object([
                ("signature_hash_family", Json::text(&crypto.signature_hash_family)),
                ("identity_identifier_hash_function", Json::text(&crypto.identity_identifier_hash_function)),
            ]),
        ));
    }
    for (name, certificates) in
        [("tls_root_certs", &config.tls_root_certs), ("tls_intermediate_certs", &config.tls_intermediate_certs)]
    {
        if !certificates.is_empty() {
            fields.push((name, Json::List(certificates.iter().map(base64).collect())));
        }
    }
    if let Some(units) = &config.fabric_node_ous {
        let mut inner = Vec::new();
        if units.enable {
            inner.push(("enable", Json::Bool(true)));
        }
        for (name, identifier) in [
            ("client_ou_identifier", &units.client_ou_identifier),
            ("peer_ou_identifier", &units.peer_ou_identifier),
            ("admin_ou_identifier", &units.admin_ou_identifier),
            ("orderer_ou_identifier", &units.orderer_ou_identifier),
        ] {
            if let Some(identifier) = identifier {
                inner.push((name, unit(identifier)));
            }
        }
        fields.push(("fabric_node_ous", Json::object(inner)));
    }
    Json::object(fields)
}
