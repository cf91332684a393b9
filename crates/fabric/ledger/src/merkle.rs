//! Results of a range query as they stand in a read-write set: raw reads, or a Merkle summary once there are too many.

use bytes::Bytes;
use fabric_proto::kvrwset::{KvRead, QueryReads, QueryReadsMerkleSummary};
use konsort_crypto::hash::{sha256, sha256_parts};
use prost::Message as _;

/// Results up to this number stand raw; also the degree of the tree built from more.
pub(crate) const MAX_DEGREE: u32 = 50;

/// Collects results one by one and gives either form at the end.
#[derive(Debug, Clone)]
pub(crate) struct RangeResults {
    max_degree: u32,
    pending: Vec<KvRead>,
    /// Hashes of each level, leaves first.
    levels: Vec<Vec<Bytes>>,
}

/// What the collected results become.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Summary {
    /// No result at all: the message leaves the field out.
    Empty,
    /// Few results.
    Raw(Vec<KvRead>),
    /// Many results.
    Merkle(QueryReadsMerkleSummary),
}

impl RangeResults {
    /// A collector of this degree; upstream refuses degrees below 2, and so does this.
    pub(crate) fn new(max_degree: u32) -> Option<Self> {
        (max_degree >= 2).then(|| Self { max_degree, pending: Vec::new(), levels: vec![Vec::new()] })
    }

    /// The collector of a simulation.
    pub(crate) fn of_simulation() -> Self {
        Self { max_degree: MAX_DEGREE, pending: Vec::new(), levels: vec![Vec::new()] }
    }

    pub(crate) fn add(&mut self, read: KvRead) {
        self.pending.push(read);
        if self.pending.len() > self.max_degree as usize {
            self.hash_pending();
        }
    }

    fn hash_pending(&mut self) {
        let reads = QueryReads { kv_reads: std::mem::take(&mut self.pending) };
        let mut level = 0;
        let mut hash = Bytes::copy_from_slice(&sha256(&reads.encode_to_vec()));
        loop {
            if level == self.levels.len() {
                self.levels.push(Vec::new());
            }
            self.levels[level].push(hash);
            if self.levels[level].len() <= self.max_degree as usize {
                return;
            }
            hash = combined(&self.levels[level]);
            self.levels[level].clear();
            level += 1;
        }
    }

    /// Highest level so far, counted from 1, and its hashes.
    pub(crate) fn top(&self) -> (u32, &[Bytes]) {
        (self.levels.len() as u32, self.levels.last().map_or(&[], Vec::as_slice))
    }

    /// Ends the collection.
    pub(crate) fn finish(mut self) -> Summary {
        if self.levels.len() == 1 && self.levels[0].is_empty() {
            return if self.pending.is_empty() { Summary::Empty } else { Summary::Raw(self.pending) };
        }
        if !self.pending.is_empty() {
            self.hash_pending();
        }
        for level in 0..self.levels.len() - 1 {
            let hashes = std::mem::take(&mut self.levels[level]);
            match hashes.as_slice() {
                [] => {}
                // A single left-over moves up as it is.
                [single] => self.levels[level + 1].push(single.clone()),
                several => self.levels[level + 1].push(combined(several)),
            }
        }
        let mut max_level = self.levels.len() as u32;
        let mut top = self.levels.pop().unwrap_or_default();
        if top.len() > self.max_degree as usize {
            top = vec![combined(&top)];
            max_level += 1;
        }
        Summary::Merkle(QueryReadsMerkleSummary { max_degree: self.max_degree, max_level, max_level_hashes: top })
    }
}

fn combined(hashes: &[Bytes]) -> Bytes {
    let parts: Vec<&[u8]> = hashes.iter().map(AsRef::as_ref).collect();
    Bytes::copy_from_slice(&sha256_parts(&parts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Height;

    fn read(number: usize) -> KvRead {
        KvRead { key: format!("key{number:05}"), version: Some(Height::new(1, number as u64).to_proto()) }
    }

    fn summary(results: usize, degree: u32) -> Summary {
        let mut collector = RangeResults::new(degree).unwrap();
        (0..results).for_each(|number| collector.add(read(number)));
        collector.finish()
    }

    #[test]
    fn few_results_stay_raw_and_one_more_is_hashed() {
        assert_eq!(summary(0, 50), Summary::Empty);
        assert_eq!(summary(50, 50), Summary::Raw((0..50).map(read).collect()));
        let Summary::Merkle(merkle) = summary(51, 50) else { panic!("not hashed") };
        let leaf = sha256(&QueryReads { kv_reads: (0..51).map(read).collect() }.encode_to_vec());
        assert_eq!((merkle.max_level, merkle.max_level_hashes), (1, vec![Bytes::copy_from_slice(&leaf)]));
    }

    #[test]
    fn left_over_leaves_move_up() {
        // Degree 2: groups of three reads; three leaves fold into one node of level 2, the fourth leaf moves up alone.
        let Summary::Merkle(merkle) = summary(10, 2) else { panic!("not hashed") };
        let leaf = |from: usize, to: usize| {
            Bytes::copy_from_slice(&sha256(&QueryReads { kv_reads: (from..to).map(read).collect() }.encode_to_vec()))
        };
        let node = combined(&[leaf(0, 3), leaf(3, 6), leaf(6, 9)]);
        assert_eq!((merkle.max_level, merkle.max_level_hashes), (2, vec![node, leaf(9, 10)]));
    }

    #[test]
    fn a_full_top_level_is_folded_once_more() {
        let Summary::Merkle(merkle) = summary(8 + 18, 2) else { panic!("not hashed") };
        assert!(merkle.max_level_hashes.len() <= 2);
        assert!(RangeResults::new(1).is_none());
    }
}
