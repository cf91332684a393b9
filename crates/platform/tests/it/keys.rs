//! API keys: shown once, worth what they say and no more.

use konsort_platform::db::{Kind, New};
use serde_json::json;

use super::support::{As, PASSWORD, Platform, browser};

#[tokio::test]
async fn a_key_is_worth_what_it_says_until_it_ends() {
    let platform = Platform::start().await;
    let body = json!({"name": "ci", "role": "developer", "expires_in_days": 1});
    let made = platform.call(platform.root(), "POST", "/v1/api_keys", Some(body)).await.expect(201).json();
    let secret = made["secret"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("kst_") && secret.len() > 40);
    assert!(made["expires_at"].as_str().unwrap().ends_with('Z'));
    let session = platform.call(As::Key(&secret), "GET", "/v1/session", None).await.expect(200).json();
    assert_eq!((&session["role"], &session["proof"]), (&json!("developer"), &json!("api_key")));
    // No CSRF token is needed with a key, and none of its role's limits is lifted by its owner's role.
    platform.call(As::Key(&secret), "POST", "/v1/organisations", Some(json!({"name": "x"}))).await.expect(403);
    // The list shows no secret.
    let list = platform.call(platform.root(), "GET", "/v1/api_keys", None).await.expect(200);
    assert!(!list.text().contains(&secret));
    assert_eq!(list.json()["items"][0]["prefix"], secret[..8]);
    let path = format!("/v1/api_keys/{}", made["id"].as_str().unwrap());
    platform.call(platform.root(), "DELETE", &path, None).await.expect(204);
    platform.call(As::Key(&secret), "GET", "/v1/session", None).await.expect(401);

    // One that has ended.
    let made = platform.key("developer", &platform.organisation).await;
    sqlx::query("UPDATE api_keys SET expires_at = 1").execute(platform.server.app.db.write()).await.unwrap();
    platform.call(As::Key(&made), "GET", "/v1/session", None).await.expect(401);
    platform.server.stop().await;
}

#[tokio::test]
async fn nobody_makes_a_key_above_their_own_worth() {
    let platform = Platform::start().await;
    let other = platform.new_organisation("Other").await;
    platform.new_user("dora", "developer", &platform.organisation).await;
    let dora = browser(&platform.log_in("dora", PASSWORD).await.expect(201));
    for role in ["platform_admin", "organisation_admin", "operator", "auditor"] {
        let body = json!({"name": "k", "role": role});
        let answer = platform.call(As::Browser(&dora), "POST", "/v1/api_keys", Some(body)).await.expect(403);
        assert_eq!(answer.code(), "forbidden");
    }
    let body = json!({"name": "k", "role": "application", "organisation": other});
    platform.call(As::Browser(&dora), "POST", "/v1/api_keys", Some(body)).await.expect(422);
    let body = json!({"name": "k", "networks": ["net_aaaaaaaaaaaaaaaaaaaa"]});
    platform.call(As::Browser(&dora), "POST", "/v1/api_keys", Some(body)).await.expect(422);
    let body = json!({"name": "k"});
    let made = platform.call(As::Browser(&dora), "POST", "/v1/api_keys", Some(body)).await.expect(201).json();
    assert_eq!(made["role"], "application");
    let secret = made["secret"].as_str().unwrap().to_owned();
    platform.call(As::Key(&secret), "GET", "/v1/session", None).await.expect(200);
    // When its owner goes, so does the key.
    let owner = made["owner"].as_str().unwrap();
    platform
        .call(platform.root(), "PATCH", &format!("/v1/users/{owner}"), Some(json!({"disabled": true})))
        .await
        .expect(200);
    platform.call(As::Key(&secret), "GET", "/v1/session", None).await.expect(401);
    platform.call(platform.root(), "DELETE", &format!("/v1/users/{owner}"), None).await.expect(204);
    let list = platform.call(platform.root(), "GET", "/v1/api_keys", None).await.expect(200).json();
    assert!(list["items"].as_array().unwrap().is_empty(), "{list}");
    platform.server.stop().await;
}

#[tokio::test]
async fn a_key_for_some_networks_changes_nothing_outside_of_them() {
    let platform = Platform::start().await;
    let doc = json!({"spec": {"organisations": [{"id": platform.organisation}]}});
    let network = "net_bbbbbbbbbbbbbbbbbbbb";
    let own = Some(platform.organisation.as_str());
    let new = New { id: network, network: None, organisation: own, name: "x", doc: &doc };
    platform.server.app.records.create(Kind::Network, new).await.unwrap();
    let user = platform.new_user("dora", "developer", &platform.organisation).await;
    let body = json!({"name": "k", "role": "organisation_admin", "networks": [network]});
    let made = platform.call(platform.root(), "POST", "/v1/api_keys", Some(body)).await.expect(201).json();
    let secret = made["secret"].as_str().unwrap().to_owned();
    let limited = As::Key(&secret);
    for (method, path) in [
        ("POST", "/v1/users".to_owned()),
        ("PATCH", format!("/v1/users/{user}")),
        ("DELETE", format!("/v1/users/{user}")),
        ("POST", format!("/v1/users/{user}/password")),
        ("POST", "/v1/api_keys".to_owned()),
        ("DELETE", format!("/v1/api_keys/{}", made["id"].as_str().unwrap())),
        ("PATCH", format!("/v1/organisations/{}", platform.organisation)),
        ("POST", "/v1/networks".to_owned()),
        ("POST", "/v1/projects".to_owned()),
    ] {
        let answer = platform.call(limited, method, &path, Some(json!({}))).await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "forbidden"), "{method} {path}: {}", answer.text());
    }
    platform.call(limited, "GET", &format!("/v1/users/{user}"), None).await.expect(200);
    platform.call(limited, "PATCH", &format!("/v1/networks/{network}"), Some(json!([]))).await.expect(422);
    // What was refused is known too.
    let records = platform.call(platform.root(), "GET", "/v1/audit?action=PATCH%20/v1/users", None).await.expect(200);
    assert_eq!(records.json()["items"][0]["code"], "forbidden");
    platform.server.stop().await;
}

#[tokio::test]
async fn a_key_ends_when_its_owner_leaves_the_organisation() {
    let platform = Platform::start().await;
    let other = platform.new_organisation("Other").await;
    let user = platform.new_user("dora", "developer", &platform.organisation).await;
    let dora = browser(&platform.log_in("dora", PASSWORD).await.expect(201));
    let made = platform.call(As::Browser(&dora), "POST", "/v1/api_keys", Some(json!({"name": "k"}))).await.expect(201);
    let secret = made.json()["secret"].as_str().unwrap().to_owned();
    platform.call(As::Key(&secret), "GET", "/v1/session", None).await.expect(200);
    let change = Some(json!({"organisation": other}));
    platform.call(platform.root(), "PATCH", &format!("/v1/users/{user}"), change).await.expect(200);
    platform.call(As::Key(&secret), "GET", "/v1/session", None).await.expect(401);
    platform.server.stop().await;
}
