//! Programs of the machine: where they are found, what of the environment they see, and the limits they run under.

mod run;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub(crate) use run::{Ended, Limits, Running, Start, Stream, command, run};

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The machine's programs. The environment is given by whoever starts the server: this crate does not read it.
#[derive(Debug, Clone, Default)]
pub struct Tools {
    variables: BTreeMap<String, String>,
    confine: Option<PathBuf>,
    strict: bool,
}

impl Tools {
    /// From the server's environment (`Environment::iter` of the node crate gives these pairs).
    pub fn new<K: Into<String>, V: Into<String>>(environment: impl IntoIterator<Item = (K, V)>) -> Self {
        let variables = environment.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { variables, confine: None, strict: false }
    }

    /// The program that takes rights away from builds before they start (`PROGRAM confine …`, in general our own binary). Without it
    /// builds run with a clean environment, limits on time, memory and output, but with the server's rights on files.
    #[must_use]
    pub fn confined_by(mut self, helper: PathBuf) -> Self {
        self.confine = Some(helper);
        self
    }

    /// The same without the confining program.
    #[must_use]
    pub(crate) fn unconfined(&self) -> Self {
        Self { variables: self.variables.clone(), confine: None, strict: false }
    }

    /// The same for programs that others wrote: without what confines them they are not started.
    #[must_use]
    pub(crate) fn strict(&self) -> Self {
        Self { strict: true, ..self.clone() }
    }

    pub(crate) fn is_confined(&self) -> bool {
        self.confine.is_some()
    }

    /// A program on the search path.
    pub fn find(&self, name: &str) -> Option<PathBuf> {
        use std::os::unix::fs::PermissionsExt as _;
        self.path()
            .split(':')
            .filter(|folder| folder.starts_with('/'))
            .map(|folder| Path::new(folder).join(name))
            .find(|path| path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0))
    }

    pub(crate) fn path(&self) -> &str {
        self.variables.get("PATH").map_or(DEFAULT_PATH, |path| if path.is_empty() { DEFAULT_PATH } else { path })
    }

    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The real home folder, where build tools keep their settings.
    pub(crate) fn home(&self) -> Option<&Path> {
        self.variable("HOME").map(Path::new)
    }

    /// A file of a person's settings for a build tool, when there is one.
    pub(crate) fn settings_file(&self, name: &str) -> Option<PathBuf> {
        self.home().map(|home| home.join(name)).filter(|path| path.is_file())
    }
}
