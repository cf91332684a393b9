//! Which transactions are likely to conflict, learnt from what conflicted before.

use std::hash::{BuildHasher as _, RandomState};

use alloy_primitives::map::HashMap;
use parking_lot::Mutex;

/// Scores kept at most; when full, all are forgotten.
const SCORES: usize = 1 << 16;
/// Observations before a trait is believed.
const BELIEVE_AFTER: u16 = 8;
/// Observations after which old ones count half.
const HALVE_AT: u16 = 512;

/// What a transaction shares with others that touch the same cells: hashes, 0 for none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traits(pub [u64; 5]);

#[derive(Debug, Clone, Copy, Default)]
struct Score {
    dependent: u16,
    total: u16,
}

impl Score {
    fn is_hot(self) -> bool {
        self.total >= BELIEVE_AFTER && self.dependent * 2 > self.total
    }
}

/// Scores of traits. Wrong guesses cost time, never results, so nodes need not agree on them.
#[derive(Debug, Default)]
pub struct Lanes {
    hasher: RandomState,
    scores: Mutex<HashMap<u64, Score>>,
}

impl Lanes {
    /// The traits of a call: who calls, which contract, which method, and with which first two arguments.
    pub fn call(&self, sender: &[u8], to: &[u8], input: &[u8]) -> Traits {
        let selector = input.get(..4).unwrap_or_default();
        let word = |at: usize| input.get(4 + at * 32..36 + at * 32);
        let argument = |at: usize| word(at).map_or(0, |word| self.hasher.hash_one((2u8, to, word)));
        Traits([
            self.hasher.hash_one((0u8, sender)),
            if to.is_empty() { 0 } else { self.hasher.hash_one((1u8, to, selector)) },
            argument(0),
            argument(1),
            // A plain transfer's only argument is its target.
            if input.is_empty() && !to.is_empty() { self.hasher.hash_one((3u8, to)) } else { 0 },
        ])
    }

    /// True for transactions that would most likely be speculated in vain.
    pub(super) fn predict(&self, traits: &[Traits]) -> Vec<bool> {
        let scores = self.scores.lock();
        if scores.is_empty() {
            return vec![false; traits.len()];
        }
        let hot = |key: &u64| scores.get(key).is_some_and(|score| score.is_hot());
        traits.iter().map(|traits| traits.0.iter().any(hot)).collect()
    }

    /// Takes in which transactions of a block depended on near ones.
    pub(super) fn learn(&self, traits: &[Traits], dependent: &[bool]) {
        let mut scores = self.scores.lock();
        // Blocks without any dependency leave nothing to remember.
        if scores.is_empty() && !dependent.contains(&true) {
            return;
        }
        if scores.len() > SCORES {
            scores.clear();
        }
        for (traits, dependent) in traits.iter().zip(dependent) {
            for key in traits.0.iter().filter(|key| **key != 0) {
                let score = scores.entry(*key).or_default();
                score.total += 1;
                score.dependent += u16::from(*dependent);
                if score.total >= HALVE_AT {
                    score.total /= 2;
                    score.dependent /= 2;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hot_recipient_is_learnt_and_others_of_the_same_contract_stay_free() {
        let lanes = Lanes::default();
        let transfer = |from: u8, to: u8| {
            let mut input = vec![0xa9, 5, 9, 0xcb];
            input.extend([to; 32]);
            input.extend([1; 32]);
            lanes.call(&[from; 20], &[7; 20], &input)
        };
        let block: Vec<_> = (0..100).map(|i| transfer(i, if i % 2 == 0 { 200 } else { 100 + i / 2 })).collect();
        let dependent: Vec<_> = (0..100).map(|i| i % 2 == 0).collect();
        assert!(!lanes.predict(&block).contains(&true));
        lanes.learn(&block, &dependent);
        lanes.learn(&block, &dependent);
        assert!(lanes.predict(&[transfer(250, 200)])[0]);
        assert!(!lanes.predict(&[transfer(250, 251)])[0]);
        for _ in 0..40 {
            lanes.learn(&block, &[false; 100]);
        }
        assert!(!lanes.predict(&[transfer(250, 200)])[0], "a trait that no longer conflicts cools down");
    }
}
