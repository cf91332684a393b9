//! Gossip messages as they are built, signed and checked; nothing here knows who is connected.
//!
//! A message travels as the payload of an [`Envelope`]. Statements about oneself (alive, state info, connection, identity) are signed;
//! requests and collections of such statements are not, since every element in them is.

use bytes::Bytes;
use fabric_proto::gossip::gossip_message::{Content, Tag};
use fabric_proto::gossip::{
    AliveMessage, Chaincode, ConnEstablish, DataDigest, DataRequest, DataUpdate, Envelope, GossipHello, GossipMessage,
    Member, MembershipRequest, MembershipResponse, PeerIdentity, PeerTime, Properties, PullMsgType, Secret,
    SecretEnvelope, StateInfo, StateInfoPullRequest, StateInfoSnapshot, secret,
};
use konsort_crypto::hash::sha256_parts;
use prost::Message as _;

/// Signs for this peer and knows whose signatures are valid.
pub trait Notary: Send + Sync + std::fmt::Debug + 'static {
    /// This peer's serialized identity.
    fn identity(&self) -> Bytes;

    /// Signs as this peer.
    fn sign(&self, message: &[u8]) -> Bytes;

    /// Whether the serialized identity is valid in the local MSP or in one of the joined channels and signed the message.
    fn verify(&self, identity: &Bytes, message: &[u8], signature: &[u8]) -> bool;

    /// The MSP id of a serialized identity that is valid here; `None` when it is not.
    fn organization(&self, identity: &Bytes) -> Option<String>;
}

/// Id of a peer: SHA-256 of its MSP id followed by its identity bytes.
pub fn pki_id(serialized_identity: &[u8]) -> Option<Bytes> {
    let identity = fabric_proto::msp::SerializedIdentity::decode(serialized_identity).ok()?;
    if identity.mspid.is_empty() {
        return None;
    }
    Some(Bytes::copy_from_slice(&sha256_parts(&[identity.mspid.as_bytes(), &identity.id_bytes])))
}

/// Binds a peer to a channel without naming the channel to those outside of it.
pub fn channel_mac(pki_id: &[u8], channel: &str) -> Bytes {
    Bytes::copy_from_slice(&sha256_parts(&[pki_id, channel.as_bytes()]))
}

/// A message without a signature of its own.
pub fn unsigned(message: &GossipMessage) -> Envelope {
    Envelope { payload: message.encode_to_vec().into(), signature: Bytes::new(), secret_envelope: None }
}

/// A signed message.
pub fn signed(message: &GossipMessage, notary: &dyn Notary) -> Envelope {
    let payload = Bytes::from(message.encode_to_vec());
    let signature = notary.sign(&payload);
    Envelope { payload, signature, secret_envelope: None }
}

fn message(tag: Tag, nonce: u64, content: Content) -> GossipMessage {
    GossipMessage { nonce, channel: Bytes::new(), tag: tag.into(), content: Some(content) }
}

/// The first message on a connection, in both directions.
pub fn connection(pki_id: Bytes, tls_certificate_hash: Bytes, notary: &dyn Notary) -> Envelope {
    let content =
        ConnEstablish { pki_id, identity: notary.identity(), tls_cert_hash: tls_certificate_hash, probe: false };
    signed(&message(Tag::Empty, 0, Content::Conn(content)), notary)
}

/// "I am here": the endpoint for everybody, and, for one's own organisation, the internal one in a second signed envelope.
///
/// The identity is always included: whoever hears of this peer through others can check the statement at once.
pub fn alive(
    pki_id: Bytes,
    endpoint: &str,
    internal_endpoint: &str,
    timestamp: PeerTime,
    notary: &dyn Notary,
) -> Envelope {
    let content = AliveMessage {
        membership: Some(Member { endpoint: endpoint.to_owned(), metadata: Bytes::new(), pki_id }),
        timestamp: Some(timestamp),
        identity: notary.identity(),
    };
    let mut envelope = signed(&message(Tag::Empty, 0, Content::AliveMsg(content)), notary);
    if !internal_endpoint.is_empty() {
        let payload = Bytes::from(
            Secret { content: Some(secret::Content::InternalEndpoint(internal_endpoint.to_owned())) }.encode_to_vec(),
        );
        let signature = notary.sign(&payload);
        envelope.secret_envelope = Some(SecretEnvelope { payload, signature });
    }
    envelope
}

/// The internal endpoint inside an alive envelope, if there is one.
pub fn internal_endpoint(envelope: &Envelope) -> Option<String> {
    let secret = Secret::decode(envelope.secret_envelope.as_ref()?.payload.clone()).ok()?;
    let secret::Content::InternalEndpoint(endpoint) = secret.content?;
    Some(endpoint)
}

/// Asks for the members that the other side knows; introduces oneself.
pub fn membership_request(self_information: Envelope, nonce: u64) -> Envelope {
    let content = MembershipRequest { self_information: Some(self_information), known: Vec::new() };
    unsigned(&message(Tag::Empty, nonce, Content::MemReq(content)))
}

/// The answer to a membership request; `nonce` repeats that of the request.
pub fn membership_response(alive: Vec<Envelope>, dead: Vec<Envelope>, nonce: u64) -> Envelope {
    unsigned(&message(Tag::Empty, nonce, Content::MemRes(MembershipResponse { alive, dead })))
}

/// What this peer tells the members of a channel about itself.
pub fn state_info(
    pki_id: &Bytes,
    channel: &str,
    height: u64,
    chaincodes: &[(String, String)],
    timestamp: PeerTime,
    notary: &dyn Notary,
) -> Envelope {
    let content = StateInfo {
        timestamp: Some(timestamp),
        pki_id: pki_id.clone(),
        channel_mac: channel_mac(pki_id, channel),
        properties: Some(Properties {
            ledger_height: height,
            left_channel: false,
            chaincodes: chaincodes
                .iter()
                .map(|(name, version)| Chaincode {
                    name: name.clone(),
                    version: version.clone(),
                    metadata: Bytes::new(),
                })
                .collect(),
        }),
    };
    signed(&message(Tag::ChanOrOrg, 0, Content::StateInfo(content)), notary)
}

/// Asks for all state information of a channel.
pub fn state_info_request(pki_id: &[u8], channel: &str) -> Envelope {
    let content = StateInfoPullRequest { channel_mac: channel_mac(pki_id, channel) };
    unsigned(&message(Tag::ChanOrOrg, 0, Content::StateInfoPullReq(content)))
}

/// The answer to [`state_info_request`].
pub fn state_info_snapshot(channel: &str, elements: Vec<Envelope>) -> Envelope {
    let mut whole = message(Tag::ChanOrOrg, 0, Content::StateSnapshot(StateInfoSnapshot { elements }));
    whole.channel = Bytes::copy_from_slice(channel.as_bytes());
    unsigned(&whole)
}

/// This peer's own identity as a signed statement, for the identity pull.
pub fn own_identity(pki_id: Bytes, notary: &dyn Notary) -> Envelope {
    let content = PeerIdentity { pki_id, cert: notary.identity(), metadata: Bytes::new() };
    signed(&message(Tag::Empty, 0, Content::PeerIdentity(content)), notary)
}

/// The four steps of an identity pull.
#[derive(Debug)]
pub enum Pull {
    /// Opens a pull.
    Hello,
    /// Ids that the answering side has.
    Digest(Vec<Bytes>),
    /// Ids that the asking side wants.
    Request(Vec<Bytes>),
    /// The identities.
    Update(Vec<Envelope>),
}

/// A message of the identity pull.
pub fn identity_pull(step: Pull, nonce: u64) -> Envelope {
    let msg_type = PullMsgType::IdentityMsg.into();
    let content = match step {
        Pull::Hello => Content::Hello(GossipHello { nonce, metadata: Bytes::new(), msg_type }),
        Pull::Digest(digests) => Content::DataDig(DataDigest { nonce, digests, msg_type }),
        Pull::Request(digests) => Content::DataReq(DataRequest { nonce, digests, msg_type }),
        Pull::Update(data) => Content::DataUpdate(DataUpdate { nonce, data, msg_type }),
    };
    unsigned(&message(Tag::Empty, 0, content))
}

/// Decodes what stands in an envelope; `None` for anything malformed or with a tag its content must not have.
pub fn open(envelope: &Envelope) -> Option<GossipMessage> {
    let message = GossipMessage::decode(envelope.payload.clone()).ok()?;
    let content = message.content.as_ref()?;
    let tag = Tag::try_from(message.tag).ok()?;
    let proper = match content {
        Content::AliveMsg(_)
        | Content::MemReq(_)
        | Content::MemRes(_)
        | Content::Conn(_)
        | Content::PeerIdentity(_)
        | Content::Hello(_)
        | Content::DataDig(_)
        | Content::DataReq(_)
        | Content::DataUpdate(_) => matches!(tag, Tag::Empty | Tag::ChanAndOrg),
        Content::StateInfo(_) | Content::StateInfoPullReq(_) | Content::StateSnapshot(_) => tag == Tag::ChanOrOrg,
        _ => true,
    };
    proper.then_some(message)
}
