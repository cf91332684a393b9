//! Connection profiles (`--connectionProfile`): which peers to ask.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Deserializer};

use crate::tools::connect::read;

/// An address and the file with the roots that its certificate must lead to.
pub(super) type Target = (String, String);

/// The part of a connection profile that the command line uses; all else in it is skipped.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Network {
    #[serde(deserialize_with = "or_default")]
    channels: BTreeMap<String, Option<Channel>>,
    #[serde(deserialize_with = "or_default")]
    peers: BTreeMap<String, Option<Peer>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Channel {
    #[serde(deserialize_with = "or_default")]
    peers: BTreeMap<String, Option<Role>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Role {
    #[serde(rename = "endorsingPeer", deserialize_with = "or_default")]
    endorsing: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Peer {
    #[serde(deserialize_with = "or_default")]
    url: String,
    #[serde(rename = "tlsCACerts", deserialize_with = "or_default")]
    roots: Roots,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Roots {
    #[serde(deserialize_with = "or_default")]
    path: String,
}

/// A key without a value counts as absent.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

impl Network {
    /// Reads a profile (YAML, and so JSON too).
    pub(super) fn read(file: &str) -> Result<Self, String> {
        let bytes = read(Path::new(file)).map_err(|error| format!("error reading connection profile: {error}"))?;
        Self::parse(&bytes)
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let network: Option<Self> =
            serde_yaml_ng::from_slice(bytes).map_err(|error| format!("error unmarshalling YAML: {error}"))?;
        Ok(network.unwrap_or_default())
    }

    /// The endorsing peers of a channel; `None` when the profile lists no peers for it, so that the other flags decide.
    pub(super) fn endorsers(&self, channel: &str) -> Result<Option<Vec<Target>>, String> {
        let Some(listed) = self.channel(channel).filter(|channel| !channel.peers.is_empty()) else {
            return Ok(None);
        };
        let missing = |peer: &str| {
            format!("peer '{peer}' is defined in the channel config but doesn't have associated peer config")
        };
        listed
            .endorsing()
            .map(|peer| self.target(peer).ok_or_else(|| missing(peer)))
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// The peers of a lifecycle command: the endorsing ones of the channel, or the one named where there is no channel.
    pub(super) fn targets(&self, channel: &str, peer: &str) -> Result<Vec<Target>, String> {
        let target =
            |peer: &str| self.target(peer).ok_or_else(|| format!("peer '{peer}' doesn't have associated peer config"));
        if !channel.is_empty() {
            return self.channel(channel).map_or(Ok(Vec::new()), |listed| listed.endorsing().map(target).collect());
        }
        if peer.is_empty() {
            return Err("--targetPeer must be specified for channel-less operation using connection profile".into());
        }
        Ok(vec![target(peer)?])
    }

    fn channel(&self, name: &str) -> Option<&Channel> {
        self.channels.get(name)?.as_ref()
    }

    fn target(&self, name: &str) -> Option<Target> {
        let empty = Peer::default();
        self.peers.get(name).map(|peer| {
            let peer = peer.as_ref().unwrap_or(&empty);
            (peer.url.clone(), peer.roots.path.clone())
        })
    }
}

impl Channel {
    fn endorsing(&self) -> impl Iterator<Item = &str> {
        let endorses = |role: &Option<Role>| role.as_ref().is_some_and(|role| role.endorsing);
        self.peers.iter().filter(move |(_, role)| endorses(role)).map(|(name, _)| name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROFILE: &str = "
name: golden
client: {organization: Org1}
channels:
  ch:
    peers:
      one: {endorsingPeer: true, eventSource: true}
      two: {chaincodeQuery: true}
      three:
  lost:
    peers: {gone: {endorsingPeer: true}}
  empty:
peers:
  one:
    url: localhost:7051
    tlsCACerts: {path: ca.crt}
  two:
    url: grpcs://localhost:8051
    tlsCACerts:
";

    fn pair(address: &str, root: &str) -> Target {
        (address.to_owned(), root.to_owned())
    }

    #[test]
    fn only_endorsing_peers_of_the_channel_are_asked() {
        let network = Network::parse(PROFILE.as_bytes()).unwrap();
        let one = vec![pair("localhost:7051", "ca.crt")];
        assert_eq!(network.endorsers("ch").unwrap(), Some(one.clone()));
        assert_eq!(network.targets("ch", "").unwrap(), one);
        assert_eq!(network.endorsers("other").unwrap(), None);
        assert_eq!(network.targets("other", "one").unwrap(), Vec::new());
        assert_eq!(network.targets("", "two").unwrap(), vec![pair("grpcs://localhost:8051", "")]);
    }

    #[test]
    fn what_is_missing_is_named() {
        let network = Network::parse(PROFILE.as_bytes()).unwrap();
        assert_eq!(
            network.endorsers("lost").unwrap_err(),
            "peer 'gone' is defined in the channel config but doesn't have associated peer config"
        );
        assert_eq!(network.targets("lost", "").unwrap_err(), "peer 'gone' doesn't have associated peer config");
        assert_eq!(network.targets("", "three").unwrap_err(), "peer 'three' doesn't have associated peer config");
        assert_eq!(
            network.targets("", "").unwrap_err(),
            "--targetPeer must be specified for channel-less operation using connection profile"
        );
        assert!(Network::parse(b"peers: [1]").unwrap_err().starts_with("error unmarshalling YAML: "));
        assert!(Network::parse(b"").unwrap().peers.is_empty());
        assert_eq!(
            Network::read("/no/such").unwrap_err(),
            "error reading connection profile: open /no/such: no such file or directory"
        );
    }
}
