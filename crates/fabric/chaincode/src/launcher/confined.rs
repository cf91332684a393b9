//! Commands with a scrubbed environment, run through the confining helper when there is one.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use konsort_node::Environment;
use tokio::process::Command;

/// What every program may see of the peer's environment.
const COMMON: [&str; 5] = ["LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR"];
/// What build tools may see besides: how to reach their registries.
const BUILDING: [&str; 18] = [
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "GOPROXY", "GOSUMDB", "GONOSUMDB",
    "GOPRIVATE", "GONOSUMCHECK", "GOFLAGS", "GOTOOLCHAIN", "GOROOT", "NODE_EXTRA_CA_CERTS", "NPM_CONFIG_REGISTRY",
    "npm_config_registry", "CARGO_HTTP_CAINFO",
];
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a command may do.
#[derive(Debug, Clone)]
pub(crate) struct Confinement {
    /// The program that confines (`<program> confine ...`); without it only environment and process group are separate.
    pub(crate) helper: Option<PathBuf>,
    /// Folders it may write in.
    pub(crate) own: Vec<PathBuf>,
    /// Files and folders it may read besides the system's.
    pub(crate) read: Vec<PathBuf>,
    /// The only TCP port it may connect to; any when `None`.
    pub(crate) port: Option<u16>,
    /// The most bytes of memory it may have writable.
    pub(crate) memory: Option<u64>,
    /// The most files it may have open.
    pub(crate) open_files: u64,
}

/// The search path of a peer's environment.
pub(crate) fn search_path(environment: &Environment) -> String {
    environment.get("PATH").filter(|path| !path.is_empty()).unwrap_or(DEFAULT_PATH).to_owned()
}

/// A program on the search path.
pub(crate) fn find_program(environment: &Environment, name: &str) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    search_path(environment).split(':').map(|folder| Path::new(folder).join(name)).find(|path| {
        path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    })
}

/// A command under a confinement; `home` becomes its home and temporary folder.
pub(crate) fn command(
    program: &Path,
    args: &[&str],
    home: &Path,
    environment: &Environment,
    building: bool,
    confinement: &Confinement,
) -> Command {
    let mut command = match &confinement.helper {
        None => Command::new(program),
        Some(helper) => {
            let mut command = Command::new(helper);
            command.arg("confine").arg("--parent").arg(std::process::id().to_string());
            for folder in &confinement.own {
                command.arg("--own").arg(folder);
            }
            let path = search_path(environment);
            let tools = path.split(':').filter(|folder| !folder.is_empty()).map(Path::new).flat_map(tool_folders);
            for file in confinement.read.iter().cloned().chain(tools).chain([program.to_path_buf()]) {
                command.arg("--read").arg(file);
            }
            if let Some(port) = confinement.port {
                command.arg("--connect").arg(port.to_string());
            }
            if let Some(memory) = confinement.memory {
                command.arg("--memory").arg(memory.to_string());
            }
            command.arg("--files").arg(confinement.open_files.to_string()).arg("--").arg(program);
            command
        }
    };
    command.args(args).env_clear().stdin(Stdio::null());
    command.env("PATH", search_path(environment)).env("HOME", home).env("TMPDIR", home);
    let extra: &[&str] = if building { &BUILDING } else { &[] };
    for name in COMMON.iter().chain(extra) {
        if let Some(value) = environment.get(name) {
            command.env(name, value);
        }
    }
    command
}

/// A folder of programs, and what stands beside it (`lib`, `share`) when it is not the root's own.
fn tool_folders(folder: &Path) -> Vec<PathBuf> {
    let mut folders = vec![folder.to_path_buf()];
    if folder.file_name().is_some_and(|name| name == "bin")
        && let Some(parent) = folder.parent()
        && parent.parent().is_some_and(|above| above != Path::new("/"))
    {
        folders.push(parent.to_path_buf());
    }
    folders
}

/// The real home folder, where build tools keep their settings.
pub(crate) fn home(environment: &Environment) -> Option<PathBuf> {
    environment.get("HOME").filter(|home| !home.is_empty()).map(PathBuf::from)
}
