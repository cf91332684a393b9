//! Interface documents.

use konsort_workbench::interface::{Engine, Interface, InterfaceError, json_schema};
use proptest::prelude::*;
use serde_json::{Value, json};

fn shop() -> Value {
    json!([
        { "type": "constructor", "stateMutability": "payable", "inputs": [{ "name": "title", "type": "string" }] },
        { "type": "function", "name": "transfer", "stateMutability": "nonpayable",
          "inputs": [{ "name": "to", "type": "address" }, { "name": "value", "type": "uint" }],
          "outputs": [{ "name": "", "type": "bool" }] },
        { "type": "function", "name": "find", "stateMutability": "view", "inputs": [{ "name": "id", "type": "uint256" }],
          "outputs": [{ "name": "order", "type": "tuple", "internalType": "struct Shop.Order", "components": [
              { "name": "buyer", "type": "address" },
              { "name": "lines", "type": "tuple[2][]", "components": [
                  { "name": "sku", "type": "bytes8" }, { "name": "count", "type": "int16" }] }] }] },
        { "type": "function", "name": "find", "stateMutability": "view", "outputs": [],
          "inputs": [{ "name": "id", "type": "uint256" }, { "name": "deep", "type": "bool" }] },
        { "name": "old", "constant": true, "inputs": [], "outputs": [] },
        { "type": "event", "name": "Sold", "anonymous": false,
          "inputs": [{ "name": "buyer", "type": "address", "indexed": true }, { "name": "amount", "type": "uint256", "indexed": false }] },
        { "type": "error", "name": "SoldOut", "inputs": [{ "name": "sku", "type": "bytes8" }] },
        { "type": "receive", "stateMutability": "payable" },
    ])
}

fn read() -> Interface {
    let devdoc = json!({ "title": "A shop", "methods": { "transfer(address,uint256)": {
        "details": "checks first", "params": { "to": "who gets it" }, "returns": { "_0": "always true" } } } });
    let userdoc = json!({ "notice": "Sells things.", "methods": { "transfer(address,uint256)": { "notice": "Passes units on." } },
        "errors": { "SoldOut(bytes8)": [{ "notice": "Nothing is left." }] } });
    Interface::from_abi("Shop", "1.0", &shop(), Some(&devdoc), Some(&userdoc)).unwrap()
}

#[test]
fn an_abi_with_its_documentation_becomes_a_document() {
    let contract = read();
    assert_eq!(contract.description, "A shop\nSells things.");
    let transfer = contract.method("transfer", None).unwrap();
    assert_eq!(transfer.signature, "transfer(address,uint256)");
    assert_eq!(transfer.description, "Passes units on.\nchecks first");
    assert_eq!(transfer.details["selector"], "0xa9059cbb");
    assert_eq!(transfer.details["selector_sm3"].as_str().unwrap().len(), 10);
    assert_ne!(transfer.details["selector_sm3"], "0xa9059cbb");
    assert_eq!((transfer.parameters[0].description.as_str(), transfer.read_only), ("who gets it", false));
    assert_eq!(transfer.returns[0].description, "always true");
    assert!(contract.method("old", None).unwrap().read_only, "constant of old compilers");
    let find = contract.method("find", Some(1)).unwrap();
    assert_eq!(find.returns[0].schema["properties"]["lines"]["items"]["minItems"], 2);
    let count = &find.returns[0].schema["properties"]["lines"]["items"]["items"]["properties"]["count"];
    assert_eq!((count["minimum"].as_i64(), count["maximum"].as_i64()), (Some(-32768), Some(32767)));
    assert_eq!(find.returns[0].internal_type, "struct Shop.Order");
    assert_eq!(contract.errors[0].description, "Nothing is left.");
    assert_eq!(contract.engine_details["receive"]["payable"], true);
}

#[test]
fn overloads_are_told_apart_by_count_or_signature() {
    let contract = read();
    assert!(matches!(contract.method("find", None), Err(InterfaceError::Ambiguous { .. })));
    assert_eq!(contract.method("find", Some(2)).unwrap().parameters.len(), 2);
    assert_eq!(contract.method("find(uint256)", None).unwrap().parameters.len(), 1);
    let error = contract.method("fnd", None).unwrap_err().to_string();
    assert!(error.contains("has no method fnd; it has: transfer, find"), "{error}");
}

#[test]
fn the_abi_comes_back_from_the_document() {
    let contract = read();
    let again = Interface::from_abi("Shop", "1.0", &contract.to_abi(), None, None).unwrap();
    assert_eq!(again.methods.len(), 4);
    for (one, other) in contract.methods.iter().zip(&again.methods) {
        assert_eq!((&one.signature, one.read_only, &one.details), (&other.signature, other.read_only, &other.details));
    }
    assert_eq!(contract.engine_details, again.engine_details);
    let declared = Interface::from_document(&serde_json::to_value(&contract).unwrap()).unwrap();
    assert_eq!(declared, contract, "a document that was published can be given back");
}

#[test]
fn firefly_documents_go_both_ways() {
    let contract = read();
    let ffi = contract.to_ffi();
    let find = &ffi["methods"][1];
    assert_eq!(find["returns"][0]["schema"]["properties"]["lines"]["details"]["type"], "tuple[2][]");
    assert_eq!(find["returns"][0]["schema"]["properties"]["buyer"]["details"]["index"], 0);
    let again = Interface::from_ffi(&ffi, Engine::Bcos).unwrap();
    let signatures = |contract: &Interface| -> Vec<String> {
        contract.methods.iter().map(|method| method.signature.clone()).collect()
    };
    assert_eq!(signatures(&again), signatures(&contract));
    assert_eq!(again.methods[1].returns, contract.methods[1].returns, "the order of a tuple's parts survives");
    assert!(again.events[0].parameters[0].indexed);
    let fabric = json!({ "name": "notes", "methods": [
        { "name": "write", "params": [{ "name": "text", "schema": { "type": "string" } }], "returns": [] }] });
    let notes = Interface::from_ffi(&fabric, Engine::Fabric).unwrap();
    assert_eq!(notes.methods[0].signature, "write(string)");
    assert_eq!(Interface::from_ffi(&notes.to_ffi(), Engine::Fabric).unwrap(), notes);
}

#[test]
fn metadata_of_the_node_contract_api_is_read() {
    let metadata: Value = serde_json::from_str(include_str!("../data/node-metadata.json")).unwrap();
    let contract = Interface::from_fabric_metadata("basic", "1.0", &metadata).unwrap();
    let create = contract.method("CreateAsset", None).unwrap();
    assert!(!create.read_only);
    let kinds: Vec<(&str, &str)> =
        create.parameters.iter().map(|parameter| (parameter.name.as_str(), parameter.kind.as_str())).collect();
    assert_eq!(kinds[0], ("id", "string"));
    assert_eq!(kinds[2], ("size", "number"));
    let read = contract.method("ReadAsset", None).unwrap();
    assert!(read.read_only);
    assert_eq!(
        (read.returns[0].kind.as_str(), &read.returns[0].schema["properties"]["Size"]["type"]),
        ("Asset", &json!("number"))
    );
    assert!(
        contract.methods.iter().all(|method| !method.name.contains("GetMetadata")),
        "the system contract stays out"
    );
}

#[test]
fn metadata_of_the_go_contract_api_is_read() {
    let metadata = json!({
        "info": { "title": "undefined", "version": "latest" },
        "contracts": {
            "Admin": { "name": "Admin", "info": {}, "transactions": [{ "name": "Close", "tag": ["submit", "SUBMIT"] }] },
            "Basic": { "name": "Basic", "default": true, "transactions": [
                { "name": "Read", "tag": ["evaluate", "EVALUATE"], "parameters": [{ "name": "param0", "schema": { "type": "string" } }],
                  "returns": { "schema": { "$ref": "#/components/schemas/Node" } } }] },
            "org.hyperledger.fabric": { "transactions": [{ "name": "GetMetadata" }] },
        },
        "components": { "schemas": { "Node": { "$id": "Node", "type": "object", "properties": {
            "next": { "$ref": "#/components/schemas/Node" } } } } },
    });
    let contract = Interface::from_fabric_metadata("x", "", &metadata).unwrap();
    let names: Vec<&str> = contract.methods.iter().map(|method| method.name.as_str()).collect();
    assert_eq!(names, ["Admin:Close", "Read"]);
    let read = contract.method("Read", None).unwrap();
    assert!(read.read_only && !contract.methods[0].read_only);
    assert_eq!(read.returns[0].schema["properties"]["next"]["type"], "object", "a type that contains itself ends");
}

#[test]
fn what_is_wrong_is_named_by_its_place() {
    for (abi, place) in [
        (json!({}), "abi"),
        (json!([{ "type": "function", "name": "a b", "inputs": [] }]), "[0].name"),
        (json!([{ "type": "function", "name": "a", "inputs": [{ "type": "uint7" }] }]), "[0].inputs[0].type"),
        (
            json!([{ "type": "function", "name": "a", "inputs": [{ "type": "tuple", "components": [{ "type": "bytes33" }] }] }]),
            "[0].inputs[0].components[0].type",
        ),
        (json!([{ "type": "function", "name": "a", "inputs": [{ "type": "uint8[99999999]" }] }]), "[0].inputs[0].type"),
        (
            json!([{ "type": "function", "name": "a", "inputs": [{ "type": "uint8[60000][60000]" }] }]),
            "[0].inputs[0].type",
        ),
        (json!([{ "type": "function", "name": "a", "inputs": [{ "type": "uint8[2" }] }]), "[0].inputs[0].type"),
        (json!([{ "type": "trick" }]), "[0].type"),
    ] {
        let error = Interface::from_abi("x", "", &abi, None, None).unwrap_err();
        let InterfaceError::Malformed { path, .. } = &error else { panic!("{error}") };
        assert_eq!(path, place, "{error}");
    }
    assert!(
        Interface::from_document(&json!({ "name": "x", "engine": "fabric", "methods": [
        { "name": "a", "parameters": [{ "name": "p", "type": "Asset" }] }] }))
        .is_err(),
        "an own type needs a schema"
    );
}

#[test]
fn rest_of_a_contract_is_described() {
    let openapi = read().to_openapi("/v1/contracts/ctr_1/methods");
    let paths = openapi["paths"].as_object().unwrap();
    assert_eq!(paths.len(), 4, "overloads have paths of their own");
    assert!(paths.contains_key("/v1/contracts/ctr_1/methods/find%28uint256%29"), "{:?}", paths.keys());
    let transfer = &openapi["paths"]["/v1/contracts/ctr_1/methods/transfer"]["post"];
    let arguments = &transfer["requestBody"]["content"]["application/json"]["schema"]["properties"]["arguments"];
    assert_eq!(arguments["properties"]["to"]["format"], "address");
}

#[test]
fn the_published_schema_is_the_one_of_the_code() {
    let text = format!("{}\n", serde_json::to_string_pretty(&json_schema()).unwrap());
    let made = crate::kept("interface.schema.json");
    std::fs::create_dir_all(made.parent().unwrap()).unwrap();
    std::fs::write(&made, &text).unwrap();
    let published = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/interface.schema.json");
    let found = std::fs::read_to_string(published).unwrap_or_default();
    assert!(found == text, "copy {} to docs/interface.schema.json", made.display());
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        prop_oneof![
            "function",
            "tuple",
            "tuple\\[\\]",
            "uint[0-9]{0,3}(\\[[0-9]{0,6}\\]){0,2}",
            "[a-z\\[\\]0-9]{0,12}"
        ]
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        let key = prop_oneof![
            "type",
            "name",
            "inputs",
            "outputs",
            "components",
            "contracts",
            "transactions",
            "schema",
            "methods",
            "params"
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(key, inner, 0..5).prop_map(|map| json!(map)),
        ]
    })
}

proptest! {
    #[test]
    fn nothing_from_outside_panics(value in any_json()) {
        let _ = Interface::from_abi("x", "", &value, Some(&value), Some(&value)).map(|contract| (contract.to_ffi(), contract.to_openapi("/x")));
        let _ = Interface::from_fabric_metadata("x", "", &value);
        let _ = Interface::from_document(&value);
        let _ = Interface::from_ffi(&value, Engine::Bcos);
        let _ = Interface::from_ffi(&value, Engine::Fabric);
    }
}
