//! Signatures that need no verification, because this node made them itself.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

use konsort_crypto::hash::sha256_parts;
use parking_lot::Mutex;

/// Remembers the endorsements that this node has signed, by their bytes, so that they are recognised when they come back in
/// a block. Bounded: the oldest half is forgotten when it is full. Shared between the endorser and the pipeline.
#[derive(Debug)]
pub struct KnownSignatures {
    generations: Mutex<Generations>,
    used: AtomicBool,
    half: usize,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashSet<[u8; 32]>,
    old: HashSet<[u8; 32]>,
}

impl KnownSignatures {
    /// Room for about `capacity` signatures (32 bytes each).
    pub fn new(capacity: usize) -> Self {
        Self { generations: Mutex::default(), used: AtomicBool::new(false), half: (capacity / 2).max(1) }
    }

    /// Notes an endorsement of `response_payload` by `endorser` that this node has just signed.
    pub fn remember(&self, response_payload: &[u8], endorser: &[u8], signature: &[u8]) {
        let digest = digest(response_payload, endorser, signature);
        let mut generations = self.generations.lock();
        if generations.young.len() >= self.half {
            generations.old = std::mem::take(&mut generations.young);
        }
        generations.young.insert(digest);
        self.used.store(true, Ordering::Release);
    }

    /// Whether exactly this endorsement was remembered.
    pub fn contains(&self, response_payload: &[u8], endorser: &[u8], signature: &[u8]) -> bool {
        if !self.used.load(Ordering::Acquire) {
            return false;
        }
        let digest = digest(response_payload, endorser, signature);
        let generations = self.generations.lock();
        generations.young.contains(&digest) || generations.old.contains(&digest)
    }
}

impl Default for KnownSignatures {
    fn default() -> Self {
        Self::new(65_536)
    }
}

/// Lengths keep the three parts apart.
fn digest(response_payload: &[u8], endorser: &[u8], signature: &[u8]) -> [u8; 32] {
    let lengths = [response_payload.len(), endorser.len()].map(|length| (length as u64).to_be_bytes()).concat();
    sha256_parts(&[&lengths, response_payload, endorser, signature])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_bytes_are_known_and_old_ones_are_forgotten() {
        let known = KnownSignatures::new(4);
        assert!(!known.contains(b"p", b"e", b"s"));
        known.remember(b"p", b"e", b"s");
        assert!(known.contains(b"p", b"e", b"s"));
        assert!(!known.contains(b"pe", b"", b"s"));
        assert!(!known.contains(b"p", b"e", b"t"));
        for number in 0_u8..4 {
            known.remember(&[number], b"e", b"s");
        }
        assert!(!known.contains(b"p", b"e", b"s"));
        assert!(known.contains(&[3], b"e", b"s"));
    }
}
