//! Writes that are repeated, that collide, and that make no sense.

use bytes::Bytes;
use http::{Request, header};
use http_body_util::Full;
use serde_json::{Value, json};

use super::support::{As, Platform, send};

/// Idempotency keys and entity tags; the same on every database.
pub(crate) async fn whole_story(platform: &Platform) {
    let root = platform.root();
    let make = |name: &str| Some(json!({"name": name}));
    let key = [("idempotency-key", "make-1")];
    let path = "/v1/organisations";
    let first = platform.call_with(root, "POST", path, make("Once"), &key).await.expect(201);
    let again = platform.call_with(root, "POST", path, make("Once"), &key).await.expect(201);
    assert_eq!(first.body, again.body);
    assert_eq!(first.header("location"), again.header("location"));
    assert_eq!((first.header("idempotency-replayed"), again.header("idempotency-replayed")), ("", "true"));
    let other = platform.call_with(root, "POST", path, make("Twice"), &key).await.expect(422);
    assert_eq!(other.code(), "idempotency_key_reused");
    // A refused write changed nothing; its key is free again.
    let key = [("idempotency-key", "make-2")];
    platform.call_with(root, "POST", path, make("Once"), &key).await.expect(409);
    platform.call_with(root, "POST", path, make("Another"), &key).await.expect(201);
    // Of the same request sent many times at once, one is carried out.
    let key = [("idempotency-key", "make-3")];
    let all = (0..8).map(|_| platform.call_with(root, "POST", path, make("Race"), &key));
    let answers = futures::future::join_all(all).await;
    assert!(answers.iter().all(|answer| matches!(answer.status, 201 | 409)));
    assert!(answers.iter().any(|answer| answer.status == 201));
    let named =
        |list: &Value, name: &str| list["items"].as_array().unwrap().iter().filter(|item| item["name"] == name).count();
    let list = platform.call(root, "GET", path, None).await.expect(200).json();
    assert_eq!((named(&list, "Once"), named(&list, "Race")), (1, 1));
    // A secret is not kept to be shown again.
    let key = [("idempotency-key", "make-4")];
    let body = Some(json!({"name": "secret"}));
    platform.call_with(root, "POST", "/v1/api_keys", body.clone(), &key).await.expect(201);
    let answer = platform.call_with(root, "POST", "/v1/api_keys", body, &key).await.expect(409);
    assert_eq!(answer.code(), "idempotency_answer_not_kept");

    let made = first.json();
    let path = format!("/v1/organisations/{}", made["id"].as_str().unwrap());
    let tag = platform.call(root, "GET", &path, None).await.expect(200).header("etag").to_owned();
    assert_eq!(tag, "\"1\"");
    let change = |name: &str| Some(json!({"description": name}));
    let changed = platform.call_with(root, "PATCH", &path, change("a"), &[("if-match", &tag)]).await.expect(200);
    assert_eq!(changed.header("etag"), "\"2\"");
    for stale in [tag.as_str(), "\"77\"", "W/\"2\"", "nonsense"] {
        let answer = platform.call_with(root, "PATCH", &path, change("b"), &[("if-match", stale)]).await.expect(412);
        assert_eq!(answer.code(), "precondition_failed");
    }
    platform.call_with(root, "DELETE", &path, None, &[("if-match", &tag)]).await.expect(412);
    platform.call_with(root, "PATCH", &path, change("c"), &[("if-match", "*")]).await.expect(200);
    platform.call_with(root, "DELETE", &path, None, &[("if-match", "\"3\"")]).await.expect(204);
    platform.call(root, "GET", &path, None).await.expect(404);
    // An organisation that somebody belongs to stays.
    let own = format!("/v1/organisations/{}", platform.organisation);
    platform.call(root, "DELETE", &own, None).await.expect(409);

    // Of changes at the same time none is lost: each reads what the one before wrote.
    let path = format!("/v1/organisations/{}", platform.new_organisation("Together").await);
    for round in 0..5 {
        let name = json!({"name": format!("Together {round}")});
        let words = json!({"description": format!("round {round}")});
        let (one, other) = tokio::join!(
            platform.call(root, "PATCH", &path, Some(name)),
            platform.call(root, "PATCH", &path, Some(words)),
        );
        assert_eq!((one.status, other.status), (200, 200), "{} {}", one.text(), other.text());
        let both = platform.call(root, "GET", &path, None).await.expect(200).json();
        assert_eq!(both["name"], format!("Together {round}"));
        assert_eq!(both["description"], format!("round {round}"));
    }

    // Lists page through everything once, in each order.
    for index in 0..7 {
        platform.new_organisation(&format!("Page {index}")).await;
    }
    for order in ["created_at", "-created_at", "name"] {
        let mut names = Vec::new();
        let mut token = String::new();
        loop {
            let path = format!("/v1/organisations?page_size=3&order_by={order}{token}");
            let page = platform.call(root, "GET", &path, None).await.expect(200).json();
            names
                .extend(page["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()));
            match page["next_page_token"].as_str() {
                Some(next) => token = format!("&page_token={next}"),
                None => break,
            }
        }
        let mut unique = names.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), names.len(), "{order}");
        assert!(names.len() >= 10, "{order}: {names:?}");
    }
}

#[tokio::test]
async fn repeated_and_colliding_writes() {
    let platform = Platform::start().await;
    whole_story(&platform).await;
    platform.server.stop().await;
}

#[tokio::test]
async fn a_large_write_may_carry_an_idempotency_key() {
    let platform = Platform::start().await;
    let root = platform.root();
    let project = json!({"name": "large", "language": "solidity"});
    let project = platform.call(root, "POST", "/v1/projects", Some(project)).await.expect(201).json();
    let path = format!("/v1/projects/{}/archive", project["id"].as_str().unwrap());
    let put = |length: usize| {
        Request::put(&path)
            .header(header::HOST, "x")
            .header(header::COOKIE, &platform.admin.cookie)
            .header("x-csrf-token", &platform.admin.csrf)
            .header("idempotency-key", "large")
            .header(header::CONTENT_TYPE, "application/zip")
            .body(Full::new(Bytes::from(vec![b'a'; length])))
            .unwrap()
    };
    let addr = platform.server.addr;
    // It is read to its end, and no archive.
    let (small, large) = (send(addr, put(1024)).await, send(addr, put(3 * 1024 * 1024)).await);
    assert_eq!((small.status, small.code()), (large.status, large.code()), "{}", large.text());
    platform.server.stop().await;
}

#[tokio::test]
async fn nonsense_is_refused_with_its_reason() {
    let platform = Platform::start().await;
    let root = platform.root();
    for (path, code) in [
        ("/v1/organisations?page_size=0", "invalid_parameter"),
        ("/v1/organisations?page_size=many", "invalid_parameter"),
        ("/v1/organisations?order_by=colour", "invalid_parameter"),
        ("/v1/organisations?page_token=AAAA", "invalid_page_token"),
        ("/v1/organisations?page_token=eyJvIjowLCJ0IjoxLCJpIjoieCJ9", "invalid_page_token"),
    ] {
        assert_eq!(platform.call(root, "GET", path, None).await.expect(400).code(), code, "{path}");
    }
    for path in
        ["/v1/nothing", "/v1/organisations/org_%00", "/v1/organisations/..%2f..%2fetc", "/v1/users/%F0%9F%98%80"]
    {
        let answer = platform.call(root, "GET", path, None).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
        answer.code();
    }
    let answer = platform.call(root, "PUT", "/v1/organisations", Some(json!({}))).await.expect(405);
    assert_eq!(answer.code(), "method_not_allowed");
    assert!(answer.header("allow").contains("POST"), "{:?}", answer.headers);
    for (body, field) in [
        (json!({}), "name"),
        (json!({"name": 7}), "name"),
        (json!({"name": ""}), "name"),
        (json!({"name": " x"}), "name"),
        (json!({"name": "a\u{0}b"}), "name"),
        (json!({"name": "x".repeat(65)}), "name"),
        (json!({"name": "x", "colour": "red"}), "colour"),
        (json!(["x"]), "body"),
    ] {
        let answer = platform.call(root, "POST", "/v1/organisations", Some(body.clone())).await.expect(422);
        assert_eq!(answer.code(), "invalid_field", "{body}");
        assert!(answer.text().contains(field), "{body}: {}", answer.text());
    }
    let raw = |media: &'static str, body: Vec<u8>| {
        Request::post("/v1/organisations")
            .header(header::HOST, "x")
            .header(header::COOKIE, &platform.admin.cookie)
            .header("x-csrf-token", &platform.admin.csrf)
            .header(header::CONTENT_TYPE, media)
            .body(Full::new(Bytes::from(body)))
            .unwrap()
    };
    let addr = platform.server.addr;
    for (media, body, status, code) in [
        ("text/plain", b"{}".to_vec(), 415, "unsupported_media_type"),
        ("application/json", b"{\"name\":".to_vec(), 400, "malformed_json"),
        ("application/json", b"{\"name\":\"x\"} trailing".to_vec(), 400, "malformed_json"),
        ("application/json", b"\xff\xfe".to_vec(), 400, "malformed_json"),
        ("application/json", vec![b'['; 100_000], 400, "malformed_json"),
        ("application/json", vec![b' '; 2 * 1024 * 1024], 413, "too_large"),
    ] {
        let answer = send(addr, raw(media, body)).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{}", answer.text());
    }
    let long = "k".repeat(300);
    let answer = platform
        .call_with(root, "POST", "/v1/organisations", Some(json!({"name": "x"})), &[("idempotency-key", &long)])
        .await;
    assert_eq!(answer.expect(400).code(), "invalid_parameter");
    // Somebody else's trace id goes through, so that logs can be joined.
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let answer = platform.call_with(As::Nobody, "GET", "/v1/users", None, &[("traceparent", parent)]).await;
    assert_eq!(answer.json()["trace_id"], "0af7651916cd43dd8448eb211c80319c");
    platform.server.stop().await;
}
