//! The audit log: complete, filtered, exported, and telling when somebody has been at it.

use serde_json::{Value, json};

use super::support::{As, Platform};

/// Writes leave records; the chain holds. The same on every database.
pub(crate) async fn whole_story(platform: &Platform) {
    let organisation = platform.new_organisation("审计一").await;
    let path = format!("/v1/organisations/{organisation}");
    platform.call(platform.root(), "PATCH", &path, Some(json!({"name": "审计二"}))).await.expect(200);
    platform
        .call(As::Nobody, "POST", "/v1/session", Some(json!({"username": "mallory", "password": "x"})))
        .await
        .expect(401);
    let list =
        platform.call(platform.root(), "GET", "/v1/audit?action=PATCH%20/v1/organisations", None).await.expect(200);
    let change = list.json()["items"][0].clone();
    assert_eq!(change["action"], "PATCH /v1/organisations/{id}");
    assert_eq!(change["target"], path);
    assert_eq!(change["actor"]["name"], "root");
    assert_eq!(change["actor"]["proof"], "session");
    assert_eq!(change["before"]["name"], "审计一");
    assert_eq!(change["after"]["name"], "审计二");
    assert_eq!(change["status"], 200);
    let refused = platform.call(platform.root(), "GET", "/v1/audit?actor=anonymous", None).await.expect(200).json();
    assert_eq!(refused["items"][0]["code"], "wrong_credentials");

    // Pages meet without gap or overlap.
    let mut seen = Vec::new();
    let mut token = String::new();
    loop {
        let page = platform
            .call(platform.root(), "GET", &format!("/v1/audit?page_size=2{token}"), None)
            .await
            .expect(200)
            .json();
        seen.extend(page["items"].as_array().unwrap().iter().map(|item| item["seq"].as_i64().unwrap()));
        match page["next_page_token"].as_str() {
            Some(next) => token = format!("&page_token={next}"),
            None => break,
        }
    }
    assert!(seen.len() >= 4 && seen.windows(2).all(|pair| pair[0] == pair[1] + 1), "{seen:?}");

    let verified = platform.call(platform.root(), "GET", "/v1/audit/verify", None).await.expect(200).json();
    assert_eq!(verified["ok"], true, "{verified}");
    assert!(verified["records"].as_i64().unwrap() >= 4);
}

async fn verdict(platform: &Platform) -> Value {
    serde_json::to_value(platform.server.app.audit.verify().await.unwrap()).unwrap()
}

#[tokio::test]
async fn every_way_to_tamper_shows() {
    let platform = Platform::start().await;
    whole_story(&platform).await;
    let db = platform.server.app.db.write();
    for (harm, repair) in [
        (
            "UPDATE audit SET doc = REPLACE(doc, '审计二', '审计三') WHERE seq = 3",
            "UPDATE audit SET doc = REPLACE(doc, '审计三', '审计二')",
        ),
        (
            "UPDATE audit SET actor = 'usr_x' WHERE seq = 2",
            "UPDATE audit SET actor = (SELECT actor FROM audit WHERE seq = 3) WHERE seq = 2",
        ),
        ("UPDATE audit SET seq = 1000 WHERE seq = 2", "UPDATE audit SET seq = 2 WHERE seq = 1000"),
    ] {
        assert_eq!(verdict(&platform).await["ok"], true);
        assert_eq!(sqlx::query(harm).execute(db).await.unwrap().rows_affected(), 1, "{harm}");
        let found = verdict(&platform).await;
        assert_eq!(found["ok"], false, "{harm}");
        assert!(found["broken_at"].as_i64().unwrap() <= 3, "{harm}: {found}");
        sqlx::query(repair).execute(db).await.unwrap();
    }
    assert_eq!(verdict(&platform).await["ok"], true);
    // Cutting off the end leaves a chain that is whole in itself; the head kept outside tells.
    sqlx::query("DELETE FROM audit WHERE seq = (SELECT MAX(seq) FROM audit)").execute(db).await.unwrap();
    assert_eq!(verdict(&platform).await["problem"], "records at the end are missing");
    platform.server.stop().await;
}

#[tokio::test]
async fn many_writes_at_once_make_one_chain_and_strangers_fill_nothing() {
    let platform = Platform::start().await;
    let names: Vec<String> = (0..40).map(|index| format!("many {index}")).collect();
    futures::future::join_all(names.iter().map(|name| platform.new_organisation(name))).await;
    let verdict = verdict(&platform).await;
    assert_eq!(verdict["ok"], true, "{verdict}");
    let records = verdict["records"].as_i64().unwrap();
    assert_eq!(records, 41, "one of the setup and one of each write");
    // Nothing that anybody may send as often as they like is kept.
    let again = json!({"token": "x", "username": "eve", "password": super::support::PASSWORD, "organisation": "Eve"});
    for (path, body) in [("/v1/session", json!({"user": 1})), ("/v1/setup", again), ("/v1/users", json!({}))] {
        let answer = platform.call(As::Nobody, "POST", path, Some(body)).await;
        assert!((400..500).contains(&answer.status), "{path}: {}", answer.text());
    }
    assert_eq!(self::verdict(&platform).await["records"], records);
    platform.server.stop().await;
}

#[tokio::test]
async fn an_export_holds_every_record_and_no_formula() {
    let platform = Platform::start().await;
    platform.new_organisation("=HYPERLINK(1)").await;
    let lines = platform.call(platform.root(), "GET", "/v1/audit/export", None).await.expect(200);
    assert_eq!(lines.header("content-type"), "application/x-ndjson");
    let records: Vec<Value> = lines.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.last().unwrap()["action"], "POST /v1/setup");
    assert_eq!(records.last().unwrap()["seq"], 1);
    let sheet = platform.call(platform.root(), "GET", "/v1/audit/export?format=csv", None).await.expect(200);
    assert!(sheet.text().starts_with("seq,at,actor,"));
    for begin in [",=", ",\"=", "\n=", "\n\"="] {
        assert!(!sheet.text().contains(begin), "{}", sheet.text());
    }
    // Reading the log is in the log, and no secret is.
    let text = platform.call(platform.root(), "GET", "/v1/audit", None).await.expect(200).text();
    assert!(text.contains("GET /v1/audit/export"));
    assert!(!text.contains(&platform.admin.csrf) && !text.contains(super::support::PASSWORD));
    let answer = platform.call(platform.root(), "GET", "/v1/audit?from=yesterday", None).await.expect(400);
    assert_eq!(answer.code(), "invalid_parameter");
    platform.server.stop().await;
}
