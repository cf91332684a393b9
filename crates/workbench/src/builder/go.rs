//! Go: dependencies are vendored and the program is built once, so that its errors are seen here; the package holds the sources with
//! everything they need, in upstream's layout.

use std::ffi::OsString;
use std::path::Path;

use super::pack::Packed;
use super::{ChaincodePackage, Job, Stop};
use crate::Diagnostic;
use crate::tools::Start;

pub(super) async fn build(job: &Job<'_>) -> Result<ChaincodePackage, Stop> {
    let module = module(job)?;
    let go = job.program("go")?;
    let vendored = job.files.keys().any(|path| path.starts_with("vendor/"));
    if !vendored {
        if !job.files.contains_key("go.sum") {
            run(job, &go, &["mod", "tidy"]).await?;
        }
        run(job, &go, &["mod", "vendor"]).await?;
    }
    let program = job.folder.join("chaincode");
    let place = program.to_string_lossy().into_owned();
    // `go vet` would find more, but its opinions are not the compiler's.
    run(job, &go, &["build", "-mod=vendor", "-trimpath", "-buildvcs=false", "-o", &place, "."]).await?;
    if !program.is_file() {
        return Err(job.refuse(
            Diagnostic::general(
                "no_main",
                "the module's top folder is no program",
                "Write package main with a func main that starts the chaincode; the samples show how.",
                "请编写 package main,并在 func main 中启动链码,可参考示例。",
            )
            .at("go.mod", 1, 1),
        ));
    }
    let wanted = |path: &str| {
        let name = path.rsplit('/').next().unwrap_or_default();
        !name.starts_with('.') && (path == "vendor" || path.starts_with("vendor/") || !name.ends_with("_test.go"))
    };
    let mut tree = job.collect(job.source(), wanted).await?;
    tree.entry("go.sum".into()).or_insert_with(|| Packed::plain(Vec::new()));
    job.package("golang", &module, tree).await
}

/// Reads the module's name and refuses what reaches out of the project.
fn module(job: &Job<'_>) -> Result<String, Stop> {
    let hint = "Add a go.mod file as the samples have it.";
    let hint_zh = "请添加 go.mod 文件,可参考示例。";
    let Some(text) = job.text("go.mod") else {
        let problem = "go.mod is missing at the top of the project";
        return Err(job.refuse(Diagnostic::general("no_go_mod", problem, hint, hint_zh)));
    };
    for (line, number) in text.lines().zip(1..) {
        if leads_out(line) {
            return Err(job.refuse(
                Diagnostic::general(
                    "dependency",
                    "replace leads out of the project",
                    "Put the module into a folder of the project, or name a published version.",
                    "请把该模块放在项目目录内,或使用已发布的版本。",
                )
                .at("go.mod", number, 1),
            ));
        }
    }
    let name = text.lines().find_map(|line| line.trim().strip_prefix("module "));
    let name = name.map(|name| name.split("//").next().unwrap_or_default().trim().trim_matches('"').to_owned());
    name.filter(|name| !name.is_empty()).ok_or_else(|| {
        job.refuse(Diagnostic::general("no_go_mod", "go.mod has no module line", hint, hint_zh).at("go.mod", 1, 1))
    })
}

/// Whether a line of go.mod may replace a module by a folder outside of the project. Quoted paths are not read but refused: they may
/// hold escapes and what looks like a comment.
fn leads_out(line: &str) -> bool {
    let Some((_, target)) = line.split_once("=>") else { return false };
    if line.contains(['"', '\\', '`']) {
        return true;
    }
    let target = target.split("//").next().unwrap_or_default().trim();
    target.starts_with('/') || target.split('/').any(|part| part == "..")
}

async fn run(job: &Job<'_>, go: &Path, args: &[&str]) -> Result<(), Stop> {
    let cache = job.cache("go")?;
    let mut variables: Vec<(&'static str, OsString)> = vec![
        ("GO111MODULE", "on".into()),
        // No C compiler: its flags in sources could name files and programs of the server.
        ("CGO_ENABLED", "0".into()),
        ("GOTOOLCHAIN", "local".into()),
        ("GOWORK", "off".into()),
        ("GOCACHE", cache.join("build").into()),
        ("GOPATH", cache.join("path").into()),
        ("GOMODCACHE", cache.join("modules").into()),
        ("GOVCS", "off".into()),
    ];
    let tools = &job.settings.tools;
    let mut read = Vec::new();
    if let Some(settings) = tools.settings_file(".config/go/env") {
        variables.push(("GOENV", settings.clone().into()));
        read.push(settings);
    }
    let real = go.canonicalize().ok();
    read.extend(real.as_deref().and_then(Path::parent).and_then(Path::parent).map(Path::to_path_buf));
    let start = Start {
        program: go.to_path_buf(),
        args: args.iter().map(OsString::from).collect(),
        folder: job.source(),
        home: job.home(),
        variables,
        own: vec![job.folder.clone(), cache],
        read,
    };
    job.run(&start, &|_, line| {
        if let Some(found) = error(line) {
            job.found(found);
        }
        true
    })
    .await
}

/// `./contract.go:12:5: undefined: x`, or `go: …` for modules.
fn error(line: &str) -> Option<Diagnostic> {
    if let Some(fault) = line.strip_prefix("go: ") {
        let quiet = ["downloading ", "finding ", "found ", "added ", "upgraded ", "to match ", "warning:"];
        if quiet.iter().any(|start| fault.starts_with(start)) {
            return None;
        }
        return Some(Diagnostic::general("go", fault, "", "").at("go.mod", 1, 1));
    }
    let mut parts = line.trim_start_matches("vet: ").splitn(4, ':');
    let file = parts.next()?.trim_start_matches("./");
    if !file.ends_with(".go") || file.starts_with('/') || file.contains("..") || file.starts_with("vendor/") {
        return None;
    }
    let number = parts.next()?.trim().parse().ok()?;
    let column = parts.next()?.trim().parse().ok()?;
    let message = parts.next()?.trim();
    let mut found = Diagnostic::general("go", message, "", "").at(file, number, column);
    (found.hint, found.hint_zh) = if message.starts_with("undefined:") {
        ("Check the spelling, or import the package that has it.".into(), "请检查拼写,或导入包含它的包。".into())
    } else if message.contains("imported and not used") || message.contains("declared and not used") {
        ("Remove it: Go refuses what is not used.".into(), "请删除:Go 不允许未使用的内容。".into())
    } else {
        Default::default()
    };
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replacements_stay_in_the_project() {
        for bad in [
            "replace a => ../b",
            "a => /etc",
            "a v1.0.0 => ./x/../../y // fine",
            "replace a => \"./x//../../..\"",
            "a => \"\\x2e\\x2e/b\"",
            "a => `../b`",
        ] {
            assert!(leads_out(bad), "{bad}");
        }
        for good in ["replace a => ./b", "a => example.com/b v1.2.3 // see ../notes", "require a v1.0.0", "// \"a\""] {
            assert!(!leads_out(good), "{good}");
        }
    }

    #[test]
    fn lines_of_go_become_findings() {
        let found = error("./contract.go:12:5: undefined: wrold").unwrap();
        assert_eq!((found.file.as_str(), found.line, found.column), ("contract.go", 12, 5));
        assert!(!found.hint.is_empty());
        assert!(error("go: downloading example.com/x v1.0.0").is_none());
        assert_eq!(error("go: example.com/x@v9: not found").unwrap().file, "go.mod");
        assert!(error("# example.com/module").is_none() && error("/usr/go/x.go:1:1: x").is_none());
    }
}
