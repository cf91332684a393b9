//! Slows down who guesses passwords.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Failures that are free.
const FREE: u32 = 5;
/// Longest wait.
const LONGEST: Duration = Duration::from_mins(15);
/// Most names and addresses remembered.
const MOST: usize = 50_000;

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    until: Instant,
    last: Instant,
}

/// Counts failures by key (a user name, an address). The fifth makes wait 5 s, each further one twice as long, to at most 15 minutes; an
/// hour without failures, or a success, forgets them.
#[derive(Debug, Default)]
pub struct Limiter(Mutex<HashMap<String, Failures>>);

impl Limiter {
    /// How long every one of these keys has to wait still; `None` when an attempt may be made.
    pub fn wait(&self, keys: &[&str], now: Instant) -> Option<Duration> {
        let map = self.0.lock();
        keys.iter()
            .filter_map(|key| map.get(*key))
            .map(|failures| failures.until.saturating_duration_since(now))
            .max()
            .filter(|wait| !wait.is_zero())
    }

    /// Notes an attempt before it is checked, so that attempts at the same time count as well.
    pub fn attempt(&self, keys: &[&str], now: Instant) {
        let mut map = self.0.lock();
        if map.len() >= MOST {
            map.retain(|_, failures| now.saturating_duration_since(failures.last) < Duration::from_hours(1));
        }
        if map.len() >= MOST {
            // Under an attack from very many addresses the oldest knowledge goes.
            map.retain(|_, failures| failures.until > now);
        }
        for key in keys {
            let entry = map.entry((*key).to_owned()).or_insert(Failures { count: 0, until: now, last: now });
            if now.saturating_duration_since(entry.last) > Duration::from_hours(1) {
                entry.count = 0;
            }
            entry.count = entry.count.saturating_add(1);
            entry.last = now;
            if entry.count >= FREE {
                let doubled = Duration::from_secs(5 << (entry.count - FREE).min(10));
                entry.until = now + doubled.min(LONGEST);
            }
        }
    }

    /// Forgets the failures of a key.
    pub fn succeed(&self, keys: &[&str]) {
        let mut map = self.0.lock();
        for key in keys {
            map.remove(*key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_a_success_ends_them() {
        let limiter = Limiter::default();
        let start = Instant::now();
        for _ in 0..FREE - 1 {
            assert_eq!(limiter.wait(&["alice"], start), None);
            limiter.attempt(&["alice"], start);
        }
        assert_eq!(limiter.wait(&["alice"], start), None);
        limiter.attempt(&["alice"], start);
        assert_eq!(limiter.wait(&["alice", "1.2.3.4"], start), Some(Duration::from_secs(5)));
        limiter.attempt(&["alice"], start + Duration::from_secs(6));
        assert_eq!(limiter.wait(&["alice"], start + Duration::from_secs(6)), Some(Duration::from_secs(10)));
        for _ in 0..40 {
            limiter.attempt(&["alice"], start + Duration::from_secs(10));
        }
        assert_eq!(limiter.wait(&["alice"], start + Duration::from_secs(10)), Some(LONGEST));
        assert_eq!(limiter.wait(&["bob"], start), None);
        limiter.succeed(&["alice"]);
        assert_eq!(limiter.wait(&["alice"], start), None);
    }
}
