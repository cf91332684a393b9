//! Reading `configtx.yaml`: anchors and merge keys, names in any case, values weakly typed, unknown names refused.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use fabric_proto::orderer::smartbft;
use serde_yaml_ng::{Mapping, Value};

use super::{
    Application, Bft, BftConsenter, Consensus, Content, GenesisError, MspSource, Orderer, Organization, PolicyRule,
    Profile, RaftConsenter, RaftOptions, TopLevel,
};
use crate::config::parse_duration;

/// The largest file that is read, in bytes.
const MAX_LENGTH: usize = 4 << 20;

impl TopLevel {
    /// Reads a file's text. `env` looks up environment variables: `CONFIGTX_A_B` overrides the setting `A.B`.
    pub fn from_yaml(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, GenesisError> {
        if text.len() > MAX_LENGTH {
            return Err(GenesisError::Yaml(format!("file is longer than {MAX_LENGTH} bytes")));
        }
        let yaml = |error: serde_yaml_ng::Error| GenesisError::Yaml(error.to_string());
        let mut value: Value = serde_yaml_ng::from_str(text).map_err(yaml)?;
        value.apply_merge().map_err(yaml)?;
        override_from(&mut value, "CONFIGTX", env);
        top_level(value)
    }
}

/// Replaces what a variable of the name made of the path sets. Lists are not looked into.
fn override_from(value: &mut Value, path: &str, env: &dyn Fn(&str) -> Option<String>) {
    let Value::Mapping(mapping) = value else { return };
    for (key, child) in mapping.iter_mut() {
        let Some(key) = key.as_str() else { continue };
        let name = format!("{path}_{}", key.to_uppercase().replace('.', "_"));
        match env(&name).filter(|text| !text.is_empty()) {
            Some(text) => *child = Value::String(text),
            None => override_from(child, &name, env),
        }
    }
}

/// The settings of one section; each is taken once, and what is left over is unknown.
struct Section {
    path: String,
    fields: BTreeMap<String, (String, Value)>,
}

impl Section {
    fn new(value: Value, path: &str) -> Result<Self, GenesisError> {
        let mapping = mapping(value, path)?;
        let mut fields = BTreeMap::new();
        for (key, value) in mapping {
            let key = text_of(key, path)?;
            fields.insert(key.to_lowercase(), (key, value));
        }
        Ok(Self { path: path.to_owned(), fields })
    }

    /// An optional section: `None` when absent or null.
    fn optional(value: Option<Value>, path: &str) -> Result<Option<Self>, GenesisError> {
        value.map(|value| Self::new(value, path)).transpose()
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        let (_, value) = self.fields.remove(&name.to_lowercase())?;
        (!value.is_null()).then_some(value)
    }

    fn at(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    fn text(&mut self, name: &str) -> Result<String, GenesisError> {
        self.take(name).map_or(Ok(String::new()), |value| text_of(value, &self.at(name)))
    }

    fn file(&mut self, name: &str) -> Result<Content, GenesisError> {
        Ok(Content::File(PathBuf::from(self.text(name)?)))
    }

    fn number<T: TryFrom<u64> + Default>(&mut self, name: &str) -> Result<T, GenesisError> {
        let Some(value) = self.take(name) else { return Ok(T::default()) };
        let path = self.at(name);
        let text = text_of(value, &path)?;
        let number = byte_size(&text).ok_or_else(|| wrong(&path, &format!("'{text}' is not a number")))?;
        T::try_from(number).map_err(|_| wrong(&path, &format!("value '{text}' overflows")))
    }

    fn flag(&mut self, name: &str) -> Result<bool, GenesisError> {
        let path = self.at(name);
        self.take(name).map_or(Ok(false), |value| flag_of(value, &path))
    }

    fn duration(&mut self, name: &str) -> Result<Duration, GenesisError> {
        let path = self.at(name);
        match self.take(name) {
            None => Ok(Duration::ZERO),
            Some(Value::Number(number)) => Ok(Duration::from_nanos(number.as_u64().unwrap_or_default())),
            Some(value) => parse_duration(&text_of(value, &path)?).map_err(|error| wrong(&path, &error.to_string())),
        }
    }

    fn list<T>(
        &mut self,
        name: &str,
        read: impl Fn(Value, &str) -> Result<T, GenesisError>,
    ) -> Result<Vec<T>, GenesisError> {
        let path = self.at(name);
        let items = match self.take(name) {
            None => return Ok(Vec::new()),
            Some(Value::Sequence(items)) => items,
            // An override from the environment writes a list as text: `[a, b]`.
            Some(Value::String(text)) if text.starts_with('[') && text.ends_with(']') => {
                text[1..text.len() - 1].split(',').map(|item| Value::String(item.trim().to_owned())).collect()
            }
            Some(single) => vec![single],
        };
        items.into_iter().enumerate().map(|(index, item)| read(item, &format!("{path}[{index}]"))).collect()
    }

    fn map<T>(
        &mut self,
        name: &str,
        read: impl Fn(Value, &str) -> Result<T, GenesisError>,
    ) -> Result<BTreeMap<String, T>, GenesisError> {
        let path = self.at(name);
        let Some(value) = self.take(name) else { return Ok(BTreeMap::new()) };
        let mut map = BTreeMap::new();
        for (key, value) in mapping(value, &path)? {
            let key = text_of(key, &path)?;
            let child = format!("{path}[{key}]");
            if !value.is_null() {
                map.insert(key, read(value, &child)?);
            }
        }
        Ok(map)
    }

    fn finish(self) -> Result<(), GenesisError> {
        if self.fields.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = self.fields.values().map(|(name, _)| name.as_str()).collect();
        Err(wrong(&self.path, &format!("has invalid keys: {}", names.join(", "))))
    }
}

fn wrong(path: &str, problem: &str) -> GenesisError {
    GenesisError::Setting(format!("'{path}' {problem}"))
}

fn mapping(value: Value, path: &str) -> Result<Mapping, GenesisError> {
    match value {
        Value::Mapping(mapping) => Ok(mapping),
        Value::Null => Ok(Mapping::new()),
        _ => Err(wrong(path, "expected a map")),
    }
}

fn text_of(value: Value, path: &str) -> Result<String, GenesisError> {
    match value {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(flag) => Ok(if flag { "1" } else { "0" }.into()),
        Value::Null => Ok(String::new()),
        _ => Err(wrong(path, "expected a text")),
    }
}

fn flag_of(value: Value, path: &str) -> Result<bool, GenesisError> {
    match value {
        Value::Bool(flag) => Ok(flag),
        Value::Number(number) => Ok(number.as_i64() != Some(0)),
        Value::String(text) => match text.to_lowercase().as_str() {
            "1" | "t" | "true" => Ok(true),
            "" | "0" | "f" | "false" => Ok(false),
            _ => Err(wrong(path, &format!("'{text}' is neither true nor false"))),
        },
        _ => Err(wrong(path, "expected true or false")),
    }
}

/// `512`, `16 MB`, `64k`.
fn byte_size(text: &str) -> Option<u64> {
    let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let number: u64 = if digits.is_empty() && unit.is_empty() { 0 } else { digits.parse().ok()? };
    let unit = unit.trim_start().to_lowercase();
    let shift = match unit.strip_suffix('b').filter(|rest| !rest.is_empty()).unwrap_or(&unit) {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

fn top_level(value: Value) -> Result<TopLevel, GenesisError> {
    let mut section = Section::new(value, "")?;
    let top = TopLevel {
        profiles: section.map("Profiles", profile)?,
        organizations: section.list("Organizations", organization)?,
        capabilities: section.map("Capabilities", |value, path| {
            let mut set = BTreeMap::new();
            for (name, required) in mapping(value, path)? {
                set.insert(text_of(name, path)?, flag_of(required, path)?);
            }
            Ok(set)
        })?,
        orderer: section.take("Orderer").map(|value| orderer(value, "Orderer")).transpose()?,
    };
    // These are templates for profiles; reading them finds misspelt settings.
    section.take("Channel").map(|value| profile(value, "Channel")).transpose()?;
    section.take("Application").map(|value| application(value, "Application")).transpose()?;
    section.finish()?;
    Ok(top)
}

fn profile(value: Value, path: &str) -> Result<Profile, GenesisError> {
    let mut section = Section::new(value, path)?;
    let consortiums = section.fields.contains_key("consortiums").then(|| {
        section.map("Consortiums", |value, path| {
            let mut consortium = Section::new(value, path)?;
            let organizations = consortium.list("Organizations", organization)?;
            consortium.finish()?;
            Ok(organizations)
        })
    });
    let result = Profile {
        consortium: section.text("Consortium")?,
        application: {
            let path = section.at("Application");
            section.take("Application").map(|value| application(value, &path)).transpose()?
        },
        orderer: {
            let path = section.at("Orderer");
            section.take("Orderer").map(|value| orderer(value, &path)).transpose()?
        },
        consortiums: consortiums.transpose()?.filter(|consortiums| !consortiums.is_empty()),
        capabilities: section.map("Capabilities", flag_of)?,
        policies: section.map("Policies", policy)?,
    };
    section.finish()?;
    Ok(result)
}

fn policy(value: Value, path: &str) -> Result<PolicyRule, GenesisError> {
    let mut section = Section::new(value, path)?;
    let rule = PolicyRule { kind: section.text("Type")?, rule: section.text("Rule")? };
    section.finish()?;
    Ok(rule)
}

fn application(value: Value, path: &str) -> Result<Application, GenesisError> {
    let mut section = Section::new(value, path)?;
    let result = Application {
        organizations: section.list("Organizations", organization)?,
        capabilities: section.map("Capabilities", flag_of)?,
        policies: section.map("Policies", policy)?,
        acls: section.map("ACLs", text_of)?,
    };
    section.finish()?;
    Ok(result)
}

fn organization(value: Value, path: &str) -> Result<Organization, GenesisError> {
    let mut section = Section::new(value, path)?;
    let result = Organization {
        name: section.text("Name")?,
        id: section.text("ID")?,
        msp: MspSource::Folder(section.text("MSPDir")?.into()),
        msp_type: section.text("MSPType")?,
        policies: section.map("Policies", policy)?,
        anchor_peers: section.list("AnchorPeers", |value, path| {
            let mut peer = Section::new(value, path)?;
            let address = (peer.text("Host")?, peer.number::<u16>("Port")?.into());
            peer.finish()?;
            Ok(address)
        })?,
        orderer_endpoints: section.list("OrdererEndpoints", text_of)?,
        skip_as_foreign: section.flag("SkipAsForeign")?,
    };
    section.text("AdminPrincipal")?;
    section.finish()?;
    Ok(result)
}

fn orderer(value: Value, path: &str) -> Result<Orderer, GenesisError> {
    let mut section = Section::new(value, path)?;
    let raft_path = section.at("EtcdRaft");
    let raft = Section::optional(section.take("EtcdRaft"), &raft_path)?.map(raft).transpose()?;
    let bft_path = section.at("SmartBFT");
    let options = Section::optional(section.take("SmartBFT"), &bft_path)?.map(bft_options).transpose()?;
    let mut size = {
        let path = section.at("BatchSize");
        Section::new(section.take("BatchSize").unwrap_or(Value::Null), &path)?
    };
    let batch_size = fabric_proto::orderer::BatchSize {
        max_message_count: size.number("MaxMessageCount")?,
        absolute_max_bytes: size.number("AbsoluteMaxBytes")?,
        preferred_max_bytes: size.number("PreferredMaxBytes")?,
    };
    size.finish()?;
    let result = Orderer {
        orderer_type: section.text("OrdererType")?,
        addresses: section.list("Addresses", text_of)?,
        batch_timeout: section.duration("BatchTimeout")?,
        batch_size,
        consensus: Consensus {
            raft,
            bft: Bft { consenters: section.list("ConsenterMapping", bft_consenter)?, options },
        },
        organizations: section.list("Organizations", organization)?,
        max_channels: section.number("MaxChannels")?,
        capabilities: section.map("Capabilities", flag_of)?,
        policies: section.map("Policies", policy)?,
    };
    section.finish()?;
    Ok(result)
}

type Raft = (Vec<RaftConsenter>, Option<RaftOptions>);

fn raft(mut section: Section) -> Result<Raft, GenesisError> {
    let consenters = section.list("Consenters", |value, path| {
        let mut consenter = Section::new(value, path)?;
        let result = RaftConsenter {
            host: consenter.text("Host")?,
            port: consenter.number("Port")?,
            client_tls_cert: consenter.file("ClientTLSCert")?,
            server_tls_cert: consenter.file("ServerTLSCert")?,
        };
        consenter.finish()?;
        Ok(result)
    })?;
    let path = section.at("Options");
    let options = Section::optional(section.take("Options"), &path)?.map(|mut options| {
        let result = RaftOptions {
            tick_interval: options.text("TickInterval")?,
            election_tick: options.number("ElectionTick")?,
            heartbeat_tick: options.number("HeartbeatTick")?,
            max_inflight_blocks: options.number("MaxInflightBlocks")?,
            snapshot_interval_size: options.number("SnapshotIntervalSize")?,
        };
        options.finish()?;
        Ok::<_, GenesisError>(result)
    });
    section.finish()?;
    Ok((consenters, options.transpose()?))
}

fn bft_consenter(value: Value, path: &str) -> Result<BftConsenter, GenesisError> {
    let mut section = Section::new(value, path)?;
    let result = BftConsenter {
        id: section.number("ID")?,
        host: section.text("Host")?,
        port: section.number("Port")?,
        msp_id: section.text("MSPID")?,
        identity: section.file("Identity")?,
        client_tls_cert: section.file("ClientTLSCert")?,
        server_tls_cert: section.file("ServerTLSCert")?,
    };
    section.finish()?;
    Ok(result)
}

fn bft_options(mut section: Section) -> Result<smartbft::Options, GenesisError> {
    let result = smartbft::Options {
        request_batch_max_count: section.number("RequestBatchMaxCount")?,
        request_batch_max_bytes: section.number("RequestBatchMaxBytes")?,
        request_batch_max_interval: section.text("RequestBatchMaxInterval")?,
        incoming_message_buffer_size: section.number("IncomingMessageBufferSize")?,
        request_pool_size: section.number("RequestPoolSize")?,
        request_forward_timeout: section.text("RequestForwardTimeout")?,
        request_complain_timeout: section.text("RequestComplainTimeout")?,
        request_auto_remove_timeout: section.text("RequestAutoRemoveTimeout")?,
        request_max_bytes: section.number("RequestMaxBytes")?,
        view_change_resend_interval: section.text("ViewChangeResendInterval")?,
        view_change_timeout: section.text("ViewChangeTimeout")?,
        leader_heartbeat_timeout: section.text("LeaderHeartbeatTimeout")?,
        leader_heartbeat_count: section.number("LeaderHeartbeatCount")?,
        collect_timeout: section.text("CollectTimeout")?,
        sync_on_start: section.flag("SyncOnStart")?,
        speed_up_view_change: section.flag("SpeedUpViewChange")?,
        leader_rotation: section.number("LeaderRotation")?,
        decisions_per_leader: section.number("DecisionsPerLeader")?,
    };
    section.finish()?;
    Ok(result)
}
