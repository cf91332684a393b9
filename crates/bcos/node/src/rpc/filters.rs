//! Filters that clients poll: new blocks, pending transactions, logs. Each lives until nobody has asked for a while.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use alloy_primitives::B256;
use parking_lot::Mutex;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::TryRecvError;

use super::criteria::Criteria;
use super::error::RpcError;

/// Filters at one time, over all callers.
const MOST_FILTERS: usize = 10_000;
/// Pending transactions in one answer.
const MOST_PENDING: usize = 16_384;

/// The filters of one surface.
#[derive(Debug)]
pub(crate) struct Filters {
    patience: Duration,
    filters: Mutex<HashMap<(String, u64), Filter>>,
}

#[derive(Debug)]
struct Filter {
    used: Instant,
    kind: Kind,
}

/// What a filter collects.
#[derive(Debug)]
pub(crate) enum Kind {
    /// Hashes of blocks from this number on.
    Blocks(u64),
    /// Hashes of transactions accepted into the pool.
    Pending(broadcast::Receiver<B256>),
    /// Logs of blocks from this number on.
    Logs(Box<Criteria>, u64),
}

/// What to look up for a poll.
#[derive(Debug, PartialEq)]
pub(crate) enum Changes {
    /// The hashes of these blocks.
    Blocks(std::ops::RangeInclusive<u64>),
    /// These hashes.
    Pending(Vec<B256>),
    /// The logs of these blocks.
    Logs(Box<Criteria>, std::ops::RangeInclusive<u64>),
    /// Nothing new.
    None,
}

fn not_found() -> RpcError {
    RpcError::params("filter not found")
}

impl Filters {
    /// Filters that nobody asks for are dropped after `patience`.
    pub(crate) fn new(patience: Duration) -> Self {
        Self { patience, filters: Mutex::default() }
    }

    /// Keeps a filter; the number names it.
    pub(crate) fn install(&self, group: &str, kind: Kind) -> Result<u64, RpcError> {
        let now = Instant::now();
        let mut filters = self.filters.lock();
        if filters.len() >= MOST_FILTERS {
            filters.retain(|_, filter| now.duration_since(filter.used) < self.patience);
            if filters.len() >= MOST_FILTERS {
                return Err(RpcError::internal(format!(
                    "{MOST_FILTERS} filters are in use; uninstall some, or wait until they expire"
                )));
            }
        }
        loop {
            // Unguessable, so that one caller does not take another's logs by counting.
            let id = rand::random::<u64>();
            if let std::collections::hash_map::Entry::Vacant(place) = filters.entry((group.to_owned(), id)) {
                place.insert(Filter { used: now, kind });
                return Ok(id);
            }
        }
    }

    /// Drops a filter; false when there was none.
    pub(crate) fn uninstall(&self, group: &str, id: u64) -> bool {
        let removed = self.filters.lock().remove(&(group.to_owned(), id));
        removed.is_some_and(|filter| filter.used.elapsed() < self.patience)
    }

    /// What came since the last poll, where the newest block is `head`; the filter moves on.
    pub(crate) fn changes(&self, group: &str, id: u64, head: u64) -> Result<Changes, RpcError> {
        let mut filters = self.filters.lock();
        let filter = Self::find(&mut filters, group, id, self.patience)?;
        Ok(match &mut filter.kind {
            Kind::Blocks(next) if *next <= head => {
                let range = *next..=head;
                *next = head + 1;
                Changes::Blocks(range)
            }
            Kind::Blocks(_) => Changes::None,
            Kind::Pending(receiver) => Changes::Pending(drain(receiver)),
            Kind::Logs(criteria, next) => {
                let from = match criteria.from {
                    super::criteria::Bound::Latest => *next,
                    super::criteria::Bound::Number(from) => from.max(*next),
                };
                let to = criteria.to.resolve(head).min(head);
                if to < from {
                    return Ok(Changes::None);
                }
                *next = to + 1;
                Changes::Logs(criteria.clone(), from..=to)
            }
        })
    }

    /// The whole criteria of a log filter.
    pub(crate) fn criteria(&self, group: &str, id: u64) -> Result<Criteria, RpcError> {
        let mut filters = self.filters.lock();
        match &Self::find(&mut filters, group, id, self.patience)?.kind {
            Kind::Logs(criteria, _) => Ok((**criteria).clone()),
            _ => Err(not_found()),
        }
    }

    fn find<'a>(
        filters: &'a mut HashMap<(String, u64), Filter>,
        group: &str,
        id: u64,
        patience: Duration,
    ) -> Result<&'a mut Filter, RpcError> {
        let now = Instant::now();
        let key = (group.to_owned(), id);
        if filters.get(&key).is_some_and(|filter| now.duration_since(filter.used) >= patience) {
            filters.remove(&key);
        }
        let filter = filters.get_mut(&key).ok_or_else(not_found)?;
        filter.used = now;
        Ok(filter)
    }

    /// Drops what expired; called from time to time, so that forgotten filters cost nothing.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        self.filters.lock().retain(|_, filter| now.duration_since(filter.used) < self.patience);
    }
}

/// Takes what is there; what a slow poller lost stays lost.
fn drain(receiver: &mut broadcast::Receiver<B256>) -> Vec<B256> {
    let mut hashes = Vec::new();
    while hashes.len() < MOST_PENDING {
        match receiver.try_recv() {
            Ok(hash) => hashes.push(hash),
            Err(TryRecvError::Lagged(_)) => {}
            Err(TryRecvError::Empty | TryRecvError::Closed) => break,
        }
    }
    hashes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::envelope::Manner;
    use serde_json::json;

    fn filters() -> Filters {
        Filters::new(Duration::from_mins(1))
    }

    #[test]
    fn a_block_filter_tells_each_block_once() {
        let filters = filters();
        let id = filters.install("g", Kind::Blocks(5)).unwrap();
        assert_eq!(filters.changes("g", id, 4).unwrap(), Changes::None);
        assert_eq!(filters.changes("g", id, 7).unwrap(), Changes::Blocks(5..=7));
        assert_eq!(filters.changes("g", id, 7).unwrap(), Changes::None);
        assert!(filters.changes("other", id, 7).is_err());
        assert!(filters.uninstall("g", id));
        assert!(!filters.uninstall("g", id));
        assert_eq!(filters.changes("g", id, 9).unwrap_err().message, "filter not found");
    }

    #[test]
    fn a_log_filter_stays_inside_its_range() {
        let filters = filters();
        let criteria = |from: &str, to: &str| {
            Box::new(Criteria::parse(&json!({"fromBlock": from, "toBlock": to}), Manner::Ethereum).unwrap())
        };
        let range = |id, head| match filters.changes("g", id, head).unwrap() {
            Changes::Logs(_, range) => Some(range),
            _ => None,
        };
        let id = filters.install("g", Kind::Logs(criteria("0x6", "0x8"), 4)).unwrap();
        assert_eq!(range(id, 5), None);
        assert_eq!(range(id, 7), Some(6..=7));
        assert_eq!(range(id, 20), Some(8..=8));
        assert_eq!(range(id, 21), None);
        let id = filters.install("g", Kind::Logs(criteria("latest", "latest"), 4)).unwrap();
        assert_eq!(range(id, 9), Some(4..=9));
        assert_eq!(filters.criteria("g", id).unwrap().from, super::super::criteria::Bound::Latest);
    }

    #[test]
    fn pending_hashes_are_told_once_and_filters_expire() {
        let filters = Filters::new(Duration::from_millis(20));
        let (sender, receiver) = broadcast::channel(8);
        let id = filters.install("g", Kind::Pending(receiver)).unwrap();
        sender.send(B256::repeat_byte(1)).unwrap();
        assert_eq!(filters.changes("g", id, 0).unwrap(), Changes::Pending(vec![B256::repeat_byte(1)]));
        assert_eq!(filters.changes("g", id, 0).unwrap(), Changes::Pending(vec![]));
        std::thread::sleep(Duration::from_millis(30));
        assert!(filters.changes("g", id, 0).is_err());
        let id = filters.install("g", Kind::Blocks(1)).unwrap();
        std::thread::sleep(Duration::from_millis(30));
        filters.sweep();
        assert!(!filters.uninstall("g", id));
    }
}
