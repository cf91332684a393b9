//! `cargo xtask VERB`: the acts of working on the project, each of which a person can run.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command prints")]

mod arrows;
mod sdk;
mod test;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use clap::{Parser, Subcommand};

/// Acts of working on the project.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Acts of working on the project")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Every check and every test; the last line counts them
    Test {
        /// Also the tests that take minutes each and are ignored otherwise
        #[arg(long)]
        all: bool,
    },
    /// Formatting, lints, dependency walls
    Check,
    /// Dependency walls between the crates (ARCHITECTURE.md)
    Arrows,
    /// Stock clients against the release build
    Conformance {
        /// Only tests whose name contains this
        filter: Option<String>,
    },
    /// Measure: `cargo xtask bench fabric --help`, `cargo xtask bench bcos --help`, `cargo xtask bench platform --help`
    Bench {
        /// `fabric`, `bcos` or `platform`, then its own arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Generate the API clients of the SDKs from the OpenAPI document (needs Python and Java)
    Sdk {
        /// `python`, `typescript`, `go`, `java`; default: all
        languages: Vec<String>,
    },
    /// Run every fuzz target for some seconds (needs a nightly toolchain)
    Fuzz {
        /// Seconds per target
        #[arg(long, default_value_t = 60)]
        seconds: u32,
        /// Only this target
        target: Option<String>,
    },
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().verb {
        Verb::Test { all } => test::everything(all),
        Verb::Check => check(),
        Verb::Arrows => arrows::check(),
        Verb::Conformance { filter } => test::conformance(filter.as_deref()),
        Verb::Bench { arguments } => bench(&arguments),
        Verb::Sdk { languages } => sdk::generate(&languages),
        Verb::Fuzz { seconds, target } => fuzz(seconds, target.as_deref()),
    }
}

/// The workspace folder.
fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// A cargo command in the workspace folder.
fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(workspace());
    command
}

fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let shown = format!("{command:?}");
    let status = command.status().with_context(|| format!("cannot run {shown}"))?;
    ensure!(status.success(), "{shown} ended with {status}");
    Ok(())
}

fn check() -> anyhow::Result<()> {
    succeed(&mut cargo(&["fmt", "--all", "--check"]))?;
    arrows::check()?;
    succeed(&mut cargo(&["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

fn bench(arguments: &[String]) -> anyhow::Result<()> {
    succeed(&mut cargo(&["build", "--release", "-p", "konsort", "-p", "benches"]))?;
    succeed(Command::new(workspace().join("target/release/konsort-bench")).args(arguments))
}

fn fuzz(seconds: u32, only: Option<&str>) -> anyhow::Result<()> {
    // The script needs nothing but a nightly compiler; it knows the compiler's flags and the folders.
    let mut script = Command::new("sh");
    script.arg(workspace().join("fuzz/run.sh")).arg(seconds.to_string()).args(only);
    succeed(&mut script)
}
