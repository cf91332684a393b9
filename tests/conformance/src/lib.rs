//! Runs the real `konsort` program for tests and lets stock clients, in their own languages, use it.
//!
//! ```no_run
//! let network = conformance::Network::up(&["--orgs", "2"])?;
//! conformance::node_suite(&network, "gateway.test.mjs", &[])?;
//! # Ok::<(), anyhow::Error>(())
//! ```
//!
//! Networks use free ports and temporary folders and are removed by process id when dropped. Packages of other languages are
//! installed from their lock files into the build folder, once.

pub mod bcos;
pub mod deploy;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, OnceLock};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

/// The workspace folder.
pub fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().and_then(Path::parent).unwrap_or(here).to_path_buf()
}

/// A folder under the build folder for things that are made once (installed packages).
pub fn cache(name: &str) -> PathBuf {
    workspace().join("target/conformance").join(name)
}

/// The program under test: `KONSORT_BIN`, or a release build made now.
pub fn konsort() -> anyhow::Result<PathBuf> {
    static PROGRAM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    PROGRAM
        .get_or_init(|| {
            if let Ok(path) = std::env::var("KONSORT_BIN") {
                return Ok(PathBuf::from(path));
            }
            let build = Command::new(env!("CARGO"))
                .args(["build", "--release", "-p", "konsort"])
                .current_dir(workspace())
                .status()
                .map_err(|error| format!("cannot run cargo: {error}"))?;
            if !build.success() {
                return Err("the release build of konsort failed".to_owned());
            }
            Ok(workspace().join("target/release/konsort"))
        })
        .clone()
        .map_err(anyhow::Error::msg)
}

/// Runs a command and gives its output; a failure shows both streams.
pub fn run(command: &mut Command) -> anyhow::Result<Output> {
    let shown = format!("{command:?}");
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {shown}"))?;
    if !output.status.success() {
        bail!(
            "{shown} ended with {}\n--- stdout\n{}\n--- stderr\n{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(output)
}

/// A running network in a temporary folder; it is stopped and removed when dropped.
#[derive(Debug)]
pub struct Network {
    folder: tempfile::TempDir,
    description: Value,
}

impl Network {
    /// Starts a network with extra arguments for `konsort up` (free ports are always used).
    pub fn up(arguments: &[&str]) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut network = Self { folder, description: Value::Null };
        network.start(arguments)?;
        Ok(network)
    }

    /// Starts the nodes (again).
    pub fn start(&mut self, arguments: &[&str]) -> anyhow::Result<()> {
        // Of the first engine, unless it is said.
        let engine: &[&str] = if arguments.contains(&"--engine") { &[] } else { &["--engine", "fabric"] };
        let output = run(Command::new(konsort()?)
            .args(["up", "--detach", "--output", "json", "--ports", "free", "--data"])
            .arg(self.data())
            .args(engine)
            .args(arguments))?;
        self.description = serde_json::from_slice(&output.stdout).context("the output of konsort up is not JSON")?;
        std::fs::write(self.file(), &output.stdout)?;
        Ok(())
    }

    /// Stops the nodes and keeps the data.
    pub fn stop(&self) -> anyhow::Result<()> {
        run(Command::new(konsort()?).args(["down", "--keep", "--data"]).arg(self.data()))?;
        Ok(())
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("net")
    }

    /// The file with the description of the network, as `konsort up --output json` printed it.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("network.json")
    }

    /// That description.
    pub fn description(&self) -> &Value {
        &self.description
    }

    /// A node of the description.
    pub fn node(&self, name: &str) -> anyhow::Result<&Value> {
        self.description["nodes"]
            .as_array()
            .and_then(|nodes| nodes.iter().find(|node| node["name"] == name))
            .with_context(|| format!("the network has no node {name}"))
    }

    /// Every node of a role, in order.
    pub fn nodes(&self, role: &str) -> Vec<&Value> {
        self.description["nodes"].as_array().into_iter().flatten().filter(|node| node["role"] == role).collect()
    }

    /// Starts one node of the network alone, as its supervisor would; its output goes to its log.
    pub fn start_node(&self, name: &str) -> anyhow::Result<Running> {
        let node = self.node(name)?;
        let folder = self.data().join("nodes").join(name);
        let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.join("node.log"))?;
        let arguments: &[&str] =
            if node["role"] == "peer" { &["peer", "node", "start"] } else { &["orderer", "start"] };
        let mut command = Command::new(konsort()?);
        command.args(arguments).env("FABRIC_CFG_PATH", &folder).stdout(log.try_clone()?).stderr(log);
        Running::start(&mut command)
    }

    /// Environment of the `peer` command for an organisation's user.
    pub fn peer_environment(&self, mspid: &str, user: &str) -> anyhow::Result<BTreeMap<String, String>> {
        let nodes = self.description["nodes"].as_array().context("no nodes")?;
        let peer = nodes
            .iter()
            .find(|node| node["role"] == "peer" && node["mspid"] == mspid)
            .with_context(|| format!("no peer of {mspid}"))?;
        let identity = self.description["identities"]
            .as_array()
            .and_then(|all| {
                all.iter().find(|one| {
                    one["mspid"] == mspid
                        && one["name"].as_str().is_some_and(|name| name.starts_with(&format!("{user}@")))
                })
            })
            .with_context(|| format!("no {user} of {mspid}"))?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let name = text(&peer["name"]);
        Ok(BTreeMap::from([
            ("FABRIC_CFG_PATH".into(), self.data().join("nodes").join(name).display().to_string()),
            ("CORE_PEER_TLS_ENABLED".into(), "true".into()),
            ("CORE_PEER_LOCALMSPID".into(), mspid.to_owned()),
            ("CORE_PEER_MSPCONFIGPATH".into(), text(&identity["msp"])),
            ("CORE_PEER_TLS_ROOTCERT_FILE".into(), text(&peer["tls_ca"])),
            ("CORE_PEER_ADDRESS".into(), text(&peer["endpoint"])),
        ]))
    }
}

/// Whether the process of a node runs.
pub fn is_alive(pid: &Value) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    // A process that nobody has waited for yet stays as a zombie, which holds nothing.
    stat.is_ok_and(|stat| stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.starts_with(" Z")))
}

/// Ends a process at once (SIGKILL) and waits until it is gone with all it held, its ports above all.
pub fn kill(pid: &Value) -> anyhow::Result<()> {
    ensure!(pid.is_u64(), "the node has no process id");
    run(Command::new("kill").args(["-KILL", &pid.to_string()]))?;
    let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while is_alive(pid) {
        ensure!(std::time::Instant::now() < until, "process {pid} does not end");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    Ok(())
}

/// Whether network namespaces can be made; installs the tool for it where that is possible and needed.
pub fn network_namespaces() -> bool {
    let works = || {
        let name = format!("try{}", std::process::id());
        let ip = |action: &str| {
            Command::new("ip").args(["netns", action, &name]).output().is_ok_and(|out| out.status.success())
        };
        ip("add") && ip("del")
    };
    works() || (debian_package("iproute2") && works())
}

/// Whether a program runs; installs the Debian package of the same name where that is possible and needed.
pub fn has_program(name: &str) -> bool {
    let works = || Command::new(name).arg("--version").output().is_ok_and(|out| out.status.success());
    works() || (debian_package(name) && works())
}

fn debian_package(name: &str) -> bool {
    let apt =
        |arguments: &[&str]| Command::new("apt-get").args(arguments).output().is_ok_and(|out| out.status.success());
    apt(&["update"]) && apt(&["install", "-y", "--no-install-recommends", name])
}

/// The first of so many neighbouring free ports, for programs that count up from it.
pub fn free_row(length: u16) -> u16 {
    let free = |first: u16| (first..first + length).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok());
    // Tests that run at the same time must not find the same row; below the ports that the system hands out by itself.
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id() % 20_000) as u16;
    let mut rows = std::iter::repeat_with(|| 10_000 + (start + NEXT.fetch_add(length, Ordering::Relaxed)) % 20_000);
    rows.find(|first| free(*first)).unwrap_or(10_000)
}

/// Shows what a node said last, the best explanation of a failed test.
pub(crate) fn show_end_of(log: &Path) {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let tail: Vec<&str> = text.lines().rev().take(25).collect();
    let _closed = writeln!(std::io::stderr(), "--- end of {}", log.display());
    for line in tail.into_iter().rev() {
        let _closed = writeln!(std::io::stderr(), "{line}");
    }
}

/// A process that ends with the test, however the test ends.
#[derive(Debug)]
pub struct Running(std::process::Child);

impl Running {
    /// Starts a process without input.
    pub fn start(command: &mut Command) -> anyhow::Result<Self> {
        let shown = format!("{command:?}");
        command.stdin(Stdio::null()).spawn().map(Self).with_context(|| format!("cannot start {shown}"))
    }

    /// Ends the process at once (SIGKILL) and waits until it is gone.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }

    /// Whether the process has ended by itself.
    pub fn has_ended(&mut self) -> anyhow::Result<bool> {
        Ok(self.0.try_wait()?.is_some())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended_already = self.kill();
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for node in self.description["nodes"].as_array().into_iter().flatten() {
                show_end_of(Path::new(node["log"].as_str().unwrap_or_default()));
            }
        }
        if let Ok(program) = konsort() {
            let _best_effort = Command::new(program).args(["down", "--data"]).arg(self.data()).output();
        }
    }
}

/// Runs `install` in `folder` unless a stamp says that it ran for the same `inputs` before; one at a time.
pub fn once(folder: &Path, inputs: &[PathBuf], install: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut stamp = Vec::new();
    for input in inputs {
        stamp.extend(std::fs::read(input).with_context(|| format!("cannot read {}", input.display()))?);
    }
    let stamp_file = folder.join("installed");
    if std::fs::read(&stamp_file).is_ok_and(|old| old == stamp) {
        return Ok(());
    }
    std::fs::create_dir_all(folder)?;
    install()?;
    std::fs::write(stamp_file, stamp)?;
    Ok(())
}

/// A copy of an npm project of this folder with its locked packages installed.
pub fn npm_project(name: &str) -> anyhow::Result<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let folder = cache(&name.replace('/', "-"));
    once(&folder, &[source.join("package.json"), source.join("package-lock.json")], || {
        for file in ["package.json", "package-lock.json", ".npmrc"] {
            std::fs::copy(source.join(file), folder.join(file))?;
        }
        run(Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(&folder))?;
        Ok(())
    })?;
    copy_sources(&source, &folder)?;
    Ok(folder)
}

/// How the names of the clients' sources end.
const SOURCES: [&str; 7] = ["mjs", "js", "cjs", "sol", "toml", "java", "xml"];

/// Copies sources of the clients, sub-folders included.
fn copy_sources(source: &Path, target: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(target)?;
    for entry in std::fs::read_dir(source)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default();
        if path.is_dir() && name != "node_modules" && name != "build" {
            copy_sources(&path, &target.join(name))?;
        } else if path.extension().is_some_and(|extension| SOURCES.iter().any(|source| extension == *source)) {
            std::fs::copy(&path, target.join(name))?;
        }
    }
    Ok(())
}

/// A folder with Python packages of a requirements file of this folder.
pub fn pip_packages(requirements: &str) -> anyhow::Result<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(requirements);
    let folder = cache(&requirements.replace(['/', '.'], "-"));
    once(&folder, std::slice::from_ref(&source), || {
        run(Command::new("python3")
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target"])
            .arg(&folder)
            .arg("-r")
            .arg(&source))?;
        Ok(())
    })?;
    Ok(folder)
}

/// Runs a test file of the Node project against a network; the assertion counts of Node's own runner must hold.
pub fn node_suite(network: &Network, file: &str, environment: &[(&str, &str)]) -> anyhow::Result<()> {
    node_suite_on(&network.file(), file, environment)
}

/// The same against a network of which there is a description.
pub fn node_suite_on(description: &Path, file: &str, environment: &[(&str, &str)]) -> anyhow::Result<()> {
    let project = npm_project("node")?;
    let output = Command::new("node")
        .args(["--test", "--test-reporter", "spec", file])
        .current_dir(&project)
        .env("KONSORT_NETWORK", description)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .context("cannot run node")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let passed = text
        .lines()
        .find_map(|line| line.trim_start_matches(['ℹ', ' ']).strip_prefix("pass "))
        .and_then(|count| count.trim().parse::<usize>().ok())
        .unwrap_or(0);
    ensure!(
        output.status.success() && passed > 0,
        "node {file} {environment:?}: {passed} tests passed\n{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let _closed = writeln!(std::io::stderr(), "node {file} {environment:?}: {passed} tests passed");
    Ok(())
}
