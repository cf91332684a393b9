//! What peers say about one channel: height and chaincodes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use fabric_proto::gossip::{Envelope, PeerTime, StateInfo};

use super::{Anchor, MAX_MEMBERS};
use crate::gossip::message::{self, Notary};

/// The newest statement of a peer.
#[derive(Debug)]
pub(crate) struct Statement {
    timestamp: (u64, u64),
    pub(crate) height: u64,
    pub(crate) chaincodes: Vec<(String, String)>,
    pub(crate) envelope: Envelope,
}

/// One channel.
#[derive(Debug, Default)]
pub(crate) struct ChannelView {
    organizations: BTreeSet<String>,
    anchors: Vec<Anchor>,
    height: u64,
    chaincodes: Vec<(String, String)>,
    statements: BTreeMap<Bytes, Statement>,
    /// The own statement, until height or chaincodes change.
    own: Option<Envelope>,
    changed: bool,
    last_published: Option<Duration>,
}

impl ChannelView {
    pub(crate) fn configure(&mut self, organizations: BTreeSet<String>, anchors: Vec<Anchor>) {
        self.organizations = organizations;
        self.anchors = anchors;
        self.changed = true;
    }

    /// Whether an organisation is in the channel.
    pub(crate) fn has(&self, mspid: &str) -> bool {
        self.organizations.contains(mspid)
    }

    pub(crate) fn anchors(&self) -> impl Iterator<Item = &Anchor> {
        self.anchors.iter()
    }

    pub(crate) fn height(&self) -> u64 {
        self.height
    }

    pub(crate) fn chaincodes(&self) -> &[(String, String)] {
        &self.chaincodes
    }

    pub(crate) fn set_height(&mut self, height: u64) {
        if self.height != height {
            self.height = height;
            self.own = None;
            self.changed = true;
        }
    }

    pub(crate) fn set_chaincodes(&mut self, chaincodes: Vec<(String, String)>) {
        if self.chaincodes != chaincodes {
            self.chaincodes = chaincodes;
            self.own = None;
            self.changed = true;
            // Which chaincodes a peer has decides where clients are sent; that does not wait for the next interval.
            self.last_published = None;
        }
    }

    /// The own signed statement; `timestamp` is used only when a new one must be made.
    pub(crate) fn own(&mut self, pki_id: &Bytes, channel: &str, timestamp: PeerTime, notary: &dyn Notary) -> Envelope {
        self.own
            .get_or_insert_with(|| {
                message::state_info(pki_id, channel, self.height, &self.chaincodes, timestamp, notary)
            })
            .clone()
    }

    /// Whether there is something new to say and the last time is long enough ago.
    pub(crate) fn is_due(&self, now: Duration, interval: Duration) -> bool {
        self.changed && self.last_published.is_none_or(|last| now.saturating_sub(last) >= interval)
    }

    pub(crate) fn published(&mut self, now: Duration) {
        self.changed = false;
        self.last_published = Some(now);
    }

    /// Whether a statement is newer than the one known of the same peer.
    pub(crate) fn is_newer(&self, info: &StateInfo) -> bool {
        let Some(time) = info.timestamp else { return false };
        match self.statements.get(&info.pki_id) {
            Some(known) => (time.inc_num, time.seq_num) > known.timestamp,
            None => self.statements.len() < MAX_MEMBERS,
        }
    }

    /// Keeps a checked statement.
    pub(crate) fn learn(&mut self, info: StateInfo, envelope: &Envelope) {
        let time = info.timestamp.unwrap_or_default();
        let properties = info.properties.unwrap_or_default();
        if properties.left_channel {
            self.statements.remove(&info.pki_id);
            return;
        }
        let statement = Statement {
            timestamp: (time.inc_num, time.seq_num),
            height: properties.ledger_height,
            chaincodes: properties.chaincodes.into_iter().take(1024).map(|one| (one.name, one.version)).collect(),
            envelope: envelope.clone(),
        };
        self.statements.insert(info.pki_id, statement);
    }

    pub(crate) fn statements(&self) -> impl Iterator<Item = (&Bytes, &Statement)> {
        self.statements.iter()
    }

    /// All statements, the own one included once it has been made.
    pub(crate) fn envelopes(&self) -> Vec<Envelope> {
        self.own.iter().cloned().chain(self.statements.values().map(|statement| statement.envelope.clone())).collect()
    }
}
