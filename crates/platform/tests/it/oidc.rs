//! Login by an outside provider: a small OpenID Connect provider with real keys, which can also be made to lie.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::HeaderMap;
use konsort_crypto::hash::sha256;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::support::{Answer, As, Platform, browser_of, call};

/// How the provider lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lie {
    None,
    OtherIssuer,
    OtherAudience,
    Expired,
    OtherNonce,
    OtherKey,
    NoSignature,
    RefusesCode,
}

struct Provider {
    addr: SocketAddr,
    rsa: RsaKeyPair,
    elliptic: EcdsaKeyPair,
    stranger: RsaKeyPair,
    state: Mutex<Now>,
}

struct Now {
    lie: Lie,
    algorithm: &'static str,
    claims: Value,
    /// Challenge and nonce of each code given.
    codes: HashMap<String, (String, String)>,
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

impl Provider {
    async fn start() -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let provider = Arc::new(Self {
            addr: listener.local_addr().unwrap(),
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
            elliptic: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            stranger: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
            state: Mutex::new(Now { lie: Lie::None, algorithm: "RS256", claims: json!({}), codes: HashMap::new() }),
        });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(keys))
            .route("/token", post(token))
            .with_state(Arc::clone(&provider));
        tokio::spawn(async move { axum::serve(listener, router).await });
        provider
    }

    fn issuer(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// What the person does in the browser: the provider's page, which gives a code.
    fn authorize(&self, location: &str) -> (String, String) {
        let query = location.split_once('?').unwrap().1;
        let value = |name: &str| {
            let found = query
                .split('&')
                .find_map(|pair| pair.strip_prefix(&format!("{name}=")))
                .unwrap_or_else(|| panic!("{name} in {query}"));
            found.replace("%3A", ":").replace("%2F", "/")
        };
        assert_eq!(value("response_type"), "code");
        assert_eq!(value("client_id"), "konsort");
        assert_eq!(value("code_challenge_method"), "S256");
        let code = format!("code-{}", value("state"));
        self.state.lock().codes.insert(code.clone(), (value("code_challenge"), value("nonce")));
        (code, value("state"))
    }

    fn id_token(&self, nonce: &str) -> String {
        let state = self.state.lock();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut claims = state.claims.clone();
        let issuer = if state.lie == Lie::OtherIssuer { "http://evil".to_owned() } else { self.issuer() };
        claims["iss"] = json!(issuer);
        claims["aud"] = json!(if state.lie == Lie::OtherAudience { "another" } else { "konsort" });
        claims["exp"] = json!(if state.lie == Lie::Expired { now - 3600 } else { now + 300 });
        claims["iat"] = json!(now);
        claims["nonce"] = json!(if state.lie == Lie::OtherNonce { "another" } else { nonce });
        let algorithm = if state.lie == Lie::NoSignature { "none" } else { state.algorithm };
        let header = json!({"alg": algorithm, "kid": state.algorithm, "typ": "JWT"});
        let signed = format!("{}.{}", part(&header), part(&claims));
        let random = SystemRandom::new();
        let signature = match (state.lie, state.algorithm) {
            (Lie::NoSignature, _) => Vec::new(),
            (lie, "RS256") => {
                let key = if lie == Lie::OtherKey { &self.stranger } else { &self.rsa };
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature).unwrap();
                signature
            }
            _ => self.elliptic.sign(&random, signed.as_bytes()).unwrap().as_ref().to_vec(),
        };
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

async fn discovery(State(provider): State<Arc<Provider>>) -> Json<Value> {
    let issuer = provider.issuer();
    Json(json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/keys"),
    }))
}

async fn keys(State(provider): State<Arc<Provider>>) -> Json<Value> {
    // PKCS #1: a sequence of two numbers; of 2048 bits the first begins at 9, the second is 65537.
    let public = provider.rsa.public_key().as_ref().to_vec();
    assert_eq!((public.len(), public[..9].to_vec()), (270, vec![0x30, 0x82, 0x01, 0x0a, 0x02, 0x82, 0x01, 0x01, 0]));
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let point = provider.elliptic.public_key().as_ref().to_vec();
    Json(json!({"keys": [
        {"kty": "RSA", "kid": "RS256", "use": "sig", "alg": "RS256",
         "n": encode(&public[9..265]),
         "e": encode(&public[267..])},
        {"kty": "EC", "kid": "ES256", "crv": "P-256", "x": encode(&point[1..33]), "y": encode(&point[33..])},
        {"kty": "oct", "kid": "other", "k": "AAAA"},
    ]}))
}

async fn token(
    State(provider): State<Arc<Provider>>,
    headers: HeaderMap,
    body: String,
) -> Result<Json<Value>, (http::StatusCode, Json<Value>)> {
    // Nothing in these values needs percent-encoding but the colons and slashes of the address, which is not looked at.
    let form: HashMap<&str, &str> = body.split('&').filter_map(|pair| pair.split_once('=')).collect();
    let expected = format!("Basic {}", STANDARD.encode("konsort:hush%20hush"));
    let refuse = |why: &str| Err((http::StatusCode::BAD_REQUEST, Json(json!({"error": why}))));
    if headers.get("authorization").is_none_or(|value| value != &expected) {
        return refuse("invalid_client");
    }
    // A code works once, and only for who knows the verifier of its challenge.
    let given = provider.state.lock().codes.remove(form["code"]);
    let Some((challenge, nonce)) = given else { return refuse("invalid_grant") };
    if URL_SAFE_NO_PAD.encode(sha256(form["code_verifier"].as_bytes())) != challenge {
        return refuse("invalid_grant");
    }
    if provider.state.lock().lie == Lie::RefusesCode {
        return refuse("invalid_grant");
    }
    Ok(Json(json!({"access_token": "x", "token_type": "Bearer", "id_token": provider.id_token(&nonce)})))
}

async fn log_in(platform: &Platform, provider: &Provider) -> Answer {
    let addr = platform.server.addr;
    let begin = call(addr, As::Nobody, "GET", "/v1/oidc/login", None, &[]).await.expect(302);
    let cookie = begin.header("set-cookie").split(';').next().unwrap().to_owned();
    let (code, state) = provider.authorize(begin.header("location"));
    let path = format!("/v1/oidc/callback?code={code}&state={state}");
    call(addr, As::Nobody, "GET", &path, None, &[("cookie", &cookie)]).await
}

#[tokio::test]
async fn people_log_in_by_their_provider_and_nobody_else_does() {
    let platform = Platform::start().await;
    let addr = platform.server.addr;
    let provider = Provider::start().await;
    call(addr, As::Nobody, "GET", "/v1/oidc/login", None, &[]).await.expect(404);
    // Roles that are held in an organisation want one, which then stays.
    let nowhere = json!({"oidc": {
        "enabled": true, "issuer": provider.issuer(), "client_id": "konsort", "default_role": "developer",
    }});
    let answer = platform.call(platform.root(), "PATCH", "/v1/settings", Some(nowhere)).await.expect(422);
    assert_eq!(answer.json()["params"]["field"], "oidc.organisation");
    let guests = platform.new_organisation("Guests").await;
    let settings = json!({"oidc": {
        "enabled": true, "issuer": provider.issuer(), "client_id": "konsort", "client_secret": "hush hush",
        "roles": {"chain-operators": "operator", "chain-developers": "developer"},
        "organisation": guests,
    }});
    let answer = platform.call(platform.root(), "PATCH", "/v1/settings", Some(settings)).await.expect(200);
    assert!(!answer.text().contains("hush") && answer.json()["oidc_client_secret_set"] == true);
    platform.call(platform.root(), "DELETE", &format!("/v1/organisations/{guests}"), None).await.expect(409);
    let database = std::fs::read(platform.folder.path().join("data/server.db-wal")).unwrap_or_default();
    assert!(!database.windows(9).any(|window| window == b"hush hush"), "the client secret is stored in the clear");

    // A name that exists here with a password does not lead to that account.
    provider.state.lock().claims = json!({
        "sub": "u-1", "preferred_username": "root", "name": "路人", "groups": ["chain-developers", "chain-operators"],
    });
    let answer = log_in(&platform, &provider).await.expect(200);
    let session = browser_of(addr, &answer).await;
    let view = platform.call(As::Browser(&session), "GET", "/v1/session", None).await.expect(200).json();
    assert_eq!(view["role"], "operator");
    assert_eq!(view["user"]["display_name"], "路人");
    assert_eq!(view["user"]["external"], true);
    assert_ne!(view["user"]["username"], "root");
    let first = view["user"]["id"].clone();
    let audit = platform.call(platform.root(), "GET", "/v1/audit?action=GET%20/v1/oidc", None).await.expect(200).json();
    assert_eq!(audit["items"][0]["actor"]["id"], first, "{audit}");
    assert!(!audit.to_string().contains("code="), "{audit}");

    // The same person again, with the other algorithm and other groups: the same user, another role.
    {
        let mut now = provider.state.lock();
        now.algorithm = "ES256";
        now.claims["groups"] = json!("chain-developers");
    }
    let session = browser_of(addr, &log_in(&platform, &provider).await.expect(200)).await;
    let view = platform.call(As::Browser(&session), "GET", "/v1/session", None).await.expect(200).json();
    assert_eq!((&view["user"]["id"], &view["role"]), (&first, &json!("developer")));

    provider.state.lock().claims["groups"] = json!(["strangers"]);
    assert_eq!(log_in(&platform, &provider).await.expect(403).code(), "forbidden");

    {
        let mut now = provider.state.lock();
        now.algorithm = "RS256";
        now.claims["groups"] = json!(["chain-developers"]);
    }
    for lie in [
        Lie::OtherIssuer,
        Lie::OtherAudience,
        Lie::Expired,
        Lie::OtherNonce,
        Lie::OtherKey,
        Lie::NoSignature,
        Lie::RefusesCode,
    ] {
        provider.state.lock().lie = lie;
        let answer = log_in(&platform, &provider).await;
        assert_eq!((answer.status, answer.code().as_str()), (502, "oidc_failed"), "{lie:?}: {}", answer.text());
        assert_eq!(answer.header("set-cookie"), "", "{lie:?}");
    }
    provider.state.lock().lie = Lie::None;

    // A login that was begun in another browser is none, and no code works twice.
    let begin = call(addr, As::Nobody, "GET", "/v1/oidc/login", None, &[]).await.expect(302);
    let (code, state) = provider.authorize(begin.header("location"));
    let path = format!("/v1/oidc/callback?code={code}&state={state}");
    call(addr, As::Nobody, "GET", &path, None, &[]).await.expect(403);
    let other = "konsort_oidc=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    call(addr, As::Nobody, "GET", &path, None, &[("cookie", other)]).await.expect(403);
    let cookie = begin.header("set-cookie").split(';').next().unwrap().to_owned();
    call(addr, As::Nobody, "GET", &path, None, &[("cookie", &cookie)]).await.expect(200);
    call(addr, As::Nobody, "GET", &path, None, &[("cookie", &cookie)]).await.expect(502);
    // Who has been disabled stays out.
    let user = format!("/v1/users/{}", first.as_str().unwrap());
    platform.call(platform.root(), "PATCH", &user, Some(json!({"disabled": true}))).await.expect(200);
    assert_eq!(log_in(&platform, &provider).await.expect(403).code(), "forbidden");
    platform.server.stop().await;
}
