//! Keys longer than the engine takes (64 KiB; beyond that it panics): clients choose them.
//!
//! Long keys that begin with the same [`LIMIT`] bytes share one row of the engine, which stands where they belong in the order: behind the
//! key that is just these bytes, before every other key. Its value holds the rest of each key and its value, in order.

use std::collections::BTreeMap;

use bytes::{Buf as _, BufMut as _, Bytes};

use super::{Shared, row_key};
use crate::{Entry, StoreError};

/// Longest key that has a row of its own, bytes.
pub(super) const LIMIT: usize = 60_000;

/// The long keys of one row by what they do not share, each with something.
type Rests<T> = BTreeMap<Vec<u8>, T>;

/// Changes of long keys: per shared row, the rest of each key and its new value.
#[derive(Default)]
pub(super) struct Changes(BTreeMap<Vec<u8>, Rests<Option<Vec<u8>>>>);

/// The row that holds a long key, and the part of the key that stands in it.
pub(super) fn shared_row(space: u8, key: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let (first, rest) = key.split_at_checked(LIMIT).filter(|(_, rest)| !rest.is_empty())?;
    let mut row = Vec::with_capacity(LIMIT + 2);
    row.push(space);
    row.extend_from_slice(first);
    row.push(0);
    Some((row, rest))
}

/// True for the engine's key of a row that long keys share.
pub(super) fn is_shared(row: &[u8]) -> bool {
    row.len() == LIMIT + 2
}

/// The long keys of a shared row, whole, with their values, in order.
pub(super) fn entries(row: &[u8], value: &[u8]) -> Option<Vec<Entry>> {
    let first = row.get(1..=LIMIT)?;
    let whole = |(rest, value): (Vec<u8>, Vec<u8>)| (Bytes::from([first, &rest].concat()), Bytes::from(value));
    Some(decode(value)?.into_iter().map(whole).collect())
}

fn decode(mut bytes: &[u8]) -> Option<Rests<Vec<u8>>> {
    let mut found = BTreeMap::new();
    while !bytes.is_empty() {
        let (rest, value) = (bytes.try_get_u32().ok()? as usize, bytes.try_get_u32().ok()? as usize);
        let (rest, after) = bytes.split_at_checked(rest)?;
        let (value, after) = after.split_at_checked(value)?;
        found.insert(rest.to_vec(), value.to_vec());
        bytes = after;
    }
    Some(found)
}

fn encode(entries: &Rests<Vec<u8>>) -> Vec<u8> {
    let mut out = Vec::with_capacity(entries.iter().map(|(rest, value)| 8 + rest.len() + value.len()).sum());
    for (rest, value) in entries {
        out.put_u32(rest.len() as u32);
        out.put_u32(value.len() as u32);
        out.put_slice(rest);
        out.put_slice(value);
    }
    out
}

impl Changes {
    /// Takes a change of a long key; gives back the value with the engine's key of a row of its own otherwise.
    pub(super) fn take(
        &mut self,
        scratch: &mut Vec<u8>,
        space: u8,
        key: &[u8],
        value: Option<Vec<u8>>,
    ) -> Option<(fjall::UserKey, Option<Vec<u8>>)> {
        match shared_row(space, key) {
            None => Some((row_key(scratch, space, key), value)),
            Some((row, rest)) => {
                self.0.entry(row).or_default().insert(rest.to_vec(), value);
                None
            }
        }
    }

    /// Adds the shared rows as they are after the changes. Nobody else may write meanwhile.
    pub(super) fn apply(self, shared: &Shared, batch: &mut fjall::OwnedWriteBatch) -> Result<(), StoreError> {
        for (row, changes) in self.0 {
            let found = shared.tree.get(&row).map_err(|error| shared.failed(error))?;
            let mut entries = decode(found.as_deref().unwrap_or_default()).ok_or_else(|| shared.damaged_long_keys())?;
            for (rest, value) in changes {
                match value {
                    Some(value) => entries.insert(rest, value),
                    None => entries.remove(&rest),
                };
            }
            if entries.is_empty() {
                batch.remove(&shared.tree, row);
            } else {
                batch.insert(&shared.tree, row, encode(&entries));
            }
        }
        Ok(())
    }
}

impl Shared {
    /// The value of a long key in its shared row.
    pub(super) fn find_long(&self, value: &[u8], rest: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let mut entries = decode(value).ok_or_else(|| self.damaged_long_keys())?;
        Ok(entries.remove(rest).map(Bytes::from))
    }

    pub(super) fn damaged_long_keys(&self) -> StoreError {
        self.health.suspect();
        super::engine(self.path(), "a row of long keys is damaged")
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{Batch, Entries, FjallStore, Space, Store, faults::MemoryStore};

    struct Random(u64);

    impl Random {
        fn below(&mut self, limit: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 >> 11) as usize % limit
        }

        /// Keys around the limit, many with the same beginning, and neighbours of these.
        fn key(&mut self) -> Vec<u8> {
            let mut key =
                vec![b'a' + self.below(2) as u8; [0, 1, LIMIT - 1, LIMIT, LIMIT + 1, 70_000, 150_000][self.below(7)]];
            match self.below(4) {
                0 => key.push(0),
                1 => key.push(255),
                2 => key.push(self.below(4) as u8),
                _ => {}
            }
            if self.below(4) == 0
                && let Some(byte) = key.get_mut(LIMIT - 1)
            {
                *byte = b'b';
            }
            key
        }
    }

    fn rows(entries: Entries<'_>) -> Vec<Entry> {
        entries.map(Result::unwrap).collect()
    }

    /// Not `assert_eq`: nobody reads keys of this length.
    fn same(random: &mut Random, store: &FjallStore, model: &MemoryStore) {
        let (store, model) = (store.snapshot(), model.snapshot());
        for space in [Space(0), Space(1)] {
            assert!(rows(store.range(space, b"", None)) == rows(model.range(space, b"", None)));
            for _ in 0..12 {
                let (start, end) = (random.key(), random.key());
                let end = (random.below(4) > 0).then_some(&end[..]);
                assert!(rows(store.range(space, &start, end)) == rows(model.range(space, &start, end)));
                assert!(rows(store.range_reverse(space, &start, end)) == rows(model.range_reverse(space, &start, end)));
                assert!(rows(store.prefix(space, &start)) == rows(model.prefix(space, &start)));
                assert!(store.get(space, &start).unwrap() == model.get(space, &start).unwrap());
            }
        }
    }

    fn open(path: &Path) -> FjallStore {
        FjallStore::open(path, &["a", "b"]).unwrap()
    }

    #[test]
    fn keys_of_any_length_behave_like_short_ones() {
        let folder = tempfile::tempdir().unwrap();
        let (mut store, model) = (open(folder.path()), MemoryStore::default());
        let mut random = Random(99);
        for round in 0..24 {
            let mut batch = Batch::default();
            let mut seen = std::collections::BTreeSet::new();
            for _ in 0..6 {
                let (space, key) = (Space(random.below(2) as u8), random.key());
                if !key.is_empty() && seen.insert((space, key.clone())) {
                    if random.below(3) == 0 {
                        batch.delete(space, key);
                    } else {
                        batch.put(space, key, format!("value {round}"));
                    }
                }
            }
            store.write(batch.clone()).unwrap();
            model.write(batch).unwrap();
            same(&mut random, &store, &model);
            if round % 8 == 7 {
                drop(store);
                store = open(folder.path());
                same(&mut random, &store, &model);
            }
        }
        assert!(
            rows(model.snapshot().range(Space(0), b"", None)).iter().filter(|(key, _)| key.len() > LIMIT).count() > 5
        );
        store.clear(Space(0)).unwrap();
        model.clear(Space(0)).unwrap();
        same(&mut random, &store, &model);
    }
}
