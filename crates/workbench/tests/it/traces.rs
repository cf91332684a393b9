//! Real executions of the samples, explained.

use std::collections::BTreeMap;

use alloy_primitives::Address;
use konsort_workbench::compiler::{Compilation, CompileRequest, CompiledContract};
use konsort_workbench::samples;
use konsort_workbench::trace::{Trace, TraceInput, TracedContract, explain};
use konsort_workbench::values::{Suite, decode_event, decode_output, decode_revert};
use serde_json::json;

use crate::machine::{Done, Machine, word};
use crate::{SOLC, compilers};

async fn compile(sources: BTreeMap<String, String>) -> Compilation {
    let request = CompileRequest { sources, version: Some(SOLC.into()), ..CompileRequest::default() };
    let made = compilers().await.compile(request).await.unwrap();
    assert!(made.ok, "{:?}", made.diagnostics);
    made
}

async fn sample(id: &str) -> Compilation {
    let files = samples::files(id).unwrap();
    compile(files.into_iter().map(|(path, content)| (path, String::from_utf8(content).unwrap())).collect()).await
}

fn named<'a>(made: &'a Compilation, name: &str) -> &'a CompiledContract {
    made.contracts.iter().find(|contract| contract.name == name).unwrap()
}

fn text(address: Address) -> String {
    format!("0x{}", hex::encode(address))
}

fn trace<'a>(
    made: &'a Compilation,
    contracts: &[(Address, &'a CompiledContract)],
    to: Address,
    create: bool,
    done: &'a Done,
) -> Trace {
    let contracts =
        contracts.iter().map(|(address, contract)| (text(*address), TracedContract { compilation: made, contract }));
    explain(&TraceInput { steps: &done.steps, to: text(to), create, contracts: contracts.collect(), keys: Vec::new() })
}

fn changes(trace: &Trace) -> BTreeMap<&str, (Option<&str>, &str)> {
    trace.storage.iter().map(|one| (one.variable.as_str(), (one.before.as_deref(), one.after.as_str()))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn storage_is_shown_by_variable_and_failures_by_line() {
    let made = sample("solidity-points").await;
    let points = named(&made, "Points");
    let mut machine = Machine::new();
    let (at, created) = machine.deploy(points, &json!({ "title": "积分" }));
    let shown = trace(&made, &[(at, points)], at, true, &created);
    assert_eq!(changes(&shown)["name"].1, "\"积分\"", "{:?}", shown.storage);
    assert_eq!((shown.calls.method.as_str(), shown.calls.ok), ("constructor", true));
    let me = text(Machine::caller());
    assert!(machine.call(points, at, "setMerchant", &json!([me, true])).ok);
    let member = text(Address::repeat_byte(0xbb));
    let issued = machine.call(points, at, "issue", &json!([member, "500", "welcome"]));
    assert!(issued.ok);
    let shown = trace(&made, &[(at, points)], at, false, &issued);
    assert_eq!(
        (shown.calls.contract.as_str(), shown.calls.method.as_str()),
        ("Points", "issue(address,uint256,string)")
    );
    let found = changes(&shown);
    assert_eq!(found["issued"], (Some("0"), "500"), "{found:?}");
    assert_eq!(found[format!("balances[{member}]").as_str()], (Some("0"), "500"), "{found:?}");
    assert_eq!(found[format!("position[{me}]").as_str()], (Some("0"), "-500"), "{found:?}");
    assert_eq!(found.len(), 3);
    let event = decode_event(&points.interface, &issued.logs[0].0, &issued.logs[0].1, Suite::Keccak).unwrap();
    assert_eq!((event.name.as_str(), &event.arguments["reason"]), ("Issued", &json!("welcome")));
    let read = machine.call(points, at, "balances", &json!([member]));
    assert_eq!(decode_output(points.interface.method("balances", None).unwrap(), &read.output).unwrap(), json!("500"));
    let refused = machine.call(points, at, "transfer", &json!([member, "7"]));
    assert!(!refused.ok);
    let why = decode_revert(Some(&points.interface), &refused.output, Suite::Keccak);
    assert!(why.message.starts_with(&format!("NotEnough(member: {me}, has: 0, needed: 7)")), "{}", why.message);
    let shown = trace(&made, &[(at, points)], at, false, &refused);
    assert!(shown.storage.is_empty() && !shown.calls.ok, "what was undone is no change");
    let step = &shown.steps[shown.failed_step.unwrap() as usize];
    let line = shown.sources[&step.file].lines().nth(step.line as usize - 1).unwrap();
    // The optimizer merges equal ends of refusals, so that it may be the line of another one; which one, the reason above tells.
    assert!(step.op == "REVERT" && line.contains("revert "), "{step:?} {line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nested_mappings_structs_and_arrays_have_names() {
    let made = sample("solidity-evidence").await;
    let evidence = named(&made, "Evidence");
    let mut machine = Machine::new();
    let (at, _) = machine.deploy(evidence, &json!([]));
    let hash = format!("0x{}", "cd".repeat(32));
    let deposited = machine.call(
        evidence,
        at,
        "deposit",
        &json!([hash, "photo", "a note that is longer than one slot of storage can hold"]),
    );
    assert!(deposited.ok);
    let shown = trace(&made, &[(at, evidence)], at, false, &deposited);
    let found = changes(&shown);
    let name = |part: &str| format!("deposits[{hash}].{part}");
    assert_eq!(found[name("state").as_str()].1, "1", "{found:?}");
    assert_eq!(found[name("owner").as_str()].1, text(Machine::caller()));
    assert_eq!(found[name("kind").as_str()].1, "\"photo\"");
    assert_eq!(found[name("note").as_str()].1, "length 55");
    assert!(found.keys().any(|key| key.starts_with(&name("note[32*"))), "{found:?}");
    let attested = machine.call(evidence, at, "attest", &json!([hash, "seen"]));
    let shown = trace(&made, &[(at, evidence)], at, false, &attested);
    let found = changes(&shown);
    let first = format!("attestations[{hash}][0].");
    assert_eq!(found[format!("attestations[{hash}]").as_str()].1, "length 1", "{found:?}");
    assert_eq!(found[format!("{first}witness").as_str()].1, text(Machine::caller()));
    assert_eq!(found[format!("{first}statement").as_str()].1, "\"seen\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_between_contracts_are_a_tree() {
    let source = "// SPDX-License-Identifier: Apache-2.0\npragma solidity ^0.8.11;\n\
        contract Inner { uint256 public x; function set(uint256 v) external { require(v < 10, \"too large\"); x = v; } function noop() external {} }\n\
        contract Outer { Inner public inner; uint256 public tries;\n\
        constructor() { inner = new Inner(); }\n\
        function attempt(uint256 v) external { tries += 1; try inner.set(v) {} catch {} inner.noop(); }\n\
        function other() external {} }\n";
    let made = compile(BTreeMap::from([("O.sol".to_owned(), source.to_owned())])).await;
    let (outer, inner) = (named(&made, "Outer"), named(&made, "Inner"));
    let mut machine = Machine::new();
    let (at, created) = machine.deploy(outer, &json!([]));
    let shown = trace(&made, &[(at, outer)], at, true, &created);
    assert_eq!(shown.calls.calls.len(), 1);
    assert_eq!(shown.calls.calls[0].kind, "CREATE");
    let inner_at: Address = shown.calls.calls[0].address.parse().unwrap();
    let answer = machine.call(outer, at, "inner", &json!([]));
    assert_eq!(word(inner_at).to_be_bytes_vec(), answer.output, "the created address is known");
    let both = [(at, outer), (inner_at, inner)];
    let tried = machine.call(outer, at, "attempt", &json!([12]));
    assert!(tried.ok);
    let shown = trace(&made, &both, at, false, &tried);
    let [set, noop] = &shown.calls.calls[..] else { panic!("{:?}", shown.calls) };
    assert_eq!((set.contract.as_str(), set.method.as_str(), set.ok), ("Inner", "set(uint256)", false));
    assert_eq!((noop.method.as_str(), noop.ok), ("noop()", true));
    assert_eq!(shown.failed_step, None, "the failure was caught");
    let found = changes(&shown);
    assert_eq!((found.len(), found["tries"]), (1, (Some("0"), "1")), "{found:?}");
    let kept = machine.call(outer, at, "attempt", &json!([3]));
    let shown = trace(&made, &both, at, false, &kept);
    let x = shown.storage.iter().find(|one| one.variable == "x").unwrap();
    assert_eq!((x.address.as_str(), x.after.as_str()), (text(inner_at).as_str(), "3"));
    let inside = &shown.steps[shown.calls.calls[0].first_step as usize + 5];
    assert_eq!((inside.depth, inside.address.as_str()), (2, text(inner_at).as_str()));
}

#[test]
fn strange_traces_are_read_without_panic() {
    let steps = [
        json!({}),
        json!({ "depth": 5, "op": "SSTORE" }),
        json!({ "depth": 0, "op": "CALL", "stack": ["zz"] }),
        json!({ "depth": 3, "op": "SLOAD", "stack": ["0x1"], "pc": 1 }),
        json!([1]),
        json!("x"),
    ];
    let shown = explain(&TraceInput { steps: &steps, ..TraceInput::default() });
    assert!(shown.steps.len() <= steps.len());
    assert!(explain(&TraceInput::default()).steps.is_empty());
}
