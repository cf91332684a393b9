//! Reads the index: each list is a walk along one of its keys.

use serde_json::Value;
use sqlx::any::AnyRow;
use sqlx::{Any, AnyPool, AssertSqlSafe, Row as _};

use super::rows::{lower, lower_address};
use super::schema::{place, position};

/// A stored block.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct BlockRow {
    pub(crate) ledger: i64,
    pub(crate) height: u64,
    pub(crate) hash: String,
    pub(crate) parent_hash: String,
    pub(crate) time: i64,
    pub(crate) producer: String,
    pub(crate) size: u64,
    pub(crate) config: bool,
    pub(crate) transactions: u64,
    pub(crate) failed: u64,
}

/// A stored transaction.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TransactionRow {
    pub(crate) ledger: i64,
    pub(crate) position: i64,
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) ok: bool,
    pub(crate) code: String,
    pub(crate) sender: String,
    pub(crate) contract: String,
    pub(crate) method: String,
    pub(crate) time: i64,
}

impl TransactionRow {
    /// Height and place in the block.
    pub(crate) fn place(&self) -> (u64, u32) {
        place(self.position)
    }
}

/// A stored event of a contract.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct EventRow {
    pub(crate) position: i64,
    pub(crate) number: i64,
    pub(crate) contract: String,
    pub(crate) name: String,
    pub(crate) payload: Value,
    pub(crate) transaction: String,
    pub(crate) time: i64,
}

/// A stored channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LedgerRow {
    pub(crate) id: i64,
    pub(crate) network: String,
    pub(crate) channel: String,
    pub(crate) next: u64,
    pub(crate) transactions: u64,
    pub(crate) problem: Option<String>,
}

/// Which transactions a list shows.
#[derive(Debug, Clone, Default)]
pub(crate) struct TransactionFilter {
    pub(crate) contract: Option<String>,
    pub(crate) sender: Option<String>,
    pub(crate) ok: Option<bool>,
    /// Only before this position.
    pub(crate) before: Option<i64>,
}

const BLOCK: &str = "ledger, height, hash, parent_hash, time, producer, size, config, transactions, failed";
const TRANSACTION: &str = "ledger, position, id, kind, ok, code, sender, contract, method, time";

type Found<T> = Result<Vec<T>, sqlx::Error>;

fn unsigned(row: &AnyRow, column: usize) -> Result<u64, sqlx::Error> {
    Ok(u64::try_from(row.try_get::<i64, _>(column)?).unwrap_or_default())
}

fn flag(row: &AnyRow, column: usize) -> Result<bool, sqlx::Error> {
    Ok(row.try_get::<i64, _>(column)? != 0)
}

fn block(row: &AnyRow) -> Result<BlockRow, sqlx::Error> {
    Ok(BlockRow {
        ledger: row.try_get(0)?,
        height: unsigned(row, 1)?,
        hash: row.try_get(2)?,
        parent_hash: row.try_get(3)?,
        time: row.try_get(4)?,
        producer: row.try_get(5)?,
        size: unsigned(row, 6)?,
        config: flag(row, 7)?,
        transactions: unsigned(row, 8)?,
        failed: unsigned(row, 9)?,
    })
}

fn transaction(row: &AnyRow) -> Result<TransactionRow, sqlx::Error> {
    Ok(TransactionRow {
        ledger: row.try_get(0)?,
        position: row.try_get(1)?,
        id: row.try_get(2)?,
        kind: row.try_get(3)?,
        ok: flag(row, 4)?,
        code: row.try_get(5)?,
        sender: row.try_get(6)?,
        contract: row.try_get(7)?,
        method: row.try_get(8)?,
        time: row.try_get(9)?,
    })
}

/// Every stored channel.
pub(crate) async fn ledgers(pool: &AnyPool) -> Found<LedgerRow> {
    let rows =
        sqlx::query::<Any>("SELECT id, network, channel, next_height, transactions, problem FROM ledgers ORDER BY id")
            .fetch_all(pool)
            .await?;
    rows.iter()
        .map(|row| {
            Ok(LedgerRow {
                id: row.try_get(0)?,
                network: row.try_get(1)?,
                channel: row.try_get(2)?,
                next: unsigned(row, 3)?,
                transactions: unsigned(row, 4)?,
                problem: row.try_get(5)?,
            })
        })
        .collect()
}

/// Blocks of a channel below a height, newest first.
pub(crate) async fn blocks(pool: &AnyPool, ledger: i64, before: Option<u64>, limit: u32) -> Found<BlockRow> {
    let before = before.map_or(i64::MAX, |height| i64::try_from(height).unwrap_or(i64::MAX));
    let text = format!("SELECT {BLOCK} FROM blocks WHERE ledger = $1 AND height < $2 ORDER BY height DESC LIMIT $3");
    let rows = sqlx::query::<Any>(AssertSqlSafe(text))
        .bind(ledger)
        .bind(before)
        .bind(i64::from(limit))
        .fetch_all(pool)
        .await?;
    rows.iter().map(block).collect()
}

/// The block at a height of each of these channels.
pub(crate) async fn blocks_at(pool: &AnyPool, ledgers: &[i64], height: u64) -> Found<BlockRow> {
    let Ok(height) = i64::try_from(height) else { return Ok(Vec::new()) };
    if ledgers.is_empty() {
        return Ok(Vec::new());
    }
    let text = format!("SELECT {BLOCK} FROM blocks WHERE {} AND height = {height} LIMIT 50", among("ledger", ledgers));
    let rows = sqlx::query::<Any>(AssertSqlSafe(text)).persistent(false).fetch_all(pool).await?;
    rows.iter().map(block).collect()
}

/// Blocks of these channels whose hash begins so.
pub(crate) async fn blocks_by_hash(pool: &AnyPool, ledgers: &[i64], prefix: &str, limit: u32) -> Found<BlockRow> {
    let rows = by_prefix(pool, BLOCK, "blocks", "hash", ledgers, &lower(prefix), limit).await?;
    rows.iter().map(block).collect()
}

/// Transactions of these channels whose id begins so.
pub(crate) async fn transactions_by_id(
    pool: &AnyPool,
    ledgers: &[i64],
    prefix: &str,
    limit: u32,
) -> Found<TransactionRow> {
    let rows = by_prefix(pool, TRANSACTION, "transactions", "id", ledgers, &lower(prefix), limit).await?;
    rows.iter().map(transaction).collect()
}

/// Newest transactions of these channels that carry a search term.
pub(crate) async fn transactions_by_term(
    pool: &AnyPool,
    ledgers: &[i64],
    term: &str,
    limit: u32,
) -> Result<Vec<TransactionRow>, sqlx::Error> {
    let mut found = Vec::new();
    // One walk per channel along (term, ledger, position): a term that a million transactions carry costs as much as a rare one.
    for &ledger in ledgers {
        let columns: Vec<String> = TRANSACTION.split(", ").map(|column| format!("t.{column}")).collect();
        let text = format!(
            "SELECT {} FROM terms w JOIN transactions t ON t.ledger = w.ledger AND t.position = w.position \
             WHERE w.term = $1 AND w.ledger = $2 ORDER BY w.position DESC LIMIT $3",
            columns.join(", ")
        );
        let rows = sqlx::query::<Any>(AssertSqlSafe(text))
            .bind(lower(term))
            .bind(ledger)
            .bind(i64::from(limit))
            .fetch_all(pool)
            .await?;
        for row in &rows {
            found.push(transaction(row)?);
        }
    }
    found.sort_by_key(|row| std::cmp::Reverse(row.time));
    found.truncate(limit as usize);
    Ok(found)
}

/// Terms of these channels that begin so, each once.
pub(crate) async fn terms_by_prefix(
    pool: &AnyPool,
    ledgers: &[i64],
    prefix: &str,
    limit: u32,
) -> Result<Vec<String>, sqlx::Error> {
    let mut found = Vec::new();
    let mut from = lower(prefix);
    let Some(end) = behind(&from) else { return Ok(found) };
    if ledgers.is_empty() {
        return Ok(found);
    }
    // Jumps from term to term instead of walking over all transactions of one.
    let mut sign = ">=";
    while found.len() < limit as usize {
        let text =
            format!("SELECT MIN(term) FROM terms WHERE term {sign} $1 AND term < $2 AND {}", among("ledger", ledgers));
        let row = sqlx::query::<Any>(AssertSqlSafe(text)).bind(from.clone()).bind(end.clone()).fetch_one(pool).await?;
        let Some(term) = row.try_get::<Option<String>, _>(0)? else { break };
        from.clone_from(&term);
        found.push(term);
        sign = ">";
    }
    Ok(found)
}

/// How a list of transactions continues.
pub(crate) async fn transactions(
    pool: &AnyPool,
    ledger: i64,
    filter: &TransactionFilter,
    limit: u32,
) -> Found<TransactionRow> {
    let mut text = format!("SELECT {TRANSACTION} FROM transactions WHERE ledger = $1");
    let mut words = Vec::new();
    let mut order = String::new();
    for (column, value) in [("sender", filter.sender.as_deref()), ("contract", filter.contract.as_deref())] {
        let Some(value) = value else { continue };
        words.push(lower_address(value));
        let word = words.len() + 2;
        if order.is_empty() {
            // Asked for as pairs, as a plain comparison makes SQLite walk over the whole channel by its key until enough rows are
            // found: all of it for somebody who never sent anything.
            text.push_str(&format!(
                " AND ({column}, position) >= (${word}, 0) AND ({column}, position) < (${word}, $2)"
            ));
            order = format!("{column} DESC, ");
        } else {
            text.push_str(&format!(" AND {column} = ${word}"));
        }
    }
    if order.is_empty() {
        text.push_str(" AND position < $2");
    }
    match filter.ok {
        Some(true) => text.push_str(" AND ok = 1"),
        Some(false) => text.push_str(" AND ok = 0"),
        None => {}
    }
    text.push_str(&format!(" ORDER BY {order}position DESC LIMIT {limit}"));
    let mut query = sqlx::query::<Any>(AssertSqlSafe(text)).bind(ledger).bind(filter.before.unwrap_or(i64::MAX));
    for word in words {
        query = query.bind(word);
    }
    let rows = query.fetch_all(pool).await?;
    rows.iter().map(transaction).collect()
}

/// The transactions of one block, in order.
pub(crate) async fn transactions_of_block(
    pool: &AnyPool,
    ledger: i64,
    height: u64,
    from: u32,
    limit: u32,
) -> Found<TransactionRow> {
    let text = format!(
        "SELECT {TRANSACTION} FROM transactions WHERE ledger = $1 AND position >= $2 AND position < $3 ORDER BY position LIMIT $4"
    );
    let rows = sqlx::query::<Any>(AssertSqlSafe(text))
        .bind(ledger)
        .bind(position(height, from))
        .bind(position(height + 1, 0))
        .bind(i64::from(limit))
        .fetch_all(pool)
        .await?;
    rows.iter().map(transaction).collect()
}

/// Newest events of a contract, before a position and number.
pub(crate) async fn events(
    pool: &AnyPool,
    ledger: i64,
    contract: &str,
    before: Option<(i64, i64)>,
    limit: u32,
) -> Found<EventRow> {
    let (position, number) = before.unwrap_or((i64::MAX, 0));
    let rows = sqlx::query::<Any>(
        "SELECT e.position, e.number, e.contract, e.name, e.payload, t.id, t.time FROM contract_events e \
         JOIN transactions t ON t.ledger = e.ledger AND t.position = e.position \
         WHERE e.ledger = $1 AND (e.contract, e.position, e.number) >= ($2, 0, 0) \
         AND (e.contract, e.position, e.number) < ($2, $3, $4) \
         ORDER BY e.contract DESC, e.position DESC, e.number DESC LIMIT $5",
    )
    .bind(ledger)
    .bind(lower_address(contract))
    .bind(position)
    .bind(number)
    .bind(i64::from(limit))
    .fetch_all(pool)
    .await?;
    rows.iter().map(event).collect()
}

/// Events of one block, in order.
pub(crate) async fn events_of_block(pool: &AnyPool, ledger: i64, height: u64) -> Found<EventRow> {
    let rows = sqlx::query::<Any>(
        "SELECT e.position, e.number, e.contract, e.name, e.payload, t.id, t.time FROM contract_events e \
         JOIN transactions t ON t.ledger = e.ledger AND t.position = e.position \
         WHERE e.ledger = $1 AND e.position >= $2 AND e.position < $3 ORDER BY e.position, e.number LIMIT 10000",
    )
    .bind(ledger)
    .bind(position(height, 0))
    .bind(position(height + 1, 0))
    .fetch_all(pool)
    .await?;
    rows.iter().map(event).collect()
}

fn event(row: &AnyRow) -> Result<EventRow, sqlx::Error> {
    let payload: String = row.try_get(4)?;
    Ok(EventRow {
        position: row.try_get(0)?,
        number: row.try_get(1)?,
        contract: row.try_get(2)?,
        name: row.try_get(3)?,
        payload: serde_json::from_str(&payload).unwrap_or(Value::String(payload)),
        transaction: row.try_get(5)?,
        time: row.try_get(6)?,
    })
}

/// Rows whose text column begins so, first the exact one.
async fn by_prefix(
    pool: &AnyPool,
    columns: &str,
    table: &str,
    column: &str,
    ledgers: &[i64],
    prefix: &str,
    limit: u32,
) -> Result<Vec<AnyRow>, sqlx::Error> {
    let Some(end) = behind(prefix) else { return Ok(Vec::new()) };
    if ledgers.is_empty() {
        return Ok(Vec::new());
    }
    // The plus keeps SQLite from walking a whole channel by its key instead of the few rows with this prefix.
    let text = format!(
        "SELECT {columns} FROM {table} WHERE {column} >= $1 AND {column} < $2 AND {} ORDER BY {column} LIMIT {limit}",
        among("+ledger", ledgers)
    );
    sqlx::query::<Any>(AssertSqlSafe(text)).bind(prefix.to_owned()).bind(end).fetch_all(pool).await
}

/// The first text behind all texts with a prefix, byte by byte.
fn behind(prefix: &str) -> Option<String> {
    (!prefix.is_empty()).then(|| format!("{prefix}\u{10ffff}"))
}

fn among(column: &str, numbers: &[i64]) -> String {
    let list: Vec<String> = numbers.iter().map(i64::to_string).collect();
    format!("{column} IN ({})", list.join(", "))
}
