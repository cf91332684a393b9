//! What comes in: each message checked, kept when it is news, and passed on to those it is for.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use fabric_proto::gossip::gossip_message::Content;
use fabric_proto::gossip::{Envelope, GossipMessage};

use super::{Effect, LinkId, MAX_MEMBERS, Membership, Record};
use crate::gossip::message;

impl Membership {
    pub(super) fn received(&mut self, now: Duration, link: LinkId, envelope: Envelope, effects: &mut Vec<Effect>) {
        let Some((sender, organization)) = self.links.get(&link).map(|link| (link.pki_id.clone(), link.mspid.clone()))
        else {
            return;
        };
        let Some(opened) = message::open(&envelope) else { return };
        let nonce = opened.nonce;
        match opened.content {
            Some(Content::AliveMsg(_)) => self.alive(now, link, &envelope, effects),
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

    fn alive(&mut self, now: Duration, link: LinkId, envelope: &Envelope, effects: &mut Vec<Effect>) {
        if self.learn_alive(now, envelope) {
            self.forward_alive(link, envelope, effects);
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
        let record = Record {
            endpoint,
            internal_endpoint: internal,
            timestamp,
            last_seen: now,
            dead: false,
            envelope: envelope.clone(),
        };
        self.members.insert(id, record);
        true
    }

    fn learn_dead(&mut self, now: Duration, envelope: &Envelope) {
        let Some((id, timestamp, endpoint)) = self.check_alive(envelope) else { return };
        if !self.members.contains_key(&id) && self.members.len() < MAX_MEMBERS {
            let internal_endpoint = message::internal_endpoint(envelope);
            let record = Record {
                endpoint,
                internal_endpoint,
                timestamp,
                last_seen: now,
                dead: true,
                envelope: envelope.clone(),
            };
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
        // The internal endpoint is signed on its own, since whoever passes the statement on may take it off but not change it.
        let secret = envelope.secret_envelope.as_ref();
        let signed = self.notary.verify(&identity, &envelope.payload, &envelope.signature)
            && secret.is_none_or(|secret| self.notary.verify(&identity, &secret.payload, &secret.signature));
        signed.then_some((membership.pki_id, time, membership.endpoint))
    }

    /// Whether statements of `subject`'s organisation may go to `receiver`'s: our own go everywhere, others' only home.
    fn may_tell(&self, subject: &str, receiver: &str, endpoint: &str) -> bool {
        subject == receiver || (subject == self.mspid && !endpoint.is_empty())
    }

    fn forward_alive(&self, from: LinkId, envelope: &Envelope, effects: &mut Vec<Effect>) {
        let Some(Content::AliveMsg(alive)) = message::open(envelope).and_then(|opened| opened.content) else { return };
        let Some(membership) = alive.membership else { return };
        let Some(subject) = self.identities.get(&membership.pki_id).map(|known| known.mspid.clone()) else { return };
        for (link, to) in &self.links {
            if *link != from
                && to.pki_id != membership.pki_id
                && self.may_tell(&subject, &to.mspid, &membership.endpoint)
            {
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
    pub(super) fn links_of_channel(&self, channel: &str) -> impl Iterator<Item = LinkId> {
        let view = self.channels.get(channel);
        let mut seen = BTreeSet::new();
        self.links
            .iter()
            .filter(move |(_, link)| view.is_some_and(|view| view.has(&link.mspid)) && seen.insert(link.pki_id.clone()))
            .map(|(id, _)| *id)
    }
}
