//! PostgreSQL: connections, and the two locks that make it behave as the file of one server does.

use std::time::{Duration, Instant};

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyConnection, AnyPool, Connection as _, Executor as _, Row as _};
use tokio::sync::Mutex;

use super::{Connection, Db, DbError};

/// How long a start waits for a server that has just ended: its lock goes when PostgreSQL notices that its connection has.
const PATIENCE: Duration = Duration::from_secs(3);

pub(super) async fn open(options: &AnyConnectOptions) -> Result<Db, DbError> {
    let sole = Sole { options: options.clone(), connection: Mutex::new(None) };
    let begun = Instant::now();
    while let Err(error) = sole.keep().await {
        if !matches!(error, DbError::InUse) || begun.elapsed() > PATIENCE {
            return Err(error);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // Those who wait for their turn to write do not keep others from reading.
    Ok(Db { read: pool(10, options).await?, write: pool(6, options).await?, sole: Some(sole.into()) })
}

async fn pool(connections: u32, options: &AnyConnectOptions) -> Result<AnyPool, DbError> {
    let pool = AnyPoolOptions::new()
        .max_connections(connections)
        .min_connections(1)
        .acquire_timeout(Duration::from_secs(5))
        .after_connect(|connection, _| {
            Box::pin(async move {
                connection.execute("SET lock_timeout = '10s'").await?;
                Ok(())
            })
        })
        .connect_with(options.clone())
        .await?;
    Ok(pool)
}

/// Waits until no other transaction writes.
pub(super) async fn wait_for_turn(transaction: &mut Connection) -> Result<(), DbError> {
    transaction.execute("SELECT pg_advisory_xact_lock(5281750110)").await?;
    Ok(())
}

/// A connection that holds a lock as long as the server works with the database.
#[derive(Debug)]
pub(super) struct Sole {
    options: AnyConnectOptions,
    connection: Mutex<Option<AnyConnection>>,
}

impl Sole {
    /// Takes the lock, and takes it again when the connection was lost.
    pub(super) async fn keep(&self) -> Result<(), DbError> {
        let slow = |_| DbError::Unavailable("no answer within 5 seconds".to_owned());
        tokio::time::timeout(Duration::from_secs(5), self.hold()).await.map_err(slow)?
    }

    async fn hold(&self) -> Result<(), DbError> {
        let mut held = self.connection.lock().await;
        let present = held.take();
        if let Some(mut connection) = present
            && connection.ping().await.is_ok()
        {
            *held = Some(connection);
            return Ok(());
        }
        let mut connection = AnyConnection::connect_with(&self.options).await?;
        let row = sqlx::query("SELECT pg_try_advisory_lock(5281750111)").fetch_one(&mut connection).await?;
        if !row.try_get::<bool, _>(0)? {
            let _ends_anyway = connection.close().await;
            return Err(DbError::InUse);
        }
        *held = Some(connection);
        Ok(())
    }

    pub(super) async fn give_up(&self) {
        if let Some(connection) = self.connection.lock().await.take() {
            let _ends_anyway = connection.close().await;
        }
    }
}
