//! The compiler's standard JSON: what goes in, and what is read of what comes out.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::pragma::Release;
use super::{Compilation, CompileRequest, CompiledContract, CompilerInfo, hints};
use crate::diagnostic::position;
use crate::interface::Interface;
use crate::values::Suite;
use crate::{Diagnostic, Severity};

/// What the optimizer takes as the number of runs unless told.
const RUNS: u32 = 200;
/// The most diagnostics that are shown.
const MAX_DIAGNOSTICS: usize = 500;

pub(super) fn standard_input(request: &CompileRequest, sources: &BTreeMap<String, String>, version: &str) -> String {
    let contents: BTreeMap<&String, Value> =
        sources.iter().map(|(path, text)| (path, json!({ "content": text }))).collect();
    let mut settings = json!({
        "optimizer": { "enabled": !request.no_optimizer, "runs": request.runs.unwrap_or(RUNS) },
        "outputSelection": { "*": { "*": [
            "abi", "devdoc", "userdoc", "metadata", "storageLayout", "evm.bytecode.object", "evm.bytecode.sourceMap",
            "evm.bytecode.linkReferences", "evm.deployedBytecode.object", "evm.deployedBytecode.sourceMap",
            "evm.methodIdentifiers",
        ] } },
    });
    let release = Release::parse(version);
    match &request.evm_version {
        Some(evm) => settings["evmVersion"] = evm.as_str().into(),
        // The chain's machine has the instructions up to this version; newer compilers would use later ones.
        None if release.is_some_and(|release| release.at_least([0, 8, 25])) => settings["evmVersion"] = "cancun".into(),
        None => {}
    }
    // Before 0.7.5 the setting is not known and would be refused.
    if request.via_ir && release.is_some_and(|release| release.at_least([0, 7, 5])) {
        settings["viaIR"] = true.into();
    }
    json!({ "language": "Solidity", "sources": contents, "settings": settings }).to_string()
}

/// A compilation that did not take place.
pub(super) fn refused(diagnostics: Vec<Diagnostic>, sources: BTreeMap<String, String>) -> Compilation {
    Compilation {
        ok: false,
        compiler: String::new(),
        suite: Suite::Keccak,
        diagnostics,
        contracts: Vec::new(),
        source_ids: BTreeMap::new(),
        sources,
    }
}

pub(super) fn read(text: &str, info: &CompilerInfo, sources: BTreeMap<String, String>) -> Compilation {
    let output: Value = match serde_json::from_str(text) {
        Ok(output) => output,
        Err(error) => {
            let problem =
                Diagnostic::general("compiler_output", format!("the compiler's answer is no JSON: {error}"), "", "");
            return refused(vec![problem], sources);
        }
    };
    let errors = output["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut diagnostics: Vec<Diagnostic> =
        errors.iter().take(MAX_DIAGNOSTICS).map(|error| diagnostic(error, &sources)).collect();
    let mut contracts = Vec::new();
    for (file, named) in output["contracts"].as_object().into_iter().flatten() {
        for (name, contract) in named.as_object().into_iter().flatten() {
            match compiled(file, name, contract) {
                Ok(contract) => contracts.push(contract),
                Err(error) => diagnostics
                    .push(Diagnostic::general("interface", format!("{name}: {error}"), "", "").at(file, 1, 1)),
            }
        }
    }
    let failed = diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
    if contracts.is_empty() && !failed {
        diagnostics.push(Diagnostic::general(
            "no_contract",
            "the sources hold no contract",
            "Write contract Name { … }.",
            "请编写 contract 名称 { … }。",
        ));
    }
    let source_ids = output["sources"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(path, source)| Some((u32::try_from(source["id"].as_u64()?).ok()?, path.clone())))
        .collect();
    let ok = !failed && !contracts.is_empty();
    Compilation { ok, compiler: info.version.clone(), suite: info.suite, diagnostics, contracts, source_ids, sources }
}

fn diagnostic(error: &Value, sources: &BTreeMap<String, String>) -> Diagnostic {
    let message = error["message"].as_str().or_else(|| error["formattedMessage"].as_str()).unwrap_or("unknown error");
    let (hint, hint_zh) = hints::hint(message);
    let code = error["errorCode"].as_str().or_else(|| error["type"].as_str()).unwrap_or_default();
    let mut made = Diagnostic::general(code, message, hint, hint_zh);
    made.severity = match error["severity"].as_str() {
        Some("warning") => Severity::Warning,
        Some("info") => Severity::Info,
        _ => Severity::Error,
    };
    let place = &error["sourceLocation"];
    let Some(file) = place["file"].as_str().filter(|file| sources.contains_key(*file)) else { return made };
    file.clone_into(&mut made.file);
    let offset = |key: &str| place[key].as_i64().and_then(|offset| usize::try_from(offset).ok());
    if let Some(start) = offset("start") {
        let text = &sources[file];
        (made.line, made.column) = position(text, start);
        (made.end_line, made.end_column) = position(text, offset("end").unwrap_or(start).max(start));
    }
    made
}

fn compiled(file: &str, name: &str, contract: &Value) -> Result<CompiledContract, crate::interface::InterfaceError> {
    let evm = &contract["evm"];
    let code = |part: &str| evm[part]["object"].as_str().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (bytecode, deployed) = (code("bytecode"), code("deployedBytecode"));
    let interface =
        Interface::from_abi(name, "", &contract["abi"], Some(&contract["devdoc"]), Some(&contract["userdoc"]))?;
    let signatures: BTreeSet<&str> =
        evm["methodIdentifiers"].as_object().into_iter().flatten().map(|(signature, _)| signature.as_str()).collect();
    let selectors = |suite: Suite| -> BTreeMap<String, String> {
        signatures.iter().map(|signature| ((*signature).to_owned(), suite.selector(signature))).collect()
    };
    let mut links = Vec::new();
    for (file, names) in evm["bytecode"]["linkReferences"].as_object().into_iter().flatten() {
        links.extend(names.as_object().into_iter().flatten().map(|(name, _)| format!("{file}:{name}")));
    }
    Ok(CompiledContract {
        file: file.to_owned(),
        name: name.to_owned(),
        deployable: !bytecode.is_empty(),
        abi: contract["abi"].clone(),
        bytecode: format!("0x{bytecode}"),
        deployed_bytecode: format!("0x{deployed}"),
        size: deployed.len() as u64 / 2,
        source_map: text(&evm["bytecode"]["sourceMap"]),
        deployed_source_map: text(&evm["deployedBytecode"]["sourceMap"]),
        storage_layout: contract["storageLayout"].clone(),
        selectors: selectors(Suite::Keccak),
        selectors_sm3: selectors(Suite::Sm3),
        links,
        metadata: text(&contract["metadata"]),
        interface,
    })
}
