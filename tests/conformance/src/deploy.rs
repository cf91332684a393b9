//! Deploys chaincode on a running network with the `peer` command, as an operator does.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::{Network, Running, cache, konsort, npm_project, once, run};

/// Chaincode sources of this folder.
pub fn chaincode_sources(language: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("chaincode").join(language)
}

/// How a chaincode is packaged.
#[derive(Debug, Clone, Copy)]
pub enum Package<'a> {
    /// `peer lifecycle chaincode package --lang …` over a source folder.
    Sources {
        /// `node` or `golang`.
        lang: &'a str,
        /// The folder.
        path: &'a Path,
    },
    /// A service that listens on this port of 127.0.0.1.
    Service(u16),
}

impl Network {
    /// Packages, installs everywhere, approves for every organisation and commits; gives the package id.
    pub fn deploy(&self, name: &str, package: Package<'_>, policy: Option<&str>) -> anyhow::Result<String> {
        let label = format!("{name}_1.0");
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("package.tgz");
        let peers = self.nodes("peer");
        let first = peers.first().context("the network has no peer")?["mspid"].as_str().unwrap_or_default().to_owned();
        match package {
            Package::Sources { lang, path } => {
                run(self
                    .peer(&first)?
                    .args(["lifecycle", "chaincode", "package"])
                    .arg(&file)
                    .args(["--lang", lang, "--label", &label, "--path"])
                    .arg(path))?;
            }
            Package::Service(port) => {
                let connection =
                    format!(r#"{{"address":"127.0.0.1:{port}","dial_timeout":"10s","tls_required":false}}"#);
                std::fs::write(folder.path().join("connection.json"), connection)?;
                std::fs::write(
                    folder.path().join("metadata.json"),
                    format!(r#"{{"type":"ccaas","label":"{label}"}}"#),
                )?;
                run(Command::new("tar")
                    .arg("-C")
                    .arg(folder.path())
                    .args(["-czf"])
                    .arg(folder.path().join("code.tar.gz"))
                    .arg("connection.json"))?;
                run(Command::new("tar")
                    .arg("-C")
                    .arg(folder.path())
                    .arg("-czf")
                    .arg(&file)
                    .args(["metadata.json", "code.tar.gz"]))?;
            }
        }
        let output = run(self.peer(&first)?.args(["lifecycle", "chaincode", "calculatepackageid"]).arg(&file))?;
        let id = String::from_utf8(output.stdout)?.trim().to_owned();
        let orderer = self.orderer_flags()?;
        let mut definition: Vec<String> =
            ["-C", self.channel(), "-n", name, "-v", "1.0", "--sequence", "1"].map(str::to_owned).to_vec();
        if let Some(policy) = policy {
            definition.extend(["--signature-policy".to_owned(), policy.to_owned()]);
        }
        let mut endorsers = Vec::new();
        for peer in &peers {
            let mspid = peer["mspid"].as_str().unwrap_or_default();
            run(self.peer(mspid)?.args(["lifecycle", "chaincode", "install"]).arg(&file))?;
            run(self
                .peer(mspid)?
                .args(["lifecycle", "chaincode", "approveformyorg", "--package-id", &id])
                .args(&definition)
                .args(&orderer))?;
            let text = |field: &str| peer[field].as_str().unwrap_or_default().to_owned();
            endorsers.extend([
                "--peerAddresses".to_owned(),
                text("endpoint"),
                "--tlsRootCertFiles".to_owned(),
                text("tls_ca"),
            ]);
        }
        run(self
            .peer(&first)?
            .args(["lifecycle", "chaincode", "commit"])
            .args(&definition)
            .args(&orderer)
            .args(&endorsers))?;
        Ok(id)
    }

    /// The channel's name.
    pub fn channel(&self) -> &str {
        self.description()["channel"].as_str().unwrap_or_default()
    }

    /// The `peer` command as an organisation's administrator.
    pub fn peer(&self, mspid: &str) -> anyhow::Result<Command> {
        let mut command = Command::new(konsort()?);
        command.arg("peer").envs(self.peer_environment(mspid, "Admin")?);
        Ok(command)
    }

    fn orderer_flags(&self) -> anyhow::Result<Vec<String>> {
        let orderers = self.nodes("orderer");
        let orderer: &Value = orderers.first().context("the network has no orderer")?;
        let text = |field: &str| orderer[field].as_str().unwrap_or_default().to_owned();
        Ok(vec![
            "-o".into(),
            text("endpoint"),
            "--tls".into(),
            "--cafile".into(),
            text("tls_ca"),
            "--ordererTLSHostnameOverride".into(),
            text("name"),
        ])
    }
}

/// Starts a chaincode server and waits until its port is open.
fn service(mut command: Command, port: u16) -> anyhow::Result<Running> {
    let child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().context("cannot start the chaincode server")?;
    let mut running = Running(child);
    let until = Instant::now() + Duration::from_secs(30);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        ensure!(Instant::now() < until, "the chaincode server does not listen on port {port}");
        ensure!(!running.has_ended()?, "the chaincode server ended");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(running)
}

/// A server of the stock Node chaincode.
pub fn node_service(port: u16, package_id: &str) -> anyhow::Result<Running> {
    let project = npm_project("chaincode/node")?;
    let mut command = Command::new(project.join("node_modules/.bin/fabric-chaincode-node"));
    command.current_dir(&project).args([
        "server",
        "--chaincode-address",
        &format!("127.0.0.1:{port}"),
        "--chaincode-id",
        package_id,
    ]);
    service(command, port)
}

/// A server of the stock Go chaincode.
pub fn go_service(port: u16, package_id: &str) -> anyhow::Result<Running> {
    let sources = chaincode_sources("go");
    let folder = cache("chaincode-go");
    let inputs: Vec<PathBuf> = ["go.mod", "go.sum", "main.go", "contract.go"].map(|file| sources.join(file)).to_vec();
    once(&folder, &inputs, || {
        run(Command::new("go").args(["build", "-o"]).arg(folder.join("server")).arg(".").current_dir(&sources))?;
        Ok(())
    })?;
    let mut command = Command::new(folder.join("server"));
    command.envs([("CHAINCODE_SERVER_ADDRESS", format!("127.0.0.1:{port}")), ("CHAINCODE_ID", package_id.to_owned())]);
    service(command, port)
}

/// A port of 127.0.0.1 that was free a moment ago.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
