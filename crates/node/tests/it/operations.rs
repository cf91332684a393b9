//! The operations service over plain HTTP and over TLS.

use konsort_node::logging::LogHandle;
use konsort_node::{
    ClientAuth, ClientTls, DialOptions, Health, Metrics, Operations, OperationsOptions, ServerTls, Shutdown,
    TlsIdentity, dial_stream,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::tls::Authority;

async fn http(address: &str, options: &DialOptions, request: &str, body: &str) -> (u16, String) {
    let mut stream = dial_stream(address, options).await.unwrap();
    let text = format!(
        "{request} HTTP/1.1\r\nHost: node\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

async fn start(tls: Option<ServerTls>) -> (String, Health) {
    let metrics = Metrics::new();
    metrics.counter("endorser_proposals_received", "Proposals.", &[]).with(&[]).inc();
    let health = Health::new();
    let operations = Operations::bind(OperationsOptions {
        address: "127.0.0.1:0".into(),
        tls,
        version: "3.1.5".into(),
        commit: "abc".into(),
        metrics: Some(metrics),
        health: health.clone(),
        log: LogHandle::detached(),
    })
    .await
    .unwrap();
    let address = operations.local_addr().to_string();
    tokio::spawn(operations.serve(Shutdown::new()));
    (address, health)
}

#[tokio::test(flavor = "multi_thread")]
async fn upstreams_paths_and_texts() {
    let (address, health) = start(None).await;
    let get = |path: &'static str| {
        let address = address.clone();
        async move { http(&address, &DialOptions::default(), &format!("GET {path}"), "").await }
    };
    assert_eq!(get("/version").await, (200, r#"{"CommitSHA":"abc","Version":"3.1.5"}"#.into()));
    let (status, body) = get("/healthz").await;
    assert!(status == 200 && body.starts_with(r#"{"status":"OK","time":"20"#), "{body}");
    assert!(get("/metrics").await.1.contains("\nendorser_proposals_received 1\n"));
    assert_eq!(get("/logspec").await, (200, "{\"spec\":\"info\"}\n".into()));
    let put = |body: &'static str| {
        let address = address.clone();
        async move { http(&address, &DialOptions::default(), "PUT /logspec", body).await }
    };
    assert_eq!(put(r#"{"spec":"peer.gateway=debug:warn"}"#).await, (204, String::new()));
    assert_eq!(get("/logspec").await.1, "{\"spec\":\"peer.gateway=debug:warn\"}\n");
    let bad = put(r#"{"spec":"loud"}"#).await;
    assert_eq!(bad, (400, r#"{"error":"invalid logging specification 'loud': bad segment 'loud'"}"#.into()));
    health.register("ledger", || async { Err("disk full".to_owned()) });
    let (status, body) = get("/healthz").await;
    assert_eq!(status, 503);
    assert!(body.contains(r#""failed_checks":[{"component":"ledger","reason":"disk full"}]"#), "{body}");
    assert_eq!(get("/nothing").await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_tls_figures_and_levels_want_a_certificate() {
    let authority = Authority::new("ops");
    let (address, _) = start(Some(ServerTls {
        identity: authority.identity("node"),
        client_auth: ClientAuth::VerifyIfGiven,
        client_roots: authority.roots(),
    }))
    .await;
    let call = |identity: Option<TlsIdentity>, path: &'static str| {
        let tls = ClientTls { roots: authority.roots(), identity, server_name_override: None };
        let address = address.clone();
        async move { http(&address, &DialOptions::tls(tls), &format!("GET {path}"), "").await.0 }
    };
    assert_eq!(call(None, "/healthz").await, 200);
    assert_eq!(call(None, "/metrics").await, 401);
    assert_eq!(call(None, "/logspec").await, 401);
    assert_eq!(call(Some(authority.identity("scraper")), "/metrics").await, 200);
}
