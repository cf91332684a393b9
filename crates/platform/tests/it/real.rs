//! A real server: the program as a process of its own, which tests may kill.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::support::{Answer, As, Browser, PASSWORD, browser, call};

/// The program: `KONSORT_BIN`, or the debug build beside the tests.
pub(crate) fn program() -> PathBuf {
    if let Ok(path) = std::env::var("KONSORT_BIN") {
        return PathBuf::from(path);
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/debug/konsort");
    assert!(path.exists(), "{} is not there; run: cargo build -p konsort", path.display());
    path.canonicalize().unwrap()
}

/// A server with its data folder.
#[derive(Debug)]
pub(crate) struct Real {
    pub(crate) data: PathBuf,
    pub(crate) addr: SocketAddr,
    pub(crate) admin: Browser,
    database_url: Option<String>,
    child: Child,
}

/// Runs a server and says where it listens and its first line.
async fn spawn(data: &Path, database_url: Option<&str>) -> (Child, Value) {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(data.with_extension("log")).unwrap();
    let mut command = Command::new(program());
    command
        .args(["server", "--listen", "127.0.0.1:0", "--output", "json", "--data"])
        .arg(data)
        .env("RUST_LOG", "info")
        .stdout(Stdio::piped())
        .stderr(log)
        .stdin(Stdio::null());
    if let Some(url) = database_url {
        command.env("KONSORT_DATABASE_URL", url);
    }
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line =
        tokio::time::timeout(Duration::from_mins(1), lines.next_line()).await.expect("the server tells where it is");
    let line = line.unwrap().unwrap_or_else(|| {
        panic!("the server ended: {}", std::fs::read_to_string(data.with_extension("log")).unwrap_or_default())
    });
    (child, serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}")))
}

impl Real {
    pub(crate) async fn start(folder: &Path, database_url: Option<String>) -> Self {
        let data = folder.join("data");
        let (child, told) = spawn(&data, database_url.as_deref()).await;
        let addr: SocketAddr = told["address"].as_str().unwrap().parse().unwrap();
        let token = told["setup_link"].as_str().unwrap().split_once("token=").unwrap().1.to_owned();
        let body = json!({
            "token": token, "username": "root", "password": PASSWORD, "language": "en", "organisation": "First",
        });
        let answer = call(addr, As::Nobody, "POST", "/v1/setup", Some(body), &[]).await.expect(201);
        Self { admin: browser(&answer), data, addr, child, database_url }
    }

    /// Ends it as a power cut would, and starts it again.
    pub(crate) async fn crash_and_restart(&mut self) {
        self.kill().await;
        self.restart().await;
    }

    pub(crate) async fn kill(&mut self) {
        self.child.start_kill().unwrap();
        self.child.wait().await.unwrap();
    }

    pub(crate) async fn restart(&mut self) {
        let (child, told) = spawn(&self.data, self.database_url.as_deref()).await;
        self.child = child;
        self.addr = told["address"].as_str().unwrap().parse().unwrap();
    }

    pub(crate) async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        call(self.addr, As::Browser(&self.admin), method, path, body, &[]).await
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.call("GET", path, None).await.expect(200).json()
    }

    /// Begins an operation and gives its id.
    pub(crate) async fn begin(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        self.call(method, path, body).await.expect(202).json()
    }

    /// Waits for the end of an operation.
    pub(crate) async fn ended(&self, operation: &str) -> Value {
        let begun = Instant::now();
        loop {
            let now = self.get(&format!("/v1/operations/{operation}")).await;
            match now["state"].as_str().unwrap() {
                "pending" | "running" => {}
                _ => return now,
            }
            assert!(begun.elapsed() < Duration::from_mins(3), "{now:#}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Begins an operation and waits until it is done.
    pub(crate) async fn done(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let begun = self.begin(method, path, body).await;
        let ended = self.ended(begun["id"].as_str().unwrap()).await;
        assert_eq!(ended["state"], "done", "{ended:#}");
        ended
    }

    /// Waits until something is so.
    pub(crate) async fn until(&self, path: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let now = self.get(path).await;
            if is_so(&now) {
                return now;
            }
            assert!(begun.elapsed() < Duration::from_mins(1), "never {what}: {now:#}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Process ids of a network's running nodes.
    pub(crate) async fn pids(&self, network: &str) -> BTreeMap<String, u64> {
        let nodes = self.get(&format!("/v1/networks/{network}/nodes")).await;
        let nodes = nodes["items"].as_array().unwrap().iter();
        nodes.filter_map(|node| Some((node["id"].as_str()?.to_owned(), node["pid"].as_u64()?))).collect()
    }

    /// Removes every network, so that no node outlives the test, and ends the server.
    pub(crate) async fn finish(mut self) {
        let networks = self.get("/v1/networks").await;
        for network in networks["items"].as_array().unwrap() {
            let path = format!("/v1/networks/{}", network["id"].as_str().unwrap());
            let answer = self.call("DELETE", &path, None).await;
            if answer.status == 202 {
                self.ended(answer.json()["id"].as_str().unwrap()).await;
            }
        }
        self.kill().await;
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        let _ = self.child.start_kill();
        // Nodes are processes of their own: those that a failed test leaves are ended by their records.
        let mut folders = vec![self.data.join("drivers")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else if let Some(pid) = std::fs::read(&path)
                    .ok()
                    .and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok())
                    .and_then(|record| pid_of(&record))
                {
                    end(pid, &self.data);
                }
            }
        }
    }
}

/// The process id somewhere in a record.
fn pid_of(record: &Value) -> Option<u64> {
    match record {
        Value::Object(fields) => fields.get("pid").and_then(Value::as_u64).or_else(|| fields.values().find_map(pid_of)),
        _ => None,
    }
}

/// Ends a process, if it is one of ours.
fn end(pid: u64, data: &Path) {
    let folder = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
    if folder.starts_with(data) {
        let _ = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status();
    }
}

/// A stream of server-sent events.
#[derive(Debug)]
pub(crate) struct Events {
    body: Incoming,
    text: String,
    task: tokio::task::JoinHandle<Result<(), hyper::Error>>,
}

impl Drop for Events {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One event.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) id: String,
    pub(crate) topic: String,
    pub(crate) data: Value,
}

impl Events {
    pub(crate) async fn open(real: &Real, query: &str, last: Option<&str>) -> Self {
        let stream = tokio::net::TcpStream::connect(real.addr).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let task = tokio::spawn(connection);
        let mut request = Request::get(format!("/v1/events?{query}"))
            .header(header::HOST, real.addr.to_string())
            .header(header::COOKIE, &real.admin.cookie);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = sender.send_request(request.body(Full::<Bytes>::default()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        Self { body: response.into_body(), text: String::new(), task }
    }

    /// The next event; `None` when the stream has ended.
    pub(crate) async fn next(&mut self) -> Option<Told> {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let text: String = self.text.drain(..end + 2).collect();
                let field = |name: &str| {
                    text.lines()
                        .filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                        .map(|value| value.strip_prefix(' ').unwrap_or(value))
                        .next()
                        .map(str::to_owned)
                };
                let Some(data) = field("data") else { continue };
                let data = serde_json::from_str(&data).unwrap();
                return Some(Told {
                    id: field("id").unwrap_or_default(),
                    topic: field("event").unwrap_or_default(),
                    data,
                });
            }
            let frame = tokio::time::timeout(Duration::from_mins(1), self.body.frame()).await.expect("an event");
            let Ok(frame) = frame? else { return None };
            if let Ok(bytes) = frame.into_data() {
                self.text.push_str(&String::from_utf8_lossy(&bytes));
            }
        }
    }
}

/// A small network of an engine.
pub(crate) fn small(engine: &str, name: &str) -> Value {
    match engine {
        "fabric" => json!({
            "name": name, "engine": "fabric", "consensus": "raft", "orderers": 1, "block_time_ms": 200,
            "organisations": [{"name": "Org1", "nodes": 1}],
        }),
        _ => json!({
            "name": name, "engine": "bcos", "consensus": "pbft", "block_time_ms": 200,
            "organisations": [{"name": "Agency1", "nodes": 1}],
        }),
    }
}

/// The sample contract of an engine, as a request to deploy it.
pub(crate) fn sample(engine: &str) -> Value {
    if engine == "fabric" {
        json!({"name": "basic", "artifact": {"kind": "builtin", "name": "asset-transfer"}})
    } else {
        let abi: Value = serde_json::from_str(include_str!("../../src/local/chain/sample_contract/Asset.abi")).unwrap();
        let bytecode = include_str!("../../src/local/chain/sample_contract/Asset.bin").trim();
        json!({"name": "Asset", "artifact": {"kind": "evm", "bytecode": bytecode, "abi": abi}})
    }
}

/// A call that writes the asset `id`.
pub(crate) fn write(engine: &str, id: &str) -> (&'static str, Value) {
    match engine {
        "fabric" => ("CreateAsset", json!({"arguments": [id, "blue", "5", "Tomoko", "300"]})),
        _ => ("create", json!({"arguments": {"id": id, "description": "blue", "value": "300"}})),
    }
}
