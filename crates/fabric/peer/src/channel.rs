//! Channels this peer has joined: ledger, configuration in force, and who waits for what.

mod commits;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fabric_channel::config::{Bundle, CapabilityError, ConfigError};
use fabric_channel::protoutil;
use fabric_ledger::{FlushTimes, Ledger, LedgerError, Options};
use fabric_proto::common::{Block, HeaderType};
use fabric_proto::protos::TxValidationCode;
use fabric_validation::lifecycle_state::LIFECYCLE_NAMESPACE;
use fabric_validation::{ChannelCollections, CommitTimes, Committed, KnownSignatures, TxBody};
use konsort_node::Metrics;
use konsort_node::metrics::HistogramFamily;
use parking_lot::{Mutex, RwLock};
use prost::Message as _;
use tokio::sync::{mpsc, watch};

use commits::Commits;
pub use commits::TxStatus;

use crate::endorser::{ChannelAccess, ChannelDirectory};

/// Why a channel cannot be opened or joined.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// It is joined already; the text is upstream's.
    #[error("ledger [{0}] already exists with state [ACTIVE]")]
    Joined(String),
    /// The block is not the first of a chain.
    #[error("cannot join channel {channel} by block {number}: give block 0, the channel's genesis block")]
    NotGenesis {
        /// The channel.
        channel: String,
        /// The block's number.
        number: u64,
    },
    /// The block holds no usable configuration.
    #[error("channel {channel}: the configuration cannot be used: {source}")]
    Config {
        /// The channel.
        channel: String,
        /// What is wrong.
        source: ConfigError,
    },
    /// The channel wants something this peer cannot do.
    #[error("channel {channel}: {source}; use a newer peer")]
    Capability {
        /// The channel.
        channel: String,
        /// What is missing.
        source: CapabilityError,
    },
    /// The ledger does not open.
    #[error("channel {channel}: {source}")]
    Ledger {
        /// The channel.
        channel: String,
        /// The reason.
        source: LedgerError,
    },
    /// A block of the ledger is not there or not readable.
    #[error("channel {channel}: block {number} of the ledger cannot be read: {reason}")]
    Block {
        /// The channel.
        channel: String,
        /// Its number.
        number: u64,
        /// The reason.
        reason: String,
    },
    /// The folder of channels cannot be read or written.
    #[error("cannot use {path}: {source}")]
    Folder {
        /// The folder or file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}

/// One joined channel. Clones share it.
#[derive(Clone)]
pub struct Channel(Arc<Inner>);

struct Inner {
    id: Arc<str>,
    ledger: Ledger,
    config: watch::Sender<Arc<Bundle>>,
    collections: ChannelCollections,
    known: Arc<KnownSignatures>,
    commits: Commits,
    halted: Mutex<Option<String>>,
    figures: Figures,
    definitions: watch::Sender<u64>,
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channel").field("id", &self.0.id).field("height", &self.0.ledger.height()).finish()
    }
}

impl Channel {
    /// Its name.
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// Its ledger.
    pub fn ledger(&self) -> &Ledger {
        &self.0.ledger
    }

    /// The configuration in force.
    pub fn bundle(&self) -> Arc<Bundle> {
        Arc::clone(&self.0.config.borrow())
    }

    /// The channel as an invocation sees it.
    pub fn access(&self) -> ChannelAccess {
        ChannelAccess {
            id: Arc::clone(&self.0.id),
            ledger: self.0.ledger.clone(),
            bundle: self.bundle(),
            known: Arc::clone(&self.0.known),
        }
    }

    /// Tells every new configuration.
    pub fn config_watch(&self) -> watch::Receiver<Arc<Bundle>> {
        self.0.config.subscribe()
    }

    /// Tells the number of every block that changes chaincode definitions or approvals.
    pub fn definitions_watch(&self) -> watch::Receiver<u64> {
        self.0.definitions.subscribe()
    }

    /// The number of the last block of this run that changed chaincode definitions or approvals; 0 when none did.
    pub fn definitions_version(&self) -> u64 {
        *self.0.definitions.borrow()
    }

    /// Endorsements made here, which the validation need not verify again. Shared by all channels.
    pub fn known_signatures(&self) -> &Arc<KnownSignatures> {
        &self.0.known
    }

    /// The collections of its chaincodes.
    pub fn collections(&self) -> &ChannelCollections {
        &self.0.collections
    }

    /// The verdict on a committed transaction.
    pub fn status(&self, txid: &str) -> Result<Option<TxStatus>, LedgerError> {
        let found = self.0.ledger.blocks().transaction_code(txid)?;
        Ok(found.map(|(code, block)| TxStatus { code: code_of(code), block }))
    }

    /// Waits until a transaction is committed, if it is not already.
    pub async fn wait_for(&self, txid: &str) -> Result<TxStatus, LedgerError> {
        // Listening starts before looking, so that a commit in between is not missed.
        let waiting = self.0.commits.listen(txid);
        match self.status(txid)? {
            Some(status) => Ok(status),
            None => Ok(waiting.await),
        }
    }

    /// Why this channel takes no more blocks, if so.
    pub fn halted(&self) -> Option<String> {
        self.0.halted.lock().clone()
    }

    /// Notes that this channel takes no more blocks.
    pub fn halt(&self, reason: &str) {
        tracing::error!(channel = self.id(), "the channel takes no more blocks: {reason}");
        self.0.halted.lock().get_or_insert_with(|| reason.to_owned());
    }

    /// Brings a committed block to everybody it concerns.
    pub fn committed(&self, committed: &Committed) {
        let staged = &committed.staged;
        if let Some(bundle) = &committed.new_config {
            self.0.collections.update(bundle);
            self.0.config.send_replace(Arc::clone(bundle));
            tracing::info!(channel = self.id(), "configuration {} is in force", bundle.sequence());
            if let Err(error) = bundle.check_peer_capabilities() {
                self.halt(&error.to_string());
            }
        }
        let updates = &staged.updates;
        if updates.public.contains_key(LIFECYCLE_NAMESPACE) || updates.hashed.contains_key(LIFECYCLE_NAMESPACE) {
            self.0.definitions.send_replace(staged.number);
        }
        self.0.commits.notify(staged.number, &staged.txids, &staged.flags);
        self.0.figures.committed(self.id(), committed);
        tracing::info!(
            channel = self.id(),
            "Committed block [{}] with {} transaction(s), commit hash [{}]",
            staged.number,
            staged.txids.len(),
            hex::encode(&staged.commit_hash)
        );
    }
}

fn code_of(code: u8) -> TxValidationCode {
    TxValidationCode::try_from(i32::from(code)).unwrap_or(TxValidationCode::InvalidOtherReason)
}

#[derive(Clone, Debug)]
struct Figures {
    height: konsort_node::metrics::GaugeFamily,
    transactions: konsort_node::metrics::CounterFamily,
    gossip_height: konsort_node::metrics::GaugeFamily,
    times: [HistogramFamily; 5],
}

impl Figures {
    fn new(metrics: &Metrics) -> Self {
        let time = |name: &str, what: &str| {
            metrics.ledger_histogram(name, &format!("Time taken in seconds for {what}."), &["channel"])
        };
        Self {
            times: [
                time("ledger_block_processing_time", "ledger block processing"),
                time("ledger_blockstorage_commit_time", "committing the block to storage"),
                // Private values are not kept, so this is the block alone.
                time("ledger_blockstorage_and_pvtdata_commit_time", "committing the block and private data to storage"),
                time("ledger_statedb_commit_time", "committing block changes to state db"),
                metrics.histogram(
                    "gossip_state_commit_duration",
                    "Time it takes to commit a block in seconds",
                    &["channel"],
                ),
            ],
            gossip_height: metrics.gauge("gossip_state_height", "Current ledger height", &["channel"]),
            height: metrics.gauge("ledger_blockchain_height", "Height of the chain in blocks.", &["channel"]),
            transactions: metrics.counter(
                "ledger_transaction_count",
                "Number of transactions processed.",
                &["channel", "transaction_type", "chaincode", "validation_code"],
            ),
        }
    }

    /// The genesis block is counted as every configuration is.
    fn joined(&self, channel: &str) {
        let labels = [channel, HeaderType::Config.as_str_name(), "unknown", TxValidationCode::Valid.as_str_name()];
        self.transactions.with(&labels).inc();
    }

    fn height(&self, channel: &str, height: u64) {
        self.height.with(&[channel]).set(height as f64);
        self.gossip_height.with(&[channel]).set(height as f64);
    }

    fn committed(&self, channel: &str, committed: &Committed) {
        self.height(channel, committed.staged.number + 1);
        let CommitTimes { processing, flush: FlushTimes { blocks, state } } = committed.times;
        let all = [processing, blocks, blocks, state, processing + blocks + state];
        for (family, time) in self.times.iter().zip(all) {
            family.with(&[channel]).observe_duration(time);
        }
        let mut counts: BTreeMap<(i32, String, TxValidationCode), u32> = BTreeMap::new();
        for tx in &committed.block.transactions {
            // Upstream knows type and chaincode only of transactions that got as far as concurrency control.
            let judged = matches!(
                tx.code,
                TxValidationCode::Valid | TxValidationCode::MvccReadConflict | TxValidationCode::PhantomReadConflict
            );
            let kind = if judged { tx.header_type } else { -1 };
            let chaincode = match &tx.body {
                TxBody::Endorser(endorser) if judged => format!("{}:{}", endorser.chaincode, endorser.version),
                _ => "unknown".to_owned(),
            };
            *counts.entry((kind, chaincode, tx.code)).or_default() += 1;
        }
        for ((kind, chaincode, code), count) in counts {
            let kind = HeaderType::try_from(kind).map_or("unknown", |kind| kind.as_str_name());
            self.transactions.with(&[channel, kind, &chaincode, code.as_str_name()]).add(f64::from(count));
        }
    }
}

/// All joined channels. Clones share them.
#[derive(Clone, Debug)]
pub struct Channels(Arc<All>);

#[derive(Debug)]
struct All {
    folder: PathBuf,
    history: bool,
    known: Arc<KnownSignatures>,
    figures: Figures,
    open: RwLock<BTreeMap<String, Channel>>,
    joining: Mutex<()>,
    joined: mpsc::UnboundedSender<Channel>,
}

/// Written when a channel's folder is complete; a folder without it is a join that was cut off.
const MARKER: &str = "joined";

impl Channels {
    /// Opens every joined channel below `folder`. The receiver tells every open channel, now and when one is joined.
    pub fn open(
        folder: &Path,
        history: bool,
        known: Arc<KnownSignatures>,
        metrics: &Metrics,
    ) -> Result<(Self, mpsc::UnboundedReceiver<Channel>), ChannelError> {
        let at = |path: &Path| {
            let path = path.to_path_buf();
            move |source| ChannelError::Folder { path, source }
        };
        std::fs::create_dir_all(folder).map_err(at(folder))?;
        let (joined, receiver) = mpsc::unbounded_channel();
        let channels = Self(Arc::new(All {
            folder: folder.to_path_buf(),
            history,
            known,
            figures: Figures::new(metrics),
            open: RwLock::default(),
            joining: Mutex::default(),
            joined,
        }));
        for entry in std::fs::read_dir(folder).map_err(at(folder))? {
            let path = entry.map_err(at(folder))?.path();
            let Some(id) = path.file_name().and_then(|name| name.to_str()).map(str::to_owned) else { continue };
            if path.join(MARKER).exists() {
                let collections = ChannelCollections::default();
                let ledger = Ledger::open(path.join("ledger"), &id, channels.options(&collections))
                    .map_err(|source| ChannelError::Ledger { channel: id.clone(), source })?;
                let bundle = config_in_force(&id, &ledger)?;
                channels.add(&id, ledger, collections, bundle)?;
            } else if path.is_dir() {
                tracing::warn!(channel = id, "removing the remains of a join that was not completed");
                std::fs::remove_dir_all(&path).map_err(at(&path))?;
            }
        }
        Ok((channels, receiver))
    }

    fn options(&self, collections: &ChannelCollections) -> Options {
        Options { collections: Arc::new(collections.clone()), history: self.0.history }
    }

    fn add(
        &self,
        id: &str,
        ledger: Ledger,
        collections: ChannelCollections,
        bundle: Bundle,
    ) -> Result<Channel, ChannelError> {
        bundle
            .check_peer_capabilities()
            .map_err(|source| ChannelError::Capability { channel: id.to_owned(), source })?;
        collections.update(&bundle);
        self.0.figures.height(id, ledger.height());
        let channel = Channel(Arc::new(Inner {
            id: id.into(),
            ledger,
            config: watch::Sender::new(Arc::new(bundle)),
            collections,
            known: Arc::clone(&self.0.known),
            commits: Commits::default(),
            halted: Mutex::default(),
            figures: self.0.figures.clone(),
            definitions: watch::Sender::new(0),
        }));
        self.0.open.write().insert(id.to_owned(), channel.clone());
        // Nobody listens any more when the peer stops.
        let _ = self.0.joined.send(channel.clone());
        Ok(channel)
    }

    /// One channel.
    pub fn get(&self, id: &str) -> Option<Channel> {
        self.0.open.read().get(id).cloned()
    }

    /// All channels by name.
    pub fn list(&self) -> Vec<Channel> {
        self.0.open.read().values().cloned().collect()
    }

    /// Endorsements made here.
    pub fn known_signatures(&self) -> &Arc<KnownSignatures> {
        &self.0.known
    }

    /// Joins a channel by its genesis block. It does disk work: call it where blocking is allowed.
    pub fn join(&self, genesis: &Block) -> Result<Channel, ChannelError> {
        let unnamed = |source: ConfigError| ChannelError::Config { channel: String::new(), source };
        let id = protoutil::channel_id_of_block(genesis).map_err(|error| unnamed(error.into()))?;
        let _one_at_a_time = self.0.joining.lock();
        if self.get(&id).is_some() {
            return Err(ChannelError::Joined(id));
        }
        let number = genesis.header.as_ref().map_or(0, |header| header.number);
        if number != 0 {
            return Err(ChannelError::NotGenesis { channel: id, number });
        }
        let bundle = Bundle::from_config_block(genesis)
            .map_err(|source| ChannelError::Config { channel: id.clone(), source })?;
        bundle.check_peer_capabilities().map_err(|source| ChannelError::Capability { channel: id.clone(), source })?;
        let folder = self.0.folder.join(&id);
        let at = |path: PathBuf| move |source| ChannelError::Folder { path, source };
        if folder.exists() {
            std::fs::remove_dir_all(&folder).map_err(at(folder.clone()))?;
        }
        std::fs::create_dir_all(&folder).map_err(at(folder.clone()))?;
        let collections = ChannelCollections::default();
        let ledger = Ledger::create(folder.join("ledger"), &id, genesis, self.options(&collections))
            .map_err(|source| ChannelError::Ledger { channel: id.clone(), source })?;
        let marker = folder.join(MARKER);
        std::fs::File::create(&marker).and_then(|file| file.sync_all()).map_err(at(marker))?;
        std::fs::File::open(&folder).and_then(|file| file.sync_all()).map_err(at(folder))?;
        self.0.figures.joined(&id);
        self.add(&id, ledger, collections, bundle)
    }
}

impl ChannelDirectory for Channels {
    fn get(&self, channel: &str) -> Option<ChannelAccess> {
        Self::get(self, channel).map(|channel| channel.access())
    }

    fn list(&self) -> Vec<String> {
        self.0.open.read().keys().cloned().collect()
    }

    fn join(&self, genesis: Block) -> Result<(), String> {
        Self::join(self, &genesis)
            .map(drop)
            .map_err(|error| format!("cannot create ledger from genesis block: {error}"))
    }
}

/// The configuration that the last block of the ledger points to.
fn config_in_force(id: &str, ledger: &Ledger) -> Result<Bundle, ChannelError> {
    let read = |number: u64| -> Result<Block, ChannelError> {
        let failed = |reason: String| ChannelError::Block { channel: id.to_owned(), number, reason };
        let bytes = ledger
            .blocks()
            .block(number)
            .map_err(|error| failed(error.to_string()))?
            .ok_or_else(|| failed("it is not there".to_owned()))?;
        Block::decode(bytes).map_err(|error| failed(error.to_string()))
    };
    let last = ledger.height().saturating_sub(1);
    let block = read(last)?;
    let config_block = if last == 0 || protoutil::is_config_block(&block) {
        block
    } else {
        let index = protoutil::last_config_index(&block).map_err(|error| ChannelError::Block {
            channel: id.to_owned(),
            number: last,
            reason: error.to_string(),
        })?;
        read(index)?
    };
    Bundle::from_config_block(&config_block).map_err(|source| ChannelError::Config { channel: id.to_owned(), source })
}
