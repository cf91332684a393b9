//! Whoever knocks at the port between nodes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::U256;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::cluster::{Account, Cluster, count, deploy, group, until};

/// A client that believes everybody.
#[derive(Debug)]
struct Gullible;

impl ServerCertVerifier for Gullible {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::RSA_PSS_SHA256, SignatureScheme::RSA_PKCS1_SHA256]
    }
}

/// TLS with a node's certificate, then these bytes; what comes back until the node hangs up.
async fn knock(address: &str, certificate_of: Option<&Path>, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Gullible));
    let config = match certificate_of {
        None => builder.with_no_client_auth(),
        Some(node) => {
            let conf = node.join("conf");
            let chain = CertificateDer::pem_file_iter(conf.join("ssl.crt")).unwrap().map(Result::unwrap).collect();
            let key = PrivateKeyDer::from_pem_file(conf.join("ssl.key")).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    stream.write_all(bytes).await?;
    stream.flush().await?;
    let mut answer = Vec::new();
    tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut answer)).await.expect("the node hangs up")?;
    Ok(answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_turned_away_and_the_chain_goes_on() {
    let cluster = Cluster::build(2);
    let first = cluster.start(0).await;
    // Silent connections, more than may be in their handshake at once, before the partner comes.
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(&cluster.addresses[0]).await.unwrap());
    }
    let second = cluster.start(1).await;
    until("the partner gets in", 30, || first.node().peers().len() == 1).await;
    drop(silent);

    let mut plain = TcpStream::connect(&cluster.addresses[0]).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _reset = plain.read_to_end(&mut answer).await;

    // Without a certificate, and with one of another chain: refused by TLS, nothing of the node's protocol is said.
    let other = Cluster::build(1);
    let address = &cluster.addresses[0];
    assert!(knock(address, None, b"").await.is_err());
    assert!(knock(address, Some(&other.nodes[0]), b"").await.is_err());
    // With a good one: a frame that is too long, no introduction, and somebody else's node id without its key.
    let hello = |id: &str| {
        let mut hello = b"konsort p2p".to_vec();
        hello.extend([0, 1, 0, 0, 6]);
        hello.extend(b"chain0");
        hello.extend([0, 64]);
        hello.extend(hex::decode(id).unwrap());
        hello.extend([1, 0, 6]);
        hello.extend(b"group0");
        let mut framed = (hello.len() as u32).to_be_bytes().to_vec();
        framed.extend(hello);
        framed
    };
    let mut forged = hello(second.node().node_id());
    forged.extend([0, 0, 0, 65]);
    forged.extend([7; 65]);
    for bytes in [b"\xff\xff\xff\xff".to_vec(), b"\0\0\0\x05hello".to_vec(), forged] {
        // The node introduces itself first; after the nonsense it hangs up.
        let _answer = knock(address, Some(&cluster.nodes[1]), &bytes).await;
    }
    assert_eq!(first.node().peers().len(), 1, "nobody got in and nobody was pushed out");

    let account = Account::new();
    let alone = group(&first);
    let contract = deploy(&alone, &account).await;
    alone.submit(account.transaction(&alone, Some(contract), &[])).await.unwrap();
    assert_eq!(count(&alone, contract), U256::from(1));
    first.stop().await;
    second.stop().await;
}
