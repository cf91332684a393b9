//! The few file operations a log needs, so that a double can lose, tear and refuse them.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::StoreError;

/// The files of one log.
pub trait LogFiles: Send + Sync {
    /// Names of all files, in any order.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Opens a file for reading and writing; creates it when absent.
    fn open(&self, name: &str) -> io::Result<Arc<dyn LogFile>>;

    /// Makes creations of files durable.
    fn sync_folder(&self) -> io::Result<()>;

    /// The place of a file, for messages; of the folder for an empty name.
    fn path(&self, name: &str) -> PathBuf;
}

/// One file of a log.
pub trait LogFile: Send + Sync {
    /// Size, bytes.
    fn size(&self) -> io::Result<u64>;

    /// Fills `buffer` from `offset` on; an error when the file ends before.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Writes all parts one after another from `offset` on.
    fn write_at(&self, offset: u64, parts: &[&[u8]]) -> io::Result<()>;

    /// Cuts the file.
    fn truncate(&self, size: u64) -> io::Result<()>;

    /// Makes the content durable.
    fn sync(&self) -> io::Result<()>;
}

/// A folder that one owner has open; others are refused until it is dropped (or its process ends).
#[derive(Debug)]
pub(crate) struct FolderLock(#[expect(dead_code, reason = "held, not used")] File);

impl FolderLock {
    /// Locks the file `name` in `folder`.
    pub(crate) fn take(folder: &Path, name: &str) -> Result<Self, StoreError> {
        let path = folder.join(name);
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|source| StoreError::io("open", &path, source))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self(lock)),
            Err(std::fs::TryLockError::WouldBlock) => Err(StoreError::InUse { path: folder.to_path_buf() }),
            Err(std::fs::TryLockError::Error(source)) => Err(StoreError::io("lock", &path, source)),
        }
    }
}

/// Files in a folder of the file system, locked against a second opener.
#[derive(Debug)]
pub struct FolderFiles {
    folder: PathBuf,
    _lock: FolderLock,
}

impl FolderFiles {
    /// Opens the folder, creating it when absent.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        std::fs::create_dir_all(folder).map_err(|source| StoreError::io("create", folder, source))?;
        Ok(Self { folder: folder.to_path_buf(), _lock: FolderLock::take(folder, "lock")? })
    }
}

impl LogFiles for FolderFiles {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn LogFile>> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(self.folder.join(name))?;
        Ok(Arc::new(DiskFile(file)))
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }

    fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.folder.clone() } else { self.folder.join(name) }
    }
}

struct DiskFile(File);

impl LogFile for DiskFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn write_at(&self, mut offset: u64, parts: &[&[u8]]) -> io::Result<()> {
        // Small parts travel together; a large one is not copied.
        const TOGETHER: usize = 64 << 10;
        let mut pending: Vec<u8> = Vec::new();
        for part in parts {
            if pending.len() + part.len() <= TOGETHER {
                pending.extend_from_slice(part);
                continue;
            }
            self.0.write_all_at(&pending, offset)?;
            offset += pending.len() as u64;
            pending.clear();
            if part.len() <= TOGETHER {
                pending.extend_from_slice(part);
            } else {
                self.0.write_all_at(part, offset)?;
                offset += part.len() as u64;
            }
        }
        self.0.write_all_at(&pending, offset)
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.0.set_len(size)?;
        self.0.sync_all()
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}
