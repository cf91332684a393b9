//! The records that keep a restarted node from contradicting itself.

use std::path::Path;

use bcos_consensus::RecordKey;
use bytes::Bytes;
use konsort_store::{Batch, FjallStore, Space, Store, StoreError};

const RECORDS: Space = Space(0);

/// Why votes cannot be kept.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot keep the votes of consensus in {path}: {source}; the group waits and tries again: make room on the disk or repair it"
)]
pub(crate) struct VotesError {
    path: String,
    source: StoreError,
}

/// A small store of its own, so that a vote never waits behind a block.
#[derive(Debug)]
pub(crate) struct Votes {
    store: FjallStore,
    /// Not durable yet; the last of several for one key counts.
    noted: Vec<(RecordKey, Option<Bytes>)>,
}

impl Votes {
    pub(crate) fn open(folder: &Path) -> Result<Self, VotesError> {
        let store = FjallStore::open(folder, &["votes"])
            .map_err(|source| VotesError { path: folder.display().to_string(), source })?;
        Ok(Self { store, noted: Vec::new() })
    }

    fn failed(&self, source: StoreError) -> VotesError {
        VotesError { path: self.store.path().display().to_string(), source }
    }

    /// Everything written before.
    pub(crate) fn records(&self) -> Result<Vec<(RecordKey, Bytes)>, VotesError> {
        let mut records = Vec::new();
        for entry in self.store.snapshot().range(RECORDS, &[], None) {
            let (key, value) = entry.map_err(|error| self.failed(error))?;
            if let Some(key) = RecordKey::from_bytes(&key) {
                records.push((key, value));
            }
        }
        Ok(records)
    }

    /// Notes a record; [`Votes::flush`] makes it durable.
    pub(crate) fn put(&mut self, key: RecordKey, value: Option<Bytes>) {
        self.noted.push((key, value));
    }

    /// Writes everything noted, and makes it durable unless nobody else depends on it; false when there was nothing. After an
    /// error it can be tried again.
    pub(crate) fn flush(&mut self, durable: bool) -> Result<bool, VotesError> {
        if self.noted.is_empty() {
            return Ok(false);
        }
        let mut batch = Batch::with_capacity(self.noted.len());
        for (key, value) in &self.noted {
            match value {
                Some(value) => batch.put(RECORDS, key.to_bytes(), value.to_vec()),
                None => batch.delete(RECORDS, key.to_bytes()),
            }
        }
        let written = self.store.write(batch).and_then(|()| if durable { self.store.persist() } else { Ok(()) });
        written.map_err(|error| self.failed(error))?;
        self.noted.clear();
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let mut votes = Votes::open(folder.path()).unwrap();
        assert!(!votes.flush(true).unwrap());
        votes.put(RecordKey::Voted(3), Some(Bytes::from_static(b"x")));
        votes.put(RecordKey::View, Some(Bytes::from_static(b"1")));
        votes.put(RecordKey::Voted(2), None);
        assert!(votes.flush(true).unwrap());
        drop(votes);
        let records = Votes::open(folder.path()).unwrap().records().unwrap();
        assert_eq!(
            records,
            [(RecordKey::View, Bytes::from_static(b"1")), (RecordKey::Voted(3), Bytes::from_static(b"x"))]
        );
    }
}
