//! From a profile to a configuration tree.

use std::collections::BTreeMap;

use bytes::Bytes;
use fabric_proto::common::{
    BlockDataHashingStructure, Capability, Config, ConfigGroup, ConfigPolicy, ConfigUpdate, ConfigValue, Consenter,
    Consortium, HashingAlgorithm, OrdererAddresses, Orderers, Policy, policy::PolicyType,
};
use fabric_proto::etcdraft;
use fabric_proto::msp::MspConfig;
use fabric_proto::orderer::{BatchTimeout, ChannelRestrictions, ConsensusType};
use fabric_proto::protos::{AnchorPeer, AnchorPeers, ApiResource};
use prost::Message;

use super::{Application, BftConsenter, GenesisError, MspSource, Orderer, Organization, PolicyRule, Profile};
use crate::config::{compute, format_duration, keys, new_map_value, new_value};
use crate::msp::folder_config;
use crate::policy::{bft_block_validation_policy, dsl, implicit_meta_from_str};

/// The policy by which the orderers' administrators guard what is theirs in other groups.
const ORDERER_ADMINS: &str = "/Channel/Orderer/Admins";
const V3_0: &str = "V3_0";

type Rules = BTreeMap<String, PolicyRule>;

fn add_value(group: &mut ConfigGroup, key: &str, message: &impl Message) {
    group.values.insert(key.to_owned(), new_value(message, keys::ADMINS));
}

fn add_policies(group: &mut ConfigGroup, rules: &Rules) -> Result<(), GenesisError> {
    if rules.is_empty() {
        return Err(GenesisError::invalid("no policies defined"));
    }
    for name in [keys::ADMINS, keys::READERS, keys::WRITERS] {
        if !rules.contains_key(name) {
            return Err(GenesisError::invalid(format!("no {name} policy defined")));
        }
    }
    for (name, rule) in rules {
        let policy = policy(rule)?;
        let element = ConfigPolicy { version: 0, policy: Some(policy), mod_policy: keys::ADMINS.to_owned() };
        group.policies.insert(name.clone(), element);
    }
    Ok(())
}

fn policy(rule: &PolicyRule) -> Result<Policy, GenesisError> {
    let (kind, value) = match rule.kind.as_str() {
        "ImplicitMeta" => {
            let definition = implicit_meta_from_str(&rule.rule)
                .map_err(|source| GenesisError::ImplicitMeta { rule: rule.rule.clone(), source })?;
            (PolicyType::ImplicitMeta, definition.encode_to_vec())
        }
        "Signature" => {
            let definition =
                dsl::parse(&rule.rule).map_err(|source| GenesisError::Signature { rule: rule.rule.clone(), source })?;
            (PolicyType::Signature, definition.encode_to_vec())
        }
        other => return Err(GenesisError::invalid(format!("unknown policy type: {other}"))),
    };
    Ok(Policy { r#type: kind as i32, value: value.into() })
}

fn add_capabilities(group: &mut ConfigGroup, set: &BTreeMap<String, bool>) {
    if set.is_empty() {
        return;
    }
    let required = set.iter().filter(|(_, required)| **required).map(|(name, _)| (name, Capability {}));
    group.values.insert(keys::CAPABILITIES.to_owned(), new_map_value(required, keys::ADMINS));
}

/// As upstream's language prints a map.
fn map_text(set: &BTreeMap<String, bool>) -> String {
    let pairs: Vec<String> = set.iter().map(|(name, value)| format!("{name}:{value}")).collect();
    format!("map[{}]", pairs.join(" "))
}

fn new_group() -> ConfigGroup {
    ConfigGroup { mod_policy: keys::ADMINS.to_owned(), ..ConfigGroup::default() }
}

impl Profile {
    /// The configuration tree of the profile.
    pub fn channel_group(&self) -> Result<ConfigGroup, GenesisError> {
        let mut group = new_group();
        add_policies(&mut group, &self.policies)
            .map_err(|error| error.within("error adding policies to channel group"))?;
        add_value(&mut group, keys::HASHING_ALGORITHM, &HashingAlgorithm { name: "SHA256".into() });
        add_value(&mut group, keys::BLOCK_DATA_HASHING_STRUCTURE, &BlockDataHashingStructure { width: u32::MAX });
        if let Some(orderer) = self.orderer.as_ref().filter(|orderer| !orderer.addresses.is_empty()) {
            let addresses = OrdererAddresses { addresses: orderer.addresses.clone() };
            group.values.insert(keys::ORDERER_ADDRESSES.to_owned(), new_value(&addresses, ORDERER_ADMINS));
        }
        if !self.consortium.is_empty() {
            add_value(&mut group, keys::CONSORTIUM, &Consortium { name: self.consortium.clone() });
        }
        add_capabilities(&mut group, &self.capabilities);
        if let Some(orderer) = &self.orderer {
            let orderer = orderer_group(orderer, &self.capabilities)
                .map_err(|error| error.within("could not create orderer group"))?;
            group.groups.insert(keys::ORDERER.to_owned(), orderer);
        }
        if let Some(application) = &self.application {
            let application =
                application_group(application).map_err(|error| error.within("could not create application group"))?;
            group.groups.insert(keys::APPLICATION.to_owned(), application);
        }
        if let Some(consortiums) = &self.consortiums {
            let consortiums =
                consortiums_group(consortiums).map_err(|error| error.within("could not create consortiums group"))?;
            group.groups.insert(keys::CONSORTIUMS.to_owned(), consortiums);
        }
        Ok(group)
    }

    /// Refuses profiles for genesis blocks that name an organisation without defining it.
    pub fn check_for_genesis(&self) -> Result<(), GenesisError> {
        let orderer = self.orderer.iter().flat_map(|orderer| &orderer.organizations);
        let application = self.application.iter().flat_map(|application| &application.organizations);
        let consortiums = self.consortiums.iter().flat_map(BTreeMap::values).flatten();
        match orderer.chain(application).chain(consortiums).find(|organization| organization.skip_as_foreign) {
            Some(organization) => Err(GenesisError::invalid(format!(
                "organization '{}' is marked to be skipped as foreign",
                organization.name
            ))
            .within("all org definitions must be local during bootstrapping")),
            None => Ok(()),
        }
    }
}

fn orderer_group(orderer: &Orderer, channel: &BTreeMap<String, bool>) -> Result<ConfigGroup, GenesisError> {
    let v3 = channel.get(V3_0) == Some(&true);
    if orderer.orderer_type == "BFT" && !v3 {
        let capabilities = map_text(channel);
        return Err(GenesisError::invalid(format!(
            "orderer type BFT must be used with V3_0 channel capability: {capabilities}"
        )));
    }
    if !orderer.addresses.is_empty() && v3 {
        let addresses = orderer.addresses.join(" ");
        return Err(GenesisError::invalid(format!(
            "global orderer endpoints exist, but can not be used with V3_0 capability: [{addresses}]"
        )));
    }
    let mut group = new_group();
    if !orderer.policies.is_empty() && !orderer.policies.contains_key(keys::BLOCK_VALIDATION) {
        return Err(
            GenesisError::invalid("no BlockValidation policy defined").within("error adding policies to orderer group")
        );
    }
    add_policies(&mut group, &orderer.policies)
        .map_err(|error| error.within("error adding policies to orderer group"))?;
    add_value(&mut group, keys::BATCH_SIZE, &orderer.batch_size);
    add_value(&mut group, keys::BATCH_TIMEOUT, &BatchTimeout { timeout: format_duration(orderer.batch_timeout) });
    add_value(&mut group, keys::CHANNEL_RESTRICTIONS, &ChannelRestrictions { max_count: orderer.max_channels });
    add_capabilities(&mut group, &orderer.capabilities);
    let metadata = match orderer.orderer_type.as_str() {
        "solo" => Bytes::new(),
        "etcdraft" => raft_metadata(orderer).map_err(|error| {
            GenesisError::invalid(format!("cannot marshal metadata for orderer type etcdraft: {error}"))
        })?,
        "BFT" => {
            let consenters = bft_consenters(&orderer.consensus.bft.consenters).map_err(|error| {
                GenesisError::invalid(format!("cannot load consenter config for orderer type BFT: {error}"))
            })?;
            let policy = bft_block_validation_policy(&consenters).encode_to_vec();
            if let Some(validation) = group.policies.get_mut(keys::BLOCK_VALIDATION) {
                validation.policy = Some(Policy { r#type: PolicyType::Signature as i32, value: policy.into() });
            }
            add_value(&mut group, keys::ORDERERS, &Orderers { consenter_mapping: consenters });
            orderer.consensus.bft.options.clone().unwrap_or_default().encode_to_vec().into()
        }
        other => return Err(GenesisError::invalid(format!("unknown orderer type: {other}"))),
    };
    let consensus = ConsensusType { r#type: orderer.orderer_type.clone(), metadata, state: 0 };
    add_value(&mut group, keys::CONSENSUS_TYPE, &consensus);
    for organization in &orderer.organizations {
        let child = organization.orderer_group(v3).map_err(|error| error.within("failed to create orderer org"))?;
        group.groups.insert(organization.name.clone(), child);
    }
    Ok(group)
}

fn raft_metadata(orderer: &Orderer) -> Result<Bytes, GenesisError> {
    let (consenters, options) = orderer.consensus.raft.clone().unwrap_or_default();
    let mut metadata = etcdraft::ConfigMetadata::default();
    for consenter in consenters {
        let place = format!("for consenter {}:{}", consenter.host, consenter.port);
        metadata.consenters.push(etcdraft::Consenter {
            client_tls_cert: consenter.client_tls_cert.read(|| format!("cannot load client cert {place}"))?,
            server_tls_cert: consenter.server_tls_cert.read(|| format!("cannot load server cert {place}"))?,
            host: consenter.host,
            port: consenter.port,
        });
    }
    metadata.options = options.map(|options| etcdraft::Options {
        tick_interval: options.tick_interval,
        election_tick: options.election_tick,
        heartbeat_tick: options.heartbeat_tick,
        max_inflight_blocks: options.max_inflight_blocks,
        snapshot_interval_size: options.snapshot_interval_size,
    });
    Ok(metadata.encode_to_vec().into())
}

fn bft_consenters(consenters: &[BftConsenter]) -> Result<Vec<Consenter>, GenesisError> {
    consenters
        .iter()
        .map(|consenter| {
            let place = format!("for consenter {}:{}", consenter.host, consenter.port);
            Ok(Consenter {
                id: consenter.id,
                host: consenter.host.clone(),
                port: consenter.port,
                msp_id: consenter.msp_id.clone(),
                identity: consenter.identity.read(|| format!("cannot load identity {place}"))?,
                client_tls_cert: consenter.client_tls_cert.read(|| format!("cannot load client cert {place}"))?,
                server_tls_cert: consenter.server_tls_cert.read(|| format!("cannot load server cert {place}"))?,
            })
        })
        .collect()
}

impl Organization {
    fn msp_value(&self) -> Result<MspConfig, GenesisError> {
        if !self.msp_type.is_empty() && self.msp_type != "bccsp" {
            return Err(GenesisError::invalid(format!("unknown MSP type '{}'", self.msp_type)));
        }
        let definition = match &self.msp {
            MspSource::Config(definition) => (**definition).clone(),
            MspSource::Folder(folder) => folder_config(folder, &self.id)
                .map_err(|source| GenesisError::Msp { organization: self.name.clone(), source })?,
        };
        Ok(MspConfig { r#type: 0, config: definition.encode_to_vec().into() })
    }

    fn group(&self, kind: &str) -> Result<ConfigGroup, GenesisError> {
        let mut group = new_group();
        if self.skip_as_foreign {
            return Ok(group);
        }
        let msp = self.msp_value()?;
        add_policies(&mut group, &self.policies)
            .map_err(|error| error.within(format!("error adding policies to {kind} org group '{}'", self.name)))?;
        add_value(&mut group, keys::MSP, &msp);
        Ok(group)
    }

    /// The organisation's group below the orderers' group. `v3`: whether the channel has the capability V3_0.
    pub fn orderer_group(&self, v3: bool) -> Result<ConfigGroup, GenesisError> {
        let mut group = self.group("orderer")?;
        if self.skip_as_foreign {
            return Ok(group);
        }
        if !self.orderer_endpoints.is_empty() {
            add_value(&mut group, keys::ENDPOINTS, &OrdererAddresses { addresses: self.orderer_endpoints.clone() });
        } else if v3 {
            return Err(GenesisError::invalid(format!(
                "orderer endpoints for organization {} are missing and must be configured when capability V3_0 is enabled",
                self.name
            )));
        }
        Ok(group)
    }

    /// The organisation's group below the peers' group.
    pub fn application_group(&self) -> Result<ConfigGroup, GenesisError> {
        let mut group = self.group("application")?;
        if !self.skip_as_foreign && !self.anchor_peers.is_empty() {
            let anchor_peers =
                self.anchor_peers.iter().map(|(host, port)| AnchorPeer { host: host.clone(), port: *port }).collect();
            add_value(&mut group, keys::ANCHOR_PEERS, &AnchorPeers { anchor_peers });
        }
        Ok(group)
    }
}

fn application_group(application: &Application) -> Result<ConfigGroup, GenesisError> {
    let mut group = new_group();
    add_policies(&mut group, &application.policies)
        .map_err(|error| error.within("error adding policies to application group"))?;
    if !application.acls.is_empty() {
        let acls = application
            .acls
            .iter()
            .map(|(resource, policy_ref)| (resource, ApiResource { policy_ref: policy_ref.clone() }));
        group.values.insert(keys::ACLS.to_owned(), new_map_value(acls, keys::ADMINS));
    }
    add_capabilities(&mut group, &application.capabilities);
    for organization in &application.organizations {
        let child =
            organization.application_group().map_err(|error| error.within("failed to create application org"))?;
        group.groups.insert(organization.name.clone(), child);
    }
    Ok(group)
}

fn consortiums_group(consortiums: &BTreeMap<String, Vec<Organization>>) -> Result<ConfigGroup, GenesisError> {
    let accept_all = fabric_proto::common::SignaturePolicyEnvelope {
        version: 0,
        rule: Some(crate::policy::n_out_of(0, Vec::new())),
        identities: Vec::new(),
    };
    let accept_all = Policy { r#type: PolicyType::Signature as i32, value: accept_all.encode_to_vec().into() };
    let mut group = ConfigGroup { mod_policy: ORDERER_ADMINS.to_owned(), ..ConfigGroup::default() };
    let admins = ConfigPolicy { version: 0, policy: Some(accept_all), mod_policy: ORDERER_ADMINS.to_owned() };
    group.policies.insert(keys::ADMINS.to_owned(), admins);
    for (name, organizations) in consortiums {
        let mut consortium = ConfigGroup { mod_policy: ORDERER_ADMINS.to_owned(), ..ConfigGroup::default() };
        for organization in organizations {
            let child = organization.group("consortiums").map_err(|error| {
                error.within("failed to create consortium org").within(format!("failed to create consortium {name}"))
            })?;
            consortium.groups.insert(organization.name.clone(), child);
        }
        let creation = policy(&PolicyRule::implicit_meta("ANY Admins"))?;
        consortium.values.insert(keys::CHANNEL_CREATION_POLICY.to_owned(), new_value(&creation, ORDERER_ADMINS));
        group.groups.insert(name.clone(), consortium);
    }
    Ok(group)
}

/// The update by which a channel was made on a system channel before 3.0.
pub fn create_channel_update(channel_id: &str, profile: &Profile) -> Result<ConfigUpdate, GenesisError> {
    let whole = profile.channel_group().map_err(|error| {
        error.within("error parsing configuration").within("could not generate default config template")
    })?;
    let mut template = whole.clone();
    let Some(application) = template.groups.get_mut(keys::APPLICATION) else {
        return Err(GenesisError::invalid("channel template configs must contain an application section")
            .within("could not generate default config template"));
    };
    application.values.clear();
    application.policies.clear();
    if profile.consortium.is_empty() {
        return Err(GenesisError::invalid("cannot define a new channel with no Consortium value")
            .within("config update generation failure"));
    }
    let tree = |group| Config { sequence: 0, channel_group: Some(group) };
    let mut update = compute(&tree(template), &tree(whole))
        .map_err(|error| GenesisError::from(error).within("config update generation failure"))?;
    channel_id.clone_into(&mut update.channel_id);
    let named = Consortium { name: profile.consortium.clone() }.encode_to_vec().into();
    let read = ConfigValue::default();
    let written = ConfigValue { value: named, ..ConfigValue::default() };
    update.read_set.get_or_insert_default().values.insert(keys::CONSORTIUM.to_owned(), read);
    update.write_set.get_or_insert_default().values.insert(keys::CONSORTIUM.to_owned(), written);
    Ok(update)
}
