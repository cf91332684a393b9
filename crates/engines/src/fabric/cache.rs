//! What is kept between calls: open connections, keys and certificates that were read, what a running node cannot change.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use fabric_channel::msp::SigningIdentity;
use fabric_client::{Endpoint, ParticipationClient};
use tonic::transport::Channel;

use super::connect::refusal;
use super::layout::io;
use crate::EngineError;
use crate::spec::{NetworkSpec, NodeSpec};

/// Entries that are kept of each kind; beyond it all are dropped and made again.
const MOST: usize = 1024;

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Values made of a folder's files, for as long as the folder does not change.
#[derive(Debug)]
pub(super) struct FolderCache<T>(Mutex<HashMap<PathBuf, (SystemTime, T)>>);

impl<T> Default for FolderCache<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> FolderCache<T> {
    pub(super) fn get(&self, folder: &Path, make: impl FnOnce() -> Result<T, EngineError>) -> Result<T, EngineError> {
        let changed = std::fs::metadata(folder).and_then(|found| found.modified()).map_err(io("read", folder))?;
        if let Some((at, value)) = locked(&self.0).get(folder)
            && *at == changed
        {
            return Ok(value.clone());
        }
        let value = make()?;
        let mut known = locked(&self.0);
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(folder.to_path_buf(), (changed, value.clone()));
        Ok(value)
    }
}

/// What a node cannot change while it runs.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    /// The version it reports.
    pub(super) version: Option<String>,
    /// When its first certificate ends, seconds since 1970.
    pub(super) not_after: Option<i64>,
}

/// A node of one of the networks, by the ids of both: hosts of different networks have the same names.
type Key = (String, String);

fn key(spec: &NetworkSpec, node: &NodeSpec) -> Key {
    (spec.id.clone(), node.id.clone())
}

/// Shared by everything this engine does.
#[derive(Debug, Default)]
pub(super) struct Connections {
    open: Mutex<HashMap<Key, (String, Channel)>>,
    facts: Mutex<HashMap<Key, Facts>>,
    /// Keys and certificates of those who sign, by the folder of the certificate.
    pub(super) signers: FolderCache<Arc<SigningIdentity>>,
    /// Certificates of authorities, by their folder.
    pub(super) roots: FolderCache<Vec<u8>>,
    /// Clients of orderers' administration, by the folder of the orderer's certificate.
    pub(super) participation: FolderCache<ParticipationClient>,
}

impl Connections {
    /// The connection to a node, dialled when there is none to this address.
    pub(super) async fn open(
        &self,
        spec: &NetworkSpec,
        node: &NodeSpec,
        endpoint: &Endpoint,
    ) -> Result<Channel, EngineError> {
        let key = key(spec, node);
        if let Some((address, known)) = locked(&self.open).get(&key)
            && address == endpoint.address()
        {
            return Ok(known.clone());
        }
        let channel = endpoint.connect().await.map_err(|error| refusal(&node.id, error))?;
        let mut open = locked(&self.open);
        if open.len() >= MOST {
            open.clear();
        }
        open.insert(key, (endpoint.address().to_owned(), channel.clone()));
        Ok(channel)
    }

    /// Drops the connection to a node that does not answer or whose certificates may have changed, and what was known of it.
    pub(super) fn forget(&self, spec: &NetworkSpec, node: &NodeSpec) {
        let key = key(spec, node);
        locked(&self.open).remove(&key);
        locked(&self.facts).remove(&key);
    }

    pub(super) fn facts(&self, spec: &NetworkSpec, node: &NodeSpec) -> Facts {
        locked(&self.facts).get(&key(spec, node)).cloned().unwrap_or_default()
    }

    pub(super) fn learn(&self, spec: &NetworkSpec, node: &NodeSpec, learned: Facts) {
        let mut facts = locked(&self.facts);
        if facts.len() >= MOST {
            facts.clear();
        }
        facts.insert(key(spec, node), learned);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_folder_is_read_again_and_a_removed_one_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("signcerts");
        std::fs::create_dir(&place).unwrap();
        let cache = FolderCache::default();
        assert_eq!(cache.get(&place, || Ok(1)).unwrap(), 1);
        assert_eq!(cache.get(&place, || Ok(2)).unwrap(), 1);
        let later = SystemTime::now() + std::time::Duration::from_secs(5);
        std::fs::File::open(&place).unwrap().set_modified(later).unwrap();
        assert_eq!(cache.get(&place, || Ok(3)).unwrap(), 3);
        std::fs::remove_dir(&place).unwrap();
        assert!(cache.get(&place, || Ok(4)).is_err());
    }
}
