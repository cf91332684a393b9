//! Executes the transactions of a block on all cores, with exactly the results of executing them one after another.
//!
//! Workers execute transactions ahead of time on a consistent view: the block's state after some earlier transaction. One thread goes
//! through the block in order. It accepts a speculative outcome when nothing that was read has been written since its view, and executes
//! the transaction itself otherwise; what it executes itself is exact, because everything before is settled. So the outcome of every
//! transaction, and with it every receipt and root, is that of [`serial`], whatever the workers did.
//!
//! Transactions that are likely to conflict (a hot account, a counter) are not speculated at all: they wait for the in-order thread,
//! which executes them once, as a serial executor would. What is likely is learnt from block to block by [`Lanes`].

mod lanes;
mod versions;

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::{
    access::{AccessError, StateAccess, TxOutcome},
    executor::TxInput,
    state::{Layer, Overlay},
};
pub use lanes::{Lanes, Traits};
use versions::{VersionView, Versions};

/// Executes the transaction at a position of the block on a state. Must be a pure function of what it reads.
pub type Execute<'a> = dyn Fn(&dyn StateAccess, usize) -> Result<TxOutcome, AccessError> + Sync + 'a;

/// Blocks below this size are not worth waking other cores.
const MIN_PARALLEL: usize = 32;
/// Speculation stops for the rest of a block when, of at least this many speculated transactions, more than half were in vain.
const JUDGE_AFTER: usize = 32;
/// With fewer than one in so many transactions left to speculate a block is executed serially.
const WORTH_ONE_IN: usize = 8;
/// Of blocks that look serial, one in so many is speculated all the same, to notice when they no longer are.
const PROBE_ONE_IN: usize = 16;
/// How long the in-order thread waits for a worker's outcome before it executes the transaction itself, rounds of some tens of
/// nanoseconds: about as long as a small transaction takes. It never yields: on a busy machine the worker may be far from running.
const WAIT_ROUNDS: usize = 256;
/// How many earlier transactions count as near: a read of what they wrote would have been stale under speculation.
const NEAR: u32 = 16;

/// How a block was executed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunStats {
    /// Transactions whose speculative outcome was accepted.
    pub speculated: usize,
    /// Transactions executed again because their speculative outcome was stale.
    pub conflicts: usize,
    /// Transactions executed once, in order.
    pub direct: usize,
}

/// The outcomes of a block, in order.
#[derive(Debug)]
pub struct Run {
    /// One per transaction.
    pub outcomes: Vec<TxOutcome>,
    /// How they came about.
    pub stats: RunStats,
}

/// Executes transactions one after another: the meaning of a block.
pub fn serial(base: &dyn StateAccess, count: usize, execute: &Execute<'_>) -> Result<Run, AccessError> {
    let mut overlay = Overlay { base, layer: Layer::default() };
    let mut outcomes = Vec::with_capacity(count);
    for index in 0..count {
        let outcome = execute(&overlay, index)?;
        overlay.layer.apply(&outcome.writes);
        outcomes.push(outcome);
    }
    Ok(Run { outcomes, stats: RunStats { direct: count, ..RunStats::default() } })
}

/// The parallel executor on one thread, as if workers had run just so: before each transaction is settled, `speculate` (given its position
/// and the block's size) names transactions that workers execute at that moment. For tests, where chance would leave most timings out.
pub fn interleaved(
    base: &(dyn StateAccess + Sync),
    count: usize,
    execute: &Execute<'_>,
    mut speculate: impl FnMut(usize, usize) -> Vec<usize>,
) -> Result<Run, AccessError> {
    let block = Block::new(base, execute, vec![false; count]);
    // The in-order thread must not speculate on its own.
    block.stop.store(true, Ordering::Release);
    let run = block.settle(|index| {
        for at in speculate(index, count) {
            if at < count && block.take(at) {
                block.speculate(at);
            }
        }
    });
    Ok(run?.0)
}

/// The parallel executor of one chain.
#[derive(Debug)]
pub struct Scheduler {
    threads: usize,
    lanes: Lanes,
    serial_blocks: AtomicUsize,
}

impl Scheduler {
    /// An executor that uses up to `threads` threads of the process's pool, the in-order one included.
    pub fn new(threads: usize) -> Self {
        Self { threads, lanes: Lanes::default(), serial_blocks: AtomicUsize::new(0) }
    }

    /// The traits of a transaction; none of one that cannot be executed.
    pub fn traits(&self, input: Option<&TxInput>) -> Traits {
        input.map_or_else(Traits::default, |input| {
            let to = input.to.as_ref().map_or(&[][..], |to| to.as_slice());
            self.lanes.call(input.sender.as_slice(), to, &input.input)
        })
    }

    /// Executes `traits.len()` transactions over `base`; `traits` tell which transactions resemble each other.
    pub fn run(
        &self,
        base: &(dyn StateAccess + Sync),
        traits: &[Traits],
        execute: &Execute<'_>,
    ) -> Result<Run, AccessError> {
        let count = traits.len();
        if count < MIN_PARALLEL || self.threads < 2 || u32::try_from(count).is_err() {
            return serial(base, count, execute);
        }
        let hot = self.lanes.predict(traits);
        let cold = hot.iter().filter(|hot| !**hot).count();
        if cold * WORTH_ONE_IN < count {
            let seen = self.serial_blocks.fetch_add(1, Ordering::Relaxed);
            if !(seen + 1).is_multiple_of(PROBE_ONE_IN) {
                return serial(base, count, execute);
            }
        }
        let block = Block::new(base, execute, hot);
        let workers = (self.threads - 1).min(cold);
        // In place: the in-order thread is this one, and one thread less of the pool is woken.
        let (run, near) = rayon::in_place_scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|_| block.work());
            }
            let result = block.settle(|_| {});
            block.stop.store(true, Ordering::Release);
            result
        })?;
        self.lanes.learn(traits, &near);
        Ok(run)
    }
}

const FREE: u8 = 0;
const TAKEN: u8 = 1;
const DONE: u8 = 2;

/// One transaction's place.
#[derive(Debug, Default)]
struct Place {
    state: AtomicU8,
    /// The speculative outcome, and how many transactions were settled in the view it was computed on.
    outcome: Mutex<Option<(u32, TxOutcome)>>,
}

struct Block<'a> {
    base: &'a (dyn StateAccess + Sync),
    execute: &'a Execute<'a>,
    hot: Vec<bool>,
    places: Vec<Place>,
    versions: Versions,
    /// Transactions settled so far: their writes are in `versions`.
    settled: AtomicU32,
    next: AtomicUsize,
    stop: AtomicBool,
}

/// Marks a place as done also when execution panics: the in-order thread then meets the same panic itself.
struct Finish<'a>(&'a Place);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        self.0.state.store(DONE, Ordering::Release);
    }
}

impl<'a> Block<'a> {
    fn new(base: &'a (dyn StateAccess + Sync), execute: &'a Execute<'a>, hot: Vec<bool>) -> Self {
        let places = hot.iter().map(|_| Place::default()).collect();
        Self {
            base,
            execute,
            hot,
            places,
            versions: Versions::default(),
            settled: AtomicU32::new(0),
            next: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        }
    }

    fn view(&self, settled: u32) -> VersionView<'_> {
        VersionView { base: self.base, versions: &self.versions, settled }
    }

    fn take(&self, index: usize) -> bool {
        let place = &self.places[index].state;
        place.compare_exchange(FREE, TAKEN, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Speculates one more transaction; false when none is left.
    fn speculate_next(&self) -> bool {
        loop {
            if self.stop.load(Ordering::Acquire) {
                return false;
            }
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            if index >= self.places.len() {
                return false;
            }
            if !self.hot[index] && self.take(index) {
                self.speculate(index);
                return true;
            }
        }
    }

    /// Executes a transaction that was taken on the state settled so far.
    fn speculate(&self, index: usize) {
        let place = &self.places[index];
        let _finish = Finish(place);
        let settled = self.settled.load(Ordering::Acquire);
        // An error is met again, or not, by the in-order thread.
        if let Ok(outcome) = (self.execute)(&self.view(settled), index) {
            *place.outcome.lock() = Some((settled, outcome));
        }
    }

    fn work(&self) {
        while self.speculate_next() {}
    }

    /// The speculative outcome of a transaction and the view it is from; waits a little for a worker, and makes itself useful meanwhile.
    fn speculated(&self, index: usize) -> Option<(u32, TxOutcome)> {
        if self.take(index) {
            return None;
        }
        let place = &self.places[index];
        let mut rounds = 0;
        while place.state.load(Ordering::Acquire) != DONE {
            if !self.speculate_next() {
                if rounds == WAIT_ROUNDS {
                    return None;
                }
                rounds += 1;
                std::hint::spin_loop();
            }
        }
        place.outcome.lock().take()
    }

    /// Goes through the block in order, with `before` each transaction; also tells of each whether it depended on a near one.
    fn settle(&self, mut before: impl FnMut(usize)) -> Result<(Run, Vec<bool>), AccessError> {
        let count = self.places.len();
        let mut outcomes = Vec::with_capacity(count);
        let mut near = Vec::with_capacity(count);
        let mut stats = RunStats::default();
        for index in 0..count {
            before(index);
            let settled = index as u32;
            let outcome = match self.speculated(index) {
                Some((seen, outcome)) if self.versions.unchanged_since(seen, &outcome.reads) => {
                    stats.speculated += 1;
                    near.push(false);
                    outcome
                }
                stale => {
                    let outcome = (self.execute)(&self.view(settled), index)?;
                    let depends = !self.versions.unchanged_since(settled.saturating_sub(NEAR), &outcome.reads);
                    near.push(depends || stale.is_some());
                    if stale.is_some() {
                        stats.conflicts += 1;
                    } else {
                        stats.direct += 1;
                    }
                    outcome
                }
            };
            let judged = stats.speculated + stats.conflicts;
            if judged >= JUDGE_AFTER && stats.conflicts * 2 > judged {
                self.stop.store(true, Ordering::Release);
            }
            self.versions.settle(settled + 1, &outcome.writes);
            self.settled.store(settled + 1, Ordering::Release);
            outcomes.push(outcome);
        }
        Ok((Run { outcomes, stats }, near))
    }
}

#[cfg(test)]
mod tests;
