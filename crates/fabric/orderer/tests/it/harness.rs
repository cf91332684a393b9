//! Orderers in this process, with the throw-away keys of the golden network.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fabric_channel::msp::SigningIdentity;
use fabric_channel::protoutil::{self, Signer};
use fabric_orderer::{Orderer, OrdererConfig};
use fabric_proto::common::{Block, Envelope, HeaderType, Status};
use fabric_proto::orderer::atomic_broadcast_client::AtomicBroadcastClient;
use fabric_proto::orderer::seek_info::{SeekBehavior, SeekContentType};
use fabric_proto::orderer::{BroadcastResponse, SeekInfo, deliver_response};
use konsort_node::logging::LogHandle;
use konsort_node::{ClientTls, Config, DialOptions, Environment, Roots, Shutdown, TlsIdentity};
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_stream::StreamExt as _;

pub(crate) const CHANNEL: &str = "goldenchannel";

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/golden/fabric")
}

/// The genesis block of the golden network.
pub(crate) fn genesis() -> Block {
    Block::decode(Bytes::from(std::fs::read(golden().join("genesis.block")).unwrap())).unwrap()
}

/// A folder with the golden network's keys in it.
pub(crate) struct Keys(pub tempfile::TempDir);

impl Keys {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let archive = std::fs::File::open(golden().join("crypto/crypto-config.tar.gz")).unwrap();
        tar::Archive::new(flate2::read::GzDecoder::new(archive)).unpack(folder.path()).unwrap();
        Self(folder)
    }

    pub(crate) fn path(&self, rest: &str) -> PathBuf {
        self.0.path().join("crypto-config").join(rest)
    }

    pub(crate) fn orderer(&self, rest: &str) -> PathBuf {
        self.path("ordererOrganizations/example.com/orderers/orderer.example.com").join(rest)
    }

    pub(crate) fn user(&self, organization: u8, user: &str) -> Arc<dyn Signer> {
        let folder = format!("peerOrganizations/org{organization}.example.com/users/{user}@org{organization}.example.com/msp");
        Arc::new(SigningIdentity::from_folder(&self.path(&folder), &format!("Org{organization}MSP")).unwrap())
    }
}

/// One running orderer.
pub(crate) struct Running {
    pub address: String,
    pub admin: String,
    pub operations: String,
    tls: ClientTls,
    shutdown: Shutdown,
    task: tokio::task::JoinHandle<()>,
}

/// Where an orderer has its files and its TLS key.
#[derive(Clone)]
pub(crate) struct Place {
    pub data: PathBuf,
    pub tls: PathBuf,
    pub msp: PathBuf,
    pub port: u16,
    pub extra: String,
}

impl Running {
    pub(crate) async fn start(place: &Place) -> Self {
        let tls = &place.tls;
        let yaml = format!(
            r"
General:
  ListenAddress: 127.0.0.1
  ListenPort: {port}
  TLS: {{Enabled: true, Certificate: {certificate}, PrivateKey: {key}, RootCAs: [{ca}]}}
  LocalMSPDir: {msp}
  LocalMSPID: OrdererMSP
FileLedger: {{Location: {data}}}
Consensus: {{WALDir: {wal}{extra}}}
Admin:
  ListenAddress: 127.0.0.1:0
  TLS: {{Enabled: true, Certificate: {certificate}, PrivateKey: {key}, RootCAs: [{ca}], ClientAuthRequired: true, ClientRootCAs: [{ca}]}}
Operations: {{ListenAddress: 127.0.0.1:0}}
Metrics: {{Provider: prometheus}}
",
            port = place.port,
            certificate = tls.join("server.crt").display(),
            key = tls.join("server.key").display(),
            ca = tls.join("ca.crt").display(),
            msp = place.msp.display(),
            data = place.data.display(),
            wal = place.data.join("wal").display(),
            extra = place.extra,
        );
        let environment = Environment::from_pairs::<String, String>([]);
        let config = Config::from_yaml(&yaml, place.data.join("orderer.yaml"), "ORDERER", &environment).unwrap();
        let shutdown = Shutdown::new();
        let orderer = Orderer::start(OrdererConfig::load(&config).unwrap(), LogHandle::detached(), shutdown.clone()).await.unwrap();
        let (address, admin, operations) =
            (orderer.local_addr().to_string(), orderer.admin_addr().to_string(), orderer.operations_addr().to_string());
        let identity = TlsIdentity::from_files(&tls.join("server.crt"), &tls.join("server.key")).unwrap();
        let tls = ClientTls { roots: Roots::from_files([tls.join("ca.crt")]).unwrap(), identity: Some(identity), server_name_override: None };
        Self { address, admin, operations, tls, shutdown, task: tokio::spawn(orderer.wait()) }
    }

    pub(crate) async fn stop(self) {
        self.shutdown.trigger("test");
        self.task.await.unwrap();
    }

    pub(crate) fn client(&self) -> AtomicBroadcastClient<tonic::transport::Channel> {
        let channel = konsort_node::dial(&self.address, &DialOptions::tls(self.tls.clone())).unwrap();
        AtomicBroadcastClient::new(channel).max_decoding_message_size(konsort_node::MAX_MESSAGE_SIZE)
    }

    pub(crate) async fn broadcast(&self, envelopes: Vec<Envelope>) -> Vec<BroadcastResponse> {
        let stream = self.client().broadcast(tokio_stream::iter(envelopes)).await.unwrap().into_inner();
        stream.map(|answer| answer.unwrap()).collect().await
    }

    pub(crate) async fn deliver(&self, signer: &dyn Signer, seek: &SeekInfo) -> (Vec<Block>, Option<Status>) {
        self.deliver_request(protoutil::seek_envelope(CHANNEL, Some(signer), seek, None)).await
    }

    pub(crate) async fn deliver_request(&self, request: Envelope) -> (Vec<Block>, Option<Status>) {
        let mut stream = self.client().deliver(tokio_stream::once(request)).await.unwrap().into_inner();
        let mut blocks = Vec::new();
        while let Some(answer) = stream.message().await.unwrap() {
            match answer.r#type.unwrap() {
                deliver_response::Type::Block(block) => blocks.push(block),
                deliver_response::Type::Status(status) => return (blocks, Some(Status::try_from(status).unwrap())),
            }
        }
        (blocks, None)
    }

    /// Blocks from `first` to `last`, waiting for those to come.
    pub(crate) async fn blocks(&self, signer: &dyn Signer, first: u64, last: u64) -> Vec<Block> {
        let seek = protoutil::seek(protoutil::seek_specified(first), protoutil::seek_specified(last));
        let answer = tokio::time::timeout(Duration::from_secs(60), self.deliver(signer, &seek)).await.expect("blocks in time");
        assert_eq!(answer.1, Some(Status::Success));
        answer.0
    }

    /// One HTTP request to the admin listener: status code, headers and body.
    pub(crate) async fn http(&self, method: &str, path: &str, form: Option<(&str, &[u8])>) -> (u16, String, String) {
        let mut stream = konsort_node::dial_stream(&self.admin, &DialOptions::tls(self.tls.clone())).await.unwrap();
        let mut body = Vec::new();
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: orderer\r\nConnection: close\r\n");
        if let Some((key, content)) = form {
            body.extend_from_slice(format!("--b\r\nContent-Disposition: form-data; name=\"{key}\"; filename=\"f\"\r\n\r\n").as_bytes());
            body.extend_from_slice(content);
            body.extend_from_slice(b"\r\n--b--\r\n");
            head += &format!("Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {}\r\n", body.len());
        }
        stream.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
        stream.write_all(&body).await.unwrap();
        let mut answer = Vec::new();
        let _closed_without_notice = stream.read_to_end(&mut answer).await;
        let text = String::from_utf8_lossy(&answer).into_owned();
        let (headers, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let code = headers.split(' ').nth(1).and_then(|c| c.parse().ok()).unwrap_or(0);
        (code, headers.to_ascii_lowercase(), body.to_owned())
    }

    pub(crate) async fn join(&self, block: &Block) {
        let (code, _, body) = self.http("POST", "/participation/v1/channels", Some(("config-block", &block.encode_to_vec()))).await;
        assert_eq!(code, 201, "{body}");
    }
}

/// A transaction nobody will look into.
pub(crate) fn message(signer: &dyn Signer, payload: &str) -> Envelope {
    protoutil::signed_envelope(HeaderType::EndorserTransaction, CHANNEL, Some(signer), Bytes::copy_from_slice(payload.as_bytes()), None)
}

/// The payloads of a block's messages.
pub(crate) fn payloads(block: &Block) -> Vec<String> {
    let data = &block.data.as_ref().unwrap().data;
    let payload = |bytes: &Bytes| protoutil::payload(&Envelope::decode(bytes.clone()).unwrap()).unwrap().data;
    data.iter().map(|bytes| String::from_utf8_lossy(&payload(bytes)).into_owned()).collect()
}

pub(crate) fn seek(mut info: SeekInfo, behavior: SeekBehavior, content: SeekContentType) -> SeekInfo {
    info.behavior = behavior as i32;
    info.content_type = content as i32;
    info
}
