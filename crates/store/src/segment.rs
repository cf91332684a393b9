//! Append-only log of numbered records in rolling files.
//!
//! A file is named after its first record and begins with a random salt. Each record is framed with its length, its number, a salted
//! checksum, and the offset up to which the file was known to be durable when the frame was written. That last field, and a mark beside
//! the files for what stands behind the last sync's frames, tell a torn tail from damage: whatever a crash left half-written can be cut
//! off, unless the mark or a later intact frame says that the bad place had been synced before. Records may hold bytes that others
//! chose: without the salt none of them looks like a frame.

mod files;
mod frame;
mod mark;
mod recover;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use crate::StoreError;
pub(crate) use files::FolderLock;
pub use files::{FolderFiles, LogFile, LogFiles};
use frame::{FILE_HEADER_BYTES, HEADER_BYTES, Header, Salt};
use mark::Mark;
use recover::Segment;

/// How a [`SegmentLog`] lays out its files.
#[derive(Debug, Clone, Copy)]
pub struct LogOptions {
    /// A new file is begun when the current one has reached this size, bytes.
    pub segment_bytes: u64,
    /// Largest record accepted or believed, bytes.
    pub max_record_bytes: usize,
    /// Number of the first record of a new log.
    pub first: u64,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20, max_record_bytes: 512 << 20, first: 0 }
    }
}

/// What opening a log cut off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// The file.
    pub path: PathBuf,
    /// Where the last whole record ends.
    pub offset: u64,
    /// Bytes removed after it.
    pub bytes: u64,
}

/// Numbered records, appended and never changed; clones share the log.
#[derive(Clone)]
pub struct SegmentLog {
    shared: Arc<Shared>,
}

struct Shared {
    files: Arc<dyn LogFiles>,
    options: LogOptions,
    torn: Option<TornTail>,
    index: RwLock<Vec<Segment>>,
    writer: Mutex<Writer>,
}

/// State of the last file.
struct Writer {
    /// Number of the next record.
    next: u64,
    /// End of the last record.
    end: u64,
    /// Everything before this offset has been synced.
    durable: u64,
    /// A sync failed: nothing may be promised any more.
    poisoned: bool,
    /// Which place the next mark goes to.
    mark_turn: bool,
}

impl SegmentLog {
    /// Opens or creates the log in `folder`.
    pub fn open(folder: impl AsRef<Path>, options: LogOptions) -> Result<Self, StoreError> {
        Self::open_in(Arc::new(FolderFiles::open(folder.as_ref())?), options)
    }

    /// The same over any files; see [`crate::faults::MemoryFiles`].
    pub fn open_in(files: Arc<dyn LogFiles>, options: LogOptions) -> Result<Self, StoreError> {
        let known = mark::read(files.as_ref());
        let (segments, torn) = recover::segments(files.as_ref(), &options, known)?;
        let (next, end) = segments.last().map_or((options.first, 0), |last| (last.next(), last.end));
        let mut writer = Writer { next, end, durable: end, poisoned: false, mark_turn: false };
        if let Some(last) = segments.last()
            && known.is_none_or(|mark| mark != Mark { first: last.first, durable: end })
        {
            // What a killed process wrote may rest in the system's memory only, and is promised from now on.
            last.file.sync().map_err(|source| StoreError::io("sync", files.path(&last.name), source))?;
            mark::write(files.as_ref(), Mark { first: last.first, durable: end }, &mut writer.mark_turn);
        }
        let log = Shared { files, options, torn, index: RwLock::new(segments), writer: Mutex::new(writer) };
        Ok(Self { shared: Arc::new(log) })
    }

    /// True when the log in `folder` has room taken by records, whole or not: it was not only begun.
    pub fn holds_records(folder: impl AsRef<Path>) -> bool {
        let Ok(files) = std::fs::read_dir(folder) else { return false };
        files.flatten().any(|file| {
            recover::is_segment(&file.file_name())
                && file.metadata().is_ok_and(|found| found.len() > FILE_HEADER_BYTES as u64)
        })
    }

    /// The folder of the log.
    pub fn path(&self) -> PathBuf {
        self.shared.files.path("")
    }

    /// What [`SegmentLog::open`] had to cut off, if anything.
    pub fn torn_tail(&self) -> Option<&TornTail> {
        self.shared.torn.as_ref()
    }

    /// Number of the first record (also of an empty log: the one that will be first).
    pub fn first(&self) -> u64 {
        self.shared.index.read().first().map_or(self.shared.options.first, |segment| segment.first)
    }

    /// Number of the next record.
    pub fn next(&self) -> u64 {
        self.shared.writer.lock().next
    }

    /// Appends a record, given in parts, and returns its number. It can be read at once and is durable after [`SegmentLog::sync`].
    ///
    /// After a refused write (disk full) the log stands where it stood: the call can be repeated. A refused sync stops the log.
    pub fn append(&self, parts: &[&[u8]]) -> Result<u64, StoreError> {
        let shared = &*self.shared;
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if length > shared.options.max_record_bytes || u32::try_from(length).is_err() {
            let limit = shared.options.max_record_bytes;
            return Err(StoreError::TooLarge { path: self.path(), size: length, limit });
        }
        let mut writer = shared.writer.lock();
        if writer.poisoned {
            return Err(StoreError::Poisoned { path: self.path() });
        }
        self.append_locked(&mut writer, parts, length as u32)
    }

    fn append_locked(&self, writer: &mut Writer, parts: &[&[u8]], length: u32) -> Result<u64, StoreError> {
        let shared = &*self.shared;
        let (file, salt) = self.current_file(writer)?;
        let header = Header { length, number: writer.next, durable: writer.durable };
        let head = header.encode(&salt, parts);
        let mut pieces = Vec::with_capacity(parts.len() + 1);
        pieces.push(&head[..]);
        pieces.extend_from_slice(parts);
        let name = shared.index.read().last().map_or_else(String::new, |segment| segment.name.clone());
        // A part that was written before the refusal stands behind the end and is written over by the next try.
        file.write_at(writer.end, &pieces)
            .map_err(|source| StoreError::io("write", shared.files.path(&name), source))?;
        let number = writer.next;
        let start = writer.end;
        writer.end += (HEADER_BYTES + length as usize) as u64;
        writer.next += 1;
        let mut index = shared.index.write();
        if let Some(segment) = index.last_mut() {
            segment.offsets.push(start);
            segment.end = writer.end;
        }
        Ok(number)
    }

    /// The file to append to; begins a new one when the last is full.
    fn current_file(&self, writer: &mut Writer) -> Result<(Arc<dyn LogFile>, Salt), StoreError> {
        let shared = &*self.shared;
        let full = {
            let index = shared.index.read();
            match index.last() {
                Some(last) if last.end < shared.options.segment_bytes || last.offsets.is_empty() => {
                    return Ok((Arc::clone(&last.file), last.salt.clone()));
                }
                Some(last) => Some(last.clone()),
                None => None,
            }
        };
        // A closed file is whole on disk before its successor exists, so damage in it is never a torn tail.
        if let Some(last) = full {
            last.file.sync().map_err(|source| {
                writer.poisoned = true;
                StoreError::io("sync", shared.files.path(&last.name), source)
            })?;
            recover::write_index(shared.files.as_ref(), &last);
        }
        let name = recover::segment_name(writer.next);
        let refused = |source| StoreError::io("create", shared.files.path(&name), source);
        let file = shared.files.open(&name).map_err(refused)?;
        // The salt is durable before the first record: without it nothing in the file could be judged.
        let salt = Salt::random();
        file.write_at(0, &[&salt.file_header()]).map_err(refused)?;
        if let Err(source) = file.sync().and_then(|()| shared.files.sync_folder()) {
            writer.poisoned = true;
            return Err(refused(source));
        }
        let end = FILE_HEADER_BYTES as u64;
        let (offsets, opened) = (Vec::new(), (Arc::clone(&file), salt.clone()));
        shared.index.write().push(Segment { first: writer.next, name, file, salt, offsets, end });
        writer.end = end;
        writer.durable = end;
        Ok(opened)
    }

    /// Makes every record appended before this call durable. Appending may go on meanwhile.
    pub fn sync(&self) -> Result<(), StoreError> {
        let shared = &*self.shared;
        let (file, name, end) = {
            let writer = shared.writer.lock();
            if writer.poisoned {
                return Err(StoreError::Poisoned { path: self.path() });
            }
            let index = shared.index.read();
            let Some(last) = index.last() else { return Ok(()) };
            if writer.durable >= writer.end {
                return Ok(());
            }
            (Arc::clone(&last.file), last.name.clone(), writer.end)
        };
        let result = file.sync();
        let mut writer = shared.writer.lock();
        match result {
            Ok(()) => {
                let first = shared.index.read().last().filter(|last| last.name == name).map(|last| last.first);
                if let Some(first) = first {
                    writer.durable = writer.durable.max(end);
                    let known = Mark { first, durable: writer.durable };
                    mark::write(shared.files.as_ref(), known, &mut writer.mark_turn);
                }
                Ok(())
            }
            Err(source) => {
                // After a failed sync the system may have dropped the dirty pages: a second sync would lie.
                writer.poisoned = true;
                Err(StoreError::io("sync", shared.files.path(&name), source))
            }
        }
    }

    /// The record with this number, checked; `None` outside the log.
    pub fn get(&self, number: u64) -> Result<Option<Bytes>, StoreError> {
        let (file, salt, name, start, end) = {
            let index = self.shared.index.read();
            let after = index.partition_point(|segment| segment.first <= number);
            let Some(segment) = after.checked_sub(1).and_then(|at| index.get(at)) else { return Ok(None) };
            let at = (number - segment.first) as usize;
            let Some(&start) = segment.offsets.get(at) else { return Ok(None) };
            let end = segment.offsets.get(at + 1).copied().unwrap_or(segment.end);
            (Arc::clone(&segment.file), segment.salt.clone(), segment.name.clone(), start, end)
        };
        let path = || self.shared.files.path(&name);
        let mut buffer = vec![0; (end - start) as usize];
        file.read_at(start, &mut buffer).map_err(|source| StoreError::io("read", path(), source))?;
        let damaged = |what: &str| StoreError::Damaged { path: path(), offset: start, what: what.into() };
        let (header, payload) = frame::parse(&salt, &buffer).ok_or_else(|| damaged("a record fails its checksum"))?;
        if header.number != number || HEADER_BYTES + payload.len() != buffer.len() {
            return Err(damaged("a record has another number or length than its place"));
        }
        Ok(Some(Bytes::from(buffer).slice(HEADER_BYTES..)))
    }

    /// Reads and checks every record; the first damaged one is the error.
    pub fn verify(&self) -> Result<(), StoreError> {
        for number in self.first()..self.next() {
            self.get(number)?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for SegmentLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SegmentLog").field("path", &self.path()).field("next", &self.next()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
