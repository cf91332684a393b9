//! The compiler store and compiling, with the published compilers.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use konsort_workbench::compiler::{CompileRequest, CompilerError, CompilerSettings, Compilers};
use konsort_workbench::values::Suite;
use konsort_workbench::{Severity, Tools};

use crate::{SOLC, compilers, kept, tools};

fn sources(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
}

fn request(entries: &[(&str, &str)]) -> CompileRequest {
    CompileRequest { sources: sources(entries), version: Some(SOLC.into()), ..CompileRequest::default() }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "downloads and tries four more compilers; cargo xtask test --all runs it"]
async fn old_and_new_compilers_install_and_compile() {
    let compilers = compilers().await;
    for version in ["0.4.25", "0.5.2", "0.6.10", "0.8.11"] {
        let info = compilers.install(version).await.unwrap();
        assert_eq!((info.version.as_str(), info.origin.as_str(), info.suite), (version, "published", Suite::Keccak));
        assert!(info.long_version.starts_with(&format!("{version}+commit.")), "{}", info.long_version);
        let source = format!(
            "pragma solidity {version};\ncontract A {{\n  uint256 x;\n  function set(uint256 v) public {{ x = v; }}\n}}\n"
        );
        let good = CompileRequest { sources: sources(&[("A.sol", source.as_str())]), ..CompileRequest::default() };
        let made = compilers.compile(good).await.unwrap();
        assert!(made.ok && made.compiler == version, "{version}: {:?}", made.diagnostics);
        assert_eq!(made.contracts[0].selectors["set(uint256)"], "0x60fe47b1");
        assert!(made.contracts[0].deployable && made.contracts[0].size > 50);
        let wrong = source.replace("x = v", "x = w");
        let made = compilers
            .compile(CompileRequest { sources: sources(&[("A.sol", wrong.as_str())]), ..CompileRequest::default() })
            .await
            .unwrap();
        let error = made.diagnostics.iter().find(|one| one.severity == Severity::Error).unwrap();
        assert_eq!(
            (error.file.as_str(), error.line, error.column, error.end_column),
            ("A.sol", 4, 40, 41),
            "{version}: {error:?}"
        );
    }
    let listed = compilers.list().await.unwrap();
    assert!(listed.iter().any(|info| info.version == SOLC && info.installed && info.sha256.len() == 64));
    assert!(listed.iter().any(|info| info.version == "0.7.6" && !info.installed));
    assert!(listed[0].version.starts_with("0.8."), "newest first");
    assert!(compilers.soljson(SOLC).unwrap().is_file());
    for bad in ["../..", "9.9.9", "0.8.26/..", ""] {
        assert!(compilers.soljson(bad).is_none());
        assert!(matches!(compilers.install(bad).await, Err(CompilerError::Unknown { .. })), "{bad}");
        assert!(compilers.remove(bad).await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_stand_where_an_editor_shows_them() {
    let compilers = compilers().await;
    let text = "// SPDX-License-Identifier: Apache-2.0\npragma solidity ^0.8.11;\ncontract A {\n  string s = unicode\"存证𝔸\"; uint256 x = y;\n}\n";
    let made = compilers.compile(request(&[("合约/A.sol", text)])).await.unwrap();
    assert!(!made.ok);
    let error = &made.diagnostics[0];
    // Four UTF-16 units for the three characters of the text.
    assert_eq!(
        (error.file.as_str(), error.line, error.column, error.end_line, error.end_column),
        ("合约/A.sol", 4, 41, 4, 42),
        "{error:?}"
    );
    assert_eq!((error.code.as_str(), error.severity), ("7576", Severity::Error));
    assert!(error.hint.contains("spelling") && error.hint_zh.contains("拼写"));
    let made = compilers.compile(request(&[("A.sol", "import \"./B.sol\";\ncontract A {}\n")])).await.unwrap();
    let missing = made.diagnostics.iter().find(|one| one.severity == Severity::Error).unwrap();
    assert_eq!((missing.line, missing.column), (1, 1));
    assert!(missing.hint.contains("add it"), "{missing:?}");
    let warned = compilers.compile(request(&[("A.sol", "contract A {}\n")])).await.unwrap();
    assert!(
        warned.ok && warned.diagnostics.iter().all(|one| one.severity == Severity::Warning),
        "{:?}",
        warned.diagnostics
    );
    let nothing = compilers.compile(request(&[("A.sol", "// nothing\n")])).await.unwrap();
    assert!(!nothing.ok && nothing.diagnostics.iter().any(|one| one.code == "no_contract"));
    let strange = compilers.compile(request(&[("A.sol", "\u{0}\u{1}]][[ \"")])).await.unwrap();
    assert!(!strange.ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_version_follows_the_pragmas() {
    let compilers = compilers().await;
    let choose = async |entries: &[(&str, &str)]| compilers.choose(&sources(entries)).await;
    assert_eq!(
        choose(&[("A.sol", "pragma solidity ^0.7.0; contract A {}")]).await.unwrap(),
        "0.7.6",
        "published though not installed"
    );
    assert_eq!(
        choose(&[("A.sol", "pragma solidity >=0.5.0 <0.8.0;"), ("B.sol", "pragma solidity ~0.5.3;")]).await.unwrap(),
        "0.5.17"
    );
    assert!(choose(&[("A.sol", "pragma solidity ^0.8.0;")]).await.unwrap().starts_with("0.8."));
    let problems =
        choose(&[("A.sol", "pragma solidity ^0.4.0;"), ("B.sol", "\n  pragma solidity ^0.8.0;")]).await.unwrap_err();
    assert_eq!(problems.len(), 2);
    assert_eq!((problems[1].file.as_str(), problems[1].line, problems[1].column), ("B.sol", 2, 3));
    let problems = choose(&[("A.sol", "pragma solidity nonsense;")]).await.unwrap_err();
    assert_eq!(problems[0].code, "bad_pragma");
    let made = compilers
        .compile(CompileRequest {
            sources: sources(&[("A.sol", "pragma solidity ^0.9.0; contract A {}")]),
            ..CompileRequest::default()
        })
        .await
        .unwrap();
    assert!(!made.ok && made.diagnostics[0].code == "no_compiler");
}

#[tokio::test(flavor = "multi_thread")]
async fn imports_come_from_the_project_and_the_library() {
    compilers().await;
    let library = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(library.path().join("@vendor/contracts")).unwrap();
    std::fs::write(library.path().join("@vendor/contracts/Owned.sol"), "pragma solidity ^0.8.0;\nimport \"./Base.sol\";\nabstract contract Owned is Base { address owner = msg.sender; }").unwrap();
    std::fs::write(
        library.path().join("@vendor/contracts/Base.sol"),
        "pragma solidity ^0.8.0;\nabstract contract Base { uint256 base; }",
    )
    .unwrap();
    let mut settings = CompilerSettings::new(kept("compilers"), tools());
    settings.library = Some(library.path().to_path_buf());
    settings.time = Duration::from_mins(4);
    let compilers = Compilers::new(settings).unwrap();
    let made = compilers.compile(request(&[
        ("src/A.sol", "import \"@vendor/contracts/Owned.sol\";\nimport {B} from \"./lib/B.sol\";\ncontract A is Owned { B b; }"),
        ("src/lib/B.sol", "import \"../A.sol\"; contract B {}"),
    ])).await.unwrap();
    assert!(made.ok, "{:?}", made.diagnostics);
    assert!(made.sources.contains_key("@vendor/contracts/Base.sol"));
    let a = made.contracts.iter().find(|contract| contract.name == "A").unwrap();
    let variables: Vec<&str> =
        a.storage_layout["storage"].as_array().unwrap().iter().map(|one| one["label"].as_str().unwrap()).collect();
    assert_eq!(variables, ["base", "owner", "b"]);
    assert!(!made.contracts.iter().find(|contract| contract.name == "Base").unwrap().deployable);
}

/// A contract that keeps the optimizer busy for longer than any test waits.
fn endless() -> String {
    let mut body = String::from("contract A { mapping(uint256 => uint256) m;\n");
    for index in 0..1500 {
        body.push_str(&format!(
            "function f{index}(uint256 a, uint256 b) public returns (uint256 c) {{ for (uint256 i; i < a; ++i) {{ m[i + {index}] = (a * b + i) % {}; c += m[b ^ i] / (i + {index} + 1); }} }}\n",
            index + 3
        ));
    }
    body + "}"
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "lets a compiler run into its limit of 25 seconds; cargo xtask test --all runs it"]
async fn a_contract_that_never_ends_is_stopped_and_the_next_one_compiles() {
    compilers().await;
    let mut settings = CompilerSettings::new(kept("compilers"), tools());
    settings.time = Duration::from_secs(25);
    let compilers = Compilers::new(settings).unwrap();
    assert!(compilers.compile(request(&[("A.sol", "contract A {}")])).await.unwrap().ok);
    let begun = Instant::now();
    let heavy = CompileRequest { via_ir: true, ..request(&[("A.sol", endless().as_str())]) };
    let made = compilers.compile(heavy).await.unwrap();
    assert!(!made.ok);
    assert_eq!(made.diagnostics[0].code, "compiler_time", "{:?}", made.diagnostics);
    assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
    assert!(compilers.compile(request(&[("A.sol", "contract A {}")])).await.unwrap().ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_and_the_size_of_sources_are_bounded() {
    compilers().await;
    let mut settings = CompilerSettings::new(kept("compilers"), tools());
    settings.memory = 64 << 20;
    settings.time = Duration::from_mins(4);
    let compilers = Compilers::new(settings).unwrap();
    let made = compilers.compile(request(&[("A.sol", "contract A {}")])).await.unwrap();
    assert_eq!(made.diagnostics[0].code, "compiler_memory", "{:?}", made.diagnostics);
    let made = compilers.compile(request(&[("A.sol", "/".repeat(5 << 20).as_str())])).await.unwrap();
    assert_eq!(made.diagnostics[0].code, "too_large");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_uploads_a_compiler() {
    let published = compilers().await.soljson(SOLC).unwrap();
    let file = std::fs::read(published).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut settings = CompilerSettings::new(folder.path().to_path_buf(), tools());
    settings.time = Duration::from_mins(4);
    let compilers = Compilers::new(settings).unwrap();
    let error = compilers.upload(&file, Some(&"00".repeat(32))).await.unwrap_err();
    assert!(matches!(error, CompilerError::Integrity { .. }));
    for bad in [b"console.log('hello')".as_slice(), b"", b"\0\0\0", b"process.exit(0)"] {
        let error = compilers.upload(bad, None).await.unwrap_err();
        assert!(matches!(error, CompilerError::NotACompiler(_) | CompilerError::Process(_)), "{error}");
    }
    let mut short = CompilerSettings::new(folder.path().to_path_buf(), tools());
    short.time = Duration::from_secs(2);
    let error = Compilers::new(short).unwrap().upload(b"while (true) {}", None).await.unwrap_err();
    assert!(error.to_string().contains("did not answer in time"), "{error}");
    assert!(compilers.soljson(SOLC).is_none());
    // A published version is its published package and nothing else.
    let error = compilers.upload(&file, None).await.unwrap_err();
    assert!(error.to_string().contains(&format!("solc-{SOLC}.tgz")), "{error}");
    let elsewhere = tempfile::tempdir().unwrap();
    let mut pack = std::process::Command::new("npm");
    pack.args(["pack", &format!("solc@{SOLC}")]).current_dir(elsewhere.path());
    assert!(pack.output().unwrap().status.success());
    let package = std::fs::read(elsewhere.path().join(format!("solc-{SOLC}.tgz"))).unwrap();
    let info = compilers.upload(&package, None).await.unwrap();
    assert_eq!((info.version.as_str(), info.origin.as_str()), (SOLC, "published"));
    compilers.remove(SOLC).await.unwrap();
    assert!(compilers.soljson(SOLC).is_none());
    // The same compiler under a version that is not published.
    let original = elsewhere.path().join("soljson.js");
    std::fs::write(&original, &file).unwrap();
    let other = format!(
        "const s = require({original:?}), call = s.cwrap;\n\
         s.cwrap = (name, ...rest) => name === 'solidity_version' ? () => '0.8.27+commit.1' : call.call(s, name, ...rest);\n\
         module.exports = s;\n"
    );
    let info = compilers.upload(other.as_bytes(), None).await.unwrap();
    assert_eq!((info.version.as_str(), info.origin.as_str()), ("0.8.27", "uploaded"));
    compilers.remove("0.8.27").await.unwrap();
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_native_compiler_on_the_path_is_used() {
    let soljson = compilers().await.soljson(SOLC).unwrap();
    let folder = tempfile::tempdir().unwrap();
    // A program with the compiler's command line: the same compiler behind it.
    let script = format!(
        "#!/bin/sh\nif [ \"$1\" = --version ]; then echo 'solc, the solidity compiler'; echo 'Version: {SOLC}+commit.8a97fa7a.Linux.g++'; exit; fi\n\
         exec node -e 'const s = require(process.argv[1]); process.stdout.write(s.cwrap(\"solidity_compile\", \"string\", [\"string\", \"number\", \"number\"])(require(\"fs\").readFileSync(0, \"utf8\"), 0, 0))' {}\n",
        soljson.display()
    );
    let program = folder.path().join("solc");
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let mut settings = CompilerSettings::new(folder.path().join("store"), Tools::new([("PATH", path)]));
    settings.time = Duration::from_mins(4);
    let compilers = Compilers::new(settings).unwrap();
    let listed = compilers.list().await.unwrap();
    let native = listed.iter().find(|info| info.version == SOLC).unwrap();
    assert_eq!((native.origin.as_str(), native.installed), ("native", true));
    let made =
        compilers.compile(request(&[("A.sol", "contract A { function set(uint256) public {} }")])).await.unwrap();
    assert!(made.ok, "{:?}", made.diagnostics);
    assert!(compilers.soljson(SOLC).is_none(), "there is nothing for browsers");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_node_the_text_says_what_to_do() {
    compilers().await;
    let compilers =
        Compilers::new(CompilerSettings::new(kept("compilers"), Tools::new([("PATH", "/nowhere")]))).unwrap();
    let error = compilers.compile(request(&[("A.sol", "contract A {}")])).await.unwrap_err();
    assert!(error.to_string().contains("install Node.js"), "{error}");
}
