//! Figures over time: the last hour in memory, minutes of the last week in the database.

use std::collections::{BTreeMap, VecDeque};

use sqlx::{Any, Row as _};

use crate::db::{Db, DbError};
use crate::time;

/// Samples kept of each node: an hour, one every other second.
const SAMPLES: usize = 1800;
/// Width of a bucket that transactions are counted in, milliseconds.
pub(crate) const BUCKET: i64 = 2000;
/// Width of what is kept in the database, milliseconds.
pub(crate) const MINUTE: i64 = 60_000;
/// Buckets kept: an hour.
const BUCKETS: usize = 1800;
/// How long minutes are kept in the database, milliseconds.
const KEPT: i64 = 7 * 24 * 3_600_000;

/// What a node was doing at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Milliseconds since 1970.
    pub(crate) at: i64,
    pub(crate) height: u64,
    /// Share of a core, thousandths.
    pub(crate) cpu: u64,
    /// Resident memory, bytes.
    pub(crate) memory: u64,
}

/// A minute of a node or, with an empty name, of its network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Coarse {
    pub(crate) node: String,
    pub(crate) at: i64,
    pub(crate) height: u64,
    /// Transactions committed in the minute; of the network only.
    pub(crate) transactions: u64,
    pub(crate) cpu: u64,
    pub(crate) memory: u64,
}

/// The last hour of a network.
#[derive(Debug, Default)]
pub(crate) struct History {
    nodes: BTreeMap<String, VecDeque<Sample>>,
    /// Transactions and blocks by the time of their block.
    committed: BTreeMap<i64, (u64, u64)>,
}

impl History {
    pub(crate) fn sample(&mut self, node: &str, sample: Sample) {
        let samples = self.nodes.entry(node.to_owned()).or_default();
        if samples.len() == SAMPLES {
            samples.pop_front();
        }
        samples.push_back(sample);
    }

    /// Counts a block; those of older times than are kept leave no trace.
    pub(crate) fn count(&mut self, at: i64, transactions: u64) {
        let bucket = self.committed.entry(at.div_euclid(BUCKET)).or_default();
        bucket.0 += transactions;
        bucket.1 += 1;
        while self.committed.len() > BUCKETS {
            self.committed.pop_first();
        }
    }

    /// Transactions and blocks of a span of time.
    pub(crate) fn committed(&self, from: i64, to: i64) -> (u64, u64) {
        self.committed
            .range(from.div_euclid(BUCKET)..to.div_euclid(BUCKET).max(from.div_euclid(BUCKET) + 1))
            .fold((0, 0), |sum, (_, bucket)| (sum.0 + bucket.0, sum.1 + bucket.1))
    }

    /// A node's samples of a span of time, one per step: the last of each.
    pub(crate) fn samples(&self, node: &str, from: i64, to: i64, step: i64) -> Vec<Sample> {
        let mut by_step = BTreeMap::new();
        for sample in self.nodes.get(node).into_iter().flatten() {
            if sample.at >= from && sample.at < to {
                by_step.insert((sample.at - from) / step.max(1), *sample);
            }
        }
        by_step.into_values().collect()
    }

    /// The highest block any node reported last.
    pub(crate) fn height(&self) -> u64 {
        self.nodes.values().filter_map(|samples| samples.back()).map(|sample| sample.height).max().unwrap_or(0)
    }

    /// The minute that begins at a time.
    pub(crate) fn coarse(&self, at: i64) -> Vec<Coarse> {
        let mut rows = Vec::new();
        for node in self.nodes.keys() {
            let samples = self.samples(node, at, at + MINUTE, 1);
            let Some(last) = samples.last() else { continue };
            let count = samples.len() as u64;
            rows.push(Coarse {
                node: node.clone(),
                at,
                height: last.height,
                transactions: 0,
                cpu: samples.iter().map(|sample| sample.cpu).sum::<u64>() / count,
                memory: last.memory,
            });
        }
        let (transactions, _) = self.committed(at, at + MINUTE);
        rows.push(Coarse { node: String::new(), at, height: self.height(), transactions, cpu: 0, memory: 0 });
        rows
    }
}

/// Stores a minute.
pub(crate) async fn write_coarse(db: &Db, network: &str, at: i64, rows: &[Coarse]) -> Result<(), DbError> {
    let mut transaction = db.begin().await?;
    for row in rows {
        sqlx::query::<Any>(
            "INSERT INTO metrics (network, node, at, height, transactions, cpu, memory) VALUES ($1, $2, $3, $4, $5, $6, $7) \
             ON CONFLICT (network, node, at) DO NOTHING",
        )
        .bind(network.to_owned())
        .bind(row.node.clone())
        .bind(at)
        .bind(row.height as i64)
        .bind(row.transactions as i64)
        .bind(row.cpu as i64)
        .bind(row.memory as i64)
        .execute(&mut *transaction)
        .await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// Stored minutes of a span of time, put together in steps: of the network and of one node, or of all.
pub(crate) async fn read_coarse(
    db: &Db,
    network: &str,
    node: Option<&str>,
    from: i64,
    to: i64,
    step: i64,
) -> Result<Vec<Coarse>, DbError> {
    let rows = sqlx::query::<Any>(
        "SELECT node, (at - $2) / $6, MAX(height), CAST(SUM(transactions) AS BIGINT), CAST(SUM(cpu) / COUNT(*) AS BIGINT), \
         MAX(memory) FROM metrics WHERE network = $1 AND at >= $2 AND at < $3 AND (node = '' OR node = $4 OR $5 = 1) \
         GROUP BY 1, 2 ORDER BY 1, 2 LIMIT 200000",
    )
    .bind(network.to_owned())
    .bind(from)
    .bind(to)
    .bind(node.unwrap_or_default().to_owned())
    .bind(i64::from(node.is_none()))
    .bind(step.max(1))
    .fetch_all(db.read())
    .await?;
    let unsigned = |value: i64| u64::try_from(value).unwrap_or(0);
    rows.iter()
        .map(|row| {
            Ok(Coarse {
                node: row.try_get(0)?,
                at: from + row.try_get::<i64, _>(1)? * step.max(1),
                height: unsigned(row.try_get(2)?),
                transactions: unsigned(row.try_get(3)?),
                cpu: unsigned(row.try_get(4)?),
                memory: unsigned(row.try_get(5)?),
            })
        })
        .collect()
}

/// Removes minutes that are too old.
pub(crate) async fn prune(db: &Db) -> Result<(), DbError> {
    sqlx::query::<Any>("DELETE FROM metrics WHERE at < $1").bind(time::now() - KEPT).execute(db.write()).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_kept_and_a_minute_is_its_mean() {
        let mut history = History::default();
        for second in 0..4000 {
            history.sample("node0", Sample { at: second * 1000, height: second as u64, cpu: 100, memory: 7 });
            history.count(second * 1000, 3);
        }
        assert_eq!(history.nodes["node0"].len(), SAMPLES);
        assert!(history.committed.len() <= BUCKETS);
        assert_eq!(history.committed(3_900_000, 3_960_000), (180, 60));
        let minute = history.coarse(3_900_000);
        assert_eq!((minute[0].cpu, minute[0].height), (100, 3959));
        assert_eq!((minute[1].transactions, minute[1].node.as_str()), (180, ""));
        assert_eq!(history.samples("node0", 3_900_000, 3_960_000, 10_000).len(), 6);
    }

    #[tokio::test]
    async fn minutes_are_put_together_in_steps() {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(folder.path(), None).await.unwrap();
        for minute in 0..4 {
            let row = |node: &str, transactions| Coarse {
                node: node.to_owned(),
                at: minute * MINUTE,
                height: minute as u64,
                transactions,
                cpu: 10 * minute as u64,
                memory: 7,
            };
            let rows = [row("", 5), row("node0", 0), row("node1", 0)];
            write_coarse(&db, "net_a", minute * MINUTE, &rows).await.unwrap();
        }
        let read = |node: Option<&'static str>| read_coarse(&db, "net_a", node, MINUTE, 10 * MINUTE, 2 * MINUTE);
        let found = read(Some("node1")).await.unwrap();
        let shown: Vec<_> =
            found.iter().map(|row| (row.node.as_str(), row.at / MINUTE, row.transactions, row.cpu)).collect();
        assert_eq!(shown, [("", 1, 10, 15), ("", 3, 5, 30), ("node1", 1, 0, 15), ("node1", 3, 0, 30)]);
        assert_eq!(read(None).await.unwrap().len(), 6);
    }
}
