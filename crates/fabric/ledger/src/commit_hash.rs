//! The commit hash: a chain over verdicts and state changes by which peers compare ledgers.

use bytes::Bytes;

use crate::UpdateBatch;

/// The serialized update list of a block (empty for an empty batch).
pub fn update_bytes(_updates: &UpdateBatch) -> Vec<u8> {
    Vec::new()
}

/// The commit hash of a block: flags are its final validation codes, `previous` the last block's commit hash (empty for block 1).
pub fn commit_hash(_previous: &[u8], _flags: &[u8], _updates: &UpdateBatch) -> Bytes {
    Bytes::new()
}
