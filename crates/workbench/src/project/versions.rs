//! Immutable versions of a project, kept by content.

use std::path::PathBuf;

use super::working::{entries, hash};
use super::{FileDiff, FileEntry, MAX_VERSIONS, Project, ProjectError, Version, changes, failed, paths};

impl Project {
    /// Keeps the working files as a version; gives the newest one back when nothing has changed since. `now` is in milliseconds
    /// since 1970.
    pub fn commit(&self, author: &str, message: &str, now: i64) -> Result<Version, ProjectError> {
        let _alone = self.lock()?;
        let files = self.working()?;
        let listed = entries(&files);
        let content_hash = version_hash(&listed);
        let numbers = self.numbers()?;
        let newest = numbers.last().copied();
        if let Some(newest) = newest {
            let version = self.version(newest)?;
            if version.hash == content_hash {
                return Ok(version);
            }
        }
        if numbers.len() >= MAX_VERSIONS {
            return Err(ProjectError::TooLarge { what: "the number of versions".into(), limit: MAX_VERSIONS as u64 });
        }
        for (entry, content) in listed.iter().zip(files.values()) {
            let place = self.folder.join("objects").join(&entry.hash);
            if !place.is_file() {
                self.write_atomically(&place, content)?;
            }
        }
        let version = Version {
            number: newest.unwrap_or(0) + 1,
            hash: content_hash,
            created_at: now,
            author: author.chars().take(200).collect(),
            message: message.chars().take(2000).collect(),
            files: listed,
        };
        let text = serde_json::to_vec_pretty(&version)
            .map_err(|error| ProjectError::Damaged { path: self.folder.clone(), why: error.to_string() })?;
        self.write_atomically(&self.record(version.number), &text)?;
        Ok(version)
    }

    /// All versions, newest first.
    pub fn versions(&self) -> Result<Vec<Version>, ProjectError> {
        self.numbers()?.into_iter().rev().map(|number| self.version(number)).collect()
    }

    /// At most `limit` versions below the number `before`, newest first and without their lists of files; with none, the newest.
    pub fn version_page(&self, before: Option<u32>, limit: usize) -> Result<Vec<Version>, ProjectError> {
        let below = self.numbers()?.into_iter().rev().filter(|number| before.is_none_or(|before| *number < before));
        below.take(limit).map(|number| Ok(Version { files: Vec::new(), ..self.version(number)? })).collect()
    }

    /// One version.
    pub fn version(&self, number: u32) -> Result<Version, ProjectError> {
        let path = self.record(number);
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
        let files = self.files(Some(number))?;
        let _alone = self.lock()?;
        self.replace_files(&files)
    }

    fn record(&self, number: u32) -> PathBuf {
        self.folder.join("versions").join(format!("{number}.json"))
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

/// SHA-256 over lines of hash and path; paths hold no line ends.
fn version_hash(files: &[FileEntry]) -> String {
    let lines: Vec<String> = files.iter().map(|entry| format!("{} {}\n", entry.hash, entry.path)).collect();
    hash(lines.concat().as_bytes())
}
