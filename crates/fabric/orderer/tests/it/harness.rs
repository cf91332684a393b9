//! Orderers in this process, with the throw-away keys of the golden network.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
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

pub(crate) fn golden() -> PathBuf {
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
        let folder =
            format!("peerOrganizations/org{organization}.example.com/users/{user}@org{organization}.example.com/msp");
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
        let orderer = Orderer::start(OrdererConfig::load(&config).unwrap(), LogHandle::detached(), shutdown.clone())
            .await
            .unwrap();
        let (address, admin, operations) =
            (orderer.local_addr().to_string(), orderer.admin_addr().to_string(), orderer.operations_addr().to_string());
        let identity = TlsIdentity::from_files(&tls.join("server.crt"), &tls.join("server.key")).unwrap();
        let tls = ClientTls {
            roots: Roots::from_files([tls.join("ca.crt")]).unwrap(),
            identity: Some(identity),
            server_name_override: None,
        };
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
        for _ in 0..600 {
            let answer = tokio::time::timeout(Duration::from_mins(1), self.deliver(signer, &seek))
                .await
                .expect("blocks in time");
            match answer.1 {
                Some(Status::Success) => return answer.0,
                // Between two leaders, or not there yet: readers ask again.
                Some(Status::ServiceUnavailable | Status::NotFound) => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                other => panic!("blocks {first} to {last}: {other:?}"),
            }
        }
        panic!("blocks {first} to {last} do not come");
    }

    /// One HTTP request to the admin listener: status code, headers and body.
    pub(crate) async fn http(&self, method: &str, path: &str, form: Option<(&str, &[u8])>) -> (u16, String, String) {
        let mut stream = konsort_node::dial_stream(&self.admin, &DialOptions::tls(self.tls.clone())).await.unwrap();
        let mut body = Vec::new();
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: orderer\r\nConnection: close\r\n");
        if let Some((key, content)) = form {
            body.extend_from_slice(
                format!("--b\r\nContent-Disposition: form-data; name=\"{key}\"; filename=\"f\"\r\n\r\n").as_bytes(),
            );
            body.extend_from_slice(content);
            body.extend_from_slice(b"\r\n--b--\r\n");
            head = format!("{head}Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {}\r\n", body.len());
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
        let (code, _, body) =
            self.http("POST", "/participation/v1/channels", Some(("config-block", &block.encode_to_vec()))).await;
        assert_eq!(code, 201, "{body}");
    }
}

/// A transaction nobody will look into.
pub(crate) fn message(signer: &dyn Signer, payload: &str) -> Envelope {
    protoutil::signed_envelope(
        HeaderType::EndorserTransaction,
        CHANNEL,
        Some(signer),
        Bytes::copy_from_slice(payload.as_bytes()),
        None,
    )
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

/// Several orderers of one channel: each has its own TLS key and port, all share one identity.
pub(crate) struct Cluster {
    pub keys: Keys,
    pub places: Vec<Place>,
    pub running: Vec<Option<Running>>,
    pub genesis: Block,
    _data: tempfile::TempDir,
}

/// A free port below those that the system gives to outgoing connections, one of which might take it before the orderer does.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 10_000 + u16::try_from(std::process::id() % 200).unwrap() * 100;
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed) % 100;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

pub(crate) fn consenter(place: &Place) -> fabric_proto::etcdraft::Consenter {
    let certificate: Bytes = std::fs::read(place.tls.join("server.crt")).unwrap().into();
    fabric_proto::etcdraft::Consenter {
        host: "127.0.0.1".to_owned(),
        port: u32::from(place.port),
        client_tls_cert: certificate.clone(),
        server_tls_cert: certificate,
    }
}

/// Changes the Raft part of a configuration.
pub(crate) fn edit_raft(
    config: &mut fabric_proto::common::Config,
    edit: impl FnOnce(&mut fabric_proto::etcdraft::ConfigMetadata),
) {
    use fabric_proto::orderer::ConsensusType;
    let group = config.channel_group.as_mut().unwrap().groups.get_mut("Orderer").unwrap();
    let value = group.values.get_mut("ConsensusType").unwrap();
    let mut consensus = ConsensusType::decode(value.value.clone()).unwrap();
    let mut metadata = fabric_proto::etcdraft::ConfigMetadata::decode(consensus.metadata.clone()).unwrap();
    edit(&mut metadata);
    consensus.metadata = metadata.encode_to_vec().into();
    value.value = consensus.encode_to_vec().into();
}

impl Cluster {
    /// `members` orderers run and have joined; `spare` more have keys only.
    pub(crate) async fn start(members: usize, spare: usize) -> Self {
        let keys = Keys::new();
        let data = tempfile::tempdir().unwrap();
        let places: Vec<Place> = (0..members + spare).map(|i| Self::place(&keys, data.path(), i)).collect();
        let golden = genesis();
        let mut envelope = protoutil::config_envelope_of_block(&golden).unwrap();
        edit_raft(envelope.config.as_mut().unwrap(), |metadata| {
            metadata.consenters = places[..members].iter().map(consenter).collect();
            let options = metadata.options.as_mut().unwrap();
            "50ms".clone_into(&mut options.tick_interval);
            options.snapshot_interval_size = 40_000;
        });
        let envelope =
            protoutil::signed_envelope(HeaderType::Config, CHANNEL, None, envelope.encode_to_vec().into(), None);
        let mut block = golden.clone();
        block.data.as_mut().unwrap().data = vec![envelope.encode_to_vec().into()];
        block.header.as_mut().unwrap().data_hash =
            Bytes::copy_from_slice(&protoutil::data_hash(&block.data.as_ref().unwrap().data));
        let mut running = Vec::new();
        for place in &places[..members] {
            running.push(Some(Running::start(place).await));
        }
        running.extend((0..spare).map(|_| None));
        let cluster = Self { keys, places, running, genesis: block, _data: data };
        for orderer in cluster.running.iter().flatten() {
            orderer.join(&cluster.genesis).await;
        }
        cluster
    }

    fn place(keys: &Keys, data: &Path, number: usize) -> Place {
        use konsort_crypto::{KeyKind, PrivateKey};
        use konsort_pki::{Certificate, CertificateTemplate, Name};
        let authority = keys.path("ordererOrganizations/example.com/tlsca");
        let certificate =
            Certificate::from_pem(&std::fs::read(authority.join("tlsca.example.com-cert.pem")).unwrap()).unwrap();
        let key = PrivateKey::from_pem(&std::fs::read_to_string(authority.join("priv_sk")).unwrap()).unwrap();
        let own = PrivateKey::generate(KeyKind::EcdsaP256).unwrap();
        let template = CertificateTemplate::tls(
            Name::common_name(format!("orderer{number}")),
            certificate.not_before(),
            certificate.not_after(),
        );
        let issued = template.with_sans(["127.0.0.1"]).issue(own.public_key(), &certificate, &key).unwrap();
        let folder = data.join(number.to_string());
        let tls = folder.join("tls");
        std::fs::create_dir_all(&tls).unwrap();
        std::fs::write(tls.join("server.crt"), issued.pem()).unwrap();
        std::fs::write(tls.join("server.key"), own.to_pkcs8_pem().as_bytes()).unwrap();
        std::fs::write(tls.join("ca.crt"), certificate.pem()).unwrap();
        Place { data: folder, tls, msp: keys.orderer("msp"), port: free_port(), extra: String::new() }
    }

    pub(crate) fn node(&self, number: usize) -> &Running {
        self.running[number].as_ref().unwrap()
    }

    pub(crate) async fn stop(&mut self, number: usize) {
        self.running[number].take().unwrap().stop().await;
    }

    pub(crate) async fn restart(&mut self, number: usize) {
        self.running[number] = Some(Running::start(&self.places[number]).await);
    }

    /// Broadcasts through one orderer until it is taken.
    pub(crate) async fn order(&self, number: usize, envelope: Envelope) {
        let mut last = String::new();
        for _ in 0..200 {
            match self.node(number).broadcast(vec![envelope.clone()]).await.first() {
                Some(answer) if answer.status == Status::Success as i32 => return,
                Some(answer) => last.clone_from(&answer.info),
                None => {}
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("orderer {number} does not take the message: {last}");
    }

    /// The number of the orderer whose metrics say that it leads.
    pub(crate) async fn leader(&self) -> usize {
        for _ in 0..400 {
            for (number, orderer) in self.running.iter().enumerate() {
                let Some(orderer) = orderer else { continue };
                let leads = format!("consensus_etcdraft_is_leader{{channel=\"{CHANNEL}\"}} 1");
                if orderer.metrics().await.contains(&leads) {
                    return number;
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("nobody leads");
    }

    /// Sends a configuration update signed by the orderers' administrator.
    pub(crate) async fn update(
        &self,
        number: usize,
        edit: impl FnOnce(&mut fabric_proto::common::Config),
    ) -> BroadcastResponse {
        let admin: Arc<dyn Signer> = Arc::new(
            SigningIdentity::from_folder(
                &self.keys.path("ordererOrganizations/example.com/users/Admin@example.com/msp"),
                "OrdererMSP",
            )
            .unwrap(),
        );
        let (code, _, _) = self.node(number).http("GET", &format!("/participation/v1/channels/{CHANNEL}"), None).await;
        assert_eq!(code, 200);
        let newest = protoutil::seek(protoutil::seek_newest(), protoutil::seek_newest());
        let (blocks, _) = self.node(number).deliver(&*admin, &newest).await;
        let last = protoutil::last_config_index(&blocks[0]).unwrap();
        let config_block = self.node(number).blocks(&*admin, last, last).await.remove(0);
        let (_, config) = protoutil::config_of_block(&config_block).unwrap();
        let mut edited = config.clone();
        edit(&mut edited);
        let mut update = fabric_channel::config::compute(&config, &edited).unwrap();
        CHANNEL.clone_into(&mut update.channel_id);
        let bytes: Bytes = update.encode_to_vec().into();
        let signatures = vec![protoutil::sign_config_update(&bytes, &*admin)];
        let envelope = fabric_proto::common::ConfigUpdateEnvelope { config_update: bytes, signatures };
        let envelope = protoutil::signed_config_update(CHANNEL, &envelope, Some(&*admin));
        self.node(number).broadcast(vec![envelope]).await.remove(0)
    }

    /// Waits until an orderer's channel is as said by the participation API.
    pub(crate) async fn until(&self, number: usize, wanted: &str) {
        let mut body = String::new();
        for _ in 0..400 {
            body = self.node(number).http("GET", &format!("/participation/v1/channels/{CHANNEL}"), None).await.2;
            if body.contains(wanted) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("orderer {number} is not {wanted} but {body}");
    }
}

impl Running {
    pub(crate) async fn metrics(&self) -> String {
        self.operation("/metrics").await
    }

    /// What the operations service answers, head and body.
    pub(crate) async fn operation(&self, path: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(&self.operations).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: orderer\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}
