//! Is what lies in the folder what the engine wrote?
//!
//! The engine checks each block of rows when it reads it, but not the list of its tables, and it counts on its marker files. What it finds
//! wrong while running is remembered for the next opening in a file of our own.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use xxhash_rust::xxh3::xxh3_128;

use super::engine;
use crate::StoreError;

/// There while an error that may mean damage has not been looked into.
const SUSPECT: &str = "suspect";
/// There while the store is being opened: how many openings in a row did not come to an end.
const OPENING: &str = "opening";
/// So many may be killed by chance; then the store is taken for what kills them.
const OPENINGS: u8 = 3;
/// The engine's names.
const VERSION: &str = "version";
const TREES: &str = "keyspaces";
const CURRENT: &str = "current";

#[derive(Debug)]
pub(super) struct Health {
    path: PathBuf,
    suspect: AtomicBool,
}

/// Removes the note of an opening that came to an end, well or not.
#[derive(Debug)]
pub(super) struct Opening(PathBuf);

impl Drop for Opening {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}

impl Health {
    pub(super) fn of(path: &Path) -> Self {
        let suspect = AtomicBool::new(path.join(SUSPECT).exists());
        Self { path: path.to_path_buf(), suspect }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Notes that an opening begins; refused after several that ended the process.
    pub(super) fn begin_opening(&self) -> Result<Opening, StoreError> {
        let note = Opening(self.path.join(OPENING));
        let before = std::fs::read(&note.0).ok().and_then(|bytes| bytes.first().copied()).unwrap_or(0);
        if before >= OPENINGS {
            return Err(engine(&self.path, format!("the last {before} attempts to open it ended the process")));
        }
        // Only a help: a full disk is reported by who needs it.
        std::fs::write(&note.0, [before + 1]).ok();
        Ok(note)
    }

    pub(super) fn is_suspect(&self) -> bool {
        self.suspect.load(Ordering::Relaxed)
    }

    /// From now on an opening reads everything first.
    pub(super) fn suspect(&self) {
        if !self.suspect.swap(true, Ordering::Relaxed) {
            std::fs::write(self.path.join(SUSPECT), []).ok();
        }
    }

    pub(super) fn is_fine_after_all(&self) {
        self.suspect.store(false, Ordering::Relaxed);
        std::fs::remove_file(self.path.join(SUSPECT)).ok();
    }
}

/// An error of the engine in our words: [`StoreError::Engine`] when it may mean that the files are damaged.
pub(super) fn translate(path: &Path, error: fjall::Error) -> StoreError {
    let source = match error {
        fjall::Error::Locked => return StoreError::InUse { path: path.to_path_buf() },
        // A full disk as well as a table that compaction could not read.
        fjall::Error::Poisoned => return StoreError::Poisoned { path: path.to_path_buf() },
        fjall::Error::Io(source) | fjall::Error::Storage(fjall::LsmError::Io(source)) => source,
        other => return engine(path, other.to_string()),
    };
    match source.kind() {
        // What a missing, cut or overwritten file looks like.
        ErrorKind::NotFound
        | ErrorKind::AlreadyExists
        | ErrorKind::UnexpectedEof
        | ErrorKind::InvalidData
        | ErrorKind::InvalidInput
        | ErrorKind::IsADirectory
        | ErrorKind::NotADirectory => engine(path, source.to_string()),
        _ => StoreError::io("use", path, source),
    }
}

fn names(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let failed = |source| StoreError::io("list", folder, source);
    let entries = std::fs::read_dir(folder).map_err(failed)?;
    entries.map(|entry| Ok(entry.map_err(failed)?.path())).collect()
}

fn is_empty(folder: &Path) -> Result<bool, StoreError> {
    if folder.exists() { Ok(names(folder)?.is_empty()) } else { Ok(true) }
}

/// False for a folder in which the engine will make a new database. Leftovers of an interrupted creation are removed.
pub(super) fn holds_a_database(path: &Path) -> Result<bool, StoreError> {
    if path.join(VERSION).exists() {
        return Ok(true);
    }
    if !is_empty(&path.join(TREES))? {
        return Err(engine(path, format!("its file {VERSION:?} is missing")));
    }
    for journal in super::journal::active(path)? {
        std::fs::remove_file(&journal).map_err(|source| StoreError::io("remove", journal, source))?;
    }
    Ok(false)
}

/// Checks the list of tables of each tree, which the engine believes without looking at its checksum.
pub(super) fn check_manifests(path: &Path) -> Result<(), StoreError> {
    let trees = path.join(TREES);
    let read = |path: &Path| match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StoreError::io("read", path, source)),
    };
    if !trees.exists() {
        return Err(engine(path, "its trees are missing"));
    }
    for tree in names(&trees)? {
        let damaged = |what: &str| Err(engine(&tree, what));
        let Some(current) = read(&tree.join(CURRENT))? else {
            // The engine would drop the tree without a word.
            if is_empty(&tree.join("tables"))? {
                continue;
            }
            return damaged("the name of its list of tables is missing");
        };
        let Some((version, checksum)) = parse_current(&current) else {
            return damaged("the name of its list of tables is damaged");
        };
        let Some(manifest) = read(&tree.join(format!("v{version}")))? else {
            return damaged("its list of tables is missing");
        };
        if xxh3_128(&manifest) != checksum {
            return damaged("its list of tables is not what was written");
        }
    }
    Ok(())
}

/// Number of the newest list of tables, its checksum, and the kind of that checksum.
fn parse_current(bytes: &[u8]) -> Option<(u64, u128)> {
    const XXH3: u8 = 0;
    let version = u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?);
    let checksum = u128::from_le_bytes(bytes.get(8..24)?.try_into().ok()?);
    (bytes.get(24..)? == [XXH3]).then_some((version, checksum))
}
