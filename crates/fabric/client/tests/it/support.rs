//! Running tools in this process, and what upstream's tools printed.

use std::path::PathBuf;

use fabric_client::tools::Console;
use serde_json::Value;

pub(crate) fn golden(relative: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../tests/golden/fabric").join(relative)
}

pub(crate) fn text(relative: &str) -> String {
    std::fs::read_to_string(golden(relative)).unwrap_or_else(|error| panic!("{relative}: {error}"))
}

pub(crate) fn bytes(relative: &str) -> Vec<u8> {
    std::fs::read(golden(relative)).unwrap_or_else(|error| panic!("{relative}: {error}"))
}

/// What the tool did when upstream's ran with these arguments.
pub(crate) fn recorded(name: &str) -> Value {
    serde_json::from_str(&text(&format!("cli/{name}.json"))).unwrap()
}

/// A tool's answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    /// The lines of the log without their times.
    pub(crate) fn log(&self) -> Vec<String> {
        log(&self.stderr)
    }
}

pub(crate) fn log(stderr: &str) -> Vec<String> {
    let time = regex::Regex::new(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} UTC").unwrap();
    stderr.lines().map(|line| time.replace(line, "TIME").into_owned()).collect()
}

/// A version text without what names the build.
pub(crate) fn versionless(text: &str) -> String {
    let built = regex::Regex::new("(?m)^ (Commit SHA|Go version|OS/Arch): .+$").unwrap();
    built.replace_all(text, " $1: OURS").into_owned()
}

pub(crate) type Tool = fn(&[String], &mut Console<'_>) -> i32;

pub(crate) fn run(tool: Tool, args: &[&str], env: &[(&str, &str)], input: &[u8]) -> Answer {
    let args: Vec<String> = args.iter().map(|argument| (*argument).to_owned()).collect();
    let env = |name: &str| env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    let (mut stdin, mut stdout, mut stderr) = (input, Vec::new(), Vec::new());
    let mut console = Console { env: &env, stdin: &mut stdin, stdout: &mut stdout, stderr: &mut stderr };
    let code = tool(&args, &mut console);
    Answer { code, stdout, stderr: String::from_utf8(stderr).unwrap() }
}
