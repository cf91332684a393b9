//! The log on disk.
//!
//! One file at a time: `<sequence>.wal`, begun by a checkpoint (snapshot, hard state, the entries kept),
//! followed by one frame per write. Compaction writes the next file whole, makes it durable and removes
//! the older one. A frame is
//!
//! ```text
//! magic u32 | payload length u32 | durable length u64 | crc32 of the payload and the two fields before it u32 | payload
//! ```
//!
//! in little-endian order. "Durable length" is how much of the file was known to be on the disk when the
//! frame was written. It tells the two kinds of damage apart: a bad frame that no later frame vouches for
//! is a torn tail and is cut; one that a later frame calls durable is a damaged middle, and the file is
//! refused by name.

mod disk;
mod frame;
mod records;

use bytes::Bytes;

pub use disk::{Disk, DiskFile, FolderDisk};
pub use frame::{FRAME_HEADER, MAX_PAYLOAD, scan};

use crate::effects::Effects;
use crate::message::{Entry, HardState, Snapshot};
use crate::node::Node;
use records::Record;

/// What a log file held.
#[derive(Debug, Default, Clone)]
pub struct Recovered {
    /// Term, vote and commit.
    pub hard_state: HardState,
    /// The latest snapshot.
    pub snapshot: Snapshot,
    /// Index and term just before the first entry.
    pub compacted: (u64, u64),
    /// The entries, consecutive from `compacted.0 + 1`.
    pub entries: Vec<Entry>,
}

/// Why a log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WalError {
    /// The operating system said no.
    #[error("log file {file}: {source}; check the disk and the folder's permissions")]
    Io {
        /// The file at fault.
        file: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Bytes that were durable are not what was written.
    #[error(
        "log file {file} is damaged at byte {offset}: {reason}; restore this node from a copy or remove it from the cluster and join it again"
    )]
    Damaged {
        /// The file at fault.
        file: String,
        /// Where in the file.
        offset: u64,
        /// What is wrong there.
        reason: &'static str,
    },
    /// One write larger than a frame may be.
    #[error("a log write of {bytes} bytes exceeds the limit of {limit}; lower the batch size")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
}

/// An open log.
#[derive(Debug)]
pub struct Wal<D: Disk> {
    disk: D,
    sequence: u64,
    file: D::File,
    written: u64,
    durable: u64,
    buffer: Vec<u8>,
}

fn name_of(sequence: u64) -> String {
    format!("{sequence:016x}.wal")
}

fn sequence_of(name: &str) -> Option<u64> {
    u64::from_str_radix(name.strip_suffix(".wal")?, 16).ok()
}

fn io(file: &str) -> impl FnOnce(std::io::Error) -> WalError + '_ {
    move |source| WalError::Io { file: file.to_owned(), source }
}

impl<D: Disk> Wal<D> {
    /// Opens the newest complete log of the folder, or begins one; second value: what it held, none for a new log.
    pub fn open(mut disk: D) -> Result<(Self, Option<Recovered>), WalError> {
        let mut sequences: Vec<u64> =
            disk.list().map_err(io("(folder)"))?.iter().filter_map(|n| sequence_of(n)).collect();
        sequences.sort_unstable();
        while let Some(sequence) = sequences.pop() {
            let name = name_of(sequence);
            let bytes = Bytes::from(disk.read(&name).map_err(io(&name))?);
            let scanned =
                scan(&bytes).map_err(|(offset, reason)| WalError::Damaged { file: name.clone(), offset, reason })?;
            let Some(recovered) = records::replay(&scanned.payloads).map_err(|(frame, reason)| WalError::Damaged {
                file: name.clone(),
                offset: scanned.offsets[frame],
                reason,
            })?
            else {
                // Its checkpoint never became complete, so the file before it is still the log.
                disk.remove(&name).map_err(io(&name))?;
                continue;
            };
            for older in sequences {
                let older = name_of(older);
                disk.remove(&older).map_err(io(&older))?;
            }
            let mut file = disk.open(&name).map_err(io(&name))?;
            if scanned.valid_length < bytes.len() as u64 {
                tracing::warn!(
                    file = name,
                    from = scanned.valid_length,
                    to = bytes.len(),
                    "cut a torn tail off the log"
                );
                file.truncate(scanned.valid_length).map_err(io(&name))?;
            }
            // What was read may still sit in a cache only; from here on it is vouched for.
            file.sync().map_err(io(&name))?;
            let length = scanned.valid_length;
            return Ok((
                Self { disk, sequence, file, written: length, durable: length, buffer: Vec::new() },
                Some(recovered),
            ));
        }
        let name = name_of(1);
        let file = disk.open(&name).map_err(io(&name))?;
        let mut wal = Self { disk, sequence: 1, file, written: 0, durable: 0, buffer: Vec::new() };
        wal.begin(&Recovered::default())?;
        Ok((wal, None))
    }

    /// Writes what a batch of steps needs written, with at most one sync.
    pub fn save(&mut self, effects: &Effects) -> Result<(), WalError> {
        let mut records = Vec::new();
        if let Some(snapshot) = &effects.snapshot {
            records.push(Record::Snapshot(snapshot));
        }
        records.extend(effects.entries.iter().map(Record::Entry));
        if let Some(hard_state) = &effects.hard_state {
            records.push(Record::HardState(*hard_state));
        }
        if records.is_empty() {
            return Ok(());
        }
        self.write(&records)?;
        if effects.must_sync {
            self.sync()?;
        }
        Ok(())
    }

    /// Begins a new file that holds the node's snapshot and the entries it kept, and drops the old one.
    pub fn checkpoint(&mut self, node: &Node) -> Result<(), WalError> {
        let log = node.log();
        let state = Recovered {
            hard_state: node.hard_state(),
            snapshot: log.snapshot.clone(),
            compacted: log.compaction_point(),
            entries: log.range(log.first_index(), log.last_index()).cloned().collect(),
        };
        let old = name_of(self.sequence);
        self.sequence += 1;
        let name = name_of(self.sequence);
        self.file = self.disk.open(&name).map_err(io(&name))?;
        self.written = 0;
        self.durable = 0;
        self.begin(&state)?;
        self.disk.remove(&old).map_err(io(&old))
    }

    fn begin(&mut self, state: &Recovered) -> Result<(), WalError> {
        self.write(&[
            Record::Begin(state.compacted),
            Record::Snapshot(&state.snapshot),
            Record::HardState(state.hard_state),
        ])?;
        // A batch may be larger than a frame, so the entries go one frame each.
        for entry in &state.entries {
            self.write(&[Record::Entry(entry)])?;
        }
        self.write(&[Record::Complete])?;
        self.sync()?;
        let name = name_of(self.sequence);
        self.disk.sync_folder().map_err(io(&name))
    }

    fn write(&mut self, records: &[Record<'_>]) -> Result<(), WalError> {
        self.buffer.clear();
        frame::begin(&mut self.buffer);
        for record in records {
            record.encode(&mut self.buffer);
        }
        let bytes = self.buffer.len() - FRAME_HEADER;
        if bytes > MAX_PAYLOAD {
            return Err(WalError::TooLarge { bytes, limit: MAX_PAYLOAD });
        }
        frame::finish(&mut self.buffer, self.durable);
        self.file.append(&self.buffer).map_err(io(&name_of(self.sequence)))?;
        self.written += self.buffer.len() as u64;
        if self.buffer.capacity() > 8 << 20 {
            self.buffer = Vec::new();
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), WalError> {
        self.file.sync().map_err(io(&name_of(self.sequence)))?;
        self.durable = self.written;
        Ok(())
    }

    /// Bytes in the current file.
    pub fn size(&self) -> u64 {
        self.written
    }

    /// Gives the disk back, as after a crash.
    pub fn into_disk(self) -> D {
        self.disk
    }
}

/// Reads the bytes of one log file as [`Wal::open`] would; for tools and fuzzing.
pub fn inspect(bytes: &Bytes) -> Result<Option<Recovered>, (u64, &'static str)> {
    let scanned = scan(bytes)?;
    records::replay(&scanned.payloads).map_err(|(frame, reason)| (scanned.offsets[frame], reason))
}
