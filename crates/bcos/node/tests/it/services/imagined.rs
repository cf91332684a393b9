//! Calls on states that somebody imagines, and what traces show of states.

use serde_json::{Value, json};

use super::ethereum::{send, signed};
use super::world::{TOPIC, World, word};

fn hex_word(number: u8) -> String {
    format!("0x{}", hex::encode(word(number)))
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_run_on_the_state_as_the_caller_imagines_it() {
    let world = World::start(false).await;
    let address = world.deploy().await;
    let to = hex::decode(&address[2..]).unwrap();
    send(&world, &signed(&world, 2, 0, &to, &word(5))).await;
    let read = json!({ "to": address, "data": "0x" });
    let call = |overrides: Value| world.eth("eth_call", json!([read, "latest", overrides]));
    assert_eq!(call(json!({})).await.unwrap(), hex_word(5));
    assert_eq!(call(Value::Null).await.unwrap(), hex_word(5));
    let slots = json!({ hex_word(0): hex_word(9) });
    assert_eq!(call(json!({ &address: { "stateDiff": slots } })).await.unwrap(), hex_word(9));
    assert_eq!(call(json!({ &address: { "state": slots } })).await.unwrap(), hex_word(9));
    let other_slot = json!({ hex_word(1): hex_word(9) });
    assert_eq!(call(json!({ &address: { "stateDiff": other_slot } })).await.unwrap(), hex_word(5));
    assert_eq!(call(json!({ &address: { "state": other_slot } })).await.unwrap(), hex_word(0));
    // Gives back its own balance.
    let code = "0x475f5260205ff3";
    let rich = json!({ &address: { "code": code, "balance": "0x7" } });
    assert_eq!(call(rich.clone()).await.unwrap(), hex_word(7));
    // At an address where nothing is.
    let nobody = format!("0x{}", "12".repeat(20));
    let at_nobody = json!([{ "to": nobody }, "latest", { &nobody: { "code": code, "balance": "0x8" } }]);
    assert_eq!(world.eth("eth_call", at_nobody).await.unwrap(), hex_word(8));
    // Nothing of it stays.
    assert_eq!(call(json!({})).await.unwrap(), hex_word(5));
    assert_eq!(world.eth("eth_getCode", json!([nobody, "latest"])).await.unwrap(), "0x");

    let gas = |overrides: Value| world.eth("eth_estimateGas", json!([read, "latest", overrides]));
    let burning = json!({ &address: { "code": "0x5f545f5360015f5500" } });
    let number = |value: Value| u64::from_str_radix(&value.as_str().unwrap()[2..], 16).unwrap();
    let (plain, more) = (number(gas(json!({})).await.unwrap()), number(gas(burning).await.unwrap()));
    assert!(more > plain, "{more} {plain}");
    let failing = json!({ &address: { "code": "0x5f5ffd" } });
    assert_eq!(gas(failing.clone()).await.unwrap_err()["code"], 3);
    assert_eq!(call(failing).await.unwrap_err()["message"], "execution reverted");

    let both = json!({ &address: { "state": {}, "stateDiff": {} } });
    let refused = call(both).await.unwrap_err();
    assert!(refused["message"].as_str().unwrap().ends_with("has both 'state' and 'stateDiff'"), "{refused}");
    let traced = json!([read, "latest", { "tracer": "callTracer", "stateOverrides": rich }]);
    assert_eq!(world.eth("debug_traceCall", traced).await.unwrap()["output"], hex_word(7));
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_show_the_state_found_and_what_changed_and_events() {
    let world = World::start(false).await;
    let address = world.deploy().await;
    let to = hex::decode(&address[2..]).unwrap();
    send(&world, &signed(&world, 2, 0, &to, &word(5))).await;
    let second = send(&world, &signed(&world, 2, 1, &to, &word(6))).await;
    let (hash, me) = (&second["transactionHash"], second["from"].as_str().unwrap());
    let trace = |options: Value| world.eth("debug_traceTransaction", json!([hash, options]));

    let found = trace(json!({ "tracer": "prestateTracer" })).await.unwrap();
    let code = world.eth("eth_getCode", json!([address, "latest"])).await.unwrap();
    let contract = json!({ "balance": "0x0", "nonce": 1, "code": code, "storage": { hex_word(0): hex_word(5) } });
    let contract_shown = &found[&address];
    assert_eq!((&contract_shown["code"], &contract_shown["storage"]), (&contract["code"], &contract["storage"]));
    assert_eq!(found[me], json!({ "balance": "0x0", "nonce": 1 }));
    assert_eq!(found.as_object().unwrap().len(), 2, "{found}");

    let diff = json!({ "tracer": "prestateTracer", "tracerConfig": { "diffMode": true } });
    let changed = trace(diff).await.unwrap();
    assert_eq!(changed["post"][&address], json!({ "storage": { hex_word(0): hex_word(6) } }));
    assert_eq!(changed["pre"][&address]["storage"], json!({ hex_word(0): hex_word(5) }));
    assert_eq!((&changed["pre"][me]["nonce"], &changed["post"][me]), (&json!(1), &json!({ "nonce": 2 })));

    let logs = json!({ "tracer": "callTracer", "tracerConfig": { "withLog": true } });
    let tree = trace(logs.clone()).await.unwrap();
    let log = json!({ "address": address, "topics": [TOPIC], "data": hex_word(6), "position": "0x0", "index": "0x0" });
    let expected = json!([log]);
    assert_eq!(tree["logs"], expected);
    let plain = trace(json!({ "tracer": "callTracer", "tracerConfig": { "onlyTopCall": true } })).await.unwrap();
    assert!(plain.get("logs").is_none() && plain["gasUsed"] == second["gasUsed"]);
    let block = world.eth("debug_traceBlockByNumber", json!([second["blockNumber"], logs])).await.unwrap();
    assert_eq!(block, json!([{ "txHash": hash, "result": tree }]));
    world.node.stop().await;
}
