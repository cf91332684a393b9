//! After TLS: which chain, which groups, and the proof of the node id.
//!
//! Each side signs a value that only this TLS session has (RFC 5705), so a proof can be neither replayed nor relayed.

use std::sync::Arc;
use std::time::Duration;

use bcos_consensus::{Keys, NodeId};
use bytes::{BufMut, Bytes, BytesMut};
use konsort_crypto::SuiteKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

use super::frame::{FrameError, Reader};

const MAGIC: &[u8] = b"konsort p2p";
const VERSION: u16 = 1;
const LIMIT: usize = 64 * 1024;
const LABEL: &[u8] = b"EXPORTER-konsort-p2p";
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a connection did not become a session.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error("the connection broke: {0}")]
    Broken(#[from] std::io::Error),
    #[error("its first message cannot be read ({0}); is it a node of this platform?")]
    Unreadable(#[from] FrameError),
    #[error("it is no node of this platform")]
    Stranger,
    #[error("it speaks version {0} of the protocol, this node speaks {VERSION}; run the same release on both")]
    Version(u16),
    #[error("it belongs to chain {theirs}, this node to chain {ours}; check nodes.json and chain_id in config.genesis")]
    Chain { ours: String, theirs: String },
    #[error("it does not prove that it has the key of node {0}")]
    Proof(NodeId),
    #[error("the session gives no value to sign: {0}")]
    Exporter(rustls::Error),
    #[error("it did not introduce itself within {} s", PATIENCE.as_secs())]
    Silent,
    #[error("it is this node itself")]
    Myself,
    #[error("node {0} is denied by [certificate_blacklist]")]
    Denied(NodeId),
    #[error("node {0} is not among those that [certificate_whitelist] allows")]
    NotAllowed(NodeId),
}

/// Who we are.
#[derive(Debug)]
pub(crate) struct Introduction {
    pub chain: String,
    pub suite: SuiteKind,
    pub groups: Vec<Arc<str>>,
}

/// Who they are.
#[derive(Clone, Debug)]
pub(crate) struct Partner {
    pub node: NodeId,
    pub p2p_id: String,
    pub groups: Vec<Arc<str>>,
}

fn hello(introduction: &Introduction, keys: &dyn Keys) -> Bytes {
    let mut out = BytesMut::new();
    out.put_slice(MAGIC);
    out.put_u16(VERSION);
    out.put_u8(u8::from(introduction.suite == SuiteKind::Sm));
    let text = |out: &mut BytesMut, text: &str| {
        out.put_u16(text.len() as u16);
        out.put_slice(text.as_bytes());
    };
    text(&mut out, &introduction.chain);
    out.put_u16(keys.me().0.len() as u16);
    out.put_slice(&keys.me().0);
    out.put_u8(introduction.groups.len() as u8);
    for group in &introduction.groups {
        text(&mut out, group);
    }
    out.freeze()
}

fn read_hello(bytes: Bytes, introduction: &Introduction) -> Result<(NodeId, Vec<Arc<str>>), HandshakeError> {
    let mut reader = Reader(bytes);
    if reader.bytes(MAGIC.len()).map_or(true, |magic| magic != MAGIC) {
        return Err(HandshakeError::Stranger);
    }
    let version = reader.u16()?;
    if version != VERSION {
        return Err(HandshakeError::Version(version));
    }
    let suite = reader.u8()?;
    let chain = reader.text()?;
    if *chain != *introduction.chain || suite != u8::from(introduction.suite == SuiteKind::Sm) {
        let name = |chain: &str, sm: bool| format!("{chain}{}", if sm { " (sm_crypto)" } else { "" });
        return Err(HandshakeError::Chain {
            ours: name(&introduction.chain, introduction.suite == SuiteKind::Sm),
            theirs: name(&chain, suite != 0),
        });
    }
    let length = reader.u16()? as usize;
    let node = NodeId(reader.bytes(length)?);
    let count = reader.u8()?;
    let groups = (0..count).map(|_| reader.text()).collect::<Result<_, _>>()?;
    reader.end()?;
    Ok((node, groups))
}

async fn write(stream: &mut TlsStream<TcpStream>, bytes: &[u8]) -> Result<(), HandshakeError> {
    stream.write_u32(bytes.len() as u32).await?;
    stream.write_all(bytes).await?;
    stream.flush().await?;
    Ok(())
}

async fn read(stream: &mut TlsStream<TcpStream>) -> Result<Bytes, HandshakeError> {
    let length = stream.read_u32().await? as usize;
    if length > LIMIT {
        return Err(HandshakeError::Unreadable(FrameError::Count(length)));
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes.into())
}

/// Introduces both sides to each other; `dialled` says who opened the connection.
pub(crate) async fn run(
    stream: &mut TlsStream<TcpStream>,
    introduction: &Introduction,
    keys: &(dyn Keys + Sync),
    dialled: bool,
) -> Result<Partner, HandshakeError> {
    tokio::time::timeout(PATIENCE, exchange(stream, introduction, keys, dialled))
        .await
        .unwrap_or(Err(HandshakeError::Silent))
}

async fn exchange(
    stream: &mut TlsStream<TcpStream>,
    introduction: &Introduction,
    keys: &(dyn Keys + Sync),
    dialled: bool,
) -> Result<Partner, HandshakeError> {
    let (session, p2p_id) = {
        let (exported, certificates) = match &*stream {
            TlsStream::Client(stream) => {
                let tls = stream.get_ref().1;
                (tls.export_keying_material([0_u8; 32], LABEL, None), tls.peer_certificates())
            }
            TlsStream::Server(stream) => {
                let tls = stream.get_ref().1;
                (tls.export_keying_material([0_u8; 32], LABEL, None), tls.peer_certificates())
            }
        };
        let p2p_id = certificates.and_then(<[_]>::first).and_then(|leaf| super::tls::key_id(leaf)).unwrap_or_default();
        (exported.map_err(HandshakeError::Exporter)?, p2p_id)
    };
    // The listener speaks first: under TLS 1.3 its verdict on the dialler's certificate comes with the dialler's first read.
    if !dialled {
        write(stream, &hello(introduction, keys)).await?;
    }
    let (node, groups) = read_hello(read(stream).await?, introduction)?;
    if dialled {
        write(stream, &hello(introduction, keys)).await?;
    }
    if node == *keys.me() {
        return Err(HandshakeError::Myself);
    }
    let claim = |dialler: bool, node: &NodeId| {
        keys.hash(&[b"konsort p2p proof 1", &session, &[u8::from(dialler)], introduction.chain.as_bytes(), &node.0])
    };
    write(stream, &keys.sign(&claim(dialled, keys.me()))).await?;
    let proof = read(stream).await?;
    if !keys.verify(&node, &claim(!dialled, &node), &proof) {
        return Err(HandshakeError::Proof(node));
    }
    Ok(Partner { node, p2p_id, groups })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bcos_consensus::NodeKeys;
    use konsort_crypto::SuiteKey;

    fn introduction(chain: &str) -> Introduction {
        Introduction {
            chain: chain.into(),
            suite: SuiteKind::International,
            groups: vec!["group0".into(), "group1".into()],
        }
    }

    #[test]
    fn introductions_are_read_and_others_are_refused_in_words() {
        let keys = NodeKeys::new(SuiteKey::generate(SuiteKind::International));
        let ours = introduction("chain0");
        let bytes = hello(&ours, &keys);
        let (node, groups) = read_hello(bytes.clone(), &ours).unwrap();
        assert_eq!((&node, groups.len()), (keys.me(), 2));
        let other = read_hello(bytes.clone(), &introduction("chain1")).unwrap_err().to_string();
        assert!(other.starts_with("it belongs to chain chain0, this node to chain chain1"), "{other}");
        for length in 0..bytes.len() {
            assert!(read_hello(bytes.slice(..length), &ours).is_err());
        }
        assert!(matches!(read_hello(Bytes::from_static(b"GET / HTTP/1.1"), &ours), Err(HandshakeError::Stranger)));
    }
}
