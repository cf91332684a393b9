//! Checking a range query again: state and the block's earlier writes must give what the simulation saw.

use std::{collections::btree_map, iter::Peekable, ops::Bound};

use fabric_proto::kvrwset::{KvRead, QueryReadsMerkleSummary, RangeQueryInfo, range_query_info::ReadsInfo};

use crate::{
    Height, LedgerError, StateReader, StateRows, UpdateBatch, UpdateValue,
    merkle::{RangeResults, Summary},
};

/// True when the range still gives the recorded results.
pub(super) fn holds(
    namespace: &str,
    query: &RangeQueryInfo,
    updates: &UpdateBatch,
    state: &dyn StateReader,
) -> Result<bool, LedgerError> {
    let mut rows = Combined::new(namespace, query, updates, state)?;
    match &query.reads_info {
        Some(ReadsInfo::ReadsMerkleHashes(recorded)) => merkle_holds(recorded, &mut rows),
        Some(ReadsInfo::RawReads(reads)) => raw_holds(&reads.kv_reads, &mut rows),
        None => raw_holds(&[], &mut rows),
    }
}

fn raw_holds(recorded: &[KvRead], rows: &mut Combined<'_>) -> Result<bool, LedgerError> {
    for read in recorded {
        let Some((key, version)) = rows.next_row()? else { return Ok(false) };
        // A recorded result always has a version; one without stops the original, here it is a conflict.
        if key != read.key || read.version.as_ref().map(Height::from) != Some(version) {
            return Ok(false);
        }
    }
    Ok(rows.next_row()?.is_none())
}

/// Builds the tree again and gives up at the first hash that differs at the recorded level.
fn merkle_holds(recorded: &QueryReadsMerkleSummary, rows: &mut Combined<'_>) -> Result<bool, LedgerError> {
    // A degree no simulation uses stops the original; here the claim cannot be checked and so does not hold.
    let Some(mut results) = RangeResults::new(recorded.max_degree) else { return Ok(false) };
    let mut matched = 0;
    while let Some((key, version)) = rows.next_row()? {
        results.add(KvRead { key, version: Some(version.to_proto()) });
        let (level, hashes) = results.top();
        if level < recorded.max_level || hashes.len() == matched {
            continue;
        }
        if hashes.len() > recorded.max_level_hashes.len() {
            return Ok(false);
        }
        match (hashes.get(matched), recorded.max_level_hashes.get(matched)) {
            (Some(now), Some(then)) if now == then => matched += 1,
            _ => return Ok(false),
        }
    }
    Ok(matches!(results.finish(), Summary::Merkle(now) if now == *recorded))
}

/// Rows of the state with the block's earlier writes over them, in key order; at the end the end key itself when the simulation had
/// not come to the end of its range (then the recorded end is the last key it saw).
struct Combined<'a> {
    namespace: &'a str,
    end: &'a str,
    end_key_due: bool,
    updates: &'a UpdateBatch,
    state: &'a dyn StateReader,
    stored: StateRows<'a>,
    next_stored: Option<(String, Height)>,
    written: Option<Peekable<btree_map::Range<'a, String, UpdateValue>>>,
}

impl<'a> Combined<'a> {
    fn new(
        namespace: &'a str,
        query: &'a RangeQueryInfo,
        updates: &'a UpdateBatch,
        state: &'a dyn StateReader,
    ) -> Result<Self, LedgerError> {
        let (start, end) = (query.start_key.as_str(), query.end_key.as_str());
        let backwards = !end.is_empty() && start > end;
        let upper = if end.is_empty() { Bound::Unbounded } else { Bound::Excluded(end) };
        let written = updates
            .public
            .get(namespace)
            .filter(|_| !backwards)
            .map(|keys| keys.range::<str, _>((Bound::Included(start), upper)).peekable());
        let mut combined = Self {
            namespace,
            end,
            end_key_due: !query.itr_exhausted,
            updates,
            state,
            stored: state.range(namespace, start, end)?,
            next_stored: None,
            written,
        };
        combined.advance()?;
        Ok(combined)
    }

    fn advance(&mut self) -> Result<(), LedgerError> {
        self.next_stored = self.stored.next().transpose()?.map(|row| (row.key, row.value.version));
        Ok(())
    }

    fn next_row(&mut self) -> Result<Option<(String, Height)>, LedgerError> {
        loop {
            let written = self.written.as_mut().and_then(|written| written.peek().copied());
            match (self.next_stored.take(), written) {
                (None, None) => return self.end_key(),
                (Some(stored), written) if written.is_none_or(|(key, _)| stored.0 < *key) => {
                    self.advance()?;
                    return Ok(Some(stored));
                }
                (stored, written) => {
                    let Some((key, update)) = written else { continue };
                    self.written.as_mut().map(Iterator::next);
                    match stored {
                        Some(stored) if stored.0 == *key => self.advance()?,
                        other => self.next_stored = other,
                    }
                    if update.value.is_some() {
                        return Ok(Some((key.clone(), update.version)));
                    }
                }
            }
        }
    }

    fn end_key(&mut self) -> Result<Option<(String, Height)>, LedgerError> {
        if !std::mem::take(&mut self.end_key_due) {
            return Ok(None);
        }
        let version = match self.updates.get(self.namespace, self.end) {
            Some(update) => update.value.is_some().then_some(update.version),
            None => self.state.version(self.namespace, self.end)?,
        };
        Ok(version.map(|version| (self.end.to_owned(), version)))
    }
}
