//! Chains of the second engine, made by its chain builder, and their stock clients: Ethereum's tools, web3.py, the Java SDK.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use super::{cache, copy_sources, free_row, konsort, npm_project, once, pip_packages, run, show_end_of};

/// Ethereum's chain id of new chains.
const WEB3_CHAIN_ID: &str = "20200";

/// A running chain on this machine; its nodes end when it is dropped.
#[derive(Debug)]
pub struct Chain {
    folder: tempfile::TempDir,
    nodes: u16,
    rpc: u16,
    web3: u16,
    tls: bool,
}

impl Chain {
    /// Builds and starts a chain of so many nodes, with or without TLS for the SDK.
    pub fn start(nodes: u16, tls: bool) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let first = free_row(3 * nodes);
        let chain = Self { folder, nodes, rpc: first + nodes, web3: first + 2 * nodes, tls };
        let mut build = Command::new(konsort()?);
        build.args(["build_chain", "-l", &format!("127.0.0.1:{nodes}"), "--listen-ip", "127.0.0.1"]);
        build.args(["-p", &format!("{first},{}", chain.rpc), "--web3-port", &chain.web3.to_string()]);
        build.args(["--min-seal-time", "10", "-o"]).arg(chain.nodes_folder());
        if !tls {
            build.arg("--plain-rpc");
        }
        run(&mut build)?;
        run(Command::new("bash").arg(chain.host().join("start_all.sh")))?;
        Ok(chain)
    }

    fn nodes_folder(&self) -> PathBuf {
        self.folder.path().join("nodes")
    }

    fn host(&self) -> PathBuf {
        self.nodes_folder().join("127.0.0.1")
    }

    /// Where Ethereum's clients find the chain.
    fn ethereum(&self) -> [(&'static str, String); 3] {
        [
            ("KONSORT_ETH_HTTP", format!("http://127.0.0.1:{}", self.web3)),
            ("KONSORT_ETH_WS", format!("ws://127.0.0.1:{}", self.web3)),
            ("KONSORT_ETH_CHAIN_ID", WEB3_CHAIN_ID.to_owned()),
        ]
    }

    /// Every client of the npm project: plain JSON-RPC, ethers, viem, web3.js, Hardhat, forge, cast, `OpenZeppelin`.
    pub fn ethereum_suite(&self, files: &[&str]) -> anyhow::Result<()> {
        ethereum_suite(&self.ethereum(), files)
    }

    /// web3.py over HTTP and WebSocket.
    pub fn python_suite(&self) -> anyhow::Result<()> {
        let packages = pip_packages("bcos/web3py/requirements.txt")?;
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("bcos/web3py/test_web3py.py");
        let output = run(Command::new("python3")
            .arg(program)
            .env("PYTHONPATH", packages)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("KONSORT_CONTRACTS", contracts()?)
            .envs(self.ethereum()))?;
        let said = String::from_utf8_lossy(&output.stderr);
        let ran = said.lines().find(|line| line.starts_with("Ran "));
        ensure!(said.trim_end().ends_with("OK") && ran.is_some(), "web3.py said\n{said}");
        let _closed = writeln!(std::io::stderr(), "web3.py: {}", ran.unwrap_or_default());
        Ok(())
    }

    /// The stock Java SDK, with its default configuration but for the peers, the certificates and whether there is TLS.
    pub fn java_suite(&self) -> anyhow::Result<()> {
        let peers: Vec<u16> = (0..self.nodes.min(2)).map(|at| self.rpc + at).collect();
        let sdk = self.tls.then(|| self.host().join("sdk"));
        java_suite(self.folder.path(), sdk.as_deref(), &peers, "group0", "chain0")
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for node in 0..self.nodes {
                show_end_of(&self.host().join(format!("node{node}/nohup.out")));
            }
        }
        let _best_effort = Command::new("bash").arg(self.host().join("stop_all.sh")).output();
    }
}

/// The npm project's tests against the chain that this environment names.
pub fn ethereum_suite(environment: &[(&str, String)], files: &[&str]) -> anyhow::Result<()> {
    let project = npm_project("bcos/eth")?;
    let output = Command::new("node")
        .args(["--test", "--test-concurrency", "1", "--test-timeout", "240000", "--test-reporter", "spec"])
        .args(files)
        .current_dir(project)
        .envs(environment.iter().map(|(name, value)| (*name, value)))
        .stdin(std::process::Stdio::null())
        .output()
        .context("cannot run node")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let count = |what: &str| {
        text.lines()
            .find_map(|line| line.trim_start_matches(['ℹ', ' ']).strip_prefix(what))
            .and_then(|count| count.trim().parse::<usize>().ok())
    };
    let (passed, skipped) = (count("pass ").unwrap_or(0), count("skipped "));
    ensure!(
        output.status.success() && passed >= files.len() && skipped == Some(0),
        "node {files:?}: {passed} tests passed, skipped {skipped:?}\n{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let _closed = writeln!(std::io::stderr(), "node {files:?}: {passed} tests passed");
    Ok(())
}

/// The stock Java SDK against the nodes that listen on these ports of this machine, with TLS when there is a folder with the SDK's
/// certificates. It works in `folder`.
pub fn java_suite(folder: &Path, sdk: Option<&Path>, ports: &[u16], group: &str, chain: &str) -> anyhow::Result<()> {
    let project = java_project()?;
    let peers: Vec<String> = ports.iter().map(|port| format!("\"127.0.0.1:{port}\"")).collect();
    let accounts = folder.join("accounts");
    let toml = folder.join("config.toml");
    std::fs::write(
        &toml,
        format!(
            "[cryptoMaterial]\ncertPath = \"{}\"\ndisableSsl = \"{}\"\nuseSMCrypto = \"false\"\n\
             [network]\nmessageTimeout = \"10000\"\ndefaultGroup = \"group0\"\npeers = [{}]\n\
             [account]\nkeyStoreDir = \"{}\"\naccountFileFormat = \"pem\"\n[threadPool]\n",
            sdk.unwrap_or(folder).display(),
            sdk.is_none(),
            peers.join(", "),
            accounts.display(),
        ),
    )?;
    // The SDK's native library writes its log into the folder it is started in.
    let output = run(Command::new("java")
        .arg("-cp")
        .arg(format!("{0}/classes:{0}/lib/*", project.display()))
        .arg("Conformance")
        .arg(&toml)
        .arg(contracts()?)
        .args([group, chain])
        .current_dir(folder))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let last = said.lines().last().unwrap_or_default();
    ensure!(last.starts_with("passed ") && last.ends_with(" failed 0"), "the Java SDK said\n{said}");
    let _closed = writeln!(std::io::stderr(), "Java SDK: {last}");
    Ok(())
}

/// Installs and compiles what the clients need, while there still is a way to the package registries.
pub fn prepare_clients() -> anyhow::Result<()> {
    contracts()?;
    java_project()?;
    Ok(())
}

/// The file with the compiled contracts.
fn contracts() -> anyhow::Result<PathBuf> {
    let output = run(Command::new("node").arg("compile.mjs").current_dir(npm_project("bcos/eth")?))?;
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

/// The Java program, compiled, with its packages beside it.
fn java_project() -> anyhow::Result<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("bcos/java");
    let folder = cache("bcos-java");
    let inputs: Vec<PathBuf> =
        ["pom.xml", "Check.java", "Conformance.java"].iter().map(|file| source.join(file)).collect();
    once(&folder, &inputs, || {
        copy_sources(&source, &folder)?;
        let lib = folder.join("lib");
        run(Command::new("mvn")
            .args(["-q", "-B", "dependency:copy-dependencies"])
            .arg(format!("-DoutputDirectory={}", lib.display()))
            .current_dir(&folder))?;
        // One of the packages brings an annotation processor that no longer runs; nothing here needs it.
        run(Command::new("javac")
            .args(["-proc:none", "-nowarn", "-d", "classes", "-cp", "lib/*", "Check.java", "Conformance.java"])
            .current_dir(&folder))?;
        Ok(())
    })?;
    Ok(folder)
}
