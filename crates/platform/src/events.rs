//! What happens, as a numbered stream: blocks, transactions, contracts' events, operations, nodes.
//!
//! Every event gets its number in the same database transaction as the change it tells of, so that a reader who knows its last
//! number misses nothing and sees nothing twice, whatever was restarted in between. A block is one row; its transactions and
//! contracts' events are read from the index when somebody wants them, as `number.place`.

pub mod stream;

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sqlx::{Any, AssertSqlSafe, Row as _};
use tokio::sync::{Mutex, OwnedMutexGuard, watch};
use utoipa::ToSchema;

use crate::db::{Connection, Db, DbError, Tx, rows_at_once};
use crate::time;

/// Events that are kept in memory for readers who are up to date.
const RECENT: usize = 2048;
/// Events that are kept in the database for readers who come back.
const KEPT: i64 = 200_000;
/// How often old events are removed: once per so many.
const PRUNE_EVERY: i64 = 1024;
/// Most events of one statement.
const TOLD_AT_ONCE: usize = 128;

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// A committed block.
    Block,
    /// A committed transaction.
    Transaction,
    /// An event of a contract.
    ContractEvent,
    /// A change of an operation, or lines of its log.
    Operation,
    /// A change of a node's or network's state.
    Node,
}

impl Topic {
    /// Every topic.
    pub const ALL: [Self; 5] = [Self::Block, Self::Transaction, Self::ContractEvent, Self::Operation, Self::Node];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Transaction => "transaction",
            Self::ContractEvent => "contract_event",
            Self::Operation => "operation",
            Self::Node => "node",
        }
    }

    /// The topic with a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.name() == name)
    }
}

/// A stored event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its number.
    pub seq: i64,
    /// When, milliseconds since 1970.
    pub at: i64,
    /// What it is about.
    pub topic: Topic,
    /// The network.
    pub network: Option<String>,
    /// The channel or group.
    pub channel: Option<String>,
    /// What there is to say.
    pub doc: Map<String, Value>,
}

/// Gives events their numbers and wakes readers.
#[derive(Debug)]
pub struct Outbox {
    db: Db,
    /// Held from the first event of a database transaction to its end: numbers become visible in their order.
    order: Arc<Mutex<()>>,
    newest: watch::Sender<i64>,
    recent: Arc<RwLock<VecDeque<Arc<Event>>>>,
}

/// A database transaction that tells of its changes.
#[derive(Debug)]
pub struct Telling {
    _order: OwnedMutexGuard<()>,
    transaction: Tx,
    events: Vec<Event>,
    newest: watch::Sender<i64>,
    recent: Arc<RwLock<VecDeque<Arc<Event>>>>,
}

impl Outbox {
    /// On a database.
    pub async fn open(db: Db) -> Result<Self, DbError> {
        let row = sqlx::query::<Any>("SELECT MAX(seq) FROM events").fetch_one(db.read()).await?;
        let newest = row.try_get::<Option<i64>, _>(0)?.unwrap_or(0);
        Ok(Self { db, order: Arc::default(), newest: watch::Sender::new(newest), recent: Arc::default() })
    }

    /// Begins a database transaction that can tell of its changes.
    pub async fn begin(&self) -> Result<Telling, DbError> {
        let order = Arc::clone(&self.order).lock_owned().await;
        Ok(Telling {
            _order: order,
            transaction: self.db.begin().await?,
            events: Vec::new(),
            newest: self.newest.clone(),
            recent: Arc::clone(&self.recent),
        })
    }

    /// Number of the newest event, and a way to wait for further ones.
    pub fn subscribe(&self) -> watch::Receiver<i64> {
        self.newest.subscribe()
    }

    /// Number of the oldest event that is still there; `None`: there is none.
    pub async fn oldest(&self) -> Result<Option<i64>, DbError> {
        let row = sqlx::query::<Any>("SELECT MIN(seq) FROM events").fetch_one(self.db.read()).await?;
        Ok(row.try_get(0)?)
    }

    /// Events after a number, oldest first.
    pub async fn after(&self, seq: i64, limit: usize) -> Result<Vec<Arc<Event>>, DbError> {
        {
            let recent = self.recent.read();
            if recent.front().is_some_and(|first| first.seq <= seq.saturating_add(1)) {
                let from = recent.partition_point(|event| event.seq <= seq);
                return Ok(recent.range(from..).take(limit).cloned().collect());
            }
        }
        let rows = sqlx::query::<Any>(
            "SELECT seq, at, topic, network, channel, doc FROM events WHERE seq > $1 ORDER BY seq LIMIT $2",
        )
        .bind(seq)
        .bind(limit as i64)
        .fetch_all(self.db.read())
        .await?;
        let mut events = Vec::with_capacity(rows.len());
        for row in rows {
            let topic: String = row.try_get(2)?;
            let doc: String = row.try_get(5)?;
            let Some(topic) = Topic::named(&topic) else { continue };
            events.push(Arc::new(Event {
                seq: row.try_get(0)?,
                at: row.try_get(1)?,
                topic,
                network: row.try_get(3)?,
                channel: row.try_get(4)?,
                doc: serde_json::from_str(&doc).unwrap_or_default(),
            }));
        }
        Ok(events)
    }
}

impl Telling {
    /// The connection, for the changes themselves.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.transaction
    }

    /// Tells of something.
    pub async fn tell(
        &mut self,
        topic: Topic,
        network: Option<&str>,
        channel: Option<&str>,
        doc: Value,
    ) -> Result<(), DbError> {
        self.tell_all(topic, network, channel, vec![doc]).await
    }

    /// Tells of many things in their order, with few statements.
    pub async fn tell_all(
        &mut self,
        topic: Topic,
        network: Option<&str>,
        channel: Option<&str>,
        docs: Vec<Value>,
    ) -> Result<(), DbError> {
        let at = time::now();
        let mut docs = docs.into_iter();
        while docs.len() > 0 {
            let count = rows_at_once(docs.len(), TOLD_AT_ONCE);
            let some: Vec<Value> = docs.by_ref().take(count).collect();
            let rows: Vec<String> = (0..some.len()).map(|row| format!("($1, $2, $3, $4, ${})", row + 5)).collect();
            let text = format!(
                "INSERT INTO events (at, topic, network, channel, doc) VALUES {} RETURNING seq",
                rows.join(", ")
            );
            let mut query = sqlx::query::<Any>(AssertSqlSafe(text))
                .bind(at)
                .bind(topic.name())
                .bind(network.map(str::to_owned))
                .bind(channel.map(str::to_owned));
            for doc in &some {
                query = query.bind(doc.to_string());
            }
            let rows = query.fetch_all(&mut *self.transaction).await?;
            let mut numbers = rows.iter().map(|row| row.try_get::<i64, _>(0)).collect::<Result<Vec<_>, _>>()?;
            // Given in the order of the rows; the order in which they come back is nobody's promise.
            numbers.sort_unstable();
            if let Some(&prune) = numbers.iter().find(|&&seq| seq % PRUNE_EVERY == 0) {
                sqlx::query::<Any>("DELETE FROM events WHERE seq < $1")
                    .bind(prune - KEPT)
                    .execute(&mut *self.transaction)
                    .await?;
            }
            self.events.extend(numbers.into_iter().zip(some).map(|(seq, doc)| Event {
                seq,
                at,
                topic,
                network: network.map(str::to_owned),
                channel: channel.map(str::to_owned),
                doc: match doc {
                    Value::Object(doc) => doc,
                    other => Map::from_iter([("value".to_owned(), other)]),
                },
            }));
        }
        Ok(())
    }

    /// Makes the changes and their events visible.
    pub async fn commit(self) -> Result<(), DbError> {
        if let Err(error) = self.transaction.commit().await {
            // Whether it was committed is not known; readers find out from the database.
            self.recent.write().clear();
            return Err(error.into());
        }
        let Some(last) = self.events.last().map(|event| event.seq) else { return Ok(()) };
        {
            let mut recent = self.recent.write();
            for event in self.events {
                if recent.len() == RECENT {
                    recent.pop_front();
                }
                recent.push_back(Arc::new(event));
            }
        }
        self.newest.send_replace(last);
        Ok(())
    }
}
