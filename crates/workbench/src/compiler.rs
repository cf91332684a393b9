//! Solidity: a store of compilers, and compiling in a process of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::interface::Interface;
use crate::values::Suite;
use crate::{Diagnostic, Tools};

/// Where compilers are and how they run.
#[derive(Debug, Clone)]
pub struct CompilerSettings {
    /// Folder of the installed compilers.
    pub store: PathBuf,
    /// The machine's programs.
    pub tools: Tools,
    /// Registry to install from; `None`: what the machine's npm is set to, else the public one.
    pub registry: Option<String>,
    /// Folder with further sources by import path (`@openzeppelin/contracts/…`); optional.
    pub library: Option<PathBuf>,
    /// How long one compilation may take.
    pub time: Duration,
    /// How much memory a compiler process may use, bytes.
    pub memory: u64,
    /// How many compiler processes are kept ready.
    pub processes: usize,
}

/// Why compiling could not even begin, or a compiler could not be installed. What is wrong with sources is a [`Diagnostic`].
#[derive(Debug, thiserror::Error)]
pub enum CompilerError {
    /// Not in the list of published compilers.
    #[error("there is no compiler {version} to install; known are {known}; others can be uploaded")]
    Unknown {
        /// What was asked for.
        version: String,
        /// The list.
        known: String,
    },
    /// Not in the store.
    #[error("the compiler {0} is not installed; install it in the settings, or upload its soljson file")]
    NotInstalled(String),
    /// A program is missing on the server.
    #[error("{program} is not on this server's PATH: {remedy}")]
    MissingProgram {
        /// Which.
        program: String,
        /// What to do.
        remedy: String,
    },
    /// The download failed.
    #[error(
        "compiler {version} cannot be downloaded: {why}; check the registry and the connection, or upload the file"
    )]
    Download {
        /// Which.
        version: String,
        /// What the tool said.
        why: String,
    },
    /// The file is not what was published.
    #[error("the file of compiler {version} has the hash {found}, not {expected}; it is not used")]
    Integrity {
        /// Which.
        version: String,
        /// As published.
        expected: String,
        /// As downloaded.
        found: String,
    },
    /// The uploaded file is no compiler.
    #[error("this file is no Solidity compiler: {0}; upload the unmodified soljson file of a release")]
    NotACompiler(String),
    /// The compiler process failed.
    #[error("the compiler process failed: {0}")]
    Process(String),
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

/// A compiler that is there or can be installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CompilerInfo {
    /// `0.8.26`, `0.4.25-gm`.
    pub version: String,
    /// As the compiler names itself; empty when not installed.
    pub long_version: String,
    /// Whether it is in the store.
    pub installed: bool,
    /// `published`, `uploaded` or `native` (a `solc` on the server's PATH).
    pub origin: String,
    /// The hash its selectors are made with.
    pub suite: Suite,
    /// Bytes of the soljson file; 0 when not installed or native.
    pub size: u64,
    /// SHA-256 of the soljson file, hex; empty when not installed or native.
    pub sha256: String,
}

/// What to compile.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct CompileRequest {
    /// Sources by path.
    pub sources: BTreeMap<String, String>,
    /// Compiler version; `None`: the newest that every pragma allows, installed ones first.
    #[serde(default)]
    pub version: Option<String>,
    /// Optimizer runs; `None`: 200.
    #[serde(default)]
    pub runs: Option<u32>,
    /// Whether to leave the optimizer out.
    #[serde(default)]
    pub no_optimizer: bool,
    /// EVM version; `None`: the newest that both the compiler and the chain know.
    #[serde(default)]
    pub evm_version: Option<String>,
    /// Compile through the intermediate language.
    #[serde(default)]
    pub via_ir: bool,
}

/// What came out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Compilation {
    /// Whether there are contracts and no errors.
    pub ok: bool,
    /// The compiler used; empty when none could be chosen.
    pub compiler: String,
    /// The hash its selectors are made with.
    pub suite: Suite,
    /// What it found.
    pub diagnostics: Vec<Diagnostic>,
    /// Contracts, by file and name.
    pub contracts: Vec<CompiledContract>,
    /// Paths by the source numbers of source maps.
    pub source_ids: BTreeMap<u32, String>,
    /// Every source that was compiled, also those from the library.
    pub sources: BTreeMap<String, String>,
}

/// A compiled contract.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CompiledContract {
    /// Its file.
    pub file: String,
    /// Its name.
    pub name: String,
    /// Whether it can be deployed (interfaces and abstract contracts cannot).
    pub deployable: bool,
    /// The ABI.
    #[schema(value_type = Vec<Object>)]
    pub abi: Value,
    /// Creation code, hex with 0x.
    pub bytecode: String,
    /// Code on the chain, hex with 0x.
    pub deployed_bytecode: String,
    /// Bytes on the chain.
    pub size: u64,
    /// Source map of the creation code.
    pub source_map: String,
    /// Source map of the code on the chain.
    pub deployed_source_map: String,
    /// Storage layout; null for compilers before 0.5.13.
    #[schema(value_type = Object)]
    pub storage_layout: Value,
    /// Keccak selectors by signature.
    pub selectors: BTreeMap<String, String>,
    /// SM3 selectors by signature.
    pub selectors_sm3: BTreeMap<String, String>,
    /// Libraries that must be linked first (`file:Name`).
    pub links: Vec<String>,
    /// The compiler's metadata document.
    pub metadata: String,
    /// The interface document.
    pub interface: Interface,
}

/// The compilers of a server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Compilers {
    settings: CompilerSettings,
}

impl Compilers {
    /// Opens the store; makes its folder when needed.
    pub fn new(settings: CompilerSettings) -> Result<Self, CompilerError> {
        todo!()
    }
    /// Every compiler that is installed or can be, newest first.
    pub async fn list(&self) -> Result<Vec<CompilerInfo>, CompilerError> {
        todo!()
    }
    /// Installs a published compiler, checked against its pinned hash; nothing happens when it is there.
    pub async fn install(&self, version: &str) -> Result<CompilerInfo, CompilerError> {
        todo!()
    }
    /// Puts an uploaded soljson file into the store; with `sha256` only when the file has this hash.
    pub async fn upload(&self, file: &[u8], sha256: Option<&str>) -> Result<CompilerInfo, CompilerError> {
        todo!()
    }
    /// Takes a compiler out of the store.
    pub async fn remove(&self, version: &str) -> Result<(), CompilerError> {
        todo!()
    }
    /// The soljson file of an installed compiler, for browsers.
    pub fn soljson(&self, version: &str) -> Option<PathBuf> {
        todo!()
    }
    /// The version for these sources: the newest one that every pragma allows, installed ones first.
    pub async fn choose(&self, sources: &BTreeMap<String, String>) -> Result<String, Vec<Diagnostic>> {
        todo!()
    }
    /// Compiles; installs the compiler first when it is published but not there.
    pub async fn compile(&self, request: CompileRequest) -> Result<Compilation, CompilerError> {
        todo!()
    }
}
