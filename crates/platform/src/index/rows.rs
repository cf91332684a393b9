//! Blocks as rows, and rows as few large statements.

use konsort_engines::ledger::{BlockRecord, TransactionRecord};
use sqlx::{Any, AnyConnection, AssertSqlSafe};

use super::schema::position;
use crate::db::rows_at_once;

/// Longest text kept in a column that is searched, in bytes; longer ones are cut, so that no input makes an index page overflow.
const LONGEST: usize = 256;
/// Most search terms of a transaction.
const TERMS: usize = 32;
/// Most events kept of a transaction.
const EVENTS: usize = 64;
/// Longest payload kept of an event, in bytes of JSON.
const PAYLOAD: usize = 16 * 1024;
/// Rows of one statement. Few enough for every database's limit of parameters.
const ROWS: usize = 1024;

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    /// A number.
    Int(i64),
    /// A text.
    Text(String),
}

impl From<i64> for Cell {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<bool> for Cell {
    fn from(value: bool) -> Self {
        Self::Int(i64::from(value))
    }
}

impl From<&str> for Cell {
    fn from(value: &str) -> Self {
        Self::Text(clean(value))
    }
}

/// Rows of one table.
#[derive(Debug)]
pub(crate) struct Rows {
    table: &'static str,
    columns: &'static [&'static str],
    /// What the statement ends with (`ON CONFLICT …`).
    ending: &'static str,
    cells: Vec<Cell>,
}

impl Rows {
    /// None yet.
    pub(crate) fn new(table: &'static str, columns: &'static [&'static str], ending: &'static str) -> Self {
        Self { table, columns, ending, cells: Vec::new() }
    }

    /// One more.
    pub(crate) fn push<const N: usize>(&mut self, row: [Cell; N]) {
        debug_assert_eq!(N, self.columns.len());
        self.cells.extend(row);
    }

    /// How many.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.cells.len() / self.columns.len()
    }

    /// `numbered`: parameters are `$1`, `$2` and so on; otherwise `?`, as SQLite looks through the names of all to find one.
    fn statement(&self, rows: usize, numbered: bool) -> String {
        let width = self.columns.len();
        let mut text = format!("INSERT INTO {} ({}) VALUES ", self.table, self.columns.join(", "));
        for row in 0..rows {
            text.push_str(if row == 0 { "(" } else { ", (" });
            for column in 0..width {
                text.push_str(if column == 0 { "" } else { ", " });
                if numbered {
                    text.push_str(&format!("${}", row * width + column + 1));
                } else {
                    text.push('?');
                }
            }
            text.push(')');
        }
        text.push(' ');
        text.push_str(self.ending);
        text
    }

    /// Inserts them all.
    pub(crate) async fn insert(mut self, connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
        let width = self.columns.len();
        let numbered = connection.backend_name() != "SQLite";
        let mut left = self.cells.len() / width;
        let mut cells = std::mem::take(&mut self.cells).into_iter();
        while left > 0 {
            let rows = rows_at_once(left, ROWS);
            let mut query = sqlx::query::<Any>(AssertSqlSafe(self.statement(rows, numbered)));
            for cell in cells.by_ref().take(rows * width) {
                query = match cell {
                    Cell::Int(value) => query.bind(value),
                    Cell::Text(value) => query.bind(value),
                };
            }
            query.execute(&mut *connection).await?;
            left -= rows;
        }
        Ok(())
    }
}

/// The rows of a batch of blocks.
#[derive(Debug)]
pub(crate) struct BlockRows {
    pub(crate) blocks: Rows,
    pub(crate) transactions: Rows,
    pub(crate) terms: Rows,
    pub(crate) events: Rows,
}

/// Blocks of one channel as rows.
pub(crate) fn rows_of(ledger: i64, blocks: &[BlockRecord]) -> BlockRows {
    let mut rows = BlockRows {
        blocks: Rows::new(
            "blocks",
            &[
                "ledger",
                "height",
                "hash",
                "parent_hash",
                "time",
                "producer",
                "size",
                "config",
                "transactions",
                "failed",
            ],
            "",
        ),
        transactions: Rows::new(
            "transactions",
            &["ledger", "position", "id", "kind", "ok", "code", "sender", "contract", "method", "time"],
            "",
        ),
        terms: Rows::new("terms", &["term", "ledger", "position"], "ON CONFLICT DO NOTHING"),
        events: Rows::new("contract_events", &["ledger", "position", "number", "contract", "name", "payload"], ""),
    };
    for block in blocks {
        let failed = block.transactions.iter().filter(|transaction| !transaction.ok).count() as i64;
        rows.blocks.push([
            ledger.into(),
            (block.height as i64).into(),
            lower(&block.hash).as_str().into(),
            lower(&block.parent_hash).as_str().into(),
            block.time.into(),
            cut(&block.producer).into(),
            (block.size as i64).into(),
            block.config.into(),
            (block.transactions.len() as i64).into(),
            failed.into(),
        ]);
        for (index, transaction) in block.transactions.iter().enumerate() {
            // The place in the list, not what the record says of itself: two equal places would lose one of the two.
            transaction_rows(&mut rows, ledger, position(block.height, index as u32), transaction);
        }
    }
    rows
}

fn transaction_rows(rows: &mut BlockRows, ledger: i64, position: i64, transaction: &TransactionRecord) {
    rows.transactions.push([
        ledger.into(),
        position.into(),
        lower(&transaction.id).as_str().into(),
        cut(&transaction.kind).into(),
        transaction.ok.into(),
        cut(&transaction.code).into(),
        lower_address(&transaction.from).as_str().into(),
        lower_address(&transaction.to).as_str().into(),
        cut(&transaction.method).into(),
        transaction.time.into(),
    ]);
    let mut terms: Vec<String> = transaction.terms.iter().take(TERMS).map(|term| lower(term)).collect();
    terms.sort_unstable();
    terms.dedup();
    for term in terms.iter().filter(|term| !term.is_empty()) {
        rows.terms.push([term.as_str().into(), ledger.into(), position.into()]);
    }
    for (number, event) in transaction.events.iter().take(EVENTS).enumerate() {
        let payload = event.payload.to_string();
        let payload = if payload.len() > PAYLOAD { r#"{"omitted":true}"#.to_owned() } else { payload };
        rows.events.push([
            ledger.into(),
            position.into(),
            (number as i64).into(),
            lower_address(&event.contract).as_str().into(),
            cut(&event.name).into(),
            payload.as_str().into(),
        ]);
    }
}

/// PostgreSQL's text cannot hold a zero character.
fn clean(text: &str) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text.to_owned() }
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST)]
}

/// A searched text as it is stored and looked up.
pub(crate) fn lower(text: &str) -> String {
    cut(text).to_lowercase()
}

/// Addresses are written in capitals and small letters alike; names are not.
pub(crate) fn lower_address(text: &str) -> String {
    if text.starts_with("0x") || text.starts_with("0X") { lower(text) } else { cut(text).to_owned() }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;
    use konsort_engines::ledger::EventRecord;

    pub(crate) fn block(height: u64, transactions: usize) -> BlockRecord {
        BlockRecord {
            channel: "mychannel".to_owned(),
            height,
            hash: format!("HASH{height:08}"),
            parent_hash: height.checked_sub(1).map(|parent| format!("HASH{parent:08}")).unwrap_or_default(),
            time: 1_700_000_000_000 + height as i64,
            producer: "orderer1".to_owned(),
            size: 1000,
            config: height == 0,
            transactions: (0..transactions)
                .map(|index| TransactionRecord {
                    id: format!("tx{height}x{index}"),
                    index: 0,
                    kind: "call".to_owned(),
                    ok: index % 2 == 0,
                    code: "VALID".to_owned(),
                    from: "Org1MSP:User1".to_owned(),
                    to: "basic".to_owned(),
                    method: "CreateAsset".to_owned(),
                    time: 5,
                    terms: vec![format!("Asset{height}"), format!("asset{height}"), String::new()],
                    events: vec![EventRecord {
                        contract: "0xAB".to_owned(),
                        name: "Made".to_owned(),
                        payload: json!({"a": 1}),
                    }],
                })
                .collect(),
        }
    }

    #[test]
    fn rows_are_unique_even_when_records_repeat_themselves() {
        let rows = rows_of(1, &[block(0, 1), block(1, 3)]);
        assert_eq!((rows.blocks.len(), rows.transactions.len(), rows.terms.len(), rows.events.len()), (2, 4, 4, 4));
        assert!(rows.events.cells.contains(&Cell::Text("0xab".to_owned())));
        assert!(rows.blocks.cells.contains(&Cell::Text("hash00000001".to_owned())));
    }

    #[test]
    fn long_and_strange_texts_are_cut_at_characters() {
        let long = "联".repeat(300);
        assert!(lower(&long).len() <= LONGEST);
        assert_eq!(Cell::from("a\0b"), Cell::Text("a\u{fffd}b".to_owned()));
    }

    #[test]
    fn statements_number_their_parameters() {
        let rows = Rows::new("t", &["a", "b"], "ON CONFLICT DO NOTHING");
        assert_eq!(rows.statement(2, true), "INSERT INTO t (a, b) VALUES ($1, $2), ($3, $4) ON CONFLICT DO NOTHING");
        assert_eq!(rows.statement(2, false), "INSERT INTO t (a, b) VALUES (?, ?), (?, ?) ON CONFLICT DO NOTHING");
    }
}
