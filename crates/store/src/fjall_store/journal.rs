//! The engine's journals, read here and not by the engine.
//!
//! The engine stops without a word at the first entry it cannot make sense of, also in a journal that others continue: then batches would
//! be missing in the middle. One bad checksum makes it refuse the whole, and it takes apart again all that its tables hold already. So
//! journals with content are moved aside before it opens, and the batches its tables lack are written to it again, in the order of
//! their numbers, up to the first bad place.
//!
//! A batch is a start (1, items, sequence number), its items (2, kind, compression, tree, lengths, key, value), the first of which holds
//! the number, and an end (3, checksum of the items, magic). All numbers of the engine are little-endian. A layout that is not understood
//! here looks like a bad place: who derives his rows writes them again.

use std::{
    fs::File,
    io::{self, BufReader, ErrorKind, Read as _},
    path::{Path, PathBuf},
};

use xxhash_rust::xxh3::Xxh3;

use super::{LAST_BATCH, Rows, number};
use crate::StoreError;

/// Journals of the engine: the number of each is its name.
const ACTIVE: &str = ".jnl";
/// Journals that were moved aside.
const ASIDE: &str = ".old";
const END_MAGIC: [u8; 4] = [b'F', b'J', b'L', 3];

fn listed(path: &Path, suffix: &str) -> Result<Vec<(u64, PathBuf)>, StoreError> {
    let failed = |source| StoreError::io("list", path, source);
    let mut journals = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let id = name.to_str().and_then(|name| name.strip_suffix(suffix)).and_then(|id| id.parse().ok());
        journals.extend(id.map(|id| (id, entry.path())));
    }
    journals.sort_unstable();
    Ok(journals)
}

/// The engine's journals, oldest first.
pub(super) fn active(path: &Path) -> Result<Vec<PathBuf>, StoreError> {
    Ok(listed(path, ACTIVE)?.into_iter().map(|(_, journal)| journal).collect())
}

/// Moves journals with content out of the engine's sight and gives them, oldest first. Leaves one empty journal: without any the engine
/// would count its sequence numbers from the beginning, below those of its tables.
pub(super) fn move_aside(path: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let mut aside = listed(path, ASIDE)?;
    let mut next = aside.last().map_or(0, |(id, _)| id + 1);
    for journal in active(path)? {
        let at = &journal;
        let failed = |action| move |source| StoreError::io(action, at, source);
        if std::fs::metadata(&journal).map_err(failed("read"))?.len() == 0 {
            std::fs::remove_file(&journal).map_err(failed("remove"))?;
            continue;
        }
        let target = path.join(format!("{next:020}{ASIDE}"));
        std::fs::rename(&journal, &target).map_err(failed("rename"))?;
        aside.push((next, target));
        next += 1;
    }
    let empty = path.join(format!("0{ACTIVE}"));
    File::create(&empty).map_err(|source| StoreError::io("create", empty, source))?;
    Ok(aside.into_iter().map(|(_, journal)| journal).collect())
}

/// Removes journals that were read. The newest goes first: what an interruption leaves still begins where the tables end.
pub(super) fn remove(aside: &[PathBuf]) -> Result<(), StoreError> {
    aside.iter().rev().try_for_each(|journal| {
        std::fs::remove_file(journal).map_err(|source| StoreError::io("remove", journal, source))
    })
}

/// What comes next in a journal.
#[derive(Debug)]
pub(super) enum Next {
    /// A batch that is not wanted.
    Known,
    /// A batch; its number is not among the rows.
    Batch(u64, Rows),
    /// Batches end here: nothing follows, or nothing that can be read.
    End,
    /// A batch in good shape whose content is not what was written.
    Changed,
}

/// A journal that is read from its beginning.
pub(super) struct Journal {
    input: BufReader<File>,
    left: u64,
    buffer: Vec<u8>,
}

fn bad() -> io::Error {
    ErrorKind::InvalidData.into()
}

/// The fixed part of an item.
#[derive(Clone, Copy)]
struct Item {
    is_delete: bool,
    key: usize,
    value: usize,
}

const ITEM_BYTES: usize = 1 + 1 + 1 + 8 + 2 + 4 + 4;

impl Item {
    fn parse(bytes: [u8; ITEM_BYTES]) -> io::Result<Self> {
        let [2, kind, 0, _, _, _, _, _, _, _, _, k0, k1, v0, v1, v2, v3, s0, s1, s2, s3] = bytes else {
            return Err(bad());
        };
        let (value, stored) = (u32::from_le_bytes([v0, v1, v2, v3]), u32::from_le_bytes([s0, s1, s2, s3]));
        if kind > 1 || value != stored {
            return Err(bad());
        }
        Ok(Self { is_delete: kind == 1, key: u16::from_le_bytes([k0, k1]).into(), value: value as usize })
    }
}

impl Journal {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let left = file.metadata()?.len();
        Ok(Self { input: BufReader::with_capacity(256 << 10, file), left, buffer: Vec::new() })
    }

    /// The next batch; the content of those up to number `known` is passed over.
    pub(super) fn next(&mut self, known: u64) -> io::Result<Next> {
        match self.batch(known) {
            Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::InvalidData) => Ok(Next::End),
            other => other,
        }
    }

    fn batch(&mut self, known: u64) -> io::Result<Next> {
        let [1, a, b, c, d, ..] = self.array::<13>()? else { return Err(bad()) };
        let items = u32::from_le_bytes([a, b, c, d]);
        let mut checksum = Xxh3::new();
        let first = self.item(&mut checksum)?;
        let (key, value) = self.buffer[ITEM_BYTES..].split_at(first.key);
        let this = number(value).filter(|_| key == LAST_BATCH).ok_or_else(bad)?;
        let mut rows = Rows::new();
        for _ in 1..items {
            if this <= known {
                let Item { key, value, .. } = Item::parse(self.array()?)?;
                self.skip(key + value)?;
                continue;
            }
            let item = self.item(&mut checksum)?;
            let (key, value) = self.buffer[ITEM_BYTES..].split_at(item.key);
            rows.push((key.into(), (!item.is_delete).then(|| value.into())));
        }
        let end = self.array::<13>()?;
        if end[0] != 3 || end[9..] != END_MAGIC {
            return Err(bad());
        }
        if this <= known {
            return Ok(Next::Known);
        }
        let whole = end[1..9] == checksum.digest().to_le_bytes();
        Ok(if whole { Next::Batch(this, rows) } else { Next::Changed })
    }

    /// Reads an item into the buffer.
    fn item(&mut self, checksum: &mut Xxh3) -> io::Result<Item> {
        let fixed = self.array()?;
        let item = Item::parse(fixed)?;
        let rest = item.key + item.value;
        self.spend(rest)?;
        self.buffer.clear();
        self.buffer.extend_from_slice(&fixed);
        self.buffer.resize(ITEM_BYTES + rest, 0);
        self.input.read_exact(&mut self.buffer[ITEM_BYTES..])?;
        checksum.update(&self.buffer);
        Ok(item)
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        self.spend(N)?;
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn skip(&mut self, count: usize) -> io::Result<()> {
        self.spend(count)?;
        self.input.seek_relative(count as i64)
    }

    /// Nothing behind the end of the file is believed, nor is room made for it.
    fn spend(&mut self, count: usize) -> io::Result<()> {
        self.left = self.left.checked_sub(count as u64).ok_or(ErrorKind::UnexpectedEof)?;
        Ok(())
    }
}
