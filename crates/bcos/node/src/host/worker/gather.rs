//! How long transactions are gathered for a block.
//!
//! A block costs every node rounds of messages, signatures and writes, however many transactions it holds. Under load it pays to
//! wait until those that are on their way have arrived; without load nobody is to wait.

use std::time::{Duration, Instant};

/// The longest a block gathers transactions after the one before it was proposed.
const LONGEST: Duration = Duration::from_millis(200);
/// Arrivals are over when none came for this part of the time since the last proposal: who waits long already waits a little longer.
const CALM_PART: u32 = 4;
/// A block with fewer transactions says that there is no load.
const FEW: usize = 16;

/// The newest proposal, whoever made it.
#[derive(Debug)]
struct Newest {
    number: u64,
    transactions: usize,
    seen: Instant,
}

/// What is known of the pace of arrivals.
#[derive(Debug)]
pub(super) struct Gather {
    /// This node seals a block that is not full at most this often.
    min_seal: Duration,
    sealed: Option<Instant>,
    newest: Option<Newest>,
    /// Transactions that waited at the last look, and since when so many.
    ready: usize,
    since: Instant,
}

impl Gather {
    pub(super) fn new(min_seal: Duration, now: Instant) -> Self {
        Self { min_seal, sealed: None, newest: None, ready: 0, since: now }
    }

    /// A proposal was seen; of one block the first counts.
    pub(super) fn proposed(&mut self, number: u64, transactions: usize, now: Instant) {
        if self.newest.as_ref().is_none_or(|newest| newest.number < number) {
            self.newest = Some(Newest { number, transactions, seen: now });
        }
    }

    /// This node made a proposal.
    pub(super) fn sealed(&mut self, number: u64, transactions: usize, now: Instant) {
        self.sealed = Some(now);
        self.proposed(number, transactions, now);
    }

    /// Notes how many transactions wait now.
    pub(super) fn look(&mut self, ready: usize, now: Instant) {
        if self.ready != ready {
            (self.ready, self.since) = (ready, now);
        }
    }

    /// Time until the next block may be sealed, as of the last look; `height` is that of the last committed block. A sealer that is
    /// `alone` waits for nobody's messages.
    pub(super) fn due(&self, height: u64, alone: bool, now: Instant) -> Duration {
        let left = |of: Duration, since: Instant| of.saturating_sub(now.saturating_duration_since(since));
        let seldom = self.sealed.map_or(Duration::ZERO, |sealed| left(self.min_seal, sealed));
        let Some(newest) = &self.newest else { return seldom };
        let longest = left(LONGEST, newest.seen);
        let gathering = if newest.number > height {
            longest
        } else if alone || newest.transactions < FEW {
            Duration::ZERO
        } else {
            longest.min(left(now.saturating_duration_since(newest.seen) / CALM_PART, self.since))
        };
        seldom.max(gathering)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn a_block_on_its_way_is_waited_for_but_not_for_ever() {
        let begin = Instant::now();
        let mut gather = Gather::new(ms(5), begin);
        assert_eq!(gather.due(0, false, begin), ms(0), "nothing was proposed yet");
        gather.sealed(1, 1, begin);
        assert_eq!(gather.due(0, false, begin + ms(50)), ms(150));
        assert_eq!(gather.due(0, false, begin + ms(200)), ms(0), "it hangs");
        assert_eq!(gather.due(1, false, begin + ms(3)), ms(2), "committed, but min_seal_time is not over");
        assert_eq!(gather.due(1, false, begin + ms(5)), ms(0));
        gather.proposed(2, 1, begin + ms(10));
        gather.proposed(2, 1, begin + ms(20));
        assert_eq!(gather.due(1, false, begin + ms(30)), ms(180), "seen again is not seen anew");
    }

    #[test]
    fn under_load_arrivals_are_waited_for_until_they_calm_down() {
        let begin = Instant::now();
        let mut gather = Gather::new(ms(0), begin);
        gather.proposed(1, 100, begin);
        gather.look(40, begin + ms(80));
        assert_eq!(gather.due(1, false, begin + ms(80)), ms(20));
        gather.look(60, begin + ms(96));
        assert_eq!(gather.due(1, false, begin + ms(100)), ms(21));
        gather.look(60, begin + ms(130));
        assert_eq!(gather.due(1, false, begin + ms(130)), ms(0), "nothing came for 34 ms");
        gather.look(90, begin + ms(195));
        assert_eq!(gather.due(1, false, begin + ms(195)), ms(5), "arrivals that never end are cut off");
        assert_eq!(gather.due(1, true, begin + ms(100)), ms(0), "a sealer alone");
        gather.proposed(2, FEW - 1, begin + ms(300));
        assert_eq!(gather.due(2, false, begin + ms(301)), ms(0), "no load");
    }
}
