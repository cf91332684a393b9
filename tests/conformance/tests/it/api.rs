//! The API against its own OpenAPI document: schemathesis finds no server error and no answer that is not described.

use std::io::BufRead as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// A server; it ends when this is dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _gone_already =
            rustix::process::kill_process(rustix::process::Pid::from_child(&self.0), rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "takes some minutes; cargo xtask test --all runs it"]
fn every_answer_is_described_and_none_is_a_server_error() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut child = Command::new(conformance::konsort().unwrap())
        .args(["server", "--listen", "127.0.0.1:0", "--output", "json", "--data"])
        .arg(&data)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(folder.path().join("log")).unwrap())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let _server = Server(child);
    let told: Value = serde_json::from_str(&line).unwrap();
    let record: Value = serde_json::from_slice(&std::fs::read(data.join("server.json")).unwrap()).unwrap();
    let packages = conformance::pip_packages("api/requirements.txt").unwrap();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let outcome = conformance::run(
        Command::new("python3")
            .arg(here.join("api/check.py"))
            .args([told["url"].as_str().unwrap(), record["key"].as_str().unwrap()])
            .arg(folder.path())
            .arg(conformance::workspace().join("crates/platform/src/local/chain/sample_contract"))
            .env("PYTHONPATH", packages),
    );
    let log = std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
    let errors: Vec<&str> = log.lines().filter(|line| line.contains(" ERROR ")).take(20).collect();
    let output = outcome.unwrap_or_else(|error| panic!("{error:#}\n--- server\n{}", errors.join("\n")));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("Test cases:"), "{text}");
    assert!(errors.is_empty(), "{}", errors.join("\n"));
}
