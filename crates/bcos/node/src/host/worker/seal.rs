//! Making the block that agreement asks for.

use std::time::{Duration, Instant};

use bcos_consensus::{Input, Sealed};

use super::Worker;
use crate::host::wall_ms;

impl Worker {
    /// Time until the next block may be sealed, while so many transactions wait.
    fn seal_due(&mut self, ready: usize, now: Instant) -> Duration {
        self.gather.look(ready, now);
        if ready as u64 >= self.parts.ledger.tx_count_limit() {
            return Duration::ZERO;
        }
        let alone = self.parts.consensus.settings().members.len() == 1;
        self.gather.due(self.parts.ledger.height(), alone, now)
    }

    /// Makes the block agreement asked for, when there is something to put into it; notes when to look again if it is too early.
    pub(super) fn seal(&mut self) -> Result<(), String> {
        self.seal_at = None;
        while let Some((number, view)) = self.wanted {
            let ready = self.parts.pool.ready();
            if ready == 0 || self.bodies.waits_below(number) {
                return Ok(());
            }
            let now = Instant::now();
            let due = self.seal_due(ready, now);
            if !due.is_zero() {
                self.seal_at = Some(now + due);
                return Ok(());
            }
            let parent = self.parent_time(number).unwrap_or_else(|| self.parts.ledger.head_time());
            let timestamp_ms = wall_ms().max(parent + 1);
            let mut first = None;
            if self.parts.consensus.settings().ends_epoch(number) {
                first = self.parts.drawer.transaction(number);
                if first.is_none() {
                    return Ok(());
                }
            }
            let limit = self.parts.ledger.tx_count_limit() as usize;
            let seal = self.parts.pool.seal(number, timestamp_ms, limit, first.as_ref());
            if seal.transactions.is_empty() {
                return Ok(());
            }
            self.wanted = None;
            self.gather.sealed(number, seal.transactions.len(), Instant::now());
            self.timestamps.retain(|(of, _)| *of != number);
            self.timestamps.push((number, timestamp_ms));
            let transactions = seal.transactions.iter().map(|transaction| transaction.hash).collect();
            self.step(Input::Sealed(Sealed { number, view, timestamp_ms, system: seal.system, transactions }))?;
        }
        Ok(())
    }
}
