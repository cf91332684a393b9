//! How many bytes of blocks may be in flight.

use parking_lot::{Condvar, Mutex};

/// Counts the bytes of blocks between submission and report.
#[derive(Debug)]
pub(super) struct Budget {
    limit: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    used: usize,
    closed: bool,
}

impl Budget {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, state: Mutex::default(), changed: Condvar::new() }
    }

    /// Waits for room and takes it; a block larger than the whole budget passes alone. False when closed.
    pub(super) fn take(&self, bytes: usize) -> bool {
        let mut state = self.state.lock();
        while !state.closed && state.used > 0 && state.used.saturating_add(bytes) > self.limit {
            self.changed.wait(&mut state);
        }
        state.used = state.used.saturating_add(bytes);
        !state.closed
    }

    pub(super) fn give_back(&self, bytes: usize) {
        let mut state = self.state.lock();
        state.used = state.used.saturating_sub(bytes);
        self.changed.notify_all();
    }

    /// Lets everyone who waits go.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_all();
    }
}

/// Closes the budget at the end of a scope.
pub(super) struct ClosesOnDrop<'a>(pub(super) &'a Budget);

impl Drop for ClosesOnDrop<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_large_block_passes_alone_and_closing_frees_who_waits() {
        let budget = Arc::new(Budget::new(10));
        assert!(budget.take(50));
        let waiting = std::thread::spawn({
            let budget = budget.clone();
            move || (budget.take(1), budget.take(10))
        });
        budget.give_back(50);
        while budget.state.lock().used != 1 {
            std::thread::yield_now();
        }
        budget.close();
        assert_eq!(waiting.join().unwrap(), (true, false));
    }
}
