//! Commands with a scrubbed environment, run through the confining helper when there is one.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use konsort_node::Environment;
use tokio::process::Command;

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a command may do.
#[derive(Debug, Clone)]
pub(crate) struct Confinement {
    /// The program that confines (`<program> confine ...`); without it only environment and process group are separate.
    pub(crate) helper: Option<PathBuf>,
    /// Folders it may write in.
    pub(crate) own: Vec<PathBuf>,
    /// Files and folders it may read besides the system's.
    pub(crate) read: Vec<PathBuf>,
    /// The only TCP port it may connect to; any when `None`.
    pub(crate) port: Option<u16>,
    /// The most bytes of memory it may have writable.
    pub(crate) memory: Option<u64>,
    /// The most files it may have open.
    pub(crate) open_files: u64,
}

/// The search path of a peer's environment.
pub(crate) fn search_path(environment: &Environment) -> String {
    environment.get("PATH").filter(|path| !path.is_empty()).unwrap_or(DEFAULT_PATH).to_owned()
}

/// A program on the search path.
pub(crate) fn find_program(environment: &Environment, name: &str) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    search_path(environment).split(':').map(|folder| Path::new(folder).join(name)).find(|path| {
        path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    })
}

/// A command under a confinement; `home` becomes its home and temporary folder.
pub(crate) fn command(
    program: &Path,
    args: &[&str],
    home: &Path,
    environment: &Environment,
    building: bool,
    confinement: &Confinement,
) -> Command {
    let mut command = match &confinement.helper {
        None => Command::new(program),
        Some(helper) => {
            let mut command = Command::new(helper);
            command.arg("confine").arg("--parent").arg(std::process::id().to_string());
            for folder in &confinement.own {
                command.arg("--own").arg(folder);
            }
            let path = search_path(environment);
            let tools = path.split(':').filter(|folder| !folder.is_empty()).map(Path::new).flat_map(tool_folders);
            for file in confinement.read.iter().cloned().chain(tools).chain([program.to_path_buf()]) {
                command.arg("--read").arg(file);
            }
            if let Some(port) = confinement.port {
                command.arg("--connect").arg(port.to_string());
            }
            if let Some(memory) = confinement.memory {
                command.arg("--memory").arg(memory.to_string());
            }
            command.arg("--files").arg(confinement.open_files.to_string()).arg("--").arg(program);
            command
        }
    };
    command.args(args).env_clear().stdin(Stdio::null());
    command.env("PATH", search_path(environment)).env("HOME", home).env("TMPDIR", home);
    let extra: &[&str] = if building { &Environment::BUILDING } else { &[] };
    for name in Environment::COMMON.iter().chain(extra) {
        if let Some(value) = environment.get(name) {
            command.env(name, value);
        }
    }
    command
}

/// A folder of programs, and the folders beside it that hold their libraries. Never what is above: `bin` may stand in a home folder.
fn tool_folders(folder: &Path) -> Vec<PathBuf> {
    let mut folders = vec![folder.to_path_buf()];
    if folder.file_name().is_some_and(|name| name == "bin")
        && let Some(parent) = folder.parent()
    {
        folders
            .extend(["lib", "lib64", "libexec"].map(|name| parent.join(name)).into_iter().filter(|path| path.is_dir()));
    }
    folders
}

/// The whole installation of Go, which needs its sources to build; recognised by its `VERSION` file.
pub(crate) fn go_root(go: &Path) -> Option<PathBuf> {
    let real = go.canonicalize().ok()?;
    let root = real.parent()?.parent()?;
    (root.join("VERSION").is_file() && root.join("src/runtime").is_dir()).then(|| root.to_path_buf())
}

/// The real home folder, where build tools keep their settings.
pub(crate) fn home(environment: &Environment) -> Option<PathBuf> {
    environment.get("HOME").filter(|home| !home.is_empty()).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_programs_does_not_open_the_home_it_stands_in() {
        let home = tempfile::tempdir().unwrap();
        for name in ["bin", "lib", "secrets"] {
            std::fs::create_dir(home.path().join(name)).unwrap();
        }
        let folders = tool_folders(&home.path().join("bin"));
        assert_eq!(folders, [home.path().join("bin"), home.path().join("lib")]);
    }

    #[test]
    fn the_environment_is_scrubbed_and_the_helper_gets_the_rules() {
        let environment =
            Environment::from_pairs([("PATH", "/usr/bin"), ("SECRET", "x"), ("GOPROXY", "p"), ("LANG", "C")]);
        let confinement = Confinement {
            helper: Some("/opt/konsort".into()),
            own: vec!["/own".into()],
            read: vec!["/read".into()],
            port: Some(7052),
            memory: Some(10),
            open_files: 5,
        };
        let made = command(Path::new("/bin/cc"), &["-x"], Path::new("/own"), &environment, false, &confinement);
        let args: Vec<_> = made.as_std().get_args().map(|arg| arg.to_string_lossy().into_owned()).collect();
        let text = args.join(" ");
        assert!(text.starts_with("confine --parent ") && text.contains(" --own /own --read /read "), "{text}");
        assert!(text.ends_with(" --connect 7052 --memory 10 --files 5 -- /bin/cc -x"), "{text}");
        let names: Vec<_> = made.as_std().get_envs().map(|(name, _)| name.to_string_lossy().into_owned()).collect();
        assert_eq!(names, ["HOME", "LANG", "PATH", "TMPDIR"]);
        let building = command(Path::new("/bin/cc"), &[], Path::new("/own"), &environment, true, &confinement);
        assert!(building.as_std().get_envs().any(|(name, _)| name == "GOPROXY"));
    }
}
