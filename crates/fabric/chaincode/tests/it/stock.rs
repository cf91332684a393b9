//! Stock chaincode: the contract libraries of Node and Go, as processes and as services.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use fabric_chaincode::package::pack_files;
use konsort_node::Environment;

use crate::{
    process::peer,
    world::{Peer, State, free_port, run, text},
};

const ASSET: &str = r#"{"AppraisedValue":300,"Color":"blue","ID":"asset1","Owner":"Tomoko","Size":5}"#;

fn sources(language: &str, files: &[&str]) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/conformance/chaincode").join(language);
    let files: Vec<(String, Vec<u8>)> =
        files.iter().map(|file| (format!("src/{file}"), std::fs::read(folder.join(file)).unwrap())).collect();
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, content)| (name.as_str(), content.as_slice())).collect();
    pack_files(&files).unwrap()
}

fn has(program: &str) -> bool {
    let found =
        std::env::var("PATH").unwrap_or_default().split(':').any(|folder| Path::new(folder).join(program).is_file());
    if !found {
        eprintln!("SKIPPED: {program} is not installed on this machine");
    }
    found
}

/// The functions every implementation has, with the same answers.
async fn check_contract(peer: &Peer, id: &str) {
    let empty = State::of([]);
    let full = State::of((1..=120).map(|number| {
        let id = format!("asset{number:03}");
        let asset = format!(r#"{{"AppraisedValue":1,"Color":"c","ID":"{id}","Owner":"o","Size":1}}"#);
        (id, asset)
    }));
    let (outcome, rwset) =
        run(peer, id, &empty, &["CreateAsset", "asset1", "blue", "5", "Tomoko", "300"]).await.unwrap();
    assert_eq!(outcome.response.status, 200, "{}", outcome.response.message);
    let event = outcome.event.unwrap();
    assert_eq!((event.event_name.as_str(), text(&event.payload)), ("CreateAsset", ASSET));
    assert_eq!(text(&rwset.namespaces[0].public.writes[0].value), ASSET);
    let (_, rwset) = run(peer, id, &empty, &["InitLedger"]).await.unwrap();
    assert_eq!(rwset.namespaces[0].public.writes.len(), 6);

    let (outcome, _) = run(peer, id, &empty, &["ReadAsset", "none"]).await.unwrap();
    assert!(outcome.response.status >= 500 && outcome.response.message.contains("the asset none does not exist"));
    let (outcome, _) = run(peer, id, &full, &["AssetExists", "asset007"]).await.unwrap();
    assert_eq!(text(&outcome.response.payload), "true");
    let (outcome, rwset) = run(peer, id, &full, &["TransferAsset", "asset007", "Max"]).await.unwrap();
    assert_eq!(text(&outcome.response.payload), "o");
    assert!(text(&rwset.namespaces[0].public.writes[0].value).contains(r#""Owner":"Max""#));
    let (_, rwset) = run(peer, id, &full, &["DeleteAsset", "asset007"]).await.unwrap();
    assert!(rwset.namespaces[0].public.writes[0].is_delete);

    let (outcome, rwset) = run(peer, id, &full, &["GetAllAssets"]).await.unwrap();
    assert_eq!(text(&outcome.response.payload).matches("AppraisedValue").count(), 120, "more than one batch");
    assert!(rwset.namespaces[0].public.range_queries_info[0].itr_exhausted);
    let (outcome, _) =
        run(peer, id, &full, &["GetAssetsByRangeWithPagination", "", "", "50", "asset101"]).await.unwrap();
    let page: serde_json::Value = serde_json::from_slice(&outcome.response.payload).unwrap();
    assert_eq!((page["fetchedRecordsCount"].as_i64(), page["bookmark"].as_str()), (Some(20), Some("")));
    let (outcome, _) = run(peer, id, &full, &["WhoAmI"]).await.unwrap();
    assert!(text(&outcome.response.payload).contains("Org1MSP"), "{}", outcome.response.message);
}

/// Starts a server that the peer is to dial, and checks the contract through it. `command` gets address and package id.
async fn check_service(command: impl FnOnce(&str, &str) -> tokio::process::Command) {
    let peer = peer(|_| {}).await;
    let address = free_port().to_string();
    let connection = format!(r#"{{"address":"{address}","dial_timeout":"20s","tls_required":false}}"#);
    let id =
        peer.install("service_1", "ccaas", &pack_files(&[("connection.json", connection.as_bytes())]).unwrap()).await;
    let _running = command(&address, &id).stdin(Stdio::null()).kill_on_drop(true).spawn().unwrap();
    check_contract(&peer, &id).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_runs_as_a_process_and_as_a_service() {
    if !has("npm") {
        return;
    }
    let code = sources("node", &["package.json", "package-lock.json", ".npmrc", "index.js", "lib/asset-transfer.js"]);
    let peer = peer(|settings| settings.environment = Environment::process()).await;
    let id = peer.install("node_1", "node", &code).await;
    check_contract(&peer, &id).await;

    let build: PathBuf = peer.folder.path().join("builds").join(id.replace(':', "-")).join("bld");
    check_service(|address, id| {
        let mut server = tokio::process::Command::new(build.join("node_modules/.bin/fabric-chaincode-node"));
        server.current_dir(&build).args(["server", "--chaincode-address", address, "--chaincode-id", id]);
        server
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn go_runs_as_a_process_and_as_a_service() {
    if !has("go") {
        return;
    }
    let code = sources("go", &["go.mod", "go.sum", "main.go", "contract.go"]);
    let peer = peer(|settings| settings.environment = Environment::process()).await;
    let id = peer.install("go_1", "golang", &code).await;
    check_contract(&peer, &id).await;
    let (_, rwset) = run(&peer, &id, &State::of([]), &["PutBatch", "k", "2500"]).await.unwrap();
    assert_eq!(rwset.namespaces[0].public.writes.len(), 2500);
    let state = State::of([("a".to_owned(), "1".to_owned()), ("c".to_owned(), "1".to_owned())]);
    let (outcome, _) = run(&peer, &id, &state, &["GetMultiple", r#"["a","b","c"]"#]).await.unwrap();
    assert_eq!(text(&outcome.response.payload), "2", "{}", outcome.response.message);

    let executable = peer.folder.path().join("builds").join(id.replace(':', "-")).join("bld/chaincode");
    check_service(|address, id| {
        let mut server = tokio::process::Command::new(executable);
        server.envs([("CHAINCODE_SERVER_ADDRESS", address), ("CHAINCODE_ID", id)]);
        server
    })
    .await;
}
