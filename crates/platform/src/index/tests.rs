//! The index on a real database.

use std::time::Duration;

use konsort_engines::ledger::BlockRecord;
use proptest::prelude::*;

use super::query::{self, TransactionFilter};
use super::rows::tests::block;
use super::write::{self, Cursor, WriteError};
use crate::db::Db;

async fn database() -> (tempfile::TempDir, Db) {
    let folder = tempfile::tempdir().unwrap();
    let db = Db::open(folder.path(), None).await.unwrap();
    (folder, db)
}

async fn open(db: &Db, network: &str) -> Cursor {
    let mut transaction = db.begin().await.unwrap();
    let cursor = write::open(&mut transaction, network, "mychannel").await.unwrap();
    transaction.commit().await.unwrap();
    cursor
}

async fn store(db: &Db, cursor: &Cursor, blocks: &[BlockRecord]) -> Result<Cursor, WriteError> {
    let mut transaction = db.begin().await.unwrap();
    let after = write::write(&mut transaction, cursor, blocks).await?;
    transaction.commit().await?;
    Ok(after)
}

fn blocks(heights: std::ops::Range<u64>) -> Vec<BlockRecord> {
    heights.map(|height| block(height, 3)).collect()
}

#[tokio::test]
async fn what_was_written_is_found_in_every_way() {
    let (_folder, db) = database().await;
    let cursor = open(&db, "net_a").await;
    let mut fifth = block(4, 3);
    fifth.transactions[1].to = "0xABCDEF".to_owned();
    fifth.transactions[1].from = "0xFEED".to_owned();
    let mut all = blocks(0..4);
    all.push(fifth);
    let after = store(&db, &cursor, &all).await.unwrap();
    assert_eq!(after.next, 5);
    let (pool, ledger) = (db.read(), cursor.ledger);

    let heights: Vec<u64> =
        query::blocks(pool, ledger, Some(4), 2).await.unwrap().iter().map(|row| row.height).collect();
    assert_eq!(heights, [3, 2]);
    let found = query::blocks_by_hash(pool, &[ledger], "HASH0000000", 10).await.unwrap();
    assert_eq!(found.len(), 5);
    assert_eq!((found[0].transactions, found[0].failed, found[0].config), (3, 1, true));
    assert!(query::blocks_by_hash(pool, &[ledger + 1], "hash", 10).await.unwrap().is_empty());

    let found = query::transactions_by_id(pool, &[ledger], "TX4X1", 10).await.unwrap();
    assert_eq!((found[0].place(), found[0].ok), ((4, 1), false));
    let places = async |filter: TransactionFilter| -> Vec<(u64, u32)> {
        query::transactions(pool, ledger, &filter, 100)
            .await
            .unwrap()
            .iter()
            .map(query::TransactionRow::place)
            .collect()
    };
    let by = |contract: Option<&str>, sender: Option<&str>, ok| TransactionFilter {
        contract: contract.map(str::to_owned),
        sender: sender.map(str::to_owned),
        ok,
        before: None,
    };
    assert_eq!(places(by(Some("0xabcdef"), None, None)).await, [(4, 1)]);
    assert_eq!(places(by(None, Some("0xfeed"), None)).await, [(4, 1)]);
    assert_eq!(places(by(None, None, Some(false))).await.len(), 5);
    assert_eq!(places(by(Some("basic"), None, None)).await.len(), 14);

    let found = query::transactions_by_term(pool, &[ledger], "ASSET3", 10).await.unwrap();
    assert_eq!(found.iter().map(|row| row.place().0).collect::<Vec<_>>(), [3, 3, 3]);
    let terms = query::terms_by_prefix(pool, &[ledger], "asset", 3).await.unwrap();
    assert_eq!(terms, ["asset0", "asset1", "asset2"]);
    let events = query::events(pool, ledger, "0xAB", None, 4).await.unwrap();
    assert_eq!(events.len(), 4);
    let older = query::events(pool, ledger, "0xab", Some((events[3].position, events[3].number)), 100).await.unwrap();
    assert_eq!(older.len(), 11);
    assert_eq!(query::events_of_block(pool, ledger, 2).await.unwrap().len(), 3);
    assert_eq!(query::ledgers(pool).await.unwrap()[0].transactions, 15);
}

#[tokio::test]
async fn a_removed_network_is_out_of_sight_at_once_and_gone_after_a_purge() {
    let (_folder, db) = database().await;
    let (gone, stays) = (open(&db, "net_a").await, open(&db, "net_b").await);
    store(&db, &gone, &blocks(0..5)).await.unwrap();
    store(&db, &stays, &blocks(0..5)).await.unwrap();
    let mut transaction = db.begin().await.unwrap();
    write::disown(&mut transaction, "net_a").await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(query::ledgers(db.read()).await.unwrap().len(), 1);
    assert_eq!(write::purge(db.write(), Duration::ZERO).await.unwrap(), 1);
    assert_eq!(write::purge(db.write(), Duration::ZERO).await.unwrap(), 0);
    assert!(query::blocks(db.read(), gone.ledger, None, 10).await.unwrap().is_empty());
    assert!(query::transactions_by_term(db.read(), &[gone.ledger], "asset1", 10).await.unwrap().is_empty());
    assert_eq!(query::blocks(db.read(), stays.ledger, None, 10).await.unwrap().len(), 5);
    assert_eq!(query::transactions_by_term(db.read(), &[stays.ledger], "asset1", 10).await.unwrap().len(), 3);
    // The number is not given again.
    assert!(open(&db, "net_a").await.ledger > stays.ledger);
}

#[derive(Debug, Clone)]
enum Input {
    /// Write so many blocks from the cursor.
    Write(u64),
    /// The same, but the run is cut off before the commit.
    CutOff(u64),
    /// Forget the cursor and read it again, as after a restart.
    Reopen,
    /// A second writer with an old cursor.
    Stale(u64),
}

fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        3 => (1_u64..5).prop_map(Input::Write),
        2 => (1_u64..5).prop_map(Input::CutOff),
        1 => Just(Input::Reopen),
        1 => (1_u64..5).prop_map(Input::Stale),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is cut off, repeated or tried from an old place: every block is stored once, in order.
    #[test]
    fn no_block_is_lost_or_doubled(inputs in proptest::collection::vec(input(), 1..15)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (_folder, db) = database().await;
            let start = open(&db, "net_a").await;
            let mut cursor = start.clone();
            let mut wanted = 0;
            for input in inputs {
                match input {
                    Input::Write(count) => {
                        cursor = store(&db, &cursor, &blocks(cursor.next..cursor.next + count)).await.unwrap();
                        wanted += count;
                    }
                    Input::CutOff(count) => {
                        let mut transaction = db.begin().await.unwrap();
                        let written = blocks(cursor.next..cursor.next + count);
                        write::write(&mut transaction, &cursor, &written).await.unwrap();
                        drop(transaction);
                    }
                    Input::Reopen => cursor = open(&db, "net_a").await,
                    Input::Stale(count) => {
                        let result = store(&db, &start, &blocks(0..count)).await;
                        if wanted > 0 {
                            assert!(matches!(result, Err(WriteError::Moved)), "{result:?}");
                        } else {
                            cursor = result.unwrap();
                            wanted += count;
                        }
                    }
                }
            }
            let rows = query::blocks(db.read(), start.ledger, None, 1000).await.unwrap();
            let heights: Vec<u64> = rows.iter().rev().map(|row| row.height).collect();
            assert_eq!(heights, (0..wanted).collect::<Vec<_>>());
            let ledger = query::ledgers(db.read()).await.unwrap().remove(0);
            assert_eq!((ledger.next, ledger.transactions), (wanted, wanted * 3));
        });
    }
}
