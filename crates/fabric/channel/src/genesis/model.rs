//! What a profile says, as types.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use fabric_proto::msp::FabricMspConfig;
use fabric_proto::orderer::{BatchSize, smartbft};

use super::GenesisError;

/// The whole of a `configtx.yaml`.
#[derive(Debug, Clone, Default)]
pub struct TopLevel {
    /// The profiles by name.
    pub profiles: BTreeMap<String, Profile>,
    /// The organisations defined at top level, whether a profile uses them or not.
    pub organizations: Vec<Organization>,
    /// The capabilities defined at top level, by group.
    pub capabilities: BTreeMap<String, BTreeMap<String, bool>>,
    /// The orderer section at top level.
    pub orderer: Option<Orderer>,
}

/// One channel to be made.
#[derive(Debug, Clone, Default)]
pub struct Profile {
    /// The consortium of a channel made by way of a system channel (before 3.0).
    pub consortium: String,
    /// The peers' part.
    pub application: Option<Application>,
    /// The ordering service's part.
    pub orderer: Option<Orderer>,
    /// The consortiums of a system channel (before 3.0).
    pub consortiums: Option<BTreeMap<String, Vec<Organization>>>,
    /// The capabilities of the whole channel.
    pub capabilities: BTreeMap<String, bool>,
    /// The policies of the whole channel.
    pub policies: BTreeMap<String, PolicyRule>,
}

/// A policy as it is written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PolicyRule {
    /// `ImplicitMeta` or `Signature`.
    pub kind: String,
    /// `MAJORITY Admins`, or a text of the policy language.
    pub rule: String,
}

impl PolicyRule {
    /// An implicit meta rule.
    pub fn implicit_meta(rule: impl Into<String>) -> Self {
        Self { kind: "ImplicitMeta".into(), rule: rule.into() }
    }

    /// A rule of the policy language.
    pub fn signature(rule: impl Into<String>) -> Self {
        Self { kind: "Signature".into(), rule: rule.into() }
    }
}

/// The peers' part of a profile.
#[derive(Debug, Clone, Default)]
pub struct Application {
    /// The organisations that run peers.
    pub organizations: Vec<Organization>,
    /// The capabilities of the peers.
    pub capabilities: BTreeMap<String, bool>,
    /// The policies of the peers' group.
    pub policies: BTreeMap<String, PolicyRule>,
    /// Policies by resource.
    pub acls: BTreeMap<String, String>,
}

/// Where an organisation's MSP definition is.
#[derive(Debug, Clone)]
pub enum MspSource {
    /// In a folder of the usual layout.
    Folder(PathBuf),
    /// Here.
    Config(Box<FabricMspConfig>),
}

impl Default for MspSource {
    fn default() -> Self {
        Self::Folder(PathBuf::new())
    }
}

/// An organisation.
#[derive(Debug, Clone, Default)]
pub struct Organization {
    /// Its name in the configuration.
    pub name: String,
    /// Its MSP's id.
    pub id: String,
    /// Its MSP's definition.
    pub msp: MspSource,
    /// `bccsp`, the only kind there is.
    pub msp_type: String,
    /// Its policies.
    pub policies: BTreeMap<String, PolicyRule>,
    /// Peers by which other organisations find it: host and port.
    pub anchor_peers: Vec<(String, i32)>,
    /// Its orderers, as `host:port`.
    pub orderer_endpoints: Vec<String>,
    /// Whether only its name goes into the configuration.
    pub skip_as_foreign: bool,
}

/// The content of a file, or where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// In a file.
    File(PathBuf),
    /// Here.
    Bytes(Bytes),
}

impl Default for Content {
    fn default() -> Self {
        Self::File(PathBuf::new())
    }
}

impl Content {
    pub(super) fn is_unset(&self) -> bool {
        matches!(self, Self::File(path) if path.as_os_str().is_empty())
    }

    pub(super) fn read(&self, what: impl FnOnce() -> String) -> Result<Bytes, GenesisError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.clone()),
            Self::File(path) => match std::fs::read(path) {
                Ok(bytes) => Ok(bytes.into()),
                Err(source) => Err(GenesisError::File { what: format!("{}: {}", what(), path.display()), source }),
            },
        }
    }

    fn resolve(&mut self, folder: &Path) {
        if let Self::File(path) = self {
            resolve(path, folder);
        }
    }
}

/// Relative paths count from the configuration file's folder; an empty one stays empty.
fn resolve(path: &mut PathBuf, folder: &Path) {
    if !path.as_os_str().is_empty() && path.is_relative() {
        *path = folder.join(&*path);
    }
}

/// A node of a Raft ordering service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RaftConsenter {
    /// Its host.
    pub host: String,
    /// Its port.
    pub port: u32,
    /// The TLS certificate by which it calls others.
    pub client_tls_cert: Content,
    /// The TLS certificate by which it is called.
    pub server_tls_cert: Content,
}

/// The timing of a Raft ordering service. Zeros and empty texts stand for the defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RaftOptions {
    /// The length of a tick, as a duration text.
    pub tick_interval: String,
    /// Ticks without leader before an election.
    pub election_tick: u32,
    /// Ticks between heartbeats.
    pub heartbeat_tick: u32,
    /// Blocks on their way to followers at a time.
    pub max_inflight_blocks: u32,
    /// Bytes of blocks between snapshots.
    pub snapshot_interval_size: u32,
}

/// A node of a BFT ordering service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BftConsenter {
    /// Its number.
    pub id: u32,
    /// Its host.
    pub host: String,
    /// Its port.
    pub port: u32,
    /// Its MSP's id.
    pub msp_id: String,
    /// Its signing certificate.
    pub identity: Content,
    /// The TLS certificate by which it calls others.
    pub client_tls_cert: Content,
    /// The TLS certificate by which it is called.
    pub server_tls_cert: Content,
}

/// A BFT ordering service.
#[derive(Debug, Clone, Default)]
pub struct Bft {
    /// Its nodes.
    pub consenters: Vec<BftConsenter>,
    /// Its timing; absent for the defaults.
    pub options: Option<smartbft::Options>,
}

/// Both kinds of consensus settings; which is used depends on the orderer type.
#[derive(Debug, Clone, Default)]
pub struct Consensus {
    /// The nodes and timing of a Raft ordering service.
    pub raft: Option<(Vec<RaftConsenter>, Option<RaftOptions>)>,
    /// A BFT ordering service.
    pub bft: Bft,
}

/// The ordering service's part of a profile.
#[derive(Debug, Clone, Default)]
pub struct Orderer {
    /// `etcdraft`, `BFT` or `solo`.
    pub orderer_type: String,
    /// Addresses that belong to no organisation (not with V3_0).
    pub addresses: Vec<String>,
    /// How long a block waits for more transactions; zero for the default of 2 s.
    pub batch_timeout: Duration,
    /// Limits of a block; zeros for the defaults.
    pub batch_size: BatchSize,
    /// Settings of the consensus.
    pub consensus: Consensus,
    /// The organisations that run orderers.
    pub organizations: Vec<Organization>,
    /// How many channels there may be; zero is no limit.
    pub max_channels: u64,
    /// The capabilities of the ordering service.
    pub capabilities: BTreeMap<String, bool>,
    /// The policies of the ordering service's group.
    pub policies: BTreeMap<String, PolicyRule>,
}

const DEFAULT_BATCH_TIMEOUT: Duration = Duration::from_secs(2);
const DEFAULT_BATCH_SIZE: BatchSize =
    BatchSize { max_message_count: 500, absolute_max_bytes: 10 << 20, preferred_max_bytes: 2 << 20 };

impl TopLevel {
    /// A profile, completed: defaults filled in, paths counted from `folder`.
    pub fn profile(&self, name: &str, folder: &Path) -> Result<Profile, GenesisError> {
        let mut profile = self.profiles.get(name).cloned().ok_or_else(|| GenesisError::NoProfile(name.to_owned()))?;
        profile.resolve(folder);
        profile.complete()?;
        Ok(profile)
    }

    /// An organisation defined at top level, its paths counted from `folder`.
    pub fn organization(&self, name: &str, folder: &Path) -> Option<Organization> {
        let mut organization = self.organizations.iter().find(|organization| organization.name == name)?.clone();
        organization.resolve(folder);
        Some(organization)
    }
}

impl Organization {
    fn resolve(&mut self, folder: &Path) {
        if let MspSource::Folder(path) = &mut self.msp {
            resolve(path, folder);
        }
    }
}

impl Profile {
    fn resolve(&mut self, folder: &Path) {
        let application = self.application.iter_mut().flat_map(|application| &mut application.organizations);
        let consortiums = self.consortiums.iter_mut().flat_map(BTreeMap::values_mut).flatten();
        application.chain(consortiums).for_each(|organization| organization.resolve(folder));
        let Some(orderer) = &mut self.orderer else { return };
        orderer.organizations.iter_mut().for_each(|organization| organization.resolve(folder));
        for consenter in orderer.consensus.raft.iter_mut().flat_map(|(consenters, _)| consenters) {
            consenter.client_tls_cert.resolve(folder);
            consenter.server_tls_cert.resolve(folder);
        }
        for consenter in &mut orderer.consensus.bft.consenters {
            consenter.identity.resolve(folder);
            consenter.client_tls_cert.resolve(folder);
            consenter.server_tls_cert.resolve(folder);
        }
    }

    /// Fills in defaults and refuses what cannot be completed. Profiles from files are completed already.
    pub fn complete(&mut self) -> Result<(), GenesisError> {
        self.orderer.as_mut().map_or(Ok(()), Orderer::complete)
    }
}

impl Orderer {
    fn complete(&mut self) -> Result<(), GenesisError> {
        if self.orderer_type.is_empty() {
            self.orderer_type = "solo".into();
        }
        if self.batch_timeout.is_zero() {
            self.batch_timeout = DEFAULT_BATCH_TIMEOUT;
        }
        let or_default = |value: &mut u32, default: u32| {
            if *value == 0 {
                *value = default;
            }
        };
        or_default(&mut self.batch_size.max_message_count, DEFAULT_BATCH_SIZE.max_message_count);
        or_default(&mut self.batch_size.absolute_max_bytes, DEFAULT_BATCH_SIZE.absolute_max_bytes);
        or_default(&mut self.batch_size.preferred_max_bytes, DEFAULT_BATCH_SIZE.preferred_max_bytes);
        match self.orderer_type.as_str() {
            "solo" => Ok(()),
            "etcdraft" => self.consensus.complete_raft(),
            "BFT" => self.consensus.bft.complete(),
            other => Err(GenesisError::invalid(format!("unknown orderer type: {other}"))),
        }
    }
}

impl Consensus {
    fn complete_raft(&mut self) -> Result<(), GenesisError> {
        let Some((consenters, options)) = &mut self.raft else {
            return Err(GenesisError::invalid("etcdraft configuration missing"));
        };
        let options = options.get_or_insert_default();
        if options.tick_interval.is_empty() {
            options.tick_interval = "500ms".into();
        }
        for (value, default) in [
            (&mut options.election_tick, 10),
            (&mut options.heartbeat_tick, 1),
            (&mut options.max_inflight_blocks, 5),
            (&mut options.snapshot_interval_size, 16 << 20),
        ] {
            if *value == 0 {
                *value = default;
            }
        }
        if consenters.is_empty() {
            return Err(GenesisError::invalid("etcdraft configuration did not specify any consenter"));
        }
        if crate::config::parse_duration(&options.tick_interval).is_err() {
            let interval = &options.tick_interval;
            return Err(GenesisError::invalid(format!(
                "Etcdraft TickInterval ({interval}) must be in time duration format"
            )));
        }
        if options.election_tick <= options.heartbeat_tick {
            return Err(GenesisError::invalid("election tick must be greater than heartbeat tick"));
        }
        for consenter in consenters {
            let missing = [
                (consenter.host.is_empty(), "host"),
                (consenter.port == 0, "port"),
                (consenter.client_tls_cert.is_unset(), "client TLS cert"),
                (consenter.server_tls_cert.is_unset(), "server TLS cert"),
            ];
            refuse_missing("etcdraft", &missing)?;
        }
        Ok(())
    }
}

impl Bft {
    fn complete(&mut self) -> Result<(), GenesisError> {
        self.options.get_or_insert_with(default_bft_options);
        if self.consenters.is_empty() {
            return Err(GenesisError::invalid("BFT configuration did not specify any consenter"));
        }
        for consenter in &self.consenters {
            let missing = [
                (consenter.host.is_empty(), "host"),
                (consenter.port == 0, "port"),
                (consenter.client_tls_cert.is_unset(), "client TLS cert"),
                (consenter.server_tls_cert.is_unset(), "server TLS cert"),
                (consenter.msp_id.is_empty(), "MSP ID"),
                (consenter.identity.is_unset(), "identity certificate"),
            ];
            refuse_missing("BFT", &missing)?;
        }
        Ok(())
    }
}

fn refuse_missing(kind: &str, missing: &[(bool, &str)]) -> Result<(), GenesisError> {
    match missing.iter().find(|(missing, _)| *missing) {
        Some((_, what)) => {
            Err(GenesisError::invalid(format!("consenter info in {kind} configuration did not specify {what}")))
        }
        None => Ok(()),
    }
}

fn default_bft_options() -> smartbft::Options {
    smartbft::Options {
        request_batch_max_count: 100,
        request_batch_max_bytes: 10 << 20,
        request_batch_max_interval: "50ms".into(),
        incoming_message_buffer_size: 200,
        request_pool_size: 400,
        request_forward_timeout: "2s".into(),
        request_complain_timeout: "20s".into(),
        request_auto_remove_timeout: "3m0s".into(),
        view_change_resend_interval: "5s".into(),
        view_change_timeout: "20s".into(),
        leader_heartbeat_timeout: "1m0s".into(),
        leader_heartbeat_count: 10,
        collect_timeout: "1s".into(),
        ..smartbft::Options::default()
    }
}
