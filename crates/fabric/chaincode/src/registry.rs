//! Which chaincodes are registered, which are being started, and whose certificate is whose.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{
    error::LaunchError,
    launcher::RunningProcess,
    session::{Caller, SessionHandle},
};

/// How a start stands; `None` while it is under way.
type LaunchState = Option<Result<(), LaunchError>>;

/// A start that is under way, for everyone who waits for it.
#[derive(Clone)]
pub(crate) struct Launch {
    state: Arc<watch::Sender<LaunchState>>,
}

impl Launch {
    fn new() -> Self {
        Self { state: Arc::new(watch::Sender::new(None)) }
    }

    /// The first result counts.
    pub(crate) fn notify(&self, result: Result<(), LaunchError>) {
        self.state.send_if_modified(|state| {
            let first = state.is_none();
            if first {
                *state = Some(result);
            }
            first
        });
    }

    pub(crate) async fn done(&self) -> Result<(), LaunchError> {
        let mut receiver = self.state.subscribe();
        match receiver.wait_for(Option::is_some).await {
            Ok(state) => state.clone().unwrap_or(Ok(())),
            // The sender lives as long as this value.
            Err(_) => Ok(()),
        }
    }
}

/// What there is for a package when someone wants to execute on it.
pub(crate) enum Entry {
    Ready(Arc<SessionHandle>),
    /// Someone else is starting it.
    Launching(Launch),
    /// The caller is to start it.
    Absent(Launch),
}

#[derive(Default)]
struct Tables {
    sessions: HashMap<String, Arc<SessionHandle>>,
    launching: HashMap<String, Launch>,
    /// Package id by certificate hash.
    certificates: HashMap<[u8; 32], String>,
    processes: HashMap<String, Arc<dyn RunningProcess>>,
}

/// The tables of a runtime.
pub(crate) struct Registry {
    tables: Mutex<Tables>,
    dev_mode: bool,
}

impl Registry {
    pub(crate) fn new(dev_mode: bool) -> Self {
        Self { tables: Mutex::default(), dev_mode }
    }

    pub(crate) fn session(&self, package_id: &str) -> Option<Arc<SessionHandle>> {
        self.tables.lock().sessions.get(package_id).cloned()
    }

    pub(crate) fn entry(&self, package_id: &str) -> Entry {
        let mut tables = self.tables.lock();
        if let Some(session) = tables.sessions.get(package_id) {
            return Entry::Ready(Arc::clone(session));
        }
        if let Some(launch) = tables.launching.get(package_id) {
            return Entry::Launching(launch.clone());
        }
        let launch = Launch::new();
        tables.launching.insert(package_id.to_owned(), launch.clone());
        Entry::Absent(launch)
    }

    /// Ends a start, successful or not; the next execution begins a new one when it failed.
    pub(crate) fn finish_launch(&self, package_id: &str, launch: &Launch, result: Result<(), LaunchError>) {
        self.tables.lock().launching.remove(package_id);
        launch.notify(result);
    }

    /// Binds a certificate to a package; an earlier one of the package stays valid as long as its process may run.
    pub(crate) fn bind_certificate(&self, hash: [u8; 32], package_id: &str) {
        self.tables.lock().certificates.insert(hash, package_id.to_owned());
    }

    pub(crate) fn forget_certificate(&self, hash: &[u8; 32]) {
        self.tables.lock().certificates.remove(hash);
    }

    /// Lets a stream in, or says why not.
    pub(crate) fn register(&self, handle: &Arc<SessionHandle>, caller: &Caller) -> Result<(), String> {
        let name = &handle.package_id;
        if name.is_empty() {
            return Err("error in handling register chaincode, chaincodeID name is empty".into());
        }
        let mut tables = self.tables.lock();
        match caller {
            Caller::Anonymous => return Err(format!("TLS is active but chaincode {name} didn't send certificate")),
            Caller::Certificate(hash) => match tables.certificates.get(hash) {
                None if self.dev_mode => {}
                None => {
                    return Err(format!(
                        "Chaincode {name} with given certificate hash {} not found in registry",
                        hex::encode(hash)
                    ));
                }
                Some(owner) if owner != name => {
                    return Err(format!(
                        "Chaincode {name} with given certificate hash {} belongs to a different chaincode",
                        hex::encode(hash)
                    ));
                }
                Some(_) => {}
            },
            Caller::Dialled(expected) if expected != name => {
                return Err(format!(
                    "the chaincode server of {expected} registered as {name}: set its CHAINCODE_ID to the package id {expected}"
                ));
            }
            Caller::Dialled(_) | Caller::Plain => {}
        }
        if tables.sessions.contains_key(name) {
            return Err(format!("duplicate chaincodeID: {name}"));
        }
        if !tables.launching.contains_key(name) && !self.dev_mode {
            return Err(format!("peer will not accept external chaincode connection {name} (except in dev mode)"));
        }
        tables.sessions.insert(name.clone(), Arc::clone(handle));
        Ok(())
    }

    pub(crate) fn ready(&self, package_id: &str) {
        let launch = self.tables.lock().launching.get(package_id).cloned();
        if let Some(launch) = launch {
            launch.notify(Ok(()));
        }
    }

    pub(crate) fn deregister(&self, handle: &Arc<SessionHandle>) {
        let mut tables = self.tables.lock();
        if tables.sessions.get(&handle.package_id).is_some_and(|current| Arc::ptr_eq(current, handle)) {
            tables.sessions.remove(&handle.package_id);
        }
    }

    /// A stream was refused; who waits for its registration learns why, unless the stream is not the one that is waited for.
    pub(crate) fn refused(&self, caller: &Caller, cause: &str) {
        let owner = match caller {
            Caller::Dialled(expected) => Some(expected.clone()),
            Caller::Certificate(hash) => self.tables.lock().certificates.get(hash).cloned(),
            Caller::Anonymous | Caller::Plain => None,
        };
        let launch = owner.and_then(|package_id| self.tables.lock().launching.get(&package_id).cloned());
        if let Some(launch) = launch {
            launch.notify(Err(LaunchError::Registration(cause.to_owned())));
        }
    }

    /// The stream to a server has ended; who still waits for its registration is told.
    pub(crate) fn stream_ended(&self, package_id: &str) {
        let launch = self.tables.lock().launching.get(package_id).cloned();
        if let Some(launch) = launch {
            launch.notify(Err(LaunchError::Connect {
                package_id: package_id.to_owned(),
                cause: "the server ended the stream before it registered".into(),
            }));
        }
    }

    pub(crate) fn keep_process(&self, package_id: &str, process: Arc<dyn RunningProcess>) {
        self.tables.lock().processes.insert(package_id.to_owned(), process);
    }

    pub(crate) fn take_process(&self, package_id: &str) -> Option<Arc<dyn RunningProcess>> {
        self.tables.lock().processes.remove(package_id)
    }

    /// Forgets a process that ended by itself, unless a newer one took its place.
    pub(crate) fn process_ended(&self, package_id: &str, process: &Arc<dyn RunningProcess>) {
        let mut tables = self.tables.lock();
        if tables
            .processes
            .get(package_id)
            .is_some_and(|current| std::ptr::addr_eq(Arc::as_ptr(current), Arc::as_ptr(process)))
        {
            tables.processes.remove(package_id);
        }
    }

    /// Where a running process keeps its output.
    pub(crate) fn log(&self, package_id: &str) -> Option<std::path::PathBuf> {
        self.tables.lock().processes.get(package_id).and_then(|process| process.log())
    }

    /// Everything that runs, for the end.
    pub(crate) fn drain(&self) -> (Vec<Arc<SessionHandle>>, Vec<Arc<dyn RunningProcess>>) {
        let mut tables = self.tables.lock();
        let sessions = tables.sessions.values().cloned().collect();
        let processes = tables.processes.drain().map(|(_package, process)| process).collect();
        (sessions, processes)
    }
}
