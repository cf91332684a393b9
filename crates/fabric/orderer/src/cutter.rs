//! Block cutting: which transactions go into a block together.
//!
//! The rules are upstream's: a message larger than the preferred size stands alone, a message that would
//! make the pending batch exceed it cuts the batch first, and a full count cuts at once. Time is the
//! caller's business: when the batch timeout passes it calls [`Cutter::cut`].

use fabric_proto::orderer::BatchSize;

/// Something with a size that can be put into a block.
pub trait Item {
    /// Bytes of payload and signature, what upstream counts.
    fn size(&self) -> usize;
}

/// What happened to an ordered message.
#[derive(Debug, PartialEq, Eq)]
pub struct Cut<T> {
    /// Batches that are complete, at most two.
    pub batches: Vec<Vec<T>>,
    /// Whether messages wait for more.
    pub pending: bool,
}

/// Collects messages into batches.
#[derive(Debug)]
pub struct Cutter<T> {
    pending: Vec<T>,
    pending_bytes: usize,
}

impl<T> Default for Cutter<T> {
    fn default() -> Self {
        Self { pending: Vec::new(), pending_bytes: 0 }
    }
}

impl<T: Item> Cutter<T> {
    /// Takes the next message.
    pub fn ordered(&mut self, message: T, limits: &BatchSize) -> Cut<T> {
        let size = message.size();
        let preferred = limits.preferred_max_bytes as usize;
        let mut batches = Vec::new();
        if size > preferred {
            if !self.pending.is_empty() {
                batches.push(self.cut());
            }
            batches.push(vec![message]);
            return Cut { batches, pending: false };
        }
        if self.pending_bytes + size > preferred {
            batches.push(self.cut());
        }
        self.pending.push(message);
        self.pending_bytes += size;
        let full = self.pending.len() >= limits.max_message_count as usize;
        if full {
            batches.push(self.cut());
        }
        Cut { batches, pending: !full }
    }

    /// The waiting messages, which may be none.
    pub fn cut(&mut self) -> Vec<T> {
        self.pending_bytes = 0;
        std::mem::take(&mut self.pending)
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    impl Item for usize {
        fn size(&self) -> usize {
            *self
        }
    }

    fn limits(count: u32, preferred: u32) -> BatchSize {
        BatchSize { max_message_count: count, absolute_max_bytes: 1000, preferred_max_bytes: preferred }
    }

    #[test]
    fn the_count_cuts_at_once() {
        let mut cutter = Cutter::default();
        assert_eq!(cutter.ordered(1, &limits(2, 100)), Cut { batches: vec![], pending: true });
        assert_eq!(cutter.ordered(2, &limits(2, 100)), Cut { batches: vec![vec![1, 2]], pending: false });
        assert!(cutter.is_empty());
    }

    #[test]
    fn a_message_that_would_overflow_cuts_what_waits() {
        let mut cutter = Cutter::default();
        cutter.ordered(60, &limits(10, 100));
        assert_eq!(cutter.ordered(41, &limits(10, 100)), Cut { batches: vec![vec![60]], pending: true });
        assert_eq!(cutter.ordered(59, &limits(10, 100)), Cut { batches: vec![], pending: true });
        assert_eq!(cutter.cut(), vec![41, 59]);
    }

    #[test]
    fn a_large_message_stands_alone() {
        let mut cutter = Cutter::default();
        assert_eq!(cutter.ordered(101, &limits(10, 100)), Cut { batches: vec![vec![101]], pending: false });
        cutter.ordered(5, &limits(10, 100));
        assert_eq!(cutter.ordered(101, &limits(10, 100)), Cut { batches: vec![vec![5], vec![101]], pending: false });
    }

    #[test]
    fn a_count_of_one_after_an_overflow_gives_two_batches() {
        let mut cutter = Cutter::default();
        cutter.ordered(60, &limits(2, 100));
        assert_eq!(cutter.ordered(60, &limits(1, 100)), Cut { batches: vec![vec![60], vec![60]], pending: false });
    }

    proptest! {
        #[test]
        fn order_and_limits_hold(sizes in prop::collection::vec(0usize..150, 0..60), count in 1u32..8, preferred in 1u32..120) {
            let limits = limits(count, preferred);
            let mut cutter = Cutter::default();
            let mut out: Vec<Vec<usize>> = Vec::new();
            for size in &sizes {
                let cut = cutter.ordered(*size, &limits);
                prop_assert!(cut.batches.len() <= 2);
                prop_assert_eq!(cut.pending, !cutter.is_empty());
                out.extend(cut.batches);
            }
            out.push(cutter.cut());
            for batch in &out {
                prop_assert!(batch.len() <= count as usize);
                prop_assert!(batch.len() <= 1 || batch.iter().sum::<usize>() <= preferred as usize);
            }
            prop_assert_eq!(out.concat(), sizes);
        }
    }
}
