//! What is due by time.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;

use super::channel::ChannelView;
use super::{Effect, LinkId, Membership};
use crate::gossip::message;

impl Membership {
    /// What is due by time: statements, requests, expiry, connections.
    pub(super) fn periodic(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        for record in self.members.values_mut() {
            if !record.dead && now.saturating_sub(record.last_seen) > self.timing.alive_expiration {
                record.dead = true;
            }
        }
        if now >= self.next_alive {
            self.next_alive = now + self.timing.alive_interval;
            if !self.links.is_empty() {
                let full = self.own_alive();
                let mut bare = full.clone();
                bare.secret_envelope = None;
                for (link, to) in &self.links {
                    let envelope = if to.mspid == self.mspid { &full } else { &bare };
                    effects.push(Effect::Send(*link, envelope.clone()));
                }
            }
        }
        let channels: Vec<String> = self.channels.keys().cloned().collect();
        for channel in &channels {
            let due = self.channels.get(channel).is_some_and(|view| view.is_due(now, self.timing.state_info_interval));
            let links: Vec<LinkId> = self.links_of_channel(channel).collect();
            if due && !links.is_empty() {
                let timestamp = self.timestamp();
                if let Some(view) = self.channels.get_mut(channel) {
                    view.published(now);
                    let own = view.own(&self.pki_id, channel, timestamp, &*self.notary);
                    effects.extend(links.into_iter().map(|link| Effect::Send(link, own.clone())));
                }
            }
        }
        if now >= self.next_pull {
            self.next_pull = now + self.timing.pull_interval;
            for channel in &channels {
                let request = message::state_info_request(&self.pki_id, channel);
                effects.extend(self.links_of_channel(channel).map(|link| Effect::Send(link, request.clone())));
            }
            self.sequence += 1;
            let hello = message::identity_pull(message::Pull::Hello, self.sequence);
            let own: Vec<LinkId> =
                self.links.iter().filter(|(_, link)| link.mspid == self.mspid).map(|(id, _)| *id).collect();
            effects.extend(own.into_iter().map(|link| Effect::Send(link, hello.clone())));
        }
        for endpoint in self.wanted_endpoints() {
            let busy = self.dialling.get(&endpoint).is_some_and(|until| *until > now);
            if !busy {
                // Marked until the outcome is known; an outcome sets the time of the next attempt.
                self.dialling.insert(endpoint.clone(), now + self.timing.reconnect_interval.saturating_mul(4));
                effects.push(Effect::Dial(endpoint));
            }
        }
    }

    /// Endpoints of peers that should be connected and are not.
    fn wanted_endpoints(&self) -> BTreeSet<String> {
        let linked: BTreeSet<&Bytes> = self.links.values().map(|link| &link.pki_id).collect();
        let mut linked_endpoints = BTreeSet::new();
        let mut wanted = BTreeSet::new();
        for (id, record) in &self.members {
            let internal = record.internal_endpoint.clone().unwrap_or_default();
            if linked.contains(id) {
                linked_endpoints.extend([record.endpoint.clone(), internal]);
            } else if !internal.is_empty() {
                wanted.insert(internal);
            } else {
                wanted.insert(record.endpoint.clone());
            }
        }
        wanted.extend(self.myself.bootstrap.iter().cloned());
        wanted.extend(self.channels.values().flat_map(ChannelView::anchors).map(|anchor| anchor.endpoint.clone()));
        wanted.retain(|endpoint| {
            !endpoint.is_empty()
                && *endpoint != self.myself.endpoint
                && *endpoint != self.myself.internal_endpoint
                && !linked_endpoints.contains(endpoint)
        });
        wanted
    }
}
