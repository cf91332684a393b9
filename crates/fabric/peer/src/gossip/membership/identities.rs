//! Whose identity belongs to which peer id, and the pull that spreads identities.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use fabric_proto::gossip::gossip_message::Content;
use fabric_proto::gossip::{Envelope, GossipMessage, PullMsgType};

use super::MAX_MEMBERS;
use crate::gossip::message::{self, Notary, Pull};

/// A valid identity.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    /// Serialized identity.
    pub(crate) identity: Bytes,
    /// MSP id.
    pub(crate) mspid: String,
}

/// All valid identities heard of.
#[derive(Debug)]
pub(crate) struct Identities {
    known: BTreeMap<Bytes, Known>,
    /// Signed identity statements, which can be passed on.
    statements: BTreeMap<Bytes, Envelope>,
}

impl Identities {
    pub(crate) fn new(own_id: Bytes, own_statement: Envelope) -> Self {
        Self { known: BTreeMap::new(), statements: BTreeMap::from([(own_id, own_statement)]) }
    }

    pub(crate) fn get(&self, id: &Bytes) -> Option<&Known> {
        self.known.get(id)
    }

    /// Keeps a valid identity and gives its peer id.
    pub(crate) fn learn(&mut self, identity: &Bytes, notary: &dyn Notary) -> Option<Bytes> {
        let id = message::pki_id(identity)?;
        if self.known.get(&id).is_some_and(|known| known.identity == *identity) {
            return Some(id);
        }
        let mspid = notary.organization(identity)?;
        if self.known.len() >= MAX_MEMBERS {
            return None;
        }
        self.known.insert(id.clone(), Known { identity: identity.clone(), mspid });
        Some(id)
    }

    /// Answers one step of an identity pull.
    pub(crate) fn pull(&mut self, whole: GossipMessage, notary: &dyn Notary) -> Option<Envelope> {
        let is_identity = |kind: i32| kind == i32::from(PullMsgType::IdentityMsg);
        match whole.content? {
            Content::Hello(hello) if is_identity(hello.msg_type) => {
                Some(message::identity_pull(Pull::Digest(self.statements.keys().cloned().collect()), hello.nonce))
            }
            Content::DataDig(digest) if is_identity(digest.msg_type) => {
                let wanted: Vec<Bytes> = digest
                    .digests
                    .into_iter()
                    .take(MAX_MEMBERS)
                    .filter(|id| !self.statements.contains_key(id))
                    .collect();
                (!wanted.is_empty()).then(|| message::identity_pull(Pull::Request(wanted), digest.nonce))
            }
            Content::DataReq(request) if is_identity(request.msg_type) => {
                // An id that is asked for a thousand times is still answered once.
                let wanted: BTreeSet<&Bytes> = request.digests.iter().take(MAX_MEMBERS).collect();
                let found = wanted.into_iter().filter_map(|id| self.statements.get(id).cloned());
                Some(message::identity_pull(Pull::Update(found.collect()), request.nonce))
            }
            Content::DataUpdate(update) if is_identity(update.msg_type) => {
                for statement in update.data.into_iter().take(MAX_MEMBERS) {
                    self.learn_statement(statement, notary);
                }
                None
            }
            _ => None,
        }
    }

    fn learn_statement(&mut self, statement: Envelope, notary: &dyn Notary) {
        let Some(Content::PeerIdentity(about)) = message::open(&statement).and_then(|opened| opened.content) else {
            return;
        };
        let proper = message::pki_id(&about.cert).as_ref() == Some(&about.pki_id)
            && self.statements.len() < MAX_MEMBERS
            && notary.verify(&about.cert, &statement.payload, &statement.signature);
        if proper && self.learn(&about.cert, notary).is_some() {
            self.statements.insert(about.pki_id, statement);
        }
    }
}
