//! Unpacking a code archive into a folder: only plain files and folders, only inside, only so much.

use std::{
    io::Read,
    path::{Component, Path, PathBuf},
};

use flate2::read::GzDecoder;

use crate::error::PackageError;

/// The most bytes that a code archive may unpack to.
const MAX_CODE_BYTES: u64 = 1024 * 1024 * 1024;
/// The most entries that a code archive may have.
const MAX_CODE_ENTRIES: u64 = 100_000;

/// Unpacks the gzip tar `code` into `folder`, which must exist. Links, devices and names that leave the folder are refused, so
/// nothing outside is touched. Permissions are reduced to 0600 (0700 for files that were executable).
pub fn unpack_code(code: &[u8], folder: &Path) -> Result<(), PackageError> {
    let mut archive = tar::Archive::new(GzDecoder::new(code).take(MAX_CODE_BYTES + 1));
    let mut total = 0;
    let entries = archive.entries().map_err(|error| PackageError::Tar(error.to_string()))?;
    for (count, entry) in (1..).zip(entries) {
        let mut entry = entry.map_err(|error| PackageError::Tar(error.to_string()))?;
        if count > MAX_CODE_ENTRIES {
            return Err(PackageError::TooLarge { what: "number of code files".into(), limit: MAX_CODE_ENTRIES });
        }
        total += entry.size();
        if total > MAX_CODE_BYTES {
            return Err(PackageError::TooLarge { what: "unpacked code bytes".into(), limit: MAX_CODE_BYTES });
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let kind = entry.header().entry_type();
        if kind.is_pax_global_extensions() {
            continue;
        }
        let target = safe_join(folder, &name).ok_or_else(|| PackageError::UnsafePath(name.clone()))?;
        if kind.is_dir() {
            std::fs::create_dir_all(&target).map_err(PackageError::io("could not create", &target))?;
            continue;
        }
        if !kind.is_file() {
            return Err(PackageError::NotAFile { name, kind: kind.as_byte() });
        }
        if let Some(parent) = target.parent() {
            std::fs::create_dir_all(parent).map_err(PackageError::io("could not create", parent))?;
        }
        let executable = entry.header().mode().is_ok_and(|mode| mode & 0o111 != 0);
        let mut file = std::fs::File::create(&target).map_err(PackageError::io("could not create", &target))?;
        std::io::copy(&mut entry, &mut file)
            .map_err(|error| PackageError::Tar(format!("could not read {name}: {error}")))?;
        set_mode(&file, if executable { 0o700 } else { 0o600 })
            .map_err(PackageError::io("could not set permissions of", &target))?;
    }
    Ok(())
}

fn set_mode(file: &std::fs::File, mode: u32) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(mode))
}

/// `name` below `folder`, if it stays there.
fn safe_join(folder: &Path, name: &str) -> Option<PathBuf> {
    if name.len() > 4096 || name.contains('\0') {
        return None;
    }
    let mut target = folder.to_path_buf();
    for component in Path::new(name).components() {
        match component {
            Component::Normal(part) => target.push(part),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    (target != folder || name.trim_end_matches('/') == ".").then_some(target)
}

#[cfg(test)]
mod tests {
    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn archive(entries: &[(&str, tar::EntryType, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (name, kind, content) in entries {
            let mut header = tar::Header::new_ustar();
            // The library's own setter refuses hostile names, so the field is written directly.
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_size(content.len() as u64);
            header.set_mode(0o755);
            header.set_cksum();
            builder.append(&header, *content).unwrap();
        }
        builder.into_inner().unwrap().finish().unwrap()
    }

    #[test]
    fn plain_files_and_folders_are_unpacked() {
        let folder = tempfile::tempdir().unwrap();
        let bytes =
            archive(&[("src/", tar::EntryType::Directory, b""), ("./src/a.txt", tar::EntryType::Regular, b"hello")]);
        unpack_code(&bytes, folder.path()).unwrap();
        assert_eq!(std::fs::read(folder.path().join("src/a.txt")).unwrap(), b"hello");
    }

    #[test]
    fn names_and_links_that_lead_outside_are_refused() {
        for (name, kind) in [
            ("../evil", tar::EntryType::Regular),
            ("src/../../evil", tar::EntryType::Regular),
            ("/etc/evil", tar::EntryType::Regular),
            ("link", tar::EntryType::Symlink),
            ("hard", tar::EntryType::Link),
            ("device", tar::EntryType::Char),
            ("fifo", tar::EntryType::Fifo),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let inside = folder.path().join("inside");
            std::fs::create_dir(&inside).unwrap();
            assert!(unpack_code(&archive(&[(name, kind, b"")]), &inside).is_err(), "{name}");
            assert!(!folder.path().join("evil").exists());
        }
    }

    #[test]
    fn a_bomb_is_refused_before_it_is_written() {
        let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        let mut header = tar::Header::new_gnu();
        header.set_path("src/zeros").unwrap();
        header.set_size(MAX_CODE_BYTES + 1);
        header.set_cksum();
        // The header alone is enough: the size is believed before a byte of content is read.
        builder.get_mut().write_all(header.as_bytes()).unwrap();
        let bytes = builder.into_inner().unwrap().finish().unwrap();
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(unpack_code(&bytes, folder.path()), Err(PackageError::TooLarge { .. })));
        assert!(!folder.path().join("src/zeros").exists());
    }

    use std::io::Write as _;
}
