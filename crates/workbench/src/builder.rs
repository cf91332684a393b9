//! Fabric chaincode: from a project's files to a package in upstream's format.

mod go;
mod node;
mod pack;
mod rust;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fabric_client::package as packages;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::project::{Files, Language};
use crate::tools::{Ended, Limits, Start, Stream, run};
use crate::{Diagnostic, Interface, Severity, Tools};

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
    /// Whether Rust projects are built though [`Tools`] has no confining program. Their build scripts run as the server's user.
    pub trust_build_scripts: bool,
}

impl BuilderSettings {
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
        Ok(Self { settings: Arc::new(settings), permits })
    }

    /// The toolchains that this machine has or lacks.
    pub async fn toolchains(&self) -> Vec<Toolchain> {
        let mut found = Vec::new();
        for (languages, program, argument, remedy, remedy_zh) in TOOLCHAINS {
            let path = self.settings.tools.find(program);
            let version = match &path {
                Some(path) => self.version(path, argument).await,
                None => String::new(),
            };
            found.push(Toolchain {
                languages: languages.to_vec(),
                program: program.to_owned(),
                version,
                found: path.is_some(),
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
        let job = Job::new(&self.settings, &request, log)?;
        let interface = job.interface();
        let made = match request.language {
            Language::Javascript => node::build(&job, false).await,
            Language::Typescript => node::build(&job, true).await,
            Language::Go => go::build(&job).await,
            Language::Rust => rust::build(&job).await,
            Language::Solidity => return Err(BuildError::NotChaincode(request.language)),
        };
        let diagnostics = std::mem::take(&mut *job.diagnostics.lock());
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

/// Where a project declares its interface.
const INTERFACE: &str = "interface.json";
const MAX_LABEL: usize = 100;
/// The most that one tool may write.
const MAX_OUTPUT: u64 = 8 * 1024 * 1024;
/// The most findings that are kept.
const MAX_DIAGNOSTICS: usize = 300;

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
#[derive(Debug)]
enum Stop {
    /// The reasons are among the diagnostics.
    Refused,
    Failed(BuildError),
}

impl From<BuildError> for Stop {
    fn from(error: BuildError) -> Self {
        Self::Failed(error)
    }
}

/// A build in its scratch folder.
struct Job<'a> {
    settings: &'a BuilderSettings,
    label: &'a str,
    /// Folder of intermediate results of the project.
    project: PathBuf,
    folder: PathBuf,
    files: &'a Files,
    log: BuildLog<'a>,
    diagnostics: Mutex<Vec<Diagnostic>>,
    until: Instant,
}

impl<'a> Job<'a> {
    fn new(settings: &'a BuilderSettings, request: &'a BuildRequest, log: BuildLog<'a>) -> Result<Self, BuildError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = settings.scratch.join(format!("build-{}-{count}", std::process::id()));
        let name = hex::encode(&konsort_crypto::hash::sha256(request.project.as_bytes())[..12]);
        let job = Self {
            settings,
            label: &request.label,
            project: settings.cache.join("projects").join(name),
            folder,
            files: &request.files,
            log,
            diagnostics: Mutex::default(),
            until: Instant::now() + settings.time,
        };
        for folder in [job.source(), job.home()] {
            std::fs::create_dir_all(folder).map_err(failed("make a scratch folder"))?;
        }
        for (path, content) in &request.files {
            // Settings of tools are the server's, not the project's: they could name programs to run.
            let name = path.rsplit('/').next().unwrap_or_default();
            if SETTINGS_FILES.contains(&name) || path.starts_with(".cargo/") || path.contains("/.cargo/") {
                log(format!("{path} is left out: settings of tools are those of the server"));
                continue;
            }
            let place = crate::project::place(&job.source(), path).map_err(|error| BuildError::Io {
                what: format!("write {path}"),
                source: std::io::Error::other(error),
            })?;
            if let Some(parent) = place.parent() {
                std::fs::create_dir_all(parent).map_err(failed("make a folder"))?;
            }
            std::fs::write(place, content).map_err(failed("write a source file"))?;
        }
        Ok(job)
    }

    fn source(&self) -> PathBuf {
        self.folder.join("src")
    }

    fn home(&self) -> PathBuf {
        self.folder.join("home")
    }

    /// A folder of downloads that builds of one tool share.
    fn cache(&self, tool: &str) -> Result<PathBuf, BuildError> {
        let folder = self.settings.cache.join(tool);
        std::fs::create_dir_all(&folder).map_err(failed("make the folder of downloads"))?;
        Ok(folder)
    }

    fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path).and_then(|content| std::str::from_utf8(content).ok())
    }

    /// The declared interface; a fault in it is a warning, since the contract runs without.
    fn interface(&self) -> Option<Interface> {
        let text = self.text(INTERFACE)?;
        let read = serde_json::from_str(text).map_err(|error| error.to_string());
        match read.and_then(|document| Interface::from_document(&document).map_err(|error| error.to_string())) {
            Ok(interface) => Some(interface),
            Err(why) => {
                let mut problem = Diagnostic::general(
                    "interface",
                    format!("interface.json is no interface document: {why}"),
                    "Correct it as docs/interface.schema.json describes, or remove it.",
                    "请按 docs/interface.schema.json 更正,或删除该文件。",
                );
                problem.severity = Severity::Warning;
                self.found(problem.at(INTERFACE, 1, 1));
                None
            }
        }
    }

    fn found(&self, diagnostic: Diagnostic) {
        let mut diagnostics = self.diagnostics.lock();
        if diagnostics.len() < MAX_DIAGNOSTICS && !diagnostics.contains(&diagnostic) {
            diagnostics.push(diagnostic);
        }
    }

    fn refuse(&self, diagnostic: Diagnostic) -> Stop {
        self.found(diagnostic);
        Stop::Refused
    }

    /// A program of a toolchain.
    fn program(&self, name: &str) -> Result<PathBuf, Stop> {
        if let Some(path) = self.settings.tools.find(name) {
            return Ok(path);
        }
        let row = TOOLCHAINS.iter().find(|(_, program, ..)| *program == name || (name == "node" && *program == "npm"));
        let (remedy, remedy_zh) = row.map_or(("", ""), |(_, _, _, remedy, remedy_zh)| (*remedy, *remedy_zh));
        let text = format!("{name} is not on this server's PATH");
        (self.log)(format!("{text}. {remedy}"));
        Err(self.refuse(Diagnostic::general("missing_toolchain", text, remedy, remedy_zh)))
    }

    /// Runs a tool; `hear` gets each line and says whether it goes to the log as it is.
    async fn run(&self, start: &Start, hear: &(dyn Fn(Stream, &str) -> bool + Send + Sync)) -> Result<(), Stop> {
        let program = start.program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let shown: Vec<String> = start.args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
        (self.log)(format!("$ {program} {}", shown.join(" ")));
        let left = self.until.saturating_duration_since(Instant::now());
        let limits = Limits { time: left, memory: self.settings.memory, output: MAX_OUTPUT };
        let scratch = self.folder.to_string_lossy().into_owned();
        let ended = run(&self.settings.tools, start, limits, &|stream, line| {
            if hear(stream, line) {
                // Where a build took place is nobody's business, and different each time.
                (self.log)(line.replace(&format!("{scratch}/src/"), "").replace(&scratch, "."));
            }
        })
        .await
        .map_err(|source| BuildError::Io { what: format!("start {program}"), source })?;
        if ended == Ended::Code(0) {
            return Ok(());
        }
        let limits = Limits { time: self.settings.time, ..limits };
        let text = format!("{program} {} {}", shown.first().map_or("", String::as_str), ended.words(limits));
        (self.log)(text.clone());
        let mut diagnostics = self.diagnostics.lock();
        let explained = diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
        if !explained || !matches!(ended, Ended::Code(_)) {
            let (hint, hint_zh) = match ended {
                Ended::Time => (
                    "Builds have a time limit; see in the log what took so long.",
                    "构建有时间限制;请查看日志中耗时的步骤。",
                ),
                Ended::Memory => ("Builds have a memory limit.", "构建有内存限制。"),
                _ => ("The log says more.", "详情请看日志。"),
            };
            diagnostics.push(Diagnostic::general("build_failed", text, hint, hint_zh));
        }
        Err(Stop::Refused)
    }

    fn package(&self, kind: &str, path: &str, code: &[u8]) -> Result<ChaincodePackage, Stop> {
        let bytes = packages::assemble(path, kind, self.label, code)
            .map_err(|error| BuildError::Io { what: "pack".into(), source: std::io::Error::other(error) })?;
        if bytes.len() > MAX_PACKAGE_BYTES {
            return Err(self.refuse(Diagnostic::general(
                "package_size",
                format!("the package has {} bytes; peers take {MAX_PACKAGE_BYTES}", bytes.len()),
                "Use fewer or smaller dependencies.",
                "请减少依赖或使用更小的依赖。",
            )));
        }
        Ok(ChaincodePackage {
            id: packages::package_id(self.label, &bytes),
            label: self.label.to_owned(),
            kind: kind.to_owned(),
            bytes,
        })
    }
}

impl Drop for Job<'_> {
    fn drop(&mut self) {
        // Folders of module caches may be read-only; what is left is removed at the next start.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Files by which a project could tell the server's tools what to do.
const SETTINGS_FILES: [&str; 6] = [".npmrc", ".yarnrc", ".yarnrc.yml", "go.work", "go.work.sum", "rust-toolchain.toml"];
/// What peers take in one message, less what surrounds the package.
const MAX_PACKAGE_BYTES: usize = 95 * 1024 * 1024;

fn failed(what: &'static str) -> impl Fn(std::io::Error) -> BuildError {
    move |source| BuildError::Io { what: what.to_owned(), source }
}
