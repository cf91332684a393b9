//! TLS in all its modes, with certificates made here.

use std::time::Duration;

use axum::Extension;
use axum::routing::get;
use http_body_util::BodyExt as _;
use konsort_crypto::{KeyKind, PrivateKey};
use konsort_node::{
    ClientAuth, ClientTls, ConnectionInfo, DialOptions, Dialed, Roots, Server, ServerOptions, ServerTls, Shutdown,
    TlsIdentity, dial_checked,
};
use konsort_pki::{Certificate, CertificateTemplate, Name};
use tower::Service as _;

pub(crate) struct Authority {
    certificate: Certificate,
    key: PrivateKey,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let key = PrivateKey::generate(KeyKind::EcdsaP256).unwrap();
        let certificate = CertificateTemplate::ca(Name::common_name(name), 0, 4_000_000_000).self_sign(&key).unwrap();
        Self { certificate, key }
    }

    pub(crate) fn roots(&self) -> Roots {
        Roots::from_pem([self.certificate.pem()]).unwrap()
    }

    fn pem(&self, name: &str, until: i64) -> (String, String) {
        let key = PrivateKey::generate(KeyKind::EcdsaP256).unwrap();
        let certificate = CertificateTemplate::tls(Name::common_name(name), 0, until)
            .with_sans([name, "127.0.0.1"])
            .issue(key.public_key(), &self.certificate, &self.key)
            .unwrap();
        (certificate.pem(), key.to_pkcs8_pem().to_string())
    }

    pub(crate) fn identity(&self, name: &str) -> TlsIdentity {
        let (certificate, key) = self.pem(name, 4_000_000_000);
        TlsIdentity::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap()
    }
}

async fn describe(Extension(info): Extension<ConnectionInfo>) -> String {
    let exported = info.export_keying_material(b"EXPORTER-test", Some(b"context"), 32).unwrap();
    let leaf = info.peer_certificate().map_or(0, bytes::Bytes::len);
    format!("{leaf} {} {exported:02x?}", info.is_verified())
}

async fn serve(tls: ServerTls) -> (String, Shutdown) {
    let options = ServerOptions { tls: Some(tls), ..ServerOptions::default() };
    let server = Server::bind("test", "127.0.0.1:0", options).await.unwrap();
    let address = server.local_addr().to_string();
    let shutdown = Shutdown::new();
    tokio::spawn(server.serve(axum::Router::new().route("/describe", get(describe)), shutdown.clone()));
    (address, shutdown)
}

fn options(roots: Roots, identity: Option<TlsIdentity>, name: Option<&str>) -> DialOptions {
    let tls = ClientTls { roots, identity, server_name_override: name.map(str::to_owned) };
    DialOptions { connect_timeout: Duration::from_secs(5), ..DialOptions::tls(tls) }
}

async fn ask(dialed: &mut Dialed) -> Result<String, String> {
    let request = http::Request::get("/describe").body(tonic::body::Body::empty()).unwrap();
    std::future::poll_fn(|cx| dialed.channel.poll_ready(cx)).await.map_err(|error| error.to_string())?;
    let response = dialed.channel.call(request).await.map_err(|error| error.to_string())?;
    let body = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
    Ok(String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ends_know_each_other_and_export_the_same_secret() {
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let (address, _shutdown) = serve(ServerTls {
        identity: servers.identity("node.example.com"),
        client_auth: ClientAuth::Require,
        client_roots: clients.roots(),
    })
    .await;
    let identity = clients.identity("client");
    let length = identity.certificate().len();
    let mut dialed =
        dial_checked(&address, &options(servers.roots(), Some(identity), Some("node.example.com"))).await.unwrap();
    let answer = ask(&mut dialed).await.unwrap();
    let info = dialed.connection().unwrap();
    let exported = info.export_keying_material(b"EXPORTER-test", Some(b"context"), 32).unwrap();
    assert_eq!(answer, format!("{length} true {exported:02x?}"));
    assert_ne!(exported, info.export_keying_material(b"EXPORTER-test", Some(b"other"), 32).unwrap());
    assert_eq!(info.peer_certificates().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_are_refused_by_name_and_by_authority() {
    let (servers, others) = (Authority::new("servers"), Authority::new("others"));
    let (address, _shutdown) = serve(ServerTls {
        identity: servers.identity("node.example.com"),
        client_auth: ClientAuth::None,
        client_roots: Roots::new(),
    })
    .await;
    dial_checked(&address, &options(servers.roots(), None, None)).await.unwrap();
    let wrong_name = dial_checked(&address, &options(servers.roots(), None, Some("other.example.com"))).await;
    let text = wrong_name.unwrap_err().to_string();
    assert!(text.contains("certificate is valid for node.example.com, 127.0.0.1, not other.example.com"), "{text}");
    assert!(text.contains(&address), "{text}");
    let wrong_roots = dial_checked(&address, &options(others.roots(), None, None)).await;
    let text = wrong_roots.unwrap_err().to_string();
    assert!(text.contains("certificate signed by unknown authority"), "{text}");
    // Where an authority names no hosts, it is the authority alone that counts.
    let nameless = |authority: &Authority| options(authority.roots().nameless(), None, Some("other.example.com"));
    dial_checked(&address, &nameless(&servers)).await.unwrap();
    dial_checked(&address, &nameless(&others)).await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_are_refused_unless_their_roots_are_trusted_and_roots_can_change() {
    let (servers, clients, others) = (Authority::new("servers"), Authority::new("clients"), Authority::new("others"));
    let trusted = others.roots();
    let (address, _shutdown) = serve(ServerTls {
        identity: servers.identity("node.example.com"),
        client_auth: ClientAuth::Require,
        client_roots: trusted.clone(),
    })
    .await;
    let identity = clients.identity("client");
    let call = |identity: Option<TlsIdentity>| {
        let options = options(servers.roots(), identity, None);
        let address = address.clone();
        async move {
            // In TLS 1.3 the caller learns of a refusal only when it reads.
            ask(&mut dial_checked(&address, &options).await.map_err(|error| error.to_string())?).await
        }
    };
    assert!(call(None).await.is_err());
    assert!(call(Some(identity.clone())).await.is_err());
    trusted.replace([clients.certificate.pem()]).unwrap();
    assert!(call(Some(identity)).await.unwrap().contains("true"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unchecked_certificate_is_shown_and_a_new_identity_takes_effect() {
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let identity = servers.identity("old.example.com");
    let (address, _shutdown) =
        serve(ServerTls { identity: identity.clone(), client_auth: ClientAuth::Request, client_roots: Roots::new() })
            .await;
    let mut dialed =
        dial_checked(&address, &options(servers.roots(), Some(clients.identity("c")), None)).await.unwrap();
    let answer = ask(&mut dialed).await.unwrap();
    assert!(!answer.starts_with("0 ") && answer.contains("false"), "{answer}");
    let (certificate, key) = servers.pem("new.example.com", 4_000_000_000);
    identity.replace(certificate.as_bytes(), key.as_bytes()).unwrap();
    dial_checked(&address, &options(servers.roots(), None, Some("new.example.com"))).await.unwrap();
    let (expired, key) = servers.pem("new.example.com", 1_000_000_000);
    identity.replace(expired.as_bytes(), key.as_bytes()).unwrap();
    let text = dial_checked(&address, &options(servers.roots(), None, None)).await.unwrap_err().to_string();
    assert!(text.contains("certificate has expired"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_names_its_holder_and_a_stop_ends_the_listener() {
    let first = Server::bind("first", "127.0.0.1:0", ServerOptions::default()).await.unwrap();
    let address = first.local_addr().to_string();
    let error = Server::bind("second", &address, ServerOptions::default()).await.unwrap_err().to_string();
    let expected = format!("port {} is taken by process {} (", first.local_addr().port(), std::process::id());
    assert!(error.starts_with("second: ") && error.contains(&expected), "{error}");
    let shutdown = Shutdown::new();
    let served = tokio::spawn(first.serve(axum::Router::new(), shutdown.clone()));
    shutdown.trigger("test");
    tokio::time::timeout(Duration::from_secs(5), served).await.unwrap().unwrap();
    Server::bind("second", &address, ServerOptions::default()).await.unwrap();
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let authority = Authority::new("servers");
    let (certificate, _) = authority.pem("a", 4_000_000_000);
    let (_, key) = authority.pem("b", 4_000_000_000);
    let error = TlsIdentity::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap_err().to_string();
    assert!(error.contains("does not belong to the certificate"), "{error}");
}
