//! Multi-version concurrency control in upstream's exact order.

use crate::{LedgerError, StateReader, TxToCommit, UpdateBatch};

/// Judges the transactions of block `number` that are still `VALID`, in order, against `state` and the earlier valid ones of the block:
/// conflicting ones get their code changed to `MVCC_READ_CONFLICT` or `PHANTOM_READ_CONFLICT`. Returns the net effect of the valid ones.
///
/// Per transaction and namespace: public reads, range queries, hashed reads.
pub fn validate(_number: u64, _transactions: &mut [TxToCommit], _state: &dyn StateReader) -> Result<UpdateBatch, LedgerError> {
    Ok(UpdateBatch::default())
}
