//! The server killed with -9 again and again in the middle of every kind of operation: the end is the same as without, nodes go on
//! running meanwhile, and nobody who listens misses a block or sees one twice.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use super::real::{Events, Real, sample, small, write};

/// Most kills of one operation.
const KILLS: usize = 12;

/// An operation of the story: what it is called here, method, path below the network (of an upgrade: below the contract), body.
fn acts(engine: &str) -> Vec<(&'static str, &'static str, String, Option<Value>)> {
    let mut acts = vec![
        ("deploy", "POST", "/contracts".to_owned(), Some(sample(engine))),
        ("stop a node", "POST", format!("/nodes/{}/stop", node(engine)), None),
        ("start a node", "POST", format!("/nodes/{}/start", node(engine)), None),
        ("restart a node", "POST", format!("/nodes/{}/restart", node(engine)), None),
        ("stop", "POST", "/stop".to_owned(), None),
        ("start", "POST", "/start".to_owned(), None),
        (
            "issue",
            "POST",
            "/identities".to_owned(),
            Some(json!({
                "organisation": organisation(engine), "name": "Alice", "role": if engine == "fabric" { "client" } else { "account" },
            })),
        ),
    ];
    match engine {
        "fabric" => acts.extend([
            (
                "configure",
                "PATCH",
                "/channels/mychannel".to_owned(),
                Some(json!({"key": "max_message_count", "value": "7"})),
            ),
            ("channel", "POST", "/channels".to_owned(), Some(json!({"name": "second"}))),
            ("add a node", "POST", "/nodes".to_owned(), Some(json!({"organisation": "Org1", "role": "peer"}))),
            (
                "add an organisation",
                "POST",
                "/members".to_owned(),
                Some(json!({"organisation": {"name": "Org2", "nodes": 1}})),
            ),
            ("remove a node", "DELETE", "/nodes/peer1-org1".to_owned(), None),
        ]),
        _ => acts.extend([
            (
                "configure",
                "PATCH",
                "/channels/group0".to_owned(),
                Some(json!({"key": "tx_count_limit", "value": "700"})),
            ),
            ("add a node", "POST", "/nodes".to_owned(), Some(json!({"organisation": "Agency1", "role": "observer"}))),
            ("promote a node", "PUT", "/nodes/node1/role".to_owned(), Some(json!({"role": "sealer", "weight": 1}))),
            ("demote a node", "PUT", "/nodes/node1/role".to_owned(), Some(json!({"role": "observer"}))),
            ("remove a node", "DELETE", "/nodes/node1".to_owned(), None),
        ]),
    }
    let mut further = sample(engine);
    further["version"] = json!("2.0");
    further.as_object_mut().unwrap().remove("name");
    acts.push(("revoke", "POST", format!("/identities/{}/Alice/revoke", organisation(engine)), None));
    acts.push(("upgrade", "POST", "/upgrade".to_owned(), Some(further)));
    acts
}

fn node(engine: &str) -> &'static str {
    if engine == "fabric" { "peer0-org1" } else { "node0" }
}

fn organisation(engine: &str) -> &'static str {
    if engine == "fabric" { "Org1" } else { "Agency1" }
}

/// What must be the same at the end, whatever happened on the way.
async fn end_state(real: &Real, network: &str, what: &str) -> Value {
    let path = format!("/v1/networks/{network}");
    let view = real
        .until(&path, "settled", |view| {
            view["busy"] == false
                && view["nodes"]["pending"] == 0
                && match what {
                    "stop" => view["nodes"]["stopped"] == view["nodes"]["total"],
                    "stop a node" => view["nodes"]["stopped"] == 1,
                    _ => view["nodes"]["running"] == view["nodes"]["total"],
                }
        })
        .await;
    let pick = |list: &Value, fields: &[&str]| -> Value {
        let rows = list.as_array().unwrap().iter();
        let mut rows: Vec<Value> = rows
            .map(|row| {
                fields
                    .iter()
                    .map(|field| ((*field).to_owned(), row[*field].clone()))
                    .collect::<serde_json::Map<_, _>>()
                    .into()
            })
            .collect();
        rows.sort_by_key(Value::to_string);
        rows.into()
    };
    let nodes = real.get(&format!("{path}/nodes")).await;
    let identities = real.get(&format!("{path}/identities")).await;
    let mut contracts = Vec::new();
    for listed in real.get(&format!("/v1/contracts?network={network}")).await["items"].as_array().unwrap() {
        let contract = real.get(&format!("/v1/contracts/{}", listed["id"].as_str().unwrap())).await;
        let place = |of: &Value| json!([of["version"], of["address"].is_string(), of["package_id"], of["code_hash"]]);
        let deployments: Vec<Value> =
            contract["deployments"].as_array().map(|all| all.iter().map(place).collect()).unwrap_or_default();
        contracts.push(json!({
            "name": contract["name"], "channel": contract["channel"], "state": contract["state"], "now": place(&contract),
            "has_interface": contract["has_interface"], "deploying": contract["deploying"], "deployments": deployments,
        }));
    }
    json!({
        "state": view["state"],
        "nodes": pick(&nodes["items"], &["id", "role", "organisation", "status", "hostname"]),
        "channels": pick(&view["channels"], &["name", "organisations", "nodes"]),
        "organisations": pick(&view["organisations"], &["name", "mspid", "orders_only"]),
        "identities": pick(&identities["items"], &["organisation", "name", "role", "revoked"]),
        "contracts": contracts,
    })
}

/// Waits for an operation while the server is killed whenever a step is in a state that it was not killed in before: at each
/// boundary, and, after a moment, inside.
async fn disturbed(real: &mut Real, what: &str, operation: &str) -> Value {
    let mut killed_in = BTreeSet::new();
    let mut kills = 0;
    loop {
        let now = real.get(&format!("/v1/operations/{operation}")).await;
        if !matches!(now["state"].as_str(), Some("pending" | "running")) {
            assert_eq!(now["state"], "done", "{what} after {kills} kills: {now:#}");
            return now;
        }
        let steps = now["steps"].as_array().unwrap();
        let current = steps.iter().find(|step| step["state"] != "done").map_or_else(
            || "end".to_owned(),
            |step| format!("{} {}", step["name"].as_str().unwrap(), step["state"].as_str().unwrap()),
        );
        if kills < KILLS && killed_in.insert(current) {
            if kills % 2 == 1 {
                tokio::time::sleep(Duration::from_millis(40)).await;
            }
            real.crash_and_restart().await;
            kills += 1;
        } else {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Runs the whole story; with `kill`, killing the server all the time. Gives the end state after each act.
async fn story(engine: &str, kill: bool) -> Vec<(&'static str, Value)> {
    let folder = tempfile::tempdir().unwrap();
    let mut real = Real::start(folder.path(), None).await;
    let mut ends = Vec::new();
    let made = real.begin("POST", "/v1/networks", Some(small(engine, "crash"))).await;
    let network = made["network"].as_str().unwrap().to_owned();
    let id = made["id"].as_str().unwrap().to_owned();
    if kill {
        disturbed(&mut real, "create", &id).await
    } else {
        real.ended(&id).await
    };
    ends.push(("create", end_state(&real, &network, "create").await));
    for (what, method, path, body) in acts(engine) {
        let before = real.pids(&network).await;
        let place = if what == "upgrade" {
            let contracts = real.get(&format!("/v1/contracts?network={network}")).await;
            format!("/v1/contracts/{}{path}", contracts["items"][0]["id"].as_str().unwrap())
        } else {
            format!("/v1/networks/{network}{path}")
        };
        let begun = real.begin(method, &place, body).await;
        let id = begun["id"].as_str().unwrap().to_owned();
        let ended = if kill { disturbed(&mut real, what, &id).await } else { real.ended(&id).await };
        assert_eq!(ended["state"], "done", "{what}: {ended:#}");
        ends.push((what, end_state(&real, &network, what).await));
        // What the act does not touch has gone on running: the same processes, adopted.
        if matches!(what, "deploy" | "issue" | "configure" | "channel" | "upgrade") {
            assert_eq!(real.pids(&network).await, before, "{what}");
        }
    }
    // It still does what it is for.
    let contracts = real.get(&format!("/v1/contracts?network={network}")).await;
    let contract = contracts["items"][0]["id"].as_str().unwrap();
    let (method, body) = write(engine, "after-all");
    let sent =
        real.call("POST", &format!("/v1/contracts/{contract}/methods/{method}"), Some(body)).await.expect(200).json();
    assert_eq!(sent["ok"], true, "{sent:#}");
    let height = sent["height"].as_u64().unwrap();
    real.until(&format!("/v1/networks/{network}"), "indexed", |view| view["height"].as_u64() >= Some(height)).await;
    every_block_once(&real, &network).await;
    let removed = real.begin("DELETE", &format!("/v1/networks/{network}"), None).await;
    let id = removed["id"].as_str().unwrap().to_owned();
    if kill {
        disturbed(&mut real, "delete", &id).await
    } else {
        real.ended(&id).await
    };
    assert_eq!(real.call("GET", &format!("/v1/networks/{network}"), None).await.code(), "not_found");
    assert!(!real.data.join("networks").join(&network).exists());
    real.finish().await;
    ends
}

/// The stream from its beginning and the explorer's list both have every block of every channel exactly once, in order.
pub(crate) async fn every_block_once(real: &Real, network: &str) {
    let path = format!("/v1/networks/{network}");
    let channels = real.get(&format!("{path}/channels")).await;
    let mut wanted: BTreeMap<String, u64> = BTreeMap::new();
    for channel in channels["items"].as_array().unwrap() {
        let name = channel["name"].as_str().unwrap();
        let mut expected = channel["height"].as_u64();
        let mut token = String::new();
        while let Some(height) = expected {
            let list =
                real.get(&format!("{path}/blocks?channel={name}&page_size=200&before={}{token}", height + 1)).await;
            for block in list["items"].as_array().unwrap() {
                assert_eq!(block["height"].as_u64(), expected, "{name}");
                expected = expected.and_then(|height| height.checked_sub(1));
            }
            let Some(next) = list["next_page_token"].as_str() else { break };
            token = format!("&page_token={next}");
        }
        assert_eq!(expected, None, "{name}: blocks are missing");
        if let Some(height) = channel["height"].as_u64() {
            wanted.insert(name.to_owned(), height);
        }
    }
    let mut events = Events::open(real, &format!("topics=block&network={network}"), Some("0")).await;
    let mut heights: BTreeMap<String, u64> = BTreeMap::new();
    let mut last = 0;
    while wanted.iter().any(|(name, height)| heights.get(name).is_none_or(|next| next <= height)) {
        let told = events.next().await.expect("events go on");
        let seq: u64 = told.id.parse().unwrap();
        assert!(seq > last, "{told:?}");
        last = seq;
        let next = heights.entry(told.data["channel"].as_str().unwrap().to_owned()).or_default();
        assert_eq!(told.data["height"].as_u64(), Some(*next), "{told:?}");
        *next += 1;
    }
}

async fn same_end(engine: &str) {
    let calm = story(engine, false).await;
    let wild = story(engine, true).await;
    for ((what, calm), (_, wild)) in calm.iter().zip(&wild) {
        assert_eq!(calm, wild, "after {what}");
    }
    assert_eq!(calm.len(), wild.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fabric_network_survives_a_server_that_keeps_dying() {
    same_end("fabric").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bcos_chain_survives_a_server_that_keeps_dying() {
    same_end("bcos").await;
}
