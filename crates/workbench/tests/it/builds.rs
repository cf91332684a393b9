//! Chaincode builds with the real toolchains.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;
use konsort_workbench::builder::{Build, BuildError, BuildRequest, Builder, BuilderSettings};
use konsort_workbench::project::{Files, Language};
use konsort_workbench::{Tools, samples};
use parking_lot::Mutex;

use crate::{builder, kept, tools};

fn request(language: Language, files: Files) -> BuildRequest {
    BuildRequest { language, files, label: "sample_1.0".into(), project: "prj_test".into() }
}

async fn build(builder: &Builder, request: BuildRequest) -> (Build, String) {
    let log = Mutex::new(String::new());
    let made = builder
        .build(request, &|line| {
            let mut log = log.lock();
            log.push_str(&line);
            log.push('\n');
        })
        .await
        .unwrap();
    (made, log.into_inner())
}

/// Names in the inner archive of a package, and which of them are executable.
fn contents(package: &[u8]) -> (BTreeSet<String>, BTreeSet<String>) {
    let mut outer = tar::Archive::new(GzDecoder::new(package));
    let mut code = Vec::new();
    for entry in outer.entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.path_bytes().as_ref() == b"code.tar.gz" {
            entry.read_to_end(&mut code).unwrap();
        }
    }
    let (mut names, mut executable) = (BTreeSet::new(), BTreeSet::new());
    for entry in tar::Archive::new(GzDecoder::new(code.as_slice())).entries().unwrap() {
        let entry = entry.unwrap();
        assert!(entry.header().entry_type().is_file(), "peers take plain files only");
        let name = String::from_utf8(entry.path_bytes().to_vec()).unwrap();
        if entry.header().mode().unwrap() & 0o111 != 0 {
            executable.insert(name.clone());
        }
        names.insert(name);
    }
    (names, executable)
}

async fn samples_of(language: Language, kind: &str, expected: &[&str], forbidden: &[&str]) {
    let scratch = tempfile::tempdir().unwrap();
    let builder = builder(scratch.path());
    let all = samples::all().into_iter().filter(|sample| sample.language == language);
    let all =
        all.map(|sample| (sample.id, samples::files(sample.id).unwrap())).chain([("empty", samples::empty(language))]);
    for (id, files) in all {
        let (made, log) = build(&builder, request(language, files.clone())).await;
        assert!(made.ok, "{id}: {:?}\n{log}", made.diagnostics);
        assert_eq!(made.interface.is_some(), files.contains_key("interface.json"), "{id}: {:?}", made.diagnostics);
        let package = made.package.unwrap();
        std::fs::create_dir_all(kept("packages")).unwrap();
        std::fs::write(kept("packages").join(format!("{kind}-{id}.tgz")), &package.bytes).unwrap();
        let metadata = fabric_client::package::metadata(&package.bytes).unwrap();
        assert_eq!((metadata.kind.as_str(), metadata.label.as_str()), (kind, "sample_1.0"));
        assert_eq!(package.id, fabric_client::package::package_id("sample_1.0", &package.bytes));
        let (names, executable) = contents(&package.bytes);
        for name in expected {
            assert!(names.contains(*name), "{id} lacks {name}");
        }
        for part in forbidden {
            assert!(!names.iter().any(|name| name.contains(part)), "{id} has {part}");
        }
        if kind != "golang" {
            assert!(executable.contains(expected[0]), "{id}: {} must be executable", expected[0]);
        }
    }
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0, "nothing is left");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "fetches packages with the real build tools; cargo xtask test --all runs it"]
async fn javascript_samples_become_packages_that_need_no_registry() {
    let expected = [
        "src/node_modules/.bin/fabric-chaincode-node",
        "src/package.json",
        "src/index.js",
        "src/node_modules/fabric-shim/cli.js",
        "src/node_modules/fabric-contract-api/index.js",
    ];
    samples_of(Language::Javascript, "node", &expected, &[".d.ts", ".js.map"]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "fetches packages with the real build tools; cargo xtask test --all runs it"]
async fn typescript_samples_are_compiled_before_they_are_packed() {
    let expected = ["src/node_modules/.bin/fabric-chaincode-node", "src/package.json", "src/dist/index.js"];
    samples_of(Language::Typescript, "node", &expected, &["node_modules/typescript", "src/src/", "tsconfig"]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "fetches packages with the real build tools; cargo xtask test --all runs it"]
async fn go_samples_become_packages_with_their_dependencies() {
    let expected = [
        "src/go.mod",
        "src/main.go",
        "src/vendor/modules.txt",
        "src/vendor/github.com/hyperledger/fabric-contract-api-go/v2/contractapi/contract.go",
    ];
    samples_of(Language::Go, "golang", &expected, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "compiles the chaincode library in release mode, which takes minutes"]
async fn rust_samples_become_programs() {
    samples_of(Language::Rust, "rust", &["src/chaincode"], &["Cargo.toml"]).await;
}

fn edited(id: &str, path: &str, from: &str, to: &str) -> Files {
    let mut files = samples::files(id).unwrap();
    let text = String::from_utf8(files[path].clone()).unwrap();
    assert!(text.contains(from), "{from}");
    files.insert(path.to_owned(), text.replacen(from, to, 1).into_bytes());
    files
}

fn line_of(files: &Files, path: &str, part: &str) -> u32 {
    let text = String::from_utf8(files[path].clone()).unwrap();
    text.lines().position(|line| line.contains(part)).unwrap() as u32 + 1
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "fetches packages with the real build tools; cargo xtask test --all runs it"]
async fn errors_of_each_toolchain_stand_at_their_line() {
    let scratch = tempfile::tempdir().unwrap();
    let builder = builder(scratch.path());
    for (language, id, path, from, to, code) in [
        (
            Language::Javascript,
            "javascript-evidence",
            "lib/evidence.js",
            "super('Evidence');",
            "super('Evidence'",
            "SyntaxError",
        ),
        (
            Language::Typescript,
            "typescript-evidence",
            "src/evidence.ts",
            "await read(ctx, hash);",
            "await nowhere(ctx, hash);",
            "TS2304",
        ),
        (Language::Go, "go-evidence", "contract.go", "digest.MatchString(hash)", "digets.MatchString(hash)", "go"),
    ] {
        let files = edited(id, path, from, to);
        let place = line_of(&files, path, to);
        let (made, log) = build(&builder, request(language, files)).await;
        assert!(!made.ok && made.package.is_none());
        let found = made
            .diagnostics
            .iter()
            .find(|one| one.file == path)
            .unwrap_or_else(|| panic!("{:?}\n{log}", made.diagnostics));
        let near = if language == Language::Javascript { place..=place + 1 } else { place..=place };
        assert!(near.contains(&found.line), "{language:?}: {found:?}, expected line {place}");
        assert_eq!(found.code, code, "{found:?}");
        assert!(!log.contains(&scratch.path().display().to_string()), "where it was built stays out of the log\n{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn projects_cannot_reach_into_the_server() {
    let scratch = tempfile::tempdir().unwrap();
    let builder = builder(scratch.path());
    let shim = "\"fabric-shim\": \"2.5.8\"";
    for (language, files, code) in [
        (
            Language::Javascript,
            edited(
                "javascript-evidence",
                "package.json",
                shim,
                "\"fabric-shim\": \"2.5.8\", \"evil\": \"file:../../..\"",
            ),
            "dependency",
        ),
        (
            Language::Javascript,
            edited("javascript-evidence", "package.json", shim, "\"fabric-shim\": \"git+ssh://host/evil\""),
            "dependency",
        ),
        (
            Language::Javascript,
            edited("javascript-evidence", "package.json", shim, "\"fabric-shim\": \"npm:evil@1\""),
            "dependency",
        ),
        (
            Language::Javascript,
            edited("javascript-evidence", "package.json", "\"private\"", "\"workspaces\": [\"../..\"], \"private\""),
            "dependency",
        ),
        (Language::Javascript, edited("javascript-evidence", "package.json", shim, "\"other\": \"1\""), "no_shim"),
        (Language::Javascript, edited("javascript-evidence", "package.json", "{", "{{"), "package_json"),
        (
            Language::Go,
            edited("go-evidence", "go.mod", "go 1", "replace example.com/x => ../../secret\n\ngo 1"),
            "dependency",
        ),
        (Language::Go, edited("go-evidence", "go.mod", "module ", "// module "), "no_go_mod"),
        (Language::Rust, Files::new(), "no_cargo_toml"),
        (Language::Typescript, Files::new(), "no_package_json"),
    ] {
        let (made, log) = build(&builder, request(language, files)).await;
        assert!(!made.ok && made.package.is_none());
        assert_eq!(made.diagnostics[0].code, code, "{:?}", made.diagnostics);
        assert!(!log.contains('$'), "no tool has run: {log}");
    }
    let mut files = samples::files("javascript-evidence").unwrap();
    files.insert("../evil.js".into(), Vec::new());
    assert!(builder.build(request(Language::Javascript, files), &|_| {}).await.is_err());
    assert!(matches!(
        builder.build(request(Language::Solidity, Files::new()), &|_| {}).await,
        Err(BuildError::NotChaincode(_))
    ));
    let bad = BuildRequest { label: "a b".into(), ..request(Language::Go, Files::new()) };
    assert!(matches!(builder.build(bad, &|_| {}).await, Err(BuildError::Label(_))));
    let unconfined = Builder::new(BuilderSettings::new(scratch.path().join("u"), kept("cache"), tools())).unwrap();
    let (made, _) = build(&unconfined, request(Language::Rust, samples::files("rust-evidence").unwrap())).await;
    assert_eq!(made.diagnostics[0].code, "unconfined", "build scripts do not run with the server's rights");
    let files = samples::files("typescript-evidence").unwrap();
    let (made, _) = build(&unconfined, request(Language::Typescript, files)).await;
    assert_eq!(made.diagnostics[0].code, "unconfined", "nor do compilers that a project names");
    // Where our library is not, its name is not looked up in a public registry.
    let mut settings = BuilderSettings::new(scratch.path().join("l"), kept("cache"), tools());
    settings.trust_build_scripts = true;
    let bare = Builder::new(settings).unwrap();
    let (made, log) = build(&bare, request(Language::Rust, samples::files("rust-evidence").unwrap())).await;
    assert_eq!(made.diagnostics[0].code, "no_library");
    assert!(!made.diagnostics[0].hint_zh.is_empty() && !log.contains('$'), "{log}");
    assert!(!bare.samples().iter().any(|sample| sample.language == Language::Rust));
    assert_eq!(builder.samples().len(), samples::all().len());
    let rust = bare.toolchains().await.into_iter().find(|one| one.program == "cargo").unwrap();
    assert!(!rust.found && rust.remedy.contains("chaincode library"), "{rust:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_toolchain_is_said_with_its_remedy() {
    let scratch = tempfile::tempdir().unwrap();
    let settings =
        BuilderSettings::new(scratch.path().to_path_buf(), kept("cache"), Tools::new([("PATH", "/nowhere")]));
    let bare = Builder::new(settings).unwrap();
    for (language, id, word) in [
        (Language::Javascript, "javascript-evidence", "Node.js"),
        (Language::Go, "go-evidence", "Go 1.24"),
        (Language::Rust, "rust-evidence", "Rust"),
    ] {
        let (made, log) = build(&bare, request(language, samples::files(id).unwrap())).await;
        let found = &made.diagnostics[0];
        assert_eq!(found.code, "missing_toolchain");
        assert!(found.hint.contains(word) && !found.hint_zh.is_empty() && log.contains(word), "{found:?}");
    }
    assert!(bare.toolchains().await.iter().all(|one| !one.found && !one.remedy.is_empty()));
    let real = builder(scratch.path()).toolchains().await;
    assert!(real.iter().find(|one| one.program == "npm").unwrap().version.contains('.'), "{real:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_takes_too_long_is_stopped() {
    let scratch = tempfile::tempdir().unwrap();
    let mut settings = BuilderSettings::new(scratch.path().to_path_buf(), scratch.path().join("cache"), tools());
    settings.time = Duration::from_millis(700);
    let hasty = Builder::new(settings).unwrap();
    let begun = Instant::now();
    let (made, log) = build(&hasty, request(Language::Go, samples::files("go-evidence").unwrap())).await;
    assert!(!made.ok && begun.elapsed() < Duration::from_secs(20));
    assert!(log.contains("was stopped after"), "{log}");
    assert_eq!(made.diagnostics.last().unwrap().code, "build_failed", "{:?}", made.diagnostics);
}
