//! Zip archives: read with every count bounded by what is really unpacked, written the same way each time.

use std::io::{Cursor, Read as _, Write as _};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::paths::check;
use super::{Files, MAX_FILE_BYTES, MAX_FILES, MAX_PROJECT_BYTES, ProjectError};

/// The most entries of an archive, folders and skipped ones included.
const MAX_ENTRIES: usize = 20_000;
/// What is left out of archives: what tools make, and their records.
const SKIPPED: [&str; 6] = ["node_modules", ".git", "target", "__MACOSX", ".DS_Store", ".svn"];

/// The files of an archive. A single folder around everything is taken off.
pub(super) fn read(archive: &[u8]) -> Result<Files, ProjectError> {
    let failed = |error: zip::result::ZipError| ProjectError::Archive(error.to_string());
    if archive.len() as u64 > 2 * MAX_PROJECT_BYTES {
        return Err(ProjectError::TooLarge {
            what: "the archive's size in bytes".into(),
            limit: 2 * MAX_PROJECT_BYTES,
        });
    }
    let mut archive = ZipArchive::new(Cursor::new(archive)).map_err(failed)?;
    if archive.len() > MAX_ENTRIES {
        return Err(ProjectError::TooLarge {
            what: "the number of entries of the archive".into(),
            limit: MAX_ENTRIES as u64,
        });
    }
    let mut files = Files::new();
    let mut total = 0_u64;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(failed)?;
        // The raw name is checked, not the library's idea of a safe one: a trick is refused, not repaired.
        let name = String::from_utf8(entry.name_raw().to_vec())
            .map_err(|_| ProjectError::Archive("a name in it is not UTF-8".into()))?;
        if entry.is_dir() || name.split('/').any(|part| SKIPPED.contains(&part)) {
            continue;
        }
        check(&name)?;
        if entry.is_symlink() || !entry.is_file() {
            return Err(ProjectError::Path { path: name, why: "links do not belong into a project" });
        }
        if files.len() >= MAX_FILES {
            return Err(ProjectError::TooLarge { what: "the number of files".into(), limit: MAX_FILES as u64 });
        }
        // What the header says of the size is not believed: one byte more than allowed is read, and no further.
        let mut content = Vec::new();
        let read = entry.by_ref().take(MAX_FILE_BYTES + 1).read_to_end(&mut content);
        read.map_err(|error| ProjectError::Archive(format!("{name}: {error}")))?;
        if content.len() as u64 > MAX_FILE_BYTES {
            return Err(ProjectError::TooLarge { what: format!("the size of {name} in bytes"), limit: MAX_FILE_BYTES });
        }
        total += content.len() as u64;
        if total > MAX_PROJECT_BYTES {
            return Err(ProjectError::TooLarge {
                what: "the size of all files in bytes".into(),
                limit: MAX_PROJECT_BYTES,
            });
        }
        if files.insert(name.clone(), content).is_some() {
            return Err(ProjectError::Archive(format!("{name} is in it twice")));
        }
    }
    Ok(without_folder_around(files))
}

fn without_folder_around(files: Files) -> Files {
    let Some(top) = files.keys().next().and_then(|path| path.split_once('/')).map(|(top, _)| format!("{top}/")) else {
        return files;
    };
    // A folder of sources is not a folder around the project.
    let usual = ["src/", "contracts/", "lib/", "test/"].contains(&top.as_str());
    if usual || !files.keys().all(|path| path.starts_with(&top)) {
        return files;
    }
    files.into_iter().map(|(path, content)| (path[top.len()..].to_owned(), content)).collect()
}

/// An archive of the files.
pub(super) fn write(files: &Files) -> Result<Vec<u8>, ProjectError> {
    let failed = |error: zip::result::ZipError| ProjectError::Archive(error.to_string());
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .last_modified_time(zip::DateTime::default())
        .unix_permissions(0o644);
    for (path, content) in files {
        writer.start_file(path.as_str(), options).map_err(failed)?;
        writer.write_all(content).map_err(|error| ProjectError::Archive(error.to_string()))?;
    }
    Ok(writer.finish().map_err(failed)?.into_inner())
}
