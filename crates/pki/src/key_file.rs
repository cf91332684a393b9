//! Private key files: readable by their owner only, written whole or not at all.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use konsort_crypto::{KeyError, PrivateKey};

/// Files larger than this are no keys.
const MAX_LENGTH: u64 = 1 << 16;

/// Why a key file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file system said no.
    #[error("could not access the key file {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The contents are no key.
    #[error("could not read the key file {path}: {source}")]
    Key {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: KeyError,
    },
    /// The contents are not a key file at all.
    #[error("{path} is no key file: it is larger than 64 KiB or not text")]
    NotAKey {
        /// The file.
        path: PathBuf,
    },
}

/// Writes `key` as PKCS#8 PEM with mode 0600.
pub fn write(path: &Path, key: &PrivateKey) -> Result<(), KeyFileError> {
    write_secret(path, key.to_pkcs8_pem().as_bytes())
        .map_err(|source| KeyFileError::Io { path: path.to_owned(), source })
}

/// Writes bytes that are secret with mode 0600. The file appears under its name only when it is complete, so that an
/// interrupted run never leaves half a key; the mode is set at creation, so that no one can open it in between.
pub fn write_secret(path: &Path, contents: &[u8]) -> io::Result<()> {
    let file_name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{file_name}.{}.tmp", std::process::id()));
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    if temporary.exists() {
        fs::remove_file(&temporary)?;
    }
    let written = options.open(&temporary).and_then(|mut file| {
        file.write_all(contents)?;
        // Else the name could outlive a loss of power without what belongs under it.
        file.sync_all()
    });
    written.and_then(|()| fs::rename(&temporary, path)).inspect_err(|_| {
        let _ = fs::remove_file(&temporary);
    })
}

/// Reads the first private key of a PEM file.
pub fn read(path: &Path) -> Result<PrivateKey, KeyFileError> {
    let io = |source| KeyFileError::Io { path: path.to_owned(), source };
    if fs::metadata(path).map_err(io)?.len() > MAX_LENGTH {
        return Err(KeyFileError::NotAKey { path: path.to_owned() });
    }
    let contents = fs::read(path).map_err(io)?;
    let text = std::str::from_utf8(&contents).map_err(|_| KeyFileError::NotAKey { path: path.to_owned() })?;
    PrivateKey::from_pem(text).map_err(|source| KeyFileError::Key { path: path.to_owned(), source })
}

/// The first key in a folder whose subject key identifier is `ski`; files that are no keys are passed over.
pub fn find_by_ski(folder: &Path, ski: &[u8; 32]) -> Result<Option<PrivateKey>, KeyFileError> {
    let io = |source| KeyFileError::Io { path: folder.to_owned(), source };
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).map_err(io)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    Ok(paths
        .iter()
        .filter(|path| path.is_file())
        .filter_map(|path| read(path).ok())
        .find(|key| key.public_key().ski() == *ski))
}

#[cfg(test)]
mod tests {
    use super::*;
    use konsort_crypto::KeyKind;

    #[test]
    fn keys_are_private_found_by_identifier_and_not_confused_with_other_files() {
        let folder = tempfile::tempdir().unwrap();
        let key = PrivateKey::generate(KeyKind::EcdsaP256).unwrap();
        let path = folder.path().join("any name_sk");
        write(&path, &key).unwrap();
        fs::write(folder.path().join("a note.txt"), "no key").unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let found = find_by_ski(folder.path(), &key.public_key().ski()).unwrap().unwrap();
        assert_eq!(found.public_key(), key.public_key());
        assert!(find_by_ski(folder.path(), &[0; 32]).unwrap().is_none());
        assert!(read(&folder.path().join("a note.txt")).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        // Writing again replaces.
        write(&path, &PrivateKey::generate(KeyKind::Ed25519).unwrap()).unwrap();
        assert_eq!(read(&path).unwrap().kind(), KeyKind::Ed25519);
    }
}
