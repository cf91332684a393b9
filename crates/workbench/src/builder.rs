//! Fabric chaincode: from a project's files to a package in upstream's format.

mod go;
mod job;
mod node;
mod pack;
mod rust;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fabric_client::package as packages;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::{OnceCell, Semaphore};
use utoipa::ToSchema;

use crate::project::{Files, Language};
use crate::samples::{self, Sample};
use crate::tools::{Limits, Start, Stream, run};
use crate::{Diagnostic, Interface, Tools};
use job::{Job, Stop};

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
    /// Folder of the Rust chaincode library's sources (`crates` of a checkout); without it projects that name the library are refused,
    /// since in a public registry its name may be anybody's.
    pub shim: Option<PathBuf>,
    /// How long a build may take.
    pub time: Duration,
    /// How much memory all processes of a build may use together, bytes.
    pub memory: u64,
    /// How many builds run at once; others wait.
    pub at_once: usize,
    /// Whether Rust and TypeScript projects are built though nothing confines them. Build scripts, and the compiler that a project
    /// names, then run with the server's rights.
    pub trust_build_scripts: bool,
}

impl BuilderSettings {
    /// The sources of the chaincode library, when they are there.
    fn shim(&self) -> Option<PathBuf> {
        self.shim.as_deref()?.canonicalize().ok()
    }

    /// Folder of the intermediate results of a project.
    fn project(&self, id: &str) -> PathBuf {
        let name = hex::encode(&konsort_crypto::hash::sha256(id.as_bytes())[..12]);
        self.cache.join("projects").join(name)
    }

    /// Sensible limits: ten minutes, 4 GiB, two builds at once.
    pub fn new(scratch: PathBuf, cache: PathBuf, tools: Tools) -> Self {
        Self {
            scratch,
            cache,
            tools,
            registry: None,
            shim: None,
            time: Duration::from_mins(10),
            memory: 4 << 30,
            at_once: 2,
            trust_build_scripts: false,
        }
    }
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
    /// The project's id: builds of one project share intermediate results, those of different projects do not.
    pub project: String,
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
    /// What the project's file `interface.json` declares, when it has one. Chaincode of the Node, Java and Go contract APIs can also be
    /// asked once it runs.
    pub interface: Option<Interface>,
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
    settings: Arc<BuilderSettings>,
    permits: Arc<Semaphore>,
    toolchains: Arc<OnceCell<Vec<Toolchain>>>,
}

impl Builder {
    /// Makes the folders when needed and removes what builds of an earlier run left.
    pub fn new(settings: BuilderSettings) -> Result<Self, BuildError> {
        for folder in [&settings.scratch, &settings.cache] {
            std::fs::create_dir_all(folder).map_err(failed("make the folder of builds"))?;
        }
        for left in std::fs::read_dir(&settings.scratch).map_err(failed("look for left builds"))?.flatten() {
            if left.file_name().to_str().is_some_and(|name| name.starts_with("build-")) {
                // Another server may be using it: only what is not ours to remove stays.
                let _ = std::fs::remove_dir_all(left.path());
            }
        }
        let permits = Arc::new(Semaphore::new(settings.at_once.max(1)));
        Ok(Self { settings: Arc::new(settings), permits, toolchains: Arc::default() })
    }

    /// The samples that can be built here: those in Rust need the sources of the chaincode library.
    pub fn samples(&self) -> Vec<Sample> {
        let all = samples::all().into_iter();
        all.filter(|sample| sample.language != Language::Rust || self.settings.shim().is_some()).collect()
    }

    /// Removes what builds of a project have left for its next one; call it when the project is removed. Blocks.
    pub fn forget(&self, project: &str) -> Result<(), BuildError> {
        match std::fs::remove_dir_all(self.settings.project(project)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(failed("remove results of builds")(error))
            }
            _ => Ok(()),
        }
    }

    /// The toolchains that this machine has or lacks; looked for once.
    pub async fn toolchains(&self) -> Vec<Toolchain> {
        self.toolchains.get_or_init(|| self.look_for_toolchains()).await.clone()
    }

    async fn look_for_toolchains(&self) -> Vec<Toolchain> {
        let mut found = Vec::new();
        for (languages, program, argument, remedy, remedy_zh) in TOOLCHAINS {
            let path = self.settings.tools.find(program);
            let version = match &path {
                Some(path) => self.version(path, argument).await,
                None => String::new(),
            };
            let library = languages.contains(&Language::Rust) && path.is_some() && self.settings.shim().is_none();
            let (remedy, remedy_zh) = if library { rust::NO_LIBRARY } else { (remedy, remedy_zh) };
            found.push(Toolchain {
                languages: languages.to_vec(),
                program: program.to_owned(),
                version,
                found: path.is_some() && !library,
                remedy: remedy.to_owned(),
                remedy_zh: remedy_zh.to_owned(),
            });
        }
        found
    }

    async fn version(&self, program: &Path, argument: &str) -> String {
        let limits = Limits { time: Duration::from_secs(20), memory: 1 << 30, output: 64 * 1024 };
        let home = self.settings.cache.clone();
        let mut start = Start {
            program: program.to_path_buf(),
            args: vec![argument.into()],
            folder: home.clone(),
            home,
            variables: Vec::new(),
            own: Vec::new(),
            read: Vec::new(),
        };
        if let Some(rustup) = rust::rustup_home(&self.settings.tools) {
            start.variables.push(("RUSTUP_HOME", rustup.into()));
        }
        let said = Mutex::new(String::new());
        let hear = |stream: Stream, line: &str| {
            let mut said = said.lock();
            if stream == Stream::Out && said.is_empty() {
                line.trim().clone_into(&mut said);
            }
        };
        let _ = run(&self.settings.tools.unconfined(), &start, limits, &hear).await;
        said.into_inner()
    }

    /// Builds a package; faults of the sources are in its diagnostics.
    pub async fn build(&self, request: BuildRequest, log: BuildLog<'_>) -> Result<Build, BuildError> {
        if request.language == Language::Solidity {
            return Err(BuildError::NotChaincode(request.language));
        }
        if request.label.len() > MAX_LABEL || packages::validate_label(&request.label).is_err() {
            return Err(BuildError::Label(request.label));
        }
        let _permit = self.permits.acquire().await;
        let language = request.language;
        let job = Job::new(&self.settings, request, log).await?;
        let interface = job.interface();
        let made = match language {
            Language::Javascript => node::build(&job, false).await,
            Language::Typescript => node::build(&job, true).await,
            Language::Go => go::build(&job).await,
            Language::Rust => rust::build(&job).await,
            Language::Solidity => return Err(BuildError::NotChaincode(language)),
        };
        let diagnostics = job.end().await;
        match made {
            Ok(package) => {
                log(format!("package {} has {} KiB", package.id, package.bytes.len() / 1024));
                Ok(Build { ok: true, diagnostics, package: Some(package), interface })
            }
            Err(Stop::Refused) => Ok(Build { ok: false, diagnostics, package: None, interface }),
            Err(Stop::Failed(error)) => Err(error),
        }
    }
}

const MAX_LABEL: usize = 100;

/// What builds what: languages, program, how it tells its version, what to do when it is missing.
const TOOLCHAINS: [(&[Language], &str, &str, &str, &str); 3] = [
    (
        &[Language::Javascript, Language::Typescript],
        "npm",
        "--version",
        "Install Node.js 18 or newer with npm on this server and restart the server.",
        "请在服务器上安装 Node.js 18 或更高版本(含 npm),然后重启服务。",
    ),
    (
        &[Language::Go],
        "go",
        "version",
        "Install Go 1.24 or newer on this server and restart the server.",
        "请在服务器上安装 Go 1.24 或更高版本,然后重启服务。",
    ),
    (
        &[Language::Rust],
        "cargo",
        "--version",
        "Install Rust (cargo and a C compiler) on this server and restart the server.",
        "请在服务器上安装 Rust(cargo 和 C 编译器),然后重启服务。",
    ),
];

/// Why a build ends early.
/// Does work that waits for the disk or takes long, aside.
async fn aside<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, BuildError> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|error| failed(what)(std::io::Error::other(error)))?;
    done.map_err(failed(what))
}

fn failed(what: &'static str) -> impl Fn(std::io::Error) -> BuildError {
    move |source| BuildError::Io { what: what.to_owned(), source }
}
