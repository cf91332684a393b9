//! Writes batches of blocks, each exactly once.
//!
//! A channel's next height is kept in the same transaction as its blocks and is moved only from the height that the writer
//! believes in; a second writer, or a run that was cut off after its commit, finds another height and starts from there.

use std::time::Duration;

use konsort_engines::ledger::BlockRecord;
use sqlx::{Any, AnyConnection, AnyPool, AssertSqlSafe, Row as _};

use super::rows::{lower, rows_of};

/// Where a channel's index ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// The channel's number.
    pub(crate) ledger: i64,
    /// Next height to store.
    pub(crate) next: u64,
    /// Hash of the block before it; empty when there is none.
    pub(crate) last_hash: String,
}

/// Why a batch was not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    /// The database failed; nothing was written.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// The index ends somewhere else than the writer thought.
    #[error("the index of the channel ends elsewhere; it is read again")]
    Moved,
    /// The blocks do not follow on what is stored: another chain answers under the same name.
    #[error("block {height} does not follow on the stored block {}: another chain answers under this name; remove the network and import it again", height.saturating_sub(1))]
    Fork {
        /// Height of the first block that does not fit.
        height: u64,
    },
}

/// The cursor of a channel; its row is made when there is none.
pub(crate) async fn open(connection: &mut AnyConnection, network: &str, channel: &str) -> Result<Cursor, sqlx::Error> {
    sqlx::query::<Any>(
        "INSERT INTO ledgers (network, channel, next_height, last_hash, transactions) VALUES ($1, $2, 0, '', 0) \
         ON CONFLICT (network, channel) DO NOTHING",
    )
    .bind(network.to_owned())
    .bind(channel.to_owned())
    .execute(&mut *connection)
    .await?;
    let row = sqlx::query::<Any>("SELECT id, next_height, last_hash FROM ledgers WHERE network = $1 AND channel = $2")
        .bind(network.to_owned())
        .bind(channel.to_owned())
        .fetch_one(&mut *connection)
        .await?;
    Ok(Cursor {
        ledger: row.try_get(0)?,
        next: u64::try_from(row.try_get::<i64, _>(1)?).unwrap_or_default(),
        last_hash: row.try_get(2)?,
    })
}

/// Checks that blocks follow on the cursor and on each other, and gives the cursor behind them. Blocks below the cursor are the
/// caller's to drop first.
pub(crate) fn follow(cursor: &Cursor, blocks: &[BlockRecord]) -> Result<Cursor, WriteError> {
    let mut after = cursor.clone();
    for block in blocks {
        if block.height != after.next {
            return Err(WriteError::Moved);
        }
        let parent = lower(&block.parent_hash);
        if after.next > 0 && !after.last_hash.is_empty() && parent != after.last_hash {
            return Err(WriteError::Fork { height: block.height });
        }
        after.next += 1;
        after.last_hash = lower(&block.hash);
    }
    Ok(after)
}

/// Writes blocks within the caller's transaction; gives the cursor behind them.
pub(crate) async fn write(
    connection: &mut AnyConnection,
    cursor: &Cursor,
    blocks: &[BlockRecord],
) -> Result<Cursor, WriteError> {
    let after = follow(cursor, blocks)?;
    let transactions: usize = blocks.iter().map(|block| block.transactions.len()).sum();
    let moved = sqlx::query::<Any>(
        "UPDATE ledgers SET next_height = $1, last_hash = $2, transactions = transactions + $3, problem = NULL \
         WHERE id = $4 AND next_height = $5",
    )
    .bind(after.next as i64)
    .bind(after.last_hash.clone())
    .bind(transactions as i64)
    .bind(cursor.ledger)
    .bind(cursor.next as i64)
    .execute(&mut *connection)
    .await?
    .rows_affected();
    if moved != 1 {
        return Err(WriteError::Moved);
    }
    let rows = rows_of(cursor.ledger, blocks);
    rows.blocks.insert(connection).await?;
    rows.transactions.insert(connection).await?;
    rows.terms.insert(connection).await?;
    rows.events.insert(connection).await?;
    Ok(after)
}

/// Notes why a channel's index does not go on.
pub(crate) async fn note_problem(
    connection: &mut AnyConnection,
    ledger: i64,
    problem: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query::<Any>("UPDATE ledgers SET problem = $1 WHERE id = $2")
        .bind(problem.to_owned())
        .bind(ledger)
        .execute(connection)
        .await?;
    Ok(())
}

/// Forgets the channels of a network; their rows are out of sight at once and are removed by [`purge`].
pub(crate) async fn disown(connection: &mut AnyConnection, network: &str) -> Result<(), sqlx::Error> {
    for statement in ["DELETE FROM ledgers WHERE network = $1", "DELETE FROM metrics WHERE network = $1"] {
        sqlx::query::<Any>(statement).bind(network.to_owned()).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Removes rows of channels that were forgotten, in small transactions. Gives how many channels there were.
pub(crate) async fn purge(pool: &AnyPool, pause: Duration) -> Result<usize, sqlx::Error> {
    /// Rows of one transaction.
    const PORTION: i64 = 4000;
    /// Terms looked at at once.
    const TERMS: i64 = if cfg!(test) { 4 } else { 20_000 };
    let mut last = i64::MIN;
    let mut purged = 0;
    loop {
        let row =
            sqlx::query::<Any>("SELECT MIN(ledger) FROM blocks WHERE ledger > $1").bind(last).fetch_one(pool).await?;
        let Some(ledger) = row.try_get::<Option<i64>, _>(0)? else { return Ok(purged) };
        last = ledger;
        let known =
            sqlx::query::<Any>("SELECT id FROM ledgers WHERE id = $1").bind(ledger).fetch_optional(pool).await?;
        if known.is_some() {
            continue;
        }
        purged += 1;
        // Terms are in the order of their texts: a walk over all of them, portion by portion.
        let mut from = (String::new(), i64::MIN, i64::MIN);
        loop {
            let row = sqlx::query::<Any>(
                "SELECT term, ledger, position FROM terms WHERE (term, ledger, position) >= ($1, $2, $3) \
                 ORDER BY term, ledger, position LIMIT 1 OFFSET $4",
            )
            .bind(from.0.clone())
            .bind(from.1)
            .bind(from.2)
            .bind(TERMS)
            .fetch_optional(pool)
            .await?;
            let to: Option<(String, i64, i64)> =
                row.map(|row| Ok::<_, sqlx::Error>((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))).transpose()?;
            let below = if to.is_some() { " AND (term, ledger, position) < ($5, $6, $7)" } else { "" };
            let text =
                format!("DELETE FROM terms WHERE ledger = $1 AND (term, ledger, position) >= ($2, $3, $4){below}");
            let mut delete =
                sqlx::query::<Any>(AssertSqlSafe(text)).bind(ledger).bind(from.0).bind(from.1).bind(from.2);
            if let Some((term, ledger, position)) = &to {
                delete = delete.bind(term.clone()).bind(*ledger).bind(*position);
            }
            delete.execute(pool).await?;
            let Some(to) = to else { break };
            from = to;
            tokio::time::sleep(pause).await;
        }
        // Blocks go last: as long as one is there, a purge that was cut off is taken up again.
        for (table, key) in [("contract_events", "position"), ("transactions", "position"), ("blocks", "height")] {
            loop {
                let text = format!(
                    "DELETE FROM {table} WHERE ledger = $1 AND {key} <= COALESCE((SELECT {key} FROM {table} WHERE ledger = $1 \
                     ORDER BY {key} LIMIT 1 OFFSET {PORTION}), {})",
                    i64::MAX
                );
                let done = sqlx::query::<Any>(AssertSqlSafe(text)).bind(ledger).execute(pool).await?.rows_affected();
                if done == 0 {
                    break;
                }
                tokio::time::sleep(pause).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::tests::block;
    use super::*;

    #[test]
    fn a_batch_must_follow_on_what_is_stored() {
        let start = Cursor { ledger: 1, next: 0, last_hash: String::new() };
        let blocks: Vec<_> = (0..4).map(|height| block(height, 1)).collect();
        let after = follow(&start, &blocks).unwrap();
        assert_eq!((after.next, after.last_hash.as_str()), (4, "hash00000003"));
        assert!(matches!(follow(&after, &blocks[3..]), Err(WriteError::Moved)));
        assert!(matches!(follow(&start, &[blocks[0].clone(), blocks[2].clone()]), Err(WriteError::Moved)));
        let mut other = block(4, 1);
        other.parent_hash = "another".to_owned();
        assert!(matches!(follow(&after, &[other]), Err(WriteError::Fork { height: 4 })));
    }
}
