//! JSON-RPC of `FISCO BCOS` over HTTP.

use serde_json::{Value, json};

use super::client::{http, rpc};
use super::world::{TOPIC, World, contract, word};

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().expect("an object").keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contract_is_deployed_called_and_read_back() {
    let world = World::start(false).await;
    let address = world.deploy().await;
    assert_eq!(address.len(), 42);
    let code = world.bcos("getCode", json!(["group0", "", address])).await.unwrap();
    assert_eq!(code, json!(format!("0x{}", hex::encode(&contract()[11..]))));

    let raw = world.native(&address, word(7));
    let receipt = world.bcos("sendTransaction", json!(["group0", "", raw, true])).await.unwrap();
    let mut expected = [
        "blockNumber",
        "checksumContractAddress",
        "contractAddress",
        "extraData",
        "from",
        "gasUsed",
        "hash",
        "input",
        "logEntries",
        "message",
        "output",
        "receiptProof",
        "status",
        "to",
        "transactionHash",
        "txReceiptProof",
        "version",
    ];
    expected.sort_unstable();
    assert_eq!(keys(&receipt), expected);
    assert_eq!(receipt["status"], 0);
    assert_eq!(receipt["to"], json!(address));
    assert_eq!(receipt["logEntries"][0]["address"], json!(&address[2..]));
    assert_eq!(receipt["logEntries"][0]["topics"], json!([TOPIC]));
    assert!(receipt["gasUsed"].as_str().unwrap().parse::<u64>().is_ok());
    assert_eq!(receipt["txReceiptProof"].as_array().unwrap().len(), 1, "one transaction proves itself");

    let hash = receipt["transactionHash"].clone();
    let stored = world.bcos("getTransactionReceipt", json!(["group0", "", hash, true])).await.unwrap();
    for name in
        ["hash", "gasUsed", "blockNumber", "from", "to", "input", "logEntries", "txReceiptProof", "receiptProof"]
    {
        assert_eq!(stored[name], receipt[name], "{name}");
    }
    assert_eq!(stored["receiptProof"], json!([]));
    let transaction = world.bcos("getTransaction", json!(["group0", "", hash, true])).await.unwrap();
    assert_eq!(transaction["hash"], hash);
    assert_eq!(transaction["from"], json!(format!("0x{}", hex::encode(world.key.address()))));
    assert!(transaction["nonce"].as_str().unwrap().starts_with(&hex::encode("nonce-")));
    assert_eq!((&transaction["chainID"], &transaction["groupID"]), (&json!("chain0"), &json!("group0")));
    assert_eq!(transaction["txProof"].as_array().unwrap().len(), 1);

    let called = world.bcos("call", json!(["group0", "", address, "0x"])).await.unwrap();
    let number = receipt["blockNumber"].clone();
    assert_eq!(called, json!({ "blockNumber": number, "status": 0, "output": format!("0x{}", hex::encode(word(7))) }));
    let reverted = world.bcos("call", json!(["group0", "", address, "0x01"])).await.unwrap();
    assert_eq!(reverted["status"], 16);
    assert!(reverted["output"].as_str().unwrap().starts_with("0x08c379a0"));

    assert_eq!(world.bcos("getBlockNumber", json!(["group0", ""])).await.unwrap(), number);
    let block = world.bcos("getBlockByNumber", json!(["group0", "", number, false, false])).await.unwrap();
    assert_eq!(block["transactions"][0]["hash"], hash);
    assert_eq!(block["parentInfo"][0]["blockNumber"].as_u64().unwrap() + 1, number.as_u64().unwrap());
    assert_eq!(block["signatureList"].as_array().unwrap().len(), 1);
    let by_hash = world.bcos("getBlockByHash", json!(["group0", "", block["hash"], false, true])).await.unwrap();
    assert_eq!(by_hash["transactions"], json!([hash]));
    let header = world.bcos("getBlockByHash", json!(["group0", "", block["hash"], true, true])).await.unwrap();
    assert!(header.get("transactions").is_none());
    assert_eq!(world.bcos("getBlockHashByNumber", json!(["group0", "", number])).await.unwrap(), block["hash"]);
    let totals = world.bcos("getTotalTransactionCount", json!(["group0", ""])).await.unwrap();
    assert_eq!(totals, json!({ "blockNumber": number, "transactionCount": 2, "failedTransactionCount": 0 }));
    let found = json!({ "fromBlock": "0x0", "toBlock": "latest", "address": [address], "topics": [[TOPIC]] });
    let logs = world.bcos("getLogs", json!(["group0", found])).await.unwrap();
    assert_eq!(logs[0]["transactionHash"], hash);
    assert_eq!(logs[0]["address"], json!(address));
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_nodes_and_settings_are_shown_as_sdks_expect() {
    let world = World::start(false).await;
    let list = world.bcos("getGroupList", json!([])).await.unwrap();
    assert_eq!(list, json!({ "code": 0, "msg": "success", "groupList": ["group0"] }));
    let info = world.bcos("getGroupInfo", json!(["group0"])).await.unwrap();
    assert_eq!(keys(&info), ["chainID", "genesisConfig", "groupID", "iniConfig", "nodeList"]);
    let node = &info["nodeList"][0];
    assert_eq!(
        keys(node),
        [
            "featureKeys",
            "iniConfig",
            "microService",
            "name",
            "nodeID",
            "protocol",
            "serviceInfo",
            "supportConfigs",
            "type"
        ]
    );
    let ini: Value = serde_json::from_str(node["iniConfig"].as_str().unwrap()).unwrap();
    assert_eq!((&ini["isWasm"], &ini["smCryptoType"]), (&json!(false), &json!(false)));
    assert_eq!(ini["nodeID"], node["nodeID"]);
    let name = node["name"].clone();
    assert_eq!(world.bcos("getGroupNodeInfo", json!(["group0", name])).await.unwrap(), *node);
    assert_eq!(world.bcos("getGroupNodeInfo", json!(["group0", "other"])).await.unwrap(), Value::Null);
    assert_eq!(world.bcos("getGroupInfoList", json!([])).await.unwrap(), json!([info]));
    let sealers = world.bcos("getSealerList", json!(["group0", ""])).await.unwrap();
    assert_eq!(sealers, json!([{ "nodeID": node["nodeID"], "weight": 1, "termWeight": sealers[0]["termWeight"] }]));
    assert_eq!(world.bcos("getNodeListByType", json!(["group0", "", "consensus_sealer"])).await.unwrap(), sealers);
    assert_eq!(world.bcos("getObserverList", json!(["group0", ""])).await.unwrap(), json!([]));
    assert_eq!(world.bcos("getGroupPeers", json!(["group0"])).await.unwrap(), json!([node["nodeID"]]));
    assert!(world.bcos("getPbftView", json!(["group0", ""])).await.unwrap().is_u64());
    assert_eq!(world.bcos("getPendingTxSize", json!(["group0", ""])).await.unwrap(), 0);
    for (method, member) in [("getSyncStatus", "knownHighestNumber"), ("getConsensusStatus", "minRequiredQuorum")] {
        let text = world.bcos(method, json!(["group0", ""])).await.unwrap();
        let status: Value = serde_json::from_str(text.as_str().expect("JSON text inside a string")).unwrap();
        assert!(status[member].is_u64(), "{status}");
    }
    let limit = world.bcos("getSystemConfigByKey", json!(["group0", "", "tx_count_limit"])).await.unwrap();
    assert_eq!(limit, json!({ "blockNumber": 0, "value": "1000" }));
    assert!(world.bcos("getPeers", json!([])).await.unwrap()["peers"].as_array().unwrap().is_empty());
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_carry_upstreams_codes() {
    let world = World::start(false).await;
    let code = |answer: Result<Value, Value>| answer.unwrap_err()["code"].as_i64().unwrap();
    let raw = world.native("", contract());
    let deployed = world.bcos("sendTransaction", json!(["group0", "", raw, false])).await.unwrap();
    let failing = world.native(deployed["contractAddress"].as_str().unwrap(), vec![1]);
    let failed = world.bcos("sendTransaction", json!(["group0", "", failing, false])).await.unwrap();
    assert_eq!(failed["status"], 16);
    let stored = json!(["group0", "", failed["transactionHash"], false]);
    assert_eq!(world.bcos("getTransactionReceipt", stored).await.unwrap()["hash"], failed["hash"]);
    let again = code(world.bcos("sendTransaction", json!(["group0", "", raw, false])).await);
    assert!((10_000..=10_005).contains(&again), "{again}");
    let garbage = code(world.bcos("sendTransaction", json!(["group0", "", "0xzz", false])).await);
    assert_eq!(garbage, -32602);
    assert!(code(world.bcos("sendTransaction", json!(["group0", "", "0x0102", false])).await) < 0);
    assert_eq!(code(world.bcos("getBlockNumber", json!(["nowhere", ""])).await), -32000);
    let another = world.bcos("getBlockNumber", json!(["group0", "another node"])).await;
    assert!(another.is_ok(), "SDKs send requests for one node through another: {another:?}");
    assert_eq!(code(world.bcos("newBlockFilter", json!(["nowhere"])).await), -32005);
    assert_eq!(code(world.bcos("noSuch", json!([])).await), -32601);
    assert_eq!(code(world.bcos("getBlockByNumber", json!(["group0", "", 99])).await), 3003);
    assert_eq!(
        code(world.bcos("getTransactionReceipt", json!(["group0", "", format!("0x{:064}", 1), false])).await),
        3008
    );
    let signature = json!(["group0", "", format!("0x{:040}", 1), "0x", "0x00"]);
    assert_eq!(code(world.bcos("call", signature).await), 10_008);

    // The edge itself.
    let options = http(&world.rpc, "OPTIONS", "/any/path", "origin: http://page\r\n", b"").await;
    assert_eq!(options.status, 204);
    assert!(options.head.contains("access-control-allow-origin: *"), "{}", options.head);
    let page = http(&world.rpc, "POST", "/", "origin: http://page\r\n", b"{}").await;
    assert!(page.head.contains("access-control-allow-origin: *"), "{}", page.head);
    let program = http(&world.rpc, "POST", "/", "", b"{}").await;
    assert!(!program.head.contains("access-control"), "{}", program.head);
    // Refused, but read to its end: the next request on the connection is understood.
    assert_eq!(http(&world.rpc, "PUT", "/", "", &vec![b'x'; 200_000]).await.status, 405);
    assert_eq!(http(&world.rpc, "GET", "/", "", b"").await.status, 405);
    let large = vec![b' '; 11 << 20];
    assert_eq!(http(&world.rpc, "POST", "/", "", &large).await.status, 413);
    let wrong = http(&world.rpc, "POST", "/some/path", "", b"{{").await;
    assert_eq!(wrong.json()["error"]["code"], -32700);
    let batch = json!([
        { "jsonrpc": "2.0", "id": 1, "method": "getBlockNumber", "params": ["group0", ""] },
        { "jsonrpc": "2.0", "id": 2, "method": "noSuch", "params": [] },
    ]);
    let batch = http(&world.rpc, "POST", "/", "", batch.to_string().as_bytes()).await.json();
    assert_eq!((&batch[0]["result"], &batch[1]["error"]["code"]), (&json!(2), &json!(-32601)));
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_tell_what_is_new_and_end_when_uninstalled() {
    let world = World::start(false).await;
    let address = world.deploy().await;
    let blocks = world.bcos("newBlockFilter", json!(["group0"])).await.unwrap();
    let pending = world.bcos("newPendingTransactionFilter", json!(["group0"])).await.unwrap();
    let wanted = json!({ "fromBlock": "latest", "toBlock": "latest", "address": [address], "topics": [] });
    let logs = world.bcos("newFilter", json!(["group0", wanted])).await.unwrap();
    let raw = world.native(&address, word(1));
    let receipt = world.bcos("sendTransaction", json!(["group0", "", raw, false])).await.unwrap();
    let changes = |id: &Value| rpc(&world.rpc, "getFilterChanges", json!(["group0", id]));
    assert_eq!(changes(&blocks).await.unwrap().as_array().unwrap().len(), 1);
    assert_eq!(changes(&blocks).await.unwrap(), json!([]));
    assert_eq!(changes(&pending).await.unwrap(), json!([receipt["transactionHash"]]));
    assert_eq!(changes(&logs).await.unwrap()[0]["transactionHash"], receipt["transactionHash"]);
    assert_eq!(changes(&logs).await.unwrap(), json!([]));
    assert_eq!(world.bcos("uninstallFilter", json!(["group0", logs])).await.unwrap(), true);
    assert_eq!(changes(&logs).await.unwrap_err()["message"], "filter not found");
    world.node.stop().await;
}
