//! Values to call data and back, against an independent implementation of the ABI.

use alloy_dyn_abi::DynSolValue;
use alloy_primitives::{Address, B256, I256, U256};
use konsort_workbench::interface::{Interface, Method, Parameter};
use konsort_workbench::values::{
    Suite, decode_call, decode_event, decode_output, decode_revert, encode_call, encode_constructor, fabric_arguments,
    fabric_result, fabric_untyped,
};
use proptest::prelude::*;
use serde_json::{Value, json};

fn abi(entries: Value) -> Interface {
    Interface::from_abi("C", "", &entries, None, None).unwrap()
}

fn method(inputs: Value, outputs: Value) -> Method {
    let contract = abi(
        json!([{ "type": "function", "name": "f", "stateMutability": "view", "inputs": inputs, "outputs": outputs }]),
    );
    contract.methods[0].clone()
}

/// Numbers from a seed.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> usize {
        (self.next() % limit) as usize
    }

    fn word(&mut self) -> [u8; 32] {
        std::array::from_fn(|_| self.next() as u8)
    }
}

fn entry(name: String, kind: &str, components: Vec<Value>) -> Value {
    json!({ "name": name, "type": kind, "components": components })
}

/// A type, a value in our form, and the same value for the other implementation.
fn triple(dice: &mut Dice, depth: usize, name: String) -> (Value, Value, DynSolValue) {
    let choice = dice.below(if depth > 2 { 7 } else { 10 });
    match choice {
        0 => {
            let is = dice.next().is_multiple_of(2);
            (entry(name, "bool", vec![]), json!(is), DynSolValue::Bool(is))
        }
        1 => {
            let bits = 8 * (1 + dice.below(32));
            let number = U256::from_be_bytes(dice.word()) >> (256 - bits);
            let shown = if bits <= 48 { json!(number.to::<u64>()) } else { json!(number.to_string()) };
            (entry(name, &format!("uint{bits}"), vec![]), shown, DynSolValue::Uint(number, bits))
        }
        2 => {
            let bits = 8 * (1 + dice.below(32));
            let number = I256::from_raw(U256::from_be_bytes(dice.word())).asr(256 - bits);
            let shown = if bits <= 48 { json!(i64::try_from(number).unwrap()) } else { json!(number.to_string()) };
            (entry(name, &format!("int{bits}"), vec![]), shown, DynSolValue::Int(number, bits))
        }
        3 => {
            let address = Address::from_slice(&dice.word()[..20]);
            (
                entry(name, "address", vec![]),
                json!(format!("0x{}", hex::encode(address))),
                DynSolValue::Address(address),
            )
        }
        4 => {
            let bytes: Vec<u8> = (0..dice.below(70)).map(|_| dice.next() as u8).collect();
            (entry(name, "bytes", vec![]), json!(format!("0x{}", hex::encode(&bytes))), DynSolValue::Bytes(bytes))
        }
        5 => {
            let text: String =
                (0..dice.below(40)).map(|_| char::from_u32(0x4e00 + dice.below(999) as u32).unwrap()).collect();
            (entry(name, "string", vec![]), json!(text), DynSolValue::String(text))
        }
        6 => {
            let length = 1 + dice.below(32);
            let mut word = dice.word();
            word[length..].fill(0);
            let shown = format!("0x{}", hex::encode(&word[..length]));
            (
                entry(name, &format!("bytes{length}"), vec![]),
                json!(shown),
                DynSolValue::FixedBytes(B256::from(word), length),
            )
        }
        7 => {
            let parts: Vec<_> = (0..=dice.below(4)).map(|index| triple(dice, depth + 1, format!("p{index}"))).collect();
            let components = parts.iter().map(|(kind, ..)| kind.clone()).collect();
            let shown: Value = parts
                .iter()
                .map(|(kind, value, _)| (kind["name"].as_str().unwrap().to_owned(), value.clone()))
                .collect::<serde_json::Map<_, _>>()
                .into();
            (
                entry(name, "tuple", components),
                shown,
                DynSolValue::Tuple(parts.into_iter().map(|(_, _, value)| value).collect()),
            )
        }
        _ => {
            let seed = dice.next();
            let fixed = choice == 8;
            let count = if fixed { 1 + dice.below(3) } else { dice.below(4) };
            // The element's type must be the same for each: the shape comes from one seed, only leaves could differ.
            let (kind, value, other) = triple(&mut Dice(seed), depth + 1, name);
            let suffix = if fixed { format!("[{count}]") } else { "[]".to_owned() };
            let mut kind = kind;
            kind["type"] = format!("{}{suffix}", kind["type"].as_str().unwrap()).into();
            let items = vec![other; count];
            let other = if fixed { DynSolValue::FixedArray(items) } else { DynSolValue::Array(items) };
            (kind, json!(vec![value; count]), other)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn encoding_and_decoding_agree_with_another_implementation(seed in any::<u64>()) {
        let mut dice = Dice(seed);
        let count = 1 + dice.below(4);
        let triples: Vec<_> = (0..count).map(|index| triple(&mut dice, 0, format!("a{index}"))).collect();
        let kinds: Vec<Value> = triples.iter().map(|(kind, ..)| kind.clone()).collect();
        let values: serde_json::Map<String, Value> =
            triples.iter().map(|(kind, value, _)| (kind["name"].as_str().unwrap().to_owned(), value.clone())).collect();
        let values = Value::Object(values);
        let made = method(json!(kinds), json!(kinds));
        let data = encode_call(&made, &values, Suite::Keccak).unwrap();
        let expected = DynSolValue::Tuple(triples.into_iter().map(|(_, _, value)| value).collect()).abi_encode_params();
        prop_assert_eq!(hex::encode(&data[4..]), hex::encode(&expected));
        let back = decode_output(&made, &data[4..]).unwrap();
        prop_assert_eq!(&back, if count == 1 { &values["a0"] } else { &values });
        let contract = abi(json!([{ "type": "function", "name": "f", "inputs": kinds, "outputs": [] }]));
        prop_assert_eq!(decode_call(&contract, &data, Suite::Keccak).unwrap().arguments, values);
    }

    #[test]
    fn hostile_data_is_read_without_panic_and_within_bounds(seed in any::<u64>(), words in prop::collection::vec(0_u8..96, 0..60)) {
        // Small words, so that offsets and lengths often lead somewhere.
        let data: Vec<u8> = words.iter().flat_map(|low| { let mut word = [0; 32]; word[31] = *low; word }).collect();
        let mut dice = Dice(seed);
        let kinds: Vec<Value> = (0..3).map(|index| triple(&mut dice, 0, format!("a{index}")).0).collect();
        let made = method(json!([]), json!(kinds));
        if let Ok(value) = decode_output(&made, &data) {
            prop_assert!(value.to_string().len() < 1_000_000);
        }
        let _ = decode_revert(None, &data, Suite::Keccak);
    }
}

#[test]
fn offsets_that_point_at_the_same_bytes_again_and_again_are_refused() {
    // 2000 elements that all are the same 64,000 bytes: 128 MB from 128 kB.
    let made = method(json!([]), json!([{ "name": "all", "type": "bytes[]" }]));
    let word = |number: usize| U256::from(number).to_be_bytes::<32>();
    let mut data = word(32).to_vec();
    data.extend(word(2000));
    (0..2000).for_each(|_| data.extend(word(2000 * 32)));
    data.extend(word(64_000));
    data.resize(data.len() + 64_000, 7);
    let error = decode_output(&made, &data).unwrap_err();
    assert!(error.message.contains("too often"), "{error}");
    assert_eq!(error.code, "bad_data");
}

#[test]
fn every_fault_names_its_field() {
    let lines = json!({ "name": "lines", "type": "tuple[]", "components": [
        { "name": "sku", "type": "bytes4" }, { "name": "amount", "type": "uint8" }, { "name": "to", "type": "address" },
        { "name": "delta", "type": "int8" }, { "name": "pair", "type": "bool[2]" }] });
    let made = method(
        json!([{ "name": "order", "type": "tuple", "components": [lines] }, { "name": "note", "type": "string" }]),
        json!([]),
    );
    let good = json!({ "sku": "0x01020304", "amount": 255, "to": "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "delta": -128, "pair": [true, false] });
    let call = |change: &dyn Fn(&mut Value)| {
        let mut arguments = json!({ "order": { "lines": [good.clone(), good.clone()] }, "note": "x" });
        change(&mut arguments);
        encode_call(&made, &arguments, Suite::Keccak)
    };
    call(&|_| {}).unwrap();
    call(&|all| *all = json!([[[good.clone()]], "in order"])).unwrap();
    call(&|all| all["order"]["lines"][0]["sku"] = json!({ "text": "ab" })).unwrap();
    call(&|all| all["order"]["lines"][0]["sku"] = json!({ "base64": "AQIDBA==" })).unwrap();
    let line =
        |field: &'static str, value: Value| move |all: &mut Value| all["order"]["lines"][1][field] = value.clone();
    #[allow(clippy::type_complexity, reason = "a table of the test")]
    let faults: Vec<(Box<dyn Fn(&mut Value)>, &str, &str)> = vec![
        (Box::new(line("amount", json!(256))), "arguments.order.lines[1].amount", "out_of_range"),
        (Box::new(line("amount", json!("-1"))), "arguments.order.lines[1].amount", "out_of_range"),
        (Box::new(line("amount", json!(1.5))), "arguments.order.lines[1].amount", "wrong_type"),
        (Box::new(line("amount", json!("12x"))), "arguments.order.lines[1].amount", "wrong_type"),
        (Box::new(line("amount", json!(""))), "arguments.order.lines[1].amount", "wrong_type"),
        (Box::new(line("amount", json!("9".repeat(79)))), "arguments.order.lines[1].amount", "out_of_range"),
        (Box::new(line("amount", json!("9".repeat(100_000)))), "arguments.order.lines[1].amount", "out_of_range"),
        (Box::new(line("delta", json!(128))), "arguments.order.lines[1].delta", "out_of_range"),
        (Box::new(line("delta", json!("-0x81"))), "arguments.order.lines[1].delta", "out_of_range"),
        (Box::new(line("sku", json!("0x0102"))), "arguments.order.lines[1].sku", "wrong_length"),
        (Box::new(line("sku", json!("01020304"))), "arguments.order.lines[1].sku", "bad_hex"),
        (Box::new(line("sku", json!("0x0102030g"))), "arguments.order.lines[1].sku", "bad_hex"),
        (Box::new(line("to", json!("0x12"))), "arguments.order.lines[1].to", "bad_address"),
        (
            Box::new(line("to", json!("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD"))),
            "arguments.order.lines[1].to",
            "bad_checksum",
        ),
        (Box::new(line("pair", json!([true]))), "arguments.order.lines[1].pair", "wrong_length"),
        (Box::new(line("pair", json!([true, 1]))), "arguments.order.lines[1].pair[1]", "wrong_type"),
        (Box::new(line("extra", json!(1))), "arguments.order.lines[1].extra", "unknown_field"),
        (Box::new(|all| all["note"] = Value::Null), "arguments.note", "wrong_type"),
        (Box::new(|all| *all = json!({ "order": { "lines": [] } })), "arguments.note", "missing"),
        (Box::new(|all| *all = json!([1])), "arguments", "wrong_length"),
        (Box::new(|all| *all = json!("x")), "arguments", "wrong_type"),
    ];
    for (change, field, code) in faults {
        let error = call(&*change).unwrap_err();
        assert_eq!((error.field.as_str(), error.code), (field, code), "{error}");
        assert!(!error.message.is_empty() && error.message_zh.chars().any(|letter| letter > '\u{4e00}'), "{error:?}");
    }
}

#[test]
fn constructors_and_selectors_of_both_hashes() {
    let contract = abi(json!([{ "type": "constructor", "inputs": [{ "name": "first", "type": "uint256" }] }]));
    let data = encode_constructor(&contract, "0x6001", &json!({ "first": "0x10" })).unwrap();
    assert_eq!(hex::encode(&data), format!("6001{:064x}", 16));
    assert_eq!(encode_constructor(&contract, "0x", &json!([1])).unwrap_err().code, "missing");
    let unlinked = "0x73__$1234567890123456789012345678901234$__";
    assert_eq!(encode_constructor(&contract, unlinked, &json!([1])).unwrap_err().code, "unsupported");
    let made = method(json!([]), json!([]));
    assert_eq!(encode_call(&made, &Value::Null, Suite::Keccak).unwrap().len(), 4);
    assert_ne!(
        encode_call(&made, &json!([]), Suite::Sm3).unwrap(),
        encode_call(&made, &json!({}), Suite::Keccak).unwrap()
    );
}

#[test]
fn events_are_read_from_topics_and_data() {
    let contract = abi(json!([{ "type": "event", "name": "Sold", "inputs": [
        { "name": "buyer", "type": "address", "indexed": true }, { "name": "amount", "type": "uint256", "indexed": false },
        { "name": "name", "type": "string", "indexed": true }, { "name": "note", "type": "string", "indexed": false }] }]));
    let data = DynSolValue::Tuple(vec![DynSolValue::Uint(U256::from(7), 256), DynSolValue::String("hi".into())])
        .abi_encode_params();
    let mut buyer = vec![0; 32];
    buyer[31] = 9;
    for suite in [Suite::Keccak, Suite::Sm3] {
        let topics = [suite.hash("Sold(address,uint256,string,string)").to_vec(), buyer.clone(), vec![5; 32]];
        let found = decode_event(&contract, &topics, &data, Suite::Keccak).unwrap();
        assert_eq!(found.name, "Sold");
        assert_eq!(found.arguments["buyer"], format!("0x{:040x}", 9));
        assert_eq!((&found.arguments["amount"], &found.arguments["note"]), (&json!("7"), &json!("hi")));
        assert_eq!(found.arguments["name"]["hash"], format!("0x{}", "05".repeat(32)));
        assert!(decode_event(&contract, &topics[..2], &data, Suite::Keccak).is_none());
        assert!(decode_event(&contract, &topics, &data[..32], Suite::Keccak).is_none());
    }
    assert!(decode_event(&contract, &[], &data, Suite::Keccak).is_none());
}

#[test]
fn reverts_are_said_in_words() {
    let contract = abi(json!([{ "type": "error", "name": "NotEnough", "inputs": [
        { "name": "has", "type": "uint256" }, { "name": "needed", "type": "uint256" }] }]));
    let with = |suite: Suite, signature: &str, values: Vec<DynSolValue>| {
        let mut data = suite.hash(signature)[..4].to_vec();
        data.extend(DynSolValue::Tuple(values).abi_encode_params());
        decode_revert(Some(&contract), &data, Suite::Keccak)
    };
    let number = |number: u64| DynSolValue::Uint(U256::from(number), 256);
    let found = with(Suite::Keccak, "Error(string)", vec![DynSolValue::String("too late".into())]);
    assert_eq!((found.kind.as_str(), found.message.as_str()), ("error", "too late"));
    let found = with(Suite::Keccak, "Panic(uint256)", vec![number(0x11)]);
    assert!(found.message.contains("overflow") && found.message.contains("0x11") && found.message_zh.contains("溢出"));
    let found = with(Suite::Sm3, "NotEnough(uint256,uint256)", vec![number(3), number(5)]);
    assert_eq!((found.kind.as_str(), found.message.as_str()), ("custom", "NotEnough(has: 3, needed: 5)"));
    assert_eq!(found.arguments["needed"], "5");
    assert_eq!(decode_revert(None, &[], Suite::Keccak).kind, "empty");
    assert_eq!(decode_revert(Some(&contract), &[1, 2, 3], Suite::Keccak).kind, "unknown");
    assert_eq!(decode_revert(Some(&contract), &[8, 0xc3, 0x79, 0xa0, 1], Suite::Keccak).kind, "unknown");
}

fn chaincode() -> Method {
    let asset = json!({ "type": "object", "properties": { "ID": { "type": "string" }, "Size": { "type": "number", "minimum": 0 } },
        "required": ["ID"], "additionalProperties": false });
    let contract = Interface::from_document(
        &json!({ "name": "x", "engine": "fabric", "methods": [{ "name": "put", "parameters": [
        { "name": "id", "type": "string" }, { "name": "size", "type": "integer" }, { "name": "asset", "type": "Asset", "schema": asset },
        { "name": "tags", "type": "string[]", "schema": { "type": "array", "items": { "enum": ["a", "b"] } } }] }] }),
    );
    contract.unwrap().methods[0].clone()
}

#[test]
fn chaincode_arguments_are_texts_checked_by_their_schema() {
    let made = chaincode();
    let texts =
        fabric_arguments(&made, &json!({ "id": "007", "size": "5", "asset": { "ID": "x" }, "tags": ["a"] })).unwrap();
    assert_eq!(texts, ["007", "5", "{\"ID\":\"x\"}", "[\"a\"]"]);
    assert_eq!(fabric_arguments(&made, &json!(["007", 5, "{\"ID\": \"x\"}", []])).unwrap()[2], "{\"ID\":\"x\"}");
    for (arguments, field, code) in [
        (json!({ "id": 7, "size": 5, "asset": { "ID": "x" }, "tags": [] }), "arguments.id", "wrong_type"),
        (json!({ "id": "7", "size": "five", "asset": { "ID": "x" }, "tags": [] }), "arguments.size", "wrong_type"),
        (json!({ "id": "7", "size": 5.5, "asset": { "ID": "x" }, "tags": [] }), "arguments.size", "wrong_type"),
        (json!({ "id": "7", "size": 5, "asset": {}, "tags": [] }), "arguments.asset.ID", "missing"),
        (
            json!({ "id": "7", "size": 5, "asset": { "ID": "x", "Size": -1 }, "tags": [] }),
            "arguments.asset.Size",
            "out_of_range",
        ),
        (
            json!({ "id": "7", "size": 5, "asset": { "ID": "x", "y": 1 }, "tags": [] }),
            "arguments.asset.y",
            "unknown_field",
        ),
        (
            json!({ "id": "7", "size": 5, "asset": { "ID": "x" }, "tags": ["a", "c"] }),
            "arguments.tags[1]",
            "out_of_range",
        ),
        (json!({ "id": "7", "size": 5, "asset": { "ID": "x" } }), "arguments.tags", "missing"),
        (json!({ "id": "7", "sise": 5 }), "arguments.sise", "unknown_field"),
        (json!(["7"]), "arguments", "wrong_length"),
        (json!(7), "arguments", "wrong_type"),
    ] {
        let error = fabric_arguments(&made, &arguments).unwrap_err();
        assert_eq!((error.field.as_str(), error.code), (field, code), "{error}");
    }
    assert_eq!(fabric_untyped(&json!(["a", 1, { "b": true }])).unwrap(), ["a", "1", "{\"b\":true}"]);
    assert!(fabric_untyped(&json!({ "a": 1 })).is_err());
}

#[test]
fn large_numbers_of_chaincode_keep_all_their_digits() {
    let made = chaincode();
    let large = "123456789012345678901234567890";
    let asset = format!("{{\"ID\":\"x\",\"Size\":{large}}}");
    let texts = fabric_arguments(&made, &json!(["1", large, asset, []])).unwrap();
    assert_eq!((texts[1].as_str(), texts[2].as_str()), (large, asset.as_str()));
    assert_eq!(fabric_arguments(&made, &json!(["1", 5.0, { "ID": "x" }, []])).unwrap()[1], "5");
    assert_eq!(fabric_arguments(&made, &json!(["1", u64::MAX, { "ID": "x" }, []])).unwrap()[1], u64::MAX.to_string());
    // What a JSON number has lost already is refused rather than guessed.
    let lost: Value = serde_json::from_str(&format!("[\"1\", {large}, {{\"ID\":\"x\"}}, []]")).unwrap();
    assert_eq!(fabric_arguments(&made, &lost).unwrap_err().field, "arguments[1]");
    assert_eq!(fabric_untyped(&json!([{ "a": [1e30] }])).unwrap_err().field, "arguments[0]");
    assert_eq!(fabric_result(&made, large.as_bytes()), json!(large));
    assert_eq!(fabric_result(&made, asset.as_bytes()), json!(asset));
    assert_eq!(fabric_result(&made, b"-0.12345678901234567"), json!("-0.12345678901234567"));
    assert_eq!(fabric_result(&made, b"18446744073709551615"), json!(u64::MAX));
    let text = format!("{{\"id\":\"\\\"{large}\"}}");
    assert!(fabric_result(&made, text.as_bytes()).is_object(), "digits in a text are no number");
}

#[test]
fn chaincode_results_are_shown_as_what_they_are() {
    let mut made = chaincode();
    let returns = |kind: &str| -> Vec<Parameter> {
        let document =
            json!({ "name": "x", "engine": "fabric", "methods": [{ "name": "f", "returns": [{ "type": kind }] }] });
        Interface::from_document(&document).unwrap().methods[0].returns.clone()
    };
    assert_eq!(fabric_result(&made, b""), Value::Null);
    assert_eq!(fabric_result(&made, b"{\"a\":1}"), json!({ "a": 1 }));
    assert_eq!(fabric_result(&made, b"plain"), json!("plain"));
    assert_eq!(fabric_result(&made, &[0xff, 0xfe]), json!("0xfffe"));
    made.returns = returns("string");
    assert_eq!(fabric_result(&made, b"007"), json!("007"), "a text of digits stays a text");
    assert_eq!(fabric_result(&made, b"[1]"), json!([1]));
    assert_eq!(fabric_result(&made, b""), json!(""));
    made.returns = returns("number");
    assert_eq!(fabric_result(&made, b"7"), json!(7));
}
