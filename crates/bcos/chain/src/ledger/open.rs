//! Founding a chain, and opening it again: the state is brought up to the last stored block.

use std::{path::Path, sync::Arc};

use konsort_crypto::suite;
use konsort_store::{Batch, FjallStore, LogOptions, SegmentLog, Space, Store, StoreError};

use super::{
    Chain, CommittedBlock, NONCE_BLOCKS, Shared, Tip, Totals,
    commit::{Progress, derived},
    nonces::{self, NonceWindow},
    record,
};
use crate::{ChainConfig, ChainError, executor::Executor, genesis, keys, scheduler::Scheduler, state::TipCache};

/// Folder of the block files inside a chain's folder.
const BLOCKS: &str = "blocks";
/// Folder of state and indexes; may be deleted while the node is stopped.
const DERIVED: &str = "derived";
/// Where damaged ones are moved to; may be deleted at any time.
const DAMAGED: &str = "derived.damaged";
/// What a state that does not belong to the blocks is called in [`ChainError::Damaged`].
const STATE: &str = "the savepoint of the state";
/// The store is made durable after this many replayed blocks.
const PERSIST_BLOCKS: u64 = 1000;

impl Chain {
    /// Opens the chain in `folder`, or founds it there when there is none. A founding that was interrupted is repeated.
    ///
    /// State and indexes that cannot be read are moved to the folder `derived.damaged` and derived again from the blocks. Damaged blocks
    /// are refused: the node has to synchronize them anew.
    pub fn create_or_open(folder: impl AsRef<Path>, config: &ChainConfig) -> Result<Self, ChainError> {
        let folder = folder.as_ref();
        let log = SegmentLog::open(folder.join(BLOCKS), LogOptions::default())?;
        let (derived, damaged) = (folder.join(DERIVED), folder.join(DAMAGED));
        let open = || -> Result<Self, ChainError> {
            let store = FjallStore::open_derived(&derived, &keys::SPACES)?;
            Self::open_over(log.clone(), Arc::new(store), config)
        };
        let error = match open() {
            Err(error) if is_derived_damage(&error) => error,
            done => return done,
        };
        let refused =
            |source: std::io::Error| ChainError::damaged(format!("the state in {} ({source})", derived.display()));
        remove(&damaged).map_err(refused)?;
        std::fs::rename(&derived, &damaged).or_else(|_| remove(&derived)).map_err(refused)?;
        tracing::warn!(
            group = config.genesis.group_id,
            %error,
            moved_to = %damaged.display(),
            "state and indexes are damaged; moved away (the folder may be deleted), derived from blocks again"
        );
        open()
    }

    /// [`Chain::create_or_open`] over any log and store (with at least three spaces).
    pub fn open_over(log: SegmentLog, store: Arc<dyn Store>, config: &ChainConfig) -> Result<Self, ChainError> {
        if let Some(torn) = log.torn_tail() {
            tracing::warn!(file = %torn.path.display(), offset = torn.offset, bytes = torn.bytes, "cut a half-written block");
        }
        let (header, cells) = genesis::build(config)?;
        let genesis_hash = header.hash;
        if log.next() == 0 {
            let parts = record::Parts {
                hash: genesis_hash,
                header: header.encode(),
                totals: Totals::default(),
                transactions: Vec::new(),
                receipts: Vec::new(),
                cells: &cells,
            };
            log.append(&[&record::encode(&parts)?])?;
            log.sync()?;
            tracing::info!(group = config.genesis.group_id, hash = %genesis_hash, "founded a chain");
        }
        let (founded, _, _) = stored(&log, 0)?;
        if founded.hash() != genesis_hash {
            return Err(ChainError::OtherGenesis {
                folder: log.path().display().to_string(),
                stored: founded.hash(),
                configured: genesis_hash,
                difference: genesis::difference(&founded.header().extra_data, &header.extra_data),
            });
        }
        catch_up(&log, store.as_ref())?;
        let (block, _, _) = stored(&log, log.next() - 1)?;
        let nonces = stored_nonces(store.as_ref(), block.number())?;
        let tip = Tip {
            snapshot: store.snapshot(),
            executed: std::collections::HashMap::new(),
            order: std::collections::VecDeque::new(),
            block: block.clone(),
        };
        let shared = Shared {
            config: config.clone(),
            suite: suite(config.suite()),
            genesis: genesis_hash,
            log,
            store,
            executor: Executor::new(config.suite()),
            scheduler: Scheduler::new(config.threads),
            cache: Arc::new(TipCache::new(block.hash())),
            commit: parking_lot::Mutex::new(Progress::default()),
            tip: parking_lot::RwLock::new(tip),
            nonces: parking_lot::RwLock::new(nonces),
            recent: parking_lot::Mutex::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }
}

/// True when the error is about state and indexes, not about blocks, space or rights.
fn is_derived_damage(error: &ChainError) -> bool {
    match error {
        ChainError::Store(StoreError::Engine { .. }) => true,
        ChainError::Damaged { what } => what == STATE,
        _ => false,
    }
}

/// Removes a folder that may not be there.
fn remove(folder: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A stored block, its record, and where its cells begin in it.
pub(super) fn stored(log: &SegmentLog, number: u64) -> Result<(CommittedBlock, bytes::Bytes, usize), ChainError> {
    let record =
        log.get(number)?.ok_or_else(|| ChainError::damaged(format!("block {number} (it is not in the files)")))?;
    let (block, cells) = record::decode(number, record.clone())?;
    if block.number() != number {
        return Err(ChainError::damaged(format!("block {number} (the record is that of block {})", block.number())));
    }
    Ok((block, record, cells))
}

fn savepoint(store: &dyn Store, space: Space) -> Result<u64, ChainError> {
    match store.get(space, keys::SAVEPOINT)? {
        Some(bytes) => keys::decode_number(&bytes).ok_or_else(|| ChainError::damaged(STATE)),
        None => Ok(0),
    }
}

/// Writes what is missing in state and indexes. Each space may stand at another height after a crash; writing a block again into one
/// that is further is harmless, because each cell ends with its last value.
fn catch_up(log: &SegmentLog, store: &dyn Store) -> Result<(), ChainError> {
    let height = log.next();
    let mut first = height;
    for space in [keys::STATE, keys::HISTORY, keys::INDEX] {
        let derived = savepoint(store, space)?;
        if derived > height {
            return Err(ChainError::AheadOfBlocks { derived, blocks: height });
        }
        first = first.min(derived);
    }
    if let Some(last) = first.checked_sub(1) {
        let (block, _, _) = stored(log, last)?;
        let known = store.get(keys::INDEX, &keys::block_number(last))?;
        if known.as_deref() != Some(block.hash().as_slice()) {
            return Err(ChainError::damaged(STATE));
        }
    }
    if first == height {
        return Ok(());
    }
    tracing::info!(from = first, to = height, "deriving state and indexes from stored blocks");
    for number in first..height {
        let (block, record, at) = stored(log, number)?;
        let cells = record::cells(number, &record, at)?;
        let transactions = block.transactions()?;
        let batch: Batch = derived(&block, &transactions, &cells);
        store.write(batch)?;
        if (number + 1 - first).is_multiple_of(PERSIST_BLOCKS) {
            store.persist()?;
        }
    }
    Ok(store.persist()?)
}

fn stored_nonces(store: &dyn Store, height: u64) -> Result<NonceWindow, ChainError> {
    let mut window = NonceWindow::default();
    let first = (height + 1).saturating_sub(NONCE_BLOCKS);
    for row in store.snapshot().range(keys::INDEX, &keys::nonces(first), Some(&keys::nonces(height + 1))) {
        let (key, value) = row?;
        let unreadable = || ChainError::damaged("the nonces of a block");
        let number = keys::decode_number(&key[1..]).ok_or_else(unreadable)?;
        window.push(number, nonces::decode(&value).ok_or_else(unreadable)?.into_iter());
    }
    Ok(window)
}
