//! Build outputs, kept per package: a folder is complete or absent.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::file_name;

const INFO_FILE: &str = "build-info.json";

/// What is kept of a build beside its files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BuildInfo {
    /// Who built it.
    pub(crate) builder_name: String,
    /// What runs it, in the builder's own words.
    #[serde(default)]
    pub(crate) run: Vec<String>,
}

/// The folder of build outputs.
#[derive(Debug, Clone)]
pub(crate) struct Builds {
    folder: PathBuf,
}

/// A build in progress: a folder that goes away unless it is kept.
#[derive(Debug)]
pub(crate) struct Scratch {
    folder: PathBuf,
    target: PathBuf,
}

impl Builds {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder of a finished build.
    pub(crate) fn path(&self, package_id: &str) -> PathBuf {
        self.folder.join(file_name(package_id))
    }

    /// A finished build.
    pub(crate) fn cached(&self, package_id: &str) -> Result<Option<BuildInfo>, String> {
        let path = self.path(package_id).join(INFO_FILE);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("could not read '{}' for build info: {error}", path.display())),
        };
        serde_json::from_slice(&text).map(Some).map_err(|error| {
            format!("malformed build info at '{}': {error}; remove that folder to build again", path.display())
        })
    }

    /// Begins a build.
    pub(crate) fn scratch(&self, package_id: &str) -> Result<Scratch, String> {
        let target = self.path(package_id);
        let folder = self.folder.join(format!(".building-{}", file_name(package_id)));
        let failed = |error: std::io::Error| format!("cannot prepare the build folder {}: {error}", folder.display());
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        std::fs::create_dir_all(&folder).map_err(failed)?;
        Ok(Scratch { folder, target })
    }
}

impl Scratch {
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes a folder in it.
    pub(crate) fn make(&self, name: &str) -> Result<PathBuf, String> {
        let path = self.folder.join(name);
        std::fs::create_dir_all(&path).map_err(|error| format!("cannot create {}: {error}", path.display()))?;
        Ok(path)
    }

    /// Makes it the finished build of its package.
    pub(crate) fn keep(self, info: &BuildInfo) -> Result<(), String> {
        let keep = || -> std::io::Result<()> {
            std::fs::write(self.folder.join(INFO_FILE), serde_json::to_vec(info)?)?;
            if self.target.exists() {
                std::fs::remove_dir_all(&self.target)?;
            }
            std::fs::rename(&self.folder, &self.target)
        };
        keep().map_err(|error| format!("cannot keep the build output in {}: {error}", self.target.display()))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Gone already when it was kept.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
