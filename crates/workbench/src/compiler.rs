//! Solidity: a store of compilers, and compiling in a process of its own.

mod hints;
mod output;
mod pragma;
mod published;
mod source;
mod store;
mod worker;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::interface::Interface;
use crate::values::Suite;
use crate::{Diagnostic, Tools};
use pragma::Release;

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

impl CompilerSettings {
    /// Sensible limits: a minute and 2 GiB for one compilation, two processes kept ready.
    pub fn new(store: PathBuf, tools: Tools) -> Self {
        Self {
            store,
            tools,
            registry: None,
            library: None,
            time: Duration::from_mins(1),
            memory: 2 << 30,
            processes: 2,
        }
    }
}

/// The compilers of a server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Compilers {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: CompilerSettings,
    workers: worker::Workers,
    /// One installation at a time: two requests for the same compiler must not write over each other.
    installing: tokio::sync::Mutex<()>,
}

impl Compilers {
    /// Opens the store; makes its folder when needed.
    pub fn new(settings: CompilerSettings) -> Result<Self, CompilerError> {
        std::fs::create_dir_all(&settings.store).map_err(failed("make the folder of compilers"))?;
        let workers = worker::Workers::new(&settings);
        Ok(Self { inner: Arc::new(Inner { settings, workers, installing: tokio::sync::Mutex::default() }) })
    }

    /// Every compiler that is installed or can be, newest first.
    pub async fn list(&self) -> Result<Vec<CompilerInfo>, CompilerError> {
        let mut found = store::installed(&self.inner.settings.store)?;
        for (version, _) in published::PUBLISHED {
            if !found.iter().any(|info| info.version == version) {
                found.push(store::absent(version));
            }
        }
        if let Some(native) = self.inner.workers.native().await
            && !found.iter().any(|info| info.version == native.version && info.installed)
        {
            found.retain(|info| info.version != native.version);
            found.push(native);
        }
        found.sort_by_key(|info| std::cmp::Reverse(Release::parse(&info.version)));
        Ok(found)
    }

    /// Installs a published compiler, checked against its pinned hash; nothing happens when it is there.
    pub async fn install(&self, version: &str) -> Result<CompilerInfo, CompilerError> {
        let _one = self.inner.installing.lock().await;
        if let Some(info) = store::find(&self.inner.settings.store, version)? {
            return Ok(info);
        }
        let Some(integrity) = published::integrity(version) else {
            let known: Vec<&str> = published::PUBLISHED.iter().map(|(version, _)| *version).collect();
            return Err(CompilerError::Unknown { version: version.to_owned(), known: known.join(", ") });
        };
        let soljson = published::download(&self.inner.settings, version, integrity).await?;
        self.keep(&soljson, "published", Some(version)).await
    }

    /// Puts an uploaded soljson file, or the package of a published one, into the store; with `sha256` only when the file has this hash.
    pub async fn upload(&self, file: &[u8], sha256: Option<&str>) -> Result<CompilerInfo, CompilerError> {
        let _one = self.inner.installing.lock().await;
        let found = hex::encode(konsort_crypto::hash::sha256(file));
        if let Some(expected) = sha256.map(|hash| hash.trim().trim_start_matches("0x").to_ascii_lowercase())
            && expected != found
        {
            return Err(CompilerError::Integrity { version: "uploaded".into(), expected, found });
        }
        if file.len() as u64 > store::MAX_SOLJSON_BYTES {
            return Err(CompilerError::NotACompiler(format!("it has more than {} bytes", store::MAX_SOLJSON_BYTES)));
        }
        if let Some((version, soljson)) = published::package(file)? {
            return self.keep(&soljson, "published", Some(version)).await;
        }
        self.keep(file, UPLOADED, None).await
    }

    /// Tries a soljson file out and keeps it under the version that it states itself.
    async fn keep(&self, soljson: &[u8], origin: &str, expected: Option<&str>) -> Result<CompilerInfo, CompilerError> {
        let settings = &self.inner.settings;
        let scratch = store::Scratch::new(&settings.store)?;
        let path = scratch.path().join(store::SOLJSON);
        std::fs::write(&path, soljson).map_err(failed("write the compiler"))?;
        let (long_version, suite) = self.inner.workers.probe(&path, origin == UPLOADED).await?;
        let mut version = long_version.split('+').next().unwrap_or_default().to_owned();
        if Release::parse(&version).is_none() {
            return Err(CompilerError::NotACompiler(format!("it says its version is {long_version:?}")));
        }
        if suite == Suite::Sm3 {
            version.push_str("-gm");
        }
        if let Some(expected) = expected.filter(|expected| *expected != version) {
            return Err(CompilerError::NotACompiler(format!("version {expected} was expected, it says {version}")));
        }
        if let Some(integrity) = published::integrity(&version).filter(|_| origin == UPLOADED) {
            // It would stand for the published one; the package itself can be uploaded.
            let expected = format!("sha512-{integrity} of the package solc-{version}.tgz");
            return Err(CompilerError::Integrity { version, expected, found: published::hash(soljson) });
        }
        let info = CompilerInfo {
            version,
            long_version,
            installed: true,
            origin: origin.to_owned(),
            suite,
            size: soljson.len() as u64,
            sha256: hex::encode(konsort_crypto::hash::sha256(soljson)),
        };
        self.inner.workers.forget(&info.version);
        scratch.keep(&settings.store, &info)?;
        Ok(info)
    }

    /// Takes a compiler out of the store.
    pub async fn remove(&self, version: &str) -> Result<(), CompilerError> {
        let _one = self.inner.installing.lock().await;
        self.inner.workers.forget(version);
        store::remove(&self.inner.settings.store, version)
    }

    /// The soljson file of an installed compiler, for browsers.
    pub fn soljson(&self, version: &str) -> Option<PathBuf> {
        store::find(&self.inner.settings.store, version).ok().flatten()?;
        Some(self.inner.settings.store.join(version).join(store::SOLJSON))
    }

    /// The version for these sources: the newest one that every pragma allows, installed ones first. Otherwise which file asks for
    /// what.
    pub async fn choose(&self, sources: &BTreeMap<String, String>) -> Result<String, Vec<Diagnostic>> {
        let listed = self.list().await.unwrap_or_default();
        let mut asked = Vec::new();
        for (file, text) in sources {
            asked.extend(source::pragmas(text).into_iter().map(|pragma| (file.clone(), pragma)));
        }
        pragma::choose(&listed, &asked, sources)
    }

    /// Compiles; installs the compiler first when it is published but not there.
    pub async fn compile(&self, request: CompileRequest) -> Result<Compilation, CompilerError> {
        let gathered = source::gather(request.sources.clone(), self.inner.settings.library.as_deref());
        let sources = match gathered {
            Ok(sources) => sources,
            Err(diagnostic) => return Ok(output::refused(vec![diagnostic], request.sources)),
        };
        let version = match &request.version {
            Some(version) => version.clone(),
            None => match self.choose(&sources).await {
                Ok(version) => version,
                Err(diagnostics) => return Ok(output::refused(diagnostics, sources)),
            },
        };
        let listed = self.list().await?;
        let known = listed.into_iter().find(|info| info.version == version);
        let info = match known {
            Some(info) if info.installed => info,
            Some(_) => self.install(&version).await?,
            None if published::integrity(&version).is_some() => self.install(&version).await?,
            None => return Err(CompilerError::NotInstalled(version)),
        };
        let input = output::standard_input(&request, &sources, &version);
        match self.inner.workers.compile(&info, &input).await {
            Ok(text) => Ok(output::read(&text, &info, sources)),
            Err(worker::Stopped::Time) => Ok(output::refused(
                vec![Diagnostic::general(
                    "compiler_time",
                    format!("the compiler was stopped after {} seconds", self.inner.settings.time.as_secs()),
                    "Split the contract, or switch the optimizer or via_ir off.",
                    "请拆分合约,或关闭优化器或 via_ir。",
                )],
                sources,
            )),
            Err(worker::Stopped::Memory) => Ok(output::refused(
                vec![Diagnostic::general(
                    "compiler_memory",
                    format!("the compiler was stopped: it used more than {} MiB", self.inner.settings.memory >> 20),
                    "Split the contract, or make constants and arrays in it smaller.",
                    "请拆分合约,或减小其中的常量和数组。",
                )],
                sources,
            )),
            Err(worker::Stopped::Failed(error)) => Err(error),
        }
    }
}

/// The origin of compilers whose files nobody has vouched for.
const UPLOADED: &str = "uploaded";

fn failed(what: &'static str) -> impl Fn(std::io::Error) -> CompilerError {
    move |source| CompilerError::Io { what: what.to_owned(), source }
}
