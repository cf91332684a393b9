//! Setup, logging in and out, tokens that are not ours, guessing.

use http::header;
use konsort_platform::server::Server;
use serde_json::{Value, json};

use super::support::{As, Browser, PASSWORD, Platform, browser, call, config};

/// From the printed link to a browser that may write; the same on every database.
pub(crate) async fn whole_story(platform: &Platform) {
    let addr = platform.server.addr;
    let again = json!({"token": "x", "username": "eve", "password": PASSWORD, "organisation": "Eve"});
    let answer = platform.call(As::Nobody, "POST", "/v1/setup", Some(again)).await.expect(409);
    assert_eq!(answer.code(), "setup_done");
    let state = platform.call(As::Nobody, "GET", "/v1/setup", None).await.expect(200).json();
    assert_eq!(state["needed"], false);

    let session = platform.call(platform.root(), "GET", "/v1/session", None).await.expect(200).json();
    assert_eq!(session["role"], "platform_admin");
    assert_eq!(session["csrf_token"], platform.admin.csrf);
    assert!(session["expires_at"].as_str().unwrap().ends_with('Z'));
    assert!(session["permissions"].as_array().unwrap().iter().any(|row| row == "POST /v1/organisations"));

    platform.new_user("Alice", "developer", &platform.organisation).await;
    assert_eq!(platform.log_in("alice", "wrong password").await.expect(401).code(), "wrong_credentials");
    assert_eq!(platform.log_in("nobody", PASSWORD).await.expect(401).code(), "wrong_credentials");
    let alice = browser(&platform.log_in("ALICE", PASSWORD).await.expect(201));
    let session = platform.call(As::Browser(&alice), "GET", "/v1/session", None).await.expect(200).json();
    assert_eq!(session["user"]["username"], "alice");
    assert_eq!(session["role"], "developer");

    // A write without, or with another, token is not the console's.
    for csrf in ["", "guess", &platform.admin.csrf] {
        let forged = Browser { cookie: alice.cookie.clone(), csrf: csrf.to_owned() };
        let answer = platform.call(As::Browser(&forged), "DELETE", "/v1/session", None).await.expect(403);
        assert_eq!(answer.code(), "csrf_token_wrong");
    }
    platform.call(As::Browser(&alice), "DELETE", "/v1/session", None).await.expect(204);
    let answer = platform.call(As::Browser(&alice), "GET", "/v1/session", None).await.expect(401);
    assert_eq!(answer.code(), "session_expired");

    // In Chinese, with the same code.
    let answer =
        call(addr, As::Nobody, "GET", "/v1/users", None, &[("accept-language", "zh-CN,zh;q=0.9,en;q=0.1")]).await;
    assert_eq!(answer.code(), "unauthenticated");
    assert_eq!(answer.json()["title"], "尚未登录");
    assert_eq!(answer.header("content-language"), "zh");
}

#[tokio::test]
async fn from_the_link_to_a_session() {
    let platform = Platform::start().await;
    whole_story(&platform).await;
    platform.server.stop().await;
}

#[tokio::test]
async fn tokens_that_are_not_ours_are_refused() {
    let platform = Platform::start().await;
    let addr = platform.server.addr;
    let long = "x".repeat(5000);
    for token in ["kst_", "kst_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "eyJhbGciOiJub25lIn0.e30.", "", &long] {
        let value = format!("Bearer {token}");
        let answer = call(addr, As::Nobody, "GET", "/v1/users", None, &[("authorization", &value)]).await;
        assert_eq!((answer.status, answer.code().as_str()), (401, "session_expired"), "{token}");
    }
    for (name, value) in [("cookie", "konsort_session=guess"), ("authorization", "Basic cm9vdDpyb290")] {
        let answer = call(addr, As::Nobody, "GET", "/v1/users", None, &[(name, value)]).await;
        assert_eq!(answer.status, 401, "{name}");
    }
    // The token is stored as a hash only: what is in the database does not log in.
    let database = std::fs::read(platform.folder.path().join("data/server.db")).unwrap();
    let log = std::fs::read(platform.folder.path().join("data/server.db-wal")).unwrap_or_default();
    let secret = platform.admin.cookie.split_once('=').unwrap().1.as_bytes();
    for bytes in [&database, &log] {
        assert!(!bytes.windows(secret.len()).any(|window| window == secret));
        assert!(!bytes.windows(PASSWORD.len()).any(|window| window == PASSWORD.as_bytes()));
    }
    platform.server.stop().await;
}

#[tokio::test]
async fn guessing_passwords_becomes_slow() {
    let platform = Platform::start().await;
    let mut refused = 0;
    for _ in 0..7 {
        let answer = platform.log_in("root", "a wrong password").await;
        if answer.status == 429 {
            assert_eq!(answer.code(), "rate_limited");
            assert!(answer.header(header::RETRY_AFTER.as_str()).parse::<u64>().unwrap() >= 1);
            refused += 1;
        } else {
            assert_eq!(answer.status, 401);
        }
    }
    assert!(refused >= 1, "seven wrong passwords in a row were all looked at");
    // Others are not locked out, and who is logged in stays so.
    assert_eq!(platform.log_in("somebody", "a wrong password").await.status, 401);
    platform.call(platform.root(), "GET", "/v1/session", None).await.expect(200);
    platform.server.stop().await;
}

#[tokio::test]
async fn setup_wants_the_printed_link_and_good_values() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(config(&folder, None)).await.unwrap();
    let first = server.setup_link.clone().unwrap();
    let addr = server.addr;
    let body = |token: &str, username: &str, password: &str| {
        Some(json!({"token": token, "username": username, "password": password, "organisation": "One"}))
    };
    let token = first.split_once("token=").unwrap().1.to_owned();
    let record = || -> Value {
        serde_json::from_slice(&std::fs::read(folder.path().join("data/server.json")).unwrap()).unwrap()
    };
    assert_eq!(record()["setup_link"], first);
    let wrong = call(addr, As::Nobody, "POST", "/v1/setup", body("guess", "root", PASSWORD), &[]).await.expect(403);
    assert_eq!(wrong.code(), "setup_link_wrong");
    for (username, password, field) in
        [("r", PASSWORD, "username"), ("../root", PASSWORD, "username"), ("root", "short", "password")]
    {
        let answer =
            call(addr, As::Nobody, "POST", "/v1/setup", body(&token, username, password), &[]).await.expect(422);
        assert_eq!(answer.code(), "invalid_field");
        assert_eq!(answer.json()["params"]["field"], field);
    }
    // A second server in the same folder is refused; a new start prints a new link and the old one is void.
    let busy = Server::start(config(&folder, None)).await.unwrap_err().to_string();
    assert!(busy.contains("another server works in"), "{busy}");
    server.stop().await;
    let server = Server::start(config(&folder, None)).await.unwrap();
    assert_ne!(server.setup_link.clone().unwrap().split_once("token=").unwrap().1, token);
    let answer =
        call(server.addr, As::Nobody, "POST", "/v1/setup", body(&token, "root", PASSWORD), &[]).await.expect(403);
    assert_eq!(answer.code(), "setup_link_wrong");
    let token = server.setup_link.clone().unwrap().split_once("token=").unwrap().1.to_owned();
    call(server.addr, As::Nobody, "POST", "/v1/setup", body(&token, "root", PASSWORD), &[]).await.expect(201);
    assert_eq!(record()["setup_link"], Value::Null);
    server.stop().await;
}

#[tokio::test]
async fn what_happens_to_a_user_counts_at_once() {
    let platform = Platform::start().await;
    let id = platform.new_user("carol", "operator", &platform.organisation).await;
    let carol = browser(&platform.log_in("carol", PASSWORD).await.expect(201));
    let path = format!("/v1/users/{id}");
    let me = As::Browser(&carol);
    platform.call(me, "GET", "/v1/audit", None).await.expect(403);
    platform.call(platform.root(), "PATCH", &path, Some(json!({"role": "auditor"}))).await.expect(200);
    platform.call(me, "GET", "/v1/audit", None).await.expect(200);
    // One's own password wants the present one; afterwards every session has ended.
    let password = format!("{path}/password");
    let wrong = json!({"current": "not this one", "new": "another long password"});
    let answer = platform.call(me, "POST", &password, Some(wrong)).await.expect(422);
    assert_eq!(answer.json()["params"]["field"], "current");
    let right = json!({"current": PASSWORD, "new": "another long password"});
    platform.call(me, "POST", &password, Some(right)).await.expect(204);
    platform.call(me, "GET", "/v1/session", None).await.expect(401);
    let carol = browser(&platform.log_in("carol", "another long password").await.expect(201));
    platform.call(platform.root(), "PATCH", &path, Some(json!({"disabled": true}))).await.expect(200);
    platform.call(As::Browser(&carol), "GET", "/v1/session", None).await.expect(401);
    platform.log_in("carol", "another long password").await.expect(401);
    // The last administrator stays.
    let users = platform.call(platform.root(), "GET", "/v1/users?order_by=name", None).await.expect(200).json();
    let root = users["items"].as_array().unwrap().iter().find(|user| user["username"] == "root").unwrap().clone();
    let path = format!("/v1/users/{}", root["id"].as_str().unwrap());
    for change in [json!({"role": "operator"}), json!({"disabled": true})] {
        let answer = platform.call(platform.root(), "PATCH", &path, Some(change)).await.expect(409);
        assert_eq!(answer.code(), "conflict");
    }
    platform.call(platform.root(), "DELETE", &path, None).await.expect(409);
    platform.server.stop().await;
}
