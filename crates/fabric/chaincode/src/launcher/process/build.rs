//! How each language is built: the output is in `bld`, the answer says what runs it.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{
    super::{
        builds::Scratch,
        confined::{find_program, go_root, home},
    },
    Language, Process, Step,
};
use crate::package::Package;

/// `konsort.json` in a code archive: run a contract that comes with the binary.
#[derive(Debug, Deserialize)]
struct Builtin {
    builtin: String,
}

pub(super) async fn build(
    launcher: &Process,
    language: Language,
    package: &Package,
    scratch: &Scratch,
    log: &Path,
) -> Result<Vec<String>, String> {
    let source = scratch.folder().join("src");
    // Upstream's packagers put code below src/, hand-made packages often do not.
    let root = if source.join("src").is_dir() { source.join("src") } else { source };
    match language {
        Language::Node => node(launcher, scratch, &root, log).await,
        Language::Go => go(launcher, package, scratch, &root, log).await,
        Language::Rust => rust(launcher, scratch, &root, log).await,
    }
}

fn rename(from: &Path, to: &Path) -> Result<(), String> {
    std::fs::rename(from, to).map_err(|error| format!("cannot move {} to {}: {error}", from.display(), to.display()))
}

/// A file of a person's settings for a build tool, when there is one.
fn settings_file(launcher: &Process, name: &str) -> Option<PathBuf> {
    home(&launcher.environment).map(|home| home.join(name)).filter(|path| path.is_file())
}

async fn node(launcher: &Process, scratch: &Scratch, root: &Path, log: &Path) -> Result<Vec<String>, String> {
    if !root.join("package.json").is_file() {
        return Err("no package.json found at the root of the chaincode package".into());
    }
    let output = scratch.folder().join("bld");
    rename(root, &output)?;
    if !output.join("node_modules").is_dir() {
        let home = scratch.make("home")?;
        let locked = output.join("package-lock.json").is_file() || output.join("npm-shrinkwrap.json").is_file();
        let args: &[&str] = if locked {
            &["ci", "--omit=dev", "--no-audit", "--no-fund"]
        } else {
            &["install", "--omit=dev", "--no-audit", "--no-fund"]
        };
        let cache = shared_cache(launcher, "npm")?;
        let mut variables: Vec<(&'static str, OsString)> =
            vec![("npm_config_cache", cache.clone().into()), ("npm_config_update_notifier", "false".into())];
        let mut read = Vec::new();
        if let Some(settings) = settings_file(launcher, ".npmrc") {
            variables.push(("npm_config_userconfig", settings.clone().into()));
            read.push(settings);
        }
        let own = vec![scratch.folder().to_path_buf(), cache];
        let step =
            Step { folder: &output, home: &home, own, read: with_extra_certificates(launcher, read), variables, log };
        launcher.build_step("npm", args, step).await?;
        let _ = std::fs::remove_dir_all(home);
    }
    Ok(vec!["npm".into()])
}

async fn go(
    launcher: &Process,
    package: &Package,
    scratch: &Scratch,
    root: &Path,
    log: &Path,
) -> Result<Vec<String>, String> {
    let path = package.metadata().path.as_str();
    // As upstream: a module at the root is built by its import path, one in a sub-folder in place.
    let (folder, target) = if root.join("go.mod").is_file() {
        (root.to_path_buf(), if path.is_empty() || path.starts_with('/') { "." } else { path })
    } else if is_inside(path) && root.join(path).join("go.mod").is_file() {
        (root.join(path), ".")
    } else {
        return Err("no go.mod found at the root of the chaincode package; only Go modules are built".into());
    };
    let output = scratch.make("bld")?;
    let home = scratch.make("home")?;
    let executable = output.join("chaincode");
    let vendored = folder.join("vendor").is_dir();
    let cache = shared_cache(launcher, "go")?;
    let mut variables: Vec<(&'static str, OsString)> = vec![
        ("GO111MODULE", "on".into()),
        ("GOCACHE", cache.join("build").into()),
        ("GOPATH", cache.join("path").into()),
        ("GOMODCACHE", cache.join("modules").into()),
    ];
    let mut read = Vec::new();
    if let Some(settings) = settings_file(launcher, ".config/go/env") {
        variables.push(("GOENV", settings.clone().into()));
        read.push(settings);
    }
    read.extend(find_program(&launcher.environment, "go").and_then(|go| go_root(&go)));
    let executable = executable.to_string_lossy().into_owned();
    let mode = if vendored { "-mod=vendor" } else { "-mod=readonly" };
    let args = ["build", mode, "-trimpath", "-buildvcs=false", "-o", &executable, target];
    let own = vec![scratch.folder().to_path_buf(), cache];
    let step =
        Step { folder: &folder, home: &home, own, read: with_extra_certificates(launcher, read), variables, log };
    launcher.build_step("go", &args, step).await?;
    clean(scratch);
    Ok(vec!["executable".into(), "chaincode".into()])
}

async fn rust(launcher: &Process, scratch: &Scratch, root: &Path, log: &Path) -> Result<Vec<String>, String> {
    let output = scratch.make("bld")?;
    let builtin = root.join("konsort.json");
    if builtin.is_file() {
        let text = std::fs::read(&builtin).map_err(|error| format!("cannot read konsort.json: {error}"))?;
        let builtin: Builtin = serde_json::from_slice(&text)
            .map_err(|error| format!("konsort.json is not {{\"builtin\": NAME}}: {error}"))?;
        let name = builtin.builtin;
        if name.is_empty() || name.starts_with('-') || launcher.settings.builtin.is_none() {
            return Err(format!("the built-in contract {name:?} of konsort.json is not available in this peer"));
        }
        return Ok(vec!["builtin".into(), name]);
    }
    for ready in ["chaincode", "bin/chaincode"] {
        if root.join(ready).is_file() {
            use std::os::unix::fs::PermissionsExt as _;
            let executable = output.join("chaincode");
            rename(&root.join(ready), &executable)?;
            std::fs::set_permissions(&executable, std::fs::Permissions::from_mode(0o700))
                .map_err(|error| format!("cannot make {} executable: {error}", executable.display()))?;
            return Ok(vec!["executable".into(), "chaincode".into()]);
        }
    }
    if !root.join("Cargo.toml").is_file() {
        return Err(
            "the code of a rust package is konsort.json, an executable named chaincode, or a project with Cargo.toml"
                .into(),
        );
    }
    let home = scratch.make("home")?;
    let cache = shared_cache(launcher, "cargo")?;
    let mut read = Vec::new();
    if let Some(settings) = settings_file(launcher, ".cargo/config.toml") {
        let copy = cache.join("config.toml");
        std::fs::copy(&settings, &copy).map_err(|error| format!("cannot copy {}: {error}", settings.display()))?;
    }
    let mut variables: Vec<(&'static str, OsString)> =
        vec![("CARGO_HOME", cache.clone().into()), ("CARGO_TARGET_DIR", scratch.folder().join("target").into())];
    let rustup = launcher.environment.get("RUSTUP_HOME").map(PathBuf::from);
    if let Some(rustup) =
        rustup.or_else(|| super::super::confined::home(&launcher.environment).map(|home| home.join(".rustup")))
        && rustup.is_dir()
    {
        variables.push(("RUSTUP_HOME", rustup.clone().into()));
        read.push(rustup);
    }
    let place = output.to_string_lossy().into_owned();
    let mut args = vec!["install", "--path", ".", "--root", &place, "--no-track"];
    if root.join("Cargo.lock").is_file() {
        args.push("--locked");
    }
    let own = vec![scratch.folder().to_path_buf(), cache];
    let step = Step { folder: root, home: &home, own, read: with_extra_certificates(launcher, read), variables, log };
    launcher.build_step("cargo", &args, step).await?;
    let names: Vec<String> = std::fs::read_dir(output.join("bin"))
        .map_err(|error| format!("cargo made no program: {error}"))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    let [name] = &names[..] else {
        return Err(format!("the project makes {} programs ({}); one is needed", names.len(), names.join(", ")));
    };
    let run = vec!["executable".into(), format!("bin/{name}")];
    clean(scratch);
    Ok(run)
}

/// Whether a relative path stays inside.
fn is_inside(path: &str) -> bool {
    Path::new(path).components().all(|part| matches!(part, std::path::Component::Normal(_)))
}

/// Sources and intermediate files are not needed to run.
fn clean(scratch: &Scratch) {
    for name in ["src", "home", "target"] {
        let _ = std::fs::remove_dir_all(scratch.folder().join(name));
    }
}

/// A cache of downloads that builds share.
fn shared_cache(launcher: &Process, tool: &str) -> Result<PathBuf, String> {
    let cache = launcher.settings.cache.clone().unwrap_or_else(|| launcher.builds.folder().join(".cache"));
    let folder = cache.join(tool);
    std::fs::create_dir_all(&folder).map_err(|error| format!("cannot create {}: {error}", folder.display()))?;
    Ok(folder)
}

/// Certificate files that the environment names must be readable for the tools to reach their registries.
fn with_extra_certificates(launcher: &Process, mut read: Vec<PathBuf>) -> Vec<PathBuf> {
    for name in ["NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "SSL_CERT_DIR", "CARGO_HTTP_CAINFO", "GOROOT"] {
        if let Some(path) = launcher.environment.get(name).filter(|path| !path.is_empty()) {
            read.push(path.into());
        }
    }
    read
}
