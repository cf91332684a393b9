//! The doors through which time and randomness enter.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where a node reads the time of day.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Nanoseconds since the Unix epoch.
    fn unix_nanos(&self) -> u64;

    /// Whole seconds since the Unix epoch, the unit of certificate validity.
    fn unix_seconds(&self) -> i64 {
        (self.unix_nanos() / 1_000_000_000) as i64
    }

    /// The same instant as the standard library's type.
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(self.unix_nanos())
    }
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn unix_nanos(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
    }
}

/// A clock that moves only when told, for tests and simulations.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// Starts at the given nanoseconds since the Unix epoch.
    pub fn at(unix_nanos: u64) -> Self {
        Self(AtomicU64::new(unix_nanos))
    }

    /// Moves forward.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_nanos() as u64, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn unix_nanos(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// Where a node takes random bytes from.
pub trait Random: Send + Sync + std::fmt::Debug {
    /// Overwrites the buffer.
    fn fill(&self, buffer: &mut [u8]);

    /// A fixed number of random bytes.
    fn u64(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}

/// The cryptographic generator; fit for nonces and keys.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsRandom;

impl Random for OsRandom {
    fn fill(&self, buffer: &mut [u8]) {
        let filled = crate::tls::provider().secure_random.fill(buffer);
        // The generator fails only when the operating system has none; going on with a zeroed nonce would be worse.
        assert!(filled.is_ok(), "the operating system gives no random bytes");
    }
}

/// A repeatable sequence (splitmix64) for simulations; never for secrets.
#[derive(Debug)]
pub struct SeededRandom(AtomicU64);

impl SeededRandom {
    /// The same seed gives the same bytes.
    pub fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }
}

impl Random for SeededRandom {
    fn fill(&self, buffer: &mut [u8]) {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        for chunk in buffer.chunks_mut(8) {
            let mut z = self.0.fetch_add(STEP, Ordering::SeqCst).wrapping_add(STEP);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^= z >> 31;
            chunk.copy_from_slice(&z.to_le_bytes()[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeded_randomness_repeats_and_differs_by_seed() {
        let bytes = |seed| {
            let mut buffer = [0; 20];
            SeededRandom::new(seed).fill(&mut buffer);
            buffer
        };
        assert_eq!(bytes(7), bytes(7));
        assert_ne!(bytes(7), bytes(8));
    }

    #[test]
    fn manual_clock_moves_only_when_told() {
        let clock = ManualClock::at(5_000_000_000);
        assert_eq!(clock.unix_seconds(), 5);
        clock.advance(Duration::from_secs(2));
        assert_eq!(clock.unix_nanos(), 7_000_000_000);
    }
}
