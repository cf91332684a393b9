//! What the ledger must know about private data collections, from the chaincode definitions and the channel's organisations.

use std::sync::Arc;

use fabric_channel::config::Bundle;
use fabric_ledger::{CollectionSet, Collections, LedgerError, StateGet};
use fabric_proto::protos::collection_config;
use parking_lot::RwLock;

use crate::lifecycle_state::{self, LIFECYCLE_NAMESPACE, LedgerNamespace, implicit_collection};

/// The collections of a channel's chaincodes: those of their definitions and one implicit collection for each organisation.
/// Clones share the organisations; tell it of every new configuration.
#[derive(Debug, Clone, Default)]
pub struct ChannelCollections {
    mspids: Arc<RwLock<Vec<String>>>,
}

impl ChannelCollections {
    /// For a channel with this configuration.
    pub fn new(bundle: &Bundle) -> Self {
        let collections = Self::default();
        collections.update(bundle);
        collections
    }

    /// Follows a change of the channel's configuration.
    pub fn update(&self, bundle: &Bundle) {
        *self.mspids.write() = organisations(bundle).into_iter().map(|(_, mspid)| mspid).collect();
    }
}

impl Collections for ChannelCollections {
    fn collections(&self, state: &dyn StateGet, namespace: &str) -> Result<Option<Arc<CollectionSet>>, LedgerError> {
        let mut set = CollectionSet::new();
        if namespace != LIFECYCLE_NAMESPACE {
            let definition = lifecycle_state::definition(&LedgerNamespace { state }, namespace)
                .map_err(|error| LedgerError::Collections(format!("could not get info about chaincode: {error}")))?;
            let Some(definition) = definition else { return Ok(None) };
            for config in definition.collections.config {
                if let Some(collection_config::Payload::StaticCollectionConfig(collection)) = config.payload {
                    set.insert(collection.name, collection.block_to_live);
                }
            }
        }
        set.extend(self.mspids.read().iter().map(|mspid| (implicit_collection(mspid), 0)));
        Ok(Some(Arc::new(set)))
    }
}

/// Group names and MSP ids of the channel's application organisations.
pub(crate) fn organisations(bundle: &Bundle) -> Vec<(String, String)> {
    bundle.application().map_or_else(Vec::new, |application| {
        application.organizations.iter().map(|(name, org)| (name.clone(), org.msp_id.clone())).collect()
    })
}
