//! The platform's records: SQLite in the data folder, or PostgreSQL by its address.
//!
//! The same SQL runs on both: `$1` placeholders, columns of `TEXT`, `BIGINT` and bytes only. On SQLite one connection writes and
//! some read (WAL). On PostgreSQL whoever begins a transaction that writes first takes a lock that all share, so that there too
//! what a transaction reads does not change until it ends; a second server on the same database is refused.

mod migrations;
mod page;
mod postgres;
mod query;
mod repository;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyConnection, AnyPool, AssertSqlSafe, Executor as _};

pub use page::{Order, Page, PageOf, decode_token, encode_token};
pub(crate) use page::{cut, push_page};
use postgres::Sole;
pub use query::Query;
pub use repository::{Filter, Kind, New, Record, Repository, push_scope};

/// How many of `left` rows the next statement writes, at most `most`: powers of two, so that the few statements there are stay
/// prepared. `left` is not 0.
pub(crate) fn rows_at_once(left: usize, most: usize) -> usize {
    (1 << left.ilog2()).min(most)
}

/// A transaction; nothing of it remains unless it is committed.
pub type Tx = sqlx::Transaction<'static, sqlx::Any>;

/// What a database operation can fail at.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DbError {
    /// It does not answer.
    #[error("the database does not answer: {0}; check that it runs and is reachable")]
    Unavailable(String),
    /// Another server works with it.
    #[error("another server works with this database; stop it first or give each server a database of its own")]
    InUse,
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
                // SQLite 13: full, 5: locked. PostgreSQL class 53: resources; 57P01 to 57P03: shut down or starting; 55P03: locked;
                // class 08: connection.
                match code.as_ref() {
                    "13" | "53100" => Self::Full(text),
                    "5" | "57P01" | "57P02" | "57P03" | "55P03" | "53300" => Self::Unavailable(text),
                    code if code.starts_with("08") => Self::Unavailable(text),
                    _ => Self::Failed(text),
                }
            }
            _ => Self::Failed(text),
        }
    }
}

/// The database.
#[derive(Debug, Clone)]
pub struct Db {
    read: AnyPool,
    write: AnyPool,
    /// On PostgreSQL: what says that this server is the only one. Without it, it is SQLite.
    sole: Option<Arc<Sole>>,
}

impl Db {
    /// Opens the database (`url` as `postgres://…`, or `server.db` of the folder) and brings its tables up to date.
    pub async fn open(folder: &Path, url: Option<&str>) -> Result<Self, DbError> {
        sqlx::any::install_default_drivers();
        let db = match url {
            None => Self::sqlite(&folder.join("server.db")).await?,
            Some(url) if url.starts_with("postgres://") || url.starts_with("postgresql://") => {
                postgres::open(&url.parse()?).await?
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
        // The one that writes the index touches many more pages than those that read lists.
        let pool = |connections: u32, cache_kib: u32| {
            AnyPoolOptions::new()
                .max_connections(connections)
                .min_connections(1)
                .acquire_timeout(Duration::from_secs(10))
                // A connection to a file does not go stale.
                .idle_timeout(None)
                .max_lifetime(None)
                .test_before_acquire(false)
                .after_connect(move |connection, _| {
                    Box::pin(async move {
                        let settings = format!(
                            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA busy_timeout=10000; \
                             PRAGMA foreign_keys=ON; PRAGMA cache_size=-{cache_kib}; PRAGMA temp_store=MEMORY;"
                        );
                        connection.execute(AssertSqlSafe(settings)).await?;
                        Ok(())
                    })
                })
        };
        let write = pool(1, 48_000).connect_with(options.clone()).await?;
        let read = pool(6, 16_000).connect_with(options).await?;
        Ok(Self { read, write, sole: None })
    }

    /// For reading.
    pub fn read(&self) -> &AnyPool {
        &self.read
    }

    /// For single statements that write.
    pub fn write(&self) -> &AnyPool {
        &self.write
    }

    /// Begins a transaction that writes. Others that begin one wait until it ends: keep it short, wait for nothing else in it.
    pub async fn begin(&self) -> Result<Tx, DbError> {
        if self.sole.is_none() {
            return Ok(self.write.begin_with("BEGIN IMMEDIATE").await?);
        }
        let mut transaction = self.write.begin().await?;
        postgres::wait_for_turn(&mut transaction).await?;
        Ok(transaction)
    }

    /// Whether it answers, and no other server works with it.
    pub async fn ping(&self) -> Result<(), DbError> {
        sqlx::query("SELECT 1").execute(&self.read).await?;
        match &self.sole {
            Some(sole) => sole.keep().await,
            None => Ok(()),
        }
    }

    /// Closes every connection.
    pub async fn close(&self) {
        self.read.close().await;
        self.write.close().await;
        if let Some(sole) = &self.sole {
            sole.give_up().await;
        }
    }
}

/// A connection inside of a transaction.
pub type Connection = AnyConnection;
