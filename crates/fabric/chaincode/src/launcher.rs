//! The door to whatever builds and runs chaincode.

mod builds;
mod child;
mod confined;
mod external;
mod logfile;
mod process;
mod service;

use std::{
    fmt::Debug,
    path::{Path, PathBuf},
    time::Duration,
};

use futures::future::BoxFuture;

use crate::{error::LaunchError, package::Package};

pub use external::{External, ExternalBuilder};
pub use process::{Process, ProcessSettings};
pub use service::{Service, parse_connection};

/// Builds packages and starts them. The runtime asks its launchers in order; the first that takes a package runs it.
pub trait ChaincodeLauncher: Send + Sync + Debug {
    /// What logs call it.
    fn name(&self) -> &str;

    /// Takes the package or leaves it (`Ok(false)`); taking includes building it, unless its build is cached.
    fn build<'a>(&'a self, package: &'a Package) -> BoxFuture<'a, Result<bool, LaunchError>>;

    /// Starts a package that [`ChaincodeLauncher::build`] took.
    fn launch<'a>(
        &'a self,
        package: &'a Package,
        peer: &'a PeerConnection,
    ) -> BoxFuture<'a, Result<Running, LaunchError>>;
}

/// How a chaincode process reaches its peer.
#[derive(Debug, Clone)]
pub struct PeerConnection {
    /// `host:port` of the peer's chaincode listener.
    pub address: String,
    /// Its MSP id.
    pub mspid: String,
    /// The client certificate made for this package; `None` without TLS.
    pub tls: Option<ChaincodeTls>,
}

/// TLS material that is made for one package at each start.
#[derive(Clone)]
pub struct ChaincodeTls {
    /// PEM of the client certificate.
    pub certificate: String,
    /// PEM of its key.
    pub key: String,
    /// PEM of the CA of the peer's chaincode listener.
    pub root: String,
}

impl Debug for ChaincodeTls {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ChaincodeTls").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// What a launcher started.
#[derive(Debug)]
pub enum Running {
    /// A process that dials the peer.
    Process(Box<dyn RunningProcess>),
    /// A server that the peer dials.
    Server(ServerAddress),
}

/// A started process.
pub trait RunningProcess: Send + Sync + Debug {
    /// Waits for its end and says how it ended (`0`, `signal 9`).
    fn wait(&self) -> BoxFuture<'_, String>;

    /// Ends it: first asking, then by force.
    fn stop(&self) -> BoxFuture<'_, ()>;

    /// Where its output is kept.
    fn log(&self) -> Option<PathBuf>;
}

/// A chaincode server and how to speak to it.
#[derive(Clone)]
pub struct ServerAddress {
    /// `host:port`.
    pub address: String,
    /// How long a dial may take.
    pub dial_timeout: Duration,
    /// TLS towards it; `None` for plain text.
    pub tls: Option<ServerTls>,
}

impl Debug for ServerAddress {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("ServerAddress")
            .field("address", &self.address)
            .field("tls", &self.tls.is_some())
            .finish_non_exhaustive()
    }
}

/// TLS towards a chaincode server.
#[derive(Clone, Default)]
pub struct ServerTls {
    /// PEM of its CA.
    pub root: String,
    /// PEM of the client certificate and key, when it asks for one.
    pub identity: Option<(String, String)>,
    /// The name to expect in its certificate instead of the host dialled.
    pub server_name: Option<String>,
}

impl Debug for ServerTls {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ServerTls").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

/// A package id as a file name.
pub(crate) fn file_name(package_id: &str) -> String {
    package_id.chars().map(|character| if "<>:\"/\\|?*&".contains(character) { '-' } else { character }).collect()
}

/// Where the output of a package's processes and builds is kept.
pub(crate) fn log_path(folder: &Path, package_id: &str) -> PathBuf {
    folder.join(format!("{}.log", file_name(package_id)))
}

/// A folder for one start of a chaincode, not shared with an earlier one whose end may still be cleaned up.
pub(crate) fn run_folder(folder: &Path, package_id: &str) -> PathBuf {
    static STARTS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let start = STARTS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    folder.join(format!("{}-{start}", file_name(package_id)))
}
