//! Working files: what of them is allowed, and walking through their folder.

use std::path::Path;

use super::{FileEntry, Files, MAX_FILE_BYTES, MAX_FILES, MAX_PROJECT_BYTES, ProjectError, failed, paths};

pub(super) fn hash(content: &[u8]) -> String {
    hex::encode(konsort_crypto::hash::sha256(content))
}

pub(super) fn entries(files: &Files) -> Vec<FileEntry> {
    files
        .iter()
        .map(|(path, content)| FileEntry { path: path.clone(), size: content.len() as u64, hash: hash(content) })
        .collect()
}

pub(super) fn limit_count(count: usize) -> Result<(), ProjectError> {
    if count > MAX_FILES {
        return Err(ProjectError::TooLarge { what: "the number of files".into(), limit: MAX_FILES as u64 });
    }
    Ok(())
}

pub(super) fn limit_bytes(bytes: u64) -> Result<(), ProjectError> {
    if bytes > MAX_PROJECT_BYTES {
        return Err(ProjectError::TooLarge { what: "the size of all files in bytes".into(), limit: MAX_PROJECT_BYTES });
    }
    Ok(())
}

pub(super) fn bounded(files: &Files) -> Result<(), ProjectError> {
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

pub(super) fn read_bounded(place: &Path, path: &str) -> Result<Vec<u8>, ProjectError> {
    let size = place.metadata().map_err(failed("look at a file"))?.len();
    if size > MAX_FILE_BYTES {
        return Err(ProjectError::TooLarge { what: format!("the size of {path} in bytes"), limit: MAX_FILE_BYTES });
    }
    std::fs::read(place).map_err(failed("read a file"))
}

/// Every plain file below, with its path in the project. Links are not followed.
pub(super) fn walk(
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

pub(super) fn remove_empty_folders(root: &Path, mut folder: Option<&Path>) {
    while let Some(path) = folder.filter(|path| *path != root && path.starts_with(root)) {
        // Fails when it is not empty, which ends the climb.
        if std::fs::remove_dir(path).is_err() {
            return;
        }
        folder = path.parent();
    }
}
