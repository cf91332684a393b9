//! The platform's records: SQLite in the data folder, or PostgreSQL by its address.
//!
//! The same SQL runs on both: `$1` placeholders, columns of `TEXT`, `BIGINT` and bytes only. On SQLite one connection writes and
//! some read (WAL); on PostgreSQL one pool does both.

mod migrations;
mod query;
mod repository;

use std::path::Path;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyConnection, AnyPool, Executor as _};

pub use query::Query;
pub use repository::{
    Filter, Kind, New, Order, Page, PageOf, Record, Repository, decode_token, encode_token, push_scope,
};

/// A transaction; nothing of it remains unless it is committed.
pub type Tx = sqlx::Transaction<'static, sqlx::Any>;

/// What a database operation can fail at.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// It does not answer.
    #[error("the database does not answer: {0}; check that it runs and is reachable")]
    Unavailable(String),
    /// A record of this name or id is there.
    #[error("there is a {kind} {name} already")]
    Exists {
        /// What.
        kind: &'static str,
        /// Its name or id.
        name: String,
    },
    /// The record is not there.
    #[error("there is no {kind} {id}")]
    NotFound {
        /// What.
        kind: &'static str,
        /// Its id.
        id: String,
    },
    /// The record was changed since the version the caller knows.
    #[error("it was changed in the meantime, its version is {found} now")]
    Stale {
        /// The version found.
        found: i64,
    },
    /// No space.
    #[error("the database has no space left: {0}")]
    Full(String),
    /// Anything else; a fault of ours.
    #[error("the database failed: {0}")]
    Failed(String),
}

impl From<sqlx::Error> for DbError {
    fn from(error: sqlx::Error) -> Self {
        let text = error.to_string();
        match &error {
            sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::Io(_)
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::Tls(_) => Self::Unavailable(text),
            sqlx::Error::Database(database) => {
                if database.is_unique_violation() {
                    return Self::Exists { kind: "record", name: String::new() };
                }
                let code = database.code().unwrap_or_default();
                // SQLite 13: full. PostgreSQL class 53: resources; 57P01 to 57P03: shut down or starting; class 08: connection.
                match code.as_ref() {
                    "13" | "53100" => Self::Full(text),
                    "5" | "57P01" | "57P02" | "57P03" | "53300" => Self::Unavailable(text),
                    code if code.starts_with("08") => Self::Unavailable(text),
                    _ => Self::Failed(text),
                }
            }
            _ => Self::Failed(text),
        }
    }
}

/// Which database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// SQLite in the data folder.
    Sqlite,
    /// PostgreSQL.
    Postgres,
}

/// The database.
#[derive(Debug, Clone)]
pub struct Db {
    read: AnyPool,
    write: AnyPool,
    backend: Backend,
}

impl Db {
    /// Opens the database (`url` as `postgres://…`, or `server.db` of the folder) and brings its tables up to date.
    pub async fn open(folder: &Path, url: Option<&str>) -> Result<Self, DbError> {
        sqlx::any::install_default_drivers();
        let db = match url {
            None => Self::sqlite(&folder.join("server.db")).await?,
            Some(url) if url.starts_with("postgres://") || url.starts_with("postgresql://") => {
                let options: AnyConnectOptions = url.parse()?;
                let pool = AnyPoolOptions::new()
                    .max_connections(16)
                    .min_connections(1)
                    .acquire_timeout(Duration::from_secs(5))
                    .connect_with(options)
                    .await?;
                Self { read: pool.clone(), write: pool, backend: Backend::Postgres }
            }
            Some(_) => {
                return Err(DbError::Failed(
                    "the database address must start with postgres:// (without one, SQLite in the data folder is used)"
                        .to_owned(),
                ));
            }
        };
        migrations::run(&db).await?;
        Ok(db)
    }

    async fn sqlite(file: &Path) -> Result<Self, DbError> {
        let path = file.to_str().filter(|path| !path.contains(['?', '#', '%'])).ok_or_else(|| {
            DbError::Failed(format!("the path {} cannot be used for a database; choose a plain one", file.display()))
        })?;
        let options: AnyConnectOptions = format!("sqlite://{path}?mode=rwc").parse()?;
        let pool = |connections: u32| {
            AnyPoolOptions::new()
                .max_connections(connections)
                .min_connections(1)
                .acquire_timeout(Duration::from_secs(10))
                // A connection to a file does not go stale.
                .idle_timeout(None)
                .max_lifetime(None)
                .test_before_acquire(false)
                .after_connect(|connection, _| {
                    Box::pin(async move {
                        connection
                            .execute(
                                "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA busy_timeout=10000; \
                                 PRAGMA foreign_keys=ON; PRAGMA cache_size=-16000; PRAGMA temp_store=MEMORY;",
                            )
                            .await?;
                        Ok(())
                    })
                })
        };
        let write = pool(1).connect_with(options.clone()).await?;
        let read = pool(6).connect_with(options).await?;
        Ok(Self { read, write, backend: Backend::Sqlite })
    }

    /// Which database it is.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// For reading.
    pub fn read(&self) -> &AnyPool {
        &self.read
    }

    /// For single statements that write.
    pub fn write(&self) -> &AnyPool {
        &self.write
    }

    /// Begins a transaction that writes. On SQLite others that write wait until it ends: keep it short, wait for nothing else
    /// in it.
    pub async fn begin(&self) -> Result<Tx, DbError> {
        Ok(match self.backend {
            Backend::Sqlite => self.write.begin_with("BEGIN IMMEDIATE").await?,
            Backend::Postgres => self.write.begin().await?,
        })
    }

    /// Whether it answers.
    pub async fn ping(&self) -> Result<(), DbError> {
        sqlx::query("SELECT 1").execute(&self.read).await?;
        Ok(())
    }

    /// Closes every connection.
    pub async fn close(&self) {
        self.read.close().await;
        self.write.close().await;
    }
}

/// A connection inside of a transaction.
pub type Connection = AnyConnection;
