//! Rust: cargo builds the program, the package holds it ready to run.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::pack::{Packed, Tree};
use super::{ChaincodePackage, Job, Stop, failed};
use crate::tools::{Start, Stream};
use crate::{Diagnostic, Severity, Tools};

/// Libraries of ours that chaincode uses: name and folder below the source of the libraries.
const LIBRARIES: [(&str, &str); 2] = [("fabric-shim", "fabric/shim"), ("konsort-node", "node")];
/// Why projects that use them cannot be built, and what to do, in English and Chinese.
pub(super) const NO_LIBRARY: (&str, &str) = (
    "This server has no sources of the Rust chaincode library, whose name in a public registry may be anybody's. Build such chaincode in a checkout of this project, and upload the package; or write it in Go, JavaScript or TypeScript.",
    "本服务器没有 Rust 链码库的源代码,而公共仓库中同名的库可能来自任何人。请在本项目的源码目录中构建后上传链码包,或改用 Go、JavaScript 或 TypeScript。",
);

pub(super) fn rustup_home(tools: &Tools) -> Option<PathBuf> {
    let named = tools.variable("RUSTUP_HOME").map(PathBuf::from);
    named.or_else(|| tools.home().map(|home| home.join(".rustup"))).filter(|folder| folder.is_dir())
}

pub(super) async fn build(job: &Job<'_>) -> Result<ChaincodePackage, Stop> {
    if !job.files.contains_key("Cargo.toml") {
        return Err(job.refuse(Diagnostic::general(
            "no_cargo_toml",
            "Cargo.toml is missing at the top of the project",
            "Add one; the samples show what it needs.",
            "请在项目根目录添加 Cargo.toml,可参考示例合约。",
        )));
    }
    let cargo = job.program("cargo")?;
    job.confines("Rust projects run build scripts", "Rust 项目会运行构建脚本。")?;
    let shim = job.settings.shim();
    if shim.is_none()
        && let Some(file) = job.files.keys().find(|path| names_library(job, path))
    {
        let problem = "the Rust chaincode library is not on this server";
        return Err(job.refuse(Diagnostic::general("no_library", problem, NO_LIBRARY.0, NO_LIBRARY.1).at(file, 1, 1)));
    }
    let target = job.project.join("target");
    std::fs::create_dir_all(&target).map_err(failed("make the folder of intermediate results"))?;
    // Of its own: build scripts may write there, and what one project leaves is nothing for another.
    let cargo_home = job.project.join("cargo");
    std::fs::create_dir_all(&cargo_home).map_err(failed("make the folder of downloads"))?;
    let tools = &job.settings.tools;
    if let Some(settings) = tools.settings_file(".cargo/config.toml") {
        std::fs::copy(settings, cargo_home.join("config.toml")).map_err(failed("copy cargo's settings"))?;
    }
    let mut variables: Vec<(&'static str, OsString)> = vec![
        ("CARGO_HOME", cargo_home.clone().into()),
        ("CARGO_TARGET_DIR", target.clone().into()),
        ("CARGO_PROFILE_RELEASE_STRIP", "symbols".into()),
        ("CARGO_TERM_PROGRESS_WHEN", "never".into()),
    ];
    let mut read = Vec::new();
    if let Some(rustup) = rustup_home(tools) {
        variables.push(("RUSTUP_HOME", rustup.clone().into()));
        read.push(rustup);
    }
    let mut args: Vec<OsString> = ["build", "--release", "--message-format=json"].map(OsString::from).to_vec();
    if let Some(shim) = shim {
        for (name, folder) in LIBRARIES {
            let path = shim.join(folder).to_string_lossy().into_owned();
            args.extend(["--config".into(), format!("patch.crates-io.{name}.path={}", quoted(&path)).into()]);
        }
        read.extend(shim.parent().map(Path::to_path_buf));
    }
    if job.files.contains_key("Cargo.lock") {
        args.push("--locked".into());
    }
    let own = vec![job.folder.clone(), target.clone(), cargo_home];
    let (folder, home) = (job.source(), job.home());
    let start = Start { program: cargo, args, folder, home, variables, own, read };
    let programs = parking_lot::Mutex::new(Vec::new());
    job.run_foreign(&start, &|stream, line| {
        if stream == Stream::Err {
            if let Some(fault) = line.strip_prefix("error: ").filter(|fault| !fault.starts_with("could not compile")) {
                job.found(Diagnostic::general("cargo", fault, "", "").at("Cargo.toml", 1, 1));
            }
            return true;
        }
        let Ok(message) = serde_json::from_str::<Value>(line) else { return false };
        if let Some(found) = finding(&message) {
            job.found(found);
        }
        if let Some(program) = message["executable"].as_str() {
            programs.lock().push(program.to_owned());
        }
        for line in message["message"]["rendered"].as_str().unwrap_or_default().lines() {
            (job.log)(line.to_owned());
        }
        false
    })
    .await?;
    let programs = programs.into_inner();
    let [program] = &programs[..] else {
        let problem = format!("the project makes {} programs; one is needed", programs.len());
        return Err(job.refuse(
            Diagnostic::general(
                "programs",
                problem,
                "Keep one src/main.rs or one [[bin]].",
                "只保留一个 src/main.rs 或一个 [[bin]]。",
            )
            .at("Cargo.toml", 1, 1),
        ));
    };
    let content = tokio::fs::read(program).await.map_err(failed("read the program"))?;
    let mut tree = Tree::from([("chaincode".to_owned(), Packed { content, executable: true })]);
    for (path, content) in job.files.iter().filter(|(path, _)| path.starts_with("META-INF/")) {
        tree.insert(path.clone(), Packed::plain(content.clone()));
    }
    job.package("rust", "", tree).await
}

/// Whether a manifest depends on a library of ours, under whatever name.
fn names_library(job: &Job<'_>, path: &str) -> bool {
    let manifest = path == "Cargo.toml" || path.ends_with("/Cargo.toml");
    let text = job.text(path).filter(|_| manifest).unwrap_or_default().replace('_', "-");
    LIBRARIES.iter().any(|(name, _)| text.contains(name))
}

/// A text in TOML.
fn quoted(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}

/// A message of the compiler about a file of the project.
fn finding(message: &Value) -> Option<Diagnostic> {
    if message["reason"] != "compiler-message" {
        return None;
    }
    let message = &message["message"];
    let severity = match message["level"].as_str()? {
        "error" | "error: internal compiler error" => Severity::Error,
        "warning" => Severity::Warning,
        _ => return None,
    };
    let span = message["spans"].as_array()?.iter().find(|span| span["is_primary"] == true)?;
    let file = span["file_name"].as_str().filter(|file| !file.starts_with('/') && !file.starts_with(".."))?;
    let number = |key: &str| span[key].as_u64().and_then(|number| u32::try_from(number).ok()).unwrap_or(0);
    let code = message["code"]["code"].as_str().unwrap_or("rustc");
    let mut found = Diagnostic::general(code, message["message"].as_str()?, "", "");
    found = found.at(file, number("line_start"), number("column_start"));
    (found.end_line, found.end_column) = (number("line_end"), number("column_end"));
    found.severity = severity;
    let help = message["children"].as_array()?.iter().find(|child| child["level"] == "help");
    if let Some(help) = help.and_then(|help| help["message"].as_str()) {
        help.clone_into(&mut found.hint);
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn messages_of_the_compiler_become_findings() {
        let message = json!({
            "reason": "compiler-message",
            "message": {
                "level": "error", "message": "cannot find value `x`", "code": { "code": "E0425" },
                "spans": [{ "is_primary": true, "file_name": "src/main.rs", "line_start": 3, "line_end": 3,
                    "column_start": 5, "column_end": 6 }],
                "children": [{ "level": "help", "message": "a local variable with a similar name exists" }],
            },
        });
        let found = finding(&message).unwrap();
        assert_eq!((found.file.as_str(), found.line, found.column, found.end_column), ("src/main.rs", 3, 5, 6));
        assert_eq!(
            (found.code.as_str(), found.hint.as_str()),
            ("E0425", "a local variable with a similar name exists")
        );
        assert!(finding(&json!({ "reason": "compiler-artifact" })).is_none());
    }
}
