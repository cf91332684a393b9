//! Finding the records of a log again: whole files by their offset list, the last one frame by frame.

use std::sync::Arc;

use super::{
    LogFile, LogFiles, LogOptions, TornTail,
    frame::{self, FILE_HEADER_BYTES, HEADER_BYTES, NoHeader, Salt},
    mark::Mark,
};
use crate::StoreError;

/// One file and where its records begin.
#[derive(Clone)]
pub(super) struct Segment {
    /// Number of the first record.
    pub(super) first: u64,
    pub(super) name: String,
    pub(super) file: Arc<dyn LogFile>,
    /// What its frames begin with.
    pub(super) salt: Salt,
    /// Offset of each record.
    pub(super) offsets: Vec<u64>,
    /// End of the last record.
    pub(super) end: u64,
}

impl Segment {
    /// Number of the record after the last one.
    pub(super) fn next(&self) -> u64 {
        self.first + self.offsets.len() as u64
    }
}

const SUFFIX: &str = ".seg";

/// Name of the file whose first record has this number.
pub(super) fn segment_name(first: u64) -> String {
    format!("{first:020}{SUFFIX}")
}

/// True for the name of a file with records.
pub(super) fn is_segment(name: &std::ffi::OsStr) -> bool {
    name.to_str().is_some_and(|name| name.ends_with(SUFFIX))
}

fn index_name(segment: &str) -> String {
    segment.replace(SUFFIX, ".idx")
}

/// All segments in order; the last one is cut to its last whole record.
pub(super) fn segments(
    files: &dyn LogFiles,
    options: &LogOptions,
    known: Option<Mark>,
) -> Result<(Vec<Segment>, Option<TornTail>), StoreError> {
    let names = files.list().map_err(|source| StoreError::io("list", files.path(""), source))?;
    let mut firsts: Vec<u64> =
        names.iter().filter_map(|name| name.strip_suffix(SUFFIX)).filter_map(|digits| digits.parse().ok()).collect();
    firsts.sort_unstable();
    let mut segments: Vec<Segment> = Vec::with_capacity(firsts.len());
    let mut torn = None;
    for (at, &first) in firsts.iter().enumerate() {
        let name = segment_name(first);
        let file = files.open(&name).map_err(|source| StoreError::io("open", files.path(&name), source))?;
        let is_last = at + 1 == firsts.len();
        let due = segments.last().map(Segment::next);
        let durable = known.filter(|mark| mark.first == first).map(|mark| mark.durable);
        let salt = salt(files, &name, file.as_ref(), durable)?;
        if salt.is_none() && (is_last || due.is_some_and(|due| due > first)) {
            // Begun by a power cut's victim that had not written a record yet; the append that needs it begins it again.
            continue;
        }
        if let Some(due) = due.filter(|due| *due < first) {
            return Err(StoreError::Missing { path: files.path(&segment_name(due)) });
        }
        let Some(salt) = salt else { return Err(StoreError::Missing { path: files.path(&name) }) };
        if let Some(due) = due.filter(|due| *due > first) {
            let what = format!("it begins with record {first} but the file before it ends with {}", due - 1);
            return Err(StoreError::Damaged { path: files.path(&name), offset: 0, what });
        }
        let indexed = if is_last { None } else { read_index(files, &name, file.as_ref()) };
        let segment = Segment { first, name, file, salt, offsets: Vec::new(), end: 0 };
        let segment = if let Some((offsets, end)) = indexed {
            Segment { offsets, end, ..segment }
        } else {
            let tail = if is_last { Tail::MayBeTorn(durable) } else { Tail::Closed };
            let (segment, cut) = scan(files, options, segment, tail)?;
            torn = cut;
            if !is_last {
                write_index(files, &segment);
            }
            segment
        };
        segments.push(segment);
    }
    Ok((segments, torn))
}

/// The salt in a file's header; `None` for a file whose creation was interrupted before it held anything.
fn salt(
    files: &dyn LogFiles,
    name: &str,
    file: &dyn LogFile,
    durable: Option<u64>,
) -> Result<Option<Salt>, StoreError> {
    let io = |source| StoreError::io("read", files.path(name), source);
    let size = file.size().map_err(io)?;
    let mut bytes = vec![0; FILE_HEADER_BYTES.min(size as usize)];
    file.read_at(0, &mut bytes).map_err(io)?;
    let what = match Salt::of_file(&bytes) {
        Ok(salt) => return Ok(Some(salt)),
        // The header is durable before the first record is written.
        Err(NoHeader::Unreadable) if size <= FILE_HEADER_BYTES as u64 && durable.is_none() => return Ok(None),
        Err(NoHeader::Unreadable) => "the header of the file is not what was written".to_owned(),
        Err(NoHeader::Format(format)) => format!("its format version is {format}, which this program does not read"),
    };
    Err(StoreError::Damaged { path: files.path(name), offset: 0, what })
}

/// What a bad end of a file may be.
#[derive(Debug, Clone, Copy)]
enum Tail {
    /// The file was whole on disk before its successor was begun.
    Closed,
    /// Half-written, behind the offset known to be durable.
    MayBeTorn(Option<u64>),
}

/// Reads a file frame by frame.
fn scan(
    files: &dyn LogFiles,
    options: &LogOptions,
    segment: Segment,
    tail: Tail,
) -> Result<(Segment, Option<TornTail>), StoreError> {
    let Segment { first, file, salt, .. } = &segment;
    let path = files.path(&segment.name);
    let io = |action| {
        let path = path.clone();
        move |source| StoreError::io(action, path, source)
    };
    let size = file.size().map_err(io("read"))?;
    let mut window = Window { file: file.as_ref(), size, start: 0, bytes: Vec::new() };
    let mut offsets = Vec::new();
    let mut at = FILE_HEADER_BYTES as u64;
    while at < size {
        let expected = *first + offsets.len() as u64;
        let whole = window.frame(salt, at, options.max_record_bytes).map_err(io("read"))?;
        match whole.and_then(|bytes| frame::parse(salt, bytes)) {
            Some((header, payload)) if header.number == expected => {
                offsets.push(at);
                at += (HEADER_BYTES + payload.len()) as u64;
            }
            _ => break,
        }
    }
    let next = *first + offsets.len() as u64;
    if let Tail::MayBeTorn(Some(durable)) = tail
        && at < durable
    {
        let what = format!("record {next} is not what was written (the file was whole up to byte {durable})");
        return Err(StoreError::Damaged { path, offset: at, what });
    }
    let mut torn = None;
    if at < size {
        let mut rest = vec![0; usize::try_from(size - at).unwrap_or(usize::MAX)];
        file.read_at(at, &mut rest).map_err(io("read"))?;
        let damaged = match tail {
            Tail::Closed => true,
            Tail::MayBeTorn(_) => was_durable(salt, &rest, at, next),
        };
        if damaged {
            let what = format!("record {next} is not what was written");
            return Err(StoreError::Damaged { path, offset: at, what });
        }
        torn = Some(TornTail { path: path.clone(), offset: at, bytes: size - at });
        file.truncate(at).map_err(io("truncate"))?;
    }
    Ok((Segment { offsets, end: at, ..segment }, torn))
}

/// The part of a file that is being scanned; a file is not held in memory whole.
struct Window<'a> {
    file: &'a dyn LogFile,
    size: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl Window<'_> {
    /// The bytes of the frame that begins at `at`, as far as its header can be believed; `None` when it does not fit.
    fn frame(&mut self, salt: &Salt, at: u64, max_record_bytes: usize) -> std::io::Result<Option<&[u8]>> {
        let Some(head) = self.bytes(at, HEADER_BYTES)? else { return Ok(None) };
        match frame::header(salt, head) {
            Some(header) if header.length as usize <= max_record_bytes => {
                self.bytes(at, HEADER_BYTES + header.length as usize)
            }
            _ => Ok(None),
        }
    }

    fn bytes(&mut self, at: u64, count: usize) -> std::io::Result<Option<&[u8]>> {
        const STEP: u64 = 1 << 20;
        if at + count as u64 > self.size {
            return Ok(None);
        }
        if at < self.start || at + count as u64 > self.start + self.bytes.len() as u64 {
            let length = (count as u64).max(STEP).min(self.size - at);
            self.bytes.resize(length as usize, 0);
            self.start = at;
            self.file.read_at(at, &mut self.bytes)?;
        }
        let from = (at - self.start) as usize;
        Ok(self.bytes.get(from..from + count))
    }
}

/// True when an intact frame in `rest`, which begins with the bad place `bad`, says that `bad` had been synced before it was written.
///
/// Every offset is tried, also inside a half-written record: bytes chosen by others cannot hold the file's salt.
fn was_durable(salt: &Salt, rest: &[u8], bad: u64, expected: u64) -> bool {
    let mut at = 1;
    while at + HEADER_BYTES <= rest.len() {
        match frame::parse(salt, &rest[at..]) {
            Some((header, _)) if header.number > expected && header.durable > bad => return true,
            Some((_, payload)) => at += HEADER_BYTES + payload.len(),
            None => at += 1,
        }
    }
    false
}

/// Keeps the offsets of a closed file beside it. Only a shortcut: without it the file is scanned again.
pub(super) fn write_index(files: &dyn LogFiles, segment: &Segment) {
    let mut content = Vec::with_capacity(12 + 8 * segment.offsets.len());
    content.extend_from_slice(&segment.end.to_le_bytes());
    for offset in &segment.offsets {
        content.extend_from_slice(&offset.to_le_bytes());
    }
    content.extend_from_slice(&crc32fast::hash(&content).to_le_bytes());
    let written = files.open(&index_name(&segment.name)).and_then(|file| {
        file.truncate(0)?;
        file.write_at(0, &[&content])
    });
    drop(written);
}

fn read_index(files: &dyn LogFiles, segment: &str, data: &dyn LogFile) -> Option<(Vec<u64>, u64)> {
    let file = files.open(&index_name(segment)).ok()?;
    let mut content = vec![0; usize::try_from(file.size().ok()?).ok()?];
    file.read_at(0, &mut content).ok()?;
    let (body, crc) = content.split_at_checked(content.len().checked_sub(4)?)?;
    if crc32fast::hash(body).to_le_bytes() != crc || body.len() % 8 != 0 {
        return None;
    }
    let mut numbers = body.chunks_exact(8).map(|chunk| chunk.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b)));
    let end = numbers.next()?;
    let offsets: Vec<u64> = numbers.collect();
    let plausible = data.size().ok()? == end && !offsets.is_empty() && offsets.is_sorted() && *offsets.last()? < end;
    plausible.then_some((offsets, end))
}
