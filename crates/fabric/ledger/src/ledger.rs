//! One channel's ledger: the block files are the truth, everything else follows from them.

mod derived;
mod expiry;
mod history;
mod recovery;
mod write;

use std::{collections::HashSet, fmt, path::Path, sync::Arc};

use bytes::Bytes;
use fabric_proto::{
    common::{Block, BlockMetadataIndex, Metadata},
    protos::TxValidationCode,
};
use konsort_store::{LogOptions, SegmentLog, Store};
use parking_lot::Mutex;
use prost::Message as _;
use tokio::sync::watch;

use crate::{
    BlockStore, Collections, LedgerError, NoCollections, Simulator, StateSnapshot, StateView, UpdateBatch,
    commit_hash::commit_hash, decode, keys, mvcc, rwset::TxRwset,
};
pub use history::{HistoryEntries, HistoryEntry};
pub use write::FlushTimes;

/// How a ledger is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// Who knows the collections of chaincodes (block-to-live, allowed names).
    pub collections: Arc<dyn Collections>,
    /// Keep the history of keys (`ledger.history.enableHistoryDatabase`).
    pub history: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { collections: Arc::new(NoCollections), history: true }
    }
}

/// One transaction of a block on its way to the ledger.
#[derive(Debug, Clone)]
pub struct TxToCommit {
    /// Transaction id of the channel header whenever the envelope decodes that far, whatever the verdict; when empty the ledger looks
    /// itself (see [`crate::transaction_id`]).
    pub txid: String,
    /// Verdict so far; concurrency control looks only at `Valid` ones.
    pub code: TxValidationCode,
    /// The read-write set; `None` when there is none (or the transaction is invalid anyway). For a configuration transaction
    /// [`TxRwset::config`].
    pub rwset: Option<TxRwset>,
}

/// A block with the verdicts of everything before concurrency control.
#[derive(Debug, Clone)]
pub struct BlockToCommit {
    /// The block as received; its metadata slots 2 (codes) and 4 (commit hash) are filled in by the ledger.
    pub block: Block,
    /// One entry per envelope, in order.
    pub transactions: Vec<TxToCommit>,
}

/// A block whose verdicts are final; visible to validation, durable after [`Ledger::flush`].
#[derive(Debug)]
pub struct StagedBlock {
    /// Block number.
    pub number: u64,
    /// Header hash of the block.
    pub hash: Bytes,
    /// The serialized block as it will be stored (with codes and commit hash).
    pub bytes: Bytes,
    /// The same block decoded.
    pub block: Block,
    /// Final validation codes, one byte per transaction.
    pub flags: Vec<u8>,
    /// Transaction ids, one per transaction (empty where there is none).
    pub txids: Vec<String>,
    /// Commit hash; empty for block 0.
    pub commit_hash: Bytes,
    /// Net effect on the state.
    pub updates: Arc<UpdateBatch>,
    /// Rows for the history of keys.
    history: Vec<Vec<u8>>,
    /// Transactions whose id may already be indexed.
    check_txid: Vec<bool>,
}

/// Where the chain stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChainInfo {
    /// Number of blocks.
    pub height: u64,
    /// Header hash of the last block.
    pub current_hash: Bytes,
    /// Header hash of the one before; empty at height 1.
    pub previous_hash: Bytes,
}

/// The ledger of one channel; clones share it.
///
/// One thread stages blocks in order, another may flush; reading is possible from anywhere at any time.
#[derive(Clone)]
pub struct Ledger {
    shared: Arc<Shared>,
}

struct Shared {
    channel: String,
    options: Options,
    blocks: BlockStore,
    store: Arc<dyn Store>,
    /// Held by whoever stages: concurrency control must see its predecessor.
    stage: Mutex<()>,
    /// Held by whoever flushes.
    flush: Mutex<write::Unpersisted>,
    chain: Mutex<Chain>,
    height: watch::Sender<u64>,
}

/// What changes with every block. The lock is held only for moments.
#[derive(Default)]
struct Chain {
    durable: ChainInfo,
    durable_commit_hash: Bytes,
    /// Number, header hash and commit hash that the next staged block must follow.
    next: u64,
    hash: Bytes,
    commit_hash: Bytes,
    staged: Vec<Arc<StagedBlock>>,
    staged_txids: HashSet<String>,
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").field("channel", &self.shared.channel).field("height", &self.height()).finish()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Only spares the next start some replay.
        if let Err(error) = self.store.persist() {
            tracing::warn!(channel = self.channel, %error, "state not persisted on close; it will be derived from blocks again");
        }
    }
}

/// Folder of the block files inside a ledger's folder.
const BLOCKS: &str = "blocks";

impl Ledger {
    /// Creates the ledger of a channel in the empty or absent `folder` from its genesis block and opens it. A creation that was
    /// interrupted before the genesis block was durable can be repeated.
    pub fn create(
        folder: impl AsRef<Path>,
        channel: &str,
        genesis: &Block,
        options: Options,
    ) -> Result<Self, LedgerError> {
        let folder = folder.as_ref();
        let log = SegmentLog::open(folder.join(BLOCKS), LogOptions::default())?;
        if log.next() > 0 {
            let text = format!("ledger [{channel}] already exists in {}", folder.display());
            return Err(LedgerError::Folder(text));
        }
        Self::create_over(log, &derived::store(folder)?, channel, genesis, options)
    }

    /// [`Ledger::create`] over any empty log and store.
    pub fn create_over(
        log: SegmentLog,
        store: &Arc<dyn Store>,
        channel: &str,
        genesis: &Block,
        options: Options,
    ) -> Result<Self, LedgerError> {
        let mut genesis = genesis.clone();
        let transactions = genesis.data.as_ref().map_or(0, |data| data.data.len());
        decode::set_slot(&mut genesis, BlockMetadataIndex::TransactionsFilter, vec![0; transactions].into());
        decode::set_slot(&mut genesis, BlockMetadataIndex::CommitHash, Bytes::new());
        // A genesis block that cannot be taken apart must not get into the files.
        decode::stored_transactions(&genesis)?;
        let blocks = BlockStore::over(log.clone(), None)?;
        blocks.append(&genesis)?;
        blocks.sync()?;
        Self::open_over(log, Arc::clone(store), channel, options)
    }

    /// True when `folder` holds a ledger with at least its genesis block (which may still be refused by [`Ledger::open`]).
    pub fn exists(folder: impl AsRef<Path>) -> bool {
        SegmentLog::holds_records(folder.as_ref().join(BLOCKS))
    }

    /// Opens an existing ledger: cuts a torn tail, then brings state, history and indexes up to the last stored block.
    ///
    /// When these are damaged they are moved to the folder `derived.damaged` and derived again from the blocks. Damaged blocks are
    /// refused: nothing could replace them.
    pub fn open(folder: impl AsRef<Path>, channel: &str, options: Options) -> Result<Self, LedgerError> {
        let folder = folder.as_ref();
        let log = SegmentLog::open(folder.join(BLOCKS), LogOptions::default())?;
        if log.next() == 0 {
            let text = format!(
                "no ledger of channel {channel} in {}: its creation was interrupted, or the folder is wrong; join the channel again",
                folder.display()
            );
            return Err(LedgerError::Folder(text));
        }
        derived::open(folder, log, channel, options)
    }

    /// Drops state, history and indexes of a closed ledger and derives them from the blocks again.
    pub fn rebuild(folder: impl AsRef<Path>, channel: &str, options: Options) -> Result<Self, LedgerError> {
        let folder = folder.as_ref();
        // The lock on the block files keeps a running node's databases safe.
        let log = SegmentLog::open(folder.join(BLOCKS), LogOptions::default())?;
        derived::remove(&folder.join(derived::FOLDER))?;
        Self::open_over(log, derived::store(folder)?, channel, options)
    }

    /// [`Ledger::open`] over any log and store (with at least three spaces).
    pub fn open_over(
        log: SegmentLog,
        store: Arc<dyn Store>,
        channel: &str,
        options: Options,
    ) -> Result<Self, LedgerError> {
        let blocks = BlockStore::over(log, Some(Arc::clone(&store)))?;
        recovery::catch_up(channel, &blocks, &store, &options)?;
        let height = blocks.height();
        let commit_hash = match blocks.block(height.saturating_sub(1))? {
            Some(last) => decode::stored_commit_hash(&decode::block(&last)?)?,
            None => Bytes::new(),
        };
        let durable =
            ChainInfo { height, current_hash: blocks.last_hash(), previous_hash: blocks.last_previous_hash() };
        let chain = Chain {
            next: height,
            hash: durable.current_hash.clone(),
            commit_hash: commit_hash.clone(),
            durable,
            durable_commit_hash: commit_hash,
            ..Chain::default()
        };
        Ok(Self {
            shared: Arc::new(Shared {
                channel: channel.to_owned(),
                options,
                blocks,
                store,
                stage: Mutex::new(()),
                flush: Mutex::default(),
                chain: Mutex::new(chain),
                height: watch::Sender::new(height),
            }),
        })
    }

    /// The channel's name.
    pub fn channel_id(&self) -> &str {
        &self.shared.channel
    }

    /// Number of durable blocks.
    pub fn height(&self) -> u64 {
        self.shared.chain.lock().durable.height
    }

    /// Number of blocks including staged ones: the number of the block that [`Ledger::stage`] expects.
    pub fn staged_height(&self) -> u64 {
        self.shared.chain.lock().next
    }

    /// Follows [`Ledger::height`]; changes after each durable write.
    pub fn height_watch(&self) -> watch::Receiver<u64> {
        self.shared.height.subscribe()
    }

    /// Height and hashes of the durable chain.
    pub fn info(&self) -> ChainInfo {
        self.shared.chain.lock().durable.clone()
    }

    /// The commit hash of the last durable block.
    pub fn commit_hash(&self) -> Bytes {
        self.shared.chain.lock().durable_commit_hash.clone()
    }

    /// The stored blocks. A block may be readable there a moment before it is durable; [`Ledger::height`] says what is.
    pub fn blocks(&self) -> &BlockStore {
        &self.shared.blocks
    }

    /// True when a stored or staged block holds this transaction id.
    pub fn txid_exists(&self, txid: &str) -> Result<bool, LedgerError> {
        if self.shared.chain.lock().staged_txids.contains(txid) {
            return Ok(true);
        }
        Ok(self.shared.store.get(keys::INDEX, &keys::txid(txid))?.is_some())
    }

    /// The durable state.
    pub fn snapshot(&self) -> StateSnapshot {
        StateSnapshot::new(self.shared.store.snapshot())
    }

    /// The state including staged blocks: what the validation of the next block reads.
    pub fn view(&self) -> StateView {
        // Under the lock, so that the snapshot is not newer than the newest staged block.
        let chain = self.shared.chain.lock();
        let overlay = chain.staged.iter().map(|block| Arc::clone(&block.updates)).collect();
        StateView::new(self.snapshot(), overlay)
    }

    /// Begins the simulation of a transaction over [`Ledger::snapshot`].
    pub fn simulator(&self, txid: &str) -> Simulator {
        Simulator::new(txid, Arc::new(self.snapshot()), Arc::clone(&self.shared.options.collections))
    }

    /// A reader over [`Ledger::snapshot`] that records nothing.
    pub fn query(&self) -> Simulator {
        Simulator::read_only(Arc::new(self.snapshot()), Arc::clone(&self.shared.options.collections))
    }

    /// Changes of a key by valid transactions, newest first; durable blocks only.
    pub fn history(&self, namespace: &str, key: &str) -> Result<HistoryEntries, LedgerError> {
        if !self.shared.options.history {
            return Err(LedgerError::simulation("history database not enabled"));
        }
        Ok(history::entries(&self.shared.blocks, self.shared.store.snapshot().as_ref(), namespace, key))
    }

    /// Runs concurrency control over the next block and makes it visible to [`Ledger::view`]; nothing is written yet.
    pub fn stage(&self, input: BlockToCommit) -> Result<Arc<StagedBlock>, LedgerError> {
        let _one_at_a_time = self.shared.stage.lock();
        let BlockToCommit { mut block, mut transactions } = input;
        let hash = self.check_follows(&block, transactions.len())?;
        let number = decode::header(&block)?.number;

        let view = self.view();
        let mut updates = mvcc::validate(number, &mut transactions, &view)?;
        expiry::apply(number, &mut updates, &view, self.shared.options.collections.as_ref())?;

        let flags: Vec<u8> = transactions.iter().map(|transaction| transaction.code as i32 as u8).collect();
        let previous = self.shared.chain.lock().commit_hash.clone();
        let commit_hash = if number == 0 { Bytes::new() } else { commit_hash(&previous, &flags, &updates) };
        let slot = Metadata { value: commit_hash.clone(), signatures: Vec::new() };
        decode::set_slot(&mut block, BlockMetadataIndex::TransactionsFilter, Bytes::copy_from_slice(&flags));
        decode::set_slot(&mut block, BlockMetadataIndex::CommitHash, slot.encode_to_vec().into());

        let history = if self.shared.options.history { history::rows(number, &transactions) } else { Vec::new() };
        let check_txid = write::maybe_indexed(&transactions);
        let txids = write::transaction_ids(&block, transactions);
        let staged = Arc::new(StagedBlock {
            number,
            hash,
            bytes: Bytes::from(block.encode_to_vec()),
            block,
            flags,
            txids,
            commit_hash,
            updates: Arc::new(updates),
            history,
            check_txid,
        });
        let mut chain = self.shared.chain.lock();
        chain.next = number + 1;
        chain.hash = staged.hash.clone();
        chain.commit_hash = staged.commit_hash.clone();
        chain.staged_txids.extend(staged.txids.iter().filter(|txid| !txid.is_empty()).cloned());
        chain.staged.push(Arc::clone(&staged));
        Ok(staged)
    }

    /// Checks number, link and completeness; gives the header hash.
    fn check_follows(&self, block: &Block, transactions: usize) -> Result<Bytes, LedgerError> {
        let header = decode::header(block)?;
        let number = header.number;
        let channel = || self.shared.channel.clone();
        let chain = self.shared.chain.lock();
        if number != chain.next {
            return Err(LedgerError::WrongNumber { channel: channel(), number, expected: chain.next });
        }
        if header.previous_hash != chain.hash {
            let (got, want) = (hex::encode(&header.previous_hash), hex::encode(&chain.hash));
            return Err(LedgerError::WrongPrevious { channel: channel(), number, got, want });
        }
        let envelopes = block.data.as_ref().map_or(0, |data| data.data.len());
        if envelopes != transactions {
            let what = format!("it holds {envelopes} envelopes but {transactions} verdicts were given");
            return Err(LedgerError::malformed(number, what));
        }
        Ok(decode::header_hash(header))
    }

    /// [`Ledger::stage`] and [`Ledger::flush`] of one block.
    pub fn commit(&self, block: BlockToCommit) -> Result<Arc<StagedBlock>, LedgerError> {
        let staged = self.stage(block)?;
        self.flush()?;
        Ok(staged)
    }
}
