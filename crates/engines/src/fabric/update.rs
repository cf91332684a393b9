//! Changes of a channel's configuration on a living network.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fabric_channel::config::keys;
use fabric_channel::msp::SigningIdentity;
use fabric_client::ClientError;
use fabric_client::OrdererClient;
use fabric_client::config_update::ConfigUpdateDraft;
use fabric_proto::common::{Config, ConfigGroup};
use prost::Message;

use super::connect::{Net, refusal};
use super::layout::organisation;
use crate::EngineError;
use crate::spec::{NodeSpec, OrganisationSpec};

/// How long an ordering service may take to find a leader, and a change to reach every node.
const SETTLE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(50);
/// How often a change is computed anew because somebody else's came first.
const ATTEMPTS: usize = 5;

/// A part of the configuration that is not as expected.
fn odd(what: impl Into<String>) -> EngineError {
    EngineError::NotFound { what: format!("{} in the channel's configuration", what.into()) }
}

/// A group by its path below the root.
pub(super) fn group<'a>(config: &'a mut Config, path: &[&str]) -> Result<&'a mut ConfigGroup, EngineError> {
    let mut group = config.channel_group.as_mut().ok_or_else(|| odd("the root group"))?;
    for name in path {
        group = group.groups.get_mut(*name).ok_or_else(|| odd(format!("the group {name}")))?;
    }
    Ok(group)
}

/// Changes a value of a group in place, leaving it untouched when the change makes no difference.
pub(super) fn edit<T: Message + Default + PartialEq + Clone>(
    group: &mut ConfigGroup,
    key: &str,
    change: impl FnOnce(&mut T),
) -> Result<(), EngineError> {
    let value = group.values.entry(key.to_owned()).or_insert_with(|| fabric_proto::common::ConfigValue {
        mod_policy: keys::ADMINS.to_owned(),
        ..Default::default()
    });
    let before = T::decode(value.value.clone()).map_err(|error| odd(format!("a readable {key} ({error})")))?;
    let mut after = before.clone();
    change(&mut after);
    if after != before || value.value.is_empty() {
        value.value = after.encode_to_vec().into();
    }
    Ok(())
}

impl<'a> Net<'a> {
    /// The administrators of the organisations of peers on a channel, as far as this platform holds their keys.
    pub(super) fn application_admins(&self, channel: &str) -> Result<Vec<Arc<SigningIdentity>>, EngineError> {
        let members = self.spec().channel(channel).map(|known| known.organisations.clone()).unwrap_or_default();
        let admins: Vec<_> =
            members.iter().filter_map(|name| self.admin(organisation(self.spec(), name).ok()?).ok()).collect();
        if admins.is_empty() {
            return Err(EngineError::NotFound { what: format!("an administrator's key of a member of {channel}") });
        }
        Ok(admins)
    }

    /// The organisation of the orderers and its administrator.
    pub(super) fn orderer_admin(&self) -> Result<(&'a OrganisationSpec, Arc<SigningIdentity>), EngineError> {
        let organisation = self
            .spec()
            .organisations
            .iter()
            .find(|organisation| organisation.orders_only)
            .ok_or_else(|| EngineError::NotFound { what: "the organisation of the orderers".into() })?;
        Ok((organisation, self.admin(organisation)?))
    }

    /// The first orderer that tells a channel's configuration, and that configuration.
    async fn config_from(
        &self,
        channel: &str,
        signer: &Arc<SigningIdentity>,
        without: Option<&str>,
    ) -> Result<(&'a NodeSpec, OrdererClient, Config), EngineError> {
        self.first_of(self.orderers_of(channel, without), |node| async move {
            let orderer = self.orderer(node, signer.clone()).await?;
            let config = within(orderer.config(channel)).await.map_err(|error| refusal(&node.id, error))?;
            Ok((node, orderer, config))
        })
        .await
    }

    /// Brings a channel's configuration to where `change` puts it, signed by all of `signers`, and waits until every node that
    /// answers has it. Does nothing when it is there already. `without`: an orderer that must not be asked.
    pub(super) async fn change_config(
        &self,
        channel: &str,
        signers: &[Arc<SigningIdentity>],
        without: Option<&str>,
        change: impl Fn(&mut Config) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let sender =
            signers.first().ok_or_else(|| EngineError::NotFound { what: "an administrator to sign".into() })?;
        let until = Instant::now() + SETTLE;
        let mut attempt = 0;
        loop {
            let (node, orderer, before) = match self.config_from(channel, sender, without).await {
                Err(EngineError::Unreachable { .. }) if Instant::now() < until => {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                other => other?,
            };
            let failed = |error| refusal(&node.id, error);
            let mut after = before.clone();
            change(&mut after)?;
            let draft = ConfigUpdateDraft::between(channel, &before, &after).map_err(failed)?;
            let Some(mut draft) = draft else {
                self.everywhere(channel, before.sequence, without).await;
                return Ok(());
            };
            for signer in signers {
                draft.sign(&**signer);
            }
            attempt += 1;
            match within(orderer.broadcast(draft.envelope(&**sender))).await {
                Ok(()) => {
                    self.settled(channel, sender, before.sequence + 1, without).await?;
                    self.everywhere(channel, before.sequence + 1, without).await;
                    return Ok(());
                }
                // No leader yet, or somebody else's change came first: both pass. Another orderer takes over for one that is gone.
                Err(error)
                    if attempt < ATTEMPTS && may_pass(&error)
                        || (unavailable(&error) || error.is_transport()) && Instant::now() < until =>
                {
                    if error.is_transport() {
                        self.connections.forget(self.spec(), node);
                    }
                    tokio::time::sleep(PAUSE * 4).await;
                }
                Err(error) => return Err(failed(error)),
            }
        }
    }

    /// Waits until the ordering service has written the configuration with this number.
    async fn settled(
        &self,
        channel: &str,
        signer: &Arc<SigningIdentity>,
        sequence: u64,
        without: Option<&str>,
    ) -> Result<(), EngineError> {
        let until = Instant::now() + SETTLE;
        loop {
            let seen = self.config_from(channel, signer, without).await.ok().map(|(_, _, config)| config.sequence);
            if seen.is_some_and(|seen| seen >= sequence) {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(EngineError::Unreachable {
                    node: "the ordering service".into(),
                    why: format!(
                        "it took the change of {channel} but did not write it within {} s; see whether a majority of the \
                         orderers runs, then retry",
                        SETTLE.as_secs()
                    ),
                });
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits, for a while, until the peers that answer apply the configuration with this number.
    async fn everywhere(&self, channel: &str, sequence: u64, without: Option<&str>) {
        let Ok(peers) = self.peers_of(channel, None) else { return };
        let waits = peers.into_iter().filter(|node| Some(node.id.as_str()) != without).map(|node| async move {
            let Ok(client) = self.peer(node).await else { return };
            let until = Instant::now() + Duration::from_secs(10);
            while Instant::now() < until {
                match within(client.channel_config(channel)).await {
                    Ok(config) if config.sequence >= sequence => return,
                    Ok(_) => tokio::time::sleep(PAUSE).await,
                    Err(_) => return,
                }
            }
        });
        futures::future::join_all(waits).await;
    }
}

/// A call that must not hang on a node that says nothing.
pub(super) async fn within<T>(call: impl Future<Output = Result<T, ClientError>>) -> Result<T, ClientError> {
    let limit = super::connect::ANSWER;
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => answer,
        Err(_) => Err(ClientError::Timeout { what: "an answer".into(), seconds: limit.as_secs() }),
    }
}

/// Whether the ordering service had no leader.
pub(super) fn unavailable(error: &ClientError) -> bool {
    matches!(error, ClientError::Broadcast { status, .. } if status == "SERVICE_UNAVAILABLE")
}

/// Whether a refused change may only have met another one.
fn may_pass(error: &ClientError) -> bool {
    matches!(error, ClientError::Broadcast { info, .. } if info.contains("is currently at version") || info.contains("is at version"))
}

/// Does something that needs an ordering service with a leader; several orderers take a moment to elect their first.
pub(super) async fn once_led<T, F: Future<Output = Result<T, ClientError>>>(
    act: impl Fn() -> F,
) -> Result<T, ClientError> {
    let until = Instant::now() + SETTLE;
    loop {
        match act().await {
            Err(error) if Instant::now() < until && error.to_string().contains("SERVICE_UNAVAILABLE") => {
                tokio::time::sleep(PAUSE * 2).await;
            }
            other => return other,
        }
    }
}
