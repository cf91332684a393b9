//! Installed packages on disk: one file per package, named by label and hash as upstream names them (`label.hash.tar.gz`).

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use bytes::Bytes;

use super::{Package, PackageInfo, package_id};
use crate::error::PackageError;

const SUFFIX: &str = ".tar.gz";

/// The folder of installed packages.
#[derive(Debug, Clone)]
pub struct PackageStore {
    folder: PathBuf,
}

impl PackageStore {
    /// Opens the folder, creating it when it is not there; half-written files of an earlier crash are removed.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, PackageError> {
        let folder = folder.into();
        std::fs::create_dir_all(&folder).map_err(PackageError::io("could not create", &folder))?;
        for entry in std::fs::read_dir(&folder).map_err(PackageError::io("could not read", &folder))? {
            let path = entry.map_err(PackageError::io("could not read", &folder))?.path();
            if path.extension().is_some_and(|extension| extension == "partial") {
                std::fs::remove_file(&path).map_err(PackageError::io("could not remove", &path))?;
            }
        }
        Ok(Self { folder })
    }

    /// Keeps a package; the bytes are on the disk when this returns.
    pub fn save(&self, package: &Package, bytes: &Bytes) -> Result<(), PackageError> {
        let path = self.path(package.id()).ok_or_else(|| PackageError::NotFound(package.id().to_owned()))?;
        if path.exists() && self.load(package.id()).is_ok() {
            return Ok(());
        }
        let partial = path.with_extension("partial");
        let write = || -> std::io::Result<()> {
            let mut file = std::fs::File::create(&partial)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            std::fs::rename(&partial, &path)?;
            std::fs::File::open(&self.folder)?.sync_all()
        };
        write().map_err(PackageError::io("error writing chaincode install package to", path.clone()))
    }

    /// The bytes of a package, checked against its id.
    pub fn load(&self, id: &str) -> Result<Bytes, PackageError> {
        let not_found = || PackageError::NotFound(id.to_owned());
        let path = self.path(id).ok_or_else(not_found)?;
        let bytes = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(not_found()),
            result => result.map_err(PackageError::io("error reading chaincode install package at", &path))?,
        };
        let label = id.rsplit_once(':').map_or(id, |(label, _hash)| label);
        if package_id(label, &bytes) != id {
            return Err(PackageError::Damaged { id: id.to_owned(), path });
        }
        Ok(bytes.into())
    }

    /// Reads and parses a package.
    pub fn package(&self, id: &str) -> Result<Package, PackageError> {
        Package::parse(self.load(id)?)
    }

    /// Whether a package is there.
    pub fn contains(&self, id: &str) -> bool {
        self.path(id).is_some_and(|path| path.exists())
    }

    /// All installed packages, in the order of their file names.
    pub fn list(&self) -> Result<Vec<PackageInfo>, PackageError> {
        let mut packages = Vec::new();
        for entry in std::fs::read_dir(&self.folder)
            .map_err(PackageError::io("error reading chaincode directory at", &self.folder))?
        {
            let entry = entry.map_err(PackageError::io("error reading chaincode directory at", &self.folder))?;
            if let Some(info) = entry.file_name().to_str().and_then(info_of_file) {
                packages.push(info);
            }
        }
        packages.sort();
        Ok(packages)
    }

    /// Removes a package; one that is not there is fine.
    pub fn remove(&self, id: &str) -> Result<(), PackageError> {
        let Some(path) = self.path(id) else { return Ok(()) };
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(PackageError::io("could not remove", &path)(error))
            }
            _ => Ok(()),
        }
    }

    /// The file of a package id, when the id has the form of one.
    fn path(&self, id: &str) -> Option<PathBuf> {
        let (label, hash) = id.rsplit_once(':')?;
        super::validate_label(label).ok()?;
        let is_hash = hash.len() == 64 && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_hash.then(|| Path::new(&self.folder).join(format!("{label}.{hash}{SUFFIX}")))
    }
}

fn info_of_file(name: &str) -> Option<PackageInfo> {
    let (label, hash) = name.strip_suffix(SUFFIX)?.rsplit_once('.')?;
    super::validate_label(label).ok()?;
    (hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .then(|| PackageInfo { package_id: format!("{label}:{hash}"), label: label.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::{Metadata, pack};

    #[test]
    fn packages_outlive_the_store_and_damage_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let metadata = Metadata { label: "basic_1.0".into(), kind: "ccaas".into(), path: String::new() };
        let bytes = Bytes::from(pack(&metadata, b"code").unwrap());
        let package = Package::parse(bytes.clone()).unwrap();
        PackageStore::open(folder.path()).unwrap().save(&package, &bytes).unwrap();

        let store = PackageStore::open(folder.path()).unwrap();
        assert_eq!(store.list().unwrap(), [package.info()]);
        assert_eq!(store.load(package.id()).unwrap(), bytes);
        assert!(matches!(store.load("basic_1.0:00"), Err(PackageError::NotFound(_))));
        assert!(matches!(store.load("../x:y"), Err(PackageError::NotFound(_))));

        let file = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
        std::fs::write(&file, b"other").unwrap();
        assert!(matches!(store.load(package.id()), Err(PackageError::Damaged { .. })));
        store.save(&package, &bytes).unwrap();
        assert_eq!(store.load(package.id()).unwrap(), bytes, "installing again repairs");
        store.remove(package.id()).unwrap();
        assert!(store.list().unwrap().is_empty());
    }
}
