//! Two threads per group: one executes blocks in order, one commits them in order.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use alloy_primitives::B256;
use bcos_chain::ChainError;
use bcos_consensus::{HeaderSignature, NodeId, Proposal, Settings, Tip};
use bcos_types::{Receipt, VerifiedTx};
use bytes::Bytes;
use konsort_node::metrics::{Counter, Histogram};
use konsort_node::{Metrics, Shutdown};
use tokio::sync::{mpsc, watch};

use super::worker::Event;
use super::{ImportError, Ledger};
use crate::pool::Pool;

/// Pause between attempts to write a block.
const RETRY: Duration = Duration::from_secs(1);

/// What became of blocks fetched from another node.
#[derive(Debug)]
pub(crate) struct Imported {
    pub from: NodeId,
    /// The last number that was handed to the commit thread.
    pub reached: u64,
    pub outcome: Result<(), ImportError>,
}

#[derive(Debug)]
enum Work {
    Execute { proposal: Arc<Proposal>, transactions: Vec<VerifiedTx> },
    Import { blocks: Vec<Bytes>, from: NodeId },
    Commit { number: u64, header_hash: B256, signatures: Vec<HeaderSignature> },
    Stop,
}

/// A finished block on its way to the disk.
#[derive(Debug)]
pub(crate) enum Finish {
    /// By agreement.
    Agreed {
        number: u64,
        header_hash: B256,
        signatures: Vec<HeaderSignature>,
    },
    /// By synchronisation.
    Synced {
        number: u64,
        header_hash: B256,
        signatures: Vec<HeaderSignature>,
    },
    Stop,
}

/// The door to both threads; dropping it stops them after the work at hand.
#[derive(Debug)]
pub(crate) struct Pipeline {
    work: Sender<Work>,
    threads: Vec<JoinHandle<()>>,
}

/// What the threads report to.
#[derive(Clone, Debug)]
pub(crate) struct Reports {
    pub events: mpsc::UnboundedSender<Event>,
    pub head: watch::Sender<u64>,
    pub pool: Pool,
    pub shutdown: Shutdown,
}

#[derive(Clone, Debug)]
struct PipelineMetrics {
    execute: Histogram,
    commit: Histogram,
    transactions: Counter,
    blocks: Counter,
}

impl PipelineMetrics {
    fn new(metrics: &Metrics, group: &str) -> Self {
        let labels = &["group"];
        Self {
            execute: metrics
                .ledger_histogram("bcos_block_execution_seconds", "Time to execute a block.", labels)
                .with(&[group]),
            commit: metrics
                .ledger_histogram("bcos_block_commit_seconds", "Time to make a block durable.", labels)
                .with(&[group]),
            transactions: metrics
                .counter("bcos_committed_transactions", "Transactions in committed blocks.", labels)
                .with(&[group]),
            blocks: metrics
                .counter("bcos_committed_blocks", "Blocks committed by this process.", labels)
                .with(&[group]),
        }
    }
}

impl Pipeline {
    pub(crate) fn start(
        group: &str,
        ledger: Arc<Ledger>,
        reports: Reports,
        metrics: &Metrics,
    ) -> std::io::Result<Self> {
        let metrics = PipelineMetrics::new(metrics, group);
        let (work, work_end) = channel();
        let (finish, finish_end) = channel();
        let mut threads = Vec::with_capacity(2);
        let executor =
            Executor { ledger: Arc::clone(&ledger), finish, reports: reports.clone(), metrics: metrics.clone() };
        threads
            .push(std::thread::Builder::new().name(format!("execute {group}")).spawn(move || executor.run(&work_end))?);
        let committer = Committer { ledger, reports, metrics };
        threads.push(
            std::thread::Builder::new().name(format!("commit {group}")).spawn(move || committer.run(&finish_end))?,
        );
        Ok(Self { work, threads })
    }

    fn give(&self, work: Work) {
        // A thread that ended has said why, and the worker stops for the same reason.
        let _ended = self.work.send(work);
    }

    pub(crate) fn execute(&self, proposal: Arc<Proposal>, transactions: Vec<VerifiedTx>) {
        self.give(Work::Execute { proposal, transactions });
    }

    pub(crate) fn commit(&self, number: u64, header_hash: B256, signatures: Vec<HeaderSignature>) {
        self.give(Work::Commit { number, header_hash, signatures });
    }

    pub(crate) fn import(&self, blocks: Vec<Bytes>, from: NodeId) {
        self.give(Work::Import { blocks, from });
    }

    /// Ends both threads after the work at hand.
    pub(crate) fn stop(mut self) {
        self.give(Work::Stop);
        for thread in self.threads.drain(..) {
            // A panic was printed by the thread itself.
            let _panicked = thread.join();
        }
    }
}

struct Executor {
    ledger: Arc<Ledger>,
    finish: Sender<Finish>,
    reports: Reports,
    metrics: PipelineMetrics,
}

impl Executor {
    fn run(self, work: &Receiver<Work>) {
        while let Ok(work) = work.recv() {
            match work {
                Work::Execute { proposal, transactions } => {
                    let began = Instant::now();
                    let number = proposal.number;
                    let event = match self.ledger.execute(&proposal, transactions) {
                        Ok(Some(header_hash)) => Event::Executed { number, header_hash },
                        // Somebody's finished block of this number came first.
                        Ok(None) => continue,
                        Err(error) => Event::Failed { what: format!("block {number} cannot be executed: {error}") },
                    };
                    self.metrics.execute.observe_since(began);
                    self.report(event);
                }
                // Through this thread, so that it cannot overtake the execution.
                Work::Commit { number, header_hash, signatures } => {
                    self.hand_on(Finish::Agreed { number, header_hash, signatures });
                }
                Work::Import { blocks, from } => self.import(blocks, from),
                Work::Stop => break,
            }
        }
        self.hand_on(Finish::Stop);
    }

    fn import(&self, blocks: Vec<Bytes>, from: NodeId) {
        let mut reached = 0;
        let mut outcome = Ok(());
        for block in blocks {
            match self.ledger.import(&block) {
                Ok(Some((number, header_hash, signatures))) => {
                    reached = number;
                    self.hand_on(Finish::Synced { number, header_hash, signatures });
                }
                // Committed already.
                Ok(None) => {}
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
        }
        self.report(Event::Imported(Imported { from, reached, outcome }));
    }

    fn hand_on(&self, finish: Finish) {
        let _ended = self.finish.send(finish);
    }

    fn report(&self, event: Event) {
        let _ended = self.reports.events.send(event);
    }
}

struct Committer {
    ledger: Arc<Ledger>,
    reports: Reports,
    metrics: PipelineMetrics,
}

impl Committer {
    fn run(self, work: &Receiver<Finish>) {
        while let Ok(finish) = work.recv() {
            let (number, header_hash, signatures, synced) = match finish {
                Finish::Agreed { number, header_hash, signatures } => (number, header_hash, signatures, false),
                Finish::Synced { number, header_hash, signatures } => (number, header_hash, signatures, true),
                Finish::Stop => return,
            };
            let began = Instant::now();
            match self.commit(number, header_hash, &signatures) {
                Ok(None) => {}
                Ok(Some(Done { tip, next, body })) => {
                    self.metrics.commit.observe_since(began);
                    self.metrics.blocks.inc();
                    self.metrics.transactions.add(body.len() as f64);
                    self.reports.head.send_replace(number);
                    // The next block must not wait until everybody is answered.
                    let event = if synced { Event::Synced { tip, next } } else { Event::Committed { number, next } };
                    let _ended = self.reports.events.send(event);
                    self.reports.pool.committed(number, body);
                }
                Err(error) => {
                    // What may or may not have reached the disk must not be built upon.
                    let what = format!("block {number} cannot be committed: {error}");
                    let _ended = self.reports.events.send(Event::Failed { what });
                    return;
                }
            }
        }
    }

    /// A full disk stops the group until there is room again; then it goes on by itself.
    fn commit(
        &self,
        number: u64,
        header_hash: B256,
        signatures: &[HeaderSignature],
    ) -> Result<Option<Done>, ChainError> {
        let mut told = false;
        loop {
            match self.ledger.commit(number, header_hash, signatures) {
                Err(ChainError::Store(error)) if !self.reports.shutdown.is_triggered() => {
                    if !told {
                        tracing::error!(
                            "block {number} cannot be written: {error}; the group waits and tries again: make room on the disk of \
                             storage.data_path, or stop the node and repair the disk"
                        );
                        told = true;
                    }
                    std::thread::sleep(RETRY);
                }
                outcome => {
                    if told && outcome.is_ok() {
                        tracing::info!("block {number} is written, the group goes on");
                    }
                    return outcome;
                }
            }
        }
    }
}

/// A block that is durable now.
#[derive(Debug)]
pub(crate) struct Done {
    pub tip: Tip,
    pub next: Settings,
    pub body: Vec<(VerifiedTx, Arc<Receipt>)>,
}
