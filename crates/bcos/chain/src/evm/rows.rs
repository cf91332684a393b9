//! Rows a transaction has changed, with a log to take back those of failed frames.

use std::collections::BTreeMap;
use std::sync::Arc;

use alloy_primitives::Bytes;

type RowKey = (Arc<str>, Bytes);

/// A changed row's value; `None` deletes it.
type RowValue = Option<Bytes>;

/// Changed rows above the state.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    changed: BTreeMap<RowKey, RowValue>,
    /// What a change replaced: `None` when the row had not been changed before.
    log: Vec<(RowKey, Option<RowValue>)>,
}

impl Rows {
    /// The changed value of a row: outer `None` when this transaction has not changed it.
    pub(crate) fn get(&self, table: &Arc<str>, key: &Bytes) -> Option<RowValue> {
        if self.changed.is_empty() {
            return None;
        }
        self.changed.get(&(Arc::clone(table), key.clone())).cloned()
    }

    /// Sets or deletes a row.
    pub(crate) fn set(&mut self, table: Arc<str>, key: Bytes, value: RowValue) {
        let key = (table, key);
        let before = self.changed.insert(key.clone(), value);
        self.log.push((key, before));
    }

    /// Changed rows of a table in key order.
    pub(crate) fn of_table<'t>(&'t self, table: &'t Arc<str>) -> impl Iterator<Item = (&'t Bytes, &'t RowValue)> {
        self.changed
            .range((Arc::clone(table), Bytes::new())..)
            .take_while(move |((name, _), _)| name == table)
            .map(|((_, key), value)| (key, value))
    }

    pub(crate) fn mark(&self) -> usize {
        self.log.len()
    }

    /// Takes back every change since `mark`.
    pub(crate) fn revert_to(&mut self, mark: usize) {
        while self.log.len() > mark {
            let Some((key, before)) = self.log.pop() else { return };
            match before {
                Some(value) => self.changed.insert(key, value),
                None => self.changed.remove(&key),
            };
        }
    }

    pub(crate) fn into_changed(self) -> BTreeMap<RowKey, RowValue> {
        self.changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_frame_takes_its_rows_back() {
        let table: Arc<str> = "t".into();
        let (a, b) = (Bytes::from_static(b"a"), Bytes::from_static(b"b"));
        let mut rows = Rows::default();
        rows.set(Arc::clone(&table), a.clone(), Some(Bytes::from_static(b"1")));
        let mark = rows.mark();
        rows.set(Arc::clone(&table), a.clone(), None);
        rows.set(Arc::clone(&table), b.clone(), Some(Bytes::from_static(b"2")));
        assert_eq!(rows.get(&table, &a), Some(None));
        rows.revert_to(mark);
        assert_eq!(rows.get(&table, &a), Some(Some(Bytes::from_static(b"1"))));
        assert_eq!(rows.get(&table, &b), None);
        assert_eq!(rows.of_table(&table).count(), 1);
    }
}
