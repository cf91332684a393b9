//! What follows a channel's life: its block source, and what gossip and TLS must know of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fabric_chaincode::Runtime;
use fabric_ledger::StateReader as _;
use fabric_validation::lifecycle_state::{LIFECYCLE_NAMESPACE, NAMESPACES, metadata_key};
use konsort_node::Tasks;
use tokio::sync::mpsc;

use super::Trust;
use crate::blocks::BlockSource;
use crate::channel::{Channel, Channels};
use crate::connections::Connections;
use crate::endorser::Endorser;
use crate::gossip::{Anchor, Gossip};
use crate::local::Local;

/// Everybody who must know of channels.
#[derive(Clone)]
pub(super) struct Follower {
    pub(super) channels: Channels,
    pub(super) endorser: Endorser,
    pub(super) gossip: Gossip,
    pub(super) trust: Arc<Trust>,
    pub(super) runtime: Runtime,
}

/// Follows every channel, those that are open and those that are joined later.
pub(super) fn start(
    tasks: &Tasks,
    follower: Follower,
    mut joined: mpsc::UnboundedReceiver<Channel>,
    local: Local,
    connections: Connections,
    first_pause: Duration,
) {
    let group = tasks.clone();
    tasks.spawn(async move {
        while let Some(channel) = joined.recv().await {
            tracing::info!(channel = channel.id(), "channel is open at height {}", channel.ledger().height());
            let source = BlockSource::new(channel.clone(), local.clone(), connections.clone(), first_pause);
            group.spawn_graceful(source.run(group.shutdown().clone()));
            group.spawn(follower.clone().follow(channel));
        }
    });
}

impl Follower {
    async fn follow(self, channel: Channel) {
        let mut configs = channel.config_watch();
        let mut heights = channel.ledger().height_watch();
        let mut definitions = channel.definitions_watch();
        let mut packages = self.runtime.packages_watch();
        // Gossip must know the channel before anything that is said about it; both at once would come in either order.
        configs.mark_unchanged();
        self.configured(&channel);
        definitions.mark_changed();
        loop {
            tokio::select! {
                changed = configs.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.configured(&channel);
                }
                changed = heights.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let height = *heights.borrow_and_update();
                    self.gossip.set_height(channel.id(), height);
                }
                changed = definitions.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    definitions.mark_unchanged();
                    self.defined(&channel).await;
                }
                changed = packages.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.defined(&channel).await;
                }
            }
        }
    }

    fn configured(&self, channel: &Channel) {
        self.trust.update(&self.channels);
        let bundle = channel.bundle();
        let mut organizations = BTreeSet::new();
        let mut anchors = Vec::new();
        for organization in
            bundle.application().map(|application| application.organizations.values()).into_iter().flatten()
        {
            organizations.insert(organization.msp_id.clone());
            anchors.extend(organization.anchor_peers.iter().map(|anchor| Anchor {
                mspid: organization.msp_id.clone(),
                endpoint: format!("{}:{}", anchor.host, anchor.port),
            }));
        }
        self.gossip.join_channel(channel.id(), organizations, anchors);
        self.gossip.set_height(channel.id(), channel.ledger().height());
    }

    /// Works out which chaincodes this peer can endorse for and tells other peers.
    async fn defined(&self, channel: &Channel) {
        let (endorser, gossip, channel) = (self.endorser.clone(), self.gossip.clone(), channel.clone());
        let work = tokio::task::spawn_blocking(move || {
            let access = channel.access();
            let chaincodes = definition_names(&channel)
                .into_iter()
                .filter_map(|name| {
                    // Fails for definitions that this organisation has not approved, or whose package is not here.
                    let active = endorser.active_chaincode(&access, &name).ok()?;
                    Some((name, active.version.clone()))
                })
                .collect();
            (channel, chaincodes)
        });
        if let Ok((channel, chaincodes)) = work.await {
            tracing::debug!(channel = channel.id(), "chaincodes that can be endorsed for here: {chaincodes:?}");
            gossip.set_chaincodes(channel.id(), chaincodes);
        }
    }
}

/// The names of all committed definitions.
fn definition_names(channel: &Channel) -> Vec<String> {
    let prefix = metadata_key(NAMESPACES, "");
    let end = format!("{prefix}\u{7f}");
    let snapshot = channel.ledger().snapshot();
    let rows = snapshot.range(LIFECYCLE_NAMESPACE, &prefix, &end);
    let Ok(rows) = rows else { return Vec::new() };
    rows.filter_map(|row| row.ok()?.key.strip_prefix(&prefix).map(str::to_owned)).collect()
}
