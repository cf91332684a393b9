//! The ordering service's part of the configuration.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use fabric_proto::common::{Capabilities, ConfigGroup, Consenter, OrdererAddresses, Orderers};
use fabric_proto::orderer::consensus_type::State;
use fabric_proto::orderer::{BatchSize, BatchTimeout, ChannelRestrictions, ConsensusType, KafkaBrokers};

use super::bundle::Members;
use super::values::{check_keys, value};
use super::{ChannelCapabilities, ConfigError, OrdererCapabilities, keys, parse_duration};

/// The ordering service's part of the configuration.
#[derive(Debug, Clone)]
pub struct OrdererConfig {
    /// Limits of a block.
    pub batch_size: BatchSize,
    /// How long a block waits for more transactions.
    pub batch_timeout: Duration,
    /// `etcdraft` or `BFT`.
    pub consensus_type: String,
    /// The consensus plug-in's own settings.
    pub consensus_metadata: Bytes,
    /// Whether the channel is in maintenance, where only administrators may change it.
    pub state: State,
    /// How many channels there may be; zero is no limit.
    pub max_channels: u64,
    /// The consenters with their identities (BFT).
    pub consenters: Vec<Consenter>,
    /// The organisations by name.
    pub organizations: BTreeMap<String, OrdererOrg>,
    /// The capabilities of the ordering service.
    pub capabilities: OrdererCapabilities,
}

/// An organisation that runs orderers.
#[derive(Debug, Clone)]
pub struct OrdererOrg {
    /// Its name in the configuration.
    pub name: String,
    /// Its MSP's id.
    pub msp_id: String,
    /// Its orderers, as `host:port`.
    pub endpoints: Vec<String>,
}

impl OrdererConfig {
    pub(super) fn new(
        group: &ConfigGroup,
        members: &mut Members,
        channel: &ChannelCapabilities,
    ) -> Result<Self, ConfigError> {
        check_keys(
            group,
            &[
                keys::CONSENSUS_TYPE,
                keys::BATCH_SIZE,
                keys::BATCH_TIMEOUT,
                keys::KAFKA_BROKERS,
                keys::CHANNEL_RESTRICTIONS,
                keys::ORDERERS,
                keys::CAPABILITIES,
            ],
        )?;
        value::<KafkaBrokers>(group, keys::KAFKA_BROKERS)?;
        let batch_size: BatchSize = value(group, keys::BATCH_SIZE)?;
        check_batch_size(&batch_size)?;
        let timeout: BatchTimeout = value(group, keys::BATCH_TIMEOUT)?;
        let batch_timeout = batch_timeout(&timeout.timeout)?;
        let consensus: ConsensusType = value(group, keys::CONSENSUS_TYPE)?;
        let mut organizations = BTreeMap::new();
        for (name, organization) in &group.groups {
            organizations.insert(name.clone(), OrdererOrg::new(name, organization, members, channel)?);
        }
        if channel.consensus_type_bft() {
            let missing: Vec<&str> = organizations
                .values()
                .filter(|organization: &&OrdererOrg| organization.endpoints.is_empty())
                .map(|organization| organization.name.as_str())
                .collect();
            if !missing.is_empty() {
                let missing = missing.join(" ");
                return Err(ConfigError::invalid(format!(
                    "some orderer organizations endpoints are empty: [{missing}]"
                )));
            }
        }
        Ok(Self {
            batch_size,
            batch_timeout,
            state: consensus.state(),
            consensus_type: consensus.r#type,
            consensus_metadata: consensus.metadata,
            max_channels: value::<ChannelRestrictions>(group, keys::CHANNEL_RESTRICTIONS)?.max_count,
            consenters: value::<Orderers>(group, keys::ORDERERS)?.consenter_mapping,
            organizations,
            capabilities: OrdererCapabilities::new(&value::<Capabilities>(group, keys::CAPABILITIES)?),
        })
    }

    /// The endpoints of all organisations with the organisations' names.
    pub fn endpoints(&self) -> impl Iterator<Item = (&OrdererOrg, &str)> {
        self.organizations.values().flat_map(|organization| {
            organization.endpoints.iter().map(move |endpoint| (organization, endpoint.as_str()))
        })
    }
}

fn check_batch_size(size: &BatchSize) -> Result<(), ConfigError> {
    let zero = |what: &str| {
        Err(ConfigError::invalid(format!("Attempted to set the batch size {what} to an invalid value: 0")))
    };
    if size.max_message_count == 0 {
        return zero("max message count");
    }
    if size.absolute_max_bytes == 0 {
        return zero("absolute max bytes");
    }
    if size.preferred_max_bytes == 0 {
        return zero("preferred max bytes");
    }
    if size.preferred_max_bytes > size.absolute_max_bytes {
        return Err(ConfigError::invalid(format!(
            "Attempted to set the batch size preferred max bytes ({}) greater than the absolute max bytes ({}).",
            size.preferred_max_bytes, size.absolute_max_bytes
        )));
    }
    Ok(())
}

fn batch_timeout(text: &str) -> Result<Duration, ConfigError> {
    let timeout = parse_duration(text).map_err(|error| {
        ConfigError::invalid(format!("Attempted to set the batch timeout to a invalid value: {error}"))
    })?;
    if timeout.is_zero() {
        return Err(ConfigError::invalid(format!(
            "Attempted to set the batch timeout to a non-positive value: {text}"
        )));
    }
    Ok(timeout)
}

impl OrdererOrg {
    fn new(
        name: &str,
        group: &ConfigGroup,
        members: &mut Members,
        channel: &ChannelCapabilities,
    ) -> Result<Self, ConfigError> {
        if !group.groups.is_empty() {
            return Err(ConfigError::invalid("OrdererOrg config does not allow sub-groups"));
        }
        if !channel.org_specific_orderer_endpoints() && group.values.contains_key(keys::ENDPOINTS) {
            return Err(ConfigError::invalid(format!(
                "Orderer Org {name} cannot contain endpoints value until V1_4_2+ capabilities have been enabled"
            )));
        }
        check_keys(group, &[keys::ENDPOINTS, keys::MSP])?;
        let endpoints = value::<OrdererAddresses>(group, keys::ENDPOINTS)?.addresses;
        let msp_id = members.add(name, group)?;
        Ok(Self { name: name.to_owned(), msp_id, endpoints })
    }
}
