//! A contract's files on the server: a folder, immutable versions of it by content, and archives in and out.

mod archive;
mod changes;
mod paths;
mod versions;
mod working;

pub(crate) use paths::place;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use working::{bounded, entries, hash, limit_bytes, limit_count, read_bounded, remove_empty_folders, walk};

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
///
/// `files/` holds the working files, `objects/` contents by hash, `versions/` one record per version. Writes are atomic: a file is
/// whole, old or new, after a crash. Calls that change a project exclude each other and readers of all its files, whichever process
/// they are in.
#[derive(Debug, Clone)]
pub struct Project {
    folder: PathBuf,
}

impl Project {
    /// Makes a project with these files in a folder that does not exist yet.
    pub fn create(folder: &Path, files: &Files) -> Result<Self, ProjectError> {
        bounded(files)?;
        let project = Self { folder: folder.to_path_buf() };
        let parent = folder.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent).map_err(failed("make the folder of projects"))?;
        std::fs::create_dir(folder).map_err(failed("make the project's folder"))?;
        for name in ["objects", "versions"] {
            std::fs::create_dir(folder.join(name)).map_err(failed("make the project's folder"))?;
        }
        project.replace_files(files)?;
        Ok(project)
    }

    /// Opens a project.
    pub fn open(folder: &Path) -> Result<Self, ProjectError> {
        let project = Self { folder: folder.to_path_buf() };
        let (files, old) = (project.files_folder(), folder.join(OLD));
        if !files.is_dir() && old.is_dir() {
            // A replacement of all files is between its two renames, or was cut short there.
            let _alone = project.lock()?;
            if !files.is_dir() {
                std::fs::rename(&old, &files).map_err(failed("bring back the project's files"))?;
            }
        }
        if !files.is_dir() {
            return Err(ProjectError::NotFound(folder.display().to_string()));
        }
        Ok(project)
    }

    /// Removes the project with all its versions.
    pub fn remove(self) -> Result<(), ProjectError> {
        std::fs::remove_dir_all(&self.folder).map_err(failed("remove the project"))
    }

    /// The working files, by path.
    pub fn list(&self) -> Result<Vec<FileEntry>, ProjectError> {
        Ok(entries(&self.files(None)?))
    }

    /// One working file.
    pub fn read(&self, path: &str) -> Result<Vec<u8>, ProjectError> {
        let place = paths::place(&self.files_folder(), path)?;
        match place.symlink_metadata() {
            Ok(found) if found.is_file() => read_bounded(&place, path),
            _ => Err(ProjectError::NotFound(path.to_owned())),
        }
    }

    /// Writes one working file; with `expected` only when its hash is still that (`""`: only when it is new).
    pub fn write(&self, path: &str, content: &[u8], expected: Option<&str>) -> Result<FileEntry, ProjectError> {
        let _alone = self.lock()?;
        let place = paths::place(&self.files_folder(), path)?;
        if place.is_dir() {
            return Err(ProjectError::Path { path: path.to_owned(), why: "a folder has this name" });
        }
        if content.len() as u64 > MAX_FILE_BYTES {
            return Err(ProjectError::TooLarge { what: format!("the size of {path} in bytes"), limit: MAX_FILE_BYTES });
        }
        let before = match self.read(path) {
            Ok(before) => Some(before),
            Err(ProjectError::NotFound(_)) => None,
            Err(other) => return Err(other),
        };
        if let Some(expected) = expected {
            let now = before.as_deref().map_or_else(String::new, hash);
            if now != expected {
                let now = if now.is_empty() { "nothing".to_owned() } else { now };
                return Err(ProjectError::Changed { path: path.to_owned(), now });
            }
        }
        let (count, bytes) = self.size()?;
        let old = before.as_ref().map_or(0, |before| before.len() as u64);
        limit_count(count + usize::from(before.is_none()))?;
        limit_bytes(bytes - old.min(bytes) + content.len() as u64)?;
        if let Some(parent) = place.parent() {
            std::fs::create_dir_all(parent).map_err(|source| match source.kind() {
                std::io::ErrorKind::NotADirectory | std::io::ErrorKind::AlreadyExists => {
                    ProjectError::Path { path: path.to_owned(), why: "a file has the name of one of its folders" }
                }
                _ => ProjectError::Io { what: format!("make the folder of {path}"), source },
            })?;
        }
        self.write_atomically(&place, content)?;
        Ok(FileEntry { path: path.to_owned(), size: content.len() as u64, hash: hash(content) })
    }

    /// Removes a working file, or a folder with everything in it.
    pub fn delete(&self, path: &str) -> Result<(), ProjectError> {
        let _alone = self.lock()?;
        let root = self.files_folder();
        let place = paths::place(&root, path)?;
        match place.symlink_metadata() {
            Ok(found) if found.is_dir() => {
                std::fs::remove_dir_all(&place).map_err(failed("remove the folder"))?;
            }
            Ok(_) => std::fs::remove_file(&place).map_err(failed("remove the file"))?,
            Err(_) => return Err(ProjectError::NotFound(path.to_owned())),
        }
        remove_empty_folders(&root, place.parent());
        Ok(())
    }

    /// Gives a working file or folder another path.
    pub fn rename(&self, from: &str, to: &str) -> Result<(), ProjectError> {
        let _alone = self.lock()?;
        let root = self.files_folder();
        let (source, target) = (paths::place(&root, from)?, paths::place(&root, to)?);
        if source.symlink_metadata().is_err() {
            return Err(ProjectError::NotFound(from.to_owned()));
        }
        if target.symlink_metadata().is_ok() {
            return Err(ProjectError::Path { path: to.to_owned(), why: "something has this name already" });
        }
        if target.starts_with(&source) {
            return Err(ProjectError::Path { path: to.to_owned(), why: "a folder cannot move into itself" });
        }
        // What is inside a folder gets longer paths, which must be allowed too.
        for path in self.working()?.keys() {
            if let Some(rest) = path.strip_prefix(from).filter(|rest| rest.starts_with('/')) {
                paths::check(&format!("{to}{rest}"))?;
            }
        }
        if let Some(parent) = target.parent() {
            std::fs::create_dir_all(parent).map_err(failed("make the new folder"))?;
        }
        std::fs::rename(&source, &target).map_err(failed("rename"))?;
        remove_empty_folders(&root, source.parent());
        Ok(())
    }

    /// All files: working ones, or those of a version.
    pub fn files(&self, version: Option<u32>) -> Result<Files, ProjectError> {
        let Some(number) = version else {
            let lock = self.lock_file()?;
            lock.lock_shared().map_err(failed("wait for the project"))?;
            return self.working();
        };
        let version = self.version(number)?;
        version
            .files
            .into_iter()
            .map(|entry| {
                let place = self.folder.join("objects").join(&entry.hash);
                let content = std::fs::read(&place).map_err(failed("read a file of the version"))?;
                if hash(&content) != entry.hash {
                    return Err(ProjectError::Damaged {
                        path: place,
                        why: "its content is not that of its name".into(),
                    });
                }
                Ok((entry.path, content))
            })
            .collect()
    }

    /// Replaces all working files by those of a zip archive. Nothing changes when the archive is refused.
    pub fn import_zip(&self, archive: &[u8]) -> Result<Vec<FileEntry>, ProjectError> {
        let files = archive::read(archive)?;
        bounded(&files)?;
        let _alone = self.lock()?;
        self.replace_files(&files)?;
        Ok(entries(&files))
    }

    /// The files as a zip archive, the same bytes for the same files.
    pub fn export_zip(&self, version: Option<u32>) -> Result<Vec<u8>, ProjectError> {
        archive::write(&self.files(version)?)
    }

    fn files_folder(&self) -> PathBuf {
        self.folder.join("files")
    }

    /// Waits until nobody else reads or changes the working files; the lock ends with what this gives.
    fn lock(&self) -> Result<File, ProjectError> {
        let file = self.lock_file()?;
        file.lock().map_err(failed("wait for the project"))?;
        Ok(file)
    }

    fn lock_file(&self) -> Result<File, ProjectError> {
        let mut options = File::options();
        options.create(true).truncate(false).write(true);
        options.open(self.folder.join(".lock")).map_err(failed("open the project's lock"))
    }

    /// The working files, for those who hold the lock.
    fn working(&self) -> Result<Files, ProjectError> {
        let mut files = Files::new();
        let mut bytes = 0;
        walk(&self.files_folder(), "", 0, &mut |path, place| {
            let content = read_bounded(place, &path)?;
            bytes += content.len() as u64;
            limit_bytes(bytes)?;
            files.insert(path, content);
            limit_count(files.len())
        })?;
        Ok(files)
    }

    /// Count and bytes of the working files.
    fn size(&self) -> Result<(usize, u64), ProjectError> {
        let (mut count, mut bytes) = (0, 0);
        walk(&self.files_folder(), "", 0, &mut |_, place| {
            count += 1;
            bytes += place.metadata().map_or(0, |found| found.len());
            Ok(())
        })?;
        Ok((count, bytes))
    }

    /// Puts other files in the place of all working ones: written beside, then exchanged.
    fn replace_files(&self, files: &Files) -> Result<(), ProjectError> {
        let (new, old, current) = (self.folder.join(NEW), self.folder.join(OLD), self.files_folder());
        for left in [&new, &old] {
            if left.exists() {
                std::fs::remove_dir_all(left).map_err(failed("clear the way for new files"))?;
            }
        }
        std::fs::create_dir(&new).map_err(failed("make a folder for new files"))?;
        for (path, content) in files {
            let place = paths::place(&new, path)?;
            if let Some(parent) = place.parent() {
                std::fs::create_dir_all(parent).map_err(failed("make a folder"))?;
            }
            std::fs::write(&place, content).map_err(failed("write a file"))?;
        }
        if renameat_with(CWD, &new, CWD, &current, RenameFlags::EXCHANGE).is_ok() {
            return std::fs::remove_dir_all(&new).map_err(failed("remove the old files"));
        }
        // There are none yet, or the file system cannot exchange.
        if current.exists() {
            std::fs::rename(&current, &old).map_err(failed("put the old files aside"))?;
        }
        std::fs::rename(&new, &current).map_err(failed("put the new files in place"))?;
        if old.exists() {
            std::fs::remove_dir_all(&old).map_err(failed("remove the old files"))?;
        }
        Ok(())
    }

    fn write_atomically(&self, place: &Path, content: &[u8]) -> Result<(), ProjectError> {
        static WRITES: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let count = WRITES.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let beside = self.folder.join(format!(".writing-{}-{count}", std::process::id()));
        let write = || -> std::io::Result<()> {
            let mut file = std::fs::File::create(&beside)?;
            std::io::Write::write_all(&mut file, content)?;
            file.sync_all()?;
            std::fs::rename(&beside, place)
        };
        write().map_err(|source| {
            let _ = std::fs::remove_file(&beside);
            ProjectError::Io { what: format!("write {}", place.display()), source }
        })
    }
}

const NEW: &str = "files.new";
const OLD: &str = "files.old";

fn failed(what: &'static str) -> impl Fn(std::io::Error) -> ProjectError {
    move |source| ProjectError::Io { what: what.to_owned(), source }
}
