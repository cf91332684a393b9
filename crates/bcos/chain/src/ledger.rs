//! The chain of one group: the block files are the truth, state and indexes follow from them.

mod block;
mod commit;
mod execute;
mod nonces;
mod open;
mod read;
mod record;
mod replay;

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::Arc,
};

use alloy_primitives::B256;
use konsort_crypto::CryptoSuite;
use konsort_store::{SegmentLog, Snapshot, Store};
use parking_lot::{Mutex, RwLock};

use crate::{ChainConfig, executor::Executor, scheduler::Scheduler, state::TipCache};
pub use block::{CommittedBlock, Totals};
pub use execute::{ExecutedBlock, Order, Proposal};
pub use nonces::NONCE_BLOCKS;
pub use read::Located;

/// Executed blocks kept at most until they are committed or overtaken.
const EXECUTED: usize = 256;
/// Committed blocks kept in memory at most.
const RECENT_BLOCKS: usize = 32;
/// And their size at most, bytes, about.
const RECENT_BYTES: usize = 32 << 20;

/// The chain of one group; clones share it.
///
/// Blocks are executed on the last committed block or on executed ones, and committed one by one, each with one durable write. Reading is
/// possible from anywhere at any time.
#[derive(Clone)]
pub struct Chain {
    shared: Arc<Shared>,
}

struct Shared {
    config: ChainConfig,
    suite: &'static dyn CryptoSuite,
    genesis: B256,
    log: SegmentLog,
    store: Arc<dyn Store>,
    executor: Executor,
    scheduler: Scheduler,
    cache: Arc<TipCache>,
    /// Held by whoever commits.
    commit: Mutex<commit::Progress>,
    tip: RwLock<Tip>,
    nonces: RwLock<nonces::NonceWindow>,
    /// Blocks in memory, the most recently used last.
    recent: Mutex<Recent>,
}

/// Where the chain stands. The lock is held only for moments.
struct Tip {
    block: CommittedBlock,
    /// The store right after this block, and not after the next.
    snapshot: Arc<dyn Snapshot>,
    executed: HashMap<B256, ExecutedBlock>,
    /// Hashes of the executed blocks, oldest first.
    order: VecDeque<B256>,
}

impl Tip {
    fn number(&self) -> u64 {
        self.block.number()
    }

    fn place(&self) -> (u64, B256) {
        (self.block.number(), self.block.hash())
    }
}

#[derive(Default)]
struct Recent {
    blocks: VecDeque<CommittedBlock>,
    bytes: usize,
}

impl Recent {
    fn get(&mut self, number: u64) -> Option<CommittedBlock> {
        let at = self.blocks.iter().position(|block| block.number() == number)?;
        let block = self.blocks.remove(at)?;
        self.blocks.push_back(block.clone());
        Some(block)
    }

    fn push(&mut self, block: CommittedBlock) {
        if self.blocks.iter().any(|kept| kept.number() == block.number()) {
            return;
        }
        self.bytes += block.weight();
        self.blocks.push_back(block);
        while (self.blocks.len() > RECENT_BLOCKS || self.bytes > RECENT_BYTES)
            && let Some(gone) = self.blocks.pop_front()
        {
            self.bytes -= gone.weight();
        }
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain")
            .field("group", &self.shared.config.genesis.group_id)
            .field("height", &self.height())
            .finish_non_exhaustive()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Only spares the next start some replay.
        if let Err(error) = self.store.persist() {
            let group = &self.config.genesis.group_id;
            tracing::warn!(group, %error, "state not persisted on close; it will be derived from blocks again");
        }
    }
}

impl Chain {
    /// How the chain was founded.
    pub fn config(&self) -> &ChainConfig {
        &self.shared.config
    }

    /// The chain's hash and signatures.
    pub fn suite(&self) -> &'static dyn CryptoSuite {
        self.shared.suite
    }

    /// What executes transactions; for traces and estimates over [`Chain::state_at`].
    pub fn executor(&self) -> &Executor {
        &self.shared.executor
    }

    /// Hash of block 0.
    pub fn genesis_hash(&self) -> B256 {
        self.shared.genesis
    }

    /// Number of the last committed block.
    pub fn height(&self) -> u64 {
        self.shared.tip.read().number()
    }

    /// The last committed block.
    pub fn tip(&self) -> CommittedBlock {
        self.shared.tip.read().block.clone()
    }
}
