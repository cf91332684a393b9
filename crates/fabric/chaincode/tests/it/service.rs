//! Chaincode as a service.

use fabric_chaincode::package::pack_files;
use fabric_shim::{ServerSettings, ServerTlsFiles, samples::AssetTransfer};
use konsort_crypto::{KeyKind, PrivateKey};
use konsort_node::Shutdown;
use konsort_pki::{CertificateTemplate, Name};

use crate::world::{Peer, State, free_port, run};

const FROM: i64 = 1_700_000_000;
const UNTIL: i64 = 4_000_000_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_peer_dials_a_service_over_mutual_tls() {
    let ca_key = PrivateKey::generate(KeyKind::EcdsaP256).unwrap();
    let ca = CertificateTemplate::ca(Name::common_name("ca"), FROM, UNTIL).self_sign(&ca_key).unwrap();
    let leaf = |name: &str| {
        let key = PrivateKey::generate(KeyKind::EcdsaP256).unwrap();
        let certificate = CertificateTemplate::leaf(Name::common_name(name), FROM, UNTIL)
            .with_sans([name])
            .issue(key.public_key(), &ca, &ca_key)
            .unwrap();
        (certificate.pem(), key.to_pkcs8_pem().to_string())
    };
    let (server_certificate, server_key) = leaf("chaincode.example.com");
    let (client_certificate, client_key) = leaf("peer.example.com");
    let address = free_port().to_string();
    let connection = serde_json::json!({
        "address": address, "dial_timeout": "10s", "tls_required": true, "client_auth_required": true,
        "client_key": client_key, "client_cert": client_certificate, "root_cert": ca.pem(), "domain": "chaincode.example.com",
    });
    let code = pack_files(&[("connection.json", connection.to_string().as_bytes())]).unwrap();
    let peer = Peer::start(None, |_| {}).await;
    let id = peer.install("basic_1.0", "ccaas", &code).await;

    let shutdown = Shutdown::new();
    let settings = ServerSettings {
        chaincode_id: id.clone(),
        address,
        tls: Some(ServerTlsFiles {
            certificate: server_certificate.into_bytes(),
            key: server_key.into_bytes(),
            client_root: Some(ca.pem().into_bytes()),
        }),
    };
    let stop = shutdown.clone();
    let server = tokio::spawn(async move { fabric_shim::serve(AssetTransfer, &settings, stop).await });
    let (outcome, _) = run(&peer, &id, &State::of([]), &["AssetExists", "x"]).await.unwrap();
    assert_eq!(outcome.response.payload, "false");
    shutdown.trigger("over");
    server.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_down_or_registers_wrongly_is_named() {
    let peer = Peer::start(None, |_| {}).await;
    let address = free_port().to_string();
    let code =
        pack_files(&[("connection.json", format!(r#"{{"address":"{address}","dial_timeout":"1s"}}"#).as_bytes())])
            .unwrap();
    let id = peer.install("basic_1.0", "ccaas", &code).await;
    let error = run(&peer, &id, &State::of([]), &["AssetExists", "x"]).await.unwrap_err().to_string();
    assert!(error.contains(&format!("could not launch chaincode {id}: connection to {id} failed")), "{error}");
    assert!(error.contains(&address), "{error}");

    let shutdown = Shutdown::new();
    let settings = ServerSettings { chaincode_id: "other:1".into(), address, tls: None };
    let stop = shutdown.clone();
    tokio::spawn(async move { fabric_shim::serve(AssetTransfer, &settings, stop).await });
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    let error = run(&peer, &id, &State::of([]), &["AssetExists", "x"]).await.unwrap_err().to_string();
    assert!(error.contains("registered as other:1"), "{error}");
    shutdown.trigger("over");
}
