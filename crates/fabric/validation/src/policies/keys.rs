//! Key-level policies, and the changes to them inside one block.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use fabric_channel::policy::{Policy, PolicyManager};
use fabric_ledger::rwset::TxRwset;
use fabric_ledger::{LedgerError, StateReader, decode_metadata};
use fabric_proto::common::SignaturePolicyEnvelope;
use parking_lot::Mutex;

use super::open_endorser;
use crate::decode::DecodedTx;

/// The metadata entry that holds a key's own endorsement policy.
pub(crate) const VALIDATION_PARAMETER: &str = "VALIDATION_PARAMETER";

/// A key that a transaction writes: its public name, or the hash of a private one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key<'a> {
    pub(super) namespace: &'a str,
    pub(super) collection: Option<&'a str>,
    pub(super) name: &'a [u8],
}

/// The keys that a transaction writes in a namespace, in the order in which their policies are asked: public values, public
/// metadata, private values, private metadata.
pub(super) fn touched<'a>(rwset: &'a TxRwset, namespace: &'a str) -> impl Iterator<Item = Key<'a>> {
    rwset.namespaces.iter().filter(move |ns| ns.namespace == namespace).flat_map(move |ns| {
        let public = |key: &'a str| Key { namespace, collection: None, name: key.as_bytes() };
        let values = ns.public.writes.iter().map(move |write| public(&write.key));
        let metadata = ns.public.metadata_writes.iter().map(move |write| public(&write.key));
        let private_values = ns.collections.iter().flat_map(move |collection| {
            let rows = &collection.hashed;
            let collection = named(&collection.name);
            rows.hashed_writes.iter().map(move |write| Key { namespace, collection, name: &write.key_hash })
        });
        let private_metadata = ns.collections.iter().flat_map(move |collection| {
            let rows = &collection.hashed;
            let collection = named(&collection.name);
            rows.metadata_writes.iter().map(move |write| Key { namespace, collection, name: &write.key_hash })
        });
        values.chain(metadata).chain(private_values).chain(private_metadata)
    })
}

/// To the original a collection without a name is the public state, and the key's hash a public key.
fn named(collection: &str) -> Option<&str> {
    (!collection.is_empty()).then_some(collection)
}

type OwnedKey = (String, Option<String>, Vec<u8>);

/// Which transactions of the block write metadata, and so may change the policies of which keys.
///
/// Only transactions that reach the policy stage count. The original also waits for those that were refused before, and for
/// ever; such a block has no verdict there.
#[derive(Debug, Default)]
pub(super) struct Dependencies {
    changes: HashMap<OwnedKey, Vec<usize>>,
    changers: std::collections::HashSet<usize>,
}

impl Dependencies {
    pub(super) fn of(transactions: &[DecodedTx]) -> Self {
        let mut found = Self::default();
        for (index, tx) in transactions.iter().enumerate() {
            let Some(endorser) = open_endorser(tx) else { continue };
            for ns in &endorser.rwset.namespaces {
                let mut note = |collection: Option<&str>, key: &[u8]| {
                    let key = (ns.namespace.clone(), collection.map(str::to_owned), key.to_vec());
                    found.changes.entry(key).or_default().push(index);
                    found.changers.insert(index);
                };
                for write in &ns.public.metadata_writes {
                    note(None, write.key.as_bytes());
                }
                for collection in &ns.collections {
                    for write in &collection.hashed.metadata_writes {
                        note(named(&collection.name), &write.key_hash);
                    }
                }
            }
        }
        found
    }

    /// Whether this transaction changes the metadata of any key.
    pub(super) fn has_changes(&self, index: usize) -> bool {
        self.changers.contains(&index)
    }

    /// Whether the verdict on this transaction depends on that of an earlier one.
    pub(super) fn bind(&self, index: usize, tx: &DecodedTx) -> bool {
        if self.changes.is_empty() {
            return false;
        }
        let Some(endorser) = tx.endorser() else { return false };
        endorser
            .rwset
            .namespaces
            .iter()
            .any(|ns| touched(&endorser.rwset, &ns.namespace).any(|key| self.changed_before(index, &key, |_| true)))
    }

    /// Whether an earlier transaction that `counts` changes the metadata of `key`.
    pub(super) fn changed_before(&self, index: usize, key: &Key<'_>, counts: impl Fn(usize) -> bool) -> bool {
        if self.changes.is_empty() {
            return false;
        }
        let key = (key.namespace.to_owned(), key.collection.map(str::to_owned), key.name.to_vec());
        self.changes
            .get(&key)
            .is_some_and(|changers| changers.iter().any(|earlier| *earlier < index && counts(*earlier)))
    }
}

/// What a key says about its own endorsement.
#[derive(Debug, Clone)]
pub(super) enum KeyPolicy {
    /// Nothing: the collection's or chaincode's policy holds.
    Absent,
    /// This policy.
    Own(Arc<Policy>),
    /// Bytes that are no policy, which nobody satisfies. The original stops the channel here, at every peer.
    Broken,
}

/// Reads and prepares the policies that keys carry in the world state.
pub(super) struct KeyPolicies<'a> {
    state: &'a dyn StateReader,
    policies: &'a PolicyManager,
    prepared: Mutex<HashMap<Bytes, KeyPolicy>>,
}

impl<'a> KeyPolicies<'a> {
    pub(super) fn new(state: &'a dyn StateReader, policies: &'a PolicyManager) -> Self {
        Self { state, policies, prepared: Mutex::default() }
    }

    /// The key's own policy in the state before this block.
    pub(super) fn policy(&self, key: &Key<'_>) -> Result<KeyPolicy, LedgerError> {
        let row = match key.collection {
            // Public keys are text; what is not (a hash under no collection) has no row.
            None => match std::str::from_utf8(key.name) {
                Ok(text) => self.state.get(key.namespace, text)?,
                Err(_) => None,
            },
            Some(collection) => self.state.get_hash(key.namespace, collection, key.name)?,
        };
        let Some(metadata) = row.map(|row| row.metadata).filter(|metadata| !metadata.is_empty()) else {
            return Ok(KeyPolicy::Absent);
        };
        let Some(bytes) = decode_metadata(&metadata)?.remove(VALIDATION_PARAMETER).filter(|bytes| !bytes.is_empty())
        else {
            return Ok(KeyPolicy::Absent);
        };
        if let Some(policy) = self.prepared.lock().get(&bytes) {
            return Ok(policy.clone());
        }
        let policy =
            fabric_ledger::tolerant::decode::<SignaturePolicyEnvelope>("common.SignaturePolicyEnvelope", &bytes)
                .ok()
                .and_then(|envelope| self.policies.signature_policy(envelope).ok())
                .map_or(KeyPolicy::Broken, |policy| KeyPolicy::Own(Arc::new(policy)));
        self.prepared.lock().insert(bytes, policy.clone());
        Ok(policy)
    }
}
