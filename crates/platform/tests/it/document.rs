//! The committed OpenAPI document is the one the server gives.

use std::path::Path;

use konsort_platform::server;
use serde_json::Value;

/// Compares a text with a file of this crate; `UPDATE=1` writes the file.
pub(crate) fn compare(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    if committed != text {
        let line = committed.lines().zip(text.lines()).position(|(one, other)| one != other).unwrap_or_default();
        panic!(
            "{name} is not up to date, first at line {}: {:?} instead of {:?}; run this test with UPDATE=1 and commit it",
            line + 1,
            committed.lines().nth(line),
            text.lines().nth(line),
        );
    }
}

#[test]
fn the_committed_document_is_up_to_date() {
    compare("openapi.json", &server::document().unwrap());
}

#[test]
fn the_document_says_everything_a_client_needs() {
    let document: Value = serde_json::from_str(&server::document().unwrap()).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut ids = std::collections::BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = format!("{method} {path}");
            let id = operation["operationId"].as_str().unwrap_or_else(|| panic!("{name} has no id"));
            assert!(ids.insert(id.to_owned()), "{id} is used twice");
            assert!(operation["summary"].is_string() || operation["description"].is_string(), "{name} has no words");
            assert_eq!(operation["tags"].as_array().map(Vec::len), Some(1), "{name}");
            let responses = operation["responses"].as_object().unwrap();
            assert!(responses.keys().any(|status| status.starts_with(['2', '3'])), "{name} has no success");
            for part in path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
                let parameters = operation["parameters"].as_array().unwrap_or_else(|| panic!("{name}"));
                assert!(
                    parameters.iter().any(|p| p["name"] == part && p["in"] == "path"),
                    "{name}: {part} is not described"
                );
            }
        }
    }
    // Every reference leads somewhere.
    let text = document.to_string();
    for reference in text.split("\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(document["components"]["schemas"][name].is_object(), "{name} is referred to and not there");
    }
}
