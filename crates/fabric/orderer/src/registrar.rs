//! All channels of this orderer: found at the start, joined and removed while it runs.
//!
//! On disk a channel is `chains/<name>` below the ledger folder and `<name>` below the log folder. A join in progress
//! leaves its block in `join/<name>`, a removal in progress an empty file in `removing/<name>`, so that both are
//! finished after a crash.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use fabric_channel::config::Bundle;
use fabric_channel::protoutil::{self, Signer};
use fabric_proto::common::{Block, Envelope};
use parking_lot::RwLock;
use prost::Message as _;

use crate::channel::{Channel, check_bundle, decode_block, last_config_block, stored_block};
use crate::consenter::{Activity, Consenter, Relation, Submission};
use crate::error::{ChannelError, OrdererError};
use crate::follower::Follower;
use crate::metrics::OrdererMetrics;
use crate::raft::{RaftConsenter, RaftNode, is_member};

/// What the participation API says about one channel.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ChannelInfo {
    /// Its name.
    pub name: String,
    /// Its path in the API.
    pub url: String,
    /// How this node stands to it.
    #[serde(rename = "consensusRelation")]
    pub relation: Relation,
    /// Whether it is served.
    pub status: Activity,
    /// Blocks it has here.
    pub height: u64,
}

/// Why a participation request is refused; the texts are upstream's.
#[derive(Debug, thiserror::Error)]
pub enum ParticipationError {
    /// It is here already.
    #[error("channel already exists")]
    AlreadyExists,
    /// It is not here.
    #[error("channel does not exist")]
    NotExist,
    /// It is being removed.
    #[error("channel pending removal")]
    PendingRemoval,
    /// Removing it failed before.
    #[error("channel removal failure")]
    RemovalFailure,
    /// It only follows.
    #[error("channel is not ready, he is a follower")]
    NotReady,
    /// Something else; the text tells.
    #[error("{0}")]
    Refused(String),
}

impl From<ChannelError> for ParticipationError {
    fn from(error: ChannelError) -> Self {
        Self::Refused(error.to_string())
    }
}

#[derive(Clone, Debug)]
enum Place {
    /// This node orders it.
    Consenter(Arc<Channel>, Arc<RaftConsenter>),
    /// This node only fetches it.
    Follower(Arc<Follower>),
    /// Its files are being removed.
    Removing(Activity),
}

/// The channels of one orderer; clones share them.
#[derive(Clone)]
pub struct Registrar(Arc<Inner>);

struct Inner {
    ledger: PathBuf,
    signer: Arc<dyn Signer>,
    node: RaftNode,
    check_expiration: bool,
    places: RwLock<BTreeMap<String, Place>>,
    /// Joining, removing and switching happen one at a time.
    changes: tokio::sync::Mutex<()>,
    runtime: tokio::runtime::Handle,
}

impl std::fmt::Debug for Registrar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registrar")
            .field("channels", &self.0.places.read().keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

fn folder_error(path: &Path) -> impl FnOnce(std::io::Error) -> OrdererError + '_ {
    move |source| OrdererError::Folder { path: path.to_path_buf(), source }
}

fn names_in(folder: &Path) -> Result<Vec<String>, OrdererError> {
    std::fs::create_dir_all(folder).map_err(folder_error(folder))?;
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(folder_error(folder))? {
        names.push(entry.map_err(folder_error(folder))?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// Writes a file so that after a crash it is there whole or not at all.
fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write as _;
    let temporary = path.with_extension("new");
    let mut file = std::fs::File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    if let Some(folder) = path.parent() {
        std::fs::File::open(folder)?.sync_all()?;
    }
    Ok(())
}

fn remove_folder(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

impl Registrar {
    /// Opens every channel found on disk.
    pub(crate) fn open(
        ledger: &Path,
        signer: Arc<dyn Signer>,
        node: RaftNode,
        check_expiration: bool,
    ) -> Result<Self, OrdererError> {
        let inner = Inner {
            ledger: ledger.to_path_buf(),
            signer,
            node,
            check_expiration,
            places: RwLock::default(),
            changes: tokio::sync::Mutex::new(()),
            runtime: tokio::runtime::Handle::current(),
        };
        let registrar = Self(Arc::new(inner));
        for name in names_in(&registrar.removing_folder())? {
            tracing::info!(channel = name, "finishing the removal of the channel");
            registrar.remove_files(&name).map_err(folder_error(ledger))?;
        }
        for name in names_in(&registrar.join_folder())? {
            let path = registrar.join_folder().join(&name);
            if path.extension().is_some_and(|e| e == "new") {
                continue;
            }
            let bytes = std::fs::read(&path).map_err(folder_error(&path))?;
            let failed = |source| OrdererError::Channel { channel: name.clone(), source };
            let block = decode_block(bytes.into()).map_err(failed)?;
            registrar.begin(&name, Some(&block)).map_err(failed)?;
        }
        for name in names_in(&registrar.chains_folder())? {
            if !registrar.0.places.read().contains_key(&name) {
                registrar
                    .begin(&name, None)
                    .map_err(|source| OrdererError::Channel { channel: name.clone(), source })?;
            }
        }
        Ok(registrar)
    }

    fn chains_folder(&self) -> PathBuf {
        self.0.ledger.join("chains")
    }

    fn join_folder(&self) -> PathBuf {
        self.0.ledger.join("join")
    }

    fn removing_folder(&self) -> PathBuf {
        self.0.ledger.join("removing")
    }

    /// Starts a channel from its ledger, or from the block it is joined with.
    fn begin(&self, name: &str, join_block: Option<&Block>) -> Result<(), ChannelError> {
        let folder = self.chains_folder().join(name);
        let number = join_block.and_then(|b| b.header.as_ref()).map(|h| h.number);
        let blocks = fabric_ledger::BlockStore::open(&folder)?;
        let height = blocks.height();
        drop(blocks);
        if height == 0 && join_block.is_none() {
            tracing::warn!(channel = name, "Channel has an empty ledger without a join-block, removing it");
            return remove_folder(&folder).map_err(|source| ChannelError::Io { path: folder, source });
        }
        let first = join_block.filter(|_| number == Some(0));
        // A block beyond the first tells where the channel is, not where it begins.
        if height == 0 && first.is_none() {
            return self.follow(name, None, join_block.cloned());
        }
        let channel = Arc::new(Channel::open(&folder, first, self.0.signer.clone(), self.0.check_expiration)?);
        self.0.node.cluster.trust(&channel.bundle());
        let caught_up = number.is_none_or(|n| channel.blocks().height() > n);
        let config_block = last_config_block(channel.blocks())?;
        if caught_up && is_member(&config_block, &self.0.node.certificate)? {
            self.consent(name, channel)?;
            self.forget_join_block(name)?;
            return Ok(());
        }
        self.follow(name, Some(channel), join_block.cloned())
    }

    fn consent(&self, name: &str, channel: Arc<Channel>) -> Result<(), ChannelError> {
        let registrar = self.clone();
        let channel_name = name.to_owned();
        let runtime = self.0.runtime.clone();
        let evicted = Box::new(move || {
            runtime.spawn(async move { registrar.to_follower(&channel_name).await });
        });
        let consenter = RaftConsenter::start(channel.clone(), self.0.node.clone(), evicted)?;
        self.0.places.write().insert(name.to_owned(), Place::Consenter(channel, consenter));
        self.measure(name);
        Ok(())
    }

    fn follow(&self, name: &str, channel: Option<Arc<Channel>>, join_block: Option<Block>) -> Result<(), ChannelError> {
        let follower = Follower::new(
            name,
            self.chains_folder().join(name),
            channel,
            join_block,
            self.0.signer.clone(),
            self.0.node.clone(),
        )?;
        let follower = Arc::new(follower);
        self.0.places.write().insert(name.to_owned(), Place::Follower(follower.clone()));
        let registrar = self.clone();
        let name = name.to_owned();
        let task = self.0.runtime.spawn({
            let follower = follower.clone();
            async move {
                follower.run().await;
                registrar.to_consenter(&name).await;
            }
        });
        follower.set_task(task);
        self.measure(follower.name());
        Ok(())
    }

    /// A follower found itself among the consenters.
    async fn to_consenter(&self, name: &str) {
        let _one_at_a_time = self.0.changes.lock().await;
        let Some(Place::Follower(_)) = self.0.places.read().get(name).cloned() else { return };
        self.0.places.write().remove(name);
        let started =
            Channel::open(&self.chains_folder().join(name), None, self.0.signer.clone(), self.0.check_expiration)
                .and_then(|channel| self.consent(name, Arc::new(channel)))
                .and_then(|()| self.forget_join_block(name));
        match started {
            Ok(()) => tracing::info!(channel = name, "Created and started channel"),
            Err(error) => tracing::error!(channel = name, "cannot start the channel's consenter: {error}"),
        }
    }

    /// A consenter was removed from the channel.
    async fn to_follower(&self, name: &str) {
        let _one_at_a_time = self.0.changes.lock().await;
        let Some(Place::Consenter(channel, consenter)) = self.0.places.read().get(name).cloned() else { return };
        consenter.halt().await;
        if let Err(error) = self.follow(name, Some(channel), None) {
            tracing::error!(channel = name, "cannot follow the channel after its eviction: {error}");
        } else {
            tracing::info!(channel = name, "Created and started a follower.Chain for channel {name}");
        }
    }

    fn forget_join_block(&self, name: &str) -> Result<(), ChannelError> {
        let path = self.join_folder().join(name);
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(ChannelError::Io { path, source }),
            _ => Ok(()),
        }
    }

    fn remove_files(&self, name: &str) -> std::io::Result<()> {
        remove_folder(&self.chains_folder().join(name))?;
        remove_folder(&self.0.node.wal.join(name))?;
        let _none = std::fs::remove_file(self.join_folder().join(name));
        match std::fs::remove_file(self.removing_folder().join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn measure(&self, name: &str) {
        let Ok(info) = self.info(name) else { return };
        let metrics: &OrdererMetrics = &self.0.node.metrics;
        metrics.participation_status.with(&[name]).set(info.status.number());
        metrics.participation_relation.with(&[name]).set(info.relation.number());
    }

    /// The channel and its consenter, when this node orders it.
    pub fn serving(&self, name: &str) -> Option<(Arc<Channel>, Arc<dyn Consenter>)> {
        match self.0.places.read().get(name)? {
            Place::Consenter(channel, consenter) => Some((channel.clone(), consenter.clone())),
            Place::Follower(_) | Place::Removing(_) => None,
        }
    }

    /// Names of all channels, in order.
    pub fn list(&self) -> Vec<String> {
        self.0.places.read().keys().cloned().collect()
    }

    /// What is to be said about one channel.
    pub fn info(&self, name: &str) -> Result<ChannelInfo, ParticipationError> {
        let (relation, status, height) = match self.0.places.read().get(name) {
            None => return Err(ParticipationError::NotExist),
            Some(Place::Consenter(channel, consenter)) => {
                let (relation, status) = consenter.report();
                (relation, status, channel.blocks().height())
            }
            Some(Place::Follower(follower)) => {
                let (relation, status) = follower.report();
                (relation, status, follower.height())
            }
            Some(Place::Removing(status)) => (Relation::Other, *status, 0),
        };
        Ok(ChannelInfo {
            name: name.to_owned(),
            url: format!("/participation/v1/channels/{name}"),
            relation,
            status,
            height,
        })
    }

    fn absent(&self, name: &str) -> Result<(), ParticipationError> {
        match self.0.places.read().get(name) {
            None => Ok(()),
            Some(Place::Removing(Activity::Failed)) => Err(ParticipationError::RemovalFailure),
            Some(Place::Removing(_)) => Err(ParticipationError::PendingRemoval),
            Some(_) => Err(ParticipationError::AlreadyExists),
        }
    }

    /// Joins the channel of a configuration block.
    pub async fn join(&self, name: &str, block: &Block) -> Result<ChannelInfo, ParticipationError> {
        let _one_at_a_time = self.0.changes.lock().await;
        self.absent(name)?;
        let bundle = Bundle::from_config_block(block).map_err(ChannelError::from)?;
        check_bundle(&bundle)
            .map_err(|e| ParticipationError::Refused(format!("error checking bundle for channel: {name}: {e}")))?;
        crate::raft::metadata_of(&bundle)?;
        let path = self.join_folder().join(name);
        let io = |source| ChannelError::Io { path: path.clone(), source };
        write_whole(&path, &block.encode_to_vec()).map_err(io)?;
        if let Err(error) = self.begin(name, Some(block)) {
            if let Err(cleanup) = self.remove_files(name) {
                tracing::warn!(channel = name, "cannot clean up after a failed join: {cleanup}");
            }
            return Err(error.into());
        }
        self.info(name)
    }

    /// Stops a channel and removes everything it has here.
    pub async fn remove(&self, name: &str) -> Result<(), ParticipationError> {
        let _one_at_a_time = self.0.changes.lock().await;
        let place = self.0.places.read().get(name).cloned();
        match place {
            None => return Err(ParticipationError::NotExist),
            Some(Place::Removing(Activity::Failed)) => {}
            Some(Place::Removing(_)) => return Err(ParticipationError::PendingRemoval),
            Some(Place::Consenter(_, consenter)) => consenter.halt().await,
            Some(Place::Follower(follower)) => follower.stop(),
        }
        drop(place_of(&self.0.places, name, Place::Removing(Activity::Inactive)));
        let marker = self.removing_folder().join(name);
        let removed = write_whole(&marker, b"").and_then(|()| self.remove_files(name));
        if let Err(error) = removed {
            place_of(&self.0.places, name, Place::Removing(Activity::Failed));
            return Err(ParticipationError::Refused(error.to_string()));
        }
        self.0.places.write().remove(name);
        Ok(())
    }

    /// Passes a configuration update to the channel's consenter.
    pub async fn update(&self, name: &str, envelope: &Envelope) -> Result<ChannelInfo, ParticipationError> {
        match self.0.places.read().get(name) {
            None => return Err(ParticipationError::NotExist),
            Some(Place::Removing(Activity::Failed)) => return Err(ParticipationError::RemovalFailure),
            Some(Place::Removing(_)) => return Err(ParticipationError::PendingRemoval),
            Some(Place::Follower(_)) => return Err(ParticipationError::NotReady),
            Some(Place::Consenter(..)) => {}
        }
        let Some((channel, consenter)) = self.serving(name) else { return Err(ParticipationError::NotExist) };
        let (transaction, config_sequence) = crate::broadcast::config_update(&channel, &consenter, envelope)
            .map_err(|e| ParticipationError::Refused(e.to_string()))?;
        let submission = Submission { envelope: transaction, config_sequence, is_config: true };
        consenter.order(submission).await.map_err(|e| ParticipationError::Refused(e.to_string()))?;
        self.info(name)
    }

    /// One block by `newest`, `oldest`, `config` or its number.
    pub fn fetch(&self, name: &str, which: &str) -> Result<Bytes, ParticipationError> {
        let channel = match self.0.places.read().get(name) {
            None => return Err(ParticipationError::NotExist),
            Some(Place::Removing(Activity::Failed)) => return Err(ParticipationError::RemovalFailure),
            Some(Place::Removing(_)) => return Err(ParticipationError::PendingRemoval),
            Some(Place::Follower(_)) => return Err(ParticipationError::NotReady),
            Some(Place::Consenter(channel, _)) => channel.clone(),
        };
        let newest = channel.blocks().height().saturating_sub(1);
        let number = match which {
            "oldest" => 0,
            "newest" => newest,
            "config" => {
                let block = stored_block(channel.blocks(), newest)?;
                if newest == 0 { 0 } else { protoutil::last_config_index(&block).map_err(ChannelError::from)? }
            }
            number => number.parse().map_err(|_| ParticipationError::Refused(format!("invalid block ID {number}")))?,
        };
        let found = channel.blocks().block(number).map_err(ChannelError::from)?;
        found.ok_or_else(|| ParticipationError::Refused(format!("no such block number [{number}] in index")))
    }

    /// Stops all channels.
    pub(crate) async fn stop(&self) {
        let places: Vec<Place> = self.0.places.read().values().cloned().collect();
        for place in places {
            match place {
                Place::Consenter(_, consenter) => consenter.halt().await,
                Place::Follower(follower) => follower.stop(),
                Place::Removing(_) => {}
            }
        }
    }
}

fn place_of(places: &RwLock<BTreeMap<String, Place>>, name: &str, place: Place) -> Option<Place> {
    places.write().insert(name.to_owned(), place)
}
