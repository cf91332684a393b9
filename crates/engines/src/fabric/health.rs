//! What each node says of itself.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::future::join_all;
use konsort_pki::Certificate;
use serde_json::Value;

use super::cache::Facts;
use super::connect::Net;
use super::layout::{Layout, organisation_of};
use crate::Place;
use crate::ledger::NodeHealth;
use crate::spec::NodeSpec;

/// More of what a node says of its troubles is not shown.
const MAX_WORDS: usize = 300;
/// How long a node may take to say how it is.
const PATIENCE: Duration = Duration::from_secs(3);
const DAY: i64 = 24 * 3600;

impl Net<'_> {
    /// The health of every node, in the specification's order.
    pub(super) async fn health(&self) -> Vec<NodeHealth> {
        join_all(self.spec().nodes.iter().map(|node| self.node_health(node))).await
    }

    async fn node_health(&self, node: &NodeSpec) -> NodeHealth {
        let mut facts = self.connections.facts(self.spec(), node);
        if facts.not_after.is_none() {
            facts.not_after = not_after(self.place, node);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
        let mut health = NodeHealth {
            node: node.id.clone(),
            reachable: false,
            problem: None,
            version: None,
            role: node.role.clone(),
            heights: BTreeMap::new(),
            peers: None,
            certificate_days: facts.not_after.map(|ends| (ends - now) / DAY),
            pending: None,
        };
        let asked = tokio::time::timeout(PATIENCE, async {
            // An imported node may not show its operations service; then its other answers count alone.
            let operations = node.external.as_ref().is_none_or(|external| external.contains_key("operations"));
            if operations {
                match self.operations(node, "/healthz").await {
                    Ok((200, _)) => {}
                    Ok((status, body)) => health.problem = Some(format!("its health is {status}: {body}")),
                    Err(why) => return Err(why),
                }
                health.version = match facts.version.take() {
                    None => self.version(node).await,
                    known => known,
                };
                self.metrics(node, &mut health).await;
            }
            let heights =
                if node.is_orderer() { self.orderer_heights(node).await } else { self.peer_heights(node).await };
            match heights {
                Ok(heights) => health.heights = heights,
                // An orderer's administration is not everybody's; its operations service has answered.
                Err(why) if operations => health.problem = Some(why),
                Err(why) => return Err(why),
            }
            Ok(())
        })
        .await;
        match asked {
            Ok(Ok(())) => health.reachable = true,
            Ok(Err(why)) => health.problem = Some(why),
            Err(_) => health.problem = Some(format!("no answer within {} s", PATIENCE.as_secs())),
        }
        if let Some(problem) = &mut health.problem {
            if problem.chars().count() > MAX_WORDS {
                *problem = problem.chars().take(MAX_WORDS).chain(['…']).collect();
            }
            // It may come back with other certificates, with another version or at another place.
            self.connections.forget(self.spec(), node);
            return health;
        }
        let learned = Facts { version: health.version.clone(), not_after: facts.not_after };
        self.connections.learn(self.spec(), node, learned);
        if health.certificate_days.is_some_and(|days| days < 30) {
            let days = health.certificate_days.unwrap_or_default();
            health.problem = Some(format!("a certificate of it expires in {days} days; renew it"));
        }
        health
    }

    async fn version(&self, node: &NodeSpec) -> Option<String> {
        let (_, body) = self.operations(node, "/version").await.ok()?;
        let value: Value = serde_json::from_str(&body).ok()?;
        value["Version"].as_str().map(str::to_owned)
    }

    async fn metrics(&self, node: &NodeSpec, health: &mut NodeHealth) {
        let Ok((200, text)) = self.operations(node, "/metrics").await else { return };
        if node.is_orderer() {
            let leads = samples(&text, "consensus_etcdraft_is_leader").any(|value| value >= 1.0);
            let known = samples(&text, "consensus_etcdraft_is_leader").next().is_some();
            if known {
                if leads { "leader" } else { "follower" }.clone_into(&mut health.role);
            }
            let active = samples(&text, "consensus_etcdraft_active_nodes").fold(0.0, f64::max);
            if leads && active >= 1.0 {
                health.peers = Some(active as u32 - 1);
            }
        } else {
            health.peers =
                samples(&text, "gossip_membership_total_peers_known").reduce(f64::max).map(|most| most as u32);
        }
    }

    async fn peer_heights(&self, node: &NodeSpec) -> Result<BTreeMap<String, u64>, String> {
        let client = self.peer(node).await.map_err(|error| error.to_string())?;
        let mut heights = BTreeMap::new();
        for channel in client.channels().await.map_err(|error| error.to_string())? {
            let info = client.channel_info(&channel).await.map_err(|error| error.to_string())?;
            heights.insert(channel, info.height);
        }
        Ok(heights)
    }

    async fn orderer_heights(&self, node: &NodeSpec) -> Result<BTreeMap<String, u64>, String> {
        let Ok(participation) = self.participation(node) else { return Ok(BTreeMap::new()) };
        let mut heights = BTreeMap::new();
        for channel in &self.spec().channels {
            let answer = participation.info(&channel.name).await.map_err(|error| error.to_string())?;
            let info: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            if let Some(height) = info["height"].as_u64().filter(|_| answer.status == 200) {
                heights.insert(channel.name.clone(), height);
            }
        }
        Ok(heights)
    }
}

/// The values of a metric in the text that a node shows, whatever its labels.
fn samples<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = f64> + 'a {
    text.lines().filter_map(move |line| {
        let rest = line.strip_prefix(name)?;
        let labels = rest.starts_with(['{', ' ']);
        rest.rsplit_once(' ').filter(|_| labels).and_then(|(_, value)| value.parse().ok())
    })
}

/// When the first certificate of a node ends, of those that are here, seconds since 1970.
fn not_after(place: Place<'_>, node: &NodeSpec) -> Option<i64> {
    let crypto = Layout::new(place.folder).node_crypto(organisation_of(place.spec, node).ok()?, node);
    let signing = std::fs::read_dir(crypto.join("msp/signcerts")).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    signing
        .chain([crypto.join("tls/server.crt")])
        .filter_map(|path| Certificate::from_pem(&std::fs::read(path).ok()?).ok())
        .map(|certificate| certificate.not_after())
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_found_by_their_whole_name() {
        let text = "# HELP a b\na{channel=\"x\"} 1\na{channel=\"y\"} 0\nab 7\na_total 9\n";
        assert_eq!(samples(text, "a").collect::<Vec<_>>(), [1.0, 0.0]);
        assert_eq!(samples(text, "ab").collect::<Vec<_>>(), [7.0]);
    }
}
