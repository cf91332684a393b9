//! The index: blocks, transactions and search terms of every channel, followed as they are committed.
//!
//! One follower per channel reads the engine's blocks ahead of the writer, which stores whatever has come in one transaction
//! together with the events that tell of it. A channel's place is part of the same transaction, so nothing is lost or stored
//! twice, whatever is cut off when.

pub(crate) mod query;
pub(crate) mod rows;
pub(crate) mod schema;
#[cfg(test)]
mod tests;
pub(crate) mod write;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use konsort_engines::EngineError;
use konsort_engines::ledger::BlockRecord;
use parking_lot::RwLock;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::control::Control;
use crate::db::{Db, DbError};
use crate::events::Topic;
use crate::problem::Problem;
use query::LedgerRow;
use write::{Cursor, WriteError};

/// Most blocks of one write.
const BLOCKS: usize = 128;
/// Most transactions of one write, by and large.
const TRANSACTIONS: usize = 4000;
/// Blocks that are read ahead.
const AHEAD: usize = 64;
/// Pauses between attempts to reach a network.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(250), Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(8)];

/// What is known of the indexed channels without asking the database.
#[derive(Debug, Default)]
pub(crate) struct Index {
    ledgers: RwLock<HashMap<(String, String), LedgerRow>>,
}

impl Index {
    pub(crate) async fn open(db: &Db) -> Result<Self, DbError> {
        let ledgers = query::ledgers(db.read()).await?;
        let by_name = ledgers.into_iter().map(|row| ((row.network.clone(), row.channel.clone()), row)).collect();
        Ok(Self { ledgers: RwLock::new(by_name) })
    }

    /// An indexed channel.
    pub(crate) fn ledger(&self, network: &str, channel: &str) -> Option<LedgerRow> {
        self.ledgers.read().get(&(network.to_owned(), channel.to_owned())).cloned()
    }

    /// The channel with a number.
    pub(crate) fn ledger_by_id(&self, id: i64) -> Option<LedgerRow> {
        self.ledgers.read().values().find(|row| row.id == id).cloned()
    }

    /// The indexed channels of a network.
    pub(crate) fn ledgers_of(&self, network: &str) -> Vec<LedgerRow> {
        self.ledgers.read().values().filter(|row| row.network == network).cloned().collect()
    }

    /// Every indexed channel.
    pub(crate) fn every_ledger(&self) -> Vec<LedgerRow> {
        self.ledgers.read().values().cloned().collect()
    }

    /// Forgets a network.
    pub(crate) fn forget(&self, network: &str) {
        self.ledgers.write().retain(|(of, _), _| of != network);
    }

    fn note(&self, row: LedgerRow) {
        self.ledgers.write().insert((row.network.clone(), row.channel.clone()), row);
    }
}

/// Follows one channel until told to stop.
pub(crate) async fn follow(control: Arc<Control>, network: String, channel: String, stop: CancellationToken) {
    let mut failures = 0;
    loop {
        let result = tokio::select! {
            () = stop.cancelled() => return,
            result = follow_once(&control, &network, &channel, &stop) => result,
        };
        match result {
            Ok(blocks) => failures = if blocks > 0 { 0 } else { failures + 1 },
            Err(Halt::Fork(why)) => {
                tracing::error!(%network, %channel, %why, "the index stops here");
                failures = PAUSES.len();
            }
            Err(Halt::Retry(why)) => {
                tracing::debug!(%network, %channel, %why, "the channel cannot be followed now, trying again");
                failures += 1;
            }
        }
        let pause = PAUSES[failures.min(PAUSES.len()) - usize::from(failures > 0)];
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Why following ended.
enum Halt {
    /// Another attempt may help.
    Retry(String),
    /// It will not, as long as this chain answers.
    Fork(String),
}

impl From<DbError> for Halt {
    fn from(error: DbError) -> Self {
        Self::Retry(error.to_string())
    }
}

impl From<sqlx::Error> for Halt {
    fn from(error: sqlx::Error) -> Self {
        Self::Retry(error.to_string())
    }
}

impl From<Problem> for Halt {
    fn from(problem: Problem) -> Self {
        Self::Retry(problem.to_string())
    }
}

impl From<EngineError> for Halt {
    fn from(error: EngineError) -> Self {
        Self::Retry(error.to_string())
    }
}

/// Follows a channel until its blocks end; gives how many were stored.
async fn follow_once(
    control: &Arc<Control>,
    network: &str,
    channel: &str,
    stop: &CancellationToken,
) -> Result<u64, Halt> {
    let mut cursor = open_cursor(control, network, channel).await?;
    let place = control.network(network).await?;
    let mut blocks = place.engine.blocks(place.place(), channel, cursor.next).await?;
    let (sender, mut receiver) = mpsc::channel::<Result<BlockRecord, EngineError>>(AHEAD);
    let ended = stop.child_token();
    let reader_ended = ended.clone();
    let reader = tokio::spawn(async move {
        loop {
            tokio::select! {
                () = reader_ended.cancelled() => return,
                block = blocks.next() => {
                    let Some(block) = block else { return };
                    if sender.send(block).await.is_err() {
                        return;
                    }
                }
            }
        }
    });
    // Whatever ends the writer ends the reader.
    let _guard = ended.drop_guard();
    let mut stored = 0;
    let result = loop {
        let Some(first) = receiver.recv().await else { break Ok(()) };
        let mut batch = Vec::new();
        let mut failure = None;
        let mut transactions = 0;
        let mut next = Some(first);
        while let Some(block) = next.take() {
            match block {
                // A stream that begins earlier than it was asked to is no fault.
                Ok(block) if block.height < cursor.next => {}
                Ok(block) => {
                    transactions += block.transactions.len();
                    batch.push(block);
                }
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
            if batch.len() < BLOCKS && transactions < TRANSACTIONS {
                next = receiver.try_recv().ok();
            }
        }
        if !batch.is_empty() {
            let count = batch.len() as u64;
            cursor = store(control, network, channel, &cursor, batch).await?;
            stored += count;
        }
        if let Some(error) = failure {
            break if stored > 0 { Ok(()) } else { Err(error.into()) };
        }
    };
    reader.abort();
    result.map(|()| stored)
}

/// Where a channel's index ends, from the database.
async fn open_cursor(control: &Control, network: &str, channel: &str) -> Result<Cursor, Halt> {
    let mut transaction = control.db().begin().await?;
    let cursor = write::open(&mut transaction, network, channel).await?;
    transaction.commit().await?;
    if let Some(row) = query::ledgers(control.db().read()).await?.into_iter().find(|row| row.id == cursor.ledger) {
        control.index.note(row);
    }
    Ok(cursor)
}

/// Stores a batch and tells of each block.
pub(crate) async fn store_batch(
    control: &Control,
    network: &str,
    channel: &str,
    cursor: &Cursor,
    batch: &[BlockRecord],
) -> Result<Cursor, WriteError> {
    let database = |error: DbError| WriteError::Database(sqlx::Error::Protocol(error.to_string()));
    let mut telling = control.outbox.begin().await.map_err(database)?;
    let after = write::write(telling.connection(), cursor, batch).await?;
    let told = batch.iter().map(|block| {
        let failed = block.transactions.iter().filter(|transaction| !transaction.ok).count();
        let events: usize = block.transactions.iter().map(|transaction| transaction.events.len()).sum();
        json!({
            "height": block.height, "hash": rows::lower(&block.hash), "time": block.time, "producer": block.producer,
            "transactions": block.transactions.len(), "failed": failed, "events": events, "size": block.size, "config": block.config,
        })
    });
    telling.tell_all(Topic::Block, Some(network), Some(channel), told.collect()).await.map_err(database)?;
    telling.commit().await.map_err(database)?;
    let transactions: usize = batch.iter().map(|block| block.transactions.len()).sum();
    if let Some(mut row) = control.index.ledger(network, channel) {
        row.next = after.next;
        row.transactions += transactions as u64;
        row.problem = None;
        control.index.note(row);
    }
    control.live.count(network, batch);
    Ok(after)
}

async fn store(
    control: &Control,
    network: &str,
    channel: &str,
    cursor: &Cursor,
    batch: Vec<BlockRecord>,
) -> Result<Cursor, Halt> {
    match store_batch(control, network, channel, cursor, &batch).await {
        Ok(after) => Ok(after),
        Err(error @ (WriteError::Moved | WriteError::Database(_))) => Err(Halt::Retry(error.to_string())),
        Err(error @ WriteError::Fork { .. }) => {
            let why = error.to_string();
            let mut transaction = control.db().begin().await?;
            write::note_problem(&mut transaction, cursor.ledger, &why).await?;
            transaction.commit().await?;
            if let Some(mut row) = control.index.ledger(network, channel) {
                row.problem = Some(why.clone());
                control.index.note(row);
            }
            Err(Halt::Fork(why))
        }
    }
}
