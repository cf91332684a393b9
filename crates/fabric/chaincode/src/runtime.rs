//! The runtime: one per peer, for all channels.

mod launch;
mod service;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use fabric_proto::protos::{ChaincodeMessage, Response, chaincode_message::Type};
use konsort_node::{Environment, Metrics};
use parking_lot::Mutex;
use prost::Message as _;
use tokio::sync::watch;

pub use service::Support;

use crate::{
    call::{Call, Dispatcher, Outcome},
    error::{ChaincodeError, InstallError, LaunchError, PackageError},
    launcher::{ChaincodeLauncher, External, ExternalBuilder, Process, ProcessSettings, Service},
    metrics::ChaincodeMetrics,
    package::{Package, PackageInfo, PackageStore},
    registry::{Entry, Registry},
    session::{Batching, SessionHandle, SessionSettings},
    tls::{ChaincodeCa, ListenerCredentials},
    transaction::{Rejected, Transaction},
};

/// How a runtime works; the defaults are those of upstream's `core.yaml`.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its folder: packages, build outputs, logs of chaincode.
    pub folder: PathBuf,
    /// `host:port` under which chaincode processes reach the peer's chaincode listener.
    pub address: String,
    /// The peer's MSP id, told to chaincode.
    pub mspid: String,
    /// The chaincode listener uses TLS (`peer.tls.enabled`).
    pub tls: bool,
    /// Chaincode is started by a person and may register unasked (`chaincode.mode: dev`).
    pub dev_mode: bool,
    /// How long one execution may take (`chaincode.executetimeout`; less than a second counts as 30 s).
    pub execute_timeout: Duration,
    /// How long a build and start may take (`chaincode.startuptimeout`; at least 5 s).
    pub startup_timeout: Duration,
    /// How long the build at installation may take (`chaincode.installTimeout`).
    pub install_timeout: Duration,
    /// Keepalive messages on the streams (`chaincode.keepalive`); `None` for none.
    pub keepalive: Option<Duration>,
    /// The most rows of one query (`ledger.state.totalQueryLimit`).
    pub total_query_limit: u32,
    /// The batches that chaincode may use (`chaincode.runtimeParams`).
    pub batching: Batching,
    /// External builders in order (`chaincode.externalBuilders`).
    pub external_builders: Vec<ExternalBuilder>,
    /// How processes are run and confined.
    pub process: ProcessSettings,
    /// Where to count (`chaincode_*`).
    pub metrics: Option<Metrics>,
    /// The peer's environment, of which builders and processes see a chosen part.
    pub environment: Environment,
}

impl Settings {
    /// The defaults for a peer with this folder, chaincode address and MSP id.
    pub fn new(folder: impl Into<PathBuf>, address: impl Into<String>, mspid: impl Into<String>) -> Self {
        Self {
            folder: folder.into(),
            address: address.into(),
            mspid: mspid.into(),
            tls: true,
            dev_mode: false,
            execute_timeout: Duration::from_secs(30),
            startup_timeout: Duration::from_mins(5),
            install_timeout: Duration::from_mins(5),
            keepalive: None,
            total_query_limit: 100_000,
            batching: Batching::default(),
            external_builders: Vec::new(),
            process: ProcessSettings::default(),
            metrics: None,
            environment: Environment::default(),
        }
    }
}

/// Runs chaincode for a peer. Clones share everything.
#[derive(Clone)]
pub struct Runtime {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) settings: Settings,
    pub(crate) store: PackageStore,
    pub(crate) launchers: Vec<Arc<dyn ChaincodeLauncher>>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) ca: Option<ChaincodeCa>,
    pub(crate) metrics: Option<Arc<ChaincodeMetrics>>,
    /// Counts installations.
    packages: watch::Sender<u64>,
    /// Installations of one package wait for each other.
    installing: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<bool>>>>,
    pub(crate) stopping: tokio_util::sync::CancellationToken,
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Runtime").field("settings", &self.inner.settings).finish_non_exhaustive()
    }
}

impl Runtime {
    /// A runtime with the usual launchers: external builders, then services, then processes.
    pub fn open(settings: Settings) -> Result<Self, PackageError> {
        // Left by an earlier process of the peer, with which its chaincode died.
        let left = settings.folder.join("run");
        if left.exists() {
            std::fs::remove_dir_all(&left).map_err(PackageError::io("could not remove", &left))?;
        }
        let environment = &settings.environment;
        let external = External::new(settings.external_builders.clone(), &settings.folder, environment.clone());
        let service = Service::new(environment.clone());
        let process = Process::new(settings.process.clone(), &settings.folder, environment.clone());
        Self::with_launchers(settings, vec![Arc::new(external), Arc::new(service), Arc::new(process)])
    }

    /// A runtime with other launchers.
    pub fn with_launchers(
        mut settings: Settings,
        launchers: Vec<Arc<dyn ChaincodeLauncher>>,
    ) -> Result<Self, PackageError> {
        if settings.execute_timeout < Duration::from_secs(1) {
            settings.execute_timeout = Duration::from_secs(30);
        }
        settings.startup_timeout = settings.startup_timeout.max(Duration::from_secs(5));
        let store = PackageStore::open(settings.folder.join("packages"))?;
        let ca =
            if settings.tls { Some(ChaincodeCa::new(&settings.address).map_err(PackageError::Content)?) } else { None };
        let registry = Arc::new(Registry::new(settings.dev_mode));
        let metrics = settings.metrics.as_ref().map(ChaincodeMetrics::new);
        let inner = Inner {
            settings,
            metrics,
            packages: watch::Sender::new(0),
            store,
            launchers,
            registry,
            ca,
            installing: Mutex::default(),
            stopping: tokio_util::sync::CancellationToken::new(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// What the chaincode listener needs for TLS: its own certificate, and the CA whose client certificates it must ask for. Both are
    /// made anew at each start. `None` when chaincode connects without TLS.
    pub fn listener_credentials(&self) -> Option<&ListenerCredentials> {
        self.inner.ca.as_ref().map(ChaincodeCa::listener)
    }

    /// Checks a package, keeps it and builds it.
    pub async fn install(&self, bytes: Bytes) -> Result<PackageInfo, InstallError> {
        let package = Package::parse(bytes.clone()).map_err(InstallError::Parse)?;
        let info = package.info();
        let lock = Arc::clone(self.inner.installing.lock().entry(info.package_id.clone()).or_default());
        // True once it has been built.
        let mut built = lock.lock().await;
        if *built || self.inner.store.load(&info.package_id).is_ok() {
            return Err(InstallError::AlreadyInstalled(info.package_id));
        }
        self.inner.store.save(&package, &bytes).map_err(InstallError::Save)?;
        let built_in_time = tokio::time::timeout(self.inner.settings.install_timeout, self.inner.build(&package)).await;
        let result = built_in_time.unwrap_or_else(|_elapsed| {
            Err(LaunchError::Build {
                package_id: info.package_id.clone(),
                cause: format!(
                    "not finished within {} s (chaincode.installTimeout)",
                    self.inner.settings.install_timeout.as_secs()
                ),
                log: None,
            })
        });
        if let Err(error) = result {
            if let Err(remove) = self.inner.store.remove(&info.package_id) {
                tracing::warn!(package = %info.package_id, "could not remove package that does not build: {remove}");
            }
            return Err(InstallError::Build(error));
        }
        *built = true;
        self.inner.packages.send_modify(|installations| *installations += 1);
        tracing::info!(package = %info.package_id, "Successfully installed chaincode with package ID '{}'", info.package_id);
        Ok(info)
    }

    /// Changes at each installation.
    pub fn packages_watch(&self) -> watch::Receiver<u64> {
        self.inner.packages.subscribe()
    }

    /// All installed packages.
    pub fn installed(&self) -> Result<Vec<PackageInfo>, PackageError> {
        self.inner.store.list()
    }

    /// The bytes of an installed package.
    pub fn package(&self, package_id: &str) -> Result<Bytes, PackageError> {
        self.inner.store.load(package_id)
    }

    /// Runs a transaction on a chaincode, starting it when it is not running.
    pub async fn execute(&self, call: Call, dispatcher: Arc<dyn Dispatcher>) -> Result<Outcome, ChaincodeError> {
        let (package_id, channel, txid) = (call.package_id.clone(), call.channel.clone(), call.txid.clone());
        let message = ChaincodeMessage {
            r#type: if call.is_init { Type::Init } else { Type::Transaction }.into(),
            payload: Bytes::from(call.input.encode_to_vec()),
            txid: txid.clone(),
            channel_id: channel.clone(),
            proposal: call.signed_proposal.clone(),
            ..ChaincodeMessage::default()
        };
        let namespace = call.namespace.clone();
        let (transaction, answer) = Transaction::new(call, dispatcher);
        let session = self.begin(&package_id, &transaction).await?;
        // Leaves the table however this ends, also when the caller gives up waiting.
        let _guard = Guard { session: &session, channel: &channel, txid: &txid };
        let terminated = || ChaincodeError::StreamTerminated {
            txid: txid.clone(),
            package_id: package_id.clone(),
            log: self.inner.log(&package_id),
        };
        if !session.send(message) {
            return Err(terminated());
        }
        match tokio::time::timeout(self.inner.settings.execute_timeout, answer).await {
            Ok(Ok(message)) => outcome(message, namespace, &txid),
            Ok(Err(_)) => Err(terminated()),
            Err(_) => {
                if let Some(metrics) = &self.inner.metrics {
                    metrics.execution_timed_out(&package_id);
                }
                Err(ChaincodeError::Timeout { log: self.inner.log(&package_id), txid: txid.clone(), package_id })
            }
        }
    }

    /// Finds or starts the chaincode and enters the transaction there.
    async fn begin(
        &self,
        package_id: &str,
        transaction: &Arc<Transaction>,
    ) -> Result<Arc<SessionHandle>, ChaincodeError> {
        // A stream may end between being found and being used; then it is started once more.
        for _ in 0..2 {
            let session = match self.inner.registry.session(package_id) {
                Some(session) => session,
                None => self.launch(package_id).await.map_err(|cause| ChaincodeError::Launch {
                    txid: transaction.call.txid.clone(),
                    package_id: package_id.to_owned(),
                    cause: Box::new(cause),
                })?,
            };
            match session.transactions.add(transaction) {
                Ok(()) => return Ok(session),
                Err(Rejected::Duplicate) => {
                    return Err(ChaincodeError::Duplicate {
                        txid: transaction.call.txid.clone(),
                        channel: transaction.call.channel.clone(),
                    });
                }
                Err(Rejected::Closed) => tokio::task::yield_now().await,
            }
        }
        Err(ChaincodeError::StreamTerminated {
            txid: transaction.call.txid.clone(),
            package_id: package_id.to_owned(),
            log: self.inner.log(package_id),
        })
    }

    /// Starts a chaincode ahead of its first transaction.
    pub async fn start(&self, package_id: &str) -> Result<(), LaunchError> {
        self.launch(package_id).await.map(|_session| ())
    }

    async fn launch(&self, package_id: &str) -> Result<Arc<SessionHandle>, LaunchError> {
        let launch = match self.inner.registry.entry(package_id) {
            Entry::Ready(session) => return Ok(session),
            Entry::Launching(launch) => launch,
            Entry::Absent(launch) => {
                // A task of its own: whoever asked first may stop waiting, others may still want the chaincode.
                tokio::spawn(Arc::clone(&self.inner).launch(package_id.to_owned(), launch.clone()));
                launch
            }
        };
        launch.done().await?;
        self.inner.registry.session(package_id).ok_or_else(|| LaunchError::Start {
            package_id: package_id.to_owned(),
            cause: "its stream ended right after it registered".into(),
            log: self.inner.log(package_id),
        })
    }

    /// Ends all streams and processes.
    pub async fn stop(&self) {
        self.inner.stopping.cancel();
        let (sessions, processes) = self.inner.registry.drain();
        for session in sessions {
            session.close();
        }
        futures::future::join_all(processes.iter().map(|process| process.stop())).await;
    }
}

struct Guard<'a> {
    session: &'a SessionHandle,
    channel: &'a str,
    txid: &'a str,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.session.transactions.remove(self.channel, self.txid);
    }
}

fn outcome(message: ChaincodeMessage, namespace: String, txid: &str) -> Result<Outcome, ChaincodeError> {
    if message.r#type == i32::from(Type::Error) {
        return Err(ChaincodeError::Failure { message: String::from_utf8_lossy(&message.payload).into_owned() });
    }
    let response = Response::decode(message.payload)
        .map_err(|error| ChaincodeError::BadResponse { txid: txid.to_owned(), cause: error.to_string() })?;
    let event = message.chaincode_event.map(|mut event| {
        event.chaincode_id = namespace;
        txid.clone_into(&mut event.tx_id);
        event
    });
    Ok(Outcome { response, event })
}

impl Inner {
    pub(crate) fn session_settings(&self) -> SessionSettings {
        SessionSettings {
            keepalive: self.settings.keepalive,
            total_query_limit: self.settings.total_query_limit,
            batching: self.settings.batching,
            metrics: self.metrics.clone(),
        }
    }

    /// The log of a chaincode's process, running or not.
    fn log(&self, package_id: &str) -> Option<PathBuf> {
        self.registry.log(package_id).or_else(|| {
            let path = crate::launcher::log_path(&self.settings.folder.join("logs"), package_id);
            path.exists().then_some(path)
        })
    }
}
