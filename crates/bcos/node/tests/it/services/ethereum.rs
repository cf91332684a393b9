//! Ethereum's JSON-RPC over HTTP and WebSocket.

use alloy_rlp::{Encodable, Header};
use konsort_crypto::hash::keccak256;
use serde_json::{Value, json};

use super::client::{Socket, http};
use super::world::{CHAIN_ID, TOPIC, World, contract, word};

/// A signed legacy (0) or dynamic fee (2) transaction; `to` is empty to deploy.
pub(super) fn signed(world: &World, kind: u8, nonce: u64, to: &[u8], input: &[u8]) -> String {
    let mut fields = Vec::new();
    let (gas, value) = (10_000_000_u64, 0_u64);
    if kind == 2 {
        CHAIN_ID.encode(&mut fields);
        nonce.encode(&mut fields);
        1_u64.encode(&mut fields);
        2_u64.encode(&mut fields);
    } else {
        nonce.encode(&mut fields);
        0_u64.encode(&mut fields);
    }
    gas.encode(&mut fields);
    to.encode(&mut fields);
    value.encode(&mut fields);
    input.encode(&mut fields);
    if kind == 2 {
        fields.push(0xc0);
    }
    let list = |fields: &[u8]| {
        let mut out = if kind == 2 { vec![2] } else { Vec::new() };
        Header { list: true, payload_length: fields.len() }.encode(&mut out);
        out.extend_from_slice(fields);
        out
    };
    let mut covered = fields.clone();
    if kind == 0 {
        CHAIN_ID.encode(&mut covered);
        0_u64.encode(&mut covered);
        0_u64.encode(&mut covered);
    }
    let signature = world.key.sign(&keccak256(&list(&covered)));
    let strip = |bytes: &[u8]| bytes.iter().copied().skip_while(|byte| *byte == 0).collect::<Vec<u8>>();
    let parity = u64::from(signature[64]);
    if kind == 2 { parity } else { 35 + 2 * CHAIN_ID + parity }.encode(&mut fields);
    strip(&signature[..32]).as_slice().encode(&mut fields);
    strip(&signature[32..64]).as_slice().encode(&mut fields);
    format!("0x{}", hex::encode(list(&fields)))
}

/// Waits until a transaction has a receipt.
async fn receipt(world: &World, hash: &Value) -> Value {
    for _ in 0..400 {
        let receipt = world.eth("eth_getTransactionReceipt", json!([hash])).await.unwrap();
        if !receipt.is_null() {
            return receipt;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("no receipt for {hash}");
}

pub(super) async fn send(world: &World, raw: &str) -> Value {
    let hash = world.eth("eth_sendRawTransaction", json!([raw])).await.unwrap();
    receipt(world, &hash).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contract_is_deployed_called_and_read_at_past_blocks() {
    let world = World::start(false).await;
    let me = format!("0x{}", hex::encode(world.key.address()));
    assert_eq!(world.eth("eth_chainId", json!([])).await.unwrap(), format!("{CHAIN_ID:#x}"));
    assert_eq!(world.eth("net_version", json!([])).await.unwrap(), CHAIN_ID.to_string());
    let deployed = send(&world, &signed(&world, 0, 0, &[], &contract())).await;
    assert_eq!((&deployed["status"], &deployed["type"], &deployed["to"]), (&json!("0x1"), &json!("0x0"), &Value::Null));
    let contract_address = deployed["contractAddress"].as_str().unwrap().to_owned();
    assert_eq!(world.eth("eth_getTransactionCount", json!([me, "latest"])).await.unwrap(), "0x1");
    let to = hex::decode(&contract_address[2..]).unwrap();
    let first = send(&world, &signed(&world, 2, 1, &to, &word(5))).await;
    let second = send(&world, &signed(&world, 0, 2, &to, &word(6))).await;

    assert_eq!((&first["type"], &first["from"]), (&json!("0x2"), &json!(me)));
    let log = &first["logs"][0];
    assert_eq!((&log["address"], &log["topics"]), (&json!(contract_address), &json!([TOPIC])));
    assert_eq!(first["logsBloom"].as_str().unwrap().len(), 2 + 512);
    assert_ne!(first["logsBloom"], deployed["logsBloom"]);
    for name in ["cumulativeGasUsed", "effectiveGasPrice", "gasUsed", "blockHash", "transactionIndex"] {
        assert!(first[name].as_str().unwrap().starts_with("0x"), "{name}");
    }

    let call = |data: String, at: &Value| {
        world.eth("eth_call", json!([{ "from": me, "to": contract_address, "data": data }, at]))
    };
    let as_word = |number| json!(format!("0x{}", hex::encode(word(number))));
    assert_eq!(call("0x".into(), &json!("latest")).await.unwrap(), as_word(6));
    assert_eq!(call("0x".into(), &first["blockNumber"]).await.unwrap(), as_word(5));
    assert_eq!(call("0x".into(), &json!({ "blockHash": second["blockHash"] })).await.unwrap(), as_word(6));
    let slot = |at: &Value| world.eth("eth_getStorageAt", json!([contract_address, "0x0", at]));
    assert_eq!(slot(&first["blockNumber"]).await.unwrap(), as_word(5));
    assert_eq!(slot(&json!("latest")).await.unwrap(), as_word(6));
    assert_eq!(world.eth("eth_getCode", json!([contract_address, "earliest"])).await.unwrap(), "0x");
    let reverted = call("0x01".into(), &json!("latest")).await.unwrap_err();
    assert_eq!((&reverted["code"], &reverted["message"]), (&json!(3), &json!("execution reverted: no")));
    assert!(reverted["data"].as_str().unwrap().starts_with("0x08c379a0"));
    let estimate = json!([{ "from": me, "to": contract_address, "data": "0x01" }]);
    assert_eq!(world.eth("eth_estimateGas", estimate).await.unwrap_err()["code"], 3);
    let estimate = json!([{ "from": me, "to": contract_address, "data": as_word(9) }]);
    let gas = world.eth("eth_estimateGas", estimate).await.unwrap();
    assert!(u64::from_str_radix(&gas.as_str().unwrap()[2..], 16).unwrap() > 21_000, "{gas}");

    let block = world.eth("eth_getBlockByNumber", json!([first["blockNumber"], true])).await.unwrap();
    let transaction = &block["transactions"][0];
    assert_eq!(transaction["hash"], first["transactionHash"]);
    assert_eq!((&transaction["maxFeePerGas"], &transaction["maxPriorityFeePerGas"]), (&json!("0x2"), &json!("0x1")));
    assert_eq!((&transaction["nonce"], &transaction["accessList"]), (&json!("0x1"), &json!([])));
    assert_eq!(transaction["yParity"], transaction["v"]);
    for name in [
        "baseFeePerGas",
        "difficulty",
        "extraData",
        "gasLimit",
        "gasUsed",
        "hash",
        "logsBloom",
        "miner",
        "mixHash",
        "nonce",
        "number",
        "parentHash",
        "receiptsRoot",
        "sha3Uncles",
        "size",
        "stateRoot",
        "timestamp",
        "totalDifficulty",
        "transactionsRoot",
    ] {
        assert!(block[name].as_str().unwrap().starts_with("0x"), "{name}");
    }
    assert_eq!(block["logsBloom"], first["logsBloom"]);
    let by_hash = world.eth("eth_getBlockByHash", json!([block["hash"], false])).await.unwrap();
    assert_eq!(by_hash["transactions"], json!([first["transactionHash"]]));
    let receipts = world.eth("eth_getBlockReceipts", json!([first["blockNumber"]])).await.unwrap();
    assert_eq!(receipts, json!([first]));
    let found = world.eth("eth_getTransactionByHash", json!([first["transactionHash"]])).await.unwrap();
    assert_eq!(found, *transaction);
    let legacy = world.eth("eth_getTransactionByBlockNumberAndIndex", json!([second["blockNumber"], "0x0"])).await;
    let v = legacy.unwrap()["v"].as_str().map(|v| u64::from_str_radix(&v[2..], 16).unwrap());
    assert!(v == Some(35 + 2 * CHAIN_ID) || v == Some(36 + 2 * CHAIN_ID));
    let raw = world.eth("eth_getRawTransactionByHash", json!([first["transactionHash"]])).await.unwrap();
    assert_eq!(raw, signed(&world, 2, 1, &to, &word(5)));
    let logs = json!([{ "fromBlock": "earliest", "address": contract_address, "topics": [TOPIC] }]);
    let logs = world.eth("eth_getLogs", logs).await.unwrap();
    assert_eq!(logs.as_array().unwrap().len(), 2);
    assert_eq!(logs[0], *log);
    let history = world.eth("eth_feeHistory", json!(["0x2", "latest", [25, 75]])).await.unwrap();
    assert_eq!(history["baseFeePerGas"], json!(["0x0", "0x0", "0x0"]));
    assert_eq!(history["reward"].as_array().unwrap().len(), 2);
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_in_the_words_clients_look_for() {
    let world = World::start(false).await;
    let raw = signed(&world, 0, 0, &[], &contract());
    send(&world, &raw).await;
    let message = |answer: Result<Value, Value>| answer.unwrap_err()["message"].as_str().unwrap().to_owned();
    let again = message(world.eth("eth_sendRawTransaction", json!([raw])).await);
    assert!(again.contains("already known") || again.contains("nonce too low"), "{again}");
    let low = message(world.eth("eth_sendRawTransaction", json!([signed(&world, 0, 0, &[1; 20], &[])])).await);
    assert!(low.contains("nonce too low"), "{low}");
    assert!(message(world.eth("eth_sendRawTransaction", json!(["0x01"])).await).len() > 10);
    assert!(message(world.eth("eth_getProof", json!([])).await).contains("no Merkle root"));
    assert_eq!(world.eth("eth_AAA", json!([])).await.unwrap_err()["code"], -32601);
    assert_eq!(world.eth("eth_getBlockByNumber", json!(["0xffff", false])).await.unwrap(), Value::Null);
    assert_eq!(
        world.eth("eth_getBalance", json!([format!("0x{:040}", 1), "0xffff"])).await.unwrap_err()["message"],
        "header not found"
    );
    let subscribe = world.eth("eth_subscribe", json!(["newHeads"])).await.unwrap_err();
    assert_eq!(subscribe["code"], -32600);
    let params = br#"{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber","params":{}}"#;
    assert_eq!(http(&world.web3, "POST", "/", "", params).await.json()["error"]["message"], "Invalid field: params");
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_push_heads_logs_and_pending_transactions() {
    let world = World::start(false).await;
    let address = world.deploy().await;
    let mut socket = Socket::open(&world.web3).await;
    let mut pushed = Vec::new();
    let mut subscribe = async |params: Value| {
        let answer = socket.call("eth_subscribe", params, &mut pushed).await;
        answer["result"].as_str().unwrap().to_owned()
    };
    let heads = subscribe(json!(["newHeads"])).await;
    let logs = subscribe(json!(["logs", { "address": address, "topics": [TOPIC] }])).await;
    let pending = subscribe(json!(["newPendingTransactions"])).await;
    let to = hex::decode(&address[2..]).unwrap();
    let sent = world.eth("eth_sendRawTransaction", json!([signed(&world, 2, 0, &to, &word(1))])).await.unwrap();
    let mut seen = std::collections::BTreeMap::new();
    while seen.len() < 3 {
        let push = socket.json().await;
        assert_eq!(push["method"], "eth_subscription");
        let id = push["params"]["subscription"].as_str().unwrap().to_owned();
        seen.insert(id, push["params"]["result"].clone());
    }
    assert_eq!(seen[&pending], sent);
    assert_eq!(seen[&logs]["transactionHash"], sent);
    assert_eq!(seen[&heads]["hash"], seen[&logs]["blockHash"]);
    assert!(seen[&heads].get("transactions").is_none());
    let ended = socket.call("eth_unsubscribe", json!([heads]), &mut pushed).await;
    assert_eq!(ended["result"], true);
    let ended = socket.call("eth_unsubscribe", json!([heads]), &mut pushed).await;
    assert_eq!(ended["result"], false);
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_are_traced_on_the_state_before_them() {
    let world = World::start(false).await;
    let address = world.deploy().await;
    let to = hex::decode(&address[2..]).unwrap();
    let first = send(&world, &signed(&world, 2, 0, &to, &word(5))).await;
    send(&world, &signed(&world, 2, 1, &to, &word(6))).await;
    let hash = &first["transactionHash"];
    let calls = world.eth("debug_traceTransaction", json!([hash, { "tracer": "callTracer" }])).await.unwrap();
    assert_eq!((&calls["type"], &calls["from"], &calls["to"]), (&json!("CALL"), &first["from"], &json!(address)));
    assert_eq!(calls["gasUsed"], first["gasUsed"]);
    let steps = world.eth("debug_traceTransaction", json!([hash])).await.unwrap();
    assert_eq!(steps["failed"], false);
    let store = steps["structLogs"].as_array().unwrap().iter().find(|step| step["op"] == "SSTORE").unwrap().clone();
    let slot = "0".repeat(64);
    assert_eq!(store["storage"][&slot], json!(hex::encode(word(5))), "the state is that of its block: {store}");
    let block = world.eth("debug_traceBlockByNumber", json!([first["blockNumber"], { "tracer": "callTracer" }])).await;
    assert_eq!(block.unwrap(), json!([{ "txHash": hash, "result": calls }]));

    let call = json!({ "to": address, "data": "0x01" });
    let failed = world.eth("debug_traceCall", json!([call, "latest", { "tracer": "callTracer" }])).await.unwrap();
    assert_eq!((&failed["error"], &failed["revertReason"]), (&json!("execution reverted"), &json!("no")));
    let list = world.eth("eth_createAccessList", json!([{ "to": address, "data": "0x" }, "latest"])).await.unwrap();
    assert_eq!(list["accessList"], json!([{ "address": address, "storageKeys": [format!("0x{slot}")] }]));
    let refused = world.eth("debug_traceCall", json!([call, "latest", { "tracer": "4byteTracer" }])).await;
    assert_eq!(refused.unwrap_err()["code"], -32602);
    world.node.stop().await;
}
