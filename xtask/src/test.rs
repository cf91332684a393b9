//! Runs the tests and adds up their counts.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

use crate::{cargo, check, succeed, workspace};

/// Checks, the release build that clients are tested against, then every test of the workspace; with `all` also the long ones.
pub(crate) fn everything(all: bool) -> anyhow::Result<()> {
    check()?;
    succeed(&mut cargo(&["build", "--release", "-p", "konsort"]))?;
    // `--no-fail-fast`: the closing line counts all tests, also after a failed binary.
    let mut command = cargo(&["test", "--workspace", "--no-fail-fast"]);
    if all {
        command.args(["--", "--include-ignored"]);
    }
    count(command.env("KONSORT_BIN", program()))?.close()
}

/// Only the stock clients.
pub(crate) fn conformance(filter: Option<&str>) -> anyhow::Result<()> {
    succeed(&mut cargo(&["build", "--release", "-p", "konsort"]))?;
    let mut command = cargo(&["test", "-p", "conformance", "--"]);
    command.args(filter).arg("--nocapture").env("KONSORT_BIN", program());
    count(&mut command)?.close()
}

fn program() -> std::path::PathBuf {
    workspace().join("target/release/konsort")
}

#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    passed: u64,
    failed: u64,
    ignored: u64,
    /// Whether the runner itself said that all went well (a crashed test binary prints no counts).
    runner_failed: bool,
}

impl Counts {
    fn close(self) -> anyhow::Result<()> {
        println!("{} passed, {} failed, {} skipped", self.passed, self.failed, self.ignored);
        ensure!(!self.runner_failed && self.failed == 0, "not every test passed");
        ensure!(self.passed > 0, "no test ran");
        Ok(())
    }
}

/// Runs a cargo test command, passes its output on, and adds up its `test result:` lines.
fn count(command: &mut Command) -> anyhow::Result<Counts> {
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot run cargo")?;
    let mut counts = Counts::default();
    let output = child.stdout.take().context("cargo has no output")?;
    for line in BufReader::new(output).lines() {
        let line = line?;
        println!("{line}");
        if let Some(result) = line.strip_prefix("test result:") {
            for part in result.split(['.', ';']) {
                let mut words = part.split_whitespace();
                if let (Some(Ok(number)), Some(word)) = (words.next().map(str::parse::<u64>), words.next()) {
                    match word {
                        "passed" => counts.passed += number,
                        "failed" => counts.failed += number,
                        "ignored" => counts.ignored += number,
                        _ => {}
                    }
                }
            }
        }
    }
    counts.runner_failed = !child.wait()?.success();
    Ok(counts)
}
