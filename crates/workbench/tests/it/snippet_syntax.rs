//! Calls as code: each piece is read by its language.

use std::process::Command;

use konsort_workbench::Interface;
use konsort_workbench::snippets::{Snippet, SnippetRequest, snippets};
use serde_json::{Value, json};

fn all(contract: &Interface, method: &str, arguments: &Value) -> Vec<Snippet> {
    snippets(&SnippetRequest {
        contract,
        method: contract.method(method, None).unwrap(),
        arguments,
        server: "http://127.0.0.1:8080/",
        contract_id: "ctr_abc",
        channel: "mychannel",
        target: "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed",
        endpoint: "localhost:7051",
        mspid: "Org1MSP",
    })
}

fn reads(snippet: &Snippet) {
    let folder = tempfile::tempdir().unwrap();
    let (file, program, args): (&str, &str, &[&str]) = match snippet.language.as_str() {
        "curl" => ("call.sh", "bash", &["-n"]),
        "typescript" => ("call.mjs", "node", &["--check"]),
        "python" => ("call.py", "python3", &["-m", "py_compile"]),
        "go" => ("call.go", "gofmt", &["-e", "-l"]),
        // Tested where a Java compiler is: imports of libraries are missing, the syntax is what counts.
        _ => ("Call.java", "javac", &["-proc:none"]),
    };
    std::fs::write(folder.path().join(file), &snippet.code).unwrap();
    let ran = Command::new(program).args(args).arg(file).current_dir(folder.path()).output();
    let Ok(ran) = ran else {
        assert_eq!(snippet.language, "java", "{program} is needed");
        return;
    };
    let said = String::from_utf8_lossy(&ran.stderr).into_owned() + &String::from_utf8_lossy(&ran.stdout);
    if snippet.language == "java" {
        let syntax = ["expected", "illegal", "unclosed", "not a statement"];
        assert!(!syntax.iter().any(|word| said.contains(word)), "{said}\n{}", snippet.code);
    } else {
        assert!(ran.status.success() && said.is_empty(), "{said}\n{}", snippet.code);
    }
}

#[test]
fn code_for_a_solidity_method_is_read_by_every_language() {
    let contract = Interface::from_abi("Shop", "1", &json!([
        { "type": "function", "name": "order", "stateMutability": "nonpayable", "outputs": [], "inputs": [
            { "name": "lines", "type": "tuple[]", "components": [{ "name": "sku", "type": "bytes4" }, { "name": "count", "type": "uint256" }] },
            { "name": "to", "type": "address" }, { "name": "note", "type": "string" }, { "name": "gift", "type": "bool" }] },
        { "type": "function", "name": "find", "stateMutability": "view", "inputs": [{ "name": "id", "type": "int256" }],
          "outputs": [{ "name": "", "type": "string" }] }]), None, None).unwrap();
    let note = "it's \"quoted\" $HOME `x` ${y} \\ \n 存证 \u{2028}";
    let made = all(&contract, "order", &json!({ "note": note }));
    let ways: Vec<(&str, &str)> = made.iter().map(|one| (one.way.as_str(), one.language.as_str())).collect();
    assert_eq!(
        ways,
        [
            ("rest", "curl"),
            ("rest", "typescript"),
            ("rest", "python"),
            ("rest", "go"),
            ("rest", "java"),
            ("native", "typescript"),
            ("native", "python")
        ]
    );
    made.iter().for_each(reads);
    assert!(made[0].code.contains("/v1/contracts/ctr_abc/methods/order") && made[0].code.contains("'\\''"));
    let made = all(&contract, "find", &json!([-5]));
    made.iter().for_each(reads);
    let curl = made.iter().find(|one| one.way == "native" && one.language == "curl").unwrap();
    assert!(curl.code.contains("eth_call"));
    assert!(made.iter().all(|one| !one.title.is_empty() && one.title_zh.contains('(')));
}

#[test]
fn code_for_a_chaincode_method_is_read_by_every_language() {
    let document = json!({ "name": "basic", "engine": "fabric", "methods": [
        { "name": "CreateAsset", "parameters": [{ "name": "id", "type": "string" }, { "name": "size", "type": "integer" }] },
        { "name": "ReadAsset", "read_only": true, "parameters": [{ "name": "id", "type": "string" }] }] });
    let contract = Interface::from_document(&document).unwrap();
    let made = all(&contract, "CreateAsset", &json!({ "id": "a'b\"c\\" }));
    made.iter().for_each(reads);
    let native: Vec<&Snippet> = made.iter().filter(|one| one.way == "native").collect();
    assert_eq!(native.iter().map(|one| one.language.as_str()).collect::<Vec<_>>(), ["typescript", "go", "java"]);
    assert!(
        native[0].code.contains("submitTransaction(\"CreateAsset\", \"a'b\\\"c\\\\\", \"1\")"),
        "{}",
        native[0].code
    );
    let made = all(&contract, "ReadAsset", &json!(["a1"]));
    made.iter().for_each(reads);
    assert!(made.iter().any(|one| one.code.contains("EvaluateTransaction(\"ReadAsset\", \"a1\")")));
}
