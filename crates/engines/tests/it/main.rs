//! Engines against real nodes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::unused_self)]

mod bcos;
mod fabric;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Our own program: the one that was named, or the debug build of this workspace, made now when it is missing.
fn program() -> PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let find = || {
        if let Ok(path) = std::env::var("KONSORT_BIN") {
            return path.into();
        }
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
        let path = workspace.join("target/debug/konsort");
        if !path.exists() {
            let built =
                Command::new(env!("CARGO")).args(["build", "-q", "-p", "konsort"]).current_dir(&workspace).status();
            assert!(built.unwrap().success());
        }
        path
    };
    PROGRAM.get_or_init(find).clone()
}
