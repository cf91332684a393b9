//! Every endpoint against every role, and other organisations' things.

use std::fmt::Write as _;

use konsort_platform::access::{Role, Scope, rows};
use konsort_platform::db::{Kind, New};
use serde_json::json;

use super::support::{As, Platform};

/// A path with something in place of its parameters.
fn filled(path: &str, id: &str) -> String {
    path.split('/')
        .map(|part| match part {
            "{id}" => id,
            part if part.starts_with('{') => "x",
            part => part,
        })
        .collect::<Vec<_>>()
        .join("/")
}

#[tokio::test]
async fn every_endpoint_answers_every_role_as_the_table_says() {
    let platform = Platform::start().await;
    let mut keys = Vec::new();
    for role in Role::ALL {
        keys.push((role, platform.key(role.name(), &platform.organisation).await));
    }
    let mut checked = 0;
    for row in rows().filter(|row| row.scope != Scope::Public) {
        let path = filled(row.path, "net_aaaaaaaaaaaaaaaaaaaa");
        let name = format!("{} {}", row.method, row.path);
        // Nothing comes about by an empty object.
        let body = (row.method != "GET").then(|| json!({}));
        let answer = platform.call(As::Nobody, row.method, &path, body.clone()).await;
        assert_eq!((answer.status, answer.code().as_str()), (401, "unauthenticated"), "{name}");
        for (role, key) in &keys {
            let answer = platform.call(As::Key(key), row.method, &path, body.clone()).await;
            if row.roles.contains(role) {
                assert!(!matches!(answer.status, 401 | 403), "{name} as {}: {}", role.name(), answer.text());
                assert!(answer.status < 500, "{name} as {}: {}", role.name(), answer.text());
            } else {
                assert_eq!(answer.status, 403, "{name} as {}: {}", role.name(), answer.text());
                assert_eq!(answer.code(), "forbidden", "{name} as {}", role.name());
            }
            checked += 1;
        }
    }
    assert!(checked > 500, "only {checked} combinations were checked");
    platform.server.stop().await;
}

#[test]
fn the_printed_table_is_the_table() {
    let mut text = String::from(
        "# Who may use which endpoint\n\nMade from the table in `src/access/table.rs` by the test \
         `the_printed_table_is_the_table`; set `UPDATE=1` to write it anew.\n\n| endpoint | scope |",
    );
    for role in Role::ALL {
        let _ = write!(text, " {} |", role.name());
    }
    text.push_str("\n|---|---|---|---|---|---|---|---|\n");
    for row in rows() {
        let scope = match row.scope {
            Scope::Public => "public".to_owned(),
            Scope::Any => "own organisation".to_owned(),
            Scope::Network(_) => "network".to_owned(),
            Scope::Record(kind, _) => kind.name().to_owned(),
            Scope::Operation(_) => "operation".to_owned(),
            Scope::User(_) => "user".to_owned(),
            Scope::ApiKey(_) => "API key".to_owned(),
        };
        let _ = write!(text, "| `{} {}` | {scope} |", row.method, row.path);
        for role in Role::ALL {
            let may = row.scope == Scope::Public || row.roles.contains(&role);
            text.push_str(if may { " yes |" } else { " |" });
        }
        text.push('\n');
    }
    super::document::compare("access.md", &text);
}

#[tokio::test]
async fn things_of_another_organisation_are_not_there() {
    let platform = Platform::start().await;
    let other = platform.new_organisation("Other").await;
    let outsider = platform.key("organisation_admin", &other).await;
    let insider = platform.key("organisation_admin", &platform.organisation).await;
    let user = platform.new_user("insider", "developer", &platform.organisation).await;
    let keys = platform.call(As::Key(&insider), "GET", "/v1/api_keys", None).await.expect(200).json();
    let key = keys["items"][0]["id"].as_str().unwrap().to_owned();
    let records = &platform.server.app.records;
    let own = platform.organisation.as_str();
    let id_of = |kind: Kind| format!("{}_bbbbbbbbbbbbbbbbbbbb", &kind.name()[..3]);
    let doc = json!({"spec": {"organisations": [{"id": own}]}});
    for kind in [Kind::Network, Kind::Project, Kind::Contract] {
        let network = (kind == Kind::Contract).then(|| id_of(Kind::Network));
        let id = id_of(kind);
        let new = New { id: &id, network: network.as_deref(), organisation: Some(own), name: "x", doc: &doc };
        records.create(kind, new).await.unwrap();
    }
    sqlx::query(
        "INSERT INTO operations (id, network, organisation, kind, state, created_by, version, doc, created_at, updated_at)
         VALUES ('op_bbbbbbbbbbbbbbbbbbbb', $1, $2, 'start', 'done', 'x', 1, '{}', 1, 1)",
    )
    .bind(id_of(Kind::Network))
    .bind(own)
    .execute(platform.server.app.db.write())
    .await
    .unwrap();

    let mut checked = 0;
    for row in rows().filter(|row| row.roles.contains(&Role::OrganisationAdmin)) {
        let id = match row.scope {
            Scope::Public | Scope::Any => continue,
            Scope::Network(_) => id_of(Kind::Network),
            Scope::Record(Kind::Organisation, _) => own.to_owned(),
            Scope::Record(kind, _) => id_of(kind),
            Scope::Operation(_) => "op_bbbbbbbbbbbbbbbbbbbb".to_owned(),
            Scope::User(_) => user.clone(),
            Scope::ApiKey(_) => key.clone(),
        };
        let name = format!("{} {}", row.method, row.path);
        let body = (row.method != "GET").then(|| json!({}));
        let path = filled(row.path, &id);
        let answer = platform.call(As::Key(&outsider), row.method, &path, body.clone()).await;
        assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"), "{name}: {}", answer.text());
        // The very same words as for a thing that never was, but for its id.
        let nothing = filled(row.path, &id.replace('b', "c"));
        let never = platform.call(As::Key(&outsider), row.method, &nothing, body).await.json();
        let (mut mine, mut theirs) = (answer.json(), never);
        for body in [&mut mine, &mut theirs] {
            body["trace_id"] = json!("");
            body["params"]["id"] = json!("");
        }
        assert_eq!(mine, theirs, "{name}");
        checked += 1;
    }
    assert!(checked >= 40, "only {checked} endpoints were checked");

    // Lists show nothing of it either; the insider sees it.
    for (path, mine) in [("/v1/users", true), ("/v1/organisations", true), ("/v1/api_keys", true), ("/v1/audit", true)]
    {
        let of_outsider = platform.call(As::Key(&outsider), "GET", path, None).await.expect(200).text();
        let of_insider = platform.call(As::Key(&insider), "GET", path, None).await.expect(200).text();
        assert!(!of_outsider.contains(own), "{path}: {of_outsider}");
        assert_eq!(of_insider.contains(own), mine, "{path}");
    }
    platform.call(As::Key(&insider), "GET", &format!("/v1/users/{user}"), None).await.expect(200);

    // Sharing a network makes each other's names visible, and nothing else.
    let shared = json!({"spec": {"organisations": [{"id": own}, {"id": other}]}});
    records.update(Kind::Network, &id_of(Kind::Network), None, "x", &shared).await.unwrap();
    let path = format!("/v1/organisations/{own}");
    platform.call(As::Key(&outsider), "GET", &path, None).await.expect(200);
    platform.call(As::Key(&outsider), "PATCH", &path, Some(json!({"name": "mine now"}))).await.expect(403);
    platform.call(As::Key(&outsider), "GET", &format!("/v1/users/{user}"), None).await.expect(404);
    platform.server.stop().await;
}

/// Two organisations in a network that the first made: everybody acts on their own things, whoever asked for an operation first.
#[tokio::test]
async fn nobody_acts_on_what_another_organisation_of_the_network_has() {
    let platform = Platform::start().await;
    let own = platform.organisation.clone();
    let other = platform.new_organisation("Other").await;
    let operator = platform.key("operator", &own).await;
    let developer = platform.key("developer", &own).await;
    let member = platform.key("operator", &other).await;
    let (network, contract, operation) =
        ("net_dddddddddddddddddddd", "con_dddddddddddddddddddd", "op_dddddddddddddddddddd");
    let node = |id: &str, organisation: &str| json!({"id": id, "hostname": "127.0.0.1", "role": "sealer", "organisation": organisation, "ports": {}, "node_id": null});
    let doc = json!({
        "spec": {
            "id": network, "name": "shared", "engine": "bcos", "driver": "process", "consensus": "pbft", "chain_id": "chain0",
            "organisations": [
                {"id": null, "name": "Mine", "mspid": null, "domain": ""},
                {"id": other, "name": "Theirs", "mspid": null, "domain": ""},
            ],
            "channels": [{"name": "group0", "organisations": ["Mine", "Theirs"], "nodes": ["node0", "node1"]}],
            "nodes": [node("node0", "Mine"), node("node1", "Theirs")],
            "block_time_ms": 500, "block_transactions": 100,
        },
        "state": "running", "created_by": "x",
    });
    let records = &platform.server.app.records;
    let new = New { id: network, network: None, organisation: Some(own.as_str()), name: "shared", doc: &doc };
    records.create(Kind::Network, new).await.unwrap();
    let doc = json!({
        "engine": "bcos", "channel": "group0", "state": "running", "address": "0x00", "made": {"version": "1.0"},
        "created_by": "x", "deployed_at": 1,
    });
    let new = New { id: contract, network: Some(network), organisation: Some(own.as_str()), name: "Asset", doc: &doc };
    records.create(Kind::Contract, new).await.unwrap();
    let doc = json!({
        "id": operation, "kind": "delete", "network": network, "subject": "shared",
        "work": {"on": "network", "act": {"kind": "delete"}}, "steps": [], "state": "failed", "result": {},
        "created_by": "x", "created_at": "t", "updated_at": "t", "ended_at": "t",
    });
    sqlx::query(
        "INSERT INTO operations (id, network, organisation, kind, state, created_by, version, doc, created_at, updated_at)
         VALUES ($1, $2, $3, 'delete', 'failed', 'x', 1, $4, 1, 1)",
    )
    .bind(operation)
    .bind(network)
    .bind(&own)
    .bind(doc.to_string())
    .execute(platform.server.app.db.write())
    .await
    .unwrap();

    let path = format!("/v1/networks/{network}");
    let act = format!("/v1/operations/{operation}");
    let wanted = [
        // A developer may not finish what an operator began.
        (&developer, "POST", format!("{act}/retry"), 403),
        (&developer, "POST", format!("{act}/cancel"), 403),
        (&member, "POST", format!("{act}/retry"), 403),
        (&member, "POST", format!("{act}/cancel"), 403),
        (&member, "POST", format!("{path}/stop?dry_run=true"), 403),
        (&member, "DELETE", path.clone(), 403),
        (&member, "PATCH", path.clone(), 403),
        (&member, "POST", format!("{path}/nodes/node0/stop?dry_run=true"), 403),
        (&member, "POST", format!("{path}/nodes/node1/stop?dry_run=true"), 200),
        (&member, "GET", format!("{path}/connection_profile?organisation=Mine"), 404),
        (&member, "PUT", format!("/v1/contracts/{contract}/interface"), 403),
        (&operator, "POST", format!("{path}/stop?dry_run=true"), 200),
        (&operator, "POST", format!("{path}/nodes/node1/stop?dry_run=true"), 403),
        (&operator, "PATCH", path.clone(), 200),
    ];
    for (key, method, path, status) in wanted {
        let body = (method != "GET").then(|| if method == "PATCH" { json!({"name": "renamed"}) } else { json!({}) });
        let answer = platform.call(As::Key(key), method, &path, body).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
    }
    // A removal that never began, given up, leaves the network as it was.
    platform.call(As::Key(&operator), "POST", &format!("{act}/cancel"), None).await.expect(202);
    let view = platform.call(As::Key(&operator), "GET", &path, None).await.expect(200).json();
    assert!(matches!(view["state"].as_str(), Some("running" | "degraded")), "{view:#}");
    platform.server.stop().await;
}
