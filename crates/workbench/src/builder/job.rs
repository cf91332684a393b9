//! One build: its scratch folder, its findings, the tools it runs.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fabric_client::package as packages;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::pack::{self, Tree};
use super::{BuildError, BuildLog, BuildRequest, BuilderSettings, ChaincodePackage, TOOLCHAINS, aside, failed};
use crate::project::Files;
use crate::tools::{Ended, Limits, Start, Stream, run};
use crate::{Diagnostic, Interface, Severity, Tools};

/// Where a project declares its interface.
const INTERFACE: &str = "interface.json";
/// The most that one tool may write.
const MAX_OUTPUT: u64 = 8 * 1024 * 1024;
/// The most findings that are kept.
const MAX_DIAGNOSTICS: usize = 300;
/// What peers take in one message, less what surrounds the package.
const MAX_PACKAGE_BYTES: usize = 95 * 1024 * 1024;
/// Files by which a project could tell the server's tools what to do.
const SETTINGS_FILES: [&str; 7] =
    [".npmrc", ".yarnrc", ".yarnrc.yml", "go.work", "go.work.sum", "rust-toolchain", "rust-toolchain.toml"];

/// What gets each line of a tool and says whether it goes to the log as it is.
type Hear<'a> = &'a (dyn Fn(Stream, &str) -> bool + Send + Sync);

/// Settings of tools are the server's, not the project's: they could name programs to run.
fn is_settings(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    SETTINGS_FILES.contains(&name) || path.starts_with(".cargo/") || path.contains("/.cargo/")
}

#[derive(Debug)]
pub(super) enum Stop {
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
pub(super) struct Job<'a> {
    pub(super) settings: &'a BuilderSettings,
    label: String,
    /// Folder of intermediate results of the project.
    pub(super) project: PathBuf,
    pub(super) folder: PathBuf,
    pub(super) files: Arc<Files>,
    pub(super) log: BuildLog<'a>,
    diagnostics: Mutex<Vec<Diagnostic>>,
    until: Instant,
}

impl<'a> Job<'a> {
    pub(super) async fn new(
        settings: &'a BuilderSettings,
        request: BuildRequest,
        log: BuildLog<'a>,
    ) -> Result<Self, BuildError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let job = Self {
            settings,
            label: request.label,
            project: settings.project(&request.project),
            folder: settings.scratch.join(format!("build-{}-{count}", std::process::id())),
            files: Arc::new(request.files),
            log,
            diagnostics: Mutex::default(),
            until: Instant::now() + settings.time,
        };
        for path in job.files.keys().filter(|path| is_settings(path)) {
            log(format!("{path} is left out: settings of tools are those of the server"));
        }
        let (source, home, files) = (job.source(), job.home(), Arc::clone(&job.files));
        aside("write the sources", move || {
            std::fs::create_dir_all(&home)?;
            std::fs::create_dir_all(&source)?;
            for (path, content) in files.iter().filter(|(path, _)| !is_settings(path)) {
                let place = crate::project::place(&source, path).map_err(std::io::Error::other)?;
                if let Some(parent) = place.parent() {
                    std::fs::create_dir_all(parent)?;
                }
                std::fs::write(place, content)?;
            }
            Ok(())
        })
        .await?;
        Ok(job)
    }

    /// Removes the scratch folder and gives what was found.
    pub(super) async fn end(&self) -> Vec<Diagnostic> {
        let folder = self.folder.clone();
        // Folders of module caches may be read-only; what is left is removed at the next start.
        let _left = aside("remove the scratch folder", move || std::fs::remove_dir_all(folder)).await;
        std::mem::take(&mut *self.diagnostics.lock())
    }

    pub(super) fn source(&self) -> PathBuf {
        self.folder.join("src")
    }

    pub(super) fn home(&self) -> PathBuf {
        self.folder.join("home")
    }

    /// A folder of downloads that builds of one tool share.
    pub(super) fn cache(&self, tool: &str) -> Result<PathBuf, BuildError> {
        let folder = self.settings.cache.join(tool);
        std::fs::create_dir_all(&folder).map_err(failed("make the folder of downloads"))?;
        Ok(folder)
    }

    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path).and_then(|content| std::str::from_utf8(content).ok())
    }

    /// The declared interface; a fault in it is a warning, since the contract runs without.
    pub(super) fn interface(&self) -> Option<Interface> {
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

    pub(super) fn found(&self, diagnostic: Diagnostic) {
        let mut diagnostics = self.diagnostics.lock();
        if diagnostics.len() < MAX_DIAGNOSTICS && !diagnostics.contains(&diagnostic) {
            diagnostics.push(diagnostic);
        }
    }

    pub(super) fn refuse(&self, diagnostic: Diagnostic) -> Stop {
        self.found(diagnostic);
        Stop::Refused
    }

    /// A program of a toolchain.
    pub(super) fn program(&self, name: &str) -> Result<PathBuf, Stop> {
        if let Some(path) = self.settings.tools.find(name) {
            return Ok(path);
        }
        let row = TOOLCHAINS.iter().find(|(_, program, ..)| *program == name || (name == "node" && *program == "npm"));
        let (remedy, remedy_zh) = row.map_or(("", ""), |(_, _, _, remedy, remedy_zh)| (*remedy, *remedy_zh));
        let text = format!("{name} is not on this server's PATH");
        (self.log)(format!("{text}. {remedy}"));
        Err(self.refuse(Diagnostic::general("missing_toolchain", text, remedy, remedy_zh)))
    }

    /// Refuses what would run programs of the project where nothing can confine them.
    pub(super) fn confines(&self, what: &str, what_zh: &str) -> Result<(), Stop> {
        if self.settings.tools.is_confined() || self.settings.trust_build_scripts {
            return Ok(());
        }
        let text = format!("{what}, and this server has nothing to confine them with");
        Err(self.unconfined(text, what_zh))
    }

    fn unconfined(&self, text: String, what_zh: &str) -> Stop {
        let hint = "Ask the administrator to run the server from its own program file on a kernel with Landlock, or to trust build scripts.";
        let hint_zh = format!("{what_zh}请联系管理员:在支持 Landlock 的内核上以程序本身运行服务,或允许运行构建脚本。");
        self.refuse(Diagnostic::general("unconfined", text, hint, &hint_zh))
    }

    /// Runs a tool; `hear` gets each line and says whether it goes to the log as it is.
    pub(super) async fn run(&self, start: &Start, hear: Hear<'_>) -> Result<(), Stop> {
        self.run_with(&self.settings.tools, start, hear).await
    }

    /// Runs a tool that runs programs which the project brings along: it is not started where it cannot be confined.
    pub(super) async fn run_foreign(&self, start: &Start, hear: Hear<'_>) -> Result<(), Stop> {
        if self.settings.trust_build_scripts {
            return self.run(start, hear).await;
        }
        let refused = Mutex::new(None);
        let listen = |stream: Stream, line: &str| {
            if let Some((_, why)) = line.split_once("konsort confine: ").filter(|_| stream == Stream::Err) {
                refused.lock().get_or_insert_with(|| why.to_owned());
            }
            hear(stream, line)
        };
        let ended = self.run_with(&self.settings.tools.strict(), start, &listen).await;
        match (ended, refused.into_inner()) {
            (Err(Stop::Refused), Some(why)) => Err(self.unconfined(why, "")),
            (ended, _) => ended,
        }
    }

    async fn run_with(&self, tools: &Tools, start: &Start, hear: Hear<'_>) -> Result<(), Stop> {
        let program = start.program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let shown: Vec<String> = start.args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
        (self.log)(format!("$ {program} {}", shown.join(" ")));
        let left = self.until.saturating_duration_since(Instant::now());
        let limits = Limits { time: left, memory: self.settings.memory, output: MAX_OUTPUT };
        let scratch = self.folder.to_string_lossy().into_owned();
        let ended = run(tools, start, limits, &|stream, line| {
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

    /// Files below a folder, read aside.
    pub(super) async fn collect(
        &self,
        folder: PathBuf,
        wanted: impl Fn(&str) -> bool + Send + 'static,
    ) -> Result<Tree, Stop> {
        Ok(aside("read the build", move || pack::collect(&folder, &wanted)).await?)
    }

    /// Makes the package of a kind of chaincode out of files.
    pub(super) async fn package(&self, kind: &str, path: &str, tree: Tree) -> Result<ChaincodePackage, Stop> {
        (self.log)(format!("{} files to pack", tree.len()));
        let (owned, label) = ((path.to_owned(), kind.to_owned()), self.label.clone());
        let bytes = aside("pack", move || {
            let code = pack::archive(&tree)?;
            packages::assemble(&owned.0, &owned.1, &label, &code).map_err(std::io::Error::other)
        })
        .await?;
        if bytes.len() > MAX_PACKAGE_BYTES {
            return Err(self.refuse(Diagnostic::general(
                "package_size",
                format!("the package has {} bytes; peers take {MAX_PACKAGE_BYTES}", bytes.len()),
                "Use fewer or smaller dependencies.",
                "请减少依赖或使用更小的依赖。",
            )));
        }
        Ok(ChaincodePackage {
            id: packages::package_id(&self.label, &bytes),
            label: self.label.clone(),
            kind: kind.to_owned(),
            bytes,
        })
    }
}

impl Drop for Job<'_> {
    fn drop(&mut self) {
        // Gone already unless the build was cut short.
        let _gone = std::fs::remove_dir_all(&self.folder);
    }
}
