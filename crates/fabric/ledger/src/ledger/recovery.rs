//! Bringing the derived databases up to the block files.
//!
//! Each space of the store has its own savepoint and may stand at another height after a crash. A block is replayed with its stored
//! verdicts into every space that lags. Replaying into a state that is already further is harmless: each key ends with its last write.

use std::sync::Arc;

use fabric_proto::common::BlockMetadataIndex;
use konsort_store::{Space, Store};

use super::{
    Options, StagedBlock, expiry, history,
    write::{self, Parts},
};
use crate::{
    BlockStore, LedgerError, StateSnapshot, StateView, UpdateBatch, commit_hash::commit_hash, decode, keys, mvcc,
};

/// The store is made durable after this many replayed blocks.
const PERSIST_BLOCKS: u64 = 1000;

/// What a savepoint that cannot be read is called in [`LedgerError::Corrupt`].
pub(super) const SAVEPOINT: &str = "savepoint";

struct Savepoints {
    index: u64,
    state: u64,
    history: u64,
}

fn savepoint(store: &dyn Store, space: Space) -> Result<u64, LedgerError> {
    match store.get(space, keys::SAVEPOINT)? {
        Some(bytes) => keys::decode_number(&bytes).ok_or_else(|| LedgerError::Corrupt { what: SAVEPOINT.into() }),
        None => Ok(0),
    }
}

/// Replays what is missing. A replay from the first block on also checks every stored commit hash.
pub(super) fn catch_up(
    channel: &str,
    blocks: &BlockStore,
    store: &Arc<dyn Store>,
    options: &Options,
) -> Result<(), LedgerError> {
    check_channel(channel, store.as_ref())?;
    let height = blocks.height();
    let from = Savepoints {
        index: savepoint(store.as_ref(), keys::INDEX)?,
        state: savepoint(store.as_ref(), keys::STATE)?,
        history: if options.history { savepoint(store.as_ref(), keys::HISTORY)? } else { height },
    };
    for (what, derived) in [("index", from.index), ("state", from.state), ("history", from.history)] {
        if derived > height {
            return Err(LedgerError::AheadOfBlocks { channel: channel.to_owned(), what, derived, blocks: height });
        }
    }
    let first = from.index.min(from.state).min(from.history);
    if first == height {
        return Ok(());
    }
    let whole = from.state == 0;
    tracing::info!(channel, from = first, to = height, "deriving state, history and indexes from stored blocks");
    let mut previous_commit_hash = bytes::Bytes::new();
    for number in first..height {
        let staged = replayed(number, blocks, store.as_ref(), options, number >= from.state)?;
        if whole && number > 0 {
            let computed = commit_hash(&previous_commit_hash, &staged.flags, &staged.updates);
            if computed != staged.commit_hash {
                let what = format!("commit hash of block {number} (the blocks give {})", hex::encode(computed));
                return Err(LedgerError::Corrupt { what });
            }
        }
        previous_commit_hash.clone_from(&staged.commit_hash);
        let parts = Parts {
            index: number >= from.index,
            state: number >= from.state,
            history: options.history && number >= from.history,
        };
        store.write(write::derived(&staged, store.as_ref(), parts)?)?;
        if (number + 1 - first).is_multiple_of(PERSIST_BLOCKS) {
            store.persist()?;
        }
    }
    Ok(store.persist()?)
}

fn check_channel(channel: &str, store: &dyn Store) -> Result<(), LedgerError> {
    match store.get(keys::INDEX, keys::CHANNEL)? {
        Some(found) if found != channel.as_bytes() => {
            let found = String::from_utf8_lossy(&found).into_owned();
            Err(LedgerError::Folder(format!("this folder holds the ledger of channel {found}, not of {channel}")))
        }
        Some(_) => Ok(()),
        None => {
            let mut batch = konsort_store::Batch::default();
            batch.put(keys::INDEX, keys::CHANNEL, channel.as_bytes());
            Ok(store.write(batch)?)
        }
    }
}

/// A stored block as it was when it was staged.
fn replayed(
    number: u64,
    blocks: &BlockStore,
    store: &dyn Store,
    options: &Options,
    with_state: bool,
) -> Result<StagedBlock, LedgerError> {
    let bytes = blocks
        .block(number)?
        .ok_or_else(|| LedgerError::Corrupt { what: format!("block {number} (it is not in the block files)") })?;
    let block = decode::block(&bytes)?;
    let hash = decode::header_hash(decode::header(&block)?);
    let transactions = decode::stored_transactions(&block)?;
    let mut updates = UpdateBatch::default();
    if with_state {
        let view = StateView::new(StateSnapshot::new(store.snapshot()), Vec::new());
        updates = mvcc::effects(number, &transactions, &view)?;
        expiry::apply(number, &mut updates, &view, options.collections.as_ref())?;
    }
    Ok(StagedBlock {
        number,
        hash,
        flags: decode::slot(&block, BlockMetadataIndex::TransactionsFilter).to_vec(),
        commit_hash: decode::stored_commit_hash(&block)?,
        history: history::rows(number, &transactions),
        check_txid: vec![true; transactions.len()],
        txids: transactions.into_iter().map(|transaction| transaction.txid).collect(),
        bytes,
        block,
        updates: Arc::new(updates),
    })
}
