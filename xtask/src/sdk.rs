//! Generates the API clients of the SDKs; what they hold beside that is written by hand.

use std::process::Command;

use crate::{succeed, workspace};

/// Of these languages, or of all.
pub(crate) fn generate(languages: &[String]) -> anyhow::Result<()> {
    // The script knows the generator, its settings and what it cannot read in the document.
    succeed(Command::new("python3").arg(workspace().join("sdk/generate.py")).args(languages))
}
