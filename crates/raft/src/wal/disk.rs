//! The folder a log lives in.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;

/// A folder; the real one, or one that loses what was not synced.
pub trait Disk: Debug {
    /// An open file of the folder.
    type File: DiskFile;
    /// Names of all files.
    fn list(&mut self) -> io::Result<Vec<String>>;
    /// A file's bytes.
    fn read(&mut self, name: &str) -> io::Result<Vec<u8>>;
    /// Opens for appending, creating the file when it is not there.
    fn open(&mut self, name: &str) -> io::Result<Self::File>;
    /// Removes a file.
    fn remove(&mut self, name: &str) -> io::Result<()>;
    /// Makes creations and removals durable.
    fn sync_folder(&mut self) -> io::Result<()>;
}

/// An open file.
pub trait DiskFile: Debug {
    /// Appends all bytes.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes everything appended durable.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts to a length.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
}

/// A folder of the file system.
#[derive(Debug)]
pub struct FolderDisk {
    path: PathBuf,
}

impl FolderDisk {
    /// Uses `path`, creating it when it is not there.
    pub fn new(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        fs::create_dir_all(&path)?;
        Ok(Self { path })
    }
}

impl Disk for FolderDisk {
    type File = File;

    fn list(&mut self) -> io::Result<Vec<String>> {
        fs::read_dir(&self.path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn read(&mut self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.path.join(name))
    }

    fn open(&mut self, name: &str) -> io::Result<File> {
        OpenOptions::new().create(true).append(true).open(self.path.join(name))
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

impl DiskFile for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }
}
