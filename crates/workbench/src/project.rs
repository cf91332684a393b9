//! A contract's files on the server: a folder, immutable versions of it by content, and archives in and out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a project is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Language {
    /// Solidity, for the BCOS engine.
    Solidity,
    /// JavaScript, for Fabric.
    Javascript,
    /// TypeScript, for Fabric.
    Typescript,
    /// Go, for Fabric.
    Go,
    /// Rust, for Fabric.
    Rust,
}

/// Most bytes of one file.
pub const MAX_FILE_BYTES: u64 = 2 * 1024 * 1024;
/// Most bytes of all files of a project.
pub const MAX_PROJECT_BYTES: u64 = 32 * 1024 * 1024;
/// Most files of a project.
pub const MAX_FILES: usize = 2000;
/// Most versions of a project.
pub const MAX_VERSIONS: usize = 10_000;

/// Why a project operation was refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// A path that is not allowed.
    #[error("the path {path:?} is not allowed: {why}")]
    Path {
        /// The path.
        path: String,
        /// Why not.
        why: &'static str,
    },
    /// No such file or version.
    #[error("{0} is not in the project")]
    NotFound(String),
    /// Somebody else changed the file meanwhile.
    #[error("{path} has changed since it was read (now {now}); read it again and repeat the change")]
    Changed {
        /// The file.
        path: String,
        /// Its hash now; `nothing` when it is gone.
        now: String,
    },
    /// A limit is exceeded.
    #[error("{what} is more than the limit of {limit}")]
    TooLarge {
        /// What is too large.
        what: String,
        /// The limit.
        limit: u64,
    },
    /// The archive cannot be read.
    #[error("the archive cannot be read: {0}; make it with a standard zip program, without encryption")]
    Archive(String),
    /// The project's own records are damaged.
    #[error("{} is damaged: {why}; restore it from a backup", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A file operation failed.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
}

/// A file of a project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FileEntry {
    /// Path in the project, `/` between folders.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of the content, hex.
    pub hash: String,
}

/// An immutable version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Version {
    /// From 1 on.
    pub number: u32,
    /// SHA-256 over paths and contents, hex: equal content, equal hash.
    pub hash: String,
    /// Milliseconds since 1970.
    pub created_at: i64,
    /// Who made it.
    pub author: String,
    /// What is new in it.
    pub message: String,
    /// Its files.
    pub files: Vec<FileEntry>,
}

/// How one file differs between two versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FileDiff {
    /// Path.
    pub path: String,
    /// `added`, `removed` or `changed`.
    pub change: String,
    /// Unified diff; empty for files that are not text.
    pub diff: String,
    /// Lines added.
    pub added: u32,
    /// Lines removed.
    pub removed: u32,
    /// Whether the file is not text.
    pub binary: bool,
}

/// The files of a project by path.
pub type Files = BTreeMap<String, Vec<u8>>;

/// A project in its folder.
#[derive(Debug, Clone)]
pub struct Project {
    folder: PathBuf,
}
impl Project {
    /// Makes a project with these files in a folder that does not exist yet.
    pub fn create(folder: &Path, files: &Files) -> Result<Self, ProjectError> {
        todo!()
    }
    /// Opens a project.
    pub fn open(folder: &Path) -> Result<Self, ProjectError> {
        todo!()
    }
    /// Removes the project with all its versions.
    pub fn remove(self) -> Result<(), ProjectError> {
        todo!()
    }
    /// The working files, by path.
    pub fn list(&self) -> Result<Vec<FileEntry>, ProjectError> {
        todo!()
    }
    /// One working file.
    pub fn read(&self, path: &str) -> Result<Vec<u8>, ProjectError> {
        todo!()
    }
    /// Writes one working file; with `expected` only when its hash is still that (`""`: only when it is new).
    pub fn write(&self, path: &str, content: &[u8], expected: Option<&str>) -> Result<FileEntry, ProjectError> {
        todo!()
    }
    /// Removes a working file, or a folder with everything in it.
    pub fn delete(&self, path: &str) -> Result<(), ProjectError> {
        todo!()
    }
    /// Gives a working file or folder another path.
    pub fn rename(&self, from: &str, to: &str) -> Result<(), ProjectError> {
        todo!()
    }
    /// All files: working ones, or those of a version.
    pub fn files(&self, version: Option<u32>) -> Result<Files, ProjectError> {
        todo!()
    }
    /// Replaces all working files by those of a zip archive. Nothing changes when the archive is refused.
    pub fn import_zip(&self, archive: &[u8]) -> Result<Vec<FileEntry>, ProjectError> {
        todo!()
    }
    /// The files as a zip archive, the same bytes for the same files.
    pub fn export_zip(&self, version: Option<u32>) -> Result<Vec<u8>, ProjectError> {
        todo!()
    }
    /// Keeps the working files as a version; gives the newest one back when nothing has changed since.
    pub fn commit(&self, author: &str, message: &str, now: i64) -> Result<Version, ProjectError> {
        todo!()
    }
    /// All versions, newest first.
    pub fn versions(&self) -> Result<Vec<Version>, ProjectError> {
        todo!()
    }
    /// One version.
    pub fn version(&self, number: u32) -> Result<Version, ProjectError> {
        todo!()
    }
    /// What changed from one version to another; `None` means the working files.
    pub fn diff(&self, from: Option<u32>, to: Option<u32>) -> Result<Vec<FileDiff>, ProjectError> {
        todo!()
    }
    /// Makes the files of a version the working files.
    pub fn restore(&self, number: u32) -> Result<(), ProjectError> {
        todo!()
    }
}
