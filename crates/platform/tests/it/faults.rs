//! What goes wrong around operations: ports taken, edits that conflict, nodes that die, things given up half-way.

use serde_json::json;

use super::real::{Real, small};

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_fails_the_step_and_retry_works_once_it_is_free() {
    let folder = tempfile::tempdir().unwrap();
    let real = Real::start(folder.path(), None).await;
    let plan = real.call("POST", "/v1/networks?dry_run=true", Some(small("bcos", "taken"))).await.expect(200).json();
    let port = plan["spec"]["nodes"][0]["ports"]["rpc"].as_u64().unwrap();
    let mut request = small("bcos", "taken");
    request["first_port"] = plan["spec"]["nodes"][0]["ports"]
        .as_object()
        .unwrap()
        .values()
        .filter_map(serde_json::Value::as_u64)
        .min()
        .unwrap()
        .into();
    let made = real.begin("POST", "/v1/networks", Some(request.clone())).await;
    // Whoever is quicker: the step or this listener. The network is stopped, the port taken, the start fails.
    let made = real.ended(made["id"].as_str().unwrap()).await;
    assert_eq!(made["state"], "done", "{made:#}");
    let path = format!("/v1/networks/{}", made["network"].as_str().unwrap());
    real.done("POST", &format!("{path}/stop"), None).await;
    let listener = std::net::TcpListener::bind(("127.0.0.1", port as u16)).unwrap();
    let begun = real.begin("POST", &format!("{path}/start"), None).await;
    let failed = real.ended(begun["id"].as_str().unwrap()).await;
    assert_eq!(failed["state"], "failed", "{failed:#}");
    let step = failed["steps"].as_array().unwrap().iter().find(|step| step["state"] == "failed").unwrap();
    assert_eq!(step["error"]["code"], "port_taken", "{failed:#}");
    assert!(step["error"]["cause"].as_str().unwrap().contains(&port.to_string()));
    assert!(!step["error"]["remedy_zh"].as_str().unwrap().is_empty());
    drop(listener);
    let id = failed["id"].as_str().unwrap();
    real.call("POST", &format!("/v1/operations/{id}/retry"), None).await.expect(202);
    assert_eq!(real.ended(id).await["state"], "done");
    real.until(&path, "running", |view| view["state"] == "running").await;
    real.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_given_up_half_way_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let real = Real::start(folder.path(), None).await;
    for engine in ["fabric", "bcos"] {
        let made = real.begin("POST", "/v1/networks", Some(small(engine, "half"))).await;
        let id = made["id"].as_str().unwrap();
        let path = format!("/v1/networks/{}", made["network"].as_str().unwrap());
        // In the midst of it: something has been made.
        loop {
            let now = real.get(&format!("/v1/operations/{id}")).await;
            if now["steps"].as_array().unwrap().iter().skip(1).any(|step| step["state"] == "running") {
                break;
            }
            assert!(matches!(now["state"].as_str(), Some("pending" | "running")), "{now:#}");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        assert!(real.data.join(&path["/v1/".len()..]).exists());
        let answer = real.call("POST", &format!("/v1/operations/{id}/cancel"), None).await.expect(202);
        assert_eq!(answer.json()["state"], "cancelled");
        let removal = answer.header("location").rsplit('/').next().unwrap().to_owned();
        let removed = real.ended(&removal).await;
        assert_eq!(
            (removed["kind"].as_str(), removed["state"].as_str()),
            (Some("delete"), Some("done")),
            "{removed:#}"
        );
        assert_eq!(real.call("GET", &path, None).await.code(), "not_found");
        assert!(!real.data.join(&path["/v1/".len()..]).exists());
        assert_eq!(real.call("POST", &format!("/v1/operations/{id}/retry"), None).await.code(), "conflict");
        // Its ports are free again, its name too.
        real.done("POST", "/v1/networks", Some(small(engine, "half"))).await;
    }
    real.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_that_conflict_and_acts_on_what_is_not_there_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let real = Real::start(folder.path(), None).await;
    let made = real.done("POST", "/v1/networks", Some(small("bcos", "first"))).await;
    let path = format!("/v1/networks/{}", made["network"].as_str().unwrap());
    let tag = real.call("GET", &path, None).await.header("etag").to_owned();
    let patch = |name: &str| json!({ "name": name });
    let edit = |name: &'static str| {
        let tag = tag.clone();
        let (addr, admin, path) = (real.addr, real.admin.clone(), path.clone());
        async move {
            let headers = [("if-match", tag.as_str())];
            super::support::call(addr, super::support::As::Browser(&admin), "PATCH", &path, Some(patch(name)), &headers)
                .await
        }
    };
    let (one, other) = tokio::join!(edit("one"), edit("other"));
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412]);
    let name = real.get(&path).await["name"].clone();
    real.done("POST", &format!("{path}/nodes/node0/restart"), None).await;
    assert_eq!(real.get(&path).await["name"], name, "a name given meanwhile stays");

    let refused = [
        ("POST", format!("{path}/nodes/node9/stop"), None, "not_found"),
        ("POST", format!("{path}/nodes"), Some(json!({"organisation": "Nobody", "role": "sealer"})), "invalid_field"),
        (
            "PATCH",
            format!("{path}/channels/nowhere"),
            Some(json!({"key": "tx_count_limit", "value": "1"})),
            "not_found",
        ),
        (
            "POST",
            format!("{path}/identities"),
            Some(json!({"organisation": "Agency1", "name": "../x", "role": "account"})),
            "invalid_field",
        ),
        ("POST", format!("{path}/contracts"), Some(json!({"name": "x"})), "invalid_field"),
        (
            "POST",
            "/v1/networks".to_owned(),
            Some(json!({"name": " ", "engine": "bcos", "consensus": "pbft", "organisations": []})),
            "invalid_field",
        ),
        ("GET", format!("{path}/metrics?from=later"), None, "invalid_parameter"),
        ("GET", "/v1/events?topics=weather".to_owned(), None, "invalid_parameter"),
    ];
    for (method, path, body, code) in refused {
        assert_eq!(real.call(method, &path, body).await.code(), code, "{method} {path}");
    }
    real.done("POST", &format!("{path}/stop"), None).await;
    assert_eq!(real.call("POST", &format!("{path}/nodes/node0/start"), None).await.code(), "conflict");
    assert_eq!(real.get(&path).await["state"], "stopped");
    real.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_is_seen_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let real = Real::start(folder.path(), None).await;
    let made = real.done("POST", "/v1/networks", Some(small("bcos", "mortal"))).await;
    let path = format!("/v1/networks/{}", made["network"].as_str().unwrap());
    let running = |view: &serde_json::Value| view["nodes"]["running"] == 1;
    real.until(&path, "running", running).await;
    let before = real.pids(made["network"].as_str().unwrap()).await;
    let status = std::process::Command::new("kill").args(["-9", &before["node0"].to_string()]).status().unwrap();
    assert!(status.success());
    let node = format!("{path}/nodes/node0");
    let back = real.until(&node, "another process", |node| {
        node["pid"].as_u64().is_some_and(|pid| pid != before["node0"]) && node["status"] == "running"
    });
    let back = back.await;
    assert!(back["restarts"].as_u64() >= Some(1), "{back:#}");
    assert!(back["last_exit"].as_str().is_some_and(|text| !text.is_empty()), "{back:#}");
    real.finish().await;
}
