//! The folder of installed compilers: one folder per version with the unmodified file and a record of it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::pragma::Release;
use super::{CompilerError, CompilerInfo, failed};
use crate::values::Suite;

pub(super) const SOLJSON: &str = "soljson.js";
const INFO: &str = "info.json";
/// The largest soljson file; those of today have 9 MB, asm.js ones up to 25 MB.
pub(super) const MAX_SOLJSON_BYTES: u64 = 64 * 1024 * 1024;

/// Whether a version can be the name of a folder: digits and dots, and `-gm`.
fn is_version(version: &str) -> bool {
    version.len() <= 20 && Release::parse(version).is_some()
}

pub(super) fn find(store: &Path, version: &str) -> Result<Option<CompilerInfo>, CompilerError> {
    if !is_version(version) {
        return Ok(None);
    }
    let folder = store.join(version);
    let text = match std::fs::read(folder.join(INFO)) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(CompilerError::Io { what: format!("read the record of {version}"), source }),
    };
    let info: Option<CompilerInfo> = serde_json::from_slice(&text).ok();
    let size = folder.join(SOLJSON).metadata().map_or(0, |found| found.len());
    // A damaged record or file counts as not installed: installing again repairs it.
    Ok(info.filter(|info| info.version == version && info.size == size))
}

pub(super) fn installed(store: &Path) -> Result<Vec<CompilerInfo>, CompilerError> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(store).map_err(failed("list the compilers"))?.flatten() {
        if let Some(name) = entry.file_name().to_str()
            && let Some(info) = find(store, name)?
        {
            found.push(info);
        }
    }
    Ok(found)
}

pub(super) fn absent(version: &str) -> CompilerInfo {
    CompilerInfo {
        version: version.to_owned(),
        long_version: String::new(),
        installed: false,
        origin: "published".into(),
        suite: Suite::Keccak,
        size: 0,
        sha256: String::new(),
    }
}

pub(super) fn remove(store: &Path, version: &str) -> Result<(), CompilerError> {
    if find(store, version)?.is_none() {
        return Err(CompilerError::NotInstalled(version.to_owned()));
    }
    std::fs::remove_dir_all(store.join(version)).map_err(failed("remove the compiler"))
}

/// A folder inside the store that goes away unless it is kept.
#[derive(Debug)]
pub(super) struct Scratch {
    folder: PathBuf,
}

impl Scratch {
    pub(super) fn new(store: &Path) -> Result<Self, CompilerError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = store.join(format!(".scratch-{}-{count}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).map_err(failed("make a scratch folder"))?;
        Ok(Self { folder })
    }

    pub(super) fn path(&self) -> &Path {
        &self.folder
    }

    /// Makes it the folder of a compiler.
    pub(super) fn keep(self, store: &Path, info: &CompilerInfo) -> Result<(), CompilerError> {
        let text = serde_json::to_vec_pretty(info).unwrap_or_default();
        std::fs::write(self.folder.join(INFO), text).map_err(failed("write the compiler's record"))?;
        let target = store.join(&info.version);
        if target.exists() {
            std::fs::remove_dir_all(&target).map_err(failed("replace the compiler"))?;
        }
        std::fs::rename(&self.folder, &target).map_err(failed("keep the compiler"))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Gone already when it was kept.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
