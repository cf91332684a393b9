//! Channels: joining, leaving, bringing organisations in, the set of consenters.

use std::time::{Duration, Instant};

use fabric_channel::config::keys;
use fabric_client::ClientError;
use fabric_client::admin::ParticipationAnswer;
use fabric_client::envelope::Seek;
use fabric_proto::common::{Config, OrdererAddresses};
use fabric_proto::etcdraft::{ConfigMetadata, Consenter};
use fabric_proto::orderer::ConsensusType;
use fabric_proto::protos::{AnchorPeer, AnchorPeers};
use futures::future::try_join_all;
use prost::Message as _;

use super::connect::{Net, peers_of, refusal};
use super::files::{self, between, host_port};
use super::layout::{failed, organisation, organisation_of, read, write};
use super::update::{edit, group, within};
use crate::EngineError;
use crate::spec::{NodeSpec, OrganisationSpec};

/// How long a new orderer may take to copy a channel and to take its part.
const ONBOARD: Duration = Duration::from_mins(2);

impl<'a> Net<'a> {
    fn node_named(&self, id: &str) -> Result<&'a NodeSpec, EngineError> {
        self.spec().node(id).ok_or_else(|| EngineError::NotFound { what: format!("the node {id}") })
    }

    /// The genesis block of a channel: as it was made here, or as an orderer has it.
    async fn genesis_of(&self, channel: &str) -> Result<Vec<u8>, EngineError> {
        let path = self.layout().genesis(channel);
        if path.exists() {
            return read(&path);
        }
        let (_, admin) = self.orderer_admin()?;
        let admin = &admin;
        let found = self.first_of(self.orderers_of(channel, None), |node| async move {
            let orderer = self.orderer(node, admin.clone()).await?;
            within(orderer.block(channel, Seek::Oldest, false)).await.map_err(|error| refusal(&node.id, error))
        });
        let block =
            found.await?.ok_or_else(|| EngineError::NotFound { what: format!("the first block of {channel}") })?;
        let bytes = block.encode_to_vec();
        write(&path, &bytes)?;
        Ok(bytes)
    }

    /// Joins nodes that have not joined yet to a new channel.
    pub(super) async fn join_all(&self, channel: &str, nodes: &[&NodeSpec]) -> Result<(), EngineError> {
        let genesis = self.genesis_of(channel).await?;
        // Orderers first: a peer that finds none goes on looking with growing pauses.
        let (orderers, peers): (Vec<&NodeSpec>, Vec<&NodeSpec>) = nodes.iter().partition(|node| node.is_orderer());
        try_join_all(orderers.into_iter().map(|node| self.join_orderer(channel, node, &genesis))).await?;
        try_join_all(peers.iter().map(|node| self.join_peer(channel, node, &genesis))).await?;
        // A peer has joined when it answers with its ledger.
        let serves = |node: NodeSpec| async move {
            let client = self.peer(&node).await?;
            within(client.channel_info(channel)).await.map_err(|error| refusal(&node.id, error))
        };
        try_join_all(peers.into_iter().cloned().map(serves)).await?;
        Ok(())
    }

    async fn join_orderer(&self, channel: &str, node: &NodeSpec, block: &[u8]) -> Result<(), EngineError> {
        let participation = self.participation(node)?;
        let failed = |error| refusal(&node.id, error);
        if within(participation.info(channel)).await.map_err(failed)?.status == 200 {
            return Ok(());
        }
        let joined = within(participation.join(block)).await.and_then(ParticipationAnswer::success);
        // As with peers: somebody may have asked a moment ago.
        match joined {
            Err(ClientError::Input(why)) if why.contains("already exists") => Ok(()),
            other => other.map(|_| ()).map_err(failed),
        }
    }

    async fn join_peer(&self, channel: &str, node: &NodeSpec, genesis: &[u8]) -> Result<(), EngineError> {
        let failed = |error| refusal(&node.id, error);
        let admin = self.peer(node).await?;
        let until = Instant::now() + ONBOARD;
        loop {
            if within(admin.channels()).await.map_err(failed)?.iter().any(|joined| joined == channel) {
                return Ok(());
            }
            match within(admin.join_channel(genesis.to_vec())).await {
                Ok(()) => return Ok(()),
                // An earlier, cut-off run has asked already; the peer is still opening the ledger.
                Err(ClientError::Endorsement { message, .. })
                    if message.contains("already exists") && Instant::now() < until =>
                {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(error) => return Err(failed(error)),
            }
        }
    }

    /// Joins one further node to a channel that lives already.
    pub(super) async fn join_later(&self, channel: &str, id: &str) -> Result<(), EngineError> {
        let node = self.node_named(id)?;
        if node.is_peer() {
            return self.join_peer(channel, node, &self.genesis_of(channel).await?).await;
        }
        // A later orderer begins from the newest configuration, in which it finds whom to copy from.
        let (_, admin) = self.orderer_admin()?;
        let admin = &admin;
        let found = self.first_of(self.orderers_of(channel, Some(id)), |other| async move {
            let client = self.orderer(other, admin.clone()).await?;
            within(client.config_block(channel)).await.map_err(|error| refusal(&other.id, error))
        });
        self.join_orderer(channel, node, &found.await?.encode_to_vec()).await
    }

    /// Makes an orderer a consenter of a channel and waits until it takes its part.
    pub(super) async fn add_consenter(&self, channel: &str, id: &str) -> Result<(), EngineError> {
        let node = self.node_named(id)?;
        let (organisation, admin) = self.orderer_admin()?;
        self.caught_up(channel, node).await?;
        let certificate = read(&self.layout().node_crypto(organisation, node).join("tls/server.crt"))?;
        let address = between(self.place, node);
        let (host, port) = host_port(&address);
        let wanted = Consenter {
            host,
            port: port.into(),
            client_tls_cert: certificate.clone().into(),
            server_tls_cert: certificate.into(),
        };
        let msp = organisation.msp();
        self.change_config(channel, &[admin], None, |config| {
            edit_consenters(config, |consenters| {
                if !consenters.iter().any(|known| known.host == wanted.host && known.port == wanted.port) {
                    consenters.push(wanted.clone());
                }
            })?;
            edit_endpoints(config, &msp, |endpoints| {
                if !endpoints.contains(&address) {
                    endpoints.push(address.clone());
                }
            })
        })
        .await?;
        self.orderer_state(channel, node, |relation, _| relation == "consenter").await
    }

    /// Waits until a new orderer has copied the channel.
    async fn caught_up(&self, channel: &str, node: &NodeSpec) -> Result<(), EngineError> {
        self.orderer_state(channel, node, |_, status| status == "active").await
    }

    async fn orderer_state(
        &self,
        channel: &str,
        node: &NodeSpec,
        wanted: impl Fn(&str, &str) -> bool,
    ) -> Result<(), EngineError> {
        let participation = self.participation(node)?;
        let until = Instant::now() + ONBOARD;
        loop {
            let answer = within(participation.info(channel)).await.map_err(|error| refusal(&node.id, error))?;
            let info: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            let text = |field: &str| info[field].as_str().unwrap_or_default();
            if wanted(text("consensusRelation"), text("status")) {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(EngineError::Unreachable {
                    node: node.id.clone(),
                    why: format!(
                        "it is still {} and {} on {channel} after {} s; its log says what it waits for",
                        text("consensusRelation"),
                        text("status"),
                        ONBOARD.as_secs()
                    ),
                });
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Takes a node out of a channel: an orderer out of the consenters and endpoints, a peer out of the anchors.
    pub(super) async fn leave(&self, channel: &str, id: &str) -> Result<(), EngineError> {
        let node = self.node_named(id)?;
        let address = between(self.place, node);
        let (host, port) = host_port(&address);
        let organisation = organisation_of(self.spec(), node)?;
        let msp = organisation.msp();
        let admin = self.admin(organisation)?;
        if node.is_orderer() {
            let signers = [admin];
            let change = self.change_config(channel, &signers, Some(id), |config| {
                edit_consenters(config, |consenters| {
                    consenters.retain(|known| known.host != host || known.port != u32::from(port));
                })?;
                edit_endpoints(config, &msp, |endpoints| endpoints.retain(|known| *known != address))
            });
            return change.await;
        }
        let heir = peers_of(self.spec(), channel)?
            .into_iter()
            .find(|other| other.organisation == node.organisation && other.id != node.id)
            .map(|other| host_port(&between(self.place, other)));
        self.change_config(channel, &[admin], None, |config| {
            let group = group(config, &[keys::APPLICATION, &msp])?;
            if !group.values.contains_key(keys::ANCHOR_PEERS) {
                return Ok(());
            }
            edit::<AnchorPeers>(group, keys::ANCHOR_PEERS, |anchors| {
                let before = anchors.anchor_peers.len();
                anchors.anchor_peers.retain(|known| known.host != host || known.port != i32::from(port));
                if let Some((host, port)) = heir.as_ref().filter(|_| before > 0 && anchors.anchor_peers.is_empty()) {
                    anchors.anchor_peers.push(AnchorPeer { host: host.clone(), port: i32::from(*port) });
                }
            })
        })
        .await
    }

    /// Brings an organisation into a channel, signed by all administrators whose keys are here.
    pub(super) async fn admit(&self, channel: &str, name: &str) -> Result<(), EngineError> {
        let organisation = organisation(self.spec(), name)?;
        let made = files::channel_organisation(self.place, self.spec(), organisation)
            .application_group()
            .map_err(failed("organisation"))?;
        let msp = organisation.msp();
        let admins = self.application_admins(channel)?;
        self.change_config(channel, &admins, None, |config| {
            group(config, &[keys::APPLICATION])?.groups.entry(msp.clone()).or_insert_with(|| made.clone());
            Ok(())
        })
        .await
    }

    /// Writes an organisation's revocation list into a channel.
    pub(super) async fn publish_revoked(
        &self,
        channel: &str,
        organisation: &OrganisationSpec,
    ) -> Result<(), EngineError> {
        let msp = organisation.msp();
        let folder = self.layout().msp(organisation);
        let list = fabric_channel::msp::folder_config(&folder, &msp).map_err(failed("organisation"))?.revocation_list;
        let part = if organisation.orders_only { keys::ORDERER } else { keys::APPLICATION };
        self.change_config(channel, &[self.admin(organisation)?], None, |channel_config| {
            let group = group(channel_config, &[part, &msp])?;
            let mut problem = None;
            // Only the list: whatever else members have changed in their definition since stays.
            edit::<fabric_proto::msp::MspConfig>(group, keys::MSP, |value| {
                match fabric_proto::msp::FabricMspConfig::decode(value.config.clone()) {
                    Ok(mut known) => {
                        known.revocation_list.clone_from(&list);
                        value.config = known.encode_to_vec().into();
                    }
                    Err(error) => problem = Some(error),
                }
            })?;
            problem.map_or(Ok(()), |error| {
                let why =
                    format!("the definition of {msp} in {channel} cannot be read ({error}); nothing was revoked there");
                Err(EngineError::Refused { code: "BAD_CONFIG".into(), why })
            })
        })
        .await
    }

    /// Whether a node of this network that is run here has joined a channel; one that does not answer is an error, since it may
    /// have.
    pub(super) async fn is_known(&self, channel: &str) -> Result<bool, EngineError> {
        for node in self.spec().nodes.iter().filter(|node| node.external.is_none()) {
            let failed = |error| refusal(&node.id, error);
            let joined = if node.is_orderer() {
                within(self.participation(node)?.info(channel)).await.map_err(failed)?.status == 200
            } else {
                let channels = within(self.peer(node).await?.channels()).await.map_err(failed)?;
                channels.iter().any(|known| known == channel)
            };
            if joined {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn edit_consenters(config: &mut Config, change: impl FnOnce(&mut Vec<Consenter>)) -> Result<(), EngineError> {
    let group = group(config, &[keys::ORDERER])?;
    let mut problem = None;
    edit::<ConsensusType>(group, keys::CONSENSUS_TYPE, |value| match ConfigMetadata::decode(value.metadata.clone()) {
        Ok(mut metadata) => {
            change(&mut metadata.consenters);
            value.metadata = metadata.encode_to_vec().into();
        }
        Err(error) => problem = Some(error),
    })?;
    match problem {
        None => Ok(()),
        Some(error) => {
            Err(EngineError::Unsupported(format!("the channel's orderers do not agree by raft as known here: {error}")))
        }
    }
}

fn edit_endpoints(config: &mut Config, msp: &str, change: impl FnOnce(&mut Vec<String>)) -> Result<(), EngineError> {
    let group = group(config, &[keys::ORDERER, msp])?;
    edit::<OrdererAddresses>(group, keys::ENDPOINTS, |value| change(&mut value.addresses))
}
