//! Fabric chaincode: from a project's files to a package in upstream's format.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::project::{Files, Language};
use crate::{Diagnostic, Tools};

/// Where and how builds run.
#[derive(Debug, Clone)]
pub struct BuilderSettings {
    /// Folder for scratch folders, one per build, removed afterwards.
    pub scratch: PathBuf,
    /// Folder of downloads that builds share.
    pub cache: PathBuf,
    /// The machine's programs.
    pub tools: Tools,
    /// npm registry; `None`: what the machine's npm is set to.
    pub registry: Option<String>,
    /// Folder of the Rust chaincode library's sources (`crates` of a checkout); without it Rust projects need their own copy.
    pub shim: Option<PathBuf>,
    /// How long a build may take.
    pub time: Duration,
    /// How much memory all processes of a build may use together, bytes.
    pub memory: u64,
    /// How many builds run at once; others wait.
    pub at_once: usize,
}

/// Why a build could not run. What is wrong with the sources is a [`Diagnostic`].
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Not a language of chaincode.
    #[error("{0:?} contracts are compiled, not built into a chaincode package")]
    NotChaincode(Language),
    /// The label is not allowed.
    #[error(
        "the label {0:?} is not allowed: letters and digits first, then letters, digits and any of . + - _, at most 100 characters"
    )]
    Label(String),
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

/// What to build.
#[derive(Debug, Clone)]
pub struct BuildRequest {
    /// The project's language.
    pub language: Language,
    /// Its files.
    pub files: Files,
    /// The package's label (`asset_1.0`).
    pub label: String,
}

/// What came out.
#[derive(Debug, Clone)]
pub struct Build {
    /// Whether there is a package.
    pub ok: bool,
    /// What the tools found.
    pub diagnostics: Vec<Diagnostic>,
    /// The package.
    pub package: Option<ChaincodePackage>,
}

/// A chaincode package.
#[derive(Debug, Clone)]
pub struct ChaincodePackage {
    /// Label and hash, as peers will name it.
    pub id: String,
    /// Its label.
    pub label: String,
    /// `node`, `golang` or `rust`.
    pub kind: String,
    /// The file.
    pub bytes: Vec<u8>,
}

/// A toolchain of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Toolchain {
    /// What it builds.
    pub languages: Vec<Language>,
    /// Its program (`npm`, `go`, `cargo`).
    pub program: String,
    /// What it says of its version; empty when missing.
    pub version: String,
    /// Whether it is there.
    pub found: bool,
    /// What to do when it is not, English.
    pub remedy: String,
    /// The same, Chinese.
    pub remedy_zh: String,
}

/// How a build tells its log, line by line.
pub type BuildLog<'a> = &'a (dyn Fn(String) + Send + Sync);

/// Builds chaincode. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Builder {
    settings: BuilderSettings,
}

impl Builder {
    /// Makes the folders when needed and removes what builds of an earlier run left.
    pub fn new(settings: BuilderSettings) -> Result<Self, BuildError> {
        todo!()
    }
    /// The toolchains that this machine has or lacks.
    pub async fn toolchains(&self) -> Vec<Toolchain> {
        todo!()
    }
    /// Builds a package; faults of the sources are in its diagnostics.
    pub async fn build(&self, request: BuildRequest, log: BuildLog<'_>) -> Result<Build, BuildError> {
        todo!()
    }
}
