//! The engine's journals, read before the engine reads them.
//!
//! The engine stops without a word at the first entry it cannot make sense of, also in a journal that others continue: then batches would
//! be missing in the middle. And one bad checksum makes it refuse the whole. Here the batches are checked and their numbers followed, so
//! that what the engine sees ends where the first bad place is. The engine's checksum leaves out the sequence number, by which it knows
//! the newer of two rows: it has to rise from batch to batch.
//!
//! A batch is a start (1, items, sequence number), its items (2, kind, compression, tree, lengths, key, value) or clearings of a tree
//! (4, tree), and an end (3, checksum of the items, magic). All numbers are little-endian. A layout that is not understood here looks
//! like damage: who derives his rows writes them again.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufReader, ErrorKind, Read as _},
    path::{Path, PathBuf},
};

use xxhash_rust::xxh3::Xxh3;

use super::{LAST_BATCH, engine, number};
use crate::StoreError;

const SUFFIX: &str = ".jnl";
const END_MAGIC: [u8; 4] = [b'F', b'J', b'L', 3];

/// What the journals hold.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    /// Number of the first batch; `None` without any.
    pub(super) first_batch: Option<u64>,
}

/// The journals of a database, oldest first.
pub(super) fn list(path: &Path) -> Result<Vec<(u64, PathBuf)>, StoreError> {
    let failed = |source| StoreError::io("list", path, source);
    let mut journals = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let id = name.to_str().and_then(|name| name.strip_suffix(SUFFIX)).and_then(|id| id.parse().ok());
        journals.extend(id.map(|id| (id, entry.path())));
    }
    journals.sort_unstable();
    Ok(journals)
}

/// Where the reading of several journals stands.
#[derive(Debug, Default)]
struct Course {
    first: Option<u64>,
    /// The last batch.
    last: Option<Entry>,
}

/// One batch.
#[derive(Debug, Clone, Copy)]
struct Entry {
    /// Its number among the store's batches.
    number: u64,
    /// The engine's number for it.
    sequence: u64,
}

/// Looks through the journals. With `cut` what stands behind the first bad place goes; otherwise a hole is refused.
pub(super) fn check(path: &Path, cut: bool) -> Result<Found, StoreError> {
    let journals = list(path)?;
    if journals.is_empty() {
        // Without any journal the engine would count its sequence numbers from the beginning, below those of its tables.
        let empty = path.join(format!("0{SUFFIX}"));
        File::create(&empty).map_err(|source| StoreError::io("create", empty, source))?;
    }
    let mut course = Course::default();
    let mut at = 0;
    for (_, journal) in &journals {
        at += 1;
        let walked = walk(journal, &mut course).map_err(|source| StoreError::io("read", journal, source))?;
        if cut {
            shorten(journal, walked.end).map_err(|source| StoreError::io("truncate", journal, source))?;
        }
        if let Some(hole) = walked.hole {
            if !cut {
                return Err(engine(path, format!("its journal {} has a hole: {hole}", journal.display())));
            }
            break;
        }
    }
    for (_, lost) in journals.iter().skip(at) {
        std::fs::remove_file(lost).map_err(|source| StoreError::io("remove", lost, source))?;
    }
    Ok(Found { first_batch: course.first })
}

/// Cuts a journal if it is longer.
pub(super) fn shorten(journal: &Path, size: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(journal)?;
    if file.metadata()?.len() > size { file.set_len(size) } else { Ok(()) }
}

struct Walked {
    /// End of the last good batch.
    end: u64,
    /// Why the next one, though whole, does not belong there.
    hole: Option<String>,
}

/// Reads batches up to the first bad one, or one that does not follow.
fn walk(journal: &Path, course: &mut Course) -> io::Result<Walked> {
    /// The engine leaves some out; what lies further away is no sequence number of its making.
    const APART: u64 = 1 << 32;
    let file = File::open(journal)?;
    let left = file.metadata()?.len();
    let mut entries = Entries { input: BufReader::with_capacity(1 << 20, file), left, buffer: Vec::new() };
    let mut walked = Walked { end: 0, hole: None };
    let mut before_last = 0;
    loop {
        let this = match entries.batch() {
            Ok(this) => this,
            Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::InvalidData) => return Ok(walked),
            Err(error) => return Err(error),
        };
        let Entry { number, sequence } = this;
        let (due, before) = course.last.map_or((number, 0), |last| (last.number + 1, last.sequence));
        if number != due || number == u64::MAX {
            walked.hole = Some(format!("batch {number} stands where batch {due} is due"));
        } else if (course.last.is_some() && sequence <= before) || sequence > before.saturating_add(APART) {
            // This one or the one before is wrong.
            walked.hole = Some(format!("the sequence number of batch {number} is {sequence} after {before}"));
            walked.end = before_last;
        }
        if walked.hole.is_some() {
            return Ok(walked);
        }
        course.first.get_or_insert(number);
        course.last = Some(this);
        before_last = walked.end;
        walked.end = left - entries.left;
    }
}

struct Entries {
    input: BufReader<File>,
    left: u64,
    buffer: Vec<u8>,
}

fn bad() -> io::Error {
    ErrorKind::InvalidData.into()
}

impl Entries {
    /// Appends the next bytes to the buffer.
    fn take(&mut self, count: usize) -> io::Result<()> {
        self.left = self.left.checked_sub(count as u64).ok_or(ErrorKind::UnexpectedEof)?;
        let start = self.buffer.len();
        self.buffer.resize(start + count, 0);
        self.input.read_exact(&mut self.buffer[start..])
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        self.left = self.left.checked_sub(N as u64).ok_or(ErrorKind::UnexpectedEof)?;
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Reads a batch whose checksum holds.
    fn batch(&mut self) -> io::Result<Entry> {
        let [1, a, b, c, d, sequence @ ..] = self.array::<13>()? else { return Err(bad()) };
        let (items, sequence) = (u32::from_le_bytes([a, b, c, d]), u64::from_le_bytes(sequence));
        let mut checksum = Xxh3::new();
        let mut this = None;
        for _ in 0..items {
            self.buffer.clear();
            this = self.item()?.or(this);
            checksum.update(&self.buffer);
        }
        let end = self.array::<13>()?;
        let whole = end[0] == 3 && end[1..9] == checksum.digest().to_le_bytes() && end[9..] == END_MAGIC;
        let number = this.filter(|_| whole).ok_or_else(bad)?;
        Ok(Entry { number, sequence })
    }

    /// Reads an item into the buffer; gives the batch's number if this is the row that holds it.
    fn item(&mut self) -> io::Result<Option<u64>> {
        const FIXED: usize = 1 + 1 + 1 + 8 + 2 + 4 + 4;
        self.take(1)?;
        match self.buffer[0] {
            2 => {}
            4 => return self.take(8).map(|()| None),
            _ => return Err(bad()),
        }
        self.take(FIXED - 1)?;
        let key = usize::from(u16::from_le_bytes([self.buffer[11], self.buffer[12]]));
        let stored = u32::from_le_bytes([self.buffer[17], self.buffer[18], self.buffer[19], self.buffer[20]]);
        self.take(key + stored as usize)?;
        let (key, value) = self.buffer[FIXED..].split_at(key);
        Ok(if key == LAST_BATCH { number(value) } else { None })
    }
}
