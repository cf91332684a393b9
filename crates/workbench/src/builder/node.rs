//! JavaScript and TypeScript: dependencies are installed here, without running their scripts, and packed with the code, so that every
//! peer runs the same files and needs no registry.

use std::ffi::OsString;

use serde_json::{Map, Value, json};

use super::pack::Packed;
use super::{ChaincodePackage, Job, Stop, failed};
use crate::diagnostic::position;
use crate::tools::{Start, Stream};
use crate::{Diagnostic, Severity};

/// The compiler of TypeScript projects that name none.
const TYPESCRIPT: &str = "5.9.3";
/// What upstream's contract API works with.
const TRANSFORMER: (&str, &str) = ("class-transformer", "0.4.0");
/// The most JavaScript files whose syntax is looked at.
const MAX_CHECKED: usize = 200;
/// The command that stock chaincode starts with.
const START: &str = "fabric-chaincode-node";

pub(super) async fn build(job: &Job<'_>, typescript: bool) -> Result<ChaincodePackage, Stop> {
    let mut manifest = manifest(job)?;
    check_dependencies(job, &manifest)?;
    if typescript {
        // The compiler is a package that the project names.
        job.confines("TypeScript projects bring the compiler they are built with", "TypeScript 项目自带编译器。")?;
    }
    let npm = job.program("npm")?;
    let node = job.program("node")?;
    let mut install = vec![if has_lock(job) { "ci" } else { "install" }];
    if typescript {
        if manifest["devDependencies"]["typescript"].is_null() && manifest["dependencies"]["typescript"].is_null() {
            (job.log)(format!("the project names no TypeScript; {TYPESCRIPT} is taken"));
            manifest["devDependencies"]["typescript"] = TYPESCRIPT.into();
            install = vec!["install"];
        }
        write_config(job)?;
    } else {
        install.push("--omit=dev");
        check_syntax(job, &node).await?;
    }
    let text = serde_json::to_vec_pretty(&manifest).unwrap_or_default();
    std::fs::write(job.source().join("package.json"), text).map_err(failed("write package.json"))?;
    install.extend(["--ignore-scripts", "--no-audit", "--no-fund"]);
    run_npm(job, &npm, &install).await?;
    if typescript {
        compile(job, &node).await?;
        run_npm(job, &npm, &["prune", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"]).await?;
    }
    pack(job, &manifest, typescript).await
}

fn has_lock(job: &Job<'_>) -> bool {
    ["package-lock.json", "npm-shrinkwrap.json"].iter().any(|name| job.files.contains_key(*name))
}

/// Reads package.json and fills in what is needed to start.
fn manifest(job: &Job<'_>) -> Result<Value, Stop> {
    let Some(text) = job.text("package.json") else {
        return Err(job.refuse(Diagnostic::general(
            "no_package_json",
            "package.json is missing at the top of the project",
            "Add one; the samples show what it needs.",
            "请在项目根目录添加 package.json,可参考示例合约。",
        )));
    };
    let mut manifest: Value = match serde_json::from_str(text) {
        Ok(manifest @ Value::Object(_)) => manifest,
        Ok(_) => return Err(job.refuse(in_manifest("package_json", "package.json must be an object", 1, 1))),
        Err(error) => {
            let (line, column) = (error.line() as u32, error.column() as u32);
            return Err(job.refuse(in_manifest("package_json", &format!("package.json: {error}"), line, column)));
        }
    };
    let depends = |name: &str| !manifest["dependencies"][name].is_null();
    if !depends("fabric-shim") {
        let mut problem = in_manifest("no_shim", "the project does not depend on fabric-shim", 1, 1);
        problem.hint = "Add \"fabric-shim\": \"2.5.8\" and \"fabric-contract-api\": \"2.5.8\" to dependencies.".into();
        problem.hint_zh =
            "请在 dependencies 中加入 \"fabric-shim\": \"2.5.8\" 和 \"fabric-contract-api\": \"2.5.8\"。".into();
        return Err(job.refuse(problem));
    }
    if manifest["scripts"]["start"].is_null() {
        manifest["scripts"]["start"] = format!("{START} start").into();
    }
    // Upstream's contract API asks for ^0.4.0 and fails with 0.4.1, which no longer has the function that it calls: contracts could
    // neither return objects nor describe themselves. A project that says itself what it wants, or has a lock file, is left alone.
    if !manifest["dependencies"]["fabric-contract-api"].is_null()
        && manifest["dependencies"][TRANSFORMER.0].is_null()
        && !has_lock(job)
    {
        manifest["dependencies"][TRANSFORMER.0] = TRANSFORMER.1.into();
    }
    Ok(manifest)
}

fn in_manifest(code: &str, message: &str, line: u32, column: u32) -> Diagnostic {
    Diagnostic::general(code, message, "", "").at("package.json", line, column)
}

/// Only versions from the registry: paths would reach into the server, and repositories would run its programs.
fn check_dependencies(job: &Job<'_>, manifest: &Value) -> Result<(), Stop> {
    let text = job.text("package.json").unwrap_or_default();
    let refuse = |name: &str, why: &str| {
        let (line, column) = text.find(&format!("\"{name}\"")).map_or((1, 1), |offset| position(text, offset));
        let mut problem = in_manifest("dependency", &format!("{name}: {why}"), line, column);
        problem.hint = "Name versions of packages in the registry, such as \"^2.5.8\".".into();
        problem.hint_zh = "请填写软件包仓库中的版本号,例如 \"^2.5.8\"。".into();
        job.refuse(problem)
    };
    for section in ["dependencies", "devDependencies", "optionalDependencies", "peerDependencies"] {
        for (name, version) in manifest[section].as_object().into_iter().flatten() {
            let version = version.as_str().unwrap_or_default();
            let plain = |letter: char| letter.is_ascii_alphanumeric() || "^~<>=.*-+| ".contains(letter);
            if version.is_empty() || !version.chars().all(plain) {
                return Err(refuse(name, &format!("{version:?} is no version")));
            }
        }
    }
    for section in ["workspaces", "overrides", "bundleDependencies", "bundledDependencies"] {
        if !manifest[section].is_null() {
            return Err(refuse(section, "is not allowed here"));
        }
    }
    for lock in ["package-lock.json", "npm-shrinkwrap.json"] {
        let Some(text) = job.text(lock) else { continue };
        let Ok(lock) = serde_json::from_str::<Value>(text) else {
            return Err(refuse(lock, "is no JSON; remove it or make it again"));
        };
        if !locked(&lock, 0) {
            return Err(refuse("package-lock.json", "names a package by a path or repository"));
        }
    }
    Ok(())
}

/// Whether every package of a lock file is from a registry.
fn locked(value: &Value, depth: usize) -> bool {
    if depth > 64 {
        return false;
    }
    match value {
        Value::Object(fields) => fields.iter().all(|(key, value)| match key.as_str() {
            "resolved" => value.as_str().is_some_and(|url| url.starts_with("https://") || url.starts_with("http://")),
            "link" => value == &Value::Bool(false),
            _ => locked(value, depth + 1),
        }),
        Value::Array(items) => items.iter().all(|item| locked(item, depth + 1)),
        _ => true,
    }
}

async fn run_npm(job: &Job<'_>, npm: &std::path::Path, args: &[&str]) -> Result<(), Stop> {
    let cache = job.cache("npm")?;
    let mut args: Vec<OsString> = args.iter().map(OsString::from).collect();
    if let Some(registry) = &job.settings.registry {
        args.extend(["--registry".into(), registry.into()]);
    }
    let mut variables: Vec<(&'static str, OsString)> =
        vec![("npm_config_cache", cache.clone().into()), ("npm_config_update_notifier", "false".into())];
    let mut read = Vec::new();
    if let Some(settings) = job.settings.tools.settings_file(".npmrc") {
        variables.push(("npm_config_userconfig", settings.clone().into()));
        read.push(settings);
    }
    let start = Start {
        program: npm.to_path_buf(),
        args,
        folder: job.source(),
        home: job.home(),
        variables,
        own: vec![job.folder.clone(), cache],
        read,
    };
    job.run(&start, &|_, line| {
        // `npm error code E404`, then what it means; the paths of its own log are of no use.
        let fault = line.strip_prefix("npm error ").or_else(|| line.strip_prefix("npm ERR! "));
        if let Some(fault) = fault.filter(|fault| !fault.contains("complete log of this run")) {
            let known = ["code ", "404 ", "notarget ", "network ", "Invalid", "`npm ci`"];
            if known.iter().any(|start| fault.starts_with(start)) {
                job.found(in_manifest("npm", fault, 1, 1));
            }
        }
        !line.starts_with("npm warn Unknown")
    })
    .await
}

/// Looks at the syntax of every script without running it.
async fn check_syntax(job: &Job<'_>, node: &std::path::Path) -> Result<(), Stop> {
    let scripts = job
        .files
        .keys()
        .filter(|path| [".js", ".cjs", ".mjs"].iter().any(|end| path.ends_with(end)) && !path.starts_with("test/"));
    let mut wrong = false;
    for path in scripts.take(MAX_CHECKED) {
        let start = Start {
            program: node.to_path_buf(),
            args: vec!["--check".into(), path.into()],
            folder: job.source(),
            home: job.home(),
            variables: Vec::new(),
            own: vec![job.folder.clone()],
            read: Vec::new(),
        };
        let lines = parking_lot::Mutex::new(Vec::new());
        let checked = job
            .run(&start, &|stream, line| {
                if stream == Stream::Err {
                    lines.lock().push(line.to_owned());
                }
                if let Some(found) = syntax_error(&lines.lock(), path) {
                    job.found(found);
                }
                true
            })
            .await;
        match checked {
            Ok(()) => {}
            Err(Stop::Refused) => wrong = true,
            Err(failed) => return Err(failed),
        }
    }
    if wrong { Err(Stop::Refused) } else { Ok(()) }
}

/// Node's four lines: place, source line, a mark below it, and after an empty line what is wrong.
fn syntax_error(lines: &[String], path: &str) -> Option<Diagnostic> {
    let message = lines.last()?.strip_prefix("SyntaxError: ")?;
    let place = lines.iter().find(|line| line.contains(path) && line.contains(':'))?;
    let line: u32 = place.rsplit(':').next()?.trim().parse().ok()?;
    let mark = lines.iter().find(|line| !line.trim().is_empty() && line.trim().bytes().all(|byte| byte == b'^'));
    let (column, length) = mark.map_or((1, 1), |mark| {
        let start = mark.find('^').unwrap_or(0) as u32 + 1;
        (start, mark.trim().len() as u32)
    });
    let mut found = Diagnostic::general("SyntaxError", message, "", "").at(path, line, column);
    found.end_column = column + length;
    Some(found)
}

const CONFIG: &str = "tsconfig.chaincode.json";
/// What of a project's own settings is taken over: how code is checked, not which files are read.
const TAKEN_OVER: [&str; 14] = [
    "strict",
    "strictNullChecks",
    "strictPropertyInitialization",
    "noImplicitAny",
    "noImplicitReturns",
    "noUnusedLocals",
    "noUnusedParameters",
    "noFallthroughCasesInSwitch",
    "target",
    "module",
    "moduleResolution",
    "esModuleInterop",
    "resolveJsonModule",
    "useDefineForClassFields",
];

fn write_config(job: &Job<'_>) -> Result<(), Stop> {
    let mut options = json!({
        "target": "es2022", "module": "commonjs", "esModuleInterop": true, "experimentalDecorators": true,
        "emitDecoratorMetadata": true, "strict": true, "skipLibCheck": true, "sourceMap": true, "declaration": false,
        "rootDir": "src", "outDir": "dist", "noEmitOnError": true,
    });
    let own: Value = job.text("tsconfig.json").and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    for name in TAKEN_OVER {
        let value = &own["compilerOptions"][name];
        if value.is_boolean() || value.is_string() {
            options[name] = value.clone();
        }
    }
    if !job.files.keys().any(|path| path.starts_with("src/") && path.ends_with(".ts")) {
        return Err(job.refuse(Diagnostic::general(
            "no_sources",
            "there is no TypeScript file in the folder src",
            "Put the sources into src; they are compiled to dist, and package.json names dist/index.js as main.",
            "请把源文件放在 src 目录;编译结果在 dist,package.json 的 main 应为 dist/index.js。",
        )));
    }
    let config = json!({ "compilerOptions": options, "include": ["src/**/*.ts"] });
    std::fs::write(job.source().join(CONFIG), config.to_string()).map_err(failed("write the compiler's settings"))?;
    Ok(())
}

async fn compile(job: &Job<'_>, node: &std::path::Path) -> Result<(), Stop> {
    let args = ["node_modules/typescript/bin/tsc", "-p", CONFIG, "--pretty", "false"];
    let start = Start {
        program: node.to_path_buf(),
        args: args.iter().map(OsString::from).collect(),
        folder: job.source(),
        home: job.home(),
        variables: Vec::new(),
        own: vec![job.folder.clone()],
        read: Vec::new(),
    };
    job.run_foreign(&start, &|_, line| {
        if let Some(found) = typescript_error(line) {
            job.found(found);
        }
        true
    })
    .await
}

/// `src/a.ts(3,14): error TS2304: Cannot find name 'x'.`
fn typescript_error(line: &str) -> Option<Diagnostic> {
    let (place, rest) = line.split_once("): ")?;
    let (file, numbers) = place.rsplit_once('(')?;
    let (number, column) = numbers.split_once(',')?;
    let (severity, rest) = match rest.split_once(' ')? {
        ("error", rest) => (Severity::Error, rest),
        ("warning", rest) => (Severity::Warning, rest),
        _ => return None,
    };
    let (code, message) = rest.split_once(": ")?;
    if file.starts_with("..") || file.starts_with('/') || file.starts_with("node_modules") {
        return None;
    }
    let mut found = Diagnostic::general(code, message, "", "").at(file, number.parse().ok()?, column.parse().ok()?);
    found.severity = severity;
    (found.hint, found.hint_zh) = match code {
        "TS2307" => (
            "Add the package to dependencies, or correct the path.".to_owned(),
            "请把该软件包加入 dependencies,或更正路径。".to_owned(),
        ),
        "TS2304" => ("Check the spelling, or import it.".to_owned(), "请检查拼写,或导入它。".to_owned()),
        _ => Default::default(),
    };
    Some(found)
}

async fn pack(job: &Job<'_>, manifest: &Value, typescript: bool) -> Result<ChaincodePackage, Stop> {
    let mut tree = job.collect(job.source(), move |path| is_needed(path, typescript)).await?;
    if typescript {
        let main = manifest["main"].as_str().unwrap_or("index.js").trim_start_matches("./");
        if !tree.contains_key(main) {
            let mut problem = in_manifest("main", &format!("main is {main:?}, which the build does not make"), 1, 1);
            problem.hint = "Set main to dist/index.js and let src/index.ts export the contracts.".into();
            problem.hint_zh = "请把 main 设为 dist/index.js,并在 src/index.ts 中导出合约。".into();
            return Err(job.refuse(problem));
        }
    }
    // In an installation this is a link, which packages cannot hold.
    let command = "#!/usr/bin/env node\nrequire('../fabric-shim/cli.js');\n".as_bytes().to_vec();
    tree.insert(format!("node_modules/.bin/{START}"), Packed { content: command, executable: true });
    // The tools that built it are not in the package; peers of other makers that install again need not fetch them.
    let mut shipped: Map<String, Value> = manifest.as_object().cloned().unwrap_or_default();
    shipped.remove("devDependencies");
    let text = serde_json::to_vec_pretty(&Value::Object(shipped)).unwrap_or_default();
    tree.insert("package.json".into(), Packed::plain(text));
    job.package("node", "", tree).await
}

/// What runs, without what only people and compilers read.
fn is_needed(path: &str, typescript: bool) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    if path == CONFIG || path == "package-lock.json" || path == "npm-shrinkwrap.json" {
        return false;
    }
    let Some(inside) = path.strip_prefix("node_modules/") else {
        let sources = typescript && (path == "src" || path.starts_with("src/") || name == "tsconfig.json");
        return !sources && !name.starts_with('.') && path != "test";
    };
    if name == ".bin" || inside == ".package-lock.json" {
        return false;
    }
    let lower = name.to_ascii_lowercase();
    let ends = [".ts", ".mts", ".cts", ".map", ".md", ".markdown", ".html", ".css", ".png", ".yml", ".log", ".def"];
    // Licences stay with what they license.
    !(ends.iter().any(|end| lower.ends_with(end)) || name.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_compilers_become_findings() {
        let found = typescript_error("src/a.ts(3,14): error TS2304: Cannot find name 'x'.").unwrap();
        assert_eq!((found.file.as_str(), found.line, found.column, found.code.as_str()), ("src/a.ts", 3, 14, "TS2304"));
        assert!(typescript_error("error TS18003: No inputs were found").is_none());
        assert!(typescript_error("../x.ts(1,1): error TS1: x").is_none());
        let lines =
            ["/b/build-1/src/lib/a.js:7", "  let x = ;", "          ^", "", "SyntaxError: Unexpected token ';'"];
        let found = syntax_error(&lines.map(str::to_owned), "lib/a.js").unwrap();
        assert_eq!((found.line, found.column, found.end_column), (7, 11, 12));
    }

    #[test]
    fn locks_name_registries_only() {
        let lock = |resolved: &str| json!({ "packages": { "node_modules/a": { "resolved": resolved } } });
        assert!(locked(&lock("https://registry.example/a.tgz"), 0));
        for bad in ["file:../../etc", "git+ssh://git@host/a", "../a"] {
            assert!(!locked(&lock(bad), 0), "{bad}");
        }
        assert!(!locked(&json!({ "packages": { "a": { "link": true } } }), 0));
    }
}
