//! The command-line tools under upstream's names: flags, output texts, log lines and exit codes.
//!
//! [`run`] is the whole door. It reads no argv and no environment of its own and prints nothing by itself: everything comes from and
//! goes to the [`Console`], so a test can run every tool in-process.

mod command;
mod connect;
mod discover;
mod gojson;
mod gotext;
pub(crate) mod log;
mod osnadmin;
mod peer;
mod settings;

use std::fmt::Write as _;
use std::io::{Read, Write};

/// What a tool may touch: the environment, and the three standard streams.
pub struct Console<'a> {
    /// Looks up an environment variable.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// Standard input.
    pub stdin: &'a mut dyn Read,
    /// Standard output.
    pub stdout: &'a mut dyn Write,
    /// Standard error.
    pub stderr: &'a mut dyn Write,
}

impl std::fmt::Debug for Console<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Console").finish_non_exhaustive()
    }
}

impl Console<'_> {
    /// Writes to standard output. A closed pipe is not an error of the tool.
    pub fn out(&mut self, text: &str) {
        let _ = self.stdout.write_all(text.as_bytes());
        let _ = self.stdout.flush();
    }

    /// Writes to standard error.
    pub fn err(&mut self, text: &str) {
        let _ = self.stderr.write_all(text.as_bytes());
        let _ = self.stderr.flush();
    }
}

/// How a tool ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is done; this is the exit code.
    Exit(i32),
    /// `peer node start` was asked for: the caller runs the node.
    StartPeerNode {
        /// `--peer-chaincodedev` was given.
        chaincode_dev_mode: bool,
    },
}

/// The names [`run`] knows.
pub const NAMES: &[&str] = &["peer", "osnadmin", "discover", "cryptogen", "configtxgen", "configtxlator"];

/// Runs a tool. `name` is the name it was started under, `args` what follows it.
pub fn run(name: &str, args: &[String], console: &mut Console<'_>) -> Outcome {
    match name {
        "peer" => peer::run(args, console),
        "osnadmin" => Outcome::Exit(osnadmin::run(args, console)),
        "discover" => Outcome::Exit(discover::run(args, console)),
        "cryptogen" => Outcome::Exit(crate::cryptogen::run(args, console.stdout, console.stderr)),
        "configtxgen" => Outcome::Exit(crate::configtxgen::run(args, console)),
        "configtxlator" => Outcome::Exit(crate::configtxlator::run(args, console)),
        _ => {
            let mut text = String::new();
            let _ = writeln!(text, "Error: unknown tool {name:?}; known tools are {}", NAMES.join(", "));
            console.err(&text);
            Outcome::Exit(1)
        }
    }
}

/// The release whose behaviour, flags and texts the tools have.
pub const COMPATIBLE_VERSION: &str = "3.1.5";

/// What the version command of a tool says. Scripts look for the version of the protocol family; the rest names this program.
pub fn version_text(tool: &str) -> String {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!(
        "{tool}:\n Version: {}\n Commit SHA: konsort-{}\n Go version: none (Rust)\n OS/Arch: {}/{architecture}\n",
        COMPATIBLE_VERSION,
        env!("CARGO_PKG_VERSION"),
        std::env::consts::OS,
    )
}

/// Runs asynchronous work to its end on a runtime of its own.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start the I/O runtime: {error}"))?;
    Ok(runtime.block_on(work))
}

#[cfg(test)]
fn peer_tree_for_tests() -> &'static command::Command {
    peer::tree_for_tests()
}
