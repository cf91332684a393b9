//! The pipeline: several blocks in flight, each stage on a thread of its own, the work inside a stage on all cores.
//!
//! ```text
//! submit -> front: decode, verify block, signatures -> judge: policies, concurrency control -> writer: one sync -> sink
//! ```
//!
//! The front works ahead of the judge, the judge ahead of the disk. A configuration block holds the front until its
//! configuration is in force, because signatures of later blocks are judged by it.

mod budget;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fabric_channel::config::Bundle;
use fabric_channel::protoutil::header_hash;
use fabric_ledger::{BlockToCommit, FlushTimes, Ledger, StagedBlock, TxToCommit};
use fabric_proto::protos::TxValidationCode as Code;
use parking_lot::RwLock;

use budget::{Budget, ClosesOnDrop};

use crate::decode::{DecodedBlock, TxBody, decode_block};
use crate::known::KnownSignatures;
use crate::{ChannelCollections, ValidationError, apply_config, check_policies, verify_block, verify_signatures};

/// How a pipeline runs.
#[derive(Debug, Clone)]
pub struct PipelineOptions {
    /// Blocks between any two stages; with more, one sync covers more blocks when the node is behind.
    pub depth: usize,
    /// Bytes of blocks in flight; a larger block passes alone.
    pub max_bytes: usize,
    /// Whether hashes and orderers' signatures are checked (off only for blocks from a place that has checked them).
    pub verify_blocks: bool,
    /// Endorsements that this node has made.
    pub known: Arc<KnownSignatures>,
    /// What the ledger asks for collections (the same as in its options); follows the configuration here.
    pub collections: ChannelCollections,
}

impl Default for PipelineOptions {
    fn default() -> Self {
        Self {
            depth: 16,
            max_bytes: 64 << 20,
            verify_blocks: true,
            known: Arc::default(),
            collections: ChannelCollections::default(),
        }
    }
}

/// A block that is durable.
#[derive(Debug)]
pub struct Committed {
    /// Final bytes, codes and updates.
    pub staged: Arc<StagedBlock>,
    /// The decoded transactions with their final codes (without read-write sets, which the ledger took).
    pub block: DecodedBlock,
    /// The configuration that this block put in force.
    pub new_config: Option<Arc<Bundle>>,
    /// How long the stages took.
    pub times: CommitTimes,
}

/// How long a block took in the stages that dashboards show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CommitTimes {
    /// Concurrency control and the commit hash.
    pub processing: Duration,
    /// Writing; zero until the block is durable.
    pub flush: FlushTimes,
}

/// The pipeline has stopped: its sink was told why, or it was closed.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the validation pipeline has stopped; its last result says why")]
pub struct Stopped;

/// Validates and commits the blocks of one channel in order. Dropping it finishes what was submitted.
#[derive(Debug)]
pub struct Pipeline {
    input: Option<SyncSender<Bytes>>,
    bundle: Arc<RwLock<Arc<Bundle>>>,
    threads: Vec<JoinHandle<()>>,
    aborted: Arc<AtomicBool>,
    budget: Arc<Budget>,
}

struct Verified {
    size: usize,
    block: DecodedBlock,
    bundle: Arc<Bundle>,
}

enum Judged {
    Block(usize, Box<Committed>),
    Failed(ValidationError),
}

impl Pipeline {
    /// Starts at the ledger's height with the configuration in force there. `sink` gets every committed block in order, and
    /// as its last call the error that stopped the pipeline, if one did; it runs on the writer's thread.
    pub fn start(
        ledger: Ledger,
        bundle: Arc<Bundle>,
        options: PipelineOptions,
        sink: impl FnMut(Result<Committed, ValidationError>) + Send + 'static,
    ) -> std::io::Result<Self> {
        let depth = options.depth.max(1);
        let budget = Arc::new(Budget::new(options.max_bytes));
        let writer_budget = budget.clone();
        let (input, blocks) = sync_channel(depth);
        let (to_judge, from_front) = sync_channel(depth);
        let (to_writer, from_judge) = sync_channel(depth);
        let (applied, config_applied) = sync_channel(1);
        let current = Arc::new(RwLock::new(bundle));
        let aborted = Arc::new(AtomicBool::new(false));
        let channel = ledger.channel_id().to_owned();
        let collections = options.collections.clone();
        let front = Front {
            ledger: ledger.clone(),
            bundle: current.clone(),
            options,
            output: to_judge,
            config_applied,
            aborted: aborted.clone(),
        };
        let judge = Judge {
            ledger: ledger.clone(),
            bundle: current.clone(),
            collections,
            output: to_writer,
            applied,
            aborted: aborted.clone(),
        };
        let spawn = |stage: &str, run: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(format!("{stage} {channel}")).spawn(run)
        };
        let threads = vec![
            spawn("front", Box::new(move || front.run(&blocks)))?,
            spawn("judge", Box::new(move || judge.run(&from_front)))?,
            spawn(
                "writer",
                Box::new(move || {
                    // Also when the sink panics.
                    let _closes = ClosesOnDrop(&writer_budget);
                    write(&ledger, &from_judge, &writer_budget, sink);
                }),
            )?,
        ];
        Ok(Self { input: Some(input), bundle: current, threads, aborted, budget })
    }

    /// Hands over the next block's bytes; waits while the pipeline is full.
    pub fn submit(&self, block: Bytes) -> Result<(), Stopped> {
        let input = self.input.as_ref().ok_or(Stopped)?;
        if !self.budget.take(block.len()) {
            return Err(Stopped);
        }
        input.send(block).map_err(|_| Stopped)
    }

    /// The configuration in force for the last judged block.
    pub fn bundle(&self) -> Arc<Bundle> {
        self.bundle.read().clone()
    }

    /// Takes no more blocks and waits until all submitted ones are committed and reported.
    pub fn finish(mut self) {
        self.join();
    }

    /// Forgets submitted blocks that are not judged yet; those that are will still be committed and reported.
    pub fn abort(mut self) {
        self.aborted.store(true, Ordering::Release);
        self.join();
    }

    fn join(&mut self) {
        self.input = None;
        let here = std::thread::current().id();
        // The last handle may be dropped inside the sink, which cannot wait for itself.
        for thread in self.threads.drain(..).filter(|thread| thread.thread().id() != here) {
            // A panic of the sink is the sink's; the stages themselves do not panic on any input.
            drop(thread.join());
        }
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.join();
    }
}

struct Front {
    ledger: Ledger,
    bundle: Arc<RwLock<Arc<Bundle>>>,
    options: PipelineOptions,
    output: SyncSender<Result<Verified, ValidationError>>,
    config_applied: Receiver<()>,
    aborted: Arc<AtomicBool>,
}

impl Front {
    fn run(self, blocks: &Receiver<Bytes>) {
        let mut number = self.ledger.staged_height();
        let mut previous = self.ledger.info().current_hash;
        while let Ok(bytes) = blocks.recv() {
            if self.aborted.load(Ordering::Acquire) {
                return;
            }
            let result = self.verify(&bytes, number, &previous);
            let failed = result.is_err();
            let config = result.as_ref().is_ok_and(|verified| verified.block.is_config());
            if let Ok(verified) = &result {
                previous = Bytes::copy_from_slice(&header_hash(&verified.block.header));
                number += 1;
            }
            if self.output.send(result).is_err() || failed {
                return;
            }
            if config && self.config_applied.recv().is_err() {
                return;
            }
        }
    }

    fn verify(&self, bytes: &Bytes, number: u64, previous: &[u8]) -> Result<Verified, ValidationError> {
        let bundle = self.bundle.read().clone();
        let mut block = decode_block(bytes)?;
        if self.options.verify_blocks {
            verify_block(&block, number, previous, &bundle)?;
        } else {
            crate::block::check_header(&block.header, number, previous, bundle.channel_id())?;
        }
        verify_signatures(&mut block, &bundle, &self.options.known);
        Ok(Verified { size: bytes.len(), block, bundle })
    }
}

struct Judge {
    ledger: Ledger,
    bundle: Arc<RwLock<Arc<Bundle>>>,
    collections: ChannelCollections,
    output: SyncSender<Judged>,
    applied: SyncSender<()>,
    aborted: Arc<AtomicBool>,
}

impl Judge {
    fn run(self, blocks: &Receiver<Result<Verified, ValidationError>>) {
        while let Ok(received) = blocks.recv() {
            if self.aborted.load(Ordering::Acquire) {
                return;
            }
            let judged = received.and_then(|verified| {
                let (size, config) = (verified.size, verified.block.is_config());
                let committed = judge(&self.ledger, verified.block, &verified.bundle)?;
                if let Some(bundle) = &committed.new_config {
                    self.collections.update(bundle);
                    *self.bundle.write() = bundle.clone();
                }
                if config {
                    // The front may be gone; then nobody waits.
                    let _ = self.applied.send(());
                }
                Ok((size, committed))
            });
            let (message, failed) = match judged {
                Ok((size, committed)) => (Judged::Block(size, Box::new(committed)), false),
                Err(error) => (Judged::Failed(error), true),
            };
            if self.output.send(message).is_err() || failed {
                return;
            }
        }
    }
}

/// Judges a block whose signatures are checked and stages it on the ledger: visible to the next block, not yet durable.
pub fn judge(ledger: &Ledger, mut block: DecodedBlock, bundle: &Bundle) -> Result<Committed, ValidationError> {
    let new_config = apply_config(&block, bundle)?.map(Arc::new);
    check_policies(&mut block, bundle, &ledger.view(), ledger)?;
    let number = block.number();
    let to_commit = take_commit(&mut block);
    let started = Instant::now();
    let staged = ledger.stage(to_commit).map_err(|source| ValidationError::Commit { number, source })?;
    for (tx, code) in block.transactions.iter_mut().zip(&staged.flags) {
        tx.code = Code::try_from(i32::from(*code)).unwrap_or(Code::InvalidOtherReason);
    }
    let times = CommitTimes { processing: started.elapsed(), ..CommitTimes::default() };
    Ok(Committed { staged, block, new_config, times })
}

/// Moves the read-write sets out of a judged block into what the ledger wants.
pub fn take_commit(block: &mut DecodedBlock) -> BlockToCommit {
    let message = block.to_block();
    let transactions = block
        .transactions
        .iter_mut()
        .map(|tx| TxToCommit {
            txid: tx.index_txid().to_owned(),
            code: tx.code,
            rwset: match &mut tx.body {
                TxBody::Endorser(endorser) => Some(std::mem::take(&mut endorser.rwset)),
                TxBody::Config(envelope) => Some(fabric_ledger::rwset::TxRwset::config(envelope.clone())),
                TxBody::None => None,
            },
        })
        .collect();
    BlockToCommit { block: message, transactions }
}

/// Makes blocks durable, as many with one sync as have been judged meanwhile, and reports them.
fn write(
    ledger: &Ledger,
    judged: &Receiver<Judged>,
    budget: &Budget,
    mut sink: impl FnMut(Result<Committed, ValidationError>),
) {
    while let Ok(first) = judged.recv() {
        let mut group = Vec::new();
        let mut failed = None;
        let mut next = Some(first);
        while let Some(message) = next.take() {
            match message {
                Judged::Block(size, block) => group.push((size, block)),
                Judged::Failed(error) => {
                    failed = Some(error);
                    break;
                }
            }
            next = judged.try_recv().ok();
        }
        if let Some((_, last)) = group.last() {
            let number = last.block.number();
            if let Err(source) = ledger.flush() {
                sink(Err(ValidationError::Commit { number, source }));
                return;
            }
        }
        for (size, mut block) in group {
            block.times.flush = ledger.flush_times();
            sink(Ok(*block));
            budget.give_back(size);
        }
        if let Some(error) = failed {
            sink(Err(error));
            return;
        }
    }
}
