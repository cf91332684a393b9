//! Tests of the workbench with the real compilers and build tools.
//!
//! What they download is kept in the target folder, so that only the first run needs the registries.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, unreachable_pub)]

mod builds;
mod compilers;
mod interfaces;
mod machine;
mod projects;
mod rust_samples;
mod sample_contracts;
mod snippet_syntax;
mod traces;
mod value_codec;

use std::path::{Path, PathBuf};
use std::time::Duration;

use konsort_workbench::Tools;
use konsort_workbench::builder::{Builder, BuilderSettings};
use konsort_workbench::compiler::{CompilerSettings, Compilers};

/// The compiler that tests compile with.
const SOLC: &str = "0.8.26";

fn kept(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("workbench").join(name)
}

fn tools() -> Tools {
    Tools::new(std::env::vars())
}

/// The shared store with the usual compiler in it.
async fn compilers() -> Compilers {
    let mut settings = CompilerSettings::new(kept("compilers"), tools());
    settings.time = Duration::from_mins(4);
    let compilers = Compilers::new(settings).unwrap();
    compilers.install(SOLC).await.unwrap();
    compilers
}

fn builder(scratch: &Path) -> Builder {
    let mut settings = BuilderSettings::new(scratch.to_path_buf(), kept("cache"), tools());
    settings.shim = Some(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf());
    settings.trust_build_scripts = true;
    settings.time = Duration::from_mins(25);
    Builder::new(settings).unwrap()
}
