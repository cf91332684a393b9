//! The console in a real browser against the real program, and the command that starts everything.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use conformance::{cache, has_program, konsort, run, workspace};
use serde_json::Value;

fn npm(folder: &Path, arguments: &[&str]) -> std::process::Output {
    run(Command::new("npm").args(arguments).current_dir(folder)).unwrap()
}

/// A copy of the console's sources with its packages, so that the tests leave nothing in the sources.
fn console() -> PathBuf {
    static COPY: OnceLock<PathBuf> = OnceLock::new();
    COPY.get_or_init(copy).clone()
}

fn copy() -> PathBuf {
    let (from, to) = (workspace().join("console"), cache("console"));
    std::fs::create_dir_all(&to).unwrap();
    for name in ["src", "dist", "scripts", "tests", "public"] {
        let _absent = std::fs::remove_dir_all(to.join(name));
    }
    let entries = std::fs::read_dir(&from).unwrap().flatten();
    for entry in entries.filter(|entry| entry.file_name() != "node_modules") {
        run(Command::new("cp").arg("-r").arg(entry.path()).arg(&to)).unwrap();
    }
    npm(&to, &["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
    to
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.path().is_dir() { all.extend(files(&entry.path())) } else { all.push(entry.path()) }
    }
    all.sort();
    all
}

/// Types and messages are right, the build keeps its budgets, and what the program holds is this build.
#[test]
fn the_console_is_checked_and_is_what_the_program_holds() {
    let folder = console();
    npm(&folder, &["run", "check"]);
    npm(&folder, &["run", "check:messages"]);
    npm(&folder, &["run", "build"]);
    let held = tempfile::tempdir().unwrap();
    run(Command::new("tar").arg("-xzf").arg(workspace().join("console/dist.tar.gz")).arg("-C").arg(held.path()))
        .unwrap();
    let names = |root: &Path| -> Vec<PathBuf> {
        let all = files(root).into_iter().map(|path| path.strip_prefix(root).unwrap().to_path_buf());
        all.filter(|name| !name.starts_with(".vite")).collect()
    };
    let built = folder.join("dist");
    assert_eq!(names(&built), names(held.path()), "run `npm run build` in console/ and commit dist.tar.gz");
    for name in names(&built) {
        let same = std::fs::read(built.join(&name)).unwrap() == std::fs::read(held.path().join(&name)).unwrap();
        assert!(same, "{} in console/dist.tar.gz is not what the sources build", name.display());
    }
}

/// Somebody who has never seen it makes a network of each engine, types a contract of their own for each, deploys it, calls it and
/// finds the transaction.
fn a_stranger_finds_the_way(language: &str) {
    // One at a time: each has nine nodes and a browser.
    static ONE: Mutex<()> = Mutex::new(());
    let _alone = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(has_program("chromium"), "chromium cannot be installed");
    let folder = console();
    let shots = cache("screenshots").join(language);
    let _absent = std::fs::remove_dir_all(&shots);
    let output = run(Command::new("node")
        .arg("tests/run.mjs")
        .current_dir(&folder)
        .env("KONSORT", konsort().unwrap())
        .env("LANGUAGES", language)
        .env("SCREENSHOTS", cache("screenshots")))
    .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains(&format!("journey in {language}")) && text.contains("done"), "{text}");
    assert!(files(&shots).len() >= 40, "screenshots are in {}", shots.display());
}

#[test]
fn a_stranger_finds_the_way_in_english() {
    a_stranger_finds_the_way("en");
}

#[test]
fn a_stranger_finds_the_way_in_chinese() {
    a_stranger_finds_the_way("zh");
}

/// Takes down what `konsort up` started, also when the test fails.
struct Down<'a>(&'a Path);

impl Drop for Down<'_> {
    fn drop(&mut self) {
        if self.0.exists() {
            // A test that fails has said why by now.
            let _failed = konsort().and_then(|program| run(Command::new(program).args(["down", "--data"]).arg(self.0)));
        }
    }
}

/// One command: server, console, both engines, a transaction on each; a second start goes on; the commands see all of it.
#[test]
fn one_command_starts_both_engines_and_the_console() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("all");
    let _down = Down(&data);
    let command = |arguments: &[&str]| {
        let output =
            run(Command::new(konsort().unwrap()).args(["--output", "json"]).args(arguments).arg("--data").arg(&data));
        output.map(|output| String::from_utf8(output.stdout).unwrap())
    };
    let told: Value = serde_json::from_str(&command(&["up", "--detach", "--ports", "free"]).unwrap()).unwrap();
    let networks = told["networks"].as_array().unwrap();
    assert_eq!(networks.len(), 2);
    for network in networks {
        assert!(network["first_transaction"].is_string(), "{network}");
        assert!(network["state"] == "running" || network["state"] == "degraded", "{network}");
    }
    assert!(told["console"].as_str().unwrap().contains("/setup?token="), "{told}");
    println!("both first transactions after {} ms", told["elapsed_ms"]);

    let list = |arguments: &[&str]| -> Vec<Value> { serde_json::from_str(&command(arguments).unwrap()).unwrap() };
    assert_eq!(list(&["network", "list"]).len(), 2);
    assert_eq!(list(&["node", "list", "bcos-demo"]).len(), 4);
    let called: Value =
        serde_json::from_str(&command(&["contract", "call", "basic", "AssetExists", "asset1"]).unwrap()).unwrap();
    assert!(called["output"].to_string().contains("true"), "{called}");
    // A node whose port another test was faster to take is started again.
    let until = Instant::now() + Duration::from_mins(1);
    while let Err(error) = command(&["status"]) {
        assert!(Instant::now() < until, "{error}");
        std::thread::sleep(Duration::from_secs(1));
    }

    command(&["down", "--keep"]).unwrap();
    assert!(command(&["status"]).is_err());
    let again: Value = serde_json::from_str(&command(&["up", "--detach", "--ports", "free"]).unwrap()).unwrap();
    assert_eq!(again["networks"][0]["id"], networks[0]["id"]);
    let blocks = list(&["block", "list", "fabric-demo"]);
    assert!(blocks.len() >= 4, "{blocks:?}");
    command(&["down"]).unwrap();
    assert!(!data.exists());
}
