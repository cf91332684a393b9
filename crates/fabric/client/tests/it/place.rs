//! Where recorded commands run again: upstream's files, and nodes to talk to.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use fabric_client::tools::{self, Console, Outcome};
use fabric_proto::protos::Response;
use prost::Message;
use serde_json::Value;

use crate::mock::{Node, Script, ok};
use crate::support::{Answer, bytes, golden, recorded, run};

/// A folder as upstream's commands were run in, and a node for them.
pub(crate) struct Place {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) nodes: [Node; 2],
    /// A node that takes connections and hangs up, as one does that wants TLS and is spoken to without.
    pub(crate) other: SocketAddr,
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let archive = std::fs::File::open(golden("crypto/crypto-config.tar.gz")).unwrap();
        tar::Archive::new(flate2::read::GzDecoder::new(archive)).unpack(folder.path()).unwrap();
        std::fs::create_dir(folder.path().join("cfg")).unwrap();
        std::fs::write(folder.path().join("cfg/core.yaml"), "peer:\n  id: cli\n").unwrap();
        std::fs::create_dir(folder.path().join("ccsrc")).unwrap();
        std::fs::write(folder.path().join("ccsrc/go.mod"), "module example.com/gocc\n\ngo 1.22\n").unwrap();
        std::fs::write(folder.path().join("ccsrc/main.go"), "package main\n").unwrap();
        for file in ["genesis.block", "genesis.json", "packages/kv_1.0.tgz"] {
            let name = Path::new(file).file_name().unwrap();
            std::fs::write(folder.path().join(name), bytes(file)).unwrap();
        }
        std::fs::write(folder.path().join("collections.json"), bytes("collections_config.json")).unwrap();
        Self { folder, nodes: Node::pair(), other: hangs_up() }
    }

    /// Upstream ran in its folder; tests share one process, so every file name becomes absolute instead.
    fn absolute(&self, argument: &str) -> String {
        let path = self.folder.path().join(argument);
        let output = ["gocc.tgz", "gocc2.tgz", "cfgblock.pb", "env.pb", "newest.block", "zero.block"];
        if !argument.is_empty() && (path.exists() || output.contains(&argument)) {
            return path.display().to_string();
        }
        argument
            .replace("127.0.0.1:7051", &self.nodes[0].address.to_string())
            .replace("127.0.0.1:8051", &self.nodes[1].address.to_string())
            .replace("127.0.0.1:7050", &self.nodes[0].address.to_string())
    }

    pub(crate) fn run(&self, case: &Value) -> Answer {
        let argv: Vec<String> =
            case["argv"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap().to_owned()).collect();
        let args: Vec<String> = argv[1..].iter().filter(|arg| *arg != "--tls").map(|arg| self.absolute(arg)).collect();
        let env: BTreeMap<String, String> = case["env"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| {
                let value = value.as_str().unwrap();
                let value = if name == "CORE_PEER_TLS_ENABLED" { "false".to_owned() } else { self.absolute(value) };
                (name.clone(), value)
            })
            .collect();
        let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let tool: fn(&[String], &mut Console<'_>) -> i32 = if argv[0] == "osnadmin" { osnadmin } else { peer };
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        run(tool, &args, &env, &[])
    }

    /// Runs a recorded command and compares everything but times, ids, and the connection library's own log.
    pub(crate) fn compare(&self, name: &str) {
        let case = recorded(name);
        let answer = self.run(&case);
        assert_eq!(
            answer.text(),
            case["stdout"].as_str().unwrap(),
            "{name}: standard output; stderr {}",
            answer.stderr
        );
        let ours = self.normal(&answer.stderr);
        let mut theirs = self.normal(case["stderr"].as_str().unwrap());
        // Two peers answer in any order.
        let mut sorted = ours.clone();
        if ours != theirs {
            sorted.sort();
            theirs.sort();
        }
        assert_eq!(sorted, theirs, "{name}: standard error");
        assert_eq!(answer.code, case["exit_code"].as_i64().unwrap() as i32, "{name}: exit code");
    }

    pub(crate) fn play(&self, answers: Vec<(&'static str, &'static str, Response)>) {
        for node in &self.nodes {
            node.play(Script { answers: answers.clone(), ..Script::default() });
        }
    }

    fn normal(&self, stderr: &str) -> Vec<String> {
        let colour = regex::Regex::new("\x1b\\[[0-9;]*m").unwrap();
        let prefix = regex::Regex::new(r"^\d{4}-\d\d-\d\d \S+ UTC [0-9a-f]{4} ").unwrap();
        let txid = regex::Regex::new("[0-9a-f]{64}").unwrap();
        let plain = colour.replace_all(stderr, "").into_owned();
        let mut lines = Vec::new();
        let mut in_library = false;
        for line in plain.lines() {
            if prefix.is_match(line) {
                in_library = line.contains(" [grpc] ");
            } else if in_library && line.starts_with([' ', '{', '}']) {
                continue;
            } else {
                in_library = false;
            }
            if !in_library {
                let line = prefix.replace(line, "").into_owned();
                let line = if line.contains("txid [") { txid.replace_all(&line, "TXID").into_owned() } else { line };
                let line = line.replace(&format!("{}/", self.folder.path().display()), "");
                lines.push(
                    line.replace(&self.nodes[0].address.to_string(), "127.0.0.1:7051")
                        .replace(&self.nodes[1].address.to_string(), "127.0.0.1:8051")
                        .replace(&self.other.to_string(), "127.0.0.1:7050"),
                );
            }
        }
        lines
    }
}

fn hangs_up() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = stream.unwrap().read(&mut [0; 64]);
        }
    });
    address
}

fn peer(args: &[String], console: &mut Console<'_>) -> i32 {
    match tools::run("peer", args, console) {
        Outcome::Exit(code) => code,
        Outcome::StartPeerNode { .. } => -1,
    }
}

fn osnadmin(args: &[String], console: &mut Console<'_>) -> i32 {
    match tools::run("osnadmin", args, console) {
        Outcome::Exit(code) => code,
        Outcome::StartPeerNode { .. } => -1,
    }
}

pub(crate) fn message(message: &impl Message) -> Response {
    ok(message.encode_to_vec())
}
