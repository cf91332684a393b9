//! One network of each engine through the API: made, watched, a contract deployed and called, its transaction found.

use serde_json::{Value, json};

use super::crash::every_block_once;
use super::postgres::{Postgres, programs};
use super::real::{Events, Real, sample, small, write};

async fn story(engine: &str, database_url: Option<String>) {
    let folder = tempfile::tempdir().unwrap();
    let real = Real::start(folder.path(), database_url).await;
    let mut events = Events::open(&real, "topics=block,transaction,operation", None).await;

    let plan = real.call("POST", "/v1/networks?dry_run=true", Some(small(engine, "链 1"))).await.expect(200).json();
    assert!(!plan["steps"].as_array().unwrap().is_empty() && !plan["fault_budget"]["zh"].as_str().unwrap().is_empty());
    let made = real.done("POST", "/v1/networks", Some(small(engine, "链 1"))).await;
    assert!(made["steps"].as_array().unwrap().iter().all(|step| step["state"] == "done" && step["attempts"] == 1));
    let network = made["network"].as_str().unwrap().to_owned();
    let path = format!("/v1/networks/{network}");
    real.until(&path, "running", |view| {
        view["state"] == "running" && view["nodes"]["running"] == view["nodes"]["total"]
    })
    .await;

    // The first block is told of without asking, and is in the explorer then.
    let first = loop {
        let told = events.next().await.expect("events go on");
        if told.topic == "block" {
            break told;
        }
    };
    assert_eq!((first.data["network"].as_str(), first.data["height"].as_u64()), (Some(network.as_str()), Some(0)));
    let hash = first.data["hash"].as_str().unwrap();
    let block = real.get(&format!("{path}/blocks/{hash}")).await;
    assert_eq!(block["height"], 0);

    let deployed = real.done("POST", &format!("{path}/contracts"), Some(sample(engine))).await;
    let contracts = real.get(&format!("/v1/contracts?network={network}")).await;
    let contract = &contracts["items"][0];
    assert_eq!(contract["state"], "running", "{contract:#}\n{deployed:#}");
    let id = contract["id"].as_str().unwrap();

    let (method, body) = write(engine, "asset-one");
    let sent = real.call("POST", &format!("/v1/contracts/{id}/methods/{method}"), Some(body)).await.expect(200).json();
    assert_eq!(sent["ok"], true, "{sent:#}");
    let transaction = sent["transaction"].as_str().unwrap();

    // Its transaction comes by the stream, in the list, by search.
    loop {
        let told = events.next().await.expect("events go on");
        if told.topic == "transaction" && told.data["id"] == transaction.to_lowercase() {
            assert_eq!(told.data["ok"], true);
            break;
        }
    }
    let found = real.get(&format!("/v1/search?q={transaction}")).await;
    assert_eq!(found["items"][0]["kind"], "transaction", "{found:#}");
    let shortened = &transaction[..12];
    let found = real.get(&format!("/v1/search?q={shortened}")).await;
    assert!(found["items"].as_array().unwrap().iter().any(|one| one["id"] == transaction.to_lowercase()), "{found:#}");
    let listed = real.get(&format!("{path}/transactions?contract={id}&page_size=1")).await;
    assert_eq!(listed["items"][0]["method"], method, "{listed:#}");
    let full = real.get(&format!("{path}/transactions/{transaction}")).await;
    assert_eq!(full["contract"]["id"], id, "{full:#}");

    // The rest of what can be looked at answers.
    let looks =
        ["", "/nodes", "/channels", "/members", "/identities", "/topology", "/metrics", "/config_history", "/blocks"];
    for look in looks {
        real.get(&format!("{path}{look}")).await;
    }
    let node = real.get(&format!("{path}/nodes")).await["items"][0]["id"].as_str().unwrap().to_owned();
    let log = real.get(&format!("{path}/nodes/{node}/logs?tail=5")).await;
    assert!(!log["lines"].as_array().unwrap().is_empty());
    let calls = real.get(&format!("/v1/contracts/{id}/calls")).await;
    assert_eq!(calls["items"][0]["call"]["transaction"], transaction, "{calls:#}");

    // Everything of it goes.
    real.done("DELETE", &path, None).await;
    assert_eq!(real.call("GET", &path, None).await.code(), "not_found");
    let nothing: Value = real.get(&format!("/v1/search?q={transaction}")).await;
    assert_eq!(nothing["items"], json!([]));
    assert!(!real.data.join("networks").join(&network).exists());
    real.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fabric_network_from_its_plan_to_a_found_transaction() {
    story("fabric", None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bcos_chain_from_its_plan_to_a_found_transaction() {
    story("bcos", None).await;
}

/// The same on PostgreSQL, which goes away while a network is being made.
#[tokio::test(flavor = "multi_thread")]
async fn postgresql_serves_as_well_and_may_be_gone_for_a_while() {
    let Some(programs) = programs() else {
        assert!(std::env::var_os("CI").is_none(), "PostgreSQL is part of every run in CI: install it");
        eprintln!("skipped: no initdb and pg_ctl in /usr/lib/postgresql/*/bin or on the path; install postgresql");
        return;
    };
    let postgres = tokio::task::spawn_blocking(|| Postgres::start(programs)).await.unwrap();
    story("bcos", Some(postgres.database("thread"))).await;

    let folder = tempfile::tempdir().unwrap();
    let real = Real::start(folder.path(), Some(postgres.database("outage"))).await;
    let made = real.begin("POST", "/v1/networks", Some(small("bcos", "outage"))).await;
    let postgres = tokio::task::spawn_blocking(move || {
        postgres.down();
        std::thread::sleep(std::time::Duration::from_secs(20));
        postgres.up();
        postgres
    });
    let postgres = postgres.await.unwrap();
    let ended = real.ended(made["id"].as_str().unwrap()).await;
    assert_eq!(ended["state"], "done", "{ended:#}");
    let path = format!("/v1/networks/{}", made["network"].as_str().unwrap());
    real.until(&path, "running", |view| view["state"] == "running").await;
    real.done("POST", &format!("{path}/contracts"), Some(sample("bcos"))).await;
    every_block_once(&real, made["network"].as_str().unwrap()).await;
    real.finish().await;
    drop(postgres);
}
