//! Selectors and codes.

use bcos_types::{codes, selector, status};
use konsort_crypto::{SuiteKind, suite};
use serde_json::Value;

use crate::golden::{bytes, list, load, text};

fn check_selector(vector: &Value) {
    let signature = text(&vector["signature"]);
    for (kind, name) in [(SuiteKind::International, "keccak256"), (SuiteKind::Sm, "sm3")] {
        assert_eq!(selector(suite(kind), signature).to_vec(), bytes(&vector[name]), "{signature}");
    }
}

#[test]
fn selectors_match_in_both_suites() {
    let all = load("selectors");
    let mut count = 0;
    for contract in list(&all["contracts"]) {
        for method in list(&contract["methods"]) {
            check_selector(method);
            count += 1;
        }
    }
    assert!(count > 100);
    for vector in all["revert_selectors"].as_object().unwrap().values() {
        check_selector(vector);
    }
}

fn group(value: &Value, name: &str) -> Vec<(i64, String)> {
    list(&value["codes"])
        .iter()
        .map(|it| {
            let name = it.get(name).or_else(|| it.get("sdk_name")).unwrap();
            (it["code"].as_i64().unwrap(), text(name).to_owned())
        })
        .collect()
}

fn ours(all: &[(i32, &str)]) -> Vec<(i64, String)> {
    all.iter().map(|&(code, name)| (code.into(), name.to_owned())).collect()
}

#[test]
fn codes_and_their_names_match() {
    let all = load("codes");
    assert_eq!(ours(codes::PRECOMPILED), group(&all["precompiled"], "node_name"));
    assert_eq!(ours(status::ALL), group(&all["transaction_status"], "name"));
    assert_eq!(ours(codes::rpc::ALL), group(&all["jsonrpc"], "name"));
    assert_eq!(ours(codes::event::ALL), group(&all["event_sub"], "name"));
    assert_eq!(codes::precompiled_name(codes::TABLE_NOT_EXIST), Some("CODE_TABLE_NOT_EXIST"));
    assert_eq!(codes::precompiled_name(4711), None);
    let limits = &all["table_limits"];
    assert_eq!(limits["value"], codes::limit::VALUE);
    assert_eq!(limits["key"], codes::limit::KEY);
    assert_eq!(limits["select_rows"], codes::limit::SELECT_ROWS);
    assert_eq!(limits["bfs_levels"], codes::limit::BFS_LEVELS);
}
