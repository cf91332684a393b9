//! From what a person asks to deploy to what an engine takes.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use konsort_crypto::hash::sha256;
use konsort_engines::Artifact;
use konsort_engines::act::Deployment;
use konsort_engines::spec::EngineKind;
use konsort_workbench::Interface;
use konsort_workbench::compiler::{Compilation, CompiledContract};
use konsort_workbench::project::Files;
use konsort_workbench::samples;
use serde_json::{Map, Value};

use super::build::{compile, diagnostics_text};
use super::{ProjectDoc, engine_of, with_project};
use crate::access::Caller;
use crate::app::App;
use crate::contracts::deploy::{ArtifactRequest, DeployRequest, check_contract_name};
use crate::contracts::record::Origin;
use crate::control::{Control, Network};
use crate::db::Kind;
use crate::problem::{Problem, kinds};

/// Largest chaincode package that is taken, bytes.
const LARGEST_PACKAGE: usize = 24 * 1024 * 1024;

/// Something to deploy.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) artifact: Artifact,
    pub(crate) interface: Option<Interface>,
    pub(crate) origin: Option<Origin>,
    /// A name for it, when nobody gives another.
    pub(crate) name: String,
    pub(crate) code_hash: Option<String>,
}

fn wrong(field: &str, english: &str, chinese: &str) -> Problem {
    Problem::invalid_in(field, english, chinese)
}

/// Makes ready what is asked for; a dry run keeps nothing of it. Chaincode of a project is packaged later, by the first step of the operation.
pub(crate) async fn ready(
    app: &App,
    caller: &Caller,
    network: &Network,
    request: &DeployRequest,
    version: &str,
    dry_run: bool,
) -> Result<Ready, Problem> {
    if version.is_empty()
        || version.len() > 32
        || !version.bytes().all(|b| b.is_ascii_alphanumeric() || b"._+-".contains(&b))
    {
        return Err(wrong("version", "1 to 32 letters, digits and any of . _ + -", "1 至 32 个字母、数字或 . _ + -"));
    }
    match (&request.project, &request.artifact) {
        (Some(_), Some(_)) => Err(wrong("artifact", "give a project or an artifact, not both", "项目与制品只能二选一")),
        (None, None) => Err(wrong("project", "give a project or an artifact", "请提供项目或制品")),
        (Some(project), None) => from_project(app, caller, network, request, (project, version), dry_run).await,
        (None, Some(artifact)) => from_artifact(app, network, request, artifact, version, dry_run).await,
    }
}

async fn from_project(
    app: &App,
    caller: &Caller,
    network: &Network,
    request: &DeployRequest,
    (project, version): (&str, &str),
    dry_run: bool,
) -> Result<Ready, Problem> {
    if !app.records.sees(&caller.scope(), Kind::Project, project).await? {
        return Err(wrong("project", "there is no such project", "没有该项目"));
    }
    let record = app.records.get::<ProjectDoc>(Kind::Project, project).await?;
    if engine_of(record.doc.language) != network.spec().engine {
        return Err(wrong("project", "is written for the other kind of network", "该项目适用于另一种网络"));
    }
    let number = request.project_version;
    let files = with_project(&app.control, project, move |project| project.files(number)).await?;
    let mut origin = Origin { project: project.to_owned(), version: number, contract: request.contract_name.clone() };
    if engine_of(record.doc.language) == EngineKind::Fabric {
        let hash = hash_of(&files);
        let name = chaincode_name(&record.name);
        let label = format!("{}_{version}", request.name.as_deref().unwrap_or(&name));
        let path = package_path(&app.control, project, &hash, &label);
        // What the package is built from must not change until its step runs.
        if !dry_run {
            keep_sources(&path, files).await?;
        }
        let told = kept_result(&path).await.and_then(|mut result| result.remove("interface"));
        return Ok(Ready {
            artifact: Artifact::Package { path, label },
            interface: told.and_then(|told| Interface::from_document(&told).ok()),
            origin: Some(origin),
            name,
            code_hash: Some(hash),
        });
    }
    let compilation = compile(&app.control, files, None).await?;
    if !compilation.ok {
        return Err(Problem::new(&kinds::REFUSED_BY_NETWORK)
            .details(
                format!("the sources do not compile: {}", diagnostics_text(&compilation.diagnostics)),
                format!("源代码编译失败：{}", diagnostics_text(&compilation.diagnostics)),
            )
            .with("network_code", "does_not_compile"));
    }
    let deployable: Vec<&CompiledContract> =
        compilation.contracts.iter().filter(|contract| contract.deployable).collect();
    let names = || deployable.iter().map(|contract| contract.name.as_str()).collect::<Vec<_>>().join(", ");
    let chosen =
        match &request.contract_name {
            Some(name) => deployable.iter().find(|contract| contract.name == *name).copied().ok_or_else(|| {
                wrong("contract_name", &format!("one of {}", names()), &format!("应为 {} 之一", names()))
            })?,
            None => match deployable[..] {
                [only] => only,
                [] => return Err(wrong("project", "has no contract that can be deployed", "没有可部署的合约")),
                _ => {
                    let english = format!("is needed, as there are several: {}", names());
                    return Err(wrong("contract_name", &english, &format!("有多个合约，请指定：{}", names())));
                }
            },
        };
    if !chosen.links.is_empty() {
        let links = chosen.links.join(", ");
        let english = format!("calls libraries that must be deployed and linked first: {links}");
        return Err(wrong("contract_name", &english, &format!("依赖尚未链接的库：{links}")));
    }
    origin.contract = Some(chosen.name.clone());
    let code_hash = hex::encode(sha256(chosen.bytecode.as_bytes()));
    // Traces are explained by it for as long as the contract is there.
    if !dry_run {
        let kept = serde_json::to_vec(&compilation).map_err(|error| Problem::internal(&error))?;
        write_file(compilation_path(&app.control, &code_hash), kept).await?;
    }
    Ok(Ready {
        artifact: Artifact::Evm { bytecode: chosen.bytecode.clone(), abi: chosen.abi.clone() },
        interface: Some(chosen.interface.clone()),
        origin: Some(origin),
        name: chosen.name.clone(),
        code_hash: Some(code_hash),
    })
}

async fn from_artifact(
    app: &App,
    network: &Network,
    request: &DeployRequest,
    artifact: &ArtifactRequest,
    version: &str,
    dry_run: bool,
) -> Result<Ready, Problem> {
    let engine = network.spec().engine;
    match artifact {
        ArtifactRequest::Evm { bytecode, abi } => {
            if engine != EngineKind::Bcos {
                return Err(wrong(
                    "artifact.kind",
                    "EVM code runs on the other kind of network",
                    "EVM 字节码只能部署到另一种网络",
                ));
            }
            let digits = bytecode.trim().trim_start_matches("0x");
            if digits.is_empty() || !digits.len().is_multiple_of(2) || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(wrong("artifact.bytecode", "hex digits, an even number of them", "应为偶数个十六进制数字"));
            }
            let name = request.name.clone().unwrap_or_else(|| "Contract".to_owned());
            let interface = Interface::from_abi(&name, version, abi, None, None)
                .map_err(|error| Problem::invalid("artifact.abi", error.to_string()))?;
            Ok(Ready {
                artifact: Artifact::Evm { bytecode: format!("0x{digits}"), abi: abi.clone() },
                interface: Some(interface),
                origin: None,
                name,
                code_hash: Some(hex::encode(sha256(digits.as_bytes()))),
            })
        }
        ArtifactRequest::Builtin { name } => {
            if engine != EngineKind::Fabric {
                return Err(wrong(
                    "artifact.kind",
                    "the built-in sample is chaincode",
                    "内置示例是链码，只能部署到 Fabric 网络",
                ));
            }
            Ok(Ready {
                artifact: Artifact::Builtin { name: name.clone() },
                interface: builtin_interface(name),
                origin: None,
                name: name.clone(),
                code_hash: None,
            })
        }
        ArtifactRequest::Package { content } => {
            if engine != EngineKind::Fabric {
                return Err(wrong(
                    "artifact.kind",
                    "a chaincode package runs on the other kind of network",
                    "链码包只能部署到 Fabric 网络",
                ));
            }
            let bytes = STANDARD
                .decode(content)
                .ok()
                .filter(|bytes| bytes.starts_with(&[0x1f, 0x8b]) && bytes.len() <= LARGEST_PACKAGE)
                .ok_or_else(|| {
                    wrong(
                        "artifact.content",
                        "a tar.gz file in base64, at most 24 MiB",
                        "应为 base64 编码的 tar.gz 文件，最大 24 MiB",
                    )
                })?;
            let Some(name) = request.name.clone() else {
                return Err(wrong("name", "is needed for a package", "部署链码包需要名称"));
            };
            check_contract_name(engine, &name)?;
            let hash = hex::encode(sha256(&bytes));
            let label = format!("{name}_{version}");
            let path = package_path(&app.control, "uploaded", &hash, &label);
            if !dry_run {
                write_file(path.clone(), bytes).await?;
            }
            Ok(Ready {
                artifact: Artifact::Package { path, label },
                interface: None,
                origin: None,
                name,
                code_hash: Some(hash),
            })
        }
    }
}

/// What the sample within the program offers: the same as the library's, which is a contract of its own in another language.
fn builtin_interface(name: &str) -> Option<Interface> {
    let files = samples::files(&format!("javascript-{name}"))?;
    Interface::from_document(&serde_json::from_slice(files.get("interface.json")?).ok()?).ok()
}

/// A chaincode name from a project's display name.
fn chaincode_name(display: &str) -> String {
    let mut name = String::new();
    for c in display.chars() {
        if c.is_ascii_alphanumeric() {
            name.push(c.to_ascii_lowercase());
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
    }
    let name = name.trim_matches('-');
    if name.is_empty() { "contract".to_owned() } else { name.chars().take(48).collect() }
}

/// Hash of a project's files with their names.
pub(crate) fn hash_of(files: &Files) -> String {
    let mut text = String::new();
    for (path, content) in files {
        text.push_str(&format!("{} {path}\n", hex::encode(sha256(content))));
    }
    hex::encode(sha256(text.as_bytes()))
}

/// Where a package is, or will be once it is built.
pub(crate) fn package_path(control: &Control, owner: &str, hash: &str, label: &str) -> PathBuf {
    let plain: String =
        label.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+')).collect();
    control.folder.join("packages").join(format!("{owner}-{}-{plain}.tar.gz", &hash[..16]))
}

fn compilation_path(control: &Control, code_hash: &str) -> PathBuf {
    control.folder.join("packages").join(format!("compilation-{}.json", &code_hash[..32]))
}

/// What the code with this hash was compiled with.
pub(crate) async fn kept_compilation(control: &Control, code_hash: &str) -> Option<Compilation> {
    if code_hash.len() < 32 || !code_hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let bytes = tokio::fs::read(compilation_path(control, code_hash)).await.ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// The files that a package is built from.
pub(crate) fn sources_path(package: &std::path::Path) -> PathBuf {
    package.with_extension("sources.zip")
}

async fn keep_sources(package: &std::path::Path, files: Files) -> Result<(), Problem> {
    if tokio::fs::try_exists(package).await.unwrap_or(false) {
        return Ok(());
    }
    let text = serde_json::to_vec(
        &files
            .into_iter()
            .map(|(path, content)| (path, STANDARD.encode(content)))
            .collect::<std::collections::BTreeMap<_, _>>(),
    )
    .map_err(|error| Problem::internal(&error))?;
    write_file(sources_path(package), text).await
}

/// The files that were kept for a package.
pub(crate) async fn kept_sources(package: &std::path::Path) -> Result<Files, Problem> {
    let path = sources_path(package);
    let bytes = tokio::fs::read(&path).await.map_err(|source| {
        Problem::from(konsort_engines::EngineError::Io { what: format!("read {}", path.display()), source })
    })?;
    let kept: std::collections::BTreeMap<String, String> =
        serde_json::from_slice(&bytes).map_err(|error| Problem::internal(&error))?;
    kept.into_iter()
        .map(|(path, content)| Ok((path, STANDARD.decode(content).map_err(|error| Problem::internal(&error))?)))
        .collect()
}

/// Writes a file whole or not at all.
pub(crate) async fn write_file(path: PathBuf, bytes: Vec<u8>) -> Result<(), Problem> {
    let done = tokio::task::spawn_blocking(move || {
        let failed = |source| konsort_engines::EngineError::Io { what: format!("write {}", path.display()), source };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let part = path.with_extension(format!("part{}", crate::ids::random_text(6)));
        let written = std::fs::File::create(&part)
            .and_then(|mut file| {
                use std::io::Write as _;
                file.write_all(&bytes)?;
                file.sync_all()
            })
            .and_then(|()| std::fs::rename(&part, &path));
        if written.is_err() {
            let _ = std::fs::remove_file(&part);
        }
        written.map_err(failed)
    });
    Ok(done.await.map_err(|error| Problem::internal(&error))??)
}

/// What the step that makes a package ends with, beside the package.
pub(crate) fn result_path(package: &std::path::Path) -> PathBuf {
    package.with_extension("result.json")
}

/// What making a package ended with, if it was made.
pub(crate) async fn kept_result(package: &std::path::Path) -> Option<Map<String, Value>> {
    if !tokio::fs::try_exists(package).await.unwrap_or(false) {
        return None;
    }
    let bytes = tokio::fs::read(result_path(package)).await.ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// The package that a deployment installs and that is not there yet, or whose making was cut off before its end.
pub(crate) fn missing_package(deployment: &Deployment) -> Option<(&PathBuf, &str)> {
    match &deployment.artifact {
        Artifact::Package { path, label } if !path.exists() || sources_path(path).exists() => Some((path, label)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chaincode_names_come_from_any_display_name() {
        assert_eq!(chaincode_name("Asset transfer (v2)"), "asset-transfer-v2");
        assert_eq!(chaincode_name("存证"), "contract");
    }

    #[test]
    fn a_hash_covers_names_and_contents() {
        let files = |name: &str, text: &str| Files::from([(name.to_owned(), text.as_bytes().to_vec())]);
        assert_ne!(hash_of(&files("a", "x")), hash_of(&files("b", "x")));
        assert_ne!(hash_of(&files("a", "x")), hash_of(&files("a", "y")));
    }
}
