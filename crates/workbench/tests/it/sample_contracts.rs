//! Every sample is complete and compiles; those for chaincode are built in `builds`.

use std::collections::BTreeSet;

use konsort_workbench::Interface;
use konsort_workbench::compiler::CompileRequest;
use konsort_workbench::project::{Language, Project};
use konsort_workbench::samples;

use crate::compilers;

fn texts(files: &konsort_workbench::project::Files) -> std::collections::BTreeMap<String, String> {
    files.iter().map(|(path, content)| (path.clone(), String::from_utf8(content.clone()).unwrap())).collect()
}

#[test]
fn the_library_is_complete_and_in_both_languages() {
    let all = samples::all();
    let ids: BTreeSet<&str> = all.iter().map(|sample| sample.id).collect();
    assert_eq!(ids.len(), all.len());
    for language in [Language::Solidity, Language::Javascript, Language::Typescript, Language::Go, Language::Rust] {
        let count = all.iter().filter(|sample| sample.language == language).count();
        assert!(count >= if language == Language::Solidity { 5 } else { 3 }, "{language:?}");
        let folder = tempfile::tempdir().unwrap();
        Project::create(&folder.path().join("empty"), &samples::empty(language)).unwrap();
    }
    for sample in &all {
        let han = |text: &str| text.chars().any(|letter| ('\u{4e00}'..='\u{9fff}').contains(&letter));
        assert!(
            han(sample.title_zh) && han(sample.description_zh) && !han(sample.title) && !han(sample.description),
            "{}",
            sample.id
        );
        let files = samples::files(sample.id).unwrap();
        assert!(files.contains_key(sample.main), "{}", sample.id);
        let folder = tempfile::tempdir().unwrap();
        let project = Project::create(&folder.path().join("p"), &files).unwrap();
        assert_eq!(project.list().unwrap().len(), sample.paths.len());
        if let Some(declared) = files.get("interface.json") {
            let document = serde_json::from_slice(declared).unwrap();
            let interface = Interface::from_document(&document).unwrap();
            let source = String::from_utf8(files[sample.main].clone()).unwrap();
            for method in &interface.methods {
                assert!(source.contains(&method.name), "{}: {} is declared but not written", sample.id, method.name);
            }
        }
    }
    assert!(samples::files("nothing").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_solidity_sample_compiles_without_a_remark() {
    let compilers = compilers().await;
    let all = samples::all().into_iter().filter(|sample| sample.language == Language::Solidity);
    let all = all
        .map(|sample| (sample.id, samples::files(sample.id).unwrap()))
        .chain([("empty", samples::empty(Language::Solidity))]);
    for (id, files) in all {
        let request = CompileRequest { sources: texts(&files), ..CompileRequest::default() };
        let made = compilers.compile(request).await.unwrap();
        assert!(made.ok && made.diagnostics.is_empty(), "{id}: {:?}", made.diagnostics);
        let main = made.contracts.iter().find(|contract| contract.deployable).unwrap();
        assert!(!main.interface.description.is_empty(), "{id}: the interface says what it is for");
        assert!(main.size < 24_576, "{id}");
    }
}
