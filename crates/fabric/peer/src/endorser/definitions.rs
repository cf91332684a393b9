//! Which package runs for a chaincode name, from the channel's definition and this organisation's approval.
//!
//! Every invocation records a read of the definition's sequence, so that a transaction endorsed under an older definition does not
//! commit; the rest of the definition is read without leaving a trace and kept until the sequence or the approval changes.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use fabric_ledger::{Simulator, StateReader};
use fabric_validation::lifecycle_state::{
    self, CHAINCODE_SOURCES, ChaincodeLocalPackage, HashedState, LIFECYCLE_NAMESPACE, LedgerNamespace, NAMESPACES,
    Record, StateError, field_key, implicit_collection, private_name,
};
use konsort_crypto::hash::sha256;
use parking_lot::RwLock;

use super::{ChannelAccess, Shared};
use crate::scc::PrivateReader;

/// What this peer runs for a chaincode name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveChaincode {
    /// The committed sequence.
    pub sequence: i64,
    /// The committed version.
    pub version: String,
    /// The first call of this version must be its initialization.
    pub init_required: bool,
    /// The installed package.
    pub package_id: String,
}

/// A definition with the approval it was resolved through.
struct Cached {
    active: Arc<ActiveChaincode>,
    source_key: [u8; 32],
    source_hash: Bytes,
}

/// Channel and chaincode name.
type Place = (Arc<str>, String);

/// Resolved definitions.
#[derive(Default)]
pub(crate) struct Definitions(RwLock<HashMap<Place, Arc<Cached>>>);

/// The hashes of one implicit collection, read without recording.
struct Hashes<'a> {
    state: &'a dyn StateReader,
    collection: String,
}

impl HashedState for Hashes<'_> {
    fn get_state_hash(&self, key: &str) -> Result<Option<Bytes>, StateError> {
        let row = self.state.get_hash(LIFECYCLE_NAMESPACE, &self.collection, &sha256(key.as_bytes()));
        Ok(row.map_err(StateError::new)?.map(|row| row.value))
    }
}

impl Definitions {
    /// Resolves `name`, recording the read of its sequence in `simulator`.
    pub(crate) fn active(
        &self,
        shared: &Shared,
        channel: &ChannelAccess,
        name: &str,
        simulator: &Simulator,
    ) -> Result<Arc<ActiveChaincode>, String> {
        let recorded = LedgerNamespace { state: simulator };
        let sequence = lifecycle_state::read_int64(NAMESPACES, name, "Sequence", &recorded).map_err(|error| {
            format!("could not get current sequence for chaincode '{name}' on channel '{}': {error}", channel.id)
        })?;
        // Committed sequences begin at 1.
        if sequence == 0 {
            return Err(format!("chaincode {name} not found"));
        }
        let state = simulator.state();
        let collection = implicit_collection(shared.access.mspid());
        let key = (Arc::clone(&channel.id), name.to_owned());
        let cached = self.0.read().get(&key).cloned();
        if let Some(cached) = cached.filter(|cached| cached.active.sequence == sequence) {
            // An organisation may approve again with another package; the hash of that approval tells.
            let current = state.get_hash(LIFECYCLE_NAMESPACE, &collection, &cached.source_key);
            if current.is_ok_and(|row| row.is_some_and(|row| row.value == cached.source_hash)) {
                return Ok(Arc::clone(&cached.active));
            }
        }
        let resolved = Arc::new(resolve(shared, channel, name, sequence, &**state, collection)?);
        let active = Arc::clone(&resolved.active);
        self.0.write().insert(key, resolved);
        Ok(active)
    }
}

fn resolve(
    shared: &Shared,
    channel: &ChannelAccess,
    name: &str,
    sequence: i64,
    state: &dyn StateReader,
    collection: String,
) -> Result<Cached, String> {
    let unreadable =
        |error: &dyn std::fmt::Display| format!("could not get approved chaincode info from cache: {error}");
    let definition = lifecycle_state::definition(&LedgerNamespace { state: &state }, name)
        .map_err(|error| unreadable(&error))?
        .ok_or_else(|| format!("chaincode {name} not found"))?;
    let approval = private_name(name, sequence);
    let hashes = Hashes { state, collection: collection.clone() };
    let mismatches = lifecycle_state::matches(NAMESPACES, &approval, &definition.parameters(), &hashes)
        .map_err(|error| unreadable(&error))?;
    if !mismatches.is_empty() {
        return Err(format!(
            "chaincode definition for '{name}' at sequence {sequence} on channel '{}' has not yet been approved by this org",
            channel.id
        ));
    }
    let not_installed = || format!("chaincode definition for '{name}' exists, but chaincode is not installed");
    let source_field = field_key(CHAINCODE_SOURCES, &approval, "PackageID");
    let source_hash =
        hashes.get_state_hash(&source_field).map_err(|error| unreadable(&error))?.ok_or_else(not_installed)?;
    let installed: Vec<String> = shared
        .runtime
        .installed()
        .map_err(|error| unreadable(&error))?
        .into_iter()
        .map(|package| package.package_id)
        .collect();
    let reader = PrivateReader::new(&shared.private_values, &channel.id, &collection, state);
    let approved: Option<String> =
        lifecycle_state::read::<ChaincodeLocalPackage>(CHAINCODE_SOURCES, &approval, &reader)
            .ok()
            .flatten()
            .map(|source| source.package_id)
            // Another peer of the organisation endorsed the approval: its clear text is not here, but its hash is, and few
            // packages can be meant.
            .or_else(|| installed.iter().find(|id| hash_of_source(id) == source_hash).cloned());
    let package_id = approved.filter(|id| installed.contains(id)).ok_or_else(not_installed)?;
    let active = ActiveChaincode {
        sequence,
        version: definition.endorsement_info.version,
        init_required: definition.endorsement_info.init_required,
        package_id,
    };
    Ok(Cached { active: Arc::new(active), source_key: sha256(source_field.as_bytes()), source_hash })
}

/// The hash that an approval with this package leaves in the state.
fn hash_of_source(package_id: &str) -> Bytes {
    use fabric_proto::lifecycle::{StateData, state_data};
    use prost::Message;
    let record = ChaincodeLocalPackage { package_id: package_id.to_owned() };
    debug_assert_eq!(record.to_fields().len(), 1);
    let data = StateData { r#type: Some(state_data::Type::String(record.package_id)) };
    Bytes::copy_from_slice(&sha256(&data.encode_to_vec()))
}
