//! A contract's files on the server: a folder, immutable versions of it by content, and archives in and out.

mod archive;
mod changes;
mod paths;

pub(crate) use paths::place;

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
///
/// `files/` holds the working files, `objects/` contents by hash, `versions/` one record per version. Writes are atomic: a file is
/// whole, old or new, after a crash. Calls of one project exclude each other only where versions get their numbers; files are
/// protected by the `expected` hash.
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
        // A replacement of all files that was cut short between its two renames.
        let (files, old) = (project.files_folder(), folder.join(OLD));
        if !files.is_dir() && old.is_dir() {
            std::fs::rename(&old, &files).map_err(failed("bring back the project's files"))?;
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
        for entry in self.list()? {
            if let Some(rest) = entry.path.strip_prefix(from).filter(|rest| rest.starts_with('/')) {
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
            let mut files = Files::new();
            let mut bytes = 0;
            walk(&self.files_folder(), "", 0, &mut |path, place| {
                let content = read_bounded(place, &path)?;
                bytes += content.len() as u64;
                limit_bytes(bytes)?;
                files.insert(path, content);
                limit_count(files.len())
            })?;
            return Ok(files);
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
        self.replace_files(&files)?;
        Ok(entries(&files))
    }

    /// The files as a zip archive, the same bytes for the same files.
    pub fn export_zip(&self, version: Option<u32>) -> Result<Vec<u8>, ProjectError> {
        archive::write(&self.files(version)?)
    }

    /// Keeps the working files as a version; gives the newest one back when nothing has changed since. `now` is in milliseconds
    /// since 1970.
    pub fn commit(&self, author: &str, message: &str, now: i64) -> Result<Version, ProjectError> {
        let files = self.files(None)?;
        let listed = entries(&files);
        let content_hash = version_hash(&listed);
        loop {
            let numbers = self.numbers()?;
            let newest = numbers.last().copied();
            if let Some(newest) = newest {
                let version = self.version(newest)?;
                if version.hash == content_hash {
                    return Ok(version);
                }
            }
            if numbers.len() >= MAX_VERSIONS {
                return Err(ProjectError::TooLarge {
                    what: "the number of versions".into(),
                    limit: MAX_VERSIONS as u64,
                });
            }
            for (entry, content) in listed.iter().zip(files.values()) {
                let place = self.folder.join("objects").join(&entry.hash);
                if !place.is_file() {
                    self.write_atomically(&place, content)?;
                }
            }
            let version = Version {
                number: newest.unwrap_or(0) + 1,
                hash: content_hash.clone(),
                created_at: now,
                author: author.chars().take(200).collect(),
                message: message.chars().take(2000).collect(),
                files: listed.clone(),
            };
            if self.keep(&version)? {
                return Ok(version);
            }
            // Somebody else took the number; look again.
        }
    }

    /// All versions, newest first.
    pub fn versions(&self) -> Result<Vec<Version>, ProjectError> {
        self.numbers()?.into_iter().rev().map(|number| self.version(number)).collect()
    }

    /// One version.
    pub fn version(&self, number: u32) -> Result<Version, ProjectError> {
        let path = self.folder.join("versions").join(format!("{number}.json"));
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(ProjectError::NotFound(format!("version {number}")));
            }
            Err(source) => return Err(ProjectError::Io { what: format!("read version {number}"), source }),
        };
        let damaged = |why: String| ProjectError::Damaged { path: path.clone(), why };
        let version: Version = serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
        for entry in &version.files {
            paths::check(&entry.path)?;
            if entry.hash.len() != 64 || !entry.hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(damaged(format!("{:?} is no hash", entry.hash)));
            }
        }
        if version_hash(&version.files) != version.hash {
            return Err(damaged("its hash is not that of its files".into()));
        }
        Ok(version)
    }

    /// What changed from one version to another; `None` means the working files.
    pub fn diff(&self, from: Option<u32>, to: Option<u32>) -> Result<Vec<FileDiff>, ProjectError> {
        Ok(changes::between(&self.files(from)?, &self.files(to)?))
    }

    /// Makes the files of a version the working files.
    pub fn restore(&self, number: u32) -> Result<(), ProjectError> {
        self.replace_files(&self.files(Some(number))?)
    }

    fn files_folder(&self) -> PathBuf {
        self.folder.join("files")
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

    /// Puts other files in the place of all working ones: written beside, then renamed.
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

    /// Keeps a version's record unless its number is taken.
    fn keep(&self, version: &Version) -> Result<bool, ProjectError> {
        let text = serde_json::to_vec_pretty(version)
            .map_err(|error| ProjectError::Damaged { path: self.folder.clone(), why: error.to_string() })?;
        let beside = self.folder.join("versions").join(format!(".{}-{}", version.number, version.hash));
        let place = self.folder.join("versions").join(format!("{}.json", version.number));
        self.write_atomically(&beside, &text)?;
        // A link, unlike a rename, fails when the name is taken.
        let linked = std::fs::hard_link(&beside, &place);
        let _ = std::fs::remove_file(&beside);
        match linked {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
            Err(source) => Err(ProjectError::Io { what: "keep the version".into(), source }),
        }
    }

    /// The numbers of all versions, in order.
    fn numbers(&self) -> Result<Vec<u32>, ProjectError> {
        let folder = std::fs::read_dir(self.folder.join("versions")).map_err(failed("list the versions"))?;
        let mut numbers: Vec<u32> = folder
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".json")?.parse().ok())
            .collect();
        numbers.sort_unstable();
        Ok(numbers)
    }
}

const NEW: &str = "files.new";
const OLD: &str = "files.old";

fn failed(what: &'static str) -> impl Fn(std::io::Error) -> ProjectError {
    move |source| ProjectError::Io { what: what.to_owned(), source }
}

fn hash(content: &[u8]) -> String {
    hex::encode(konsort_crypto::hash::sha256(content))
}

fn entries(files: &Files) -> Vec<FileEntry> {
    files
        .iter()
        .map(|(path, content)| FileEntry { path: path.clone(), size: content.len() as u64, hash: hash(content) })
        .collect()
}

/// SHA-256 over lines of hash and path; paths hold no line ends.
fn version_hash(files: &[FileEntry]) -> String {
    let lines: Vec<String> = files.iter().map(|entry| format!("{} {}\n", entry.hash, entry.path)).collect();
    hash(lines.concat().as_bytes())
}

fn limit_count(count: usize) -> Result<(), ProjectError> {
    if count > MAX_FILES {
        return Err(ProjectError::TooLarge { what: "the number of files".into(), limit: MAX_FILES as u64 });
    }
    Ok(())
}

fn limit_bytes(bytes: u64) -> Result<(), ProjectError> {
    if bytes > MAX_PROJECT_BYTES {
        return Err(ProjectError::TooLarge { what: "the size of all files in bytes".into(), limit: MAX_PROJECT_BYTES });
    }
    Ok(())
}

fn bounded(files: &Files) -> Result<(), ProjectError> {
    limit_count(files.len())?;
    limit_bytes(files.values().map(|content| content.len() as u64).sum())?;
    for (path, content) in files {
        paths::check(path)?;
        if content.len() as u64 > MAX_FILE_BYTES {
            return Err(ProjectError::TooLarge { what: format!("the size of {path} in bytes"), limit: MAX_FILE_BYTES });
        }
        // A file cannot also be a folder of another one.
        let mut folder = path.as_str();
        while let Some((above, _)) = folder.rsplit_once('/') {
            if files.contains_key(above) {
                return Err(ProjectError::Path {
                    path: path.clone(),
                    why: "a file has the name of one of its folders",
                });
            }
            folder = above;
        }
    }
    Ok(())
}

fn read_bounded(place: &Path, path: &str) -> Result<Vec<u8>, ProjectError> {
    let size = place.metadata().map_err(failed("look at a file"))?.len();
    if size > MAX_FILE_BYTES {
        return Err(ProjectError::TooLarge { what: format!("the size of {path} in bytes"), limit: MAX_FILE_BYTES });
    }
    std::fs::read(place).map_err(failed("read a file"))
}

/// Every plain file below, with its path in the project. Links are not followed.
fn walk(
    folder: &Path,
    prefix: &str,
    depth: usize,
    each: &mut dyn FnMut(String, &Path) -> Result<(), ProjectError>,
) -> Result<(), ProjectError> {
    if depth > paths::MAX_DEPTH {
        return Ok(());
    }
    let found = std::fs::read_dir(folder).map_err(failed("list the project's files"))?;
    for entry in found.flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            walk(&entry.path(), &path, depth + 1, each)?;
        } else if kind.is_file() {
            each(path, &entry.path())?;
        }
    }
    Ok(())
}

fn remove_empty_folders(root: &Path, mut folder: Option<&Path>) {
    while let Some(path) = folder.filter(|path| *path != root && path.starts_with(root)) {
        // Fails when it is not empty, which ends the climb.
        if std::fs::remove_dir(path).is_err() {
            return;
        }
        folder = path.parent();
    }
}
