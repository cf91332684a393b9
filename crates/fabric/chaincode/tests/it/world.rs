//! A peer without a ledger: a runtime on a TLS listener, a state in memory, contracts that run as tasks.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use fabric_chaincode::{
    Call, Capabilities, ChaincodeError, ChaincodeLauncher, CollectionPermission, DispatchError, Dispatcher,
    LaunchError, Outcome, Package, PeerConnection, Running, RunningProcess, Runtime, Settings, Target,
    package::{Metadata, pack},
};
use fabric_ledger::{
    Collections, Height, LedgerError, NoCollections, Simulator, StateReader, StateRow, StateRows, VersionedValue,
    rwset::TxRwset,
};
use fabric_proto::{
    common::{ChannelHeader, Header, SignatureHeader},
    msp::SerializedIdentity,
    protos::{
        ChaincodeInput, ChaincodeInvocationSpec, ChaincodeProposalPayload, ChaincodeSpec, Proposal, SignedProposal,
    },
};
use fabric_shim::{ClientSettings, ClientTlsFiles, Contract};
use futures::{FutureExt as _, future::BoxFuture};
use konsort_crypto::{KeyKind, PrivateKey};
use konsort_node::{ClientAuth, Roots, Server, ServerOptions, ServerTls, Shutdown, TlsIdentity};
use konsort_pki::{CertificateTemplate, Name};
use parking_lot::Mutex;
use prost::Message as _;
use tokio::sync::watch;

/// Public state in memory.
#[derive(Default)]
pub(crate) struct State(pub(crate) BTreeMap<(String, String), Bytes>);

impl State {
    pub(crate) fn of(rows: impl IntoIterator<Item = (String, String)>) -> Arc<Self> {
        Arc::new(Self(rows.into_iter().map(|(key, value)| (("basic".to_owned(), key), value.into())).collect()))
    }
}

fn row(value: &Bytes) -> VersionedValue {
    VersionedValue { value: value.clone(), metadata: Bytes::new(), version: Height { block: 1, tx: 0 } }
}

impl StateReader for State {
    fn get(&self, namespace: &str, key: &str) -> Result<Option<VersionedValue>, LedgerError> {
        Ok(self.0.get(&(namespace.to_owned(), key.to_owned())).map(row))
    }

    fn get_hash(
        &self,
        _namespace: &str,
        _collection: &str,
        _key_hash: &[u8],
    ) -> Result<Option<VersionedValue>, LedgerError> {
        Ok(None)
    }

    fn range<'a>(&'a self, namespace: &str, start: &str, end: &str) -> Result<StateRows<'a>, LedgerError> {
        let (namespace, start, end) = (namespace.to_owned(), start.to_owned(), end.to_owned());
        Ok(Box::new(
            self.0
                .iter()
                .filter(move |((space, key), _)| {
                    *space == namespace
                        && key.as_str() >= start.as_str()
                        && (end.is_empty() || key.as_str() < end.as_str())
                })
                .map(|((_, key), value)| Ok(StateRow { key: key.clone(), value: row(value) })),
        ))
    }
}

/// Starts contracts as tasks that dial the peer.
pub(crate) struct Tasks<C> {
    contract: C,
    pub(crate) starts: AtomicUsize,
    running: Mutex<Option<tokio::task::AbortHandle>>,
}

impl<C> std::fmt::Debug for Tasks<C> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Tasks")
    }
}

impl<C: Contract + Clone> Tasks<C> {
    pub(crate) fn new(contract: C) -> Arc<Self> {
        Arc::new(Self { contract, starts: AtomicUsize::new(0), running: Mutex::default() })
    }

    /// As kill -9 would.
    pub(crate) fn kill(&self) {
        if let Some(task) = self.running.lock().take() {
            task.abort();
        }
    }
}

#[derive(Debug)]
struct Task {
    ended: watch::Receiver<bool>,
    handle: tokio::task::AbortHandle,
}

impl RunningProcess for Task {
    fn wait(&self) -> BoxFuture<'_, String> {
        let mut ended = self.ended.clone();
        async move {
            let _ = ended.wait_for(|ended| *ended).await;
            "1".to_owned()
        }
        .boxed()
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        self.handle.abort();
        async {}.boxed()
    }

    fn log(&self) -> Option<std::path::PathBuf> {
        None
    }
}

pub(crate) fn client_settings(package_id: &str, peer: &PeerConnection) -> ClientSettings {
    ClientSettings {
        chaincode_id: package_id.to_owned(),
        peer_address: peer.address.clone(),
        tls: peer.tls.as_ref().map(|tls| ClientTlsFiles {
            certificate: tls.certificate.clone().into_bytes(),
            key: tls.key.clone().into_bytes(),
            root: tls.root.clone().into_bytes(),
        }),
    }
}

impl<C: Contract + Clone> ChaincodeLauncher for Tasks<C> {
    fn name(&self) -> &'static str {
        "tasks"
    }

    fn build<'a>(&'a self, package: &'a Package) -> BoxFuture<'a, Result<bool, LaunchError>> {
        let mine = package.metadata().kind == "task";
        async move { Ok(mine) }.boxed()
    }

    fn launch<'a>(
        &'a self,
        package: &'a Package,
        peer: &'a PeerConnection,
    ) -> BoxFuture<'a, Result<Running, LaunchError>> {
        self.starts.fetch_add(1, Ordering::SeqCst);
        let (settings, contract) = (client_settings(package.id(), peer), self.contract.clone());
        let (sender, ended) = watch::channel(false);
        let task = tokio::spawn(async move {
            let result = fabric_shim::connect(contract, &settings).await;
            drop(result);
            let _ = sender.send(true);
        });
        let handle = task.abort_handle();
        *self.running.lock() = Some(handle.clone());
        async move { Ok(Running::Process(Box::new(Task { ended, handle }))) }.boxed()
    }
}

/// A runtime with its listener.
pub(crate) struct Peer {
    pub(crate) runtime: Runtime,
    pub(crate) address: String,
    pub(crate) folder: tempfile::TempDir,
    shutdown: Shutdown,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.shutdown.trigger("test over");
    }
}

pub(crate) fn free_port() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl Peer {
    pub(crate) async fn start(
        launchers: Option<Vec<Arc<dyn ChaincodeLauncher>>>,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = free_port().to_string();
        let mut settings = Settings::new(folder.path(), address.clone(), "Org1MSP");
        settings.execute_timeout = Duration::from_secs(20);
        settings.startup_timeout = Duration::from_secs(20);
        change(&mut settings);
        let runtime = match launchers {
            Some(launchers) => Runtime::with_launchers(settings, launchers).unwrap(),
            None => Runtime::open(settings).unwrap(),
        };
        let tls = runtime.listener_credentials().map(|credentials| ServerTls {
            identity: TlsIdentity::from_pem(credentials.certificate_pem.as_bytes(), credentials.key_pem.as_bytes())
                .unwrap(),
            client_auth: ClientAuth::Require,
            client_roots: Roots::from_pem([&credentials.client_ca_pem]).unwrap(),
        });
        let server =
            Server::bind("chaincode", &address, ServerOptions { tls, ..ServerOptions::default() }).await.unwrap();
        let shutdown = Shutdown::new();
        tokio::spawn(server.serve_grpc(tonic::service::Routes::new(runtime.service()), shutdown.clone()));
        Self { runtime, address, folder, shutdown }
    }

    /// A peer whose packages of type `task` run this contract.
    pub(crate) async fn with_contract<C: Contract + Clone>(contract: C) -> (Self, Arc<Tasks<C>>, String) {
        let tasks = Tasks::new(contract);
        let peer = Self::start(Some(vec![tasks.clone()]), |_| {}).await;
        let id = peer.install("basic_1.0", "task", b"nothing").await;
        (peer, tasks, id)
    }

    pub(crate) async fn install(&self, label: &str, kind: &str, code: &[u8]) -> String {
        let metadata = Metadata { label: label.into(), kind: kind.into(), path: String::new() };
        let package = pack(&metadata, code).unwrap();
        self.runtime.install(package.into()).await.unwrap().package_id
    }
}

/// A signed proposal as far as shims look at it.
fn proposal() -> SignedProposal {
    static CREATOR: OnceLock<Bytes> = OnceLock::new();
    let creator = CREATOR.get_or_init(|| {
        let key = PrivateKey::generate(KeyKind::EcdsaP256).unwrap();
        let certificate =
            CertificateTemplate::ca(Name::common_name("user"), 1_700_000_000, 4_000_000_000).self_sign(&key).unwrap();
        let identity = SerializedIdentity { mspid: "Org1MSP".into(), id_bytes: certificate.pem().into() };
        identity.encode_to_vec().into()
    });
    let channel_header = ChannelHeader {
        r#type: 3,
        timestamp: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 5 }),
        channel_id: "mychannel".into(),
        ..ChannelHeader::default()
    };
    let signature_header = SignatureHeader { creator: creator.clone(), nonce: Bytes::from_static(&[7; 24]) };
    let header = Header {
        channel_header: channel_header.encode_to_vec().into(),
        signature_header: signature_header.encode_to_vec().into(),
    };
    let proposal = Proposal {
        header: header.encode_to_vec().into(),
        payload: ChaincodeProposalPayload {
            input: ChaincodeInvocationSpec {
                chaincode_spec: Some(ChaincodeSpec { r#type: 1, ..ChaincodeSpec::default() }),
            }
            .encode_to_vec()
            .into(),
            ..ChaincodeProposalPayload::default()
        }
        .encode_to_vec()
        .into(),
        ..Proposal::default()
    };
    SignedProposal { proposal_bytes: proposal.encode_to_vec().into(), signature: Bytes::from_static(b"unchecked here") }
}

static TRANSACTIONS: AtomicUsize = AtomicUsize::new(0);

pub(crate) fn call(package_id: &str, state: &Arc<State>, args: &[&str]) -> Call {
    let txid = format!("{:064x}", TRANSACTIONS.fetch_add(1, Ordering::SeqCst));
    let collections: Arc<dyn Collections> = Arc::new(NoCollections);
    Call {
        package_id: package_id.to_owned(),
        channel: "mychannel".into(),
        namespace: "basic".into(),
        txid: txid.clone(),
        input: ChaincodeInput {
            args: args.iter().map(|arg| Bytes::copy_from_slice(arg.as_bytes())).collect(),
            ..ChaincodeInput::default()
        },
        is_init: false,
        signed_proposal: Some(proposal()),
        simulator: Arc::new(Simulator::new(txid, state.clone() as Arc<dyn StateReader>, collections)),
        ledger: None,
        capabilities: Capabilities::default(),
    }
}

/// Sends calls between chaincodes back to one runtime and package.
pub(crate) struct Loop {
    pub(crate) runtime: Runtime,
    pub(crate) targets: BTreeMap<String, String>,
    pub(crate) permission: CollectionPermission,
}

impl Dispatcher for Loop {
    fn invoke<'a>(
        &'a self,
        caller: &'a Call,
        target: Target,
        input: ChaincodeInput,
    ) -> BoxFuture<'a, Result<Outcome, DispatchError>> {
        async move {
            let package_id = self
                .targets
                .get(&target.chaincode)
                .ok_or_else(|| DispatchError::Invalid(format!("chaincode {} not found", target.chaincode)))?;
            let call = Call {
                package_id: package_id.clone(),
                namespace: target.chaincode.clone(),
                channel: target.channel.clone(),
                input,
                ..caller.clone()
            };
            Ok(self.runtime.execute(call, dispatcher(&self.runtime)).await?)
        }
        .boxed()
    }

    fn collection_permission(&self, _caller: &Call, _collection: &str) -> Result<CollectionPermission, String> {
        Ok(self.permission)
    }
}

pub(crate) fn dispatcher(runtime: &Runtime) -> Arc<dyn Dispatcher> {
    Arc::new(Loop {
        runtime: runtime.clone(),
        targets: BTreeMap::new(),
        permission: CollectionPermission { read: true, write: true },
    })
}

pub(crate) async fn run(
    peer: &Peer,
    package_id: &str,
    state: &Arc<State>,
    args: &[&str],
) -> Result<(Outcome, TxRwset), ChaincodeError> {
    let call = call(package_id, state, args);
    let simulator = Arc::clone(&call.simulator);
    let outcome = peer.runtime.execute(call, dispatcher(&peer.runtime)).await?;
    Ok((outcome, TxRwset::decode(&simulator.finish().unwrap().public).unwrap()))
}

pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}
