//! External builders: an operator's programs `bin/detect`, `bin/build`, `bin/release` and `bin/run`, as upstream calls them.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use futures::{FutureExt as _, future::BoxFuture};
use konsort_node::Environment;
use serde::Serialize;
use tokio::process::Command;

use super::{
    ChaincodeLauncher, PeerConnection, Running,
    builds::{BuildInfo, Builds, Scratch},
    child::Child,
    log_path, run_folder,
    service::parse_connection,
};
use crate::{error::LaunchError, package::Package};

/// What every builder sees of the peer's environment.
const ALWAYS_PROPAGATED: [&str; 4] = ["LD_LIBRARY_PATH", "LIBPATH", "PATH", "TMPDIR"];
/// The builders of the process launcher share the folder of builds.
const OWN_BUILDERS: &str = "konsort-";

/// One external builder (`chaincode.externalBuilders`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalBuilder {
    /// Its name.
    pub name: String,
    /// The folder that holds its `bin`.
    pub path: PathBuf,
    /// Names of the environment variables it may see.
    pub propagate_environment: Vec<String>,
}

/// Takes what the first builder detects.
#[derive(Debug)]
pub struct External {
    builders: Vec<ExternalBuilder>,
    builds: Builds,
    logs: PathBuf,
    runs: PathBuf,
    environment: Environment,
}

/// `chaincode.json`, which a builder's `run` reads.
#[derive(Serialize)]
struct RunConfig<'a> {
    chaincode_id: &'a str,
    peer_address: &'a str,
    client_cert: &'a str,
    client_key: &'a str,
    root_cert: &'a str,
    mspid: &'a str,
}

impl External {
    /// A launcher with its folders below `folder`.
    pub fn new(builders: Vec<ExternalBuilder>, folder: &Path, environment: Environment) -> Self {
        Self {
            builders,
            builds: Builds::new(folder.join("builds")),
            logs: folder.join("logs"),
            runs: folder.join("run"),
            environment,
        }
    }

    fn command(&self, builder: &ExternalBuilder, program: &str, args: &[&Path]) -> Command {
        let mut command = Command::new(builder.path.join("bin").join(program));
        command.args(args).env_clear();
        let names: BTreeSet<&str> =
            builder.propagate_environment.iter().map(String::as_str).chain(ALWAYS_PROPAGATED).collect();
        for name in names {
            if let Some(value) = self.environment.get(name) {
                command.env(name, value);
            }
        }
        command
    }

    async fn run_to_end(
        &self,
        builder: &ExternalBuilder,
        program: &str,
        args: &[&Path],
        log: &Path,
    ) -> Result<(), String> {
        let child = Child::start(self.command(builder, program, args), log, None)
            .await
            .map_err(|error| format!("cannot run {}: {error}", builder.path.join("bin").join(program).display()))?;
        child.finish().await
    }

    /// A builder that built the package before.
    fn cached(&self, package_id: &str) -> Result<Option<&ExternalBuilder>, String> {
        let Some(info) = self.builds.cached(package_id)? else { return Ok(None) };
        if info.builder_name.starts_with(OWN_BUILDERS) {
            return Ok(None);
        }
        self.builders.iter().find(|builder| builder.name == info.builder_name).map(Some).ok_or_else(|| {
            format!(
                "chaincode '{package_id}' was already built with builder '{}', but that builder is no longer available",
                info.builder_name
            )
        })
    }

    async fn build_once(&self, package: &Package) -> Result<bool, LaunchError> {
        if self.builders.is_empty() {
            return Ok(false);
        }
        let log = log_path(&self.logs, package.id());
        let failed = |cause: String| LaunchError::Build {
            package_id: package.id().to_owned(),
            cause,
            log: log.exists().then(|| log.clone()),
        };
        if self.cached(package.id()).map_err(failed)?.is_some() {
            return Ok(true);
        }
        let scratch = self.builds.scratch(package.id()).map_err(failed)?;
        let (source, metadata) = (scratch.make("src").map_err(failed)?, scratch.make("metadata").map_err(failed)?);
        let (code, target) = (package.code().clone(), source.clone());
        tokio::task::spawn_blocking(move || crate::package::unpack_code(&code, &target))
            .await
            .map_err(|error| failed(error.to_string()))?
            .map_err(|error| failed(format!("could not untar source package: {error}")))?;
        std::fs::write(metadata.join("metadata.json"), package.metadata_json())
            .map_err(|error| failed(format!("could not write metadata file: {error}")))?;
        for builder in &self.builders {
            if let Err(cause) = self.run_to_end(builder, "detect", &[&source, &metadata], &log).await {
                tracing::debug!(builder = %builder.name, package = package.id(), "builder does not take the package: {cause}");
                continue;
            }
            self.build_with(builder, scratch, &source, &metadata, &log).await.map_err(failed)?;
            return Ok(true);
        }
        tracing::debug!(package = package.id(), "no external builder detected");
        Ok(false)
    }

    async fn build_with(
        &self,
        builder: &ExternalBuilder,
        scratch: Scratch,
        source: &Path,
        metadata: &Path,
        log: &Path,
    ) -> Result<(), String> {
        let (output, release) = (scratch.make("bld")?, scratch.make("release")?);
        self.run_to_end(builder, "build", &[source, metadata, &output], log).await.map_err(|cause| {
            format!("external builder failed to build: external builder '{}' failed: {cause}", builder.name)
        })?;
        if builder.path.join("bin/release").exists() {
            self.run_to_end(builder, "release", &[&output, &release], log).await.map_err(|cause| {
                format!("external builder failed to release: builder '{}' release failed: {cause}", builder.name)
            })?;
        }
        for used in [source, metadata] {
            let _ = std::fs::remove_dir_all(used);
        }
        scratch.keep(&BuildInfo { builder_name: builder.name.clone(), run: Vec::new() })
    }

    async fn start(&self, package: &Package, peer: &PeerConnection) -> Result<Running, LaunchError> {
        let log = log_path(&self.logs, package.id());
        let failed = |cause: String| LaunchError::Start {
            package_id: package.id().to_owned(),
            cause,
            log: log.exists().then(|| log.clone()),
        };
        let builder = self
            .cached(package.id())
            .map_err(&failed)?
            .ok_or_else(|| failed("its build output is gone; install the package again".into()))?;
        let build = self.builds.path(package.id());
        let connection = build.join("release/chaincode/server/connection.json");
        match std::fs::read(&connection) {
            Ok(text) => return parse_connection(&text, None).map(Running::Server).map_err(failed),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(failed(format!("could not read '{}' for chaincode info: {error}", connection.display())));
            }
        }
        let folder = run_folder(&self.runs, package.id());
        write_run_config(&folder, package.id(), peer)
            .map_err(|error| failed(format!("could not write run config: {error}")))?;
        let output = build.join("bld");
        let child = Child::start(self.command(builder, "run", &[&output, &folder]), &log, Some(folder.clone()))
            .await
            .map_err(|error| failed(format!("builder '{}' run failed to start: {error}", builder.name)))?;
        Ok(Running::Process(Box::new(child)))
    }
}

fn write_run_config(folder: &Path, package_id: &str, peer: &PeerConnection) -> std::io::Result<()> {
    use std::{io::Write as _, os::unix::fs::DirBuilderExt as _, os::unix::fs::OpenOptionsExt as _};
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let (client_cert, client_key, root_cert) =
        peer.tls.as_ref().map_or(("", "", ""), |tls| (&*tls.certificate, &*tls.key, &*tls.root));
    let config = RunConfig {
        chaincode_id: package_id,
        peer_address: &peer.address,
        client_cert,
        client_key,
        root_cert,
        mspid: &peer.mspid,
    };
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(folder.join("chaincode.json"))?;
    file.write_all(&serde_json::to_vec(&config)?)
}

impl ChaincodeLauncher for External {
    fn name(&self) -> &'static str {
        "external builders"
    }

    fn build<'a>(&'a self, package: &'a Package) -> BoxFuture<'a, Result<bool, LaunchError>> {
        self.build_once(package).boxed()
    }

    fn launch<'a>(
        &'a self,
        package: &'a Package,
        peer: &'a PeerConnection,
    ) -> BoxFuture<'a, Result<Running, LaunchError>> {
        self.start(package, peer).boxed()
    }
}
