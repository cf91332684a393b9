//! The server: starts the parts in order, answers until it is told to stop, stops them in reverse order. Nodes go on running.

mod meta;
mod routes;

use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use konsort_node::Environment;
use konsort_pki::key_file::write_secret;
use rustix::fs::{FlockOperation, flock};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::app::{App, Figures, Parts};
use crate::audit::Audit;
use crate::auth::Auth;
use crate::console::Console;
use crate::control::{Adapters, Control};
use crate::db::{Db, DbError, Repository};
use crate::http::middleware::forget_unfinished;

/// What a server needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Folder of everything it keeps; made when it is not there.
    pub data: PathBuf,
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// `postgres://…`; without it, SQLite in the data folder.
    pub database_url: Option<String>,
    /// The program that nodes are started from: this one.
    pub program: PathBuf,
    /// Environment, for the tools that contracts are built with and for the containers' engine.
    pub environment: Environment,
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A file of the data folder.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// Another server works in the folder.
    #[error("another server works in {}; stop it first or choose another folder with --data", .0.display())]
    Busy(PathBuf),
    /// The address is taken.
    #[error("cannot listen on {address}: {source}; choose another address with --listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
    /// Routes and table of access do not fit each other: a fault of ours.
    #[error("routes and access table do not fit: {0}")]
    Routes(String),
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Link for making the first administrator; `None` when there is one.
    pub setup_link: Option<String>,
    /// Its parts.
    pub app: App,
    task: JoinHandle<std::io::Result<()>>,
    record: PathBuf,
    /// Held while the server works in its folder.
    _lock: std::fs::File,
}

fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> ServerError {
    let what = what.into();
    move |source| ServerError::Io { what, source }
}

fn prepare(data: &Path) -> Result<(PathBuf, std::fs::File), ServerError> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data)
        .map_err(io(format!("make the folder {}", data.display())))?;
    let data = data.canonicalize().map_err(io(format!("open the folder {}", data.display())))?;
    let path = data.join("server.lock");
    let lock = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(io(format!("open {}", path.display())))?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| ServerError::Busy(data.clone()))?;
    Ok((data, lock))
}

impl Server {
    /// Starts a server; it answers when this returns.
    pub async fn start(config: Config) -> Result<Self, ServerError> {
        Self::start_with(config, None).await
    }

    /// The same with engines and drivers of one's own, for measurements.
    pub async fn start_with(config: Config, adapters: Option<Adapters>) -> Result<Self, ServerError> {
        let (data, lock) = prepare(&config.data)?;
        let listener = TcpListener::bind(config.listen)
            .await
            .map_err(|source| ServerError::Listen { address: config.listen, source })?;
        let addr = listener.local_addr().map_err(io("read the address it listens on"))?;
        let db = Db::open(&data, config.database_url.as_deref()).await?;
        // The database holds hashes of passwords and settings; nobody else on this machine needs to read it.
        for name in ["server.db", "server.db-wal", "server.db-shm"] {
            let path = data.join(name);
            if path.exists() {
                let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
                std::fs::set_permissions(&path, mode).map_err(io(format!("protect {}", path.display())))?;
            }
        }
        forget_unfinished(&db).await?;
        let auth = Auth::open(db.clone(), &data).map_err(io("open server.key of the data folder"))?;
        auth.begin_setup().await?;
        let control = Control::start(db.clone(), &data, &config.program, &config.environment, adapters).await?;
        let (routes, document) = routes::assemble().map_err(ServerError::Routes)?;
        let app = App::new(Parts {
            records: Repository::new(db.clone()),
            audit: Audit::new(db.clone(), &data),
            auth,
            db,
            control,
            data: data.clone(),
            address: addr,
            figures: Figures::new(),
            stopping: CancellationToken::new(),
            console: Console::default(),
            document,
        });
        let setup_link = app.setup_link();
        let record = record_of(&app);
        write_record(&app).map_err(io(format!("write {}", record.display())))?;
        let service = routes::finish(routes, &app).into_make_service_with_connect_info::<SocketAddr>();
        let stopping = app.stopping.clone();
        let task = tokio::spawn(async move {
            axum::serve(listener, service).with_graceful_shutdown(async move { stopping.cancelled().await }).await
        });
        tracing::info!(%addr, data = %data.display(), "the server answers");
        Ok(Self { addr, setup_link, app, task, record, _lock: lock })
    }

    /// Works until `shutdown`, then stops: requests under way are finished for at most ten seconds; nodes go on running.
    pub async fn wait(mut self, shutdown: impl Future<Output = ()>) -> Result<(), ServerError> {
        tokio::select! {
            outcome = &mut self.task => {
                let error = match outcome {
                    Ok(Ok(())) => std::io::Error::other("it ended by itself"),
                    Ok(Err(error)) => error,
                    Err(error) => std::io::Error::other(error),
                };
                return Err(ServerError::Io { what: "go on answering".to_owned(), source: error });
            }
            () = shutdown => {}
        }
        self.stop().await;
        Ok(())
    }

    /// Stops it.
    pub async fn stop(mut self) {
        self.app.stopping.cancel();
        if tokio::time::timeout(Duration::from_secs(10), &mut self.task).await.is_err() {
            self.task.abort();
        }
        self.app.control.stop().await;
        self.app.db.close().await;
        let _gone_already = std::fs::remove_file(&self.record);
    }
}

fn record_of(app: &App) -> PathBuf {
    app.data.join("server.json")
}

/// Tells other programs on this machine where the server is, and while there is nobody, where the first one begins.
fn write_record(app: &App) -> std::io::Result<()> {
    let mut record = serde_json::json!({
        "pid": std::process::id(),
        "address": app.address.to_string(),
        "url": app.own_url(),
        "key": app.auth.local_key(),
        "version": env!("CARGO_PKG_VERSION"),
    });
    if let Some(link) = app.setup_link() {
        record["setup_link"] = link.into();
    }
    write_secret(&record_of(app), format!("{record}\n").as_bytes())
}

impl App {
    /// Makes the setup link void, here and in the record: there is somebody now.
    pub(crate) fn end_setup(&self) {
        if self.auth.end_setup()
            && let Err(error) = write_record(self)
        {
            tracing::warn!(%error, file = %record_of(self).display(), "the setup link stays in the server's record, but is void");
        }
    }
}

/// The OpenAPI document, as the server gives it.
pub fn document() -> Result<Arc<str>, ServerError> {
    routes::assemble().map(|(_, document)| document).map_err(ServerError::Routes)
}
