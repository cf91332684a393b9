//! State, history and indexes on disk: kept while they can be read, derived again from the blocks when they cannot.

use std::{path::Path, sync::Arc};

use konsort_store::{FjallStore, SegmentLog, Store, StoreError};

use super::{Ledger, Options, recovery};
use crate::{LedgerError, keys};

/// Folder of state, history and indexes; may be deleted while the ledger is closed.
pub(super) const FOLDER: &str = "derived";
/// Where damaged ones are moved to; one such folder is kept, for who wants to find the cause, and may be deleted at any time.
const DAMAGED: &str = "derived.damaged";

/// Opens or creates the databases of the ledger in `folder`.
pub(super) fn store(folder: &Path) -> Result<Arc<dyn Store>, LedgerError> {
    Ok(Arc::new(FjallStore::open_derived(folder.join(FOLDER), &keys::SPACES)?))
}

/// [`Ledger::open`] over the log: a second time without the databases when it is they that are damaged.
pub(super) fn open(folder: &Path, log: SegmentLog, channel: &str, options: Options) -> Result<Ledger, LedgerError> {
    let first = store(folder).and_then(|store| Ledger::open_over(log.clone(), store, channel, options.clone()));
    let error = match first {
        Err(error) if is_damage(&error) => error,
        done => return done,
    };
    let (derived, damaged) = (folder.join(FOLDER), folder.join(DAMAGED));
    remove(&damaged)?;
    if let Err(reason) = std::fs::rename(&derived, &damaged) {
        tracing::warn!(channel, %error, %reason, "state, history and indexes are damaged; deleted, derived from blocks again");
        remove(&derived)?;
    } else {
        tracing::warn!(
            channel,
            %error,
            moved_to = %damaged.display(),
            "state, history and indexes are damaged; moved away (the folder may be deleted), derived from blocks again"
        );
    }
    Ledger::open_over(log, store(folder)?, channel, options)
}

/// True when the error is about derived data and not about blocks, space or rights.
fn is_damage(error: &LedgerError) -> bool {
    match error {
        LedgerError::Store(StoreError::Engine { .. }) => true,
        LedgerError::Corrupt { what } => what == recovery::SAVEPOINT,
        _ => false,
    }
}

/// Removes a folder that may not be there.
pub(super) fn remove(folder: &Path) -> Result<(), LedgerError> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(LedgerError::Folder(format!("cannot remove {} to rebuild it: {error}", folder.display())))
        }
        _ => Ok(()),
    }
}
