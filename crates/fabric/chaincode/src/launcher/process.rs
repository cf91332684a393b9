//! Chaincode as a process beside the peer, without containers: Node, Go and Rust packages are built once and started on demand.

mod build;

use std::path::{Path, PathBuf};

use base64::Engine as _;
use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use konsort_node::Environment;
use tokio::process::Command;

use super::{
    ChaincodeLauncher, PeerConnection, Running,
    builds::{BuildInfo, Builds},
    child::Child,
    confined::{Confinement, command, find_program},
    log_path, run_folder,
};
use crate::{error::LaunchError, package::Package};

/// How processes are run.
#[derive(Debug, Clone)]
pub struct ProcessSettings {
    /// The program that confines processes, in general our own binary (`konsort confine ...`, see [`crate::confine`]). `None` runs them
    /// with a clean environment only.
    pub confine: Option<PathBuf>,
    /// The program that holds built-in contracts (`konsort chaincode NAME`), in general our own binary.
    pub builtin: Option<PathBuf>,
    /// Where build tools keep downloads and intermediate results, for all packages; several peers of one operator may share it. `None`
    /// means a folder beside the build outputs.
    pub cache: Option<PathBuf>,
    /// The most bytes that a chaincode process may have writable in memory.
    pub memory: Option<u64>,
    /// The most files that it may have open.
    pub open_files: u64,
    /// `CORE_CHAINCODE_LOGGING_LEVEL` (`chaincode.logging.level`).
    pub log_level: String,
    /// `CORE_CHAINCODE_LOGGING_SHIM` (`chaincode.logging.shim`).
    pub shim_log_level: String,
    /// `CORE_CHAINCODE_LOGGING_FORMAT` (`chaincode.logging.format`).
    pub log_format: String,
}

impl Default for ProcessSettings {
    fn default() -> Self {
        Self {
            confine: None,
            builtin: None,
            cache: None,
            memory: Some(4 << 30),
            open_files: 4096,
            log_level: "info".into(),
            shim_log_level: "warning".into(),
            log_format: String::new(),
        }
    }
}

/// What a package is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Language {
    Node,
    Go,
    Rust,
}

impl Language {
    fn of(package: &Package) -> Option<Self> {
        match package.metadata().kind.to_ascii_lowercase().as_str() {
            "node" => Some(Self::Node),
            "golang" | "go" => Some(Self::Go),
            "rust" | "konsort" => Some(Self::Rust),
            _ => None,
        }
    }

    fn builder_name(self) -> &'static str {
        match self {
            Self::Node => "konsort-node",
            Self::Go => "konsort-golang",
            Self::Rust => "konsort-rust",
        }
    }
}

/// Takes packages of type `node`, `golang` and `rust`.
#[derive(Debug)]
pub struct Process {
    settings: ProcessSettings,
    builds: Builds,
    logs: PathBuf,
    runs: PathBuf,
    environment: Environment,
}

impl Process {
    /// A launcher with its folders below `folder`.
    pub fn new(settings: ProcessSettings, folder: &Path, environment: Environment) -> Self {
        Self {
            settings,
            builds: Builds::new(folder.join("builds")),
            logs: folder.join("logs"),
            runs: folder.join("run"),
            environment,
        }
    }

    async fn build_once(&self, package: &Package, language: Language) -> Result<(), LaunchError> {
        let log = log_path(&self.logs, package.id());
        let failed = |cause: String| LaunchError::Build {
            package_id: package.id().to_owned(),
            cause,
            log: log.exists().then(|| log.clone()),
        };
        let cached = self.builds.cached(package.id()).map_err(failed)?;
        if cached.is_some_and(|info| info.builder_name == language.builder_name()) {
            return Ok(());
        }
        tracing::info!(package = package.id(), builder = language.builder_name(), "building chaincode");
        let scratch = self.builds.scratch(package.id()).map_err(failed)?;
        let source = scratch.make("src").map_err(failed)?;
        let (code, target): (Bytes, PathBuf) = (package.code().clone(), source.clone());
        tokio::task::spawn_blocking(move || crate::package::unpack_code(&code, &target))
            .await
            .map_err(|error| failed(error.to_string()))?
            .map_err(|error| failed(error.to_string()))?;
        let run = build::build(self, language, package, &scratch, &log).await.map_err(failed)?;
        scratch.keep(&BuildInfo { builder_name: language.builder_name().into(), run }).map_err(failed)
    }

    /// Runs a step of a build.
    async fn build_step(&self, program: &str, args: &[&str], step: Step<'_>) -> Result<(), String> {
        let path = find_program(&self.environment, program).ok_or_else(|| {
            format!("{program} is not on the peer's PATH: install it on this machine, or run the chaincode as a service (type ccaas)")
        })?;
        let confinement = Confinement {
            helper: self.settings.confine.clone(),
            own: step.own,
            read: step.read,
            port: None,
            memory: None,
            open_files: self.settings.open_files,
        };
        let mut command = command(&path, args, step.home, &self.environment, true, &confinement);
        command.current_dir(step.folder).envs(step.variables);
        let child =
            Child::start(command, step.log, None).await.map_err(|error| format!("cannot start {program}: {error}"))?;
        child.finish().await.map_err(|cause| format!("{program} {} failed: {cause}", args.join(" ")))
    }

    async fn start(&self, package: &Package, peer: &PeerConnection) -> Result<Running, LaunchError> {
        let log = log_path(&self.logs, package.id());
        let failed = |cause: String| LaunchError::Start {
            package_id: package.id().to_owned(),
            cause,
            log: log.exists().then(|| log.clone()),
        };
        let info = self
            .builds
            .cached(package.id())
            .map_err(&failed)?
            .ok_or_else(|| failed("its build output is gone; install the package again".into()))?;
        let output = self.builds.path(package.id()).join("bld");
        let folder = run_folder(&self.runs, package.id());
        prepare_run_folder(&folder, peer).map_err(|error| failed(format!("{}: {error}", folder.display())))?;
        let (program, args, working) = self.run_line(&info, &output, peer).map_err(&failed)?;
        let port = peer.address.rsplit_once(':').and_then(|(_host, port)| port.parse().ok());
        let confinement = Confinement {
            helper: self.settings.confine.clone(),
            own: vec![folder.clone()],
            read: vec![output.clone()],
            port,
            memory: self.settings.memory,
            open_files: self.settings.open_files,
        };
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let mut command = command(&program, &args, &folder, &self.environment, false, &confinement);
        self.set_shim_environment(&mut command, package.id(), peer, &folder);
        command.current_dir(working.unwrap_or(&folder));
        let child = Child::start(command, &log, Some(folder.clone()))
            .await
            .map_err(|error| failed(format!("cannot run {}: {error}", program.display())))?;
        Ok(Running::Process(Box::new(child)))
    }

    /// Program, arguments and working folder of a built package.
    fn run_line<'a>(
        &self,
        info: &BuildInfo,
        output: &'a Path,
        peer: &PeerConnection,
    ) -> Result<(PathBuf, Vec<String>, Option<&'a Path>), String> {
        let run: Vec<&str> = info.run.iter().map(String::as_str).collect();
        match run[..] {
            ["npm"] => {
                let npm = find_program(&self.environment, "npm")
                    .ok_or("npm is not on the peer's PATH: install Node.js on this machine")?;
                let args = ["start", "--", "--peer.address", &peer.address].map(str::to_owned);
                Ok((npm, args.to_vec(), Some(output)))
            }
            ["executable", name] => Ok((output.join(name), vec![format!("-peer.address={}", peer.address)], None)),
            ["builtin", name] => {
                let program =
                    self.settings.builtin.clone().ok_or("built-in contracts are not available in this peer")?;
                let args = ["chaincode", name, "--peer.address", &peer.address].map(str::to_owned);
                Ok((program, args.to_vec(), None))
            }
            _ => Err(format!("its build output cannot be run: {run:?}; remove {} to build again", output.display())),
        }
    }

    /// What stock shims read.
    fn set_shim_environment(&self, command: &mut Command, package_id: &str, peer: &PeerConnection, folder: &Path) {
        command
            .env("CORE_CHAINCODE_ID_NAME", package_id)
            .env("CORE_PEER_ADDRESS", &peer.address)
            .env("CORE_PEER_LOCALMSPID", &peer.mspid)
            .env("CORE_PEER_TLS_ENABLED", peer.tls.is_some().to_string())
            .env("CORE_CHAINCODE_LOGGING_LEVEL", &self.settings.log_level)
            .env("CORE_CHAINCODE_LOGGING_SHIM", &self.settings.shim_log_level)
            .env("CORE_CHAINCODE_LOGGING_FORMAT", &self.settings.log_format)
            .env("npm_config_cache", folder.join(".npm"))
            .env("npm_config_update_notifier", "false");
        if peer.tls.is_some() {
            for (name, file, _) in TLS_FILES {
                command.env(name, folder.join(file));
            }
        }
    }
}

/// A step of a build: where and with what.
struct Step<'a> {
    folder: &'a Path,
    home: &'a Path,
    own: Vec<PathBuf>,
    read: Vec<PathBuf>,
    variables: Vec<(&'static str, std::ffi::OsString)>,
    log: &'a Path,
}

/// Variable, file, and what is in it: the shims of different languages want different forms.
const TLS_FILES: [(&str, &str, TlsForm); 5] = [
    ("CORE_TLS_CLIENT_KEY_PATH", "client.key", TlsForm::KeyBase64),
    ("CORE_TLS_CLIENT_CERT_PATH", "client.crt", TlsForm::CertificateBase64),
    ("CORE_TLS_CLIENT_KEY_FILE", "client_pem.key", TlsForm::Key),
    ("CORE_TLS_CLIENT_CERT_FILE", "client_pem.crt", TlsForm::Certificate),
    ("CORE_PEER_TLS_ROOTCERT_FILE", "peer.crt", TlsForm::Root),
];

#[derive(Clone, Copy)]
enum TlsForm {
    Key,
    KeyBase64,
    Certificate,
    CertificateBase64,
    Root,
}

/// An empty folder that only we may enter, with the TLS files of this start.
fn prepare_run_folder(folder: &Path, peer: &PeerConnection) -> std::io::Result<()> {
    use std::{io::Write as _, os::unix::fs::DirBuilderExt as _, os::unix::fs::OpenOptionsExt as _};
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let Some(tls) = &peer.tls else { return Ok(()) };
    let base64 = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    for (_variable, file, form) in TLS_FILES {
        let content = match form {
            TlsForm::Key => tls.key.clone(),
            TlsForm::KeyBase64 => base64(&tls.key),
            TlsForm::Certificate => tls.certificate.clone(),
            TlsForm::CertificateBase64 => base64(&tls.certificate),
            TlsForm::Root => tls.root.clone(),
        };
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(folder.join(file))?;
        file.write_all(content.as_bytes())?;
    }
    Ok(())
}

impl ChaincodeLauncher for Process {
    fn name(&self) -> &'static str {
        "process"
    }

    fn build<'a>(&'a self, package: &'a Package) -> BoxFuture<'a, Result<bool, LaunchError>> {
        async move {
            let Some(language) = Language::of(package) else { return Ok(false) };
            self.build_once(package, language).await.map(|()| true)
        }
        .boxed()
    }

    fn launch<'a>(
        &'a self,
        package: &'a Package,
        peer: &'a PeerConnection,
    ) -> BoxFuture<'a, Result<Running, LaunchError>> {
        self.start(package, peer).boxed()
    }
}
