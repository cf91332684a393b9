//! The lifecycle's key-value views over a transaction's simulator.

use bytes::Bytes;
use fabric_ledger::Simulator;
use fabric_validation::lifecycle_state::{
    HashedState, LIFECYCLE_NAMESPACE, RangeState, ReadState, StateError, WriteState,
};

use crate::scc::{PrivateReader, PrivateValues};

/// The public namespace.
pub(super) struct PublicState<'a> {
    pub(super) simulator: &'a Simulator,
}

impl ReadState for PublicState<'_> {
    fn get_state(&self, key: &str) -> Result<Option<Bytes>, StateError> {
        self.simulator.get_state(LIFECYCLE_NAMESPACE, key).map_err(StateError::new)
    }
}

impl WriteState for PublicState<'_> {
    fn put_state(&self, key: &str, value: Bytes) -> Result<(), StateError> {
        self.simulator.set_state(LIFECYCLE_NAMESPACE, key, value).map_err(StateError::new)
    }

    fn delete_state(&self, key: &str) -> Result<(), StateError> {
        self.simulator.delete_state(LIFECYCLE_NAMESPACE, key).map_err(StateError::new)
    }
}

impl RangeState for PublicState<'_> {
    fn get_state_range(&self, start: &str, end: &str) -> Result<Vec<(String, Bytes)>, StateError> {
        let mut rows = self.simulator.range(LIFECYCLE_NAMESPACE, start, end).map_err(StateError::new)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next_row().map_err(StateError::new)? {
            found.push((row.key, row.value));
        }
        Ok(found)
    }
}

/// The hashes of any organisation's implicit collection.
pub(super) struct CollectionHashes<'a> {
    pub(super) simulator: &'a Simulator,
    pub(super) collection: String,
}

impl HashedState for CollectionHashes<'_> {
    fn get_state_hash(&self, key: &str) -> Result<Option<Bytes>, StateError> {
        self.simulator.get_private_data_hash(LIFECYCLE_NAMESPACE, &self.collection, key).map_err(StateError::new)
    }
}

/// The clear text of this organisation's implicit collection. Reads are recorded as reads of the hash, which is what a
/// private read leaves in the public part.
pub(super) struct OrgState<'a> {
    pub(super) simulator: &'a Simulator,
    pub(super) values: &'a PrivateValues,
    pub(super) channel: &'a str,
    pub(super) collection: String,
}

impl OrgState<'_> {
    fn reader(&self) -> PrivateReader<'_> {
        PrivateReader::new(self.values, self.channel, &self.collection, &**self.simulator.state())
    }
}

impl ReadState for OrgState<'_> {
    fn get_state(&self, key: &str) -> Result<Option<Bytes>, StateError> {
        let hash = self
            .simulator
            .get_private_data_hash(LIFECYCLE_NAMESPACE, &self.collection, key)
            .map_err(StateError::new)?;
        hash.map(|hash| self.reader().with_hash(key, &hash)).transpose()
    }
}

impl WriteState for OrgState<'_> {
    fn put_state(&self, key: &str, value: Bytes) -> Result<(), StateError> {
        self.simulator.set_private_data(LIFECYCLE_NAMESPACE, &self.collection, key, value).map_err(StateError::new)
    }

    fn delete_state(&self, key: &str) -> Result<(), StateError> {
        self.simulator.delete_private_data(LIFECYCLE_NAMESPACE, &self.collection, key).map_err(StateError::new)
    }
}

impl RangeState for OrgState<'_> {
    fn get_state_range(&self, start: &str, end: &str) -> Result<Vec<(String, Bytes)>, StateError> {
        self.reader().get_state_range(start, end)
    }
}
