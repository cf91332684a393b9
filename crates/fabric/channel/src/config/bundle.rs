//! A configuration with everything that follows from it.

use std::collections::BTreeMap;
use std::sync::Arc;

use fabric_proto::common::{
    Block, BlockDataHashingStructure, BlockHeader, BlockMetadata, Capabilities, Config, ConfigGroup, Consenter,
    Consortium, Envelope, HashingAlgorithm, OrdererAddresses, Orderers,
};
use fabric_proto::msp::MspConfig;

use super::values::{check_keys, value};
use super::{
    ApplicationConfig, CapabilityError, ChannelCapabilities, ConfigError, OrdererConfig, UpdateError, keys,
    validate_channel_id,
};
use crate::msp::{Msp, MspManager, MspVersion};
use crate::policy::{PolicyManager, SignedData};
use crate::protoutil::{self, ProtoutilError};

/// The name of the root group.
pub const ROOT_GROUP: &str = "Channel";

/// The number that upstream gives X.509 members; its other kind, anonymous credentials, is not supported.
const FABRIC_MSP: i32 = 0;

/// A channel's configuration with everything that follows from it. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Bundle {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    channel_id: String,
    config: Config,
    capabilities: ChannelCapabilities,
    orderer_addresses: Vec<String>,
    orderer: Option<OrdererConfig>,
    application: Option<ApplicationConfig>,
    consortiums: Option<BTreeMap<(String, String), String>>,
    msps: MspManager,
    policies: PolicyManager,
}

/// The members found while the tree is read: one MSP per id, however many groups name it.
#[derive(Debug)]
pub(super) struct Members {
    version: MspVersion,
    found: BTreeMap<String, (MspConfig, Msp)>,
}

impl Members {
    /// Takes up the MSP of an organisation's group and gives its id.
    pub(super) fn add(&mut self, name: &str, group: &ConfigGroup) -> Result<String, ConfigError> {
        let config: MspConfig = value(group, keys::MSP)?;
        if let Some((id, _)) = self.found.iter().find(|(_, (known, _))| *known == config) {
            return Ok(id.clone());
        }
        if config.r#type != FABRIC_MSP {
            return Err(ConfigError::invalid(format!("Setup error: unsupported msp type {}", config.r#type)));
        }
        let msp = Msp::from_msp_config(&config, self.version).map_err(|error| ConfigError::Msp(error.to_string()))?;
        let id = msp.name().to_owned();
        if id.is_empty() {
            return Err(ConfigError::invalid(format!("MSP for org {name} has empty MSP ID")));
        }
        if self.found.contains_key(&id) {
            return Err(ConfigError::invalid(format!("Attempted to define two different versions of MSP: {id}")));
        }
        self.found.insert(id.clone(), (config, msp));
        Ok(id)
    }
}

impl Bundle {
    /// Reads the configuration of a configuration block.
    pub fn from_config_block(block: &Block) -> Result<Self, ConfigError> {
        let (channel_id, config) = protoutil::config_of_block(block)?;
        Self::from_config(&channel_id, config)
    }

    /// Reads the configuration of an envelope of type CONFIG.
    pub fn from_envelope(envelope: &Envelope) -> Result<Self, ConfigError> {
        let channel_id = protoutil::channel_id(envelope)?;
        let config = protoutil::config_envelope(envelope)?.config.ok_or(ProtoutilError::IncompleteConfig("config"))?;
        Self::from_config(&channel_id, config)
    }

    /// Reads a configuration.
    pub fn from_config(channel_id: &str, config: Config) -> Result<Self, ConfigError> {
        let root =
            config.channel_group.as_ref().ok_or_else(|| ConfigError::invalid("config must contain a channel group"))?;
        check_capability_order(root)?;
        let channel = Channel::new(root).map_err(|error| ConfigError::Channel(Box::new(error)))?;
        let policies = PolicyManager::new(ROOT_GROUP, root, &channel.msps)?;
        validate_channel_id(channel_id).map_err(|error| ConfigError::Configtx(format!("bad channel ID: {error}")))?;
        super::map::map_config(Some(root), ROOT_GROUP)
            .map_err(|error| ConfigError::Configtx(format!("error converting config to map: {error}")))?;
        let Channel { capabilities, orderer_addresses, orderer, application, consortiums, msps } = channel;
        let inner = Inner {
            channel_id: channel_id.to_owned(),
            config,
            capabilities,
            orderer_addresses,
            orderer,
            application,
            consortiums,
            msps,
            policies,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The channel's id.
    pub fn channel_id(&self) -> &str {
        &self.inner.channel_id
    }

    /// How many updates led to this configuration.
    pub fn sequence(&self) -> u64 {
        self.inner.config.sequence
    }

    /// The configuration itself.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// The members.
    pub fn msp_manager(&self) -> &MspManager {
        &self.inner.msps
    }

    /// The policies.
    pub fn policies(&self) -> &PolicyManager {
        &self.inner.policies
    }

    /// The capabilities of the whole channel.
    pub fn capabilities(&self) -> &ChannelCapabilities {
        &self.inner.capabilities
    }

    /// The ordering service's part.
    pub fn orderer(&self) -> Option<&OrdererConfig> {
        self.inner.orderer.as_ref()
    }

    /// The peers' part.
    pub fn application(&self) -> Option<&ApplicationConfig> {
        self.inner.application.as_ref()
    }

    /// Whether this is the configuration of a system channel, which 3.x does not have any more.
    pub fn has_consortiums(&self) -> bool {
        self.inner.consortiums.is_some()
    }

    /// Orderer addresses that belong to no organisation (not with V3_0).
    pub fn orderer_addresses(&self) -> &[String] {
        &self.inner.orderer_addresses
    }

    /// The consenters with their identities, by which BFT signatures are resolved. Empty without V3_0.
    pub fn consenters(&self) -> &[Consenter] {
        match self.orderer() {
            Some(orderer) if self.capabilities().consensus_type_bft() => &orderer.consenters,
            _ => &[],
        }
    }

    /// Whether a peer of this version may serve the channel.
    pub fn check_peer_capabilities(&self) -> Result<(), CapabilityError> {
        self.capabilities().supported()?;
        self.application().map_or(Ok(()), |application| application.capabilities.supported())
    }

    /// Whether an orderer of this version may serve the channel.
    pub fn check_orderer_capabilities(&self) -> Result<(), CapabilityError> {
        self.capabilities().supported()?;
        self.orderer().map_or(Ok(()), |orderer| orderer.capabilities.supported())
    }

    /// The signatures on a block's header and metadata, with what each is over; to be judged by the block validation policy.
    pub fn block_signature_set(
        &self,
        header: &BlockHeader,
        metadata: &BlockMetadata,
    ) -> Result<Vec<SignedData>, ProtoutilError> {
        protoutil::block_signature_set(header, metadata, self.consenters())
    }

    /// Whether `next` may follow this configuration, apart from who signed for it.
    pub fn validate_new(&self, next: &Self) -> Result<(), UpdateError> {
        let refuse = |text: String| Err(UpdateError::refused(text));
        if let Some(before) = self.orderer() {
            let Some(after) = next.orderer() else {
                return refuse("current config has orderer section, but new config does not".into());
            };
            if !self.capabilities().consensus_type_migration() && before.consensus_type != after.consensus_type {
                return refuse(format!(
                    "attempted to change consensus type from {} to {}",
                    before.consensus_type, after.consensus_type
                ));
            }
            if !self.capabilities().consensus_type_bft()
                && next.capabilities().consensus_type_bft()
                && let Some(organization) = after.organizations.values().find(|org| org.endpoints.is_empty())
            {
                let name = &organization.name;
                return refuse(format!("illegal orderer config update detected: endpoints of org {name} are missing"));
            }
            for (name, organization) in &before.organizations {
                if let Some(changed) = after.organizations.get(name).filter(|org| org.msp_id != organization.msp_id) {
                    return refuse(format!(
                        "orderer org {name} attempted to change MSP ID from {} to {}",
                        organization.msp_id, changed.msp_id
                    ));
                }
            }
        }
        if let Some(before) = self.application() {
            let Some(after) = next.application() else {
                return refuse("current config has application section, but new config does not".into());
            };
            for (name, organization) in &before.organizations {
                if let Some(changed) = after.organizations.get(name).filter(|org| org.msp_id != organization.msp_id) {
                    return refuse(format!(
                        "application org {name} attempted to change MSP ID from {} to {}",
                        organization.msp_id, changed.msp_id
                    ));
                }
            }
        }
        match (&self.inner.consortiums, &next.inner.consortiums) {
            (Some(_), None) => refuse("current config has consortiums section, but new config does not".into()),
            (None, Some(_)) => refuse("current config has no consortiums section, but new config does".into()),
            (Some(before), Some(after)) => {
                for ((consortium, name), msp_id) in before {
                    let key = (consortium.clone(), name.clone());
                    if let Some(changed) = after.get(&key).filter(|changed| *changed != msp_id) {
                        return refuse(format!(
                            "consortium {consortium} org {name} attempted to change MSP ID from {msp_id} to {changed}"
                        ));
                    }
                }
                Ok(())
            }
            (None, None) => Ok(()),
        }
    }
}

fn check_capability_order(root: &ConfigGroup) -> Result<(), ConfigError> {
    let has = |group: &ConfigGroup| group.values.contains_key(keys::CAPABILITIES);
    if root.groups.get(keys::ORDERER).is_none_or(has) {
        return Ok(());
    }
    if has(root) {
        return Err(ConfigError::invalid("cannot enable channel capabilities without orderer support first"));
    }
    if root.groups.get(keys::APPLICATION).is_some_and(has) {
        return Err(ConfigError::invalid("cannot enable application capabilities without orderer support first"));
    }
    Ok(())
}

/// What the tree says, before policies.
struct Channel {
    capabilities: ChannelCapabilities,
    orderer_addresses: Vec<String>,
    orderer: Option<OrdererConfig>,
    application: Option<ApplicationConfig>,
    consortiums: Option<BTreeMap<(String, String), String>>,
    msps: MspManager,
}

impl Channel {
    fn new(root: &ConfigGroup) -> Result<Self, ConfigError> {
        check_keys(
            root,
            &[
                keys::HASHING_ALGORITHM,
                keys::BLOCK_DATA_HASHING_STRUCTURE,
                keys::ORDERER_ADDRESSES,
                keys::ORDERERS,
                keys::CONSORTIUM,
                keys::CAPABILITIES,
            ],
        )?;
        value::<Orderers>(root, keys::ORDERERS)?;
        value::<Consortium>(root, keys::CONSORTIUM)?;
        let capabilities = ChannelCapabilities::new(&value::<Capabilities>(root, keys::CAPABILITIES)?);
        let orderer_addresses = value::<OrdererAddresses>(root, keys::ORDERER_ADDRESSES)?.addresses;
        check_channel_values(root, &capabilities, &orderer_addresses)?;

        let mut members = Members { version: capabilities.msp_version(), found: BTreeMap::new() };
        let mut orderer = None;
        let mut application = None;
        let mut consortiums = None;
        for (name, group) in &root.groups {
            let in_group = |source| ConfigError::Group { group: name.clone(), source: Box::new(source) };
            match name.as_str() {
                keys::APPLICATION => {
                    application = Some(ApplicationConfig::new(group, &mut members).map_err(in_group)?);
                }
                keys::ORDERER => {
                    orderer = Some(OrdererConfig::new(group, &mut members, &capabilities).map_err(in_group)?);
                }
                keys::CONSORTIUMS => consortiums = Some(read_consortiums(group, &mut members).map_err(in_group)?),
                _ => return Err(ConfigError::invalid(format!("Disallowed channel group: {name}"))),
            }
        }
        let msps = MspManager::new(members.found.into_values().map(|(_, msp)| msp).collect());
        Ok(Self { capabilities, orderer_addresses, orderer, application, consortiums, msps })
    }
}

fn check_channel_values(
    root: &ConfigGroup,
    capabilities: &ChannelCapabilities,
    orderer_addresses: &[String],
) -> Result<(), ConfigError> {
    let hash: HashingAlgorithm = value(root, keys::HASHING_ALGORITHM)?;
    if !matches!(hash.name.as_str(), "SHA256" | "SHA3_256") {
        return Err(ConfigError::invalid(format!("Unknown hashing algorithm type: {}", hash.name)));
    }
    let structure: BlockDataHashingStructure = value(root, keys::BLOCK_DATA_HASHING_STRUCTURE)?;
    if structure.width != u32::MAX {
        return Err(ConfigError::invalid("BlockDataHashStructure width only supported at MaxUint32 in this version"));
    }
    if !capabilities.org_specific_orderer_endpoints() && orderer_addresses.is_empty() {
        return Err(ConfigError::invalid("Must set some OrdererAddresses"));
    }
    if capabilities.consensus_type_bft() && !orderer_addresses.is_empty() {
        return Err(ConfigError::invalid(
            "global OrdererAddresses are not allowed with V3_0 capability, use org specific addresses only",
        ));
    }
    Ok(())
}

/// The MSP ids of the organisations of all consortiums.
fn read_consortiums(
    group: &ConfigGroup,
    members: &mut Members,
) -> Result<BTreeMap<(String, String), String>, ConfigError> {
    let mut found = BTreeMap::new();
    for (consortium, consortium_group) in &group.groups {
        check_keys(consortium_group, &[keys::CHANNEL_CREATION_POLICY])?;
        for (name, organization) in &consortium_group.groups {
            if !organization.groups.is_empty() {
                return Err(ConfigError::invalid("organizations do not support sub-groups"));
            }
            check_keys(organization, &[keys::MSP])?;
            found.insert((consortium.clone(), name.clone()), members.add(name, organization)?);
        }
    }
    Ok(found)
}
