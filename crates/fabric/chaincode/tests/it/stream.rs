//! What chaincode can do, end to end over mutual TLS.

use std::sync::{Arc, atomic::Ordering};

use fabric_chaincode::{Call, ChaincodeError, CollectionPermission};
use fabric_shim::{Contract, ContractError, Reply, Stub, samples::AssetTransfer};

use crate::world::{Loop, Peer, State, call, dispatcher, run, text};

const ASSET: &str = r#"{"AppraisedValue":300,"Color":"blue","ID":"asset1","Owner":"Tomoko","Size":5}"#;

fn numbered(count: usize) -> Arc<State> {
    State::of((0..count).map(|number| {
        let id = format!("asset{number:04}");
        let asset = format!(r#"{{"AppraisedValue":1,"Color":"c","ID":"{id}","Owner":"o","Size":1}}"#);
        (id, asset)
    }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_asset_is_created_read_transferred_and_deleted() {
    let (peer, tasks, id) = Peer::with_contract(AssetTransfer).await;
    let empty = State::of([]);
    let (outcome, rwset) =
        run(&peer, &id, &empty, &["CreateAsset", "asset1", "blue", "5", "Tomoko", "300"]).await.unwrap();
    assert_eq!(outcome.response.status, 200);
    let event = outcome.event.unwrap();
    assert_eq!(
        (event.event_name.as_str(), event.chaincode_id.as_str(), event.tx_id.len()),
        ("CreateAsset", "basic", 64)
    );
    let namespace = &rwset.namespaces[0];
    assert_eq!(namespace.namespace, "basic");
    assert_eq!((namespace.public.reads.len(), namespace.public.writes.len()), (1, 1));
    assert_eq!(text(&namespace.public.writes[0].value), ASSET);

    let full = State::of([("asset1".to_owned(), ASSET.to_owned())]);
    let (outcome, rwset) = run(&peer, &id, &full, &["ReadAsset", "asset1"]).await.unwrap();
    assert_eq!(text(&outcome.response.payload), ASSET);
    assert_eq!(rwset.namespaces[0].public.reads[0].key, "asset1");
    let (outcome, rwset) = run(&peer, &id, &full, &["TransferAsset", "asset1", "Max"]).await.unwrap();
    assert_eq!(text(&outcome.response.payload), "Tomoko");
    assert!(text(&rwset.namespaces[0].public.writes[0].value).contains(r#""Owner":"Max""#));
    let (_, rwset) = run(&peer, &id, &full, &["DeleteAsset", "asset1"]).await.unwrap();
    assert!(rwset.namespaces[0].public.writes[0].is_delete);

    let (outcome, _) = run(&peer, &id, &full, &["CreateAsset", "asset1", "blue", "5", "Tomoko", "300"]).await.unwrap();
    assert_eq!((outcome.response.status, outcome.response.message.as_str()), (500, "the asset asset1 already exists"));
    assert!(outcome.event.is_none());
    let (outcome, _) = run(&peer, &id, &empty, &["ReadAsset", "asset9"]).await.unwrap();
    assert_eq!(outcome.response.message, "the asset asset9 does not exist");
    let (outcome, _) = run(&peer, &id, &empty, &["CreateAsset", "a", "b", "five", "c", "1"]).await.unwrap();
    assert!(outcome.response.message.contains("Cannot convert passed value five to int"));
    assert_eq!(tasks.starts.load(Ordering::SeqCst), 1, "one process serves them all");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_leave_in_one_batch_and_ranges_come_in_batches() {
    let (peer, _tasks, id) = Peer::with_contract(AssetTransfer).await;
    let (_, rwset) = run(&peer, &id, &State::of([]), &["InitLedger"]).await.unwrap();
    assert_eq!(rwset.namespaces[0].public.writes.len(), 6);

    let state = numbered(250);
    let (outcome, rwset) = run(&peer, &id, &state, &["GetAllAssets"]).await.unwrap();
    let assets: Vec<serde_json::Value> = serde_json::from_slice(&outcome.response.payload).unwrap();
    assert_eq!(assets.len(), 250);
    assert_eq!(assets[249]["ID"], "asset0249");
    assert!(rwset.namespaces[0].public.range_queries_info[0].itr_exhausted);
    let (outcome, _) = run(&peer, &id, &state, &["GetAssetsByRange", "asset0010", "asset0013"]).await.unwrap();
    assert_eq!(text(&outcome.response.payload).matches("AppraisedValue").count(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_continue_at_their_bookmark() {
    let (peer, _tasks, id) = Peer::with_contract(AssetTransfer).await;
    let state = numbered(25);
    let (mut bookmark, mut sizes, mut ids) = (String::new(), Vec::new(), Vec::new());
    loop {
        let args = ["GetAssetsByRangeWithPagination", "", "", "10", &bookmark];
        let (outcome, _) = run(&peer, &id, &state, &args).await.unwrap();
        let page: serde_json::Value = serde_json::from_slice(&outcome.response.payload).unwrap();
        sizes.push(page["fetchedRecordsCount"].as_i64().unwrap());
        ids.extend(page["records"].as_array().unwrap().iter().map(|record| record["ID"].clone()));
        bookmark = page["bookmark"].as_str().unwrap().to_owned();
        if bookmark.is_empty() {
            break;
        }
    }
    assert_eq!(sizes, [10, 10, 5]);
    ids.dedup();
    assert_eq!(ids.len(), 25);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_transactions_share_the_stream() {
    let (peer, tasks, id) = Peer::with_contract(AssetTransfer).await;
    let state = numbered(300);
    let calls = (0..300).map(|number| {
        let (peer, id, state) = (&peer, &id, &state);
        async move {
            let asset = format!("asset{number:04}");
            let (outcome, _) = run(peer, id, state, &["ReadAsset", &asset]).await.unwrap();
            assert!(text(&outcome.response.payload).contains(&asset));
        }
    });
    futures::future::join_all(calls).await;
    assert_eq!(tasks.starts.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_counted_under_the_usual_names() {
    let (tasks, metrics) = (crate::world::Tasks::new(AssetTransfer), konsort_node::Metrics::new());
    let peer = Peer::start(Some(vec![tasks]), |settings| settings.metrics = Some(metrics.clone())).await;
    let mut installed = peer.runtime.packages_watch();
    let id = peer.install("basic_1.0", "task", b"1").await;
    assert!(installed.has_changed().unwrap() && *installed.borrow_and_update() == 1);
    for _ in 0..3 {
        run(&peer, &id, &numbered(2), &["ReadAsset", "asset0001"]).await.unwrap();
    }
    let text = metrics.render();
    let counted = format!(
        r#"chaincode_shim_requests_completed{{chaincode="{id}",channel="mychannel",success="true",type="GET_STATE"}} 3"#
    );
    assert!(text.contains(&counted), "{text}");
    assert!(
        text.contains(&format!(r#"chaincode_launch_duration_count{{chaincode="{id}",success="true"}} 1"#)),
        "{text}"
    );
}

/// Functions that misbehave.
#[derive(Clone)]
struct Odd;

impl Contract for Odd {
    async fn invoke(&self, stub: &Stub) -> Reply {
        match stub.function() {
            "sleep" => {
                tokio::time::sleep(std::time::Duration::from_mins(1)).await;
                Ok(Vec::new().into())
            }
            "panic" => panic!("on purpose"),
            "status" => Err(ContractError { message: "teapot".into(), status: 418 }),
            "rich" => stub.query(r#"{"selector":{}}"#).await.map(|_| "found".into()).map_err(Into::into),
            "history" => stub.history("k").await.map(|_| "found".into()).map_err(Into::into),
            "private" => {
                stub.put_private("coll", "k", "v").await?;
                Ok(Vec::new().into())
            }
            "purge" => {
                stub.purge_private("coll", "k").await?;
                Ok(Vec::new().into())
            }
            "policy" => {
                stub.set_validation_parameter("k", "policy").await?;
                Ok(Vec::new().into())
            }
            "both" => {
                let (first, second) = futures::join!(stub.get_state("asset0001"), stub.get_state("asset0002"));
                Ok(format!("{}{}", first?.is_some(), second?.is_some()).into())
            }
            "several" => {
                let values = stub.get_states(&["asset0001", "none", "asset0002"]).await?;
                Ok(format!("{:?}", values.iter().map(Option::is_some).collect::<Vec<_>>()).into())
            }
            "call" => {
                let [name, function] = stub.parameters()?;
                let response = stub.invoke_chaincode(name, &[function.as_bytes()], "").await?;
                Ok(format!("{} {} {}", response.status, response.message, text(&response.payload)).into())
            }
            _ => Ok("ok".into()),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_the_peer_refuses_say_why() {
    let (peer, _tasks, id) = Peer::with_contract(Odd).await;
    let state = numbered(3);
    let message = |args: &'static [&'static str], change: fn(&mut Call)| {
        let (peer, id, state) = (&peer, &id, &state);
        async move {
            let mut call = call(id, state, args);
            change(&mut call);
            peer.runtime.execute(call, dispatcher(&peer.runtime)).await.unwrap().response
        }
    };
    let none: fn(&mut Call) = |_| {};
    assert_eq!(message(&["status"], none).await.status, 418);
    assert!(message(&["rich"], none).await.message.contains("rich queries need a state database with a query engine"));
    assert!(message(&["history"], none).await.message.ends_with("history database is not enabled"));
    let in_init = message(&["private"], |call| call.is_init = true).await.message;
    assert!(in_init.starts_with("PUT_STATE failed: transaction ID: "), "{in_init}");
    assert!(in_init.ends_with("private data APIs are not allowed in chaincode Init()"));
    let purge = message(&["purge"], |call| call.capabilities.purge_private_data = false).await.message;
    assert!(purge.contains("capability of V2_5 or later is required"));
    let policy = message(&["policy"], |call| call.capabilities.key_level_endorsement = false).await.message;
    assert!(policy.contains("capability of V1_3 or later is required"));
    assert_eq!(text(&message(&["both"], none).await.payload), "truetrue");
    assert_eq!(text(&message(&["several"], none).await.payload), "[true, false, true]");

    let denied = Arc::new(Loop {
        runtime: peer.runtime.clone(),
        targets: std::collections::BTreeMap::new(),
        permission: CollectionPermission { read: true, write: false },
    });
    let response = peer.runtime.execute(call(&id, &state, &["private"]), denied).await.unwrap().response;
    assert!(response.message.ends_with(
        "tx creator does not have write access permission on privatedata in chaincodeName:basic collectionName: coll"
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chaincode_calls_chaincode() {
    let tasks = crate::world::Tasks::new(Odd);
    let peer = Peer::start(Some(vec![tasks.clone()]), |_| {}).await;
    let (first, second) = (peer.install("first", "task", b"1").await, peer.install("second", "task", b"2").await);
    let targets = [("other".to_owned(), second), ("self".to_owned(), first.clone())].into();
    let permission = CollectionPermission { read: true, write: true };
    let dispatcher = Arc::new(Loop { runtime: peer.runtime.clone(), targets, permission });
    let message = |args: &'static [&'static str]| {
        let call = call(&first, &numbered(1), args);
        let dispatcher = dispatcher.clone();
        let runtime = peer.runtime.clone();
        async move { runtime.execute(call, dispatcher).await.unwrap().response }
    };
    assert_eq!(text(&message(&["call", "other", "fine"]).await.payload), "200  ok");
    assert_eq!(text(&message(&["call", "other", "status"]).await.payload), "418 teapot ");
    let failed = message(&["call", "nobody", "x"]).await.message;
    assert!(failed.contains("execute failed: invalid invocation: chaincode nobody not found"), "{failed}");
    let recursive = message(&["call", "self", "x"]).await.message;
    assert!(recursive.contains("exists"), "{recursive}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hanging_panicking_or_dying_chaincode_hurts_only_its_own_transaction() {
    let tasks = crate::world::Tasks::new(Odd);
    let peer = Peer::start(Some(vec![tasks.clone()]), |settings| {
        settings.execute_timeout = std::time::Duration::from_secs(1);
    })
    .await;
    let id = peer.install("basic_1.0", "task", b"1").await;
    let state = State::of([]);

    let error = run(&peer, &id, &state, &["sleep"]).await.unwrap_err();
    assert!(error.to_string().contains("error sending: timeout expired while executing transaction"), "{error}");
    let error = run(&peer, &id, &state, &["panic"]).await.unwrap_err();
    assert!(matches!(error, ChaincodeError::Failure { .. }), "{error}");
    assert_eq!(text(&run(&peer, &id, &state, &["fine"]).await.unwrap().0.response.payload), "ok");

    let (peer, id, state) = (&peer, &id, &state);
    let sleeping = async move { run(peer, id, state, &["sleep"]).await.unwrap_err() };
    let killer = async {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        tasks.kill();
    };
    let (error, ()) = tokio::join!(sleeping, killer);
    assert!(error.to_string().contains("chaincode stream terminated"), "{error}");
    assert!(error.to_string().contains(id.as_str()), "names the package: {error}");
    assert_eq!(text(&run(peer, id, state, &["fine"]).await.unwrap().0.response.payload), "ok", "started again");
    assert_eq!(tasks.starts.load(Ordering::SeqCst), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_transaction_twice_at_once_is_refused() {
    let (peer, _tasks, id) = Peer::with_contract(Odd).await;
    let state = State::of([]);
    let first = call(&id, &state, &["sleep"]);
    let second = Call { input: call(&id, &state, &["fine"]).input, ..first.clone() };
    let runtime = peer.runtime.clone();
    let answer = dispatcher(&runtime);
    let running = tokio::spawn({
        let (runtime, answer) = (runtime.clone(), answer.clone());
        async move { runtime.execute(first, answer).await }
    });
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let error = runtime.execute(second, answer).await.unwrap_err();
    assert!(error.to_string().ends_with("(mychannel) exists"), "{error}");
    running.abort();
}
