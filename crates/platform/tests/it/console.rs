//! The embedded console, security headers, health.

use super::support::{As, Platform};

#[tokio::test]
async fn pages_are_shown_with_their_headers() {
    let platform = Platform::start().await;
    let page = platform.call(As::Nobody, "GET", "/", None).await.expect(200);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert!(page.header("content-security-policy").contains("frame-ancestors 'none'"));
    assert!(!page.header("content-security-policy").contains("script-src 'self' 'unsafe-inline'"));
    for (name, value) in
        [("x-content-type-options", "nosniff"), ("x-frame-options", "DENY"), ("cache-control", "no-cache")]
    {
        assert_eq!(page.header(name), value);
    }
    // Addresses of the console's own pages show its first page; those of the API and of scripts do not.
    assert_eq!(platform.call(As::Nobody, "GET", "/networks/net_x/nodes", None).await.expect(200).body, page.body);
    platform.call(As::Nobody, "GET", "/v1/nothing", None).await.expect(404).code();
    platform.call(As::Nobody, "GET", "/assets/gone.js", None).await.expect(404).code();
    let outside = platform.call(As::Nobody, "GET", "/..%2f..%2fCargo.toml", None).await;
    assert!(!outside.text().contains("[package]"));
    let tag = page.header("etag").to_owned();
    platform.call_with(As::Nobody, "GET", "/", None, &[("if-none-match", &tag)]).await.expect(304);
    let packed = platform.call_with(As::Nobody, "GET", "/", None, &[("accept-encoding", "gzip, br")]).await.expect(200);
    if packed.header("content-encoding") == "gzip" {
        assert!(packed.body.len() < page.body.len());
    }
    platform.call(As::Nobody, "GET", "/livez", None).await.expect(200);
    assert_eq!(platform.call(As::Nobody, "GET", "/readyz", None).await.expect(200).json()["ok"], true);
    let figures = platform.call(As::Nobody, "GET", "/metrics", None).await.expect(200).text();
    assert!(figures.contains("konsort_http_requests_total{") && figures.contains("route=\"/readyz\""), "{figures}");
    platform.server.stop().await;
}
