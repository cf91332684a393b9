//! The door through which the ledger learns about private data collections.
//!
//! Collections are part of chaincode definitions, which the ledger does not understand; who does, implements [`Collections`].

use std::{collections::BTreeMap, fmt::Debug, sync::Arc};

use crate::{LedgerError, StateGet};

/// The collections of one chaincode: name to block-to-live (0 = for ever). Implicit collections are included.
pub type CollectionSet = BTreeMap<String, u64>;

/// Looks up the collections of a chaincode.
pub trait Collections: Debug + Send + Sync {
    /// The collections of `namespace`, read through `state`; `None` when the chaincode has no collection configuration at all.
    fn collections(&self, state: &dyn StateGet, namespace: &str) -> Result<Option<Arc<CollectionSet>>, LedgerError>;
}

/// No chaincode has collections; nothing expires.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoCollections;

impl Collections for NoCollections {
    fn collections(&self, _state: &dyn StateGet, _namespace: &str) -> Result<Option<Arc<CollectionSet>>, LedgerError> {
        Ok(None)
    }
}
